#include "scan/scan_cpu.h"

#include <algorithm>
#include <cmath>
#include <string>

namespace segae {

AreaTable::AreaTable(const Int3& shape)
    : shape_(shape), row_(static_cast<size_t>(shape[0] + shape[1] + shape[2] + 1)), direct_(kDirect, -1) {}

int64_t* AreaTable::profiles(int64_t label) {
  const bool is_direct = label >= 0 && label < kDirect;
  int32_t& slot = is_direct ? direct_[static_cast<size_t>(label)] : hashed_.try_emplace(label, -1).first->second;
  if (slot < 0) {
    if (static_cast<int64_t>(labels_.size()) == kMaxLabels) {
      throw std::invalid_argument("more than " + std::to_string(kMaxLabels) + " distinct values");
    }
    slot = static_cast<int32_t>(labels_.size());
    labels_.push_back(label);
    areas_.resize(areas_.size() + row_);
  }
  return areas_.data() + static_cast<size_t>(slot) * row_;
}

void AreaTable::add_run(int64_t label, int64_t outer, int64_t middle, int64_t begin, int64_t end) {
  int64_t* area = profiles(label);
  area[outer] += end - begin;
  area[shape_[0] + middle] += end - begin;
  int64_t* inner = area + shape_[0] + shape_[1];
  ++inner[begin];
  --inner[end];
}

void AreaTable::merge(const AreaTable& other) {
  for (size_t slot = 0; slot < other.labels_.size(); ++slot) {
    int64_t* into = profiles(other.labels_[slot]);
    const int64_t* from = other.areas_.data() + slot * row_;
    for (size_t i = 0; i < row_; ++i) into[i] += from[i];
  }
  if (other.fractional > 0 && fractional == 0) fractional_example = other.fractional_example;
  fractional += other.fractional;
  non_finite += other.non_finite;
}

namespace {

// First position after `begin` whose bits differ from those at `begin`; items lie side by side.
template <class T>
int64_t run_end(const std::byte* row, int64_t begin, int64_t n) {
  const T first = load<T>(row + begin * static_cast<int64_t>(sizeof(T)));
  int64_t i = begin + 1;
  if constexpr (sizeof(T) < 8) {
    // Word by word: 32 bytes a step while all are equal, then item by item.
    constexpr int64_t kItems = 8 / static_cast<int64_t>(sizeof(T));
    uint64_t pattern;
    for (int64_t k = 0; k < kItems; ++k) {
      std::memcpy(reinterpret_cast<std::byte*>(&pattern) + k * static_cast<int64_t>(sizeof(T)), &first, sizeof(T));
    }
    while (i + 4 * kItems <= n) {
      const std::byte* at = row + i * static_cast<int64_t>(sizeof(T));
      const uint64_t difference = (load<uint64_t>(at) ^ pattern) | (load<uint64_t>(at + 8) ^ pattern) |
                                  (load<uint64_t>(at + 16) ^ pattern) | (load<uint64_t>(at + 24) ^ pattern);
      if (difference != 0) break;
      i += 4 * kItems;
    }
  }
  while (i < n && std::memcmp(row + i * static_cast<int64_t>(sizeof(T)), &first, sizeof(T)) == 0) ++i;
  return i;
}

template <class T>
int64_t run_end_strided(const std::byte* row, int64_t begin, int64_t n, int64_t stride) {
  const T first = load<T>(row + begin * stride);
  int64_t i = begin + 1;
  while (i < n && std::memcmp(row + i * stride, &first, sizeof(T)) == 0) ++i;
  return i;
}

template <class T>
void book_run(T value, int64_t outer, int64_t middle, int64_t begin, int64_t end, AreaTable& table) {
  if constexpr (is_floating<T>) {
    const double number = as_double(value);
    if (number == 0) return;
    if (!std::isfinite(number)) {
      table.non_finite += end - begin;
    } else if (number != std::floor(number) || std::abs(number) > 0x1p53) {
      if (table.fractional == 0) table.fractional_example = number;
      table.fractional += end - begin;
    } else {
      table.add_run(static_cast<int64_t>(number), outer, middle, begin, end);
    }
  } else {
    if constexpr (std::is_same_v<T, uint64_t>) {
      if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
        throw std::invalid_argument("the value " + std::to_string(value) + " is too large for a label");
      }
    }
    if (value != 0) table.add_run(static_cast<int64_t>(value), outer, middle, begin, end);
  }
}

template <class T>
void scan_slices(const VolumeView& volume, int64_t first, int64_t last, AreaTable& table) {
  const auto [outer_n, middle_n, inner_n] = volume.shape;
  const int64_t stride = volume.stride[2];
  const bool dense = stride == static_cast<int64_t>(sizeof(T));
  for (int64_t outer = first; outer < last; ++outer) {
    for (int64_t middle = 0; middle < middle_n; ++middle) {
      const std::byte* row = volume.at(outer, middle, 0);
      for (int64_t i = 0; i < inner_n;) {
        const int64_t end = dense ? run_end<T>(row, i, inner_n) : run_end_strided<T>(row, i, inner_n, stride);
        book_run(load<T>(row + i * stride), outer, middle, i, end, table);
        i = end;
      }
    }
  }
}

}  // namespace

void scan_slices_cpu(const VolumeView& volume, int64_t begin, int64_t end, AreaTable& table) {
  visit(volume.dtype, [&](auto tag) { scan_slices<typename decltype(tag)::type>(volume, begin, end, table); });
}

void plane_box_cpu(const VolumeView& volume, int axis, int64_t index, int64_t label, const int64_t window[4],
                   int64_t out[4]) {
  const size_t row_axis = axis == 0 ? 1 : 0;
  const size_t column_axis = axis == 2 ? 1 : 2;
  const int64_t row_stride = volume.stride[row_axis];
  const int64_t column_stride = volume.stride[column_axis];
  const std::byte* plane = volume.data + index * volume.stride[static_cast<size_t>(axis)];
  int64_t row0 = -1, row1 = -1, column0 = window[3], column1 = -1;
  visit(volume.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const Matches<T> matches(label);
    for (int64_t row = window[0]; row < window[1]; ++row) {
      const std::byte* at = plane + row * row_stride;
      const auto hit = [&](int64_t column) { return matches(load<T>(at + column * column_stride)); };
      int64_t left = window[2];
      while (left < window[3] && !hit(left)) ++left;
      if (left == window[3]) continue;
      int64_t right = window[3] - 1;
      while (!hit(right)) --right;
      if (row0 < 0) row0 = row;
      row1 = row + 1;
      column0 = std::min(column0, left);
      column1 = std::max(column1, right + 1);
    }
  });
  out[0] = row0;
  out[1] = row1;
  out[2] = row0 < 0 ? -1 : column0;
  out[3] = column1;
}

}  // namespace segae
