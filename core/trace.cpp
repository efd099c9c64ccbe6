// Calls that meet a traced tensor: Python emits the graph, the core keeps the tape as it does for concrete calls.
#include "call.h"
#include "interop.h"
#include "user_sizes.h"

namespace dg {

namespace {

// The value the tracer sees: lists as tuples, arrays as tensors, foreign integers as int.
Ref trace_value(const Param& param, PyObject* value) {
  if (is_tensor(value) || value == Py_None || PyFloat_Check(value) || PyLong_Check(value) || is_symbolic(value))
    return Ref::borrow(value);
  if (is_live_number(value)) {
    if (param.kind <= ParamKind::Number) return Ref::borrow(value);
    return param.kind == ParamKind::Size || param.kind == ParamKind::Sizes ? size_value(value) : pin_number(value);
  }
  switch (param.kind) {
    case ParamKind::Tensor:
    case ParamKind::OptionalTensor:
    case ParamKind::Number: {
      Ref scalar = unwrap_numpy_scalar(value);
      if (scalar) return scalar;
      Ref converted = tensor_from_array(value);
      return converted ? converted : Ref::borrow(value);
    }
    case ParamKind::TensorList:
    case ParamKind::Sizes: {
      if (PyUnicode_Check(value) || !PySequence_Check(value)) return Ref::borrow(value);
      Ref items = PyTuple_CheckExact(value) ? Ref::borrow(value) : owned(PySequence_Tuple(value));
      return param.kind == ParamKind::Sizes ? size_values(items.get()) : items;
    }
    default:
      return canonical_attribute(value);
  }
}

// The tensor that the operator writes, null if it writes none or several; an error if one may not be written.
TensorObject* written_target(OpObject* op, PyObject* args) {
  for (size_t i = 0; op->writes && i < static_cast<size_t>(PyTuple_GET_SIZE(args)); ++i) {
    PyObject* list = PyTuple_GET_ITEM(args, i);
    if (!(op->writes >> i & 1) || !PyTuple_Check(list)) continue;
    for (Py_ssize_t j = 0; j < PyTuple_GET_SIZE(list); ++j)
      if (is_tensor(PyTuple_GET_ITEM(list, j))) check_inplace_target(op, as_tensor(PyTuple_GET_ITEM(list, j)));
  }
  if (!(op->flags & kInplace)) return nullptr;
  PyObject* first = PyTuple_GET_ITEM(args, 0);
  if (is_tensor(first)) {
    check_inplace_target(op, as_tensor(first));
    return as_tensor(first);
  }
  if (!PyTuple_Check(first))
    raise_error("ArgumentError", "%s: the first argument must be a Tensor, not %s", op_name(op),
                Py_TYPE(first)->tp_name);
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(first); ++i)
    if (is_tensor(PyTuple_GET_ITEM(first, i))) check_inplace_target(op, as_tensor(PyTuple_GET_ITEM(first, i)));
  return nullptr;
}

}  // namespace

PyObject* trace_call(OpObject* op, PyObject* const* values, size_t count) {
  const std::vector<Param>& params = *op->params;
  RawSizes raw;
  Ref args = owned(PyTuple_New(static_cast<Py_ssize_t>(count)));
  for (size_t i = 0; i < count; ++i) {
    Ref value = trace_value(params[i], values[i]);
    if (params[i].kind == ParamKind::Sizes && !PyTuple_Check(value.get())) value = owned(PyTuple_Pack(1, value.get()));
    PyTuple_SET_ITEM(args.get(), i, value.release());
  }
  if (mode.localizing) {
    PyObject* in_place = op->flags & kInplace || op->writes ? Py_True : Py_False;
    PyObject* parameters[] = {args.get(), in_place};
    args = owned(PyObject_Vectorcall(hook(Hook::Localize), parameters, 2, nullptr));
  }
  TensorObject* target = written_target(op, args.get());
  PyObject* parameters[] = {reinterpret_cast<PyObject*>(op), args.get()};
  // What the tape needs of the target is its value before the write, a copy.
  if (target && mode.grad && hook_or_null(Hook::Lift)) owned(PyObject_CallOneArg(hook(Hook::Lift), Py_None));
  Ref before = target && mode.grad ? traced_arguments(args.get()) : Ref();
  Ref result;
  {
    WithoutAutocast body;
    result = owned(PyObject_Vectorcall(hook(Hook::TraceOp), parameters, 2, nullptr));
  }
  if (target && is_tensor(result.get()) && result.get() != as_object(target)) {
    TensorObject* value = as_tensor(result.get());
    if (target->traced && value->traced) Py_SETREF(target->traced, Ref::borrow(value->traced).release());
    result = Ref::borrow(as_object(target));
  }
  if (result.get() == Py_None) return result.release();
  if (!is_tensor(result.get())) {
    bool tensors = PyTuple_Check(result.get());
    for (Py_ssize_t i = 0; tensors && i < PyTuple_GET_SIZE(result.get()); ++i)
      tensors = is_tensor(PyTuple_GET_ITEM(result.get(), i));
    if (!tensors)
      raise_error("InternalError", "%s: tracing gave %s, not Tensors", op_name(op), Py_TYPE(result.get())->tp_name);
  }
  if (op->flags & kView && is_tensor(result.get())) {
    TensorObject* view = as_tensor(result.get());
    PyObject* source = PyTuple_GET_ITEM(args.get(), 0);
    if (is_tensor(source) && source != result.get() && !view->base) {
      PyObject* base = as_tensor(source)->base ? as_tensor(source)->base : source;
      view->base = Ref::borrow(base).release();
      track(view);
    }
  }
  record_traced(op, args.get(), before.get(), result.get());
  if (mode.following && (op->flags & kInplace || op->writes)) owned(PyObject_CallNoArgs(hook(Hook::Written)));
  return result.release();
}

}  // namespace dg
