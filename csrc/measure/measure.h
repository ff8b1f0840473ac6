// measure: how two masks agree. Counts from which Dice, precision and recall follow, and the surface counts of the
// normalised surface distance (Nikolov et al. 2018), with borders as in Metrics Reloaded (Maier-Hein et al. 2024):
// a mask voxel is on the border when one of its face neighbours is not in the mask; the outside of the array is not.
#pragma once

#include "core/volume.h"
#include "cuda/stream.h"

namespace segae {

// Both masks have one shape. out[3 i ...] = voxels of slice i along `axis` in both masks, in `given`, in `truth`.
void overlap(const MaskView& given, const MaskView& truth, int axis, int threads, int64_t* out);

struct SurfaceCounts {
  int64_t given = 0, truth = 0;              // border voxels
  int64_t given_close = 0, truth_close = 0;  // of them, within the tolerance of the other mask's border
};

// Distances are between voxel centres. A distance counts as within `tolerance_mm` up to one part in 10^6, since
// multiples of a spacing such as 0.7 mm are not exact. Works in about 9 bytes a voxel of the arrays given: pass views
// cropped to the union of the two bounding boxes.
SurfaceCounts surface_counts(const MaskView& given, const MaskView& truth, const Double3& spacing_mm,
                             double tolerance_mm, int threads);

// The same for C-contiguous masks (byte not 0) on a CUDA device.
SurfaceCounts surface_counts(const uint8_t* given, const uint8_t* truth, const Int3& shape, const Double3& spacing_mm,
                             double tolerance_mm, const Stream& stream);

// The same within each slice along `axis`, distances and neighbours in the plane only. out has one entry a slice.
void surface_counts_per_slice(const MaskView& given, const MaskView& truth, int axis, const Double3& spacing_mm,
                              double tolerance_mm, int threads, SurfaceCounts* out);

}  // namespace segae
