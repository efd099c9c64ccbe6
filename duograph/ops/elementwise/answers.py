"""What functions give that answer yes or no: a bool, or in a capture a tensor that stands for one."""

from __future__ import annotations

from typing import Any

from duograph import _core as core
from duograph._recorded import state
from duograph.ir.builder import current
from duograph.ir.types import TensorType

from ..tracing import to_bool, wrap


def answer(truth: Any) -> Any:
    """The truth of a tensor with one element, for Python: what a captured `if` can ask."""
    if state.recorder is None or state.recorder.single_path:
        return bool(truth)
    builder = current()
    value = to_bool(builder.read(truth))
    for weak in (False, True):
        value = builder.emit("logical_not", [value], {}, [TensorType(core.bool, value.type.shape, weak=weak)])[0]
    return wrap(value)
