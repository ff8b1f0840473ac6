// The formulas of sample.h for one tap and one voxel, shared by the CPU loop and the CUDA kernel.
#pragma once

#include <math.h>

#include "sample/sample.h"

namespace segae {

// Resampling along one axis: `size` outputs over [from, from + size * scale) of a source that exists in [low, high).
struct FilterRule {
  double from, scale, support;
  int64_t low, high;

  int64_t most_taps() const {
    const int64_t within = static_cast<int64_t>(ceil(support)) * 2 + 1;
    return within < high - low ? within : high - low;
  }
};

inline FilterRule filter_rule(double from, double to, int64_t size, int64_t low, int64_t high) {
  const double scale = (to - from) / static_cast<double>(size);
  return {from, scale, scale > 1.0 ? scale : 1.0, low, high};
}

// The rule along one axis of a plane. Where the filter must stop at the crop, the crop's whole voxels are all that
// exists.
inline FilterRule filter_rule_of_crop(double from, double to, int64_t size, int64_t extent, bool stop_at_crop) {
  int64_t low = 0, high = extent;
  if (stop_at_crop) {
    const int64_t first = static_cast<int64_t>(from), last = static_cast<int64_t>(to);
    low = first > low ? first : low;
    high = last < high ? last : high;
    high = high > low ? high : low;
  }
  return filter_rule(from, to, size, low, high);
}

// Writes the weights of output i; returns their number, 0 where it lies outside the source. `first` is the source pixel
// of the first one.
SEGAE_HD inline int64_t write_taps(const FilterRule& rule, int64_t i, int64_t* first, double* weight) {
  const double centre = rule.from + (static_cast<double>(i) + 0.5) * rule.scale;
  if (centre < static_cast<double>(rule.low) || centre >= static_cast<double>(rule.high)) return 0;
  // Source pixels whose centres lie within the support, rounded as PIL rounds them. The position is taken relative to
  // `low`, which is exact, so that a crop resizes as the same pixels would as an image of their own.
  const double local = centre - static_cast<double>(rule.low);
  const int64_t lowest = static_cast<int64_t>(local - rule.support + 0.5);
  const int64_t begin = rule.low + (lowest > 0 ? lowest : 0);
  const int64_t highest = rule.low + static_cast<int64_t>(local + rule.support + 0.5);
  const int64_t end = highest < rule.high ? highest : rule.high;
  double total = 0;
  for (int64_t j = begin; j < end; ++j) {
    const double near = 1.0 - fabs(static_cast<double>(j) + 0.5 - centre) / rule.support;
    weight[j - begin] = near > 0.0 ? near : 0.0;
    total += weight[j - begin];
  }
  if (!(total > 0)) return 0;
  for (int64_t j = 0; j < end - begin; ++j) weight[j] /= total;
  *first = begin;
  return end - begin;
}

// Stored HU value -> [0, 1] within the channel's window.
class Window {
 public:
  Window(const Channel& channel, const SampleSpec& spec)
      : slope_(static_cast<float>(spec.slope)),
        intercept_(static_cast<float>(spec.intercept)),
        low_(static_cast<float>(channel.low)),
        high_(static_cast<float>(channel.high)),
        range_(high_ - low_),
        fill_(apply(static_cast<float>(spec.fill_hu))) {}

  float fill() const { return fill_; }

  template <class T>
  SEGAE_HD float operator()(T stored) const {
    const float value = stored_to_float(stored);
    if constexpr (is_floating<T>) {
      if (!(fabsf(value) <= std::numeric_limits<float>::max())) return fill_;
    }
    return apply(value * slope_ + intercept_);
  }

 private:
  template <class T>
  SEGAE_HD static float stored_to_float(T stored) {
    if constexpr (std::is_same_v<T, Half>) {
      return to_float(stored);
    } else {
      return static_cast<float>(stored);
    }
  }
  SEGAE_HD float apply(float hu) const {
    const float above = hu < low_ ? low_ : hu;
    return ((high_ < above ? high_ : above) - low_) / range_;
  }

  float slope_, intercept_, low_, high_, range_, fill_;
};

// The same for a mask: 1 where the voxel has the label.
template <class T>
class Membership {
 public:
  SEGAE_HD explicit Membership(int64_t label) : matches_(label) {}
  SEGAE_HD float operator()(T value) const { return matches_(value) ? 1.0f : 0.0f; }

 private:
  Matches<T> matches_;
};

}  // namespace segae
