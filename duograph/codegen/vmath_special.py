"""erfinv, lgamma and digamma, the latter two computed in float64 for both formats.

* erfinv: float32: x times 1 + a polynomial in w = -log(1 - x**2) (2**-30); from 25/4 on in its root (Giles 2012, 2**-26);
  float64: Wichura's algorithm AS 241 (1988) for the normal quantile, three quotients of polynomials.
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
_SQRT_HALF = 0.7071067811865476
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
_ERFINV_NEAR = (
    -1.3012493e-11,
    4.9344184e-10,
    -7.525468e-09,
    5.2756267e-08,
    -7.618551e-08,
    -1.1143164e-06,
    2.574309e-06,
    4.548366e-05,
    -0.00012679887,
    -0.0023358562,
    0.011549569,
    0.23201364,
    -0.11377307,
)
_ERFINV_FAR = (
    -3.172821561125341e-05,
    -0.0002583032966166263,
    0.0009762069684272611,
    -0.0017302702261554929,
    0.0024879037241709095,
    -0.003744573485175521,
    0.005371063155556131,
    1.005258686667961,
    3.0838856104922208,
)
_CENTRE = (
    2509.0809287301227,
    33430.57558358813,
    67265.7709270087,
    45921.95393154987,
    13731.69376550946,
    1971.5909503065513,
    133.14166789178438,
    3.3871328727963665,
)
_CENTRE_DIVISOR = (
    5226.495278852854,
    28729.085735721943,
    39307.89580009271,
    21213.794301586597,
    5394.196021424751,
    687.1870074920579,
    42.31333070160091,
    1.0,
)
_MIDDLE = (
    0.0007745450142783414,
    0.022723844989269184,
    0.2417807251774506,
    1.2704582524523684,
    3.6478483247632045,
    5.769497221460691,
    4.630337846156546,
    1.4234371107496835,
)
_MIDDLE_DIVISOR = (
    1.0507500716444169e-09,
    0.0005475938084995345,
    0.015198666563616457,
    0.14810397642748008,
    0.6897673349851,
    1.6763848301838038,
    2.053191626637759,
    1.0,
)
_TAIL = (
    2.0103343992922881e-07,
    2.7115555687434876e-05,
    0.0012426609473880784,
    0.026532189526576124,
    0.29656057182850487,
    1.7848265399172913,
    5.463784911164114,
    6.657904643501103,
)
_TAIL_DIVISOR = (
    2.0442631033899397e-15,
    1.421511758316446e-07,
    1.8463183175100548e-05,
    0.0007868691311456133,
    0.014875361290850615,
    0.1369298809227358,
    0.599832206555888,
    1.0,
)


def erfinv(v: Vectors, x: Vec) -> Vec:
    """The number whose erf is x: infinite at 1 and -1, NaN beyond."""
    if x.element == "float":
        return _erfinv_float(v, x)
    wide = x
    size, one = v.fabs(wide), v.like(wide, 1.0)
    q = v.fmul(wide, v.like(wide, 0.5))
    r = v.fsub(v.like(wide, 0.180625), v.fmul(q, q))
    centre = v.fdiv(v.fmul(v.polynomial(r, _scaled(_CENTRE)), q), v.polynomial(r, _CENTRE_DIVISOR))

    def outer() -> Vec:
        root = v.sqrt(v.fneg(log(v, v.fmul(v.fsub(one, size), v.like(wide, 0.5)))))
        r = v.fsub(root, v.like(wide, 1.6))
        middle = v.fdiv(v.polynomial(r, _scaled(_MIDDLE)), v.polynomial(r, _MIDDLE_DIVISOR))
        r = v.fsub(root, v.like(wide, 5.0))
        tail = v.fdiv(v.polynomial(r, _scaled(_TAIL)), v.polynomial(r, _TAIL_DIVISOR))
        found = v.select(v.fcmp("ogt", root, v.like(wide, 5.0)), tail, middle)
        return v.copysign(v.select(v.fcmp("oeq", size, one), v.like(wide, INFINITY), found), wide)

    return v.where_any(v.fcmp("ugt", size, v.like(wide, 0.85)), outer, centre)


def _scaled(coefficients: tuple[float, ...]) -> list[float]:
    """Of the quantile's polynomials for erfinv, which is the quantile times the root of 1/2."""
    return [c * _SQRT_HALF for c in coefficients]


def _erfinv_float(v: Vectors, x: Vec) -> Vec:
    one = v.like(x, 1.0)
    w = v.fneg(log(v, v.fma(v.fneg(x), x, one)))
    near = v.mul_add(x, v.polynomial(w, _ERFINV_NEAR), x)

    def far() -> Vec:
        wide = widened(v, w)
        found = v.polynomial(v.fsub(v.sqrt(wide), v.like(wide, 3.25)), _ERFINV_FAR)
        return v.fmul(narrowed(v, found, x), x)

    result = v.where_any(v.fcmp("uge", w, v.like(w, 6.25)), far, near)
    return v.copysign(v.select(v.fcmp("oeq", v.fabs(x), one), v.like(x, INFINITY), result), x)


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
