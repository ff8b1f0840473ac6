#include "sample/sample_cpu.h"

#include <algorithm>
#include <cmath>

namespace segae {

FilterBank make_filter_bank(const FilterRule& rule, int64_t size) {
  FilterBank bank;
  bank.taps = rule.most_taps();
  bank.first.assign(static_cast<size_t>(size), -1);
  bank.count.assign(static_cast<size_t>(size), 0);
  bank.weight.assign(static_cast<size_t>(size * bank.taps), 0.0);
  bank.begin = rule.high;
  bank.end = rule.low;
  for (int64_t i = 0; i < size; ++i) {
    int64_t& first = bank.first[static_cast<size_t>(i)];
    const int64_t count = write_taps(rule, i, &first, bank.weight.data() + i * bank.taps);
    if (count == 0) continue;
    bank.count[static_cast<size_t>(i)] = count;
    bank.begin = std::min(bank.begin, first);
    bank.end = std::max(bank.end, first + count);
  }
  return bank;
}

namespace {

// Reads a row of the crop as numbers.
template <class T, class Convert>
void read_row(const std::byte* row, int64_t stride, int64_t n, const Convert& convert, float* out) {
  if (stride == static_cast<int64_t>(sizeof(T))) {
    for (int64_t i = 0; i < n; ++i) out[i] = convert(load<T>(row + i * static_cast<int64_t>(sizeof(T))));
  } else {
    for (int64_t i = 0; i < n; ++i) out[i] = convert(load<T>(row + i * stride));
  }
}

// sums[x] = sum over k of weight[k] * rows[k * width + x], a few columns at a time so that their sums stay in
// registers.
void add_rows(const float* rows, int64_t width, const double* weight, int64_t count, double* sums) {
  constexpr int64_t kBlock = 8;
  int64_t x = 0;
  for (; x + kBlock <= width; x += kBlock) {
    double block[kBlock] = {};
    for (int64_t k = 0; k < count; ++k) {
      for (int64_t i = 0; i < kBlock; ++i) block[i] += weight[k] * static_cast<double>(rows[k * width + x + i]);
    }
    std::copy(block, block + kBlock, sums + x);
  }
  for (; x < width; ++x) {
    double sum = 0;
    for (int64_t k = 0; k < count; ++k) sum += weight[k] * static_cast<double>(rows[k * width + x]);
    sums[x] = sum;
  }
}

// The two passes. Rows of the crop are read once, in order, and added to the output rows that need them.
template <class T, class Convert>
void resample(const std::byte* plane, int64_t row_stride, int64_t column_stride, const FilterBank& rows,
              const FilterBank& columns, const SampleSpec& spec, const Channel& channel, float fill,
              const Convert& convert, float* out) {
  const int64_t width = std::max<int64_t>(columns.end - columns.begin, 0);
  const int64_t depth = std::max<int64_t>(rows.end - rows.begin, 0);
  const float gain = static_cast<float>(channel.gain);
  const float bias = static_cast<float>(channel.bias);
  std::vector<float> crop(static_cast<size_t>(width * depth));
  for (int64_t row = 0; row < depth; ++row) {
    read_row<T>(plane + (rows.begin + row) * row_stride + columns.begin * column_stride, column_stride, width, convert,
                crop.data() + row * width);
  }
  std::vector<double> sums(static_cast<size_t>(width));
  for (int64_t y = 0; y < spec.height; ++y) {
    float* line = out + y * spec.width;
    const int64_t first_row = rows.first[static_cast<size_t>(y)];
    if (first_row < 0) {
      std::fill(line, line + spec.width, gain * fill + bias);
      continue;
    }
    add_rows(crop.data() + (first_row - rows.begin) * width, width, rows.weight.data() + y * rows.taps,
             rows.count[static_cast<size_t>(y)], sums.data());
    for (int64_t x = 0; x < spec.width; ++x) {
      const int64_t first_column = columns.first[static_cast<size_t>(x)];
      if (first_column < 0) {
        line[x] = gain * fill + bias;
        continue;
      }
      const double* weight = columns.weight.data() + x * columns.taps;
      const double* from = sums.data() + (first_column - columns.begin);
      double total = 0;
      for (int64_t k = 0; k < columns.count[static_cast<size_t>(x)]; ++k) total += weight[k] * from[k];
      line[x] = gain * static_cast<float>(total) + bias;
    }
  }
}

}  // namespace

void sample_plane_cpu(const VolumeView& source, const Channel& channel, const SampleSpec& spec, int64_t index,
                      int64_t label, const FilterBank& rows, const FilterBank& columns, float* out) {
  const size_t axis = static_cast<size_t>(spec.axis);
  const size_t row_axis = plane_axes(spec.axis).row, column_axis = plane_axes(spec.axis).column;
  const Window window(channel, spec);
  const float fill = channel.is_mask ? 0.0f : window.fill();
  if (index < 0 || index >= source.shape[axis]) {
    std::fill(out, out + spec.height * spec.width,
              static_cast<float>(channel.gain) * fill + static_cast<float>(channel.bias));
    return;
  }
  const std::byte* plane = source.data + index * source.stride[axis];
  visit(source.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto run = [&](const auto& convert) {
      resample<T>(plane, source.stride[row_axis], source.stride[column_axis], rows, columns, spec, channel, fill,
                  convert, out);
    };
    if (channel.is_mask) {
      run(Membership<T>(label));
    } else {
      run(window);
    }
  });
}

}  // namespace segae
