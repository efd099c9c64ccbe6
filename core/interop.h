// Tensors and the rest of the Python world: NumPy, DLPack, nested lists, bytes.
#pragma once

#include "small_vector.h"
#include "tensor.h"

namespace dg {

// A tensor from anything that has the buffer protocol, __array__ or __dlpack__ (copied); null if it has none of them.
Ref tensor_from_array(PyObject* value);
// Zero copy from a NumPy array.
PyObject* from_numpy(PyObject* array);
// A tensor over an array's memory, be it writable or not: for what only reads it.
PyObject* borrow_numpy(PyObject* array, bool alone);
// A tensor from numbers, nested sequences, arrays or tensors; `dtype` None infers it.
PyObject* tensor_from_data(PyObject* data, PyObject* dtype);
PyObject* to_numpy(TensorObject* tensor);
PyObject* to_list(TensorObject* tensor);
PyObject* to_scalar(TensorObject* tensor);  // item()
PyObject* read_element(const char* data, DType dtype);
PyObject* to_bytes(TensorObject* tensor);                               // the elements in order
PyObject* from_buffer(PyObject* object, DType dtype, PyObject* shape);  // copies the bytes
PyObject* from_flat(PyObject* numbers, DType dtype, PyObject* shape);
// A view by explicit geometry, off the tape; refused where it would leave the memory.
PyObject* as_strided(TensorObject* tensor, PyObject* shape, PyObject* strides, int64_t offset);
// The same memory as elements of another dtype.
PyObject* reinterpreted(TensorObject* tensor, DType dtype);
PyObject* to_dlpack(TensorObject* tensor, PyObject* max_version, bool copy);
PyObject* from_dlpack(PyObject* object);
void create_memory_type(PyObject* module);
// An int, float or bool from a sequence of sizes.
void read_sizes(PyObject* sequence, SmallVector<int64_t, 8>* sizes, const char* what);

}  // namespace dg
