"""Reading a tensor's value while a static function is captured: there is none yet, only a number that the run will know."""

from __future__ import annotations

import inspect
from typing import Any

from duograph import _core as core
from duograph._recorded import state
from duograph._stack import user_frame, user_location
from duograph.errors import CaptureError, refusals
from duograph.ir.builder import active, current

from ..conversion.convert import is_own
from .asked import list_of, number_of, stands_for_number

_WHAT = {
    "bool": "the truth of a tensor decides here what Python does",
    "__bool__": "the truth of a tensor decides here what Python does",
    "numpy": "NumPy wants a tensor's values here",
    "__array__": "NumPy wants a tensor's values here",
    "format": "a tensor's values are to become text here",
    "hash": "a number made of a tensor's values is looked up here",
    "repr": "a tensor's values are to become text here",
}


def value_read(tensor: Any, what: str) -> Any:
    """Hook of the core: `what` ("bool", "item", "hash", …) was asked of a tensor while a graph is recorded."""
    if state.recorder is None and tensor._traced is None:  # an operator is being compiled: its constants are real
        return _really(tensor, what)
    if what == "hash":
        if state.recorder is None or not stands_for_number(tensor):
            return None
    elif what in ("item", "tolist") and _in_converted_code():
        found = number_of(tensor) if what == "item" else list_of(tensor)
        if found is not None:
            return found
    reason = _WHAT.get(what, f"{what}() reads a tensor's value here")
    spec = f"{tensor.dtype.name}[{', '.join(map(str, tensor.shape))}]"
    branch = what in ("bool", "__bool__")
    if active() and current().refusal:
        kind = current().refused if branch else CaptureError
        raise kind(f"{current().name}: {reason} ({spec})", hint=current().refusal, location=user_location())
    bound = state.recorder is not None and state.recorder.single_path and what in ("int", "index", "__int__", "__index__")
    error = CaptureError(
        f"static: {reason}, but while a static graph is captured there is no value yet ({spec})",
        hint=_way_out()
        if branch
        else "compare it with ==, which may decide; or leave this function dynamic"
        if what == "hash"
        else "use dg.static, where tensors may bound a loop"
        if bound
        else "return the tensor and read it outside, or leave this function dynamic",
        location=user_location(),
    )
    if refusals.found is not None and _debugged():  # the program did not ask
        refusals.found.remove(error)
    raise error


def _debugged() -> bool:
    """Whether a debugger asks, between two lines of the program."""
    frame = user_frame()
    while frame is not None and not is_own(frame.f_code):
        if frame.f_globals.get("__name__") == "bdb":
            return True
        frame = frame.f_back
    return False


def _in_converted_code() -> bool:
    frame = user_frame()  # a debugger's, say, wants the number now
    return frame is not None and is_own(frame.f_code)


def _way_out() -> str:
    """What to do where a tensor's truth is asked for by code whose control flow is not captured."""
    frame = user_frame()
    if frame is not None and frame.f_code.co_flags & (inspect.CO_GENERATOR | inspect.CO_COROUTINE):
        return "in a generator only Python decides: make it a function that returns a list, or use where"
    if state.recorder is not None and state.recorder.single_path:
        return "use dg.static, which captures both ways"
    if frame is not None and is_own(frame.f_code):
        return "ask in an `if`, a `while`, a conditional expression or by `and`, `or`, `not`: those are captured both ways"
    return "use dg.static, which captures both ways, on a function whose source is in a file"


def _really(tensor: Any, what: str) -> Any:
    old = core.set_tracing(False)
    try:
        value = tensor.tolist() if what == "tolist" else tensor.item()
    finally:
        core.set_tracing(old)
    return bool(value) if "bool" in what else float(value) if "float" in what else int(value) if "int" in what else value
