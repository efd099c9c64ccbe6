#include "node_program.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "call.h"
#include "coalesce.h"
#include "count.h"
#include "saved_values.h"

namespace dg {

namespace {

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

// What the results of a program are like: the operand it is the gradient of, or the output it is the tangent of.
const Saved& target_of(const Node* node, int32_t index, bool forward) {
  return forward ? node->outs[index] : node->operands[index];
}

// The last word of a tangent program's key: no operand's word has this bit.
constexpr uint64_t kForwardWord = 1u << 13;

void check_targets(const Node* node, const GradientEntry* made, const Feed& feed, bool forward) {
  OpObject* op = node->op;
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
  const auto count = static_cast<int32_t>(forward ? node->n_outputs : node->n_operands);
  for (int32_t target : made->targets)
    if (target < 0 || target >= count ||
        (!forward && node->operands[target].kind != static_cast<uint8_t>(OperandKind::Tensor)))
      raise_error("InternalError", "%s: a gradient target is not a tensor operand", op_name(op));
}

GradientEntry* compile_gradient(Node* node, const Feed& feed, const Mask& needs, size_t n_needs_words, bool forward) {
  OpObject* op = node->op;
  auto made = std::make_unique<GradientEntry>();
  made->key.assign(feed.key.begin(), feed.key.end());
  const uint64_t* word = feed.key.data() + n_needs_words;
  Ref operands = owned(PyTuple_New(node->n_operands));
  for (uint32_t i = 0; i < node->n_operands; ++i) PyTuple_SET_ITEM(operands.get(), i, spec_of_word(*word++).release());
  const uint32_t n_given = forward ? node->n_operands : node->n_outputs;
  Ref outs = owned(PyTuple_New(node->n_outputs)), given = owned(PyTuple_New(n_given));
  for (uint32_t i = 0; i < node->n_outputs; ++i) PyTuple_SET_ITEM(outs.get(), i, spec_of_word(*word++).release());
  for (uint32_t i = 0; i < n_given; ++i) PyTuple_SET_ITEM(given.get(), i, spec_of_word(*word++).release());
  Ref n_sizes = owned(PyLong_FromUnsignedLong(node->n_sizes));
  Ref wanted = mask_to_int(needs.data(), needs.size());
  PyObject* parameters[] = {
      reinterpret_cast<PyObject*>(op), operands.get(), outs.get(),   given.get(),
      node->entry->attrs.get(),        n_sizes.get(),  wanted.get(), forward ? Py_True : Py_False};
  WithoutAutocast rules;
  Ref compiled = owned(PyObject_Vectorcall(hook(Hook::CompileGradient), parameters, 8, nullptr));
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
    check_targets(node, made.get(), feed, forward);
  }
  made->program_object = std::move(compiled);
  node->entry->gradients.push_back(std::move(made));
  return node->entry->gradients.back().get();
}

// Null after a compilation.
GradientEntry* find_gradient(Node* node, const Feed& feed, const Mask& needs, size_t n_needs_words, bool forward) {
  Entry* entry = node->entry;
  auto matches = [&](const GradientEntry* candidate) {
    return candidate->key.size() == feed.key.size() &&
           std::memcmp(candidate->key.data(), feed.key.data(), feed.key.size() * sizeof(uint64_t)) == 0;
  };
  if (entry->last_gradient && matches(entry->last_gradient)) return entry->last_gradient;
  for (auto& candidate : entry->gradients)
    if (matches(candidate.get())) return entry->last_gradient = candidate.get();
  entry->last_gradient = compile_gradient(node, feed, needs, n_needs_words, forward);
  return nullptr;
}

// A program output as the gradient of `operand` (or the tangent of an output), in the operand's own sizes.
TensorObject* make_gradient(const Node* node, const Saved& operand, RunOutput& out, const Feed& feed, bool joint) {
  BufferRef buffer(out.buffer);
  const int64_t* strides = out.strides;
  const int64_t* sizes = out.sizes;
  int rank = out.rank;
  int64_t offset = out.offset;
  if (const View* own = joint && out.alias >= 0 ? &feed.views[out.alias] : nullptr;
      own && count_elements(own->rank, own->sizes) == count_elements(out.rank, out.sizes)) {
    // An input itself: its own geometry, of which the program saw the merged form.
    const View& source = *own;
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

// Whether there is a tangent of an operand, or a gradient of an output; those that are absent are zero.
bool is_given(const Node* node, TensorObject* const* given, uint32_t i, bool forward) {
  return given[i] && (forward || is_floating(node->outs[i].dtype));
}

// Which operands are wanted (backward) or come with a tangent, and all inputs: operands, results, what is given.
void fill_feed(Feed& feed, Node* node, TensorObject* const* given, bool forward, Mask& needs) {
  clear_mask(needs, node->n_operands);
  for (uint32_t i = 0; i < node->n_operands; ++i) {
    if (forward ? given[i] != nullptr : static_cast<bool>(node->edges[i])) set_mask_bit(needs, i);
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
  const uint32_t n_given = forward ? node->n_operands : node->n_outputs;
  for (uint32_t i = 0; i < n_given; ++i)
    if (is_given(node, given, i, forward)) add_input(feed, given[i]);
  settle_scratch(feed);
}

// How the inputs of an elementwise operator's gradient are seen: as one flat dimension, or broadcast and merged.
struct Joined {
  bool joint;
  bool is_flat;
  MergedViews merged;
  int64_t flat[2];  // size and stride
};

void join_inputs(Feed& feed, const Node* node, Joined* joined) {
  joined->joint = node->op->flags & kElementwise;
  joined->is_flat = joined->joint && all_flat(feed);
  if (joined->is_flat) {
    joined->flat[0] = count_elements(feed.views[0].rank, feed.views[0].sizes);
    joined->flat[1] = 1;
    for (RunInput& input : feed.inputs) {
      input.rank = 1;
      input.sizes = joined->flat;
      input.strides = joined->flat + 1;
    }
  } else if (joined->joint) {
    IndexSpace space;
    if (!broadcast_sizes(feed.views.data(), feed.views.size(), &space))
      raise_error("InternalError", "%s: gradient and operands do not broadcast", node_name(node));
    merge_dimensions(feed.views.data(), feed.views.size(), &space, &joined->merged);
    for (size_t k = 0; k < feed.inputs.size(); ++k) {
      feed.inputs[k].rank = space.merged_rank;
      feed.inputs[k].sizes = joined->merged.dims.data() + k * 2 * space.merged_rank;
      feed.inputs[k].strides = feed.inputs[k].sizes + space.merged_rank;
    }
  }
}

// The key behind the words of what is wanted: one word for each operand, result and given tensor.
void add_words(Feed& feed, const Node* node, TensorObject* const* given, bool forward, const Joined& joined) {
  size_t input = 0;
  auto add_word = [&](int original_rank) {
    const RunInput& in = feed.inputs[input];
    uint64_t word;
    if (joined.is_flat) {
      word = flat_word(feed.dtypes[input], original_rank == 0);
    } else {
      uint16_t ones = joined.joint ? joined.merged.ones[input] : 0;
      for (int d = 0; !joined.joint && d < in.rank; ++d) ones |= static_cast<uint16_t>((in.sizes[d] == 1) << d);
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
  const uint32_t n_given = forward ? node->n_operands : node->n_outputs;
  for (uint32_t i = 0; i < n_given; ++i) {
    if (is_given(node, given, i, forward))
      add_word(target_of(node, static_cast<int32_t>(i), !forward).rank);
    else
      feed.key.push_back(kAbsentWord);
  }
  if (forward) feed.key.push_back(kForwardWord);
}

void run_program(Node* node, const Feed& feed, Program* program, RunOutput* outputs) {
  SmallVector<Cell8, 4> cells;
  for (uint32_t i = 0; i < node->n_operands; ++i) {
    const Saved& saved = node->operands[i];
    if (saved.kind != static_cast<uint8_t>(OperandKind::Number)) continue;
    Operand operand;
    operand.number_kind = static_cast<NumberKind>(saved.number_kind);
    operand.integer = saved.integer;
    Cell8 cell;
    store_operand_number(operand, program->number_dtype(static_cast<int>(cells.size())), &cell);
    cells.push_back(cell);
  }
  RunStatus status;
  if (program->run(feed.inputs.data(), cells.data(), node->sizes, outputs, &status)) return;
  if (status.kernel_status[0] || status.check_code == kCheckDevice) raise_run_failure(node->op, Py_None, status);
  raise_node_error("InternalError", node, "please report it", "%s: check %lld of the gradient failed", node_name(node),
                   static_cast<long long>(status.check_code));
}

void tell_watcher_of(const std::string& what, const Gradients& results) {
  Ref list = owned(PyList_New(0));
  for (TensorObject* found : results)
    if (found) check_status(PyList_Append(list.get(), as_object(found)));
  tell_watcher(what.c_str(), owned(PyList_AsTuple(list.get())));
}

}  // namespace

void check_freed(const Node* node) {
  if (node->freed)
    raise_node_error("GradError", node, "call the first backward() with retain_graph=True",
                     "%s: the values its gradient needs were freed by an earlier backward()", node_name(node));
}

bool run_compiled(Node* node, TensorObject* const* given, bool forward, Gradients* results) {
  check_freed(node);
  Feed feed;
  Mask needs;
  fill_feed(feed, node, given, forward, needs);
  for (uint64_t word : needs) feed.key.push_back(word);
  Joined joined;
  join_inputs(feed, node, &joined);
  add_words(feed, node, given, forward, joined);

  GradientEntry* entry = find_gradient(node, feed, needs, needs.size(), forward);
  if (!entry) return false;
  if (!entry->program) return true;
  SmallVector<RunOutput, 2> outputs;
  outputs.resize(entry->targets.size());
  run_program(node, feed, entry->program, outputs.data());
  const std::string what =
      counting || watcher ? op_name(node->op) + std::string(forward ? " forward" : " backward") : "";
  if (counting)
    count_run(what.c_str(), feed.inputs.data(), feed.inputs.size(), entry->program, outputs.data(), outputs.size());
  size_t made = 0;
  try {
    for (; made < outputs.size(); ++made) {
      const int32_t target = entry->targets[made];
      Py_XDECREF(reinterpret_cast<PyObject*>((*results)[target]));
      (*results)[target] = nullptr;
      (*results)[target] = make_gradient(node, target_of(node, target, forward), outputs[made], feed, joined.joint);
    }
  } catch (...) {
    for (++made; made < outputs.size(); ++made) release(outputs[made].buffer);
    throw;
  }
  if (watcher) tell_watcher_of(what, *results);
  return true;
}

}  // namespace dg
