#include "tensor_copies.h"

#include "device.h"
#include "dtype_object.h"
#include "geometry.h"
#include "interop.h"
#include "mode.h"
#include "tape.h"

namespace dg {

namespace {

TensorObject* clone_data(TensorObject* tensor) {
  TensorObject* clone = make_empty(tensor->dtype, tensor->rank, tensor->sizes);
  strided_copy(clone->data, clone->strides, tensor->data, tensor->strides, tensor->rank, tensor->sizes,
               itemsize(tensor->dtype));
  return clone;
}

// The values in memory of their own; where a graph is recorded, a copy that each run makes.
Ref copied(TensorObject* tensor) {
  if (!mode.tracing) {
    require_host(tensor, "deepcopy");
    return Ref(as_object(clone_data(tensor)));
  }
  Ref values = owned(PyObject_CallMethod(as_object(tensor), "detach", nullptr));
  return owned(PyObject_CallMethod(values.get(), "clone", nullptr));
}

}  // namespace

PyObject* copy_shallow(PyObject* self, PyObject*) {
  return guarded([&]() -> PyObject* {
    TensorObject* tensor = as_tensor(self);
    TensorObject* alias = make_subclass(Py_TYPE(self), tensor);
    alias->flags |= tensor->node ? 0 : tensor->flags & kRequiresGrad;
    return as_object(alias);
  });
}

PyObject* copy_deep(PyObject* self, PyObject* memo) {
  return guarded([&]() -> PyObject* {
    TensorObject* tensor = as_tensor(self);
    if (tensor->node)
      raise_error_hint("GradError", "copy its values: x.detach().clone()",
                       "deepcopy: only leaves can be copied deeply; this tensor was computed by %s",
                       node_name(tensor->node));
    Ref key = owned(PyLong_FromVoidPtr(self));
    if (PyDict_Check(memo))
      if (PyObject* known = PyDict_GetItemWithError(memo, key.get())) return Ref::borrow(known).release();
    Ref plain = copied(tensor);
    Ref result(as_object(make_subclass(Py_TYPE(self), as_tensor(plain.get()))));
    as_tensor(result.get())->flags |= tensor->flags & kRequiresGrad;
    if (PyDict_Check(memo)) check_status(PyDict_SetItem(memo, key.get(), result.get()));
    if (tensor->grad && is_tensor(tensor->grad) && (mode.tracing || as_tensor(tensor->grad)->buffer)) {
      Ref grad = copied(as_tensor(tensor->grad));
      set_grad(as_tensor(result.get()), grad.get());
    }
    if (PyObject** dict = _PyObject_GetDictPtr(self); dict && *dict) {
      Ref module = owned(PyImport_ImportModule("copy"));
      Ref state = owned(PyObject_CallMethod(module.get(), "deepcopy", "OO", *dict, memo));
      Ref own = owned(PyObject_GetAttrString(result.get(), "__dict__"));
      check_status(PyDict_Update(own.get(), state.get()));
    }
    return result.release();
  });
}

PyObject* reduce_for_pickle(PyObject* self, PyObject*) {
  return guarded([&]() -> PyObject* {
    TensorObject* tensor = as_tensor(self);
    if (tensor->node)
      raise_error_hint("GradError", "pickle its values: x.detach()",
                       "pickle: only leaves can be pickled; this tensor was computed by %s", node_name(tensor->node));
    require_host(tensor, "pickle");
    Ref module = owned(PyImport_ImportModule("duograph._core"));
    Ref rebuild = owned(PyObject_GetAttrString(module.get(), "_rebuild_tensor"));
    Ref bytes = owned(to_bytes(tensor));
    Ref shape = owned(PyTuple_New(tensor->rank));
    for (int d = 0; d < tensor->rank; ++d)
      PyTuple_SET_ITEM(shape.get(), d, checked(PyLong_FromLongLong(tensor->sizes[d])));
    PyObject** dict = _PyObject_GetDictPtr(self);
    return Py_BuildValue("(O(OOOOOO))", rebuild.get(), reinterpret_cast<PyObject*>(Py_TYPE(self)), bytes.get(),
                         dtype_object(tensor->dtype), shape.get(), tensor->flags & kRequiresGrad ? Py_True : Py_False,
                         dict && *dict && PyDict_GET_SIZE(*dict) ? *dict : Py_None);
  });
}

}  // namespace dg
