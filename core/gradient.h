// The gradient of one node: its cached program if values are at hand, its rule as Python otherwise.
#pragma once

#include <algorithm>
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
// Returns what it gave beyond the operands' gradients: the conditions of refusals; null if nothing.
Ref node_gradients_from(Node* node, TensorObject* const* grads, PyObject* sums, Gradients* results);

// What a node's rule gives as Python, made of operators: from gradients of the outputs those of the operands, or if
// `forward`, from tangents of the operands those of the outputs.
Ref call_rule(Node* node, PyObject* given, bool create_graph, bool forward);

// Raises the first of a node's refusals that holds for these gradients; `wants` says of an edge whether what goes along
// it is needed. `conditions`: what the node's function has given for them; null before it has run.
template <class Wants>
void check_refusals(const Node* node, TensorObject* const* grads, PyObject* conditions, Wants&& wants) {
  if (!node->extra->refusals) return;
  for (const Refusal& refusal : *node->extra->refusals) {
    auto is_given = [&](int i) { return grads[i] != nullptr; };
    auto is_wanted = [&](int e) { return wants(static_cast<uint32_t>(e)); };
    if (std::any_of(refusal.outputs.begin(), refusal.outputs.end(), is_given) &&
        std::any_of(refusal.inputs.begin(), refusal.inputs.end(), is_wanted))
      owned(PyObject_CallFunctionObjArgs(refusal.raise, conditions, nullptr));
  }
}

// Raises GradError unless a gradient that Python gave has the shape and dtype its edge expects.
void check_gradient(const Node* node, size_t operand, const Edge& edge, TensorObject* grad);

}  // namespace dg
