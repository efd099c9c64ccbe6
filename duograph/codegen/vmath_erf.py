"""erf.

float32: 16 intervals of |x| with centres j h, h = 17/64; on each erf(x) / x - 1/2 is a polynomial of degree 5 in the
distance t from the centre, fitted to 2**-28, its coefficients looked up by j. float64: x P(x**2) below 0.89 (2**-60), above it
1 - exp(-x**2) Q((x - 2) / (x + 3)) (2**-62).
"""

from __future__ import annotations

from duograph.codegen.vector import Vec, Vectors
from duograph.codegen.vmath_exp import exp
from duograph.codegen.vmath_format import nearest
from duograph.codegen.vmath_tables import lookup

_STEP = 17 / 64
_ONE_FROM = 3.92  # erf rounds to 1
_TABLE = (
    (-1.0597467e-02, -3.7311368e-02, -4.947813e-02, -3.3312105e-02, -6.3104387e-03, 1.2569613e-02, 1.7116072e-02,
     1.243239e-02, 5.914601e-03, 1.4967845e-03, -4.3188105e-04, -8.813334e-04, -7.6827954e-04, -5.500278e-04,
     -3.7113778e-04, -2.8598576e-04),
    (1.1441328e-01, 8.570394e-02, 2.4608055e-02, -3.2817487e-02, -5.919736e-02, -5.3578652e-02, -3.2449294e-02,
     -1.2241482e-02, -1.3830261e-04, 4.494689e-03, 4.9818223e-03, 4.008023e-03, 2.8842085e-03, 2.0087524e-03,
     1.4031931e-03, 9.862937e-04),
    (-1.08150314e-04, 1.1019459e-01, 1.7045265e-01, 1.6387494e-01, 1.1130282e-01, 4.882202e-02, 2.512143e-03,
     -2.0583197e-02, -2.6270846e-02, -2.3358023e-02, -1.8064462e-02, -1.3229393e-02, -9.583949e-03, -7.0143137e-03,
     -5.225937e-03, -3.9685466e-03),
    (-3.7612304e-01, -3.303103e-01, -2.1409303e-01, -7.677232e-02, 3.4730658e-02, 9.809676e-02, 1.1702403e-01,
     1.0838371e-01, 8.8863626e-02, 6.877007e-02, 5.2236956e-02, 3.983955e-02, 3.082985e-02, 2.4278242e-02,
     1.9443836e-02, 1.580932e-02),
    (-3.817585e-08, -1.9156739e-01, -3.3831128e-01, -4.153255e-01, -4.246136e-01, -3.871101e-01, -3.28331e-01,
     -2.6764667e-01, -2.150581e-01, -1.7329335e-01, -1.4133929e-01, -1.1705241e-01, -9.840935e-02, -8.3861716e-02,
     -7.231097e-02, -6.299112e-02),
    (0.62837917, 0.6023934, 0.5306418, 0.42892486, 0.31605485, 0.2075037,
     0.11226524, 0.03321696, -0.03066072, -0.08200161, -0.12359428,
     -0.15776631, -0.18627657, -0.21040754, -0.23109248, -0.24901961),
)  # fmt: skip
_SMALL = (
    -8.481838969831653e-10, 1.4046042528423895e-08, -1.6275475225346164e-07, 1.6455213838918695e-06,
    -1.4925299733482385e-05, 0.00012055321041945426, -0.0008548326754913012, 0.00522397762160311, -0.026866170644806626,
    0.11283791670953704, -0.37612638903183726, 1.1283791670955126,
)  # fmt: skip
_LARGE = (
    -2.5638375831385162e-05, -7.732944956328126e-05, 6.729160247756208e-05, 0.0004250702715443286,
    -0.0004929914322503972, -0.0023785791363297977, 0.005955692431468221, 0.007769788766699923, -0.07128989010498728,
    0.2039465603088907, -0.3764243996276174, 0.5110865058207097, -0.5339823092674479, 0.25539567631050575,
)  # fmt: skip


def erf(v: Vectors, x: Vec) -> Vec:
    return _erf_float(v, x) if x.element == "float" else _erf_double(v, x)


def _erf_float(v: Vectors, x: Vec) -> Vec:
    size = v.fabs(x)
    whole, j = nearest(v, size, 1 / _STEP)
    t = v.mul_add(whole, v.like(x, -_STEP), size)
    p = lookup(v, "erf0", _TABLE[0], j)
    for row in range(1, len(_TABLE)):
        p = v.mul_add(p, t, lookup(v, f"erf{row}", _TABLE[row], j))
    # unordered: NaN takes the polynomial
    inside = v.fcmp("ult", size, v.like(x, _ONE_FROM))
    # the half is added last: what is left is small, and so is its rounding error
    return v.select(inside, v.mul_add(x, p, v.fmul(x, v.like(x, 0.5))), v.copysign(v.like(x, 1.0), x))


def _erf_double(v: Vectors, x: Vec) -> Vec:
    size = v.fmin(v.like(x, 6.0), v.fabs(x))
    square, one = v.fmul(size, size), v.like(x, 1.0)
    small = erf_small(v, x)
    t = v.fdiv(v.fsub(size, v.like(x, 2.0)), v.fadd(size, v.like(x, 3.0)))
    tail = v.fmul(v.polynomial(t, _LARGE), exp(v, v.fneg(square)))
    large = v.copysign(v.fsub(one, tail), x)
    return v.select(v.fcmp("olt", size, v.like(x, 0.89)), small, large)


def erf_small(v: Vectors, x: Vec) -> Vec:
    """erf in float64 for |x| below 0.89."""
    return v.fmul(x, v.polynomial(v.fmul(x, x), _SMALL))
