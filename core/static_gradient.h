// What the tape holds for one call of a static function.
#pragma once

#include <vector>

#include "saved_hooks.h"
#include "static_call.h"
#include "tape.h"

namespace dg {

// A saved value that a hook packed, and the layout that the gradient program was made for.
struct PackedValue {
  Packed packed;
  DType dtype;
  std::vector<int64_t> sizes, strides;
};

// A tensor of a call as it was when that ended; owned.
struct Depends {
  PyObject* tensor;
  uint32_t version;
};

// Calling it with the gradients of the results differentiates.
struct StaticGradientObject {
  PyObject_HEAD PyObject* entry;
  PyObject* arguments;  // of the call, as a tuple
  PyObject* inputs;     // tensors to differentiate with respect to
  PyObject* saved;      // tensors the gradient program reads
  Node* node;           // borrowed: it owns this object
  std::vector<uint32_t>* versions;
  std::vector<PackedValue>* packed;  // with saved_tensors_hooks: in the place of `saved`, which is null then
  std::vector<Number>* numbers;
  std::vector<int64_t>* sizes;    // the program's, then the shapes of results that are not known from the capture
  std::vector<Depends>* depends;  // tensors that the results depend on
  std::vector<Number>* depends_numbers;  // null if there are none
  PyObject* before;                      // per effect what it is about to replace; the entry where there is nothing
  PyObject* written;                     // tensors that the call wrote in place
  RngState generator;                    // before the run
};

inline StaticGradientObject* as_gradient(PyObject* self) { return reinterpret_cast<StaticGradientObject*>(self); }
inline uint32_t version_of(const TensorObject* tensor) {
  return tensor->buffer->version.load(std::memory_order_relaxed);
}

StaticGradientObject* new_gradient();  // new reference
// Records the operators of the call that a node stands for in its place on the tape.
void take_static_apart(Node* node);
// check(): an error if the call's Python would not compute the same again.
PyObject* check_unchanged(PyObject* gradient, PyObject*);

}  // namespace dg
