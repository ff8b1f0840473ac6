// The operations of csrc/edit on DeviceArrays, and what a device needs beside them. Only in builds with CUDA.
#include "python/cuda_place.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include "measure/measure.h"
#include "python/operations.h"

namespace segae {

namespace {

using Integers = py::array_t<int64_t, py::array::c_style>;

// [border of given, border of truth, given close, truth close], as surface_counts returns for one mask pair.
Integers cuda_box_surface_counts(const Box& box, const DeviceArray& given, const DeviceArray& truth,
                                 double tolerance_mm) {
  const CudaPlace place(given, 1);
  const uint8_t* given_data = place.data<uint8_t>(given, box.shape, "given");
  const uint8_t* truth_data = place.data<uint8_t>(truth, box.shape, "truth");
  Integers result(py::ssize_t{4});
  int64_t* out = result.mutable_data();
  const CudaPlace::Working working(place);
  const SurfaceCounts counts =
      surface_counts(given_data, truth_data, box.shape, box.spacing_mm, tolerance_mm, place.where());
  out[0] = counts.given, out[1] = counts.truth, out[2] = counts.given_close, out[3] = counts.truth_close;
  return result;
}

void cuda_paste(const DeviceArray& volume, const Box& box, const DeviceArray& values) {
  const CudaPlace place(values, 1);
  const VolumeView& target = place.view(volume, "volume");
  if (target.dtype != DType::kU8) throw py::value_error("volume: expected uint8");
  check_within(target, box, "volume");
  const uint8_t* input = place.data<uint8_t>(values, box.shape, "values");
  const CudaPlace::Working working(place);
  paste(target, box, input, place.where());
}

}  // namespace

void register_cuda(py::module_& m) {
  register_operations<CudaPlace>(m);
  m.def("box_surface_counts", &cuda_box_surface_counts, py::arg("box"), py::arg("given"), py::arg("truth"),
        py::arg("tolerance_mm"));
  m.def("paste", &cuda_paste, py::arg("volume"), py::arg("box"), py::arg("values"));
}

}  // namespace segae
