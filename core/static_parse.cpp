// StaticEntry::parse: the dict of a capture, read row by row.
#include <nanobind/nanobind.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <memory>

#include "dtype_object.h"
#include "geometry.h"
#include "static_entry.h"

namespace dg {

namespace {

PyObject* item(PyObject* sequence, Py_ssize_t i, const char* what) {
  if (PyTuple_Check(sequence) && i < PyTuple_GET_SIZE(sequence)) return PyTuple_GET_ITEM(sequence, i);
  if (PyList_Check(sequence) && i < PyList_GET_SIZE(sequence)) return PyList_GET_ITEM(sequence, i);
  malformed(what);
}

Py_ssize_t length(PyObject* sequence, const char* what) {
  if (PyTuple_Check(sequence)) return PyTuple_GET_SIZE(sequence);
  if (PyList_Check(sequence)) return PyList_GET_SIZE(sequence);
  malformed(what);
}

const char* text(PyObject* object, const char* what) {
  const char* result = PyUnicode_Check(object) ? PyUnicode_AsUTF8(object) : nullptr;
  if (!result) malformed(what);
  return result;
}

int64_t integer(PyObject* object) {
  int64_t value = PyLong_AsLongLong(object);
  if (value == -1 && PyErr_Occurred()) throw ErrorSet{};
  return value;
}

std::vector<int64_t> integers(PyObject* object, const char* what) {
  std::vector<int64_t> result;
  for (Py_ssize_t i = 0; i < length(object, what); ++i) result.push_back(integer(item(object, i, what)));
  return result;
}

// Sizes or strides of which some may be None: anything.
std::vector<int64_t> pattern(PyObject* object, bool* open) {
  std::vector<int64_t> result;
  for (Py_ssize_t i = 0; i < length(object, "spec"); ++i) {
    PyObject* value = item(object, i, "spec");
    *open |= value == Py_None;
    result.push_back(value == Py_None ? kAnySize : integer(value));
  }
  return result;
}

std::vector<int> indices(PyObject* object, const char* what) {
  std::vector<int> result;
  for (int64_t value : integers(object, what)) result.push_back(static_cast<int>(value));
  return result;
}

bool is(const char* a, const char* b) { return std::strcmp(a, b) == 0; }

// dtype, shape, strides, requires_grad from position `at` of a tuple.
TensorSpec read_spec(PyObject* row, Py_ssize_t at) {
  TensorSpec spec;
  spec.dtype = require_dtype(item(row, at, "spec"), "static entry");
  spec.sizes = pattern(item(row, at + 1, "spec"), &spec.open);
  PyObject* strides = item(row, at + 2, "spec");
  spec.contiguous = strides == Py_None;
  if (!spec.contiguous) spec.strides = pattern(strides, &spec.open);
  PyObject* needs = item(row, at + 3, "spec");
  spec.requires_grad = needs == Py_None ? -1 : needs == Py_True;
  return spec;
}

Leaf read_leaf(PyObject* row, StaticEntry* entry) {
  const char* kind = text(item(row, 0, "leaf"), "leaf");
  Leaf leaf{};
  auto children = [&](PyObject* rows) {
    for (Py_ssize_t i = 0; i < length(rows, "leaf"); ++i)
      leaf.children.push_back(read_leaf(item(rows, i, "leaf"), entry));
  };
  auto keys = [&](PyObject* rows) {
    for (Py_ssize_t i = 0; i < length(rows, "leaf"); ++i) leaf.keys.push_back(item(rows, i, "leaf"));
  };
  auto type = [&](Py_ssize_t i) { return reinterpret_cast<PyTypeObject*>(item(row, i, "leaf")); };
  if (is(kind, "tensor")) {
    leaf.kind = Leaf::Tensor;
    leaf.slot = static_cast<int>(integer(item(row, 1, "leaf")));
    leaf.spec = read_spec(row, 2);
    leaf.type = type(6);
    entry->n_tensors = std::max(entry->n_tensors, leaf.slot + 1);
  } else if (is(kind, "same")) {
    leaf.kind = Leaf::Same;
    leaf.slot = static_cast<int>(integer(item(row, 1, "leaf")));
  } else if (is(kind, "number")) {
    leaf.kind = Leaf::Number;
    leaf.slot = static_cast<int>(integer(item(row, 1, "leaf")));
    leaf.type = type(2);
    entry->n_numbers = std::max(entry->n_numbers, leaf.slot + 1);
  } else if (is(kind, "const")) {
    leaf.kind = is(text(item(row, 2, "leaf"), "leaf"), "is") ? Leaf::Is : Leaf::Eq;
    leaf.object = item(row, 1, "leaf");
  } else if (is(kind, "list") || is(kind, "tuple")) {
    leaf.kind = is(kind, "list") ? Leaf::List : Leaf::Tuple;
    leaf.type = type(1);
    children(item(row, 2, "leaf"));
  } else if (is(kind, "dict")) {
    leaf.kind = Leaf::Dict;
    keys(item(row, 1, "leaf"));
    children(item(row, 2, "leaf"));
  } else if (is(kind, "attrs")) {
    leaf.kind = Leaf::Attributes;
    leaf.type = type(1);
    keys(item(row, 2, "leaf"));
    children(item(row, 3, "leaf"));
  } else {
    malformed("leaf");
  }
  return leaf;
}

Read read_read(PyObject* row) {
  static const char* const names[] = {"item", "index",  "attr", "cell",   "grad",  "argument grad",
                                      "arg",  "number", "host", "tensor", "piece", "element"};
  const char* kind = text(item(row, 0, "read"), "read");
  Read read{};
  int found = -1;
  for (int i = 0; i < 12; ++i)
    if (is(kind, names[i])) found = i;
  if (found < 0) malformed("read");
  read.kind = static_cast<Read::Kind>(found);
  read.object = item(row, 1, "read");
  read.key = item(row, 2, "read");
  if (read.kind == Read::Index || read.kind == Read::Arg || read.kind == Read::ArgumentGrad ||
      read.kind == Read::Number || read.kind == Read::Element)
    read.index = static_cast<Py_ssize_t>(integer(read.key));
  if (read.kind == Read::Piece) {
    read.index = static_cast<Py_ssize_t>(integer(item(read.key, 0, "read")));
    read.delta = integer(item(read.key, 1, "read"));
    read.count = integer(item(read.key, 2, "read"));
  }
  if ((read.kind == Read::Tensor || (read.kind == Read::Piece && read.index < 0)) && !is_tensor(read.object))
    malformed("read");
  if (read.kind == Read::Element) {
    read.tuple = static_cast<int>(integer(item(read.object, 0, "read")));
    read.count = static_cast<Py_ssize_t>(integer(item(read.object, 1, "read")));
  }
  if ((read.kind == Read::Item && !PyDict_Check(read.object)) ||
      (read.kind == Read::Cell && !PyCell_Check(read.object)) || (read.kind == Read::Grad && !is_tensor(read.object)))
    malformed("read");
  return read;
}

Postfix read_postfix(PyObject* rows) {
  static const char* const names[] = {"add", "sub",  "mul",   "div", "floordiv", "mod", "pow", "neg",  "lt",
                                      "le",  "eq",   "ne",    "gt",  "ge",       "min", "max", "sqrt", "exp",
                                      "log", "log2", "log10", "sin", "cos",      "tan", "tanh"};
  Postfix postfix;
  for (Py_ssize_t i = 0; i < length(rows, "number"); ++i) {
    PyObject* row = item(rows, i, "number");
    const char* name = text(item(row, 0, "number"), "number");
    Token token{};
    if (is(name, "read")) {
      token.op = Token::Read;
      token.index = static_cast<int>(integer(item(row, 1, "number")));
      token.is_float = item(row, 2, "number") == Py_True;
    } else if (is(name, "size") || is(name, "stride")) {
      token.op = is(name, "size") ? Token::Size : Token::Stride;
      token.index = static_cast<int>(integer(item(row, 1, "number")));
      token.integer = integer(item(row, 2, "number"));
    } else if (is(name, "size of") || is(name, "stride of")) {
      token.op = is(name, "size of") ? Token::ReadSize : Token::ReadStride;
      token.index = static_cast<int>(integer(item(row, 1, "number")));
      token.integer = integer(item(row, 2, "number"));
    } else if (is(name, "const")) {
      PyObject* value = item(row, 1, "number");
      if (PyFloat_Check(value)) {
        token.op = Token::ConstFloat;
        token.real = PyFloat_AS_DOUBLE(value);
      } else {
        token.op = Token::ConstInt;
        token.integer = integer(value);
      }
    } else {
      int found = -1;
      for (int k = 0; k < static_cast<int>(std::size(names)); ++k)
        if (is(name, names[k])) found = k;
      if (found < 0) malformed("number");
      token.op = static_cast<Token::Op>(Token::Add + found);
    }
    postfix.push_back(token);
  }
  return postfix;
}

Guard read_guard(PyObject* row) {
  const char* kind = text(item(row, 0, "guard"), "guard");
  Guard guard{};
  auto of_read = [&](Guard::Kind which) {
    guard.kind = which;
    guard.read = static_cast<int>(integer(item(row, 1, "guard")));
  };
  if (is(kind, "is") || is(kind, "eq") || is(kind, "type")) {
    of_read(is(kind, "is") ? Guard::Is : is(kind, "eq") ? Guard::Eq : Guard::Type);
    guard.object = item(row, 2, "guard");
  } else if (is(kind, "tensor")) {
    of_read(Guard::Tensor);
    guard.spec = read_spec(row, 2);
  } else if (is(kind, "list")) {
    guard.kind = Guard::List;
    guard.object = item(row, 1, "guard");
    guard.items = item(row, 2, "guard");
    if (!PyTuple_Check(guard.items)) malformed("guard");
  } else if (is(kind, "dict")) {
    guard.kind = Guard::Dict;
    guard.object = item(row, 1, "guard");
    guard.items = item(row, 2, "guard");
    if (!PyTuple_Check(guard.items) || !PyDict_Check(guard.object)) malformed("guard");
  } else if (is(kind, "expr")) {
    guard.kind = Guard::Expression;
    guard.postfix = read_postfix(item(row, 1, "guard"));
    guard.expected = item(row, 2, "guard") == Py_True;
  } else if (is(kind, "call")) {
    guard.kind = Guard::Call;
    guard.object = item(row, 1, "guard");
  } else if (is(kind, "epoch")) {
    guard.kind = Guard::Epoch;
    guard.epoch = integer(item(row, 1, "guard"));
    guard.object = item(row, 2, "guard");
  } else if (is(kind, "class")) {
    guard.kind = Guard::Class;
    guard.items = item(row, 1, "guard");
    guard.object = item(row, 2, "guard");
    if (!PyType_Check(guard.items)) malformed("guard");
  } else if (is(kind, "lacks")) {
    guard.kind = Guard::Lacks;
    guard.object = item(row, 1, "guard");
    guard.items = item(row, 2, "guard");
    if (!PyDict_Check(guard.object)) malformed("guard");
  } else if (is(kind, "distinct")) {
    guard.kind = Guard::Distinct;
    guard.movable = indices(item(row, 1, "guard"), "guard");
    guard.written = indices(item(row, 2, "guard"), "guard");
  } else if (is(kind, "aliased")) {
    of_read(Guard::Aliased);
    guard.other = static_cast<int>(integer(item(row, 2, "guard")));
    guard.epoch = integer(item(row, 3, "guard"));
  } else {
    malformed("guard");
  }
  return guard;
}

Input read_input(PyObject* row) {
  Input input{};
  input.fixed = is(text(item(row, 0, "input"), "input"), "tensor");
  if (input.fixed) {
    input.tensor = item(row, 1, "input");
    if (!is_tensor(input.tensor)) malformed("input");
    input.spec = read_spec(row, 2);
    input.hooks = hooks_of(as_tensor(input.tensor));
  } else {
    input.read = static_cast<int>(integer(item(row, 1, "input")));
  }
  return input;
}

// The number among all results: the parts come after what the program gives.
int result_number(int number, int n_outputs) { return number < 0 ? n_outputs - 1 - number : number; }

Template read_template(PyObject* row, int n_outputs = 0) {
  const char* kind = text(item(row, 0, "template"), "template");
  Template made{};
  auto children = [&](PyObject* rows) {
    for (Py_ssize_t i = 0; i < length(rows, "template"); ++i)
      made.children.push_back(read_template(item(rows, i, "template"), n_outputs));
  };
  PyObject* first = item(row, 1, "template");
  if (is(kind, "output") || is(kind, "read")) {
    made.kind = is(kind, "output") ? Template::Output : Template::ReadValue;
    made.index = static_cast<int>(integer(first));
    if (made.kind == Template::Output) made.index = result_number(made.index, n_outputs);
  } else if (is(kind, "const")) {
    made.kind = Template::Const;
    made.object = first;
  } else if (is(kind, "number")) {
    made.kind = Template::Number;
    made.postfix = read_postfix(first);
  } else if (is(kind, "tuple") || is(kind, "list")) {
    made.kind = is(kind, "tuple") ? Template::Tuple : Template::List;
    children(first);
  } else if (is(kind, "dict")) {
    made.kind = Template::Dict;
    for (Py_ssize_t i = 0; i < length(first, "template"); ++i) made.keys.push_back(item(first, i, "template"));
    children(item(row, 2, "template"));
  } else if (is(kind, "make")) {
    made.kind = Template::Make;
    made.object = first;
    children(item(row, 2, "template"));
  } else if (is(kind, "view")) {
    made.kind = Template::View;
    made.index = static_cast<int>(integer(first));
    made.sizes = integers(item(row, 2, "template"), "template");
    made.strides = integers(item(row, 3, "template"), "template");
    made.offset = integer(item(row, 4, "template"));
  } else {
    malformed("template");
  }
  return made;
}

Effect read_effect(PyObject* row, int n_outputs = 0) {
  const char* kind = text(item(row, 0, "effect"), "effect");
  Effect effect{};
  auto value = [&](Py_ssize_t i) { effect.values.push_back(read_template(item(row, i, "effect"), n_outputs)); };
  if (is(kind, "grad")) {
    effect.kind = Effect::Grad;
    value(1);
    value(2);
    return effect;
  }
  effect.object = item(row, 1, "effect");
  if (is(kind, "setattr") || is(kind, "setitem")) {
    effect.kind = is(kind, "setattr") ? Effect::SetAttribute : Effect::SetItem;
    effect.key = item(row, 2, "effect");
    value(3);
  } else if (is(kind, "setcell")) {
    effect.kind = Effect::SetCell;
    if (!PyCell_Check(effect.object)) malformed("effect");
    value(2);
  } else if (is(kind, "call")) {
    effect.kind = Effect::Call;
    PyObject* rows = item(row, 2, "effect");
    for (Py_ssize_t i = 0; i < length(rows, "effect"); ++i)
      effect.values.push_back(read_template(item(rows, i, "effect"), n_outputs));
  } else {
    malformed("effect");
  }
  return effect;
}

Part read_part(PyObject* row) {
  Part part;
  part.of_output = is(text(item(row, 0, "part"), "part"), "output");
  part.source = static_cast<int>(integer(item(row, 1, "part")));
  auto numbers = [&](Py_ssize_t at, std::vector<Postfix>* into) {
    PyObject* list = item(row, at, "part");
    for (Py_ssize_t i = 0; i < length(list, "part"); ++i) into->push_back(read_postfix(item(list, i, "part")));
  };
  numbers(2, &part.sizes);
  numbers(3, &part.strides);
  part.offset = read_postfix(item(row, 4, "part"));
  part.is_behind = item(row, 5, "part") == Py_True;
  return part;
}

HostCall read_host(PyObject* row) {
  HostCall host;
  if (row == Py_None) return host;
  host.n_operands = static_cast<size_t>(integer(item(row, 0, "host")));
  PyObject *effects = item(row, 1, "host"), *args = item(row, 3, "host");
  for (Py_ssize_t i = 0; i < length(effects, "host"); ++i)
    host.effects.push_back(read_effect(item(effects, i, "host")));
  host.function = item(row, 2, "host");
  for (Py_ssize_t i = 0; i < length(args, "host"); ++i) host.args.push_back(read_template(item(args, i, "host")));
  host.watches = item(row, 4, "host") == Py_True;
  return host;
}

// What the tape keeps of a call, and how its gradient runs.
void read_tape(PyObject* tape, StaticEntry* entry) {
  auto rows = [&](Py_ssize_t at, auto&& use) {
    PyObject* list = item(tape, at, "tape");
    for (Py_ssize_t i = 0; i < length(list, "tape"); ++i) use(item(list, i, "tape"));
  };
  entry->tape_name = text(item(tape, 0, "tape"), "tape");
  if (!nanobind::try_cast<Program*>(nanobind::handle(item(tape, 1, "tape")), entry->tape_program) ||
      !entry->tape_program)
    malformed("tape");
  entry->tape_again = item(tape, 2, "tape");
  rows(3, [&](PyObject* row) {
    TensorSpec spec;
    spec.dtype = require_dtype(item(row, 0, "tape"), "static entry");
    spec.sizes = pattern(item(row, 1, "tape"), &spec.open);
    entry->tape_specs.push_back(spec);
  });
  entry->tape_inputs = indices(item(tape, 4, "tape"), "tape");
  entry->tape_outputs = indices(item(tape, 5, "tape"), "tape");
  for (int& number : entry->tape_outputs) number = result_number(number, entry->program->n_outputs);
  rows(7, [&](PyObject* row) { entry->tape_numbers.push_back(read_postfix(row)); });
  rows(8, [&](PyObject* row) { entry->tape_sizes.push_back(read_postfix(row)); });
  entry->tape_continued = item(tape, 9, "tape");
  entry->tape_depends = indices(item(tape, 10, "tape"), "tape");
  entry->tape_depends_numbers = indices(item(tape, 11, "tape"), "tape");
  rows(12, [&](PyObject* row) {
    entry->tape_paths.emplace_back(static_cast<uint32_t>(integer(item(row, 0, "tape"))),
                                   static_cast<uint32_t>(integer(item(row, 1, "tape"))));
  });
  rows(13, [&](PyObject* row) {
    entry->tape_refusals.push_back(
        {indices(item(row, 0, "tape"), "tape"), indices(item(row, 1, "tape"), "tape"), item(row, 2, "tape")});
  });
  rows(14, [&](PyObject* row) {
    entry->tape_rebased.emplace_back(static_cast<int>(integer(item(row, 0, "tape"))),
                                     static_cast<int>(integer(item(row, 1, "tape"))));
  });
  rows(6, [&](PyObject* row) {
    entry->tape_saved.emplace_back(is(text(item(row, 0, "tape"), "tape"), "output"),
                                   static_cast<int>(integer(item(row, 1, "tape"))));
    entry->tape_saved_for.push_back(indices(item(row, 2, "tape"), "tape"));
  });
}

}  // namespace

StaticEntry* StaticEntry::parse(PyObject* description) {
  auto entry = std::make_unique<StaticEntry>();
  auto get = [&](const char* name) {
    PyObject* value = PyDict_GetItemString(description, name);
    if (!value) raise_error("InternalError", "static entry: %s is missing", name);
    return value;
  };
  auto rows = [&](const char* name, auto&& use) {
    PyObject* list = get(name);
    for (Py_ssize_t i = 0; i < length(list, name); ++i) use(item(list, i, name));
  };
  entry->description = Ref::borrow(description);
  if (!nanobind::try_cast<Program*>(nanobind::handle(get("program")), entry->program) || !entry->program)
    malformed("program");
  entry->grad_mode = get("grad_mode") == Py_True;
  entry->default_dtype = require_dtype(get("default_dtype"), "static entry");
  PyObject* autocast = get("autocast");  // (enabled, dtype, …)
  if (!PyTuple_Check(autocast) || PyTuple_GET_SIZE(autocast) < 2) malformed("autocast");
  entry->autocast = PyTuple_GET_ITEM(autocast, 0) == Py_True;
  entry->autocast_dtype = require_dtype(PyTuple_GET_ITEM(autocast, 1), "static entry");
  entry->n_positional = static_cast<size_t>(integer(get("n_positional")));
  rows("kwnames", [&](PyObject* row) { entry->keywords.push_back(row); });
  rows("leaves", [&](PyObject* row) { entry->leaves.push_back(read_leaf(row, entry.get())); });
  rows("reads", [&](PyObject* row) { entry->reads.push_back(read_read(row)); });
  for (const Read& read : entry->reads) entry->host_reads |= read.kind == Read::Host;
  rows("guards", [&](PyObject* row) { entry->guards.push_back(read_guard(row)); });
  rows("inputs", [&](PyObject* row) { entry->inputs.push_back(read_input(row)); });
  rows("numbers", [&](PyObject* row) { entry->numbers.push_back(read_postfix(row)); });
  rows("sizes", [&](PyObject* row) { entry->sizes.push_back(read_postfix(row)); });
  const int n_outputs = entry->program->n_outputs;
  entry->outputs = read_template(get("outputs"), n_outputs);
  rows("parts", [&](PyObject* row) { entry->parts.push_back(read_part(row)); });
  entry->writes = indices(get("writes"), "writes");
  rows("effects", [&](PyObject* row) { entry->effects.push_back(read_effect(row, n_outputs)); });
  entry->frees = indices(get("frees"), "frees");
  rows("hosts", [&](PyObject* row) { entry->hosts.push_back(read_host(row)); });
  if (PyObject* tape = get("tape"); tape != Py_None) read_tape(tape, entry.get());
  if (entry->leaves.size() != entry->n_positional + entry->keywords.size()) malformed("leaves");
  check_entry(*entry);
  return entry.release();
}

}  // namespace dg
