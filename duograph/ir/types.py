"""Types of values: a dtype and a shape whose sizes may be symbolic."""

from __future__ import annotations

from typing import Protocol

from .dim import Dim, Expr, product
from .substitution import substitute


class DTypeLike(Protocol):
    """What the IR asks of an element type: the core's dtypes fulfil it."""

    @property
    def name(self) -> str: ...
    @property
    def itemsize(self) -> int: ...
    @property
    def code(self) -> int: ...
    @property
    def kind(self) -> str: ...
    @property
    def is_floating_point(self) -> bool: ...


class TensorType:
    """dtype and shape of a tensor; `weak` marks a Python number, which adopts the dtype of the tensor it meets."""

    __slots__ = ("dtype", "shape", "weak")

    def __init__(self, dtype: DTypeLike, shape: tuple[Expr, ...] = (), weak: bool = False) -> None:
        self.dtype = dtype
        self.shape = shape
        self.weak = weak

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> Expr:
        """The number of elements."""
        return product(self.shape)

    @property
    def bytes(self) -> Expr:
        return product(self.shape) * self.dtype.itemsize

    def with_shape(self, shape: tuple[Expr, ...]) -> TensorType:
        return TensorType(self.dtype, shape)

    def substitute(self, values: dict[Dim, Expr]) -> TensorType:
        """The type with symbols replaced; the same object where nothing changes."""
        shape = tuple(substitute(size, values) for size in self.shape)
        return self if shape == self.shape else TensorType(self.dtype, shape, self.weak)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, TensorType)
            and self.dtype.code == other.dtype.code
            and self.shape == other.shape
            and self.weak == other.weak
        )

    def __hash__(self) -> int:
        return hash((self.dtype.code, self.shape, self.weak))

    def __repr__(self) -> str:
        weak = "weak " if self.weak else ""
        return f"{weak}{self.dtype.name}[{', '.join(map(str, self.shape))}]"


def dtype_by_name(name: str) -> DTypeLike:
    """The core's dtype of this name."""
    from duograph import _core

    found: DTypeLike = getattr(_core, name)
    return found
