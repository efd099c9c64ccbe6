// One call of a static function on its way through matching, running and handing back.
#pragma once

#include "rng.h"
#include "small_vector.h"
#include "static_entry.h"

namespace dg {

struct Number {
  bool is_float;
  int64_t integer;
  double real;
  double as_double() const { return is_float ? real : static_cast<double>(integer); }
};

// What one call has found so far.
struct StaticCall {
  StaticEntry* entry = nullptr;
  PyObject* const* args = nullptr;
  SmallVector<TensorObject*, 8> tensors;  // of the arguments; owned, since a list may change meanwhile; or null
  SmallVector<PyObject*, 8> numbers;      // likewise
  SmallVector<PyObject*, 32> reads;       // owned
  SmallVector<TensorObject*, 32> inputs;  // borrowed from arguments, reads and entry
  SmallVector<PyObject*, 16> outputs;     // owned; null until made
  RngState generator{};                   // before the run
  ~StaticCall() {
    for (TensorObject* tensor : tensors) Py_XDECREF(reinterpret_cast<PyObject*>(tensor));
    for (PyObject* number : numbers) Py_XDECREF(number);
    for (PyObject* object : reads) Py_XDECREF(object);
    for (PyObject* object : outputs) Py_XDECREF(object);
  }
};

// Answers the calls that the program of a static call makes.
class StaticHost final : public HostCaller {
 public:
  explicit StaticHost(StaticCall* call) : call_(call) {}
  bool call(int32_t number, const HostValue* operands, size_t n_operands, const HostValue* results,
            size_t n_results) override;

 private:
  StaticCall* call_;
};

// Whether the entry fits the call; guards may run Python. `fresh`: it was made for this very call.
bool matches(StaticEntry* entry, PyObject* const* args, size_t n_positional, PyObject* keyword_names, bool fresh,
             StaticCall* call);
// False if a read is no longer a number of its type, or the arithmetic would raise in Python.
bool evaluate(const Postfix& postfix, StaticCall* call, Number* result);
int64_t evaluate_size(const Postfix& postfix, StaticCall* call);
PyObject* number_object(const Postfix& postfix, StaticCall* call);  // new reference

// A view as in dynamic mode, without a place on the tape; new reference.
PyObject* make_part(const Part& part, StaticCall* call);
// What the caller gets; new reference.
PyObject* build(const Template& made, StaticCall* call);
void apply_effect(const Effect& effect, StaticCall* call);
// Forgets the gradient that an effect will replace, unless the program is given it.
void give_up_gradient(const Effect& effect, StaticCall* call);
// Makes the call one node of the tape, if an input wants a gradient.
void record_tape(PyObject* entry, StaticCall* call);
void create_static_gradient_type();

}  // namespace dg
