#include "relations/relations.h"

#include <algorithm>
#include <memory>

#include "core/parallel.h"
#include "relations/relations_cpu.h"

namespace segae {

std::vector<Run> find_runs(const VolumeView& volume, const std::vector<int64_t>& labels, int threads) {
  if (volume.voxels() == 0) return {};
  const int64_t slices = volume.shape[0];
  const int64_t workers = std::clamp<int64_t>(threads, 1, slices);
  const StructureOf structure_of(labels);
  std::vector<std::vector<Run>> parts(static_cast<size_t>(workers));
  parallel_for(workers, threads, [&](int64_t worker) {
    find_runs_cpu(volume, structure_of, slices * worker / workers, slices * (worker + 1) / workers,
                  parts[static_cast<size_t>(worker)]);
  });
  std::vector<Run> runs = std::move(parts[0]);
  for (size_t i = 1; i < parts.size(); ++i) runs.insert(runs.end(), parts[i].begin(), parts[i].end());
  return runs;
}

Relations relate(const std::vector<std::vector<Run>>& lists, const Int3& shape, int64_t n, int threads) {
  const SortedRuns runs(lists, shape);
  const int64_t workers = std::clamp<int64_t>(threads, 1, std::max<int64_t>(shape[0], 1));
  std::vector<std::unique_ptr<RelationsTable>> tables(static_cast<size_t>(workers));
  parallel_for(workers, threads, [&](int64_t worker) {
    auto& table = tables[static_cast<size_t>(worker)];
    table = std::make_unique<RelationsTable>(shape, n);
    relate_cpu(runs, shape[0] * worker / workers, shape[0] * (worker + 1) / workers, *table);
  });
  RelationsTable& total = *tables[0];
  for (size_t i = 1; i < tables.size(); ++i) total.merge(*tables[i]);
  return total.finish();
}

}  // namespace segae
