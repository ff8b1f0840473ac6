#include "edit/slices.h"

#include <algorithm>

#include "cuda/cuda_util.h"
#include "distance/distance_cuda.h"
#include "edit/slices_formula.h"

namespace segae {

namespace {

// What a slice of the result lies between: numbers of annotated slices, -1 outside them.
struct Between {
  int64_t lower, upper;
  float weight;
};

std::vector<Between> neighbours_of(int64_t slices, const int64_t* kept, int64_t n) {
  std::vector<Between> all;
  for (int64_t index = 0; index < slices; ++index) {
    const int64_t* after = std::lower_bound(kept, kept + n, index);
    const int64_t upper = after - kept;
    if (after != kept + n && *after == index) {
      all.push_back({upper, upper, 0.0f});
    } else if (after != kept + n && after != kept) {
      all.push_back({upper - 1, upper, share_between(after[-1], index, after[0])});
    } else {
      all.push_back({-1, -1, 0.0f});
    }
  }
  return all;
}

}  // namespace

void interpolate_slices(const Box& box, const uint8_t* mask, int axis, const int64_t* kept, int64_t n,
                        const Stream& stream, uint8_t* out) {
  const SliceGrid plane = slice_across(box, axis);
  const int64_t columns = plane.shape[2], voxels = plane.shape[1] * columns;
  const DeviceBuffer<int64_t> kept_buffer(std::vector<int64_t>(kept, kept + n), stream);
  const DeviceBuffer<uint8_t> flat_buffer(n * voxels, stream);
  const DeviceBuffer<float> distance_buffer(n * voxels, stream);
  const DeviceBuffer<float> depth_buffer(std::vector<float>(static_cast<size_t>(n)), stream);
  const int64_t* annotated = kept_buffer.data();
  uint8_t* flat = flat_buffer.data();
  float* distances = distance_buffer.data();
  float* depths = depth_buffer.data();

  for_each(n * voxels, stream, [=] __device__(int64_t k) {
    const int64_t i = k % voxels;
    flat[k] =
        mask[annotated[k / voxels] * plane.slice_step + i / columns * plane.row_step + i % columns * plane.column_step];
  });
  signed_squared_distance_in_planes(flat, {n, plane.shape[1], columns}, plane.spacing_mm, Sides::kBoth, stream,
                                    distances);
  const float farthest = farthest_in(plane);
  for_each(n * voxels, stream, [=] __device__(int64_t k) {
    const float distance = held_distance_in_plane(distances[k], farthest);
    if (distance < 0) raise_to(depths + k / voxels, -distance);
    distances[k] = distance;
  });

  const int64_t slices = box.shape[static_cast<size_t>(axis)];
  const DeviceBuffer<Between> between_buffer(neighbours_of(slices, kept, n), stream);
  const Between* between = between_buffer.data();
  for_each(slices * voxels, stream, [=] __device__(int64_t k) {
    const int64_t index = k / voxels, i = k % voxels;
    const Between& near = between[index];
    float distance = 1.0f;
    // A slice without a voxel has the depth 0.
    if (near.upper >= 0 && (depths[near.lower] > 0 || depths[near.upper] > 0)) {
      const float below = depths[near.lower] > 0 ? distances[near.lower * voxels + i] : depths[near.upper];
      const float above = depths[near.upper] > 0 ? distances[near.upper * voxels + i] : depths[near.lower];
      distance = (1.0f - near.weight) * below + near.weight * above;
    }
    out[index * plane.slice_step + i / columns * plane.row_step + i % columns * plane.column_step] = distance <= kTieMm;
  });
}

}  // namespace segae
