#include <cmath>
#include <string>

#include "edit/noise.h"

namespace segae {

namespace {

constexpr int64_t kMostControlValues = int64_t{1} << 26;
// Lattice coordinates beyond this are no longer exact in the hash's arithmetic, and far beyond it no int64.
constexpr double kFarthestCell = 1e9;

Tap cubic_tap(double t) {
  const double s = 1.0 - t;
  Tap tap{0, {}};
  tap.weight[0] = static_cast<float>(s * s * s / 6.0);
  tap.weight[1] = static_cast<float>((3.0 * t * t * t - 6.0 * t * t + 4.0) / 6.0);
  tap.weight[2] = static_cast<float>((3.0 * s * s * s - 6.0 * s * s + 4.0) / 6.0);
  tap.weight[3] = static_cast<float>(t * t * t / 6.0);
  return tap;
}

}  // namespace

Lattice make_lattice(const Box& box, const Noise& noise, int components) {
  // Variance that the spline leaves of independent control values: 151/315 an axis, averaged over positions.
  constexpr double kKept = 151.0 / 315.0;
  Lattice lattice{components, {}, {}, {}, {}};
  double variance = 1.0 / 3.0;
  for (size_t axis = 0; axis < 3; ++axis) {
    const double grid = noise.grid_mm[axis];
    std::vector<Tap>& taps = lattice.taps[axis];
    for (int64_t i = 0; i < box.shape[axis]; ++i) {
      if (grid > 0) {
        const double at = box.position(static_cast<int>(axis), i) / grid;
        const double cell = std::floor(at);
        if (!(std::fabs(cell) <= kFarthestCell)) {
          throw std::invalid_argument("grid_mm: " + std::to_string(grid) +
                                      " mm is too fine for this volume; use a wider grid");
        }
        Tap tap = cubic_tap(at - cell);
        tap.first = static_cast<int64_t>(cell) - 1;
        taps.push_back(tap);
      } else {
        taps.push_back({box.origin[axis] + i, {1.0f, 0.0f, 0.0f, 0.0f}});
      }
    }
    if (grid > 0) variance *= kKept;
    lattice.first[axis] = taps.front().first;
    lattice.shape[axis] = taps.back().first - taps.front().first + 4;
    for (Tap& tap : taps) tap.first -= lattice.first[axis];
  }
  double wanted = components;  // as a double: the product of three extents may pass int64
  for (const int64_t extent : lattice.shape) wanted *= static_cast<double>(extent);
  if (wanted > static_cast<double>(kMostControlValues)) {
    throw std::invalid_argument("grid_mm: " + std::to_string(wanted) + " control values, at most " +
                                std::to_string(kMostControlValues) + "; use a wider grid");
  }
  const int64_t count = static_cast<int64_t>(wanted);
  const float scale =
      static_cast<float>(components == 1 ? noise.amplitude_mm / std::sqrt(variance) : noise.amplitude_mm);
  lattice.values.reserve(static_cast<size_t>(count));
  for (int component = 0; component < components; ++component) {
    for (int64_t z = 0; z < lattice.shape[0]; ++z) {
      for (int64_t y = 0; y < lattice.shape[1]; ++y) {
        for (int64_t x = 0; x < lattice.shape[2]; ++x) {
          lattice.values.push_back(scale * control_value(noise.seed, component, lattice.first[0] + z,
                                                         lattice.first[1] + y, lattice.first[2] + x));
        }
      }
    }
  }
  return lattice;
}

void collapse_row(const Lattice& lattice, int component, int64_t z, int64_t y, int64_t begin, int64_t end, float* out) {
  const Tap& tap_z = lattice.taps[0][static_cast<size_t>(z)];
  const Tap& tap_y = lattice.taps[1][static_cast<size_t>(y)];
  const int64_t row = lattice.shape[2];
  for (int64_t x = begin; x < end; ++x) out[x] = 0.0f;
  for (int64_t i = 0; i < 4; ++i) {
    for (int64_t j = 0; j < 4; ++j) {
      const float weight = tap_z.weight[i] * tap_y.weight[j];
      if (weight == 0.0f) continue;
      const int64_t line = (component * lattice.shape[0] + tap_z.first + i) * lattice.shape[1] + tap_y.first + j;
      const float* values = lattice.values.data() + line * row;
      for (int64_t x = begin; x < end; ++x) out[x] += weight * values[x];
    }
  }
}

}  // namespace segae
