// The Tensor object: a handle on a shared buffer (concrete) or on a value of a graph being traced (traced).
#pragma once

#include <cstdint>

#include "dtype.h"
#include "memory.h"
#include "program.h"
#include "python_api.h"

namespace dg {

struct Node;

constexpr int kInlineRank = 6;

enum TensorFlags : uint8_t {
  kRequiresGrad = 1,  // set by the user on a leaf; non-leaves say so by having a node
  kContiguous = 2,
  kRetainGrad = 4,     // a non-leaf that keeps its gradient
  kDetachedView = 16,  // a view made without recording of a tensor that requires grad
  kBornTraced = 8,     // made from Python data while a capture was under way
  kInference = 64,     // made in inference mode
  kOtherData = 128,    // was given the elements of another tensor
  kStandIn = 32,       // a traced tensor in the place of an argument: its gradient is the argument's
};

struct TensorObject {
  PyObject_HEAD Buffer* buffer;  // null when traced
  char* data;                    // first element, offset applied
  int64_t offset;                // elements
  int64_t numel;                 // -1 when traced with a symbolic size
  int64_t* sizes;                // `rank` entries, then as many strides; null when traced
  int64_t* strides;
  DType dtype;
  uint8_t rank;
  uint8_t flags;
  uint32_t output_index;  // of `node`
  uint32_t leaf_run;      // engine: the run that met this leaf last ...
  uint32_t leaf_state;    // ... and its index there
  uint32_t view_version;  // the buffer's version when `node` was set: tells a view whose base was written since
  Node* node;             // what computed this tensor, if recorded
  PyObject* grad;
  PyObject* traced;  // the graph value
  PyObject* shape;   // the shape of a traced tensor: a tuple of int and Dim
  PyObject* base;    // the tensor this is a view of
  PyObject* hooks;   // gradient hooks of a leaf: a list
  PyObject* weak_references;
  int64_t inline_dims[2 * kInlineRank];
};

extern PyTypeObject* tensor_type;

inline bool is_tensor(PyObject* object) {
  return Py_TYPE(object) == tensor_type || PyType_IsSubtype(Py_TYPE(object), tensor_type);
}
inline TensorObject* as_tensor(PyObject* object) { return reinterpret_cast<TensorObject*>(object); }
inline PyObject* as_object(TensorObject* tensor) { return reinterpret_cast<PyObject*>(tensor); }
inline bool is_contiguous(const TensorObject* t) { return t->flags & kContiguous; }
inline bool requires_grad(const TensorObject* t) { return t->node || (t->flags & kRequiresGrad); }
// Raises ArgumentError naming `what` unless the object is a tensor.
TensorObject* require_tensor(PyObject* object, const char* what);
// Raises CaptureError unless the tensor holds data; `what` names the operation that wants to read it.
void require_data(const TensorObject* tensor, const char* what);
// Also raises DeviceError if host code cannot read the data.
void require_host(const TensorObject* tensor, const char* what);
// Asked before every reading of values into Python. Null: read on. Else the value that the capture under way gives for
// it (which mostly raises CaptureError instead).
Ref intercept_read(TensorObject* tensor, const char* what);

// New tensors. Those that take a buffer take over one reference to it, also when they throw.
TensorObject* make_tensor(Buffer* buffer, int64_t offset, DType dtype, int rank, const int64_t* sizes,
                          const int64_t* strides);
TensorObject* make_contiguous(Buffer* buffer, int64_t offset, DType dtype, int rank, const int64_t* sizes);
// Contents undefined. `what` asks for it, in messages.
TensorObject* make_empty(DType dtype, int rank, const int64_t* sizes, const char* what = "empty");
TensorObject* make_zeros(DType dtype, int rank, const int64_t* sizes);
TensorObject* make_traced(PyObject* value, DType dtype, int rank, PyObject* shape);
// The same values without history: shares buffer and version (or the traced value).
TensorObject* make_detached(const TensorObject* tensor);
// A detached alias of another class, for Parameter and its like.
TensorObject* make_subclass(PyTypeObject* type, const TensorObject* tensor);

// Lets `target` show what `source` holds, keeping identity, class, grad and requires_grad.
void set_data(TensorObject* target, const TensorObject* source);
// The same for a tensor that stays the view it is: `source` is made of its own elements.
void show_as(TensorObject* target, const TensorObject* source);

// `shape` as Python sees it: new reference to a Size.
PyObject* shape_tuple(const TensorObject* tensor);
PyObject* make_size(int rank, const int64_t* sizes);
void set_size_type(PyObject* type);
// True if both show the same elements in the same order.
bool same_view(const TensorObject* a, const TensorObject* b);
// True if the bytes the two may touch intersect.
bool may_overlap(const TensorObject* a, const TensorObject* b);
// "float32[8, 64]"
PyObject* describe(const TensorObject* tensor);

inline void bump_version(TensorObject* tensor);

// Makes the garbage collector watch a tensor that came to hold references which can form a cycle.
inline void track(TensorObject* tensor) {
  if (!PyObject_GC_IsTracked(as_object(tensor))) PyObject_GC_Track(as_object(tensor));
}

// The in-place writes and gradient writes made while a static program is captured, to be undone afterwards.
void begin_journal();
void end_journal(bool roll_back);
void set_grad(TensorObject* tensor, PyObject* grad);  // journalled; borrowed, null clears
void note_version_bump(Buffer* buffer);
extern bool journal_active;

inline void bump_version(TensorObject* tensor) {
  if (__builtin_expect(journal_active, 0)) note_version_bump(tensor->buffer);
  tensor->buffer->version.store(tensor->buffer->version.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

// Creation of the type (bind_tensor.cpp) and its deallocator's helpers.
void create_tensor_type(PyObject* module);
void set_device_type(PyObject* type);
void tensor_dealloc(PyObject* self);
int tensor_traverse(PyObject* self, visitproc visit, void* arg);
int tensor_clear(PyObject* self);

}  // namespace dg
