#include <utility>

#include "cuda/cuda_util.h"
#include "edit/grow_formula.h"

namespace segae {

namespace {

constexpr int kRounds = 16;  // between two looks at whether anything still changes

// The cheapest way into a voxel over its neighbours, as known after the round before.
SEGAE_HD inline float relaxed(const Box& box, const uint8_t* mask, const float* image_hu, const GrowRule& rule,
                              const float* before, int64_t i) {
  float best = before[i];
  if (mask[i]) return best;
  const Int3 at = place_of(box.shape, i);
  for (int dz = -1; dz <= 1; ++dz) {
    for (int dy = -1; dy <= 1; ++dy) {
      for (int dx = -1; dx <= 1; ++dx) {
        if (dz * dz + dy * dy + dx * dx == 0 || dz * dz + dy * dy + dx * dx == 3) continue;
        const int64_t z = at[0] + dz, y = at[1] + dy, x = at[2] + dx;
        if (z < 0 || y < 0 || x < 0 || z >= box.shape[0] || y >= box.shape[1] || x >= box.shape[2]) continue;
        const int64_t from = (z * box.shape[1] + y) * box.shape[2] + x;
        float cost = before[from];
        if (mask[from]) {
          if (!is_start(rule, box.position(0, z), box.position(1, y), box.position(2, x))) continue;
          cost = 0.0f;
        }
        if (!(cost < best)) continue;
        const float reached = cost + step_cost(rule, box.spacing_mm, image_hu[i], dz, dy, dx);
        if (reached < best && reached <= static_cast<float>(rule.most_mm)) best = reached;
      }
    }
  }
  return best;
}

}  // namespace

void arrival(const Box& box, const uint8_t* mask, const float* image_hu, const GrowRule& rule, const Stream& stream,
             float* out) {
  const DeviceBuffer<float> scratch(box.voxels(), stream);
  float* before = out;
  float* after = scratch.data();
  for_each(box.voxels(), stream, [=] __device__(int64_t i) { before[i] = HUGE_VALF; });
  // An even number of rounds leaves the last in `out`.
  for (bool changed = true; changed;) {
    for (int round = 0; round + 1 < kRounds; ++round) {
      for_each(box.voxels(), stream,
               [=] __device__(int64_t i) { after[i] = relaxed(box, mask, image_hu, rule, before, i); });
      std::swap(before, after);
    }
    changed = tally_over<1>(box.voxels(), stream, [=] __device__(int64_t i, Tally<1, 1>& tally) {
                after[i] = relaxed(box, mask, image_hu, rule, before, i);
                tally.sum[0] += after[i] != before[i];
              }).sum[0] != 0;
    std::swap(before, after);
  }
}

}  // namespace segae
