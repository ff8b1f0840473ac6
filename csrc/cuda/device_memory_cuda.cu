#include "cuda/cuda_util.h"
#include "cuda/device_memory.h"

namespace segae {

DeviceMemory::DeviceMemory(int64_t bytes, const Stream& stream) : stream_(stream) {
  // Of no bytes CUDA gives no address.
  cuda_check(cudaMallocAsync(&data_, static_cast<size_t>(bytes > 0 ? bytes : 1), handle_of(stream)), "cudaMallocAsync");
}

DeviceMemory::~DeviceMemory() {
  // Nothing can be done about a failure here; the next call on the stream reports it.
  int before = 0;
  cudaGetDevice(&before);
  cudaSetDevice(stream_.device);  // a default stream is the current device's
  cudaFreeAsync(data_, handle_of(stream_));
  cudaSetDevice(before);
}

UseDevice::UseDevice(int device) {
  cuda_check(cudaGetDevice(&before_), "cudaGetDevice");
  cuda_check(cudaSetDevice(device), "cudaSetDevice");
}

UseDevice::~UseDevice() { cudaSetDevice(before_); }

void copy_to_device(void* to, const void* from, int64_t bytes, const Stream& stream) {
  // From pageable memory CUDA returns once it has staged the bytes (CUDA runtime API, "API synchronization behavior").
  cuda_check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyHostToDevice, handle_of(stream)),
             "cudaMemcpyAsync to the device");
}

void copy_on_device(void* to, const void* from, int64_t bytes, const Stream& stream) {
  cuda_check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToDevice, handle_of(stream)),
             "cudaMemcpyAsync on the device");
}

void copy_to_host(void* to, const void* from, int64_t bytes, const Stream& stream) {
  cuda_check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToHost, handle_of(stream)),
             "cudaMemcpyAsync to the host");
  cuda_check(cudaStreamSynchronize(handle_of(stream)), "cudaStreamSynchronize");
}

}  // namespace segae
