// A call of a static function becomes one node of the tape: what its gradient reads, and what Python must find as it
// was to run again.

#include <algorithm>
#include <cstring>

#include "expansion.h"
#include "mode.h"
#include "static_gradient.h"

namespace dg {

namespace {

template <class F>
PyObject* tuple_of(size_t count, F&& object) {
  Ref tuple = owned(PyTuple_New(static_cast<Py_ssize_t>(count)));
  for (size_t i = 0; i < count; ++i)
    PyTuple_SET_ITEM(tuple.get(), static_cast<Py_ssize_t>(i), Ref::borrow(object(i)).release());
  return tuple.release();
}

// The tensors of a call to differentiate with respect to; those that it writes and takes over as they were before.
Ref differentiated(const StaticEntry* entry, StaticCall* call) {
  Ref tensors = owned(PyTuple_New(static_cast<Py_ssize_t>(entry->tape_inputs.size())));
  for (size_t k = 0; k < entry->tape_inputs.size(); ++k) {
    TensorObject* tensor = call->inputs[static_cast<size_t>(entry->tape_inputs[k])];
    Ref one = Ref::borrow(as_object(tensor));
    for (auto [i, output] : entry->tape_rebased) {
      if (i != entry->tape_inputs[k]) continue;
      one = Ref(as_object(make_detached(tensor)));
      retain_node(tensor->node);
      set_node(as_tensor(one.get()), tensor->node, tensor->output_index);
    }
    PyTuple_SET_ITEM(tensors.get(), static_cast<Py_ssize_t>(k), one.release());
  }
  return tensors;
}

// What an effect is about to replace; null where there is nothing, or nothing that could be put back. Of a gradient it
// is (tensor, gradient or None).
Ref replaced(const Effect& effect, StaticCall* call) {
  PyObject* found = nullptr;
  if (effect.kind == Effect::Grad) {
    Ref target(build(effect.values[0], call));
    PyObject* grad = is_tensor(target.get()) ? as_tensor(target.get())->grad : nullptr;
    return owned(PyTuple_Pack(2, target.get(), grad ? grad : Py_None));
  }
  if (effect.kind == Effect::SetAttribute) found = PyObject_GetAttr(effect.object, effect.key);
  if (effect.kind == Effect::SetItem) found = PyObject_GetItem(effect.object, effect.key);
  if (effect.kind == Effect::SetCell) found = PyCell_Get(effect.object);
  if (!found) PyErr_Clear();
  return Ref(found);
}

// What recording the call anew must find as it was.
void note_world(StaticGradientObject* self, StaticEntry* entry, StaticCall* call) {
  self->generator = call->generator;
  auto input = [&](int i) { return as_object(call->inputs[static_cast<size_t>(i)]); };
  self->depends = new std::vector<Depends>();
  self->depends->reserve(entry->tape_depends.size());
  for (int i : entry->tape_depends)
    self->depends->push_back({Ref::borrow(input(i)).release(), version_of(as_tensor(input(i)))});
  if (!entry->tape_depends_numbers.empty())
    self->depends_numbers = new std::vector<Number>(entry->tape_depends_numbers.size());
  for (size_t i = 0; i < entry->tape_depends_numbers.size(); ++i)
    evaluate(entry->numbers[static_cast<size_t>(entry->tape_depends_numbers[i])], call, &(*self->depends_numbers)[i]);
  self->written = tuple_of(entry->writes.size(), [&](size_t i) { return input(entry->writes[i]); });
  std::vector<Ref> before;
  for (const Effect& effect : entry->effects) before.push_back(replaced(effect, call));
  self->before = tuple_of(before.size(), [&](size_t i) { return before[i] ? before[i].get() : self->entry; });
}

// What the gradient reads: without history, or a result that it reads would keep itself alive; and as tensors of our
// own, whose data nobody exchanges.
void save_values(StaticGradientObject* self, const StaticEntry* entry, StaticCall* call) {
  Ref saved = owned(PyTuple_New(static_cast<Py_ssize_t>(entry->tape_saved.size())));
  for (size_t i = 0; i < entry->tape_saved.size(); ++i) {
    auto [is_output, index] = entry->tape_saved[i];
    const TensorObject* value = is_output ? as_tensor(call->outputs[index]) : call->inputs[index];
    PyTuple_SET_ITEM(saved.get(), static_cast<Py_ssize_t>(i), as_object(make_detached(value)));
  }
  if (saved_hooks) {
    self->packed = new std::vector<PackedValue>();
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(saved.get()); ++i) {
      const TensorObject* t = as_tensor(PyTuple_GET_ITEM(saved.get(), i));
      self->packed->push_back(
          {pack_tensor(t), t->dtype, {t->sizes, t->sizes + t->rank}, {t->strides, t->strides + t->rank}});
    }
  } else {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(saved.get()); ++i)
      self->versions->push_back(version_of(as_tensor(PyTuple_GET_ITEM(saved.get(), i))));
    self->saved = saved.release();
  }
}

}  // namespace

PyObject* check_unchanged(PyObject* object, PyObject*) {
  return guarded([&]() -> PyObject* {
    StaticGradientObject* self = as_gradient(object);
    StaticEntry* entry = as_static_entry(self->entry);
    auto refuse = [&](const char* what) {
      raise_error_hint(
          "GradError", "take these gradients inside of the static function, or call it under dg.dynamic_mode()",
          "%s: a gradient of its gradient, or of one of its results through another, runs its Python again, "
          "and %s",
          entry->tape_name, what);
    };
    if (entry->host_reads) refuse("it takes Python's random numbers, or the time");
    for (int i : entry->writes)
      if (std::find(entry->tape_depends.begin(), entry->tape_depends.end(), i) != entry->tape_depends.end())
        refuse("it has written in place what its results depend on");
    Ref names = owned(PyTuple_New(static_cast<Py_ssize_t>(entry->keywords.size())));
    for (size_t i = 0; i < entry->keywords.size(); ++i)
      PyTuple_SET_ITEM(names.get(), static_cast<Py_ssize_t>(i), Ref::borrow(entry->keywords[i]).release());
    StaticCall now;
    PyObject* const* arguments = reinterpret_cast<PyTupleObject*>(self->arguments)->ob_item;
    if (!matches(entry, arguments, entry->n_positional, names.get(), false, &now))
      refuse("what it reads outside has changed since the call");
    for (size_t i = 0; i < entry->tape_depends.size(); ++i) {
      const Depends& before = (*self->depends)[i];
      TensorObject* tensor = now.inputs[static_cast<size_t>(entry->tape_depends[i])];
      if (as_object(tensor) != before.tensor) refuse("a tensor that it reads is another one since the call");
      if (!tensor->buffer || version_of(tensor) != before.version)
        refuse("a tensor that it reads was written in place since the call");
    }
    for (size_t i = 0; i < entry->tape_depends_numbers.size(); ++i) {
      Number number;
      const Number& before = (*self->depends_numbers)[i];
      const bool same = evaluate(entry->numbers[static_cast<size_t>(entry->tape_depends_numbers[i])], &now, &number) &&
                        number.is_float == before.is_float &&
                        (number.is_float ? std::memcmp(&number.real, &before.real, sizeof(double)) == 0
                                         : number.integer == before.integer);
      if (!same) refuse("a number that it reads has changed since the call");
    }
    Py_RETURN_NONE;
  });
}

void record_tape(PyObject* entry_object, StaticCall* call) {
  StaticEntry* entry = call->entry;
  bool needed = false;
  for (int i : entry->tape_inputs) needed |= requires_grad(call->inputs[i]);
  if (!needed || !mode.grad) return;
  StaticGradientObject* self = new_gradient();
  Ref made(reinterpret_cast<PyObject*>(self));
  self->versions = new std::vector<uint32_t>();
  self->numbers = new std::vector<Number>(entry->tape_numbers.size());
  self->sizes = new std::vector<int64_t>();
  self->entry = Ref::borrow(entry_object).release();
  // A tensor that becomes one of this node's outputs is not kept by it, and its Python does not run again.
  const bool again = entry->tape_rebased.empty();
  self->arguments = tuple_of(again ? entry->leaves.size() : 0, [&](size_t i) { return call->args[i]; });
  self->inputs = differentiated(entry, call).release();
  save_values(self, entry, call);
  for (size_t i = 0; i < entry->tape_numbers.size(); ++i)
    if (!evaluate(entry->tape_numbers[i], call, &(*self->numbers)[i]))
      raise_error("InternalError", "a number of a static function was lost");
  if (again) note_world(self, entry, call);
  for (const Postfix& size : entry->tape_sizes) self->sizes->push_back(evaluate_size(size, call));
  for (size_t i = 0; i < entry->tape_specs.size(); ++i) {
    const TensorObject* result = as_tensor(call->outputs[entry->tape_outputs[i]]);
    if (entry->tape_specs[i].open) self->sizes->insert(self->sizes->end(), result->sizes, result->sizes + result->rank);
  }
  Ref outputs(tuple_of(entry->tape_outputs.size(), [&](size_t i) { return call->outputs[entry->tape_outputs[i]]; }));
  owned(record_python(outputs.get(), self->inputs, entry->tape_name, made.get(), true));
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(outputs.get()) && !self->node; ++i) {
    Node* node = as_tensor(PyTuple_GET_ITEM(outputs.get(), i))->node;
    if (node && node->extra && node->extra->python == made.get()) self->node = node;
  }
  if (!self->node) return;
  for (auto [i, output] : entry->tape_rebased) {
    retain_node(self->node);
    set_node(call->inputs[static_cast<size_t>(i)], self->node, static_cast<uint32_t>(output));
  }
  make_room(self->node);
  if (!entry->tape_refusals.empty()) self->node->extra->refusals = &entry->tape_refusals;
  if (entry->tape_paths.empty()) return;
  self->node->extra->paths = &entry->tape_paths;
  self->node->extra->take_apart = take_static_apart;
}

}  // namespace dg
