// distance: exact squared Euclidean distances on an anisotropic grid.
//
// The lower envelope of parabolas, one axis after the other (Felzenszwalb & Huttenlocher, Theory of Computing 8,
// 2012), in plain double arithmetic without contraction, so that every machine and thread count gives the same bits.
#pragma once

#include "volume.h"

namespace segae {

// For every voxel of a C-contiguous box of `shape`: the squared distance in mm^2 between its centre and that of the
// nearest voxel whose `seeds` byte is not 0; infinity when there is no seed. `out` has the box's size.
void squared_distance(const uint8_t* seeds, const Int3& shape, const Double3& spacing_mm, int threads, float* out);

}  // namespace segae
