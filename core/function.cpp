#include "function.h"

#include <structmember.h>

#include <cstddef>

#include "autocast.h"
#include "mode.h"

namespace dg {
namespace {

struct FunctionObject {
  PyObject_HEAD vectorcallfunc vectorcall;
  PyObject* function;
  PyObject* explain;
  PyObject* dict;
  AutocastPolicy autocast;
};

FunctionObject* as_function(PyObject* object) { return reinterpret_cast<FunctionObject*>(object); }

// explain(function, error, args, kwargs) gives the error to raise instead, or what is the call's result after all; the
// error at hand is left to be collected.
PyObject* replace_error(FunctionObject* self, PyObject* const* args, size_t n, PyObject* keyword_names) {
  PyObject *type, *value, *traceback;
  PyErr_Fetch(&type, &value, &traceback);
  PyErr_NormalizeException(&type, &value, &traceback);
  if (traceback) PyException_SetTraceback(value, traceback);
  Ref own_type(type), error(value), own_traceback(traceback);
  Ref positional = owned(PyTuple_New(static_cast<Py_ssize_t>(n)));
  for (size_t i = 0; i < n; ++i)
    PyTuple_SET_ITEM(positional.get(), static_cast<Py_ssize_t>(i), Ref::borrow(args[i]).release());
  Ref keywords = owned(PyDict_New());
  const Py_ssize_t n_keywords = keyword_names ? PyTuple_GET_SIZE(keyword_names) : 0;
  for (Py_ssize_t i = 0; i < n_keywords; ++i)
    check_status(PyDict_SetItem(keywords.get(), PyTuple_GET_ITEM(keyword_names, i), args[n + static_cast<size_t>(i)]));
  Ref found = owned(PyObject_CallFunctionObjArgs(self->explain, self->function, error.get(), positional.get(),
                                                 keywords.get(), nullptr));
  if (!PyExceptionInstance_Check(found.get())) return found.release();
  if (found.get() == error.get())
    PyErr_Restore(own_type.release(), error.release(), own_traceback.release());
  else
    PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(found.get())), found.get());
  return nullptr;
}

PyObject* call(PyObject* object, PyObject* const* args, size_t flagged, PyObject* keyword_names) {
  FunctionObject* self = as_function(object);
  PyObject* result = self->autocast != AutocastPolicy::None && mode.autocast.enabled
                         ? call_function_autocast(self->function, self->autocast, args, flagged, keyword_names)
                         : PyObject_Vectorcall(self->function, args, flagged, keyword_names);
  if (result || !PyErr_ExceptionMatches(PyExc_Exception)) return result;
  return guarded(
      [&] { return replace_error(self, args, static_cast<size_t>(PyVectorcall_NARGS(flagged)), keyword_names); });
}

PyObject* function_new(PyTypeObject* type, PyObject* args, PyObject*) {
  return guarded([&] {
    PyObject *function, *explain;
    int autocast = 0;
    if (!PyArg_ParseTuple(args, "OO|i:Function", &function, &explain, &autocast)) throw ErrorSet{};
    const AutocastPolicy policy = read_policy(autocast);
    PyObject* made = checked(type->tp_alloc(type, 0));
    FunctionObject* self = as_function(made);
    self->vectorcall = call;
    self->function = Ref::borrow(function).release();
    self->explain = Ref::borrow(explain).release();
    self->autocast = policy;
    return made;
  });
}

int function_traverse(PyObject* object, visitproc visit, void* arg) {
  FunctionObject* self = as_function(object);
  Py_VISIT(Py_TYPE(object));
  Py_VISIT(self->function);
  Py_VISIT(self->explain);
  Py_VISIT(self->dict);
  return 0;
}

int function_clear(PyObject* object) {
  FunctionObject* self = as_function(object);
  Py_CLEAR(self->function);
  Py_CLEAR(self->explain);
  Py_CLEAR(self->dict);
  return 0;
}

void function_dealloc(PyObject* object) {
  PyTypeObject* type = Py_TYPE(object);
  PyObject_GC_UnTrack(object);
  function_clear(object);
  type->tp_free(object);
  Py_DECREF(type);
}

PyObject* function_repr(PyObject* object) { return PyObject_Repr(as_function(object)->function); }

// What it has not itself (its name, documentation, signature) is the function's.
PyObject* function_getattr(PyObject* object, PyObject* name) {
  PyObject* found = PyObject_GenericGetAttr(object, name);
  if (found || !PyErr_ExceptionMatches(PyExc_AttributeError)) return found;
  PyErr_Clear();
  return PyObject_GetAttr(as_function(object)->function, name);
}

PyObject* function_bind(PyObject* object, PyObject* instance, PyObject*) {
  if (!instance || instance == Py_None) return Ref::borrow(object).release();
  return PyMethod_New(object, instance);
}

PyObject* get_doc(PyObject* object, void*) { return PyObject_GetAttrString(as_function(object)->function, "__doc__"); }
PyObject* get_module(PyObject* object, void*) {
  return PyObject_GetAttrString(as_function(object)->function, "__module__");
}

// A pickle or a copy of it is the function of that name in its module.
PyObject* function_reduce(PyObject* object, PyObject*) {
  return PyObject_GetAttrString(as_function(object)->function, "__qualname__");
}

PyMethodDef methods[] = {
    {"__reduce__", function_reduce, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

PyMemberDef members[] = {
    {"__wrapped__", T_OBJECT, offsetof(FunctionObject, function), READONLY, "the Python function"},
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(FunctionObject, vectorcall), READONLY, nullptr},
    {"__dictoffset__", T_PYSSIZET, offsetof(FunctionObject, dict), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};

PyGetSetDef attributes[] = {
    {"__doc__", get_doc, nullptr, nullptr, nullptr},
    {"__module__", get_module, nullptr, nullptr, nullptr},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

PyType_Slot slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(function_new)},
    {Py_tp_dealloc, reinterpret_cast<void*>(function_dealloc)},
    {Py_tp_traverse, reinterpret_cast<void*>(function_traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(function_clear)},
    {Py_tp_repr, reinterpret_cast<void*>(function_repr)},
    {Py_tp_getattro, reinterpret_cast<void*>(function_getattr)},
    {Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
    {Py_tp_descr_get, reinterpret_cast<void*>(function_bind)},
    {Py_tp_methods, methods},
    {Py_tp_members, members},
    {Py_tp_getset, attributes},
    {0, nullptr},
};
PyType_Spec spec = {"duograph._core.Function", sizeof(FunctionObject), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR,
                    slots};

}  // namespace

void bind_function(PyObject* module) {
  Ref type = owned(PyType_FromSpec(&spec));
  check_status(PyModule_AddObjectRef(module, "Function", type.get()));
}

}  // namespace dg
