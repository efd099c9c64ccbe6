#include "gradient.h"

#include <algorithm>
#include <cstring>

#include "call.h"
#include "coalesce.h"
#include "count.h"
#include "saved_hooks.h"
#include "saved_values.h"
#include "user_sizes.h"
#include "view_grad.h"

namespace dg {

namespace {

void check_freed(const Node* node) {
  if (node->freed)
    raise_node_error("GradError", node, "call the first backward() with retain_graph=True",
                     "%s: the values its gradient needs were freed by an earlier backward()", node_name(node));
}

// A saved tensor as program input. Values that are not read come with null data and plain strides.
struct SavedView {
  View view;
  char* data;
};

SavedView view_of(const Saved& saved, Dims* scratch) {
  SavedView result;
  result.view = {saved.sizes, saved.sizes + saved.rank, saved.rank, saved.contiguous};
  result.data = nullptr;
  if (saved.buffer) {
    result.data = static_cast<char*>(saved.buffer->data) + saved.offset * static_cast<int64_t>(itemsize(saved.dtype));
  } else if (!saved.contiguous) {
    const size_t begin = scratch->size();
    scratch->resize(begin + saved.rank);
    contiguous_strides(saved.rank, saved.sizes, scratch->data() + begin);
    result.view.strides = nullptr;  // set by the caller once the scratch has stopped growing
    result.view.contiguous = true;
  }
  return result;
}

// One gradient run: everything the program is fed with.
struct Feed {
  SmallVector<RunInput, 8> inputs;
  SmallVector<View, 8> views;
  SmallVector<DType, 8> dtypes;
  Dims scratch;
  Key key;
};

void add_input(Feed& feed, const Saved& saved) {
  SavedView view = view_of(saved, &feed.scratch);
  feed.inputs.push_back({view.data, view.view.sizes, view.view.strides, saved.rank, saved.buffer, saved.offset});
  feed.views.push_back(view.view);
  feed.dtypes.push_back(saved.dtype);
}

void add_input(Feed& feed, const TensorObject* tensor) {
  feed.inputs.push_back({tensor->data, tensor->sizes, tensor->strides, tensor->rank, tensor->buffer, tensor->offset});
  feed.views.push_back({tensor->sizes, tensor->strides, tensor->rank, is_contiguous(tensor)});
  feed.dtypes.push_back(tensor->dtype);
}

void settle_scratch(Feed& feed) {
  int64_t* strides = feed.scratch.data();
  for (size_t i = 0; i < feed.inputs.size(); ++i) {
    if (feed.views[i].strides) continue;
    feed.views[i].strides = feed.inputs[i].strides = strides;
    strides += feed.views[i].rank;
  }
}

// True if all views are contiguous and of the same sizes: the merged view is then one flat dimension.
bool all_flat(const Feed& feed) {
  const View& first = feed.views[0];
  for (const View& view : feed.views) {
    if (!view.contiguous || view.rank != first.rank) return false;
    if (std::memcmp(view.sizes, first.sizes, first.rank * sizeof(int64_t)) != 0) return false;
  }
  return true;
}

GradientEntry* compile_gradient(Node* node, const Feed& feed, const Mask& needs, size_t n_needs_words) {
  OpObject* op = node->op;
  auto made = std::make_unique<GradientEntry>();
  made->key.assign(feed.key.begin(), feed.key.end());
  const uint64_t* word = feed.key.data() + n_needs_words;
  Ref operands = owned(PyTuple_New(node->n_operands));
  for (uint32_t i = 0; i < node->n_operands; ++i) PyTuple_SET_ITEM(operands.get(), i, spec_of_word(*word++).release());
  Ref outs = owned(PyTuple_New(node->n_outputs)), grads = owned(PyTuple_New(node->n_outputs));
  for (uint32_t i = 0; i < node->n_outputs; ++i) PyTuple_SET_ITEM(outs.get(), i, spec_of_word(*word++).release());
  for (uint32_t i = 0; i < node->n_outputs; ++i) PyTuple_SET_ITEM(grads.get(), i, spec_of_word(*word++).release());
  Ref n_sizes = owned(PyLong_FromUnsignedLong(node->n_sizes));
  Ref wanted = mask_to_int(needs.data(), needs.size());
  PyObject* parameters[] = {reinterpret_cast<PyObject*>(op), operands.get(), outs.get(),  grads.get(),
                            node->entry->attrs.get(),        n_sizes.get(),  wanted.get()};
  Ref compiled = owned(PyObject_Vectorcall(hook(Hook::CompileGradient), parameters, 7, nullptr));
  if (PyTuple_Check(compiled.get()) && PyTuple_GET_SIZE(compiled.get()) == 2) {
    PyObject* targets = PyTuple_GET_ITEM(compiled.get(), 1);
    if (!PyTuple_Check(targets)) raise_error("InternalError", "%s: gradient targets must be a tuple", op_name(op));
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(targets); ++i)
      made->targets.push_back(static_cast<int32_t>(PyLong_AsLong(PyTuple_GET_ITEM(targets, i))));
    if (PyErr_Occurred()) throw ErrorSet{};
    compiled = Ref::borrow(PyTuple_GET_ITEM(compiled.get(), 0));
  } else {
    for (uint32_t i = 0; i < node->n_operands; ++i)
      if (mask_bit(needs.data(), i)) made->targets.push_back(static_cast<int32_t>(i));
  }
  if (compiled.get() != Py_None) {
    made->program = program_of(compiled.get(), op);
    int numbers = 0;
    for (uint32_t i = 0; i < node->n_operands; ++i)
      numbers += node->operands[i].kind == static_cast<uint8_t>(OperandKind::Number);
    if (made->program->n_inputs != static_cast<int>(feed.inputs.size()) || made->program->n_numbers != numbers ||
        made->program->n_sizes != static_cast<int>(node->n_sizes) ||
        made->program->n_outputs != static_cast<int>(made->targets.size()))
      raise_error("InternalError",
                  "%s: the gradient's program does not fit: %d inputs for %zu, %d numbers for %d, %d "
                  "sizes for %u, %d outputs for %zu",
                  op_name(op), made->program->n_inputs, feed.inputs.size(), made->program->n_numbers, numbers,
                  made->program->n_sizes, node->n_sizes, made->program->n_outputs, made->targets.size());
    for (int32_t target : made->targets)
      if (target < 0 || target >= static_cast<int32_t>(node->n_operands) ||
          node->operands[target].kind != static_cast<uint8_t>(OperandKind::Tensor))
        raise_error("InternalError", "%s: a gradient target is not a tensor operand", op_name(op));
  }
  made->program_object = std::move(compiled);
  node->entry->gradients.push_back(std::move(made));
  return node->entry->gradients.back().get();
}

// Null after a compilation.
GradientEntry* find_gradient(Node* node, const Feed& feed, const Mask& needs, size_t n_needs_words) {
  Entry* entry = node->entry;
  auto matches = [&](const GradientEntry* candidate) {
    return candidate->key.size() == feed.key.size() &&
           std::memcmp(candidate->key.data(), feed.key.data(), feed.key.size() * sizeof(uint64_t)) == 0;
  };
  if (entry->last_gradient && matches(entry->last_gradient)) return entry->last_gradient;
  for (auto& candidate : entry->gradients)
    if (matches(candidate.get())) return entry->last_gradient = candidate.get();
  entry->last_gradient = compile_gradient(node, feed, needs, n_needs_words);
  return nullptr;
}

// A program output as the gradient of `operand`, in the operand's own sizes.
TensorObject* make_gradient(const Node* node, const Saved& operand, RunOutput& out, const Feed& feed, bool joint) {
  BufferRef buffer(out.buffer);
  const int64_t* strides = out.strides;
  const int64_t* sizes = out.sizes;
  int rank = out.rank;
  int64_t offset = out.offset;
  if (joint && out.alias >= 0) {
    // An input itself: its own geometry, of which the program saw the merged form.
    const View& source = feed.views[out.alias];
    sizes = source.sizes;
    strides = source.strides;
    rank = source.rank;
    offset = feed.inputs[out.alias].offset;
  }
  const bool same = rank == operand.rank && std::equal(sizes, sizes + rank, operand.sizes);
  if (same && (out.alias >= 0 || !joint)) return make_tensor(buffer.detach(), offset, out.dtype, rank, sizes, strides);
  if (count_elements(rank, sizes) != count_elements(operand.rank, operand.sizes) || out.dtype != operand.dtype)
    raise_error("InternalError", "%s: the gradient has the wrong shape or dtype", node_name(node));
  if (!joint && !same) raise_error("InternalError", "%s: the gradient has the wrong shape", node_name(node));
  if (out.alias < 0 || strides_are_contiguous(rank, sizes, strides))
    return make_contiguous(buffer.detach(), offset, out.dtype, operand.rank, operand.sizes);
  TensorObject* copy = make_empty(out.dtype, operand.rank, operand.sizes);
  Ref guard(as_object(copy));
  Dims plain;
  plain.resize(rank);
  contiguous_strides(rank, sizes, plain.data());
  strided_copy(copy->data, plain.data(),
               static_cast<char*>(buffer.get()->data) + offset * static_cast<int64_t>(itemsize(out.dtype)), strides,
               rank, sizes, itemsize(out.dtype));
  guard.release();
  return copy;
}

// False after a compilation: Python ran meanwhile, and another thread may have freed what the node saved.
bool run_compiled(Node* node, TensorObject* const* grads, Gradients* results) {
  check_freed(node);
  const bool joint = node->op->flags & kElementwise;
  Feed feed;
  Mask needs;
  clear_mask(needs, node->n_operands);
  for (uint32_t i = 0; i < node->n_operands; ++i) {
    if (node->edges[i]) set_mask_bit(needs, i);
    const Saved& saved = node->operands[i];
    if (saved.kind != static_cast<uint8_t>(OperandKind::Tensor)) continue;
    if (saved.buffer && saved.buffer->version.load(std::memory_order_relaxed) != saved.version)
      check_version(node, saved, operand_name(node, i));
    add_input(feed, saved);
  }
  for (uint32_t i = 0; i < node->n_outputs; ++i) {
    if (node->outs[i].buffer) check_version(node, node->outs[i], "the result");
    add_input(feed, node->outs[i]);
  }
  Ref zeros[4];
  std::vector<Ref> more_zeros;
  for (uint32_t i = 0; i < node->n_outputs; ++i) {
    const Saved& out = node->outs[i];
    if (!is_floating(out.dtype)) continue;
    TensorObject* grad = grads[i];
    if (!grad) {
      grad = make_zeros(out.dtype, out.rank, out.sizes);
      if (i < 4)
        zeros[i] = Ref(as_object(grad));
      else
        more_zeros.push_back(Ref(as_object(grad)));
    }
    add_input(feed, grad);
  }
  settle_scratch(feed);

  for (uint64_t word : needs) feed.key.push_back(word);
  const size_t n_needs_words = needs.size();
  MergedViews merged;
  SmallVector<int64_t, 2> flat;
  const bool is_flat = joint && all_flat(feed);
  if (is_flat) {
    flat.push_back(count_elements(feed.views[0].rank, feed.views[0].sizes));
    flat.push_back(1);
    for (RunInput& input : feed.inputs) {
      input.rank = 1;
      input.sizes = flat.data();
      input.strides = flat.data() + 1;
    }
  } else if (joint) {
    IndexSpace space;
    if (!broadcast_sizes(feed.views.data(), feed.views.size(), &space))
      raise_error("InternalError", "%s: gradient and operands do not broadcast", node_name(node));
    merge_dimensions(feed.views.data(), feed.views.size(), &space, &merged);
    for (size_t k = 0; k < feed.inputs.size(); ++k) {
      feed.inputs[k].rank = space.merged_rank;
      feed.inputs[k].sizes = merged.dims.data() + k * 2 * space.merged_rank;
      feed.inputs[k].strides = feed.inputs[k].sizes + space.merged_rank;
    }
  }
  size_t input = 0;
  auto add_word = [&](int original_rank) {
    const RunInput& in = feed.inputs[input];
    uint64_t word;
    if (is_flat) {
      word = flat_word(feed.dtypes[input], original_rank == 0);
    } else {
      uint16_t ones = joint ? merged.ones[input] : 0;
      for (int d = 0; !joint && d < in.rank; ++d) ones |= static_cast<uint16_t>((in.sizes[d] == 1) << d);
      word = operand_word(feed.dtypes[input], in.rank, in.sizes, in.strides, ones, original_rank == 0);
    }
    feed.key.push_back(word);
    ++input;
  };
  for (uint32_t i = 0; i < node->n_operands; ++i) {
    const Saved& saved = node->operands[i];
    if (saved.kind == static_cast<uint8_t>(OperandKind::Tensor))
      add_word(saved.rank);
    else
      feed.key.push_back(saved.kind == static_cast<uint8_t>(OperandKind::Number)
                             ? number_word(static_cast<NumberKind>(saved.number_kind))
                             : kAbsentWord);
  }
  for (uint32_t i = 0; i < node->n_outputs; ++i) add_word(node->outs[i].rank);
  for (uint32_t i = 0; i < node->n_outputs; ++i) {
    if (is_floating(node->outs[i].dtype))
      add_word(node->outs[i].rank);
    else
      feed.key.push_back(kAbsentWord);
  }

  GradientEntry* entry = find_gradient(node, feed, needs, n_needs_words);
  if (!entry) return false;
  if (!entry->program) return true;
  SmallVector<Cell8, 4> cells;
  for (uint32_t i = 0; i < node->n_operands; ++i) {
    const Saved& saved = node->operands[i];
    if (saved.kind != static_cast<uint8_t>(OperandKind::Number)) continue;
    Operand operand;
    operand.number_kind = static_cast<NumberKind>(saved.number_kind);
    operand.integer = saved.integer;
    Cell8 cell;
    store_operand_number(operand, entry->program->number_dtype(static_cast<int>(cells.size())), &cell);
    cells.push_back(cell);
  }
  SmallVector<RunOutput, 2> outputs;
  outputs.resize(entry->targets.size());
  RunStatus status;
  if (!entry->program->run(feed.inputs.data(), cells.data(), node->sizes, outputs.data(), &status)) {
    if (status.kernel_status[0] || status.check_code == kCheckDevice) raise_run_failure(node->op, Py_None, status);
    raise_node_error("InternalError", node, "please report it", "%s: check %lld of the gradient failed",
                     node_name(node), static_cast<long long>(status.check_code));
  }
  if (counting)
    count_run((std::string(op_name(node->op)) + " backward").c_str(), feed.inputs.data(), feed.inputs.size(),
              entry->program, outputs.data(), outputs.size());
  size_t made = 0;
  try {
    for (; made < outputs.size(); ++made) {
      const int32_t target = entry->targets[made];
      Py_XDECREF(reinterpret_cast<PyObject*>((*results)[target]));
      (*results)[target] = nullptr;
      (*results)[target] = make_gradient(node, node->operands[target], outputs[made], feed, joint);
    }
  } catch (...) {
    for (++made; made < outputs.size(); ++made) release(outputs[made].buffer);
    throw;
  }
  if (watcher) {
    Ref list = owned(PyList_New(0));
    for (TensorObject* found : *results)
      if (found) check_status(PyList_Append(list.get(), as_object(found)));
    tell_watcher((std::string(op_name(node->op)) + " backward").c_str(), owned(PyList_AsTuple(list.get())));
  }
  return true;
}

Ref grads_tuple(TensorObject* const* grads, size_t count) {
  Ref tuple = owned(PyTuple_New(static_cast<Py_ssize_t>(count)));
  for (size_t i = 0; i < count; ++i)
    PyTuple_SET_ITEM(tuple.get(), i, Ref::borrow(grads[i] ? as_object(grads[i]) : Py_None).release());
  return tuple;
}

// Distributes what Python gave over the edges.
void take_results(const Node* node, PyObject* given, Gradients* results) {
  Ref items = is_tensor(given) || given == Py_None ? owned(PyTuple_Pack(1, given)) : owned(PySequence_Tuple(given));
  if (PyTuple_GET_SIZE(items.get()) != static_cast<Py_ssize_t>(node->n_edges))
    raise_node_error("GradError", node, "return one gradient, or None, for each input",
                     "%s: backward gave %zd gradients for %u inputs", node_name(node), PyTuple_GET_SIZE(items.get()),
                     node->n_edges);
  for (uint32_t i = 0; i < node->n_edges; ++i) {
    PyObject* grad = PyTuple_GET_ITEM(items.get(), i);
    if (grad == Py_None || !node->edges[i]) continue;
    if (!is_tensor(grad))
      raise_node_error("GradError", node, nullptr, "%s: gradient %u is not a Tensor but %s", node_name(node), i,
                       Py_TYPE(grad)->tp_name);
    check_gradient(node, i, node->edges[i], as_tensor(grad));
    (*results)[i] = as_tensor(Ref::borrow(grad).release());
  }
}

void run_rule(Node* node, TensorObject* const* grads, bool create_graph, Gradients* results) {
  Ref args, outs;
  if (node->kind == NodeKind::Traced) {
    args = create_graph ? link_arguments(node) : Ref::borrow(node->extra->args);
    outs = Ref::borrow(node->extra->outs);
    if (create_graph) {  // the outputs too, as what this node computed
      Ref linked = owned(PyTuple_New(PyTuple_GET_SIZE(outs.get())));
      for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(outs.get()); ++i) {
        TensorObject* out = make_detached(as_tensor(PyTuple_GET_ITEM(outs.get(), i)));
        PyTuple_SET_ITEM(linked.get(), i, as_object(out));
        if (!is_floating(out->dtype)) continue;
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
  Ref given = grads_tuple(grads, node->n_outputs);
  PyObject* parameters[] = {reinterpret_cast<PyObject*>(node->op), given.get(), outs.get(), args.get(), wanted.get()};
  RawSizes raw;
  Ref found = owned(PyObject_Vectorcall(hook(Hook::PythonGradient), parameters, 5, nullptr));
  take_results(node, found.get(), results);
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

void node_gradients_from(Node* node, TensorObject* const* grads, PyObject* sums, Gradients* results) {
  results->resize(node->n_edges);
  for (TensorObject*& result : *results) result = nullptr;
  Ref given = grads_tuple(grads, node->n_outputs);
  RunningNode running(node);
  Ref found = owned(PyObject_CallFunctionObjArgs(node->extra->python, given.get(), sums, nullptr));
  take_results(node, found.get(), results);
}

void node_gradients(Node* node, TensorObject* const* grads, bool create_graph, Gradients* results) {
  results->resize(node->n_edges);
  for (TensorObject*& result : *results) result = nullptr;
  check_freed(node);
  Unpacked unpacked(node);
  bool traced = mode.tracing > 0;
  for (uint32_t i = 0; i < node->n_outputs; ++i) traced = traced || (grads[i] && grads[i]->traced);
  switch (node->kind) {
    case NodeKind::Compiled:
      if (create_graph || traced)
        run_rule(node, grads, create_graph, results);
      else
        while (!run_compiled(node, grads, results)) continue;
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
