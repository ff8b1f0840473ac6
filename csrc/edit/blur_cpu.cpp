#include <algorithm>
#include <cmath>
#include <vector>

#include "core/parallel.h"
#include "edit/blur_formula.h"

namespace segae {

namespace {

constexpr int64_t kTile = 16;

// Blurs `count` <= kTile neighbouring lines of `n` values that lie `stride` apart, values of a line `step` apart.
void blur_tile(float* first, int64_t count, int64_t stride, int64_t n, int64_t step, int64_t half, float* work) {
  for (int64_t k = 0; k < count; ++k) {
    float* line = work;
    float* other = work + n;
    for (int64_t i = 0; i < n; ++i) line[i] = first[k * stride + i * step];
    for (int pass = 0; pass < 3; ++pass) {
      running_mean(line, n, 1, half, other);
      std::swap(line, other);
    }
    for (int64_t i = 0; i < n; ++i) first[k * stride + i * step] = line[i];
  }
}

}  // namespace

void blur(const Box& box, double sigma_mm, int threads, float* values) {
  const auto [depth, height, width] = box.shape;
  const int64_t slice = height * width;
  const auto half = [&](int axis) { return half_width(sigma_mm, box.spacing_mm[static_cast<size_t>(axis)]); };
  parallel_for(depth, threads, [&, height = height, width = width](int64_t z) {
    std::vector<float> work(static_cast<size_t>(2 * std::max(height, width)));
    if (half(2) > 0) blur_tile(values + z * slice, height, width, width, 1, half(2), work.data());
    if (half(1) > 0) blur_tile(values + z * slice, width, 1, height, width, half(1), work.data());
  });
  if (half(0) == 0) return;
  parallel_for(height, threads, [&, depth = depth, width = width](int64_t y) {
    std::vector<float> work(static_cast<size_t>(2 * depth));
    blur_tile(values + y * width, width, 1, depth, slice, half(0), work.data());
  });
}

void roughness(const Box& box, const float* squared, double sigma_mm, int threads, float* out) {
  const int64_t slice = box.shape[1] * box.shape[2];
  const float most = static_cast<float>(3.0 * sigma_mm);
  parallel_for(box.shape[0], threads, [&](int64_t z) {
    for (int64_t i = z * slice; i < (z + 1) * slice; ++i) out[i] = held_distance(squared[i], most);
  });
  blur(box, sigma_mm, threads, out);
  parallel_for(box.shape[0], threads, [&](int64_t z) {
    for (int64_t i = z * slice; i < (z + 1) * slice; ++i) out[i] = held_distance(squared[i], most) - out[i];
  });
}

}  // namespace segae
