#include "autocast.h"

#include <unordered_map>

#include "call.h"
#include "dtype_object.h"

namespace dg {

namespace {

// A parameter's values in the lower dtype, as long as nobody writes to it.
struct Cast {
  Ref source, made;
  const char* data;
  uint64_t version;
};

using Casts = std::unordered_map<const TensorObject*, Cast>;

thread_local Casts* casts = nullptr;  // not destroyed with the thread: that would need the GIL

// Sets a scope in which a cast is made that everyone may use: not recorded, and no tensor of inference mode.
class Unrecorded {
 public:
  Unrecorded() : inference_(mode.inference) { mode.inference = false; }
  ~Unrecorded() { mode.inference = inference_; }
  Unrecorded(const Unrecorded&) = delete;

 private:
  GradMode grad_{false};
  bool inference_;
};

bool is_cast(const TensorObject* tensor, DType dtype) {
  return is_floating(tensor->dtype) && tensor->dtype != DType::Float64 && tensor->dtype != dtype;
}

// Outside of contexts nothing would say when to forget it.
bool is_kept(const TensorObject* tensor) {
  return mode.autocast.keeps_casts && mode.autocast.depth > 0 && !mode.tracing && tensor->buffer && !tensor->node &&
         !tensor->base && tensor->dtype == DType::Float32 && requires_grad(tensor);
}

TensorObject* kept_cast(OpObject* op, PyObject* const* values) {
  TensorObject* source = as_tensor(values[0]);
  if (!casts) casts = new Casts();
  auto found = casts->find(source);
  const uint64_t version = source->buffer->version.load(std::memory_order_relaxed);
  if (found != casts->end()) {
    const Cast& cast = found->second;
    if (cast.data == source->data && cast.version == version &&
        as_tensor(cast.made.get())->dtype == mode.autocast.dtype)
      return as_tensor(cast.made.get());
  }
  Unrecorded unrecorded;
  Ref made = owned(call_op(op, values, 2));
  Cast& cast = (*casts)[source];
  cast = {Ref::borrow(values[0]), std::move(made), source->data, version};
  return as_tensor(cast.made.get());
}

Ref converted(PyObject* value, DType dtype) {
  if (!is_tensor(value) || !is_cast(as_tensor(value), dtype)) return Ref::borrow(value);
  OpObject* op = require_slot(Slot::To);
  PyObject* parameters[] = {value, dtype_object(dtype)};
  if (dtype != mode.autocast.dtype || !is_kept(as_tensor(value))) return owned(call_op(op, parameters, 2));
  return owned(call_known(op, parameters, 2, kept_cast(op, parameters)));
}

Ref converted_list(PyObject* value, DType dtype) {
  const Py_ssize_t count = PySequence_Fast_GET_SIZE(value);
  Ref made = owned(PyTuple_New(count));
  for (Py_ssize_t i = 0; i < count; ++i)
    PyTuple_SET_ITEM(made.get(), i, converted(PySequence_Fast_GET_ITEM(value, i), dtype).release());
  return made;
}

bool is_list(PyObject* value) { return PyTuple_Check(value) || PyList_Check(value); }

// Visits the tensors among values, and in lists of them; `kinds`: of the parameters, null if all may be tensors.
template <class F>
void each_tensor(PyObject* const* values, size_t count, const std::vector<Param>* params, F&& visit) {
  for (size_t i = 0; i < count; ++i) {
    PyObject* value = values[i];
    if (params && (*params)[i].kind > ParamKind::TensorList) continue;
    if (is_tensor(value)) visit(as_tensor(value));
    if (!is_list(value)) continue;
    for (Py_ssize_t j = 0; j < PySequence_Fast_GET_SIZE(value); ++j)
      if (is_tensor(PySequence_Fast_GET_ITEM(value, j))) visit(as_tensor(PySequence_Fast_GET_ITEM(value, j)));
  }
}

// The values of a call with their tensors converted: borrowed, or owned by `kept`.
struct Converted {
  SmallVector<PyObject*, 12> values;
  std::vector<Ref> kept;
};

DType wanted_dtype(AutocastPolicy policy, PyObject* const* values, size_t count, const std::vector<Param>* params) {
  if (policy == AutocastPolicy::Float32) return DType::Float32;
  DType found = mode.autocast.dtype;
  if (policy == AutocastPolicy::Lower) return found;
  each_tensor(values, count, params, [&](const TensorObject* tensor) {
    if (is_cast(tensor, mode.autocast.dtype)) found = DType::Float32;
  });
  return found;
}

// False if there is nothing to convert.
bool convert(AutocastPolicy policy, PyObject* const* values, size_t count, const std::vector<Param>* params,
             Converted* made) {
  if (policy == AutocastPolicy::AsGiven) return false;
  const DType dtype = wanted_dtype(policy, values, count, params);
  bool changes = false;
  each_tensor(values, count, params, [&](const TensorObject* t) { changes = changes || is_cast(t, dtype); });
  if (!changes) return false;
  for (size_t i = 0; i < count; ++i) {
    if (!params || (*params)[i].kind <= ParamKind::TensorList) {
      made->kept.push_back(is_list(values[i]) ? converted_list(values[i], dtype) : converted(values[i], dtype));
      made->values.push_back(made->kept.back().get());
    } else {
      made->values.push_back(values[i]);
    }
  }
  return true;
}

}  // namespace

PyObject* call_autocast(OpObject* op, PyObject* const* values, size_t count) {
  Converted made;
  const bool changed = convert(op->autocast, values, count, op->params, &made);
  return call_as_given(op, changed ? made.values.data() : values, count);
}

PyObject* call_function_autocast(PyObject* function, AutocastPolicy policy, PyObject* const* args, size_t flagged,
                                 PyObject* keyword_names) {
  return guarded([&]() -> PyObject* {
    const size_t positional = static_cast<size_t>(PyVectorcall_NARGS(flagged));
    const size_t count = positional + (keyword_names ? static_cast<size_t>(PyTuple_GET_SIZE(keyword_names)) : 0);
    Converted made;
    const bool changed = convert(policy, args, count, nullptr, &made);
    WithoutAutocast inside;
    return PyObject_Vectorcall(function, changed ? made.values.data() : args, positional, keyword_names);
  });
}

Ref autocast_state() {
  const Autocast& now = mode.autocast;
  return owned(Py_BuildValue("(NONi)", PyBool_FromLong(now.enabled), dtype_object(now.dtype),
                             PyBool_FromLong(now.keeps_casts), now.depth));
}

Ref set_autocast(PyObject* state) {
  int enabled, keeps_casts, depth;
  PyObject* dtype;
  if (!PyTuple_Check(state) || !PyArg_ParseTuple(state, "pOpi", &enabled, &dtype, &keeps_casts, &depth)) {
    PyErr_Clear();
    raise_error("ArgumentError", "set_autocast: expected a tuple (enabled, dtype, keeps casts, depth)");
  }
  Ref before = autocast_state();
  mode.autocast = {enabled != 0, keeps_casts != 0, require_dtype(dtype, "set_autocast"), depth};
  if (depth == 0 && casts) {
    Casts dropped;
    dropped.swap(*casts);  // releasing tensors may run Python code that comes here again
  }
  return before;
}

}  // namespace dg
