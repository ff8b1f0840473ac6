#include "cuda/build_info.h"
#include "cuda/cuda_util.h"

namespace segae {

std::vector<std::string> cuda_devices() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  // A machine without a driver or without a device is an answer, not a failure.
  if (status == cudaErrorNoDevice || status == cudaErrorInsufficientDriver) {
    cudaGetLastError();
    return {};
  }
  cuda_check(status, "cudaGetDeviceCount");
  std::vector<std::string> names;
  for (int device = 0; device < count; ++device) {
    cudaDeviceProp properties{};
    cuda_check(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
    names.emplace_back(properties.name);
  }
  return names;
}

}  // namespace segae
