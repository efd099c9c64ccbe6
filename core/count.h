// Counting what dynamic mode does between two moments: for reports that set it beside a static program.
#pragma once

#include "program.h"
#include "python_api.h"
#include "tensor.h"

namespace dg {

extern bool counting;

// begin_count / end_count of Python: a list of (name, inputs, outputs, kernels), inputs and outputs as (storage id,
// bytes).
void begin_count();
Ref end_count();
// watcher(name, results) of Python, called after each operator and each gradient that this thread runs; None ends that.
extern constinit thread_local PyObject* watcher;
void set_watcher(PyObject* function);
void tell_watcher(const char* name, Ref results);
void count_run(const char* name, const RunInput* inputs, size_t n_inputs, const Program* program,
               const RunOutput* outputs, size_t n_outputs);

}  // namespace dg
