#include <cmath>

#include "cuda/cuda_util.h"
#include "distance/distance.h"
#include "measure/measure.h"

namespace segae {

namespace {

void mark_border(const uint8_t* mask, const Int3& shape, const Stream& stream, uint8_t* border) {
  for_each(shape[0] * shape[1] * shape[2], stream, [=] __device__(int64_t i) {
    const Int3 at = place_of(shape, i);
    const int64_t step[3] = {shape[1] * shape[2], shape[2], 1};
    bool open = false;
    for (size_t axis = 0; axis < 3; ++axis) {
      open = open || at[axis] == 0 || at[axis] + 1 == shape[axis] || !mask[i - step[axis]] || !mask[i + step[axis]];
    }
    border[i] = mask[i] && open;
  });
}

// Border voxels, and those of them near the other border.
Tally<2, 1> count_close(const uint8_t* border, const float* squared_distance, int64_t n, double limit,
                        const Stream& stream) {
  return tally_over<2>(n, stream, [=] __device__(int64_t i, Tally<2, 1>& tally) {
    if (!border[i]) return;
    const float squared = squared_distance[i];
    ++tally.sum[0];
    tally.sum[1] += squared < HUGE_VALF && static_cast<double>(squared) <= limit;
  });
}

}  // namespace

SurfaceCounts surface_counts(const uint8_t* given, const uint8_t* truth, const Int3& shape, const Double3& spacing_mm,
                             double tolerance_mm, const Stream& stream) {
  const int64_t n = shape[0] * shape[1] * shape[2];
  const DeviceBuffer<uint8_t> given_border(n, stream), truth_border(n, stream);
  mark_border(given, shape, stream, given_border.data());
  mark_border(truth, shape, stream, truth_border.data());
  const double limit = tolerance_mm * (1 + 1e-6);
  const DeviceBuffer<float> distances(n, stream);
  const auto close = [&](const uint8_t* border, const uint8_t* other) {
    float* distance = distances.data();
    signed_squared_distance(other, shape, spacing_mm, Sides::kOutside, stream, distance);
    return count_close(border, distance, n, limit * limit, stream);
  };
  const Tally<2, 1> of_given = close(given_border.data(), truth_border.data());
  const Tally<2, 1> of_truth = close(truth_border.data(), given_border.data());
  return {of_given.sum[0], of_truth.sum[0], of_given.sum[1], of_truth.sum[1]};
}

}  // namespace segae
