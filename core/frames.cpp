#include "frames.h"

#if PY_VERSION_HEX >= 0x030B0000 && PY_VERSION_HEX < 0x030C0000
#define DG_FRAMES 1
#include <internal/pycore_frame.h>
#endif

namespace dg {

namespace {

constinit thread_local PyObject* follower = nullptr;  // asked about functions that begin in this thread

#ifdef DG_FRAMES

constinit thread_local bool silent = false;  // what runs now is not asked about

// What is known of a code object, kept in it.
enum Mark : uintptr_t { kUnknown, kLeave, kLeaveAll };

_PyFrameEvalFunction before = nullptr;  // what ran frames until a capture began
int following = 0;                      // threads with a follower
bool buried = false;                    // another one came on top, and still calls this one
Py_ssize_t mark_index = -1;

class Silence {
 public:
  Silence() : previous_(silent) { silent = true; }
  ~Silence() { silent = previous_; }
  Silence(const Silence&) = delete;

 private:
  bool previous_;
};

// Calls `function` with the arguments of a frame that has not begun.
PyObject* call_with_arguments(PyObject* function, _PyInterpreterFrame* frame) {
  return guarded([&]() -> PyObject* {
    const PyCodeObject* code = frame->f_code;
    const int positional = code->co_argcount, named = code->co_kwonlyargcount;
    PyObject** slot = frame->localsplus;
    PyObject* rest = code->co_flags & CO_VARARGS ? slot[positional + named] : nullptr;
    PyObject* keywords = code->co_flags & CO_VARKEYWORDS ? slot[positional + named + (rest != nullptr)] : nullptr;
    const Py_ssize_t more = rest ? PyTuple_GET_SIZE(rest) : 0;
    Ref args = owned(PyTuple_New(positional + more));
    for (Py_ssize_t i = 0; i < positional + more; ++i) {
      PyObject* value = i < positional ? slot[i] : PyTuple_GET_ITEM(rest, i - positional);
      PyTuple_SET_ITEM(args.get(), i, Ref::borrow(value).release());
    }
    Ref given = keywords ? owned(PyDict_Copy(keywords)) : Ref();
    if (named && !given) given = owned(PyDict_New());
    for (int i = positional; i < positional + named; ++i)
      check_status(PyDict_SetItem(given.get(), PyTuple_GET_ITEM(code->co_localsplusnames, i), slot[i]));
    return PyObject_Call(function, args.get(), given.get());
  });
}

// Whether it handles a signal, which may come in the middle of anything: its last argument is the frame that it
// interrupts.
bool handles_signal(const _PyInterpreterFrame* frame) {
  const int count = frame->f_code->co_argcount;
  return count >= 2 && frame->owner == FRAME_OWNED_BY_THREAD && PyFrame_Check(frame->localsplus[count - 1]);
}

// What the follower says about a frame: see follow_calls below.
Ref ask(_PyInterpreterFrame* frame, bool resumed) {
  Silence silence;
  Ref asked = Ref::borrow(follower);
  PyObject* args[] = {reinterpret_cast<PyObject*>(frame->f_func), resumed ? Py_True : Py_False};
  return Ref(PyObject_Vectorcall(asked.get(), args, 2, nullptr));
}

PyObject* evaluate(PyThreadState* thread, _PyInterpreterFrame* frame, int throwing);

// For so long, calls cost what they cost without a capture.
class Unwatched {
 public:
  explicit Unwatched(PyInterpreterState* interpreter) : interpreter_(following == 1 ? interpreter : nullptr) {
    if (interpreter_ && _PyInterpreterState_GetEvalFrameFunc(interpreter_) != evaluate) interpreter_ = nullptr;
    if (interpreter_) _PyInterpreterState_SetEvalFrameFunc(interpreter_, before);
  }
  ~Unwatched() {
    if (interpreter_ && _PyInterpreterState_GetEvalFrameFunc(interpreter_) == before)
      _PyInterpreterState_SetEvalFrameFunc(interpreter_, evaluate);
  }
  Unwatched(const Unwatched&) = delete;

 private:
  PyInterpreterState* interpreter_;
};

PyObject* evaluate(PyThreadState* thread, _PyInterpreterFrame* frame, int throwing) {
  if (!follower || silent) return before(thread, frame, throwing);
  PyObject* code = reinterpret_cast<PyObject*>(frame->f_code);
  void* known = nullptr;
  _PyCode_GetExtra(code, mark_index, &known);
  uintptr_t mark = reinterpret_cast<uintptr_t>(known);
  if (mark == kLeave || throwing || thread->tracing) return before(thread, frame, throwing);
  if (mark == kUnknown) {
    if (handles_signal(frame)) return before(thread, frame, throwing);
    Ref said = ask(frame, frame->owner == FRAME_OWNED_BY_GENERATOR);
    if (!said) return nullptr;
    if (said.get() == Py_None) return before(thread, frame, throwing);
    if (!PyBool_Check(said.get())) return call_with_arguments(said.get(), frame);
    mark = said.get() == Py_True ? kLeaveAll : kLeave;
    if (_PyCode_SetExtra(code, mark_index, reinterpret_cast<void*>(mark)) < 0) return nullptr;
  }
  if (mark == kLeave) return before(thread, frame, throwing);
  Silence silence;
  Unwatched unwatched(thread->interp);
  return before(thread, frame, throwing);
}

void start() {
  if (following++) return;
  if (mark_index < 0) mark_index = _PyEval_RequestCodeExtraIndex(nullptr);
  if (mark_index < 0) return;  // all places in code objects are taken
  PyInterpreterState* interpreter = PyInterpreterState_Get();
  _PyFrameEvalFunction now = _PyInterpreterState_GetEvalFrameFunc(interpreter);
  if (now == evaluate || (buried && now != before)) return;
  buried = false;
  before = now;
  _PyInterpreterState_SetEvalFrameFunc(interpreter, evaluate);
}

void stop() {
  if (--following || mark_index < 0) return;
  PyInterpreterState* interpreter = PyInterpreterState_Get();
  if (_PyInterpreterState_GetEvalFrameFunc(interpreter) == evaluate)
    _PyInterpreterState_SetEvalFrameFunc(interpreter, before);
  else
    buried = true;
}

#else

void start() {}
void stop() {}

#endif

// follow_calls(follower): see below.
PyObject* follow_calls(PyObject*, PyObject* next) {
  PyObject* old = follower;
  if (next != Py_None && !old) start();
  if (next == Py_None && old) stop();
  follower = next == Py_None ? nullptr : Ref::borrow(next).release();
  return old ? old : Ref::borrow(Py_None).release();
}

PyMethodDef functions[] = {
    {"follow_calls", follow_calls, METH_O,
     "follow_calls(follower): ask it about Python functions that begin in this thread; returns the one before, None "
     "for none. "
     "follower(function, resumed) gives what to call instead, None to leave this call alone, False to leave every "
     "function of "
     "this code alone, True also what it calls."},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

void bind_frames(PyObject* module) { check_status(PyModule_AddFunctions(module, functions)); }

}  // namespace dg
