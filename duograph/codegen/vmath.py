"""The elementary functions, for float32 and float64 vectors: within 2 units in the last place everywhere."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from duograph.codegen.llvm import Function, mangle
from duograph.codegen.vector import Vec, Vectors

# Where each is; a process imports those it emits.
_MODULES = {
    "bits": ("exponent", "mantissa", "next_after"),
    "erf": ("erf",),
    "erfc": ("erfc",),
    "erfinv": ("erfinv",),
    "exp": ("exp", "exp2", "expm1"),
    "inverse": ("acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cosh", "hypot", "sinh"),
    "log": ("log", "log1p", "log2"),
    "pow": ("floor_divide", "floor_modulo", "power", "truncated_modulo"),
    "special": ("digamma", "lgamma"),
    "sqrt": ("sqrt",),
    "tanh": ("tanh",),
    "trig": ("cos", "sin", "tan"),
}
_HOME = {name: f"duograph.codegen.vmath_{module}" for module, names in _MODULES.items() for name in names}

_INLINE = 4  # a function written out so often for single values is called from then on: compiling it takes longest
_SHORT = ("exponent", "mantissa", "next_after", "sqrt")  # but for these


def named(name: str) -> Callable[..., Any]:
    """The function of a name, imported when first called: takes `Vectors` and vectors. KeyError for an unknown name."""
    home = _HOME[name]

    def call(v: Vectors, *arguments: Vec) -> Any:
        function = getattr(import_module(home), name)
        if v.lanes == 1 and name not in _SHORT:
            v.function.written[name] += 1
            if v.function.written[name] > _INLINE:
                return _called(v, name, function, arguments)
        return function(v, *arguments)

    return call


def _called(v: Vectors, name: str, function: Callable[..., Vec], arguments: tuple[Vec, ...]) -> Vec:
    """The function of single values, written once in the module."""
    module, kind = v.function.module, arguments[0].type
    symbol = f"{name}.{mangle(kind)}"
    if not module.has(symbol):
        parameters = [(value.type, f"x{i}") for i, value in enumerate(arguments)]
        f = Function(module, symbol, parameters, linkage="internal", result=kind, attributes="noinline")
        made = function(Vectors(f, v.target, 1), *(Vec(f"%x{i}", value.element, 1) for i, value in enumerate(arguments)))
        f.ret(f"{made.type} {made.ref}")
        module.add(f)
    operands = ", ".join(f"{value.type} {value.ref}" for value in arguments)
    return Vec(v.function.op(f"call {kind} @{symbol}({operands})"), arguments[0].element, 1)
