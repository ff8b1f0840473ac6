// Python's door to the operations: check what came, release the GIL, call, return. No arithmetic here.
// The bind_*.cpp beside it are its other leaves.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "components/components.h"
#include "cuda/build_info.h"
#include "distance/distance.h"
#include "measure/measure.h"
#include "python/arrays.h"
#include "python/check_sample.h"
#include "sample/sample.h"
#include "scan/scan.h"

namespace py = pybind11;
using namespace segae;

namespace {

using Indices = py::array_t<int64_t, py::array::c_style | py::array::forcecast>;
using Numbers = py::array_t<double, py::array::c_style | py::array::forcecast>;

py::dict bind_scan(const py::array& volume, int threads) {
  const VolumeView input = view(volume, "volume");
  ScanResult result;
  {
    const py::gil_scoped_release release;
    result = scan(input, threads);
  }
  return to_python(result);
}

py::array_t<int64_t> bind_plane_boxes(const py::array& volume, int axis, const Indices& indices, const Indices& labels,
                                      const Indices& windows, int threads) {
  const VolumeView input = view(volume, "volume");
  check_axis(axis);
  const py::ssize_t n = indices.size();
  if (indices.ndim() != 1 || labels.ndim() != 1 || labels.size() != n || windows.ndim() != 2 || windows.shape(0) != n ||
      windows.shape(1) != 4) {
    throw py::value_error("indices, labels, windows: expected shapes [n], [n] and [n, 4]");
  }
  const int64_t rows = input.shape[plane_axes(axis).row];
  const int64_t columns = input.shape[plane_axes(axis).column];
  for (py::ssize_t i = 0; i < n; ++i) {
    const int64_t* window = windows.data(i, 0);
    if (indices.at(i) < 0 || indices.at(i) >= input.shape[static_cast<size_t>(axis)] || window[0] < 0 ||
        window[1] < window[0] || window[1] > rows || window[2] < 0 || window[3] < window[2] || window[3] > columns) {
      throw py::index_error("indices, windows: outside the volume, or ends before begins");
    }
  }
  py::array_t<int64_t> boxes({n, py::ssize_t{4}});
  int64_t* out = boxes.mutable_data();
  const py::gil_scoped_release release;
  plane_boxes(input, axis, indices.data(), labels.data(), windows.data(), n, threads, out);
  return boxes;
}

using Slices = py::array_t<float, py::array::c_style>;

void bind_sample_into(Slices& slices, const std::vector<int64_t>& places, const py::array& image,
                      const std::optional<py::array>& mask, const SampleSpec& spec, const Indices& indices,
                      const Numbers& boxes, const Indices& labels, int threads) {
  const VolumeView image_view = view(image, "image");
  std::optional<VolumeView> mask_view;
  if (mask) {
    mask_view = view(*mask, "mask");
    check_same_shape(image_view, *mask_view, "image and mask");
  }
  const std::vector<Plane> planes = read_planes(spec, indices, boxes, labels);
  if (slices.ndim() != 4 || slices.shape(0) != indices.size()) throw py::value_error("out: expected a row a plane");
  check_places(places, {slices.shape(0), slices.shape(1), slices.shape(2), slices.shape(3)}, spec);
  const SampleOutput out{slices.mutable_data(), slices.shape(1), places};
  const py::gil_scoped_release release;
  sample(image_view, mask_view ? &*mask_view : nullptr, spec, planes, threads, out);
}

Slices bind_sample(const py::array& image, const std::optional<py::array>& mask, const SampleSpec& spec,
                   const Indices& indices, const Numbers& boxes, const Indices& labels, int threads) {
  const auto channels = static_cast<py::ssize_t>(spec.channels.size());
  // Sizes that the check refuses must not be asked memory for.
  Slices slices({indices.size(), channels, static_cast<py::ssize_t>(std::max<int64_t>(spec.height, 1)),
                 static_cast<py::ssize_t>(std::max<int64_t>(spec.width, 1))});
  std::vector<int64_t> places(spec.channels.size());
  std::iota(places.begin(), places.end(), int64_t{0});
  bind_sample_into(slices, places, image, mask, spec, indices, boxes, labels, threads);
  return slices;
}

py::array_t<int64_t> bind_overlap(const py::array& given, const py::array& truth, int64_t given_label,
                                  int64_t truth_label, int axis, int threads) {
  const MaskView a{view(given, "given"), given_label};
  const MaskView b{view(truth, "truth"), truth_label};
  check_axis(axis);
  check_same_shape(a.volume, b.volume, "given and truth");
  py::array_t<int64_t> counts({static_cast<py::ssize_t>(a.volume.shape[static_cast<size_t>(axis)]), py::ssize_t{3}});
  int64_t* out = counts.mutable_data();
  const py::gil_scoped_release release;
  overlap(a, b, axis, threads, out);
  return counts;
}

py::array_t<int64_t> bind_surface_counts(const py::array& given, const py::array& truth, int64_t given_label,
                                         int64_t truth_label, const Double3& spacing_mm, double tolerance_mm,
                                         std::optional<int> per_slice_axis, int threads) {
  const MaskView a{view(given, "given"), given_label};
  const MaskView b{view(truth, "truth"), truth_label};
  check_same_shape(a.volume, b.volume, "given and truth");
  check_spacing(spacing_mm);
  if (!(tolerance_mm >= 0) || !std::isfinite(tolerance_mm)) {
    throw py::value_error("tolerance_mm: expected a finite number of at least 0");
  }
  if (per_slice_axis) check_axis(*per_slice_axis);
  const int64_t n = per_slice_axis ? a.volume.shape[static_cast<size_t>(*per_slice_axis)] : 1;
  std::vector<SurfaceCounts> counts(static_cast<size_t>(n));
  {
    const py::gil_scoped_release release;
    if (per_slice_axis) {
      surface_counts_per_slice(a, b, *per_slice_axis, spacing_mm, tolerance_mm, threads, counts.data());
    } else {
      counts[0] = surface_counts(a, b, spacing_mm, tolerance_mm, threads);
    }
  }
  py::array_t<int64_t> out({static_cast<py::ssize_t>(n), py::ssize_t{4}});
  for (py::ssize_t i = 0; i < out.shape(0); ++i) {
    const SurfaceCounts& slice = counts[static_cast<size_t>(i)];
    out.mutable_at(i, 0) = slice.given;
    out.mutable_at(i, 1) = slice.truth;
    out.mutable_at(i, 2) = slice.given_close;
    out.mutable_at(i, 3) = slice.truth_close;
  }
  return out;
}

py::array_t<float> bind_squared_distance(const py::array_t<uint8_t, py::array::c_style>& seeds,
                                         const Double3& spacing_mm, int threads) {
  if (seeds.ndim() != 3) throw py::value_error("seeds: expected 3 axes");
  check_spacing(spacing_mm);
  py::array_t<float> distance({seeds.shape(0), seeds.shape(1), seeds.shape(2)});
  float* out = distance.mutable_data();
  const Int3 shape{seeds.shape(0), seeds.shape(1), seeds.shape(2)};
  const py::gil_scoped_release release;
  squared_distance(seeds.data(), shape, spacing_mm, threads, out);
  return distance;
}

std::vector<int64_t> bind_component_sizes(const py::array& mask, int64_t label) {
  const MaskView input{view(mask, "mask"), label};
  const py::gil_scoped_release release;
  return component_sizes(input);
}

py::array_t<int32_t> bind_component_labels(const py::array& mask, int64_t label) {
  const MaskView input{view(mask, "mask"), label};
  py::array_t<int32_t> labels({mask.shape(0), mask.shape(1), mask.shape(2)});
  int32_t* out = labels.mutable_data();
  const py::gil_scoped_release release;
  component_labels(input, out);
  return labels;
}

}  // namespace

// The module keeps no state of its own, and functions write only to what they return or were given to write to: a
// free-threaded Python may call them at once.
PYBIND11_MODULE(_core, m, py::mod_gil_not_used()) {
  m.doc() = "C++ core of segae. Volumes are strided arrays [z, y, x] of any real dtype; see _core.pyi.";
  m.attr("__version__") = SEGAE_VERSION;
  m.attr("MAX_LABELS") = kMaxLabels;
  m.def("built_with_cuda", &built_with_cuda);
  m.def("cuda_devices", &cuda_devices);

  py::class_<Channel>(m, "Channel")
      .def(py::init([](bool is_mask, int64_t offset, double low, double high, double gain, double bias) {
             if (!(static_cast<float>(high) > static_cast<float>(low)) || !std::isfinite(high - low)) {
               throw py::value_error("low, high: expected a finite window, high above low");
             }
             if (std::abs(static_cast<double>(offset)) > kFarthestVoxel) {
               throw py::value_error("offset: lies absurdly far away");
             }
             return Channel{is_mask, offset, low, high, gain, bias};
           }),
           py::kw_only(), py::arg("is_mask"), py::arg("offset") = 0, py::arg("low") = 0.0, py::arg("high") = 1.0,
           py::arg("gain") = 1.0, py::arg("bias") = 0.0);
  py::class_<SampleSpec>(m, "SampleSpec")
      .def(py::init([](int axis, int64_t height, int64_t width, double slope, double intercept, double fill_hu,
                       bool stop_at_crop, std::vector<Channel> channels) {
             return SampleSpec{axis, height, width, slope, intercept, fill_hu, stop_at_crop, std::move(channels)};
           }),
           py::kw_only(), py::arg("axis"), py::arg("height"), py::arg("width"), py::arg("slope") = 1.0,
           py::arg("intercept") = 0.0, py::arg("fill_hu") = -1024.0, py::arg("stop_at_crop") = false,
           py::arg("channels"));

  m.def("scan", &bind_scan, py::arg("volume"), py::arg("threads"));
  m.def("plane_boxes", &bind_plane_boxes, py::arg("volume"), py::arg("axis"), py::arg("indices"), py::arg("labels"),
        py::arg("windows"), py::arg("threads"));
  m.def("sample", &bind_sample, py::arg("image"), py::arg("mask"), py::arg("spec"), py::arg("indices"),
        py::arg("boxes"), py::arg("labels"), py::arg("threads"));
  m.def("sample_into", &bind_sample_into, py::arg("out").noconvert(), py::arg("places"), py::arg("image"),
        py::arg("mask"), py::arg("spec"), py::arg("indices"), py::arg("boxes"), py::arg("labels"), py::arg("threads"));
  m.def("overlap", &bind_overlap, py::arg("given"), py::arg("truth"), py::arg("given_label"), py::arg("truth_label"),
        py::arg("axis"), py::arg("threads"));
  m.def("surface_counts", &bind_surface_counts, py::arg("given"), py::arg("truth"), py::arg("given_label"),
        py::arg("truth_label"), py::arg("spacing_mm"), py::arg("tolerance_mm"), py::arg("per_slice_axis"),
        py::arg("threads"));
  m.def("squared_distance", &bind_squared_distance, py::arg("seeds"), py::arg("spacing_mm"), py::arg("threads"));
  register_perturb(m);
  register_relations(m);
  register_device_array(m);
#ifdef SEGAE_WITH_CUDA
  register_cuda(m);
  register_batch(m);
#endif
  m.def("component_sizes", &bind_component_sizes, py::arg("mask"), py::arg("label"));
  m.def("component_labels", &bind_component_labels, py::arg("mask"), py::arg("label"));
}
