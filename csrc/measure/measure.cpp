#include "measure/measure.h"

#include <optional>
#include <vector>

#include "distance/distance.h"
#include "measure/measure_cpu.h"
#include "parallel.h"

namespace segae {

namespace {

SurfaceCounts count_surfaces(const MaskView& given, const MaskView& truth, std::optional<int> slice_axis,
                             const Double3& spacing_mm, double tolerance_mm, int threads) {
  const size_t n = static_cast<size_t>(given.volume.voxels());
  std::vector<uint8_t> given_border(n), truth_border(n);
  std::vector<float> distance(n);
  mark_border_cpu(given, slice_axis, threads, given_border.data());
  mark_border_cpu(truth, slice_axis, threads, truth_border.data());
  const double limit = tolerance_mm * (1 + 1e-6);
  const auto close = [&](const std::vector<uint8_t>& border, const std::vector<uint8_t>& seeds, int64_t& all,
                         int64_t& near) {
    squared_distance(seeds.data(), given.volume.shape, spacing_mm, threads, distance.data());
    for (size_t i = 0; i < n; ++i) {
      if (!border[i]) continue;
      ++all;
      near += static_cast<double>(distance[i]) <= limit * limit;
    }
  };
  SurfaceCounts counts;
  close(given_border, truth_border, counts.given, counts.given_close);
  close(truth_border, given_border, counts.truth, counts.truth_close);
  return counts;
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
