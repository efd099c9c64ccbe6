#include "op.h"

#include <Python.h>
#include <structmember.h>

#include <cstddef>
#include <cstring>
#include <string>

#include "call.h"
#include "entry.h"
#include "python_api.h"

namespace dg {

PyTypeObject* op_type = nullptr;
OpObject* slot_ops[static_cast<int>(Slot::Count)];

namespace {

PyObject* required_marker = nullptr;

const char* const kSlotNames[static_cast<int>(Slot::Count)] = {
    "__add__",      "__sub__",       "__mul__",  "__truediv__", "__floordiv__", "__mod__",    "__pow__",  "__matmul__",
    "__and__",      "__or__",        "__xor__",  "__lshift__",  "__rshift__",   "__iadd__",   "__isub__", "__imul__",
    "__itruediv__", "__ifloordiv__", "__imod__", "__ipow__",    "__imatmul__",  "__iand__",   "__ior__",  "__ixor__",
    "__ilshift__",  "__irshift__",   "__lt__",   "__le__",      "__eq__",       "__ne__",     "__gt__",   "__ge__",
    "__neg__",      "__pos__",       "__abs__",  "__invert__",  "clone",        "contiguous", "to"};

// A param table row: (name, kind, default) with core.REQUIRED for no default.
Param read_param(PyObject* row) {
  PyObject *name, *default_value;
  int kind;
  if (!PyTuple_Check(row) || !PyArg_ParseTuple(row, "UiO", &name, &kind, &default_value)) {
    PyErr_Clear();
    raise_error("ArgumentError", "Op: a parameter is a tuple (name, kind, default)");
  }
  if (kind < 0 || kind > static_cast<int>(ParamKind::Attributes))
    raise_error("ArgumentError", "Op: there is no parameter kind %d", kind);
  Py_INCREF(name);
  PyUnicode_InternInPlace(&name);
  return {name, static_cast<ParamKind>(kind),
          default_value == required_marker ? nullptr : Ref::borrow(default_value).release()};
}

bool is_plain(const OpObject* op) {
  if (!(op->flags & kElementwise) || op->flags & (kInplace | kRandom | kView)) return false;
  if (op->params->empty() || op->params->size() > 2) return false;
  for (const Param& param : *op->params)
    if (param.kind != ParamKind::Tensor) return false;
  return true;
}

PyObject* op_new(PyTypeObject* type, PyObject* args, PyObject* keywords) {
  return guarded([&]() -> PyObject* {
    static const char* names[] = {"name", "params", "flags", "definition", "inplace_of", "writes", "autocast", nullptr};
    PyObject *name, *params, *definition = Py_None, *inplace_of = Py_None, *writes = nullptr;
    int flags = 0, autocast = 0;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "UO!|iOOO!i", const_cast<char**>(names), &name, &PyTuple_Type,
                                     &params, &flags, &definition, &inplace_of, &PyTuple_Type, &writes, &autocast))
      throw ErrorSet{};
    Ref self = owned(type->tp_alloc(type, 0));
    OpObject* op = as_op(self.get());
    op->params = new std::vector<Param>();
    op->entries = new EntryTable();
    op->vectorcall = call_vector;
    op->name = Ref::borrow(name).release();
    op->definition = Ref::borrow(definition).release();
    op->inplace_of = Ref::borrow(inplace_of).release();
    op->flags = flags;
    op->autocast = read_policy(autocast);
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(params); ++i)
      op->params->push_back(read_param(PyTuple_GET_ITEM(params, i)));
    while (op->n_positional_tensors < static_cast<int>(op->params->size()) &&
           (*op->params)[op->n_positional_tensors].kind == ParamKind::Tensor)
      ++op->n_positional_tensors;
    op->plain = is_plain(op);
    for (Py_ssize_t i = 0; writes && i < PyTuple_GET_SIZE(writes); ++i) {
      long index = PyLong_AsLong(PyTuple_GET_ITEM(writes, i));
      if (index < 0 || index >= 64 || index >= PyTuple_GET_SIZE(params) ||
          (*op->params)[index].kind != ParamKind::TensorList) {
        PyErr_Clear();
        raise_error("ArgumentError", "Op: writes must name parameters that are lists of tensors");
      }
      op->writes |= uint64_t{1} << index;
    }
    if (flags & kInplace) {
      ParamKind first = op->params->empty() ? ParamKind::Attribute : op->params->front().kind;
      if (first != ParamKind::Tensor && first != ParamKind::TensorList)
        raise_error("ArgumentError", "Op: an in-place operator writes its first parameter, which must be a tensor");
    }
    return self.release();
  });
}

int op_traverse(PyObject* self, visitproc visit, void* arg) {
  OpObject* op = as_op(self);
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(op->definition);
  Py_VISIT(op->inplace_of);
  Py_VISIT(op->dict);
  return 0;
}

int op_clear(PyObject* self) {
  OpObject* op = as_op(self);
  Py_CLEAR(op->definition);
  Py_CLEAR(op->inplace_of);
  Py_CLEAR(op->dict);
  return 0;
}

void op_dealloc(PyObject* self) {
  PyObject_GC_UnTrack(self);
  OpObject* op = as_op(self);
  if (op->weak_references) PyObject_ClearWeakRefs(self);
  op_clear(self);
  Py_CLEAR(op->name);
  if (op->params)
    for (Param& param : *op->params) {
      Py_XDECREF(param.name);
      Py_XDECREF(param.default_value);
    }
  delete op->params;
  delete op->entries;
  PyTypeObject* type = Py_TYPE(self);
  type->tp_free(self);
  Py_DECREF(type);
}

PyObject* op_repr(PyObject* self) { return PyUnicode_FromFormat("<operator %U>", as_op(self)->name); }

PyObject* op_bind(PyObject* self, PyObject* instance, PyObject*) {
  return instance && instance != Py_None ? PyMethod_New(self, instance) : Ref::borrow(self).release();
}

// What an operator is not, its definition is: rules, signature, and documentation where it was given none.
PyObject* op_getattro(PyObject* self, PyObject* name) {
  PyObject* definition = as_op(self)->definition;
  const char* text = PyUnicode_AsUTF8(name);
  const bool documentation = text && (std::strcmp(text, "__doc__") == 0 || std::strcmp(text, "__module__") == 0);
  PyObject* own = as_op(self)->dict;
  if (documentation && definition && definition != Py_None && !(own && PyDict_Contains(own, name) == 1)) {
    PyObject* found = PyObject_GetAttr(definition, name);
    if (found) return found;
    PyErr_Clear();
  }
  PyObject* found = PyObject_GenericGetAttr(self, name);
  if (found || !PyErr_ExceptionMatches(PyExc_AttributeError) || !definition || definition == Py_None) return found;
  PyErr_Clear();
  return PyObject_GetAttr(definition, name);
}

PyObject* get_params(PyObject* self, void*) {
  return guarded([&]() -> PyObject* {
    const auto& params = *as_op(self)->params;
    Ref rows = owned(PyTuple_New(static_cast<Py_ssize_t>(params.size())));
    for (size_t i = 0; i < params.size(); ++i) {
      PyObject* value = params[i].default_value ? params[i].default_value : required_marker;
      PyTuple_SET_ITEM(rows.get(), i,
                       checked(Py_BuildValue("(OiO)", params[i].name, static_cast<int>(params[i].kind), value)));
    }
    return rows.release();
  });
}

PyObject* get_entries(PyObject* self, void*) { return PyLong_FromSize_t(as_op(self)->entries->size()); }

PyMemberDef members[] = {
    {"name", T_OBJECT, offsetof(OpObject, name), READONLY, "name of the operator"},
    {"__name__", T_OBJECT, offsetof(OpObject, name), READONLY, nullptr},
    {"__qualname__", T_OBJECT, offsetof(OpObject, name), READONLY, nullptr},
    {"definition", T_OBJECT, offsetof(OpObject, definition), 0, "what the operator means"},
    {"inplace_of", T_OBJECT, offsetof(OpObject, inplace_of), 0, "the operator this one is the in-place form of"},
    {"flags", T_INT, offsetof(OpObject, flags), READONLY, "the OpFlags given"},
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(OpObject, vectorcall), READONLY, nullptr},
    {"__dictoffset__", T_PYSSIZET, offsetof(OpObject, dict), READONLY, nullptr},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(OpObject, weak_references), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};

PyGetSetDef attributes[] = {
    {"params", get_params, nullptr, "the parameter table: (name, kind, default) rows", nullptr},
    {"entry_count", get_entries, nullptr, "how many compiled entries there are", nullptr},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

PyType_Slot slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(op_new)},
    {Py_tp_dealloc, reinterpret_cast<void*>(op_dealloc)},
    {Py_tp_traverse, reinterpret_cast<void*>(op_traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(op_clear)},
    {Py_tp_getattro, reinterpret_cast<void*>(op_getattro)},
    {Py_tp_repr, reinterpret_cast<void*>(op_repr)},
    {Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
    {Py_tp_descr_get, reinterpret_cast<void*>(op_bind)},
    {Py_tp_members, members},
    {Py_tp_getset, attributes},
    {Py_tp_doc, const_cast<char*>("An operator: callable, and a method when it is an attribute of Tensor.")},
    {0, nullptr},
};
PyType_Spec spec = {"duograph._core.Op", sizeof(OpObject), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR,
                    slots};

}  // namespace

AutocastPolicy read_policy(int code) {
  if (code < 0 || code >= static_cast<int>(AutocastPolicy::Count))
    raise_error("ArgumentError", "there is no autocast policy %d", code);
  return static_cast<AutocastPolicy>(code);
}

const char* op_name(const OpObject* op) {
  const char* text = PyUnicode_AsUTF8(op->name);
  return text ? text : "?";
}

void create_op_type(PyObject* module) {
  op_type = reinterpret_cast<PyTypeObject*>(checked(PyType_FromSpec(&spec)));
  check_status(PyModule_AddObjectRef(module, "Op", reinterpret_cast<PyObject*>(op_type)));
  required_marker = checked(PyObject_CallNoArgs(reinterpret_cast<PyObject*>(&PyBaseObject_Type)));
  check_status(PyModule_AddObjectRef(module, "REQUIRED", required_marker));
  struct Constant {
    const char* name;
    int value;
  };
  const Constant constants[] = {
      {"PARAM_TENSOR", 0},
      {"PARAM_OPTIONAL_TENSOR", 1},
      {"PARAM_TENSOR_LIST", 2},
      {"PARAM_NUMBER", 3},
      {"PARAM_ATTR", 4},
      {"PARAM_SIZES", 5},
      {"PARAM_SIZE", 6},
      {"PARAM_ATTRS", 7},
      {"FLAG_ELEMENTWISE", kElementwise},
      {"FLAG_VIEW", kView},
      {"FLAG_INPLACE", kInplace},
      {"FLAG_NONDIFFERENTIABLE", kNondifferentiable},
      {"FLAG_RANDOM", kRandom},
      {"FLAG_CREATION", kCreation},
      {"FLAG_INPLACE_LISTS", kInplaceLists},
  };
  for (const Constant& constant : constants)
    check_status(PyModule_AddIntConstant(module, constant.name, constant.value));
}

void bind_slot(const char* dunder, PyObject* op) {
  if (!is_op(op)) raise_error("ArgumentError", "bind_slot: expected an Op, got %s", Py_TYPE(op)->tp_name);
  for (int i = 0; i < static_cast<int>(Slot::Count); ++i) {
    if (std::strcmp(kSlotNames[i], dunder) != 0) continue;
    Py_INCREF(op);
    Ref dropped(reinterpret_cast<PyObject*>(std::exchange(slot_ops[i], as_op(op))));
    return;
  }
  // Reflected forms need no operator of their own: a number may stand first.
  if (std::strncmp(dunder, "__r", 3) == 0) return;
  raise_error("ArgumentError", "bind_slot: Tensor has no slot %s", dunder);
}

OpObject* require_slot(Slot slot) {
  OpObject* op = slot_op(slot);
  if (!op) raise_error("InternalError", "no operator is bound to %s", kSlotNames[static_cast<int>(slot)]);
  return op;
}

}  // namespace dg
