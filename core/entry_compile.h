// What happens once for each entry of an operator: the compile hook, and what Python says where it fails.
#pragma once

#include "flatten.h"

namespace dg {

// Calls the hook with what the call's key stands for and keeps the entry.
Entry* compile_entry(Call& call);
// Runs the shape rule in Python on the arguments as given; returns if it finds nothing wrong.
void explain_failure(OpObject* op, PyObject* args, int64_t code);

}  // namespace dg
