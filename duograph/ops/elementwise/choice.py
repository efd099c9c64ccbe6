"""Elementwise choice: extrema of two, bounds, conditions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..definition import ELEMENTWISE, function, op
from ..dtypes import promote
from ..samples import binary

if TYPE_CHECKING:
    from duograph._core import Tensor

    from ..definition import Operand

_NUMBERS = (int, float)


def _tied(g: Any, other: Any, a: Any, b: Any) -> Any:
    """The gradient of an extremum to an operand unless `other` was chosen; half at a tie, all of it beside a NaN."""
    return where(a == b, g * 0.5, where(other, 0.0, g))


@op(
    kind=ELEMENTWISE,
    dtypes=promote,
    primitive="maximum",
    reference="numpy.maximum",
    samples=binary(scalar=None),
)
def maximum(a: Operand, b: Operand) -> Tensor:
    """The greater of two; NaN if either is.

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   promote
    Gradient: to the greater one; half to each where they are equal
    Errors:   ShapeError if S and T do not broadcast
    Source:   torch.maximum

    >>> maximum(tensor([1.0, 5.0]), tensor([3.0, 2.0]))
    tensor([3., 5.])
    """
    ...


@maximum.vjp
def _(g: Any, out: Any, a: Any, b: Any) -> Any:
    return _tied(g, a < b, a, b), _tied(g, a > b, a, b)


@op(
    kind=ELEMENTWISE,
    dtypes=promote,
    primitive="minimum",
    reference="numpy.minimum",
    samples=binary(scalar=None),
)
def minimum(a: Operand, b: Operand) -> Tensor:
    """The lesser of two; NaN if either is.

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   promote
    Gradient: to the lesser one; half to each where they are equal
    Errors:   ShapeError if S and T do not broadcast
    Source:   torch.minimum

    >>> minimum(tensor([1.0, 5.0]), tensor([3.0, 2.0]))
    tensor([1., 2.])
    """
    ...


@minimum.vjp
def _(g: Any, out: Any, a: Any, b: Any) -> Any:
    return _tied(g, a > b, a, b), _tied(g, a < b, a, b)


def _clip(np: Any, x: Any, low: Any = None, high: Any = None) -> Any:
    low = x if low is None else np.maximum(x, low)
    return low if high is None else np.minimum(low, high)


@op(
    kind=ELEMENTWISE,
    dtypes=promote,
    reference=_clip,
    inplace="clamp_",
    aliases=("clip",),
    samples=lambda m: [
        (m(3, 5), 0, 1),
        (m(70), None, 1),
        (m(4, 4), 1, None),
        (m(2, 3), m(3), m(2, 1)),
        (m(0, 2), 0, 1),
        (m(), 0, 1),
    ],
)
def clamp(x: Operand, min: Operand | None = None, max: Operand | None = None) -> Tensor:
    """x with values below `min` raised to it and values above `max` lowered to it; bounds are numbers or tensors.

    Shapes:   x [*S], bounds [*T] → broadcast(S, T)
    Dtypes:   promote
    Gradient: to x where it lies within the bounds (ends included), else to the bound taken
    Errors:   DomainError if both bounds are None; ShapeError
    Source:   torch.clamp

    >>> clamp(tensor([-3.0, 0.5, 3.0]), -1, 1)
    tensor([-1.0000,  0.5000,  1.0000])
    """
    if min is None and max is None:
        from duograph.errors import DomainError

        raise DomainError("clamp: at least one of min and max must be given")
    if min is not None:
        x = maximum(x, min)
    return x if max is None else minimum(x, max)  # type: ignore[return-value]


@clamp.vjp
def _(g: Any, out: Any, x: Any, low: Any, high: Any) -> Any:
    inside = None if low is None else x >= low
    if high is not None:
        inside = x <= high if inside is None else inside & (x <= high)
    below = None if low is None or isinstance(low, _NUMBERS) else where(x < low, g, 0.0)
    if below is not None and high is not None:
        below = where(low < high, below, 0.0)
    above = None if high is None or isinstance(high, _NUMBERS) else (where(x > high, g, 0.0))
    if above is not None and low is not None:
        above = where(low > high, g, above)
    return where(inside, g, 0.0), below, above


@op(
    kind=ELEMENTWISE,
    dtypes=promote,
    inplace=True,
    samples=lambda m: [(m(3, 5), 0), (m(3, 5), m(5)), (m(0), 1)],
    reference=lambda np, x, bound: np.maximum(x, bound),
)
def clamp_min(x: Operand, min: Operand) -> Tensor:
    """x with values below `min` raised to it. See `clamp`.

    Shapes:   x [*S] → [*S]
    Dtypes:   promote
    Gradient: as `clamp`
    Errors:   as `clamp`
    Source:   torch.clamp_min

    >>> clamp_min(tensor([-3.0, 3.0]), 0)
    tensor([0., 3.])
    """
    return clamp(x, min, None)


@op(
    kind=ELEMENTWISE,
    dtypes=promote,
    inplace=True,
    samples=lambda m: [(m(3, 5), 0), (m(3, 5), m(5)), (m(0), 1)],
    reference=lambda np, x, bound: np.minimum(x, bound),
)
def clamp_max(x: Operand, max: Operand) -> Tensor:
    """x with values above `max` lowered to it. See `clamp`.

    Shapes:   x [*S] → [*S]
    Dtypes:   promote
    Gradient: as `clamp`
    Errors:   as `clamp`
    Source:   torch.clamp_max

    >>> clamp_max(tensor([-3.0, 3.0]), 0)
    tensor([-3.,  0.])
    """
    return clamp(x, None, max)


@op(
    kind=ELEMENTWISE,
    dtypes=promote.on("a", "b"),
    primitive="where",
    reference="numpy.where",
    method=False,
    samples=lambda m: [
        (m.bools(3, 5), m(3, 5), m(3, 5)),
        (m.bools(3, 1), m(5), m(3, 5)),
        (m.bools(7), m(7), 0),
        (m.bools(7), 1, m(7)),
        (m.bools(), m(), m()),
        (m.bools(0, 3), m(3), m(0, 3)),
    ],
    names="input=a other=b",
)
def where(condition: Tensor, a: Operand, b: Operand) -> Tensor:
    """a where the condition holds, b elsewhere.

    Shapes:   condition [*R], a [*S], b [*T] → broadcast(R, S, T)
    Dtypes:   a and b promote; the condition is bool
    Gradient: to a where the condition holds, to b elsewhere
    Errors:   DTypeError if the condition is not bool; ShapeError
    Source:   torch.where

    >>> where(tensor([True, False]), tensor([1.0, 2.0]), 0)
    tensor([1., 0.])
    """
    ...


@where.vjp
def _(g: Any, out: Any, condition: Any, a: Any, b: Any) -> Any:
    return None, where(condition, g, 0.0), where(condition, 0.0, g)


@function(over="where", names="input=a other=b")
def where_any(condition: Tensor, a: Any = None, b: Any = None) -> Any:
    """`where`; with the condition alone its indices of nonzero elements; as a method `a.where(condition, b)`."""
    if a is None and b is None:
        from ..selection.masks import nonzero_tuple

        return nonzero_tuple(condition)
    if condition.dtype.kind != "b" and getattr(a, "dtype", None) is not None and a.dtype.kind == "b":
        condition, a = a, condition  # the method's order
    return where(condition, a, b)
