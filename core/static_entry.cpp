#include "static_entry.h"

#include <algorithm>
#include <utility>

namespace dg {

PyTypeObject* static_entry_type = nullptr;

bool TensorSpec::matches(const TensorObject* t) const {
  if (!t->buffer || t->dtype != dtype || t->rank != sizes.size()) return false;
  if (open) {
    auto fits = [](int64_t wanted, int64_t found) { return wanted == found || wanted == kAnySize; };
    if (!std::equal(sizes.begin(), sizes.end(), t->sizes, fits)) return false;
    if (contiguous != is_contiguous(t)) return false;
    if (!contiguous && !std::equal(strides.begin(), strides.end(), t->strides, fits)) return false;
  } else {
    if (!std::equal(sizes.begin(), sizes.end(), t->sizes)) return false;
    if (contiguous ? !is_contiguous(t) : !std::equal(strides.begin(), strides.end(), t->strides)) return false;
  }
  return requires_grad < 0 || static_cast<bool>(requires_grad) == dg::requires_grad(t);
}

std::vector<PyObject*> hooks_of(const TensorObject* tensor) {
  std::vector<PyObject*> found;
  if (tensor->hooks && PyList_Check(tensor->hooks))
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(tensor->hooks); ++i) found.push_back(PyList_GET_ITEM(tensor->hooks, i));
  return found;
}

void malformed(const char* what) { raise_error("InternalError", "static entry: malformed %s", what); }

namespace {

PyObject* entry_new(PyTypeObject* type, PyObject* args, PyObject*) {
  return guarded([&]() -> PyObject* {
    PyObject* description;
    if (!PyArg_ParseTuple(args, "O!", &PyDict_Type, &description)) throw ErrorSet{};
    StaticEntry* entry = StaticEntry::parse(description);
    PyObject* self = type->tp_alloc(type, 0);
    if (!self) {
      delete entry;
      return nullptr;
    }
    reinterpret_cast<StaticEntryObject*>(self)->entry = entry;
    return self;
  });
}

// Everything an entry refers to is reachable through its dict, which is what the collector follows.
int entry_traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  StaticEntry* entry = as_static_entry(self);
  if (entry) Py_VISIT(entry->description.get());
  return 0;
}

int entry_clear(PyObject* self) {
  delete std::exchange(reinterpret_cast<StaticEntryObject*>(self)->entry, nullptr);
  return 0;
}

void entry_dealloc(PyObject* self) {
  PyObject_GC_UnTrack(self);
  entry_clear(self);
  PyTypeObject* type = Py_TYPE(self);
  type->tp_free(self);
  Py_DECREF(type);
}

PyObject* get_hits(PyObject* self, void*) {
  StaticEntry* entry = as_static_entry(self);
  return PyLong_FromLongLong(entry ? entry->hits : 0);
}

PyObject* get_description(PyObject* self, void*) {
  StaticEntry* entry = as_static_entry(self);
  return Ref::borrow(entry ? entry->description.get() : Py_None).release();
}

PyGetSetDef attributes[] = {
    {"hits", get_hits, nullptr, "how many calls it has served", nullptr},
    {"description", get_description, nullptr, "the dict it was made from", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

PyType_Slot slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(entry_new)},
    {Py_tp_dealloc, reinterpret_cast<void*>(entry_dealloc)},
    {Py_tp_traverse, reinterpret_cast<void*>(entry_traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(entry_clear)},
    {Py_tp_getset, attributes},
    {Py_tp_doc, const_cast<char*>("One capture of a static function.")},
    {0, nullptr},
};
PyType_Spec spec = {"duograph._core.StaticEntry", sizeof(StaticEntryObject), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
                    slots};

}  // namespace

void create_static_entry_type(PyObject* module) {
  static_entry_type = reinterpret_cast<PyTypeObject*>(checked(PyType_FromSpec(&spec)));
  check_status(PyModule_AddObjectRef(module, "StaticEntry", reinterpret_cast<PyObject*>(static_entry_type)));
}

}  // namespace dg
