"""lgamma and digamma, computed in float64 for both formats.

* lgamma: from 3/2 to 5/2 (x - 2) times a polynomial (2**-61); below and above by Gamma(x + 1) = x Gamma(x), from 17/2
  Stirling's series; negative arguments by reflection.
* digamma: the recurrence up to 5/2 as one fraction, then log z + P(1 / z**2) / z**2, z = x - 1/2 (2**-60; float32: 2**-38);
  negative arguments by reflection.
"""

from __future__ import annotations

from duograph.codegen.vector import Vec, Vectors
from duograph.codegen.vmath_format import INFINITY, NAN, narrowed, widened
from duograph.codegen.vmath_log import log
from duograph.codegen.vmath_trig import sin_pi_size, tan

_PI = 3.141592653589793
_STIRLING = (
    -0.029550653594771242, 0.00641025641025641, -0.0019175269175269176, 0.0008417508417508417, -0.0005952380952380953,
    0.0007936507936507937, -0.002777777777777778, 0.08333333333333333,
)  # fmt: skip
_HALF_LOG_TWO_PI = 0.9189385332046727
_DIGAMMA = (
    -5058.1487165148355,
    11847.117177181448,
    -12858.150711234488,
    8603.581646253357,
    -3988.7903334861862,
    1368.692797692481,
    -364.2711042641965,
    78.4993127133784,
    -14.42072966115342,
    2.429829255230118,
    -0.4167719227542593,
    0.08245563427448996,
    -0.021061751541474775,
    0.007560622688692739,
    -0.004134111149214852,
    0.003844246013074582,
    -0.007291666666625943,
    0.04166666666666665,
)
_DIGAMMA_SHORT = (
    -0.014729046770351287,
    0.019612153109655812,
    -0.013101257614761348,
    0.006862162586864078,
    -0.0040968531230811895,
    0.003843209160573333,
    -0.0072916552841677485,
    0.041666666645719594,
)
_LGAMMA = (
    6.379047507619774e-08,
    -1.3412819758517287e-07,
    2.0304806751615227e-07,
    -4.303558760359961e-07,
    9.578663334114758e-07,
    -2.0449201467015115e-06,
    4.374374916915131e-06,
    -9.438458716242811e-06,
    2.050726741605779e-05,
    -4.4926351103833334e-05,
    9.945750909889392e-05,
    -0.00022315475074520367,
    0.0005096695248853096,
    -0.0011927539120010226,
    0.002890510330738737,
    -0.0073855510286681535,
    0.02058080842778457,
    -0.06735230105319814,
    0.3224670334241132,
    0.42278433509846713,
)


def lgamma(v: Vectors, x: Vec) -> Vec:
    """log |Gamma(x)|: infinite at 0 and the negative whole numbers."""
    wide = widened(v, x)
    size, infinity = v.fabs(wide), v.like(wide, INFINITY)
    positive = _lgamma_positive(v, size)

    def reflected() -> Vec:
        turned = v.fmul(size, sin_pi_size(v, size))
        found = v.fsub(log(v, v.fdiv(v.like(wide, _PI), turned)), positive)
        return v.select(v.fcmp("oeq", turned, v.like(wide, 0.0)), infinity, found)

    # below 2**-60 it is log(1 / |x|), from either side
    result = v.where_any(v.fcmp("ole", wide, v.like(wide, -(2.0**-60))), reflected, positive)
    return narrowed(v, v.select(v.fcmp("oeq", size, infinity), infinity, result), x)


def _lgamma_positive(v: Vectors, z: Vec) -> Vec:
    one, two, limit = v.like(z, 1.0), v.like(z, 2.0), v.like(z, 2.5)
    tiny, low = v.fcmp("olt", z, v.like(z, 0.5)), v.fcmp("olt", z, v.like(z, 1.5))
    y, product = z, one
    for _ in range(6):
        above = v.fcmp("oge", y, limit)
        y = v.select(above, v.fsub(y, one), y)
        product = v.select(above, v.fmul(product, y), product)
    far = v.fcmp("oge", z, v.like(z, 8.5))
    s = v.select(tiny, z, v.select(low, v.fsub(z, one), v.fsub(y, two)))
    factor = v.select(tiny, v.fmul(z, v.fadd(z, one)), v.select(low, z, product))
    logarithm = log(v, v.select(far, z, factor))
    near = v.mul_add(s, v.polynomial(s, _LGAMMA), v.select(low, v.fneg(logarithm), logarithm))
    inverse = v.fdiv(one, z)
    series = v.fmul(inverse, v.polynomial(v.fmul(inverse, inverse), _STIRLING))
    series = v.fadd(v.like(z, _HALF_LOG_TWO_PI - 0.5), series)
    stirling = v.mul_add(v.fsub(z, v.like(z, 0.5)), v.fsub(logarithm, one), series)
    return v.select(far, stirling, near)


def digamma(v: Vectors, x: Vec) -> Vec:
    """The derivative of lgamma: -inf at 0 and inf at -0, NaN at the negative whole numbers."""
    wide = widened(v, x)
    one, zero = v.like(wide, 1.0), v.like(wide, 0.0)
    negative = v.fcmp("ole", wide, zero)
    y = v.select(negative, v.fsub(one, wide), wide)
    numerator, denominator = zero, one
    for _ in range(3):
        low = v.fcmp("olt", y, v.like(wide, 2.5))
        numerator = v.select(low, v.mul_add(numerator, y, denominator), numerator)
        denominator = v.select(low, v.fmul(denominator, y), denominator)
        y = v.select(low, v.fadd(y, one), y)
    middle = v.fsub(y, v.like(wide, 0.5))
    inverse = v.fdiv(one, middle)
    square = v.fmul(inverse, inverse)
    rest = v.fmul(square, v.polynomial(square, _DIGAMMA_SHORT if x.element == "float" else _DIGAMMA))
    positive = v.fadd(v.fsub(log(v, middle), v.fdiv(numerator, denominator)), rest)

    def reflected() -> Vec:
        part = v.fsub(wide, v.round(wide, "roundeven"))
        turn = v.fdiv(v.like(wide, _PI), tan(v, v.fmul(part, v.like(wide, _PI))))
        return v.fsub(positive, v.select(v.fcmp("oeq", part, zero), v.like(wide, NAN), turn))

    result = v.where_any(negative, reflected, positive)
    result = v.select(v.fcmp("oeq", wide, zero), v.copysign(v.like(wide, INFINITY), v.fneg(wide)), result)
    return narrowed(v, result, x)
