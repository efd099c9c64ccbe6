// One capture of a static function: when it applies (leaves, reads, guards), what its program is fed with, and what
// the caller gets and finds changed. Parsed once from a plain dict that `duograph.capture` writes:
//
//  program, grad_mode, default_dtype, autocast, n_positional, kwnames
//  leaves   one per argument: ("tensor", slot, dtype, shape, strides | None, requires_grad | None, type)
//           a size or stride None is any; what it must be is for the guards to say
//           ("same", slot) · ("number", slot, type) · ("const", object, "is" | "eq")
//           ("list" | "tuple", type, [leaf]) · ("dict", [key], [leaf]) · ("attrs", type, [name], [leaf])
//  reads    fetched anew at each call: ("item", dict, key) · ("index", list | tuple, int) · ("attr", object, name)
//           ("cell", cell, None) · ("grad", tensor, None) · ("argument grad", None, slot) · ("arg", None, slot) ·
//           ("number", None, slot) · ("host", callable, n): called once in each run, in order
//           ("tensor", tensor, None) · ("piece", tensor | None, (slot, delta, n)): n elements of the memory of a
//           tensor, or of the argument of that slot, from so many after its first on
//  guards   ("is", read, object) · ("eq", read, object) · ("type", read, type)
//           ("tensor", read, dtype, shape, strides | None, requires_grad | None)
//           ("list", list, items) · ("dict", dict, keys, items) · ("expr", postfix, bool) · ("call", callable)
//           ("epoch", value, callable) · ("distinct", [input], [input]): none of the first shares memory with
//           another input that is written (the second), and if it is written itself with no other at all
//           ("aliased", read, read, offset): both are on one buffer, the second so many elements further on
//           ("class", class, callable): asked when the class was changed · ("lacks", dict, key)
//  inputs   of the program: ("read", r) · ("tensor", tensor, dtype, shape, strides | None, requires_grad | None)
//  numbers  of the program: a postfix list each, over ("read", r, is_float), ("const", number), ("size", slot, dim),
//           ("stride", slot, dim), ("size of", r, dim), ("stride of", r, dim) of a tensor that is read, and
//           (operation,)
//  sizes    the program's integer operands: a postfix list each
//  outputs  a template: ("output", j) · ("read", r) · ("const", object) · ("number", postfix)
//           ("tuple" | "list", [template]) · ("dict", [key], [template]) · ("make", callable, [template])
//           ("view", j, shape, strides, offset): a view of output j
//  parts    results that are made when the program has ended, views of its outputs or inputs with a base as in dynamic
//           mode: ("output" | "input", number, [size], [stride], offset, is behind), the numbers as postfix lists;
//           -1 - k where an output's number is asked for is part k
//  writes   [input] that the program writes in place
//  effects  after the run: ("grad", template, template) · ("setattr", object, name, template)
//           ("setitem", object, key, template) · ("setcell", cell, template) · ("call", callable, [template])
//  frees    [effect]: the program overwrites these gradients and reads them nowhere: they are None from the start
//  hosts    what the program calls while it runs, by number: None, or (operands, [effect], callable, [template],
//  watch):
//           the effects that are due, then callable(*templates); ("output", j) is operand j there. `watch`: it is an
//           error if the callable writes what the program uses
//  tape     None | (name, program, again, [(dtype, shape)] of the differentiable results, [input], [output],
//           [("output", j) | ("input", i)] saved, [postfix], [postfix]): the program takes what is saved, one gradient
//           per result, the numbers and the sizes, and gives one gradient per input; again(arguments, gradient) records
//           the call anew and gives those results; last, a callable that gives the program which goes on with sums that
//           are there before: they follow the gradients, and [input], [number] on which the results depend, and
//           [(i, j)]: a gradient of result i takes more than what is given for it where one is given for j
#pragma once

#include <string>
#include <vector>

#include "program.h"
#include "python_api.h"
#include "small_vector.h"
#include "tape.h"
#include "tensor.h"

namespace dg {

constexpr int64_t kAnySize = INT64_MIN;  // in a TensorSpec

// dtype and geometry a tensor must have.
struct TensorSpec {
  DType dtype = DType::Float32;
  int8_t requires_grad = -1;  // -1: does not matter
  bool contiguous = true;
  bool open = false;  // some sizes or strides may be anything
  std::vector<int64_t> sizes;
  std::vector<int64_t> strides;
  bool matches(const TensorObject* tensor) const;
};

struct Leaf {
  enum Kind : uint8_t { Tensor, Same, Number, Is, Eq, List, Tuple, Dict, Attributes } kind;
  int slot = 0;
  PyTypeObject* type = nullptr;
  PyObject* object = nullptr;
  TensorSpec spec;
  std::vector<PyObject*> keys;
  std::vector<Leaf> children;
};

struct Read {
  enum Kind : uint8_t {
    Item,
    Index,
    Attribute,
    Cell,
    Grad,
    ArgumentGrad,
    Arg,
    Number,
    Host,
    Tensor,
    Piece,
    Element
  } kind;
  PyObject* object = nullptr;
  PyObject* key = nullptr;
  Py_ssize_t index = 0;
  int64_t delta = 0, count = 0;  // of a piece; Element: how many items the tuple has
  int tuple = 0;                 // Element: the earlier read that gives the tuple of which this is item `index`
};

struct Token {
  enum Op : uint8_t {
    Read,
    Size,
    Stride,
    ReadSize,
    ReadStride,
    ConstInt,
    ConstFloat,
    Add,
    Sub,
    Mul,
    Div,
    FloorDiv,
    Mod,
    Pow,
    Neg,
    Lt,
    Le,
    Eq,
    Ne,
    Gt,
    Ge,
    Min,
    Max,
    Sqrt,  // from here on of one number
    Exp,
    Log,
    Log2,
    Log10,
    Sin,
    Cos,
    Tan,
    Tanh
  } op;
  bool is_float = false;  // of a read
  int index = 0;          // of a read, or the tensor
  int64_t integer = 0;    // the constant, or the dimension
  double real = 0;
};
using Postfix = std::vector<Token>;

struct Guard {
  enum Kind : uint8_t {
    Is,
    Eq,
    Type,
    Tensor,
    List,
    Dict,
    Expression,
    Call,
    Epoch,
    Distinct,
    Aliased,
    Class,
    Lacks
  } kind;
  int read = 0;
  PyObject* object = nullptr;
  PyObject* items = nullptr;
  TensorSpec spec;
  Postfix postfix;
  bool expected = false;
  int other = 0;      // the second read
  int64_t epoch = 0;  // or the offset, or the version of a class
  std::vector<int> movable, written;
};

struct Input {
  bool fixed;
  int read = 0;
  PyObject* tensor = nullptr;
  TensorSpec spec;
  std::vector<PyObject*> hooks;  // of the fixed tensor at capture, borrowed: only compared
};
// The gradient hooks of a leaf; a capture has them built in.
std::vector<PyObject*> hooks_of(const TensorObject* tensor);

struct Template {
  enum Kind : uint8_t { Output, ReadValue, Const, Number, Tuple, List, Dict, Make, View } kind;
  int index = 0;
  PyObject* object = nullptr;
  Postfix postfix;
  std::vector<PyObject*> keys;
  std::vector<Template> children;
  std::vector<int64_t> sizes, strides;
  int64_t offset = 0;
};

struct Effect {
  enum Kind : uint8_t { Grad, SetAttribute, SetItem, SetCell, Call } kind;
  PyObject* object = nullptr;
  PyObject* key = nullptr;
  std::vector<Template> values;
};

struct Part {
  bool of_output = false;
  int source = 0;
  std::vector<Postfix> sizes, strides;
  Postfix offset;
  bool is_behind = false;  // it takes its place on the tape from its base when it is used
};

struct HostCall {
  size_t n_operands = 0;
  std::vector<Effect> effects;
  PyObject* function = nullptr;
  std::vector<Template> args;
  bool watches = false;
};

struct StaticEntry {
  Ref description;  // the dict: it keeps alive every object that is borrowed below
  Program* program = nullptr;
  bool grad_mode = true;
  DType default_dtype = DType::Float32;
  bool autocast = false;
  DType autocast_dtype = DType::BFloat16;
  size_t n_positional = 0;
  std::vector<PyObject*> keywords;
  std::vector<Leaf> leaves;
  int n_tensors = 0, n_numbers = 0;
  std::vector<Read> reads;
  bool host_reads = false;  // some reads are calls, made once the entry is known to fit
  std::vector<Guard> guards;
  std::vector<Input> inputs;
  std::vector<Postfix> numbers, sizes;
  Template outputs;
  std::vector<Part> parts;
  std::vector<int> writes;
  // All that `("output", j)` may ask for: what the program gives, then the parts.
  size_t n_results() const { return static_cast<size_t>(program->n_outputs) + parts.size(); }
  std::vector<Effect> effects;
  std::vector<int> frees;  // effects whose gradient of before the run is given up first
  std::vector<HostCall> hosts;
  const char* tape_name = nullptr;
  Program* tape_program = nullptr;
  PyObject* tape_again = nullptr;
  PyObject* tape_continued = nullptr;  // gives the program that goes on with sums that are there before
  std::vector<TensorSpec> tape_specs;
  std::vector<int> tape_inputs, tape_outputs, tape_depends, tape_depends_numbers;
  std::vector<std::pair<uint32_t, uint32_t>> tape_paths;  // see NodeExtra
  std::vector<Refusal> tape_refusals;
  // (input, place among the tape's outputs): inputs that the call writes in place and whose gradients it takes over.
  std::vector<std::pair<int, int>> tape_rebased;
  std::vector<Postfix> tape_numbers, tape_sizes;
  std::vector<std::pair<bool, int>> tape_saved;  // (is an output, index)
  std::vector<std::vector<int>> tape_saved_for;  // of each of them, the tape's outputs whose gradients need it
  int64_t hits = 0;

  static StaticEntry* parse(PyObject* description);
};

[[noreturn]] void malformed(const char* what);
// Every index in range, so that calls need no checks.
void check_entry(const StaticEntry& entry);

// The Python object around an entry.
struct StaticEntryObject {
  PyObject_HEAD StaticEntry* entry;
};
extern PyTypeObject* static_entry_type;
void create_static_entry_type(PyObject* module);
inline bool is_static_entry(PyObject* object) { return Py_TYPE(object) == static_entry_type; }
inline StaticEntry* as_static_entry(PyObject* object) { return reinterpret_cast<StaticEntryObject*>(object)->entry; }

}  // namespace dg
