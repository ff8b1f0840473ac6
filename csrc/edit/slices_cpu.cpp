#include <algorithm>
#include <vector>

#include "core/parallel.h"
#include "distance/distance.h"
#include "edit/slices_formula.h"

namespace segae {

namespace {

// One annotated slice: in-plane signed distance to the outline in mm, negative inside.
struct Outline {
  std::vector<float> distance;
  bool empty = true;
  float depth = 0;  // of the innermost voxel
};

Outline outline(const SliceGrid& plane, const uint8_t* slice) {
  const auto [one, rows, columns] = plane.shape;
  std::vector<uint8_t> flat(static_cast<size_t>(rows * columns));
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      flat[static_cast<size_t>(r * columns + c)] = slice[r * plane.row_step + c * plane.column_step];
    }
  }
  Outline result;
  result.distance.resize(flat.size());
  signed_squared_distance(flat.data(), plane.shape, plane.spacing_mm, Sides::kBoth, 1, result.distance.data());
  const float farthest = farthest_in(plane);
  for (float& value : result.distance) {
    value = held_distance_in_plane(value, farthest);
    if (value < 0) {
      result.empty = false;
      result.depth = std::max(result.depth, -value);
    }
  }
  return result;
}

}  // namespace

void interpolate_slices(const Box& box, const uint8_t* mask, int axis, const int64_t* kept, int64_t n, int threads,
                        uint8_t* out) {
  const SliceGrid plane = slice_across(box, axis);
  const auto [one, rows, columns] = plane.shape;
  std::vector<Outline> outlines(static_cast<size_t>(n));
  parallel_for(n, threads, [&](int64_t i) {
    outlines[static_cast<size_t>(i)] = outline(plane, mask + kept[i] * plane.slice_step);
  });
  parallel_for(box.shape[static_cast<size_t>(axis)], threads, [&, rows = rows, columns = columns](int64_t index) {
    const int64_t* after = std::lower_bound(kept, kept + n, index);
    const bool exact = after != kept + n && *after == index;
    const bool between = !exact && after != kept + n && after != kept;
    const Outline* upper = between || exact ? &outlines[static_cast<size_t>(after - kept)] : nullptr;
    const Outline* lower = between ? upper - 1 : upper;
    const bool empty = !upper || (lower->empty && upper->empty);
    const float weight = between ? share_between(after[-1], index, after[0]) : 0.0f;
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < columns; ++c) {
        const size_t i = static_cast<size_t>(r * columns + c);
        float distance = 1.0f;
        if (!empty) {
          const float below = lower->empty ? upper->depth : lower->distance[i];
          const float above = upper->empty ? lower->depth : upper->distance[i];
          distance = (1.0f - weight) * below + weight * above;
        }
        out[index * plane.slice_step + r * plane.row_step + c * plane.column_step] = distance <= kTieMm;
      }
    }
  });
}

}  // namespace segae
