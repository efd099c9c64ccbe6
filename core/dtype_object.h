// The Python objects that stand for dtypes: one immortal singleton each.
#pragma once

#include "dtype.h"
#include "python_api.h"

namespace dg {

void create_dtype_objects(PyObject* module);
PyObject* dtype_object(DType dtype);  // borrowed
// False if the object is not one of the singletons.
bool as_dtype(PyObject* object, DType* dtype);
DType require_dtype(PyObject* object, const char* what);

}  // namespace dg
