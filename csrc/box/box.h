// The working array of a perturbation: a C-contiguous box of the volume, around the mask and as far as the error
// reaches. Positions are in mm from the centre of the volume's first voxel, so a result does not depend on the box.
#pragma once

#include "core/host_device.h"
#include "core/volume.h"
#include "cuda/stream.h"

namespace segae {

struct Box {
  Int3 origin;  // voxel of the volume that is the box's first
  Int3 shape;
  Double3 spacing_mm;

  int64_t voxels() const { return shape[0] * shape[1] * shape[2]; }
  SEGAE_HD double position(int axis, int64_t index) const {
    return static_cast<double>(origin[static_cast<size_t>(axis)] + index) * spacing_mm[static_cast<size_t>(axis)];
  }
};

// How a result agrees with the truth: voxels of both, of the result, of the truth.
struct Counts {
  int64_t both = 0, result = 0, truth = 0;
};

}  // namespace segae
