// The operations of csrc/edit for DeviceArrays: overloads of those in bind_edit.cpp, chosen by the arguments'
// type. Results stay on the device; counts come back. `threads` is the CPU's and not used. Only in builds with CUDA.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>

#include "box/move.h"
#include "cuda/device_array.h"
#include "cuda/device_memory.h"
#include "distance/distance.h"
#include "edit/blur.h"
#include "edit/grow.h"
#include "edit/levels.h"
#include "edit/slices.h"
#include "edit/survey.h"
#include "edit/warp.h"
#include "measure/measure.h"
#include "python/check_edit.h"

namespace segae {

namespace {

using Integers = py::array_t<int64_t, py::array::c_style>;

template <class T>
constexpr DType kDType = std::is_same_v<T, uint8_t> ? DType::kU8 : DType::kF32;

// While one lives, the arrays' device is current and other Python threads run.
struct Working {
  explicit Working(const Stream& stream) : device(stream.device) {}
  UseDevice device;
  py::gil_scoped_release release;
};

const VolumeView& view(const DeviceArray& array, const char* name) {
  if (array.device_type != dlpack::kCuda) throw py::value_error(std::string(name) + ": expected CUDA memory");
  return array.view;
}

template <class T>
DeviceArray empty(const Int3& shape, const Stream& stream) {
  const int64_t item = static_cast<int64_t>(sizeof(T));
  const UseDevice use(stream.device);
  auto memory = std::make_shared<DeviceMemory>(shape[0] * shape[1] * shape[2] * item, stream);
  const VolumeView all{static_cast<const std::byte*>(memory->data()),
                       kDType<T>,
                       shape,
                       {shape[1] * shape[2] * item, shape[2] * item, item}};
  return {all, dlpack::kCuda, stream, std::move(memory)};
}

template <class T>
T* data_of(DeviceArray& array) {
  return reinterpret_cast<T*>(const_cast<std::byte*>(array.view.data));
}

template <class T>
const T* data_of(const DeviceArray& array, const Int3& shape, const char* name) {
  const VolumeView& all = view(array, name);
  const int64_t item = static_cast<int64_t>(sizeof(T));
  const Int3 compact{shape[1] * shape[2] * item, shape[2] * item, item};
  if (all.dtype != kDType<T> || all.shape != shape || all.stride != compact) {
    throw py::value_error(std::string(name) + ": expected a working array with the shape of the box");
  }
  return reinterpret_cast<const T*>(all.data);
}

template <class T>
const T* data_of(const DeviceArray* array, const Int3& shape, const char* name) {
  return array ? data_of<T>(*array, shape, name) : nullptr;
}

py::tuple as_tuple(const Counts& counts) { return py::make_tuple(counts.both, counts.result, counts.truth); }

DeviceArray cuda_extract_mask(const DeviceArray& source, int64_t label, const Box& box, int) {
  const MaskView input{view(source, "source"), label};
  check_within(input.volume, box, "source");
  DeviceArray result = empty<uint8_t>(box.shape, source.stream);
  const Working working(source.stream);
  extract_mask(input, box.origin, box.shape, source.stream, data_of<uint8_t>(result));
  return result;
}

DeviceArray cuda_extract_image(const DeviceArray& source, double slope, double intercept, const Box& box, int) {
  const VolumeView& input = view(source, "source");
  check_within(input, box, "source");
  DeviceArray result = empty<float>(box.shape, source.stream);
  const Working working(source.stream);
  extract_image(input, slope, intercept, box.origin, box.shape, source.stream, data_of<float>(result));
  return result;
}

DeviceArray cuda_recut(const Box& source_box, const DeviceArray& source, const Box& box, int) {
  const uint8_t* input = data_of<uint8_t>(source, source_box.shape, "source");
  DeviceArray result = empty<uint8_t>(box.shape, source.stream);
  const Working working(source.stream);
  recut(source_box, input, box, source.stream, data_of<uint8_t>(result));
  return result;
}

py::tuple cuda_subsample(const Box& box, const DeviceArray& source, const Int3& stride, int) {
  const uint8_t* input = data_of<uint8_t>(source, box.shape, "source");
  const Box kept = thinned(box, stride);
  DeviceArray result = empty<uint8_t>(kept.shape, source.stream);
  {
    const Working working(source.stream);
    subsample(input, box.shape, stride, source.stream, data_of<uint8_t>(result));
  }
  return py::make_tuple(kept, std::move(result));
}

py::tuple cuda_summarise(const DeviceArray& mask, int64_t label, int) {
  const MaskView input{view(mask, "mask"), label};
  MaskSummary summary;
  {
    const Working working(mask.stream);
    summary = summarise(input, mask.stream);
  }
  return py::make_tuple(summary.voxels, summary.begin, summary.end, summary.index_sum);
}

DeviceArray cuda_signed_squared_distance(const DeviceArray& mask, const Box& box, Sides sides, int) {
  const uint8_t* input = data_of<uint8_t>(mask, box.shape, "mask");
  DeviceArray result = empty<float>(box.shape, mask.stream);
  const Working working(mask.stream);
  signed_squared_distance(input, box.shape, box.spacing_mm, sides, mask.stream, data_of<float>(result));
  return result;
}

DeviceArray cuda_levels(const Box& box, const DeviceArray& mask, const LevelRule& rule, const DeviceArray* other,
                        const DeviceArray* squared, const DeviceArray* field, int) {
  const uint8_t* mask_data = data_of<uint8_t>(mask, box.shape, "mask");
  const uint8_t* other_data = data_of<uint8_t>(other, box.shape, "other");
  const float* squared_data = data_of<float>(squared, box.shape, "squared");
  const float* field_data = data_of<float>(field, box.shape, "field");
  check_rule(rule, box, squared != nullptr);
  DeviceArray result = empty<float>(box.shape, mask.stream);
  const Working working(mask.stream);
  levels(box, mask_data, other_data, squared_data, field_data, rule, mask.stream, data_of<float>(result));
  return result;
}

py::tuple cuda_flip(const Box& box, const DeviceArray& mask, const DeviceArray& level, double strength,
                    const DeviceArray& truth, int) {
  const uint8_t* mask_data = data_of<uint8_t>(mask, box.shape, "mask");
  const float* level_data = data_of<float>(level, box.shape, "level");
  const uint8_t* truth_data = data_of<uint8_t>(truth, box.shape, "truth");
  DeviceArray result = empty<uint8_t>(box.shape, mask.stream);
  Counts counts;
  {
    const Working working(mask.stream);
    counts = flip(box, mask_data, level_data, strength, truth_data, mask.stream, data_of<uint8_t>(result));
  }
  return py::make_tuple(std::move(result), as_tuple(counts));
}

Integers cuda_level_histogram(const Box& box, const DeviceArray& mask, const DeviceArray& level,
                              const DeviceArray& truth, double most, int64_t bins, int) {
  const uint8_t* mask_data = data_of<uint8_t>(mask, box.shape, "mask");
  const float* level_data = data_of<float>(level, box.shape, "level");
  const uint8_t* truth_data = data_of<uint8_t>(truth, box.shape, "truth");
  check_bins(most, bins);
  Integers result({static_cast<py::ssize_t>(bins), py::ssize_t{2}, py::ssize_t{2}});
  int64_t* out = result.mutable_data();
  const Working working(mask.stream);
  level_histogram(box, mask_data, level_data, truth_data, most, bins, mask.stream, out);
  return result;
}

py::tuple cuda_warp(const Box& source_box, const DeviceArray& source, const Box& box, const Map& map,
                    const DeviceArray& truth, int64_t stride, int) {
  const uint8_t* source_data = data_of<uint8_t>(source, source_box.shape, "source");
  const uint8_t* truth_data = data_of<uint8_t>(truth, box.shape, "truth");
  if (stride < 1) throw py::value_error("stride: expected a positive number");
  DeviceArray result = empty<uint8_t>(box.shape, source.stream);
  Counts counts;
  {
    const Working working(source.stream);
    counts = warp(source_box, source_data, box, map, truth_data, stride, source.stream, data_of<uint8_t>(result));
  }
  return py::make_tuple(std::move(result), as_tuple(counts));
}

DeviceArray cuda_interpolate_slices(const Box& box, const DeviceArray& mask, int axis, const std::vector<int64_t>& kept,
                                    int) {
  const uint8_t* mask_data = data_of<uint8_t>(mask, box.shape, "mask");
  check_kept(kept, axis, box);
  DeviceArray result = empty<uint8_t>(box.shape, mask.stream);
  const Working working(mask.stream);
  interpolate_slices(box, mask_data, axis, kept.data(), static_cast<int64_t>(kept.size()), mask.stream,
                     data_of<uint8_t>(result));
  return result;
}

DeviceArray cuda_arrival(const Box& box, const DeviceArray& mask, const DeviceArray& image_hu, const GrowRule& rule) {
  const uint8_t* mask_data = data_of<uint8_t>(mask, box.shape, "mask");
  const float* image_data = data_of<float>(image_hu, box.shape, "image_hu");
  DeviceArray result = empty<float>(box.shape, mask.stream);
  const Working working(mask.stream);
  arrival(box, mask_data, image_data, rule, mask.stream, data_of<float>(result));
  return result;
}

DeviceArray cuda_blur(const Box& box, const DeviceArray& values, double sigma_mm, int) {
  const float* input = data_of<float>(values, box.shape, "values");
  check_sigma(sigma_mm, box);
  DeviceArray result = empty<float>(box.shape, values.stream);
  const Working working(values.stream);
  copy_on_device(data_of<float>(result), input, box.voxels() * static_cast<int64_t>(sizeof(float)), values.stream);
  blur(box, sigma_mm, values.stream, data_of<float>(result));
  return result;
}

DeviceArray cuda_roughness(const Box& box, const DeviceArray& squared, double sigma_mm, int) {
  const float* input = data_of<float>(squared, box.shape, "squared");
  check_sigma(sigma_mm, box);
  DeviceArray result = empty<float>(box.shape, squared.stream);
  const Working working(squared.stream);
  roughness(box, input, sigma_mm, squared.stream, data_of<float>(result));
  return result;
}

Integers cuda_count_in_rows(const Box& box, const DeviceArray& values, float low, float high, int) {
  const float* input = data_of<float>(values, box.shape, "values");
  Integers result(static_cast<py::ssize_t>(box.shape[0] * box.shape[1]));
  int64_t* out = result.mutable_data();
  const Working working(values.stream);
  count_in_rows(input, box.shape, low, high, values.stream, out);
  return result;
}

int64_t cuda_find_in_row(const Box& box, const DeviceArray& values, int64_t row, float low, float high, int64_t rank) {
  const float* input = data_of<float>(values, box.shape, "values");
  if (row < 0 || row >= box.shape[0] * box.shape[1]) throw py::index_error("row: outside the box");
  const int64_t width = box.shape[2];
  std::vector<float> found(static_cast<size_t>(width));
  const Working working(values.stream);
  copy_to_host(found.data(), input + row * width, width * static_cast<int64_t>(sizeof(float)), values.stream);
  return find_in_row(found.data(), width, low, high, rank);
}

py::tuple cuda_compare(const Box& box, const DeviceArray& result, const DeviceArray& truth, int) {
  const uint8_t* result_data = data_of<uint8_t>(result, box.shape, "result");
  const uint8_t* truth_data = data_of<uint8_t>(truth, box.shape, "truth");
  Counts counts;
  {
    const Working working(result.stream);
    counts = compare(result_data, truth_data, box.voxels(), result.stream);
  }
  return as_tuple(counts);
}

std::array<float, 2> cuda_extremes(const Box& box, const DeviceArray& values, int) {
  const float* input = data_of<float>(values, box.shape, "values");
  const Working working(values.stream);
  return extremes(input, box.voxels(), values.stream);
}

std::array<int64_t, 3> cuda_image_moments(const Box& box, const DeviceArray& image_hu, const DeviceArray& keep, int) {
  const float* image_data = data_of<float>(image_hu, box.shape, "image_hu");
  const uint8_t* keep_data = data_of<uint8_t>(keep, box.shape, "keep");
  const Working working(keep.stream);
  return image_moments(image_data, keep_data, box.voxels(), keep.stream);
}

Integers cuda_label_counts(const DeviceArray& labelmap, const Box& box, const DeviceArray& mask, int) {
  const VolumeView& input = view(labelmap, "labelmap");
  check_within(input, box, "labelmap");
  const uint8_t* mask_data = data_of<uint8_t>(mask, box.shape, "mask");
  Integers result({static_cast<py::ssize_t>(kMostLabels), py::ssize_t{2}});
  int64_t* out = result.mutable_data();
  const Working working(mask.stream);
  label_counts(input, box, mask_data, mask.stream, out);
  return result;
}

// [border of given, border of truth, given close, truth close], as surface_counts returns for one mask pair.
Integers cuda_box_surface_counts(const Box& box, const DeviceArray& given, const DeviceArray& truth,
                                 double tolerance_mm) {
  const uint8_t* given_data = data_of<uint8_t>(given, box.shape, "given");
  const uint8_t* truth_data = data_of<uint8_t>(truth, box.shape, "truth");
  Integers result(py::ssize_t{4});
  int64_t* out = result.mutable_data();
  const Working working(given.stream);
  const SurfaceCounts counts =
      surface_counts(given_data, truth_data, box.shape, box.spacing_mm, tolerance_mm, given.stream);
  out[0] = counts.given, out[1] = counts.truth, out[2] = counts.given_close, out[3] = counts.truth_close;
  return result;
}

void cuda_paste(const DeviceArray& volume, const Box& box, const DeviceArray& values) {
  const VolumeView& target = view(volume, "volume");
  if (target.dtype != DType::kU8) throw py::value_error("volume: expected uint8");
  check_within(target, box, "volume");
  const uint8_t* input = data_of<uint8_t>(values, box.shape, "values");
  const Working working(values.stream);
  paste(target, box, input, values.stream);
}

}  // namespace

void register_cuda(py::module_& m) {
  m.def("extract_mask", &cuda_extract_mask, py::arg("source"), py::arg("label"), py::arg("box"), py::arg("threads"));
  m.def("extract_image", &cuda_extract_image, py::arg("source"), py::arg("slope"), py::arg("intercept"), py::arg("box"),
        py::arg("threads"));
  m.def("recut", &cuda_recut, py::arg("source_box"), py::arg("source"), py::arg("box"), py::arg("threads"));
  m.def("subsample", &cuda_subsample, py::arg("box"), py::arg("source"), py::arg("stride"), py::arg("threads"));
  m.def("summarise", &cuda_summarise, py::arg("mask"), py::arg("label"), py::arg("threads"));
  m.def("signed_squared_distance", &cuda_signed_squared_distance, py::arg("mask"), py::arg("box"), py::arg("sides"),
        py::arg("threads"));
  m.def("levels", &cuda_levels, py::arg("box"), py::arg("mask"), py::arg("rule"), py::kw_only(),
        py::arg("other") = py::none(), py::arg("squared") = py::none(), py::arg("field") = py::none(),
        py::arg("threads"));
  m.def("flip", &cuda_flip, py::arg("box"), py::arg("mask"), py::arg("level"), py::arg("strength"), py::arg("truth"),
        py::arg("threads"));
  m.def("level_histogram", &cuda_level_histogram, py::arg("box"), py::arg("mask"), py::arg("level"), py::arg("truth"),
        py::arg("most"), py::arg("bins"), py::arg("threads"));
  m.def("warp", &cuda_warp, py::arg("source_box"), py::arg("source"), py::arg("box"), py::arg("mapping"),
        py::arg("truth"), py::arg("stride"), py::arg("threads"));
  m.def("interpolate_slices", &cuda_interpolate_slices, py::arg("box"), py::arg("mask"), py::arg("axis"),
        py::arg("kept"), py::arg("threads"));
  m.def("arrival", &cuda_arrival, py::arg("box"), py::arg("mask"), py::arg("image_hu"), py::arg("rule"));
  m.def("blur", &cuda_blur, py::arg("box"), py::arg("values"), py::arg("sigma_mm"), py::arg("threads"));
  m.def("roughness", &cuda_roughness, py::arg("box"), py::arg("squared"), py::arg("sigma_mm"), py::arg("threads"));
  m.def("count_in_rows", &cuda_count_in_rows, py::arg("box"), py::arg("values"), py::arg("low"), py::arg("high"),
        py::arg("threads"));
  m.def("find_in_row", &cuda_find_in_row, py::arg("box"), py::arg("values"), py::arg("row"), py::arg("low"),
        py::arg("high"), py::arg("rank"));
  m.def("compare", &cuda_compare, py::arg("box"), py::arg("result"), py::arg("truth"), py::arg("threads"));
  m.def("extremes", &cuda_extremes, py::arg("box"), py::arg("values"), py::arg("threads"));
  m.def("image_moments", &cuda_image_moments, py::arg("box"), py::arg("image_hu"), py::arg("keep"), py::arg("threads"));
  m.def("label_counts", &cuda_label_counts, py::arg("labelmap"), py::arg("box"), py::arg("mask"), py::arg("threads"));
  m.def("box_surface_counts", &cuda_box_surface_counts, py::arg("box"), py::arg("given"), py::arg("truth"),
        py::arg("tolerance_mm"));
  m.def("paste", &cuda_paste, py::arg("volume"), py::arg("box"), py::arg("values"));
}

}  // namespace segae
