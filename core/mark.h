// A mark of the user's line that costs next to nothing: a code object and an instruction offset.
#pragma once

#include "python_api.h"

namespace dg {

struct Mark {
  PyObject* code = nullptr;  // owned
  int instruction = 0;
};

// Marks the innermost frame outside the package; empty if there is none within a few levels.
Mark take_mark();
inline void drop_mark(Mark* mark) { Py_CLEAR(mark->code); }
int mark_line(const Mark& mark);
// Files under this folder are the package's own.
void set_package_folder(PyObject* folder);

}  // namespace dg
