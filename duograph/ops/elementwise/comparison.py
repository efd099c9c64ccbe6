"""Comparison and logic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core

from ..definition import ELEMENTWISE, op
from ..dtypes import compare, logical
from ..samples import SPECIAL, binary, unary
from ..shapes.copying import cast
from .arithmetic import abs

if TYPE_CHECKING:
    from duograph._core import Tensor

    from ..definition import Number, Operand


@op(
    kind=ELEMENTWISE,
    dtypes=compare,
    primitive="eq",
    differentiable=False,
    reference="numpy.equal",
    samples=binary(),
    slot="__eq__",
    inplace=True,
)
def eq(a: Operand, b: Operand) -> Tensor:
    """Whether a is equal to b, element by element (`a == b`).

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   compared in the promoted dtype; bool
    Gradient: none
    Errors:   ShapeError if S and T do not broadcast
    Source:   torch.eq

    >>> tensor([1, 2, 3]) == 2
    tensor([False,  True, False])
    """
    ...


@op(
    kind=ELEMENTWISE,
    dtypes=compare,
    primitive="ne",
    differentiable=False,
    reference="numpy.not_equal",
    samples=binary(),
    slot="__ne__",
    aliases=("not_equal",),
    inplace=True,
)
def ne(a: Operand, b: Operand) -> Tensor:
    """Whether a is unlike b, element by element (`a != b`).

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   compared in the promoted dtype; bool
    Gradient: none
    Errors:   ShapeError if S and T do not broadcast
    Source:   torch.ne

    >>> tensor([1, 2, 3]) != 2
    tensor([ True, False,  True])
    """
    ...


@op(
    kind=ELEMENTWISE,
    dtypes=compare,
    primitive="lt",
    differentiable=False,
    reference="numpy.less",
    samples=binary(),
    slot="__lt__",
    aliases=("less",),
    inplace=True,
)
def lt(a: Operand, b: Operand) -> Tensor:
    """Whether a is less than b, element by element (`a < b`).

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   compared in the promoted dtype; bool
    Gradient: none
    Errors:   ShapeError if S and T do not broadcast
    Source:   torch.lt

    >>> tensor([1, 2, 3]) < 2
    tensor([ True, False, False])
    """
    ...


@op(
    kind=ELEMENTWISE,
    dtypes=compare,
    primitive="le",
    differentiable=False,
    reference="numpy.less_equal",
    samples=binary(),
    slot="__le__",
    aliases=("less_equal",),
    inplace=True,
)
def le(a: Operand, b: Operand) -> Tensor:
    """Whether a is at most b, element by element (`a <= b`).

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   compared in the promoted dtype; bool
    Gradient: none
    Errors:   ShapeError if S and T do not broadcast
    Source:   torch.le

    >>> tensor([1, 2, 3]) <= 2
    tensor([ True,  True, False])
    """
    ...


@op(
    kind=ELEMENTWISE,
    dtypes=compare,
    primitive="gt",
    differentiable=False,
    reference="numpy.greater",
    samples=binary(),
    slot="__gt__",
    aliases=("greater",),
    inplace=True,
)
def gt(a: Operand, b: Operand) -> Tensor:
    """Whether a is greater than b, element by element (`a > b`).

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   compared in the promoted dtype; bool
    Gradient: none
    Errors:   ShapeError if S and T do not broadcast
    Source:   torch.gt

    >>> tensor([1, 2, 3]) > 2
    tensor([False, False,  True])
    """
    ...


@op(
    kind=ELEMENTWISE,
    dtypes=compare,
    primitive="ge",
    differentiable=False,
    reference="numpy.greater_equal",
    samples=binary(),
    slot="__ge__",
    aliases=("greater_equal",),
    inplace=True,
)
def ge(a: Operand, b: Operand) -> Tensor:
    """Whether a is at least b, element by element (`a >= b`).

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   compared in the promoted dtype; bool
    Gradient: none
    Errors:   ShapeError if S and T do not broadcast
    Source:   torch.ge

    >>> tensor([1, 2, 3]) >= 2
    tensor([False,  True,  True])
    """
    ...


@op(
    kind=ELEMENTWISE,
    dtypes=logical,
    primitive="logical_and",
    differentiable=False,
    reference="numpy.logical_and",
    samples=binary(scalar=None),
    inplace=True,
)
def logical_and(a: Operand, b: Operand) -> Tensor:
    """Whether both are nonzero.

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   any; bool
    Gradient: none
    Errors:   ShapeError if S and T do not broadcast
    Source:   torch.logical_and

    >>> logical_and(tensor([1, 0]), tensor([2, 3]))
    tensor([ True, False])
    """
    ...


@op(
    kind=ELEMENTWISE,
    dtypes=logical,
    primitive="logical_or",
    differentiable=False,
    reference="numpy.logical_or",
    samples=binary(scalar=None),
    inplace=True,
)
def logical_or(a: Operand, b: Operand) -> Tensor:
    """Whether either is nonzero.

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   any; bool
    Gradient: none
    Errors:   ShapeError if S and T do not broadcast
    Source:   torch.logical_or

    >>> logical_or(tensor([1, 0]), tensor([0, 0]))
    tensor([ True, False])
    """
    ...


@op(
    kind=ELEMENTWISE,
    dtypes=logical,
    primitive="logical_xor",
    differentiable=False,
    reference="numpy.logical_xor",
    samples=binary(scalar=None),
    inplace=True,
)
def logical_xor(a: Operand, b: Operand) -> Tensor:
    """Whether exactly one is nonzero.

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   any; bool
    Gradient: none
    Errors:   ShapeError if S and T do not broadcast
    Source:   torch.logical_xor

    >>> logical_xor(tensor([1, 0]), tensor([2, 0]))
    tensor([False, False])
    """
    ...


@op(
    kind=ELEMENTWISE,
    dtypes=logical,
    primitive="logical_not",
    differentiable=False,
    reference="numpy.logical_not",
    samples=unary(),
    inplace=True,
)
def logical_not(x: Operand) -> Tensor:
    """Whether x is zero.

    Shapes:   x [*S] → [*S]
    Dtypes:   any; bool
    Gradient: none
    Errors:   none
    Source:   torch.logical_not

    >>> logical_not(tensor([1, 0]))
    tensor([False,  True])
    """
    ...


@op(kind=ELEMENTWISE, dtypes=compare, differentiable=False, reference="numpy.isnan", samples=unary(special=SPECIAL))
def isnan(x: Operand) -> Tensor:
    """Whether x is not a number.

    Shapes:   x [*S] → [*S]
    Dtypes:   any; bool
    Gradient: none
    Errors:   none
    Source:   torch.isnan

    >>> isnan(tensor([1.0, float("nan")]))
    tensor([False,  True])
    """
    return x != x  # type: ignore[return-value]


@op(kind=ELEMENTWISE, dtypes=compare, differentiable=False, reference="numpy.isinf", samples=unary(special=SPECIAL))
def isinf(x: Operand) -> Tensor:
    """Whether x is an infinity of either sign.

    Shapes:   x [*S] → [*S]
    Dtypes:   any; bool
    Gradient: none
    Errors:   none
    Source:   torch.isinf

    >>> isinf(tensor([1.0, float("-inf")]))
    tensor([False,  True])
    """
    if not x.dtype.is_floating_point:  # type: ignore[union-attr]
        return x != x  # type: ignore[return-value]
    return abs(x) == float("inf")


@op(kind=ELEMENTWISE, dtypes=compare, differentiable=False, reference="numpy.isfinite", samples=unary(special=SPECIAL))
def isfinite(x: Operand) -> Tensor:
    """Whether x is neither an infinity nor NaN.

    Shapes:   x [*S] → [*S]
    Dtypes:   any; bool
    Gradient: none
    Errors:   none
    Source:   torch.isfinite

    >>> isfinite(tensor([1.0, float("inf"), float("nan")]))
    tensor([ True, False, False])
    """
    if not x.dtype.is_floating_point:  # type: ignore[union-attr]
        return x == x  # type: ignore[return-value]
    return abs(x) < float("inf")


def _isclose(np: Any, a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    return np.isclose(a, b, rtol, atol, equal_nan)


@op(
    kind=ELEMENTWISE,
    dtypes=compare.on("a", "b"),
    differentiable=False,
    reference=_isclose,
    samples=lambda m: [(m(3, 5), m(3, 5)), (m(4), m(4), 0.5, 0.1), (m.of([1, 2]), m.of([1, 3])), (m(0), m(0))],
)
def isclose(a: Tensor, b: Tensor, rtol: Number = 1e-5, atol: Number = 1e-8, equal_nan: bool = False) -> Tensor:
    """Whether |a - b| <= atol + rtol * |b|; infinities are close to themselves, NaN only with `equal_nan`.

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   any; bool
    Gradient: none
    Errors:   ShapeError
    Source:   torch.isclose

    >>> isclose(tensor([1.0, 2.0]), tensor([1.0, 2.1]))
    tensor([ True, False])
    """
    same = a == b
    if a.dtype.kind == "b":
        return same
    if equal_nan and a.dtype.is_floating_point:
        same = same | ((a != a) & (b != b))
    if not a.dtype.is_floating_point:
        a, b = cast(a, core.float64), cast(b, core.float64)
    gap = abs(a - b)
    close = gap <= atol + rtol * abs(b)
    if a.dtype.is_floating_point:
        close = close & (gap < float("inf"))
    return same | close
