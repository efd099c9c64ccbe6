#include "row_scan.h"

#include <algorithm>
#include <type_traits>

#include "wide.h"

namespace dg {
namespace {

constexpr int64_t kGroup = 4;       // elements whose partial results do not wait for what was before them
constexpr int64_t kMaxRows = 64;    // rows of a block
constexpr int64_t kPolled = 65536;  // elements between two looks at the stop flag
constexpr int64_t kStretch = 16;    // elements of a running extremum that are compared at once

template <class T>
struct Accumulator {
  using type = uint64_t;  // wraps around as int64 does
};
template <>
struct Accumulator<float> {
  using type = double;
};
template <>
struct Accumulator<double> {
  using type = double;
};

using One = std::integral_constant<int64_t, 1>;

struct Add {
  template <class A>
  static A neutral() {
    return A(0);
  }
  template <class A>
  static A apply(A a, A b) {
    return a + b;
  }
};
struct Multiply {
  template <class A>
  static A neutral() {
    return A(1);
  }
  template <class A>
  static A apply(A a, A b) {
    return a * b;
  }
};

// Groups of four are folded on their own, then what came before is folded in: the same bits for every layout.
template <class T, class Op>
void fold_row(const RowWalk& walk, RowBlock<const T> x, RowBlock<T> out) {
  using A = typename Accumulator<T>::type;
  A before = Op::template neutral<A>();
  int64_t i = 0;
  while (i < x.length) {
    if (walk.stopped()) return;
    const int64_t end = std::min(x.length, i + kPolled);
    for (; i + kGroup <= end; i += kGroup) {
      const T* from = x.data + i * x.stride;
      T* to = out.data + i * out.stride;
      const A p0 = A(from[0]);
      const A p1 = Op::apply(p0, A(from[x.stride]));
      const A p2 = Op::apply(p1, A(from[2 * x.stride]));
      const A p3 = Op::apply(p2, A(from[3 * x.stride]));
      to[0] = T(Op::apply(before, p0));
      to[out.stride] = T(Op::apply(before, p1));
      to[2 * out.stride] = T(Op::apply(before, p2));
      before = Op::apply(before, p3);
      to[3 * out.stride] = T(before);
    }
    if (end < x.length) continue;
    A part = Op::template neutral<A>();
    for (bool first = true; i < end; ++i, first = false) {
      const A value = A(x.data[i * x.stride]);
      part = first ? value : Op::apply(part, value);
      out.data[i * out.stride] = T(Op::apply(before, part));
    }
  }
}

template <class T, class Op>
void fold_rows(const RowWalk& walk, int64_t rows, RowBlock<const T> x, RowBlock<T> out) {
  using A = typename Accumulator<T>::type;
  A before[kMaxRows], part[kMaxRows];
  std::fill_n(before, rows, Op::template neutral<A>());
  for (int64_t i = 0; i < x.length; ++i) {
    if (i % 1024 == 0 && walk.stopped()) return;
    const T* from = x.data + i * x.stride;
    T* to = out.data + i * out.stride;
    const bool first = i % kGroup == 0, last = i % kGroup == kGroup - 1;
    for (int64_t r = 0; r < rows; ++r) {
      const A value = A(from[r * x.step]);
      part[r] = first ? value : Op::apply(part[r], value);
      const A now = Op::apply(before[r], part[r]);
      if (last) before[r] = now;
      to[r * out.step] = T(now);
    }
  }
}

template <class T, class Op>
void fold(void** args, const int64_t* sizes, int64_t begin, int64_t end, void*, int64_t* status) {
  const RowWalk walk(sizes, 2, status);
  walk.blocks<const T, T>(args, begin, end, [&](int64_t rows, RowBlock<const T> x, RowBlock<T> out) {
    rows == 1 ? fold_row<T, Op>(walk, x, out) : fold_rows<T, Op>(walk, rows, x, out);
  });
}

// Byte j: how many of the bools up to j are true; bytes of foreign memory may be more than 1.
inline uint64_t sums_of_eight(const uint8_t* from) {
  constexpr uint64_t kOnes = 0x0101010101010101;
  const __m128i eight = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
  return static_cast<uint64_t>(_mm_cvtsi128_si64(_mm_min_epu8(eight, _mm_set1_epi8(1)))) * kOnes;
}

// Counts elements from `i` to `end`, as far as there are eight; `before`: the sum in front of `i`.
DG_WIDE int64_t count_wide(const uint8_t* from, int64_t* to, int64_t i, int64_t end, int64_t& before) {
  for (; i + 8 <= end; i += 8) {
    const uint64_t sums = sums_of_eight(from + i);
    const __m512i lanes = _mm512_maskz_cvtepu8_epi64(0xff, _mm_cvtsi64_si128(static_cast<int64_t>(sums)));
    _mm512_storeu_si512(to + i, _mm512_add_epi64(_mm512_set1_epi64(before), lanes));
    before += static_cast<int64_t>(sums >> 56);
  }
  return i;
}

// How many bools of a row are true up to each.
void count_row(const RowWalk& walk, RowBlock<const uint8_t> x, RowBlock<int64_t> out) {
  const bool dense = x.stride == 1 && out.stride == 1 && wide_vectors();
  int64_t before = 0, i = 0;
  while (i < x.length) {
    if (walk.stopped()) return;
    const int64_t end = std::min(x.length, i + kPolled);
    if (dense) i = count_wide(x.data, out.data, i, end, before);
    for (; i < end; ++i) {
      before += x.data[i * x.stride] != 0;
      out.data[i * out.stride] = before;
    }
  }
}

void count_rows(const RowWalk& walk, int64_t rows, RowBlock<const uint8_t> x, RowBlock<int64_t> out) {
  int64_t before[kMaxRows] = {};
  for (int64_t i = 0; i < x.length; ++i) {
    if (i % 1024 == 0 && walk.stopped()) return;
    const uint8_t* from = x.data + i * x.stride;
    int64_t* to = out.data + i * out.stride;
    for (int64_t r = 0; r < rows; ++r) {
      before[r] += from[r * x.step] != 0;
      to[r * out.step] = before[r];
    }
  }
}

void count(void** args, const int64_t* sizes, int64_t begin, int64_t end, void*, int64_t* status) {
  const RowWalk walk(sizes, 2, status);
  walk.blocks<const uint8_t, int64_t>(args, begin, end,
                                      [&](int64_t rows, RowBlock<const uint8_t> x, RowBlock<int64_t> out) {
                                        rows == 1 ? count_row(walk, x, out) : count_rows(walk, rows, x, out);
                                      });
}

template <class T, bool Greatest>
inline bool wins(T value, T kept) {
  return value != value || (kept == kept && (Greatest ? value >= kept : value <= kept));
}

// A stretch of a row: what is kept after it. Nothing branches on the values: equal whole numbers are frequent.
template <class T, bool Greatest>
void extremum_stretch(RowBlock<const T> x, RowBlock<T> out, RowBlock<int64_t> index, int64_t i, int64_t end, T& best,
                      int64_t& where) {
  T kept = best;
  int64_t place = where;
  for (; i < end; ++i) {
    const T value = x.data[i * x.stride];
    const bool taken = wins<T, Greatest>(value, kept);
    kept = taken ? value : kept;
    place = taken ? i : place;
    out.data[i * out.stride] = kept;
    index.data[i * index.stride] = place;
  }
  best = kept;
  where = place;
}

// Whether none of a stretch takes the place of `best`; false for a NaN among them.
template <class T, bool Greatest>
inline bool all_lose(const T* from, T best) {
  int lost = 1;
  for (int64_t j = 0; j < kStretch; ++j) lost &= int(Greatest ? from[j] < best : from[j] > best);
  return lost;
}

template <class T, bool Greatest>
void extremum_row(const RowWalk& walk, RowBlock<const T> x, RowBlock<T> out, RowBlock<int64_t> index) {
  if (x.length == 0) return;
  const bool dense = x.stride == 1 && out.stride == 1 && index.stride == 1;
  // Floats compare many at once on every CPU, 64-bit integers do not.
  const bool by_stretches = dense && std::is_floating_point_v<T>;
  T best = x.data[0];
  int64_t where = 0;
  for (int64_t i = 0; i < x.length;) {
    if (i % kPolled == 0 && walk.stopped()) return;
    const int64_t end = std::min(x.length, i + (by_stretches ? kStretch : kPolled));
    if (by_stretches && end - i == kStretch && all_lose<T, Greatest>(x.data + i, best)) {
      std::fill_n(out.data + i, kStretch, best);
      std::fill_n(index.data + i, kStretch, where);
    } else {
      extremum_stretch<T, Greatest>(x, out, index, i, end, best, where);
    }
    i = end;
  }
}

template <class T, bool Greatest>
void extremum_rows(const RowWalk& walk, int64_t rows, RowBlock<const T> x, RowBlock<T> out, RowBlock<int64_t> index) {
  T best[kMaxRows];
  int64_t where[kMaxRows];
  for (int64_t i = 0; i < x.length; ++i) {
    if (i % 1024 == 0 && walk.stopped()) return;
    const T* from = x.data + i * x.stride;
    T* to = out.data + i * out.stride;
    int64_t* at = index.data + i * index.stride;
    for (int64_t r = 0; r < rows; ++r) {
      const T value = from[r * x.step];
      if (i == 0 || wins<T, Greatest>(value, best[r])) {
        best[r] = value;
        where[r] = i;
      }
      to[r * out.step] = best[r];
      at[r * index.step] = where[r];
    }
  }
}

template <class T, bool Greatest>
void extremum(void** args, const int64_t* sizes, int64_t begin, int64_t end, void*, int64_t* status) {
  const RowWalk walk(sizes, 3, status);
  walk.blocks<const T, T, int64_t>(args, begin, end,
                                   [&](int64_t rows, RowBlock<const T> x, RowBlock<T> out, RowBlock<int64_t> index) {
                                     rows == 1 ? extremum_row<T, Greatest>(walk, x, out, index)
                                               : extremum_rows<T, Greatest>(walk, rows, x, out, index);
                                   });
}

template <class T>
void linear(void** args, const int64_t* sizes, int64_t begin, int64_t end, void*, int64_t* status) {
  using A = typename Accumulator<T>::type;
  const RowWalk walk(sizes, 3, status);
  const auto block = [&](auto rows, RowBlock<const T> a, RowBlock<const T> b, RowBlock<T> out) {
    A now[kMaxRows];
    std::fill_n(now, rows, A(0));
    for (int64_t i = 0; i < out.length; ++i) {
      if (i % kPolled == 0 && walk.stopped()) return;
      const T* factor = a.data + i * a.stride;
      const T* term = b.data + i * b.stride;
      T* to = out.data + i * out.stride;
      for (int64_t r = 0; r < rows; ++r) {
        // The first factor has nothing to act on, were it infinite.
        now[r] = i ? A(factor[r * a.step]) * now[r] + A(term[r * b.step]) : A(term[r * b.step]);
        to[r * out.step] = T(now[r]);
      }
    }
  };
  walk.blocks<const T, const T, T>(args, begin, end, [&](int64_t rows, auto... operands) {
    rows == 1 ? block(One(), operands...) : block(rows, operands...);
  });
}

template <class T>
void add_for(RowTable& table, const std::string& dtype) {
  table["scan_sum_" + dtype] = reinterpret_cast<void*>(fold<T, Add>);
  table["scan_prod_" + dtype] = reinterpret_cast<void*>(fold<T, Multiply>);
  table["scan_max_" + dtype] = reinterpret_cast<void*>(extremum<T, true>);
  table["scan_min_" + dtype] = reinterpret_cast<void*>(extremum<T, false>);
  table["scan_linear_" + dtype] = reinterpret_cast<void*>(linear<T>);
}

}  // namespace

void add_scans(RowTable& table) {
  add_for<float>(table, "float32");
  add_for<double>(table, "float64");
  add_for<int64_t>(table, "int64");
  table["scan_sum_bool"] = reinterpret_cast<void*>(count);
}

}  // namespace dg
