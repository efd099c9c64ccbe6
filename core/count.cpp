#include "count.h"

#include <string>
#include <utility>
#include <vector>

namespace dg {

bool counting = false;
constinit thread_local PyObject* watcher = nullptr;

namespace {

struct Counted {
  std::string name;
  std::vector<Buffer*> inputs, outputs;  // kept alive, so that an address stays one storage
  int kernels;
};
std::vector<Counted> counted;

Ref storages(const std::vector<Buffer*>& buffers) {
  Ref list = owned(PyList_New(0));
  for (Buffer* buffer : buffers) {
    Ref pair = owned(Py_BuildValue("(Kn)", static_cast<unsigned long long>(reinterpret_cast<uintptr_t>(buffer)),
                                   static_cast<Py_ssize_t>(buffer->bytes)));
    check_status(PyList_Append(list.get(), pair.get()));
  }
  return list;
}

}  // namespace

void begin_count() {
  end_count();
  counting = true;
}

void set_watcher(PyObject* function) {
  Ref dropped(std::exchange(watcher, function == Py_None ? nullptr : Ref::borrow(function).release()));
}

void tell_watcher(const char* name, Ref results) {
  PyObject* function = std::exchange(watcher, nullptr);  // what it does itself is not watched
  Ref answer(PyObject_CallFunction(function, "sO", name, results.get()));
  watcher = function;
  if (!answer) PyErr_WriteUnraisable(function);
}

Ref end_count() {
  counting = false;
  std::vector<Counted> calls = std::move(counted);
  counted.clear();
  Ref list = owned(PyList_New(0));
  for (const Counted& call : calls) {
    Ref inputs = storages(call.inputs), outputs = storages(call.outputs);
    Ref row = owned(Py_BuildValue("(sOOi)", call.name.c_str(), inputs.get(), outputs.get(), call.kernels));
    check_status(PyList_Append(list.get(), row.get()));
  }
  for (Counted& call : calls) {
    for (Buffer* buffer : call.inputs) release(buffer);
    for (Buffer* buffer : call.outputs) release(buffer);
  }
  return list;
}

void count_run(const char* name, const RunInput* inputs, size_t n_inputs, const Program* program,
               const RunOutput* outputs, size_t n_outputs) {
  Counted call{name, {}, {}, program->kernel_count()};
  for (size_t i = 0; i < n_inputs; ++i) {
    if (!inputs[i].data) continue;
    retain(inputs[i].buffer);
    call.inputs.push_back(inputs[i].buffer);
  }
  for (size_t i = 0; i < n_outputs; ++i) {
    retain(outputs[i].buffer);
    call.outputs.push_back(outputs[i].buffer);
  }
  counted.push_back(std::move(call));
}

}  // namespace dg
