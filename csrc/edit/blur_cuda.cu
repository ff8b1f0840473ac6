#include <utility>

#include "cuda/cuda_util.h"
#include "edit/blur_formula.h"

namespace segae {

void blur(const Box& box, double sigma_mm, const Stream& stream, float* values) {
  const DeviceBuffer<float> scratch(box.voxels(), stream);
  float* from = values;
  float* to = scratch.data();
  const int64_t strides[3] = {box.shape[1] * box.shape[2], box.shape[2], 1};
  for (const size_t axis : {size_t{2}, size_t{1}, size_t{0}}) {
    const int64_t half = half_width(sigma_mm, box.spacing_mm[axis]);
    if (half == 0) continue;
    const int64_t n = box.shape[axis], stride = strides[axis];
    for (int pass = 0; pass < 3; ++pass) {
      for_each(box.voxels() / n, stream, [=] __device__(int64_t line) {
        const int64_t first = line / stride * n * stride + line % stride;
        running_mean(from + first, n, stride, half, to + first);
      });
      std::swap(from, to);
    }
  }
  if (from != values) copy_on_device(values, from, box.voxels() * static_cast<int64_t>(sizeof(float)), stream);
}

void roughness(const Box& box, const float* squared, double sigma_mm, const Stream& stream, float* out) {
  const float most = static_cast<float>(3.0 * sigma_mm);
  for_each(box.voxels(), stream, [=] __device__(int64_t i) { out[i] = held_distance(squared[i], most); });
  blur(box, sigma_mm, stream, out);
  for_each(box.voxels(), stream, [=] __device__(int64_t i) { out[i] = held_distance(squared[i], most) - out[i]; });
}

}  // namespace segae
