// Views of the arrays that Python passed: typed at run time, strided, never owned, never copied.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <type_traits>

#include "core/host_device.h"

namespace segae {

using Int3 = std::array<int64_t, 3>;
using Double3 = std::array<double, 3>;

// IEEE 754 binary16 as stored by numpy and torch; converted to float when read.
struct Half {
  uint16_t bits;
};

SEGAE_HD inline float to_float(Half half) {
  const uint32_t sign = static_cast<uint32_t>(half.bits & 0x8000u) << 16;
  const uint32_t exponent = (half.bits >> 10) & 0x1Fu;
  const uint32_t mantissa = half.bits & 0x3FFu;
  if (exponent == 0) {  // zero and subnormals: exact as a scaled integer
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
  }
  const uint32_t wide = exponent == 31 ? 255u : exponent + 112u;
  const uint32_t bits = sign | (wide << 23) | (mantissa << 13);
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

enum class DType : uint8_t { kBool, kU8, kI8, kU16, kI16, kU32, kI32, kU64, kI64, kF16, kF32, kF64 };

// A [z, y, x] volume. Strides are in bytes and may be negative, zero or not a multiple of the item size.
struct VolumeView {
  const std::byte* data;
  DType dtype;
  Int3 shape;
  Int3 stride;

  SEGAE_HD const std::byte* at(int64_t z, int64_t y, int64_t x) const {
    return data + z * stride[0] + y * stride[1] + x * stride[2];
  }
  SEGAE_HD int64_t voxels() const { return shape[0] * shape[1] * shape[2]; }
};

// The two axes of a slice across `axis`: that of its rows and that of its columns, in the volume's order.
struct PlaneAxes {
  size_t row, column;
};
SEGAE_HD inline PlaneAxes plane_axes(int axis) {
  return {axis == 0 ? size_t{1} : size_t{0}, axis == 2 ? size_t{1} : size_t{2}};
}

// Place of the voxel that lies `index` voxels behind the first of a C-contiguous box.
SEGAE_HD inline Int3 place_of(const Int3& shape, int64_t index) {
  return {index / (shape[1] * shape[2]), index / shape[2] % shape[1], index % shape[2]};
}

// Unaligned-safe read; compiles to one load.
template <class T>
SEGAE_HD inline T load(const std::byte* address) {
#ifdef __CUDA_ARCH__
  // A GPU reads byte by byte what may be unaligned.
  if (reinterpret_cast<uintptr_t>(address) % sizeof(T) == 0) return *reinterpret_cast<const T*>(address);
#endif
  T value;
  std::memcpy(&value, address, sizeof value);
  return value;
}

template <class T>
SEGAE_HD inline double as_double(T value) {
  if constexpr (std::is_same_v<T, Half>) {
    return static_cast<double>(to_float(value));
  } else {
    return static_cast<double>(value);
  }
}

template <class T>
inline constexpr bool is_floating = std::is_floating_point_v<T> || std::is_same_v<T, Half>;

template <class T>
struct Tag {
  using type = T;
};

// Calls `body(Tag<T>{})` with the C++ type behind `dtype`. numpy's bool is one byte that holds 0 or 1.
template <class Body>
decltype(auto) visit(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::kBool:
    case DType::kU8:
      return body(Tag<uint8_t>{});
    case DType::kI8:
      return body(Tag<int8_t>{});
    case DType::kU16:
      return body(Tag<uint16_t>{});
    case DType::kI16:
      return body(Tag<int16_t>{});
    case DType::kU32:
      return body(Tag<uint32_t>{});
    case DType::kI32:
      return body(Tag<int32_t>{});
    case DType::kU64:
      return body(Tag<uint64_t>{});
    case DType::kI64:
      return body(Tag<int64_t>{});
    case DType::kF16:
      return body(Tag<Half>{});
    case DType::kF32:
      return body(Tag<float>{});
    case DType::kF64:
      return body(Tag<double>{});
  }
  throw std::logic_error("segae: unhandled dtype");
}

// Which voxels of a volume belong to a mask: those whose value equals a label.
template <class T>
class Matches {
 public:
  SEGAE_HD explicit Matches(int64_t label) {
    if constexpr (is_floating<T>) {
      label_ = static_cast<double>(label);
      possible_ = true;
    } else {
      label_ = static_cast<T>(label);
      possible_ = static_cast<int64_t>(label_) == label && !(std::is_unsigned_v<T> && label < 0);
    }
  }
  SEGAE_HD bool operator()(T value) const {
    if constexpr (std::is_same_v<T, Half>) {
      return static_cast<double>(to_float(value)) == label_;
    } else if constexpr (is_floating<T>) {
      return static_cast<double>(value) == label_;
    } else {
      return possible_ && value == label_;
    }
  }

 private:
  std::conditional_t<is_floating<T>, double, T> label_;
  bool possible_;
};

// One structure of a volume: the voxels of `volume` that equal `label`.
struct MaskView {
  VolumeView volume;
  int64_t label;
};

}  // namespace segae
