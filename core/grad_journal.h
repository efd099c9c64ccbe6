// What a capture wants to know of `.grad`: a thread may have its reads and writes listed.
#pragma once

#include "tensor.h"

namespace dg {

// The list of this thread (None stops): ("read", tensor, grad) and ("write", tensor, old grad) are appended.
void set_grad_journal(PyObject* list);
void note_grad_read(TensorObject* tensor);
void note_grad_write(TensorObject* tensor);

}  // namespace dg
