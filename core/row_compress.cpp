#include "row_compress.h"

#include <algorithm>
#include <cstring>

#include "wide.h"

namespace dg {
namespace {

constexpr int64_t kPolled = 65536;  // elements between two looks at the stop flag

// How far a row has been read, and how much of it was chosen.
struct Progress {
  int64_t read = 0, put = 0;
};

// Which of sixteen bools are true.
inline uint32_t sixteen(const uint8_t* mask) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(mask));
  return ~static_cast<uint32_t>(_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_setzero_si128()))) & 0xffff;
}

// Whole vectors: the places behind those that are chosen are written, too, as long as there are any.
DG_WIDE Progress put_wide(const uint32_t* from, const uint8_t* mask, int64_t end, uint32_t* to, int64_t room,
                          Progress at) {
  for (; at.read + 16 <= end && at.put + 16 <= room; at.read += 16) {
    const auto chosen = static_cast<__mmask16>(sixteen(mask + at.read));
    _mm512_storeu_si512(to + at.put, _mm512_maskz_compress_epi32(chosen, _mm512_loadu_si512(from + at.read)));
    at.put += __builtin_popcount(chosen);
  }
  for (; at.read + 16 <= end; at.read += 16) {  // little room: few are to come
    const uint32_t chosen = sixteen(mask + at.read);
    if (!chosen) continue;
    const int count = __builtin_popcount(chosen);
    if (at.put + count > room) break;
    const __m512i values =
        _mm512_maskz_compress_epi32(static_cast<__mmask16>(chosen), _mm512_loadu_si512(from + at.read));
    _mm512_mask_storeu_epi32(to + at.put, static_cast<__mmask16>((1u << count) - 1), values);
    at.put += count;
  }
  return at;
}

DG_WIDE Progress put_wide(const uint64_t* from, const uint8_t* mask, int64_t end, uint64_t* to, int64_t room,
                          Progress at) {
  for (; at.read + 16 <= end && at.put + 16 <= room; at.read += 16) {
    uint32_t chosen = sixteen(mask + at.read);
    for (int64_t half = 0; half < 16; half += 8, chosen >>= 8) {
      const auto eight = static_cast<__mmask8>(chosen);
      const __m512i values = _mm512_loadu_si512(from + at.read + half);
      _mm512_storeu_si512(to + at.put, _mm512_maskz_compress_epi64(eight, values));
      at.put += __builtin_popcount(eight);
    }
  }
  for (; at.read + 8 <= end; at.read += 8) {  // little room: few are to come
    uint64_t bytes;
    std::memcpy(&bytes, mask + at.read, 8);
    if (!bytes) continue;
    const __m128i eight = _mm_cvtsi64_si128(static_cast<int64_t>(bytes));
    const uint32_t chosen =
        ~static_cast<uint32_t>(_mm_movemask_epi8(_mm_cmpeq_epi8(eight, _mm_setzero_si128()))) & 0xff;
    const int count = __builtin_popcount(chosen);
    if (at.put + count > room) break;
    const __m512i values =
        _mm512_maskz_compress_epi64(static_cast<__mmask8>(chosen), _mm512_loadu_si512(from + at.read));
    _mm512_mask_storeu_epi64(to + at.put, static_cast<__mmask8>((1u << count) - 1), values);
    at.put += count;
  }
  return at;
}

template <class T>
void put_some(RowBlock<const T> x, RowBlock<const uint8_t> mask, RowBlock<T> out, int64_t end, Progress& at) {
  if constexpr (sizeof(T) >= 4) {
    if (wide_vectors() && x.stride == 1 && mask.stride == 1 && out.stride == 1)
      at = put_wide(x.data, mask.data, end, out.data, out.length, at);
  }
  for (; at.read < end && at.put < out.length; ++at.read) {  // without a branch nobody can predict
    out.data[at.put * out.stride] = x.data[at.read * x.stride];
    at.put += mask.data[at.read * mask.stride] != 0;
  }
}

template <class T>
void compress(void** args, const int64_t* sizes, int64_t begin, int64_t end, void*, int64_t* status) {
  const RowWalk walk(sizes, 3, status);
  walk.blocks<const T, const uint8_t, T>(
      args, begin, end, [&](int64_t, RowBlock<const T> x, RowBlock<const uint8_t> mask, RowBlock<T> out) {
        Progress at;
        while (at.read < x.length && at.put < out.length && !walk.stopped())
          put_some(x, mask, out, std::min(x.length, at.read + kPolled), at);
      });
}

constexpr int64_t kBlock = 1024;  // bools whose positions are found before they are subtracted

// The positions of the true ones among a block of bools from `first` on, and how many: up to 7 places more are written.
DG_WIDE int64_t places_wide(const uint8_t* mask, int64_t first, int64_t count, int64_t* to) {
  __m512i places = _mm512_add_epi64(_mm512_set1_epi64(first), _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0));
  int64_t put = 0;
  for (int64_t i = 0; i < count; i += 16) {
    uint32_t chosen = sixteen(mask + first + i);
    for (int64_t half = 0; half < 16; half += 8, chosen >>= 8) {
      const auto eight = static_cast<__mmask8>(chosen);
      _mm512_storeu_si512(to + put, _mm512_maskz_compress_epi64(eight, places));
      put += __builtin_popcount(eight);
      places = _mm512_add_epi64(places, _mm512_set1_epi64(8));
    }
  }
  return put;
}

int64_t places_among(RowBlock<const uint8_t> mask, int64_t first, int64_t count, int64_t* to) {
  if (wide_vectors() && mask.stride == 1 && count % 16 == 0) return places_wide(mask.data, first, count, to);
  int64_t put = 0;
  for (int64_t i = first; i < first + count; ++i) {
    to[put] = i;
    put += mask.data[i * mask.stride] != 0;
  }
  return put;
}

// The differences of neighbours.
DG_WIDE void put_steps_wide(const int64_t* from, int64_t count, int64_t* to) {
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m512i here = _mm512_loadu_si512(from + i), next = _mm512_loadu_si512(from + i + 1);
    _mm512_storeu_si512(to + i, _mm512_sub_epi64(next, here));
  }
  for (; i < count; ++i) to[i] = from[i + 1] - from[i];
}

void put_steps(const int64_t* from, int64_t count, RowBlock<int64_t> out, int64_t start) {
  if (wide_vectors() && out.stride == 1) return put_steps_wide(from, count, out.data + start);
  for (int64_t i = 0; i < count; ++i) out.data[(start + i) * out.stride] = from[i + 1] - from[i];
}

void span_row(const RowWalk& walk, RowBlock<const uint8_t> mask, RowBlock<int64_t> out) {
  int64_t places[1 + kBlock + 8];  // in front the last one of the blocks before
  bool any = false;
  for (int64_t i = 0, k = 0; i < mask.length && !walk.stopped(); i += kBlock) {
    const int64_t found = places_among(mask, i, std::min(kBlock, mask.length - i), places + 1);
    if (!found) continue;
    const int64_t steps = std::min(found - !any, out.length - k);
    put_steps(any ? places : places + 1, steps, out, k);
    k += steps;
    places[0] = places[found];
    any = true;
  }
  if (any && out.length) out.data[(out.length - 1) * out.stride] = mask.length - places[0];
}

void spans(void** args, const int64_t* sizes, int64_t begin, int64_t end, void*, int64_t* status) {
  const RowWalk walk(sizes, 2, status);
  walk.blocks<const uint8_t, int64_t>(
      args, begin, end,
      [&](int64_t, RowBlock<const uint8_t> mask, RowBlock<int64_t> out) { span_row(walk, mask, out); });
}

}  // namespace

void add_compressions(RowTable& table) {
  table["compress_8"] = reinterpret_cast<void*>(compress<uint8_t>);
  table["compress_16"] = reinterpret_cast<void*>(compress<uint16_t>);
  table["compress_32"] = reinterpret_cast<void*>(compress<uint32_t>);
  table["compress_64"] = reinterpret_cast<void*>(compress<uint64_t>);
  table["spans"] = reinterpret_cast<void*>(spans);
}

}  // namespace dg
