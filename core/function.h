// A Python function of the package whose failures are looked into before the user sees them.
#pragma once

#include "python_api.h"

namespace dg {

// Adds Function(function, explain, autocast policy) to the module.
void bind_function(PyObject* module);

}  // namespace dg
