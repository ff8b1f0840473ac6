// What the binding files share: numpy arrays seen as views, and checks that name the argument.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cmath>
#include <string>

#include "core/volume.h"

namespace segae {

namespace py = pybind11;

// Adds the operations of csrc/edit to the module.
void register_perturb(py::module_& m);

// Adds the operations of csrc/relations.
void register_relations(py::module_& m);

// Adds DeviceArray, and in a build with CUDA the operations on it.
void register_device_array(py::module_& m);
void register_cuda(py::module_& m);
void register_batch(py::module_& m);

inline const char* dtype_name(DType dtype) {
  constexpr const char* kNames[] = {"bool",  "uint8",  "int8",  "uint16",  "int16",   "uint32",
                                    "int32", "uint64", "int64", "float16", "float32", "float64"};
  return kNames[static_cast<size_t>(dtype)];
}

inline DType dtype_of(const py::array& array, const char* name) {
  const py::dtype dtype = array.dtype();
  const char kind = dtype.kind();
  const auto size = dtype.itemsize();
  if (dtype.attr("isnative").cast<bool>()) {  // byteorder() may say '<' or '=' for the same thing
    if (kind == 'b' && size == 1) return DType::kBool;
    if (kind == 'u' && size == 1) return DType::kU8;
    if (kind == 'i' && size == 1) return DType::kI8;
    if (kind == 'u' && size == 2) return DType::kU16;
    if (kind == 'i' && size == 2) return DType::kI16;
    if (kind == 'u' && size == 4) return DType::kU32;
    if (kind == 'i' && size == 4) return DType::kI32;
    if (kind == 'u' && size == 8) return DType::kU64;
    if (kind == 'i' && size == 8) return DType::kI64;
    if (kind == 'f' && size == 2) return DType::kF16;
    if (kind == 'f' && size == 4) return DType::kF32;
    if (kind == 'f' && size == 8) return DType::kF64;
  }
  throw py::type_error(std::string(name) + ": unsupported dtype " + py::str(dtype).cast<std::string>());
}

inline VolumeView view(const py::array& array, const char* name) {
  if (array.ndim() != 3) {
    throw py::value_error(std::string(name) + ": expected 3 axes, got " + std::to_string(array.ndim()));
  }
  VolumeView volume{static_cast<const std::byte*>(array.data()), dtype_of(array, name), {}, {}};
  for (int axis = 0; axis < 3; ++axis) {
    volume.shape[static_cast<size_t>(axis)] = array.shape(axis);
    volume.stride[static_cast<size_t>(axis)] = array.strides(axis);
  }
  return volume;
}

inline void check_axis(int axis) {
  if (axis < 0 || axis > 2) throw py::value_error("axis: expected 0, 1 or 2");
}

inline void check_same_shape(const VolumeView& a, const VolumeView& b, const char* names) {
  if (a.shape != b.shape) throw py::value_error(std::string(names) + ": shapes differ");
}

inline void check_spacing(const Double3& spacing_mm) {
  for (const double step : spacing_mm) {
    if (!(step > 0) || !std::isfinite(step)) throw py::value_error("spacing_mm: expected three positive numbers");
  }
}

}  // namespace segae
