#include <algorithm>
#include <cmath>

#include "core/parallel.h"
#include "edit/warp_formula.h"

namespace segae {

namespace {

constexpr int64_t kBlock = 4;  // voxels along the edge of a block of the summed table
constexpr int64_t kRun = 16;   // voxels of a row that are judged together

// How many voxels of the mask lie in blocks [0, k): tells in eight reads whether a region of blocks is uniform.
class SummedBlocks {
 public:
  SummedBlocks(const uint8_t* source, const Int3& shape, int threads) : shape_(shape) {
    for (size_t axis = 0; axis < 3; ++axis) blocks_[axis] = (shape[axis] + kBlock - 1) / kBlock;
    sums_.assign(static_cast<size_t>((blocks_[0] + 1) * (blocks_[1] + 1) * (blocks_[2] + 1)), 0);
    parallel_for(blocks_[0], threads, [&](int64_t block) {
      for (int64_t z = block * kBlock; z < std::min(shape[0], (block + 1) * kBlock); ++z) {
        for (int64_t y = 0; y < shape[1]; ++y) {
          const uint8_t* row = source + (z * shape[1] + y) * shape[2];
          int64_t* sums = &sum(block + 1, y / kBlock + 1, 1);
          const int64_t whole = shape[2] / kBlock;
          for (int64_t x = 0; x < whole; ++x) {
            const uint8_t* four = row + x * kBlock;
            sums[x] += (four[0] != 0) + (four[1] != 0) + (four[2] != 0) + (four[3] != 0);
          }
          for (int64_t x = whole * kBlock; x < shape[2]; ++x) sums[whole] += row[x] != 0;
        }
      }
    });
    for (int64_t z = 1; z <= blocks_[0]; ++z) {
      for (int64_t y = 1; y <= blocks_[1]; ++y) {
        for (int64_t x = 1; x <= blocks_[2]; ++x) {
          sum(z, y, x) += sum(z - 1, y, x) + sum(z, y - 1, x) + sum(z, y, x - 1) - sum(z - 1, y - 1, x) -
                          sum(z - 1, y, x - 1) - sum(z, y - 1, x - 1) + sum(z - 1, y - 1, x - 1);
        }
      }
    }
  }

  // 0 or 1 where all voxels from floor(low) to floor(high) + 1 have that value, the outside being 0; -1 otherwise.
  int uniform(const Double3& low, const Double3& high) const {
    std::array<int64_t, 3> begin, end;
    bool leaves = false;
    for (size_t axis = 0; axis < 3; ++axis) {
      const double extent = static_cast<double>(shape_[axis]);
      if (high[axis] < -1 || low[axis] > extent) return 0;
      const int64_t first = static_cast<int64_t>(std::floor(std::max(low[axis], -2.0)));
      const int64_t last = static_cast<int64_t>(std::floor(std::min(high[axis], extent))) + 1;
      leaves = leaves || first < 0 || last >= shape_[axis];
      begin[axis] = std::max<int64_t>(first, 0) / kBlock;
      end[axis] = std::min(last, shape_[axis] - 1) / kBlock + 1;
    }
    const int64_t found = sum(end[0], end[1], end[2]) - sum(begin[0], end[1], end[2]) - sum(end[0], begin[1], end[2]) -
                          sum(end[0], end[1], begin[2]) + sum(begin[0], begin[1], end[2]) +
                          sum(begin[0], end[1], begin[2]) + sum(end[0], begin[1], begin[2]) -
                          sum(begin[0], begin[1], begin[2]);
    if (found == 0) return 0;
    int64_t voxels = 1;
    for (size_t axis = 0; axis < 3; ++axis) {
      voxels *= std::min(end[axis] * kBlock, shape_[axis]) - begin[axis] * kBlock;
    }
    return found == voxels && !leaves ? 1 : -1;
  }

 private:
  int64_t& sum(int64_t z, int64_t y, int64_t x) {
    return sums_[static_cast<size_t>((z * (blocks_[1] + 1) + y) * (blocks_[2] + 1) + x)];
  }
  int64_t sum(int64_t z, int64_t y, int64_t x) const {
    return sums_[static_cast<size_t>((z * (blocks_[1] + 1) + y) * (blocks_[2] + 1) + x)];
  }

  Int3 shape_, blocks_{};
  std::vector<int64_t> sums_;
};

// Evaluates rows of the target.
class RowWarp {
 public:
  RowWarp(const Box& source_box, const uint8_t* source, const SummedBlocks& blocks, const Box& box, const Map& map,
          const Lattice* bend)
      : source_box_(source_box), source_(source), blocks_(blocks), box_(box), map_(map), bend_(bend) {
    if (bend) columns_.resize(static_cast<size_t>(3 * bend->shape[2]));
    x_.resize(static_cast<size_t>(box.shape[2]));
    for (int64_t x = 0; x < box.shape[2]; ++x) x_[static_cast<size_t>(x)] = snapped(2, x);
  }

  void evaluate(int64_t z, int64_t y, uint8_t* row) {
    const double at_z = snapped(0, z), at_y = snapped(1, y);
    const Double3 base{mapped_row(map_, 0, at_z, at_y), mapped_row(map_, 1, at_z, at_y),
                       mapped_row(map_, 2, at_z, at_y)};
    const int64_t width = box_.shape[2];
    bool collapsed = false;
    for (int64_t begin = 0; begin < width; begin += kRun) {
      const int64_t end = std::min(begin + kRun, width);
      Double3 low, high;
      for (int axis = 0; axis < 3; ++axis) {
        const size_t a = static_cast<size_t>(axis);
        const double first = in_source(map_, source_box_, axis, base[a], x_[static_cast<size_t>(begin)], 0.0);
        const double last = in_source(map_, source_box_, axis, base[a], x_[static_cast<size_t>(end - 1)], 0.0);
        const double slack = bend_ ? map_.bend.amplitude_mm / source_box_.spacing_mm[a] : 0.0;
        low[a] = std::min(first, last) - slack - 1e-6;
        high[a] = std::max(first, last) + slack + 1e-6;
      }
      const int uniform = blocks_.uniform(low, high);
      if (uniform >= 0) {
        std::fill(row + begin, row + end, static_cast<uint8_t>(uniform));
        continue;
      }
      if (bend_ && !collapsed) {
        for (int axis = 0; axis < 3; ++axis) collapse_row(*bend_, axis, z, y, 0, bend_->shape[2], columns(axis));
        collapsed = true;
      }
      for (int64_t x = begin; x < end; ++x) {
        Double3 at;
        for (int axis = 0; axis < 3; ++axis) {
          const double moved =
              bend_ ? static_cast<double>(noise_at(bend_->taps[2][static_cast<size_t>(x)], columns(axis))) : 0.0;
          at[static_cast<size_t>(axis)] =
              in_source(map_, source_box_, axis, base[static_cast<size_t>(axis)], x_[static_cast<size_t>(x)], moved);
        }
        row[x] = sample_mask(source_, source_box_.shape, at[0], at[1], at[2]);
      }
    }
  }

 private:
  double snapped(int axis, int64_t index) const {
    const size_t a = static_cast<size_t>(axis);
    return snap(box_.position(axis, index), map_.cell_mm[a], map_.cell_from_mm[a]);
  }
  float* columns(int axis) { return columns_.data() + axis * bend_->shape[2]; }

  const Box& source_box_;
  const uint8_t* source_;
  const SummedBlocks& blocks_;
  const Box& box_;
  const Map& map_;
  const Lattice* bend_;
  std::vector<float> columns_;
  std::vector<double> x_;
};

}  // namespace

Counts warp(const Box& source_box, const uint8_t* source, const Box& box, const Map& map, const uint8_t* truth,
            int64_t stride, int threads, uint8_t* target) {
  const SummedBlocks blocks(source, source_box.shape, threads);
  Lattice bend;
  const bool bends = map.bend.amplitude_mm > 0;
  if (bends) bend = make_lattice(box, map.bend, 3);
  const int64_t planes = (box.shape[0] + stride - 1) / stride;
  std::vector<Counts> counts(static_cast<size_t>(planes));
  parallel_for(planes, threads, [&](int64_t plane) {
    RowWarp warped(source_box, source, blocks, box, map, bends ? &bend : nullptr);
    int64_t both = 0, result = 0, in_truth = 0;
    for (int64_t y = 0; y < box.shape[1]; y += stride) {
      const int64_t row = (plane * stride * box.shape[1] + y) * box.shape[2];
      warped.evaluate(plane * stride, y, target + row);
      for (int64_t x = row; x < row + box.shape[2]; ++x) {
        both += target[x] & (truth[x] != 0);
        result += target[x];
        in_truth += truth[x] != 0;
      }
    }
    counts[static_cast<size_t>(plane)] = {both, result, in_truth};
  });
  Counts sum;
  for (const Counts& one : counts) sum.both += one.both, sum.result += one.result, sum.truth += one.truth;
  return sum;
}

}  // namespace segae
