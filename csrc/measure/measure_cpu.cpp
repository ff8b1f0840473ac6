#include "measure/measure_cpu.h"

#include <vector>

#include "core/parallel.h"

namespace segae {

void overlap_slice_cpu(const MaskView& given, const MaskView& truth, int axis, int64_t index, int64_t out[3]) {
  const size_t row_axis = plane_axes(axis).row, column_axis = plane_axes(axis).column;
  const VolumeView& a = given.volume;
  const VolumeView& b = truth.volume;
  int64_t both = 0, in_a = 0, in_b = 0;
  visit(a.dtype, [&](auto tag_a) {
    using A = typename decltype(tag_a)::type;
    visit(b.dtype, [&](auto tag_b) {
      using B = typename decltype(tag_b)::type;
      const Matches<A> is_a(given.label);
      const Matches<B> is_b(truth.label);
      for (int64_t row = 0; row < a.shape[row_axis]; ++row) {
        const std::byte* at_a = a.data + index * a.stride[static_cast<size_t>(axis)] + row * a.stride[row_axis];
        const std::byte* at_b = b.data + index * b.stride[static_cast<size_t>(axis)] + row * b.stride[row_axis];
        for (int64_t column = 0; column < a.shape[column_axis]; ++column) {
          const bool hit_a = is_a(load<A>(at_a + column * a.stride[column_axis]));
          const bool hit_b = is_b(load<B>(at_b + column * b.stride[column_axis]));
          both += hit_a && hit_b;
          in_a += hit_a;
          in_b += hit_b;
        }
      }
    });
  });
  out[0] = both, out[1] = in_a, out[2] = in_b;
}

void mark_border_cpu(const MaskView& mask, std::optional<int> skipped_axis, int threads, uint8_t* border) {
  const VolumeView& volume = mask.volume;
  const auto [depth, height, width] = volume.shape;
  std::vector<uint8_t> inside(static_cast<size_t>(volume.voxels()));
  visit(volume.dtype, [&, depth = depth, height = height, width = width](auto tag) {
    using T = typename decltype(tag)::type;
    const Matches<T> matches(mask.label);
    parallel_for(depth, threads, [&](int64_t z) {
      for (int64_t y = 0; y < height; ++y) {
        uint8_t* row = inside.data() + (z * height + y) * width;
        for (int64_t x = 0; x < width; ++x) row[x] = matches(load<T>(volume.at(z, y, x)));
      }
    });
  });
  const Int3 step{height * width, width, 1};
  parallel_for(depth, threads, [&, height = height, width = width](int64_t z) {
    for (int64_t y = 0; y < height; ++y) {
      for (int64_t x = 0; x < width; ++x) {
        const int64_t here = (z * height + y) * width + x;
        const Int3 position{z, y, x};
        bool open = false;
        for (size_t axis = 0; axis < 3; ++axis) {
          if (skipped_axis == static_cast<int>(axis)) continue;
          const bool first = position[axis] == 0;
          const bool last = position[axis] + 1 == volume.shape[axis];
          open = open || first || last || !inside[static_cast<size_t>(here - step[axis])] ||
                 !inside[static_cast<size_t>(here + step[axis])];
        }
        border[here] = inside[static_cast<size_t>(here)] && open;
      }
    }
  });
}

}  // namespace segae
