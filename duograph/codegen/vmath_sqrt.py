"""The square root, rounded correctly.

float64 with 512-bit registers: the instruction takes 18 cycles for 8 of them on Intel's cores, a guess of 14 bits with two
steps of Goldschmidt's iteration (g to the root, h to 1 / (2 root)) and one of Newton's 7. The last step errs by less than
2**-103 before it rounds, so it rounds correctly unless the root is that near to the middle between two numbers; those few x are
tested.
"""

from __future__ import annotations

from duograph.codegen.vector import Vec, Vectors
from duograph.codegen.vmath_format import INFINITY

_SMALLEST = 2.0**-960  # from here on what the square of the root lacks is a number


def sqrt(v: Vectors, x: Vec) -> Vec:
    if not (x.element == "double" and v.lanes == 16 and v.target.has("avx512f")):
        return v.sqrt(x)
    irregular = v.or_(v.fcmp("ult", x, v.like(x, _SMALLEST)), v.fcmp("oeq", x, v.like(x, INFINITY)))
    return v.where_any(irregular, lambda: v.sqrt(x), _iterated(v, x))


def _iterated(v: Vectors, x: Vec) -> Vec:
    half, guess = v.like(x, 0.5), _guess(v, x)
    g, h = v.fmul(x, guess), v.fmul(guess, half)
    for _ in range(2):
        r = v.fma(v.fneg(g), h, half)
        g, h = v.fma(g, r, g), v.fma(h, r, h)
    return v.fma(v.fma(v.fneg(g), g, x), h, g)


def _guess(v: Vectors, x: Vec) -> Vec:
    """1 / sqrt(x) within 2**-14 of it."""
    half, type, parts = v.narrowed(8), "<8 x double>", []
    for start in (0, 8):
        part = half.shuffle(x, None, range(start, start + 8))
        arguments = [(type, part.ref), (type, "zeroinitializer"), ("i8", "-1")]
        parts.append(Vec(v.function.intrinsic("llvm.x86.avx512.rsqrt14.pd.512", type, arguments), "double", 8))
    return v.shuffle(parts[0], parts[1], range(16))
