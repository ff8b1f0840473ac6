// The operations of csrc/edit for Python. Working arrays are C-contiguous and have their box's shape.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "box/move.h"
#include "distance/distance.h"
#include "edit/blur.h"
#include "edit/grow.h"
#include "edit/levels.h"
#include "edit/slices.h"
#include "edit/survey.h"
#include "edit/warp.h"
#include "python/check_edit.h"

namespace segae {

namespace {

using Bytes = py::array_t<uint8_t, py::array::c_style>;
using Floats = py::array_t<float, py::array::c_style>;
using Integers = py::array_t<int64_t, py::array::c_style>;

constexpr int64_t kMostVoxels = int64_t{1} << 40;

template <class T>
const T* data_of(const py::array_t<T, py::array::c_style>& array, const Box& box, const char* name) {
  bool fits = array.ndim() == 3;
  for (int axis = 0; fits && axis < 3; ++axis) fits = array.shape(axis) == box.shape[static_cast<size_t>(axis)];
  if (!fits) throw py::value_error(std::string(name) + ": expected the shape of the box");
  return array.data();
}

template <class T>
const T* data_of(const std::optional<py::array_t<T, py::array::c_style>>& array, const Box& box, const char* name) {
  return array ? data_of(*array, box, name) : nullptr;
}

template <class T>
py::array_t<T, py::array::c_style> empty_like(const Box& box) {
  return py::array_t<T, py::array::c_style>({box.shape[0], box.shape[1], box.shape[2]});
}

Box make_box(const Int3& origin, const Int3& shape, const Double3& spacing_mm) {
  for (const int64_t extent : shape) {
    if (extent < 1) throw py::value_error("shape: expected three positive numbers");
  }
  for (size_t axis = 0; axis < 3; ++axis) {
    // Sums and products of what passes do not overflow.
    if (shape[axis] > kMostVoxels / shape[(axis + 1) % 3] / shape[(axis + 2) % 3] ||
        std::abs(static_cast<double>(origin[axis])) > static_cast<double>(kMostVoxels)) {
      throw py::value_error("origin, shape: no volume is so large");
    }
  }
  check_spacing(spacing_mm);
  return {origin, shape, spacing_mm};
}

py::tuple as_tuple(const Counts& counts) { return py::make_tuple(counts.both, counts.result, counts.truth); }

Bytes bind_extract_mask(const py::array& source, int64_t label, const Box& box, int threads) {
  const MaskView input{view(source, "source"), label};
  check_within(input.volume, box, "source");
  Bytes result = empty_like<uint8_t>(box);
  uint8_t* out = result.mutable_data();
  const py::gil_scoped_release release;
  extract_mask(input, box.origin, box.shape, threads, out);
  return result;
}

Floats bind_extract_image(const py::array& source, double slope, double intercept, const Box& box, int threads) {
  const VolumeView input = view(source, "source");
  check_within(input, box, "source");
  Floats result = empty_like<float>(box);
  float* out = result.mutable_data();
  const py::gil_scoped_release release;
  extract_image(input, slope, intercept, box.origin, box.shape, threads, out);
  return result;
}

Bytes bind_recut(const Box& source_box, const Bytes& source, const Box& box, int threads) {
  const uint8_t* input = data_of(source, source_box, "source");
  Bytes result = empty_like<uint8_t>(box);
  uint8_t* out = result.mutable_data();
  const py::gil_scoped_release release;
  recut(source_box, input, box, threads, out);
  return result;
}

py::tuple bind_subsample(const Box& box, const Bytes& source, const Int3& stride, int threads) {
  const uint8_t* input = data_of(source, box, "source");
  const Box kept = thinned(box, stride);
  Bytes result = empty_like<uint8_t>(kept);
  uint8_t* out = result.mutable_data();
  {
    const py::gil_scoped_release release;
    subsample(input, box.shape, stride, threads, out);
  }
  return py::make_tuple(kept, result);
}

py::tuple bind_summarise(const py::array& mask, int64_t label, int threads) {
  const MaskView input{view(mask, "mask"), label};
  MaskSummary summary;
  {
    const py::gil_scoped_release release;
    summary = summarise(input, threads);
  }
  return py::make_tuple(summary.voxels, summary.begin, summary.end, summary.index_sum);
}

Floats bind_signed_squared_distance(const Bytes& mask, const Box& box, Sides sides, int threads) {
  const uint8_t* input = data_of(mask, box, "mask");
  Floats result = empty_like<float>(box);
  float* out = result.mutable_data();
  const py::gil_scoped_release release;
  signed_squared_distance(input, box.shape, box.spacing_mm, sides, threads, out);
  return result;
}

Floats bind_levels(const Box& box, const Bytes& mask, const LevelRule& rule, const std::optional<Bytes>& other,
                   const std::optional<Floats>& squared, const std::optional<Floats>& field, int threads) {
  const uint8_t* mask_data = data_of(mask, box, "mask");
  const uint8_t* other_data = data_of(other, box, "other");
  const float* squared_data = data_of(squared, box, "squared");
  const float* field_data = data_of(field, box, "field");
  check_rule(rule, box, squared.has_value());
  Floats result = empty_like<float>(box);
  float* out = result.mutable_data();
  const py::gil_scoped_release release;
  levels(box, mask_data, other_data, squared_data, field_data, rule, threads, out);
  return result;
}

py::tuple bind_flip(const Box& box, const Bytes& mask, const Floats& level, double strength, const Bytes& truth,
                    int threads) {
  const uint8_t* mask_data = data_of(mask, box, "mask");
  const float* level_data = data_of(level, box, "level");
  const uint8_t* truth_data = data_of(truth, box, "truth");
  Bytes result = empty_like<uint8_t>(box);
  uint8_t* out = result.mutable_data();
  Counts counts;
  {
    const py::gil_scoped_release release;
    counts = flip(box, mask_data, level_data, strength, truth_data, threads, out);
  }
  return py::make_tuple(result, as_tuple(counts));
}

Integers bind_level_histogram(const Box& box, const Bytes& mask, const Floats& level, const Bytes& truth, double most,
                              int64_t bins, int threads) {
  const uint8_t* mask_data = data_of(mask, box, "mask");
  const float* level_data = data_of(level, box, "level");
  const uint8_t* truth_data = data_of(truth, box, "truth");
  check_bins(most, bins);
  Integers result({static_cast<py::ssize_t>(bins), py::ssize_t{2}, py::ssize_t{2}});
  int64_t* out = result.mutable_data();
  const py::gil_scoped_release release;
  level_histogram(box, mask_data, level_data, truth_data, most, bins, threads, out);
  return result;
}

py::tuple bind_warp(const Box& source_box, const Bytes& source, const Box& box, const Map& map, const Bytes& truth,
                    int64_t stride, int threads) {
  const uint8_t* source_data = data_of(source, source_box, "source");
  const uint8_t* truth_data = data_of(truth, box, "truth");
  if (stride < 1) throw py::value_error("stride: expected a positive number");
  Bytes result = empty_like<uint8_t>(box);
  uint8_t* out = result.mutable_data();
  Counts counts;
  {
    const py::gil_scoped_release release;
    counts = warp(source_box, source_data, box, map, truth_data, stride, threads, out);
  }
  return py::make_tuple(result, as_tuple(counts));
}

Bytes bind_interpolate_slices(const Box& box, const Bytes& mask, int axis, const std::vector<int64_t>& kept,
                              int threads) {
  const uint8_t* mask_data = data_of(mask, box, "mask");
  check_kept(kept, axis, box);
  Bytes result = empty_like<uint8_t>(box);
  uint8_t* out = result.mutable_data();
  const py::gil_scoped_release release;
  interpolate_slices(box, mask_data, axis, kept.data(), static_cast<int64_t>(kept.size()), threads, out);
  return result;
}

Floats bind_arrival(const Box& box, const Bytes& mask, const Floats& image_hu, const GrowRule& rule) {
  const uint8_t* mask_data = data_of(mask, box, "mask");
  const float* image_data = data_of(image_hu, box, "image_hu");
  Floats result = empty_like<float>(box);
  float* out = result.mutable_data();
  const py::gil_scoped_release release;
  arrival(box, mask_data, image_data, rule, out);
  return result;
}

Floats bind_blur(const Box& box, const Floats& values, double sigma_mm, int threads) {
  const float* input = data_of(values, box, "values");
  check_sigma(sigma_mm, box);
  Floats result = empty_like<float>(box);
  float* out = result.mutable_data();
  const py::gil_scoped_release release;
  std::copy(input, input + box.voxels(), out);
  blur(box, sigma_mm, threads, out);
  return result;
}

Floats bind_roughness(const Box& box, const Floats& squared, double sigma_mm, int threads) {
  const float* input = data_of(squared, box, "squared");
  check_sigma(sigma_mm, box);
  Floats result = empty_like<float>(box);
  float* out = result.mutable_data();
  const py::gil_scoped_release release;
  roughness(box, input, sigma_mm, threads, out);
  return result;
}

Integers bind_count_in_rows(const Box& box, const Floats& values, float low, float high, int threads) {
  const float* input = data_of(values, box, "values");
  Integers result(static_cast<py::ssize_t>(box.shape[0] * box.shape[1]));
  int64_t* out = result.mutable_data();
  const py::gil_scoped_release release;
  count_in_rows(input, box.shape, low, high, threads, out);
  return result;
}

int64_t bind_find_in_row(const Box& box, const Floats& values, int64_t row, float low, float high, int64_t rank) {
  const float* input = data_of(values, box, "values");
  if (row < 0 || row >= box.shape[0] * box.shape[1]) throw py::index_error("row: outside the box");
  return find_in_row(input + row * box.shape[2], box.shape[2], low, high, rank);
}

py::tuple bind_compare(const Box& box, const Bytes& result, const Bytes& truth, int threads) {
  const uint8_t* result_data = data_of(result, box, "result");
  const uint8_t* truth_data = data_of(truth, box, "truth");
  Counts counts;
  {
    const py::gil_scoped_release release;
    counts = compare(result_data, truth_data, box.voxels(), threads);
  }
  return as_tuple(counts);
}

std::array<float, 2> bind_extremes(const Box& box, const Floats& values, int threads) {
  const float* input = data_of(values, box, "values");
  const py::gil_scoped_release release;
  return extremes(input, box.voxels(), threads);
}

std::array<int64_t, 3> bind_image_moments(const Box& box, const Floats& image_hu, const Bytes& keep, int threads) {
  const float* image_data = data_of(image_hu, box, "image_hu");
  const uint8_t* keep_data = data_of(keep, box, "keep");
  const py::gil_scoped_release release;
  return image_moments(image_data, keep_data, box.voxels(), threads);
}

Integers bind_label_counts(const py::array& labelmap, const Box& box, const Bytes& mask, int threads) {
  const VolumeView input = view(labelmap, "labelmap");
  check_within(input, box, "labelmap");
  const uint8_t* mask_data = data_of(mask, box, "mask");
  Integers result({static_cast<py::ssize_t>(kMostLabels), py::ssize_t{2}});
  int64_t* out = result.mutable_data();
  const py::gil_scoped_release release;
  label_counts(input, box, mask_data, threads, out);
  return result;
}

Noise make_noise(uint64_t seed, const Double3& grid_mm, double amplitude_mm) { return {seed, grid_mm, amplitude_mm}; }

LevelRule make_rule(Measure measure, bool add, bool remove, double most, double bias, double most_push_mm,
                    double inset_mm, const Double3& normal, double start_mm,
                    const std::vector<std::pair<Double3, double>>& balls, int axis, std::vector<float> slices,
                    std::vector<Noise> noise) {
  LevelRule rule{measure,         add,    remove,   most, bias, most_push_mm,
                 inset_mm,        normal, start_mm, {},   axis, std::move(slices),
                 std::move(noise)};
  for (const auto& [centre, weight] : balls) {
    if (!(weight > 0)) throw py::value_error("balls: expected positive weights");
    rule.balls.push_back({centre, weight});
  }
  return rule;
}

}  // namespace

void register_perturb(py::module_& m) {
  py::class_<Box>(m, "Box")
      .def(py::init(&make_box), py::arg("origin"), py::arg("shape"), py::arg("spacing_mm"))
      .def_readonly("origin", &Box::origin)
      .def_readonly("shape", &Box::shape)
      .def_readonly("spacing_mm", &Box::spacing_mm)
      .def("position", &Box::position, py::arg("axis"), py::arg("index"));
  py::class_<Noise>(m, "Noise")
      .def(py::init(&make_noise), py::arg("seed"), py::arg("grid_mm"), py::arg("amplitude_mm"));
  py::enum_<Sides>(m, "Sides")
      .value("OUTSIDE", Sides::kOutside)
      .value("INSIDE", Sides::kInside)
      .value("BOTH", Sides::kBoth);
  py::enum_<Measure>(m, "Measure")
      .value("DISTANCE", Measure::kDistance)
      .value("FIELD", Measure::kField)
      .value("PLANE", Measure::kPlane)
      .value("BALLS", Measure::kBalls)
      .value("SLICES", Measure::kSlices);
  py::class_<LevelRule>(m, "LevelRule")
      .def(py::init(&make_rule), py::arg("measure"), py::kw_only(), py::arg("add") = false, py::arg("remove") = false,
           py::arg("most"), py::arg("bias") = 0.0, py::arg("most_push_mm") = 0.0, py::arg("inset_mm") = 0.0,
           py::arg("normal") = Double3{}, py::arg("start_mm") = 0.0,
           py::arg("balls") = std::vector<std::pair<Double3, double>>{}, py::arg("axis") = 0,
           py::arg("slices") = std::vector<float>{}, py::arg("noise") = std::vector<Noise>{});
  py::class_<Map>(m, "Map").def(
      py::init([](const Double3& cell_mm, const Double3& cell_from_mm, const std::array<double, 9>& matrix,
                  const Double3& offset_mm, const std::optional<Noise>& bend) {
        return Map{cell_mm, cell_from_mm, matrix, offset_mm, bend.value_or(Noise{0, {}, 0.0})};
      }),
      py::kw_only(), py::arg("cell_mm") = Double3{}, py::arg("cell_from_mm") = Double3{},
      py::arg("matrix") = std::array<double, 9>{1, 0, 0, 0, 1, 0, 0, 0, 1}, py::arg("offset_mm") = Double3{},
      py::arg("bend") = py::none());
  py::class_<GrowRule>(m, "GrowRule")
      .def(py::init([](const Double3& start_mm, double start_radius_mm, double centre_hu, double width_hu,
                       double most_mm) { return GrowRule{start_mm, start_radius_mm, centre_hu, width_hu, most_mm}; }),
           py::kw_only(), py::arg("start_mm"), py::arg("start_radius_mm"), py::arg("centre_hu"), py::arg("width_hu"),
           py::arg("most_mm"));
  m.attr("FOLDING_FREE") = kFoldingFree;

  m.def("extract_mask", &bind_extract_mask, py::arg("source"), py::arg("label"), py::arg("box"), py::arg("threads"));
  m.def("extract_image", &bind_extract_image, py::arg("source"), py::arg("slope"), py::arg("intercept"), py::arg("box"),
        py::arg("threads"));
  m.def("recut", &bind_recut, py::arg("source_box"), py::arg("source"), py::arg("box"), py::arg("threads"));
  m.def("subsample", &bind_subsample, py::arg("box"), py::arg("source"), py::arg("stride"), py::arg("threads"));
  m.def("summarise", &bind_summarise, py::arg("mask"), py::arg("label"), py::arg("threads"));
  m.def("signed_squared_distance", &bind_signed_squared_distance, py::arg("mask"), py::arg("box"), py::arg("sides"),
        py::arg("threads"));
  m.def("levels", &bind_levels, py::arg("box"), py::arg("mask"), py::arg("rule"), py::kw_only(),
        py::arg("other") = py::none(), py::arg("squared") = py::none(), py::arg("field") = py::none(),
        py::arg("threads"));
  m.def("flip", &bind_flip, py::arg("box"), py::arg("mask"), py::arg("level"), py::arg("strength"), py::arg("truth"),
        py::arg("threads"));
  m.def("level_histogram", &bind_level_histogram, py::arg("box"), py::arg("mask"), py::arg("level"), py::arg("truth"),
        py::arg("most"), py::arg("bins"), py::arg("threads"));
  m.def("warp", &bind_warp, py::arg("source_box"), py::arg("source"), py::arg("box"), py::arg("mapping"),
        py::arg("truth"), py::arg("stride"), py::arg("threads"));
  m.def("interpolate_slices", &bind_interpolate_slices, py::arg("box"), py::arg("mask"), py::arg("axis"),
        py::arg("kept"), py::arg("threads"));
  m.def("arrival", &bind_arrival, py::arg("box"), py::arg("mask"), py::arg("image_hu"), py::arg("rule"));
  m.def("blur", &bind_blur, py::arg("box"), py::arg("values"), py::arg("sigma_mm"), py::arg("threads"));
  m.def("roughness", &bind_roughness, py::arg("box"), py::arg("squared"), py::arg("sigma_mm"), py::arg("threads"));
  m.def("count_in_rows", &bind_count_in_rows, py::arg("box"), py::arg("values"), py::arg("low"), py::arg("high"),
        py::arg("threads"));
  m.def("find_in_row", &bind_find_in_row, py::arg("box"), py::arg("values"), py::arg("row"), py::arg("low"),
        py::arg("high"), py::arg("rank"));
  m.def("compare", &bind_compare, py::arg("box"), py::arg("result"), py::arg("truth"), py::arg("threads"));
  m.def("extremes", &bind_extremes, py::arg("box"), py::arg("values"), py::arg("threads"));
  m.def("image_moments", &bind_image_moments, py::arg("box"), py::arg("image_hu"), py::arg("keep"), py::arg("threads"));
  m.def("label_counts", &bind_label_counts, py::arg("labelmap"), py::arg("box"), py::arg("mask"), py::arg("threads"));
}

}  // namespace segae
