"""Primitives that work on each element by itself."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from duograph import _core as core
from duograph.ir.graph import Node
from duograph.ir.primitives import DEMANDS

from .names import numpy_type
from .table import exports
from .writer import Writer

_BINARY = {
    "add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "eq": "Equal", "lt": "Less", "le": "LessOrEqual", "gt": "Greater",
    "ge": "GreaterOrEqual", "pow": "Pow", "maximum": "Max", "minimum": "Min", "logical_and": "And", "logical_or": "Or",
    "logical_xor": "Xor", "where": "Where",
}  # fmt: skip
_UNARY = {
    "neg": "Neg", "abs": "Abs", "sign": "Sign", "floor": "Floor", "ceil": "Ceil", "round": "Round", "sqrt": "Sqrt",
    "reciprocal": "Reciprocal", "exp": "Exp", "log": "Log", "sin": "Sin", "cos": "Cos", "tan": "Tan", "tanh": "Tanh",
    "erf": "Erf", "asin": "Asin", "acos": "Acos", "atan": "Atan", "sinh": "Sinh", "cosh": "Cosh", "asinh": "Asinh",
    "acosh": "Acosh", "atanh": "Atanh", "logical_not": "Not", "isnan": "IsNaN",
}  # fmt: skip
_SMALL = ("int8", "int16", "uint8", "uint16")  # runtimes leave these out of most operators


def _kind(node: Node) -> str:
    return str(node.inputs[-1].dtype.kind)


@exports(*_BINARY)
def binary(w: Writer, node: Node) -> None:
    names = w.together(node.inputs, node.output.shape)
    dtype = node.inputs[-1].dtype
    if node.op == "where" and dtype.kind == "b":
        kept, other = w.emit("And", names[:2]), w.emit("And", [w.emit("Not", names[:1]), names[2]])
        w.set(node.output, w.emit("Or", [kept, other]))
        return
    ordered = node.op in ("lt", "le", "gt", "ge", "maximum", "minimum")
    if (dtype.name in _SMALL and node.op != "where") or (dtype.kind == "b" and ordered):
        names = [w.cast(name, core.int32) for name in names]
        made = w.emit(_BINARY[node.op], names)
        w.set(node.output, made if node.output.dtype.kind == "b" and dtype.kind != "b" else w.cast(made, node.output.dtype))
        return
    if node.op.startswith("logical") and dtype.kind != "b":
        names = [w.cast(name, core.bool) for name in names]
    w.set(node.output, w.emit(_BINARY[node.op], names))


def _unary(w: Writer, node: Node, made: Any) -> None:
    """The result of a function of one operand, which stays as small as that is until it must be stretched."""
    ref = w.ref(node.inputs[0])
    w.set(node.output, made(ref.name), ref.shape)


@exports(*_UNARY)
def unary(w: Writer, node: Node) -> None:
    dtype = node.inputs[0].dtype
    if node.op == "logical_not" and dtype.kind != "b":
        _unary(w, node, lambda x: w.emit("Not", [w.cast(x, core.bool)]))
    elif node.op == "isnan" and dtype.kind != "f":
        _unary(w, node, lambda x: w.emit("And", [w.cast(x, core.bool), w.number(False, core.bool)]))
    else:
        _unary(w, node, lambda x: w.emit(_UNARY[node.op], [x]))


@exports("copy", *DEMANDS)
def same(w: Writer, node: Node) -> None:
    ref = w.ref(node.inputs[0])
    if node.op != "copy":
        w.model.dropped.append(f"{node.op}: {DEMANDS[node.op].words}")
    w.set(node.output, ref.name, ref.shape)


@exports("ne")
def not_equal(w: Writer, node: Node) -> None:
    binary_as = w.together(node.inputs, node.output.shape)
    w.set(node.output, w.emit("Not", [w.emit("Equal", binary_as)]))


@exports("cast")
def cast(w: Writer, node: Node) -> None:
    value, dtype = node.inputs[0], node.output.dtype
    known = w.known(value)
    if known is not None and known.size <= 64:
        w.constants[node.output] = known.astype(numpy_type(dtype))
    elif value.dtype is dtype:
        _unary(w, node, lambda x: x)
    else:
        _unary(w, node, lambda x: w.cast(x, dtype))


@exports("constant")
def constant(w: Writer, node: Node) -> None:
    value, dtype = node.attrs["value"], numpy_type(node.output.dtype)
    if isinstance(value, bytes):
        w.constants[node.output] = np.frombuffer(value, dtype).reshape([int(x) for x in node.output.shape])
    else:
        w.constants[node.output] = np.asarray(value).astype(dtype)
        if tuple(node.output.shape):
            w.ref(node.output)


@exports("rsqrt")
def rsqrt(w: Writer, node: Node) -> None:
    _unary(w, node, lambda x: w.emit("Reciprocal", [w.emit("Sqrt", [x])]))


@exports("trunc")
def trunc(w: Writer, node: Node) -> None:
    _unary(w, node, lambda x: _trunc(w, x, node.output.dtype))


def _trunc(w: Writer, x: str, dtype: Any) -> str:
    return w.emit("Mul", [w.emit("Sign", [x]), w.emit("Floor", [w.emit("Abs", [x])])])


@exports("exp2")
def exp2(w: Writer, node: Node) -> None:
    _unary(w, node, lambda x: w.emit("Pow", [w.number(2.0, node.output.dtype), x]))


@exports("log2")
def log2(w: Writer, node: Node) -> None:
    _unary(w, node, lambda x: w.emit("Mul", [w.emit("Log", [x]), w.number(1 / math.log(2), node.output.dtype)]))


@exports("log1p")
def log1p(w: Writer, node: Node) -> None:
    """log(u) · x / (u − 1) with u = 1 + x: what rounding u has lost cancels out."""

    def made(x: str) -> str:
        one = w.number(1.0, node.output.dtype)
        u = w.emit("Add", [x, one])
        lost = w.emit("Sub", [u, one])
        is_plain = w.emit("Or", [w.emit("Equal", [lost, x]), w.emit("IsInf", [u])])
        is_small = w.emit("Equal", [u, one])
        safe = w.emit("Where", [w.emit("Or", [is_plain, is_small]), one, lost])
        log = w.emit("Log", [u])
        better = w.emit("Where", [is_plain, log, w.emit("Div", [w.emit("Mul", [log, x]), safe])])
        return w.emit("Where", [is_small, x, better])

    _unary(w, node, made)


@exports("expm1")
def expm1(w: Writer, node: Node) -> None:
    """tanh(x/2) · (eˣ + 1) where x is small."""

    def made(x: str) -> str:
        dtype = node.output.dtype
        one = w.number(1.0, dtype)
        e = w.emit("Exp", [x])
        half = w.emit("Tanh", [w.emit("Mul", [x, w.number(0.5, dtype)])])
        is_small = w.emit("Less", [w.emit("Abs", [x]), one])
        return w.emit("Where", [is_small, w.emit("Mul", [half, w.emit("Add", [e, one])]), w.emit("Sub", [e, one])])

    _unary(w, node, made)


@exports("fma")
def fma(w: Writer, node: Node) -> None:
    a, b, c = (w.use(x) for x in node.inputs)
    w.set(node.output, w.emit("Add", [w.emit("Mul", [a, b]), c]))


@exports("hypot")
def hypot(w: Writer, node: Node) -> None:
    names = w.together(node.inputs, node.output.shape)
    squares = [w.emit("Mul", [x, x]) for x in names]
    w.set(node.output, w.emit("Sqrt", [w.emit("Add", squares)]))


@exports("mod")
def mod(w: Writer, node: Node) -> None:
    a, b = w.together(node.inputs, node.output.shape)
    w.set(node.output, modulo(w, a, b, node.output.dtype))


def modulo(w: Writer, a: str, b: str, dtype: Any) -> str:
    """The remainder with the sign of the divisor."""
    if dtype.kind != "f":
        return w.emit("Mod", [a, b])
    rest, zero = w.emit("Mod", [a, b], fmod=1), w.number(0, dtype)
    signs = [w.emit("Less", [x, zero]) for x in (rest, b)]
    wrong = w.emit("And", [w.emit("Xor", signs), w.emit("Not", [w.emit("Equal", [rest, zero])])])
    return w.emit("Where", [wrong, w.emit("Add", [rest, b]), rest])


@exports("fmod")
def fmod(w: Writer, node: Node) -> None:
    w.set(node.output, w.emit("Mod", w.together(node.inputs, node.output.shape), fmod=1))


@exports("floordiv")
def floordiv(w: Writer, node: Node) -> None:
    a, b = w.together(node.inputs, node.output.shape)
    dtype = node.output.dtype
    exact = w.emit("Div", [w.emit("Sub", [a, modulo(w, a, b, dtype)]), b])
    w.set(node.output, w.emit("Round", [exact]) if dtype.kind == "f" else exact)


_BITS = {"bit_and": "BitwiseAnd", "bit_or": "BitwiseOr", "bit_xor": "BitwiseXor"}
_LOGIC = {"bit_and": "And", "bit_or": "Or", "bit_xor": "Xor"}


@exports(*_BITS)
def bits(w: Writer, node: Node) -> None:
    table = _LOGIC if _kind(node) == "b" else _BITS
    w.set(node.output, w.emit(table[node.op], w.together(node.inputs, node.output.shape)))


@exports("bit_not")
def bit_not(w: Writer, node: Node) -> None:
    _unary(w, node, lambda x: w.emit("Not" if _kind(node) == "b" else "BitwiseNot", [x]))


@exports("shl", "shr")
def shifts(w: Writer, node: Node) -> None:
    """By powers of two in int64: ONNX shifts unsigned numbers only."""
    a, b = (w.cast(name, core.int64) for name in w.together(node.inputs, node.output.shape))
    one = w.cast(w.emit("BitShift", [w.number(1, core.uint64), w.cast(b, core.uint64)], direction="LEFT"), core.int64)
    if node.op == "shl":
        made = w.emit("Mul", [a, one])
    else:
        made = w.emit("Div", [w.emit("Sub", [a, w.emit("Mod", [a, one])]), one])
    w.set(node.output, w.cast(made, node.output.dtype))


@exports("size")
def size(w: Writer, node: Node) -> None:
    w.set(node.output, w.reshape(w.size(node.attrs["value"]), ()))
