#include "static_call.h"
#include "view_grad.h"

namespace dg {

namespace {

Ref build_all(const std::vector<Template>& children, StaticCall* call) {
  Ref tuple = owned(PyTuple_New(static_cast<Py_ssize_t>(children.size())));
  for (size_t i = 0; i < children.size(); ++i) PyTuple_SET_ITEM(tuple.get(), i, build(children[i], call));
  return tuple;
}

}  // namespace

PyObject* make_part(const Part& part, StaticCall* call) {
  TensorObject* whole =
      part.of_output ? as_tensor(call->outputs[part.source]) : call->inputs[static_cast<size_t>(part.source)];
  SmallVector<int64_t, 8> sizes, strides;
  for (const Postfix& size : part.sizes) sizes.push_back(evaluate_size(size, call));
  for (const Postfix& stride : part.strides) strides.push_back(evaluate_size(stride, call));
  retain(whole->buffer);
  TensorObject* view = make_tensor(whole->buffer, whole->offset + evaluate_size(part.offset, call), whole->dtype,
                                   static_cast<int>(sizes.size()), sizes.data(), strides.data());
  view->base = Ref::borrow(whole->base ? whole->base : as_object(whole)).release();
  view->view_version = view->buffer->version.load(std::memory_order_relaxed);
  if (part.is_behind) fall_behind(view);
  return as_object(view);
}

PyObject* build(const Template& made, StaticCall* call) {
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

void apply_effect(const Effect& effect, StaticCall* call) {
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

void give_up_gradient(const Effect& effect, StaticCall* call) {
  Ref target(build(effect.values[0], call));
  if (!is_tensor(target.get())) return;
  TensorObject* tensor = as_tensor(target.get());
  for (TensorObject* input : call->inputs)
    if (as_object(input) == tensor->grad) return;
  set_grad(tensor, nullptr);
}

}  // namespace dg
