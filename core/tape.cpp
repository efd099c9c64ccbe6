#include "tape.h"

#include <algorithm>
#include <cstdarg>
#include <cstring>

#include "call.h"
#include "geometry.h"
#include "saved_hooks.h"
#include "view_grad.h"

namespace dg {

namespace {

uint64_t next_sequence = 1;

// Dead nodes whose references are still to be dropped: emptied by the outermost release, so that a chain of any length
// costs no stack. The tape is only touched under the GIL.
std::vector<Node*> dead_nodes;
bool emptying = false;

// A node comes after what it depends on: also after views that found their new place when their edges were asked for.
void comes_last(Node* node) {
  const bool placed = mode.place != mode.places_end;
  uint64_t& next = placed ? mode.place : next_sequence;
  if (next != node->sequence + 1) node->sequence = next++;
}

void destroy_node(Node* node) {
  free_saved(node);
  for (uint32_t i = 0; i < node->n_edges; ++i) drop_edge(node->edges[i]);
  if (NodeExtra* extra = std::exchange(node->extra, nullptr)) {
    Py_XDECREF(extra->python);
    if (extra->write) release_node(extra->write);
    Py_XDECREF(extra->args);
    Py_XDECREF(extra->outs);
    for (PyObject* meta : extra->metas) Py_XDECREF(meta);
    for (auto& [index, callable] : extra->hooks) Py_XDECREF(callable);
    for (Edge& edge : extra->expansion) drop_edge(edge);
    delete extra;
  }
  drop_mark(&node->mark);
  Py_XDECREF(reinterpret_cast<PyObject*>(node->op));
  PyObject_Free(node);
}

// Copies sizes and strides into the node's own storage.
void save_dims(Saved* saved, const TensorObject* tensor, int64_t** storage) {
  saved->sizes = *storage;
  std::memcpy(*storage, tensor->sizes, 2 * tensor->rank * sizeof(int64_t));
  *storage += 2 * tensor->rank;
  saved->dtype = tensor->dtype;
  saved->rank = tensor->rank;
  saved->contiguous = is_contiguous(tensor);
  saved->offset = tensor->offset;
}

void save_value(Node* node, Saved* saved, const TensorObject* tensor) {
  if (tensor->flags & kInference)
    raise_error_hint("GradError", "take a copy outside of inference_mode: x = x.clone(); or use no_grad instead",
                     "%s: a tensor made in inference_mode cannot be saved for the gradient", node_name(node));
  if (saved_hooks) return pack_value(node, static_cast<uint32_t>(saved - node->operands), tensor);
  retain(tensor->buffer);
  saved->buffer = tensor->buffer;
  saved->version = tensor->buffer->version.load(std::memory_order_relaxed);
}

}  // namespace

void drop_edge(Edge& edge) {
  if (edge.node) release_node(edge.node);
  Py_XDECREF(reinterpret_cast<PyObject*>(edge.leaf));
  edge = Edge{};
}

void release_node(Node* node) {
  if (--node->refs > 0) return;
  dead_nodes.push_back(node);
  if (emptying) return;
  emptying = true;
  while (!dead_nodes.empty()) {
    Node* dead = dead_nodes.back();
    dead_nodes.pop_back();
    destroy_node(dead);
  }
  emptying = false;
}

int visit_node(Node* node, visitproc visit, void* arg) {
  // Only a node that this tensor alone holds is the collector's business through it.
  if (node->refs != 1) return 0;
  for (uint32_t i = 0; i < node->n_edges; ++i) Py_VISIT(reinterpret_cast<PyObject*>(node->edges[i].leaf));
  if (!node->extra) return 0;
  Py_VISIT(node->extra->python);
  Py_VISIT(node->extra->args);
  Py_VISIT(node->extra->outs);
  for (auto& [index, callable] : node->extra->hooks) Py_VISIT(callable);
  for (const Edge& edge : node->extra->expansion) Py_VISIT(reinterpret_cast<PyObject*>(edge.leaf));
  for (const Packed& packed : node->extra->packed) {
    Py_VISIT(packed.object.get());
    Py_VISIT(packed.unpack.get());
  }
  return 0;
}

void drop_node(TensorObject* tensor) {
  Node* node = std::exchange(tensor->node, nullptr);
  if (!node) return;
  if (tensor->flags & kRetainGrad && node->extra) {
    auto& retained = node->extra->retained;
    retained.erase(std::remove_if(retained.begin(), retained.end(),
                                  [tensor](const Retained& entry) { return entry.tensor == tensor; }),
                   retained.end());
  }
  tensor->flags &= ~kRetainGrad;
  release_node(node);
}

void set_node(TensorObject* tensor, Node* node, uint32_t index) {
  const bool retained = tensor->flags & kRetainGrad;
  drop_node(tensor);
  tensor->node = node;
  tensor->output_index = index;
  if (tensor->base && tensor->buffer) tensor->view_version = tensor->buffer->version.load(std::memory_order_relaxed);
  if (retained) {
    tensor->flags |= kRetainGrad;
    extra_of(node).retained.push_back({index, tensor});
  }
  if (node->kind != NodeKind::Compiled || node->extra) track(tensor);
}

NodeExtra& extra_of(Node* node) {
  if (!node->extra) node->extra = new NodeExtra();
  return *node->extra;
}

Node* new_node(NodeKind kind, OpObject* op, uint32_t n_edges, uint32_t n_operands, uint32_t n_outputs, uint32_t n_dims,
               uint32_t n_sizes) {
  const size_t bytes = sizeof(Node) + n_edges * sizeof(Edge) + (n_operands + n_outputs) * sizeof(Saved) +
                       (n_dims + n_sizes) * sizeof(int64_t);
  void* memory = PyObject_Malloc(bytes);
  if (!memory) throw std::bad_alloc();
  std::memset(memory, 0, bytes - (n_dims + n_sizes) * sizeof(int64_t));
  Node* node = static_cast<Node*>(memory);
  node->refs = 1;
  node->kind = kind;
  node->n_outputs = static_cast<uint32_t>(n_outputs);
  node->n_edges = n_edges;
  node->n_operands = n_operands;
  node->n_sizes = n_sizes;
  node->sequence = mode.place != mode.places_end ? mode.place++ : next_sequence++;
  Py_XINCREF(reinterpret_cast<PyObject*>(op));
  node->op = op;
  node->edges = reinterpret_cast<Edge*>(node + 1);
  node->operands = reinterpret_cast<Saved*>(node->edges + n_edges);
  node->outs = node->operands + n_operands;
  node->sizes = reinterpret_cast<int64_t*>(node->outs + n_outputs);
  node->mark = take_mark();
  return node;
}

void skip_sequence(Node* node, uint64_t count) {
  next_sequence += count;
  node->sequence += count;
}

Edge edge_of(TensorObject* tensor) {
  if (tensor->base && tensor->buffer && tensor->base != Py_None) refresh_view(tensor);
  return known_edge_of(tensor);
}

Edge known_edge_of(TensorObject* tensor) {
  Edge edge;
  if (tensor->node) {
    retain_node(tensor->node);
    edge.node = tensor->node;
    edge.index = tensor->output_index;
  } else if (tensor->flags & kRequiresGrad) {
    Py_INCREF(as_object(tensor));
    edge.leaf = tensor;
  }
  return edge;
}

void free_saved(Node* node) {
  for (uint32_t i = 0; i < node->n_operands + node->n_outputs; ++i) {
    Buffer* buffer = std::exchange(node->operands[i].buffer, nullptr);
    if (!buffer) continue;
    node->freed = true;  // a node that saved nothing can be gone through again
    release(buffer);
  }
  if (!node->extra || node->extra->packed.empty()) return;
  node->freed = true;
  const std::vector<Packed> given_up = std::exchange(node->extra->packed, {});
}

const char* node_name(const Node* node) {
  switch (node->kind) {
    case NodeKind::View:
      return "view";
    case NodeKind::CopySlices:
      return node->extra && node->extra->write ? node_name(node->extra->write) : "write";
    case NodeKind::Python:
      return node->extra ? node->extra->name.c_str() : "python";
    default:
      return op_name(node->op);
  }
}

Ref node_location(const Node* node) {
  if (!node->mark.code) return Ref::borrow(Py_None);
  Ref module = owned(PyImport_ImportModule("duograph._stack"));
  return owned(PyObject_CallMethod(module.get(), "code_location", "Oi", node->mark.code, mark_line(node->mark)));
}

void raise_node_error(const char* type, const Node* node, const char* hint, const char* format, ...) {
  va_list values;
  va_start(values, format);
  Ref text(PyUnicode_FromString(format_message(format, values).c_str()));
  va_end(values);
  checked(text.get());
  Ref where = node_location(node);
  Ref line = owned(where.get() == Py_None ? PyTuple_New(0)
                                          : Py_BuildValue("(N)", PyUnicode_FromFormat("recorded at %S", where.get())));
  Ref module = owned(PyImport_ImportModule("duograph.errors"));
  Ref error_type = owned(PyObject_GetAttrString(module.get(), type));
  Ref error = owned(PyObject_CallFunction(error_type.get(), "OOz", text.get(), line.get(), hint));
  PyErr_SetObject(error_type.get(), error.get());
  throw ErrorSet{};
}

bool wanted_gradients(const OpObject* op, const Operand* operands, size_t count, Mask* needs) {
  if (!mode.records() || op->flags & kNondifferentiable) return false;
  bool any = false;
  for (size_t i = 0; i < count; ++i) {
    if (operands[i].kind != OperandKind::Tensor) continue;
    TensorObject* tensor = operands[i].tensor;
    if (tensor->base && tensor->buffer) refresh_view(tensor);
    if (!requires_grad(tensor)) continue;
    if (!any) clear_mask(*needs, count);
    any = true;
    set_mask_bit(*needs, i);
  }
  return any;
}

NeedsRow* find_needs_row(Entry* entry, const Mask& needs) {
  for (auto& row : entry->needs)
    if (std::equal(needs.begin(), needs.end(), row->needs.begin())) return row.get();
  return nullptr;
}

NeedsRow* needs_row(Entry* entry, const Mask& needs, size_t n_operands, size_t n_outs) {
  if (NeedsRow* known = find_needs_row(entry, needs)) return known;
  Ref wanted = mask_to_int(needs.data(), needs.size());
  PyObject* parameters[] = {reinterpret_cast<PyObject*>(entry->op), entry->specs.get(), entry->attrs.get(),
                            wanted.get()};
  WithoutAutocast rules;
  Ref masks = owned(PyObject_Vectorcall(hook(Hook::GradientNeeds), parameters, 4, nullptr));
  if (!PyTuple_Check(masks.get()) || PyTuple_GET_SIZE(masks.get()) != 2)
    raise_error("InternalError", "%s: gradient_needs must give (input_mask, output_mask)", op_name(entry->op));
  auto row = std::make_unique<NeedsRow>();
  row->needs.assign(needs.begin(), needs.end());
  int_to_mask(PyTuple_GET_ITEM(masks.get(), 0), n_operands, &row->operand_mask);
  int_to_mask(PyTuple_GET_ITEM(masks.get(), 1), n_outs, &row->output_mask);
  entry->needs.push_back(std::move(row));
  return entry->needs.back().get();
}

void record_compiled(OpObject* op, Entry* entry, const Operand* operands, size_t count, TensorObject* const* sources,
                     const int64_t* sizes, size_t n_sizes, TensorObject* const* outs, size_t n_outs,
                     const NeedsRow* row) {
  bool differentiable = false;
  uint32_t n_dims = 0;
  for (size_t i = 0; i < n_outs; ++i) {
    differentiable = differentiable || is_floating(outs[i]->dtype);
    n_dims += 2 * outs[i]->rank;
  }
  if (!differentiable) return;
  for (size_t i = 0; i < count; ++i)
    if (operands[i].kind == OperandKind::Tensor) n_dims += 2 * operands[i].tensor->rank;
  Node* node = new_node(NodeKind::Compiled, op, static_cast<uint32_t>(count), static_cast<uint32_t>(count),
                        static_cast<uint32_t>(n_outs), n_dims, static_cast<uint32_t>(n_sizes));
  NodeRef owned_node(node);
  node->entry = entry;
  if (n_sizes) std::memcpy(node->sizes, sizes, n_sizes * sizeof(int64_t));
  int64_t* storage = node->sizes + n_sizes;
  for (size_t i = 0; i < count; ++i) {
    Saved* saved = node->operands + i;
    saved->kind = static_cast<uint8_t>(operands[i].kind);
    if (operands[i].kind == OperandKind::Number) {
      saved->number_kind = static_cast<uint8_t>(operands[i].number_kind);
      saved->integer = operands[i].integer;
    } else if (operands[i].kind == OperandKind::Tensor) {
      save_dims(saved, sources[i], &storage);
      if (mask_bit(row->operand_mask.data(), i)) save_value(node, saved, sources[i]);
      if (mask_bit(row->needs.data(), i)) node->edges[i] = known_edge_of(operands[i].tensor);
    }
  }
  comes_last(node);
  for (size_t i = 0; i < n_outs; ++i) {
    Saved* saved = node->outs + i;
    saved->kind = static_cast<uint8_t>(OperandKind::Tensor);
    save_dims(saved, outs[i], &storage);
    if (mask_bit(row->output_mask.data(), i)) save_value(node, saved, outs[i]);
  }
  for (size_t i = 0; i < n_outs; ++i) {
    if (!is_floating(outs[i]->dtype)) continue;
    retain_node(node);
    if (op->flags & kInplace && outs[i]->base)
      rebase_view(outs[i], node);
    else
      set_node(outs[i], node, static_cast<uint32_t>(i));
  }
}

namespace {

// What a traced node keeps of a tensor: its present value without history. A concrete tensor is lifted, so that a later
// write to it does not change what the gradient reads.
Ref traced_value(PyObject* value) {
  if (is_tensor(value)) {
    if (hook_or_null(Hook::Lift)) {  // the value as it is now: an in-place write later is none of its business
      Ref lifted = owned(PyObject_CallOneArg(hook(Hook::Lift), value));
      if (is_tensor(lifted.get())) return Ref(as_object(make_detached(as_tensor(lifted.get()))));
    }
    return Ref(as_object(make_detached(as_tensor(value))));
  }
  if (!PyTuple_CheckExact(value)) return Ref::borrow(value);
  Ref result = owned(PyTuple_New(PyTuple_GET_SIZE(value)));
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(value); ++i)
    PyTuple_SET_ITEM(result.get(), i, traced_value(PyTuple_GET_ITEM(value, i)).release());
  return result;
}

}  // namespace

Ref traced_arguments(PyObject* args) { return traced_value(args); }

void record_traced(OpObject* op, PyObject* args, PyObject* before, PyObject* outs) {
  if (!mode.records() || op->flags & kNondifferentiable) return;
  const std::vector<Param>& params = *op->params;
  // Flattened operands in the order of the compile hooks: one per tensor-like parameter, each element of a list.
  std::vector<PyObject*> flat;
  for (size_t i = 0; i < params.size(); ++i) {
    PyObject* value = PyTuple_GET_ITEM(args, i);
    if (params[i].kind == ParamKind::TensorList && PyTuple_Check(value)) {
      for (Py_ssize_t j = 0; j < PyTuple_GET_SIZE(value); ++j) flat.push_back(PyTuple_GET_ITEM(value, j));
    } else if (params[i].kind <= ParamKind::Number) {
      flat.push_back(value);
    }
  }
  bool any = false;
  for (PyObject* value : flat) any = any || (is_tensor(value) && requires_grad(as_tensor(value)));
  if (!any) return;
  // A view that is written changes its base's history: the node belongs to what was written, Python puts it in place.
  const bool writes_view = op->flags & kInplace && is_tensor(outs) && as_tensor(outs)->base;
  if (writes_view && (!hook_or_null(Hook::ViewWritten) || !as_tensor(as_tensor(outs)->base)->traced))
    raise_error_hint("GradError", "write to the whole tensor, or build the result with where, cat or stack",
                     "%s: a view cannot be written in a captured function while it takes part in differentiation",
                     op_name(op));
  const Py_ssize_t n_outs = is_tensor(outs) ? 1 : PyTuple_GET_SIZE(outs);
  auto out = [&](Py_ssize_t i) { return as_tensor(is_tensor(outs) ? outs : PyTuple_GET_ITEM(outs, i)); };
  bool differentiable = false;
  for (Py_ssize_t i = 0; i < n_outs; ++i) differentiable = differentiable || is_floating(out(i)->dtype);
  if (!differentiable) return;
  Ref saved_args = before ? Ref::borrow(before) : traced_arguments(args);
  Ref tuple = is_tensor(outs) ? owned(PyTuple_Pack(1, outs)) : Ref::borrow(outs);
  Ref saved_outs = traced_value(tuple.get());
  Node* node =
      new_node(NodeKind::Traced, op, static_cast<uint32_t>(flat.size()), 0, static_cast<uint32_t>(n_outs), 0, 0);
  node->n_outputs = static_cast<uint32_t>(n_outs);
  NodeExtra& extra = extra_of(node);
  extra.args = saved_args.release();
  extra.outs = saved_outs.release();
  for (size_t i = 0; i < flat.size(); ++i)
    if (is_tensor(flat[i])) node->edges[i] = edge_of(as_tensor(flat[i]));
  comes_last(node);
  if (writes_view) {
    Ref written = traced_value(outs);
    set_node(as_tensor(written.get()), node, 0);
    PyObject* parameters[] = {outs, written.get()};
    owned(PyObject_Vectorcall(hook(Hook::ViewWritten), parameters, 2, nullptr));
    return;
  }
  for (Py_ssize_t i = 0; i < n_outs; ++i) {
    if (!is_floating(out(i)->dtype)) continue;
    retain_node(node);
    set_node(out(i), node, static_cast<uint32_t>(i));
  }
  release_node(node);
}

PyObject* record_python(PyObject* outputs, PyObject* inputs, const char* name, PyObject* backward, bool continues_sums,
                        bool at_once) {
  if (!PyCallable_Check(backward)) raise_error("ArgumentError", "record_python: expected a function for backward");
  Ref ins = owned(PySequence_Tuple(inputs)), outs = owned(PySequence_Tuple(outputs));
  if (mode.localizing) {
    PyObject* parameters[] = {ins.get(), Py_False};
    ins = owned(PyObject_Vectorcall(hook(Hook::Localize), parameters, 2, nullptr));
  }
  const Py_ssize_t n_inputs = PyTuple_GET_SIZE(ins.get()), n_outs = PyTuple_GET_SIZE(outs.get());
  bool any = false;
  for (Py_ssize_t i = 0; i < n_inputs; ++i)
    any = any || requires_grad(require_tensor(PyTuple_GET_ITEM(ins.get(), i), "record_python"));
  for (Py_ssize_t i = 0; i < n_outs; ++i) require_tensor(PyTuple_GET_ITEM(outs.get(), i), "record_python");
  if (!any || !mode.records()) return outs.release();
  Ref result = owned(PyTuple_New(n_outs));
  Node* node =
      new_node(NodeKind::Python, nullptr, static_cast<uint32_t>(n_inputs), 0, static_cast<uint32_t>(n_outs), 0, 0);
  NodeExtra& extra = extra_of(node);
  extra.python = Ref::borrow(backward).release();
  extra.name = name;
  extra.continues_sums = continues_sums;
  extra.at_once = at_once && n_outs == 1;
  node->n_outputs = static_cast<uint32_t>(n_outs);
  for (Py_ssize_t i = 0; i < n_inputs; ++i) node->edges[i] = edge_of(as_tensor(PyTuple_GET_ITEM(ins.get(), i)));
  comes_last(node);
  for (Py_ssize_t i = 0; i < n_outs; ++i) {
    TensorObject* out = as_tensor(PyTuple_GET_ITEM(outs.get(), i));
    Ref own = Ref::borrow(as_object(out));
    bool alias = requires_grad(out);
    for (Py_ssize_t j = 0; j < n_inputs && !alias; ++j) alias = PyTuple_GET_ITEM(ins.get(), j) == as_object(out);
    if (alias) own = Ref(as_object(make_detached(out)));
    extra.metas.push_back(as_object(make_detached(out)));
    if (is_floating(out->dtype)) {
      retain_node(node);
      set_node(as_tensor(own.get()), node, static_cast<uint32_t>(i));
    }
    PyTuple_SET_ITEM(result.get(), i, own.release());
  }
  release_node(node);
  return result.release();
}

void take_history(TensorObject* target, const TensorObject* result, const char* name) {
  if (!result->node) return;
  const char* hint = "write to a copy: x = x.clone()";
  const TensorObject* owner = target->base ? as_tensor(target->base) : target;
  if (owner->flags & kRequiresGrad && !owner->node)
    raise_error_hint("GradError", hint, "%s: a leaf tensor that requires grad cannot be written in place", name);
  Node* node = result->node;
  if (!target->base) {
    retain_node(node);
    return set_node(target, node, result->output_index);
  }
  if (target->traced || node->n_outputs != 1 || node->n_edges == 0)
    raise_error_hint("GradError", hint,
                     "%s: a view can be written in place only as the first input, where it is the only output, in "
                     "dynamic mode",
                     name);
  retain_node(node);
  rebase_view(target, node);
}

namespace {
thread_local Node* running_node = nullptr;
}

RunningNode::RunningNode(Node* node) : outer_(std::exchange(running_node, node)) {}
RunningNode::~RunningNode() { running_node = outer_; }

PyObject* running_output(PyObject* plain, uint32_t index) {
  TensorObject* tensor = require_tensor(plain, "running_output");
  if (!running_node || index >= running_node->n_outputs || !is_floating(tensor->dtype))
    return Ref::borrow(plain).release();
  Ref made(as_object(make_detached(tensor)));
  retain_node(running_node);
  set_node(as_tensor(made.get()), running_node, index);
  return made.release();
}

void record_python(PyObject* object, PyObject* inputs, PyObject* outputs) {
  Ref apply = owned(PyObject_GetAttrString(object, "apply"));
  owned(record_python(outputs, inputs, Py_TYPE(object)->tp_name, apply.get()));
}

void check_inplace_target(OpObject* op, TensorObject* target) {
  if (target->flags & kInference && !mode.inference)
    raise_error_hint("GradError", "write to a copy: x = x.clone()",
                     "%s: a tensor made in inference_mode cannot be written in place outside of it", op_name(op));
  if (!mode.grad) return;
  const char* hint = "update it under no_grad, or write to a copy: x = x.clone()";
  if (target->flags & kRequiresGrad && !target->node)
    raise_error_hint("GradError", hint, "%s: a leaf tensor that requires grad cannot be written in place", op_name(op));
  if (target->flags & kDetachedView && target->base && requires_grad(as_tensor(target->base)))
    raise_error_hint("GradError", hint,
                     "%s: a view made under no_grad of a tensor that requires grad cannot be written "
                     "with gradients enabled",
                     op_name(op));
  // Also a view of a leaf that is itself a view of what needs no gradient: the write could not be seen from the leaf.
  if (target->base && !as_tensor(target->base)->node &&
      (as_tensor(target->base)->flags & kRequiresGrad || requires_grad(target)))
    raise_error_hint("GradError", hint, "%s: a view of a leaf tensor that requires grad cannot be written in place",
                     op_name(op));
}

}  // namespace dg
