// Python numbers, nested sequences and bytes ↔ tensors.
#include <cmath>
#include <cstring>

#include "call.h"
#include "dtype_object.h"
#include "geometry.h"
#include "interop.h"
#include "mode.h"

namespace dg {

namespace {

constexpr int kMaxNesting = kMaxRank;

// The numbers of a nested sequence in order, its shape, and the dtype that holds them all.
struct Collected {
  std::vector<Ref> numbers;
  std::vector<int64_t> shape;
  bool any_float = false, any_int = false, any_bool = false;
  DType array_dtype = DType::Count;  // promoted dtype of arrays and tensors met
};

bool is_sequence(PyObject* value) { return PyList_Check(value) || PyTuple_Check(value); }

void note_array_dtype(Collected& collected, DType dtype) {
  collected.array_dtype = collected.array_dtype == DType::Count ? dtype : promote(collected.array_dtype, dtype);
  if (collected.array_dtype == DType::Count)
    raise_error("DTypeError", "tensor: the dtypes of the parts do not promote");
}

void collect(PyObject* data, int depth, Collected& collected) {
  if (depth > kMaxNesting) raise_error("ShapeError", "tensor: more than %d nested levels", kMaxNesting);
  Ref kept;
  if (is_tensor(data)) {
    note_array_dtype(collected, as_tensor(data)->dtype);
    if (Ref value = intercept_read(as_tensor(data), "tensor"))
      kept = std::move(value);
    else
      kept = owned(to_list(as_tensor(data)));
    data = kept.get();
  } else if (Ref array =
                 is_sequence(data) || PyLong_Check(data) || PyFloat_Check(data) ? Ref() : tensor_from_array(data)) {
    note_array_dtype(collected, as_tensor(array.get())->dtype);
    kept = owned(to_list(as_tensor(array.get())));
    data = kept.get();
  }
  const auto level = static_cast<size_t>(depth);
  if (is_sequence(data)) {
    const Py_ssize_t count = PySequence_Fast_GET_SIZE(data);
    if (collected.shape.size() == level && collected.numbers.empty()) {
      collected.shape.push_back(count);
    } else if (collected.shape.size() <= level || collected.shape[level] != count) {
      raise_error("ShapeError",
                  "tensor: the nested sequences are ragged: at level %d one has %zd elements, another %lld", depth,
                  count, collected.shape.size() > level ? static_cast<long long>(collected.shape[level]) : -1LL);
    }
    for (Py_ssize_t i = 0; i < count; ++i) {
      if (i >= PySequence_Fast_GET_SIZE(data)) raise_error("DomainError", "tensor: a list changed while it was read");
      Ref item = Ref::borrow(PySequence_Fast_GET_ITEM(data, i));
      collect(item.get(), depth + 1, collected);
    }
    return;
  }
  if (collected.shape.size() != level)
    raise_error("ShapeError", "tensor: the nested sequences are ragged: a number where a sequence of %lld is expected",
                static_cast<long long>(collected.shape[level]));
  Ref number = unwrap_numpy_scalar(data);
  if (!number) number = Ref::borrow(data);
  if (PyBool_Check(number.get()))
    collected.any_bool = true;
  else if (PyLong_Check(number.get()))
    collected.any_int = true;
  else if (PyFloat_Check(number.get()))
    collected.any_float = true;
  else
    raise_error("ArgumentError", "tensor: elements must be numbers, got %s", Py_TYPE(data)->tp_name);
  collected.numbers.push_back(std::move(number));
}

void store_python_number(PyObject* number, char* target, DType dtype) {
  if (PyFloat_Check(number)) return store_number(target, dtype, PyFloat_AS_DOUBLE(number));
  if (!PyLong_Check(number))
    raise_error("ArgumentError", "tensor: elements must be numbers, got %s", Py_TYPE(number)->tp_name);
  int overflow;
  const long long value = PyLong_AsLongLongAndOverflow(number, &overflow);
  if (is_floating(dtype) && overflow) {
    const double real = PyLong_AsDouble(number);
    if (real == -1.0 && PyErr_Occurred()) throw ErrorSet{};
    return store_number(target, dtype, real);
  }
  bool fits = true;
  if (overflow) {
    const unsigned long long wide = overflow > 0 && dtype == DType::UInt64 ? PyLong_AsUnsignedLongLong(number) : 0;
    fits = overflow > 0 && dtype == DType::UInt64 && !PyErr_Occurred();
    PyErr_Clear();
    if (fits) return store_number(target, dtype, static_cast<uint64_t>(wide));
  } else if (!is_floating(dtype) && dtype != DType::Bool && dtype != DType::Int64) {
    const int bits = static_cast<int>(8 * itemsize(dtype));
    if (is_signed(dtype))
      fits = value >= -(1LL << (bits - 1)) && value < (1LL << (bits - 1));
    else
      fits = value >= 0 && (bits == 64 || value < (1LL << bits));
  }
  if (!fits) {
    Ref text = owned(PyObject_Str(number));
    raise_error("NumberError", "tensor: %s does not fit into %s", PyUnicode_AsUTF8(text.get()), name(dtype));
  }
  store_number(target, dtype, static_cast<int64_t>(value));
}

PyObject* list_level(const TensorObject* tensor, int d, const char* data) {
  if (d == tensor->rank) return read_element(data, tensor->dtype);
  Ref list = owned(PyList_New(tensor->sizes[d]));
  const int64_t step = tensor->strides[d] * static_cast<int64_t>(itemsize(tensor->dtype));
  for (int64_t i = 0; i < tensor->sizes[d]; ++i)
    PyList_SET_ITEM(list.get(), i, checked(list_level(tensor, d + 1, data + i * step)));
  return list.release();
}

TensorObject* mark_born(TensorObject* tensor) {
  if (mode.tracing) tensor->flags |= kBornTraced;
  return tensor;
}

}  // namespace

PyObject* read_element(const char* data, DType dtype) {
  if (dtype == DType::Bool) return PyBool_FromLong(*data != 0);
  if (is_floating(dtype)) return PyFloat_FromDouble(load_as_double(data, dtype));
  if (dtype == DType::UInt64) return PyLong_FromUnsignedLongLong(load_as_uint(data, dtype));
  return PyLong_FromLongLong(load_as_int(data, dtype));
}

PyObject* to_scalar(TensorObject* tensor) {
  require_host(tensor, "item");
  if (tensor->numel != 1)
    raise_error_hint("DomainError", "use .tolist(), or index one element first",
                     "item: a Tensor with %lld elements is not one number", static_cast<long long>(tensor->numel));
  return read_element(tensor->data, tensor->dtype);
}

PyObject* to_list(TensorObject* tensor) {
  require_host(tensor, "tolist");
  return checked(list_level(tensor, 0, tensor->data));
}

void read_sizes(PyObject* sequence, SmallVector<int64_t, 8>* sizes, const char* what) {
  Ref items = owned(PySequence_Tuple(sequence));
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(items.get()); ++i) {
    Ref index = owned(PyNumber_Index(PyTuple_GET_ITEM(items.get(), i)));
    int overflow;
    const long long size = PyLong_AsLongLongAndOverflow(index.get(), &overflow);
    if (overflow) raise_error("NumberError", "%s: size %zd does not fit into 64 bits", what, i);
    sizes->push_back(size);
  }
  if (sizes->size() > kMaxRank)
    raise_error("ShapeError", "%s: at most %d dimensions, got %zu", what, kMaxRank, sizes->size());
}

PyObject* tensor_from_data(PyObject* data, PyObject* dtype_given) {
  if (is_tensor(data) || !(is_sequence(data) || PyLong_Check(data) || PyFloat_Check(data))) {
    Ref plain = is_tensor(data) ? Ref() : tensor_from_array(data);
    if (plain && (dtype_given == Py_None || dtype_object(as_tensor(plain.get())->dtype) == dtype_given))
      return as_object(mark_born(as_tensor(plain.release())));
  }
  Collected collected;
  collect(data, 0, collected);
  DType dtype = DType::Count;
  if (dtype_given != Py_None) {
    dtype = require_dtype(dtype_given, "tensor");
  } else {
    if (collected.array_dtype != DType::Count)
      dtype = collected.array_dtype;
    else if (collected.any_float)
      dtype = default_dtype();
    else if (collected.any_int)
      dtype = DType::Int64;
    else if (collected.any_bool)
      dtype = DType::Bool;
    else
      dtype = default_dtype();
    if (collected.any_float && !is_floating(dtype)) dtype = default_dtype();
  }
  SmallVector<int64_t, 8> sizes;
  for (int64_t size : collected.shape) sizes.push_back(size);
  // An empty level ends the descent: [[], []] has shape (2, 0).
  TensorObject* tensor = make_empty(dtype, static_cast<int>(sizes.size()), sizes.data());
  Ref guard(as_object(tensor));
  if (tensor->numel != static_cast<int64_t>(collected.numbers.size()))
    raise_error("ShapeError", "tensor: the nested sequences are ragged");
  char* target = tensor->data;
  for (const Ref& number : collected.numbers) {
    store_python_number(number.get(), target, dtype);
    target += itemsize(dtype);
  }
  mark_born(tensor);
  return guard.release();
}

PyObject* from_flat(PyObject* numbers, DType dtype, PyObject* shape) {
  SmallVector<int64_t, 8> sizes;
  read_sizes(shape, &sizes, "from_flat");
  Ref items = owned(PySequence_Tuple(numbers));
  TensorObject* tensor = make_empty(dtype, static_cast<int>(sizes.size()), sizes.data());
  Ref guard(as_object(tensor));
  if (tensor->numel != PyTuple_GET_SIZE(items.get()))
    raise_error("ShapeError", "from_flat: %zd numbers do not fill the shape", PyTuple_GET_SIZE(items.get()));
  char* target = tensor->data;
  for (Py_ssize_t i = 0; i < tensor->numel; ++i, target += itemsize(dtype))
    store_python_number(PyTuple_GET_ITEM(items.get(), i), target, dtype);
  mark_born(tensor);
  return guard.release();
}

PyObject* from_buffer(PyObject* object, DType dtype, PyObject* shape) {
  SmallVector<int64_t, 8> sizes;
  read_sizes(shape, &sizes, "from_buffer");
  TensorObject* tensor = make_empty(dtype, static_cast<int>(sizes.size()), sizes.data());
  Ref guard(as_object(tensor));
  Py_buffer view;
  check_status(PyObject_GetBuffer(object, &view, PyBUF_FULL_RO));
  const auto bytes = static_cast<Py_ssize_t>(tensor->numel * static_cast<int64_t>(itemsize(dtype)));
  const Py_ssize_t given = view.len;
  int status = given == bytes ? PyBuffer_ToContiguous(tensor->data, &view, given, 'C') : 0;
  PyBuffer_Release(&view);
  check_status(status);
  if (given != bytes) raise_error("ShapeError", "from_buffer: %zd bytes given, the shape needs %zd", given, bytes);
  mark_born(tensor);
  return guard.release();
}

PyObject* to_bytes(TensorObject* tensor) {
  require_host(tensor, "to_bytes");
  const auto bytes = static_cast<Py_ssize_t>(tensor->numel * static_cast<int64_t>(itemsize(tensor->dtype)));
  Ref result = owned(PyBytes_FromStringAndSize(nullptr, bytes));
  Dims strides;
  strides.resize(tensor->rank);
  contiguous_strides(tensor->rank, tensor->sizes, strides.data());
  strided_copy(PyBytes_AS_STRING(result.get()), strides.data(), tensor->data, tensor->strides, tensor->rank,
               tensor->sizes, itemsize(tensor->dtype));
  return result.release();
}

PyObject* as_strided(TensorObject* tensor, PyObject* shape, PyObject* strides, int64_t offset) {
  require_data(tensor, "as_strided");
  SmallVector<int64_t, 8> sizes, steps;
  read_sizes(shape, &sizes, "as_strided");
  read_sizes(strides, &steps, "as_strided");
  const int rank = static_cast<int>(sizes.size());
  if (steps.size() != sizes.size() || checked_count(rank, sizes.data(), tensor->dtype) < 0)
    raise_error("ShapeError", "as_strided: the sizes and strides do not make a view");
  for (int d = 0; d < rank; ++d) {
    int64_t reach;
    if (steps[d] < 0 || __builtin_mul_overflow(steps[d], sizes[d], &reach) || reach > (int64_t{1} << 60))
      raise_error("ShapeError", "as_strided: stride %lld is out of range", static_cast<long long>(steps[d]));
  }
  const Extent extent = view_extent(rank, sizes.data(), steps.data());
  const auto room = static_cast<int64_t>(tensor->buffer->bytes / itemsize(tensor->dtype));
  if (offset < 0 || offset > room || extent.high > room - offset)
    raise_error("ShapeError", "as_strided: the view would reach outside the tensor's memory");
  retain(tensor->buffer);
  return as_object(make_tensor(tensor->buffer, offset, tensor->dtype, rank, sizes.data(), steps.data()));
}

PyObject* reinterpreted(TensorObject* tensor, DType dtype) {
  require_data(tensor, "view");
  const auto from = static_cast<int64_t>(itemsize(tensor->dtype)), to = static_cast<int64_t>(itemsize(dtype));
  Dims sizes, strides;
  for (int d = 0; d < tensor->rank; ++d) {
    sizes.push_back(tensor->sizes[d]);
    strides.push_back(tensor->strides[d]);
  }
  const int last = tensor->rank - 1;
  int64_t offset = tensor->offset;
  if (from != to) {
    if (last < 0) raise_error("ShapeError", "view: a tensor without dimensions keeps its size per element");
    if (strides[last] != 1 && sizes[last] != 1)
      raise_error_hint("ShapeError", "make it contiguous: x.contiguous().view(dtype)",
                       "view: another size per element needs a last dimension without gaps, its stride is %lld",
                       static_cast<long long>(strides[last]));
    const int64_t ratio = from > to ? from / to : to / from;
    bool fits = from > to || (sizes[last] % ratio == 0 && offset % ratio == 0);
    for (int d = 0; d < last; ++d) fits = fits && (from > to || sizes[d] < 2 || strides[d] % ratio == 0);
    if (!fits)
      raise_error("ShapeError", "view: %s elements lie on no whole %s (%lld to one) in every row", name(tensor->dtype),
                  name(dtype), static_cast<long long>(ratio));
    const auto scaled = [&](int64_t value) { return from > to ? value * ratio : value / ratio; };
    offset = scaled(offset);
    sizes[last] = scaled(sizes[last]);
    for (int d = 0; d < last; ++d) strides[d] = scaled(strides[d]);
    strides[last] = 1;
  }
  retain(tensor->buffer);
  TensorObject* made = make_tensor(tensor->buffer, offset, dtype, tensor->rank, sizes.data(), strides.data());
  made->base = Ref::borrow(tensor->base ? tensor->base : as_object(tensor)).release();
  track(made);
  return as_object(made);
}

}  // namespace dg
