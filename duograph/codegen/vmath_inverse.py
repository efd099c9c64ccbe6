"""asin, acos, atan, atan2, sinh, cosh, asinh, acosh, atanh and hypot.

Polynomials in x**2 are interpolations at Chebyshev nodes (float32: 2**-27 and better, float64: 2**-55 and better). The
inverse hyperbolic functions compute float32 in float64.
"""

from __future__ import annotations

from duograph.codegen.vector import Vec, Vectors
from duograph.codegen.vmath_exp import expm1_reduced, reduce
from duograph.codegen.vmath_format import INFINITY, NAN, clamp, narrowed, scale, widened
from duograph.codegen.vmath_log import log, log1p

_HALF_PI = (float.fromhex("0x1.921fb54442d18p+0"), float.fromhex("0x1.1a62633145c07p-54"))
_HALF_PI_FLOAT = (1.5707963705062866, -4.371139000186241e-08)
_LN2 = 0.6931471805599453
_ATAN_FLOAT = (
    0.0014886919393047597,
    -0.009144629760592396,
    0.026305001110062377,
    -0.04896051402709067,
    0.07031914250029966,
    -0.08931826777381315,
    0.11088261628735159,
    -0.1428400379473353,
    0.19999949321141888,
    -0.3333333308107325,
)
_ATAN = (
    -1.1832505417555692e-05,
    0.0001368724853148122,
    -0.0007518472526973822,
    0.002622977891906089,
    -0.006575683344151699,
    0.012756172907694298,
    -0.020238706986393514,
    0.027567942297344678,
    -0.033750132001619734,
    0.03872640214042632,
    -0.04308119655330471,
    0.04752086773576656,
    -0.05261265735709454,
    0.05882074956371294,
    -0.06666636435777692,
    0.07692305354678655,
    -0.09090908969557403,
    0.11111111107234799,
    -0.14285714285648404,
    0.19999999999999554,
    -0.3333333333333333,
)
_ASIN_FLOAT = (
    0.03369084720283012,
    0.017149238357677253,
    0.03110066273549457,
    0.04459940152851218,
    0.07500094543497424,
    0.16666666337430908,
)
_ASIN = (
    0.028757851367421566,
    -0.014851887071247204,
    0.01740087944269402,
    0.005457506718640358,
    0.01032281435018578,
    0.011479177415184906,
    0.013971212973552933,
    0.017352392720869973,
    0.02237217294214989,
    0.030381944138531247,
    0.04464285714635543,
    0.07499999999998433,
    0.16666666666666669,
)
_SINH_FLOAT = (2.8062802582276946e-06, 0.00019838101968683888, 0.00833333967591706, 0.16666666646842135)
_SINH = (
    2.8445264169895285e-15,
    7.646625361656657e-13,
    1.6059048396350562e-10,
    2.505210836405804e-08,
    2.755731922404034e-06,
    0.00019841269841269773,
    0.008333333333333333,
    0.16666666666666666,
)
_ASINH = (
    -0.0014988358499957474,
    0.00413835813140252,
    -0.0064746008466359025,
    0.00818236764637779,
    -0.009725716144151688,
    0.011547475926257406,
    -0.013964483323351326,
    0.0173527441556904,
    -0.022372158355736263,
    0.030381944428513684,
    -0.044642857142677225,
    0.0749999999999992,
    -0.16666666666666666,
)
_ATANH_SHORT = (
    0.1620416930156604,
    -0.003389850662611511,
    0.08393639149452682,
    0.07423610206753552,
    0.09114977794312945,
    0.11109914754737274,
    0.14285743823255745,
    0.19999999721074346,
    0.33333333333764387,
)
_ATANH = (
    0.24428228668665405,
    -0.23045844937957918,
    0.20015283269854273,
    -0.02875409135934642,
    0.057870424750724646,
    0.04002294193211757,
    0.048103469904924666,
    0.05258211453330088,
    0.05882718325703025,
    0.06666647490420531,
    0.0769230838513147,
    0.09090909074527982,
    0.11111111111344721,
    0.1428571428571254,
    0.20000000000000004,
    0.3333333333333333,
)


def _half_pi(x: Vec) -> tuple[float, float]:
    return _HALF_PI_FLOAT if x.element == "float" else _HALF_PI


def _odd(v: Vectors, x: Vec, short: tuple[float, ...], long: tuple[float, ...]) -> Vec:
    """x + x**3 P(x**2)."""
    square = v.fmul(x, x)
    return v.mul_add(v.fmul(square, x), v.polynomial(square, short if x.element == "float" else long), x)


def atan(v: Vectors, x: Vec) -> Vec:
    """Beyond 1 it is pi/2 - atan(1/x)."""
    size, one = v.fabs(x), v.like(x, 1.0)
    outside = v.fcmp("ogt", size, one)
    near = _odd(v, v.select(outside, v.fdiv(one, size), size), _ATAN_FLOAT, _ATAN)
    return v.copysign(_from_half_pi(v, outside, near), x)


def _from_half_pi(v: Vectors, where: Vec, angle: Vec) -> Vec:
    """pi/2 - angle at these lanes."""
    high, low = _half_pi(angle)
    return v.select(where, v.fsub(v.like(angle, high), v.fsub(angle, v.like(angle, low))), angle)


def atan2(v: Vectors, y: Vec, x: Vec) -> Vec:
    a, b, zero = v.fabs(y), v.fabs(x), v.like(x, 0.0)
    steep = v.fcmp("ogt", a, b)
    small, large = v.select(steep, b, a), v.select(steep, a, b)
    ratio = v.fdiv(small, large)
    ratio = v.select(v.fcmp("oeq", large, zero), zero, ratio)
    ratio = v.select(v.fcmp("oeq", small, v.like(x, INFINITY)), v.like(x, 1.0), ratio)
    angle = _from_half_pi(v, steep, _odd(v, ratio, _ATAN_FLOAT, _ATAN))
    high, low = _half_pi(x)
    behind = v.fsub(v.like(x, 2 * high), v.fsub(angle, v.like(x, 2 * low)))
    negative = v.fcmp("olt", v.copysign(v.like(x, 1.0), x), zero)
    unordered = v.fcmp("uno", x, y)
    return v.select(unordered, v.fadd(x, y), v.copysign(v.select(negative, behind, angle), y))


def asin(v: Vectors, x: Vec) -> Vec:
    """Above 1/2 it is pi/2 - 2 asin(sqrt((1 - x) / 2))."""
    size = v.fabs(x)
    outside, part = _half_angle(v, size)
    angle = _odd(v, part, _ASIN_FLOAT, _ASIN)
    return v.copysign(_from_half_pi(v, outside, v.select(outside, v.fadd(angle, angle), angle)), x)


def _half_angle(v: Vectors, size: Vec) -> tuple[Vec, Vec]:
    """Whether the size is above 1/2, and what the polynomial takes: sqrt((1 - size) / 2) there, else the size."""
    outside = v.fcmp("ogt", size, v.like(size, 0.5))
    rest = v.fmul(v.fsub(v.like(size, 1.0), size), v.like(size, 0.5))
    return outside, v.select(outside, v.sqrt(rest), size)


def acos(v: Vectors, x: Vec) -> Vec:
    size, (high, low) = v.fabs(x), _half_pi(x)
    outside, part = _half_angle(v, size)
    angle = _odd(v, part, _ASIN_FLOAT, _ASIN)
    inner = v.fsub(v.like(x, high), v.fsub(v.copysign(angle, x), v.like(x, low)))
    outer = v.fadd(angle, angle)
    negative = v.fcmp("olt", x, v.like(x, 0.0))
    outer = v.select(negative, v.fsub(v.like(x, 2 * high), v.fsub(outer, v.like(x, 2 * low))), outer)
    return v.select(outside, outer, inner)


def _half_exp(v: Vectors, size: Vec) -> Vec:
    """e**size / 2, also where e**size is too large."""
    high = 90.0 if size.element == "float" else 711.0
    r, whole, exponent = reduce(v, clamp(v, size, 0.0, high))
    grown = v.fadd(expm1_reduced(v, r), v.like(size, 1.0))
    return scale(v, grown, v.fsub(whole, v.like(whole, 1.0)), v.sub(exponent, v.like(exponent, 1)))


def sinh(v: Vectors, x: Vec) -> Vec:
    size = v.fabs(x)
    half = _half_exp(v, size)
    large = v.fsub(half, v.fdiv(v.like(x, 0.25), half))
    return v.copysign(v.select(v.fcmp("olt", size, v.like(x, 1.0)), _odd(v, size, _SINH_FLOAT, _SINH), large), x)


def cosh(v: Vectors, x: Vec) -> Vec:
    half = _half_exp(v, v.fabs(x))
    return v.fadd(half, v.fdiv(v.like(x, 0.25), half))


def _root(v: Vectors, square: Vec, error: Vec) -> tuple[Vec, Vec]:
    """sqrt(square + error) as a sum."""
    root = v.sqrt(square)
    product, low = v.two_product(root, root)
    rest = v.fadd(v.fsub(v.fsub(square, product), low), error)
    correction = v.fdiv(rest, v.fadd(root, root))
    return root, v.select(v.fcmp("ogt", root, v.like(root, 0.0)), correction, v.like(root, 0.0))


def asinh(v: Vectors, x: Vec) -> Vec:
    """log(|x| + sqrt(x**2 + 1)), the argument as a sum; a polynomial below 1/2."""
    size = v.fabs(widened(v, x))
    one, far = v.like(size, 1.0), v.fcmp("ogt", size, v.like(size, 2.0**28))
    square, low = v.two_product(size, size)
    square, error = v.two_sum(square, one)
    root, root_low = _root(v, square, v.fadd(error, low))
    argument, error = v.two_sum(size, root)
    rest = v.fdiv(v.fadd(error, root_low), argument)
    result = v.fadd(log(v, v.select(far, size, argument)), v.select(far, v.like(size, _LN2), rest))
    result = v.select(v.fcmp("olt", size, v.like(size, 0.5)), _odd(v, size, _ASINH, _ASINH), result)
    return v.copysign(narrowed(v, result, x), x)


def acosh(v: Vectors, x: Vec) -> Vec:
    """log1p(t + sqrt(t (t + 2))) with t = x - 1, the argument as a sum."""
    wide = widened(v, x)
    one, far = v.like(wide, 1.0), v.fcmp("ogt", wide, v.like(wide, 2.0**28))
    t = v.fsub(wide, one)
    other, error = v.two_sum(t, v.like(wide, 2.0))
    square, low = v.two_product(t, other)
    root, root_low = _root(v, square, v.mul_add(t, error, low))
    argument, error = v.two_sum(t, root)
    rest = v.fdiv(v.fadd(error, root_low), v.fadd(argument, one))
    near = v.fadd(log1p(v, argument), rest)
    result = v.select(far, v.fadd(log(v, wide), v.like(wide, _LN2)), near)
    return narrowed(v, v.select(v.fcmp("oge", wide, one), result, v.like(wide, NAN)), x)


def atanh(v: Vectors, x: Vec) -> Vec:
    """log((1 + x) / (1 - x)) / 2, the quotient as a sum; a polynomial below 1/2."""
    size = v.fabs(widened(v, x))
    one, zero = v.like(size, 1.0), v.like(size, 0.0)
    above, error = v.two_sum(one, size)
    below = v.fsub(one, size)
    quotient = v.fdiv(above, below)
    if x.element == "float":
        half = v.fmul(log(v, narrowed(v, quotient, x)), v.like(x, 0.5))
        near = v.fcmp("olt", v.fabs(x), v.like(x, 0.5))
        return v.copysign(v.select(near, _odd(v, v.fabs(x), _ATANH_SHORT, _ATANH), half), x)
    rest = v.fdiv(v.fadd(v.fma(v.fneg(quotient), below, above), error), v.fmul(below, quotient))
    rest = v.select(v.fcmp("ogt", below, zero), rest, zero)
    large = v.fmul(v.fadd(log(v, quotient), rest), v.like(size, 0.5))
    result = v.select(v.fcmp("olt", size, v.like(size, 0.5)), _odd(v, size, _ATANH, _ATANH), large)
    return v.copysign(narrowed(v, result, x), x)


def hypot(v: Vectors, x: Vec, y: Vec) -> Vec:
    """sqrt(x**2 + y**2) without overflow; infinite if either is, also beside NaN."""
    infinity = v.like(x, INFINITY)
    endless = v.or_(v.fcmp("oeq", v.fabs(x), infinity), v.fcmp("oeq", v.fabs(y), infinity))
    a, b = v.fabs(widened(v, x)), v.fabs(widened(v, y))
    if x.element == "float":
        return v.select(endless, infinity, narrowed(v, v.sqrt(v.mul_add(a, a, v.fmul(b, b))), x))
    swap = v.fcmp("ogt", b, a)
    large, small = v.select(swap, b, a), v.select(swap, a, b)
    # scaled into the middle of the range: squares neither overflow nor lose bits
    huge, tiny = v.fcmp("ogt", large, v.like(x, 2.0**500)), v.fcmp("olt", large, v.like(x, 2.0**-500))
    one = v.like(x, 1.0)
    factor = v.select(huge, v.like(x, 2.0**-600), v.select(tiny, v.like(x, 2.0**600), one))
    back = v.select(huge, v.like(x, 2.0**600), v.select(tiny, v.like(x, 2.0**-600), one))
    large, small = v.fmul(large, factor), v.fmul(small, factor)
    root = v.sqrt(v.fma(large, large, v.fmul(small, small)))
    return v.select(endless, infinity, v.fmul(root, back))
