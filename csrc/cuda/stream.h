// Which queue of which CUDA device an operation's work goes to; readable without CUDA's headers.
#pragma once

#include <cstdint>

namespace segae {

// `handle` is a cudaStream_t, or 1 for the legacy default stream and 2 for the thread's, as CUDA and DLPack number
// them.
struct Stream {
  int device;
  uint64_t handle;
};

}  // namespace segae
