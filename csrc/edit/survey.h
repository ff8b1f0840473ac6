// survey: counts and extremes of a mask, its levels and its surroundings, known before an error is drawn.
#pragma once

#include <vector>

#include "box/box.h"

namespace segae {

struct MaskSummary {
  int64_t voxels = 0;
  Int3 begin{}, end{};  // bounding box, end exclusive; all 0 when empty
  Int3 index_sum{};     // of the voxels' indices: the centroid without a rounding
};
MaskSummary summarise(const MaskView& mask, int threads);

// How many voxels of each row along x have low <= value <= high; then the k-th such voxel of one row.
void count_in_rows(const float* values, const Int3& shape, float low, float high, int threads, int64_t* counts);
int64_t find_in_row(const float* row, int64_t width, float low, float high, int64_t rank);

// Agreement of two masks on one box.
Counts compare(const uint8_t* result, const uint8_t* truth, int64_t n, int threads);

// Smallest and largest value.
std::array<float, 2> extremes(const float* values, int64_t n, int threads);

// Image values where keep is not 0: count, sum and sum of squares, in whole HU (rounded), so that no order matters.
// NaN is left out.
std::array<int64_t, 3> image_moments(const float* image_hu, const uint8_t* keep, int64_t n, int threads);

// Voxels of each label 0..4095 of a labelmap within the box: counts[2 l] all, counts[2 l + 1] those also in `mask`.
// Other values are not counted.
inline constexpr int64_t kMostLabels = 4096;
void label_counts(const VolumeView& labelmap, const Box& box, const uint8_t* mask, int threads, int64_t* counts);

// The same on a CUDA device: views and pointers into its memory, but for `counts`, which the host reads.
MaskSummary summarise(const MaskView& mask, const Stream& stream);
void count_in_rows(const float* values, const Int3& shape, float low, float high, const Stream& stream,
                   int64_t* counts);
Counts compare(const uint8_t* result, const uint8_t* truth, int64_t n, const Stream& stream);
std::array<float, 2> extremes(const float* values, int64_t n, const Stream& stream);
std::array<int64_t, 3> image_moments(const float* image_hu, const uint8_t* keep, int64_t n, const Stream& stream);
void label_counts(const VolumeView& labelmap, const Box& box, const uint8_t* mask, const Stream& stream,
                  int64_t* counts);

}  // namespace segae
