#include "call.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <limits>

#include "autocast.h"
#include "count.h"
#include "dtype_object.h"
#include "entry_compile.h"
#include "flatten.h"
#include "view_grad.h"

namespace dg {

constinit thread_local Mode mode;

TensorObject* contiguous_copy(const TensorObject* tensor, const char* user) {
  require_host(tensor, user);
  TensorObject* copy = make_empty(tensor->dtype, tensor->rank, tensor->sizes);
  strided_copy(copy->data, copy->strides, tensor->data, tensor->strides, tensor->rank, tensor->sizes,
               itemsize(tensor->dtype));
  return copy;
}

namespace {

// Checks what will be written and copies operands that overlap it without being the very same view.
void prepare_inplace(Call& call) {
  Operands& operands = call.operands;
  if (call.op->flags & kInplaceLists) {
    for (size_t i = 0; i < call.op->params->size(); ++i) {
      if (!(call.op->writes >> i & 1)) continue;
      for (Py_ssize_t j = 0; j < PyTuple_GET_SIZE(call.values[i]); ++j)
        check_inplace_target(call.op, as_tensor(PyTuple_GET_ITEM(call.values[i], j)));
    }
    return;
  }
  if (call.op->params->front().kind == ParamKind::TensorList) {
    const Py_ssize_t count = PyTuple_GET_SIZE(call.values[0]);
    for (Py_ssize_t i = 0; i < count; ++i) check_inplace_target(call.op, operands[i].tensor);
    return;
  }
  if (operands[0].kind != OperandKind::Tensor)
    refuse_value(call.op, call.op->params->front(), "a Tensor", call.values[0]);
  TensorObject* target = operands[0].tensor;
  check_inplace_target(call.op, target);
  if (overlaps_itself_now(target))
    raise_error_hint("ShapeError", "write to a copy: x = x.clone()",
                     "%s: the target shows one element at several places (it was expanded, or has overlapping windows)",
                     op_name(call.op));
  for (size_t i = 1; i < operands.size(); ++i) {
    if (operands[i].kind != OperandKind::Tensor || operands[i].tensor->buffer != target->buffer) continue;
    if (same_view(operands[i].tensor, target) || !may_overlap(operands[i].tensor, target)) continue;
    Ref copy(as_object(contiguous_copy(operands[i].tensor, "copy")));
    TensorObject* plain = as_tensor(copy.get());
    if (requires_grad(operands[i].tensor) && mode.grad) {  // keep its place on the tape
      Edge edge = edge_of(operands[i].tensor);
      if (edge.node) set_node(plain, edge.node, edge.index);
      if (edge.leaf) {
        Py_DECREF(as_object(edge.leaf));
        raise_error("GradError", "%s: an operand that requires grad overlaps the tensor written", op_name(call.op));
      }
    }
    operands[i].tensor = plain;
    call.kept.push_back(std::move(copy));
  }
}

// What the program gave back, as tensors. `joint`: the broadcast shape of an elementwise operator, or null.
TensorObject* make_output(const Call& call, RunOutput& out, const IndexSpace* joint, const int* input_operands) {
  if (out.alias >= 0) {
    TensorObject* source = call.operands[input_operands[out.alias]].tensor;
    if (out.inplace) {
      release(out.buffer);
      bump_version(source);
      Py_INCREF(as_object(source));
      return source;
    }
    if (joint) {  // an identity: the merged view says nothing about the shape
      release(out.buffer);
      TensorObject* same = make_detached(source);
      return same;
    }
    TensorObject* view = make_tensor(out.buffer, out.offset, out.dtype, out.rank, out.sizes, out.strides);
    if (call.op->flags & kView) {
      view->flags = static_cast<uint8_t>((view->flags & ~kInference) | (source->flags & kInference));
      view->base = Ref::borrow(source->base ? source->base : as_object(source)).release();
      view->view_version = view->buffer->version.load(std::memory_order_relaxed);
      if (source->flags & kDetachedView || (!mode.grad && requires_grad(source))) view->flags |= kDetachedView;
    }
    return view;
  }
  if (joint) return make_contiguous(out.buffer, out.offset, out.dtype, joint->rank, joint->sizes);
  return make_tensor(out.buffer, out.offset, out.dtype, out.rank, out.sizes, out.strides);
}

// Frees the buffers of outputs that did not become tensors when making one of them threw.
struct OutputGuard {
  RunOutput* outputs;
  size_t begin, end;
  ~OutputGuard() {
    for (; begin < end; ++begin) release(outputs[begin].buffer);
  }
};

// Owned tensors.
struct TensorList {
  SmallVector<TensorObject*, 4> tensors;
  ~TensorList() {
    for (TensorObject* tensor : tensors) Py_XDECREF(reinterpret_cast<PyObject*>(tensor));
  }
};

// The tensors of one call as the inputs of its program.
struct Inputs {
  SmallVector<RunInput, 8> runs;
  SmallVector<int, 8> operands;  // of each, which operand it is
  SmallVector<View, 8> views;
  IndexSpace space;  // of an elementwise operator: what all broadcast to, merged
  MergedViews merged;
};

[[gnu::always_inline]] inline void read_inputs(const Operands& operands, Inputs* in) {
  for (size_t i = 0; i < operands.size(); ++i) {
    if (operands[i].kind != OperandKind::Tensor) continue;
    const TensorObject* t = operands[i].tensor;
    in->runs.push_back({t->data, t->sizes, t->strides, t->rank, t->buffer, t->offset});
    in->operands.push_back(static_cast<int>(i));
    in->views.push_back({t->sizes, t->strides, t->rank, is_contiguous(t)});
  }
}

// Of an elementwise operator: broadcasts, and makes dimensions one that lie alike in all inputs.
[[gnu::always_inline]] inline void join_inputs(const Call& call, Inputs* in) {
  OpObject* op = call.op;
  IndexSpace& space = in->space;
  if (!broadcast_sizes(in->views.data(), in->views.size(), &space)) {
    explain_failure(op, value_tuple(call.values.data(), call.values.size()).get(), 0);
    raise_error("InternalError", "%s: the operands do not broadcast", op_name(op));
  }
  if (op->flags & kInplace) {
    const TensorObject* target = call.operands[0].tensor;
    if (space.rank != target->rank || !std::equal(target->sizes, target->sizes + target->rank, space.sizes)) {
      explain_failure(op, value_tuple(call.values.data(), call.values.size()).get(), 0);
      raise_error("ShapeError", "%s: the result does not have the shape of the tensor written", op_name(op));
    }
  }
  merge_dimensions(in->views.data(), in->views.size(), &space, &in->merged);
  for (size_t k = 0; k < in->runs.size(); ++k) {
    in->runs[k].rank = space.merged_rank;
    in->runs[k].sizes = in->merged.dims.data() + k * 2 * space.merged_rank;
    in->runs[k].strides = in->runs[k].sizes + space.merged_rank;
  }
}

[[gnu::always_inline]] inline void add_operand_words(Call& call, const Inputs& in, bool joint) {
  size_t input = 0;
  for (const Operand& operand : call.operands) {
    if (operand.kind == OperandKind::Absent) {
      call.key.push_back(kAbsentWord);
    } else if (operand.kind == OperandKind::Number) {
      call.key.push_back(number_word(operand.number_kind));
    } else {
      const RunInput& run = in.runs[input];
      uint16_t ones = 0;
      if (joint)
        ones = in.merged.ones[input];
      else
        for (int d = 0; d < run.rank; ++d) ones |= static_cast<uint16_t>((run.sizes[d] == 1) << d);
      call.key.push_back(
          operand_word(operand.tensor->dtype, run.rank, run.sizes, run.strides, ones, operand.tensor->rank == 0));
      ++input;
    }
  }
}

using Sources = SmallVector<TensorObject*, 8>;

// What the tape saves of each operand. An in-place operator overwrites values that its own gradient may read: copies.
void choose_sources(Call& call, const NeedsRow* row, Sources* sources) {
  Operands& operands = call.operands;
  sources->resize(operands.size());
  for (size_t i = 0; i < operands.size(); ++i) {
    (*sources)[i] = operands[i].tensor;
    if (!(call.op->flags & kInplace) || operands[i].kind != OperandKind::Tensor) continue;
    if (!mask_bit(row->operand_mask.data(), i) || !may_overlap(operands[i].tensor, operands[0].tensor)) continue;
    (*sources)[i] = contiguous_copy(operands[i].tensor, "copy");
    call.kept.push_back(Ref(as_object((*sources)[i])));
  }
}

[[gnu::always_inline]] inline void run_program(const Call& call, const Inputs& in, Program* program,
                                               RunOutput* outputs) {
  SmallVector<Cell8, 8> cells;
  for (const Operand& operand : call.operands) {
    if (operand.kind != OperandKind::Number) continue;
    Cell8 cell;
    store_operand_number(operand, program->number_dtype(static_cast<int>(cells.size())), &cell);
    cells.push_back(cell);
  }
  RunStatus status;
  if (!program->run(in.runs.data(), cells.data(), call.sizes.data(), outputs, &status))
    raise_run_failure(call.op, value_tuple(call.values.data(), call.values.size()).get(), status);
  if (counting)
    count_run(op_name(call.op), in.runs.data(), in.runs.size(), program, outputs,
              static_cast<size_t>(program->n_outputs));
}

// What the caller gets: the tensor written, the result, or a tuple of several.
[[gnu::always_inline]] inline PyObject* results_of(const Call& call, TensorList* made) {
  OpObject* op = call.op;
  SmallVector<TensorObject*, 4>& outs = made->tensors;
  if (op->flags & kInplace && op->params->front().kind == ParamKind::Tensor)
    return Ref::borrow(call.values[0]).release();
  if (op->flags & kInplaceLists) Py_RETURN_NONE;
  if (outs.size() == 1) return as_object(std::exchange(outs[0], nullptr));
  Ref result = owned(PyTuple_New(static_cast<Py_ssize_t>(outs.size())));
  for (size_t i = 0; i < outs.size(); ++i)
    PyTuple_SET_ITEM(result.get(), i, as_object(std::exchange(outs[i], nullptr)));
  return result.release();
}

void run_outputs(const Call& call, const Inputs& in, Program* program, TensorList* made) {
  SmallVector<RunOutput, 2> outputs;
  outputs.resize(program->n_outputs);
  run_program(call, in, program, outputs.data());
  OutputGuard guard{outputs.data(), 0, outputs.size()};
  const bool joint = call.op->flags & kElementwise;
  while (guard.begin < guard.end) {
    RunOutput& out = outputs[guard.begin++];
    made->tensors.push_back(make_output(call, out, joint ? &in.space : nullptr, in.operands.data()));
  }
}

// Null after a compilation: Python ran meanwhile, so what was read of the operands may no longer be so. `known`: the
// result, if it need not be computed.
PyObject* try_call(Call& call, const TensorObject* known) {
  OpObject* op = call.op;
  if (op->flags & (kInplace | kInplaceLists)) prepare_inplace(call);
  Operands& operands = call.operands;
  const size_t count = operands.size();
  const bool joint = op->flags & kElementwise;
  Inputs in;
  read_inputs(operands, &in);
  if (joint) join_inputs(call, &in);
  add_operand_words(call, in, joint);

  Entry* entry = op->entries->find(call.key);
  if (!entry) {
    compile_entry(call);
    return nullptr;
  }
  Program* program = entry->program;

  Mask needs;
  NeedsRow* row = nullptr;
  Sources sources;
  const bool recorded = wanted_gradients(op, operands.data(), count, &needs);
  if (recorded) {
    row = find_needs_row(entry, needs);
    if (!row) {
      needs_row(entry, needs, count, program->n_outputs);
      return nullptr;
    }
    choose_sources(call, row, &sources);
  }

  TensorList made;
  if (known)
    made.tensors.push_back(make_detached(known));
  else
    run_outputs(call, in, program, &made);
  if (recorded)
    record_compiled(op, entry, operands.data(), count, sources.data(), call.sizes.data(), call.sizes.size(),
                    made.tensors.data(), made.tensors.size(), row);
  return results_of(call, &made);
}

PyObject* run_call(Call& call, const TensorObject* known = nullptr) {
  const size_t structure = call.key.size();
  while (true) {
    if (PyObject* result = try_call(call, known)) return result;
    call.key.resize(structure);
  }
}

// What `call_plain` is called with.
struct PlainCall {
  Operand operands[2];
  uint64_t key[3];
  RunInput inputs[2];
  size_t n_inputs = 0;
  TensorObject* first = nullptr;
};

// False unless the operands are tensors of one shape, contiguous, or one and a Python number.
bool read_plain(PyObject* const* values, size_t count, PlainCall* call) {
  static const int64_t one = 1;
  for (size_t i = 0; i < count; ++i) {
    PyObject* value = values[i];
    Operand& operand = call->operands[i];
    if (is_tensor(value)) {
      TensorObject* t = as_tensor(value);
      if (!t->buffer || !is_contiguous(t)) return false;
      if (const TensorObject* first = call->first) {
        if (t->rank != first->rank) return false;
        for (int d = 0; d < t->rank; ++d)
          if (t->sizes[d] != first->sizes[d]) return false;
      } else {
        call->first = t;
      }
      operand.tensor = t;
      operand.kind = OperandKind::Tensor;
      call->key[i + 1] = flat_word(t->dtype, t->rank == 0);
      call->inputs[call->n_inputs++] = {t->data, &t->numel, &one, 1, t->buffer, t->offset};
    } else {
      operand.tensor = nullptr;
      operand.kind = OperandKind::Number;
      if (!read_number(value, &operand)) return false;
      call->key[i + 1] = number_word(operand.number_kind);
    }
  }
  call->key[0] = header_word(count);
  return call->first;
}

// `a + b` with tensors of one shape, contiguous, or a Python number beside a tensor: no merging, no vectors.
// Null when the call is not of that kind or is not compiled yet.
PyObject* call_plain(OpObject* op, PyObject* const* values, size_t count) {
  PlainCall call;
  if (!read_plain(values, count, &call)) return nullptr;
  auto& [operands, key, inputs, n_inputs, first] = call;
  Entry* entry = op->entries->last();
  if (!entry || entry->key.size() != count + 1 || std::memcmp(entry->key.data(), key, (count + 1) * 8) != 0) {
    entry = op->entries->find(key, count + 1, hash_words(key, count + 1));
    if (!entry) return nullptr;
    op->entries->set_last(entry);
  }
  Program* program = entry->program;
  if (program->n_outputs != 1) return nullptr;
  Cell8 cells[2];
  int n_cells = 0;
  for (size_t i = 0; i < count; ++i)
    if (operands[i].kind == OperandKind::Number) {
      store_operand_number(operands[i], program->number_dtype(n_cells), &cells[n_cells]);
      ++n_cells;
    }
  RunOutput output;
  RunStatus status;
  if (!program->run(inputs, cells, nullptr, &output, &status))
    raise_run_failure(op, value_tuple(values, count).get(), status);
  if (counting) count_run(op_name(op), inputs, n_inputs, program, &output, 1);
  TensorObject* result;
  if (output.alias >= 0) {
    release(output.buffer);
    result = make_detached(n_inputs == 2 && output.alias == 1 ? operands[1].tensor : first);
  } else {
    result = make_contiguous(output.buffer, output.offset, output.dtype, first->rank, first->sizes);
  }
  Mask needs;
  if (wanted_gradients(op, operands, count, &needs)) {
    Ref kept(as_object(result));
    NeedsRow* row = needs_row(entry, needs, count, 1);
    TensorObject* sources[2] = {operands[0].tensor, count > 1 ? operands[1].tensor : nullptr};
    record_compiled(op, entry, operands, count, sources, nullptr, 0, &result, 1, row);
    kept.release();
  }
  return as_object(result);
}

}  // namespace

Ref value_tuple(PyObject* const* values, size_t count) {
  Ref tuple = owned(PyTuple_New(static_cast<Py_ssize_t>(count)));
  for (size_t i = 0; i < count; ++i) PyTuple_SET_ITEM(tuple.get(), i, Ref::borrow(values[i]).release());
  return tuple;
}

// What a kernel's operand has to be, by its place in the table of primitives.
static Ref demand(int64_t number) {
  Ref module = owned(PyImport_ImportModule("duograph.ir.primitives"));
  return owned(PyObject_CallMethod(module.get(), "demand_words", "L", static_cast<long long>(number)));
}

void raise_run_failure(OpObject* op, PyObject* args, const RunStatus& status) {
  const char* name = op ? op_name(op) : "program";
  switch (status.kernel_status[0]) {
    case 0:
      break;
    case 1:
      raise_error("BoundsError", "%s: index %lld is out of range for a dimension of size %lld", name,
                  static_cast<long long>(status.kernel_status[1]), static_cast<long long>(status.kernel_status[2]));
    case 2:
      raise_error("DivisionError", "%s: integer division by zero", name);
    case 3:
      raise_error("DomainError", "%s: integers to negative integer powers are not allowed", name);
    case 4: {
      double value;
      std::memcpy(&value, &status.kernel_status[1], sizeof value);
      if (value != value) value = std::numeric_limits<double>::quiet_NaN();  // without a sign
      raise_error("DomainError", "%s: needs %s, got %g", name, PyUnicode_AsUTF8(demand(status.kernel_status[2]).get()),
                  value);
    }
    default:
      raise_error("InternalError", "%s: a kernel failed with code %lld", name,
                  static_cast<long long>(status.kernel_status[0]));
  }
  if (status.check_code == kCheckDevice)
    raise_error("DeviceError", "%s: the tensors must be in cpu memory; one is on another device", name);
  if (op) explain_failure(op, args, status.check_code);
  raise_error("InternalError", "%s: check %lld failed", name, static_cast<long long>(status.check_code));
}

namespace {

PyObject* run_op(OpObject* op, PyObject* const* values, size_t count) {
  if (op->plain) {
    PyObject* result = call_plain(op, values, count);
    if (result) return result;
  }
  Call call;
  call.op = op;
  call.values.resize(count);
  std::copy(values, values + count, call.values.begin());
  flatten(call);
  if (call.traced) return trace_call(op, call.values.data(), count);
  return run_call(call);
}

// The results, as a tuple; of an operator that writes lists of tensors, those.
Ref watched(OpObject* op, PyObject* const* values, size_t count, PyObject* result) {
  if (PyTuple_Check(result)) return Ref::borrow(result);
  Ref list = owned(PyList_New(0));
  if (result != Py_None) check_status(PyList_Append(list.get(), result));
  for (size_t i = 0; result == Py_None && i < count; ++i)
    if (op->writes >> i & 1) check_status(PyList_SetSlice(list.get(), PY_SSIZE_T_MAX, PY_SSIZE_T_MAX, values[i]));
  return owned(PyList_AsTuple(list.get()));
}

// Whether an object is of a class that takes calls itself: a tensor of a graph that is built.
bool takes_calls(PyObject* value) {
  return !is_tensor(value) &&
         PyObject_HasAttrString(reinterpret_cast<PyObject*>(Py_TYPE(value)), "__duograph_function__");
}

// Whether an argument, or an item of it, is one.
bool stands_for_later(PyObject* value) {
  if (!PyList_CheckExact(value) && !PyTuple_CheckExact(value)) return takes_calls(value);
  PyObject** items = PySequence_Fast_ITEMS(value);
  return std::any_of(items, items + PySequence_Fast_GET_SIZE(value), takes_calls);
}

}  // namespace

PyObject* call_op(OpObject* op, PyObject* const* values, size_t count) {
  if (op->autocast != AutocastPolicy::None && mode.autocast.enabled) return call_autocast(op, values, count);
  return call_as_given(op, values, count);
}

PyObject* call_known(OpObject* op, PyObject* const* values, size_t count, const TensorObject* result) {
  Call call;
  call.op = op;
  call.values.resize(count);
  std::copy(values, values + count, call.values.begin());
  flatten(call);
  return run_call(call, result);
}

PyObject* call_as_given(OpObject* op, PyObject* const* values, size_t count) {
  if (mode.tracing) return trace_call(op, values, count);
  if (!watcher) return run_op(op, values, count);
  Ref result = owned(run_op(op, values, count));
  tell_watcher(op_name(op), watched(op, values, count, result.get()));
  return result.release();
}

PyObject* call_positional(OpObject* op, PyObject* const* values, size_t count) {
  const std::vector<Param>& params = *op->params;
  if (count == params.size()) return call_op(op, values, count);
  Bound bound;
  bind_arguments(op, values, count, nullptr, &bound);
  return call_op(op, bound.values.data(), bound.values.size());
}

PyObject* call_vector(PyObject* self, PyObject* const* args, size_t flagged_count, PyObject* keyword_names) {
  OpObject* op = as_op(self);
  const size_t count = PyVectorcall_NARGS(flagged_count);
  const size_t with_keywords = count + (keyword_names ? static_cast<size_t>(PyTuple_GET_SIZE(keyword_names)) : 0);
  PyObject* result = guarded([&]() -> PyObject* {
    if (!keyword_names && count == static_cast<size_t>(op->n_positional_tensors) && count == op->params->size())
      return call_op(op, args, count);
    Bound bound;
    const std::string misfit = try_bind_arguments(op, args, count, keyword_names, &bound);
    if (!misfit.empty()) return call_misfit(op, args, count, keyword_names, misfit);
    return call_op(op, bound.values.data(), bound.values.size());
  });
  if (result) return result;
  PyObject *type, *value, *traceback;
  PyErr_Fetch(&type, &value, &traceback);
  const bool later = std::any_of(args, args + with_keywords, stands_for_later);
  PyErr_Restore(type, value, traceback);
  if (!later) return nullptr;
  PyErr_Clear();
  return guarded([&] { return call_misfit(op, args, count, keyword_names, "is called with what has no value yet"); });
}

}  // namespace dg
