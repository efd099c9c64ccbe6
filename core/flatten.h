// The arguments of one call taken apart: operands, structural key words, size registers.
#pragma once

#include <vector>

#include "call.h"

namespace dg {

// Everything one call needs beside its operator.
struct Call {
  OpObject* op;
  SmallVector<PyObject*, 12> values;  // bound, after conversion; borrowed
  std::vector<Ref> kept;
  Operands operands;
  Key key;
  Dims sizes;
  bool traced = false;
};

// The first key word: how many operands, and the default dtype that results may depend on.
uint64_t header_word(size_t n_operands);
// Fills operands, the key up to its operand words, and sizes, in parameter order.
void flatten(Call& call);
[[noreturn]] void refuse_value(OpObject* op, const Param& param, const char* expected, PyObject* value);

}  // namespace dg
