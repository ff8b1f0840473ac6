// components: 26-connected components of a mask.
//
// Runs along the last axis are the nodes of a union-find forest; two runs are joined when they touch, diagonals
// included, in neighbouring rows (He, Chao & Suzuki, IEEE TIP 2008, in 3D). Cost follows the number of runs.
#pragma once

#include <vector>

#include "core/volume.h"

namespace segae {

// Sizes in voxels of the components of `mask`, largest first.
std::vector<int64_t> component_sizes(const MaskView& mask);

// Number of the component that each voxel belongs to: 1 the largest (of equal ones the first in memory order of
// [z, y, x]), 0 outside the mask. `out` is int32 [z, y, x], contiguous.
void component_labels(const MaskView& mask, int32_t* out);

}  // namespace segae
