"""Which dtypes an operator takes, in which it computes and which comes out: PyTorch's promotion rules.

Operands fall in three classes, and a higher one decides unless a lower one is of a higher kind (bool < integer < float):
tensors with dimensions, 0-d tensors, Python numbers (weak). 16-bit floats compute in float32 and round once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from duograph import _core as core
from duograph.errors import DTypeError

if TYPE_CHECKING:
    from duograph._core import DType

DIMENSIONED, ZERO_DIMENSIONAL, WEAK = range(3)


class OperandType:
    """What the rules look at: a dtype and the operand's class."""

    __slots__ = ("dtype", "rank_class")  # plain classes: named tuples cost the import of the package milliseconds

    def __init__(self, dtype: DType, rank_class: int) -> None:
        self.dtype = dtype
        self.rank_class = rank_class


class Signature:
    """The dtype that operands are converted to, and the result's."""

    __slots__ = ("compute", "result")

    def __init__(self, compute: DType, result: DType) -> None:
        self.compute = compute
        self.result = result


class Rule:
    """A dtype rule: `decide(name, operand types)`, for the operands called `names` (all tensor operands if None)."""

    __slots__ = ("decide", "names", "title")

    def __init__(
        self, title: str, decide: Callable[[str, Sequence[OperandType]], Signature], names: tuple[str, ...] | None = None
    ) -> None:
        self.title = title
        self.decide = decide
        self.names = names

    def on(self, *names: str) -> Rule:
        """The same rule for some of the operands only; the others keep their dtypes."""
        return Rule(self.title, self.decide, names)


def weak_dtype(value: object) -> DType:
    """The dtype in which a Python number arrives."""
    if isinstance(value, bool):
        return core.bool
    return core.int64 if isinstance(value, int) else core.float64


def compute_dtype(dtype: DType) -> DType:
    """Where arithmetic on `dtype` happens: 16-bit floats in float32."""
    return core.float32 if dtype.is_floating_point and dtype.itemsize == 2 else dtype


def _join(name: str, a: DType, b: DType) -> DType:
    joined = core.promote(a, b)
    if joined is None:
        raise DTypeError(f"{name}: {a.name} and {b.name} do not promote to one dtype", hint="convert one with .to(dtype)")
    return joined


def _combine(name: str, higher: DType | None, lower: DType | None) -> DType | None:
    if higher is None or lower is None:
        return higher if lower is None else lower
    if higher.kind == "f":
        return higher
    if higher.kind == "b" or lower.kind == "f":
        return _join(name, higher, lower)
    return higher


def result_type(name: str, operands: Sequence[OperandType]) -> DType:
    """The dtype that operands promote to, as `torch.result_type`.

    Errors: DTypeError for pairs that no dtype holds both of, as uint64 and a signed integer.
    """
    classes: list[DType | None] = [None, None, None]
    for operand in operands:
        dtype = operand.dtype
        if operand.rank_class == WEAK and dtype.kind == "f":
            dtype = core.get_default_dtype()
        seen = classes[operand.rank_class]
        classes[operand.rank_class] = dtype if seen is None else _join(name, seen, dtype)
    joined = _combine(name, classes[DIMENSIONED], _combine(name, classes[ZERO_DIMENSIONAL], classes[WEAK]))
    assert joined is not None, "an operator without operands has no result type"
    return joined


def _names(operands: Sequence[OperandType]) -> str:
    return ", ".join(o.dtype.name for o in operands)


def _promote(name: str, operands: Sequence[OperandType]) -> Signature:
    result = result_type(name, operands)
    return Signature(compute_dtype(result), result)


def _numeric(name: str, operands: Sequence[OperandType]) -> Signature:
    result = result_type(name, operands)
    if result.kind == "b":
        raise DTypeError(f"{name}: not defined for bool", hint="use logical operators, or convert with .to(dg.int64)")
    return Signature(compute_dtype(result), result)


def _counting(name: str, operands: Sequence[OperandType]) -> Signature:
    result = result_type(name, operands)
    return Signature(compute_dtype(result), result) if result.kind != "b" else Signature(core.int64, core.int64)


def _no_bool(name: str, operands: Sequence[OperandType]) -> Signature:
    if any(o.dtype.kind == "b" for o in operands):
        raise DTypeError(f"{name}: not defined for bool, got {_names(operands)}", hint="use ^ or logical_xor, or convert first")
    return _promote(name, operands)


def _float_promote(name: str, operands: Sequence[OperandType]) -> Signature:
    result = result_type(name, operands)
    if result.kind != "f":
        result = core.get_default_dtype()
    return Signature(compute_dtype(result), result)


def _double_compute(name: str, operands: Sequence[OperandType]) -> Signature:
    return Signature(core.float64, _float_promote(name, operands).result)


def _doubles(name: str, operands: Sequence[OperandType]) -> Signature:
    return Signature(core.float64, core.float64)


def _wide_floats(name: str, operands: Sequence[OperandType]) -> Signature:
    signature = _floats(name, operands)
    if signature.result.itemsize == 2:
        raise DTypeError(f"{name}: takes float32 and float64, got {_names(operands)}", hint="convert with .float()")
    return signature


def _floats(name: str, operands: Sequence[OperandType]) -> Signature:
    result = result_type(name, operands)
    if result.kind != "f":
        raise DTypeError(
            f"{name}: needs a floating-point dtype, got {_names(operands)}", hint="convert with .float() or .to(dg.float32)"
        )
    return Signature(compute_dtype(result), result)


def _floats_of_first(name: str, operands: Sequence[OperandType]) -> Signature:
    first, rest = operands[0].dtype, operands[1:]
    if first.kind == "f" and first.itemsize == 2 and all(o.dtype is core.float32 for o in rest):
        return Signature(core.float32, first)
    if first.kind != "f":
        raise DTypeError(f"{name}: needs a floating-point dtype, got {first.name}", hint="convert with .float()")
    return _floats(name, operands)


def _floats_like_first(name: str, operands: Sequence[OperandType]) -> Signature:
    first, rest = operands[0].dtype, operands[1:]
    if first.itemsize != 2 or any(o.dtype is not core.float32 for o in rest):
        _require_same(name, operands)
    return _floats_of_first(name, operands)


def _one_float(name: str, operands: Sequence[OperandType]) -> Signature:
    _require_same(name, operands)
    return _floats(name, operands)


def _same(name: str, operands: Sequence[OperandType]) -> Signature:
    _require_same(name, operands)
    result = operands[0].dtype
    if result.kind == "b":
        raise DTypeError(f"{name}: not defined for bool", hint="convert with .float() or .long()")
    return Signature(compute_dtype(result), result)


def _require_same(name: str, operands: Sequence[OperandType]) -> None:
    strong = [o.dtype for o in operands if o.rank_class != WEAK]
    if any(d is not strong[0] for d in strong):
        raise DTypeError(
            f"{name}: operands must have one dtype, got {', '.join(d.name for d in strong)}", hint="convert one with .to(dtype)"
        )


def _compare(name: str, operands: Sequence[OperandType]) -> Signature:
    return Signature(compute_dtype(result_type(name, operands)), core.bool)


def _integral(name: str, operands: Sequence[OperandType]) -> Signature:
    result = result_type(name, operands)
    if result.kind == "f":
        raise DTypeError(f"{name}: needs integers or bool, got {_names(operands)}")
    return Signature(result, result)


def _integers(name: str, operands: Sequence[OperandType]) -> Signature:
    signature = _integral(name, operands)
    if signature.result.kind == "b":
        raise DTypeError(f"{name}: needs integers, got {_names(operands)}")
    return signature


def _logical(name: str, operands: Sequence[OperandType]) -> Signature:
    return Signature(core.bool, core.bool)


def _accumulate(name: str, operands: Sequence[OperandType]) -> Signature:
    result = result_type(name, operands)
    if result.kind != "f":
        result = core.int64
    return Signature(compute_dtype(result), result)


promote = Rule("promote", _promote)
numeric = Rule("promote; bool is rejected", _numeric)
counting = Rule("promote; bool becomes int64", _counting)
no_bool = Rule("promote; no operand may be bool", _no_bool)
float_promote = Rule("floats promote, integers become the default float", _float_promote)
floats = Rule("floats promote, others are rejected", _floats)
floats_of_first = Rule("floats promote, others are rejected; to 16-bit floats with float32 parameters", _floats_of_first)
one_float = Rule("one float", _one_float)
floats_like_first = Rule("one float; 16-bit floats also with float32 parameters", _floats_like_first)
wide_floats = Rule("float32 and float64 promote, others are rejected", _wide_floats)
double_compute = Rule("floats promote, integers become the default float; computed in float64", _double_compute)
doubles = Rule("any, result float64", _doubles)
same = Rule("one dtype, not bool", _same)
compare = Rule("promote, result bool", _compare)
integral = Rule("integers and bool", _integral)
integers = Rule("integers", _integers)
logical = Rule("any, result bool", _logical)
accumulate = Rule("floats promote, integers and bool become int64", _accumulate)
