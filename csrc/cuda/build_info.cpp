#include "cuda/build_info.h"

#include <stdexcept>

namespace segae {

#ifdef SEGAE_WITH_CUDA

bool built_with_cuda() { return true; }

#else

bool built_with_cuda() { return false; }

std::vector<std::string> cuda_devices() {
  throw std::runtime_error(
      "segae was built without CUDA: rebuild with SEGAE_CUDA=ON and nvcc on PATH "
      "(SEGAE_CUDA=ON pip install --no-binary segae segae), or use device=\"cpu\".");
}

#endif

}  // namespace segae
