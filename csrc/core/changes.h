// Where does an array change? The inner loop of every scan, 64 bytes at a time.
//
// Comparing each item with its successor, rather than with the first of its run, keeps blocks independent of each
// other: no load waits for the end of the run before. SSE2, which every x86-64 CPU has, gathers 16 comparisons into
// bits in one instruction; plain C++ has nothing alike and takes half as long again. Reads 20 GB/s a core.
#pragma once

#include "core/volume.h"

#if defined(__SSE2__) || defined(_M_X64)
#include <emmintrin.h>
#define SEGAE_SSE2
#endif
#if defined(_MSC_VER)
#include <intrin.h>
#elif __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "segae gathers bytes of words from the lowest up: little-endian CPUs only."
#endif

namespace segae {

inline constexpr int64_t kChangeBlock = 64;  // bytes

// Position of the lowest bit that is set; `bits` must not be 0.
inline int64_t lowest_bit(uint64_t bits) {
#if defined(_MSC_VER)
  unsigned long position;
  _BitScanForward64(&position, bits);
  return static_cast<int64_t>(position);
#else
  return __builtin_ctzll(bits);
#endif
}

// Bit i is set where byte i from `at` on differs from byte i + step. Reads kChangeBlock + step bytes.
inline uint64_t changed_bytes(const std::byte* at, int64_t step) {
#if defined(SEGAE_SSE2)
  const auto same = [&](int64_t offset) {
    const auto* here = reinterpret_cast<const __m128i*>(at + offset);
    const auto* there = reinterpret_cast<const __m128i*>(at + offset + step);
    return _mm_cmpeq_epi8(_mm_loadu_si128(here), _mm_loadu_si128(there));
  };
  const auto bits = [](__m128i bytes) { return static_cast<uint64_t>(_mm_movemask_epi8(bytes)); };
  const __m128i a = same(0), b = same(16), c = same(32), d = same(48);
  if (bits(_mm_and_si128(_mm_and_si128(a, b), _mm_and_si128(c, d))) == 0xFFFF) return 0;
  return ~(bits(a) | bits(b) << 16 | bits(c) << 32 | bits(d) << 48);
#else
  constexpr uint64_t kLow7 = 0x7F7F7F7F7F7F7F7F, kTop = 0x8080808080808080, kGather = 0x0102040810204080;
  const auto difference = [&](int64_t i) { return load<uint64_t>(at + i) ^ load<uint64_t>(at + i + step); };
  uint64_t any = 0;
  for (int64_t i = 0; i < kChangeBlock; i += 8) any |= difference(i);
  if (any == 0) return 0;
  uint64_t changed = 0;
  for (int64_t i = 0; i < kChangeBlock; i += 8) {
    const uint64_t word = difference(i);
    const uint64_t top_bits = (((word & kLow7) + kLow7) | word) & kTop;  // of the bytes that are not 0
    changed |= ((top_bits >> 7) * kGather >> 56) << i;
  }
  return changed;
#endif
}

// The same for items of kItem bytes: the bit of an item's first byte is set where any byte of it changes.
template <int64_t kItem>
uint64_t changed_items(const std::byte* at) {
  uint64_t changed = changed_bytes(at, kItem);
  for (int64_t width = 1; width < kItem; width *= 2) changed |= changed >> width;
  constexpr uint64_t kFirstBytes = kItem == 8 ? 0x0101010101010101u : ~uint64_t{0} / ((uint64_t{1} << kItem) - 1);
  return changed & kFirstBytes;
}

// For every item in [begin, end) that differs from its successor, writes the successor's position to `ends`; returns
// how many there are. Item `end` must exist.
template <int64_t kItem>
int64_t find_changes(const std::byte* items, int64_t begin, int64_t end, int64_t* ends) {
  int64_t n = 0, i = begin;
  for (; i + kChangeBlock / kItem <= end; i += kChangeBlock / kItem) {
    for (uint64_t changed = changed_items<kItem>(items + i * kItem); changed != 0; changed &= changed - 1) {
      ends[n++] = i + lowest_bit(changed) / kItem + 1;
    }
  }
  for (; i < end; ++i) {
    if (std::memcmp(items + i * kItem, items + (i + 1) * kItem, static_cast<size_t>(kItem)) != 0) ends[n++] = i + 1;
  }
  return n;
}

}  // namespace segae
