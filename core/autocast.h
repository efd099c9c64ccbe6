// Autocast: operators that have a policy get their tensors in the dtype it asks for. Which have one, Python says.
#pragma once

#include "op.h"

namespace dg {

// Calls the operator with its tensors converted. New reference, or ErrorSet.
PyObject* call_autocast(OpObject* op, PyObject* const* values, size_t count);
// Calls a Python function with its tensors, and those in its lists, converted; what it calls takes what it is given.
// Null: an error is set.
PyObject* call_function_autocast(PyObject* function, AutocastPolicy policy, PyObject* const* args, size_t flagged,
                                 PyObject* keyword_names);

// (enabled, dtype, keeps casts, depth) of this thread; setting it gives what was before.
Ref autocast_state();
Ref set_autocast(PyObject* state);

}  // namespace dg
