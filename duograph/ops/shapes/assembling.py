"""Tensors put together and taken apart: stacks, blocks, products of sets, grids."""

from __future__ import annotations

from itertools import combinations as choices
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import ArgumentError, DimensionError, DomainError, ShapeError
from duograph.ir.dim import product

from ..definition import MOVEMENT, function, op
from ..dtypes import promote
from ..selection.indexing import take_along
from ..tracing import user_operator
from .copying import clone
from .joining import cat, stack
from .movement import axis, broadcast_to, reshape
from .padding import zero_pad
from .slicing import slice
from .tabulating import triu_indices

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duograph._core import Tensor


# At least so many dimensions


def _raised(x: Any, rank: int) -> Any:
    """x with dimensions of size 1 until there are `rank`: the first in front, the third behind."""
    shape = tuple(x.shape)
    if len(shape) >= rank:
        return x
    if not shape:
        return reshape(x, (1,) * rank)
    if rank == 2:
        return reshape(x, (1, *shape))
    return reshape(x, (1, *shape, 1) if len(shape) == 1 else (*shape, 1))


def _each(tensors: tuple[Any, ...], rank: int) -> Any:
    if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
        tensors = tuple(tensors[0])
        return tuple(_raised(x, rank) for x in tensors)
    made = tuple(_raised(x, rank) for x in tensors)
    return made[0] if len(made) == 1 else made


@function(method=False, reference=lambda np, *x: np.atleast_1d(*x), samples=lambda m: [(m(),), (m(3),), (m(), m(2))])
def atleast_1d(*tensors: Tensor) -> Any:
    """Views with at least one dimension.

    Shapes:   [] → [1], others as they are; one tensor or a tuple
    Dtypes:   kept
    Gradient: reshaped back
    Errors:   none
    Source:   torch.atleast_1d

    >>> atleast_1d(tensor(3))
    tensor([3])
    """
    return _each(tensors, 1)


@function(method=False, reference=lambda np, *x: np.atleast_2d(*x), samples=lambda m: [(m(),), (m(3),), (m(2, 3), m(2))])
def atleast_2d(*tensors: Tensor) -> Any:
    """Views with at least two dimensions.

    Shapes:   [] → [1, 1], [n] → [1, n], others as they are; one tensor or a tuple
    Dtypes:   kept
    Gradient: reshaped back
    Errors:   none
    Source:   torch.atleast_2d

    >>> atleast_2d(tensor([1, 2]))
    tensor([[1, 2]])
    """
    return _each(tensors, 2)


@function(method=False, reference=lambda np, *x: np.atleast_3d(*x), samples=lambda m: [(m(),), (m(3),), (m(2, 3), m(2))])
def atleast_3d(*tensors: Tensor) -> Any:
    """Views with at least three dimensions.

    Shapes:   [] → [1, 1, 1], [n] → [1, n, 1], [n, m] → [n, m, 1], others as they are; one tensor or a tuple
    Dtypes:   kept
    Gradient: reshaped back
    Errors:   none
    Source:   torch.atleast_3d

    >>> atleast_3d(tensor([1, 2]))
    tensor([[[1],
             [2]]])
    """
    return _each(tensors, 3)


# Stacks


def _none(name: str, tensors: Sequence[Any]) -> None:
    if not tensors:
        raise ArgumentError(f"{user_operator(name)}: needs at least one tensor")


@op(
    kind=MOVEMENT,
    dtypes=promote,
    method=False,
    reference=lambda np, tensors: np.hstack(tensors),
    samples=lambda m: [([m(2, 3), m(2, 1)],), ([m(3), m(2)],), ([m(), m()],)],
)
def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors side by side: one after another along the second dimension, vectors along the first.

    Shapes:   as `cat` along dim 1, or 0 for fewer than two dimensions
    Dtypes:   promote
    Gradient: each its part
    Errors:   ShapeError if other sizes differ; ArgumentError for an empty list
    Source:   torch.hstack

    >>> hstack([tensor([1]), tensor([2, 3])])
    tensor([1, 2, 3])
    """
    _none("hstack", tensors)
    raised = [_raised(x, 1) for x in tensors]
    return cat(raised, 0 if len(raised[0].shape) == 1 else 1)


@op(
    kind=MOVEMENT,
    dtypes=promote,
    method=False,
    aliases=("row_stack",),
    reference=lambda np, tensors: np.vstack(tensors),
    samples=lambda m: [([m(2, 3), m(1, 3)],), ([m(3), m(3)],), ([m(), m()],)],
)
def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors below each other, vectors as rows.

    Shapes:   as `cat` along dim 0, after `atleast_2d`
    Dtypes:   promote
    Gradient: each its part
    Errors:   ShapeError if other sizes differ; ArgumentError for an empty list
    Source:   torch.vstack

    >>> vstack([tensor([1, 2]), tensor([3, 4])])
    tensor([[1, 2],
            [3, 4]])
    """
    _none("vstack", tensors)
    return cat([_raised(x, 2) for x in tensors], 0)


@op(
    kind=MOVEMENT,
    dtypes=promote,
    method=False,
    reference=lambda np, tensors: np.dstack(tensors),
    samples=lambda m: [([m(2, 3), m(2, 3)],), ([m(3), m(3)],), ([m(2, 3, 1), m(2, 3, 4)],)],
)
def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors behind each other, along the third dimension.

    Shapes:   as `cat` along dim 2, after `atleast_3d`
    Dtypes:   promote
    Gradient: each its part
    Errors:   ShapeError if other sizes differ; ArgumentError for an empty list
    Source:   torch.dstack

    >>> dstack([tensor([1, 2]), tensor([3, 4])])
    tensor([[[1, 3],
             [2, 4]]])
    """
    _none("dstack", tensors)
    return cat([_raised(x, 3) for x in tensors], 2)


@op(
    kind=MOVEMENT,
    dtypes=promote,
    method=False,
    reference=lambda np, tensors: np.column_stack(tensors),
    samples=lambda m: [([m(2, 3), m(2)],), ([m(3), m(3)],)],
)
def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors side by side, vectors as columns.

    Shapes:   as `cat` along dim 1, vectors [n] as [n, 1]
    Dtypes:   promote
    Gradient: each its part
    Errors:   ShapeError if other sizes differ; ArgumentError for an empty list
    Source:   torch.column_stack

    >>> column_stack([tensor([1, 2]), tensor([3, 4])])
    tensor([[1, 3],
            [2, 4]])
    """
    _none("column_stack", tensors)
    return cat([reshape(x, (product(tuple(x.shape)), 1)) if len(x.shape) < 2 else x for x in tensors], 1)


def _np_blocks(np: Any, *tensors: Any) -> Any:
    parts = [np.atleast_2d(x) for x in tensors]
    made = np.zeros(np.sum([p.shape for p in parts], 0), np.result_type(*parts))
    row = column = 0
    for part in parts:
        made[row : row + part.shape[0], column : column + part.shape[1]] = part
        row, column = row + part.shape[0], column + part.shape[1]
    return made


@op(
    kind=MOVEMENT,
    dtypes=promote,
    method=False,
    public=False,
    reference=lambda np, tensors: _np_blocks(np, *tensors),
    samples=lambda m: [([m(2, 3), m(1, 2)],), ([m(2), m()],), ([m(0, 1), m(2, 2)],)],
)
def blocks(tensors: Sequence[Tensor]) -> Tensor:
    """Matrices along a diagonal, zeros elsewhere.

    Shapes:   [n, m] … → [sum of n, sum of m]; vectors are rows
    Dtypes:   promote
    Gradient: each its block
    Errors:   DimensionError for more than two dimensions; ArgumentError for none
    Source:   torch.block_diag

    >>> dg.ops.blocks([tensor([1]), tensor([2])])
    tensor([[1, 0],
            [0, 2]])
    """
    name = user_operator("block_diag")
    _none(name, tensors)
    for x in tensors:
        if len(x.shape) > 2:
            raise DimensionError(f"{name}: takes matrices, got {len(x.shape)} dimensions")
    parts = [_raised(x, 2) for x in tensors]
    width: Any = 0
    for part in parts:
        width = width + part.shape[1]
    rows, left = [], 0
    for part in parts:
        rows.append(zero_pad(part, (0, left), (0, width - left - part.shape[1])))
        left = left + part.shape[1]
    return cat(rows, 0)


@function(method=False, reference=_np_blocks, samples=lambda m: [(m(2, 3), m(1, 2)), (m(2),)])
def block_diag(*tensors: Tensor) -> Tensor:
    """Matrices along a diagonal, zeros elsewhere.

    Shapes:   [n, m] … → [sum of n, sum of m]; vectors are rows
    Dtypes:   promote
    Gradient: each its block
    Errors:   DimensionError for more than two dimensions; ArgumentError for none
    Source:   torch.block_diag

    >>> block_diag(tensor([1]), tensor([2]))
    tensor([[1, 0],
            [0, 2]])
    """
    return blocks(tensors)


# Grids and sets


@function(
    method=False,
    reference=lambda np, *x, indexing="ij": tuple(np.meshgrid(*x, indexing=indexing)),
    torch=lambda torch, *x: torch.meshgrid(*x, indexing="ij"),
    samples=lambda m: [(m(3), m(2)), (m(2), m(), m(4)), (m(3),)],
)
def meshgrid(*tensors: Tensor, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Each vector stretched over the grid of all: views in which it varies along its own dimension.

    Shapes:   [n], [m], … → each [n, m, …]; the first two exchanged for indexing "xy"
    Dtypes:   kept
    Gradient: summed over the other dimensions
    Errors:   DomainError for another indexing; DimensionError for more than one dimension
    Source:   torch.meshgrid

    >>> meshgrid(tensor([1, 2]), tensor([3, 4]))[0]
    tensor([[1, 1],
            [2, 2]])
    """
    given = tuple(tensors[0]) if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)) else tensors
    if indexing not in ("ij", "xy"):
        raise DomainError(f"meshgrid: indexing must be 'ij' or 'xy', got {indexing!r}")
    for x in given:
        if x.dim() > 1:
            raise DimensionError(f"meshgrid: takes vectors, got {x.dim()} dimensions")
    count = len(given)
    vectors = [reshape(x, (-1,)) if x.dim() == 0 else x for x in given]
    order = [1, 0, *range(2, count)] if indexing == "xy" and count > 1 else list(range(count))
    shape = tuple(vectors[d].shape[0] for d in order)
    return tuple(
        broadcast_to(reshape(x, tuple(x.shape[0] if order[d] == i else 1 for d in range(count))), shape)
        for i, x in enumerate(vectors)
    )


def _np_product(np: Any, *x: Any) -> Any:
    return x[0] if len(x) == 1 else np.stack(np.meshgrid(*x, indexing="ij"), -1).reshape(-1, len(x))


@function(method=False, reference=_np_product, samples=lambda m: [(m(3), m(2)), (m(2), m(2), m(3)), (m(3),), (m(0), m(2))])
def cartesian_prod(*tensors: Tensor) -> Tensor:
    """All choices of one element of each vector.

    Shapes:   [n], [m], … → [n * m * …, how many vectors]; one vector as it is
    Dtypes:   promote
    Gradient: derived
    Errors:   DimensionError for other ranks
    Source:   torch.cartesian_prod

    >>> cartesian_prod(tensor([1, 2]), tensor([3, 4]))
    tensor([[1, 3],
            [1, 4],
            [2, 3],
            [2, 4]])
    """
    for x in tensors:
        if x.dim() != 1:
            raise DimensionError(f"cartesian_prod: takes vectors, got {x.dim()} dimensions")
    if len(tensors) == 1:
        return tensors[0]
    return reshape(stack(meshgrid(*tensors), -1), (-1, len(tensors)))


def _np_combinations(np: Any, x: Any, r: int = 2, with_replacement: bool = False) -> Any:
    found = (combinations_with_replacement if with_replacement else choices)(range(len(x)), r)
    return x[np.asarray(list(found), "int64").reshape(-1, r)] if r else np.zeros((0,), x.dtype)


@function(
    reference=_np_combinations,
    samples=lambda m: [(m(4),), (m(4), 3), (m(3), 2, True), (m(2), 3), (m(3), 1)],
)
def combinations(x: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All choices of r elements of a vector, in order.

    Shapes:   x [n] → [n choose r, r]
    Dtypes:   kept
    Gradient: added up
    Errors:   DimensionError unless x is a vector; DomainError for a negative r
    Source:   torch.combinations

    >>> combinations(tensor([1, 2, 3]))
    tensor([[1, 2],
            [1, 3],
            [2, 3]])
    """
    if x.dim() != 1:
        raise DimensionError(f"combinations: takes a vector, got {x.dim()} dimensions")
    if r < 0:
        raise DomainError(f"combinations: r must not be negative, got {r}")
    if r == 0:
        return clone(x[:0])
    if r == 2:
        first, second = triu_indices(x.shape[0], x.shape[0], 0 if with_replacement else 1)
        return stack([take_along(x, at, 0) for at in (first, second)], 1)
    found = (combinations_with_replacement if with_replacement else choices)(range(int(x.shape[0])), r)
    flat = [i for row in found for i in row]
    return reshape(take_along(x, core.from_flat(flat, core.int64, (len(flat),)), 0), (-1, r) if flat else (0, r))


# Parts


def _np_tensor_split(np: Any, x: Any, parts: Any, dim: int = 0) -> Any:
    return tuple(np.array_split(x, parts, dim))


@function(
    reference=_np_tensor_split,
    samples=lambda m: [(m(7), 3), (m(2, 5), 2, 1), (m(5), (1, 3)), (m(2), 4), (m(5), (2, 9))],
    names="sections=indices_or_sections indices=indices_or_sections tensor_indices_or_sections=indices_or_sections",
)
def tensor_split(x: Tensor, indices_or_sections: int | Sequence[int] | Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of consecutive parts: so many of nearly equal size, or those between given places.

    Shapes:   x [*S] → [*S with its own size at dim] …
    Dtypes:   kept
    Gradient: concatenated
    Errors:   DomainError for less than one part; DimensionError
    Source:   torch.tensor_split

    >>> tensor_split(tensor([1, 2, 3]), 2)[0]
    tensor([1, 2])
    """
    at = axis("tensor_split", dim, x.ndim)
    if not x.ndim:
        raise DimensionError("tensor_split: a 0-d tensor has no parts")
    given: Any = indices_or_sections
    if isinstance(given, core.Tensor):
        given = given.tolist()
    size = x.shape[at]
    if isinstance(given, (tuple, list)):
        bounds = [None, *given, None]
        return tuple(slice(x, at, start, stop) for start, stop in zip(bounds, bounds[1:]))
    if given < 1:
        raise DomainError(f"tensor_split: at least one part is needed, got {given}")
    small, larger = size // given, size % given
    starts = [i * small + (i if i < larger else larger) for i in range(given + 1)]
    return tuple(slice(x, at, start, stop) for start, stop in zip(starts, starts[1:]))


def _split_along(name: str, x: Any, given: Any, dim: int, least: int) -> tuple[Tensor, ...]:
    if x.dim() < least:
        raise DimensionError(f"{name}: needs at least {least} dimensions, got {x.dim()}")
    if isinstance(given, int) and (given < 1 or x.shape[dim] % given):
        raise ShapeError(f"{name}: size {x.shape[dim]} of dimension {dim} does not fall into {given} equal parts")
    return tensor_split(x, given, dim)


@function(
    reference=lambda np, x, parts: tuple(np.hsplit(x, parts)),
    samples=lambda m: [(m(4), 2), (m(2, 6), 3), (m(2, 5), (1, 3))],
    names="sections=indices_or_sections indices=indices_or_sections",
)
def hsplit(x: Tensor, indices_or_sections: int | Sequence[int]) -> tuple[Tensor, ...]:
    """Views of equal parts (or those between places) along the second dimension, of a vector along the first.

    Shapes:   x [*S] → [*S with its own size] …
    Dtypes:   kept
    Gradient: concatenated
    Errors:   ShapeError unless the parts are equal; DimensionError
    Source:   torch.hsplit

    >>> hsplit(tensor([1, 2]), 2)[1]
    tensor([2])
    """
    return _split_along("hsplit", x, indices_or_sections, 0 if x.dim() == 1 else 1, 1)


@function(
    reference=lambda np, x, parts: tuple(np.vsplit(x, parts)),
    samples=lambda m: [(m(4, 2), 2), (m(5, 2), (1, 3))],
    names="sections=indices_or_sections indices=indices_or_sections",
)
def vsplit(x: Tensor, indices_or_sections: int | Sequence[int]) -> tuple[Tensor, ...]:
    """Views of equal parts (or those between places) along the first dimension.

    Shapes:   x [*S] → [*S with its own size] …
    Dtypes:   kept
    Gradient: concatenated
    Errors:   ShapeError unless the parts are equal; DimensionError for fewer than two dimensions
    Source:   torch.vsplit

    >>> vsplit(tensor([[1], [2]]), 2)[1]
    tensor([[2]])
    """
    return _split_along("vsplit", x, indices_or_sections, 0, 2)


@function(
    reference=lambda np, x, parts: tuple(np.dsplit(x, parts)),
    samples=lambda m: [(m(2, 2, 4), 2), (m(1, 2, 5), (1, 3))],
    names="sections=indices_or_sections indices=indices_or_sections",
)
def dsplit(x: Tensor, indices_or_sections: int | Sequence[int]) -> tuple[Tensor, ...]:
    """Views of equal parts (or those between places) along the third dimension.

    Shapes:   x [*S] → [*S with its own size] …
    Dtypes:   kept
    Gradient: concatenated
    Errors:   ShapeError unless the parts are equal; DimensionError for fewer than three dimensions
    Source:   torch.dsplit

    >>> dsplit(tensor([[[1, 2]]]), 2)[1]
    tensor([[[2]]])
    """
    return _split_along("dsplit", x, indices_or_sections, 2, 3)
