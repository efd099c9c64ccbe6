// What stands between a value that a gradient needs and the memory it is kept in: functions of the user's that pack it
// when it is saved and unpack it when backward comes. And who looks on while backward runs.
#pragma once

#include <vector>

#include "tape.h"

namespace dg {

// (pack, unpack) of this thread, or null. Owned.
extern constinit thread_local PyObject* saved_hooks;
// Sets them (None: none); gives the ones before, or None.
Ref set_saved_hooks(PyObject* hooks);

// Keeps what `pack` made of a tensor in the place of its value.
void pack_value(Node* node, uint32_t index, const TensorObject* tensor);
// What `pack` made of a tensor, and the function that turns it back.
Packed pack_tensor(const TensorObject* tensor);
// The tensor again; `like` gives dtype and sizes, `name` who wants it.
Ref unpack_tensor(const Packed& packed, DType dtype, int rank, const int64_t* sizes, const char* name);

// While it lives, the node's packed values are in their places.
class Unpacked {
 public:
  explicit Unpacked(Node* node);
  ~Unpacked();
  Unpacked(const Unpacked&) = delete;

 private:
  Node* node_;
  std::vector<uint32_t> filled_;
};

// observer(node, gradients of the outputs, gradients of the inputs) after each node that this thread's backward runs.
extern constinit thread_local PyObject* backward_observer;
Ref set_backward_observer(PyObject* function);
void tell_observer(Node* node, TensorObject* const* grads, size_t n_grads, TensorObject* const* results,
                   size_t n_results);

}  // namespace dg
