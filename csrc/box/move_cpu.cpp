#include <algorithm>
#include <cmath>

#include "box/move.h"
#include "core/parallel.h"

namespace segae {

void extract_mask(const MaskView& source, const Int3& origin, const Int3& shape, int threads, uint8_t* out) {
  visit(source.volume.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const Matches<T> matches(source.label);
    parallel_for(shape[0], threads, [&](int64_t z) {
      for (int64_t y = 0; y < shape[1]; ++y) {
        uint8_t* row = out + (z * shape[1] + y) * shape[2];
        const std::byte* from = source.volume.at(origin[0] + z, origin[1] + y, origin[2]);
        for (int64_t x = 0; x < shape[2]; ++x) row[x] = matches(load<T>(from + x * source.volume.stride[2]));
      }
    });
  });
}

void extract_image(const VolumeView& source, double slope, double intercept, const Int3& origin, const Int3& shape,
                   int threads, float* out) {
  visit(source.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    parallel_for(shape[0], threads, [&](int64_t z) {
      for (int64_t y = 0; y < shape[1]; ++y) {
        float* row = out + (z * shape[1] + y) * shape[2];
        const std::byte* from = source.at(origin[0] + z, origin[1] + y, origin[2]);
        for (int64_t x = 0; x < shape[2]; ++x) {
          const float value = static_cast<float>(as_double(load<T>(from + x * source.stride[2])) * slope + intercept);
          row[x] = std::isnan(value) ? -1024.0f : value;
        }
      }
    });
  });
}

void recut(const Box& source_box, const uint8_t* source, const Box& box, int threads, uint8_t* out) {
  Int3 begin, end;  // of the common part, in the target's box
  for (size_t axis = 0; axis < 3; ++axis) {
    const int64_t offset = source_box.origin[axis] - box.origin[axis];
    begin[axis] = std::clamp<int64_t>(offset, 0, box.shape[axis]);
    end[axis] = std::clamp<int64_t>(offset + source_box.shape[axis], begin[axis], box.shape[axis]);
  }
  parallel_for(box.shape[0], threads, [&](int64_t z) {
    uint8_t* slice = out + z * box.shape[1] * box.shape[2];
    std::fill(slice, slice + box.shape[1] * box.shape[2], uint8_t{0});
    if (z < begin[0] || z >= end[0] || begin[2] == end[2]) return;
    for (int64_t y = begin[1]; y < end[1]; ++y) {
      const int64_t from_z = z + box.origin[0] - source_box.origin[0];
      const int64_t from_y = y + box.origin[1] - source_box.origin[1];
      const int64_t from_x = begin[2] + box.origin[2] - source_box.origin[2];
      const uint8_t* row = source + (from_z * source_box.shape[1] + from_y) * source_box.shape[2] + from_x;
      std::copy(row, row + (end[2] - begin[2]), slice + y * box.shape[2] + begin[2]);
    }
  });
}

void subsample(const uint8_t* source, const Int3& shape, const Int3& stride, int threads, uint8_t* out) {
  const Int3 kept{(shape[0] + stride[0] - 1) / stride[0], (shape[1] + stride[1] - 1) / stride[1],
                  (shape[2] + stride[2] - 1) / stride[2]};
  parallel_for(kept[0], threads, [&](int64_t z) {
    for (int64_t y = 0; y < kept[1]; ++y) {
      const uint8_t* row = source + (z * stride[0] * shape[1] + y * stride[1]) * shape[2];
      for (int64_t x = 0; x < kept[2]; ++x) out[(z * kept[1] + y) * kept[2] + x] = row[x * stride[2]];
    }
  });
}

}  // namespace segae
