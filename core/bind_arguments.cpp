// From Python's positional and keyword arguments to one value per parameter.
#include <string>

#include "call.h"
#include "op.h"
#include "tensor.h"

namespace dg {

namespace {

std::string signature(const OpObject* op) {
  std::string text = std::string(op_name(op)) + "(";
  bool first = true;
  for (const Param& param : *op->params) {
    if (!first) text += ", ";
    first = false;
    const char* name = PyUnicode_AsUTF8(param.name);
    text += name ? name : "?";
    if (!param.default_value) continue;
    Ref shown(PyObject_Repr(param.default_value));
    const char* value = shown ? PyUnicode_AsUTF8(shown.get()) : nullptr;
    if (!value) PyErr_Clear();
    text += std::string("=") + (value ? value : "?");
  }
  return text + ")";
}

[[noreturn]] void refuse(const OpObject* op, const std::string& what) {
  raise_error_hint("ArgumentError", ("the call is " + signature(op)).c_str(), "%s: %s", op_name(op), what.c_str());
}

std::string as_text(PyObject* name) {
  const char* text = PyUnicode_AsUTF8(name);
  return text ? text : "?";
}

// An integer, or something that stands for one (a symbolic size), as it may appear among variadic sizes.
bool is_size_like(PyObject* value) {
  if (PyLong_Check(value)) return true;
  if (PyTuple_Check(value) || PyList_Check(value) || value == Py_None || PyUnicode_Check(value)) return false;
  return PyIndex_Check(value) && !PySequence_Check(value) && !is_tensor(value);
}

bool takes_rest(const Param& param) { return param.kind == ParamKind::Sizes || param.kind == ParamKind::Attributes; }

}  // namespace

std::string try_bind_arguments(OpObject* op, PyObject* const* args, size_t n_positional, PyObject* keyword_names,
                               Bound* bound) {
  const std::vector<Param>& params = *op->params;
  bound->values.resize(params.size());
  for (PyObject*& value : bound->values) value = nullptr;
  size_t next = 0;
  for (size_t i = 0; i < n_positional;) {
    if (next == params.size())
      return "takes " + std::to_string(params.size()) + " arguments, got " +
             std::to_string(n_positional + (keyword_names ? PyTuple_GET_SIZE(keyword_names) : 0));
    const Param& param = params[next];
    if (takes_rest(param) && is_size_like(args[i])) {
      size_t end = i;
      while (end < n_positional && is_size_like(args[end])) ++end;
      Ref rest = owned(PyTuple_New(static_cast<Py_ssize_t>(end - i)));
      for (size_t j = i; j < end; ++j)
        PyTuple_SET_ITEM(rest.get(), static_cast<Py_ssize_t>(j - i), Ref::borrow(args[j]).release());
      bound->values[next++] = rest.get();
      bound->kept.push_back(std::move(rest));
      i = end;
      continue;
    }
    bound->values[next++] = args[i++];
  }
  const Py_ssize_t n_keywords = keyword_names ? PyTuple_GET_SIZE(keyword_names) : 0;
  for (Py_ssize_t k = 0; k < n_keywords; ++k) {
    PyObject* name = PyTuple_GET_ITEM(keyword_names, k);
    size_t found = params.size();
    for (size_t p = 0; p < params.size() && found == params.size(); ++p)
      if (params[p].name == name) found = p;
    for (size_t p = 0; p < params.size() && found == params.size(); ++p)
      if (PyUnicode_Compare(params[p].name, name) == 0) found = p;
    if (found == params.size()) return "has no argument named " + as_text(name);
    if (bound->values[found]) return "got two values for " + as_text(name);
    bound->values[found] = args[n_positional + k];
  }
  std::string missing;
  for (size_t p = 0; p < params.size(); ++p) {
    if (bound->values[p]) continue;
    if (params[p].default_value) {
      bound->values[p] = params[p].default_value;
      continue;
    }
    missing += (missing.empty() ? "" : ", ") + as_text(params[p].name);
  }
  return missing.empty() ? "" : "is missing " + missing;
}

void bind_arguments(OpObject* op, PyObject* const* args, size_t n_positional, PyObject* keyword_names, Bound* bound) {
  const std::string misfit = try_bind_arguments(op, args, n_positional, keyword_names, bound);
  if (!misfit.empty()) refuse(op, misfit);
}

PyObject* call_misfit(OpObject* op, PyObject* const* args, size_t n_positional, PyObject* keyword_names,
                      const std::string& misfit) {
  PyObject* handler = hook_or_null(Hook::Misfit);
  if (!handler) refuse(op, misfit);
  Ref positional = value_tuple(args, n_positional);
  Ref named = owned(PyDict_New());
  for (Py_ssize_t k = 0; keyword_names && k < PyTuple_GET_SIZE(keyword_names); ++k)
    check_status(PyDict_SetItem(named.get(), PyTuple_GET_ITEM(keyword_names, k), args[n_positional + k]));
  PyObject* parameters[] = {reinterpret_cast<PyObject*>(op), positional.get(), named.get()};
  Ref result = owned(PyObject_Vectorcall(handler, parameters, 3, nullptr));
  if (result.get() == Py_NotImplemented) refuse(op, misfit);
  return result.release();
}

}  // namespace dg
