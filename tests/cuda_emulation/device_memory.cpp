// Host memory in the place of a device's; freshly taken it holds rubbish, as a device's does.
#include "cuda/device_memory.h"

#include <cstdlib>
#include <cstring>
#include <new>

#include "cuda/build_info.h"

namespace segae {

DeviceMemory::DeviceMemory(int64_t bytes, const Stream& stream)
    : data_(std::malloc(static_cast<size_t>(bytes + 1))), stream_(stream) {
  if (!data_) throw std::bad_alloc();
  std::memset(data_, 0xA5, static_cast<size_t>(bytes + 1));
}
DeviceMemory::~DeviceMemory() { std::free(data_); }

UseDevice::UseDevice(int device) : before_(device) {}
UseDevice::~UseDevice() = default;

void copy_on_device(void* to, const void* from, int64_t bytes, const Stream&) {
  if (bytes > 0) std::memcpy(to, from, static_cast<size_t>(bytes));
}
void copy_to_device(void* to, const void* from, int64_t bytes, const Stream& stream) {
  copy_on_device(to, from, bytes, stream);
}
void copy_to_host(void* to, const void* from, int64_t bytes, const Stream& stream) {
  copy_on_device(to, from, bytes, stream);
}

std::vector<std::string> cuda_devices() { return {"emulated"}; }

}  // namespace segae
