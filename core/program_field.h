// A value in the dict of a program, and where it stands there: what Program::parse reads.
#pragma once

#include <Python.h>

#include <string>
#include <utility>

#include "program.h"

namespace dg {

[[noreturn]] inline void fail(const std::string& where, const std::string& text) {
  PyErr_Clear();
  throw ProgramError("program: " + where + ": " + text);
}

// A borrowed Python value and where it stands in the spec, for messages.
class Field {
 public:
  Field(PyObject* object, std::string where) : object_(object), where_(std::move(where)) {}

  const std::string& where() const { return where_; }
  bool is_none() const { return object_ == Py_None; }
  bool is_list() const { return PyList_Check(object_) || PyTuple_Check(object_); }
  bool is_text() const { return PyUnicode_Check(object_); }

  // A missing key reads as None.
  Field operator[](const char* key) const {
    if (!PyDict_Check(object_)) fail(where_, "expected a dict");
    PyObject* value = PyDict_GetItemString(object_, key);
    return {value ? value : Py_None, where_.empty() ? key : where_ + "." + key};
  }
  int64_t size() const {
    if (is_none()) return 0;
    if (!is_list()) fail(where_, "expected a list");
    return PySequence_Fast_GET_SIZE(object_);
  }
  Field operator[](int64_t i) const {
    if (i >= size()) fail(where_, "expected at least " + std::to_string(i + 1) + " items");
    return {PySequence_Fast_GET_ITEM(object_, i), where_ + "[" + std::to_string(i) + "]"};
  }
  int64_t integer() const {
    if (!PyLong_Check(object_)) fail(where_, "expected an integer");
    int overflow = 0;
    const long long value = PyLong_AsLongLongAndOverflow(object_, &overflow);
    if (overflow) fail(where_, "integer does not fit 64 bits");
    return value;
  }
  int32_t integer_below(int64_t limit, const char* what) const {
    const int64_t value = integer();
    if (value < 0 || value >= limit)
      fail(where_, std::string(what) + " " + std::to_string(value) + " is not in [0, " + std::to_string(limit) + ")");
    return static_cast<int32_t>(value);
  }
  std::string text() const {
    Py_ssize_t length = 0;
    const char* bytes = PyUnicode_Check(object_) ? PyUnicode_AsUTF8AndSize(object_, &length) : nullptr;
    if (!bytes) fail(where_, "expected text");
    return {bytes, static_cast<size_t>(length)};
  }
  bool truth() const {
    if (!PyBool_Check(object_)) fail(where_, "expected true or false");
    return object_ == Py_True;
  }
  // Bytes, or base64 text.
  std::string bytes() const {
    PyObject* decoded = nullptr;
    if (PyUnicode_Check(object_)) {
      PyObject* module = PyImport_ImportModule("binascii");
      if (module) decoded = PyObject_CallMethod(module, "a2b_base64", "O", object_);
      Py_XDECREF(module);
    } else if (PyBytes_Check(object_)) {
      Py_INCREF(object_);
      decoded = object_;
    }
    if (!decoded) fail(where_, "expected bytes or base64");
    std::string result(PyBytes_AS_STRING(decoded), static_cast<size_t>(PyBytes_GET_SIZE(decoded)));
    Py_DECREF(decoded);
    return result;
  }

 private:
  PyObject* object_;
  std::string where_;
};

}  // namespace dg
