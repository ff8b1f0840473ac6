// relations: how the structures of a scan lie to each other, from one pass over a labelmap, or one over each of many
// masks that may overlap.
//
// The pass turns volumes into runs, stretches of voxels of one structure along a row of the last axis. A sweep over the
// runs, row against itself and against the next row and the next slice, then counts what every pair shares, so that
// cost follows the number of runs and masks need not be held at once. Runs of one row are compared in order of their
// begins (a merge for labelmaps, whose runs are disjoint).
#pragma once

#include <vector>

#include "core/volume.h"

namespace segae {

// Voxels [begin, end) along the last axis, of row z * height + y.
struct Run {
  int64_t structure;  // which one, from 0
  int64_t row, begin, end;
};

// Runs of the voxels that equal labels[i], as structure i, in order of row and begin. `labels` are distinct.
std::vector<Run> find_runs(const VolumeView& volume, const std::vector<int64_t>& labels, int threads);

// Of n structures on a [z, y, x] grid. All counts are of voxels or of pairs of voxels, so they add up exactly whatever
// the number of threads.
struct Relations {
  // [n, n], symmetric, 0 on the diagonal: voxels that both structures hold.
  std::vector<int64_t> overlap;
  // [n, n, 3], symmetric, 0 on the diagonal: pairs of neighbours along z, y, x of which one lies in either structure.
  std::vector<int64_t> contact;
  // [n, extent of the axis, 3] for each axis: in each slice, voxels, and the sum of their indices along the first and
  // the second of the other axes, in order z, y, x.
  std::array<std::vector<int64_t>, 3> moments;
};

// `lists` hold runs inside `shape`, of structures below n, in any order; runs of one structure are disjoint.
Relations relate(const std::vector<std::vector<Run>>& lists, const Int3& shape, int64_t n, int threads);

}  // namespace segae
