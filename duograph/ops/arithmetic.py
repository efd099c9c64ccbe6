"""Elementwise arithmetic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph.errors import DomainError

from .choice import where
from .creation import ones_like, zeros_like
from .definition import ELEMENTWISE, REGISTRY, function, op
from .dtypes import float_promote, no_bool, numeric, promote
from .samples import binary, unary
from .unary import log, reciprocal, sqrt, trunc

if TYPE_CHECKING:
    from duograph._core import Tensor

    from .definition import Number, Operand

_NUMBERS = (int, float)


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
def rsub(a: Operand, b: Operand) -> Tensor:
    """b - a.

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   promote; bool is rejected
    Gradient: -1 to a, 1 to b
    Errors:   as `sub`
    Source:   torch.rsub

    >>> rsub(tensor([1.0]), 3)
    tensor([2.])
    """
    return sub(b, a)


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
    dtypes=float_promote,
    primitive="div",
    reference="numpy.true_divide",
    samples=binary(0.5, 2.5),
    slot="__truediv__",
    inplace="div_",
    inplace_slot="__itruediv__",
    aliases=("divide", "true_divide"),
)
def div(a: Operand, b: Operand) -> Tensor:
    """a / b. As a function and method it also takes `rounding_mode`: None, "floor" or "trunc".

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   floats promote; integers and bool become the default float
    Gradient: 1 / b to a, -out / b to b
    Errors:   ShapeError if S and T do not broadcast
    Source:   torch.div

    >>> tensor([1, 2]) / 2
    tensor([0.5000, 1.0000])
    """
    ...


@div.vjp
def _(g: Any, out: Any, a: Any, b: Any) -> Any:
    first = g / b
    return first, -first * out


def _is_float(a: Any, b: Any) -> bool:
    return any(x.dtype.is_floating_point if hasattr(x, "dtype") else isinstance(x, float) for x in (a, b))


@op(
    kind=ELEMENTWISE,
    dtypes=numeric,
    primitive="floordiv",
    differentiable=False,
    reference="numpy.floor_divide",
    samples=binary(0.6, 3.0),
    slot="__floordiv__",
    inplace="floor_divide_",
    inplace_slot="__ifloordiv__",
)
def floor_divide(a: Operand, b: Operand) -> Tensor:
    """The quotient rounded down, as Python's `//`.

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   promote; bool is rejected
    Gradient: none
    Errors:   DivisionError for an integer division by zero; ShapeError; DTypeError for bool
    Source:   torch.floor_divide

    >>> tensor([-7, 7]) // 2
    tensor([-4,  3])
    """
    ...


@op(
    kind=ELEMENTWISE,
    dtypes=numeric,
    primitive="mod",
    reference="numpy.remainder",
    samples=binary(0.6, 3.0),
    slot="__mod__",
    inplace="remainder_",
    inplace_slot="__imod__",
)
def remainder(a: Operand, b: Operand) -> Tensor:
    """a - floor(a / b) * b, with the sign of b, as Python's `%`.

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   promote; bool is rejected
    Gradient: 1 to a, -floor(a / b) to b
    Errors:   DivisionError for an integer division by zero; ShapeError; DTypeError for bool
    Source:   torch.remainder

    >>> tensor([-7, 7]) % 3
    tensor([2, 1])
    """
    ...


@remainder.vjp
def _(g: Any, out: Any, a: Any, b: Any) -> Any:
    return g, -g * floor_divide(a, b)


@op(
    kind=ELEMENTWISE,
    dtypes=numeric,
    differentiable=False,
    method=False,
    public=False,
    reference=lambda np, a, b: np.trunc(np.true_divide(a, b)),
    samples=binary(0.6, 3.0),
)
def trunc_divide(a: Operand, b: Operand) -> Tensor:
    """The quotient rounded towards zero.

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   promote; bool is rejected
    Gradient: none
    Errors:   DivisionError for an integer division by zero; ShapeError; DTypeError for bool
    Source:   torch.div(rounding_mode="trunc")

    >>> dg.div(tensor([-7, 7]), 2, rounding_mode="trunc")
    tensor([-3,  3])
    """
    if _is_float(a, b):
        return trunc(a / b)
    quotient = floor_divide(a, b)
    inexact = quotient * b != a
    return where(inexact & (quotient < 0), quotient + 1, quotient)


@op(
    kind=ELEMENTWISE,
    dtypes=promote,
    over="div",
    inplace=True,
    differentiable=True,
    torch=lambda torch, a, b, mode: torch.div(a, b, rounding_mode=mode),
    samples=lambda m: (
        [(m(3, 5), m(5, low=0.6, high=3.0), "floor"), (m(3, 5), 3, "trunc"), (m(0), m(1), "floor")] if m.kind != "b" else []
    ),
)
def div_rounded(a: Operand, b: Operand, rounding_mode: str | None = None) -> Tensor:
    """a / b rounded down ("floor") or towards zero ("trunc"), what `div` with a `rounding_mode` is.

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   promote; bool is rejected
    Gradient: 0 where rounded, else as `div`
    Errors:   DomainError for another mode; DivisionError for an integer division by zero; ShapeError
    Source:   torch.div

    >>> dg.div(tensor([-7, 7]), 2, rounding_mode="trunc")
    tensor([-3,  3])
    """
    if rounding_mode is None:
        return div(a, b)
    if rounding_mode == "floor":
        return floor_divide(a, b)
    if rounding_mode == "trunc":
        return trunc_divide(a, b)
    raise DomainError(f"div: rounding_mode must be None, 'floor' or 'trunc', got {rounding_mode!r}")


@div_rounded.vjp
def _(g: Any, out: Any, a: Any, b: Any, rounding_mode: str | None) -> Any:
    if rounding_mode is not None:
        return zeros_like(g), zeros_like(g)
    first = g / b
    return first, -first * out


@op(
    kind=ELEMENTWISE,
    dtypes=numeric,
    primitive="pow",
    reference="numpy.power",
    inplace="pow_",
    samples=lambda m: [
        (m(3, 5, low=0.3, high=2.5), m(3, 5, low=0, high=2.5)),
        (m(7, low=0.3, high=2.5), 2.5 if m.is_float else 2),
        (m(2, 6, low=-3, high=3), 3),
        (2, m(2, 3, low=0, high=2.5)),
        (m(0, 3, low=0.3), m(3, low=0)),
        (m(low=0.3), m(4, low=0)),
    ],
)
def pow(a: Operand, b: Operand) -> Tensor:
    """a to the power b. For integers b must not be negative.

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   promote
    Gradient: b * a ** (b - 1) to a (0 where b is 0); out * log(a) to b (0 where a is 0 and b is not negative)
    Errors:   ShapeError if S and T do not broadcast
    Source:   torch.pow

    >>> tensor([1.0, 2.0]) ** 3
    tensor([1., 8.])
    """
    ...


@pow.vjp
def _(g: Any, out: Any, a: Any, b: Any) -> Any:
    if isinstance(b, _NUMBERS):
        first = zeros_like(g) if b == 0 else g * b * pow(a, b - 1)
        return first, None
    first = where(b == 0, 0.0, g * b * pow(a, b - 1))
    if isinstance(a, _NUMBERS):
        return None, zeros_like(g) if a == 0 else g * out * log(a * ones_like(g))
    return first, where((a == 0) & (b >= 0), 0.0, g * out * log(a))


@function(over="pow", slot="__pow__")
def power(a: Operand, b: Operand, modulo: None = None) -> Tensor:
    """a ** b; the commonest whole powers are products."""
    if b.__class__ is int or b.__class__ is float:
        dtype = getattr(a, "dtype", None)
        if dtype is not None and (dtype.is_floating_point or (b.__class__ is int and dtype.kind != "b")):
            is_two = b == 2
            if is_two.__class__ is not bool:  # a size that values decide
                return pow(a, b)
            if is_two:
                return square(a)
            if dtype.is_floating_point:
                if b == 0.5:
                    return sqrt(a)
                if b == 3:
                    return cube(a)
                if b == -1:
                    return reciprocal(a)
    return pow(a, b)


@function(over="pow_", slot="__ipow__")
def power_(a: Tensor, b: Operand, modulo: None = None) -> Tensor:
    """a **= b; a square is a product."""
    in_place = REGISTRY["square_" if b.__class__ is int and b == 2 and a.dtype.kind != "b" else "pow_"].op
    result: Tensor = in_place(a) if in_place.name == "square_" else in_place(a, b)
    return result


@function(slot="__rpow__", method=False, public=False)
def reflected_power(b: Operand, a: Operand, modulo: None = None) -> Tensor:
    """a ** b where a is a Python number."""
    return pow(a, b)


@op(
    kind=ELEMENTWISE,
    dtypes=numeric,
    reference="numpy.square",
    samples=unary(),
    inplace="square_",
)
def square(x: Operand) -> Tensor:
    """x * x.

    Shapes:   x [*S] → [*S]
    Dtypes:   kept; bool is rejected
    Gradient: 2 * x
    Errors:   DTypeError for bool
    Source:   torch.square

    >>> square(tensor([-2.0, 3.0]))
    tensor([4., 9.])
    """
    return mul(x, x)


@square.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g * (x + x)


@op(kind=ELEMENTWISE, dtypes=numeric, reference=lambda np, x: x * x * x, samples=unary(), method=False, public=False)
def cube(x: Operand) -> Tensor:
    """x * x * x, what `x ** 3` stands for.

    Shapes:   x [*S] → [*S]
    Dtypes:   kept; bool is rejected
    Gradient: 3 * x * x
    Errors:   DTypeError for bool
    Source:   torch.pow

    >>> tensor([2.0]) ** 3
    tensor([8.])
    """
    return mul(mul(x, x), x)


@cube.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g * (3 * square(x))


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
)
def lerp(a: Operand, b: Operand, weight: Operand) -> Tensor:
    """Linear interpolation: a + weight * (b - a).

    Shapes:   all [*S] broadcast together
    Dtypes:   floats promote; integers become the default float
    Gradient: 1 - weight to a, weight to b, b - a to weight
    Errors:   ShapeError
    Source:   torch.lerp

    >>> lerp(tensor([0.0]), tensor([10.0]), 0.3)
    tensor([3.])
    """
    return a + weight * (b - a)  # type: ignore[return-value]
