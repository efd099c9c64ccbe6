// `t.grad_fn`: a node of the tape to look at.
#include "dtype_object.h"
#include "gradient.h"
#include "gradient_hooks.h"
#include "tape.h"

namespace dg {

namespace {

struct NodeObject {
  PyObject_HEAD Node* node;
  uint32_t index;  // the output of the tensor it was asked of
};
PyTypeObject* node_type = nullptr;

Node* node_of(PyObject* self) { return reinterpret_cast<NodeObject*>(self)->node; }

void node_dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  release_node(node_of(self));
  type->tp_free(self);
  Py_DECREF(type);
}

PyObject* get_name(PyObject* self, void*) { return PyUnicode_FromString(node_name(node_of(self))); }
PyObject* name_of(PyObject* self, PyObject*) { return get_name(self, nullptr); }
PyObject* get_freed(PyObject* self, void*) { return PyBool_FromLong(node_of(self)->freed); }
PyObject* get_used(PyObject* self, void*) { return PyBool_FromLong(node_of(self)->used); }
PyObject* get_index(PyObject* self, void*) {
  return PyLong_FromUnsignedLong(reinterpret_cast<NodeObject*>(self)->index);
}
PyObject* get_sequence(PyObject* self, void*) { return PyLong_FromUnsignedLongLong(node_of(self)->sequence); }

PyObject* get_op(PyObject* self, void*) {
  auto* op = reinterpret_cast<PyObject*>(node_of(self)->op);
  return Ref::borrow(op ? op : Py_None).release();
}

// Per operand: the node that computed it, the leaf itself, or None where no gradient flows.
PyObject* get_inputs(PyObject* self, void*) {
  return guarded([&]() -> PyObject* {
    Node* node = node_of(self);
    Ref inputs = owned(PyTuple_New(node->n_edges));
    for (uint32_t i = 0; i < node->n_edges; ++i) {
      const Edge& edge = node->edges[i];
      PyObject* item = edge.node   ? node_object(edge.node, edge.index)
                       : edge.leaf ? Ref::borrow(as_object(edge.leaf)).release()
                                   : Ref::borrow(Py_None).release();
      PyTuple_SET_ITEM(inputs.get(), i, checked(item));
    }
    return inputs.release();
  });
}

PyObject* get_next(PyObject* self, void*) {
  return guarded([&]() -> PyObject* {
    Node* node = node_of(self);
    Ref pairs = owned(PyTuple_New(node->n_edges));
    Ref inputs = owned(get_inputs(self, nullptr));
    for (uint32_t i = 0; i < node->n_edges; ++i)
      PyTuple_SET_ITEM(pairs.get(), i,
                       checked(Py_BuildValue("(OI)", PyTuple_GET_ITEM(inputs.get(), i),
                                             static_cast<unsigned>(node->edges[i].index))));
    return pairs.release();
  });
}

Ref spec_of_tensor(PyObject* object) {
  const TensorObject* tensor = as_tensor(object);
  Ref shape = owned(shape_tuple(tensor));
  return owned(Py_BuildValue("(sO)", name(tensor->dtype), shape.get()));
}

// (dtype name, shape) per output; empty once a traced node was freed.
PyObject* get_outputs(PyObject* self, void*) {
  return guarded([&]() -> PyObject* {
    Node* node = node_of(self);
    Ref list = owned(PyList_New(0));
    if (node->kind == NodeKind::Compiled || node->kind == NodeKind::View || node->kind == NodeKind::CopySlices) {
      for (uint32_t i = 0; i < node->n_outputs; ++i) {
        Ref shape = owned(make_size(node->outs[i].rank, node->outs[i].sizes));
        check_status(
            PyList_Append(list.get(), owned(Py_BuildValue("(sO)", name(node->outs[i].dtype), shape.get())).get()));
      }
    } else if (node->extra && node->extra->outs) {
      for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(node->extra->outs); ++i)
        check_status(PyList_Append(list.get(), spec_of_tensor(PyTuple_GET_ITEM(node->extra->outs, i)).get()));
    } else if (node->extra) {
      for (PyObject* meta : node->extra->metas)
        check_status(PyList_Append(list.get(), meta ? spec_of_tensor(meta).get() : Py_None));
    }
    return list.release();
  });
}

PyObject* get_location(PyObject* self, void*) {
  return guarded([&] { return node_location(node_of(self)).release(); });
}

PyObject* represent(PyObject* self) {
  return guarded([&]() -> PyObject* {
    Ref where = node_location(node_of(self));
    if (where.get() == Py_None) return PyUnicode_FromFormat("<%s>", node_name(node_of(self)));
    return PyUnicode_FromFormat("<%s at %S>", node_name(node_of(self)), where.get());
  });
}

Py_hash_t hash(PyObject* self) { return _Py_HashPointer(node_of(self)); }

PyObject* compare(PyObject* a, PyObject* b, int operation) {
  if (Py_TYPE(b) != node_type || (operation != Py_EQ && operation != Py_NE)) Py_RETURN_NOTIMPLEMENTED;
  return PyBool_FromLong((node_of(a) == node_of(b)) == (operation == Py_EQ));
}

PyObject* add_hook(PyObject* self, PyObject* function, uint32_t kind) {
  return guarded([&]() -> PyObject* {
    extra_of(node_of(self)).hooks.push_back({kind, Ref::borrow(function).release()});
    Py_RETURN_NONE;
  });
}

PyObject* add_hook_before(PyObject* self, PyObject* function) { return add_hook(self, function, kBeforeNode); }
PyObject* add_hook_after(PyObject* self, PyObject* function) { return add_hook(self, function, kAfterNode); }

// Takes a function away again; nothing where it is not there any more.
PyObject* remove_hook(PyObject* self, PyObject* function) {
  return guarded([&]() -> PyObject* {
    NodeExtra* extra = node_of(self)->extra;
    for (size_t i = 0; extra && i < extra->hooks.size(); ++i) {
      if (extra->hooks[i].second != function) continue;
      extra->hooks.erase(extra->hooks.begin() + static_cast<std::ptrdiff_t>(i));
      Py_DECREF(function);
      break;
    }
    Py_RETURN_NONE;
  });
}

PyGetSetDef attributes[] = {
    {"op_name", get_name, nullptr, "name of the operator", nullptr},
    {"op", get_op, nullptr, "the operator, or None", nullptr},
    {"inputs", get_inputs, nullptr, "per operand: a node, a leaf tensor, or None", nullptr},
    {"parents", get_inputs, nullptr, "per operand: a node, a leaf tensor, or None", nullptr},
    {"next_functions", get_next, nullptr, "per operand: (node, leaf or None, output number)", nullptr},
    {"output_specs", get_outputs, nullptr, "per output: (dtype name, shape)", nullptr},
    {"output_index", get_index, nullptr, "which output the tensor is that it was asked of", nullptr},
    {"location", get_location, nullptr, "the user's line, or None", nullptr},
    {"freed", get_freed, nullptr, "whether backward gave up the saved values", nullptr},
    {"used", get_used, nullptr, "whether a backward that does not retain the graph has gone through", nullptr},
    {"sequence", get_sequence, nullptr, "when it was recorded", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

// pull(grads): the gradients of the operands, None where there is none; recorded if gradients are enabled.
PyObject* pull(PyObject* self, PyObject* grads) {
  return guarded([&]() -> PyObject* {
    Node* node = node_of(self);
    Ref given = owned(PySequence_Tuple(grads));
    if (PyTuple_GET_SIZE(given.get()) != static_cast<Py_ssize_t>(node->n_outputs))
      raise_error("ArgumentError", "pull: expected %u gradients, got %zd", node->n_outputs,
                  PyTuple_GET_SIZE(given.get()));
    std::vector<TensorObject*> seeds(node->n_outputs, nullptr);
    for (uint32_t i = 0; i < node->n_outputs; ++i)
      if (PyObject* item = PyTuple_GET_ITEM(given.get(), i); item != Py_None) seeds[i] = require_tensor(item, "pull");
    Gradients results;
    if (node->extra && node->extra->continues_sums) {
      auto wanted = [&](uint32_t e) { return static_cast<bool>(node->edges[e]); };
      check_refusals(node, seeds.data(), nullptr, wanted);
      Ref sums = owned(PyTuple_New(node->n_edges));
      for (uint32_t i = 0; i < node->n_edges; ++i) PyTuple_SET_ITEM(sums.get(), i, Ref::borrow(Py_None).release());
      Ref conditions = node_gradients_from(node, seeds.data(), sums.get(), &results);
      if (conditions) check_refusals(node, seeds.data(), conditions.get(), wanted);
    } else {
      node_gradients(node, seeds.data(), mode.grad, &results);
    }
    Ref found = owned(PyTuple_New(node->n_edges));
    for (uint32_t i = 0; i < node->n_edges; ++i)
      PyTuple_SET_ITEM(found.get(), i, results[i] ? as_object(results[i]) : Ref::borrow(Py_None).release());
    return found.release();
  });
}

// outputs(): tensors at the places of a traced node's outputs, or of one that Python gave; None where no gradient
// flows.
PyObject* outputs_of(PyObject* self, PyObject*) {
  return guarded([&]() -> PyObject* {
    Node* node = node_of(self);
    Ref found = owned(PyTuple_New(node->n_outputs));
    for (uint32_t i = 0; i < node->n_outputs; ++i) {
      PyObject* like = !node->extra                    ? nullptr
                       : node->extra->outs             ? PyTuple_GET_ITEM(node->extra->outs, i)
                       : i < node->extra->metas.size() ? node->extra->metas[i]
                                                       : nullptr;
      Ref output = Ref::borrow(Py_None);
      if (like && is_floating(as_tensor(like)->dtype)) {
        output = Ref(as_object(make_detached(as_tensor(like))));
        retain_node(node);
        set_node(as_tensor(output.get()), node, i);
      }
      PyTuple_SET_ITEM(found.get(), i, output.release());
    }
    return found.release();
  });
}

PyMethodDef methods[] = {
    {"name", name_of, METH_NOARGS, "The name of the operator."},
    {"outputs", outputs_of, METH_NOARGS, "tensors at the places of its outputs; None where no gradient flows"},
    {"_add_hook_before", add_hook_before, METH_O, "Calls a function with the gradients that go into the node."},
    {"_add_hook_after", add_hook_after, METH_O, "Calls a function with what came out of the node and what went in."},
    {"_remove_hook", remove_hook, METH_O, "Takes a function away that the node was given."},
    {"pull", pull, METH_O, "pull(grads): the gradients of the operands, recorded if gradients are enabled"},
    {nullptr, nullptr, 0, nullptr},
};

PyType_Slot slots[] = {
    {Py_tp_dealloc, reinterpret_cast<void*>(node_dealloc)},
    {Py_tp_getset, attributes},
    {Py_tp_methods, methods},
    {Py_tp_repr, reinterpret_cast<void*>(represent)},
    {Py_tp_hash, reinterpret_cast<void*>(hash)},
    {Py_tp_richcompare, reinterpret_cast<void*>(compare)},
    {Py_tp_doc, const_cast<char*>("A recorded operation.")},
    {0, nullptr},
};
PyType_Spec spec = {"duograph._core.Node", sizeof(NodeObject), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};

}  // namespace

void create_node_type(PyObject* module) {
  node_type = reinterpret_cast<PyTypeObject*>(checked(PyType_FromSpec(&spec)));
  check_status(PyModule_AddObjectRef(module, "Node", reinterpret_cast<PyObject*>(node_type)));
}

PyObject* node_object(Node* node, uint32_t index) {
  auto* object = reinterpret_cast<NodeObject*>(checked(node_type->tp_alloc(node_type, 0)));
  retain_node(node);
  object->node = node;
  object->index = index;
  return reinterpret_cast<PyObject*>(object);
}

}  // namespace dg
