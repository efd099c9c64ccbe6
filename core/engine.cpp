#include "engine.h"

#include "backward_pass.h"
#include "gradient_hooks.h"
#include "mode.h"

namespace dg {

namespace {

// The gradient to start from: the one given, or 1 for a scalar.
Ref starting_gradient(TensorObject* output, PyObject* given, const char* what) {
  if (!requires_grad(output))
    raise_error_hint("GradError", "compute it from tensors with requires_grad=True, with gradients enabled",
                     "%s: the tensor does not require grad and was not recorded", what);
  if (given != Py_None) {
    TensorObject* grad = require_tensor(given, what);
    bool fits = grad->rank == output->rank && grad->dtype == output->dtype;
    for (int d = 0; fits && grad->sizes && output->sizes && d < grad->rank; ++d)
      fits = grad->sizes[d] == output->sizes[d];
    if (!fits) {
      Ref wanted(describe(output)), got(describe(grad));
      raise_error("GradError", "%s: the gradient must be %s as the tensor is, got %s", what,
                  PyUnicode_AsUTF8(wanted.get()), PyUnicode_AsUTF8(got.get()));
    }
    return Ref::borrow(given);
  }
  if (output->numel != 1) {
    Ref shape(describe(output));
    raise_error_hint("GradError", "reduce it to one number, as with .sum(), or pass gradient=",
                     "%s: a gradient can be left out only for a tensor of one element, this is %s", what,
                     PyUnicode_AsUTF8(shape.get()));
  }
  int64_t sizes[kMaxRank];
  for (int d = 0; d < output->rank; ++d) sizes[d] = 1;
  TensorObject* one = make_empty(output->dtype, output->rank, sizes);
  store_number(one->data, output->dtype, 1.0);
  if (mode.tracing) one->flags |= kBornTraced;
  return Ref(as_object(one));
}

void add_roots(BackwardPass& pass, PyObject* tensors, PyObject* grads, const char* what) {
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tensors); ++i) {
    TensorObject* output = require_tensor(PyTuple_GET_ITEM(tensors, i), what);
    pass.add_root(output, starting_gradient(output, PyTuple_GET_ITEM(grads, i), what));
  }
}

}  // namespace

void run_backward(PyObject* tensors, PyObject* grads, PyObject* inputs, bool retain_graph, bool create_graph) {
  BackwardPass pass(retain_graph, create_graph);
  pass.accumulates();
  add_roots(pass, tensors, grads, "backward");
  if (inputs) {
    if (PyTuple_GET_SIZE(inputs) == 0)
      raise_error_hint("GradError", "leave inputs out to reach all leaves", "backward: inputs is empty");
    pass.restrict_to(inputs);
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(inputs); ++i)  // those that are no leaves keep theirs all the same
      retain_gradient(as_tensor(PyTuple_GET_ITEM(inputs, i)));
  }
  pass.go();
  pass.accumulate_leaves();
}

PyObject* compute_gradients(PyObject* outputs, PyObject* inputs, PyObject* grads, bool retain_graph, bool create_graph,
                            bool allow_unused, bool end, PyObject* joined) {
  BackwardPass pass(retain_graph, create_graph);
  if (joined) pass.join(joined);
  add_roots(pass, outputs, grads, "grad");
  pass.restrict_to(inputs, end);
  pass.go();
  const Py_ssize_t count = PyTuple_GET_SIZE(inputs);
  Ref result = owned(PyTuple_New(count));
  for (Py_ssize_t i = 0; i < count; ++i) {
    BackwardPass::Capture& capture = pass.captures()[static_cast<size_t>(i)];
    if (!capture.grad && !allow_unused)
      raise_error_hint("GradError", "pass allow_unused=True to get None for it",
                       "grad: the outputs do not depend on input %zd", i);
    PyTuple_SET_ITEM(result.get(), i, capture.grad ? capture.grad.release() : Ref::borrow(Py_None).release());
  }
  return result.release();
}

}  // namespace dg
