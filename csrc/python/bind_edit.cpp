// What the operations of csrc/edit are told, and those operations on numpy arrays.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "python/host_place.h"
#include "python/operations.h"

namespace segae {

namespace {

constexpr int64_t kMostVoxels = int64_t{1} << 40;

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

  register_operations<HostPlace>(m);
}

}  // namespace segae
