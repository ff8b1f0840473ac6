// distance: exact squared Euclidean distances on an anisotropic grid.
//
// One axis after the other: two sweeps along x, then the lower envelope of parabolas along y and z (Felzenszwalb &
// Huttenlocher, Theory of Computing 8, 2012). A line is cut into runs on one side of the boundary; the voxels next to
// a run are sites of height 0, so both sides are done in one pass and the side not asked for costs nothing (the idea
// of multi-label transforms, W. Silversmith, "edt"). Plain double arithmetic without contraction: every machine and
// thread count gives the same bits.
#pragma once

#include "core/volume.h"
#include "cuda/stream.h"

namespace segae {

enum class Sides : uint8_t { kOutside = 1, kInside = 2, kBoth = 3 };

// For every voxel of a C-contiguous box of `shape`: the squared distance in mm^2 between its centre and that of the
// nearest voxel on the other side of the mask's boundary, negative inside the mask (byte not 0); +-infinity when there
// is no such voxel in the box, 0 on a side that was not asked for. `out` has the box's size.
void signed_squared_distance(const uint8_t* mask, const Int3& shape, const Double3& spacing_mm, Sides sides,
                             int threads, float* out);

// The same on a CUDA device: pointers into its memory, work queued on `stream`.
void signed_squared_distance(const uint8_t* mask, const Int3& shape, const Double3& spacing_mm, Sides sides,
                             const Stream& stream, float* out);

// The outer side alone: squared distance to the nearest seed, 0 on the seeds themselves.
inline void squared_distance(const uint8_t* seeds, const Int3& shape, const Double3& spacing_mm, int threads,
                             float* out) {
  signed_squared_distance(seeds, shape, spacing_mm, Sides::kOutside, threads, out);
}

}  // namespace segae
