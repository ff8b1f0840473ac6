// An array in a device's memory as the bindings pass it around: lent by DLPack or made by an operation.
#pragma once

#include <memory>

#include "core/volume.h"
#include "cuda/dlpack.h"
#include "cuda/stream.h"

namespace segae {

struct DeviceArray {
  VolumeView view;
  dlpack::DeviceType device_type;
  Stream stream;                // on which the values are ready, and on which operations continue
  std::shared_ptr<void> owner;  // keeps the memory; what its end does belongs to who made it
};

}  // namespace segae
