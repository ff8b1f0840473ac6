// The operations of csrc/edit for Python, written once for every place where arrays lie (host_place.h, cuda_place.h).
// Working arrays are C-contiguous and have their box's shape. On a device results stay there; counts come back.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <vector>

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

template <class Place>
struct Operations {
  using Volume = typename Place::Volume;
  using Bytes = typename Place::template Array<uint8_t>;
  using Floats = typename Place::template Array<float>;
  using Working = typename Place::Working;
  using Integers = py::array_t<int64_t, py::array::c_style>;

  static const uint8_t* bytes(const Place& place, const Bytes& array, const Box& box, const char* name) {
    return place.template data<uint8_t>(array, box.shape, name);
  }
  static const float* floats(const Place& place, const Floats& array, const Box& box, const char* name) {
    return place.template data<float>(array, box.shape, name);
  }
  static py::tuple as_tuple(const Counts& counts) { return py::make_tuple(counts.both, counts.result, counts.truth); }

  static Bytes extract_mask(const Volume& source, int64_t label, const Box& box, int threads) {
    const Place place(source, threads);
    const MaskView input{place.view(source, "source"), label};
    check_within(input.volume, box, "source");
    Bytes result = place.template empty<uint8_t>(box.shape);
    uint8_t* out = place.template out<uint8_t>(result);
    const Working working(place);
    segae::extract_mask(input, box.origin, box.shape, place.where(), out);
    return result;
  }

  static Floats extract_image(const Volume& source, double slope, double intercept, const Box& box, int threads) {
    const Place place(source, threads);
    const VolumeView input = place.view(source, "source");
    check_within(input, box, "source");
    Floats result = place.template empty<float>(box.shape);
    float* out = place.template out<float>(result);
    const Working working(place);
    segae::extract_image(input, slope, intercept, box.origin, box.shape, place.where(), out);
    return result;
  }

  static Bytes recut(const Box& source_box, const Bytes& source, const Box& box, int threads) {
    const Place place(source, threads);
    const uint8_t* input = bytes(place, source, source_box, "source");
    Bytes result = place.template empty<uint8_t>(box.shape);
    uint8_t* out = place.template out<uint8_t>(result);
    const Working working(place);
    segae::recut(source_box, input, box, place.where(), out);
    return result;
  }

  static py::tuple subsample(const Box& box, const Bytes& source, const Int3& stride, int threads) {
    const Place place(source, threads);
    const uint8_t* input = bytes(place, source, box, "source");
    const Box kept = thinned(box, stride);
    Bytes result = place.template empty<uint8_t>(kept.shape);
    uint8_t* out = place.template out<uint8_t>(result);
    {
      const Working working(place);
      segae::subsample(input, box.shape, stride, place.where(), out);
    }
    return py::make_tuple(kept, std::move(result));
  }

  static py::tuple summarise(const Volume& mask, int64_t label, int threads) {
    const Place place(mask, threads);
    const MaskView input{place.view(mask, "mask"), label};
    MaskSummary summary;
    {
      const Working working(place);
      summary = segae::summarise(input, place.where());
    }
    return py::make_tuple(summary.voxels, summary.begin, summary.end, summary.index_sum);
  }

  static Floats signed_squared_distance(const Bytes& mask, const Box& box, Sides sides, int threads) {
    const Place place(mask, threads);
    const uint8_t* input = bytes(place, mask, box, "mask");
    Floats result = place.template empty<float>(box.shape);
    float* out = place.template out<float>(result);
    const Working working(place);
    segae::signed_squared_distance(input, box.shape, box.spacing_mm, sides, place.where(), out);
    return result;
  }

  static Floats levels(const Box& box, const Bytes& mask, const LevelRule& rule, const std::optional<Bytes>& other,
                       const std::optional<Floats>& squared, const std::optional<Floats>& field, int threads) {
    const Place place(mask, threads);
    const uint8_t* mask_data = bytes(place, mask, box, "mask");
    const uint8_t* other_data = other ? bytes(place, *other, box, "other") : nullptr;
    const float* squared_data = squared ? floats(place, *squared, box, "squared") : nullptr;
    const float* field_data = field ? floats(place, *field, box, "field") : nullptr;
    check_rule(rule, box, squared.has_value());
    Floats result = place.template empty<float>(box.shape);
    float* out = place.template out<float>(result);
    const Working working(place);
    segae::levels(box, mask_data, other_data, squared_data, field_data, rule, place.where(), out);
    return result;
  }

  static py::tuple flip(const Box& box, const Bytes& mask, const Floats& level, double strength, const Bytes& truth,
                        int threads) {
    const Place place(mask, threads);
    const uint8_t* mask_data = bytes(place, mask, box, "mask");
    const float* level_data = floats(place, level, box, "level");
    const uint8_t* truth_data = bytes(place, truth, box, "truth");
    Bytes result = place.template empty<uint8_t>(box.shape);
    uint8_t* out = place.template out<uint8_t>(result);
    Counts counts;
    {
      const Working working(place);
      counts = segae::flip(box, mask_data, level_data, strength, truth_data, place.where(), out);
    }
    return py::make_tuple(std::move(result), as_tuple(counts));
  }

  static Integers level_histogram(const Box& box, const Bytes& mask, const Floats& level, const Bytes& truth,
                                  double most, int64_t bins, int threads) {
    const Place place(mask, threads);
    const uint8_t* mask_data = bytes(place, mask, box, "mask");
    const float* level_data = floats(place, level, box, "level");
    const uint8_t* truth_data = bytes(place, truth, box, "truth");
    check_bins(most, bins);
    Integers result({static_cast<py::ssize_t>(bins), py::ssize_t{2}, py::ssize_t{2}});
    int64_t* out = result.mutable_data();
    const Working working(place);
    segae::level_histogram(box, mask_data, level_data, truth_data, most, bins, place.where(), out);
    return result;
  }

  static py::tuple warp(const Box& source_box, const Bytes& source, const Box& box, const Map& map, const Bytes& truth,
                        int64_t stride, int threads) {
    const Place place(source, threads);
    const uint8_t* source_data = bytes(place, source, source_box, "source");
    const uint8_t* truth_data = bytes(place, truth, box, "truth");
    if (stride < 1) throw py::value_error("stride: expected a positive number");
    Bytes result = place.template empty<uint8_t>(box.shape);
    uint8_t* out = place.template out<uint8_t>(result);
    Counts counts;
    {
      const Working working(place);
      counts = segae::warp(source_box, source_data, box, map, truth_data, stride, place.where(), out);
    }
    return py::make_tuple(std::move(result), as_tuple(counts));
  }

  static Bytes interpolate_slices(const Box& box, const Bytes& mask, int axis, const std::vector<int64_t>& kept,
                                  int threads) {
    const Place place(mask, threads);
    const uint8_t* mask_data = bytes(place, mask, box, "mask");
    check_kept(kept, axis, box);
    Bytes result = place.template empty<uint8_t>(box.shape);
    uint8_t* out = place.template out<uint8_t>(result);
    const Working working(place);
    segae::interpolate_slices(box, mask_data, axis, kept.data(), static_cast<int64_t>(kept.size()), place.where(), out);
    return result;
  }

  static Floats arrival(const Box& box, const Bytes& mask, const Floats& image_hu, const GrowRule& rule) {
    const Place place(mask, 1);
    const uint8_t* mask_data = bytes(place, mask, box, "mask");
    const float* image_data = floats(place, image_hu, box, "image_hu");
    Floats result = place.template empty<float>(box.shape);
    float* out = place.template out<float>(result);
    const Working working(place);
    segae::arrival(box, mask_data, image_data, rule, place.where(), out);
    return result;
  }

  static Floats blur(const Box& box, const Floats& values, double sigma_mm, int threads) {
    const Place place(values, threads);
    const float* input = floats(place, values, box, "values");
    check_sigma(sigma_mm, box);
    Floats result = place.template empty<float>(box.shape);
    float* out = place.template out<float>(result);
    const Working working(place);
    place.copy(input, box.voxels(), out);
    segae::blur(box, sigma_mm, place.where(), out);
    return result;
  }

  static Floats roughness(const Box& box, const Floats& squared, double sigma_mm, int threads) {
    const Place place(squared, threads);
    const float* input = floats(place, squared, box, "squared");
    check_sigma(sigma_mm, box);
    Floats result = place.template empty<float>(box.shape);
    float* out = place.template out<float>(result);
    const Working working(place);
    segae::roughness(box, input, sigma_mm, place.where(), out);
    return result;
  }

  static Integers count_in_rows(const Box& box, const Floats& values, float low, float high, int threads) {
    const Place place(values, threads);
    const float* input = floats(place, values, box, "values");
    Integers result(static_cast<py::ssize_t>(box.shape[0] * box.shape[1]));
    int64_t* out = result.mutable_data();
    const Working working(place);
    segae::count_in_rows(input, box.shape, low, high, place.where(), out);
    return result;
  }

  static int64_t find_in_row(const Box& box, const Floats& values, int64_t row, float low, float high, int64_t rank) {
    const Place place(values, 1);
    const float* input = floats(place, values, box, "values");
    if (row < 0 || row >= box.shape[0] * box.shape[1]) throw py::index_error("row: outside the box");
    const int64_t width = box.shape[2];
    std::vector<float> found(static_cast<size_t>(width));
    const Working working(place);
    place.copy_to_host(input + row * width, width, found.data());
    return segae::find_in_row(found.data(), width, low, high, rank);
  }

  static py::tuple compare(const Box& box, const Bytes& result, const Bytes& truth, int threads) {
    const Place place(result, threads);
    const uint8_t* result_data = bytes(place, result, box, "result");
    const uint8_t* truth_data = bytes(place, truth, box, "truth");
    Counts counts;
    {
      const Working working(place);
      counts = segae::compare(result_data, truth_data, box.voxels(), place.where());
    }
    return as_tuple(counts);
  }

  static std::array<float, 2> extremes(const Box& box, const Floats& values, int threads) {
    const Place place(values, threads);
    const float* input = floats(place, values, box, "values");
    const Working working(place);
    return segae::extremes(input, box.voxels(), place.where());
  }

  static std::array<int64_t, 3> image_moments(const Box& box, const Floats& image_hu, const Bytes& keep, int threads) {
    const Place place(keep, threads);
    const float* image_data = floats(place, image_hu, box, "image_hu");
    const uint8_t* keep_data = bytes(place, keep, box, "keep");
    const Working working(place);
    return segae::image_moments(image_data, keep_data, box.voxels(), place.where());
  }

  static Integers label_counts(const Volume& labelmap, const Box& box, const Bytes& mask, int threads) {
    const Place place(mask, threads);
    const VolumeView input = place.view(labelmap, "labelmap");
    check_within(input, box, "labelmap");
    const uint8_t* mask_data = bytes(place, mask, box, "mask");
    Integers result({static_cast<py::ssize_t>(kMostLabels), py::ssize_t{2}});
    int64_t* out = result.mutable_data();
    const Working working(place);
    segae::label_counts(input, box, mask_data, place.where(), out);
    return result;
  }
};

// Adds the operations on the arrays of a place: overloads of the same names, chosen by the arguments' type.
template <class Place>
void register_operations(py::module_& m) {
  using On = Operations<Place>;
  const py::arg box("box"), source("source"), mask("mask"), truth("truth"), values("values"), threads("threads");
  m.def("extract_mask", &On::extract_mask, source, py::arg("label"), box, threads);
  m.def("extract_image", &On::extract_image, source, py::arg("slope"), py::arg("intercept"), box, threads);
  m.def("recut", &On::recut, py::arg("source_box"), source, box, threads);
  m.def("subsample", &On::subsample, box, source, py::arg("stride"), threads);
  m.def("summarise", &On::summarise, mask, py::arg("label"), threads);
  m.def("signed_squared_distance", &On::signed_squared_distance, mask, box, py::arg("sides"), threads);
  m.def("levels", &On::levels, box, mask, py::arg("rule"), py::kw_only(), py::arg("other") = py::none(),
        py::arg("squared") = py::none(), py::arg("field") = py::none(), threads);
  m.def("flip", &On::flip, box, mask, py::arg("level"), py::arg("strength"), truth, threads);
  m.def("level_histogram", &On::level_histogram, box, mask, py::arg("level"), truth, py::arg("most"), py::arg("bins"),
        threads);
  m.def("warp", &On::warp, py::arg("source_box"), source, box, py::arg("mapping"), truth, py::arg("stride"), threads);
  m.def("interpolate_slices", &On::interpolate_slices, box, mask, py::arg("axis"), py::arg("kept"), threads);
  m.def("arrival", &On::arrival, box, mask, py::arg("image_hu"), py::arg("rule"));
  m.def("blur", &On::blur, box, values, py::arg("sigma_mm"), threads);
  m.def("roughness", &On::roughness, box, py::arg("squared"), py::arg("sigma_mm"), threads);
  m.def("count_in_rows", &On::count_in_rows, box, values, py::arg("low"), py::arg("high"), threads);
  m.def("find_in_row", &On::find_in_row, box, values, py::arg("row"), py::arg("low"), py::arg("high"), py::arg("rank"));
  m.def("compare", &On::compare, box, py::arg("result"), truth, threads);
  m.def("extremes", &On::extremes, box, values, threads);
  m.def("image_moments", &On::image_moments, box, py::arg("image_hu"), py::arg("keep"), threads);
  m.def("label_counts", &On::label_counts, py::arg("labelmap"), box, mask, threads);
}

}  // namespace segae
