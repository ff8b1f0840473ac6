// Where numpy arrays lie: what operations.h must know of host memory.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <string>

#include "edit/grow.h"
#include "python/arrays.h"

namespace segae {

class HostPlace {
 public:
  using Volume = py::array;
  template <class T>
  using Array = py::array_t<T, py::array::c_style>;

  // While one lives, other Python threads run.
  struct Working {
    explicit Working(const HostPlace&) {}
    py::gil_scoped_release release;
  };

  HostPlace(const py::array&, int threads) : threads_(threads) {}

  // What operations take to work here: how many threads.
  int where() const { return threads_; }

  VolumeView view(const py::array& volume, const char* name) const { return segae::view(volume, name); }

  template <class T>
  const T* data(const Array<T>& array, const Int3& shape, const char* name) const {
    bool fits = array.ndim() == 3;
    for (int axis = 0; fits && axis < 3; ++axis) fits = array.shape(axis) == shape[static_cast<size_t>(axis)];
    if (!fits) throw py::value_error(std::string(name) + ": expected the shape of the box");
    return array.data();
  }

  template <class T>
  Array<T> empty(const Int3& shape) const {
    return Array<T>({shape[0], shape[1], shape[2]});
  }

  template <class T>
  T* out(Array<T>& array) const {
    return array.mutable_data();
  }

  void copy(const float* from, int64_t n, float* to) const { std::copy(from, from + n, to); }
  void copy_to_host(const float* from, int64_t n, float* to) const { copy(from, n, to); }

 private:
  int threads_;
};

// A front that spreads is one thread's work.
inline void arrival(const Box& box, const uint8_t* mask, const float* image_hu, const GrowRule& rule, int, float* out) {
  arrival(box, mask, image_hu, rule, out);
}

}  // namespace segae
