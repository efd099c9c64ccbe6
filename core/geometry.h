// Sizes and strides: small pure functions.
#pragma once

#include <cstdint>
#include <cstring>

#include "dtype.h"
#include "small_vector.h"

namespace dg {

using Dims = SmallVector<int64_t, 8>;

// Wraps, which happens only where another size is zero.
inline int64_t wrapping_product(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
}

inline int64_t count_elements(int rank, const int64_t* sizes) {
  int64_t count = 1;
  for (int d = 0; d < rank; ++d) count = wrapping_product(count, sizes[d]);
  return count;
}

inline void contiguous_strides(int rank, const int64_t* sizes, int64_t* strides) {
  int64_t stride = 1;
  for (int d = rank - 1; d >= 0; --d) {
    strides[d] = stride;
    stride = wrapping_product(stride, sizes[d] > 0 ? sizes[d] : 1);
  }
}

// Strides of dimensions of size one do not matter, and nothing matters when there are no elements.
inline bool strides_are_contiguous(int rank, const int64_t* sizes, const int64_t* strides) {
  int64_t expected = 1;
  bool fits = true;
  for (int d = rank - 1; d >= 0; --d) {
    if (sizes[d] == 0) return true;
    if (sizes[d] != 1) {
      fits = fits && strides[d] == expected;
      expected *= sizes[d];
    }
  }
  return fits;
}

// Number of elements, or -1 if a size is negative or the byte count does not fit.
int64_t checked_count(int rank, const int64_t* sizes, DType dtype);

// Lowest and one-past-highest element a view touches, relative to its first.
struct Extent {
  int64_t low, high;
};
Extent view_extent(int rank, const int64_t* sizes, const int64_t* strides);

// Copies (or adds) element by element between two views of equal sizes and dtype. The slow general way: for interop,
// overlapping operands and view gradients, never for an operator.
void strided_copy(char* target, const int64_t* target_strides, const char* source, const int64_t* source_strides,
                  int rank, const int64_t* sizes, size_t itemsize);

}  // namespace dg
