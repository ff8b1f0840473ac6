// fetch: a box of a volume on a CUDA device, brought to the host. Builds with CUDA only.
#pragma once

#include "core/volume.h"
#include "cuda/stream.h"

namespace segae {

// Copies every step-th voxel: out is C-contiguous, of shape `shape` and the volume's type;
// out[i] = volume[begin + i * step].
void fetch(const VolumeView& volume, const Int3& begin, const Int3& step, const Int3& shape, const Stream& stream,
           void* out);

}  // namespace segae
