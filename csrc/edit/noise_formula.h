// A noise field at one voxel, by the same sums as the rows of noise.h.
#pragma once

#include "edit/noise.h"

namespace segae {

// A Lattice whose arrays lie in the memory of the device that evaluates it.
struct LatticeView {
  Int3 shape;
  const Tap* taps[3];
  const float* values;
};

SEGAE_HD inline float noise_at_voxel(const LatticeView& lattice, int component, const Int3& at) {
  const Tap& tap_z = lattice.taps[0][at[0]];
  const Tap& tap_y = lattice.taps[1][at[1]];
  Tap tap_x = lattice.taps[2][at[2]];
  float columns[4] = {};
  for (int64_t i = 0; i < 4; ++i) {
    for (int64_t j = 0; j < 4; ++j) {
      const float weight = tap_z.weight[i] * tap_y.weight[j];
      if (weight == 0.0f) continue;
      const int64_t line = (component * lattice.shape[0] + tap_z.first + i) * lattice.shape[1] + tap_y.first + j;
      const float* values = lattice.values + line * lattice.shape[2] + tap_x.first;
      for (int64_t k = 0; k < 4; ++k) columns[k] += weight * values[k];
    }
  }
  tap_x.first = 0;
  return noise_at(tap_x, columns);
}

}  // namespace segae
