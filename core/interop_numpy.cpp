// NumPy and the buffer protocol, without importing numpy before somebody uses it.
#include <cstring>
#include <memory>

#include "dtype_object.h"
#include "geometry.h"
#include "interop.h"
#include "kept.h"
#include "mode.h"

namespace dg {

namespace {

// Exposes a tensor's memory to NumPy and keeps it alive.
struct MemoryObject {
  PyObject_HEAD Buffer* buffer;
};
PyTypeObject* memory_type = nullptr;

int get_buffer(PyObject* self, Py_buffer* view, int flags) {
  Buffer* buffer = reinterpret_cast<MemoryObject*>(self)->buffer;
  return PyBuffer_FillInfo(view, self, buffer->data, static_cast<Py_ssize_t>(buffer->bytes), 0, flags);
}

void drop_memory(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  if (Buffer* buffer = reinterpret_cast<MemoryObject*>(self)->buffer) {
    close_buffer(buffer);
    release(buffer);
  }
  type->tp_free(self);
  Py_DECREF(type);
}

PyType_Slot slots[] = {
    {Py_bf_getbuffer, reinterpret_cast<void*>(get_buffer)},
    {Py_tp_dealloc, reinterpret_cast<void*>(drop_memory)},
    {0, nullptr},
};
PyType_Spec spec = {"duograph._core.Memory", sizeof(MemoryObject), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};

// The dtype of a buffer's format; Count if we have none for it.
DType dtype_of_format(const char* format, Py_ssize_t size) {
  if (!format) return size == 1 ? DType::UInt8 : DType::Count;
  if (*format == '@' || *format == '=' || *format == '<') ++format;
  if (std::strlen(format) != 1) return DType::Count;
  char kind;
  if (*format == '?')
    kind = 'b';
  else if (std::strchr("bhilqn", *format))
    kind = 'i';
  else if (std::strchr("BHILQN", *format))
    kind = 'u';
  else if (std::strchr("efd", *format))
    kind = 'f';
  else
    return DType::Count;
  for (const DTypeInfo& row : kDTypes)
    if (row.kind == kind && row.itemsize == size && row.code != DType::BFloat16) return row.code;
  return DType::Count;
}

void release_view(Buffer* buffer) {
  auto* view = static_cast<Py_buffer*>(buffer->owner);
  // The last reference may go in a thread that does not hold the GIL, or while Python shuts down.
  if (Py_IsInitialized()) {
    PyGILState_STATE state = PyGILState_Ensure();
    PyBuffer_Release(view);
    PyGILState_Release(state);
  }
  delete view;
  drop_adopted(buffer);
}

// Sizes and strides in elements; false if the strides are not whole elements.
bool read_geometry(const Py_buffer& view, Dims* sizes, Dims* strides) {
  if (view.ndim > 0 && (!view.shape || !view.strides || view.itemsize <= 0)) return false;  // NumPy's dates
  for (int d = 0; d < view.ndim; ++d) {
    sizes->push_back(view.shape[d]);
    if (view.strides[d] % view.itemsize != 0) return false;
    strides->push_back(view.strides[d] / view.itemsize);
  }
  return true;
}

struct ViewGuard {
  Py_buffer* view;
  ~ViewGuard() {
    if (view) PyBuffer_Release(view);
  }
};

Ref copy_of_view(const Py_buffer& view, DType dtype) {
  Dims sizes, strides;
  if (view.ndim > kMaxRank || !read_geometry(view, &sizes, &strides)) return Ref();
  TensorObject* tensor = make_empty(dtype, view.ndim, sizes.data());
  strided_copy(tensor->data, tensor->strides, static_cast<const char*>(view.buf), strides.data(), view.ndim,
               sizes.data(), itemsize(dtype));
  return Ref(as_object(tensor));
}

}  // namespace

void create_memory_type(PyObject* module) {
  memory_type = reinterpret_cast<PyTypeObject*>(checked(PyType_FromSpec(&spec)));
  check_status(PyModule_AddObjectRef(module, "Memory", reinterpret_cast<PyObject*>(memory_type)));
}

Ref tensor_from_array(PyObject* value) {
  if (PyObject_CheckBuffer(value) && !PyBytes_Check(value) && !PyByteArray_Check(value)) {
    Py_buffer view;
    if (PyObject_GetBuffer(value, &view, PyBUF_RECORDS_RO) == 0) {
      ViewGuard guard{&view};
      const DType dtype = dtype_of_format(view.format, view.itemsize);
      if (dtype != DType::Count)
        if (Ref tensor = copy_of_view(view, dtype)) return tensor;
      // Other byte orders and odd strides: NumPy makes them plain.
      if (std::strncmp(Py_TYPE(value)->tp_name, "numpy.", 6) == 0 && view.format && *view.format == '>') {
        Ref native =
            owned(PyObject_CallMethod(value, "astype", "N",
                                      checked(PyUnicode_FromFormat("=%c%zd",
                                                                   view.format[1] == '?'                  ? 'b'
                                                                   : std::strchr("efd", view.format[1])   ? 'f'
                                                                   : std::strchr("bhilq", view.format[1]) ? 'i'
                                                                                                          : 'u',
                                                                   view.itemsize))));
        return tensor_from_array(native.get());
      }
      return Ref();
    }
    PyErr_Clear();
    return Ref();
  }
  if (PyType_Check(value)) return Ref();
  for (const char* protocol : {"__dlpack__", "__array__"}) {
    Ref function(PyObject_GetAttrString(value, protocol));
    if (!function) {
      PyErr_Clear();
      continue;
    }
    if (protocol[2] == 'd') {
      Ref shared(from_dlpack(value));
      Ref bytes = owned(to_bytes(as_tensor(shared.get())));
      Ref shape = owned(shape_tuple(as_tensor(shared.get())));
      return owned(from_buffer(bytes.get(), as_tensor(shared.get())->dtype, shape.get()));
    }
    Ref array = owned(PyObject_CallNoArgs(function.get()));
    return PyObject_CheckBuffer(array.get()) ? tensor_from_array(array.get()) : Ref();
  }
  return Ref();
}

namespace {

// A tensor over the memory of a buffer, which it takes over.
PyObject* tensor_over(std::unique_ptr<Py_buffer> view) {
  ViewGuard guard{view.get()};
  const DType dtype = dtype_of_format(view->format, view->itemsize);
  if (dtype == DType::Count)
    raise_error("DTypeError", "from_numpy: arrays of format '%s' cannot become Tensors",
                view->format ? view->format : "?");
  if (view->ndim > kMaxRank)
    raise_error("ShapeError", "from_numpy: at most %d dimensions, got %d", kMaxRank, view->ndim);
  Dims sizes, strides;
  if (!read_geometry(*view, &sizes, &strides))
    raise_error_hint("ShapeError", "copy it first: array.copy()", "from_numpy: the strides are not whole elements");
  for (int d = 0; d < view->ndim; ++d)
    if (strides[d] < 0)
      raise_error_hint("ShapeError", "copy it first: array.copy()",
                       "from_numpy: the stride of dimension %d is negative", d);
  const Extent extent = view_extent(view->ndim, sizes.data(), strides.data());
  const int rank = view->ndim;
  void* data = view->buf;
  Buffer* buffer = adopt(data, static_cast<size_t>(extent.high) * itemsize(dtype), view.get(), release_view);
  guard.view = nullptr;
  view.release();
  TensorObject* tensor = make_tensor(buffer, 0, dtype, rank, sizes.data(), strides.data());
  if (mode.tracing) tensor->flags |= kBornTraced;
  return as_object(tensor);
}

// NumPy's array type and dtypes; looked up once, as they never change.
struct NumpyTypes {
  PyObject* array;
  PyObject* dtypes[static_cast<size_t>(DType::Count)];
};

const NumpyTypes& numpy_types() {
  static NumpyTypes* found = nullptr;
  if (!found) {
    auto types = std::make_unique<NumpyTypes>();
    Ref numpy = owned(PyImport_ImportModule("numpy"));
    Ref array = owned(PyObject_GetAttrString(numpy.get(), "ndarray"));
    std::vector<Ref> dtypes;
    for (const DTypeInfo& row : kDTypes)
      dtypes.push_back(row.code == DType::BFloat16
                           ? Ref()
                           : owned(PyObject_CallMethod(numpy.get(), "dtype", "s", row.numpy_typestr)));
    for (const DTypeInfo& row : kDTypes)
      types->dtypes[static_cast<size_t>(row.code)] = dtypes[static_cast<size_t>(&row - &kDTypes[0])].release();
    types->array = array.release();
    found = types.release();
  }
  return *found;
}

}  // namespace

PyObject* from_numpy(PyObject* array) {
  if (!PyObject_CheckBuffer(array))
    raise_error("ArgumentError", "from_numpy: expected a NumPy array, got %s", Py_TYPE(array)->tp_name);
  auto view = std::make_unique<Py_buffer>();
  if (PyObject_GetBuffer(array, view.get(), PyBUF_RECORDS) != 0) {
    PyErr_Clear();
    Ref copy = tensor_from_array(array);
    if (!copy) raise_error("DTypeError", "from_numpy: arrays of this dtype cannot become Tensors");
    check_status(PyErr_WarnEx(PyExc_UserWarning,
                              "from_numpy: the array is read-only and was copied; writes to the Tensor do not reach it",
                              2));
    return copy.release();
  }
  return tensor_over(std::move(view));
}

PyObject* borrow_numpy(PyObject* array, bool alone) {
  auto view = std::make_unique<Py_buffer>();
  if (PyObject_GetBuffer(array, view.get(), PyBUF_RECORDS_RO) != 0) throw ErrorSet{};
  PyObject* tensor = tensor_over(std::move(view));
  if (alone) close_buffer(as_tensor(tensor)->buffer);
  return tensor;
}

PyObject* to_numpy(TensorObject* tensor) {
  require_host(tensor, "numpy");
  if (requires_grad(tensor))
    raise_error_hint("GradError", "use x.detach().numpy()",
                     "numpy: a Tensor that requires grad cannot be read by NumPy");
  if (tensor->dtype == DType::BFloat16)
    raise_error_hint("DTypeError", "convert it first: x.to(float32).numpy()", "numpy: NumPy has no bfloat16");
  const NumpyTypes& numpy = numpy_types();
  auto* memory = reinterpret_cast<MemoryObject*>(checked(memory_type->tp_alloc(memory_type, 0)));
  Ref keep(reinterpret_cast<PyObject*>(memory));
  retain(tensor->buffer);
  memory->buffer = tensor->buffer;
  open_buffer(tensor->buffer);
  const auto size = static_cast<int64_t>(itemsize(tensor->dtype));
  Ref shape = owned(PyTuple_New(tensor->rank));
  for (int d = 0; d < tensor->rank; ++d)
    PyTuple_SET_ITEM(shape.get(), d, checked(PyLong_FromLongLong(tensor->sizes[d])));
  PyObject* arguments[] = {shape.get(), numpy.dtypes[static_cast<size_t>(tensor->dtype)], keep.get(), nullptr, nullptr};
  if (tensor->numel == 0) return checked(PyObject_Vectorcall(numpy.array, arguments, 2, nullptr));
  if (tensor->offset == 0 && is_contiguous(tensor))
    return checked(PyObject_Vectorcall(numpy.array, arguments, 3, nullptr));
  Ref strides = owned(PyTuple_New(tensor->rank));
  for (int d = 0; d < tensor->rank; ++d)
    PyTuple_SET_ITEM(strides.get(), d, checked(PyLong_FromLongLong(tensor->strides[d] * size)));
  Ref offset = owned(PyLong_FromLongLong(tensor->offset * size));
  arguments[3] = offset.get();
  arguments[4] = strides.get();
  return checked(PyObject_Vectorcall(numpy.array, arguments, 5, nullptr));
}

}  // namespace dg
