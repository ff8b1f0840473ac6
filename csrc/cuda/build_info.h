// Which device and which instruction set the operations run on: asked once, never guessed.
#pragma once

#include <string>
#include <vector>

namespace segae {

// True when the CUDA kernels were compiled in (CMake: SEGAE_CUDA).
bool built_with_cuda();

// Names of the CUDA devices that the driver reports, in its order. Empty without a driver or a device.
// Throws std::runtime_error in a build without CUDA.
std::vector<std::string> cuda_devices();

}  // namespace segae
