#pragma once

#include <optional>

#include "measure/measure.h"

namespace segae {

// Counts of one slice: in both, in `given`, in `truth`.
void overlap_slice_cpu(const MaskView& given, const MaskView& truth, int axis, int64_t index, int64_t out[3]);

// Marks the border voxels of `mask` with 1 in a C-contiguous array of the mask's shape. Neighbours along `skipped_axis`
// do not count: those above and below a slice, when it is looked at by itself.
void mark_border_cpu(const MaskView& mask, std::optional<int> skipped_axis, int threads, uint8_t* border);

}  // namespace segae
