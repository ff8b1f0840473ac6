// The formulas of slices.h, shared by the CPU loop and the CUDA kernel.
#pragma once

#include <math.h>

#include "edit/slices.h"

namespace segae {

inline constexpr float kTieMm = 1e-4f;  // half way between two outlines is inside, however the sum was rounded

// A slice across an axis, as a box of one slice, and the steps of its voxels in the box that it was taken from.
struct SliceGrid {
  Int3 shape;
  Double3 spacing_mm;
  int64_t row_step, column_step, slice_step;
};

inline SliceGrid slice_across(const Box& box, int axis) {
  const Int3 step{box.shape[1] * box.shape[2], box.shape[2], 1};
  const size_t row = plane_axes(axis).row, column = plane_axes(axis).column;
  return {{1, box.shape[row], box.shape[column]},
          {1.0, box.spacing_mm[row], box.spacing_mm[column]},
          step[row],
          step[column],
          step[static_cast<size_t>(axis)]};
}

// Stands for an infinite distance in the plane.
inline float farthest_in(const SliceGrid& plane) {
  return static_cast<float>(plane.spacing_mm[1] * static_cast<double>(plane.shape[1]) +
                            plane.spacing_mm[2] * static_cast<double>(plane.shape[2]));
}

SEGAE_HD inline float held_distance_in_plane(float squared, float farthest) {
  const float distance = sqrtf(fabsf(squared));
  const float held = farthest < distance ? farthest : distance;
  return squared < 0 ? -held : held;
}

inline float share_between(int64_t before, int64_t index, int64_t after) {
  return static_cast<float>(index - before) / static_cast<float>(after - before);
}

}  // namespace segae
