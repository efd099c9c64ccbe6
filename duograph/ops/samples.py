"""What the generated tests call operators with. An operator's `samples` takes a `Maker` and returns argument tuples,
whose last element may be a dict of keyword arguments.

Nothing here needs NumPy before a test asks for data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

Samples: TypeAlias = "Callable[[Maker], Sequence[tuple[Any, ...]]]"


class DTypeName(str):
    """The name of a dtype that is an argument."""


class Maker:
    """Makes arrays of the dtype under test from a fixed seed."""

    def __init__(self, dtype: str, seed: int = 0) -> None:
        import numpy

        self.numpy = numpy
        self.dtype = dtype
        self.kind = "f" if "float" in dtype else "b" if dtype == "bool" else "u" if dtype.startswith("u") else "i"
        self.random = numpy.random.default_rng(seed)

    def __call__(self, *shape: int, low: float = -2.0, high: float = 2.0) -> Any:
        """Values between low and high, distinct enough for extrema; integers and bool are taken from the same range."""
        numpy = self.numpy
        values = self.random.uniform(low, high, shape)
        if self.kind == "f":
            return numpy.asarray(values, "float32" if self.dtype in ("bfloat16", "float16") else self.dtype)
        if self.kind == "b":
            return numpy.asarray(values > (low + high) / 2)
        whole = numpy.floor(values * 3 if low < 0 else values + 1)
        return numpy.asarray(numpy.abs(whole) if self.kind == "u" else whole, self.dtype)

    def ints(self, *shape: int, high: int, low: int = 0) -> Any:
        """int64 indices."""
        return self.numpy.asarray(self.random.integers(low, high, shape), "int64")

    def bools(self, *shape: int) -> Any:
        return self.numpy.asarray(self.random.uniform(0, 1, shape) > 0.5)

    def of(self, values: Any) -> Any:
        """These very values in the dtype under test."""
        return self.numpy.asarray(values, "float32" if self.dtype in ("bfloat16", "float16") else self.dtype)

    def dtype_of(self, name: str) -> DTypeName:
        """A dtype as an argument: each framework under test gets its own."""
        return DTypeName(name)

    @property
    def is_float(self) -> bool:
        return self.kind == "f"


SPECIAL = (0.0, -0.0, 1.0, -1.0, 0.5, float("inf"), float("-inf"), float("nan"), 1e-30, 1e30)


def unary(low: float = -2.0, high: float = 2.0, special: Sequence[float] = SPECIAL, **kwargs: Any) -> Samples:
    """One operand in a range: a matrix, a vector past one register, a 0-d and an empty one, and special floats."""

    def make(m: Maker) -> Sequence[tuple[Any, ...]]:
        calls = [(m(3, 5, low=low, high=high),), (m(67, low=low, high=high),), (m(low=low, high=high),), (m(0, 3),)]
        if m.is_float and special:
            calls.append((m.of([x for x in special if m.dtype != "float16" or abs(x) < 6e4 or abs(x) == float("inf")]),))
        return calls

    return make


def binary(low: float = -2.0, high: float = 2.0, low2: float | None = None, scalar: float | None = 2) -> Samples:
    """Two operands: equal shapes, broadcast both ways, a Python number on either side, 0-d and empty ones."""

    def make(m: Maker) -> Sequence[tuple[Any, ...]]:
        second = low if low2 is None else low2
        calls: list[tuple[Any, ...]] = [
            (m(3, 5, low=low, high=high), m(3, 5, low=second, high=high)),
            (m(2, 1, 5, low=low, high=high), m(3, 1, low=second, high=high)),
            (m(low=low, high=high), m(19, low=second, high=high)),
            (m(0, 3), m(1, 3, low=second, high=high)),
        ]
        if scalar is not None and m.kind != "b":
            calls += [(m(7, low=low, high=high), scalar), (scalar, m(7, low=second, high=high))]
        return calls

    return make
