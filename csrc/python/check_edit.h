// Checks that the bindings of csrc/edit make on every device.
#pragma once

#include <cmath>
#include <vector>

#include "edit/levels.h"
#include "python/arrays.h"

namespace segae {

inline void check_within(const VolumeView& volume, const Box& box, const char* name) {
  for (size_t axis = 0; axis < 3; ++axis) {
    if (box.origin[axis] < 0 || box.origin[axis] > volume.shape[axis] - box.shape[axis]) {
      throw py::index_error(std::string(name) + ": the box leaves the volume");
    }
  }
}

// The box of every stride-th voxel, counted from its own first.
inline Box thinned(const Box& box, const Int3& stride) {
  Box kept = box;
  for (size_t axis = 0; axis < 3; ++axis) {
    if (stride[axis] < 1) throw py::value_error("stride: expected three positive numbers");
    kept.shape[axis] = (box.shape[axis] - 1) / stride[axis] + 1;
    kept.spacing_mm[axis] *= static_cast<double>(stride[axis]);
  }
  kept.origin = {};
  return kept;
}

inline void check_rule(const LevelRule& rule, const Box& box, bool has_distance) {
  check_axis(rule.axis);
  if (!has_distance && (rule.measure == Measure::kDistance || rule.measure == Measure::kField)) {
    throw py::value_error("squared: this measure reads it");
  }
  if (rule.measure == Measure::kSlices &&
      static_cast<int64_t>(rule.slices.size()) != box.shape[static_cast<size_t>(rule.axis)]) {
    throw py::value_error("slices: expected one level a slice of the box");
  }
}

inline void check_sigma(double sigma_mm, const Box& box) {
  for (const double step : box.spacing_mm) {
    if (!(sigma_mm >= 0 && sigma_mm <= 10000 * step)) throw py::value_error("sigma_mm: expected 0 to 10 000 voxels");
  }
}

inline void check_bins(double most, int64_t bins) {
  if (!(most > 0) || !std::isfinite(most) || bins < 1) throw py::value_error("most, bins: expected positive numbers");
  if (bins > (1 << 24)) throw py::value_error("bins: expected 16 million or fewer");
}

inline void check_kept(const std::vector<int64_t>& kept, int axis, const Box& box) {
  check_axis(axis);
  for (size_t i = 0; i < kept.size(); ++i) {
    if (kept[i] < 0 || kept[i] >= box.shape[static_cast<size_t>(axis)] || (i > 0 && kept[i] <= kept[i - 1])) {
      throw py::index_error("kept: expected ascending slices of the box");
    }
  }
}

}  // namespace segae
