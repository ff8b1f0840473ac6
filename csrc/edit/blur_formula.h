// The formulas of blur.h, shared by the CPU loop and the CUDA kernel.
#pragma once

#include <math.h>

#include "edit/blur.h"

namespace segae {

// Three running means over 2 h + 1 voxels have the variance ((2 h + 1)^2 - 1) / 4 = h (h + 1).
inline int64_t half_width(double sigma_mm, double step_mm) {
  const double sigma = sigma_mm / step_mm;
  return static_cast<int64_t>(sqrt(sigma * sigma + 0.25));  // floor(h + 1/2), h the exact solution
}

SEGAE_HD inline float held_distance(float squared, float most) {
  const float distance = sqrtf(fabsf(squared));
  const float held = distance < most ? distance : most;
  return squared < 0 ? -held : held;
}

// The values of a line lie `step` apart.
SEGAE_HD inline void running_mean(const float* line, int64_t n, int64_t step, int64_t half, float* out) {
  const double weight = 1.0 / static_cast<double>(2 * half + 1);
  double sum = 0;
  for (int64_t i = -half; i <= half; ++i) sum += static_cast<double>(line[(i < 0 ? 0 : i < n ? i : n - 1) * step]);
  for (int64_t i = 0; i < n; ++i) {
    out[i * step] = static_cast<float>(sum * weight);
    const int64_t enters = i + half + 1 < n ? i + half + 1 : n - 1;
    const int64_t leaves = i - half > 0 ? i - half : 0;
    sum += static_cast<double>(line[enters * step]) - static_cast<double>(line[leaves * step]);
  }
}

}  // namespace segae
