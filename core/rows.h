// Functions over rows of tensors that no loop nest can say: scans, sorts, selections, searches, choices by a mask. They
// have the kernels' ABI and are named "core:FUNCTION" by programs; each is written once for all dtypes it takes.
#pragma once

#include <string_view>

namespace dg {

constexpr std::string_view kRowLibrary = "core";

// The kernel of that name, or nullptr.
//
// `sizes`: the number n of outer dimensions; their extents; how many rows make a chunk; then for each operand, in the
// order of `args`, its offset, the length and the stride of its rows and its n outer strides (all in elements); then
// the function's own numbers. Rows are numbered in row-major order of the outer dimensions, chunks take rows along the
// last.
//
//   scan_sum_T, scan_prod_T     (x, out)               out[i] = x[0] + … + x[i]; floats add up in double precision
//   scan_sum_bool               (x, out)               how many are true up to each, int64
//   scan_max_T, scan_min_T      (x, out, index)        with the last position that attains it; NaN wins and stays
//   scan_linear_T               (a, b, out)            out[i] = a[i] * out[i - 1] + b[i]
//   sort_T                      (x, out, index)        stable, NaN last; numbers: descending
//   order_T                     (x, out)               the same without positions; -0 becomes 0
//   select_T                    (x, out, index)        positions first … of that order; numbers: descending, and first
//                                                      (-1: the middle of what is no NaN)
//   search_T                    (sorted, x, out)       how many are below the only x of a row, along the last outer
//                                                      dimension; sorted is one there. numbers: or equal to it
//   compress_BITS               (x, mask, out)         the elements at which a mask is true, as far as there is room
//   spans                       (mask, out)            from each true one to the next, or to the end
//
// Sorts and selections take 49152 bytes of scratch and 32 for each element of a row (16 if they have at most 4 bytes).
void* row_function(std::string_view name);

}  // namespace dg
