#include "static_function.h"

#include <structmember.h>

#include <algorithm>
#include <atomic>
#include <cstddef>

#include "count.h"
#include "dtype_object.h"
#include "expansion.h"
#include "frames.h"
#include "mode.h"
#include "static_call.h"
#include "tape.h"
#include "user_sizes.h"

namespace dg {

PyTypeObject* static_function_type = nullptr;
int64_t epoch = 0;

namespace {

std::atomic<bool> dynamic_everywhere{false};
constinit thread_local int dynamic_here = 0;

[[noreturn]] void failed(StaticFunctionObject* self, PyObject* entry, const RunStatus& status) {
  Ref ignored = owned(PyObject_CallMethod(
      self->handler, "failed", "OL(LLLL)i", entry, static_cast<long long>(status.check_code),
      static_cast<long long>(status.kernel_status[0]), static_cast<long long>(status.kernel_status[1]),
      static_cast<long long>(status.kernel_status[2]), static_cast<long long>(status.kernel_status[3]), status.node));
  raise_error("InternalError", "a static program failed without saying why");
}

void count_program(StaticFunctionObject* self, const SmallVector<RunInput, 32>& inputs, const Program* program,
                   const SmallVector<RunOutput, 8>& results) {
  Ref name = owned(PyObject_GetAttrString(self->handler, "__name__"));
  const char* text = PyUnicode_AsUTF8(name.get());
  if (!text) throw ErrorSet{};
  count_run(text, inputs.data(), inputs.size(), program, results.data(), results.size());
}

PyObject* run(StaticFunctionObject* self, PyObject* entry_object, StaticCall* call) {
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
    if (!evaluate(entry->numbers[i], call, &number))
      raise_error("InternalError", "a number of a static function was lost");
    const DType dtype = program->number_dtype(static_cast<int>(i));
    if (number.is_float)
      store_number(numbers[i].bytes, dtype, number.real);
    else
      store_number(numbers[i].bytes, dtype, number.integer);
  }
  SmallVector<int64_t, 8> sizes;
  sizes.resize(entry->sizes.size());
  for (size_t i = 0; i < entry->sizes.size(); ++i) sizes[i] = evaluate_size(entry->sizes[i], call);
  const size_t n_outputs = static_cast<size_t>(program->n_outputs);
  SmallVector<RunOutput, 8> results;
  results.resize(n_outputs);
  RunStatus status;
  for (int i : entry->frees) give_up_gradient(entry->effects[i], call);
  // A written buffer counts as changed even if the run is interrupted half-way.
  for (int i : entry->writes) bump_version(call->inputs[i]);
  if (entry->tape_program) call->generator = rng_state();
  StaticHost host(call);
  if (!program->run(inputs.data(), numbers.data(), sizes.data(), results.data(), &status, &host))
    failed(self, entry_object, status);
  if (counting) count_program(self, inputs, program, results);
  call->outputs.resize(entry->n_results());
  for (PyObject*& output : call->outputs) output = nullptr;
  size_t made = 0;
  try {
    for (; made < n_outputs; ++made) {
      RunOutput& result = results[made];
      if (result.inplace) {
        release(result.buffer);
        call->outputs[made] = as_object(make_detached(call->inputs[result.alias]));
      } else {
        call->outputs[made] = as_object(
            make_tensor(result.buffer, result.offset, result.dtype, result.rank, result.sizes, result.strides));
      }
    }
  } catch (...) {
    for (size_t j = made + 1; j < n_outputs; ++j) release(results[j].buffer);
    throw;
  }
  for (const Part& part : entry->parts) call->outputs[made++] = make_part(part, call);
  if (entry->tape_program) record_tape(entry_object, call);
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
      StaticCall call;
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
    StaticCall call;
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
      StaticCall call;
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
  if (everywhere)
    dynamic_everywhere = enter;
  else
    dynamic_here += enter ? 1 : -1;
  Py_RETURN_NONE;
}

PyObject* in_dynamic_mode(PyObject*, PyObject*) { return PyBool_FromLong(dynamic_here > 0 || dynamic_everywhere); }

// rebase(tensor, source): the tensor takes over what computed `source` (its values are the same).
PyObject* rebase(PyObject*, PyObject* args) {
  return guarded([&]() -> PyObject* {
    PyObject *target, *source;
    if (!PyArg_ParseTuple(args, "OO", &target, &source)) throw ErrorSet{};
    TensorObject *to = require_tensor(target, "rebase"), *from = require_tensor(source, "rebase");
    if (from->node) {
      retain_node(from->node);
      set_node(to, from->node, from->output_index);
    } else {
      drop_node(to);
    }
    Py_RETURN_NONE;
  });
}

// result_paths(tensors): see paths_between.
PyObject* result_paths(PyObject*, PyObject* tensors) {
  return guarded([&]() -> PyObject* {
    Ref all = owned(PySequence_Tuple(tensors));
    std::vector<TensorObject*> results;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(all.get()); ++i)
      results.push_back(require_tensor(PyTuple_GET_ITEM(all.get(), i), "result_paths"));
    Ref list = owned(PyList_New(0));
    for (auto [i, j] : paths_between(results))
      check_status(PyList_Append(list.get(), owned(Py_BuildValue("(II)", i, j)).get()));
    return list.release();
  });
}

PyMethodDef functions[] = {
    {"result_paths", result_paths, METH_O,
     "result_paths(tensors): (i, j) where a gradient of tensor i is not just what is given for it if one is given for "
     "j"},
    {"rebase", rebase, METH_VARARGS, "rebase(tensor, source): the tensor takes over what computed source"},
    {"epoch", get_epoch, METH_NOARGS, "The number of changes that static programs must look into."},
    {"bump_epoch", bump_epoch, METH_NOARGS, "Says that a Module or a setting changed."},
    {"set_dynamic_mode", set_dynamic_mode, METH_VARARGS,
     "Makes static functions run their Python, in this thread or everywhere."},
    {"in_dynamic_mode", in_dynamic_mode, METH_NOARGS, "Whether static functions run their Python in this thread."},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

void bind_static_function(PyObject* module) {
  create_static_entry_type(module);
  create_static_gradient_type();
  bind_user_sizes(module);
  bind_frames(module);
  static_function_type = reinterpret_cast<PyTypeObject*>(checked(PyType_FromSpec(&spec)));
  check_status(PyModule_AddObjectRef(module, "StaticFunction", reinterpret_cast<PyObject*>(static_function_type)));
  check_status(PyModule_AddFunctions(module, functions));
}

}  // namespace dg
