// The kernels behind scan.h on the CPU, on a volume whose axes were brought into memory order.
#pragma once

#include <unordered_map>

#include "scan/scan.h"

namespace segae {

// Area profiles of the labels met so far. Profiles along the run axis are kept as differences until finished.
class AreaTable {
 public:
  explicit AreaTable(const Int3& shape);
  void add_run(int64_t label, int64_t outer, int64_t middle, int64_t begin, int64_t end);
  void merge(const AreaTable& other);
  // Calls visit(label, outer, middle, inner) with pointers to the finished profiles.
  template <class Visit>
  void finish(Visit&& visit);

  int64_t fractional = 0;
  double fractional_example = 0;
  int64_t non_finite = 0;

 private:
  int64_t* profiles(int64_t label);

  static constexpr int64_t kDirect = 65536;  // labels below are found by index, the others by hash
  Int3 shape_;
  size_t row_;  // entries a label: outer + middle + (inner + 1)
  std::vector<int32_t> direct_;
  std::unordered_map<int64_t, int32_t> hashed_;
  std::vector<int64_t> labels_;
  std::vector<int64_t> areas_;
};

template <class Visit>
void AreaTable::finish(Visit&& visit) {
  for (size_t slot = 0; slot < labels_.size(); ++slot) {
    int64_t* outer = areas_.data() + slot * row_;
    int64_t* middle = outer + shape_[0];
    int64_t* inner = middle + shape_[1];
    for (int64_t i = 1; i < shape_[2]; ++i) inner[i] += inner[i - 1];
    visit(labels_[slot], outer, middle, inner);
  }
}

// `volume` has non-negative strides, largest first. Adds the runs of slices [begin, end) of its first axis.
void scan_slices_cpu(const VolumeView& volume, int64_t begin, int64_t end, AreaTable& table);

void plane_box_cpu(const VolumeView& volume, int axis, int64_t index, int64_t label, const int64_t window[4],
                   int64_t out[4]);

}  // namespace segae
