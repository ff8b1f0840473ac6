// Stands in for csrc/cuda_util.h: the bodies of the CUDA kernels run on the host, one index after the other. Tests
// their arithmetic and addressing where there is no GPU; says nothing of launches, streams, races or speed.
#pragma once

#include <math.h>  // as nvcc does

#include <cstdint>
#include <limits>
#include <vector>

#include "cuda/device_memory.h"
#include "cuda/stream.h"

#define __device__

namespace segae {

template <class T>
class DeviceBuffer {
 public:
  DeviceBuffer(int64_t n, const Stream& stream) : memory_(n * static_cast<int64_t>(sizeof(T)), stream) {}
  DeviceBuffer(const std::vector<T>& values, const Stream& stream)
      : DeviceBuffer(static_cast<int64_t>(values.size()), stream) {
    copy_to_device(memory_.data(), values.data(), static_cast<int64_t>(values.size() * sizeof(T)), stream);
  }
  T* data() const { return static_cast<T*>(memory_.data()); }

 private:
  DeviceMemory memory_;
};

template <class Body>
void for_each(int64_t n, const Stream&, Body body) {
  for (int64_t i = 0; i < n; ++i) body(i);
}

template <int kSums, int kMinima>
struct Tally {
  int64_t sum[kSums] = {};
  int64_t least[kMinima];

  Tally() {
    for (int64_t& value : least) value = std::numeric_limits<int64_t>::max();
  }
  void lower(int k, int64_t value) {
    if (value < least[k]) least[k] = value;
  }
};

template <int kSums, int kMinima = 1, class Body>
Tally<kSums, kMinima> tally_over(int64_t n, const Stream&, Body body) {
  Tally<kSums, kMinima> result;
  for (int64_t i = 0; i < n; ++i) body(i, result);
  return result;
}

inline void count_in(int64_t* counter) { ++*counter; }

template <class T>
void add_to(T* at, T value) {
  *at += value;
}

inline int64_t claim(int64_t* at, int64_t value) {
  const int64_t before = *at;
  if (before == 0) *at = value;
  return before;
}

template <class T>
void raise_to(T* at, T value) {
  if (value > *at) *at = value;
}

}  // namespace segae
