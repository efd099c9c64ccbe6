// A static function as Python calls it: finds the capture that fits the call and runs its program.
#pragma once

#include <vector>

#include "python_api.h"

namespace dg {

struct StaticFunctionObject {
  PyObject_HEAD vectorcallfunc vectorcall;
  PyObject* function;  // what the user wrote
  PyObject*
      handler;  // miss(args, kwargs) -> StaticEntry, inline(*args, **kwargs), failed(entry, ...); other attributes
  PyObject* dict;
  PyObject* weak_references;
  std::vector<PyObject*>* entries;  // owned StaticEntry objects, the last used first
};

extern PyTypeObject* static_function_type;
// Adds StaticFunction, StaticEntry, epoch(), bump_epoch(), set_dynamic_mode() to the module.
void bind_static_function(PyObject* module);

// Counts the changes that static programs cannot see by comparing pointers: attributes of Modules, settings.
extern int64_t epoch;

}  // namespace dg
