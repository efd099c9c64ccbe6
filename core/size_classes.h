// The sizes of blocks that the pool keeps: a request takes the least that holds it.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace dg {

// Size classes: steps of 64 bytes to 1 KiB, then four per power of two to 1 MiB, then eight.
constexpr int kFirstQuarter = 17, kFirstLarge = 57, kClasses = 249;
constexpr size_t kLargeBytes = size_t{1} << 20;  // from here on blocks are mapped one by one
constexpr size_t kMaxRequest = size_t{1} << 44;

constexpr int class_of(size_t bytes) {
  if (bytes <= 1024) return bytes ? static_cast<int>((bytes + 63) / 64) : 1;
  const uint64_t last = bytes - 1;
  const int octave = 63 - std::countl_zero(last);
  if (octave < 20) return kFirstQuarter + (octave - 10) * 4 + static_cast<int>(last >> (octave - 2) & 3);
  return kFirstLarge + (octave - 20) * 8 + static_cast<int>(last >> (octave - 3) & 7);
}

constexpr size_t capacity_of(int size_class) {
  if (size_class < kFirstQuarter) return static_cast<size_t>(size_class) * 64;
  if (size_class < kFirstLarge) {
    const int k = size_class - kFirstQuarter;
    return static_cast<size_t>(5 + k % 4) << (8 + k / 4);
  }
  const int k = size_class - kFirstLarge;
  return static_cast<size_t>(9 + k % 8) << (17 + k / 8);
}
static_assert(class_of(1024) == 16 && class_of(1025) == 17 && capacity_of(17) == 1280);
static_assert(class_of(1 << 20) == kFirstLarge - 1 && capacity_of(kFirstLarge - 1) == 1 << 20);
static_assert(class_of((1 << 20) + 1) == kFirstLarge && capacity_of(class_of(kMaxRequest)) == kMaxRequest);
static_assert(class_of(kMaxRequest) < kClasses);

}  // namespace dg
