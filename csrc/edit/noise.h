// noise: smooth random fields and deformations that every machine computes alike.
//
// Control values on a lattice come from a hash of (seed, component, lattice coordinates): integer arithmetic only, no
// state, so any voxel can be computed alone and the part of the lattice that is looked at does not matter. Between
// them runs a uniform cubic B-spline, whose weights are polynomials.
#pragma once

#include <vector>

#include "box/box.h"

namespace segae {

struct Noise {
  uint64_t seed;
  Double3 grid_mm;      // distance of the control points; 0 on an axis: every slice along it draws its own
  double amplitude_mm;  // standard deviation of the field; for a deformation the largest control displacement
};

// splitmix64's finaliser (Steele, Lea & Flood, OOPSLA 2014): every input bit reaches every output bit.
SEGAE_HD inline uint64_t scramble(uint64_t bits) {
  bits += 0x9E3779B97F4A7C15u;
  bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9u;
  bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EBu;
  return bits ^ (bits >> 31);
}

// Uniform in [-1, 1), a multiple of 2^-23: exact as a float.
SEGAE_HD inline float control_value(uint64_t seed, int component, int64_t z, int64_t y, int64_t x) {
  uint64_t bits = scramble(seed + static_cast<uint64_t>(component));
  bits = scramble(bits ^ static_cast<uint64_t>(z));
  bits = scramble(bits ^ static_cast<uint64_t>(y));
  bits = scramble(bits ^ static_cast<uint64_t>(x));
  return static_cast<float>(static_cast<int64_t>(bits >> 40)) * 0x1p-23f - 1.0f;
}

struct Tap {
  int64_t first;    // lattice column of the first of four control values, from the lattice's own first
  float weight[4];  // they sum to 1
};

// The part of a lattice that a box needs, evaluated. `values` is [component][z][y][x].
struct Lattice {
  int components;
  Int3 first;  // lattice coordinates of values[0]
  Int3 shape;
  std::vector<Tap> taps[3];  // one a voxel of the box along each axis
  std::vector<float> values;
};

// A scalar field is scaled to unit variance (its values stay below 5.3), a deformation keeps control values in
// [-1, 1). Throws std::invalid_argument when the lattice would be finer than the voxels can show.
Lattice make_lattice(const Box& box, const Noise& noise, int components);

// Collapses the lattice to the row (z, y) of the box: out[k] for its columns [begin, end).
void collapse_row(const Lattice& lattice, int component, int64_t z, int64_t y, int64_t begin, int64_t end, float* out);

SEGAE_HD inline float noise_at(const Tap& tap, const float* columns) {
  const float* c = columns + tap.first;
  return tap.weight[0] * c[0] + tap.weight[1] * c[1] + tap.weight[2] * c[2] + tap.weight[3] * c[3];
}

}  // namespace segae
