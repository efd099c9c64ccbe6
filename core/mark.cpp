#include <Python.h>
#if PY_VERSION_HEX < 0x030C0000
// CPython 3.11 offers no way to the running code object that does not build a frame object, which costs more than the
// operator; its internal header does.
#define Py_BUILD_CORE
#include <internal/pycore_frame.h>
#undef Py_BUILD_CORE
#endif

#include <cstring>
#include <string>

#include "mark.h"

namespace dg {

namespace {

std::string package_folder = "<duograph";
constexpr int kMaxLevels = 12;

bool is_internal(PyCodeObject* code) {
  PyObject* file = code->co_filename;
  if (!PyUnicode_IS_COMPACT_ASCII(file)) return false;
  const size_t length = PyUnicode_GET_LENGTH(file);
  const char* text = reinterpret_cast<const char*>(PyUnicode_1BYTE_DATA(file));
  return (length >= package_folder.size() && std::memcmp(text, package_folder.data(), package_folder.size()) == 0) ||
         (length >= 9 && std::memcmp(text, "<duograph", 9) == 0);
}

}  // namespace

#if PY_VERSION_HEX < 0x030C0000
Mark take_mark() {
  _PyInterpreterFrame* frame = PyThreadState_GET()->cframe->current_frame;
  for (int level = 0; frame && level < kMaxLevels; ++level, frame = frame->previous) {
    if (is_internal(frame->f_code)) continue;
    auto* code = reinterpret_cast<PyObject*>(frame->f_code);
    Py_INCREF(code);
    return {code, _PyInterpreterFrame_LASTI(frame) * static_cast<int>(sizeof(_Py_CODEUNIT))};
  }
  return {};
}
#else
Mark take_mark() {
  PyFrameObject* frame = PyThreadState_GetFrame(PyThreadState_Get());
  for (int level = 0; frame && level < kMaxLevels; ++level) {
    PyCodeObject* code = PyFrame_GetCode(frame);
    if (!is_internal(code)) {
      Mark mark{reinterpret_cast<PyObject*>(code), PyFrame_GetLasti(frame)};
      Py_DECREF(frame);
      return mark;
    }
    Py_DECREF(code);
    PyFrameObject* back = PyFrame_GetBack(frame);
    Py_DECREF(frame);
    frame = back;
  }
  Py_XDECREF(frame);
  return {};
}
#endif

int mark_line(const Mark& mark) {
  return mark.code ? PyCode_Addr2Line(reinterpret_cast<PyCodeObject*>(mark.code), mark.instruction) : 0;
}

void set_package_folder(PyObject* folder) {
  const char* text = PyUnicode_AsUTF8(folder);
  if (!text) throw ErrorSet{};
  package_folder = text;
}

}  // namespace dg
