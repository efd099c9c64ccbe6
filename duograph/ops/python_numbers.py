"""Arithmetic on tensors that stand for Python numbers: a run ends where Python would raise."""

from __future__ import annotations

import math
from typing import Any

from duograph import _core as core
from duograph.ir.builder import current
from duograph.ir.graph import Value
from duograph.ir.types import TensorType

PYTHON_RAISES = ("div", "floordiv", "mod", "pow")


def python_raises(primitive: str, a: Value, b: Value) -> Value:
    """The second of two float operands; the run ends where Python has no result, or a complex one."""
    base, exponent = _constant(a), _constant(b)
    if primitive != "pow":
        return b if exponent else _demanded("divisor", b, _compare("ne", b, 0.0))
    if (base is not None and base > 0) or (exponent is not None and exponent >= 0 and exponent == math.floor(exponent)):
        return b
    if exponent is None or exponent < 0:
        b = _demanded("divisor", b, _logical("logical_or", _compare("ne", a, 0.0), _not(_compare("lt", b, 0.0))))
    if base is None or base < 0:
        negative = _logical("logical_and", _compare("lt", a, 0.0), _compare("gt", a, -math.inf))
        broken = _logical("logical_and", _compare("ne", _emit("floor", b.type, b), b), _compare("eq", b, b))
        b = _demanded("real", b, _not(_logical("logical_and", negative, broken)))
    return b


def real_base(number: Value) -> Value:
    """A float of which the run takes a root; it ends where that is complex."""
    negative = _logical("logical_and", _compare("lt", number, 0.0), _compare("gt", number, -math.inf))
    return _demanded("real", number, _not(negative))


def bounded(result: Value, *operands: Value) -> Value:
    """A power of floats; the run ends where it is beyond the largest float."""
    exponent = _constant(operands[1]) if len(operands) > 1 else None
    if exponent is not None and abs(exponent) <= 1:
        return result
    beyond = _compare("eq", _emit("abs", result.type, result), math.inf)
    for operand in operands:
        if _constant(operand) is None:
            beyond = _logical("logical_and", beyond, _compare("ne", _emit("abs", operand.type, operand), math.inf))
    return _demanded("bounded", result, _not(beyond))


def _constant(value: Value) -> float | None:
    """The number that a value always is, if it is known."""
    while value.node is not None and value.node.op in ("cast", "broadcast"):
        value = value.node.inputs[0]
    if value.node is None or value.node.op != "constant":
        return None
    return float(value.node.attrs["value"])


def _emit(op: str, type_: TensorType, *operands: Value) -> Value:
    return current().emit(op, operands, {}, [type_])[0]


def _like(value: Value, number: float) -> Value:
    return current().constant(number, value.type.dtype, value.type.shape)


def _bool(value: Value) -> TensorType:
    return TensorType(core.bool, value.type.shape)


def _compare(op: str, a: Value, b: Any) -> Value:
    return _emit(op, _bool(a), a, b if isinstance(b, Value) else _like(a, b))


def _logical(op: str, a: Value, b: Value) -> Value:
    return _emit(op, _bool(a), a, b)


def _not(value: Value) -> Value:
    return _emit("logical_not", _bool(value), value)


def _demanded(what: str, number: Value, holds: Value) -> Value:
    """The number, where the condition holds: what it is multiplied with is 1 there, and else ends the run."""
    one = _emit("where", number.type, holds, _like(number, 1.0), _like(number, 0.0))
    return _emit("mul", number.type, number, _emit(what, number.type, one))
