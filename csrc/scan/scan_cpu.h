// The kernels behind scan.h on the CPU, on a volume whose axes were brought into memory order.
#pragma once

#include <memory>
#include <unordered_map>

#include "scan/scan.h"

namespace segae {

// Area profiles of the labels met so far. Profiles along the run axis are kept as differences until finished.
class AreaTable {
 public:
  explicit AreaTable(const Int3& shape);

  // Books items [begin, end) of the row (outer, middle).
  void add_run(int64_t label, int64_t outer, int64_t middle, int64_t begin, int64_t end) {
    int64_t* area = profiles(label);
    area[outer] += end - begin;
    area[middle_at_ + middle] += end - begin;
    ++area[inner_at_ + begin];
    --area[inner_at_ + end];
  }

  void merge(const AreaTable& other);

  // Calls visit(label, outer, middle, inner) with pointers to the finished profiles.
  template <class Visit>
  void finish(Visit&& visit);

  int64_t fractional = 0;
  double fractional_example = 0;
  int64_t non_finite = 0;

 private:
  struct Entry {
    int64_t label;
    std::unique_ptr<int64_t[]> area;  // along outer, middle and inner; the last with one entry more
  };

  int64_t* profiles(int64_t label) {
    int64_t* const known = label >= 0 && label < kDirect ? direct_[static_cast<size_t>(label)] : nullptr;
    return known ? known : find_or_add(label);
  }
  int64_t* find_or_add(int64_t label);

  static constexpr int64_t kDirect = 4096;  // labels below are found by index, the others by hash
  int64_t middle_at_, inner_at_, size_;     // of an entry's parts and whole
  std::vector<int64_t*> direct_;
  std::unordered_map<int64_t, int64_t*> hashed_;
  std::vector<Entry> entries_;
};

template <class Visit>
void AreaTable::finish(Visit&& visit) {
  for (const Entry& entry : entries_) {
    int64_t* outer = entry.area.get();
    for (int64_t i = inner_at_ + 1; i < size_; ++i) outer[i] += outer[i - 1];
    visit(entry.label, outer, outer + middle_at_, outer + inner_at_);
  }
}

// `volume` has non-negative strides, largest first. Adds the runs of slices [begin, end) of its first axis.
void scan_slices_cpu(const VolumeView& volume, int64_t begin, int64_t end, AreaTable& table);

void plane_box_cpu(const VolumeView& volume, int axis, int64_t index, int64_t label, const int64_t window[4],
                   int64_t out[4]);

}  // namespace segae
