// The Tensor type: number protocol, indexing, reading of values. Operators proper are attributes that Python sets.
#include <Python.h>
#include <structmember.h>

#include <cstddef>
#include <cstring>

#include "call.h"
#include "dtype_object.h"
#include "interop.h"
#include "python_api.h"
#include "tensor_attributes.h"
#include "user_sizes.h"

namespace dg {

namespace {

bool is_operand(PyObject* value) {
  if (is_tensor(value) || PyFloat_Check(value) || PyLong_Check(value)) return true;
  if (is_symbolic(value) || is_live_number(value)) return true;
  return std::strncmp(Py_TYPE(value)->tp_name, "numpy.", 6) == 0;
}

template <Slot slot>
PyObject* binary(PyObject* a, PyObject* b) {
  OpObject* op = slot_op(slot);
  if (!op || !is_operand(a) || !is_operand(b)) Py_RETURN_NOTIMPLEMENTED;
  return guarded([&]() -> PyObject* {
    PyObject* values[] = {a, b};
    return call_positional(op, values, 2);
  });
}

template <Slot slot>
PyObject* power(PyObject* a, PyObject* b, PyObject* modulus) {
  if (modulus != Py_None) Py_RETURN_NOTIMPLEMENTED;
  return binary<slot>(a, b);
}

template <Slot slot>
PyObject* unary(PyObject* a) {
  return guarded([&]() -> PyObject* {
    OpObject* op = require_slot(slot);
    return call_positional(op, &a, 1);
  });
}

// `+x` is x itself, unless an operator is bound to it.
PyObject* positive(PyObject* a) {
  return slot_op(Slot::Positive) ? unary<Slot::Positive>(a) : Ref::borrow(a).release();
}

PyObject* compare(PyObject* a, PyObject* b, int operation) {
  static constexpr Slot slots[] = {Slot::Less,     Slot::LessEqual, Slot::Equal,
                                   Slot::NotEqual, Slot::Greater,   Slot::GreaterEqual};
  OpObject* op = slot_op(slots[operation]);
  if (!op || !is_operand(a) || !is_operand(b)) Py_RETURN_NOTIMPLEMENTED;
  return guarded([&]() -> PyObject* {
    PyObject* values[] = {a, b};
    return call_positional(op, values, 2);
  });
}

int truth(PyObject* self) {
  return guarded([&]() -> int {
    TensorObject* tensor = as_tensor(self);
    if (Ref value = intercept_read(tensor, "bool")) return PyObject_IsTrue(value.get());
    if (tensor->numel != 1)
      raise_error_hint("DomainError", "use .any() or .all()",
                       "bool: the truth value of a Tensor with %lld elements is ambiguous",
                       static_cast<long long>(tensor->numel));
    require_host(tensor, "bool");
    return is_floating(tensor->dtype) ? load_as_double(tensor->data, tensor->dtype) != 0
                                      : load_as_int(tensor->data, tensor->dtype) != 0;
  });
}

// A tensor is itself, whatever it holds. One without dimensions may stand for a Python number: the hook refuses it.
Py_hash_t hash(PyObject* self) {
  const TensorObject* tensor = as_tensor(self);
  if (tensor->traced && tensor->rank == 0 && hook_or_null(Hook::ValueRead)) {
    Ref asked(PyObject_CallFunction(hook(Hook::ValueRead), "Os", self, "hash"));
    if (!asked) return -1;
  }
  return _Py_HashPointer(self);
}

Ref scalar(PyObject* self, const char* what) {
  if (Ref value = intercept_read(as_tensor(self), what)) return value;
  return owned(to_scalar(as_tensor(self)));
}

PyObject* to_int(PyObject* self) {
  return guarded([&] { return PyNumber_Long(scalar(self, "int").get()); });
}

PyObject* to_float(PyObject* self) {
  return guarded([&] { return PyNumber_Float(scalar(self, "float").get()); });
}

PyObject* to_index(PyObject* self) {
  return guarded([&]() -> PyObject* {
    if (is_floating(as_tensor(self)->dtype) || (as_tensor(self)->numel != 1 && as_tensor(self)->buffer))
      raise_error("ArgumentError", "index: only a Tensor with one integer can be used as an index");
    return PyNumber_Index(owned(PyNumber_Long(scalar(self, "index").get())).get());
  });
}

Py_ssize_t length(PyObject* self) {
  return guarded([&]() -> Py_ssize_t {
    TensorObject* tensor = as_tensor(self);
    if (tensor->rank == 0) raise_error("ArgumentError", "len: a 0-d Tensor has no length");
    if (!tensor->shape) return tensor->sizes[0];
    return PyNumber_AsSsize_t(PyTuple_GET_ITEM(tensor->shape, 0), PyExc_OverflowError);
  });
}

PyObject* get_item(PyObject* self, PyObject* index) {
  return guarded([&]() -> PyObject* {
    RawSizes raw;
    PyObject* arguments[] = {self, index};
    return PyObject_Vectorcall(hook(Hook::GetItem), arguments, 2, nullptr);
  });
}

int set_item(PyObject* self, PyObject* index, PyObject* value) {
  return guarded([&]() -> int {
    if (!value) raise_error("ArgumentError", "elements of a Tensor cannot be deleted");
    RawSizes raw;
    PyObject* arguments[] = {self, index, value};
    owned(PyObject_Vectorcall(hook(Hook::SetItem), arguments, 3, nullptr));
    return 0;
  });
}

PyObject* iterate(PyObject* self) {
  return guarded([&]() -> PyObject* {
    if (as_tensor(self)->rank == 0) raise_error("ArgumentError", "iter: a 0-d Tensor cannot be iterated over");
    const Py_ssize_t count = length(self);
    if (count < 0) throw ErrorSet{};
    Ref items = owned(PyTuple_New(count));
    for (Py_ssize_t i = 0; i < count; ++i) {
      Ref index = owned(PyLong_FromSsize_t(i));
      PyTuple_SET_ITEM(items.get(), i, checked(get_item(self, index.get())));
    }
    return PyObject_GetIter(items.get());
  });
}

PyObject* represent(PyObject* self) {
  return guarded([&]() -> PyObject* {
    if (PyObject* function = hook_or_null(Hook::TensorRepr)) return PyObject_CallOneArg(function, self);
    return PyUnicode_FromFormat("tensor(%U)", Ref(describe(as_tensor(self))).get());
  });
}

PyObject* construct(PyTypeObject* type, PyObject* args, PyObject* keywords) {
  return guarded([&]() -> PyObject* {
    Ref all = owned(PyTuple_New(PyTuple_GET_SIZE(args) + 1));
    PyTuple_SET_ITEM(all.get(), 0, Ref::borrow(reinterpret_cast<PyObject*>(type)).release());
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(args); ++i)
      PyTuple_SET_ITEM(all.get(), i + 1, Ref::borrow(PyTuple_GET_ITEM(args, i)).release());
    Ref made = owned(PyObject_Call(hook(Hook::TensorNew), all.get(), keywords));
    if (!is_tensor(made.get())) raise_error("InternalError", "tensor_new gave %s", Py_TYPE(made.get())->tp_name);
    return made.release();
  });
}

PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(TensorObject, weak_references), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};

template <class F>
void* slot(F function) {
  return reinterpret_cast<void*>(function);
}

PyType_Slot slots[] = {
    {Py_tp_new, slot(construct)},
    {Py_tp_dealloc, slot(tensor_dealloc)},
    {Py_tp_traverse, slot(tensor_traverse)},
    {Py_tp_clear, slot(tensor_clear)},
    {Py_tp_repr, slot(represent)},
    {Py_tp_hash, slot(hash)},
    {Py_tp_richcompare, slot(compare)},
    {Py_tp_iter, slot(iterate)},
    {Py_tp_members, members},
    {Py_tp_getset, tensor_attributes},
    {Py_tp_methods, tensor_methods},
    {Py_mp_length, slot(length)},
    {Py_mp_subscript, slot(get_item)},
    {Py_mp_ass_subscript, slot(set_item)},
    {Py_nb_bool, slot(truth)},
    {Py_nb_int, slot(to_int)},
    {Py_nb_float, slot(to_float)},
    {Py_nb_index, slot(to_index)},
    {Py_nb_add, slot(binary<Slot::Add>)},
    {Py_nb_subtract, slot(binary<Slot::Subtract>)},
    {Py_nb_multiply, slot(binary<Slot::Multiply>)},
    {Py_nb_true_divide, slot(binary<Slot::TrueDivide>)},
    {Py_nb_floor_divide, slot(binary<Slot::FloorDivide>)},
    {Py_nb_remainder, slot(binary<Slot::Remainder>)},
    {Py_nb_power, slot(power<Slot::Power>)},
    {Py_nb_matrix_multiply, slot(binary<Slot::MatMul>)},
    {Py_nb_and, slot(binary<Slot::And>)},
    {Py_nb_or, slot(binary<Slot::Or>)},
    {Py_nb_xor, slot(binary<Slot::Xor>)},
    {Py_nb_lshift, slot(binary<Slot::LeftShift>)},
    {Py_nb_rshift, slot(binary<Slot::RightShift>)},
    {Py_nb_inplace_add, slot(binary<Slot::InplaceAdd>)},
    {Py_nb_inplace_subtract, slot(binary<Slot::InplaceSubtract>)},
    {Py_nb_inplace_multiply, slot(binary<Slot::InplaceMultiply>)},
    {Py_nb_inplace_true_divide, slot(binary<Slot::InplaceTrueDivide>)},
    {Py_nb_inplace_floor_divide, slot(binary<Slot::InplaceFloorDivide>)},
    {Py_nb_inplace_remainder, slot(binary<Slot::InplaceRemainder>)},
    {Py_nb_inplace_power, slot(power<Slot::InplacePower>)},
    {Py_nb_inplace_matrix_multiply, slot(binary<Slot::InplaceMatMul>)},
    {Py_nb_inplace_and, slot(binary<Slot::InplaceAnd>)},
    {Py_nb_inplace_or, slot(binary<Slot::InplaceOr>)},
    {Py_nb_inplace_xor, slot(binary<Slot::InplaceXor>)},
    {Py_nb_inplace_lshift, slot(binary<Slot::InplaceLeftShift>)},
    {Py_nb_inplace_rshift, slot(binary<Slot::InplaceRightShift>)},
    {Py_nb_negative, slot(unary<Slot::Negative>)},
    {Py_nb_positive, slot(positive)},
    {Py_nb_absolute, slot(unary<Slot::Absolute>)},
    {Py_nb_invert, slot(unary<Slot::Invert>)},
    {Py_tp_doc,
     const_cast<char*>("A multi-dimensional array of one dtype, on a device, perhaps recorded on the tape.")},
    {0, nullptr},
};
PyType_Spec spec = {"duograph._core.Tensor", sizeof(TensorObject), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots};

}  // namespace

void create_tensor_type(PyObject* module) {
  tensor_type = reinterpret_cast<PyTypeObject*>(checked(PyType_FromSpec(&spec)));
  check_status(PyModule_AddObjectRef(module, "Tensor", reinterpret_cast<PyObject*>(tensor_type)));
  // NumPy then leaves `array + tensor` to the tensor.
  Ref priority = owned(PyLong_FromLong(1000));
  check_status(PyObject_SetAttrString(reinterpret_cast<PyObject*>(tensor_type), "__array_priority__", priority.get()));
}

}  // namespace dg
