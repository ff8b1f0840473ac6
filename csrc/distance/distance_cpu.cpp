#include <cmath>
#include <vector>

#include "distance/distance.h"
#include "parallel.h"

namespace segae {

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Distances along one line to its nearest seed, by a sweep each way.
void nearest_on_line(const uint8_t* seeds, int64_t n, double step, float* out) {
  double distance = std::numeric_limits<double>::infinity();
  for (int64_t i = 0; i < n; ++i) {
    distance = seeds[i] ? 0.0 : distance + step;
    out[i] = static_cast<float>(distance);
  }
  distance = std::numeric_limits<double>::infinity();
  for (int64_t i = n - 1; i >= 0; --i) {
    distance = seeds[i] ? 0.0 : distance + step;
    const float nearest = std::min(out[i], static_cast<float>(distance));
    out[i] = nearest * nearest;
  }
}

// The parabolas of one line that make up its lower envelope.
struct Envelope {
  std::vector<int64_t> vertex;
  std::vector<double> height, from;
  explicit Envelope(int64_t n)
      : vertex(static_cast<size_t>(n)), height(static_cast<size_t>(n)), from(static_cast<size_t>(n)) {}
};

// values[i] becomes min over j of values[j] + (step (i - j))^2.
void lower_envelope(float* values, int64_t n, double step, Envelope& envelope) {
  int64_t count = 0;
  const double weight = step * step;
  for (int64_t j = 0; j < n; ++j) {
    if (values[j] == kInfinity) continue;
    const double height = static_cast<double>(values[j]) / weight + static_cast<double>(j) * static_cast<double>(j);
    double from = -std::numeric_limits<double>::infinity();
    while (count > 0) {
      const size_t top = static_cast<size_t>(count - 1);
      from = (height - envelope.height[top]) / (2.0 * static_cast<double>(j - envelope.vertex[top]));
      if (from > envelope.from[top]) break;
      --count;
      from = -std::numeric_limits<double>::infinity();
    }
    const size_t top = static_cast<size_t>(count++);
    envelope.vertex[top] = j;
    envelope.height[top] = height;
    envelope.from[top] = from;
  }
  if (count == 0) return;
  int64_t piece = 0;
  for (int64_t i = 0; i < n; ++i) {
    while (piece + 1 < count && envelope.from[static_cast<size_t>(piece + 1)] < static_cast<double>(i)) ++piece;
    const size_t at = static_cast<size_t>(piece);
    const double j = static_cast<double>(envelope.vertex[at]);
    const double along = step * (static_cast<double>(i) - j);
    values[i] = static_cast<float>((envelope.height[at] - j * j) * weight + along * along);
  }
}

// Gathers a strided line, transforms it and puts it back.
void envelope_along(float* out, int64_t stride, int64_t n, double step, std::vector<float>& line, Envelope& envelope) {
  for (int64_t i = 0; i < n; ++i) line[static_cast<size_t>(i)] = out[i * stride];
  lower_envelope(line.data(), n, step, envelope);
  for (int64_t i = 0; i < n; ++i) out[i * stride] = line[static_cast<size_t>(i)];
}

}  // namespace

void squared_distance(const uint8_t* seeds, const Int3& shape, const Double3& spacing_mm, int threads, float* out) {
  const auto [depth, height, width] = shape;
  parallel_for(depth, threads, [&, height = height, width = width](int64_t z) {
    const int64_t slice = z * height * width;
    for (int64_t y = 0; y < height; ++y) {
      nearest_on_line(seeds + slice + y * width, width, spacing_mm[2], out + slice + y * width);
    }
    std::vector<float> line(static_cast<size_t>(height));
    Envelope envelope(height);
    for (int64_t x = 0; x < width; ++x) {
      envelope_along(out + slice + x, width, height, spacing_mm[1], line, envelope);
    }
  });
  parallel_for(height, threads, [&, depth = depth, height = height, width = width](int64_t y) {
    std::vector<float> line(static_cast<size_t>(depth));
    Envelope envelope(depth);
    for (int64_t x = 0; x < width; ++x) {
      envelope_along(out + y * width + x, height * width, depth, spacing_mm[0], line, envelope);
    }
  });
}

}  // namespace segae
