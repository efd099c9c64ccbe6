#include "static_gradient.h"

#include <nanobind/nanobind.h>

#include <algorithm>
#include <tuple>

#include "engine.h"
#include "expansion.h"
#include "geometry.h"
#include "mode.h"
#include "op.h"

namespace dg {

namespace {

PyTypeObject* gradient_type = nullptr;

Ref contiguous_gradient(PyObject* grad, const TensorSpec& spec, const int64_t* sizes) {
  if (grad == Py_None) return Ref(as_object(make_zeros(spec.dtype, static_cast<int>(spec.sizes.size()), sizes)));
  if (is_contiguous(require_tensor(grad, "backward"))) return Ref::borrow(grad);
  return owned(PyObject_CallOneArg(reinterpret_cast<PyObject*>(require_slot(Slot::Contiguous)), grad));
}

Ref unpack(const PackedValue& value, const char* name) {
  const int rank = static_cast<int>(value.sizes.size());
  Ref found = unpack_tensor(value.packed, value.dtype, rank, value.sizes.data(), name);
  const TensorObject* tensor = as_tensor(found.get());
  if (std::equal(value.strides.begin(), value.strides.end(), tensor->strides)) return found;
  const Extent extent = view_extent(rank, value.sizes.data(), value.strides.data());
  Buffer* buffer = allocate(static_cast<size_t>(extent.high) * itemsize(value.dtype));
  TensorObject* copy = make_tensor(buffer, 0, value.dtype, rank, value.sizes.data(), value.strides.data());
  Ref result(as_object(copy));
  strided_copy(copy->data, copy->strides, tensor->data, tensor->strides, rank, tensor->sizes, itemsize(value.dtype));
  return result;
}

Ref saved_values(const StaticGradientObject* self, const char* name) {
  if (self->saved) return Ref::borrow(self->saved);
  Ref values = owned(PyTuple_New(static_cast<Py_ssize_t>(self->packed->size())));
  for (size_t i = 0; i < self->packed->size(); ++i)
    PyTuple_SET_ITEM(values.get(), static_cast<Py_ssize_t>(i), unpack((*self->packed)[i], name).release());
  return values;
}

// The gradient of an input so far, or if there is none, what changes no bits of what is added to it.
Ref begun_sum(PyObject* sum, const TensorObject* input) {
  if (sum != Py_None) {
    if (is_contiguous(require_tensor(sum, "backward"))) return Ref::borrow(sum);
    return owned(PyObject_CallOneArg(reinterpret_cast<PyObject*>(require_slot(Slot::Contiguous)), sum));
  }
  TensorObject* made = make_empty(input->dtype, input->rank, input->sizes);
  Ref result(as_object(made));
  char nothing[8];
  store_number(nothing, input->dtype, -0.0);
  int64_t strides[kMaxRank] = {};
  strided_copy(made->data, made->strides, nothing, strides, made->rank, made->sizes, itemsize(made->dtype));
  return result;
}

// `sums`: for each input its gradient so far, or null if there is none of any.
PyObject* run_gradient(StaticGradientObject* self, StaticEntry* entry, PyObject* grads, PyObject* sums) {
  std::vector<Ref> kept;
  SmallVector<RunInput, 16> inputs;
  auto add = [&](TensorObject* t) { inputs.push_back({t->data, t->sizes, t->strides, t->rank, t->buffer, t->offset}); };
  kept.push_back(saved_values(self, entry->tape_name));
  PyObject* saved = kept.back().get();
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(saved); ++i) add(as_tensor(PyTuple_GET_ITEM(saved, i)));
  const int64_t* shapes = self->sizes->data() + entry->tape_sizes.size();
  for (size_t i = 0; i < entry->tape_specs.size(); ++i) {
    const TensorSpec& spec = entry->tape_specs[i];
    kept.push_back(contiguous_gradient(PyTuple_GET_ITEM(grads, i), spec, spec.open ? shapes : spec.sizes.data()));
    if (spec.open) shapes += spec.sizes.size();
    add(as_tensor(kept.back().get()));
  }
  Program* program = entry->tape_program;
  if (sums) {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(sums); ++i) {
      kept.push_back(begun_sum(PyTuple_GET_ITEM(sums, i), as_tensor(PyTuple_GET_ITEM(self->inputs, i))));
      add(as_tensor(kept.back().get()));
    }
    kept.push_back(owned(PyObject_CallNoArgs(entry->tape_continued)));
    if (!nanobind::try_cast<Program*>(nanobind::handle(kept.back().get()), program) || !program)
      raise_error("InternalError", "%s: the gradient has no program that goes on with sums", entry->tape_name);
  }
  if (static_cast<int>(inputs.size()) != program->n_inputs ||
      static_cast<int>(entry->tape_sizes.size()) != program->n_sizes ||
      static_cast<int>(self->numbers->size()) != program->n_numbers)
    raise_error("InternalError", "%s: the gradient program takes other inputs", entry->tape_name);
  SmallVector<Cell8, 8> numbers;
  numbers.resize(self->numbers->size());
  for (size_t i = 0; i < self->numbers->size(); ++i) {
    const Number& number = (*self->numbers)[i];
    const DType dtype = program->number_dtype(static_cast<int>(i));
    if (number.is_float)
      store_number(numbers[i].bytes, dtype, number.real);
    else
      store_number(numbers[i].bytes, dtype, number.integer);
  }
  SmallVector<RunOutput, 8> results;
  results.resize(static_cast<size_t>(program->n_outputs));
  RunStatus status;
  StaticCall call;
  call.entry = entry;
  StaticHost host(&call);
  if (!program->run(inputs.data(), numbers.data(), self->sizes->data(), results.data(), &status, &host))
    raise_error("InternalError", "%s: the gradient program stopped with check %lld", entry->tape_name,
                static_cast<long long>(status.check_code));
  Ref tuple = owned(PyTuple_New(program->n_outputs));
  for (int j = 0; j < program->n_outputs; ++j) {
    RunOutput& result = results[j];
    PyTuple_SET_ITEM(
        tuple.get(), j,
        as_object(make_tensor(result.buffer, result.offset, result.dtype, result.rank, result.sizes, result.strides)));
  }
  return tuple.release();
}

// Views whose base was written since they were made find their place on the tape now.
void settle(PyObject* outputs) {
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(outputs); ++i) {
    if (!is_tensor(PyTuple_GET_ITEM(outputs, i))) continue;
    Edge edge = edge_of(as_tensor(PyTuple_GET_ITEM(outputs, i)));
    drop_edge(edge);
  }
}

// Records the call's operators in its place on the tape; gives its results, and whether there was room for all.
std::pair<Ref, bool> record_in_place(StaticGradientObject* self, StaticEntry* entry) {
  const Places places(self->node);
  Ref outputs = owned(PyObject_CallFunctionObjArgs(entry->tape_again, self->arguments, self, nullptr));
  settle(outputs.get());
  return {std::move(outputs), places.sufficed()};
}

void check_may_run_again(const StaticEntry* entry) {
  if (!entry->tape_rebased.empty())
    raise_error_hint("GradError",
                     "take these gradients inside of the static function, or call it under dg.dynamic_mode()",
                     "%s: a gradient of its gradient, or of one of its results through another, runs its Python again, "
                     "and it has written in place what its results depend on",
                     entry->tape_name);
}

// With a history: the call's operators are recorded anew, in its place on the tape; at its end where the tape
// is that of a capture.
PyObject* record_again(StaticGradientObject* self, StaticEntry* entry, PyObject* grads, PyObject* sums) {
  check_may_run_again(entry);
  Ref outputs;
  bool in_place = false;
  if (mode.tracing) {
    outputs = owned(PyObject_CallFunctionObjArgs(entry->tape_again, self->arguments, Py_None, nullptr));
  } else if (self->node->extra->expanded) {  // by a hook of this very pass
    outputs = expanded_outputs(self->node);
  } else {
    std::tie(outputs, in_place) = record_in_place(self, entry);
  }
  Ref outs = owned(PyList_New(0)), seeds = owned(PyList_New(0));
  auto start = [&](PyObject* tensor, PyObject* grad) {
    if (grad == Py_None) return;
    if (!is_tensor(tensor))
      raise_error_hint(
          "GradError", "return it from the function",
          "%s: a gradient of its gradient goes through a tensor that it left in an object of its own making",
          entry->tape_name);
    if (!requires_grad(as_tensor(tensor))) return;
    check_status(PyList_Append(outs.get(), tensor));
    check_status(PyList_Append(seeds.get(), grad));
  };
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(grads); ++i)
    start(PyTuple_GET_ITEM(outputs.get(), i), PyTuple_GET_ITEM(grads, i));
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(sums); ++i)
    start(PyTuple_GET_ITEM(self->inputs, i), PyTuple_GET_ITEM(sums, i));
  Ref roots = owned(PyList_AsTuple(outs.get())), given = owned(PyList_AsTuple(seeds.get()));
  Ref found(compute_gradients(roots.get(), self->inputs, given.get(), mode.grad, mode.grad, true, true));
  if (in_place && !self->node->extra->expanded) expand(self->node, outputs.get());  // hooks of results ran before
  return found.release();
}

PyObject* gradient_call(PyObject* object, PyObject* args, PyObject*) {
  return guarded([&]() -> PyObject* {
    StaticGradientObject* self = as_gradient(object);
    StaticEntry* entry = self->entry ? as_static_entry(self->entry) : nullptr;
    PyObject *grads, *sums;
    if (!entry || !PyArg_ParseTuple(args, "O!O!", &PyTuple_Type, &grads, &PyTuple_Type, &sums)) throw ErrorSet{};
    if (PyTuple_GET_SIZE(grads) != static_cast<Py_ssize_t>(entry->tape_specs.size()))
      raise_error("InternalError", "%s: backward got %zd gradients", entry->tape_name, PyTuple_GET_SIZE(grads));
    for (size_t i = 0; i < self->versions->size(); ++i) {
      const TensorObject* saved = as_tensor(PyTuple_GET_ITEM(self->saved, static_cast<Py_ssize_t>(i)));
      if (saved->buffer && version_of(saved) == (*self->versions)[i]) continue;
      const std::vector<int>& outputs = entry->tape_saved_for[i];
      auto is_given = [&](int j) { return PyTuple_GET_ITEM(grads, j) != Py_None; };
      if (std::none_of(outputs.begin(), outputs.end(), is_given)) continue;
      raise_error_hint("GradError", "clone it before the in-place write",
                       "backward: a value that the gradient of %s needs was overwritten since the call",
                       entry->tape_name);
    }
    if (mode.grad || mode.tracing) return record_again(self, entry, grads, sums);
    bool begun = false;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(sums); ++i) begun |= PyTuple_GET_ITEM(sums, i) != Py_None;
    return run_gradient(self, entry, grads, begun ? sums : nullptr);
  });
}

int gradient_traverse(PyObject* object, visitproc visit, void* arg) {
  StaticGradientObject* self = as_gradient(object);
  Py_VISIT(Py_TYPE(object));
  Py_VISIT(self->entry);
  Py_VISIT(self->arguments);
  Py_VISIT(self->inputs);
  Py_VISIT(self->saved);
  if (self->depends)
    for (const Depends& one : *self->depends) Py_VISIT(one.tensor);
  Py_VISIT(self->before);
  Py_VISIT(self->written);
  if (self->packed)
    for (const PackedValue& value : *self->packed) {
      Py_VISIT(value.packed.object.get());
      Py_VISIT(value.packed.unpack.get());
    }
  return 0;
}

int gradient_clear(PyObject* object) {
  StaticGradientObject* self = as_gradient(object);
  Py_CLEAR(self->entry);
  Py_CLEAR(self->arguments);
  Py_CLEAR(self->inputs);
  Py_CLEAR(self->saved);
  if (self->depends) {
    const std::vector<Depends> given_up = std::exchange(*self->depends, {});
    for (const Depends& one : given_up) Py_DECREF(one.tensor);
  }
  Py_CLEAR(self->before);
  Py_CLEAR(self->written);
  if (self->packed) const std::vector<PackedValue> given_up = std::exchange(*self->packed, {});
  return 0;
}

void gradient_dealloc(PyObject* object) {
  PyObject_GC_UnTrack(object);
  gradient_clear(object);
  delete as_gradient(object)->versions;
  delete as_gradient(object)->packed;
  delete as_gradient(object)->numbers;
  delete as_gradient(object)->sizes;
  delete as_gradient(object)->depends;
  delete as_gradient(object)->depends_numbers;
  PyTypeObject* type = Py_TYPE(object);
  type->tp_free(object);
  Py_DECREF(type);
}

PyObject* get_before(PyObject* object, void*) { return Ref::borrow(as_gradient(object)->before).release(); }
PyObject* get_written(PyObject* object, void*) { return Ref::borrow(as_gradient(object)->written).release(); }
PyObject* get_missing(PyObject* object, void*) { return Ref::borrow(as_gradient(object)->entry).release(); }
PyObject* get_generator(PyObject* object, void*) {
  const RngState& state = as_gradient(object)->generator;
  return Py_BuildValue("(KK)", static_cast<unsigned long long>(state.key),
                       static_cast<unsigned long long>(state.counter));
}

PyGetSetDef attributes[] = {
    {"before", get_before, nullptr, "per effect of the call what it replaced, or `missing`", nullptr},
    {"missing", get_missing, nullptr, "stands for nothing in `before`", nullptr},
    {"written", get_written, nullptr, "tensors that the call wrote in place", nullptr},
    {"generator", get_generator, nullptr, "the random generator's state before the call", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};
PyMethodDef methods[] = {
    {"check", check_unchanged, METH_NOARGS, "Raises GradError if the call's Python would not compute the same again."},
    {nullptr, nullptr, 0, nullptr},
};
PyType_Slot slots[] = {
    {Py_tp_getset, attributes},
    {Py_tp_methods, methods},
    {Py_tp_dealloc, reinterpret_cast<void*>(gradient_dealloc)},
    {Py_tp_traverse, reinterpret_cast<void*>(gradient_traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(gradient_clear)},
    {Py_tp_call, reinterpret_cast<void*>(gradient_call)},
    {Py_tp_doc, const_cast<char*>("The gradient of one call of a static function.")},
    {0, nullptr},
};
PyType_Spec spec = {"duograph._core.StaticGradient", sizeof(StaticGradientObject), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};

}  // namespace

StaticGradientObject* new_gradient() { return as_gradient(checked(gradient_type->tp_alloc(gradient_type, 0))); }

void take_static_apart(Node* node) {
  StaticGradientObject* self = as_gradient(node->extra->python);
  Ref kept = Ref::borrow(node->extra->python);
  StaticEntry* entry = self->entry ? as_static_entry(self->entry) : nullptr;
  if (!entry) raise_error("InternalError", "the gradient of a static function was given up");
  check_may_run_again(entry);
  auto [outputs, sufficed] = record_in_place(self, entry);
  if (!sufficed)
    raise_error("GradError", "%s: a gradient between its results takes too many operators", entry->tape_name);
  if (!node->extra->expanded) expand(node, outputs.get());
}

void create_static_gradient_type() { gradient_type = reinterpret_cast<PyTypeObject*>(checked(PyType_FromSpec(&spec))); }

}  // namespace dg
