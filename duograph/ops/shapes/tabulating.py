"""Tensors made of numbers: indices of triangles and of positions, powers, logarithmic steps; any view of a contiguous tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import ArgumentError, DimensionError, ShapeError

from ..definition import COMPOSITION, function, op
from ..reduction.scans import cumprod
from ..selection.masks import nonzero_tuple
from .affine_views import strided
from .arranging import flip
from .copying import cast
from .creation import full, ones_like, spaced
from .joining import cat, stack
from .movement import broadcast_to, unsqueeze

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duograph._core import DType, Tensor

    from ..definition import Size


@function(method="as_strided", samples=lambda m: [(m(12), (3, 2), (4, 1)), (m(3, 4), (2, 2), (1, 5), 2), (m(9), (3, 3), (1, 1))])
def as_strided(x: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """A view of x's memory with these sizes, strides and offset, checked to lie within x.

    Shapes:   x [*S] → [*size]
    Dtypes:   kept
    Gradient: added up where places are seen several times
    Errors:   ArgumentError unless x is contiguous; ShapeError for a view that reaches beyond x
    Source:   torch.as_strided

    >>> as_strided(tensor([1, 2, 3, 4]), (2, 2), (1, 2))
    tensor([[1, 3],
            [2, 4]])
    """
    start = 0
    if not core.tracing():
        if not x.is_contiguous():
            raise ArgumentError("as_strided: x is not contiguous", hint="use x.contiguous().as_strided(...)")
        start = 0 if storage_offset is None else storage_offset - x.storage_offset()
    elif storage_offset is not None:
        start = storage_offset
    if start < 0:
        raise ShapeError(f"as_strided: offset {storage_offset} lies in front of x, which begins at {x.storage_offset()}")
    return strided(x, tuple(size), tuple(stride), start)


def _triangle(name: str, row: int, col: int, offset: int, lower: bool, dtype: DType | None) -> Tensor:
    if row < 0 or col < 0:
        raise ShapeError(f"{name}: sizes must not be negative, got {row} and {col}")
    if core.tracing():
        from .arranging import tril, triu

        mask = full((row, col), True)
        found = stack(nonzero_tuple(tril(mask, offset) if lower else triu(mask, offset)), 0)
    else:
        found = core.triangle_positions(row, col, offset, lower)
    return found if dtype in (None, core.int64) else cast(found, dtype)


_triangles = lambda m: [(3, 4), (4, 2, -1), (3, 3, 1), (2, 3, -5)]  # noqa: E731


@function(method=False, differentiable=False, samples=_triangles)
def tril_indices(row: int, col: int, offset: int = 0, dtype: DType | None = None) -> Tensor:
    """The rows and columns of a matrix on and below a diagonal, row by row.

    Shapes:   [2, n]
    Dtypes:   int64, or dtype
    Gradient: none
    Errors:   ShapeError for a negative size
    Source:   torch.tril_indices

    >>> tril_indices(2, 2)
    tensor([[0, 1, 1],
            [0, 0, 1]])
    """
    return _triangle("tril_indices", row, col, offset, True, dtype)


@function(method=False, differentiable=False, samples=_triangles)
def triu_indices(row: int, col: int, offset: int = 0, dtype: DType | None = None) -> Tensor:
    """The rows and columns of a matrix on and above a diagonal, row by row.

    Shapes:   [2, n]
    Dtypes:   int64, or dtype
    Gradient: none
    Errors:   ShapeError for a negative size
    Source:   torch.triu_indices

    >>> triu_indices(2, 2)
    tensor([[0, 0, 1],
            [0, 1, 1]])
    """
    return _triangle("triu_indices", row, col, offset, False, dtype)


@function(method=False, differentiable=False, tolerance=64.0, samples=lambda m: [(0.0, 2.0, 5), (1.0, -1.0, 3, 2.0), (0, 1, 1)])
def logspace(start: float, end: float, steps: int, base: float = 10.0, dtype: DType | None = None) -> Tensor:
    """`steps` powers of a base, whose exponents are evenly spaced from start to end.

    Shapes:   [steps]
    Dtypes:   dtype, or the default float
    Gradient: none
    Errors:   DomainError for a negative number of steps
    Source:   torch.logspace

    >>> logspace(0, 2, 3)
    tensor([  1.,  10., 100.])
    """
    made: Any = base ** spaced(steps, start, end, core.float64)
    return cast(made, dtype or core.get_default_dtype())


@op(
    kind=COMPOSITION,
    method=False,
    public=False,
    torch=lambda torch, x, n, increasing=False: torch.vander(x, n, increasing),
    samples=lambda m: [] if m.kind == "b" else [(m(4), 3), (m(3), 4, True), (m(3), 1), (m.of([0, 2, 0]), 3)],
)
def powers(x: Tensor, n: Size, increasing: bool = False) -> Tensor:
    """The powers 0 … n - 1 of each element of a vector, the highest first unless `increasing`.

    Shapes:   x [m] → [m, n]
    Dtypes:   floats kept, integers become int64
    Gradient: derived, exact at zeros
    Errors:   DimensionError unless x is a vector
    Source:   torch.vander

    >>> dg.ops.powers(tensor([2, 3]), 3)
    tensor([[4, 2, 1],
            [9, 3, 1]])
    """
    from .slicing import slice

    wide = broadcast_to(unsqueeze(x, 1), (x.shape[0], n))
    factors = cat([ones_like(slice(wide, 1, 0, 1)), slice(wide, 1, 1, None)], 1)
    made = cumprod(slice(factors, 1, 0, n), 1)
    return made if increasing else flip(made, 1)


@function(method=False, samples=lambda m: [] if m.kind == "b" else [(m(4),), (m(3), 2), (m(3), 4, True)])
def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """The powers of each element of a vector as rows, the highest first unless `increasing`; as many as there are elements.

    Shapes:   x [m] → [m, N]
    Dtypes:   floats kept, integers become int64
    Gradient: derived, exact at zeros
    Errors:   DimensionError unless x is a vector; ArgumentError for a negative N
    Source:   torch.vander

    >>> vander(tensor([2, 3]))
    tensor([[2, 1],
            [3, 1]])
    """
    if x.dim() != 1:
        raise DimensionError(f"vander: takes a vector, got {x.dim()} dimensions")
    if N is not None and N < 0:
        raise ArgumentError(f"vander: N must not be negative, got {N}")
    return powers(x, x.shape[0] if N is None else N, increasing)


@function(
    method=False, differentiable=False, samples=lambda m: [(m.ints(5, high=12), (3, 4)), (m.ints(2, 2, high=24), (2, 3, 4))]
)
def unravel_index(indices: Tensor, shape: Sequence[int]) -> tuple[Tensor, ...]:
    """Row-major positions as one index for each dimension of a shape.

    Shapes:   indices [*I] → as many times [*I] as there are dimensions
    Dtypes:   int64
    Gradient: none
    Errors:   none
    Source:   torch.unravel_index

    >>> unravel_index(tensor([5]), (2, 3))
    (tensor([1]), tensor([2]))
    """
    found = []
    for size in reversed(tuple(shape) if not isinstance(shape, int) else (shape,)):
        found.append(indices % size)
        indices = indices // size
    return tuple(reversed(found))
