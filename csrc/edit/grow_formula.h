// The cost of a step of grow.h, shared by the CPU loop and the CUDA kernel.
#pragma once

#include <math.h>

#include "edit/grow.h"

namespace segae {

// Sums of these are compared, so they are floats from the start: one rounding on every device.
SEGAE_HD inline float step_cost(const GrowRule& rule, const Double3& spacing_mm, float hu, int dz, int dy, int dx) {
  const double z = dz * spacing_mm[0], y = dy * spacing_mm[1], x = dx * spacing_mm[2];
  const double off = (static_cast<double>(hu) - rule.centre_hu) / rule.width_hu;
  const double dear = 1.0 + off * off;
  return static_cast<float>(sqrt(z * z + y * y + x * x) * (dear < 16.0 ? dear : 16.0));
}

SEGAE_HD inline bool is_start(const GrowRule& rule, double z, double y, double x) {
  const double dz = z - rule.start_mm[0], dy = y - rule.start_mm[1], dx = x - rule.start_mm[2];
  return dz * dz + dy * dy + dx * dx <= rule.start_radius_mm * rule.start_radius_mm;
}

}  // namespace segae
