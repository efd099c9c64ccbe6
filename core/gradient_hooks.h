// Functions that users hang on gradients: of tensors, of leaves once their `.grad` is up to date, of nodes.
#pragma once

#include "gradient.h"
#include "tape.h"

namespace dg {

// In the place of an output's number in NodeExtra::hooks: the function gets what goes into the node, or what went in
// and what came out.
constexpr uint32_t kBeforeNode = UINT32_MAX, kAfterNode = UINT32_MAX - 1;

// Asks for `.grad` of a tensor that is no leaf; of a leaf it is there anyway.
void retain_gradient(TensorObject* tensor);

// A node's hooks of one kind: of its outputs (each may replace its gradient), or those before it (all of them at once).
void run_output_hooks(Node* node, TensorObject** grads);
void run_hooks_before(Node* node, TensorObject** grads);
void run_hooks_after(Node* node, Gradients* results, TensorObject* const* grads);

// A leaf's hooks, which may replace the gradient that has arrived.
void run_leaf_hooks(const TensorObject* leaf, Ref* grad);
// Its hooks for when the gradient has been added to `.grad`: they are kept as tuples of one in the same list.
void run_accumulated_hooks(TensorObject* leaf);

// While it lives a backward pass is under way on this thread, the innermost of several.
class PassUnderWay {
 public:
  PassUnderWay();
  ~PassUnderWay();
  PassUnderWay(const PassUnderWay&) = delete;
  void call_ends();  // what `at_end_of_backward` was given

 private:
  friend uint64_t at_end_of_backward(PyObject* function);
  uint64_t number_;
  Ref ends_;
  PassUnderWay* outer_;
};

// Has a function called when all gradients of the pass under way are there, and gives the pass's number; None: only
// that.
uint64_t at_end_of_backward(PyObject* function);

}  // namespace dg
