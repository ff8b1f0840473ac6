#include <algorithm>
#include <cmath>
#include <vector>

#include "core/parallel.h"
#include "distance/distance_formula.h"

namespace segae {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr int64_t kTile = 16;  // lines gathered together: one cache line of floats

// The other axes. A site is a parabola of some height over a voxel of the line; `from` is where it becomes the lowest.
class Envelope {
 public:
  Envelope(int64_t n, double step)
      : step_(step), weight_(step * step), sites_(static_cast<size_t>(n + 2)), half_inverse_(sites_.size() + 1) {
    for (size_t k = 1; k < half_inverse_.size(); ++k) {
      half_inverse_[k] = 1.0 / (2.0 * static_cast<double>(k) * weight_);
    }
  }

  // values[i] becomes the minimum over the sites j of its run of |values[j]| + (step (i - j))^2, with its sign kept.
  void transform(float* values, int64_t n) {
    int64_t begin = 0;
    while (begin < n) {
      const float first = values[begin];
      int64_t end = begin + 1;
      if (first == 0.0f) {
        while (end < n && values[end] == 0.0f) ++end;
      } else {
        const bool negative = first < 0.0f;
        while (end < n && values[end] != 0.0f && (values[end] < 0.0f) == negative) ++end;
        transform_run(values, begin, end, n, negative ? -1.0 : 1.0);
      }
      begin = end;
    }
  }

 private:
  struct Site {
    int64_t at;
    double height;  // in mm^2
    double origin;  // height + (step at)^2
    double from;
  };

  void push(int64_t at, double height) {
    const double along = step_ * static_cast<double>(at);
    const double origin = height + along * along;
    double from = -kInfinity;
    while (count_ > 0) {
      const Site& top = sites_[static_cast<size_t>(count_ - 1)];
      from = (origin - top.origin) * half_inverse_[static_cast<size_t>(at - top.at)];
      if (from > top.from) break;
      from = -kInfinity;
      --count_;
    }
    sites_[static_cast<size_t>(count_++)] = {at, height, origin, from};
  }

  void transform_run(float* values, int64_t begin, int64_t end, int64_t n, double sign) {
    count_ = 0;
    if (begin > 0) push(begin - 1, 0.0);
    for (int64_t i = begin; i < end; ++i) {
      const double height = sign * static_cast<double>(values[i]);
      if (height < kInfinity) push(i, height);
    }
    if (end < n) push(end, 0.0);
    if (count_ == 0) return;
    int64_t i = begin;
    for (int64_t piece = 0; piece < count_ && i < end; ++piece) {
      const Site& site = sites_[static_cast<size_t>(piece)];
      const double until = piece + 1 < count_ ? sites_[static_cast<size_t>(piece + 1)].from : kInfinity;
      for (; i < end && static_cast<double>(i) <= until; ++i) {
        const double along = step_ * static_cast<double>(i - site.at);
        values[i] = static_cast<float>(sign * (site.height + along * along));
      }
    }
  }

  double step_, weight_;
  std::vector<Site> sites_;
  std::vector<double> half_inverse_;  // 1 / (2 k step^2)
  int64_t count_ = 0;
};

// Transforms `count` <= kTile neighbouring lines of `n` voxels that lie `stride` apart.
void transform_tile(float* first, int64_t count, int64_t stride, int64_t n, Envelope& envelope, float* lines) {
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t k = 0; k < count; ++k) lines[k * n + i] = first[i * stride + k];
  }
  for (int64_t k = 0; k < count; ++k) envelope.transform(lines + k * n, n);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t k = 0; k < count; ++k) first[i * stride + k] = lines[k * n + i];
  }
}

}  // namespace

void signed_squared_distance(const uint8_t* mask, const Int3& shape, const Double3& spacing_mm, Sides sides,
                             int threads, float* out) {
  const auto [depth, height, width] = shape;
  const bool outside = (static_cast<int>(sides) & static_cast<int>(Sides::kOutside)) != 0;
  const bool inside = (static_cast<int>(sides) & static_cast<int>(Sides::kInside)) != 0;
  parallel_for(depth, threads, [&, height = height, width = width](int64_t z) {
    const int64_t slice = z * height * width;
    for (int64_t y = 0; y < height; ++y) {
      sweep_line(mask + slice + y * width, width, spacing_mm[2], outside, inside, out + slice + y * width);
    }
    if (height == 1) return;
    std::vector<float> lines(static_cast<size_t>(kTile * height));
    Envelope envelope(height, spacing_mm[1]);
    for (int64_t x = 0; x < width; x += kTile) {
      transform_tile(out + slice + x, std::min(kTile, width - x), width, height, envelope, lines.data());
    }
  });
  if (depth == 1) return;
  parallel_for(height, threads, [&, depth = depth, height = height, width = width](int64_t y) {
    std::vector<float> lines(static_cast<size_t>(kTile * depth));
    Envelope envelope(depth, spacing_mm[0]);
    for (int64_t x = 0; x < width; x += kTile) {
      transform_tile(out + y * width + x, std::min(kTile, width - x), height * width, depth, envelope, lines.data());
    }
  });
}

}  // namespace segae
