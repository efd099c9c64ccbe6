#include "gradient.h"

#include <algorithm>
#include <cstring>

#include "call.h"
#include "node_program.h"
#include "saved_hooks.h"
#include "saved_values.h"
#include "user_sizes.h"
#include "view_grad.h"

namespace dg {

namespace {

Ref grads_tuple(TensorObject* const* grads, size_t count) {
  Ref tuple = owned(PyTuple_New(static_cast<Py_ssize_t>(count)));
  for (size_t i = 0; i < count; ++i)
    PyTuple_SET_ITEM(tuple.get(), i, Ref::borrow(grads[i] ? as_object(grads[i]) : Py_None).release());
  return tuple;
}

// Distributes what Python gave over the edges; returns what it gave beyond them for a node that has refusals.
Ref take_results(const Node* node, PyObject* given, Gradients* results) {
  Ref items = is_tensor(given) || given == Py_None ? owned(PyTuple_Pack(1, given)) : owned(PySequence_Tuple(given));
  const Py_ssize_t count = PyTuple_GET_SIZE(items.get()), n_edges = static_cast<Py_ssize_t>(node->n_edges);
  const bool refuses = node->extra && node->extra->refusals && count > n_edges;
  if (count != n_edges && !refuses)
    raise_node_error("GradError", node, "return one gradient, or None, for each input",
                     "%s: backward gave %zd gradients for %u inputs", node_name(node), count, node->n_edges);
  for (uint32_t i = 0; i < node->n_edges; ++i) {
    PyObject* grad = PyTuple_GET_ITEM(items.get(), i);
    if (grad == Py_None || !node->edges[i]) continue;
    if (!is_tensor(grad))
      raise_node_error("GradError", node, nullptr, "%s: gradient %u is not a Tensor but %s", node_name(node), i,
                       Py_TYPE(grad)->tp_name);
    check_gradient(node, i, node->edges[i], as_tensor(grad));
    (*results)[i] = as_tensor(Ref::borrow(grad).release());
  }
  return refuses ? owned(PyTuple_GetSlice(items.get(), n_edges, count)) : Ref();
}

// What a traced node keeps that was overwritten since gives way to something else, which the rule may not read.
void stand_in(PyObject* given, Ref* args, Ref* outs, Ref* check, Ref* note) {
  if (!hook_or_null(Hook::Overwritten)) return;
  PyObject* parameters[] = {args->get(), outs->get(), given};
  Ref found = owned(PyObject_Vectorcall(hook(Hook::Overwritten), parameters, 3, nullptr));
  if (found.get() == Py_None) return;
  *args = Ref::borrow(PyTuple_GET_ITEM(found.get(), 0));
  *outs = Ref::borrow(PyTuple_GET_ITEM(found.get(), 1));
  *check = Ref::borrow(PyTuple_GET_ITEM(found.get(), 2));
  *note = Ref::borrow(PyTuple_GET_ITEM(found.get(), 3));
}

// `note`: what is told the error instead, which is then that of whoever needs the gradient; or None.
void check_not_read(const Node* node, PyObject* check, PyObject* note, PyObject* found) {
  Ref number = owned(PyObject_CallOneArg(check, found));
  if (number.get() == Py_None) return;
  const long index = PyLong_AsLong(number.get());
  try {
    raise_overwritten(node, index < 0 ? "the result" : operand_name(node, static_cast<uint32_t>(index)), "");
  } catch (ErrorSet&) {
    if (note == Py_None) throw;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    Ref own_type(type), own_value(value), own_traceback(traceback);
    owned(PyObject_CallOneArg(note, own_value.get()));
  }
}

}  // namespace

Ref call_rule(Node* node, PyObject* given, bool create_graph, bool forward) {
  Ref args, outs, check, note;
  if (node->kind == NodeKind::Traced) {
    args = Ref::borrow(node->extra->args);
    outs = Ref::borrow(node->extra->outs);
    stand_in(given, &args, &outs, &check, &note);
    if (create_graph) {  // the outputs too, as what this node computed
      args = link_arguments(node, args.get());
      Ref linked = owned(PyTuple_New(PyTuple_GET_SIZE(outs.get())));
      for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(outs.get()); ++i) {
        TensorObject* out = make_detached(as_tensor(PyTuple_GET_ITEM(outs.get(), i)));
        PyTuple_SET_ITEM(linked.get(), i, as_object(out));
        if (!is_floating(out->dtype) || PyTuple_GET_ITEM(outs.get(), i) != PyTuple_GET_ITEM(node->extra->outs, i))
          continue;
        retain_node(node);
        set_node(out, node, static_cast<uint32_t>(i));
      }
      outs = std::move(linked);
    }
  } else {
    args = restore_arguments(node, create_graph);
    outs = owned(PyTuple_New(node->n_outputs));
    for (uint32_t i = 0; i < node->n_outputs; ++i) {
      Ref out = restore(node, node->outs[i], nullptr, false, i);
      if (create_graph && is_floating(node->outs[i].dtype)) {
        retain_node(node);
        set_node(as_tensor(out.get()), node, i);
      }
      PyTuple_SET_ITEM(outs.get(), i, out.release());
    }
  }
  Mask needs;
  clear_mask(needs, node->n_edges);
  for (uint32_t i = 0; i < node->n_edges; ++i)
    if (node->edges[i]) set_mask_bit(needs, i);
  Ref wanted = mask_to_int(needs.data(), needs.size());
  PyObject* parameters[] = {reinterpret_cast<PyObject*>(node->op), given, outs.get(), args.get(), wanted.get(),
                            forward ? Py_True : Py_False};
  RawSizes raw;
  WithoutAutocast rules;
  Ref found = owned(PyObject_Vectorcall(hook(Hook::PythonGradient), parameters, 6, nullptr));
  if (check) check_not_read(node, check.get(), note.get(), found.get());
  return found;
}

namespace {

void run_rule(Node* node, TensorObject* const* grads, bool create_graph, Gradients* results) {
  Ref given = grads_tuple(grads, node->n_outputs);
  take_results(node, call_rule(node, given.get(), create_graph, false).get(), results);
}

}  // namespace

void check_gradient(const Node* node, size_t operand, const Edge& edge, TensorObject* grad) {
  DType dtype;
  int rank;
  const int64_t* sizes = nullptr;
  if (edge.leaf) {
    dtype = edge.leaf->dtype;
    rank = edge.leaf->rank;
    sizes = edge.leaf->sizes;
  } else if (edge.node->outs && edge.node->kind != NodeKind::Python && edge.node->kind != NodeKind::Traced) {
    const Saved& out = edge.node->outs[edge.index];
    dtype = out.dtype;
    rank = out.rank;
    sizes = out.sizes;
  } else {
    const NodeExtra* extra = edge.node->extra;
    PyObject* like = extra && edge.index < extra->metas.size() ? extra->metas[edge.index]
                     : extra && extra->outs                    ? PyTuple_GET_ITEM(extra->outs, edge.index)
                                                               : nullptr;
    if (!like) return;
    dtype = as_tensor(like)->dtype;
    rank = as_tensor(like)->rank;
    sizes = as_tensor(like)->sizes;
  }
  bool fits = grad->rank == rank && grad->dtype == dtype;
  for (int d = 0; fits && sizes && grad->sizes && d < rank; ++d) fits = sizes[d] == grad->sizes[d];
  if (fits) return;
  std::string wanted = name(dtype);
  wanted += "[";
  for (int d = 0; d < rank; ++d) wanted += (d ? ", " : "") + (sizes ? std::to_string(sizes[d]) : std::string("?"));
  wanted += "]";
  Ref got(describe(grad));
  raise_node_error("GradError", node, nullptr, "%s: gradient %zu is %s, but the input is %s", node_name(node), operand,
                   PyUnicode_AsUTF8(got.get()), wanted.c_str());
}

Ref node_gradients_from(Node* node, TensorObject* const* grads, PyObject* sums, Gradients* results) {
  results->resize(node->n_edges);
  for (TensorObject*& result : *results) result = nullptr;
  Ref given = grads_tuple(grads, node->n_outputs);
  RunningNode running(node);
  Ref found = owned(PyObject_CallFunctionObjArgs(node->extra->python, given.get(), sums, nullptr));
  return take_results(node, found.get(), results);
}

void node_gradients(Node* node, TensorObject* const* grads, bool create_graph, Gradients* results) {
  results->resize(node->n_edges);
  for (TensorObject*& result : *results) result = nullptr;
  check_freed(node);
  Unpacked unpacked(node);
  if (node->kind == NodeKind::Compiled) take_other_data(node);
  bool traced = mode.tracing > 0;
  for (uint32_t i = 0; i < node->n_outputs; ++i) traced = traced || (grads[i] && grads[i]->traced);
  switch (node->kind) {
    case NodeKind::Compiled:
      if (create_graph || traced)
        run_rule(node, grads, create_graph, results);
      else
        while (!run_compiled(node, grads, false, results)) continue;
      break;
    case NodeKind::Traced:
      run_rule(node, grads, create_graph, results);
      break;
    case NodeKind::Python:
      node_gradients_from(node, grads, nullptr, results);
      break;
    default:
      view_gradients(node, grads[0], create_graph || traced, results);
  }
}

}  // namespace dg
