"""tanh.

float32: a polynomial of degree 6 (2**-27) on each of 16 intervals of |x| + 1, four to an octave (the first stands last: its
exponent ends in 3), in the distance from a centre where tanh is nearly a float32, or from 0; the coefficients are looked up.
float64:
x + x**3 P(x**2) below 0.55, 1 - 2 / (e**(2|x|) + 1) above.
"""

from __future__ import annotations

from duograph.codegen.vector import Vec, Vectors
from duograph.codegen.vmath_exp import expm1_reduced, reduce
from duograph.codegen.vmath_format import power_of_two
from duograph.codegen.vmath_tables import lookup, tabled_polynomial

_CENTRES = (
    1.2402192, 1.7401941, 2.2402725, 2.7401428, 3.4803023, 4.480742, 5.4802375, 6.48, 7.960953, 9.961906, 11.0, 13.0, 0.0,
    0.3700554, 0.62009674, 0.8700902,
)  # fmt: skip
_TABLE = (
    (0.015104987, 0.0021089984, -0.0007151589, -0.00054557, -0.00015780891, -2.2633822e-05, -3.0868234e-06, -4.1819035e-07,
     -2.3450669e-08, -4.2951875e-10, 0.0, 0.0, -0.037564915, -0.06910026, -0.024365656, 0.01285305),
    (-0.020577118, 0.0033580412, 0.0040185954, 0.0019470814, 0.0005090322, 7.0920985e-05, 9.646015e-06, 1.3067504e-06,
     7.625691e-08, 1.394246e-09, 0.0, 0.0, 0.14348498, 0.021053704, -0.053619016, -0.058926225),
    (-0.011601361, -0.023693377, -0.01251773, -0.005195151, -0.0012464821, -0.00017076734, -2.3176119e-05, -3.1388502e-06,
     -1.6185449e-07, -2.9578222e-09, 0.0, 0.0, -0.001282694, 0.1676158, 0.13922644, 0.062240195),
    (0.1087994, 0.063854314, 0.027571049, 0.010749218, 0.0025079842, 0.00034131727, 4.6279336e-05, 6.266948e-06,
     3.1874254e-07, 5.8266867e-09, 0.0, 0.0, -0.33325958, -0.18192118, -0.020555522, 0.08059676),
    (-0.2410569, -0.10900464, -0.04330733, -0.01639716, -0.0037796472, -0.0005127494, -6.949388e-05, -9.410002e-06,
     -4.8666067e-07, -8.896827e-09, 0.0, 0.0, -1.5565652e-06, -0.30966318, -0.38373315, -0.35632837),
    (0.285099, 0.115931496, 0.044299677, 0.016534435, 0.003786975, 0.0005129024, 6.949929e-05, 9.410457e-06, 4.8741975e-07,
     8.91043e-09, 0.0, 0.0, 1.0, 0.87465554, 0.6961837, 0.50801),
    (0.8455181, 0.94024915, 0.97759926, 0.9916983, 0.99810475, 0.9997435, 0.99996525, 0.9999953, 0.99999976, 1.0, 1.0, 1.0,
     0.0, 0.35404018, 0.5511954, 0.70141995),
)  # fmt: skip
_ONE_FROM = {"float": 10.0, "double": 20.0}  # tanh rounds to 1
_SMALL = (
    -1.9529250174086795e-05, 8.338916195827902e-05, -0.0002334455118966922, 0.0005884755924368673,
    -0.0014555521091652564, 0.0035920937868050866, -0.00886323281428747, 0.02186948840191322,
    -0.05396825396446752, 0.1333333333332821, -0.3333333333333331,
)  # fmt: skip


def tanh(v: Vectors, x: Vec) -> Vec:
    size = v.fmin(v.like(x, _ONE_FROM[x.element]), v.fabs(x))  # NaN stays
    return v.copysign(_of_float(v, size) if x.element == "float" else _of_double(v, size), x)


def _of_float(v: Vectors, size: Vec) -> Vec:
    octaves = v.lshr(v.bits(v.fadd(size, v.like(size, 1.0))), 21)
    t = v.fsub(size, lookup(v, "tanh_centres", _CENTRES, octaves))
    return tabled_polynomial(v, "tanh", _TABLE, octaves, t)


def _of_double(v: Vectors, size: Vec) -> Vec:
    one, z = v.like(size, 1.0), v.fmul(size, size)
    small = v.mul_add(v.fmul(z, size), v.polynomial(z, _SMALL), size)
    r, _, exponent = reduce(v, v.fadd(size, size))
    s = power_of_two(v, exponent)
    divisor = v.mul_add(s, expm1_reduced(v, r), v.fadd(s, one))
    large = v.fsub(one, v.fdiv(v.like(size, 2.0), divisor))
    return v.select(v.fcmp("olt", size, v.like(size, 0.55)), small, large)
