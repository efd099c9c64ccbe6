"""Shapes of which sizes, or the rank itself, may be unknown while a graph is built."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from duograph.errors import ArgumentError, ShapeError
from duograph.ir.types import DTypeLike, TensorType

__all__ = ["Dimension", "TensorShape"]


class Dimension:
    """One size of a shape: `value` is a number, or None where only a run knows it.

    Arithmetic and comparisons with an unknown size are unknown (None for comparisons), as in TensorFlow 1.
    """

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value: int | None = value.value if isinstance(value, Dimension) else None if value is None else int(value)

    def __int__(self) -> int:
        if self.value is None:
            raise ShapeError(
                "a size that is unknown while the graph is built is no number", hint="use tf.shape(x)[i], which each run knows"
            )
        return self.value

    __index__ = __int__

    def __repr__(self) -> str:
        return f"Dimension({self.value})"

    def __str__(self) -> str:
        return "?" if self.value is None else str(self.value)

    def __hash__(self) -> int:
        return hash(self.value)

    def __eq__(self, other: object) -> bool:
        return self.value == (other.value if isinstance(other, Dimension) else other)

    def _with(self, other: Any, function: Any) -> Dimension:
        right = Dimension(other).value
        return Dimension(None if self.value is None or right is None else function(self.value, right))

    def __add__(self, other: Any) -> Dimension:
        return self._with(other, lambda a, b: a + b)

    def __sub__(self, other: Any) -> Dimension:
        return self._with(other, lambda a, b: a - b)

    def __rsub__(self, other: Any) -> Dimension:
        return self._with(other, lambda a, b: b - a)

    def __mul__(self, other: Any) -> Dimension:
        return self._with(other, lambda a, b: a * b)

    def __floordiv__(self, other: Any) -> Dimension:
        return self._with(other, lambda a, b: a // b)

    def __rfloordiv__(self, other: Any) -> Dimension:
        return self._with(other, lambda a, b: b // a)

    def __mod__(self, other: Any) -> Dimension:
        return self._with(other, lambda a, b: a % b)

    __radd__, __rmul__ = __add__, __mul__

    def _compared(self, other: Any, function: Any) -> bool | None:
        right = Dimension(other).value
        return None if self.value is None or right is None else function(self.value, right)

    def __lt__(self, other: Any) -> bool | None:
        return self._compared(other, lambda a, b: a < b)

    def __le__(self, other: Any) -> bool | None:
        return self._compared(other, lambda a, b: a <= b)

    def __gt__(self, other: Any) -> bool | None:
        return self._compared(other, lambda a, b: a > b)

    def __ge__(self, other: Any) -> bool | None:
        return self._compared(other, lambda a, b: a >= b)


Sizes = tuple[int | None, ...]


def sizes_of(shape: Any) -> Sizes | None:
    """A shape as users write it, as a tuple of numbers and Nones; None for unknown rank."""
    if shape is None:
        return None
    if isinstance(shape, TensorShape):
        return shape.sizes
    if isinstance(shape, (int, Dimension)):
        shape = (shape,)
    for size in shape:
        if isinstance(size, (str, bytes)):
            raise ArgumentError(f"a size is a number or None, not {size!r}")
    sizes = tuple(None if size is None else size.value if isinstance(size, Dimension) else int(size) for size in shape)
    sizes = tuple(None if size == -1 else size for size in sizes)
    for size in sizes:
        if size is not None and size < 0:
            raise ShapeError(
                f"a size is negative: {size} in the shape {list(sizes)}", hint="None stands for a size that each run gives"
            )
    return sizes


class TensorShape:
    """What is known of a tensor's shape: `as_list()` gives numbers and Nones, `ndims` is None for unknown rank."""

    __slots__ = ("sizes",)

    def __init__(self, dims: Any) -> None:
        self.sizes = sizes_of(dims)

    @property
    def ndims(self) -> int | None:
        """The rank, None if unknown."""
        return None if self.sizes is None else len(self.sizes)

    rank = ndims

    @property
    def dims(self) -> list[Dimension] | None:
        """The sizes as Dimensions."""
        return None if self.sizes is None else [Dimension(size) for size in self.sizes]

    def _known(self) -> Sizes:
        if self.sizes is None:
            raise ShapeError(
                "the rank of this tensor is unknown while the graph is built",
                hint="give its placeholder a shape, or use set_shape",
            )
        return self.sizes

    def as_list(self) -> list[int | None]:
        """The sizes, None for each that is unknown. ShapeError for unknown rank."""
        return list(self._known())

    def num_elements(self) -> int | None:
        """The number of elements, None if unknown."""
        if not self.is_fully_defined():
            return None
        count = 1
        for size in self._known():
            count *= size or 0
        return count

    def is_fully_defined(self) -> bool:
        """Whether every size is known."""
        return self.sizes is not None and None not in self.sizes

    def is_compatible_with(self, other: Any) -> bool:
        """Whether a tensor could have both shapes."""
        mine, theirs = self.sizes, sizes_of(other)
        if mine is None or theirs is None:
            return True
        return len(mine) == len(theirs) and all(a is None or b is None or a == b for a, b in zip(mine, theirs))

    def merge_with(self, other: Any) -> TensorShape:
        """What both shapes say together; ShapeError if they contradict."""
        theirs = sizes_of(other)
        if not self.is_compatible_with(theirs):
            raise ShapeError(f"shapes {self} and {TensorShape(theirs)} do not fit together")
        if self.sizes is None or theirs is None:
            return TensorShape(theirs if self.sizes is None else self.sizes)
        return TensorShape(tuple(b if a is None else a for a, b in zip(self.sizes, theirs)))

    def concatenate(self, other: Any) -> TensorShape:
        """The sizes of both, one behind the other."""
        theirs = sizes_of(other)
        return TensorShape(None if self.sizes is None or theirs is None else (*self.sizes, *theirs))

    def with_rank(self, rank: int) -> TensorShape:
        """The same shape, which must be able to have this rank."""
        return self.merge_with((None,) * rank)

    def __len__(self) -> int:
        return len(self._known())

    def __bool__(self) -> bool:
        return self.sizes is not None

    def __iter__(self) -> Iterator[Dimension]:
        return iter([Dimension(size) for size in self._known()])

    def __getitem__(self, key: Any) -> Any:
        found = self._known()[key]
        return TensorShape(found) if isinstance(key, slice) else Dimension(found)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (TensorShape, Sequence, type(None))) and self.sizes == sizes_of(other)

    def __hash__(self) -> int:
        return hash(self.sizes)

    def __add__(self, other: Any) -> TensorShape:
        return self.concatenate(other)

    def __repr__(self) -> str:
        return f"TensorShape({None if self.sizes is None else list(self.sizes)})"

    def __str__(self) -> str:
        if self.sizes is None:
            return "<unknown>"
        return f"({', '.join('?' if size is None else str(size) for size in self.sizes)}{',' if len(self.sizes) == 1 else ''})"


class PartialType(TensorType):
    """The type of a value of which a run knows more: `sizes` holds None for an unknown size, and is None for unknown rank."""

    __slots__ = ("sizes",)

    def __init__(self, dtype: DTypeLike, sizes: Sizes | None) -> None:
        self.dtype = dtype
        self.sizes = sizes
        self.weak = False

    @property
    def shape(self) -> Any:  # type: ignore[override]
        return TensorShape(self.sizes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PartialType) and self.dtype is other.dtype and self.sizes == other.sizes

    def __hash__(self) -> int:
        return hash((self.dtype.name, self.sizes))

    def __repr__(self) -> str:
        if self.sizes is None:
            return f"{self.dtype.name}[...]"
        return f"{self.dtype.name}[{', '.join('?' if size is None else str(size) for size in self.sizes)}]"
