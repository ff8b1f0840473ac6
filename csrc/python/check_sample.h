// What the bindings of scan and sample share, whichever device they work on.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>

#include "python/arrays.h"
#include "sample/sample.h"
#include "scan/scan.h"

namespace segae {

// Positions are added and truncated to int64 later; no volume reaches further.
inline constexpr double kFarthestVoxel = 0x1p40;

template <class T>
py::array_t<T> to_array(const std::vector<T>& values) {
  return py::array_t<T>(static_cast<py::ssize_t>(values.size()), values.data());
}

inline py::dict to_python(const ScanResult& result) {
  py::list labels;
  for (const LabelStats& stats : result.labels) {
    labels.append(
        py::make_tuple(stats.label, stats.voxels,
                       py::make_tuple(to_array(stats.area[0]), to_array(stats.area[1]), to_array(stats.area[2])),
                       stats.box, stats.centroid, stats.border, to_array(stats.slice_boxes)));
  }
  return py::dict(py::arg("labels") = labels, py::arg("fractional") = result.fractional,
                  py::arg("fractional_example") = result.fractional_example, py::arg("non_finite") = result.non_finite);
}

// Whether channels of a spec may go to `places` of an output [rows, channels, height, width].
inline void check_places(const std::vector<int64_t>& places, const std::array<int64_t, 4>& shape,
                         const SampleSpec& spec) {
  if (shape[2] != spec.height || shape[3] != spec.width || places.size() != spec.channels.size()) {
    throw py::value_error("out, places: do not fit the spec");
  }
  for (const int64_t place : places) {
    if (place < 0 || place >= shape[1]) throw py::index_error("places: outside the output");
  }
}

template <class Indices, class Numbers>
std::vector<Plane> read_planes(const SampleSpec& spec, const Indices& indices, const Numbers& boxes,
                               const Indices& labels) {
  check_axis(spec.axis);
  if (spec.height < 1 || spec.width < 1) throw py::value_error("spec: height and width must be positive");
  const py::ssize_t n = indices.size();
  if (indices.ndim() != 1 || labels.ndim() != 1 || labels.size() != n || boxes.ndim() != 2 || boxes.shape(0) != n ||
      boxes.shape(1) != 4) {
    throw py::value_error("indices, boxes, labels: expected shapes [n], [n, 4] and [n]");
  }
  std::vector<Plane> planes;
  for (py::ssize_t i = 0; i < n; ++i) {
    const double* box = boxes.data(i, 0);
    if (!(box[1] > box[0] && box[3] > box[2])) throw py::value_error("boxes: a crop has no extent");
    if (!std::all_of(box, box + 4, [](double edge) { return std::abs(edge) < kFarthestVoxel; })) {
      throw py::value_error("boxes: a crop lies absurdly far away");
    }
    if (std::abs(static_cast<double>(indices.at(i))) > kFarthestVoxel) {
      throw py::value_error("indices: a slice lies absurdly far away");
    }
    planes.push_back({indices.at(i), box[0], box[1], box[2], box[3], labels.at(i)});
  }
  return planes;
}

}  // namespace segae
