#include "saved_values.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "call.h"
#include "mode.h"

namespace dg {

namespace {

Ref restore_number(const Saved& saved) {
  switch (static_cast<NumberKind>(saved.number_kind)) {
    case NumberKind::Bool:
      return Ref::borrow(saved.integer ? Py_True : Py_False);
    case NumberKind::Int:
      return owned(PyLong_FromLongLong(saved.integer));
    default:
      return owned(PyFloat_FromDouble(saved.real));
  }
}

}  // namespace

std::string operand_name(const Node* node, uint32_t index) {
  uint32_t at = 0;
  const PyObject* attrs = node->entry ? node->entry->attrs.get() : nullptr;
  Py_ssize_t attr = 0;
  for (const Param& param : *node->op->params) {
    const char* text = PyUnicode_AsUTF8(param.name);
    if (param.kind == ParamKind::TensorList && attrs) {
      const auto count = static_cast<uint32_t>(PyLong_AsLong(PyTuple_GET_ITEM(attrs, attr++)));
      if (index < at + count) return std::string(text ? text : "?") + "[" + std::to_string(index - at) + "]";
      at += count;
    } else if (param.kind <= ParamKind::Number) {
      if (index == at) return text ? text : "?";
      ++at;
    } else {
      ++attr;
    }
  }
  return "an operand";
}

void check_version(const Node* node, const Saved& saved, const std::string& what) {
  const uint32_t now = saved.buffer->version.load(std::memory_order_relaxed);
  if (now == saved.version) return;
  if (std::find(saved.sizes, saved.sizes + saved.rank, 0) != saved.sizes + saved.rank)
    return;  // nothing was overwritten
  raise_overwritten(node, what, " (version " + std::to_string(saved.version) + ", now " + std::to_string(now) + ")");
}

void raise_overwritten(const Node* node, const std::string& what, const std::string& versions) {
  raise_node_error("GradError", node, "write to a copy (x = x.clone()), or compute a new tensor instead of writing",
                   "%s: %s was overwritten in place after it was saved for the gradient%s", node_name(node),
                   what.c_str(), versions.c_str());
}

namespace {

bool any_other_data = false;  // most programs never do this

const TensorObject* other_data(const Edge& edge) {
  if (edge.leaf) return edge.leaf->flags & kOtherData ? edge.leaf : nullptr;
  if (!edge.node || !edge.node->extra) return nullptr;
  for (const auto& [index, tensor] : edge.node->extra->other_data)
    if (index == edge.index) return as_tensor(tensor.get());
  return nullptr;
}

}  // namespace

void note_other_data(TensorObject* tensor) {
  if (!requires_grad(tensor) || !tensor->buffer) return;
  any_other_data = true;
  if (!tensor->node) {
    tensor->flags |= kOtherData;
    return;
  }
  Ref now(as_object(make_detached(tensor)));
  auto& rows = extra_of(tensor->node).other_data;
  for (auto& [index, known] : rows)
    if (index == tensor->output_index) {
      known = std::move(now);
      return;
    }
  rows.emplace_back(tensor->output_index, std::move(now));
}

void take_other_data(Node* node) {
  if (!any_other_data) return;
  for (uint32_t i = 0; i < node->n_operands; ++i) {
    Saved& saved = node->operands[i];
    const TensorObject* now = saved.buffer ? other_data(node->edges[i]) : nullptr;
    if (!now || !now->buffer || now->buffer == saved.buffer) continue;
    check_version(node, saved, operand_name(node, i));
    if (now->dtype != saved.dtype || now->rank != saved.rank ||
        !std::equal(now->sizes, now->sizes + now->rank, saved.sizes))
      raise_node_error("GradError", node, "assign data of the same dtype and shape, or after backward",
                       "%s: %s was given data of another dtype or shape after it was saved for the gradient",
                       node_name(node), operand_name(node, i).c_str());
    Ref kept = Ref::borrow(as_object(const_cast<TensorObject*>(now)));
    if (saved.contiguous && !is_contiguous(now)) {
      PyObject* value = kept.get();
      GradMode off(false);
      kept = owned(PyObject_CallOneArg(reinterpret_cast<PyObject*>(require_slot(Slot::Contiguous)), value));
      now = as_tensor(kept.get());
    }
    retain(now->buffer);
    release(std::exchange(saved.buffer, now->buffer));
    saved.offset = now->offset;
    saved.version = now->buffer->version.load(std::memory_order_relaxed);
    saved.contiguous = is_contiguous(now);
    std::memcpy(saved.sizes + saved.rank, now->strides, now->rank * sizeof(int64_t));
  }
}

Ref restore(const Node* node, const Saved& saved, const Edge* edge, bool linked, uint32_t index) {
  TensorObject* tensor;
  if (saved.buffer) check_version(node, saved, edge ? operand_name(node, index) : "the result");
  if (linked && edge && edge->leaf) return Ref::borrow(as_object(edge->leaf));
  if (saved.buffer) {
    retain(saved.buffer);
    tensor = make_tensor(saved.buffer, saved.offset, saved.dtype, saved.rank, saved.sizes, saved.sizes + saved.rank);
  } else {
    Buffer* one = allocate(8);
    std::memset(one->data, 0, 8);
    // Rules that run under create_graph check their indices, also those that a dimension of size 1 leaves no choice
    // for: 0 lies in every dimension.
    const bool is_index = !is_floating(saved.dtype) && saved.dtype != DType::Bool;
    store_number(one->data, saved.dtype, static_cast<int64_t>(is_index ? 0 : 1));
    Dims strides;
    for (int d = 0; d < saved.rank; ++d) strides.push_back(0);
    tensor = make_tensor(one, 0, saved.dtype, saved.rank, saved.sizes, strides.data());
  }
  Ref result(as_object(tensor));
  if (linked && edge && edge->node) {
    retain_node(edge->node);
    set_node(tensor, edge->node, edge->index);
  }
  return result;
}

Ref restore_arguments(const Node* node, bool linked) {
  const std::vector<Param>& params = *node->op->params;
  PyObject* attrs = node->entry->attrs.get();
  Ref args = owned(PyTuple_New(static_cast<Py_ssize_t>(params.size())));
  uint32_t operand = 0, size = 0;
  Py_ssize_t attr = 0;
  auto next_operand = [&]() -> Ref {
    const Saved& saved = node->operands[operand];
    const Edge* edge = &node->edges[operand];
    ++operand;
    if (saved.kind == static_cast<uint8_t>(OperandKind::Absent)) return Ref::borrow(Py_None);
    if (saved.kind == static_cast<uint8_t>(OperandKind::Number)) return restore_number(saved);
    return restore(node, saved, edge, linked, operand - 1);
  };
  for (size_t p = 0; p < params.size(); ++p) {
    Ref value;
    switch (params[p].kind) {
      case ParamKind::Tensor:
      case ParamKind::OptionalTensor:
      case ParamKind::Number:
        value = next_operand();
        break;
      case ParamKind::TensorList: {
        const Py_ssize_t count = PyLong_AsSsize_t(PyTuple_GET_ITEM(attrs, attr++));
        value = owned(PyTuple_New(count));
        for (Py_ssize_t i = 0; i < count; ++i) PyTuple_SET_ITEM(value.get(), i, next_operand().release());
        break;
      }
      case ParamKind::Sizes: {
        PyObject* layout = PyTuple_GET_ITEM(attrs, attr++);
        const Py_ssize_t count = PyLong_AsSsize_t(PyTuple_GET_ITEM(layout, 0));
        value = owned(PyTuple_New(count));
        for (Py_ssize_t i = 0; i < count; ++i)
          PyTuple_SET_ITEM(value.get(), i, checked(PyLong_FromLongLong(node->sizes[size++])));
        break;
      }
      case ParamKind::Size:
        value = PyTuple_GET_ITEM(attrs, attr++) == Py_None ? Ref::borrow(Py_None)
                                                           : owned(PyLong_FromLongLong(node->sizes[size++]));
        break;
      default:
        value = Ref::borrow(PyTuple_GET_ITEM(attrs, attr++));
    }
    PyTuple_SET_ITEM(args.get(), p, value.release());
  }
  return args;
}

Ref link_arguments(Node* node, PyObject* args) {
  const std::vector<Param>& params = *node->op->params;
  Ref result = owned(PyTuple_New(PyTuple_GET_SIZE(args)));
  uint32_t operand = 0;
  auto link = [&](PyObject* value, PyObject* kept) -> Ref {
    const Edge& edge = node->edges[operand++];
    if (!is_tensor(value) || !edge || value != kept) return Ref::borrow(value);
    if (edge.leaf) return Ref::borrow(as_object(edge.leaf));
    TensorObject* tensor = make_detached(as_tensor(value));
    Ref linked(as_object(tensor));
    retain_node(edge.node);
    set_node(tensor, edge.node, edge.index);
    return linked;
  };
  for (Py_ssize_t p = 0; p < PyTuple_GET_SIZE(args); ++p) {
    PyObject *value = PyTuple_GET_ITEM(args, p), *kept = PyTuple_GET_ITEM(node->extra->args, p);
    Ref linked;
    if (params[p].kind == ParamKind::TensorList && PyTuple_Check(value)) {
      linked = owned(PyTuple_New(PyTuple_GET_SIZE(value)));
      for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(value); ++i)
        PyTuple_SET_ITEM(linked.get(), i, link(PyTuple_GET_ITEM(value, i), PyTuple_GET_ITEM(kept, i)).release());
    } else {
      linked = params[p].kind <= ParamKind::Number ? link(value, kept) : Ref::borrow(value);
    }
    PyTuple_SET_ITEM(result.get(), p, linked.release());
  }
  return result;
}

}  // namespace dg
