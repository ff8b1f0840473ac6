#include "sample/sample_cpu.h"

#include <algorithm>
#include <cmath>

namespace segae {

FilterBank make_filter_bank(double from, double to, int64_t size, int64_t low, int64_t high) {
  FilterBank bank;
  const double scale = (to - from) / static_cast<double>(size);
  const double support = std::max(scale, 1.0);
  bank.taps = std::min(static_cast<int64_t>(std::ceil(support)) * 2 + 1, high - low);
  bank.first.assign(static_cast<size_t>(size), -1);
  bank.count.assign(static_cast<size_t>(size), 0);
  bank.weight.assign(static_cast<size_t>(size * bank.taps), 0.0);
  bank.begin = high;
  bank.end = low;
  for (int64_t i = 0; i < size; ++i) {
    const double centre = from + (static_cast<double>(i) + 0.5) * scale;
    if (centre < static_cast<double>(low) || centre >= static_cast<double>(high)) continue;
    // Source pixels whose centres lie within the support, rounded as PIL rounds them. The position is taken
    // relative to `low`, which is exact, so that a crop resizes as the same pixels would as an image of their own.
    const double local = centre - static_cast<double>(low);
    const int64_t begin = low + std::max<int64_t>(static_cast<int64_t>(local - support + 0.5), 0);
    const int64_t end = std::min(low + static_cast<int64_t>(local + support + 0.5), high);
    double* weight = bank.weight.data() + i * bank.taps;
    double total = 0;
    for (int64_t j = begin; j < end; ++j) {
      const double distance = std::abs(static_cast<double>(j) + 0.5 - centre) / support;
      weight[j - begin] = std::max(1.0 - distance, 0.0);
      total += weight[j - begin];
    }
    if (total <= 0) continue;
    for (int64_t j = 0; j < end - begin; ++j) weight[j] /= total;
    bank.first[static_cast<size_t>(i)] = begin;
    bank.count[static_cast<size_t>(i)] = end - begin;
    bank.begin = std::min(bank.begin, begin);
    bank.end = std::max(bank.end, end);
  }
  return bank;
}

namespace {

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
  float operator()(T stored) const {
    const float value = stored_to_float(stored);
    if constexpr (is_floating<T>) {
      if (!std::isfinite(value)) return fill_;
    }
    return apply(value * slope_ + intercept_);
  }

 private:
  template <class T>
  static float stored_to_float(T stored) {
    if constexpr (std::is_same_v<T, Half>) {
      return to_float(stored);
    } else {
      return static_cast<float>(stored);
    }
  }
  float apply(float hu) const { return (std::min(std::max(hu, low_), high_) - low_) / range_; }

  float slope_, intercept_, low_, high_, range_, fill_;
};

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
  const size_t row_axis = axis == 0 ? 1 : 0;
  const size_t column_axis = axis == 2 ? 1 : 2;
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
      const Matches<T> matches(label);
      run([&](T value) { return matches(value) ? 1.0f : 0.0f; });
    } else {
      run(window);
    }
  });
}

}  // namespace segae
