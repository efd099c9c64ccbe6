"""Elementwise arithmetic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .creation import ones_like, zeros_like
from .definition import ELEMENTWISE, REGISTRY, function, op
from .dtypes import float_promote, integers, numeric, promote
from .samples import binary, unary
from .unary import floor, log, reciprocal, sqrt, trunc

if TYPE_CHECKING:
    from duograph._core import Tensor

    from .definition import Operand

_NUMBERS = (int, float)


@op(
    kind=ELEMENTWISE, dtypes=promote, primitive="add", reference="numpy.add", samples=binary(),
    slot="__add__", inplace="add_", inplace_slot="__iadd__",
)  # fmt: skip
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
    kind=ELEMENTWISE, dtypes=numeric, primitive="sub", reference="numpy.subtract", samples=binary(),
    slot="__sub__", inplace="sub_", inplace_slot="__isub__",
)  # fmt: skip
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


@function(over="add")
def add_scaled(a: Operand, b: Operand, alpha: Operand | None = None) -> Tensor:
    """a + alpha * b."""
    return add(a, b) if alpha is None else add(a, b * alpha)


@function(over="add_")
def add_scaled_(a: Tensor, b: Operand, alpha: Operand | None = None) -> Tensor:
    """a += alpha * b."""
    in_place = REGISTRY["add_"].op
    result: Tensor = in_place(a, b) if alpha is None else in_place(a, b * alpha)
    return result


@function(over="sub", aliases=("subtract",))
def sub_scaled(a: Operand, b: Operand, alpha: Operand | None = None) -> Tensor:
    """a - alpha * b."""
    return sub(a, b) if alpha is None else sub(a, b * alpha)


@function(over="sub_")
def sub_scaled_(a: Tensor, b: Operand, alpha: Operand | None = None) -> Tensor:
    """a -= alpha * b."""
    in_place = REGISTRY["sub_"].op
    result: Tensor = in_place(a, b) if alpha is None else in_place(a, b * alpha)
    return result


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
    kind=ELEMENTWISE, dtypes=promote, primitive="mul", reference="numpy.multiply", samples=binary(),
    slot="__mul__", inplace="mul_", inplace_slot="__imul__", aliases=("multiply",),
)  # fmt: skip
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
    kind=ELEMENTWISE, dtypes=float_promote, primitive="div", reference="numpy.true_divide",
    samples=binary(0.5, 2.5), slot="__truediv__", inplace="div_", inplace_slot="__itruediv__",
)  # fmt: skip
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


@function(over="div", aliases=("divide", "true_divide"))
def div_rounded(a: Operand, b: Operand, rounding_mode: str | None = None) -> Tensor:
    """a / b, rounded down ("floor") or towards zero ("trunc") if asked to."""
    if rounding_mode is None:
        return div(a, b)
    if rounding_mode == "floor":
        return floor_divide(a, b)
    if rounding_mode == "trunc":
        return trunc_divide(a, b)
    from duograph.errors import ValueError_

    raise ValueError_(f"div: rounding_mode must be None, 'floor' or 'trunc', got {rounding_mode!r}")


@op(kind=ELEMENTWISE, dtypes=integers, primitive="floordiv", differentiable=False, method=False, public=False)
def integer_floordiv(a: Operand, b: Operand) -> Tensor:
    """The IR's floor division of integers."""
    ...


@op(kind=ELEMENTWISE, dtypes=integers, primitive="mod", differentiable=False, method=False, public=False)
def integer_mod(a: Operand, b: Operand) -> Tensor:
    """The IR's remainder of integers, with the divisor's sign."""
    ...


@op(kind=ELEMENTWISE, dtypes=promote, primitive="fma", method=False, public=False)
def fused_multiply_add(a: Operand, b: Operand, c: Operand) -> Tensor:
    """a * b + c, rounded once."""
    ...


@fused_multiply_add.vjp
def _(g: Any, out: Any, a: Any, b: Any, c: Any) -> Any:
    return g * b, g * a, g


def _is_float(a: Any, b: Any) -> bool:
    return any(x.dtype.is_floating_point if hasattr(x, "dtype") else isinstance(x, float) for x in (a, b))


def _float_floor_divide(a: Any, b: Any) -> tuple[Any, Any]:
    """Quotient and remainder of floats, corrected where the rounded quotient lies across a whole number."""
    quotient = floor(a / b)
    rest = fused_multiply_add(-quotient, b, a)
    below = (rest != 0) & ((rest < 0) != (b < 0))
    quotient = where(below, quotient - 1, quotient)
    rest = where(below, rest + b, rest)
    above = abs(rest) >= abs(b)
    return where(above, quotient + 1, quotient), where(above, rest - b, rest)


@op(
    kind=ELEMENTWISE, dtypes=numeric, differentiable=False, reference="numpy.floor_divide", samples=binary(0.6, 3.0),
    slot="__floordiv__", inplace="floor_divide_", inplace_slot="__ifloordiv__",
)  # fmt: skip
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
    if not _is_float(a, b):
        return integer_floordiv(a, b)
    quotient, _ = _float_floor_divide(a, b)
    return where(b == 0, a / b, quotient)


@op(
    kind=ELEMENTWISE, dtypes=numeric, reference="numpy.remainder", samples=binary(0.6, 3.0), slot="__mod__",
    inplace="remainder_", inplace_slot="__imod__",
)  # fmt: skip
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
    if not _is_float(a, b):
        return integer_mod(a, b)
    _, rest = _float_floor_divide(a, b)
    endless = abs(b) == float("inf")
    rest = where(endless, where((a == 0) | ((a < 0) == (b < 0)), a, b), rest)
    # a - a is NaN where a is: the remainder of an infinity is none
    return rest + (a - a)


@remainder.vjp
def _(g: Any, out: Any, a: Any, b: Any) -> Any:
    return g, -g * floor_divide(a, b)


@op(
    kind=ELEMENTWISE, dtypes=numeric, differentiable=False, method=False, public=False,
    reference=lambda np, a, b: np.trunc(np.true_divide(a, b)), samples=binary(0.6, 3.0),
)  # fmt: skip
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
    quotient = integer_floordiv(a, b)
    inexact = quotient * b != a
    return where(inexact & (quotient < 0), quotient + 1, quotient)


@op(
    kind=ELEMENTWISE, dtypes=numeric, primitive="pow", reference="numpy.power", inplace="pow_",
    samples=lambda m: [(m(3, 5, low=0.3, high=2.5), m(3, 5, low=0, high=2.5)), (m(7, low=0.3, high=2.5), 2.5 if m.is_float else 2),
                       (2, m(2, 3, low=0, high=2.5)), (m(0, 3, low=0.3), m(3, low=0)), (m(low=0.3), m(4, low=0))],
)  # fmt: skip
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
            if b == 2:
                return square(a)
            if dtype.is_floating_point:
                if b == 0.5:
                    return sqrt(a)
                if b == 3:
                    return cube(a)
                if b == -1:
                    return reciprocal(a)
    return pow(a, b)


@function(slot="__rpow__", method=False, public=False)
def reflected_power(b: Operand, a: Operand, modulo: None = None) -> Tensor:
    """a ** b where a is a Python number."""
    return pow(a, b)


@op(
    kind=ELEMENTWISE, dtypes=numeric, reference="numpy.square", samples=unary(),
    inplace="square_",
)  # fmt: skip
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
    kind=ELEMENTWISE, dtypes=numeric, primitive="neg", reference="numpy.negative", samples=unary(),
    slot="__neg__", inplace="neg_", aliases=("negative",),
)  # fmt: skip
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
    kind=ELEMENTWISE, dtypes=numeric, primitive="abs", reference="numpy.abs", samples=unary(),
    slot="__abs__", inplace="abs_", aliases=("absolute",),
)  # fmt: skip
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


@op(kind=ELEMENTWISE, dtypes=promote, primitive="sign", reference="numpy.sign", samples=unary(), inplace="sign_")
def sign(x: Operand) -> Tensor:
    """-1, 0 or 1; NaN stays NaN.

    Shapes:   x [*S] → [*S]
    Dtypes:   kept
    Gradient: 0
    Errors:   none
    Source:   torch.sign

    >>> sign(tensor([3.0, -2.0, 0.0]))
    tensor([ 1., -1.,  0.])
    """
    ...


@sign.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return zeros_like(g)


def _tied(g: Any, chosen: Any, a: Any, b: Any) -> Any:
    """The gradient of an extremum to the operand that `chosen` marks; half at a tie."""
    return where(a == b, g * 0.5, where(chosen, g, 0.0))


@op(
    kind=ELEMENTWISE, dtypes=promote, primitive="maximum", reference="numpy.maximum", samples=binary(scalar=None),
)  # fmt: skip
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
    return _tied(g, a > b, a, b), _tied(g, b > a, a, b)


@op(
    kind=ELEMENTWISE, dtypes=promote, primitive="minimum", reference="numpy.minimum", samples=binary(scalar=None),
)  # fmt: skip
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
    return _tied(g, a < b, a, b), _tied(g, b < a, a, b)


def _clip(np: Any, x: Any, low: Any = None, high: Any = None) -> Any:
    low = x if low is None else np.maximum(x, low)
    return low if high is None else np.minimum(low, high)


@op(
    kind=ELEMENTWISE, dtypes=promote, reference=_clip, inplace="clamp_", aliases=("clip",),
    samples=lambda m: [(m(3, 5), 0, 1), (m(70), None, 1), (m(4, 4), 1, None), (m(2, 3), m(3), m(2, 1)), (m(0, 2), 0, 1), (m(), 0, 1)],
)  # fmt: skip
def clamp(x: Operand, min: Operand | None = None, max: Operand | None = None) -> Tensor:
    """x with values below `min` raised to it and values above `max` lowered to it; bounds are numbers or tensors.

    Shapes:   x [*S], bounds [*T] → broadcast(S, T)
    Dtypes:   promote
    Gradient: to x where it lies within the bounds (ends included), else to the bound taken
    Errors:   ValueError_ if both bounds are None; ShapeError
    Source:   torch.clamp

    >>> clamp(tensor([-3.0, 0.5, 3.0]), -1, 1)
    tensor([-1.0000,  0.5000,  1.0000])
    """
    if min is None and max is None:
        from duograph.errors import ValueError_

        raise ValueError_("clamp: at least one of min and max must be given")
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


@function(method="clamp_min", samples=lambda m: [(m(3, 5), 0)], reference=lambda np, x, low: np.maximum(x, low))
def clamp_min(x: Tensor, min: Operand) -> Tensor:
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


@function(method="clamp_max", samples=lambda m: [(m(3, 5), 0)], reference=lambda np, x, high: np.minimum(x, high))
def clamp_max(x: Tensor, max: Operand) -> Tensor:
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
    kind=ELEMENTWISE, dtypes=promote.on("a", "b"), primitive="where", reference="numpy.where", method=False,
    samples=lambda m: [(m.bools(3, 5), m(3, 5), m(3, 5)), (m.bools(3, 1), m(5), m(3, 5)), (m.bools(7), m(7), 0),
                       (m.bools(7), 1, m(7)), (m.bools(), m(), m()), (m.bools(0, 3), m(3), m(0, 3))],
)  # fmt: skip
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


@function(over="where")
def where_any(condition: Tensor, a: Any = None, b: Any = None) -> Any:
    """`where`; with the condition alone its indices of nonzero elements; as a method `a.where(condition, b)`."""
    if a is None and b is None:
        from .indexing import nonzero_tuple

        return nonzero_tuple(condition)
    if condition.dtype.kind != "b" and getattr(a, "dtype", None) is not None and a.dtype.kind == "b":
        condition, a = a, condition  # the method's order
    return where(condition, a, b)


@op(
    kind=ELEMENTWISE, dtypes=float_promote, reference=lambda np, a, b, w: a + w * (b - a), inplace="lerp_",
    samples=lambda m: [(m(3, 5), m(3, 5), 0.3), (m(3, 1), m(5), m(3, 5)), (m(0), m(0), 0.5)],
)  # fmt: skip
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
