// The loops behind relations.h on the CPU.
#pragma once

#include <unordered_map>

#include "relations/relations.h"

namespace segae {

// Value of a labelmap -> structure, -1 for none.
class StructureOf {
 public:
  explicit StructureOf(const std::vector<int64_t>& labels);
  int64_t operator()(int64_t label) const {
    if (label >= 0 && label < kDirect) return direct_[static_cast<size_t>(label)];
    const auto found = hashed_.find(label);
    return found == hashed_.end() ? -1 : found->second;
  }

 private:
  static constexpr int64_t kDirect = 4096;
  std::vector<int64_t> direct_;
  std::unordered_map<int64_t, int64_t> hashed_;
};

// All runs, row by row, each row in order of the begins.
class SortedRuns {
 public:
  SortedRuns(const std::vector<std::vector<Run>>& lists, const Int3& shape);
  const Int3& shape() const { return shape_; }
  const Run* begin(int64_t row) const { return runs_.data() + first_[static_cast<size_t>(row)]; }
  const Run* end(int64_t row) const { return runs_.data() + first_[static_cast<size_t>(row) + 1]; }
  // The furthest end of the runs of a row up to this one: where later runs of another row need not look before.
  int64_t reach(const Run* run) const { return reach_[static_cast<size_t>(run - runs_.data())]; }

 private:
  Int3 shape_;
  std::vector<Run> runs_;
  std::vector<int64_t> first_, reach_;
};

// Counts so far. Moments along the last axis are kept as differences until finished.
class RelationsTable {
 public:
  RelationsTable(const Int3& shape, int64_t n);
  void add_moments(const Run& run, int64_t z, int64_t y);
  void add_overlap(int64_t a, int64_t b, int64_t voxels) { add(overlap_, a * n_ + b, b * n_ + a, voxels); }
  void add_contact(int64_t a, int64_t b, size_t axis, int64_t pairs) {
    const auto offset = static_cast<int64_t>(axis);
    add(contact_, 3 * (a * n_ + b) + offset, 3 * (b * n_ + a) + offset, pairs);
  }
  void merge(const RelationsTable& other);
  Relations finish();

 private:
  static void add(std::vector<int64_t>& to, int64_t here, int64_t there, int64_t count) {
    to[static_cast<size_t>(here)] += count;
    to[static_cast<size_t>(there)] += count;
  }
  Int3 shape_;
  int64_t n_;
  std::vector<int64_t> overlap_, contact_;
  std::array<std::vector<int64_t>, 3> moments_;
};

// Appends the runs of slices [begin, end).
void find_runs_cpu(const VolumeView& volume, const StructureOf& structure_of, int64_t begin, int64_t end,
                   std::vector<Run>& runs);

// Books the runs of slices [begin, end), and their contacts with the slice after the last.
void relate_cpu(const SortedRuns& runs, int64_t begin, int64_t end, RelationsTable& table);

}  // namespace segae
