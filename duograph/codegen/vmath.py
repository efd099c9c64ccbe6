"""The elementary functions, for float32 and float64 vectors: within 2 units in the last place everywhere."""

from duograph.codegen.vmath_erf import erf
from duograph.codegen.vmath_exp import exp, exp2, expm1, tanh
from duograph.codegen.vmath_log import log, log1p, log2
from duograph.codegen.vmath_pow import floor_divide, floor_modulo, power
from duograph.codegen.vmath_trig import cos, sin, tan

__all__ = [
    "cos",
    "erf",
    "exp",
    "exp2",
    "expm1",
    "floor_divide",
    "floor_modulo",
    "log",
    "log1p",
    "log2",
    "power",
    "sin",
    "tan",
    "tanh",
]
