#include "entry_compile.h"

#include <memory>

namespace dg {

namespace {

// The attrs tuple of the compile hooks.
Ref attribute_tuple(const Call& call) {
  const std::vector<Param>& params = *call.op->params;
  Ref list = owned(PyList_New(0));
  for (size_t i = 0; i < params.size(); ++i) {
    PyObject* value = call.values[i];
    Ref item;
    switch (params[i].kind) {
      case ParamKind::Attribute:
      case ParamKind::Attributes:
        item = canonical_attribute(value);
        break;
      case ParamKind::TensorList:
        item = owned(PyLong_FromSsize_t(PyTuple_GET_SIZE(value)));
        break;
      case ParamKind::Size:
        item = Ref::borrow(value == Py_None ? Py_None : Py_True);
        break;
      case ParamKind::Sizes: {
        Ref positions = owned(PyList_New(0));
        const Py_ssize_t count = PySequence_Fast_GET_SIZE(value);
        for (Py_ssize_t d = 0; d < count; ++d) {
          PyObject* size = PySequence_Fast_GET_ITEM(value, d);
          if (PyLong_Check(size) && PyLong_AsLongLong(size) == -1)
            check_status(PyList_Append(positions.get(), owned(PyLong_FromSsize_t(d)).get()));
        }
        item = owned(Py_BuildValue("(nN)", count, checked(PyList_AsTuple(positions.get()))));
        break;
      }
      default:
        continue;
    }
    check_status(PyList_Append(list.get(), item.get()));
  }
  return owned(PyList_AsTuple(list.get()));
}

// A compilation that failed met symbolic sizes; the same rule over the real arguments says it in the user's numbers.
[[noreturn]] void raise_compile_failure(OpObject* op, PyObject* args) {
  PyObject *type, *value, *traceback;
  PyErr_Fetch(&type, &value, &traceback);
  PyErr_NormalizeException(&type, &value, &traceback);
  Ref module(PyImport_ImportModule("duograph.errors"));
  Ref base(module ? PyObject_GetAttrString(module.get(), "Error") : nullptr);
  Ref internal(module ? PyObject_GetAttrString(module.get(), "InternalError") : nullptr);
  PyErr_Clear();
  if (base && internal && hook_or_null(Hook::RaiseError) && PyErr_GivenExceptionMatches(value, base.get()) &&
      !PyErr_GivenExceptionMatches(value, internal.get())) {
    Ref keep_type(type), keep_value(value), keep_traceback(traceback);
    explain_failure(op, args, 0);
    PyErr_Restore(keep_type.release(), keep_value.release(), keep_traceback.release());
    throw ErrorSet{};
  }
  PyErr_Restore(type, value, traceback);
  throw ErrorSet{};
}

}  // namespace

void explain_failure(OpObject* op, PyObject* args, int64_t code) {
  WithoutAutocast rules;
  Ref code_object = owned(PyLong_FromLongLong(code));
  PyObject* parameters[] = {reinterpret_cast<PyObject*>(op), args, code_object.get()};
  owned(PyObject_Vectorcall(hook(Hook::RaiseError), parameters, 3, nullptr));
}

Entry* compile_entry(Call& call) {
  WithoutAutocast body;
  auto entry = std::make_unique<Entry>();
  entry->op = call.op;
  entry->key.assign(call.key.begin(), call.key.end());
  entry->hash = hash_words(call.key.data(), call.key.size());
  entry->attrs = attribute_tuple(call);
  const size_t count = call.operands.size();
  entry->specs = owned(PyTuple_New(static_cast<Py_ssize_t>(count)));
  const uint64_t* words = call.key.data() + call.key.size() - count;
  for (size_t i = 0; i < count; ++i) PyTuple_SET_ITEM(entry->specs.get(), i, spec_of_word(words[i]).release());
  Ref n_sizes = owned(PyLong_FromSize_t(call.sizes.size()));
  Ref args = value_tuple(call.values.data(), call.values.size());
  PyObject* parameters[] = {reinterpret_cast<PyObject*>(call.op), entry->specs.get(), entry->attrs.get(),
                            n_sizes.get()};
  PyObject* compiled = PyObject_Vectorcall(hook(Hook::CompileEntry), parameters, 4, nullptr);
  if (!compiled) raise_compile_failure(call.op, args.get());
  entry->program_object = Ref(compiled);
  entry->program = program_of(compiled, call.op);
  size_t tensors = 0, numbers = 0;
  for (const Operand& operand : call.operands) {
    tensors += operand.kind == OperandKind::Tensor;
    numbers += operand.kind == OperandKind::Number;
  }
  if (entry->program->n_inputs != static_cast<int>(tensors) || entry->program->n_numbers != static_cast<int>(numbers) ||
      entry->program->n_sizes != static_cast<int>(call.sizes.size()))
    raise_error("InternalError",
                "%s: the compiled program takes %d tensors, %d numbers and %d sizes, not %zu, %zu, %zu",
                op_name(call.op), entry->program->n_inputs, entry->program->n_numbers, entry->program->n_sizes, tensors,
                numbers, call.sizes.size());
  for (const Ref& kept : call.kept)
    if (PyUnicode_Check(kept.get())) entry->kept.push_back(kept);
  return call.op->entries->insert(std::move(entry));
}

}  // namespace dg
