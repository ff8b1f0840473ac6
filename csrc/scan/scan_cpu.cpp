#include "scan/scan_cpu.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "core/changes.h"

namespace segae {

AreaTable::AreaTable(const Int3& shape)
    : middle_at_(shape[0]),
      inner_at_(shape[0] + shape[1]),
      size_(shape[0] + shape[1] + shape[2] + 1),
      direct_(kDirect, nullptr) {}

int64_t* AreaTable::find_or_add(int64_t label) {
  int64_t*& area = label >= 0 && label < kDirect ? direct_[static_cast<size_t>(label)] : hashed_[label];
  if (area == nullptr) {
    if (static_cast<int64_t>(entries_.size()) == kMaxLabels) {
      throw std::invalid_argument("more than " + std::to_string(kMaxLabels) + " distinct values");
    }
    entries_.push_back({label, std::make_unique<int64_t[]>(static_cast<size_t>(size_))});
    area = entries_.back().area.get();
  }
  return area;
}

void AreaTable::merge(const AreaTable& other) {
  for (const Entry& entry : other.entries_) {
    int64_t* into = profiles(entry.label);
    for (int64_t i = 0; i < size_; ++i) into[i] += entry.area[static_cast<size_t>(i)];
  }
  if (other.fractional > 0 && fractional == 0) fractional_example = other.fractional_example;
  fractional += other.fractional;
  non_finite += other.non_finite;
}

namespace {

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

// Books the runs of `rows` rows of `n` items that lie without gaps in memory. Runs may reach across rows.
template <class T>
class DenseRuns {
 public:
  DenseRuns(const std::byte* items, int64_t n, int64_t outer, int64_t middle, AreaTable& table)
      : items_(items), n_(n), outer_(outer), middle_(middle), table_(table) {}

  // Ends the present run before item `end` and begins the next there.
  void end_at(int64_t end) {
    const T value = load<T>(items_ + begin_ * static_cast<int64_t>(sizeof(T)));
    if (as_double(value) != 0) {
      if (begin_ >= row_end_) enter_row(begin_ / n_);
      while (row_end_ < end) {
        book(value, row_end_);
        begin_ = row_end_;
        enter_row(row_ + 1);
      }
      book(value, end);
    }
    begin_ = end;
  }

 private:
  void enter_row(int64_t row) {
    row_ = row;
    row_end_ = (row + 1) * n_;
  }
  void book(T value, int64_t end) {
    const int64_t row_begin = row_end_ - n_;
    book_run(value, outer_, middle_ + row_, begin_ - row_begin, end - row_begin, table_);
  }

  const std::byte* items_;
  int64_t n_, outer_, middle_;
  AreaTable& table_;
  int64_t begin_ = 0, row_ = 0, row_end_ = n_;
};

template <class T>
void scan_dense(const std::byte* items, int64_t rows, int64_t n, int64_t outer, int64_t middle, AreaTable& table) {
  constexpr int64_t kChunk = 2048;
  int64_t ends[kChunk];
  DenseRuns<T> runs(items, n, outer, middle, table);
  const int64_t last = rows * n - 1;
  for (int64_t begin = 0; begin < last; begin += kChunk) {
    const int64_t found = find_changes<sizeof(T)>(items, begin, std::min(begin + kChunk, last), ends);
    for (int64_t i = 0; i < found; ++i) runs.end_at(ends[i]);
  }
  runs.end_at(last + 1);
}

template <class T>
void scan_row(const std::byte* row, int64_t n, int64_t stride, int64_t outer, int64_t middle, AreaTable& table) {
  for (int64_t i = 0; i < n;) {
    const T value = load<T>(row + i * stride);
    const int64_t begin = i++;
    while (i < n && std::memcmp(row + i * stride, &value, sizeof(T)) == 0) ++i;
    book_run(value, outer, middle, begin, i, table);
  }
}

template <class T>
void scan_slices(const VolumeView& volume, int64_t first, int64_t last, AreaTable& table) {
  const auto [outer_n, middle_n, inner_n] = volume.shape;
  const bool dense_rows = volume.stride[2] == static_cast<int64_t>(sizeof(T));
  const bool dense_slices = dense_rows && volume.stride[1] == inner_n * volume.stride[2];
  for (int64_t outer = first; outer < last; ++outer) {
    if (dense_slices) {
      scan_dense<T>(volume.at(outer, 0, 0), middle_n, inner_n, outer, 0, table);
      continue;
    }
    for (int64_t middle = 0; middle < middle_n; ++middle) {
      const std::byte* row = volume.at(outer, middle, 0);
      if (dense_rows) {
        scan_dense<T>(row, 1, inner_n, outer, middle, table);
      } else {
        scan_row<T>(row, inner_n, volume.stride[2], outer, middle, table);
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
  const size_t row_axis = plane_axes(axis).row, column_axis = plane_axes(axis).column;
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
