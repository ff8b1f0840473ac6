#include "measure/measure.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "core/parallel.h"
#include "distance/distance.h"
#include "measure/measure_cpu.h"

namespace segae {

namespace {

// Within a tolerance of a few voxels, looking around each border voxel is far cheaper than a distance transform.
constexpr size_t kMostOffsets = 4096;

struct Offset {
  double squared_mm;
  int64_t z, y, x;
};

// Every step to a voxel centre within the limit, nearest first; empty when there are more than kMostOffsets.
std::vector<Offset> offsets_within(const Int3& shape, const Double3& spacing_mm, double limit_mm) {
  Int3 reach;
  double count = 1;
  for (size_t axis = 0; axis < 3; ++axis) {
    const double steps = std::min(limit_mm / spacing_mm[axis], static_cast<double>(shape[axis] - 1));
    reach[axis] = static_cast<int64_t>(steps);
    count *= 2 * steps + 1;
  }
  std::vector<Offset> offsets;
  if (count > 2.0 * kMostOffsets) return offsets;
  for (int64_t z = -reach[0]; z <= reach[0]; ++z) {
    for (int64_t y = -reach[1]; y <= reach[1]; ++y) {
      for (int64_t x = -reach[2]; x <= reach[2]; ++x) {
        const Double3 along{static_cast<double>(z) * spacing_mm[0], static_cast<double>(y) * spacing_mm[1],
                            static_cast<double>(x) * spacing_mm[2]};
        const double squared = along[0] * along[0] + along[1] * along[1] + along[2] * along[2];
        if (squared <= limit_mm * limit_mm) offsets.push_back({squared, z, y, x});
      }
    }
  }
  std::stable_sort(offsets.begin(), offsets.end(),
                   [](const Offset& a, const Offset& b) { return a.squared_mm < b.squared_mm; });
  return offsets;
}

// How many border voxels there are, and how many have a voxel of `other` at one of the offsets.
std::array<int64_t, 2> close_by_search(const std::vector<uint8_t>& border, const std::vector<uint8_t>& other,
                                       const Int3& shape, const std::vector<Offset>& offsets, int threads) {
  const auto [depth, height, width] = shape;
  std::vector<std::array<int64_t, 2>> counts(static_cast<size_t>(depth));
  parallel_for(depth, threads, [&, depth = depth, height = height, width = width](int64_t z) {
    int64_t all = 0, near = 0;
    for (int64_t y = 0; y < height; ++y) {
      for (int64_t x = 0; x < width; ++x) {
        if (!border[static_cast<size_t>((z * height + y) * width + x)]) continue;
        ++all;
        for (const Offset& offset : offsets) {
          const int64_t oz = z + offset.z, oy = y + offset.y, ox = x + offset.x;
          if (oz < 0 || oy < 0 || ox < 0 || oz >= depth || oy >= height || ox >= width) continue;
          if (!other[static_cast<size_t>((oz * height + oy) * width + ox)]) continue;
          ++near;
          break;
        }
      }
    }
    counts[static_cast<size_t>(z)] = {all, near};
  });
  std::array<int64_t, 2> sum{};
  for (const auto& one : counts) sum = {sum[0] + one[0], sum[1] + one[1]};
  return sum;
}

std::array<int64_t, 2> close_by_distance(const std::vector<uint8_t>& border, const std::vector<uint8_t>& other,
                                         const Int3& shape, const Double3& spacing_mm, double limit_mm, int threads) {
  std::vector<float> distance(border.size());
  squared_distance(other.data(), shape, spacing_mm, threads, distance.data());
  std::array<int64_t, 2> sum{};
  for (size_t i = 0; i < border.size(); ++i) {
    if (!border[i]) continue;
    ++sum[0];
    // A limit whose square overflows reaches everything, but not the border of an empty mask.
    sum[1] += std::isfinite(distance[i]) && static_cast<double>(distance[i]) <= limit_mm * limit_mm;
  }
  return sum;
}

SurfaceCounts count_surfaces(const MaskView& given, const MaskView& truth, std::optional<int> slice_axis,
                             const Double3& spacing_mm, double tolerance_mm, int threads) {
  const Int3& shape = given.volume.shape;
  const size_t n = static_cast<size_t>(given.volume.voxels());
  std::vector<uint8_t> given_border(n), truth_border(n);
  mark_border_cpu(given, slice_axis, threads, given_border.data());
  mark_border_cpu(truth, slice_axis, threads, truth_border.data());
  const double limit = tolerance_mm * (1 + 1e-6);
  const std::vector<Offset> offsets = offsets_within(shape, spacing_mm, limit);
  const auto close = [&](const std::vector<uint8_t>& border, const std::vector<uint8_t>& other) {
    return offsets.empty() ? close_by_distance(border, other, shape, spacing_mm, limit, threads)
                           : close_by_search(border, other, shape, offsets, threads);
  };
  const auto [given_all, given_close] = close(given_border, truth_border);
  const auto [truth_all, truth_close] = close(truth_border, given_border);
  return {given_all, truth_all, given_close, truth_close};
}

MaskView slice_of(const MaskView& mask, int axis, int64_t index) {
  MaskView slice = mask;
  slice.volume.data += index * mask.volume.stride[static_cast<size_t>(axis)];
  slice.volume.shape[static_cast<size_t>(axis)] = 1;
  return slice;
}

}  // namespace

void overlap(const MaskView& given, const MaskView& truth, int axis, int threads, int64_t* out) {
  parallel_for(given.volume.shape[static_cast<size_t>(axis)], threads,
               [&](int64_t i) { overlap_slice_cpu(given, truth, axis, i, out + 3 * i); });
}

SurfaceCounts surface_counts(const MaskView& given, const MaskView& truth, const Double3& spacing_mm,
                             double tolerance_mm, int threads) {
  return count_surfaces(given, truth, std::nullopt, spacing_mm, tolerance_mm, threads);
}

void surface_counts_per_slice(const MaskView& given, const MaskView& truth, int axis, const Double3& spacing_mm,
                              double tolerance_mm, int threads, SurfaceCounts* out) {
  parallel_for(given.volume.shape[static_cast<size_t>(axis)], threads, [&](int64_t i) {
    out[i] = count_surfaces(slice_of(given, axis, i), slice_of(truth, axis, i), axis, spacing_mm, tolerance_mm, 1);
  });
}

}  // namespace segae
