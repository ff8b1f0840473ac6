// The first pass of distance.h, shared by the CPU loop and the CUDA kernel.
#pragma once

#include <algorithm>

#include "distance/distance.h"

namespace segae {

// First axis: squared distance along x to the next voxel of the other side, by a sweep each way.
SEGAE_HD inline void sweep_line(const uint8_t* mask, int64_t n, double step, bool outside, bool inside, float* out) {
  int64_t begin = 0;
  while (begin < n) {
    const bool in = mask[begin] != 0;
    int64_t end = begin + 1;
    while (end < n && (mask[end] != 0) == in) ++end;
    const float sign = in ? -1.0f : 1.0f;
    for (int64_t i = begin; i < end; ++i) {
      if (!(in ? inside : outside)) {
        out[i] = 0.0f;
        continue;
      }
      int64_t steps = n;  // farther than any voxel of the line
      if (begin > 0) steps = i - begin + 1;
      if (end < n) steps = std::min(steps, end - i);
      const double along = step * static_cast<double>(steps);
      out[i] = sign * (steps == n ? std::numeric_limits<float>::infinity() : static_cast<float>(along * along));
    }
    begin = end;
  }
}

}  // namespace segae
