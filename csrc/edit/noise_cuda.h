// A noise lattice on a CUDA device. Included by .cu files only.
#pragma once

#include "cuda/cuda_util.h"
#include "edit/noise_formula.h"

namespace segae {

// The lattice is built on the host: it has one value for many voxels.
class DeviceLattice {
 public:
  DeviceLattice(const Lattice& lattice, const Stream& stream)
      : shape_(lattice.shape),
        z_(lattice.taps[0], stream),
        y_(lattice.taps[1], stream),
        x_(lattice.taps[2], stream),
        values_(lattice.values, stream) {}

  LatticeView view() const { return {shape_, {z_.data(), y_.data(), x_.data()}, values_.data()}; }

 private:
  Int3 shape_;
  DeviceBuffer<Tap> z_, y_, x_;
  DeviceBuffer<float> values_;
};

}  // namespace segae
