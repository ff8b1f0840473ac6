#include "box/move.h"
#include "cuda/cuda_util.h"

namespace segae {

namespace {

// Device lambdas may not stand in the generic lambdas that `visit` takes, so each operation has a template for them.

template <class T>
void extract_mask_of(const VolumeView& source, int64_t label, const Int3& origin, const Int3& shape,
                     const Stream& stream, uint8_t* out) {
  const Matches<T> matches(label);
  for_each(shape[0] * shape[1] * shape[2], stream, [=] __device__(int64_t i) {
    const Int3 at = place_of(shape, i);
    out[i] = matches(load<T>(source.at(origin[0] + at[0], origin[1] + at[1], origin[2] + at[2])));
  });
}

template <class T>
void extract_image_of(const VolumeView& source, double slope, double intercept, const Int3& origin, const Int3& shape,
                      const Stream& stream, float* out) {
  for_each(shape[0] * shape[1] * shape[2], stream, [=] __device__(int64_t i) {
    const Int3 at = place_of(shape, i);
    const double stored = as_double(load<T>(source.at(origin[0] + at[0], origin[1] + at[1], origin[2] + at[2])));
    const float value = static_cast<float>(stored * slope + intercept);
    out[i] = value == value ? value : -1024.0f;
  });
}

}  // namespace

void extract_mask(const MaskView& source, const Int3& origin, const Int3& shape, const Stream& stream, uint8_t* out) {
  visit(source.volume.dtype, [&](auto tag) {
    extract_mask_of<typename decltype(tag)::type>(source.volume, source.label, origin, shape, stream, out);
  });
}

void extract_image(const VolumeView& source, double slope, double intercept, const Int3& origin, const Int3& shape,
                   const Stream& stream, float* out) {
  visit(source.dtype, [&](auto tag) {
    extract_image_of<typename decltype(tag)::type>(source, slope, intercept, origin, shape, stream, out);
  });
}

void recut(const Box& source_box, const uint8_t* source, const Box& box, const Stream& stream, uint8_t* out) {
  for_each(box.voxels(), stream, [=] __device__(int64_t i) {
    const Int3 at = place_of(box.shape, i);
    bool inside = true;
    int64_t from = 0;
    for (size_t axis = 0; axis < 3; ++axis) {
      const int64_t index = at[axis] + box.origin[axis] - source_box.origin[axis];
      inside = inside && index >= 0 && index < source_box.shape[axis];
      from = from * source_box.shape[axis] + index;
    }
    out[i] = inside ? source[from] : uint8_t{0};
  });
}

void subsample(const uint8_t* source, const Int3& shape, const Int3& stride, const Stream& stream, uint8_t* out) {
  const Int3 kept{(shape[0] + stride[0] - 1) / stride[0], (shape[1] + stride[1] - 1) / stride[1],
                  (shape[2] + stride[2] - 1) / stride[2]};
  for_each(kept[0] * kept[1] * kept[2], stream, [=] __device__(int64_t i) {
    const Int3 at = place_of(kept, i);
    out[i] = source[(at[0] * stride[0] * shape[1] + at[1] * stride[1]) * shape[2] + at[2] * stride[2]];
  });
}

void paste(const VolumeView& volume, const Box& box, const uint8_t* values, const Stream& stream) {
  for_each(box.voxels(), stream, [=] __device__(int64_t i) {
    const Int3 at = place_of(box.shape, i);
    const std::byte* to = volume.at(box.origin[0] + at[0], box.origin[1] + at[1], box.origin[2] + at[2]);
    *reinterpret_cast<uint8_t*>(const_cast<std::byte*>(to)) = values[i];
  });
}

}  // namespace segae
