#pragma once

#include "sample/sample_formula.h"

namespace segae {

// Filter taps of a resampling along one axis: output i = sum_k weight[i * taps + k] * source[first[i] + k].
struct FilterBank {
  int64_t taps = 0;
  std::vector<int64_t> first;  // first source pixel, -1 where the output lies outside the source
  std::vector<int64_t> count;
  std::vector<double> weight;
  int64_t begin = 0, end = 0;  // source pixels that any output needs
};

FilterBank make_filter_bank(const FilterRule& rule, int64_t size);

// One channel of one plane. `source` is the array that the channel reads, `label` what counts as mask in it.
void sample_plane_cpu(const VolumeView& source, const Channel& channel, const SampleSpec& spec, int64_t index,
                      int64_t label, const FilterBank& rows, const FilterBank& columns, float* out);

}  // namespace segae
