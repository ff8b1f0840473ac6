#pragma once

#include "measure/measure.h"

namespace segae {

// Counts of one slice: in both, in `given`, in `truth`.
void overlap_slice_cpu(const MaskView& given, const MaskView& truth, int axis, int64_t index, int64_t out[3]);

// Marks the border voxels of `mask` with 1 in a C-contiguous array of the mask's shape. An axis of extent 1 has no
// neighbours unless `flat_axis_is_open`: within a slice the neighbours above and below do not count.
void mark_border_cpu(const MaskView& mask, bool flat_axis_is_open, int threads, uint8_t* border);

}  // namespace segae
