#include "static_function.h"

#include <structmember.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstring>

#include "dtype_object.h"
#include "geometry.h"
#include "mode.h"
#include "static_entry.h"
#include "tape.h"

namespace dg {

PyTypeObject* static_function_type = nullptr;
int64_t epoch = 0;

namespace {

std::atomic<bool> dynamic_everywhere{false};
constinit thread_local int dynamic_here = 0;

struct Number {
  bool is_float;
  int64_t integer;
  double real;
  double as_double() const { return is_float ? real : static_cast<double>(integer); }
};

// What one call has found so far.
struct Call {
  StaticEntry* entry = nullptr;
  PyObject* const* args = nullptr;
  SmallVector<TensorObject*, 8> tensors;  // borrowed from the arguments
  SmallVector<PyObject*, 8> numbers;      // borrowed from the arguments
  SmallVector<PyObject*, 32> reads;       // owned
  SmallVector<TensorObject*, 32> inputs;  // borrowed from arguments, reads and entry
  SmallVector<PyObject*, 16> outputs;     // owned; null until made
  ~Call() {
    for (PyObject* object : reads) Py_XDECREF(object);
    for (PyObject* object : outputs) Py_XDECREF(object);
  }
};

bool same_value(PyObject* a, PyObject* b) {
  if (a == b) return true;
  if (Py_TYPE(a) != Py_TYPE(b)) return false;
  int equal = PyObject_RichCompareBool(a, b, Py_EQ);
  check_status(equal);
  return equal;
}

bool match_leaf(const Leaf& leaf, PyObject* value, Call* call) {
  switch (leaf.kind) {
    case Leaf::Tensor: {
      if (Py_TYPE(value) != leaf.type || !leaf.spec.matches(as_tensor(value))) return false;
      // Two arguments that are one tensor are another structure.
      for (int i = 0; i < leaf.slot; ++i)
        if (as_object(call->tensors[i]) == value) return false;
      call->tensors[leaf.slot] = as_tensor(value);
      return true;
    }
    case Leaf::Same:
      return as_object(call->tensors[leaf.slot]) == value;
    case Leaf::Number:
      call->numbers[leaf.slot] = value;
      return Py_TYPE(value) == leaf.type;
    case Leaf::Is:
      return value == leaf.object;
    case Leaf::Eq:
      return same_value(value, leaf.object);
    case Leaf::List:
    case Leaf::Tuple: {
      if (Py_TYPE(value) != leaf.type || PySequence_Fast_GET_SIZE(value) != static_cast<Py_ssize_t>(leaf.children.size()))
        return false;
      for (size_t i = 0; i < leaf.children.size(); ++i) {
        if (PySequence_Fast_GET_SIZE(value) != static_cast<Py_ssize_t>(leaf.children.size())) return false;
        if (!match_leaf(leaf.children[i], PySequence_Fast_GET_ITEM(value, i), call)) return false;
      }
      return true;
    }
    case Leaf::Dict: {
      if (!PyDict_CheckExact(value) || PyDict_GET_SIZE(value) != static_cast<Py_ssize_t>(leaf.children.size()))
        return false;
      PyObject *key, *child;
      Py_ssize_t position = 0;
      size_t i = 0;
      while (PyDict_Next(value, &position, &key, &child)) {
        if (i >= leaf.children.size() || !same_value(key, leaf.keys[i])) return false;
        if (!match_leaf(leaf.children[i], child, call)) return false;
        ++i;
      }
      return i == leaf.children.size();
    }
    case Leaf::Attributes:
      if (Py_TYPE(value) != leaf.type) return false;
      for (size_t i = 0; i < leaf.children.size(); ++i) {
        Ref child(PyObject_GetAttr(value, leaf.keys[i]));
        if (!child) {
          PyErr_Clear();
          return false;
        }
        // The instance keeps the child alive unless an attribute is computed; those have no place in a dataclass.
        if (!match_leaf(leaf.children[i], child.get(), call)) return false;
      }
      return true;
  }
  return false;
}

bool match_arguments(StaticEntry* entry, PyObject* const* args, size_t n_positional, PyObject* keyword_names, Call* call) {
  const size_t n_keywords = keyword_names ? static_cast<size_t>(PyTuple_GET_SIZE(keyword_names)) : 0;
  if (n_positional != entry->n_positional || n_keywords != entry->keywords.size()) return false;
  for (size_t i = 0; i < n_keywords; ++i)
    if (!same_value(PyTuple_GET_ITEM(keyword_names, i), entry->keywords[i])) return false;
  call->entry = entry;
  call->args = args;
  call->tensors.resize(entry->n_tensors);
  call->numbers.resize(entry->n_numbers);
  for (size_t i = 0; i < entry->leaves.size(); ++i)
    if (!match_leaf(entry->leaves[i], args[i], call)) return false;
  return true;
}

// A new reference, or null (no error) if there is nothing to read any more.
PyObject* fetch(const Read& read, Call* call) {
  switch (read.kind) {
    case Read::Item:
    case Read::Index: {
      PyObject* found = nullptr;
      if (read.kind == Read::Item) {
        found = PyDict_GetItemWithError(read.object, read.key);
      } else if (PyList_Check(read.object) || PyTuple_Check(read.object)) {
        const Py_ssize_t count = PySequence_Fast_GET_SIZE(read.object);
        const Py_ssize_t at = read.index < 0 ? read.index + count : read.index;
        if (at >= 0 && at < count) found = PySequence_Fast_GET_ITEM(read.object, at);
      }
      if (!found && PyErr_Occurred()) throw ErrorSet{};
      Py_XINCREF(found);
      return found;
    }
    case Read::Attribute: {
      PyObject* found = PyObject_GetAttr(read.object, read.key);
      if (!found) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) throw ErrorSet{};
        PyErr_Clear();
      }
      return found;
    }
    case Read::Cell: {
      PyObject* found = PyCell_GET(read.object);
      Py_XINCREF(found);
      return found;
    }
    case Read::Grad: {
      PyObject* grad = as_tensor(read.object)->grad;
      return Ref::borrow(grad ? grad : Py_None).release();
    }
    case Read::Arg:
      return Ref::borrow(as_object(call->tensors[read.index])).release();
    case Read::Number:
      return Ref::borrow(call->numbers[read.index]).release();
  }
  return nullptr;
}

bool fetch_all(Call* call) {
  const auto& reads = call->entry->reads;
  for (const Read& read : reads) {
    PyObject* value = fetch(read, call);
    if (!value) return false;
    call->reads.push_back(value);
  }
  return true;
}

bool apply(Token::Op op, Number* a, const Number& b) {
  const bool real = a->is_float || b.is_float;
  const double x = a->as_double(), y = b.as_double();
  auto give = [&](double value) {
    a->is_float = true;
    a->real = value;
    return true;
  };
  auto whole = [&](int64_t value) {
    a->is_float = false;
    a->integer = value;
    return true;
  };
  int64_t result;
  switch (op) {
    case Token::Add:
      return real ? give(x + y) : !__builtin_add_overflow(a->integer, b.integer, &result) && whole(result);
    case Token::Sub:
      return real ? give(x - y) : !__builtin_sub_overflow(a->integer, b.integer, &result) && whole(result);
    case Token::Mul:
      return real ? give(x * y) : !__builtin_mul_overflow(a->integer, b.integer, &result) && whole(result);
    case Token::Div:
      return y != 0 && give(x / y);
    case Token::FloorDiv:
    case Token::Mod: {
      if (y == 0) return false;
      if (real) {
        double remainder = std::fmod(x, y);
        double quotient = (x - remainder) / y;
        if (remainder != 0 && (y < 0) != (remainder < 0)) {
          remainder += y;
          quotient -= 1;
        } else if (remainder == 0) {
          remainder = std::copysign(0.0, y);
        }
        if (op == Token::Mod) return give(remainder);
        double floored = quotient != 0 ? std::floor(quotient) : std::copysign(0.0, x / y);
        if (quotient - floored > 0.5) floored += 1;
        return give(floored);
      }
      if (b.integer == -1) {
        if (op == Token::Mod) return whole(0);
        return !__builtin_sub_overflow(int64_t{0}, a->integer, &result) && whole(result);
      }
      int64_t quotient = a->integer / b.integer, remainder = a->integer % b.integer;
      if (remainder != 0 && (remainder < 0) != (b.integer < 0)) {
        remainder += b.integer;
        --quotient;
      }
      return whole(op == Token::Mod ? remainder : quotient);
    }
    case Token::Pow: {
      double value = std::pow(x, y);
      return real && std::isfinite(value) && give(value);
    }
    case Token::Lt:
      return whole(real ? x < y : a->integer < b.integer);
    case Token::Le:
      return whole(real ? x <= y : a->integer <= b.integer);
    case Token::Eq:
      return whole(real ? x == y : a->integer == b.integer);
    case Token::Ne:
      return whole(real ? x != y : a->integer != b.integer);
    case Token::Gt:
      return whole(real ? x > y : a->integer > b.integer);
    case Token::Ge:
      return whole(real ? x >= y : a->integer >= b.integer);
    default:
      return false;
  }
}

// False if a read is no longer a number of that type, or the arithmetic would raise in Python.
bool evaluate(const Postfix& postfix, Call* call, Number* result) {
  Number stack[33];
  int depth = 0;
  for (const Token& token : postfix) {
    if (token.op == Token::Read) {
      PyObject* value = call->reads[token.index];
      Number& number = stack[depth++];
      number.is_float = token.is_float;
      if (token.is_float) {
        if (!PyFloat_CheckExact(value)) return false;
        number.real = PyFloat_AS_DOUBLE(value);
      } else {
        if (!PyLong_CheckExact(value)) return false;
        int overflow;
        number.integer = PyLong_AsLongLongAndOverflow(value, &overflow);
        if (overflow) return false;
      }
    } else if (token.op == Token::ConstInt) {
      stack[depth++] = {false, token.integer, 0};
    } else if (token.op == Token::ConstFloat) {
      stack[depth++] = {true, 0, token.real};
    } else if (token.op == Token::Neg) {
      Number& number = stack[depth - 1];
      if (number.is_float) number.real = -number.real;
      else if (__builtin_sub_overflow(int64_t{0}, number.integer, &number.integer)) return false;
    } else {
      --depth;
      if (!apply(token.op, &stack[depth - 1], stack[depth])) return false;
    }
  }
  *result = stack[0];
  return true;
}

bool truthy(PyObject* callable) {
  Ref answer = owned(PyObject_CallNoArgs(callable));
  int truth = PyObject_IsTrue(answer.get());
  check_status(truth);
  return truth;
}

bool same_items(PyObject* list, PyObject* items) {
  if (PyList_GET_SIZE(list) != PyTuple_GET_SIZE(items)) return false;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(items); ++i) {
    PyObject *now = PyList_GET_ITEM(list, i), *then = PyTuple_GET_ITEM(items, i);
    if (now != then && !((PyFloat_CheckExact(then) || PyLong_CheckExact(then)) && same_value(now, then))) return false;
  }
  return true;
}

bool same_dict(PyObject* dict, PyObject* items) {  // items: key, value, key, value …
  if (PyDict_GET_SIZE(dict) * 2 != PyTuple_GET_SIZE(items)) return false;
  PyObject *key, *value;
  Py_ssize_t position = 0, i = 0;
  while (PyDict_Next(dict, &position, &key, &value)) {
    if (i + 1 >= PyTuple_GET_SIZE(items) || PyTuple_GET_ITEM(items, i) != key) return false;
    PyObject* then = PyTuple_GET_ITEM(items, i + 1);
    if (value != then && !((PyFloat_CheckExact(then) || PyLong_CheckExact(then)) && same_value(value, then)))
      return false;
    i += 2;
  }
  return true;
}

bool check_guard(Guard& guard, Call* call) {
  switch (guard.kind) {
    case Guard::Is:
      return call->reads[guard.read] == guard.object;
    case Guard::Eq:
      return same_value(call->reads[guard.read], guard.object);
    case Guard::Type:
      return reinterpret_cast<PyObject*>(Py_TYPE(call->reads[guard.read])) == guard.object;
    case Guard::Tensor: {
      PyObject* value = call->reads[guard.read];
      return is_tensor(value) && guard.spec.matches(as_tensor(value));
    }
    case Guard::List:
      return PyList_Check(guard.object) ? same_items(guard.object, guard.items) : false;
    case Guard::Dict:
      return same_dict(guard.object, guard.items);
    case Guard::Expression: {
      Number result;
      return evaluate(guard.postfix, call, &result) && (result.as_double() != 0) == guard.expected;
    }
    case Guard::Call:
      return truthy(guard.object);
    case Guard::Epoch: {
      if (guard.epoch == epoch) return true;
      const int64_t now = epoch;
      if (!truthy(guard.object)) return false;
      guard.epoch = now;
      return true;
    }
    case Guard::Aliased: {
      PyObject *a = call->reads[guard.read], *b = call->reads[guard.other];
      return is_tensor(a) && is_tensor(b) && as_tensor(a)->buffer == as_tensor(b)->buffer &&
             as_tensor(b)->offset - as_tensor(a)->offset == guard.epoch;
    }
    case Guard::Distinct:
      return true;  // when the inputs are known
  }
  return false;
}

bool distinct(const Guard& guard, Call* call) {
  auto meet = [&](int a, int b) {
    const TensorObject *x = call->inputs[a], *y = call->inputs[b];
    return a != b && x->buffer == y->buffer && may_overlap(x, y);
  };
  for (int m : guard.movable) {
    bool itself = false;
    for (int w : guard.written) {
      itself |= m == w;
      if (meet(m, w)) return false;
    }
    if (!itself) continue;
    for (int i = 0; i < static_cast<int>(call->inputs.size()); ++i)
      if (meet(m, i)) return false;
  }
  return true;
}

bool collect_inputs(Call* call) {
  for (const Input& input : call->entry->inputs) {
    PyObject* object = input.fixed ? input.tensor : call->reads[input.read];
    if (!is_tensor(object)) return false;
    if (input.fixed && !input.spec.matches(as_tensor(object))) return false;
    call->inputs.push_back(as_tensor(object));
  }
  for (const Guard& guard : call->entry->guards)
    if (guard.kind == Guard::Distinct && !distinct(guard, call)) return false;
  return true;
}

// Whether the entry fits; guards may run Python. `fresh`: it was made for this very call.
bool matches(StaticEntry* entry, PyObject* const* args, size_t n_positional, PyObject* keyword_names, bool fresh,
             Call* call) {
  if (!fresh && (entry->grad_mode != mode.grad || entry->default_dtype != default_dtype())) return false;
  if (!match_arguments(entry, args, n_positional, keyword_names, call) || !fetch_all(call)) return false;
  if (!fresh)
    for (Guard& guard : entry->guards)
      if (!check_guard(guard, call)) return false;
  return collect_inputs(call);
}

PyObject* number_object(const Postfix& postfix, Call* call) {  // new reference
  Number number;
  if (!evaluate(postfix, call, &number)) raise_error("InternalError", "a number of a static function was lost");
  return checked(number.is_float ? PyFloat_FromDouble(number.real) : PyLong_FromLongLong(number.integer));
}

PyObject* build(const Template& made, Call* call);  // new reference

Ref build_all(const std::vector<Template>& children, Call* call) {
  Ref tuple = owned(PyTuple_New(static_cast<Py_ssize_t>(children.size())));
  for (size_t i = 0; i < children.size(); ++i) PyTuple_SET_ITEM(tuple.get(), i, build(children[i], call));
  return tuple;
}

PyObject* build(const Template& made, Call* call) {
  switch (made.kind) {
    case Template::Output:
      return Ref::borrow(call->outputs[made.index]).release();
    case Template::ReadValue:
      return Ref::borrow(call->reads[made.index]).release();
    case Template::Const:
      return Ref::borrow(made.object).release();
    case Template::Number:
      return number_object(made.postfix, call);
    case Template::Tuple:
      return build_all(made.children, call).release();
    case Template::List: {
      Ref list = owned(PyList_New(static_cast<Py_ssize_t>(made.children.size())));
      for (size_t i = 0; i < made.children.size(); ++i) PyList_SET_ITEM(list.get(), i, build(made.children[i], call));
      return list.release();
    }
    case Template::Dict: {
      Ref dict = owned(PyDict_New());
      for (size_t i = 0; i < made.children.size(); ++i) {
        Ref value(build(made.children[i], call));
        check_status(PyDict_SetItem(dict.get(), made.keys[i], value.get()));
      }
      return dict.release();
    }
    case Template::Make: {
      Ref children = build_all(made.children, call);
      return checked(PyObject_CallObject(made.object, children.get()));
    }
    case Template::View: {
      TensorObject* whole = as_tensor(call->outputs[made.index]);
      retain(whole->buffer);
      return as_object(make_tensor(whole->buffer, whole->offset + made.offset, whole->dtype,
                                   static_cast<int>(made.sizes.size()), made.sizes.data(), made.strides.data()));
    }
  }
  return nullptr;
}

void apply_effect(const Effect& effect, Call* call) {
  switch (effect.kind) {
    case Effect::Grad: {
      Ref tensor(build(effect.values[0], call)), grad(build(effect.values[1], call));
      if (!is_tensor(tensor.get())) raise_error("InternalError", "a gradient of a static function has no tensor to go to");
      set_grad(as_tensor(tensor.get()), grad.get() == Py_None ? nullptr : grad.get());
      return;
    }
    case Effect::SetAttribute: {
      Ref value(build(effect.values[0], call));
      check_status(PyObject_SetAttr(effect.object, effect.key, value.get()));
      return;
    }
    case Effect::SetItem: {
      Ref value(build(effect.values[0], call));
      check_status(PyObject_SetItem(effect.object, effect.key, value.get()));
      return;
    }
    case Effect::SetCell: {
      Ref value(build(effect.values[0], call));
      check_status(PyCell_Set(effect.object, value.get()));
      return;
    }
    case Effect::Call: {
      Ref arguments = build_all(effect.values, call);
      Ref ignored = owned(PyObject_CallObject(effect.object, arguments.get()));
      return;
    }
  }
}

void record_tape(Call* call) {
  StaticEntry* entry = call->entry;
  bool needed = false;
  for (int i : entry->tape_inputs) needed |= requires_grad(call->inputs[i]);
  if (!needed || !mode.grad) return;
  auto tuple_of = [](size_t count, auto&& object) {
    Ref tuple = owned(PyTuple_New(static_cast<Py_ssize_t>(count)));
    for (size_t i = 0; i < count; ++i) PyTuple_SET_ITEM(tuple.get(), i, Ref::borrow(object(i)).release());
    return tuple;
  };
  Ref inputs = tuple_of(entry->tape_inputs.size(), [&](size_t i) { return as_object(call->inputs[entry->tape_inputs[i]]); });
  Ref outputs = tuple_of(entry->tape_outputs.size(), [&](size_t i) { return call->outputs[entry->tape_outputs[i]]; });
  Ref saved = tuple_of(entry->tape_saved.size(), [&](size_t i) {
    auto [is_output, index] = entry->tape_saved[i];
    return is_output ? call->outputs[index] : as_object(call->inputs[index]);
  });
  Ref arguments = tuple_of(entry->leaves.size(), [&](size_t i) { return call->args[i]; });
  Ref numbers = owned(PyTuple_New(static_cast<Py_ssize_t>(entry->tape_numbers.size())));
  for (size_t i = 0; i < entry->tape_numbers.size(); ++i)
    PyTuple_SET_ITEM(numbers.get(), i, number_object(entry->tape_numbers[i], call));
  Ref node = owned(PyObject_CallFunctionObjArgs(entry->tape_make, arguments.get(), inputs.get(), saved.get(),
                                                numbers.get(), nullptr));
  Ref name = owned(PyObject_GetAttrString(node.get(), "name"));
  Ref apply = owned(PyObject_GetAttrString(node.get(), "apply"));
  const char* text = PyUnicode_AsUTF8(name.get());
  if (!text) throw ErrorSet{};
  owned(record_python(outputs.get(), inputs.get(), text, apply.get()));
}

[[noreturn]] void failed(StaticFunctionObject* self, PyObject* entry, const RunStatus& status) {
  Ref ignored = owned(PyObject_CallMethod(self->handler, "failed", "OL(LLLL)i", entry,
                                          static_cast<long long>(status.check_code),
                                          static_cast<long long>(status.kernel_status[0]),
                                          static_cast<long long>(status.kernel_status[1]),
                                          static_cast<long long>(status.kernel_status[2]),
                                          static_cast<long long>(status.kernel_status[3]), status.node));
  raise_error("InternalError", "a static program failed without saying why");
}

PyObject* run(StaticFunctionObject* self, PyObject* entry_object, Call* call) {
  StaticEntry* entry = call->entry;
  Program* program = entry->program;
  ++entry->hits;
  SmallVector<RunInput, 32> inputs;
  inputs.resize(call->inputs.size());
  for (size_t i = 0; i < call->inputs.size(); ++i) {
    const TensorObject* t = call->inputs[i];
    inputs[i] = {t->data, t->sizes, t->strides, t->rank, t->buffer, t->offset};
  }
  SmallVector<Cell8, 16> numbers;
  numbers.resize(entry->numbers.size());
  for (size_t i = 0; i < entry->numbers.size(); ++i) {
    Number number;
    if (!evaluate(entry->numbers[i], call, &number)) raise_error("InternalError", "a number of a static function was lost");
    const DType dtype = program->number_dtype(static_cast<int>(i));
    if (number.is_float) store_number(numbers[i].bytes, dtype, number.real);
    else store_number(numbers[i].bytes, dtype, number.integer);
  }
  const size_t n_outputs = static_cast<size_t>(program->n_outputs);
  SmallVector<RunOutput, 8> results;
  results.resize(n_outputs);
  RunStatus status;
  // A written buffer counts as changed even if the run is interrupted half-way.
  for (int i : entry->writes) bump_version(call->inputs[i]);
  if (!program->run(inputs.data(), numbers.data(), nullptr, results.data(), &status)) failed(self, entry_object, status);
  call->outputs.resize(n_outputs);
  for (size_t j = 0; j < n_outputs; ++j) call->outputs[j] = nullptr;
  size_t made = 0;
  try {
    for (; made < n_outputs; ++made) {
      RunOutput& result = results[made];
      if (result.inplace) {
        release(result.buffer);
        call->outputs[made] = as_object(make_detached(call->inputs[result.alias]));
      } else {
        call->outputs[made] =
            as_object(make_tensor(result.buffer, result.offset, result.dtype, result.rank, result.sizes, result.strides));
      }
    }
  } catch (...) {
    for (size_t j = made + 1; j < n_outputs; ++j) release(results[j].buffer);
    throw;
  }
  if (entry->tape_make) record_tape(call);
  for (const Effect& effect : entry->effects) apply_effect(effect, call);
  return build(entry->outputs, call);
}

PyObject* call_inline(StaticFunctionObject* self, PyObject* const* args, size_t flags, PyObject* keyword_names) {
  Ref function = owned(PyObject_GetAttrString(self->handler, "inline"));
  return PyObject_Vectorcall(function.get(), args, flags, keyword_names);
}

PyObject* call_static(PyObject* object, PyObject* const* args, size_t flags, PyObject* keyword_names) {
  return guarded([&]() -> PyObject* {
    auto* self = reinterpret_cast<StaticFunctionObject*>(object);
    const size_t n_positional = PyVectorcall_NARGS(flags);
    if (mode.tracing || dynamic_here > 0 || dynamic_everywhere.load(std::memory_order_relaxed))
      return call_inline(self, args, flags, keyword_names);
    for (size_t i = 0; i < self->entries->size(); ++i) {
      Call call;
      Ref entry = Ref::borrow((*self->entries)[i]);
      if (!as_static_entry(entry.get())) continue;
      if (!matches(as_static_entry(entry.get()), args, n_positional, keyword_names, false, &call)) continue;
      // Guards may have run Python, which may have changed the list.
      if (i > 0 && i < self->entries->size() && (*self->entries)[i] == entry.get())
        std::rotate(self->entries->begin(), self->entries->begin() + i, self->entries->begin() + i + 1);
      return run(self, entry.get(), &call);
    }
    Ref positional = owned(PyTuple_New(static_cast<Py_ssize_t>(n_positional)));
    for (size_t i = 0; i < n_positional; ++i) PyTuple_SET_ITEM(positional.get(), i, Ref::borrow(args[i]).release());
    Ref keywords = owned(PyDict_New());
    if (keyword_names)
      for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(keyword_names); ++i)
        check_status(PyDict_SetItem(keywords.get(), PyTuple_GET_ITEM(keyword_names, i), args[n_positional + i]));
    Ref entry = owned(PyObject_CallMethod(self->handler, "miss", "OO", positional.get(), keywords.get()));
    if (!is_static_entry(entry.get())) raise_error("InternalError", "a capture gave %s", Py_TYPE(entry.get())->tp_name);
    Call call;
    if (!matches(as_static_entry(entry.get()), args, n_positional, keyword_names, true, &call))
      raise_error("InternalError", "a capture does not fit the call that it was made for");
    return run(self, entry.get(), &call);
  });
}

PyObject* function_new(PyTypeObject* type, PyObject* args, PyObject*) {
  return guarded([&]() -> PyObject* {
    PyObject *function, *handler;
    if (!PyArg_ParseTuple(args, "OO", &function, &handler)) throw ErrorSet{};
    Ref self = owned(type->tp_alloc(type, 0));
    auto* made = reinterpret_cast<StaticFunctionObject*>(self.get());
    made->vectorcall = call_static;
    made->function = Ref::borrow(function).release();
    made->handler = Ref::borrow(handler).release();
    made->entries = new std::vector<PyObject*>();
    return self.release();
  });
}

StaticFunctionObject* as_function(PyObject* self) { return reinterpret_cast<StaticFunctionObject*>(self); }

int function_traverse(PyObject* object, visitproc visit, void* arg) {
  StaticFunctionObject* self = as_function(object);
  Py_VISIT(Py_TYPE(object));
  Py_VISIT(self->function);
  Py_VISIT(self->handler);
  Py_VISIT(self->dict);
  if (self->entries)
    for (PyObject* entry : *self->entries) Py_VISIT(entry);
  return 0;
}

int function_clear(PyObject* object) {
  StaticFunctionObject* self = as_function(object);
  Py_CLEAR(self->function);
  Py_CLEAR(self->handler);
  Py_CLEAR(self->dict);
  if (self->entries) {
    std::vector<PyObject*> entries;
    entries.swap(*self->entries);
    for (PyObject* entry : entries) Py_DECREF(entry);
  }
  return 0;
}

void function_dealloc(PyObject* object) {
  PyObject_GC_UnTrack(object);
  StaticFunctionObject* self = as_function(object);
  if (self->weak_references) PyObject_ClearWeakRefs(object);
  function_clear(object);
  delete self->entries;
  PyTypeObject* type = Py_TYPE(object);
  type->tp_free(object);
  Py_DECREF(type);
}

PyObject* function_bind(PyObject* self, PyObject* instance, PyObject*) {
  return instance && instance != Py_None ? PyMethod_New(self, instance) : Ref::borrow(self).release();
}

// What the function does not have itself, its handler may have.
PyObject* function_getattr(PyObject* self, PyObject* name) {
  PyObject* found = PyObject_GenericGetAttr(self, name);
  if (found || !PyErr_ExceptionMatches(PyExc_AttributeError)) return found;
  PyErr_Clear();
  return PyObject_GetAttr(as_function(self)->handler, name);
}

PyObject* function_repr(PyObject* self) { return PyUnicode_FromFormat("<static %R>", as_function(self)->function); }

// add(entry, limit): an entry becomes the first to be tried; those used longest ago go.
PyObject* function_add(PyObject* object, PyObject* args) {
  return guarded([&]() -> PyObject* {
    PyObject* entry;
    Py_ssize_t limit;
    if (!PyArg_ParseTuple(args, "O!n", static_entry_type, &entry, &limit)) throw ErrorSet{};
    auto& entries = *as_function(object)->entries;
    entries.insert(entries.begin(), Ref::borrow(entry).release());
    while (static_cast<Py_ssize_t>(entries.size()) > limit && entries.size() > 1) {
      Ref dropped(entries.back());
      entries.pop_back();
    }
    Py_RETURN_NONE;
  });
}

// find(*args, **kwargs): the capture that fits the call, or None.
PyObject* function_find(PyObject* object, PyObject* const* args, Py_ssize_t n_positional, PyObject* keyword_names) {
  return guarded([&]() -> PyObject* {
    for (PyObject* candidate : std::vector<PyObject*>(*as_function(object)->entries)) {
      Call call;
      Ref entry = Ref::borrow(candidate);
      if (matches(as_static_entry(candidate), args, static_cast<size_t>(n_positional), keyword_names, false, &call))
        return entry.release();
    }
    Py_RETURN_NONE;
  });
}

PyObject* function_clear_entries(PyObject* object, PyObject*) {
  std::vector<PyObject*> entries;
  entries.swap(*as_function(object)->entries);
  for (PyObject* entry : entries) Py_DECREF(entry);
  Py_RETURN_NONE;
}

PyObject* get_entries(PyObject* object, void*) {
  return guarded([&]() -> PyObject* {
    auto& entries = *as_function(object)->entries;
    Ref tuple = owned(PyTuple_New(static_cast<Py_ssize_t>(entries.size())));
    for (size_t i = 0; i < entries.size(); ++i) PyTuple_SET_ITEM(tuple.get(), i, Ref::borrow(entries[i]).release());
    return tuple.release();
  });
}

PyMethodDef methods[] = {
    {"add", function_add, METH_VARARGS, "add(entry, limit): the entry is tried first from now on"},
    {"find", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function_find)), METH_FASTCALL | METH_KEYWORDS,
     "find(*args, **kwargs): the capture that fits the call, or None"},
    {"clear", function_clear_entries, METH_NOARGS, "Forgets all captures."},
    {nullptr, nullptr, 0, nullptr},
};

PyMemberDef members[] = {
    {"__wrapped__", T_OBJECT, offsetof(StaticFunctionObject, function), READONLY, "what was made static"},
    {"handler", T_OBJECT, offsetof(StaticFunctionObject, handler), READONLY, "what captures and reports"},
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(StaticFunctionObject, vectorcall), READONLY, nullptr},
    {"__dictoffset__", T_PYSSIZET, offsetof(StaticFunctionObject, dict), READONLY, nullptr},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(StaticFunctionObject, weak_references), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};

PyGetSetDef attributes[] = {
    {"entries", get_entries, nullptr, "the captures, the last used first", nullptr},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

PyType_Slot slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(function_new)},
    {Py_tp_dealloc, reinterpret_cast<void*>(function_dealloc)},
    {Py_tp_traverse, reinterpret_cast<void*>(function_traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(function_clear)},
    {Py_tp_repr, reinterpret_cast<void*>(function_repr)},
    {Py_tp_getattro, reinterpret_cast<void*>(function_getattr)},
    {Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
    {Py_tp_descr_get, reinterpret_cast<void*>(function_bind)},
    {Py_tp_methods, methods},
    {Py_tp_members, members},
    {Py_tp_getset, attributes},
    {Py_tp_doc, const_cast<char*>("A function that runs as a static program where one fits the call.")},
    {0, nullptr},
};
PyType_Spec spec = {"duograph._core.StaticFunction", sizeof(StaticFunctionObject), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR,
                    slots};

PyObject* get_epoch(PyObject*, PyObject*) { return PyLong_FromLongLong(epoch); }

PyObject* bump_epoch(PyObject*, PyObject*) {
  ++epoch;
  Py_RETURN_NONE;
}

// set_dynamic_mode(enter, everywhere=False): enters (True) or leaves dynamic mode, in this thread or in all.
PyObject* set_dynamic_mode(PyObject*, PyObject* args) {
  int enter, everywhere = 0;
  if (!PyArg_ParseTuple(args, "p|p", &enter, &everywhere)) return nullptr;
  if (everywhere) dynamic_everywhere = enter;
  else dynamic_here += enter ? 1 : -1;
  Py_RETURN_NONE;
}

PyObject* in_dynamic_mode(PyObject*, PyObject*) { return PyBool_FromLong(dynamic_here > 0 || dynamic_everywhere); }

PyMethodDef functions[] = {
    {"epoch", get_epoch, METH_NOARGS, "The number of changes that static programs must look into."},
    {"bump_epoch", bump_epoch, METH_NOARGS, "Says that a Module or a setting changed."},
    {"set_dynamic_mode", set_dynamic_mode, METH_VARARGS, "Makes static functions run their Python, in this thread or everywhere."},
    {"in_dynamic_mode", in_dynamic_mode, METH_NOARGS, "Whether static functions run their Python in this thread."},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

void bind_static_function(PyObject* module) {
  create_static_entry_type(module);
  static_function_type = reinterpret_cast<PyTypeObject*>(checked(PyType_FromSpec(&spec)));
  check_status(PyModule_AddObjectRef(module, "StaticFunction", reinterpret_cast<PyObject*>(static_function_type)));
  check_status(PyModule_AddFunctions(module, functions));
}

}  // namespace dg
