// The sizes of small blocks that the pool keeps: a request takes the least that holds it.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace dg {

// Size classes: steps of 64 bytes to 1 KiB, then four per power of two to 1 MiB; one for all that is larger.
constexpr int kFirstQuarter = 17, kFirstLarge = 57;
constexpr size_t kLargeBytes = size_t{1} << 20;  // above it blocks are pieces of mapped memory
constexpr size_t kMaxRequest = size_t{1} << 44;

constexpr int class_of(size_t bytes) {
  if (bytes <= 1024) return bytes ? static_cast<int>((bytes + 63) / 64) : 1;
  const uint64_t last = bytes - 1;
  const int octave = 63 - std::countl_zero(last);
  return octave < 20 ? kFirstQuarter + (octave - 10) * 4 + static_cast<int>(last >> (octave - 2) & 3) : kFirstLarge;
}

constexpr size_t capacity_of(int size_class) {
  if (size_class < kFirstQuarter) return static_cast<size_t>(size_class) * 64;
  const int k = size_class - kFirstQuarter;
  return static_cast<size_t>(5 + k % 4) << (8 + k / 4);
}
static_assert(class_of(1024) == 16 && class_of(1025) == 17 && capacity_of(17) == 1280);
static_assert(class_of(1 << 20) == kFirstLarge - 1 && capacity_of(kFirstLarge - 1) == 1 << 20);
static_assert(class_of(kLargeBytes + 1) == kFirstLarge && class_of(kMaxRequest) == kFirstLarge);

}  // namespace dg
