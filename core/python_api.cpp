#include "python_api.h"

#include <nanobind/nanobind.h>

#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <string>

#include "memory.h"
#include "program.h"
#include "threads.h"

namespace dg {

namespace {

struct HookSlot {
  const char* name;
  PyObject* target = nullptr;    // the callable, or its "module:function" name
  PyObject* resolved = nullptr;  // the callable
};

HookSlot hooks[static_cast<int>(Hook::Count)] = {
    {"compile_entry"}, {"gradient_needs"},  {"compile_gradient"},
    {"trace_op"},      {"python_gradient"}, {"raise_error"},
    {"getitem"},       {"setitem"},         {"tensor_repr"},
    {"tensor_format"}, {"tensor_new"},      {"value_read"},
    {"lift"},          {"capture_miss"},    {"view_written"},
    {"view_gradient"}, {"localize"},        {"written"},
    {"overwritten"},   {"misfit"},          {"layout_read"},
};

PyObject* error_class(const char* name) {
  PyObject* module = PyImport_ImportModule("duograph.errors");
  if (!module) return nullptr;
  PyObject* found = PyObject_GetAttrString(module, name);
  Py_DECREF(module);
  return found;
}

void set_error(const char* name, const char* hint, const std::string& text) {
  Ref type(error_class(name));
  if (!type) return;
  Ref arguments(Py_BuildValue("(s#)", text.data(), static_cast<Py_ssize_t>(text.size())));
  Ref keywords(hint ? Py_BuildValue("{ss}", "hint", hint) : nullptr);
  if (!arguments) return;
  Ref error(PyObject_Call(type.get(), arguments.get(), keywords.get()));
  if (error) PyErr_SetObject(type.get(), error.get());
}

PyObject* resolve(PyObject* target) {
  if (!PyUnicode_Check(target)) return Ref::borrow(target).release();
  Ref forks = owned(PyImport_ImportModule("duograph._forks"));  // a fork waits until the import is done
  return checked(PyObject_CallMethod(forks.get(), "import_attribute", "O", target));
}

}  // namespace

std::string format_message(const char* format, va_list values) {
  va_list copy;
  va_copy(copy, values);
  int length = std::vsnprintf(nullptr, 0, format, copy);
  va_end(copy);
  std::string text(length > 0 ? length : 0, '\0');
  if (length > 0) std::vsnprintf(text.data(), text.size() + 1, format, values);
  return text;
}

void set_error_from_current_exception() noexcept {
  try {
    throw;
  } catch (const ErrorSet&) {
  } catch (nanobind::python_error& error) {
    error.restore();
  } catch (const Interrupted&) {
    if (!PyErr_Occurred()) PyErr_SetNone(PyExc_KeyboardInterrupt);
  } catch (const OutOfMemory& error) {
    set_error("OutOfMemoryError", nullptr, error.what());
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const ProgramError& error) {
    set_error("InternalError", nullptr, error.what());
  } catch (const std::exception& error) {
    set_error("InternalError", nullptr, error.what());
  } catch (...) {
    set_error("InternalError", nullptr, "unknown C++ exception");
  }
}

void raise_error(const char* name, const char* format, ...) {
  va_list values;
  va_start(values, format);
  std::string text = format_message(format, values);
  va_end(values);
  set_error(name, nullptr, text);
  throw ErrorSet{};
}

void raise_error_hint(const char* name, const char* hint, const char* format, ...) {
  va_list values;
  va_start(values, format);
  std::string text = format_message(format, values);
  va_end(values);
  set_error(name, hint, text);
  throw ErrorSet{};
}

void set_hook(const char* name, PyObject* target) {
  for (HookSlot& slot : hooks) {
    if (std::strcmp(slot.name, name) != 0) continue;
    Py_CLEAR(slot.resolved);
    Py_XSETREF(slot.target, target == Py_None ? nullptr : Ref::borrow(target).release());
    return;
  }
  raise_error("InternalError", "there is no hook named %s", name);
}

PyObject* hook_or_null(Hook which) {
  HookSlot& slot = hooks[static_cast<int>(which)];
  if (!slot.resolved && slot.target) slot.resolved = resolve(slot.target);
  return slot.resolved;
}

PyObject* hook(Hook which) {
  PyObject* found = hook_or_null(which);
  if (!found) raise_error("InternalError", "nothing is bound to the hook %s", hooks[static_cast<int>(which)].name);
  return found;
}

}  // namespace dg
