"""Sums, differences, products and signs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core

from ..definition import ELEMENTWISE, function, op
from ..dtypes import float_promote, no_bool, numeric, promote
from ..samples import binary, unary
from ..shapes.creation import zeros_like
from .choice import where

if TYPE_CHECKING:
    from duograph._core import Tensor

    from ..definition import Number, Operand


@op(
    kind=ELEMENTWISE,
    dtypes=promote,
    primitive="add",
    reference="numpy.add",
    samples=binary(),
    slot="__add__",
    inplace="add_",
    inplace_slot="__iadd__",
)
def add(a: Operand, b: Operand) -> Tensor:
    """a + b; for bool the logical or. As a function and method it also takes `alpha`: a + alpha * b.

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   promote
    Gradient: 1 to both
    Errors:   ShapeError if S and T do not broadcast
    Source:   torch.add

    >>> tensor([1.0, 2.0]) + 3
    tensor([4., 5.])
    """
    ...


@add.vjp
def _(g: Any, out: Any, a: Any, b: Any) -> Any:
    return g, g


@op(
    kind=ELEMENTWISE,
    dtypes=no_bool,
    primitive="sub",
    reference="numpy.subtract",
    samples=binary(),
    slot="__sub__",
    inplace="sub_",
    inplace_slot="__isub__",
    aliases=("subtract",),
)
def sub(a: Operand, b: Operand) -> Tensor:
    """a - b. As a function and method it also takes `alpha`: a - alpha * b.

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   promote; bool is rejected
    Gradient: 1 to a, -1 to b
    Errors:   ShapeError if S and T do not broadcast; DTypeError for bool
    Source:   torch.sub

    >>> 5 - tensor([1, 2])
    tensor([4, 3])
    """
    ...


@sub.vjp
def _(g: Any, out: Any, a: Any, b: Any) -> Any:
    return g, -g


@op(
    kind=ELEMENTWISE,
    dtypes=promote.on("a", "b"),
    over="add",
    inplace=True,
    torch=lambda torch, a, b, alpha: torch.add(a, b, alpha=alpha),
    samples=lambda m: [(m(3, 5), m(5), 2), (m(3, 5), 3, -1), (m(0), m(1), 2)] if m.kind in "if" else [],
)
def add_scaled(a: Operand, b: Operand, alpha: Number = 1) -> Tensor:
    """a + alpha * b, what `add` with an `alpha` is.

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   promote
    Gradient: 1 to a, alpha to b
    Errors:   ShapeError if S and T do not broadcast
    Source:   torch.add

    >>> dg.add(tensor([1.0]), tensor([2.0]), alpha=10)
    tensor([21.])
    """
    return add(a, b * alpha)


@op(
    kind=ELEMENTWISE,
    dtypes=no_bool.on("a", "b"),
    over="sub",
    inplace=True,
    torch=lambda torch, a, b, alpha: torch.sub(a, b, alpha=alpha),
    samples=lambda m: [(m(3, 5), m(5), 2), (m(3, 5), 3, -1), (m(0), m(1), 2)] if m.kind in "if" else [],
)
def sub_scaled(a: Operand, b: Operand, alpha: Number = 1) -> Tensor:
    """a - alpha * b, what `sub` with an `alpha` is.

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   promote; bool is rejected
    Gradient: 1 to a, -alpha to b
    Errors:   ShapeError if S and T do not broadcast; DTypeError for bool
    Source:   torch.sub

    >>> dg.sub(tensor([1.0]), tensor([2.0]), alpha=10)
    tensor([-19.])
    """
    return sub(a, b * alpha)


@function(method="rsub", samples=lambda m: [(m(3, 5), m(5)), (m(4), 2)], reference=lambda np, a, b: b - a)
def rsub(a: Operand, b: Operand, *, alpha: Number = 1) -> Tensor:
    """b - alpha * a.

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   promote; bool is rejected
    Gradient: -alpha to a, 1 to b
    Errors:   as `sub`
    Source:   torch.rsub

    >>> rsub(tensor([1.0]), 3)
    tensor([2.])
    """
    plain = not isinstance(alpha, core.Tensor) and alpha == 1
    return sub(b, a) if plain else sub_scaled(b, a, alpha)


@op(
    kind=ELEMENTWISE,
    dtypes=promote,
    primitive="mul",
    reference="numpy.multiply",
    samples=binary(),
    slot="__mul__",
    inplace="mul_",
    inplace_slot="__imul__",
    aliases=("multiply",),
)
def mul(a: Operand, b: Operand) -> Tensor:
    """a * b; for bool the logical and.

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   promote
    Gradient: b to a, a to b
    Errors:   ShapeError if S and T do not broadcast
    Source:   torch.mul

    >>> tensor([1.0, 2.0]) * 3
    tensor([3., 6.])
    """
    ...


@mul.vjp
def _(g: Any, out: Any, a: Any, b: Any) -> Any:
    return g * b, g * a


@op(
    kind=ELEMENTWISE,
    dtypes=numeric,
    primitive="neg",
    reference="numpy.negative",
    samples=unary(),
    slot="__neg__",
    inplace="neg_",
    aliases=("negative",),
)
def neg(x: Operand) -> Tensor:
    """-x.

    Shapes:   x [*S] → [*S]
    Dtypes:   kept; bool is rejected
    Gradient: -1
    Errors:   DTypeError for bool
    Source:   torch.neg

    >>> -tensor([1.0, -2.0])
    tensor([-1.,  2.])
    """
    ...


@neg.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return -g


@op(
    kind=ELEMENTWISE,
    dtypes=numeric,
    primitive="abs",
    reference="numpy.abs",
    samples=unary(),
    slot="__abs__",
    inplace="abs_",
    aliases=("absolute",),
)
def abs(x: Operand) -> Tensor:
    """The absolute value.

    Shapes:   x [*S] → [*S]
    Dtypes:   kept; bool is rejected
    Gradient: sign(x), 0 at 0
    Errors:   DTypeError for bool
    Source:   torch.abs

    >>> abs(tensor([1.0, -2.0]))
    tensor([1., 2.])
    """
    ...


@abs.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g * sign(x)


@op(kind=ELEMENTWISE, dtypes=promote, primitive="sign", differentiable=False, method=False, public=False)
def direction(x: Operand) -> Tensor:
    """The IR's sign, NaN of NaN."""
    ...


@op(
    kind=ELEMENTWISE,
    dtypes=promote,
    reference=lambda np, x: np.sign(x) if x.dtype.kind != "f" else np.nan_to_num(np.sign(x)),
    samples=unary(),
    inplace="sign_",
    aliases=("sgn",),
)
def sign(x: Operand) -> Tensor:
    """-1, 0 or 1; 0 of NaN.

    Shapes:   x [*S] → [*S]
    Dtypes:   kept
    Gradient: 0
    Errors:   none
    Source:   torch.sign

    >>> sign(tensor([3.0, -2.0, 0.0]))
    tensor([ 1., -1.,  0.])
    """
    found = direction(x)
    return where(x == x, found, 0) if x.dtype.is_floating_point else found  # type: ignore[union-attr]


@sign.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return zeros_like(g)


@op(
    kind=ELEMENTWISE,
    dtypes=float_promote,
    reference=lambda np, a, b, w: a + w * (b - a),
    inplace="lerp_",
    samples=lambda m: [(m(3, 5), m(3, 5), 0.3), (m(3, 1), m(5), m(3, 5)), (m(0), m(0), 0.5)],
    names="end=b",
)
def lerp(a: Operand, b: Operand, weight: Operand) -> Tensor:
    """Linear interpolation: a + weight * (b - a), counted from the nearer end: exactly b for a weight of 1.

    Shapes:   all [*S] broadcast together
    Dtypes:   floats promote; integers become the default float
    Gradient: 1 - weight to a, weight to b, b - a to weight
    Errors:   ShapeError
    Source:   torch.lerp

    >>> lerp(tensor([0.0]), tensor([10.0]), 0.3)
    tensor([3.])
    """
    way = b - a
    return where(abs(weight) < 0.5, a + weight * way, b - way * (1.0 - weight))
