"""Views with their dimensions in another order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph.errors import DimensionError

from ..definition import VIEW, function, op
from ..tracing import emit, user_operator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duograph._core import Tensor

    from ..definition import Axis


from .movement import axis


def _permuted(x: Any, dims: tuple[int, ...]) -> Tensor:
    return emit("permute", [x], x.dtype, tuple(x.shape[d] for d in dims), dims=dims)


def _inverse(dims: Sequence[int]) -> tuple[int, ...]:
    result = [0] * len(dims)
    for new, old in enumerate(dims):
        result[old] = new
    return tuple(result)


def _permutation(name: str, dims: Any, rank: int) -> tuple[int, ...]:
    given = (dims,) if isinstance(dims, int) else tuple(dims)
    if len(given) == 1 and isinstance(given[0], (tuple, list)):
        given = tuple(given[0])
    found = tuple(axis(name, d, rank) for d in given)
    if len(found) != rank or len(set(found)) != rank:
        raise DimensionError(f"{user_operator(name)}: dims {given} must name each of the {rank} dimensions once")
    return found


@op(
    kind=VIEW,
    lowers=True,
    reference=lambda np, x, *dims: np.transpose(x, dims[0] if len(dims) == 1 and isinstance(dims[0], tuple) else dims),
    samples=lambda m: [(m(2, 3, 4), 2, 0, 1), (m(2, 3, 4), (0, -1, 1)), (m(5), 0), (m(0, 3), 1, 0), (m(), ())],
)
def permute(x: Tensor, *dims: Axis) -> Tensor:
    """The dimensions in another order.

    Shapes:   x [*S] → [S[dims[0]], S[dims[1]], …]
    Dtypes:   kept
    Gradient: permuted back
    Errors:   DimensionError unless dims names each dimension once
    Source:   torch.permute

    >>> permute(tensor([[1, 2], [3, 4]]), 1, 0)
    tensor([[1, 3],
            [2, 4]])
    """
    return _permuted(x, _permutation("permute", dims, len(x.shape)))


@permute.vjp
def _(g: Any, out: Any, x: Any, *dims: Any) -> Any:
    return permute(g, _inverse(_permutation("permute", dims, len(x.shape))))


@permute.writes_through
def _(base: Any, value: Any, *dims: Any) -> Any:
    return permute(value, _inverse(_permutation("permute", dims, len(base.shape))))


@op(
    kind=VIEW,
    lowers=True,
    reference="numpy.swapaxes",
    aliases=("swapaxes", "swapdims"),
    inplace=True,
    names="axis0=dim0 axis1=dim1",
    samples=lambda m: [(m(2, 3, 4), 0, 2), (m(2, 3, 4), -1, 1), (m(4), 0, 0), (m(0, 3), 0, 1)],
)
def transpose(x: Tensor, dim0: int, dim1: int) -> Tensor:
    """With two dimensions exchanged.

    Shapes:   x [*S] → [*S with sizes dim0 and dim1 exchanged]
    Dtypes:   kept
    Gradient: transposed back
    Errors:   DimensionError for a dim out of range
    Source:   torch.transpose

    >>> transpose(tensor([[1, 2], [3, 4]]), 0, 1)
    tensor([[1, 3],
            [2, 4]])
    """
    rank = len(x.shape)
    first, second = axis("transpose", dim0, rank), axis("transpose", dim1, rank)
    dims = list(range(rank))
    if rank:
        dims[first], dims[second] = second, first
    return _permuted(x, tuple(dims))


@transpose.vjp
def _(g: Any, out: Any, x: Any, dim0: int, dim1: int) -> Any:
    return transpose(g, dim0, dim1)


@transpose.writes_through
def _(base: Any, value: Any, dim0: int, dim1: int) -> Any:
    return transpose(value, dim0, dim1)


@op(
    kind=VIEW,
    lowers=True,
    inplace=True,
    reference="numpy.transpose",
    samples=lambda m: [(m(2, 3),), (m(4),), (m(),), (m(0, 3),)],
)
def t(x: Tensor) -> Tensor:
    """A matrix transposed; tensors of lower rank as they are.

    Shapes:   x [m, n] → [n, m]
    Dtypes:   kept
    Gradient: transposed back
    Errors:   DimensionError for more than two dimensions
    Source:   torch.t

    >>> t(tensor([[1, 2], [3, 4]]))
    tensor([[1, 3],
            [2, 4]])
    """
    rank = len(x.shape)
    if rank > 2:
        raise DimensionError(f"t: takes a matrix, got {rank} dimensions", hint="use transpose(dim0, dim1) or mT")
    return _permuted(x, tuple(reversed(range(rank))))


@t.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return t(g)


@t.writes_through
def _(base: Any, value: Any) -> Any:
    return t(value)


def _moved(name: str, rank: int, source: Any, destination: Any) -> tuple[int, ...]:
    """The order of dimensions after some were moved."""
    name = user_operator(name)
    given = [(d,) if isinstance(d, int) else tuple(d) for d in (source, destination)]
    if len(given[0]) != len(given[1]):
        raise DimensionError(f"{name}: source {source} and destination {destination} must name as many dimensions")
    old, new = ([axis(name, d, rank) for d in dims] for dims in given)
    if len(set(old)) != len(old) or len(set(new)) != len(new):
        raise DimensionError(f"{name}: a dim appears twice in {source} or {destination}")
    rest = iter(d for d in range(rank) if d not in old)
    place = dict(zip(new, old))
    return tuple(place[d] if d in place else next(rest) for d in range(rank))


@op(
    kind=VIEW,
    lowers=True,
    reference=lambda np, x, source, destination: np.moveaxis(x, source, destination),
    aliases=("moveaxis",),
    samples=lambda m: [(m(2, 3, 4), 0, 2), (m(2, 3, 4), (0, 1), (-1, 0)), (m(5), 0, 0), (m(0, 3), -1, 0)],
)
def movedim(x: Tensor, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """With dimensions moved to other places, the others in their order.

    Shapes:   x [*S] → [*S in another order]
    Dtypes:   kept
    Gradient: moved back
    Errors:   DimensionError for a dim out of range or given twice
    Source:   torch.movedim

    >>> movedim(tensor([[1, 2], [3, 4]]), 0, 1)
    tensor([[1, 3],
            [2, 4]])
    """
    order = _moved("movedim", max(len(x.shape), 1), source, destination)
    return _permuted(x, order if x.shape else ())


@movedim.vjp
def _(g: Any, out: Any, x: Any, source: Any, destination: Any) -> Any:
    return movedim(g, destination, source)


@movedim.writes_through
def _(base: Any, value: Any, source: Any, destination: Any) -> Any:
    return movedim(value, destination, source)


@function(samples=lambda m: [(m(2, 3),), (m(2, 3, 4),)])
def adjoint(x: Tensor) -> Tensor:
    """A view with the last two dimensions exchanged: numbers here are real.

    Shapes:   x [*S, m, n] → [*S, n, m]
    Dtypes:   kept
    Gradient: transposed back
    Errors:   DimensionError for fewer than two dimensions
    Source:   torch.adjoint

    >>> adjoint(tensor([[1, 2]]))
    tensor([[1],
            [2]])
    """
    return transpose(x, -2, -1)
