// scan: everything that one pass over a mask or labelmap can tell, for every label at once.
//
// The pass looks for runs of equal values along the axis that lies densest in memory and books each run in
// three area profiles (voxels per slice along z, y and x). Count, bounding box, centroid and border contact
// all follow from the profiles, so nothing else is stored.
#pragma once

#include <vector>

#include "core/volume.h"
#include "cuda/stream.h"

namespace segae {

// Most labels that one scan accepts; more means that the array is no labelmap (an image, say).
inline constexpr int64_t kMaxLabels = 4096;

struct LabelStats {
  int64_t label;
  int64_t voxels;
  std::array<std::vector<int64_t>, 3> area;  // voxels per slice along each axis, [extent of the axis]
  std::array<Int3, 2> box;                   // first voxel, one past the last voxel
  Double3 centroid;                          // mean voxel index
  std::array<Int3, 2> border;                // voxels in the first and in the last slice of each axis
  // In-plane box of every slice along axis 0, as plane_boxes gives it. On the CPU empty: to look at the few slices that
  // are wanted costs less there than to keep all boxes, whereas a GPU would have to be waited for once more.
  std::vector<int64_t> slice_boxes;
};

// Everything of a label that follows from its area profiles.
LabelStats stats_of(int64_t label, std::array<std::vector<int64_t>, 3> area);

// A volume seen with non-negative strides, the axis of the largest stride first.
struct MemoryOrder {
  VolumeView volume;
  std::array<size_t, 3> axis;    // axis[i]: which original axis is now axis i
  std::array<bool, 3> reversed;  // of the original axes
};
MemoryOrder in_memory_order(VolumeView volume);

struct ScanResult {
  std::vector<LabelStats> labels;  // ascending, without 0
  int64_t fractional = 0;          // voxels whose value is no integer
  double fractional_example = 0;   // the first such value in memory
  int64_t non_finite = 0;          // NaN or infinite voxels, counted as background
};

// Throws std::invalid_argument when there are more than kMaxLabels labels, or one does not fit int64.
ScanResult scan(const VolumeView& volume, int threads);

// The same for many volumes on a CUDA device: one launch for those that share a type, a second one for those of more
// than a dozen labels. Builds with CUDA only.
std::vector<ScanResult> scan(const std::vector<VolumeView>& volumes, const Stream& stream);

// In-plane bounding boxes of single slices: for i in [0, n) the voxels of `volume` equal to labels[i] in slice
// indices[i] along `axis`, looked for in windows[4 i ...] = first row, end row, first column, end column (ends
// exclusive), rows and columns being the other two axes in their order. out[4 i ...] holds the tight box in the
// same form; all -1 where there is no such voxel.
void plane_boxes(const VolumeView& volume, int axis, const int64_t* indices, const int64_t* labels,
                 const int64_t* windows, int64_t n, int threads, int64_t* out);

}  // namespace segae
