// Integers that follow no formula an elementwise kernel could compute fast: random orders, the places of triangles.
#pragma once

#include <cstdint>

#include "tensor.h"

namespace dg {

// The numbers 0 … n - 1 in an order drawn from the default generator; int64 [n].
TensorObject* random_order(int64_t n);

// Rows and columns of the elements of a rows × columns matrix on and below (else on and above) a diagonal; int64 [2,
// n].
TensorObject* triangle_positions(int64_t rows, int64_t columns, int64_t offset, bool lower);

}  // namespace dg
