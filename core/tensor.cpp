#include "tensor.h"

#include <algorithm>
#include <string>
#include <vector>

#include "device.h"
#include "dtype_object.h"
#include "geometry.h"
#include "grad_journal.h"
#include "mode.h"
#include "tape.h"

namespace dg {

PyTypeObject* tensor_type = nullptr;
bool journal_active = false;

namespace {

// Dead exact Tensors, kept as they are with their garbage-collector header: creation costs a few nanoseconds.
constexpr int kFreeListLimit = 512;
TensorObject* free_list[kFreeListLimit];
int free_count = 0;

PyTypeObject* size_type = &PyTuple_Type;

struct JournalEntry {
  Ref tensor;  // a gradient write, with the gradient before it
  Ref grad;
  Buffer* buffer = nullptr;  // a version bump
  uint32_t version = 0;
};
std::vector<JournalEntry> journal;

TensorObject* new_object() {
  TensorObject* tensor;
  if (free_count > 0) {
    tensor = free_list[--free_count];
    Py_SET_REFCNT(as_object(tensor), 1);
    Py_INCREF(tensor_type);
  } else {
    tensor = PyObject_GC_New(TensorObject, tensor_type);
    if (!tensor) throw ErrorSet{};
  }
  tensor->buffer = nullptr;
  tensor->data = nullptr;
  tensor->offset = 0;
  tensor->sizes = tensor->strides = nullptr;
  tensor->flags = 0;
  tensor->output_index = 0;
  tensor->view_version = 0;
  tensor->leaf_run = 0;
  tensor->node = nullptr;
  tensor->grad = tensor->traced = tensor->shape = tensor->base = tensor->hooks = tensor->weak_references = nullptr;
  return tensor;
}

inline void set_dims_room(TensorObject* tensor, int rank) {
  tensor->rank = static_cast<uint8_t>(rank);
  if (rank <= kInlineRank) {
    tensor->sizes = tensor->inline_dims;
  } else {
    tensor->sizes = static_cast<int64_t*>(PyMem_Malloc(2 * rank * sizeof(int64_t)));
    if (!tensor->sizes) throw std::bad_alloc();
  }
  tensor->strides = tensor->sizes + rank;
}

void drop_contents(TensorObject* tensor) {
  if (tensor->buffer) release(std::exchange(tensor->buffer, nullptr));
  if (tensor->sizes && tensor->sizes != tensor->inline_dims) PyMem_Free(tensor->sizes);
  tensor->sizes = tensor->strides = nullptr;
  tensor->data = nullptr;
  Py_CLEAR(tensor->traced);
  Py_CLEAR(tensor->shape);
}

void copy_contents(TensorObject* target, const TensorObject* source) {
  if (source->buffer) {
    set_dims_room(target, source->rank);
    std::memcpy(target->sizes, source->sizes, 2 * source->rank * sizeof(int64_t));
    retain(source->buffer);
    target->buffer = source->buffer;
    target->data = source->data;
    target->offset = source->offset;
  } else {
    target->rank = source->rank;
    target->traced = Ref::borrow(source->traced).release();
    target->shape = Ref::borrow(source->shape).release();
  }
  target->dtype = source->dtype;
  target->numel = source->numel;
  constexpr uint8_t kCopied = kContiguous | kInference;
  target->flags = static_cast<uint8_t>((target->flags & ~kCopied) | (source->flags & kCopied));
}

}  // namespace

TensorObject* require_tensor(PyObject* object, const char* what) {
  if (!is_tensor(object)) raise_error("ArgumentError", "%s: expected a Tensor, got %s", what, Py_TYPE(object)->tp_name);
  return as_tensor(object);
}

void require_data(const TensorObject* tensor, const char* what) {
  if (tensor->buffer) return;
  raise_error_hint("CaptureError", "compute with tensors instead, or move the reading out of the captured function",
                   "%s: the value of a tensor cannot be read while a static graph is being captured", what);
}

void require_host(const TensorObject* tensor, const char* what) {
  require_data(tensor, what);
  const Device& device = device_row(tensor->buffer->device);
  if (!device.host_addressable)
    raise_error_hint("DeviceError", "copy it to the cpu first", "%s: the tensor is on device %s", what, device.name);
}

Ref intercept_read(TensorObject* tensor, const char* what) {
  if (!mode.tracing && tensor->buffer) return Ref();
  if (!hook_or_null(Hook::ValueRead)) {
    require_data(tensor, what);
    return Ref();
  }
  return owned(PyObject_CallFunction(hook(Hook::ValueRead), "Os", as_object(tensor), what));
}

TensorObject* make_tensor(Buffer* buffer, int64_t offset, DType dtype, int rank, const int64_t* sizes,
                          const int64_t* strides) {
  BufferRef guard(buffer);
  TensorObject* tensor = new_object();
  tensor->dtype = dtype;
  set_dims_room(tensor, rank);
  int64_t numel = 1, expected = 1;
  bool contiguous = true;
  for (int d = rank - 1; d >= 0; --d) {
    const int64_t size = sizes[d];
    tensor->sizes[d] = size;
    tensor->strides[d] = strides[d];
    contiguous = contiguous && (size == 1 || strides[d] == expected);
    expected = wrapping_product(expected, size);
    numel = wrapping_product(numel, size);
  }
  tensor->numel = numel;
  tensor->flags = (contiguous || numel == 0 ? kContiguous : 0) | (mode.inference ? kInference : 0);
  tensor->offset = offset;
  tensor->buffer = guard.detach();
  tensor->data = static_cast<char*>(buffer->data) + offset * static_cast<int64_t>(itemsize(dtype));
  return tensor;
}

TensorObject* make_contiguous(Buffer* buffer, int64_t offset, DType dtype, int rank, const int64_t* sizes) {
  BufferRef guard(buffer);
  TensorObject* tensor = new_object();
  tensor->dtype = dtype;
  set_dims_room(tensor, rank);
  std::copy_n(sizes, rank, tensor->sizes);
  contiguous_strides(rank, sizes, tensor->strides);
  tensor->numel = count_elements(rank, sizes);
  tensor->flags = kContiguous | (mode.inference ? kInference : 0);
  tensor->offset = offset;
  tensor->buffer = guard.detach();
  tensor->data = static_cast<char*>(buffer->data) + offset * static_cast<int64_t>(itemsize(dtype));
  return tensor;
}

TensorObject* make_empty(DType dtype, int rank, const int64_t* sizes, const char* what) {
  int64_t count = checked_count(rank, sizes, dtype);
  if (count < 0) {
    for (int d = 0; d < rank; ++d)
      if (sizes[d] < 0)
        raise_error("ShapeError", "%s: sizes must not be negative, got size %lld at dimension %d", what,
                    static_cast<long long>(sizes[d]), d);
    raise_error("OutOfMemoryError", "%s: more bytes than can be counted asked for", what);
  }
  return make_contiguous(allocate(count * itemsize(dtype)), 0, dtype, rank, sizes);
}

TensorObject* make_zeros(DType dtype, int rank, const int64_t* sizes) {
  TensorObject* tensor = make_empty(dtype, rank, sizes, "zeros");
  std::memset(tensor->data, 0, tensor->numel * itemsize(dtype));
  return tensor;
}

TensorObject* make_traced(PyObject* value, DType dtype, int rank, PyObject* shape) {
  TensorObject* tensor = new_object();
  tensor->dtype = dtype;
  tensor->rank = static_cast<uint8_t>(rank);
  tensor->flags = kContiguous | (mode.inference ? kInference : 0);
  tensor->traced = Ref::borrow(value).release();
  tensor->shape = Ref::borrow(shape).release();
  tensor->numel = 1;
  for (int d = 0; d < rank && tensor->numel >= 0; ++d) {
    PyObject* size = PyTuple_GET_ITEM(shape, d);
    const long long value = PyLong_Check(size) ? PyLong_AsLongLong(size) : -1;
    if (value == -1) PyErr_Clear();  // symbolic, or beyond 64 bits
    tensor->numel = value < 0 || __builtin_mul_overflow(tensor->numel, value, &tensor->numel) ? -1 : tensor->numel;
  }
  track(tensor);
  return tensor;
}

TensorObject* make_detached(const TensorObject* source) {
  TensorObject* tensor = new_object();
  copy_contents(tensor, source);
  if (tensor->traced) track(tensor);
  return tensor;
}

TensorObject* make_subclass(PyTypeObject* type, const TensorObject* source) {
  if (type == tensor_type) return make_detached(source);
  auto* tensor = as_tensor(checked(type->tp_alloc(type, 0)));
  copy_contents(tensor, source);
  if (tensor->buffer) tensor->buffer->parameter = true;
  return tensor;
}

void show_as(TensorObject* target, const TensorObject* source) {
  if (target == source) return;
  Ref keep = Ref::borrow(const_cast<PyObject*>(reinterpret_cast<const PyObject*>(source)));
  drop_contents(target);
  copy_contents(target, source);
  if (target->traced) track(target);
}

void set_data(TensorObject* target, const TensorObject* source) {
  if (target == source) return;
  show_as(target, source);
  if (target->buffer && Py_TYPE(as_object(target)) != tensor_type) target->buffer->parameter = true;
  Py_CLEAR(target->base);
}

PyObject* make_size(int rank, const int64_t* sizes) {
  Ref shape = owned(size_type == &PyTuple_Type ? PyTuple_New(rank) : size_type->tp_alloc(size_type, rank));
  for (int d = 0; d < rank; ++d) PyTuple_SET_ITEM(shape.get(), d, checked(PyLong_FromLongLong(sizes[d])));
  return shape.release();
}

PyObject* shape_tuple(const TensorObject* tensor) {
  if (tensor->shape) return Ref::borrow(tensor->shape).release();
  return make_size(tensor->rank, tensor->sizes);
}

void set_size_type(PyObject* type) {
  auto* given = reinterpret_cast<PyTypeObject*>(type);
  if (!PyType_Check(type) || !PyType_IsSubtype(given, &PyTuple_Type) ||
      given->tp_basicsize != PyTuple_Type.tp_basicsize || given->tp_itemsize != PyTuple_Type.tp_itemsize)
    raise_error("ArgumentError", "set_size_type: expected a subclass of tuple with empty __slots__");
  Py_INCREF(type);
  size_type = given;
}

bool same_view(const TensorObject* a, const TensorObject* b) {
  if (a->data != b->data || a->rank != b->rank || a->dtype != b->dtype) return false;
  for (int d = 0; d < a->rank; ++d)
    if (a->sizes[d] != b->sizes[d] || (a->sizes[d] != 1 && a->strides[d] != b->strides[d])) return false;
  return true;
}

bool may_overlap(const TensorObject* a, const TensorObject* b) {
  if (a->buffer != b->buffer || a->numel == 0 || b->numel == 0) return false;
  Extent ea = view_extent(a->rank, a->sizes, a->strides), eb = view_extent(b->rank, b->sizes, b->strides);
  const auto size_a = static_cast<int64_t>(itemsize(a->dtype)), size_b = static_cast<int64_t>(itemsize(b->dtype));
  return a->data + ea.low * size_a < b->data + eb.high * size_b &&
         b->data + eb.low * size_b < a->data + ea.high * size_a;
}

PyObject* describe(const TensorObject* tensor) {
  Ref text = owned(PyUnicode_FromFormat("%s[", name(tensor->dtype)));
  Ref shape = owned(shape_tuple(tensor));
  for (int d = 0; d < tensor->rank; ++d)
    text = owned(PyUnicode_FromFormat("%U%s%S", text.get(), d ? ", " : "", PyTuple_GET_ITEM(shape.get(), d)));
  return checked(PyUnicode_FromFormat("%U]", text.get()));
}

void begin_journal() {
  if (journal_active) raise_error("CaptureError", "a capture is already under way");
  journal_active = true;
}

void end_journal(bool roll_back) {
  journal_active = false;
  std::vector<JournalEntry> entries = std::move(journal);
  journal.clear();
  while (!entries.empty()) {
    JournalEntry entry = std::move(entries.back());
    entries.pop_back();
    if (entry.tensor && roll_back) {
      auto* tensor = as_tensor(entry.tensor.get());
      Ref dropped(std::exchange(tensor->grad, entry.grad.release()));
    }
    if (entry.buffer) {
      if (roll_back) entry.buffer->version.store(entry.version);
      release(entry.buffer);
    }
  }
}

void set_grad(TensorObject* tensor, PyObject* grad) {
  note_grad_write(tensor);
  if (journal_active) journal.push_back({Ref::borrow(as_object(tensor)), Ref::borrow(tensor->grad), nullptr, 0});
  Py_XINCREF(grad);
  Ref dropped(std::exchange(tensor->grad, grad));
  if (!grad) return;
  track(tensor);
  if (is_tensor(grad)) track(as_tensor(grad));  // it may be a view of this very tensor
}

void note_version_bump(Buffer* buffer) {
  retain(buffer);
  journal.push_back({Ref(), Ref(), buffer, buffer->version.load()});
}

int tensor_traverse(PyObject* self, visitproc visit, void* arg) {
  TensorObject* tensor = as_tensor(self);
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(tensor->grad);
  Py_VISIT(tensor->traced);
  Py_VISIT(tensor->shape);
  Py_VISIT(tensor->base);
  Py_VISIT(tensor->hooks);
  return tensor->node ? visit_node(tensor->node, visit, arg) : 0;
}

int tensor_clear(PyObject* self) {
  TensorObject* tensor = as_tensor(self);
  Py_CLEAR(tensor->grad);
  Py_CLEAR(tensor->base);
  Py_CLEAR(tensor->hooks);
  drop_node(tensor);
  return 0;
}

void tensor_dealloc(PyObject* self) {
  TensorObject* tensor = as_tensor(self);
  if (PyObject_GC_IsTracked(self)) PyObject_GC_UnTrack(self);
  if (tensor->weak_references) PyObject_ClearWeakRefs(self);
  if (tensor->node) drop_node(tensor);
  drop_contents(tensor);
  Py_CLEAR(tensor->grad);
  Py_CLEAR(tensor->base);
  Py_CLEAR(tensor->hooks);
  PyTypeObject* type = Py_TYPE(self);
  if (type == tensor_type && free_count < kFreeListLimit)
    free_list[free_count++] = tensor;
  else
    type->tp_free(self);
  Py_DECREF(type);
}

}  // namespace dg
