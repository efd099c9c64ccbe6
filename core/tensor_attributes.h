// The attributes and methods that Tensor has of itself; all others are operators that Python binds.
#pragma once

#include "tensor.h"

namespace dg {

extern PyGetSetDef tensor_attributes[];
extern PyMethodDef tensor_methods[];

}  // namespace dg
