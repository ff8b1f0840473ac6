// levels: at which strength of an error does each voxel flip?
//
// Most errors are one family: a voxel changes sides once the error's strength reaches the voxel's level. Erosion: its
// depth. A cut: how far behind the plane it lies. A noisy boundary: its distance over the noise there. With the levels
// at hand every strength costs one comparison a voxel, and a histogram of the levels gives the Dice of all strengths
// at once. A voxel flips when level <= strength (1 + 1e-6): multiples of a spacing such as 0.7 mm are not exact.
#pragma once

#include "edit/noise.h"

namespace segae {

enum class Measure : uint8_t {
  kDistance,  // mm to the other side of the boundary, plus the noise
  kField,     // strength at which strength * (bias + field + noise) carries the boundary over the voxel
  kPlane,     // mm behind the plane normal . position = start, plus the noise
  kBalls,     // distance to the nearest centre over that centre's weight, times 1 + noise (at least 1/2)
  kSlices,    // a number a slice
};

struct Ball {
  Double3 centre_mm;
  double weight;
};

struct LevelRule {
  Measure measure;
  bool add, remove;           // which voxels may flip
  double most;                // levels beyond this are not needed and may be infinite
  double bias = 0;            // kField
  double most_push_mm = 0;    // kField: |bias + field + noise| is held below this
  double inset_mm = 0;        // kField: the boundary lies this far from the centres beside it
  Double3 normal{};           // kPlane
  double start_mm = 0;        // kPlane
  std::vector<Ball> balls;    // kBalls
  int axis = 0;               // kSlices
  std::vector<float> slices;  // kSlices: one a slice of the box along `axis`
  std::vector<Noise> noise;   // added up
};

// out[i] = the level of voxel i of the box, >= 0, or infinity for a voxel that never flips.
//   mask     not 0: in the mask, may be removed; 0: outside, may be added.
//   other    when given, only its voxels may be added, and those in both masks stay.
//   squared  signed squared distance that kDistance and kField read (see distance.h): nullptr for the others.
//   field    added to the noise of kField when given, in mm.
void levels(const Box& box, const uint8_t* mask, const uint8_t* other, const float* squared, const float* field,
            const LevelRule& rule, int threads, float* out);

// out = mask, with the voxels of level <= strength flipped. `truth` is what the result is counted against.
Counts flip(const Box& box, const uint8_t* mask, const float* level, double strength, const uint8_t* truth, int threads,
            uint8_t* out);

// Flipping voxels by strength: counts[4 b + 2 t + m] of those whose level falls into bin b of `bins` equal ones over
// [0, most], with t = in truth, m = in mask. A level in bin b flips at every strength >= (b + 1) most / bins; levels
// below 0 are in bin 0.
void level_histogram(const Box& box, const uint8_t* mask, const float* level, const uint8_t* truth, double most,
                     int64_t bins, int threads, int64_t* counts);

// The same on a CUDA device: pointers into its memory, but for `counts`, which the host reads; work queued on `stream`.
void levels(const Box& box, const uint8_t* mask, const uint8_t* other, const float* squared, const float* field,
            const LevelRule& rule, const Stream& stream, float* out);
Counts flip(const Box& box, const uint8_t* mask, const float* level, double strength, const uint8_t* truth,
            const Stream& stream, uint8_t* out);
void level_histogram(const Box& box, const uint8_t* mask, const float* level, const uint8_t* truth, double most,
                     int64_t bins, const Stream& stream, int64_t* counts);

}  // namespace segae
