// The user's functions that Python's library or the interpreter calls: a capture may have others run in their place.
#pragma once

#include "python_api.h"

namespace dg {

// Adds follow_calls() to the module.
void bind_frames(PyObject* module);

}  // namespace dg
