"""Primitives that ONNX has no operator for: made of others."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from onnx import helper

from duograph import _core as core
from duograph.ir.graph import Node

from .names import element_type
from .reductions import reduced
from .table import exports
from .writer import Writer


class Terms:
    """Arithmetic on names of one dtype: numbers become constants."""

    def __init__(self, w: Writer, dtype: Any) -> None:
        self.w = w
        self.dtype = dtype

    def __call__(self, op: str, *operands: str | float) -> str:
        return self.w.emit(op, [x if isinstance(x, str) else self.w.number(x, self.dtype) for x in operands])

    def polynomial(self, x: str, coefficients: Sequence[float]) -> str:
        """By Horner's rule, the highest power first."""
        made: str | float = coefficients[0]
        for coefficient in coefficients[1:]:
            made = self("Add", self("Mul", made, x), coefficient)
        assert isinstance(made, str)
        return made


def _in_double(w: Writer, node: Node, made: Callable[[Terms, str], str]) -> None:
    """A function of one operand, computed in float64."""
    ref = w.ref(node.inputs[0])
    is_double = node.output.dtype.name == "float64"
    result = made(Terms(w, core.float64), ref.name if is_double else w.cast(ref.name, core.float64))
    w.set(node.output, result if is_double else w.cast(result, node.output.dtype), ref.shape)


_ERFC = (0.17087277, -0.82215223, 1.48851587, -1.13520398, 0.27886807, -0.18628806, 0.09678418, 0.37409196, 1.00002368,
         -1.26551223)  # fmt: skip


@exports("erfc")
def erfc(w: Writer, node: Node) -> None:
    """t · exp(−x² + a polynomial of t = 1 / (1 + |x|/2)), to 1.2e-7 of the value (Press et al., Numerical Recipes, 6.2)."""

    def made(f: Terms, x: str) -> str:
        size = f("Abs", x)
        t = f("Reciprocal", f("Add", f("Mul", size, 0.5), 1.0))
        power = f("Sub", f.polynomial(t, _ERFC), f("Mul", size, size))
        tail = f("Mul", t, f("Exp", power))
        return f("Where", f("Less", x, 0.0), f("Sub", 2.0, tail), tail)

    _in_double(w, node, made)


_CENTRAL = (2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503, -0.00417768164,
            0.246640727, 1.50140941)  # fmt: skip
_TAIL = (-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613, 0.00943887047, 1.00167406,
         2.83297682)  # fmt: skip


@exports("erfinv")
def erfinv(w: Writer, node: Node) -> None:
    """Giles, Approximating the erfinv function (2010): polynomials of log(1 − x²)."""

    def made(f: Terms, x: str) -> str:
        z = f("Neg", f("Log", f("Mul", f("Sub", 1.0, x), f("Add", x, 1.0))))
        centre = f.polynomial(f("Sub", z, 2.5), _CENTRAL)
        tail = f.polynomial(f("Sub", f("Sqrt", z), 3.0), _TAIL)
        found = f("Mul", f("Where", f("Less", z, 5.0), centre, tail), x)
        at_end = f("Equal", f("Abs", x), 1.0)
        return f("Where", at_end, f("Mul", x, math.inf), found)

    _in_double(w, node, made)


_LANCZOS = (676.5203681218851, -1259.1392167224028, 771.3234287776531, -176.6150291621406, 12.507343278686905,
            -0.13857109526572012, 9.984369578019572e-6, 1.5056327351493116e-7)  # fmt: skip


@exports("lgamma")
def lgamma(w: Writer, node: Node) -> None:
    """Lanczos' series (g = 7, 9 terms), reflected below 1/2."""

    def made(f: Terms, x: str) -> str:
        is_low = f("Less", x, 0.5)
        z = f("Sub", f("Where", is_low, f("Sub", 1.0, x), x), 1.0)
        total: str | float = 0.99999999999980993
        for i, term in enumerate(_LANCZOS):
            total = f("Add", total, f("Div", term, f("Add", z, float(i + 1))))
        t = f("Add", z, 7.5)
        power = f("Sub", f("Mul", f("Add", z, 0.5), f("Log", t)), t)
        plain = f("Add", f("Add", power, 0.5 * math.log(2 * math.pi)), f("Log", total))
        sine = f("Abs", f("Sin", f("Mul", f("Sub", x, f("Floor", x)), math.pi)))
        reflected = f("Sub", f("Log", f("Div", math.pi, sine)), plain)
        found = f("Where", is_low, reflected, plain)
        return f("Where", f("Equal", f("Abs", x), math.inf), math.inf, found)

    _in_double(w, node, made)


@exports("digamma")
def digamma(w: Writer, node: Node) -> None:
    """The asymptotic series ten steps further up, reflected below 0."""

    def made(f: Terms, x: str) -> str:
        is_low = f("Less", x, 0.0)
        z = f("Where", is_low, f("Sub", 1.0, x), x)
        steps: str | float = 0.0
        for i in range(10):
            steps = f("Add", steps, f("Reciprocal", f("Add", z, float(i))))
        y = f("Add", z, 10.0)
        inverse = f("Reciprocal", f("Mul", y, y))
        series = f.polynomial(inverse, (-1 / 132, 1 / 240, -1 / 252, 1 / 120, -1 / 12, 0.0))
        far = f("Add", f("Sub", f("Log", y), f("Div", 0.5, y)), series)
        plain = f("Sub", far, steps)
        angle = f("Mul", f("Sub", x, f("Floor", x)), math.pi)
        turned = f("Div", f("Mul", f("Cos", angle), math.pi), f("Sin", angle))
        return f("Where", is_low, f("Sub", plain, turned), plain)

    _in_double(w, node, made)


@exports("copysign")
def copysign(w: Writer, node: Node) -> None:
    a, b = w.together(node.inputs, node.output.shape)
    f = Terms(w, node.output.dtype)
    size = f("Abs", a)
    w.set(node.output, f("Where", _is_negative(f, b), f("Neg", size), size))


def _is_negative(f: Terms, x: str) -> str:
    """Whether there is a minus in front, of a zero, too."""
    minus_zero = f("And", f("Equal", x, 0.0), f("Less", f("Reciprocal", x), 0.0))
    return f("Or", f("Less", x, 0.0), minus_zero)


@exports("atan2")
def atan2(w: Writer, node: Node) -> None:
    y, x = (w.use(value) for value in node.inputs)
    f = Terms(w, node.output.dtype)
    both = f("And", f("IsInf", x), f("IsInf", y))
    a, b = f("Abs", y), f("Abs", x)
    ratio = f("Where", f("Or", both, f("And", f("Equal", x, 0.0), f("Equal", y, 0.0))), f("Min", a, 1.0), f("Div", a, b))
    angle = f("Atan", ratio)
    turned = f("Where", _is_negative(f, x), f("Sub", math.pi, angle), angle)
    w.set(node.output, f("Where", _is_negative(f, y), f("Neg", turned), turned))


@exports("exponent", "mantissa")
def parts_of_floats(w: Writer, node: Node) -> None:
    """x = mantissa · 2^exponent with a mantissa from [0.5, 1)."""

    def made(f: Terms, x: str) -> str:
        size = f("Abs", x)
        is_plain = f("And", f("Greater", size, 0.0), f("Less", size, math.inf))
        safe = f("Where", is_plain, size, 1.0)
        guess = f("Floor", f("Mul", f("Log", safe), 1 / math.log(2)))
        scale = f("Pow", 2.0, guess)
        up = f("GreaterOrEqual", f("Div", safe, scale), 2.0)
        down = f("Less", safe, scale)
        power = f("Sub", f("Add", guess, f("Where", up, 1.0, 0.0)), f("Where", down, 1.0, 0.0))
        exponent = f("Add", power, 1.0)
        if node.op == "exponent":
            return f("Where", is_plain, exponent, 0.0)
        return f("Where", is_plain, f("Div", x, f("Pow", 2.0, exponent)), x)

    _in_double(w, node, made)


@exports("gcd")
def gcd(w: Writer, node: Node) -> None:
    """Euclid's algorithm on all elements, until the last one is done."""
    shape = node.output.shape
    start = [w.emit("Abs", [w.cast(w.use(value), core.int64)]) for value in node.inputs]
    inner = w.inner()
    a, b, turn, going = (inner.fresh(name) for name in ("a", "b", "turn", "going"))
    zero = inner.number(0, core.int64)
    is_done = inner.emit("Equal", [b, zero])
    rest = inner.emit("Mod", [a, inner.emit("Where", [is_done, inner.number(1, core.int64), b])])
    after = [inner.emit("Where", [is_done, a, b]), inner.emit("Where", [is_done, b, rest])]
    flat = inner.emit("Concat", [inner.emit("Reshape", [after[1], inner.numbers([-1])]), inner.numbers([0])], axis=0)
    more = inner.emit("Greater", [reduced(inner, "max", flat, [0]), zero])

    def info(name: str, dtype: Any, rank: int) -> Any:
        return helper.make_tensor_value_info(name, element_type(dtype), [None] * rank)

    inputs = [info(turn, core.int64, 0), info(going, core.bool, 0), *(info(x, core.int64, len(shape)) for x in (a, b))]
    outputs = [info(more, core.bool, 0), *(info(x, core.int64, len(shape)) for x in after)]
    body = helper.make_graph(inner.finish([more, *after]), "euclid", inputs, outputs)
    found = w.emit_several("Loop", ["", w.number(True, core.bool), *start], 2, body=body)[0]
    w.set(node.output, found if node.output.dtype.name == "int64" else w.cast(found, node.output.dtype))
