// The gradient of one node: its cached program if values are at hand, its rule as Python otherwise.
#pragma once

#include <vector>

#include "engine.h"
#include "small_vector.h"
#include "tape.h"

namespace dg {

// Gradients of a node's operands, one per edge, null where there is none; owned.
using Gradients = SmallVector<TensorObject*, 4>;

// `grads`: one per output, null where nothing flows; borrowed. Fills `results`, whose references the caller owns.
void node_gradients(Node* node, TensorObject* const* grads, bool create_graph, Gradients* results);

// The same for a Python node; `sums`, if not null, are handed to its function: the operands' gradients so far, or None.
void node_gradients_from(Node* node, TensorObject* const* grads, PyObject* sums, Gradients* results);

// What a node's rule gives as Python, made of operators: from gradients of the outputs those of the operands, or if
// `forward`, from tangents of the operands those of the outputs.
Ref call_rule(Node* node, PyObject* given, bool create_graph, bool forward);

// Raises GradError unless a gradient that Python gave has the shape and dtype its edge expects.
void check_gradient(const Node* node, size_t operand, const Edge& edge, TensorObject* grad);

}  // namespace dg
