#include "scan/scan.h"

#include <algorithm>
#include <memory>
#include <numeric>

#include "core/parallel.h"
#include "scan/scan_cpu.h"

namespace segae {

MemoryOrder in_memory_order(VolumeView volume) {
  MemoryOrder order{volume, {0, 1, 2}, {}};
  for (size_t axis = 0; axis < 3; ++axis) {
    if (volume.stride[axis] < 0) {
      order.reversed[axis] = true;
      volume.data += volume.stride[axis] * (volume.shape[axis] - 1);
      volume.stride[axis] = -volume.stride[axis];
    }
  }
  std::stable_sort(order.axis.begin(), order.axis.end(),
                   [&](size_t a, size_t b) { return volume.stride[a] > volume.stride[b]; });
  order.volume.data = volume.data;
  for (size_t i = 0; i < 3; ++i) {
    order.volume.shape[i] = volume.shape[order.axis[i]];
    order.volume.stride[i] = volume.stride[order.axis[i]];
  }
  return order;
}

LabelStats stats_of(int64_t label, std::array<std::vector<int64_t>, 3> area) {
  LabelStats stats{};
  stats.label = label;
  stats.voxels = std::accumulate(area[0].begin(), area[0].end(), int64_t{0});
  for (size_t axis = 0; axis < 3; ++axis) {
    const std::vector<int64_t>& profile = area[axis];
    double moment = 0;
    stats.box[0][axis] = static_cast<int64_t>(profile.size());
    for (size_t i = 0; i < profile.size(); ++i) {
      if (profile[i] == 0) continue;
      moment += static_cast<double>(i) * static_cast<double>(profile[i]);
      stats.box[0][axis] = std::min(stats.box[0][axis], static_cast<int64_t>(i));
      stats.box[1][axis] = static_cast<int64_t>(i) + 1;
    }
    stats.centroid[axis] = moment / static_cast<double>(stats.voxels);
    stats.border[0][axis] = profile.front();
    stats.border[1][axis] = profile.back();
  }
  stats.area = std::move(area);
  return stats;
}

ScanResult scan(const VolumeView& volume, int threads) {
  ScanResult result;
  if (volume.voxels() == 0) return result;
  const MemoryOrder order = in_memory_order(volume);
  const int64_t slices = order.volume.shape[0];

  // One table a worker, each on a contiguous share of the slices, so that memory is read in order.
  const int64_t workers = std::clamp<int64_t>(threads, 1, slices);
  std::vector<std::unique_ptr<AreaTable>> tables(static_cast<size_t>(workers));
  parallel_for(workers, threads, [&](int64_t worker) {
    auto& table = tables[static_cast<size_t>(worker)];
    table = std::make_unique<AreaTable>(order.volume.shape);
    scan_slices_cpu(order.volume, slices * worker / workers, slices * (worker + 1) / workers, *table);
  });
  AreaTable& total = *tables[0];
  for (size_t i = 1; i < tables.size(); ++i) total.merge(*tables[i]);

  result.fractional = total.fractional;
  result.fractional_example = total.fractional_example;
  result.non_finite = total.non_finite;
  total.finish([&](int64_t label, const int64_t* outer, const int64_t* middle, const int64_t* inner) {
    const std::array<const int64_t*, 3> profile{outer, middle, inner};
    std::array<std::vector<int64_t>, 3> area;
    for (size_t i = 0; i < 3; ++i) {
      const size_t axis = order.axis[i];
      area[axis].assign(profile[i], profile[i] + order.volume.shape[i]);
      if (order.reversed[axis]) std::reverse(area[axis].begin(), area[axis].end());
    }
    result.labels.push_back(stats_of(label, std::move(area)));
  });
  std::sort(result.labels.begin(), result.labels.end(),
            [](const LabelStats& a, const LabelStats& b) { return a.label < b.label; });
  return result;
}

void plane_boxes(const VolumeView& volume, int axis, const int64_t* indices, const int64_t* labels,
                 const int64_t* windows, int64_t n, int threads, int64_t* out) {
  parallel_for(n, threads,
               [&](int64_t i) { plane_box_cpu(volume, axis, indices[i], labels[i], windows + 4 * i, out + 4 * i); });
}

}  // namespace segae
