// The formulas of levels.h for one voxel, shared by the CPU loop and the CUDA kernel.
#pragma once

#include <math.h>

#include "edit/levels.h"

namespace segae {

inline constexpr double kTie = 1.0 + 1e-6;

// What a formula needs of a rule; `balls` and `slices` lie in the memory of the device that evaluates it.
struct LevelTerms {
  Measure measure;
  bool add, remove;
  double bias, most_push_mm, inset_mm;
  Double3 normal;
  double start_mm;
  const Ball* balls;
  int64_t ball_count;
  const float* slices;
  int axis;
};

SEGAE_HD inline float no_level() { return HUGE_VALF; }

SEGAE_HD inline bool may_flip(const LevelTerms& rule, bool in_mask, bool has_other, bool in_other) {
  return in_mask ? rule.remove && !(has_other && in_other) : rule.add && (!has_other || in_other);
}

SEGAE_HD inline double ball_level(const LevelTerms& rule, double z, double y, double x) {
  double nearest = HUGE_VAL;
  for (int64_t i = 0; i < rule.ball_count; ++i) {
    const Ball& ball = rule.balls[i];
    const double dz = z - ball.centre_mm[0], dy = y - ball.centre_mm[1], dx = x - ball.centre_mm[2];
    const double level = sqrt(dz * dz + dy * dy + dx * dx) / ball.weight;
    if (level < nearest) nearest = level;
  }
  return nearest;
}

// `index` is the voxel of the box, (z, y, x) its place in mm, `squared` its signed squared distance.
SEGAE_HD inline float level_at(const LevelTerms& rule, bool in_mask, double z, double y, double x, int64_t index,
                               float squared, float noise) {
  double level = 0;
  switch (rule.measure) {
    case Measure::kDistance:
      level = sqrt(fabs(static_cast<double>(squared))) + static_cast<double>(noise);
      break;
    case Measure::kField: {
      const double push = rule.bias + static_cast<double>(noise);
      if (in_mask ? !(push < 0) : !(push > 0)) return no_level();
      const double distance = sqrt(fabs(static_cast<double>(squared))) - rule.inset_mm;
      level = distance / fmin(fabs(push), rule.most_push_mm);
      break;
    }
    case Measure::kPlane:
      level = rule.normal[0] * z + rule.normal[1] * y + rule.normal[2] * x - rule.start_mm + static_cast<double>(noise);
      break;
    case Measure::kBalls: {
      const double swell = 1.0 + static_cast<double>(noise);
      level = ball_level(rule, z, y, x) * (swell > 0.5 ? swell : 0.5);
      break;
    }
    case Measure::kSlices:
      level = static_cast<double>(rule.slices[index]);
      break;
  }
  return static_cast<float>(level > 0 ? level : 0);
}

}  // namespace segae
