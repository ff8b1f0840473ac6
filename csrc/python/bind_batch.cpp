// scan, sample and fetch for volumes on a CUDA device, many at a time. Only in builds with CUDA.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "box/fetch.h"
#include "python/arrays.h"
#include "python/check_sample.h"
#include "python/cuda_place.h"
#include "sample/sample.h"
#include "scan/scan.h"

namespace segae {

namespace {

using Indices = py::array_t<int64_t, py::array::c_style | py::array::forcecast>;
using Numbers = py::array_t<double, py::array::c_style | py::array::forcecast>;

// The network's input on a device: float32 [n, channels, height, width].
struct DeviceSlices {
  std::array<int64_t, 4> shape;
  Stream stream;
  std::shared_ptr<DeviceMemory> memory;

  float* data() const { return static_cast<float*>(memory->data()); }
};

std::vector<VolumeView> views(const std::vector<DeviceArray>& arrays, const Stream& stream) {
  std::vector<VolumeView> all;
  for (const DeviceArray& array : arrays) {
    if (array.stream.device != stream.device || array.stream.handle != stream.handle) {
      throw py::value_error("expected volumes of one device and one stream");
    }
    all.push_back(cuda_view(array, "volumes"));
  }
  return all;
}

py::list scan_batch(const std::vector<DeviceArray>& volumes) {
  py::list found;
  if (volumes.empty()) return found;
  const Stream stream = volumes[0].stream;
  const std::vector<VolumeView> inputs = views(volumes, stream);
  std::vector<ScanResult> results;
  {
    const UseDevice device(stream.device);
    const py::gil_scoped_release release;
    results = scan(inputs, stream);
  }
  for (const ScanResult& result : results) found.append(to_python(result));
  return found;
}

DeviceSlices empty_slices(const std::array<int64_t, 4>& shape, const DeviceArray& like) {
  int64_t n = 1;
  for (const int64_t extent : shape) {
    if (extent < 0) throw py::value_error("shape: expected extents of at least 0");
    n *= extent;
  }
  cuda_view(like, "like");
  const UseDevice device(like.stream.device);
  return {shape, like.stream, std::make_shared<DeviceMemory>(n * static_cast<int64_t>(sizeof(float)), like.stream)};
}

void sample_batch(const DeviceSlices& out, const Indices& rows, const std::vector<int64_t>& places,
                  const std::vector<DeviceArray>& images, const std::vector<DeviceArray>& masks, const Indices& pairs,
                  const SampleSpec& spec, const Indices& indices, const Numbers& boxes, const Indices& labels) {
  const std::vector<VolumeView> image_views = views(images, out.stream), mask_views = views(masks, out.stream);
  if (images.size() != masks.size()) throw py::value_error("images, masks: expected as many of each");
  for (size_t i = 0; i < images.size(); ++i) check_same_shape(image_views[i], mask_views[i], "images and masks");
  check_places(places, out.shape, spec);
  const std::vector<Plane> planes = read_planes(spec, indices, boxes, labels);
  const py::ssize_t n = indices.size();
  if (rows.ndim() != 1 || rows.size() != n || pairs.ndim() != 1 || pairs.size() != n) {
    throw py::value_error("rows, pairs: expected shape [n]");
  }
  std::vector<BatchPlane> batch;
  for (py::ssize_t i = 0; i < n; ++i) {
    if (rows.at(i) < 0 || rows.at(i) >= out.shape[0] || pairs.at(i) < 0 ||
        pairs.at(i) >= static_cast<int64_t>(images.size())) {
      throw py::index_error("rows, pairs: outside what they count in");
    }
    batch.push_back({planes[static_cast<size_t>(i)], pairs.at(i), rows.at(i)});
  }
  const UseDevice device(out.stream.device);
  const py::gil_scoped_release release;
  sample(image_views, mask_views, spec, batch, out.stream, {out.data(), out.shape[1], places});
}

py::array_t<float> slices_to_host(const DeviceSlices& slices) {
  py::array_t<float> out(std::vector<py::ssize_t>(slices.shape.begin(), slices.shape.end()));
  float* data = out.mutable_data();
  const int64_t bytes = static_cast<int64_t>(out.nbytes());
  const UseDevice device(slices.stream.device);
  const py::gil_scoped_release release;
  copy_to_host(data, slices.data(), bytes, slices.stream);
  return out;
}

py::array fetch_box(const DeviceArray& volume, const Int3& begin, const Int3& step, const Int3& shape) {
  const VolumeView& input = cuda_view(volume, "volume");
  for (size_t axis = 0; axis < 3; ++axis) {
    const int64_t last = begin[axis] + (shape[axis] - 1) * step[axis];
    if (shape[axis] < 0 || (shape[axis] > 0 && (begin[axis] < 0 || begin[axis] >= input.shape[axis] || last < 0 ||
                                                last >= input.shape[axis]))) {
      throw py::index_error("begin, step, shape: outside the volume");
    }
  }
  py::array out(py::dtype(dtype_name(input.dtype)), {shape[0], shape[1], shape[2]});
  void* data = out.mutable_data();
  const UseDevice device(volume.stream.device);
  const py::gil_scoped_release release;
  fetch(input, begin, step, shape, volume.stream, data);
  return out;
}

}  // namespace

void register_batch(py::module_& m) {
  py::class_<DeviceSlices>(m, "DeviceSlices")
      .def_property_readonly("shape", [](const DeviceSlices& slices) { return py::tuple(py::cast(slices.shape)); })
      .def_property_readonly("address",
                             [](const DeviceSlices& slices) { return reinterpret_cast<uintptr_t>(slices.data()); })
      .def_property_readonly("stream", [](const DeviceSlices& slices) { return slices.stream.handle; })
      .def("to_host", &slices_to_host);
  m.def("scan_batch", &scan_batch, py::arg("volumes"));
  m.def("empty_slices", &empty_slices, py::arg("shape"), py::arg("like"));
  m.def("sample_batch", &sample_batch, py::arg("out"), py::arg("rows"), py::arg("places"), py::arg("images"),
        py::arg("masks"), py::arg("pairs"), py::arg("spec"), py::arg("indices"), py::arg("boxes"), py::arg("labels"));
  m.def("fetch", &fetch_box, py::arg("volume"), py::arg("begin"), py::arg("step"), py::arg("shape"));
}

}  // namespace segae
