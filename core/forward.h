// Forward mode: walks the tape from some inputs on, node by node, in the order in which nodes were recorded.
#pragma once

#include "gradient.h"

namespace dg {

// Tangents of a node's outputs from those of its operands (one per edge; null: zero). Fills `results`, one per output,
// null where it is zero; the caller owns the references.
void node_tangents(Node* node, TensorObject* const* tangents, bool create_graph, Gradients* results);

// The tangents of `outputs` where the `inputs` have these; a tuple, None for outputs that do not depend on them.
// `create_graph`: they are recorded themselves.
PyObject* compute_tangents(PyObject* outputs, PyObject* inputs, PyObject* tangents, bool create_graph);

}  // namespace dg
