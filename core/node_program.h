// The compiled programs of a node of the tape, cached by layout with the operator's entry: its gradient, and its
// tangent.
#pragma once

#include "gradient.h"

namespace dg {

void check_freed(const Node* node);

// Runs a compiled node's program. `given`: the outputs' gradients, or if `forward` the operands' tangents; null where
// there is none. Fills `results`: per operand its gradient, or per output its tangent.
// False after a compilation: Python ran meanwhile, and another thread may have freed what the node saved.
bool run_compiled(Node* node, TensorObject* const* given, bool forward, Gradients* results);

}  // namespace dg
