// Symbolic sizes as code outside of operators sees them: numbers whose comparisons a capture can guard on.
#pragma once

#include "python_api.h"
#include "tensor.h"

namespace dg {

// Whether sizes that Python reads of traced tensors are such numbers (in a capture), or the expressions themselves.
extern constinit thread_local bool user_sizes;

// Operator bodies and gradient rules work on the expressions.
class RawSizes {
 public:
  RawSizes() : previous_(user_sizes) { user_sizes = false; }
  ~RawSizes() { user_sizes = previous_; }
  RawSizes(const RawSizes&) = delete;

 private:
  bool previous_;
};

PyObject* seen_shape(const TensorObject* tensor);  // new reference
bool is_size_number(PyObject* value);
Ref size_expression(PyObject* value);  // of a size number
// A size of an operator: the expression of a size number, any other live number pinned, all else as it is.
Ref size_value(PyObject* value);
// A tuple with its elements so; the tuple itself if none changes.
Ref size_values(PyObject* tuple);
// Adds set_user_sizes(), set_size_number() and mark_stand_in() to the module.
void bind_user_sizes(PyObject* module);

}  // namespace dg
