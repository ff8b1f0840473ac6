#include <algorithm>
#include <functional>

#include "components/components.h"

namespace segae {

namespace {

struct Run {
  int64_t begin, end;
};

// Union-find over runs, with path halving; the smaller index is the root.
class Forest {
 public:
  int64_t add() {
    parent_.push_back(static_cast<int64_t>(parent_.size()));
    return parent_.back();
  }
  int64_t root(int64_t i) {
    while (at(i) != i) i = at(i) = at(at(i));
    return i;
  }
  void join(int64_t a, int64_t b) {
    a = root(a);
    b = root(b);
    at(std::max(a, b)) = std::min(a, b);
  }

 private:
  int64_t& at(int64_t i) { return parent_[static_cast<size_t>(i)]; }
  std::vector<int64_t> parent_;
};

template <class T>
void append_runs(const std::byte* row, int64_t stride, int64_t n, const Matches<T>& matches, std::vector<Run>& runs) {
  for (int64_t i = 0; i < n;) {
    if (!matches(load<T>(row + i * stride))) {
      ++i;
      continue;
    }
    const int64_t begin = i;
    while (i < n && matches(load<T>(row + i * stride))) ++i;
    runs.push_back({begin, i});
  }
}

}  // namespace

std::vector<int64_t> component_sizes(const MaskView& mask) {
  const VolumeView& volume = mask.volume;
  const auto [depth, height, width] = volume.shape;
  std::vector<Run> runs;
  std::vector<int64_t> row_begin;  // first run of each row, rows in (z, y) order
  row_begin.reserve(static_cast<size_t>(depth * height + 1));
  visit(volume.dtype, [&, depth = depth, height = height, width = width](auto tag) {
    using T = typename decltype(tag)::type;
    const Matches<T> matches(mask.label);
    for (int64_t z = 0; z < depth; ++z) {
      for (int64_t y = 0; y < height; ++y) {
        row_begin.push_back(static_cast<int64_t>(runs.size()));
        append_runs<T>(volume.at(z, y, 0), volume.stride[2], width, matches, runs);
      }
    }
  });
  row_begin.push_back(static_cast<int64_t>(runs.size()));

  Forest forest;
  for (size_t i = 0; i < runs.size(); ++i) forest.add();
  // Joins the runs of two rows that overlap when each is widened by one voxel.
  const auto join_rows = [&](int64_t row, int64_t other) {
    int64_t a = row_begin[static_cast<size_t>(row)];
    int64_t b = row_begin[static_cast<size_t>(other)];
    const int64_t a_end = row_begin[static_cast<size_t>(row + 1)];
    const int64_t b_end = row_begin[static_cast<size_t>(other + 1)];
    while (a < a_end && b < b_end) {
      const Run& first = runs[static_cast<size_t>(a)];
      const Run& second = runs[static_cast<size_t>(b)];
      if (first.begin <= second.end && second.begin <= first.end) forest.join(a, b);
      if (first.end < second.end) {
        ++a;
      } else {
        ++b;
      }
    }
  };
  for (int64_t z = 0; z < depth; ++z) {
    for (int64_t y = 0; y < height; ++y) {
      const int64_t row = z * height + y;
      if (y > 0) join_rows(row, row - 1);
      if (z == 0) continue;
      for (int64_t dy = y > 0 ? -1 : 0; dy <= (y + 1 < height ? 1 : 0); ++dy) join_rows(row, row - height + dy);
    }
  }

  std::vector<int64_t> size(runs.size());
  for (size_t i = 0; i < runs.size(); ++i) {
    size[static_cast<size_t>(forest.root(static_cast<int64_t>(i)))] += runs[i].end - runs[i].begin;
  }
  size.erase(std::remove(size.begin(), size.end(), 0), size.end());
  std::sort(size.begin(), size.end(), std::greater<>());
  return size;
}

}  // namespace segae
