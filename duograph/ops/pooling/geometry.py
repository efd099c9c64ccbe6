"""Where the windows of a pooling lie: sizes of results, and views of one element of each window."""

from __future__ import annotations

from operator import index
from typing import TYPE_CHECKING, Any

from duograph.errors import ArgumentError, DimensionError, DomainError, ShapeError
from duograph.ir.dim import maximum as greater
from duograph.ir.dim import minimum as lesser

from ..elementwise.choice import where
from ..shapes.creation import full, iota
from ..shapes.movement import reshape
from ..shapes.padding import zero_pad
from ..tracing import emit, require

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from duograph._core import Tensor

    Numbers = tuple[Any, ...]

UNROLLED = 32  # elements of a window that one kernel reads without a loop over them


def per_dimension(name: str, what: str, value: Any, dims: int) -> Numbers:
    """One number for each dimension of a window, of one for all or a sequence."""
    if isinstance(value, (tuple, list)):
        given = tuple(value)
        if len(given) not in (1, dims):
            raise ArgumentError(f"{name}: {what} must be one number or {dims}, got {value!r}")
        return given * dims if len(given) == 1 else given
    return (value,) * dims


def is_short(kernel: Numbers) -> bool:
    """Whether windows are so small along each dimension that a program is made for their very sizes."""
    return all(k <= UNROLLED for k in kernel)


def plain(*settings: Numbers) -> tuple[tuple[int, ...], ...]:
    """Settings as Python's own numbers, which are part of a program."""
    return tuple(tuple(map(index, numbers)) for numbers in settings)


def check_input(name: str, x: Any, dims: int) -> None:
    """Errors: DimensionError unless x has the window's dimensions, channels and perhaps a batch."""
    if len(x.shape) not in (dims + 1, dims + 2):
        raise DimensionError(f"{name}: x must have {dims + 1} or {dims + 2} dimensions, got {len(x.shape)}")


def check_window(name: str, kernel: Numbers, stride: Numbers, padding: Numbers, dilation: Numbers) -> None:
    """Errors: DomainError for settings that no window can have."""
    for what, numbers in (("kernel_size", kernel), ("stride", stride), ("dilation", dilation)):
        if any(number < 1 for number in numbers):
            raise DomainError(f"{name}: {what} must be above 0, got {numbers}")
    for k, p, d in zip(kernel, padding, dilation):
        if p < 0 or p * 2 > d * (k - 1) + 1:
            raise DomainError(
                f"{name}: padding must be between 0 and half of the window, got {padding} for kernel_size {kernel}",
                hint="pad x with nn.functional.pad before",
            )


def window_counts(
    name: str, sizes: Sequence[Any], kernel: Numbers, stride: Numbers, padding: Numbers, dilation: Numbers, ceil_mode: bool
) -> Numbers:
    """How many windows there are along each dimension; with ceil_mode the last one may reach beyond the padding.

    Errors: ShapeError if there is none.
    """
    counts = []
    for size, k, s, p, d in zip(sizes, kernel, stride, padding, dilation):
        room = size + 2 * p - (d * (k - 1) + 1)
        message = f"{name}: a window of {d * (k - 1) + 1} in a dimension of size {size} with padding {p}"
        require("le", 0, room + (s - 1 if ceil_mode else 0), ShapeError, message, "use a smaller kernel_size or more padding")
        count: Any = (room + (s - 1 if ceil_mode else 0)) // s + 1
        # No window starts behind the input and the padding in front of it.
        counts.append(lesser(count, (size + p - 1) // s + 1) if ceil_mode else count)
    return tuple(counts)


def affine_view(x: Any, shape: Sequence[Any], offsets: Sequence[Any], rows: Sequence[Sequence[Any]]) -> Tensor:
    """The view whose element i is x's at offsets + rows · i."""
    flat = tuple(c for row in rows for c in row)
    return emit("affine", [x], x.dtype, tuple(shape), offsets=tuple(offsets), coefficients=flat, distinct=False)


class Taps:
    """The elements of all windows over x's last dimensions, one view for each place in a window."""

    def __init__(
        self, x: Any, counts: Numbers, kernel: Numbers, stride: Numbers, padding: Numbers, dilation: Numbers, value: float
    ) -> None:
        self.x, self.counts = x, counts
        self.kernel, self.stride, self.padding, self.dilation = kernel, stride, padding, dilation
        self.value = value  # what stands outside of x
        self.lead = len(x.shape) - len(kernel)
        self.sizes = tuple(x.shape[self.lead :])
        low: list[Any] = [0] * self.lead
        high: list[Any] = [0] * self.lead
        for axis, (n, size, k, s, p, d) in enumerate(zip(counts, self.sizes, kernel, stride, padding, dilation)):
            low.append(p)
            high.append(p if self.exact(axis) else greater((n - 1) * s + d * (k - 1) + 1 - size - p, 0))
        self.padded = zero_pad(x, tuple(low), tuple(high)) if any(not _is_zero(n) for n in (*low, *high)) else x

    def places(self) -> Iterator[Numbers]:
        """The places in a window, row-major."""
        from itertools import product

        return product(*(range(k) for k in self.kernel))

    def at(self, place: Numbers) -> Tensor:
        """That element of each window."""
        rank = len(self.x.shape)
        shape = (*self.x.shape[: self.lead], *self.counts)
        offsets = [0] * self.lead + [i * d for i, d in zip(place, self.dilation)]
        steps = [1] * self.lead + list(self.stride)
        found = affine_view(self.padded, shape, offsets, [[steps[i] * (i == j) for j in range(rank)] for i in range(rank)])
        inside = self.inside(place) if self.value else None
        return found if inside is None else where(inside, found, full((), self.value, found.dtype))

    def inside(self, place: Numbers) -> Any:
        """Whether that element lies in x; None if it always does."""
        met: Any = None
        for axis in range(len(self.kernel)):
            for test in self._tests(axis, place[axis]):
                met = test if met is None else met & test
        return met

    def _tests(self, axis: int, i: int) -> Iterator[Any]:
        k, s, p, d = self.kernel[axis], self.stride[axis], self.padding[axis], self.dilation[axis]
        window = self.window(axis)
        if not (isinstance(p, int) and i * d >= p):
            yield window >= -((i * d - p) // s)
        reach = (self.counts[axis] - 1) * s + i * d - p  # of the last window
        if not _at_most(reach, self.sizes[axis] - 1, d * (k - 1 - i) >= p, self.exact(axis)):
            yield window <= (self.sizes[axis] - 1 + p - i * d) // s

    def exact(self, axis: int) -> bool:
        """Whether the windows are so many as fit into x and its padding, as far as is known."""
        k, s, p, d = self.kernel[axis], self.stride[axis], self.padding[axis], self.dilation[axis]
        return bool(self.counts[axis] == (self.sizes[axis] + 2 * p - d * (k - 1) - 1) // s + 1)

    def window(self, axis: int) -> Tensor:
        """The number of each window along an axis of the windows."""
        return reshape(iota(self.counts[axis]), (-1, *(1,) * (len(self.kernel) - 1 - axis)))


def _at_most(reach: Any, limit: Any, fits: bool, exact: bool) -> bool:
    if isinstance(reach, int) and isinstance(limit, int):
        return reach <= limit
    return fits and exact


def _is_zero(number: Any) -> bool:
    return isinstance(number, int) and number == 0


def window_view(x: Any, dim: int, count: Any, k: Any, s: Any, p: Any, d: Any, value: float) -> Tensor:
    """Windows along one dimension; what is in a window becomes the last dimension, `value` stands outside of x."""
    rank, size = len(x.shape), x.shape[dim]
    low = tuple(p if i == dim else 0 for i in range(rank))
    high = tuple(greater((count - 1) * s + d * (k - 1) + 1 - size - p, 0) if i == dim else 0 for i in range(rank))
    if any(not _is_zero(n) for n in (*low, *high)):
        x = zero_pad(x, low, high)
        if value:
            at = reshape(iota(x.shape[dim]), (-1, *(1,) * (rank - 1 - dim)))
            x = where((at >= p) & (at < p + size), x, full((), value, x.dtype))
    shape = (*x.shape[:dim], count, *x.shape[dim + 1 :], k)
    rows = [[(s if i == dim else 1) * (i == j) for j in range(rank)] + [d * (i == dim)] for i in range(rank)]
    return affine_view(x, shape, [0] * rank, rows)
