#include <algorithm>
#include <queue>
#include <utility>

#include "edit/grow_formula.h"

namespace segae {

void arrival(const Box& box, const uint8_t* mask, const float* image_hu, const GrowRule& rule, float* out) {
  using Front = std::pair<float, int64_t>;
  std::priority_queue<Front, std::vector<Front>, std::greater<>> front;
  const auto [depth, height, width] = box.shape;
  const float most = static_cast<float>(rule.most_mm);
  std::fill(out, out + box.voxels(), std::numeric_limits<float>::infinity());

  const auto spread = [&, depth = depth, height = height, width = width](int64_t z, int64_t y, int64_t x, float cost) {
    for (int dz = -1; dz <= 1; ++dz) {
      for (int dy = -1; dy <= 1; ++dy) {
        for (int dx = -1; dx <= 1; ++dx) {
          if (dz * dz + dy * dy + dx * dx == 0 || dz * dz + dy * dy + dx * dx == 3) continue;
          const int64_t nz = z + dz, ny = y + dy, nx = x + dx;
          if (nz < 0 || ny < 0 || nx < 0 || nz >= depth || ny >= height || nx >= width) continue;
          const int64_t next = (nz * height + ny) * width + nx;
          if (mask[next]) continue;
          const float reached = cost + step_cost(rule, box.spacing_mm, image_hu[next], dz, dy, dx);
          if (reached < out[next] && reached <= most) {
            out[next] = reached;
            front.emplace(reached, next);
          }
        }
      }
    }
  };

  const auto voxels_within = [&](size_t axis) {
    const double centre = rule.start_mm[axis] / box.spacing_mm[axis] - static_cast<double>(box.origin[axis]);
    const double radius = rule.start_radius_mm / box.spacing_mm[axis] + 1;
    const double last = static_cast<double>(box.shape[axis]);
    return std::pair<int64_t, int64_t>{static_cast<int64_t>(std::clamp(centre - radius, 0.0, last)),
                                       static_cast<int64_t>(std::clamp(centre + radius + 1, 0.0, last))};
  };
  const auto [z0, z1] = voxels_within(0);
  const auto [y0, y1] = voxels_within(1);
  const auto [x0, x1] = voxels_within(2);
  for (int64_t z = z0; z < z1; ++z) {
    for (int64_t y = y0; y < y1; ++y) {
      for (int64_t x = x0; x < x1; ++x) {
        if (!mask[(z * box.shape[1] + y) * box.shape[2] + x]) continue;
        if (is_start(rule, box.position(0, z), box.position(1, y), box.position(2, x))) spread(z, y, x, 0.0f);
      }
    }
  }
  while (!front.empty()) {
    const auto [cost, at] = front.top();
    front.pop();
    if (cost > out[at]) continue;
    spread(at / (box.shape[1] * box.shape[2]), at / box.shape[2] % box.shape[1], at % box.shape[2], cost);
  }
}

}  // namespace segae
