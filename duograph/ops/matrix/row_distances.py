"""Distances between rows, of one matrix or of two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph.errors import ArgumentError, DomainError, ShapeError

from ..definition import CONTRACTION, REDUCTION, function, op
from ..dtypes import floats
from ..elementwise.choice import clamp_min, where
from ..gradient import unbroadcast
from ..reduction.norms import vector_norm
from ..reduction.reductions import sum
from ..selection.indexing import take_along
from ..selection.searching import search
from ..shapes.movement import unsqueeze
from ..shapes.permuting import transpose
from ..tracing import require_equal, user_operator
from .contractions import matmul

if TYPE_CHECKING:
    from duograph._core import Tensor


def _distance_samples(m: Any) -> Any:
    return [(m(4, 3), m(5, 3)), (m(2, 3, 2), m(2, 4, 2))] if m.is_float else []


@op(
    kind=REDUCTION,
    dtypes=floats,
    method=False,
    public=False,
    tolerance=8.0,
    torch=lambda torch, x1, x2, p=2.0: torch.cdist(x1, x2, p),
    samples=lambda m: [*_distance_samples(m), *((*_distance_samples(m)[-1], p) for p in (1.0, 3.0, float("inf")) if m.is_float)],
)
def distances(x1: Tensor, x2: Tensor, p: float = 2.0) -> Tensor:
    """The distances of order p of all pairs of rows, from their differences.

    Shapes:   x1 [*S, n, k], x2 [*T, m, k] → [*broadcast(S, T), n, m]
    Dtypes:   floats
    Gradient: as of the norm
    Errors:   ShapeError if rows differ in length; DTypeError
    Source:   torch.cdist

    >>> dg.ops.distances(tensor([[0.0, 0.0]]), tensor([[3.0, 4.0]]))
    tensor([[5.]])
    """
    _same_rows(x1, x2)
    return vector_norm(unsqueeze(x1, -2) - unsqueeze(x2, -3), float(p), -1)


def _check_order(name: str, p: float) -> None:
    if p < 0:
        raise DomainError(f"{name}: p must not be negative, got {p}")


def _same_rows(x1: Any, x2: Any) -> None:
    name = user_operator("cdist")
    for x in (x1, x2):
        if len(x.shape) < 2:
            raise ShapeError(f"{name}: takes rows of matrices, got shape {tuple(x.shape)}")
    require_equal(name, x1.shape[-1], x2.shape[-1], f"rows of x1 have {x1.shape[-1]} elements, of x2 {x2.shape[-1]}")


@op(
    kind=CONTRACTION,
    dtypes=floats,
    method=False,
    public=False,
    tolerance=64.0,
    torch=lambda torch, x1, x2: torch.cdist(x1, x2, 2.0),
    samples=_distance_samples,
)
def distances_by_product(x1: Tensor, x2: Tensor) -> Tensor:
    """The Euclidean distances of all pairs of rows, from their lengths and products: faster, but rows close to each other
    have distances that are less exact.

    Shapes:   x1 [*S, n, k], x2 [*T, m, k] → [*broadcast(S, T), n, m]
    Dtypes:   floats
    Gradient: the differences over the distances, 0 where these are 0
    Errors:   ShapeError if rows differ in length; DTypeError
    Source:   torch.cdist

    >>> dg.ops.distances_by_product(tensor([[0.0, 0.0]]), tensor([[3.0, 4.0]]))
    tensor([[5.]])
    """
    _same_rows(x1, x2)
    lengths = unsqueeze(sum(x1 * x1, -1), -1) + unsqueeze(sum(x2 * x2, -1), -2)
    return clamp_min(lengths - matmul(x1, transpose(x2, -1, -2)) * 2.0, 0.0) ** 0.5


@distances_by_product.vjp
def _(g: Any, out: Any, x1: Any, x2: Any) -> Any:
    weights = where(out == 0, 0.0, g / out)
    back = transpose(weights, -1, -2)
    to_x1 = x1 * sum(weights, -1, True) - matmul(weights, x2)
    to_x2 = x2 * sum(back, -1, True) - matmul(back, x1)
    return unbroadcast(to_x1, x1.shape), unbroadcast(to_x2, x2.shape)


@function(
    method=False,
    tolerance=8.0,
    samples=lambda m: [*_distance_samples(m), (m(30, 4), m(28, 4))] if m.is_float else [],
    autocast="float32",
)
def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str = "use_mm_for_euclid_dist_if_necessary") -> Tensor:
    """The distances of order p of all pairs of rows.

    Euclidean ones of more than 25 rows come from a matrix product unless compute_mode is "donot_use_mm_for_euclid_dist".

    Shapes:   x1 [*S, n, k], x2 [*T, m, k] → [*broadcast(S, T), n, m]
    Dtypes:   floats
    Gradient: as of the norm
    Errors:   ShapeError if rows differ in length; ArgumentError for another mode; DomainError for a negative p; DTypeError
    Source:   torch.cdist

    >>> cdist(tensor([[0.0, 0.0]]), tensor([[3.0, 4.0]]))
    tensor([[5.]])
    """
    modes = ("use_mm_for_euclid_dist_if_necessary", "use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist")
    if compute_mode not in modes:
        raise ArgumentError(f"cdist: compute_mode must be one of {', '.join(modes)}, got {compute_mode!r}")
    _check_order("cdist", p)
    euclidean = p == 2 and x1.dim() > 1 and x2.dim() > 1 and compute_mode != modes[2]
    if euclidean and (compute_mode == modes[1] or x1.shape[-2] > 25 or x2.shape[-2] > 25):
        return distances_by_product(x1, x2)
    return distances(x1, x2, float(p))


@op(
    kind=REDUCTION,
    dtypes=floats,
    method=False,
    functional=True,
    tolerance=16.0,
    torch=lambda torch, x, p=2.0: torch.nn.functional.pdist(x, p),
    samples=lambda m: [(m(4, 3),), (m(3, 2), 1.0)] if m.is_float else [],
)
def pdist(x: Tensor, p: float = 2.0) -> Tensor:
    """The distances of order p of all pairs of different rows, row by row.

    Shapes:   x [n, k] → [n * (n - 1) / 2]
    Dtypes:   floats
    Gradient: as of the norm
    Errors:   ShapeError unless x is a matrix; DomainError for a negative p; DTypeError
    Source:   torch.nn.functional.pdist

    >>> pdist(tensor([[0.0, 0.0], [3.0, 4.0]]))
    tensor([5.])
    """
    from ..reduction.norms import vector_norm
    from ..reduction.scans import cumsum
    from ..shapes.creation import iota

    _check_order(user_operator("pdist"), p)
    if len(x.shape) != 2:
        raise ShapeError(f"{user_operator('pdist')}: takes a matrix, got shape {tuple(x.shape)}")
    n = x.shape[0]
    pairs = n * (n - 1) // 2
    place = iota(pairs)
    starts = cumsum(n - 1 - iota(n), 0)  # pairs of all rows up to each
    first = search(starts, place, True)
    before = take_along(starts, first, 0) - (n - 1 - first)
    second = place - before + first + 1
    return vector_norm(take_along(x, first, 0) - take_along(x, second, 0), float(p), -1)
