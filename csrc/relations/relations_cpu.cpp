#include "relations/relations_cpu.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "core/changes.h"

namespace segae {

StructureOf::StructureOf(const std::vector<int64_t>& labels) : direct_(kDirect, -1) {
  for (size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] >= 0 && labels[i] < kDirect) {
      direct_[static_cast<size_t>(labels[i])] = static_cast<int64_t>(i);
    } else {
      hashed_[labels[i]] = static_cast<int64_t>(i);
    }
  }
}

SortedRuns::SortedRuns(const std::vector<std::vector<Run>>& lists, const Int3& shape)
    : shape_(shape), first_(static_cast<size_t>(shape[0] * shape[1]) + 1, 0) {
  size_t count = 0;
  for (const auto& list : lists) {
    count += list.size();
    for (const Run& run : list) ++first_[static_cast<size_t>(run.row) + 1];
  }
  for (size_t row = 1; row < first_.size(); ++row) first_[row] += first_[row - 1];
  runs_.resize(count);
  std::vector<int64_t> next(first_.begin(), first_.end() - 1);
  for (const auto& list : lists) {
    for (const Run& run : list) runs_[static_cast<size_t>(next[static_cast<size_t>(run.row)]++)] = run;
  }
  reach_.resize(count);
  for (size_t row = 0; row + 1 < first_.size(); ++row) {
    const auto low = runs_.begin() + first_[row], high = runs_.begin() + first_[row + 1];
    const auto earlier = [](const Run& a, const Run& b) { return a.begin < b.begin; };
    if (!std::is_sorted(low, high, earlier)) std::stable_sort(low, high, earlier);
    int64_t reach = 0;
    for (auto i = static_cast<size_t>(first_[row]); i < static_cast<size_t>(first_[row + 1]); ++i) {
      reach_[i] = reach = std::max(reach, runs_[i].end);
    }
  }
}

RelationsTable::RelationsTable(const Int3& shape, int64_t n)
    : shape_(shape),
      n_(n),
      overlap_(static_cast<size_t>(n * n), 0),
      contact_(static_cast<size_t>(3 * n * n), 0),
      moments_{std::vector<int64_t>(static_cast<size_t>(n * shape[0] * 3), 0),
               std::vector<int64_t>(static_cast<size_t>(n * shape[1] * 3), 0),
               std::vector<int64_t>(static_cast<size_t>(n * (shape[2] + 1) * 3), 0)} {}

void RelationsTable::add_moments(const Run& run, int64_t z, int64_t y) {
  const int64_t count = run.end - run.begin;
  const int64_t sum_x = count * (run.begin + run.end - 1) / 2;
  const auto at = [&](size_t axis, int64_t extent, int64_t i) {
    return moments_[axis].data() + 3 * (run.structure * extent + i);
  };
  int64_t* slice = at(0, shape_[0], z);
  slice[0] += count, slice[1] += count * y, slice[2] += sum_x;
  int64_t* row = at(1, shape_[1], y);
  row[0] += count, row[1] += count * z, row[2] += sum_x;
  int64_t* begin = at(2, shape_[2] + 1, run.begin);
  begin[0] += 1, begin[1] += z, begin[2] += y;
  int64_t* end = at(2, shape_[2] + 1, run.end);
  end[0] -= 1, end[1] -= z, end[2] -= y;
}

void RelationsTable::merge(const RelationsTable& other) {
  const auto add_all = [](std::vector<int64_t>& into, const std::vector<int64_t>& from) {
    std::transform(from.begin(), from.end(), into.begin(), into.begin(), std::plus<>());
  };
  add_all(overlap_, other.overlap_);
  add_all(contact_, other.contact_);
  for (size_t axis = 0; axis < 3; ++axis) add_all(moments_[axis], other.moments_[axis]);
}

Relations RelationsTable::finish() {
  std::vector<int64_t> along_x;
  along_x.reserve(static_cast<size_t>(n_ * shape_[2] * 3));
  for (int64_t structure = 0; structure < n_; ++structure) {
    const int64_t* change = moments_[2].data() + 3 * structure * (shape_[2] + 1);
    std::array<int64_t, 3> sum{};
    for (int64_t x = 0; x < shape_[2]; ++x) {
      for (size_t i = 0; i < 3; ++i) along_x.push_back(sum[i] += change[3 * x + static_cast<int64_t>(i)]);
    }
  }
  return {
      std::move(overlap_), std::move(contact_), {std::move(moments_[0]), std::move(moments_[1]), std::move(along_x)}};
}

namespace {

// -1 for values that no label equals.
template <class T>
int64_t structure_at(T value, const StructureOf& structure_of) {
  if constexpr (is_floating<T>) {
    const double number = as_double(value);
    if (!(std::abs(number) <= 0x1p53) || number != std::floor(number)) return -1;
    return structure_of(static_cast<int64_t>(number));
  } else {
    if constexpr (std::is_same_v<T, uint64_t>) {
      if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return -1;
    }
    return structure_of(static_cast<int64_t>(value));
  }
}

// Rows whose items lie side by side, forwards or backwards, in memory.
template <class T>
void dense_row(const std::byte* row, bool backwards, int64_t n, int64_t row_index, const StructureOf& structure_of,
               std::vector<int64_t>& ends, std::vector<Run>& runs) {
  constexpr auto kItem = static_cast<int64_t>(sizeof(T));
  const std::byte* items = backwards ? row - (n - 1) * kItem : row;
  ends.resize(static_cast<size_t>(n));
  int64_t found = find_changes<kItem>(items, 0, n - 1, ends.data());
  ends[static_cast<size_t>(found++)] = n;
  const auto first = runs.size();
  int64_t begin = 0;
  for (int64_t i = 0; i < found; ++i) {
    const int64_t end = ends[static_cast<size_t>(i)];
    const int64_t structure = structure_at(load<T>(items + begin * kItem), structure_of);
    if (structure >= 0) {
      runs.push_back(backwards ? Run{structure, row_index, n - end, n - begin} : Run{structure, row_index, begin, end});
    }
    begin = end;
  }
  if (backwards) std::reverse(runs.begin() + static_cast<std::ptrdiff_t>(first), runs.end());
}

template <class T>
void strided_row(const std::byte* row, int64_t stride, int64_t n, int64_t row_index, const StructureOf& structure_of,
                 std::vector<Run>& runs) {
  for (int64_t x = 0; x < n;) {
    const T value = load<T>(row + x * stride);
    const int64_t begin = x++;
    while (x < n && std::memcmp(row + x * stride, &value, sizeof(T)) == 0) ++x;
    const int64_t structure = structure_at(value, structure_of);
    if (structure >= 0) runs.push_back({structure, row_index, begin, x});
  }
}

// Calls book(a, b, voxels) for runs a of a row and b of another one, or of the same, that share `voxels` > 0 positions
// when those of a are moved by `shift`.
template <class Book>
void meet(const SortedRuns& runs, int64_t row, int64_t other, int64_t shift, Book&& book) {
  const Run* from = runs.begin(other);
  const Run* const end = runs.end(other);
  for (const Run* a = runs.begin(row); a != runs.end(row); ++a) {
    const int64_t low = a->begin + shift, high = a->end + shift;
    while (from != end && runs.reach(from) <= low) ++from;
    for (const Run* b = from; b != end && b->begin < high; ++b) {
      const int64_t shared = std::min(high, b->end) - std::max(low, b->begin);
      if (shared > 0 && a->structure != b->structure) book(*a, *b, shared);
    }
  }
}

}  // namespace

void find_runs_cpu(const VolumeView& volume, const StructureOf& structure_of, int64_t begin, int64_t end,
                   std::vector<Run>& runs) {
  visit(volume.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    constexpr auto kItem = static_cast<int64_t>(sizeof(T));
    const int64_t n = volume.shape[2], stride = volume.stride[2];
    std::vector<int64_t> ends;
    for (int64_t z = begin; z < end; ++z) {
      for (int64_t y = 0; y < volume.shape[1]; ++y) {
        const std::byte* row = volume.at(z, y, 0);
        const int64_t index = z * volume.shape[1] + y;
        if (stride == kItem || stride == -kItem) {
          dense_row<T>(row, stride < 0, n, index, structure_of, ends, runs);
        } else {
          strided_row<T>(row, stride, n, index, structure_of, runs);
        }
      }
    }
  });
}

void relate_cpu(const SortedRuns& runs, int64_t begin, int64_t end, RelationsTable& table) {
  const int64_t depth = runs.shape()[0], height = runs.shape()[1];
  const auto contact = [&](size_t axis) {
    return [&table, axis](const Run& a, const Run& b, int64_t pairs) {
      table.add_contact(a.structure, b.structure, axis, pairs);
    };
  };
  for (int64_t z = begin; z < end; ++z) {
    for (int64_t y = 0; y < height; ++y) {
      const int64_t row = z * height + y;
      for (const Run* run = runs.begin(row); run != runs.end(row); ++run) table.add_moments(*run, z, y);
      meet(runs, row, row, 0, [&](const Run& a, const Run& b, int64_t voxels) {
        if (a.structure < b.structure) table.add_overlap(a.structure, b.structure, voxels);
      });
      meet(runs, row, row, 1, contact(2));
      if (y + 1 < height) meet(runs, row, row + 1, 0, contact(1));
      if (z + 1 < depth) meet(runs, row, row + height, 0, contact(0));
    }
  }
}

}  // namespace segae
