// warp: a mask seen through a map of coordinates: shifted, turned, scaled, bent, or drawn on a coarser grid.
//
// The mask is interpolated between its eight voxels around the mapped position and kept where that reaches 1/2. Most
// rows lie wholly inside or outside the mask: a summed table of coarse blocks tells, for a run of voxels and the
// farthest that the map can carry it, whether the source is uniform there, and such runs are filled without looking.
#pragma once

#include "edit/noise.h"

namespace segae {

// Applied in this order to a position in mm (z, y, x).
struct Map {
  Double3 cell_mm;  // snap to the centre of cells of this size (0: do not), counted from cell_from_mm
  Double3 cell_from_mm;
  std::array<double, 9> matrix;  // then matrix . position + offset_mm
  Double3 offset_mm;
  Noise bend;  // then a displacement of its own for each axis; amplitude 0: none
};

// Cubic B-splines whose control displacements stay below this part of their distance do not fold (Choi & Lee, Graphical
// Models 62, 2000).
inline constexpr double kFoldingFree = 0.4;

// target[i] = the source at the mapped position of voxel i; outside its box the source is empty. The two boxes lie in
// one volume; counts compare with `truth`, which has the target's box. Only every `stride`-th row in z and y is
// evaluated and counted: 1 for a result, more for an estimate of the counts.
Counts warp(const Box& source_box, const uint8_t* source, const Box& box, const Map& map, const uint8_t* truth,
            int64_t stride, int threads, uint8_t* target);

// The same on a CUDA device: pointers into its memory, work queued on `stream`.
Counts warp(const Box& source_box, const uint8_t* source, const Box& box, const Map& map, const uint8_t* truth,
            int64_t stride, const Stream& stream, uint8_t* target);

}  // namespace segae
