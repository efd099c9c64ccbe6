// Reverse mode: walks the tape from some outputs, node by node, in an order fixed by when nodes were recorded.
#pragma once

#include "tape.h"

namespace dg {

// Adds gradients to the leaves that `tensors` depend on (or to `inputs` only, if given: a tuple). `grads`: a tuple of
// Tensor or None as long as `tensors`.
void run_backward(PyObject* tensors, PyObject* grads, PyObject* inputs, bool retain_graph, bool create_graph);

// The gradients of `outputs` with respect to `inputs`, as a tuple; nothing is accumulated. `end`: nothing of the inputs
// themselves runs, neither hooks nor what computed them: the gradients are to go on from there another way. `joined`: a
// tuple of leaves, two for two: what goes to the first of two goes to the second.
PyObject* compute_gradients(PyObject* outputs, PyObject* inputs, PyObject* grads, bool retain_graph, bool create_graph,
                            bool allow_unused, bool end = false, PyObject* joined = nullptr);

}  // namespace dg
