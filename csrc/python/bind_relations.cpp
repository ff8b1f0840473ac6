// Python's door to csrc/relations.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <set>

#include "python/arrays.h"
#include "relations/relations.h"

namespace segae {

namespace {

using Integers = py::array_t<int64_t, py::array::c_style | py::array::forcecast>;

static_assert(sizeof(Run) == 4 * sizeof(int64_t), "runs travel as rows of four int64");

py::array_t<int64_t> bind_runs(const py::array& volume, const Integers& labels, int threads) {
  const VolumeView input = view(volume, "volume");
  if (labels.ndim() != 1) throw py::value_error("labels: expected one axis");
  const std::vector<int64_t> wanted(labels.data(), labels.data() + labels.size());
  if (std::set<int64_t>(wanted.begin(), wanted.end()).size() != wanted.size()) {
    throw py::value_error("labels: one occurs twice");
  }
  std::vector<Run> runs;
  {
    const py::gil_scoped_release release;
    runs = find_runs(input, wanted, threads);
  }
  py::array_t<int64_t> rows({static_cast<py::ssize_t>(runs.size()), py::ssize_t{4}});
  if (!runs.empty()) std::memcpy(rows.mutable_data(), runs.data(), runs.size() * sizeof(Run));
  return rows;
}

std::vector<Run> read_runs(const Integers& rows, const Int3& shape, int64_t n) {
  if (rows.ndim() != 2 || rows.shape(1) != 4) throw py::value_error("runs: expected shape [m, 4]");
  std::vector<Run> runs(static_cast<size_t>(rows.shape(0)));
  if (!runs.empty()) std::memcpy(runs.data(), rows.data(), runs.size() * sizeof(Run));
  for (const Run& run : runs) {
    if (run.structure < 0 || run.structure >= n || run.row < 0 || run.row >= shape[0] * shape[1] || run.begin < 0 ||
        run.end <= run.begin || run.end > shape[2]) {
      throw py::index_error("runs: outside the grid, empty, or of no structure");
    }
  }
  return runs;
}

template <size_t kAxes>
py::array_t<int64_t> to_array(const std::vector<int64_t>& values, const std::array<int64_t, kAxes>& shape) {
  py::array_t<int64_t> array(std::vector<py::ssize_t>(shape.begin(), shape.end()));
  std::copy(values.begin(), values.end(), array.mutable_data());
  return array;
}

py::dict bind_relations(const std::vector<Integers>& runs, const Int3& shape, int64_t n, int threads) {
  if (n < 1 || *std::min_element(shape.begin(), shape.end()) < 1) {
    throw py::value_error("shape, n: expected positive numbers");
  }
  std::vector<std::vector<Run>> lists;
  for (const Integers& rows : runs) lists.push_back(read_runs(rows, shape, n));
  Relations found;
  {
    const py::gil_scoped_release release;
    found = relate(lists, shape, n, threads);
  }
  py::dict told;
  told["overlap"] = to_array<2>(found.overlap, {n, n});
  told["contact"] = to_array<3>(found.contact, {n, n, 3});
  told["moments"] =
      py::make_tuple(to_array<3>(found.moments[0], {n, shape[0], 3}), to_array<3>(found.moments[1], {n, shape[1], 3}),
                     to_array<3>(found.moments[2], {n, shape[2], 3}));
  return told;
}

}  // namespace

void register_relations(py::module_& m) {
  m.def("runs", &bind_runs, py::arg("volume"), py::arg("labels"), py::arg("threads"));
  m.def("relations", &bind_relations, py::arg("runs"), py::arg("shape"), py::arg("n"), py::arg("threads"));
}

}  // namespace segae
