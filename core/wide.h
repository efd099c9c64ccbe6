// Functions written twice, for 64-byte vectors too: DG_WIDE in front of one that uses them, called where
// `wide_vectors`.
#pragma once

#include <immintrin.h>

#define DG_WIDE __attribute__((target("avx512f,avx512bw,popcnt")))

namespace dg {

inline bool wide_vectors() {
  static const bool known = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
  return known;
}

}  // namespace dg
