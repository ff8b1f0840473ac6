// The formulas of warp.h for one voxel, shared by the CPU loop and the CUDA kernel.
#pragma once

#include <math.h>

#include "edit/warp.h"

namespace segae {

// floor() is a call into the math library on baseline x86-64. What lies absurdly far away, or nowhere, is outside.
SEGAE_HD inline int64_t floor_index(double value) {
  if (!(fabs(value) < 0x1p60)) return -(int64_t{1} << 60);
  const int64_t cut = static_cast<int64_t>(value);
  return cut - (value < static_cast<double>(cut));
}

SEGAE_HD inline double snap(double position, double cell, double from) {
  return cell > 0 ? (static_cast<double>(floor_index((position - from) / cell)) + 0.5) * cell + from : position;
}

// The part of a mapped position that a row along x has in common.
SEGAE_HD inline double mapped_row(const Map& map, int axis, double z, double y) {
  const size_t row = static_cast<size_t>(3 * axis);
  return map.matrix[row] * z + map.matrix[row + 1] * y + map.offset_mm[static_cast<size_t>(axis)];
}

// Voxel coordinate in the source's box of a position whose row part is `base`.
SEGAE_HD inline double in_source(const Map& map, const Box& source, int axis, double base, double x, double moved) {
  const size_t a = static_cast<size_t>(axis);
  return (base + map.matrix[3 * a + 2] * x + moved) / source.spacing_mm[a] - static_cast<double>(source.origin[a]);
}

SEGAE_HD inline float voxel_or_zero(const uint8_t* source, const Int3& shape, int64_t z, int64_t y, int64_t x) {
  const bool inside = z >= 0 && y >= 0 && x >= 0 && z < shape[0] && y < shape[1] && x < shape[2];
  return inside && source[(z * shape[1] + y) * shape[2] + x] ? 1.0f : 0.0f;
}

// The source interpolated at a position given in voxels of its box, compared with 1/2.
SEGAE_HD inline uint8_t sample_mask(const uint8_t* source, const Int3& shape, double z, double y, double x) {
  const int64_t iz = floor_index(z), iy = floor_index(y), ix = floor_index(x);
  const bool interior = iz >= 0 && iy >= 0 && ix >= 0 && iz + 1 < shape[0] && iy + 1 < shape[1] && ix + 1 < shape[2];
  float corner[8];
  if (interior) {
    const uint8_t* at = source + (iz * shape[1] + iy) * shape[2] + ix;
    const int64_t rows[4] = {0, shape[2], shape[1] * shape[2], (shape[1] + 1) * shape[2]};
    int sum = 0;
    for (int k = 0; k < 4; ++k) sum += (at[rows[k]] != 0) + (at[rows[k] + 1] != 0);
    if (sum == 0 || sum == 8) return sum == 8;
    for (int k = 0; k < 4; ++k) {
      corner[2 * k] = at[rows[k]] ? 1.0f : 0.0f;
      corner[2 * k + 1] = at[rows[k] + 1] ? 1.0f : 0.0f;
    }
  } else {
    for (int k = 0; k < 8; ++k) corner[k] = voxel_or_zero(source, shape, iz + k / 4, iy + k / 2 % 2, ix + k % 2);
  }
  const float tz = static_cast<float>(z - static_cast<double>(iz));
  const float ty = static_cast<float>(y - static_cast<double>(iy));
  const float tx = static_cast<float>(x - static_cast<double>(ix));
  float sum = 0.0f;
  for (int k = 0; k < 4; ++k) {
    const float weight = (k / 2 ? tz : 1.0f - tz) * (k % 2 ? ty : 1.0f - ty);
    sum += weight * (corner[2 * k] + (corner[2 * k + 1] - corner[2 * k]) * tx);
  }
  return sum >= 0.5f;
}

}  // namespace segae
