#include "gradient_hooks.h"

#include <atomic>
#include <utility>

#include "call.h"
#include "expansion.h"

namespace dg {

namespace {

// The functions to run, as they are now: one that is registered or removed meanwhile counts from the next time on.
std::vector<std::pair<uint32_t, Ref>> hooks_now(const Node* node, bool of_outputs, uint32_t which = 0) {
  std::vector<std::pair<uint32_t, Ref>> found;
  for (const auto& [index, callable] : node->extra->hooks)
    if (of_outputs ? index < node->n_outputs : index == which) found.emplace_back(index, Ref::borrow(callable));
  return found;
}

Ref tuple_of(TensorObject* const* tensors, size_t count) {
  Ref tuple = owned(PyTuple_New(static_cast<Py_ssize_t>(count)));
  for (size_t i = 0; i < count; ++i)
    PyTuple_SET_ITEM(tuple.get(), i, Ref::borrow(tensors[i] ? as_object(tensors[i]) : Py_None).release());
  return tuple;
}

void replace(TensorObject** slot, PyObject* changed) {
  PyObject* fresh = changed == Py_None ? nullptr : Ref::borrow(changed).release();
  Py_XSETREF(*reinterpret_cast<PyObject**>(slot), fresh);
}

// What a hook of a node gave in the place of `count` gradients; null if it leaves them as they are.
Ref replacements(const Node* node, Ref given, size_t count) {
  if (given.get() == Py_None) return Ref();
  Ref items = is_tensor(given.get()) ? owned(PyTuple_Pack(1, given.get())) : owned(PySequence_Tuple(given.get()));
  if (PyTuple_GET_SIZE(items.get()) != static_cast<Py_ssize_t>(count))
    raise_node_error("GradError", node, "return None to leave them as they are",
                     "%s: a hook gave %zd gradients for %zu", node_name(node), PyTuple_GET_SIZE(items.get()), count);
  for (size_t i = 0; i < count; ++i) {
    PyObject* item = PyTuple_GET_ITEM(items.get(), i);
    if (item != Py_None && !is_tensor(item))
      raise_node_error("GradError", node, nullptr, "%s: a gradient hook gave %s, not a Tensor", node_name(node),
                       Py_TYPE(item)->tp_name);
  }
  return items;
}

// What a hook puts in a leaf's gradient's place must be of its kind.
void require_like(const TensorObject* grad, const TensorObject* changed) {
  bool fits = grad->dtype == changed->dtype && grad->rank == changed->rank;
  for (int d = 0; fits && grad->buffer && changed->buffer && d < grad->rank; ++d)
    fits = grad->sizes[d] == changed->sizes[d];
  if (fits) return;
  Ref wanted(describe(grad)), got(describe(changed));
  raise_error("GradError", "a gradient hook gave %s for a gradient that is %s", PyUnicode_AsUTF8(got.get()),
              PyUnicode_AsUTF8(wanted.get()));
}

}  // namespace

namespace {
thread_local PassUnderWay* innermost = nullptr;
std::atomic<uint64_t> passes{0};
}  // namespace

PassUnderWay::PassUnderWay() : number_(++passes), outer_(std::exchange(innermost, this)) {}

PassUnderWay::~PassUnderWay() { innermost = outer_; }

void PassUnderWay::call_ends() {
  for (Py_ssize_t i = 0; ends_ && i < PyList_GET_SIZE(ends_.get()); ++i)
    owned(PyObject_CallNoArgs(Ref::borrow(PyList_GET_ITEM(ends_.get(), i)).get()));
}

uint64_t at_end_of_backward(PyObject* function) {
  if (!innermost) raise_error("GradError", "at_end_of_backward: no backward pass is under way");
  if (function != Py_None) {
    if (!innermost->ends_) innermost->ends_ = owned(PyList_New(0));
    check_status(PyList_Append(innermost->ends_.get(), function));
  }
  return innermost->number_;
}

void retain_gradient(TensorObject* tensor) {
  if (!tensor->node || tensor->flags & kRetainGrad) return;
  tensor->flags |= kRetainGrad;
  extra_of(settled_node(tensor)).retained.push_back({tensor->output_index, tensor});
}

void run_output_hooks(Node* node, TensorObject** grads) {
  for (const auto& [index, callable] : hooks_now(node, true)) {
    if (!grads[index]) continue;
    Ref changed = owned(PyObject_CallOneArg(callable.get(), as_object(grads[index])));
    if (changed.get() == Py_None) continue;
    if (!is_tensor(changed.get()))
      raise_node_error("GradError", node, nullptr, "%s: a gradient hook gave %s, not a Tensor", node_name(node),
                       Py_TYPE(changed.get())->tp_name);
    check_gradient(node, index, Edge{node, nullptr, index}, as_tensor(changed.get()));
    replace(&grads[index], changed.get());
  }
}

void run_hooks_before(Node* node, TensorObject** grads) {
  for (const auto& [index, callable] : hooks_now(node, false, kBeforeNode)) {
    Ref given = tuple_of(grads, node->n_outputs);
    Ref changed = replacements(node, owned(PyObject_CallOneArg(callable.get(), given.get())), node->n_outputs);
    if (!changed) continue;
    for (uint32_t i = 0; i < node->n_outputs; ++i) {
      PyObject* item = PyTuple_GET_ITEM(changed.get(), i);
      if (item != Py_None) check_gradient(node, i, Edge{node, nullptr, i}, as_tensor(item));
      replace(&grads[i], item);
    }
  }
}

void run_hooks_after(Node* node, Gradients* results, TensorObject* const* grads) {
  for (const auto& [index, callable] : hooks_now(node, false, kAfterNode)) {
    Ref inputs = tuple_of(results->data(), results->size()), outputs = tuple_of(grads, node->n_outputs);
    Ref given = owned(PyObject_CallFunctionObjArgs(callable.get(), inputs.get(), outputs.get(), nullptr));
    Ref changed = replacements(node, std::move(given), results->size());
    if (!changed) continue;
    for (uint32_t i = 0; i < node->n_edges; ++i) {
      PyObject* item = PyTuple_GET_ITEM(changed.get(), i);
      if (item != Py_None && node->edges[i]) check_gradient(node, i, node->edges[i], as_tensor(item));
      replace(&(*results)[i], item);
    }
  }
}

void run_leaf_hooks(const TensorObject* leaf, Ref* grad) {
  Ref hooks = owned(PyList_AsTuple(leaf->hooks));
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(hooks.get()); ++i) {
    PyObject* function = PyTuple_GET_ITEM(hooks.get(), i);
    if (PyTuple_Check(function)) continue;
    Ref changed = owned(PyObject_CallOneArg(function, grad->get()));
    if (changed.get() == Py_None) continue;
    require_like(as_tensor(grad->get()), require_tensor(changed.get(), "a gradient hook"));
    *grad = std::move(changed);
  }
}

void run_accumulated_hooks(TensorObject* leaf) {
  Ref hooks = owned(PyList_AsTuple(leaf->hooks));
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(hooks.get()); ++i) {
    PyObject* entry = PyTuple_GET_ITEM(hooks.get(), i);
    if (PyTuple_Check(entry)) owned(PyObject_CallOneArg(PyTuple_GET_ITEM(entry, 0), as_object(leaf)));
  }
}

}  // namespace dg
