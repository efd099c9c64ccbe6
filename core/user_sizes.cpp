#include "user_sizes.h"

#include "call.h"

namespace dg {

constinit thread_local bool user_sizes = false;

namespace {

PyTypeObject* size_number_type = nullptr;
PyObject* shape_converter = nullptr;

bool has_symbols(PyObject* shape) {
  for (Py_ssize_t d = 0; d < PyTuple_GET_SIZE(shape); ++d)
    if (!PyLong_Check(PyTuple_GET_ITEM(shape, d))) return true;
  return false;
}

PyObject* set_user_sizes(PyObject*, PyObject* on) {
  const bool before = user_sizes;
  user_sizes = on == Py_True;
  return PyBool_FromLong(before);
}

// set_size_number(type, convert): the class of size numbers, and what makes them of a shape.
PyObject* set_size_number(PyObject*, PyObject* args) {
  PyObject *type, *convert;
  if (!PyArg_ParseTuple(args, "O!O", &PyType_Type, &type, &convert)) return nullptr;
  Py_XSETREF(size_number_type, reinterpret_cast<PyTypeObject*>(Ref::borrow(type).release()));
  Py_XSETREF(shape_converter, Ref::borrow(convert).release());
  Py_RETURN_NONE;
}

// mark_stand_in(tensor, strided): a traced tensor stands for an argument, perhaps one with gaps.
PyObject* mark_stand_in(PyObject*, PyObject* args) {
  return guarded([&]() -> PyObject* {
    PyObject* object;
    int strided;
    if (!PyArg_ParseTuple(args, "Op", &object, &strided)) throw ErrorSet{};
    TensorObject* tensor = require_tensor(object, "mark_stand_in");
    tensor->flags = static_cast<uint8_t>((tensor->flags | kStandIn) & (strided ? ~kContiguous : ~0));
    Py_RETURN_NONE;
  });
}

PyMethodDef functions[] = {
    {"mark_stand_in", mark_stand_in, METH_VARARGS,
     "mark_stand_in(tensor, strided): a traced tensor stands for an argument, perhaps one with gaps."},
    {"set_user_sizes", set_user_sizes, METH_O,
     "Whether sizes read of traced tensors are numbers of the capture; returns the old setting."},
    {"set_size_number", set_size_number, METH_VARARGS, "set_size_number(type, convert): how such numbers are made."},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

PyObject* seen_shape(const TensorObject* tensor) {
  if (!user_sizes || !tensor->shape || !shape_converter || !has_symbols(tensor->shape)) return shape_tuple(tensor);
  RawSizes raw;
  Ref shape = owned(PyObject_CallOneArg(shape_converter, tensor->shape));
  if (!PyTuple_Check(shape.get()) || PyTuple_GET_SIZE(shape.get()) != tensor->rank)
    raise_error("InternalError", "the sizes of a traced tensor were lost");
  return shape.release();
}

bool is_size_number(PyObject* value) {
  return size_number_type && (Py_TYPE(value) == size_number_type || PyType_IsSubtype(Py_TYPE(value), size_number_type));
}

Ref size_expression(PyObject* value) { return owned(PyObject_GetAttrString(value, "expr")); }

Ref size_value(PyObject* value) {
  if (is_size_number(value)) return size_expression(value);
  return is_live_number(value) ? pin_number(value) : Ref::borrow(value);
}

Ref size_values(PyObject* tuple) {
  bool changes = false;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tuple); ++i) changes |= is_live_number(PyTuple_GET_ITEM(tuple, i));
  if (!changes) return Ref::borrow(tuple);
  Ref made = owned(PyTuple_New(PyTuple_GET_SIZE(tuple)));
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tuple); ++i)
    PyTuple_SET_ITEM(made.get(), i, size_value(PyTuple_GET_ITEM(tuple, i)).release());
  return made;
}

void bind_user_sizes(PyObject* module) { check_status(PyModule_AddFunctions(module, functions)); }

}  // namespace dg
