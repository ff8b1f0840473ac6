#include <algorithm>
#include <cmath>

#include "core/parallel.h"
#include "edit/level_formula.h"

namespace segae {

namespace {

// The sum of a rule's noises along one row.
class NoiseRow {
 public:
  NoiseRow(const std::vector<Lattice>& lattices, int64_t width)
      : lattices_(lattices), row_(static_cast<size_t>(width)) {
    size_t widest = 0;
    for (const Lattice& lattice : lattices) widest = std::max(widest, static_cast<size_t>(lattice.shape[2]));
    columns_.resize(widest);
  }

  const float* evaluate(int64_t z, int64_t y, int64_t begin, int64_t end) {
    std::fill(row_.begin() + begin, row_.begin() + end, 0.0f);
    for (const Lattice& lattice : lattices_) {
      const std::vector<Tap>& taps = lattice.taps[2];
      collapse_row(lattice, 0, z, y, taps[static_cast<size_t>(begin)].first,
                   taps[static_cast<size_t>(end - 1)].first + 4, columns_.data());
      for (int64_t x = begin; x < end; ++x) {
        row_[static_cast<size_t>(x)] += noise_at(taps[static_cast<size_t>(x)], columns_.data());
      }
    }
    return row_.data();
  }

 private:
  const std::vector<Lattice>& lattices_;
  std::vector<float> columns_, row_;
};

}  // namespace

void levels(const Box& box, const uint8_t* mask, const uint8_t* other, const float* squared, const float* field,
            const LevelRule& rule, int threads, float* out) {
  const auto [depth, height, width] = box.shape;
  const LevelTerms terms{
      rule.measure,       rule.add,    rule.remove,   rule.bias,         rule.most_push_mm,
      rule.inset_mm,      rule.normal, rule.start_mm, rule.balls.data(), static_cast<int64_t>(rule.balls.size()),
      rule.slices.data(), rule.axis};
  // Beyond this distance no strength up to `most` carries a boundary.
  const double reach = rule.most * rule.most_push_mm + rule.inset_mm;
  const double farthest = rule.measure == Measure::kField ? reach * reach : std::numeric_limits<double>::infinity();
  std::vector<Lattice> lattices;
  for (const Noise& noise : rule.noise) lattices.push_back(make_lattice(box, noise, 1));
  parallel_for(depth, threads, [&, height = height, width = width](int64_t z) {
    NoiseRow noise(lattices, width);
    for (int64_t y = 0; y < height; ++y) {
      const int64_t row = (z * height + y) * width;
      const auto flips = [&](int64_t x) {
        return may_flip(terms, mask[row + x] != 0, other != nullptr, other && other[row + x]) &&
               !(squared && std::fabs(static_cast<double>(squared[row + x])) > farthest);
      };
      int64_t begin = 0, end = width;
      while (begin < end && !flips(begin)) ++begin;
      while (begin < end && !flips(end - 1)) --end;
      std::fill(out + row, out + row + width, no_level());
      if (begin == end) continue;
      const float* noises = lattices.empty() ? nullptr : noise.evaluate(z, y, begin, end);
      for (int64_t x = begin; x < end; ++x) {
        if (!flips(x)) continue;
        const int64_t at[3] = {z, y, x};
        out[row + x] = level_at(terms, mask[row + x] != 0, box.position(0, z), box.position(1, y), box.position(2, x),
                                at[rule.axis], squared ? squared[row + x] : 0.0f,
                                (noises ? noises[x] : 0.0f) + (field ? field[row + x] : 0.0f));
      }
    }
  });
}

Counts flip(const Box& box, const uint8_t* mask, const float* level, double strength, const uint8_t* truth, int threads,
            uint8_t* out) {
  const int64_t slice = box.shape[1] * box.shape[2];
  const float limit = static_cast<float>(strength * kTie);
  std::vector<Counts> counts(static_cast<size_t>(box.shape[0]));
  parallel_for(box.shape[0], threads, [&](int64_t z) {
    int64_t both = 0, result = 0, in_truth = 0;
    for (int64_t i = z * slice; i < (z + 1) * slice; ++i) {
      const uint8_t value = static_cast<uint8_t>((mask[i] != 0) ^ (level[i] <= limit));
      const uint8_t expected = truth[i] != 0;
      out[i] = value;
      both += value & expected;
      result += value;
      in_truth += expected;
    }
    counts[static_cast<size_t>(z)] = {both, result, in_truth};
  });
  Counts sum;
  for (const Counts& one : counts) sum.both += one.both, sum.result += one.result, sum.truth += one.truth;
  return sum;
}

void level_histogram(const Box& box, const uint8_t* mask, const float* level, const uint8_t* truth, double most,
                     int64_t bins, int threads, int64_t* counts) {
  // One histogram a part of the volume; integers, so their sum does not depend on the parts.
  const int64_t parts = std::min<int64_t>(std::max(threads, 1), box.shape[0]);
  const int64_t n = box.voxels();
  std::vector<std::vector<int64_t>> partial(static_cast<size_t>(parts));
  const double scale = static_cast<double>(bins) / most;
  parallel_for(parts, threads, [&](int64_t part) {
    std::vector<int64_t>& mine = partial[static_cast<size_t>(part)];
    mine.resize(static_cast<size_t>(4 * bins));
    for (int64_t i = n * part / parts; i < n * (part + 1) / parts; ++i) {
      const double at = static_cast<double>(level[i]);
      if (!(at <= most)) continue;
      const int64_t bin = at > 0 ? std::min(static_cast<int64_t>(at * scale), bins - 1) : 0;
      ++mine[static_cast<size_t>(4 * bin + 2 * (truth[i] != 0) + (mask[i] != 0))];
    }
  });
  std::fill(counts, counts + 4 * bins, 0);
  for (const std::vector<int64_t>& mine : partial) {
    for (size_t i = 0; i < mine.size(); ++i) counts[i] += mine[i];
  }
}

}  // namespace segae
