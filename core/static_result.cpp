#include "mode.h"
#include "static_call.h"
#include "tape.h"

namespace dg {

namespace {

Ref build_all(const std::vector<Template>& children, Call* call) {
  Ref tuple = owned(PyTuple_New(static_cast<Py_ssize_t>(children.size())));
  for (size_t i = 0; i < children.size(); ++i) PyTuple_SET_ITEM(tuple.get(), i, build(children[i], call));
  return tuple;
}

}  // namespace

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
      if (!is_tensor(tensor.get()))
        raise_error("InternalError", "a gradient of a static function has no tensor to go to");
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
  Ref inputs =
      tuple_of(entry->tape_inputs.size(), [&](size_t i) { return as_object(call->inputs[entry->tape_inputs[i]]); });
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

}  // namespace dg
