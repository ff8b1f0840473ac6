#include "edit/survey.h"

#include <cmath>
#include <cstring>

#include "cuda/cuda_util.h"

namespace segae {

namespace {

// Device lambdas may not stand in the generic lambdas that `visit` takes, so each operation has a template for them.

template <class T>
MaskSummary summarise_of(const VolumeView& volume, int64_t label, const Stream& stream) {
  const Matches<T> matches(label);
  const auto found = tally_over<4, 6>(volume.voxels(), stream, [=] __device__(int64_t i, Tally<4, 6>& tally) {
    const Int3 at = place_of(volume.shape, i);
    if (!matches(load<T>(volume.at(at[0], at[1], at[2])))) return;
    ++tally.sum[3];
    for (int axis = 0; axis < 3; ++axis) {
      const int64_t index = at[static_cast<size_t>(axis)];
      tally.sum[axis] += index;
      tally.lower(axis, index);
      tally.lower(3 + axis, -index);
    }
  });
  MaskSummary summary;
  summary.voxels = found.sum[3];
  if (summary.voxels == 0) return summary;
  for (size_t axis = 0; axis < 3; ++axis) {
    summary.index_sum[axis] = found.sum[axis];
    summary.begin[axis] = found.least[axis];
    summary.end[axis] = 1 - found.least[3 + axis];
  }
  return summary;
}

template <class T>
void label_counts_of(const VolumeView& labelmap, const Box& box, const uint8_t* mask, const Stream& stream,
                     int64_t* counters) {
  for_each(box.voxels(), stream, [=] __device__(int64_t i) {
    const Int3 at = place_of(box.shape, i);
    const double value =
        as_double(load<T>(labelmap.at(box.origin[0] + at[0], box.origin[1] + at[1], box.origin[2] + at[2])));
    if (!(value >= 0 && value < static_cast<double>(kMostLabels))) return;
    const int64_t label = static_cast<int64_t>(value);
    count_in(counters + 2 * label);
    if (mask[i]) count_in(counters + 2 * label + 1);
  });
}

// Integers that order as the floats do, and back.
SEGAE_HD inline int64_t ordered(float value) {
  int32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits < 0 ? bits ^ 0x7FFFFFFF : bits;
}

float unordered(int64_t order) {
  const int32_t narrow = static_cast<int32_t>(order);
  const int32_t bits = narrow < 0 ? narrow ^ 0x7FFFFFFF : narrow;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace

MaskSummary summarise(const MaskView& mask, const Stream& stream) {
  return visit(mask.volume.dtype,
               [&](auto tag) { return summarise_of<typename decltype(tag)::type>(mask.volume, mask.label, stream); });
}

void count_in_rows(const float* values, const Int3& shape, float low, float high, const Stream& stream,
                   int64_t* counts) {
  const int64_t rows = shape[0] * shape[1], width = shape[2];
  const DeviceBuffer<int64_t> found(rows, stream);
  int64_t* counters = found.data();
  for_each(rows, stream, [=] __device__(int64_t row) {
    int64_t count = 0;
    for (int64_t i = row * width; i < (row + 1) * width; ++i) count += low <= values[i] && values[i] <= high;
    counters[row] = count;
  });
  copy_to_host(counts, counters, rows * static_cast<int64_t>(sizeof(int64_t)), stream);
}

Counts compare(const uint8_t* result, const uint8_t* truth, int64_t n, const Stream& stream) {
  const auto counts = tally_over<3>(n, stream, [=] __device__(int64_t i, Tally<3, 1>& tally) {
    tally.sum[0] += result[i] && truth[i];
    tally.sum[1] += result[i] != 0;
    tally.sum[2] += truth[i] != 0;
  });
  return {counts.sum[0], counts.sum[1], counts.sum[2]};
}

std::array<float, 2> extremes(const float* values, int64_t n, const Stream& stream) {
  const auto found = tally_over<1, 2>(n, stream, [=] __device__(int64_t i, Tally<1, 2>& tally) {
    tally.lower(0, ordered(values[i]));
    tally.lower(1, -ordered(values[i]));
  });
  return {unordered(found.least[0]), unordered(-found.least[1])};
}

std::array<int64_t, 3> image_moments(const float* image_hu, const uint8_t* keep, int64_t n, const Stream& stream) {
  const auto found = tally_over<3>(n, stream, [=] __device__(int64_t i, Tally<3, 1>& tally) {
    if (!keep[i] || isnan(image_hu[i])) return;
    const int64_t hu = static_cast<int64_t>(fminf(fmaxf(image_hu[i], -32768.0f), 32767.0f));
    ++tally.sum[0];
    tally.sum[1] += hu;
    tally.sum[2] += hu * hu;
  });
  return {found.sum[0], found.sum[1], found.sum[2]};
}

void label_counts(const VolumeView& labelmap, const Box& box, const uint8_t* mask, const Stream& stream,
                  int64_t* counts) {
  const DeviceBuffer<int64_t> found(std::vector<int64_t>(2 * kMostLabels), stream);
  visit(labelmap.dtype,
        [&](auto tag) { label_counts_of<typename decltype(tag)::type>(labelmap, box, mask, stream, found.data()); });
  copy_to_host(counts, found.data(), 2 * kMostLabels * static_cast<int64_t>(sizeof(int64_t)), stream);
}

}  // namespace segae
