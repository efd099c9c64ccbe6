#include "dtype_object.h"

#include <Python.h>
#include <structmember.h>

#include "python_api.h"

namespace dg {

namespace {

struct DTypeObject {
  PyObject_HEAD DType dtype;
};

PyTypeObject* dtype_type = nullptr;
PyObject* singletons[kDTypeCount];

const DTypeInfo& row(PyObject* self) { return info(reinterpret_cast<DTypeObject*>(self)->dtype); }

PyObject* get_name(PyObject* self, void*) { return PyUnicode_FromString(row(self).name); }
PyObject* get_itemsize(PyObject* self, void*) { return PyLong_FromLong(row(self).itemsize); }
PyObject* get_code(PyObject* self, void*) { return PyLong_FromLong(static_cast<long>(row(self).code)); }
PyObject* get_kind(PyObject* self, void*) { return PyUnicode_FromFormat("%c", row(self).kind); }
PyObject* get_floating(PyObject* self, void*) { return PyBool_FromLong(row(self).kind == 'f'); }
PyObject* get_signed(PyObject* self, void*) { return PyBool_FromLong(is_signed(row(self).code)); }
PyObject* get_complex(PyObject*, void*) { return PyBool_FromLong(0); }

PyGetSetDef attributes[] = {
    {"name", get_name, nullptr, "name, as in numpy", nullptr},
    {"itemsize", get_itemsize, nullptr, "bytes per element", nullptr},
    {"code", get_code, nullptr, "number in kernel cache keys", nullptr},
    {"kind", get_kind, nullptr, "'b' bool, 'u' unsigned, 'i' signed, 'f' floating", nullptr},
    {"is_floating_point", get_floating, nullptr, "whether elements are floating-point numbers", nullptr},
    {"is_signed", get_signed, nullptr, "whether elements can be negative", nullptr},
    {"is_complex", get_complex, nullptr, "always False", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

PyObject* represent(PyObject* self) { return PyUnicode_FromFormat("duograph.%s", row(self).name); }

// Pickles and copies as the singleton itself: by its name in the core module.
PyObject* reduce(PyObject* self, PyObject*) { return PyUnicode_FromString(row(self).name); }
PyObject* same(PyObject* self, PyObject*) { return Ref::borrow(self).release(); }

PyMethodDef methods[] = {
    {"__reduce__", reduce, METH_NOARGS, nullptr},
    {"__copy__", same, METH_NOARGS, nullptr},
    {"__deepcopy__", same, METH_O, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

PyType_Slot slots[] = {
    {Py_tp_repr, reinterpret_cast<void*>(represent)},
    {Py_tp_getset, attributes},
    {Py_tp_methods, methods},
    {Py_tp_doc, const_cast<char*>("The type of a tensor's elements.")},
    {0, nullptr},
};
PyType_Spec spec = {"duograph._core.DType", sizeof(DTypeObject), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};

}  // namespace

void create_dtype_objects(PyObject* module) {
  dtype_type = reinterpret_cast<PyTypeObject*>(checked(PyType_FromSpec(&spec)));
  check_status(PyModule_AddObjectRef(module, "DType", reinterpret_cast<PyObject*>(dtype_type)));
  for (int i = 0; i < kDTypeCount; ++i) {
    auto* object = reinterpret_cast<DTypeObject*>(checked(dtype_type->tp_alloc(dtype_type, 0)));
    object->dtype = static_cast<DType>(i);
    singletons[i] = reinterpret_cast<PyObject*>(object);
    check_status(PyModule_AddObjectRef(module, kDTypes[i].name, singletons[i]));
  }
}

PyObject* dtype_object(DType dtype) { return singletons[static_cast<int>(dtype)]; }

bool as_dtype(PyObject* object, DType* dtype) {
  if (Py_TYPE(object) != dtype_type) return false;
  *dtype = reinterpret_cast<DTypeObject*>(object)->dtype;
  return true;
}

DType require_dtype(PyObject* object, const char* what) {
  DType dtype;
  if (!as_dtype(object, &dtype))
    raise_error("ArgumentError", "%s: expected a dtype, got %s", what, Py_TYPE(object)->tp_name);
  return dtype;
}

}  // namespace dg
