// The formulas of warp.h for one voxel, shared by the CPU loop and the CUDA kernel.
#pragma once

#include <math.h>

#include "perturb/warp.h"

namespace segae {

SEGAE_HD inline double snap(double position, double cell, double from) {
  return cell > 0 ? (floor((position - from) / cell) + 0.5) * cell + from : position;
}

SEGAE_HD inline double mapped(const Map& map, int axis, double z, double y, double x) {
  const size_t row = static_cast<size_t>(3 * axis);
  return map.matrix[row] * z + map.matrix[row + 1] * y + map.matrix[row + 2] * x +
         map.offset_mm[static_cast<size_t>(axis)];
}

SEGAE_HD inline float voxel_or_zero(const uint8_t* source, const Int3& shape, int64_t z, int64_t y, int64_t x) {
  const bool inside = z >= 0 && y >= 0 && x >= 0 && z < shape[0] && y < shape[1] && x < shape[2];
  return inside && source[(z * shape[1] + y) * shape[2] + x] ? 1.0f : 0.0f;
}

// The source interpolated at a position given in voxels of its box, compared with 1/2.
SEGAE_HD inline uint8_t sample_mask(const uint8_t* source, const Int3& shape, double z, double y, double x) {
  const double floor_z = floor(z), floor_y = floor(y), floor_x = floor(x);
  const int64_t iz = static_cast<int64_t>(floor_z), iy = static_cast<int64_t>(floor_y);
  const int64_t ix = static_cast<int64_t>(floor_x);
  const float tz = static_cast<float>(z - floor_z), ty = static_cast<float>(y - floor_y);
  const float tx = static_cast<float>(x - floor_x);
  float sum = 0.0f;
  for (int dz = 0; dz < 2; ++dz) {
    for (int dy = 0; dy < 2; ++dy) {
      const float near = voxel_or_zero(source, shape, iz + dz, iy + dy, ix);
      const float far = voxel_or_zero(source, shape, iz + dz, iy + dy, ix + 1);
      const float weight = (dz ? tz : 1.0f - tz) * (dy ? ty : 1.0f - ty);
      sum += weight * (near + (far - near) * tx);
    }
  }
  return sum >= 0.5f;
}

}  // namespace segae
