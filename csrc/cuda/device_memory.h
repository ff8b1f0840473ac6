// Memory of a CUDA device, for code that does not see CUDA's headers. Only in builds with CUDA.
#pragma once

#include "cuda/stream.h"

namespace segae {

// Taken and given back in the order of a stream: what was queued there before the end may still use it.
class DeviceMemory {
 public:
  DeviceMemory(int64_t bytes, const Stream& stream);
  ~DeviceMemory();
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  void* data() const { return data_; }

 private:
  void* data_ = nullptr;
  Stream stream_;
};

// Makes a device the thread's current one, and the one before it again at the end.
class UseDevice {
 public:
  explicit UseDevice(int device);
  ~UseDevice();
  UseDevice(const UseDevice&) = delete;
  UseDevice& operator=(const UseDevice&) = delete;

 private:
  int before_ = 0;
};

// Queues a copy; `from` may be changed as soon as this returns.
void copy_to_device(void* to, const void* from, int64_t bytes, const Stream& stream);
void copy_on_device(void* to, const void* from, int64_t bytes, const Stream& stream);

// Copies and waits for it.
void copy_to_host(void* to, const void* from, int64_t bytes, const Stream& stream);

}  // namespace segae
