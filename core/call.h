// One call of an operator: bind, classify, look the entry up, run its program, record. Nothing here knows an operator.
#pragma once

#include <vector>

#include "coalesce.h"
#include "entry.h"
#include "op.h"
#include "tape.h"
#include "tensor.h"

namespace dg {

struct Operand {
  TensorObject* tensor;  // borrowed
  OperandKind kind;
  NumberKind number_kind;
  union {
    int64_t integer;
    double real;
  };
};

using Operands = SmallVector<Operand, 8>;

// The vectorcall of Op.
PyObject* call_vector(PyObject* self, PyObject* const* args, size_t flagged_count, PyObject* keyword_names);
// Calls with one value per parameter. New reference, or ErrorSet.
PyObject* call_op(OpObject* op, PyObject* const* values, size_t count);
// The same, with the tensors in the dtypes they have whatever autocast says.
PyObject* call_as_given(OpObject* op, PyObject* const* values, size_t count);
// A concrete call of an operator with one result, which is known: nothing but the recording is left to do.
PyObject* call_known(OpObject* op, PyObject* const* values, size_t count, const TensorObject* result);
// Calls with leading positional values and defaults for the rest.
PyObject* call_positional(OpObject* op, PyObject* const* values, size_t count);

// A Python number, or a NumPy scalar turned into one (`kept` owns it); false if it is neither.
bool read_number(PyObject* value, Operand* operand);
Ref unwrap_numpy_scalar(PyObject* value);  // null if it is not one
bool is_symbolic(PyObject* value);         // a symbolic size
void set_dim_type(PyObject* type);
bool is_live_number(PyObject* value);  // a number that a capture reads anew at each run
void set_number_type(PyObject* type);
Ref pin_number(PyObject* value);  // its value now, remembered as a guard
void store_operand_number(const Operand& operand, DType dtype, Cell8* cell);

// Raises what a failed check or kernel means to the user.
[[noreturn]] void raise_run_failure(OpObject* op, PyObject* args, const RunStatus& status);
Ref value_tuple(PyObject* const* values, size_t count);
// The tensor in memory of its own; `user` is who asks, for errors.
TensorObject* contiguous_copy(const TensorObject* tensor, const char* user);

// Calls the tracer (trace.cpp).
PyObject* trace_call(OpObject* op, PyObject* const* values, size_t count);
// Refuses an in-place write that would break a gradient; `target` is what would be written.
void check_inplace_target(OpObject* op, TensorObject* target);

// Records a compiled call onto the tape. `sources`: what to save for each operand (may differ from the operand's tensor
// when that was overwritten).
void record_compiled(OpObject* op, Entry* entry, const Operand* operands, size_t count, TensorObject* const* sources,
                     const int64_t* sizes, size_t n_sizes, TensorObject* const* outs, size_t n_outs,
                     const NeedsRow* row);
// Which values the gradient of this entry reads when the operands in `needs` want gradients: asked once.
NeedsRow* find_needs_row(Entry* entry, const Mask& needs);  // null if it was not asked yet
NeedsRow* needs_row(Entry* entry, const Mask& needs, size_t n_operands, size_t n_outs);
// Bits of the operands that take part in differentiation; false if none does or nothing is recorded.
bool wanted_gradients(const OpObject* op, const Operand* operands, size_t count, Mask* needs);

}  // namespace dg
