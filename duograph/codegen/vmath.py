"""The elementary functions, for float32 and float64 vectors: within 2 units in the last place everywhere."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

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


def named(name: str) -> Callable[..., Any]:
    """The function of a name, imported when first called: takes `Vectors` and vectors. KeyError for an unknown name."""
    home = _HOME[name]

    def call(*arguments: Any) -> Any:
        return getattr(import_module(home), name)(*arguments)

    return call
