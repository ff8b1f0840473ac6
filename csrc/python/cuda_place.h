// Where DeviceArrays lie: what operations.h must know of a CUDA device. Only in builds with CUDA.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>
#include <string>
#include <type_traits>

#include "cuda/device_array.h"
#include "cuda/device_memory.h"
#include "python/arrays.h"

namespace segae {

// The volume of an array that must lie on a CUDA device.
inline const VolumeView& cuda_view(const DeviceArray& array, const char* name) {
  if (array.device_type != dlpack::kCuda) throw py::value_error(std::string(name) + ": expected CUDA memory");
  return array.view;
}

class CudaPlace {
 public:
  using Volume = DeviceArray;
  template <class T>
  using Array = DeviceArray;

  // While one lives, the device is the thread's current one and other Python threads run.
  struct Working {
    explicit Working(const CudaPlace& place) : device(place.stream_.device) {}
    UseDevice device;
    py::gil_scoped_release release;
  };

  // `like` is one of the operation's arrays; threads are the CPU's and not used.
  CudaPlace(const DeviceArray& like, int) : stream_(like.stream) {}

  // What operations take to work here: the stream.
  const Stream& where() const { return stream_; }

  const VolumeView& view(const DeviceArray& volume, const char* name) const { return cuda_view(volume, name); }

  template <class T>
  const T* data(const DeviceArray& array, const Int3& shape, const char* name) const {
    const VolumeView& all = view(array, name);
    if (all.dtype != kDType<T> || all.shape != shape || all.stride != compact<T>(shape)) {
      throw py::value_error(std::string(name) + ": expected a working array with the shape of the box");
    }
    return reinterpret_cast<const T*>(all.data);
  }

  template <class T>
  DeviceArray empty(const Int3& shape) const {
    const UseDevice use(stream_.device);
    const int64_t bytes = shape[0] * shape[1] * shape[2] * static_cast<int64_t>(sizeof(T));
    auto memory = std::make_shared<DeviceMemory>(bytes, stream_);
    const VolumeView all{static_cast<const std::byte*>(memory->data()), kDType<T>, shape, compact<T>(shape)};
    return {all, dlpack::kCuda, stream_, std::move(memory)};
  }

  template <class T>
  T* out(DeviceArray& array) const {
    return reinterpret_cast<T*>(const_cast<std::byte*>(array.view.data));
  }

  void copy(const float* from, int64_t n, float* to) const {
    copy_on_device(to, from, n * static_cast<int64_t>(sizeof(float)), stream_);
  }
  void copy_to_host(const float* from, int64_t n, float* to) const {
    segae::copy_to_host(to, from, n * static_cast<int64_t>(sizeof(float)), stream_);
  }

 private:
  template <class T>
  static constexpr DType kDType = std::is_same_v<T, uint8_t> ? DType::kU8 : DType::kF32;

  template <class T>
  static Int3 compact(const Int3& shape) {
    constexpr int64_t item = static_cast<int64_t>(sizeof(T));
    return {shape[1] * shape[2] * item, shape[2] * item, item};
  }

  Stream stream_;
};

}  // namespace segae
