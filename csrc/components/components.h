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

}  // namespace segae
