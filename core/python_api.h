// What every file that talks to CPython shares: owned references, errors that travel as C++ exceptions, lazy hooks.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstdarg>
#include <string>
#include <type_traits>
#include <utility>

namespace dg {

// Thrown when a Python error is set; `guarded` turns it into the null return that CPython expects.
struct ErrorSet {};

// Sets the Python error that the C++ exception in flight stands for. Call inside a catch block.
void set_error_from_current_exception() noexcept;

template <class F>
auto guarded(F&& body) noexcept -> decltype(body()) {
  try {
    return body();
  } catch (...) {
    set_error_from_current_exception();
  }
  if constexpr (std::is_pointer_v<decltype(body())>)
    return nullptr;
  else
    return decltype(body())(-1);
}

inline PyObject* checked(PyObject* object) {
  if (!object) throw ErrorSet{};
  return object;
}
inline void check_status(int status) {
  if (status < 0) throw ErrorSet{};
}

// An owned reference.
class Ref {
 public:
  Ref() = default;
  explicit Ref(PyObject* owned) : object_(owned) {}
  Ref(const Ref& other) : object_(other.object_) { Py_XINCREF(object_); }
  Ref(Ref&& other) noexcept : object_(other.release()) {}
  Ref& operator=(Ref other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Ref() { Py_XDECREF(object_); }
  static Ref borrow(PyObject* object) {
    Py_XINCREF(object);
    return Ref(object);
  }
  PyObject* get() const { return object_; }
  PyObject* release() { return std::exchange(object_, nullptr); }
  explicit operator bool() const { return object_ != nullptr; }

 private:
  PyObject* object_ = nullptr;
};

// Owned and not null, or ErrorSet.
inline Ref owned(PyObject* object) { return Ref(checked(object)); }

std::string format_message(const char* format, va_list values);

// Raises duograph.errors.<name>(text); the class adds the user's line.
[[noreturn]] void raise_error(const char* name, const char* format, ...) __attribute__((format(printf, 2, 3)));
[[noreturn]] void raise_error_hint(const char* name, const char* hint, const char* format, ...)
    __attribute__((format(printf, 3, 4)));

// Python functions that the core calls on a miss, named "module:function" and imported on first use.
enum class Hook {
  CompileEntry,
  GradientNeeds,
  CompileGradient,
  TraceOp,
  PythonGradient,
  RaiseError,
  GetItem,
  SetItem,
  TensorRepr,
  TensorFormat,
  TensorNew,
  ValueRead,
  Lift,
  CaptureMiss,
  ViewWritten,
  ViewGradient,
  Localize,
  Written,
  Overwritten,
  Misfit,
  LayoutRead,
  Count
};
void set_hook(const char* name, PyObject* target);  // throws for an unknown name
PyObject* hook(Hook which);                         // borrowed; raises InternalError if nobody set it
PyObject* hook_or_null(Hook which);                 // borrowed; null if nobody set it

}  // namespace dg
