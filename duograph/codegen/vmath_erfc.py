"""erfc.

float32: e**(-x**2) G(x). G(x) = e**(x**2) erfc(x) is a polynomial of degree 6 (2**-27) on each of 16 intervals of x + 1, four to
an octave (the first stands last: its exponent ends in 3), in the distance from a centre where G is nearly a float32; the
coefficients are looked up. float64, and float32 without fused multiply-adds: (1 + 2x) G(x) is a polynomial in
(x - 4) / (x + 4), 2**-56 and 2**-32.
"""

from __future__ import annotations

from duograph.codegen.vector import Vec, Vectors
from duograph.codegen.vmath_erf import erf_small
from duograph.codegen.vmath_exp import exp, times_exp
from duograph.codegen.vmath_format import narrowed, widened
from duograph.codegen.vmath_tables import lookup

_CENTRES = (
    1.240232, 1.7401057, 2.2402139, 2.7401092, 3.4800532, 4.4804797, 5.48114, 6.480394, 7.960606, 9.96219, 11.960979,
    13.962112, 0.120008685, 0.3700621, 0.6201128, 0.8700694,
)  # fmt: skip
_TABLE = (
    (0.003596509, 0.0010497279, 0.00035144814, 0.00013208871, 3.6951245e-05, 8.557253e-06, 2.4869992e-06, 8.574755e-07,
     2.2433105e-07, 5.0119517e-08, 1.4490587e-08, 5.0334146e-09, 0.10736636, 0.04611658, 0.020902263, 0.009957122),
    (-0.009438711, -0.0031211397, -0.0011756665, -0.00049384765, -0.00016354967, -4.5263027e-05, -1.5385715e-05,
     -6.101525e-06, -1.9416477e-06, -5.29614e-07, -1.8142194e-07, -7.285176e-08, -0.20476156, -0.09426091, -0.045760922,
     -0.023331942),
    (0.022466399, 0.008556951, 0.003675945, 0.0017437871, 0.00066869217, 0.0002256205, 9.0915135e-05, 4.1802676e-05,
     1.5772375e-05, 5.344977e-06, 2.1897013e-06, 1.0239338e-06, 0.35083738, 0.17472489, 0.09164514, 0.050399866),
    (-0.051082563, -0.022594433, -0.011144481, -0.006002728, -0.0027253234, -0.0011219326, -0.0005362459, -0.00028598486,
     -0.00013022081, -5.4534437e-05, -2.663456e-05, -1.4475234e-05, -0.5503696, -0.2988447, -0.17060837, -0.10190188),
    (0.10827971, 0.0564293, 0.03231771, 0.01993569, 0.010822636, 0.0054783146, 0.0031211602, 0.001936933, 0.0010683475,
     0.0005540109, 0.00032296617, 0.00020415672, 0.7676516, 0.46001393, 0.28907606, 0.18945691),
    (-0.21092273, -0.1320864, -0.08911585, -0.063630246, -0.041752115, -0.026228532, -0.017911924, -0.012981079,
     -0.008700081, -0.005600975, -0.0039029464, -0.0028721727, -0.91769594, -0.61850744, -0.4351752, -0.31769478),
    (0.36987293, 0.28627363, 0.23195627, 0.1942895, 0.1561222, 0.12299471, 0.10129893, 0.086059436, 0.07032625, 0.05635198,
     0.047006026, 0.040305756, 0.8777833, 0.6889002, 0.5589338, 0.46587342),
)  # fmt: skip
_ZERO_FROM = 10.1
_ERFC_SHORT = (
    -9.714709731988143e-06, -8.59703641317568e-06, 0.0001482094691445721, -0.00022049658164202712, -0.0007558842570188051,
    0.005047344723414027, -0.016198516244698414, 0.037161413362401655, -0.06633020048068222, 0.09373409380727189,
    -0.1010390813977985, 0.06809693885725905, 0.015379652514656337, -0.13962111376213265, 1.2329951186255526,
)  # fmt: skip
_ERFC = (
    -2.764120233734578e-10, 9.297625263709659e-10, 3.2323973445082033e-09, -1.2338731403798444e-08,
    -2.0725802488181963e-08, 1.0631817593818149e-07, 7.771943241086912e-08, -8.210647933297337e-07,
    2.9173425573089733e-07, 5.70657829924074e-06, -1.1221135665965907e-05, -2.4397731143023292e-05,
    0.00015062142608651945, -0.0001992571524726518, -0.0007577732435942576, 0.005031970069102256, -0.01619773406293477,
    0.037167515526338006, -0.06633036581186058, 0.09373283499911264, -0.10103906603631811, 0.06809705425466839,
    0.015379652102619974, -0.13962111684056228, 1.2329951186255526,
)  # fmt: skip


def erfc(v: Vectors, x: Vec) -> Vec:
    """1 - erf(x), with small relative errors also where it is tiny."""
    return _erfc_float(v, x) if x.element == "float" and v.target.fma else _erfc_wide(v, x)


def _erfc_float(v: Vectors, x: Vec) -> Vec:
    size = v.fmin(v.like(x, _ZERO_FROM), v.fabs(x))  # NaN stays
    octaves = v.lshr(v.bits(v.fadd(size, v.like(x, 1.0))), 21)
    t = v.fsub(size, lookup(v, "erfc_centres", _CENTRES, octaves))
    p = lookup(v, "erfc0", _TABLE[0], octaves)
    for row in range(1, len(_TABLE) - 1):
        p = v.mul_add(p, t, lookup(v, f"erfc{row}", _TABLE[row], octaves))
    at_centre = lookup(v, "erfc_at_centre", _TABLE[-1], octaves)
    square, low = v.two_product(size, size)
    result = times_exp(v, at_centre, v.fmul(p, t), v.fneg(square), v.fneg(low))
    return v.select(v.fcmp("olt", x, v.like(x, 0.0)), v.fsub(v.like(x, 2.0), result), result)


def _erfc_wide(v: Vectors, x: Vec) -> Vec:
    wide = widened(v, x)
    size = v.fmin(v.like(wide, 28.0), v.fabs(wide))
    t = v.fdiv(v.fsub(size, v.like(wide, 4.0)), v.fadd(size, v.like(wide, 4.0)))
    p = v.polynomial(t, _ERFC_SHORT if x.element == "float" else _ERFC)
    square, low = v.two_product(size, size)
    decay = exp(v, v.fneg(square))
    if x.element != "float":  # the end of x**2: e**(-low) = 1 - low
        decay = v.fsub(decay, v.fmul(decay, low))
    result = v.fdiv(v.fmul(decay, p), v.fadd(v.like(wide, 1.0), v.fadd(size, size)))
    result = v.select(v.fcmp("olt", wide, v.like(wide, 0.0)), v.fsub(v.like(wide, 2.0), result), result)
    if x.element != "float":
        small = v.fsub(v.like(wide, 1.0), erf_small(v, wide))
        result = v.select(v.fcmp("olt", size, v.like(wide, 0.4)), small, result)
    return narrowed(v, v.select(v.fcmp("uno", wide, wide), wide, result), x)
