#include <memory>

#include "edit/level_formula.h"
#include "edit/noise_cuda.h"

namespace segae {

void levels(const Box& box, const uint8_t* mask, const uint8_t* other, const float* squared, const float* field,
            const LevelRule& rule, const Stream& stream, float* out) {
  const DeviceBuffer<Ball> balls(rule.balls, stream);
  const DeviceBuffer<float> slices(rule.slices, stream);
  const LevelTerms terms{
      rule.measure,  rule.add,    rule.remove,   rule.bias,    rule.most_push_mm,
      rule.inset_mm, rule.normal, rule.start_mm, balls.data(), static_cast<int64_t>(rule.balls.size()),
      slices.data(), rule.axis};
  // Beyond this distance no strength up to `most` carries a boundary.
  const double reach = rule.most * rule.most_push_mm + rule.inset_mm;
  const double farthest = rule.measure == Measure::kField ? reach * reach : HUGE_VAL;
  std::vector<std::unique_ptr<DeviceLattice>> lattices;
  std::vector<LatticeView> views;
  for (const Noise& noise : rule.noise) {
    lattices.push_back(std::make_unique<DeviceLattice>(make_lattice(box, noise, 1), stream));
    views.push_back(lattices.back()->view());
  }
  const DeviceBuffer<LatticeView> noises(views, stream);
  const LatticeView* noise = noises.data();
  const int64_t noise_count = static_cast<int64_t>(views.size());
  for_each(box.voxels(), stream, [=] __device__(int64_t i) {
    const bool in_mask = mask[i] != 0;
    const bool flips = may_flip(terms, in_mask, other != nullptr, other && other[i]) &&
                       !(squared && fabs(static_cast<double>(squared[i])) > farthest);
    if (!flips) {
      out[i] = no_level();
      return;
    }
    const Int3 at = place_of(box.shape, i);
    float push = 0.0f;
    for (int64_t k = 0; k < noise_count; ++k) push += noise_at_voxel(noise[k], 0, at);
    out[i] =
        level_at(terms, in_mask, box.position(0, at[0]), box.position(1, at[1]), box.position(2, at[2]),
                 at[static_cast<size_t>(terms.axis)], squared ? squared[i] : 0.0f, push + (field ? field[i] : 0.0f));
  });
}

Counts flip(const Box& box, const uint8_t* mask, const float* level, double strength, const uint8_t* truth,
            const Stream& stream, uint8_t* out) {
  const float limit = static_cast<float>(strength * kTie);
  const Tally<3, 1> counts = tally_over<3>(box.voxels(), stream, [=] __device__(int64_t i, Tally<3, 1>& tally) {
    const uint8_t value = static_cast<uint8_t>((mask[i] != 0) ^ (level[i] <= limit));
    const uint8_t expected = truth[i] != 0;
    out[i] = value;
    tally.sum[0] += value & expected;
    tally.sum[1] += value;
    tally.sum[2] += expected;
  });
  return {counts.sum[0], counts.sum[1], counts.sum[2]};
}

void level_histogram(const Box& box, const uint8_t* mask, const float* level, const uint8_t* truth, double most,
                     int64_t bins, const Stream& stream, int64_t* counts) {
  const DeviceBuffer<int64_t> found(std::vector<int64_t>(static_cast<size_t>(4 * bins)), stream);
  int64_t* counters = found.data();
  const double scale = static_cast<double>(bins) / most;
  for_each(box.voxels(), stream, [=] __device__(int64_t i) {
    const double at = static_cast<double>(level[i]);
    if (!(at <= most)) return;
    const int64_t in = at > 0 ? static_cast<int64_t>(at * scale) : 0;
    const int64_t bin = in < bins ? in : bins - 1;
    count_in(counters + 4 * bin + 2 * (truth[i] != 0) + (mask[i] != 0));
  });
  copy_to_host(counts, counters, 4 * bins * static_cast<int64_t>(sizeof(int64_t)), stream);
}

}  // namespace segae
