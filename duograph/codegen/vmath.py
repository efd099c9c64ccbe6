"""The elementary functions, for float32 and float64 vectors: within 2 units in the last place everywhere."""

from duograph.codegen.vmath_bits import exponent, next_after
from duograph.codegen.vmath_erf import erf
from duograph.codegen.vmath_exp import exp, exp2, expm1, tanh
from duograph.codegen.vmath_inverse import acos, acosh, asin, asinh, atan, atan2, atanh, cosh, hypot, sinh
from duograph.codegen.vmath_log import log, log1p, log2
from duograph.codegen.vmath_pow import floor_divide, floor_modulo, power, truncated_modulo
from duograph.codegen.vmath_special import digamma, erfc, erfinv, lgamma
from duograph.codegen.vmath_trig import cos, sin, tan

__all__ = [
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "cos",
    "cosh",
    "digamma",
    "erf",
    "erfc",
    "erfinv",
    "exp",
    "exp2",
    "expm1",
    "exponent",
    "floor_divide",
    "floor_modulo",
    "hypot",
    "lgamma",
    "log",
    "log1p",
    "log2",
    "next_after",
    "power",
    "sin",
    "sinh",
    "tan",
    "tanh",
    "truncated_modulo",
]
