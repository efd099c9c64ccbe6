// `copy.copy`, `copy.deepcopy` and `pickle` of tensors, as methods.
#pragma once

#include "python_api.h"

namespace dg {

PyObject* copy_shallow(PyObject* self, PyObject*);       // __copy__: the same memory
PyObject* copy_deep(PyObject* self, PyObject* memo);     // __deepcopy__: of a leaf, with its gradient and attributes
PyObject* reduce_for_pickle(PyObject* self, PyObject*);  // __reduce_ex__

}  // namespace dg
