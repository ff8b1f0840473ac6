// Runs every kernel of csrc/distance and csrc/perturb on made-up input and prints a hash of the bytes that it wrote, so
// that compilers, optimisation levels and machines can be compared. Usage: kernels THREADS
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "distance/distance.h"
#include "edit/blur.h"
#include "edit/grow.h"
#include "edit/levels.h"
#include "edit/slices.h"
#include "box/move.h"
#include "edit/survey.h"
#include "edit/warp.h"

namespace segae {

namespace {

using Bytes = std::vector<uint8_t>;
using Floats = std::vector<float>;

const Box kBox{{3, 5, 2}, {29, 47, 61}, {2.5, 0.9765625, 0.7}};
const size_t kVoxels = static_cast<size_t>(kBox.voxels());

template <class T>
void report(const char* name, const std::vector<T>& values) {
  uint64_t hash = 0xCBF29CE484222325u;  // FNV-1a
  const auto* bytes = reinterpret_cast<const unsigned char*>(values.data());
  for (size_t i = 0; i < values.size() * sizeof(T); ++i) hash = (hash ^ bytes[i]) * 0x100000001B3u;
  std::printf("%-24s %016" PRIx64 "\n", name, hash);
}

// A lobed blob, its border roughened by a hash; `shift` voxels along x from the middle.
Bytes blob(int64_t shift) {
  Bytes mask(kVoxels);
  for (int64_t z = 0, i = 0; z < kBox.shape[0]; ++z) {
    for (int64_t y = 0; y < kBox.shape[1]; ++y) {
      for (int64_t x = 0; x < kBox.shape[2]; ++x, ++i) {
        const int64_t dz = 5 * (z - 14), dy = 2 * (y - 23), dx = 2 * (x - 30 - shift);
        const int64_t rough = static_cast<int64_t>(scramble(static_cast<uint64_t>(i)) >> 53);
        mask[static_cast<size_t>(i)] = dz * dz + dy * dy + dx * dx + dy * dx / 2 < 900 + rough / 4;
      }
    }
  }
  return mask;
}

Floats image(const Bytes& mask) {
  Floats hu(kVoxels);
  for (size_t i = 0; i < kVoxels; ++i) {
    hu[i] = 20.0f * control_value(7, 0, static_cast<int64_t>(i), 0, 0) + (mask[i] ? 60.0f : 20.0f);
  }
  return hu;
}

void run_levels(const Bytes& mask, const Bytes& other, const Floats& squared, const Floats& field, int threads) {
  const Noise isotropic{11, {9.3, 9.3, 9.3}, 0.7}, by_slice{12, {0.0, 6.1, 6.1}, 0.6};
  std::vector<std::pair<const char*, LevelRule>> rules;
  LevelRule rule{Measure::kDistance, true, true, 9.0};
  rule.noise = {isotropic};
  rules.emplace_back("distance", rule);
  rule = {Measure::kField, true, true, 2.0, 0.31, 4.4, 0.35};
  rule.noise = {isotropic, by_slice};
  rules.emplace_back("field", rule);
  rule = {Measure::kPlane, false, true, 30.0};
  rule.normal = {0.36, 0.48, 0.8}, rule.start_mm = 17.1, rule.noise = {by_slice};
  rules.emplace_back("plane", rule);
  rule = {Measure::kBalls, true, true, 20.0};
  rule.balls = {{{40.1, 27.3, 20.9}, 1.0}, {{52.7, 31.9, 33.3}, 0.37}}, rule.noise = {isotropic};
  rules.emplace_back("balls", rule);
  rule = {Measure::kSlices, false, true, 29.0};
  for (int i = 0; i < 29; ++i) rule.slices.push_back(static_cast<float>((i * 17) % 29));
  rules.emplace_back("slices", rule);
  for (const auto& [name, one] : rules) {
    Floats level(kVoxels);
    const bool with_field = one.measure == Measure::kField;
    levels(kBox, mask.data(), nullptr, squared.data(), with_field ? field.data() : nullptr, one, threads, level.data());
    report((std::string("levels ") + name).c_str(), level);
    Bytes flipped(kVoxels);
    flip(kBox, mask.data(), level.data(), one.most / 3.0, mask.data(), threads, flipped.data());
    report((std::string("flip ") + name).c_str(), flipped);
    std::vector<int64_t> counts(4 * 512);
    level_histogram(kBox, mask.data(), level.data(), other.data(), one.most, 512, threads, counts.data());
    report((std::string("histogram ") + name).c_str(), counts);
  }
}

void run_warps(const Bytes& mask, int threads) {
  const Double3 none{};
  const std::array<double, 9> as_is{1, 0, 0, 0, 1, 0, 0, 0, 1}, turned{0.96, -0.28, 0, 0.28, 0.96, 0, 0, 0, 1.1};
  const Noise still{0, {}, 0.0};
  const std::pair<const char*, Map> maps[] = {
      {"warp shift", {none, none, as_is, {1.3, -2.7, 3.9}, still}},
      {"warp turn", {none, none, turned, {6.1, -3.3, 0.7}, still}},
      {"warp cells", {{7.1, 0.0, 4.3}, {1.1, 0.0, 2.9}, as_is, none, still}},
      {"warp bend", {none, none, as_is, none, {21, {17.0, 17.0, 17.0}, 5.5}}},
  };
  for (const auto& [name, map] : maps) {
    Bytes result(kVoxels);
    warp(kBox, mask.data(), kBox, map, mask.data(), 1, threads, result.data());
    report(name, result);
  }
}

}  // namespace

void run(int threads) {
  const Bytes mask = blob(0), other = blob(4);
  const Floats hu = image(mask);
  Floats squared(kVoxels), values(kVoxels), arrivals(kVoxels);
  const std::pair<const char*, Sides> sides[] = {
      {"distance outside", Sides::kOutside}, {"distance inside", Sides::kInside}, {"distance both", Sides::kBoth}};
  for (const auto& [name, side] : sides) {
    signed_squared_distance(mask.data(), kBox.shape, kBox.spacing_mm, side, threads, squared.data());
    report(name, squared);
  }
  roughness(kBox, squared.data(), 3.3, threads, values.data());
  report("roughness", values);
  run_levels(mask, other, squared, values, threads);
  run_warps(mask, threads);
  values = hu;
  blur(kBox, 1.9, threads, values.data());
  report("blur", values);
  arrival(kBox, mask.data(), values.data(), {{42.5, 27.0, 31.0}, 12.0, 45.0, 25.0, 30.0}, arrivals.data());
  report("arrival", arrivals);
  const int64_t kept[] = {8, 11, 15, 16, 20};
  Bytes result(kVoxels);
  interpolate_slices(kBox, mask.data(), 0, kept, 5, threads, result.data());
  report("interpolate slices", result);
  const std::array<int64_t, 3> sums = image_moments(hu.data(), mask.data(), kBox.voxels(), threads);
  report("image moments", std::vector<int64_t>(sums.begin(), sums.end()));
}

}  // namespace segae

int main(int count, char** arguments) {
  segae::run(count > 1 ? std::atoi(arguments[1]) : 1);
  return 0;
}
