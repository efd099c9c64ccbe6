#include "grad_journal.h"

namespace dg {

namespace {

thread_local PyObject* journal_list = nullptr;

// Tensors from outside of the capture.
bool matters(const TensorObject* tensor) { return journal_list && (!tensor->traced || (tensor->flags & kStandIn)); }

void note(const char* what, TensorObject* tensor) {
  // The list may be taken away by what appending runs: keep it for the moment.
  Ref list = Ref::borrow(journal_list);
  Ref entry = owned(Py_BuildValue("(sOO)", what, as_object(tensor), tensor->grad ? tensor->grad : Py_None));
  check_status(PyList_Append(list.get(), entry.get()));
}

}  // namespace

void set_grad_journal(PyObject* list) {
  if (list != Py_None && !PyList_Check(list)) raise_error("ArgumentError", "set_grad_journal: expected a list or None");
  Py_XSETREF(journal_list, list == Py_None ? nullptr : Ref::borrow(list).release());
}

void note_grad_read(TensorObject* tensor) {
  if (matters(tensor)) note("read", tensor);
}

void note_grad_write(TensorObject* tensor) {
  if (matters(tensor)) note("write", tensor);
}

}  // namespace dg
