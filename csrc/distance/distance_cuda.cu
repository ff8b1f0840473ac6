#include "distance/distance_cuda.h"

#include <algorithm>

#include "cuda/cuda_util.h"
#include "distance/distance_formula.h"

namespace segae {

namespace {

constexpr int64_t kMostSites = int64_t{1} << 24;  // of all lines that are worked on together: 256 MiB

// A parabola of the lower envelope and where it becomes the lowest. Its height is read from the line again.
struct Site {
  int64_t at;
  double from;
};

// The envelope of distance_cpu.cpp along one strided line, by one thread, with the same arithmetic. The sites of
// neighbouring lines lie side by side, so that threads read them together.
struct Line {
  const float* in;
  float* out;
  int64_t n, stride;
  double step;
  Site* sites;
  int64_t sites_stride;
  int64_t begin = 0, end = 0;  // the run that is looked at
  double sign = 1;
  int64_t count = 0;

  SEGAE_HD float value(int64_t i) const { return in[i * stride]; }
  SEGAE_HD Site& site(int64_t k) const { return sites[k * sites_stride]; }
  SEGAE_HD double height(int64_t at) const {
    return at < begin || at >= end ? 0.0 : sign * static_cast<double>(value(at));
  }
  SEGAE_HD double origin(int64_t at) const {
    const double along = step * static_cast<double>(at);
    return height(at) + along * along;
  }

  SEGAE_HD void push(int64_t at) {
    const double mine = origin(at), weight = step * step;
    double from = -HUGE_VAL;
    while (count > 0) {
      const Site top = site(count - 1);
      from = (mine - origin(top.at)) * (1.0 / (2.0 * static_cast<double>(at - top.at) * weight));
      if (from > top.from) break;
      from = -HUGE_VAL;
      --count;
    }
    site(count++) = {at, from};
  }

  SEGAE_HD void transform_run() {
    count = 0;
    if (begin > 0) push(begin - 1);
    for (int64_t i = begin; i < end; ++i) {
      if (height(i) < HUGE_VAL) push(i);
    }
    if (end < n) push(end);
    if (count == 0) {
      for (int64_t i = begin; i < end; ++i) out[i * stride] = value(i);
      return;
    }
    int64_t i = begin;
    for (int64_t piece = 0; piece < count && i < end; ++piece) {
      const int64_t at = site(piece).at;
      const double until = piece + 1 < count ? site(piece + 1).from : HUGE_VAL;
      const double base = height(at);
      for (; i < end && static_cast<double>(i) <= until; ++i) {
        const double along = step * static_cast<double>(i - at);
        out[i * stride] = static_cast<float>(sign * (base + along * along));
      }
    }
  }

  SEGAE_HD void transform() {
    for (begin = 0; begin < n; begin = end) {
      const float first = value(begin);
      end = begin + 1;
      if (first == 0.0f) {
        out[begin * stride] = 0.0f;
        continue;
      }
      const bool negative = first < 0.0f;
      while (end < n && value(end) != 0.0f && (value(end) < 0.0f) == negative) ++end;
      sign = negative ? -1.0 : 1.0;
      transform_run();
    }
  }
};

// Transforms the lines of `n` voxels that lie `stride` apart, in a volume of outer * n * stride voxels.
void transform_lines(const float* in, float* out, int64_t outer, int64_t n, int64_t stride, double step,
                     const Stream& stream) {
  const int64_t lines = outer * stride;
  const int64_t together = std::min(lines, std::max<int64_t>(kMostSites / (n + 2), 1));
  const DeviceBuffer<Site> scratch(together * (n + 2), stream);
  Site* sites = scratch.data();
  for (int64_t done = 0; done < lines; done += together) {
    for_each(std::min(together, lines - done), stream, [=] __device__(int64_t k) {
      const int64_t line = done + k;
      const int64_t first = line / stride * n * stride + line % stride;
      Line{in + first, out + first, n, stride, step, sites + k, together}.transform();
    });
  }
}

void transform(const uint8_t* mask, const Int3& shape, const Double3& spacing_mm, Sides sides, bool across_planes,
               const Stream& stream, float* out) {
  const int64_t depth = shape[0], height = shape[1], width = shape[2];
  const bool outside = (static_cast<int>(sides) & static_cast<int>(Sides::kOutside)) != 0;
  const bool inside = (static_cast<int>(sides) & static_cast<int>(Sides::kInside)) != 0;
  const bool along_y = height > 1, along_z = across_planes && depth > 1;
  const DeviceBuffer<float> scratch(depth * height * width, stream);
  // A pass reads one array and writes the other; the last one writes `out`.
  float* from = along_y != along_z ? scratch.data() : out;
  float* to = along_y != along_z ? out : scratch.data();
  const double step_x = spacing_mm[2];
  for_each(depth * height, stream, [=] __device__(int64_t row) {
    sweep_line(mask + row * width, width, step_x, outside, inside, from + row * width);
  });
  if (along_y) {
    transform_lines(from, to, depth, height, width, spacing_mm[1], stream);
    std::swap(from, to);
  }
  if (along_z) transform_lines(from, to, 1, depth, height * width, spacing_mm[0], stream);
}

}  // namespace

void signed_squared_distance(const uint8_t* mask, const Int3& shape, const Double3& spacing_mm, Sides sides,
                             const Stream& stream, float* out) {
  transform(mask, shape, spacing_mm, sides, true, stream, out);
}

void signed_squared_distance_in_planes(const uint8_t* mask, const Int3& shape, const Double3& spacing_mm, Sides sides,
                                       const Stream& stream, float* out) {
  transform(mask, shape, spacing_mm, sides, false, stream, out);
}

}  // namespace segae
