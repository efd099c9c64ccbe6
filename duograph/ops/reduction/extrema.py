"""The greatest and the least along dimensions, and where they are."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import ShapeError

from ..definition import MOVEMENT, REDUCTION, function, op
from ..dtypes import promote
from ..elementwise.choice import maximum, minimum, where
from ..shapes.movement import axes, axis, unsqueeze
from ..tracing import cast_value, emit, require, user_operator, value_of
from .reductions import nonempty, np_dims, reduced, restore, sum

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duograph._core import Tensor

    Dims = int | Sequence[int] | None


def _extremum(kind: str, x: Any, dim: Any, keepdim: bool, some: bool = True) -> Tensor:
    name = user_operator("a" + kind)
    dims = axes(name, dim, len(x.shape))
    for d in dims if some else ():
        require("lt", 0, x.shape[d], ShapeError, f"{name}: an extremum over no elements: shape {tuple(x.shape)}, dim {dim}")
    return reduced(kind, x, dims, keepdim, x.dtype)


def _share(g: Any, out: Any, x: Any, dim: Any, keepdim: bool) -> Any:
    """The gradient of an extremum: equal parts to all elements that attain it."""
    chosen = x == restore(out, x, dim, keepdim)
    shares = restore(sum(chosen, dim, True), x, dim, True)
    return where(chosen, restore(g, x, dim, keepdim) / shares, 0.0)


@op(
    kind=REDUCTION,
    dtypes=promote,
    lowers=True,
    samples=nonempty,
    reference=lambda np, x, dim=None, keepdim=False: np.max(x, np_dims(dim), keepdims=keepdim),
)
def amax(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The greatest element over dimensions; NaN if there is one.

    Shapes:   x [*S] → [*S without the reduced dims], or with size 1 there if keepdim
    Dtypes:   kept
    Gradient: shared equally by the elements that attain it
    Errors:   ShapeError over no elements; DimensionError
    Source:   torch.amax

    >>> amax(tensor([[1, 5], [3, 2]]), 1)
    tensor([5, 3])
    """
    return _extremum("max", x, dim, keepdim)


@amax.vjp
def _(g: Any, out: Any, x: Any, dim: Any, keepdim: bool) -> Any:
    return _share(g, out, x, dim, keepdim)


@op(
    kind=REDUCTION,
    dtypes=promote,
    lowers=True,
    method=False,
    public=False,
    samples=lambda m: [(m(3, 5), 1), (m(0, 3), 1, True)],
    reference=lambda np, x, dim, keepdim=False: np.max(x, np_dims(dim), keepdims=keepdim),
)
def peak(x: Tensor, dim: Dims, keepdim: bool = False) -> Tensor:
    """`amax`, which over no elements is the least number of the dtype.

    Shapes:   x [*S] → [*S without the reduced dims], or with size 1 there if keepdim
    Dtypes:   kept
    Gradient: shared equally by the elements that attain it
    Errors:   DimensionError
    Source:   torch.amax

    >>> dg.ops.peak(dg.zeros(0), 0)
    tensor(-inf)
    """
    return _extremum("max", x, dim, keepdim, False)


@peak.vjp
def _(g: Any, out: Any, x: Any, dim: Any, keepdim: bool) -> Any:
    return _share(g, out, x, dim, keepdim)


@op(
    kind=REDUCTION,
    dtypes=promote,
    lowers=True,
    samples=nonempty,
    reference=lambda np, x, dim=None, keepdim=False: np.min(x, np_dims(dim), keepdims=keepdim),
)
def amin(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The least element over dimensions; NaN if there is one.

    Shapes:   x [*S] → [*S without the reduced dims], or with size 1 there if keepdim
    Dtypes:   kept
    Gradient: shared equally by the elements that attain it
    Errors:   ShapeError over no elements; DimensionError
    Source:   torch.amin

    >>> amin(tensor([[1, 5], [3, 2]]), 1)
    tensor([1, 2])
    """
    return _extremum("min", x, dim, keepdim)


@amin.vjp
def _(g: Any, out: Any, x: Any, dim: Any, keepdim: bool) -> Any:
    return _share(g, out, x, dim, keepdim)


def _np_arg(which: str) -> Any:
    def reference(np: Any, x: Any, dim: Any = None, keepdim: bool = False) -> Any:
        return getattr(np, which)(x, dim, keepdims=keepdim)

    return reference


def _arg_samples(m: Any) -> Any:
    return [(m(3, 5),), (m(3, 5), 1), (m(3, 5), 0, True), (m(2, 3, 40), -1), (m(70),), (m(),), (m(2, 0, 3), 0)]


def _arg_extremum(kind: str, x: Any, dim: Any, keepdim: bool) -> Tensor:
    name = user_operator(kind)
    dims = axes(name, dim, len(x.shape))
    for d in dims:
        require("lt", 0, x.shape[d], ShapeError, f"{name}: an extremum over no elements: shape {tuple(x.shape)}, dim {dim}")
    value = value_of(x)
    if value.type.dtype.kind == "b":
        value = cast_value(value, core.uint8)
    return reduced(kind, value, dims, keepdim, core.int64)


@op(kind=REDUCTION, lowers=True, differentiable=False, reference=_np_arg("argmax"), samples=_arg_samples)
def argmax(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index of the greatest element (the first of equals, a NaN before all) along a dim, or in row-major order of all.

    Shapes:   x [*S] → [*S without dim], or with size 1 there if keepdim
    Dtypes:   int64
    Gradient: none
    Errors:   ShapeError over no elements; DimensionError
    Source:   torch.argmax

    >>> argmax(tensor([1, 5, 3]))
    tensor(1)
    """
    return _arg_extremum("argmax", x, dim, keepdim)


@op(kind=REDUCTION, lowers=True, differentiable=False, reference=_np_arg("argmin"), samples=_arg_samples)
def argmin(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index of the least element (the first of equals, a NaN before all) along a dim, or in row-major order of all.

    Shapes:   x [*S] → [*S without dim], or with size 1 there if keepdim
    Dtypes:   int64
    Gradient: none
    Errors:   ShapeError over no elements; DimensionError
    Source:   torch.argmin

    >>> argmin(tensor([4, 5, 3]))
    tensor(2)
    """
    return _arg_extremum("argmin", x, dim, keepdim)


@op(
    kind=MOVEMENT,
    lowers=True,
    differentiable=False,
    method=False,
    public=False,
    samples=lambda m: [(m(2, 3), 1)],
    reference=lambda np, x, dim: np.indices(x.shape)[dim],
)
def positions(x: Tensor, dim: int) -> Tensor:
    """The index of every element along a dim.

    Shapes:   x [*S] → [*S]
    Dtypes:   int64
    Gradient: none
    Errors:   DimensionError
    Source:   numpy.indices

    >>> dg.ops.positions(tensor([5, 5]), 0)
    tensor([0, 1])
    """
    return emit("iota", [], core.int64, tuple(x.shape), dim=axis("positions", dim, len(x.shape)))


class Extremum(tuple):  # type: ignore[type-arg]
    """What `max` and `min` over a dimension give: values and indices."""

    __slots__ = ()
    values = property(itemgetter(0))
    indices = property(itemgetter(1))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(\nvalues={self[0]!r},\nindices={self[1]!r})"


def _extremum_along(kind: str, x: Any, dim: int, keepdim: bool) -> tuple[Tensor, Tensor]:
    at = axis(user_operator(kind), dim, len(x.shape))
    dims = (at,) if x.shape else ()
    return _extremum(kind, x, dims, keepdim), _arg_extremum("arg" + kind, x, dims, keepdim)


def _to_position(g: Any, out: Any, x: Any, dim: int, keepdim: bool) -> Any:
    """The gradient of the values goes to the elements at the indices."""
    if not x.shape:
        return g[0]
    dim = axis("max", dim, len(x.shape))
    values, indices = (g[0], out[1]) if keepdim else (unsqueeze(g[0], dim), unsqueeze(out[1], dim))
    return where(positions(x, dim) == indices, values, 0.0)


def _np_extremum(which: str) -> Any:
    def reference(np: Any, x: Any, dim: int, keepdim: bool = False) -> Any:
        return getattr(np, which)(x, dim, keepdims=keepdim), getattr(np, "arg" + which)(x, dim, keepdims=keepdim)

    return reference


def _along_samples(m: Any) -> Any:
    return [(m(3, 5), 1), (m(3, 5), 0, True), (m(2, 3, 40), -1), (m(70), 0)]


@op(
    kind=REDUCTION, dtypes=promote, lowers=True, method=False, public=False, reference=_np_extremum("max"), samples=_along_samples
)
def max_along(x: Tensor, dim: int, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The greatest element along a dim, and its index.

    Shapes:   x [*S] → twice [*S without dim], or with size 1 there if keepdim
    Dtypes:   kept; int64
    Gradient: to the element at the index
    Errors:   ShapeError over no elements; DimensionError
    Source:   torch.max

    >>> tensor([[1, 5], [3, 2]]).max(1).indices
    tensor([1, 0])
    """
    return _extremum_along("max", x, dim, keepdim)


@max_along.vjp
def _(g: Any, out: Any, x: Any, dim: int, keepdim: bool) -> Any:
    return _to_position(g, out, x, dim, keepdim)


@op(
    kind=REDUCTION, dtypes=promote, lowers=True, method=False, public=False, reference=_np_extremum("min"), samples=_along_samples
)
def min_along(x: Tensor, dim: int, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The least element along a dim, and its index.

    Shapes:   x [*S] → twice [*S without dim], or with size 1 there if keepdim
    Dtypes:   kept; int64
    Gradient: to the element at the index
    Errors:   ShapeError over no elements; DimensionError
    Source:   torch.min

    >>> tensor([[1, 5], [3, 2]]).min(1).values
    tensor([1, 2])
    """
    return _extremum_along("min", x, dim, keepdim)


@min_along.vjp
def _(g: Any, out: Any, x: Any, dim: int, keepdim: bool) -> Any:
    return _to_position(g, out, x, dim, keepdim)


@function(
    samples=lambda m: [(m(3, 5),), (m(3, 5), m(5)), (m(3, 5), 1), (m(70),)],
    reference=lambda np, x, d=None: (
        np.max(x) if d is None else np.maximum(x, d) if hasattr(d, "shape") else (np.max(x, d), np.argmax(x, d))
    ),
)
def max(x: Tensor, dim: int | Tensor | None = None, keepdim: bool = False, other: Tensor | None = None) -> Any:
    """The greatest of all elements; with a dim the greatest along it as (values, indices); with a tensor the greater of two.

    Shapes:   x [*S] → [], or as `amax`, or as `maximum`
    Dtypes:   kept; indices int64
    Gradient: all: shared by the elements that attain it; along a dim: to the element at the index
    Errors:   as `amax`
    Source:   torch.max

    >>> max(tensor([1, 5, 3]))
    tensor(5)
    """
    if dim is None and other is None:
        return amax(x)
    if other is not None or isinstance(dim, core.Tensor):
        return maximum(x, dim if other is None else other)
    return Extremum(max_along(x, dim, keepdim))


@function(
    samples=lambda m: [(m(3, 5),), (m(3, 5), m(5)), (m(3, 5), 1), (m(70),)],
    reference=lambda np, x, d=None: (
        np.min(x) if d is None else np.minimum(x, d) if hasattr(d, "shape") else (np.min(x, d), np.argmin(x, d))
    ),
)
def min(x: Tensor, dim: int | Tensor | None = None, keepdim: bool = False, other: Tensor | None = None) -> Any:
    """The least of all elements; with a dim the least along it as (values, indices); with a tensor the lesser of two.

    Shapes:   x [*S] → [], or as `amin`, or as `minimum`
    Dtypes:   kept; indices int64
    Gradient: all: shared by the elements that attain it; along a dim: to the element at the index
    Errors:   as `amin`
    Source:   torch.min

    >>> min(tensor([4, 5, 3]))
    tensor(3)
    """
    if dim is None and other is None:
        return amin(x)
    if other is not None or isinstance(dim, core.Tensor):
        return minimum(x, dim if other is None else other)
    return Extremum(min_along(x, dim, keepdim))


class MinMax(tuple):  # type: ignore[type-arg]
    """What `aminmax` gives: min and max."""

    __slots__ = ()
    min = property(itemgetter(0))
    max = property(itemgetter(1))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(\nmin={self[0]!r},\nmax={self[1]!r})"


def _np_aminmax(np: Any, x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    return np.min(x, dim, keepdims=keepdim), np.max(x, dim, keepdims=keepdim)


def _extremum_samples(m: Any) -> Any:
    return [(m(3, 5),), (m(3, 5), 1), (m(3, 5), 0, True), (m(70),), (m(),)]


@op(kind=REDUCTION, method=False, public=False, samples=_extremum_samples, reference=_np_aminmax)
def both_extrema(x: Tensor, dim: int | None = None, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The least and the greatest element along a dim, or of all.

    Shapes:   x [*S] → twice [*S without dim], or with size 1 there if keepdim
    Dtypes:   kept
    Gradient: shared equally by the elements that attain them
    Errors:   ShapeError over no elements; DimensionError
    Source:   torch.aminmax

    >>> dg.ops.both_extrema(tensor([1, 5, 3]))
    (tensor(1), tensor(5))
    """
    return amin(x, dim, keepdim), amax(x, dim, keepdim)


@function(samples=_extremum_samples, reference=_np_aminmax)
def aminmax(x: Tensor, dim: int | None = None, keepdim: bool = False) -> MinMax:
    """The least and the greatest element along a dim, or of all, as (min, max).

    Shapes:   x [*S] → twice [*S without dim], or with size 1 there if keepdim
    Dtypes:   kept
    Gradient: shared equally by the elements that attain them
    Errors:   ShapeError over no elements; DimensionError
    Source:   torch.aminmax

    >>> aminmax(tensor([1, 5, 3])).max
    tensor(5)
    """
    return MinMax(both_extrema(x, dim, keepdim))
