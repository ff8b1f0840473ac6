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

// The runs of a mask, joined where they touch.
struct Pieces {
  std::vector<Run> runs;
  std::vector<int64_t> row_begin;  // first run of each row, rows in (z, y) order
  Forest forest;

  // Voxels of the piece that each run is the root of, 0 for the other runs.
  std::vector<int64_t> sizes() {
    std::vector<int64_t> size(runs.size());
    for (size_t i = 0; i < runs.size(); ++i) {
      size[static_cast<size_t>(forest.root(static_cast<int64_t>(i)))] += runs[i].end - runs[i].begin;
    }
    return size;
  }
};

Pieces find_pieces(const MaskView& mask) {
  const VolumeView& volume = mask.volume;
  const auto [depth, height, width] = volume.shape;
  Pieces pieces;
  auto& [runs, row_begin, forest] = pieces;
  row_begin.reserve(static_cast<size_t>(depth * height + 1));
  visit(volume.dtype,
        [&, &runs = runs, &row_begin = row_begin, depth = depth, height = height, width = width](auto tag) {
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

  for (size_t i = 0; i < runs.size(); ++i) forest.add();
  // Joins the runs of two rows that overlap when each is widened by one voxel.
  const auto join_rows = [&runs = runs, &row_begin = row_begin, &forest = forest](int64_t row, int64_t other) {
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

  return pieces;
}

}  // namespace

std::vector<int64_t> component_sizes(const MaskView& mask) {
  std::vector<int64_t> size = find_pieces(mask).sizes();
  size.erase(std::remove(size.begin(), size.end(), 0), size.end());
  std::sort(size.begin(), size.end(), std::greater<>());
  return size;
}

void component_labels(const MaskView& mask, int32_t* out) {
  const auto [depth, height, width] = mask.volume.shape;
  Pieces pieces = find_pieces(mask);
  const std::vector<int64_t> size = pieces.sizes();
  std::vector<size_t> roots;
  for (size_t i = 0; i < size.size(); ++i) {
    if (size[i] > 0) roots.push_back(i);
  }
  std::stable_sort(roots.begin(), roots.end(), [&size](size_t a, size_t b) { return size[a] > size[b]; });
  std::vector<int32_t> rank(size.size());
  for (size_t i = 0; i < roots.size(); ++i) rank[roots[i]] = static_cast<int32_t>(i + 1);
  std::fill(out, out + depth * height * width, 0);
  for (int64_t row = 0; row < depth * height; ++row) {
    for (int64_t i = pieces.row_begin[static_cast<size_t>(row)]; i < pieces.row_begin[static_cast<size_t>(row + 1)];
         ++i) {
      const Run& run = pieces.runs[static_cast<size_t>(i)];
      std::fill(out + row * width + run.begin, out + row * width + run.end,
                rank[static_cast<size_t>(pieces.forest.root(i))]);
    }
  }
}

}  // namespace segae
