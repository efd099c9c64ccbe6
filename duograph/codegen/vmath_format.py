"""What elementary functions need to know of a floating-point format, and scaling by powers of two."""

from __future__ import annotations

from dataclasses import dataclass

from duograph.codegen.vector import Vec, Vectors


@dataclass(frozen=True)
class Format:
    element: str
    integer: str
    mantissa: int
    bias: int

    @property
    def magic(self) -> float:
        """Adding it leaves the nearest whole number in the low bits."""
        return 1.5 * 2.0**self.mantissa

    @property
    def magic_bits(self) -> int:
        return (self.bias + self.mantissa) << self.mantissa | 1 << (self.mantissa - 1)

    @property
    def smallest_normal(self) -> float:
        return 2.0 ** (1 - self.bias)


FLOAT = Format("float", "i32", 23, 127)
DOUBLE = Format("double", "i64", 52, 1023)
INFINITY = float("inf")
NAN = float("nan")


def format_of(x: Vec) -> Format:
    return FLOAT if x.element == "float" else DOUBLE


def nearest(v: Vectors, x: Vec, factor: float) -> tuple[Vec, Vec]:
    """k = round(x * factor) for |k| < 2**22 (2**51): as a float and as an integer."""
    fmt = format_of(x)
    shifted = v.mul_add(x, v.like(x, factor), v.like(x, fmt.magic))
    whole = v.fsub(shifted, v.like(x, fmt.magic))
    return whole, v.sub(v.bits(shifted), v.const(fmt.integer, fmt.magic_bits))


def power_of_two(v: Vectors, exponent: Vec) -> Vec:
    """2**exponent for integers within the normal range."""
    fmt = FLOAT if exponent.element == "i32" else DOUBLE
    return v.floats(v.shl(v.add(exponent, v.like(exponent, fmt.bias)), fmt.mantissa))


def scales_by_instruction(v: Vectors) -> bool:
    return v.target.has("avx512f") and v.lanes == 16


def scale(v: Vectors, x: Vec, whole: Vec, exponent: Vec) -> Vec:
    """x * 2**k, rounded once: into denormals, to zero, to infinity. k is given as float and as integer."""
    if scales_by_instruction(v):
        return _scale_by_instruction(v, x, whole)
    half = v.ashr(exponent, 1)
    return v.fmul(v.fmul(x, power_of_two(v, half)), power_of_two(v, v.sub(exponent, half)))


def _scale_by_instruction(v: Vectors, x: Vec, whole: Vec) -> Vec:
    if x.element == "float":
        return _scalef(v, x, whole, "ps", "i16")
    halves = []
    for start in (0, 8):
        half = v.narrowed(8)
        parts = [half.shuffle(value, None, range(start, start + 8)) for value in (x, whole)]
        halves.append(_scalef(half, parts[0], parts[1], "pd", "i8"))
    return v.shuffle(halves[0], halves[1], range(16))


def _scalef(v: Vectors, x: Vec, whole: Vec, suffix: str, mask: str) -> Vec:
    arguments = [(x.type, x.ref), (x.type, whole.ref), (x.type, "zeroinitializer"), (mask, "-1"), ("i32", "4")]
    name = f"llvm.x86.avx512.mask.scalef.{suffix}.512"
    return Vec(v.function.intrinsic(name, x.type, arguments), x.element, x.lanes)


def clamp(v: Vectors, x: Vec, low: float, high: float) -> Vec:
    """x limited to [low, high]; NaN stays."""
    return v.fmax(v.like(x, low), v.fmin(v.like(x, high), x))


def widened(v: Vectors, x: Vec) -> Vec:
    """x in float64."""
    return v.convert("fpext", x, "double") if x.element == "float" else x


def narrowed(v: Vectors, result: Vec, x: Vec) -> Vec:
    """A float64 result in x's format."""
    return v.convert("fptrunc", result, "float") if x.element == "float" else result
