// One thread looks at a short piece of a row and books the runs in it, as the CPU does with whole rows. Labels find
// their counters through a hash table that the threads fill as they meet them, so that one pass is enough.
#include <algorithm>
#include <map>
#include <numeric>
#include <string>
#include <tuple>

#include "cuda/cuda_util.h"
#include "scan/scan.h"

namespace segae {

namespace {

constexpr int64_t kPiece = 32;       // items that a thread looks at: a sector of bytes or more
constexpr int64_t kMostProbes = 64;  // a longer search means a table too full to be of use
// Slots of the hash tables, tried in turn: a mask's, a labelmap's, and twice kMaxLabels.
constexpr int64_t kSlots[] = {16, 256, 2 * kMaxLabels};

enum Problem { kFractional, kNonFinite, kOverflow, kTooLarge, kFirstFractional, kProblems };

// A volume with its axes in memory order, and its counters. A slot's counters are the voxels along the three axes (the
// last as differences, one entry more), then four for each slice along axis 0: extent - begin and end, on the two other
// axes in memory order. So every one starts at 0 and only grows.
struct Target {
  VolumeView volume;
  int64_t pieces_a_row;
  int slices_on;  // which of the axes in memory order is axis 0
  int64_t slots;
  int64_t* keys;  // [slots], 0 where free: 0 is the background and never looked for
  int32_t* counters;
  int64_t counters_a_slot;
  int64_t* problems;

  SEGAE_HD int64_t boxes_at() const { return volume.shape[0] + volume.shape[1] + volume.shape[2] + 1; }
};

__device__ inline void widen(int32_t* box, int64_t extent, int64_t begin, int64_t end) {
  const int32_t reach = static_cast<int32_t>(extent - begin), last = static_cast<int32_t>(end);
  // Most voxels change nothing, and reading is cheaper than an atomic.
  if (box[0] < reach) raise_to(box, reach);
  if (box[1] < last) raise_to(box + 1, last);
}

__device__ inline int32_t* counters_of(const Target& target, int64_t label) {
  const uint64_t hash = static_cast<uint64_t>(label) * 0x9E3779B97F4A7C15u >> 32;
  const int64_t probes = target.slots < kMostProbes ? target.slots : kMostProbes;
  for (int64_t i = 0; i < probes; ++i) {
    const int64_t slot = static_cast<int64_t>((hash + static_cast<uint64_t>(i)) % static_cast<uint64_t>(target.slots));
    int64_t key = target.keys[slot];
    if (key == 0) key = claim(target.keys + slot, label);
    if (key == 0 || key == label) return target.counters + slot * target.counters_a_slot;
  }
  count_in(target.problems + kOverflow);
  return nullptr;
}

__device__ inline void book(const Target& target, int64_t label, int64_t outer, int64_t middle, int64_t begin,
                            int64_t end) {
  int32_t* counters = counters_of(target, label);
  if (!counters) return;
  const Int3& shape = target.volume.shape;
  const int32_t length = static_cast<int32_t>(end - begin);
  int32_t* inner = counters + shape[0] + shape[1];
  add_to(counters + outer, length);
  add_to(counters + shape[0] + middle, length);
  add_to(inner + begin, 1);
  add_to(inner + end, -1);
  int32_t* boxes = counters + target.boxes_at();
  if (target.slices_on == 2) {
    for (int64_t slice = begin; slice < end; ++slice) {
      widen(boxes + 4 * slice, shape[0], outer, outer + 1);
      widen(boxes + 4 * slice + 2, shape[1], middle, middle + 1);
    }
  } else {
    const bool on_outer = target.slices_on == 0;
    int32_t* box = boxes + 4 * (on_outer ? outer : middle);
    const int64_t row = on_outer ? middle : outer;
    widen(box, shape[on_outer ? 1 : 0], row, row + 1);
    widen(box + 2, shape[2], begin, end);
  }
}

// Label of a voxel, 0 for the background and for what is none; such voxels are counted.
template <class T>
__device__ int64_t label_of(T value, const Target& target, int64_t voxel, int64_t count) {
  if constexpr (is_floating<T>) {
    const double number = as_double(value);
    if (number == 0) return 0;
    if (!(fabs(number) <= std::numeric_limits<double>::max())) {
      add_to(target.problems + kNonFinite, count);
    } else if (number != floor(number) || fabs(number) > 0x1p53) {
      add_to(target.problems + kFractional, count);
      raise_to(target.problems + kFirstFractional, target.volume.voxels() - voxel);
    } else {
      return static_cast<int64_t>(number);
    }
    return 0;
  } else {
    if constexpr (std::is_same_v<T, uint64_t>) {
      if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
        count_in(target.problems + kTooLarge);
        return 0;
      }
    }
    return static_cast<int64_t>(value);
  }
}

template <class T>
__device__ bool same(T a, T b) {
  if constexpr (std::is_same_v<T, Half>) {
    return a.bits == b.bits;
  } else {
    return a == b;
  }
}

template <class T>
__device__ void scan_piece(const Target& target, int64_t piece) {
  const VolumeView& volume = target.volume;
  const int64_t size = static_cast<int64_t>(sizeof(T)), n = volume.shape[2], stride = volume.stride[2];
  const int64_t row = piece / target.pieces_a_row, first = piece % target.pieces_a_row * kPiece;
  const int64_t outer = row / volume.shape[1], middle = row % volume.shape[1];
  const std::byte* at = volume.at(outer, middle, 0);
  const int64_t last = first + kPiece < n ? first + kPiece : n;
  for (int64_t i = first; i < last;) {
    if (stride == size) {  // mostly background: eight bytes at a time
      while (i + 8 / size <= last && load<uint64_t>(at + i * size) == 0) i += 8 / size;
      if (i == last) return;
    }
    const T value = load<T>(at + i * stride);
    const int64_t begin = i++;
    while (i < last && same(load<T>(at + i * stride), value)) ++i;
    const int64_t label = label_of(value, target, row * n + begin, i - begin);
    if (label != 0) book(target, label, outer, middle, begin, i);
  }
}

// Device lambdas may not stand in private functions, either.

void zero(int32_t* values, int64_t n, const Stream& stream) {
  for_each(n, stream, [=] __device__(int64_t i) { values[i] = 0; });
}

void zero(int64_t* values, int64_t n, const Stream& stream) {
  for_each(n, stream, [=] __device__(int64_t i) { values[i] = 0; });
}

// Which of n parts, whose first entries are `begins`, holds entry i.
SEGAE_HD inline int64_t part_of(const int64_t* begins, int64_t n, int64_t i) {
  int64_t low = 0, high = n;
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    if (begins[middle] <= i) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return low;
}

// out[begins[k] + j] = from[k][j]
void gather(const int32_t* const* from, const int64_t* begins, int64_t n, int64_t total, const Stream& stream,
            int32_t* out) {
  for_each(total, stream, [=] __device__(int64_t i) {
    const int64_t part = part_of(begins, n, i);
    out[i] = from[part][i - begins[part]];
  });
}

template <class T>
void scan_all(const std::vector<Target>& targets, const std::vector<int64_t>& first_pieces, int64_t pieces,
              const Stream& stream) {
  const DeviceBuffer<Target> targets_on_device(targets, stream);
  const DeviceBuffer<int64_t> first_on_device(first_pieces, stream);
  const Target* all = targets_on_device.data();
  const int64_t* first = first_on_device.data();
  const int64_t n = static_cast<int64_t>(targets.size());
  for_each(pieces, stream, [=] __device__(int64_t i) {
    const int64_t target = part_of(first, n, i);
    scan_piece<T>(all[target], i - first[target]);
  });
}

// What one launch needs beside the volumes, laid out before the pointers to it are known.
class Pass {
 public:
  Pass(const std::vector<MemoryOrder>& orders, int64_t slots, const Stream& stream)
      : orders_(orders),
        slots_(slots),
        stream_(stream),
        lengths_(row_lengths(orders)),
        counters_(std::accumulate(lengths_.begin(), lengths_.end(), int64_t{0}) * slots, stream),
        keys_(static_cast<int64_t>(orders.size()) * (slots + kProblems), stream) {
    zero(counters_.data(), std::accumulate(lengths_.begin(), lengths_.end(), int64_t{0}) * slots, stream);
    zero(keys_.data(), static_cast<int64_t>(orders.size()) * (slots + kProblems), stream);
    int64_t counters_at = 0, keys_at = 0;
    for (size_t i = 0; i < orders.size(); ++i) {
      const VolumeView& volume = orders[i].volume;
      const int64_t pieces_a_row = (volume.shape[2] + kPiece - 1) / kPiece;
      const int slices_on =
          static_cast<int>(std::find(orders[i].axis.begin(), orders[i].axis.end(), size_t{0}) - orders[i].axis.begin());
      first_pieces_.push_back(pieces_);
      targets_.push_back({volume, pieces_a_row, slices_on, slots, keys_.data() + keys_at,
                          counters_.data() + counters_at, lengths_[i], keys_.data() + keys_at + slots});
      pieces_ += pieces_a_row * volume.shape[0] * volume.shape[1];
      counters_at += lengths_[i] * slots;
      keys_at += slots + kProblems;
    }
  }

  // Writes the results of the volumes whose labels found room; returns the places of the others.
  std::vector<size_t> run(std::vector<ScanResult>& results) {
    visit(orders_[0].volume.dtype,
          [&](auto tag) { scan_all<typename decltype(tag)::type>(targets_, first_pieces_, pieces_, stream_); });
    std::vector<int64_t> keys(orders_.size() * static_cast<size_t>(slots_ + kProblems));
    copy_to_host(keys.data(), keys_.data(), static_cast<int64_t>(keys.size() * sizeof(int64_t)), stream_);
    std::vector<size_t> left_over;
    std::vector<Found> found;
    for (size_t i = 0; i < orders_.size(); ++i) {
      const int64_t* mine = keys.data() + i * static_cast<size_t>(slots_ + kProblems);
      const int64_t* problems = mine + slots_;
      if (problems[kTooLarge] > 0) throw std::invalid_argument("a value is too large for a label");
      const int64_t labels = slots_ - std::count(mine, mine + slots_, int64_t{0});
      if (problems[kOverflow] > 0 || labels > kMaxLabels) {
        left_over.push_back(i);
        continue;
      }
      results[i].fractional = problems[kFractional];
      results[i].non_finite = problems[kNonFinite];
      if (problems[kFractional] > 0) {
        results[i].fractional_example = value_at(orders_[i].volume, problems[kFirstFractional]);
      }
      for (int64_t slot = 0; slot < slots_; ++slot) {
        if (mine[slot] != 0) found.push_back({i, mine[slot], targets_[i].counters + slot * lengths_[i]});
      }
    }
    read(found, results);
    return left_over;
  }

 private:
  struct Found {
    size_t volume;
    int64_t label;
    const int32_t* counters;
  };

  static std::vector<int64_t> row_lengths(const std::vector<MemoryOrder>& orders) {
    std::vector<int64_t> lengths;
    for (const MemoryOrder& order : orders) {
      const Int3& shape = order.volume.shape;
      const auto slices_on = std::find(order.axis.begin(), order.axis.end(), size_t{0}) - order.axis.begin();
      lengths.push_back(shape[0] + shape[1] + shape[2] + 1 + 4 * shape[static_cast<size_t>(slices_on)]);
    }
    return lengths;
  }

  double value_at(const VolumeView& volume, int64_t voxels_to_the_end) const {
    const Int3 at = place_of(volume.shape, volume.voxels() - voxels_to_the_end);
    return visit(volume.dtype, [&](auto tag) {
      typename decltype(tag)::type value;
      copy_to_host(&value, volume.at(at[0], at[1], at[2]), sizeof value, stream_);
      return as_double(value);
    });
  }

  // Brings the counters of all labels to the host in one copy.
  void read(const std::vector<Found>& found, std::vector<ScanResult>& results) const {
    if (found.empty()) return;
    std::vector<const int32_t*> from;
    std::vector<int64_t> at{0};
    for (const Found& one : found) {
      from.push_back(one.counters);
      at.push_back(at.back() + lengths_[one.volume]);
    }
    const DeviceBuffer<const int32_t*> from_on_device(from, stream_);
    const DeviceBuffer<int64_t> at_on_device(at, stream_);
    const DeviceBuffer<int32_t> together(at.back(), stream_);
    gather(from_on_device.data(), at_on_device.data(), static_cast<int64_t>(found.size()), at.back(), stream_,
           together.data());
    std::vector<int32_t> counters(static_cast<size_t>(at.back()));
    copy_to_host(counters.data(), together.data(), at.back() * static_cast<int64_t>(sizeof(int32_t)), stream_);
    for (size_t i = 0; i < found.size(); ++i) {
      results[found[i].volume].labels.push_back(
          stats(orders_[found[i].volume], found[i].label, counters.data() + at[i]));
    }
  }

  static LabelStats stats(const MemoryOrder& order, int64_t label, const int32_t* counters) {
    std::array<std::vector<int64_t>, 3> area;
    for (size_t i = 0; i < 3; ++i) {
      std::vector<int64_t>& profile = area[order.axis[i]];
      profile.assign(counters, counters + order.volume.shape[i]);
      counters += order.volume.shape[i];
      if (i == 2) std::partial_sum(profile.begin(), profile.end(), profile.begin());
      if (order.reversed[order.axis[i]]) std::reverse(profile.begin(), profile.end());
    }
    ++counters;  // the differences have one entry more
    LabelStats result = stats_of(label, std::move(area));
    const int64_t slices = static_cast<int64_t>(result.area[0].size());
    result.slice_boxes.assign(static_cast<size_t>(4 * slices), -1);
    for (int64_t slice = 0; slice < slices; ++slice) {
      if (result.area[0][static_cast<size_t>(slice)] == 0) continue;
      const int32_t* box = counters + 4 * (order.reversed[0] ? slices - 1 - slice : slice);
      for (size_t i = 0; i < 3; ++i) {
        const size_t axis = order.axis[i];
        if (axis == 0) continue;
        int64_t begin = order.volume.shape[i] - box[0], end = box[1];
        if (order.reversed[axis])
          std::tie(begin, end) = std::pair(order.volume.shape[i] - end, order.volume.shape[i] - begin);
        result.slice_boxes[static_cast<size_t>(4 * slice) + 2 * (axis - 1)] = begin;
        result.slice_boxes[static_cast<size_t>(4 * slice) + 2 * (axis - 1) + 1] = end;
        box += 2;
      }
    }
    return result;
  }

  std::vector<MemoryOrder> orders_;
  int64_t slots_;
  Stream stream_;
  std::vector<int64_t> lengths_;  // counters of a slot, for each volume
  DeviceBuffer<int32_t> counters_;
  DeviceBuffer<int64_t> keys_;  // for each volume its keys, then its problems
  std::vector<Target> targets_;
  std::vector<int64_t> first_pieces_;
  int64_t pieces_ = 0;
};

}  // namespace

std::vector<ScanResult> scan(const std::vector<VolumeView>& volumes, const Stream& stream) {
  std::vector<ScanResult> results(volumes.size());
  std::map<DType, std::vector<size_t>> by_type;
  for (size_t i = 0; i < volumes.size(); ++i) {
    const Int3& shape = volumes[i].shape;
    const int64_t largest = std::max({shape[0] * shape[1], shape[0] * shape[2], shape[1] * shape[2]});
    if (largest >= int64_t{1} << 31) throw std::invalid_argument("a plane of 2^31 voxels or more");
    if (volumes[i].voxels() > 0) by_type[volumes[i].dtype].push_back(i);
  }
  for (auto& [dtype, waiting] : by_type) {
    for (const int64_t slots : kSlots) {
      // The largest tables are made one at a time.
      const size_t at_once = slots == kSlots[2] ? 1 : waiting.size();
      std::vector<size_t> left_over;
      for (size_t begin = 0; begin < waiting.size(); begin += at_once) {
        std::vector<MemoryOrder> orders;
        for (size_t i = begin; i < begin + at_once; ++i) orders.push_back(in_memory_order(volumes[waiting[i]]));
        std::vector<ScanResult> found(orders.size());
        for (const size_t i : Pass(orders, slots, stream).run(found)) left_over.push_back(waiting[begin + i]);
        for (size_t i = 0; i < found.size(); ++i) results[waiting[begin + i]] = std::move(found[i]);
      }
      waiting = std::move(left_over);
      if (waiting.empty()) break;
    }
    if (!waiting.empty()) {
      throw std::invalid_argument("more than " + std::to_string(kMaxLabels) + " distinct values");
    }
  }
  for (ScanResult& result : results) {
    std::sort(result.labels.begin(), result.labels.end(),
              [](const LabelStats& a, const LabelStats& b) { return a.label < b.label; });
  }
  return results;
}

}  // namespace segae
