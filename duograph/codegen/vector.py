"""Typed vectors over the text builder: what elementary functions and loop bodies are written in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from duograph.codegen.llvm import Function, Value, float_literal, mangle
from duograph.codegen.target import Target

_FLOAT_BITS = {"float": "i32", "double": "i64"}
_MANTISSA = {"float": 23, "double": 52}


class Vec(NamedTuple):
    """``lanes`` values of LLVM type ``element``; ``ref`` is a name or a literal."""

    ref: str
    element: str
    lanes: int

    @property
    def type(self) -> str:
        return f"<{self.lanes} x {self.element}>"


class Vectors:
    """Vector instructions at one width. Scalars are vectors of one lane.

    Nothing here becomes a library call on any target: what lacks an instruction is spelled out.
    """

    def __init__(self, function: Function, target: Target, lanes: int) -> None:
        self.function = function
        self.target = target
        self.lanes = lanes

    def narrowed(self, lanes: int) -> Vectors:
        return Vectors(self.function, self.target, lanes)

    # ---- constants, conversions between widths ----

    def const(self, element: str, value: float) -> Vec:
        if element in _FLOAT_BITS:
            literal = float_literal(value, element)
        elif element == "i1":
            literal = "true" if value else "false"
        else:
            bits = int(element[1:])
            literal = str((int(value) + (1 << (bits - 1))) % (1 << bits) - (1 << (bits - 1)))
        return Vec(f"splat ({element} {literal})", element, self.lanes)

    def like(self, value: Vec, constant: float) -> Vec:
        """A constant of the type of ``value``."""
        return self.const(value.element, constant)

    def splat(self, element: str, scalar: Value) -> Vec:
        if element == "i1" and self.lanes > 1 and self.target.masks and isinstance(scalar, str) and scalar.startswith("%"):
            bits = self.function.op(f"sext i1 {scalar} to i{self.lanes}")  # LLVM shuffles mask registers bit by bit
            return Vec(self.function.op(f"bitcast i{self.lanes} {bits} to <{self.lanes} x i1>"), element, self.lanes)
        return Vec(self.function.splat(self.lanes, element, scalar), element, self.lanes)

    def widen(self, value: Vec) -> Vec:
        """A one-lane vector repeated in all lanes."""
        if value.lanes == self.lanes:
            return value
        if value.ref.startswith("splat"):
            return Vec(value.ref, value.element, self.lanes)
        if value.element == "i1":
            return self.splat("i1", self.extract(value))
        mask = f"<{self.lanes} x i32> zeroinitializer"
        ref = self.function.op(f"shufflevector {value.type} {value.ref}, {value.type} poison, {mask}")
        return Vec(ref, value.element, self.lanes)

    def extract(self, value: Vec, lane: Value = 0) -> str:
        return self.function.op(f"extractelement {value.type} {value.ref}, i64 {lane}")

    def shuffle(self, a: Vec, b: Vec | None, indices: Sequence[int]) -> Vec:
        other = b.ref if b else "poison"
        mask = ", ".join(f"i32 {i}" for i in indices)
        ref = self.function.op(f"shufflevector {a.type} {a.ref}, {a.type} {other}, <{len(indices)} x i32> <{mask}>")
        return Vec(ref, a.element, len(indices))

    def iota(self, element: str) -> Vec:
        values = ", ".join(f"{element} {i}" for i in range(self.lanes))
        return Vec(f"<{values}>", element, self.lanes)

    # ---- plain instructions ----

    def binary(self, op: str, a: Vec, b: Vec) -> Vec:
        return Vec(self.function.op(f"{op} {a.type} {a.ref}, {b.ref}"), a.element, a.lanes)

    def convert(self, op: str, value: Vec, element: str) -> Vec:
        """sext, zext, trunc, fpext, fptrunc, sitofp, uitofp, fptosi, bitcast to another element type."""
        result = f"<{value.lanes} x {element}>"
        return Vec(self.function.op(f"{op} {value.type} {value.ref} to {result}"), element, value.lanes)

    def bits(self, value: Vec) -> Vec:
        return self.convert("bitcast", value, _FLOAT_BITS[value.element])

    def floats(self, value: Vec) -> Vec:
        return self.convert("bitcast", value, "float" if value.element == "i32" else "double")

    def call(self, name: str, *arguments: Vec, element: str | None = None) -> Vec:
        """The intrinsic ``llvm.<name>`` overloaded on the first argument's type (or on result and argument)."""
        first = arguments[0]
        result = f"<{first.lanes} x {element}>" if element else first.type
        suffix = f"{mangle(result)}.{mangle(first.type)}" if element else mangle(first.type)
        ref = self.function.intrinsic(f"llvm.{name}.{suffix}", result, [(a.type, a.ref) for a in arguments])
        return Vec(ref, element or first.element, first.lanes)

    def select(self, condition: Vec, a: Vec, b: Vec) -> Vec:
        ref = self.function.op(f"select {condition.type} {condition.ref}, {a.type} {a.ref}, {b.type} {b.ref}")
        return Vec(ref, a.element, a.lanes)

    def icmp(self, predicate: str, a: Vec, b: Vec) -> Vec:
        return Vec(self.function.op(f"icmp {predicate} {a.type} {a.ref}, {b.ref}"), "i1", a.lanes)

    def bit(self, x: Vec, number: int) -> Vec:
        """Whether a bit is set."""
        return self.icmp("ne", self.and_(x, self.like(x, 1 << number)), self.like(x, 0))

    def fcmp(self, predicate: str, a: Vec, b: Vec) -> Vec:
        return Vec(self.function.op(f"fcmp {predicate} {a.type} {a.ref}, {b.ref}"), "i1", a.lanes)

    def add(self, a: Vec, b: Vec) -> Vec:
        return self.binary("add", a, b)

    def sub(self, a: Vec, b: Vec) -> Vec:
        return self.binary("sub", a, b)

    def mul(self, a: Vec, b: Vec) -> Vec:
        return self.binary("mul", a, b)

    def and_(self, a: Vec, b: Vec) -> Vec:
        return self.binary("and", a, b)

    def or_(self, a: Vec, b: Vec) -> Vec:
        return self.binary("or", a, b)

    def xor(self, a: Vec, b: Vec) -> Vec:
        return self.binary("xor", a, b)

    def not_(self, a: Vec) -> Vec:
        return self.binary("xor", a, self.const(a.element, -1 if a.element != "i1" else 1))

    def shl(self, a: Vec, count: int) -> Vec:
        return self.binary("shl", a, self.like(a, count))

    def lshr(self, a: Vec, count: int) -> Vec:
        return self.binary("lshr", a, self.like(a, count))

    def ashr(self, a: Vec, count: int) -> Vec:
        return self.binary("ashr", a, self.like(a, count))

    def fadd(self, a: Vec, b: Vec) -> Vec:
        return self.binary("fadd", a, b)

    def fsub(self, a: Vec, b: Vec) -> Vec:
        return self.binary("fsub", a, b)

    def fmul(self, a: Vec, b: Vec) -> Vec:
        return self.binary("fmul", a, b)

    def fdiv(self, a: Vec, b: Vec) -> Vec:
        return self.binary("fdiv", a, b)

    def fneg(self, a: Vec) -> Vec:
        return Vec(self.function.op(f"fneg {a.type} {a.ref}"), a.element, a.lanes)

    def fabs(self, a: Vec) -> Vec:
        return self.call("fabs", a)

    def copysign(self, magnitude: Vec, sign: Vec) -> Vec:
        return self.call("copysign", magnitude, sign)

    def sqrt(self, a: Vec) -> Vec:
        return self.call("sqrt", a)

    def fmin(self, a: Vec, b: Vec) -> Vec:
        """``a < b ? a : b``, the machine's minimum: b where either is NaN."""
        return self.select(self.fcmp("olt", a, b), a, b)

    def fmax(self, a: Vec, b: Vec) -> Vec:
        """``a > b ? a : b``, the machine's maximum: b where either is NaN."""
        return self.select(self.fcmp("ogt", a, b), a, b)

    # ---- what some targets lack ----

    def mul_add(self, a: Vec, b: Vec, c: Vec) -> Vec:
        """a * b + c, rounded once where the target can, twice where not: for uses that tolerate both."""
        return self.call("fma", a, b, c) if self.target.fma else self.fadd(self.fmul(a, b), c)

    def fma(self, a: Vec, b: Vec, c: Vec) -> Vec:
        """a * b + c rounded once (float64 without FMA hardware: all but exactly)."""
        if self.target.fma:
            return self.call("fma", a, b, c)
        return self._fma_float(a, b, c) if a.element == "float" else self._fma_double(a, b, c)

    def _fma_float(self, a: Vec, b: Vec, c: Vec) -> Vec:
        # The product is exact in float64; the sum is rounded to odd there, so that the last rounding is right.
        a, b, c = (self.convert("fpext", x, "double") for x in (a, b, c))
        product = self.fmul(a, b)
        total, error = self.two_sum(product, c)
        bits = self.bits(total)
        inexact = self.fcmp("one", error, self.like(error, 0.0))
        even = self.icmp("eq", self.and_(bits, self.like(bits, 1)), self.like(bits, 0))
        # toward the error's side by one unit makes an even last bit odd
        same_sign = self.icmp("sge", self.xor(bits, self.bits(error)), self.like(bits, 0))
        step = self.select(same_sign, self.like(bits, 1), self.like(bits, -1))
        moved = self.select(self.binary("and", inexact, even), self.add(bits, step), bits)
        return self.convert("fptrunc", self.floats(moved), "float")

    def _fma_double(self, a: Vec, b: Vec, c: Vec) -> Vec:
        # near the top of the range everything is scaled down, so that splitting and product do not overflow
        one, down, limit = self.like(a, 1.0), self.like(a, 2.0**-110), self.like(a, 2.0**900)
        big_a, big_b, big_c = (self.fcmp("ogt", self.fabs(x), limit) for x in (a, b, c))
        any_big = self.or_(self.or_(big_a, big_b), big_c)
        b = self.select(big_b, self.fmul(b, down), b)
        a = self.select(self.and_(any_big, self.not_(big_b)), self.fmul(a, down), a)
        c = self.select(any_big, self.fmul(c, down), c)
        product, low = self.two_product(a, b)
        total, error = self.two_sum(product, c)
        corrected = self.fadd(total, self.fadd(error, low))
        # infinities make the correction NaN: keep the plain result there
        result = self.select(self.fcmp("ord", corrected, corrected), corrected, total)
        return self.fmul(result, self.select(any_big, self.like(a, 2.0**110), one))

    def two_sum(self, a: Vec, b: Vec) -> tuple[Vec, Vec]:
        """(s, e) with s = fl(a + b) and s + e = a + b exactly."""
        total = self.fadd(a, b)
        part = self.fsub(total, a)
        return total, self.fadd(self.fsub(a, self.fsub(total, part)), self.fsub(b, part))

    def fast_two_sum(self, a: Vec, b: Vec) -> tuple[Vec, Vec]:
        """`two_sum` for |a| >= |b|."""
        total = self.fadd(a, b)
        return total, self.fsub(b, self.fsub(total, a))

    def two_product(self, a: Vec, b: Vec) -> tuple[Vec, Vec]:
        """(p, e) with p = fl(a * b) and p + e = a * b exactly, barring overflow and underflow."""
        product = self.fmul(a, b)
        if self.target.fma:
            return product, self.call("fma", a, b, self.fneg(product))
        # Dekker: each of these differences is exact
        (ah, al), (bh, bl) = self._split(a), self._split(b)
        rest = self.fsub(self.fsub(self.fsub(product, self.fmul(ah, bh)), self.fmul(al, bh)), self.fmul(ah, bl))
        return product, self.fsub(self.fmul(al, bl), rest)

    def _split(self, a: Vec) -> tuple[Vec, Vec]:
        factor = self.like(a, float(2 ** (12 if a.element == "float" else 27) + 1))
        scaled = self.fmul(a, factor)
        high = self.fsub(scaled, self.fsub(scaled, a))
        return high, self.fsub(a, high)

    def round(self, a: Vec, mode: str) -> Vec:
        """roundeven, floor, ceil or trunc."""
        if self.target.rounding:
            return self.call(mode, a)
        # Adding and taking away 2**mantissa rounds to nearest even; larger magnitudes are whole already.
        magic = self.like(a, float(2 ** _MANTISSA[a.element]))
        size = self.fabs(a)
        nearest = self.fsub(self.fadd(size, magic), magic)
        one, zero = self.like(a, 1.0), self.like(a, 0.0)
        if mode == "trunc":
            nearest = self.fsub(nearest, self.select(self.fcmp("ogt", nearest, size), one, zero))
        nearest = self.copysign(self.select(self.fcmp("olt", size, magic), nearest, size), a)
        if mode == "floor":
            return self.copysign(self.fsub(nearest, self.select(self.fcmp("ogt", nearest, a), one, zero)), a)
        if mode == "ceil":
            return self.copysign(self.fadd(nearest, self.select(self.fcmp("olt", nearest, a), one, zero)), a)
        return nearest

    def polynomial(self, x: Vec, coefficients: Sequence[float]) -> Vec:
        """Horner's rule; coefficients from the highest power down."""
        result = self.like(x, coefficients[0])
        for coefficient in coefficients[1:]:
            result = self.mul_add(result, x, self.like(x, coefficient))
        return result

    def where_any(self, condition: Vec, make: Callable[[], Vec], otherwise: Vec) -> Vec:
        """``select(condition, make(), otherwise)``; the first is computed only if some lane wants it."""
        f = self.function
        before, some, done = f.block, f.label("some"), f.label("done")
        f.cond_br(self.any(condition), some, done)
        f.place(some)
        chosen = self.select(condition, make(), otherwise)
        after = f.block
        f.br(done)
        f.place(done)
        return Vec(f.phi(otherwise.type, [(otherwise.ref, before), (chosen.ref, after)]), otherwise.element, otherwise.lanes)

    def any(self, mask: Vec) -> str:
        """An i1: whether any lane is set."""
        if mask.lanes == 1:
            return self.extract(mask)
        whole = self.function.op(f"bitcast {mask.type} {mask.ref} to i{mask.lanes}")
        return self.function.op(f"icmp ne i{mask.lanes} {whole}, 0")
