// Op: an operator as Python calls it. The core knows its parameter table and flags, and nothing of what it computes.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "python_api.h"
#include "small_vector.h"

namespace dg {

class EntryTable;
struct Entry;

enum class ParamKind : uint8_t {
  Tensor,          // Tensor or Python number
  OptionalTensor,  // or None
  TensorList,      // sequence of tensors
  Number,          // Python number or 0-d tensor: a value, never structure
  Attribute,       // structure: compared in full
  Sizes,           // sequence of integers, or the rest of the positional arguments; values are registers
  Size,            // one integer register, or None
  Attributes,      // structure: a sequence, or the rest of the positional arguments
};

enum OpFlags : int {
  kElementwise = 1,
  kView = 2,
  kInplace = 4,
  kNondifferentiable = 8,
  kRandom = 16,
  kCreation = 32,
  kInplaceLists = 64,  // the tensor lists named by `writes` are written; nothing is returned
};

// What autocast makes of a call: its tensors are converted first, to
enum class AutocastPolicy : uint8_t {
  None,
  Lower,  // the lower dtype
  Float32,
  Promote,  // the widest among them
  AsGiven,  // what they are; a function's operators, which have policies of their own, take them so
  Count
};
AutocastPolicy read_policy(int code);  // raises ArgumentError

struct Param {
  PyObject* name;  // interned
  ParamKind kind;
  PyObject* default_value;  // null: required
};

struct OpObject {
  PyObject_HEAD vectorcallfunc vectorcall;
  PyObject* name;
  PyObject* definition;
  PyObject* inplace_of;
  PyObject* dict;
  PyObject* weak_references;
  std::vector<Param>* params;
  int flags;
  AutocastPolicy autocast;
  uint64_t writes;           // bit i: parameter i is a list that is written
  int n_positional_tensors;  // leading parameters of kind Tensor
  bool plain;                // elementwise over one or two tensors and nothing else: the short path
  EntryTable* entries;
};

extern PyTypeObject* op_type;

void create_op_type(PyObject* module);
inline bool is_op(PyObject* object) { return Py_TYPE(object) == op_type; }
inline OpObject* as_op(PyObject* object) { return reinterpret_cast<OpObject*>(object); }
const char* op_name(const OpObject* op);

// The operators behind Tensor's number slots.
enum class Slot {
  Add,
  Subtract,
  Multiply,
  TrueDivide,
  FloorDivide,
  Remainder,
  Power,
  MatMul,
  And,
  Or,
  Xor,
  LeftShift,
  RightShift,
  InplaceAdd,
  InplaceSubtract,
  InplaceMultiply,
  InplaceTrueDivide,
  InplaceFloorDivide,
  InplaceRemainder,
  InplacePower,
  InplaceMatMul,
  InplaceAnd,
  InplaceOr,
  InplaceXor,
  InplaceLeftShift,
  InplaceRightShift,
  Less,
  LessEqual,
  Equal,
  NotEqual,
  Greater,
  GreaterEqual,
  Negative,
  Positive,
  Absolute,
  Invert,
  Clone,
  Contiguous,
  To,
  Count
};
extern OpObject* slot_ops[static_cast<int>(Slot::Count)];
void bind_slot(const char* dunder, PyObject* op);
inline OpObject* slot_op(Slot slot) { return slot_ops[static_cast<int>(slot)]; }
OpObject* require_slot(Slot slot);  // raises InternalError if nothing is bound

// The arguments of one call in parameter order: borrowed, or owned by `owned_values`.
struct Bound {
  SmallVector<PyObject*, 12> values;
  std::vector<Ref> kept;
};
void bind_arguments(OpObject* op, PyObject* const* args, size_t n_positional, PyObject* keyword_names, Bound* bound);
// The same, with what does not fit as text instead of an error ("": everything does).
std::string try_bind_arguments(OpObject* op, PyObject* const* args, size_t n_positional, PyObject* keyword_names,
                               Bound* bound);
// Arguments that the parameter table does not know (`out=`, another operator's): Python decides, or they are refused.
PyObject* call_misfit(OpObject* op, PyObject* const* args, size_t n_positional, PyObject* keyword_names,
                      const std::string& misfit);

}  // namespace dg
