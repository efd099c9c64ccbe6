#include "flatten.h"

#include <cstring>

#include "interop.h"
#include "user_sizes.h"

namespace dg {

namespace {

PyTypeObject* dim_type = nullptr;
PyTypeObject* live_number_type = nullptr;

}  // namespace

uint64_t header_word(size_t n_operands) {
  return static_cast<uint64_t>(n_operands) | static_cast<uint64_t>(default_dtype()) << 32;
}

void refuse_value(OpObject* op, const Param& param, const char* expected, PyObject* value) {
  const char* name = PyUnicode_AsUTF8(param.name);
  raise_error("ArgumentError", "%s: %s must be %s, not %s", op_name(op), name ? name : "?", expected,
              Py_TYPE(value)->tp_name);
}

namespace {

void add_tensor(Call& call, PyObject* value) {
  TensorObject* tensor = as_tensor(value);
  if (!tensor->buffer) call.traced = true;
  Operand operand;
  operand.tensor = tensor;
  operand.kind = OperandKind::Tensor;
  call.operands.push_back(operand);
}

void add_absent(Call& call) {
  Operand operand;
  operand.tensor = nullptr;
  operand.kind = OperandKind::Absent;
  call.operands.push_back(operand);
}

// A Tensor, a number, an array; anything else is refused.
void add_value(Call& call, size_t index, const Param& param, bool number_only) {
  PyObject* value = call.values[index];
  if (is_tensor(value)) {
    if (number_only && as_tensor(value)->rank != 0)
      raise_error("ArgumentError", "%s: %s must be a number or a 0-d Tensor, got a Tensor of %d dimensions",
                  op_name(call.op), PyUnicode_AsUTF8(param.name), as_tensor(value)->rank);
    return add_tensor(call, value);
  }
  Operand operand;
  operand.tensor = nullptr;
  operand.kind = OperandKind::Number;
  if (read_number(value, &operand)) return call.operands.push_back(operand);
  if (is_symbolic(value) || is_live_number(value)) {
    call.traced = true;
    return add_absent(call);
  }
  if (Ref scalar = unwrap_numpy_scalar(value)) {
    call.values[index] = scalar.get();
    call.kept.push_back(std::move(scalar));
    return add_value(call, index, param, number_only);
  }
  if (!number_only) {
    if (Ref converted = tensor_from_array(value)) {
      call.values[index] = converted.get();
      call.kept.push_back(std::move(converted));
      return add_value(call, index, param, number_only);
    }
  }
  refuse_value(call.op, param, number_only ? "a number" : "a Tensor or a number", value);
}

void add_list(Call& call, size_t index, const Param& param) {
  PyObject* value = call.values[index];
  if (!PyTuple_Check(value) && !PyList_Check(value)) {
    if (is_tensor(value) || !PySequence_Check(value) || PyUnicode_Check(value))
      refuse_value(call.op, param, "a sequence of Tensors", value);
  }
  // A tuple of our own: the caller's list may change while Python runs.
  Ref items = PyTuple_CheckExact(value) ? Ref::borrow(value) : owned(PySequence_Tuple(value));
  const Py_ssize_t count = PyTuple_GET_SIZE(items.get());
  for (Py_ssize_t i = 0; i < count; ++i) {
    PyObject* item = PyTuple_GET_ITEM(items.get(), i);
    if (!is_tensor(item))
      raise_error("ArgumentError", "%s: %s must be a sequence of Tensors; one element is not a Tensor but %s",
                  op_name(call.op), PyUnicode_AsUTF8(param.name), Py_TYPE(item)->tp_name);
    add_tensor(call, item);
  }
  call.key.push_back(static_cast<uint64_t>(count));
  call.values[index] = items.get();
  call.kept.push_back(std::move(items));
}

bool add_size(Call& call, const Param& param, PyObject* value) {
  if (PyLong_Check(value)) {
    long long number = PyLong_AsLongLong(value);
    if (number == -1 && PyErr_Occurred()) {
      PyErr_Clear();
      raise_error("NumberError", "%s: %s does not fit into 64 bits", op_name(call.op), PyUnicode_AsUTF8(param.name));
    }
    call.sizes.push_back(number);
    return number == -1;
  }
  if (is_symbolic(value) || is_size_number(value) || (is_tensor(value) && !as_tensor(value)->buffer)) {
    call.traced = true;
    call.sizes.push_back(0);
    return false;
  }
  if (is_live_number(value)) {
    Ref pinned = pin_number(value);
    return add_size(call, param, pinned.get());
  }
  if (!PyIndex_Check(value)) refuse_value(call.op, param, "an integer or a sequence of integers", value);
  Ref index = owned(PyNumber_Index(value));
  return add_size(call, param, index.get());
}

void add_sizes(Call& call, size_t index, const Param& param) {
  PyObject* value = call.values[index];
  if (!PyTuple_Check(value) && !PyList_Check(value)) {
    if (PyUnicode_Check(value) || is_tensor(value)) refuse_value(call.op, param, "a sequence of integers", value);
    Ref single = PySequence_Check(value) ? owned(PySequence_Tuple(value)) : owned(PyTuple_Pack(1, value));
    call.values[index] = value = single.get();
    call.kept.push_back(std::move(single));
  } else if (PyList_Check(value)) {  // a tuple of our own: the list may change in an element's __index__
    Ref items = owned(PyList_AsTuple(value));
    call.values[index] = value = items.get();
    call.kept.push_back(std::move(items));
  }
  const Py_ssize_t count = PySequence_Fast_GET_SIZE(value);
  if (count > 8 * kMaxRank) raise_error("ArgumentError", "%s: too many sizes", op_name(call.op));
  uint64_t minus_ones = 0;
  for (Py_ssize_t i = 0; i < count; ++i)
    if (add_size(call, param, PySequence_Fast_GET_ITEM(value, i)) && i < 48) minus_ones |= uint64_t{1} << i;
  call.key.push_back(minus_ones << 16 | static_cast<uint64_t>(count));
}

}  // namespace

void flatten(Call& call) {
  const std::vector<Param>& params = *call.op->params;
  call.key.push_back(0);  // the header, known at the end
  for (size_t i = 0; i < params.size(); ++i) {
    const Param& param = params[i];
    PyObject* value = call.values[i];
    switch (param.kind) {
      case ParamKind::Tensor:
        if (value == Py_None) refuse_value(call.op, param, "a Tensor or a number", value);
        add_value(call, i, param, false);
        break;
      case ParamKind::OptionalTensor:
        if (value == Py_None)
          add_absent(call);
        else
          add_value(call, i, param, false);
        break;
      case ParamKind::Number:
        if (value == Py_None && param.default_value == Py_None)
          add_absent(call);
        else
          add_value(call, i, param, true);
        break;
      case ParamKind::TensorList:
        add_list(call, i, param);
        break;
      case ParamKind::Attribute:
      case ParamKind::Attributes:
        if (is_live_number(value)) {
          Ref pinned = pin_number(value);
          call.values[i] = value = pinned.get();
          call.kept.push_back(std::move(pinned));
        }
        if (is_symbolic(value))
          call.traced = true;
        else
          encode_attribute(value, &call.key, &call.kept, call.op, param);
        break;
      case ParamKind::Sizes:
        add_sizes(call, i, param);
        break;
      case ParamKind::Size:
        if (value == Py_None && param.default_value == Py_None) {
          call.key.push_back(0);
        } else {
          call.key.push_back(1);
          add_size(call, param, value);
        }
        break;
    }
  }
  call.key[0] = header_word(call.operands.size());
}

bool is_symbolic(PyObject* value) {
  return dim_type && (Py_TYPE(value) == dim_type || PyType_IsSubtype(Py_TYPE(value), dim_type));
}

void set_dim_type(PyObject* type) {
  if (!PyType_Check(type)) raise_error("ArgumentError", "set_dim_type: expected a class");
  Py_INCREF(type);
  dim_type = reinterpret_cast<PyTypeObject*>(type);
}

bool is_live_number(PyObject* value) {
  return live_number_type && (Py_TYPE(value) == live_number_type || PyType_IsSubtype(Py_TYPE(value), live_number_type));
}

void set_number_type(PyObject* type) {
  if (!PyType_Check(type)) raise_error("ArgumentError", "set_number_type: expected a class");
  Py_INCREF(type);
  live_number_type = reinterpret_cast<PyTypeObject*>(type);
}

Ref pin_number(PyObject* value) { return owned(PyObject_CallMethod(value, "pin", nullptr)); }

bool read_number(PyObject* value, Operand* operand) {
  if (PyFloat_Check(value)) {
    operand->number_kind = NumberKind::Float;
    operand->real = PyFloat_AS_DOUBLE(value);
    return true;
  }
  if (PyBool_Check(value)) {
    operand->number_kind = NumberKind::Bool;
    operand->integer = value == Py_True;
    return true;
  }
  if (!PyLong_Check(value)) return false;
  operand->number_kind = NumberKind::Int;
  int overflow;
  operand->integer = PyLong_AsLongLongAndOverflow(value, &overflow);
  if (overflow) {
    // The upper half of uint64 has the same bits; anything beyond has no dtype to live in.
    unsigned long long wide = overflow > 0 ? PyLong_AsUnsignedLongLong(value) : 0;
    if (overflow < 0 || PyErr_Occurred()) {
      PyErr_Clear();
      raise_error("NumberError", "the number does not fit into 64 bits");
    }
    operand->integer = static_cast<int64_t>(wide);
  }
  return true;
}

Ref unwrap_numpy_scalar(PyObject* value) {
  const char* type = Py_TYPE(value)->tp_name;
  if (std::strncmp(type, "numpy.", 6) != 0 || std::strcmp(type, "numpy.ndarray") == 0) return Ref();
  Ref item(PyObject_CallMethod(value, "item", nullptr));
  if (!item) PyErr_Clear();
  if (item && !PyLong_Check(item.get()) && !PyFloat_Check(item.get())) return Ref();
  return item;
}

void store_operand_number(const Operand& operand, DType dtype, Cell8* cell) {
  if (operand.number_kind == NumberKind::Float) {
    if (dtype == DType::Float64)
      std::memcpy(cell->bytes, &operand.real, 8);
    else
      store_number(cell->bytes, dtype, operand.real);
  } else {
    store_number(cell->bytes, dtype, operand.integer);
  }
}

}  // namespace dg
