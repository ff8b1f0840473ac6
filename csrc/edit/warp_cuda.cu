#include <optional>

#include "edit/noise_cuda.h"
#include "edit/warp_formula.h"

namespace segae {

Counts warp(const Box& source_box, const uint8_t* source, const Box& box, const Map& map, const uint8_t* truth,
            int64_t stride, const Stream& stream, uint8_t* target) {
  std::optional<DeviceLattice> lattice;
  LatticeView bend{};
  const bool bends = map.bend.amplitude_mm > 0;
  if (bends) {
    lattice.emplace(make_lattice(box, map.bend, 3), stream);
    bend = lattice->view();
  }
  const Int3 evaluated{(box.shape[0] + stride - 1) / stride, (box.shape[1] + stride - 1) / stride, box.shape[2]};
  const int64_t n = evaluated[0] * evaluated[1] * evaluated[2];
  const Tally<3, 1> counts = tally_over<3>(n, stream, [=] __device__(int64_t k, Tally<3, 1>& tally) {
    const Int3 step = place_of(evaluated, k);
    const Int3 at{step[0] * stride, step[1] * stride, step[2]};
    double place[3];
    for (int axis = 0; axis < 3; ++axis) {
      const size_t a = static_cast<size_t>(axis);
      place[axis] = snap(box.position(axis, at[a]), map.cell_mm[a], map.cell_from_mm[a]);
    }
    double in[3];
    for (int axis = 0; axis < 3; ++axis) {
      const double moved = bends ? static_cast<double>(noise_at_voxel(bend, axis, at)) : 0.0;
      in[axis] = in_source(map, source_box, axis, mapped_row(map, axis, place[0], place[1]), place[2], moved);
    }
    const int64_t i = (at[0] * box.shape[1] + at[1]) * box.shape[2] + at[2];
    const uint8_t value = sample_mask(source, source_box.shape, in[0], in[1], in[2]);
    const uint8_t expected = truth[i] != 0;
    target[i] = value;
    tally.sum[0] += value & expected;
    tally.sum[1] += value;
    tally.sum[2] += expected;
  });
  return {counts.sum[0], counts.sum[1], counts.sum[2]};
}

}  // namespace segae
