#include <algorithm>

#include "mode.h"
#include "static_call.h"
#include "static_function.h"

namespace dg {

namespace {

bool same_value(PyObject* a, PyObject* b) {
  if (a == b) return true;
  if (Py_TYPE(a) != Py_TYPE(b)) return false;
  int equal = PyObject_RichCompareBool(a, b, Py_EQ);
  check_status(equal);
  return equal;
}

bool match_leaf(const Leaf& leaf, PyObject* value, StaticCall* call) {
  switch (leaf.kind) {
    case Leaf::Tensor: {
      if (Py_TYPE(value) != leaf.type || !leaf.spec.matches(as_tensor(value))) return false;
      // Two arguments that are one tensor are another structure.
      for (int i = 0; i < leaf.slot; ++i)
        if (as_object(call->tensors[i]) == value) return false;
      Py_XSETREF(call->tensors[leaf.slot], as_tensor(Ref::borrow(value).release()));
      return true;
    }
    case Leaf::Same:
      return as_object(call->tensors[leaf.slot]) == value;
    case Leaf::Number:
      Py_XSETREF(call->numbers[leaf.slot], Ref::borrow(value).release());
      return Py_TYPE(value) == leaf.type;
    case Leaf::Is:
      return value == leaf.object;
    case Leaf::Eq:
      return same_value(value, leaf.object);
    case Leaf::List:
    case Leaf::Tuple: {
      if (Py_TYPE(value) != leaf.type ||
          PySequence_Fast_GET_SIZE(value) != static_cast<Py_ssize_t>(leaf.children.size()))
        return false;
      for (size_t i = 0; i < leaf.children.size(); ++i) {
        if (PySequence_Fast_GET_SIZE(value) != static_cast<Py_ssize_t>(leaf.children.size())) return false;
        Ref child = Ref::borrow(PySequence_Fast_GET_ITEM(value, i));  // a comparison may change the list
        if (!match_leaf(leaf.children[i], child.get(), call)) return false;
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
        Ref kept_key = Ref::borrow(key), kept_child = Ref::borrow(child);
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

bool match_arguments(StaticEntry* entry, PyObject* const* args, size_t n_positional, PyObject* keyword_names,
                     StaticCall* call) {
  const size_t n_keywords = keyword_names ? static_cast<size_t>(PyTuple_GET_SIZE(keyword_names)) : 0;
  if (n_positional != entry->n_positional || n_keywords != entry->keywords.size()) return false;
  for (size_t i = 0; i < n_keywords; ++i)
    if (!same_value(PyTuple_GET_ITEM(keyword_names, i), entry->keywords[i])) return false;
  call->entry = entry;
  call->args = args;
  call->tensors.resize(entry->n_tensors);
  std::fill(call->tensors.begin(), call->tensors.end(), nullptr);
  call->numbers.resize(entry->n_numbers);
  std::fill(call->numbers.begin(), call->numbers.end(), nullptr);
  for (size_t i = 0; i < entry->leaves.size(); ++i)
    if (!match_leaf(entry->leaves[i], args[i], call)) return false;
  return true;
}

// Elements of a tensor's memory in a row; null if it does not reach so far.
PyObject* piece_of(const TensorObject* tensor, int64_t delta, int64_t count) {
  if (!tensor->buffer) return nullptr;
  const int64_t start = tensor->offset + delta;
  if (start < 0 || count > static_cast<int64_t>(tensor->buffer->bytes / itemsize(tensor->dtype)) - start)
    return nullptr;
  const int64_t stride = 1;
  retain(tensor->buffer);
  return as_object(make_tensor(tensor->buffer, start, tensor->dtype, 1, &count, &stride));
}

// A new reference, or null (no error) if there is nothing to read any more.
PyObject* fetch(const Read& read, StaticCall* call) {
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
    case Read::Grad:
    case Read::ArgumentGrad: {
      const TensorObject* of = read.kind == Read::Grad ? as_tensor(read.object) : call->tensors[read.index];
      PyObject* grad = of->grad;
      return Ref::borrow(grad ? grad : Py_None).release();
    }
    case Read::Arg:
      return Ref::borrow(as_object(call->tensors[read.index])).release();
    case Read::Number:
      return Ref::borrow(call->numbers[read.index]).release();
    case Read::Element: {
      PyObject* tuple = call->reads[static_cast<size_t>(read.tuple)];
      if (!PyTuple_CheckExact(tuple) || PyTuple_GET_SIZE(tuple) != read.count) return nullptr;
      return Ref::borrow(PyTuple_GET_ITEM(tuple, read.index)).release();
    }
    case Read::Host:
      return Ref::borrow(Py_None).release();  // called when the entry is known to fit
    case Read::Tensor:
      return Ref::borrow(read.object).release();
    case Read::Piece:
      return piece_of(read.index < 0 ? as_tensor(read.object) : call->tensors[read.index], read.delta, read.count);
  }
  return nullptr;
}

bool fetch_all(StaticCall* call) {
  const auto& reads = call->entry->reads;
  for (const Read& read : reads) {
    PyObject* value = fetch(read, call);
    if (!value) return false;
    call->reads.push_back(value);
  }
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

// A number that changes whenever the class or one of its bases does; 0: none now.
int64_t version_of(PyTypeObject* cls) {
#if PY_VERSION_HEX < 0x030C0000
  if (!PyType_HasFeature(cls, Py_TPFLAGS_VALID_VERSION_TAG)) return 0;
#endif
  return static_cast<int64_t>(cls->tp_version_tag);
}

bool check_guard(Guard& guard, StaticCall* call) {
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
    case Guard::Class: {
      auto* cls = reinterpret_cast<PyTypeObject*>(guard.items);
      const int64_t version = version_of(cls);
      if (version && version == guard.epoch) return true;
      Ref touched = owned(PyObject_GetAttrString(guard.items, "__init__"));  // a class that was changed gets a version
      const int64_t now = version_of(cls);
      if (!truthy(guard.object)) return false;
      guard.epoch = version_of(cls) == now ? now : 0;
      return true;
    }
    case Guard::Lacks: {
      const int found = PyDict_Contains(guard.object, guard.items);
      check_status(found);
      return !found;
    }
    case Guard::Distinct:
      return true;  // when the inputs are known
  }
  return false;
}

bool distinct(const Guard& guard, StaticCall* call) {
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

bool collect_inputs(StaticCall* call) {
  for (const Input& input : call->entry->inputs) {
    PyObject* object = input.fixed ? input.tensor : call->reads[input.read];
    if (!is_tensor(object)) return false;
    if (input.fixed) {
      if (!input.spec.matches(as_tensor(object))) return false;
      if ((as_tensor(object)->hooks || !input.hooks.empty()) && hooks_of(as_tensor(object)) != input.hooks)
        return false;
    }
    call->inputs.push_back(as_tensor(object));
  }
  for (const Guard& guard : call->entry->guards)
    if (guard.kind == Guard::Distinct && !distinct(guard, call)) return false;
  // No leaf is written with gradients on, and what is written through a view has its place on the tape by its base.
  for (auto [i, output] : call->entry->tape_rebased) {
    const TensorObject* tensor = call->inputs[static_cast<size_t>(i)];
    if (tensor->base || (requires_grad(tensor) && !tensor->node)) return false;
  }
  return true;
}

// What the program takes from Python at each run: random numbers, the time.
void call_host(StaticCall* call) {
  const auto& reads = call->entry->reads;
  for (size_t i = 0; i < reads.size(); ++i) {
    if (reads[i].kind != Read::Host) continue;
    Ref value = owned(PyObject_CallNoArgs(reads[i].object));
    Py_XSETREF(call->reads[i], value.release());
  }
}

bool modes_fit(const StaticEntry* entry) {
  return entry->grad_mode == mode.records() && entry->default_dtype == default_dtype() &&
         entry->autocast == mode.autocast.enabled && entry->autocast_dtype == mode.autocast.dtype;
}

}  // namespace

bool matches(StaticEntry* entry, PyObject* const* args, size_t n_positional, PyObject* keyword_names, bool fresh,
             StaticCall* call) {
  if (!fresh && !modes_fit(entry)) return false;
  if (!match_arguments(entry, args, n_positional, keyword_names, call) || !fetch_all(call)) return false;
  if (!fresh)
    for (Guard& guard : entry->guards)
      if (!check_guard(guard, call)) return false;
  if (!collect_inputs(call)) return false;
  if (entry->host_reads) call_host(call);
  return true;
}

}  // namespace dg
