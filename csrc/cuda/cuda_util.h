// The two shapes that all CUDA kernels here have: a body for every index, and sums and minima over all indices.
// Included by .cu files only.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "cuda/device_memory.h"
#include "cuda/stream.h"

namespace segae {

inline void cuda_check(cudaError_t status, const char* what) {
  if (status != cudaSuccess) {
    throw std::runtime_error(std::string("CUDA: ") + what + ": " + cudaGetErrorString(status));
  }
}

inline cudaStream_t handle_of(const Stream& stream) { return reinterpret_cast<cudaStream_t>(stream.handle); }

// `n` values of a type on a device.
template <class T>
class DeviceBuffer {
 public:
  DeviceBuffer(int64_t n, const Stream& stream) : memory_(n * static_cast<int64_t>(sizeof(T)), stream) {}
  DeviceBuffer(const std::vector<T>& values, const Stream& stream)
      : DeviceBuffer(static_cast<int64_t>(values.size()), stream) {
    if (values.empty()) return;
    copy_to_device(memory_.data(), values.data(), static_cast<int64_t>(values.size() * sizeof(T)), stream);
  }
  T* data() const { return static_cast<T*>(memory_.data()); }

 private:
  DeviceMemory memory_;
};

namespace kernels {

constexpr int kThreads = 256;          // a block; a multiple of the warp
constexpr int64_t kMostBlocks = 8192;  // beyond that each thread takes several indices

inline unsigned blocks_for(int64_t n) {
  const int64_t blocks = (n + kThreads - 1) / kThreads;
  return static_cast<unsigned>(blocks < kMostBlocks ? blocks : kMostBlocks);
}

__device__ inline int64_t first_index() { return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ inline int64_t index_step() { return static_cast<int64_t>(gridDim.x) * blockDim.x; }

template <class Body>
__global__ void each(int64_t n, Body body) {
  for (int64_t i = first_index(); i < n; i += index_step()) body(i);
}

template <class T, class Body>
__global__ void tally(int64_t n, Body body, T* out) {
  T mine;
  for (int64_t i = first_index(); i < n; i += index_step()) body(i, mine);
  mine.merge_into(out);
}

}  // namespace kernels

// Calls `body(i)` for every i in [0, n) on the device.
template <class Body>
void for_each(int64_t n, const Stream& stream, Body body) {
  if (n <= 0) return;
  kernels::each<<<kernels::blocks_for(n), kernels::kThreads, 0, handle_of(stream)>>>(n, body);
  cuda_check(cudaGetLastError(), "kernel launch");
}

// Integer sums and minima: no order of the threads changes them.
template <int kSums, int kMinima>
struct Tally {
  int64_t sum[kSums] = {};
  int64_t least[kMinima];

  __host__ __device__ Tally() {
    for (int64_t& value : least) value = std::numeric_limits<int64_t>::max();
  }
  __host__ __device__ void lower(int k, int64_t value) {
    if (value < least[k]) least[k] = value;
  }

  // Adds up a warp, then adds its sum to `out`.
  __device__ void merge_into(Tally* out) {
    for (int offset = 16; offset > 0; offset /= 2) {
      for (int64_t& value : sum) value += __shfl_down_sync(0xFFFFFFFFu, value, offset);
      for (int k = 0; k < kMinima; ++k) lower(k, __shfl_down_sync(0xFFFFFFFFu, least[k], offset));
    }
    if (threadIdx.x % 32 != 0) return;
    for (int k = 0; k < kSums; ++k) {
      atomicAdd(reinterpret_cast<unsigned long long*>(&out->sum[k]), static_cast<unsigned long long>(sum[k]));
    }
    for (int k = 0; k < kMinima; ++k) {
      atomicMin(reinterpret_cast<long long*>(&out->least[k]), static_cast<long long>(least[k]));
    }
  }
};

// Calls `body(i, tally)` for every i in [0, n) on the device, waits, and returns the tallies of all threads together.
template <int kSums, int kMinima = 1, class Body>
Tally<kSums, kMinima> tally_over(int64_t n, const Stream& stream, Body body) {
  using T = Tally<kSums, kMinima>;
  T result;
  if (n <= 0) return result;
  const DeviceBuffer<T> out(std::vector<T>(1), stream);
  kernels::tally<<<kernels::blocks_for(n), kernels::kThreads, 0, handle_of(stream)>>>(n, body, out.data());
  cuda_check(cudaGetLastError(), "kernel launch");
  copy_to_host(&result, out.data(), sizeof result, stream);
  return result;
}

// One more in a counter that other threads count in too.
__device__ inline void count_in(int64_t* counter) { atomicAdd(reinterpret_cast<unsigned long long*>(counter), 1ull); }

__device__ inline void add_to(int64_t* at, int64_t value) {
  atomicAdd(reinterpret_cast<unsigned long long*>(at), static_cast<unsigned long long>(value));
}
__device__ inline void add_to(int32_t* at, int32_t value) { atomicAdd(at, value); }

// Puts `value` where 0 is; returns what was there.
__device__ inline int64_t claim(int64_t* at, int64_t value) {
  return static_cast<int64_t>(
      atomicCAS(reinterpret_cast<unsigned long long*>(at), 0ull, static_cast<unsigned long long>(value)));
}

__device__ inline void raise_to(int32_t* at, int32_t value) { atomicMax(at, value); }
__device__ inline void raise_to(int64_t* at, int64_t value) {
  atomicMax(reinterpret_cast<long long*>(at), static_cast<long long>(value));
}

// The larger of two numbers >= 0, whose bits order as they do.
__device__ inline void raise_to(float* at, float value) {
  atomicMax(reinterpret_cast<int*>(at), __float_as_int(value));
}

}  // namespace segae
