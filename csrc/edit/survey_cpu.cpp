#include "edit/survey.h"

#include <algorithm>
#include <cmath>

#include "core/parallel.h"

namespace segae {

namespace {

constexpr int64_t kChunk = 1 << 16;

// Calls body(chunk, begin, end) for every chunk of [0, n) and returns how many there are.
template <class Body>
void over_chunks(int64_t n, int threads, Body&& body) {
  parallel_for((n + kChunk - 1) / kChunk, threads,
               [&](int64_t chunk) { body(chunk, chunk * kChunk, std::min(n, (chunk + 1) * kChunk)); });
}

// Most rows of a volume are empty, and eight bytes at a time tell.
bool all_zero(const std::byte* row, int64_t bytes) {
  uint64_t any = 0;
  int64_t i = 0;
  for (; i + 8 <= bytes; i += 8) any |= load<uint64_t>(row + i);
  for (; i < bytes; ++i) any |= static_cast<uint64_t>(row[i]);
  return any == 0;
}

}  // namespace

MaskSummary summarise(const MaskView& mask, int threads) {
  const VolumeView& volume = mask.volume;
  const auto [depth, height, width] = volume.shape;
  std::vector<MaskSummary> slices(static_cast<size_t>(depth));
  visit(volume.dtype, [&, height = height, width = width](auto tag) {
    using T = typename decltype(tag)::type;
    const Matches<T> matches(mask.label);
    const int64_t size = static_cast<int64_t>(sizeof(T));
    const bool dense = mask.label != 0 && (volume.stride[2] == size || volume.stride[2] == -size);
    const int64_t lowest = volume.stride[2] < 0 ? width - 1 : 0;  // the voxel of a row that comes first in memory
    parallel_for(depth, threads, [&, height = height, width = width](int64_t z) {
      MaskSummary& mine = slices[static_cast<size_t>(z)];
      mine.begin = volume.shape;
      for (int64_t y = 0; y < height; ++y) {
        const std::byte* row = volume.at(z, y, 0);
        if (dense && all_zero(volume.at(z, y, lowest), width * size)) continue;
        int64_t count = 0, sum = 0, first = width, last = -1;
        for (int64_t x = 0; x < width; ++x) {
          if (!matches(load<T>(row + x * volume.stride[2]))) continue;
          ++count;
          sum += x;
          first = std::min(first, x);
          last = x;
        }
        if (count == 0) continue;
        mine.voxels += count;
        mine.index_sum = {mine.index_sum[0] + count * z, mine.index_sum[1] + count * y, mine.index_sum[2] + sum};
        mine.begin = {z, std::min(mine.begin[1], y), std::min(mine.begin[2], first)};
        mine.end = {z + 1, y + 1, std::max(mine.end[2], last + 1)};
      }
    });
  });
  MaskSummary all;
  for (const MaskSummary& slice : slices) {
    if (slice.voxels == 0) continue;
    for (size_t axis = 0; axis < 3; ++axis) {
      all.begin[axis] = all.voxels ? std::min(all.begin[axis], slice.begin[axis]) : slice.begin[axis];
      all.end[axis] = std::max(all.end[axis], slice.end[axis]);
    }
    for (size_t axis = 0; axis < 3; ++axis) all.index_sum[axis] += slice.index_sum[axis];
    all.voxels += slice.voxels;
  }
  return all;
}

void count_in_rows(const float* values, const Int3& shape, float low, float high, int threads, int64_t* counts) {
  parallel_for(shape[0] * shape[1], threads, [&](int64_t row) {
    counts[row] = std::count_if(values + row * shape[2], values + (row + 1) * shape[2],
                                [&](float value) { return low <= value && value <= high; });
  });
}

int64_t find_in_row(const float* row, int64_t width, float low, float high, int64_t rank) {
  for (int64_t x = 0; x < width; ++x) {
    if (low <= row[x] && row[x] <= high && rank-- == 0) return x;
  }
  throw std::out_of_range("find_in_row: fewer voxels than the rank");
}

Counts compare(const uint8_t* result, const uint8_t* truth, int64_t n, int threads) {
  std::vector<Counts> found(static_cast<size_t>((n + kChunk - 1) / kChunk));
  over_chunks(n, threads, [&](int64_t chunk, int64_t begin, int64_t end) {
    Counts& mine = found[static_cast<size_t>(chunk)];
    for (int64_t i = begin; i < end; ++i) {
      mine.both += result[i] && truth[i];
      mine.result += result[i] != 0;
      mine.truth += truth[i] != 0;
    }
  });
  Counts all;
  for (const Counts& one : found) all.both += one.both, all.result += one.result, all.truth += one.truth;
  return all;
}

std::array<float, 2> extremes(const float* values, int64_t n, int threads) {
  std::vector<std::array<float, 2>> found(static_cast<size_t>((n + kChunk - 1) / kChunk));
  over_chunks(n, threads, [&](int64_t chunk, int64_t begin, int64_t end) {
    float low = values[begin], high = values[begin];
    for (int64_t i = begin; i < end; ++i) low = std::min(low, values[i]), high = std::max(high, values[i]);
    found[static_cast<size_t>(chunk)] = {low, high};
  });
  std::array<float, 2> all = found.front();
  for (const auto& one : found) all = {std::min(all[0], one[0]), std::max(all[1], one[1])};
  return all;
}

std::array<int64_t, 3> image_moments(const float* image_hu, const uint8_t* keep, int64_t n, int threads) {
  std::vector<std::array<int64_t, 3>> found(static_cast<size_t>((n + kChunk - 1) / kChunk));
  over_chunks(n, threads, [&](int64_t chunk, int64_t begin, int64_t end) {
    std::array<int64_t, 3>& mine = found[static_cast<size_t>(chunk)];
    for (int64_t i = begin; i < end; ++i) {
      if (!keep[i] || std::isnan(image_hu[i])) continue;
      const int64_t hu = static_cast<int64_t>(std::clamp(image_hu[i], -32768.0f, 32767.0f));
      mine = {mine[0] + 1, mine[1] + hu, mine[2] + hu * hu};
    }
  });
  std::array<int64_t, 3> all{};
  for (const auto& one : found) all = {all[0] + one[0], all[1] + one[1], all[2] + one[2]};
  return all;
}

void label_counts(const VolumeView& labelmap, const Box& box, const uint8_t* mask, int threads, int64_t* counts) {
  const int64_t parts = std::min<int64_t>(std::max(threads, 1), box.shape[0]);
  std::vector<std::vector<int64_t>> partial(static_cast<size_t>(parts));
  visit(labelmap.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    parallel_for(parts, threads, [&](int64_t part) {
      std::vector<int64_t>& mine = partial[static_cast<size_t>(part)];
      mine.resize(2 * kMostLabels);
      for (int64_t z = box.shape[0] * part / parts; z < box.shape[0] * (part + 1) / parts; ++z) {
        for (int64_t y = 0; y < box.shape[1]; ++y) {
          const std::byte* row = labelmap.at(box.origin[0] + z, box.origin[1] + y, box.origin[2]);
          const uint8_t* in_mask = mask + (z * box.shape[1] + y) * box.shape[2];
          for (int64_t x = 0; x < box.shape[2]; ++x) {
            const double value = as_double(load<T>(row + x * labelmap.stride[2]));
            if (!(value >= 0 && value < static_cast<double>(kMostLabels))) continue;
            const size_t label = static_cast<size_t>(value);
            ++mine[2 * label];
            mine[2 * label + 1] += in_mask[x] != 0;
          }
        }
      }
    });
  });
  std::fill(counts, counts + 2 * kMostLabels, 0);
  for (const std::vector<int64_t>& mine : partial) {
    for (size_t i = 0; i < mine.size(); ++i) counts[i] += mine[i];
  }
}

}  // namespace segae
