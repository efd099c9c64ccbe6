"""Elementwise functions of two operands and more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core

from ..definition import ELEMENTWISE, op
from ..dtypes import doubles, float_promote, floats, integers, no_bool, numeric, promote, wide_floats
from ..samples import binary, unary
from ..shapes.copying import cast
from ..shapes.creation import zeros_like
from .arithmetic import abs, mul
from .choice import maximum, minimum, where
from .comparison import eq, isnan
from .divisions import floor_divide, trunc_divide
from .exponentiation import pow
from .unary import exp, exp2, log, log1p

if TYPE_CHECKING:
    from duograph._core import Tensor

    from ..definition import Number, Operand


def _whole(m: Any) -> Any:
    """Samples of integers."""
    return binary()(m) if m.kind in "iu" else []


def _three(m: Any) -> Any:
    if m.kind == "b":
        return []
    calls = [(m(3, 5), m(3, 5), m(3, 5, low=0.5)), (m(3, 1), m(5), m(3, 5, low=0.5), 2), (m(0, 3), m(1, 3), m(3, low=0.5))]
    return [*calls, (m(), m(4), m(low=0.5), 3)]


@op(kind=ELEMENTWISE, dtypes=float_promote, primitive="atan2", samples=binary(), inplace=True, aliases=("arctan2",))
def atan2(a: Operand, b: Operand) -> Tensor:
    """The angle in radians, from -pi to pi, of the point with coordinates b and a: atan(a / b) in the right quadrant.

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   floats promote; integers and bool become the default float
    Gradient: b / (a ** 2 + b ** 2) to a, -a / (a ** 2 + b ** 2) to b
    Errors:   ShapeError if S and T do not broadcast
    Source:   torch.atan2

    >>> atan2(tensor([1.0, -1.0]), tensor([1.0, -1.0]))
    tensor([ 0.7854, -2.3562])
    """
    ...


@atan2.vjp
def _(g: Any, out: Any, a: Any, b: Any) -> Any:
    square = a * a + b * b
    weight = where(square == 0, 0.0, g / square)
    return weight * b, -weight * a


@op(kind=ELEMENTWISE, dtypes=floats, primitive="hypot", samples=binary(), inplace=True)
def hypot(a: Operand, b: Operand) -> Tensor:
    """sqrt(a ** 2 + b ** 2), without overflow.

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   floats promote; others are rejected
    Gradient: a / out to a, b / out to b
    Errors:   ShapeError if S and T do not broadcast; DTypeError unless floating point
    Source:   torch.hypot

    >>> hypot(tensor([3.0]), tensor([4.0]))
    tensor([5.])
    """
    ...


@hypot.vjp
def _(g: Any, out: Any, a: Any, b: Any) -> Any:
    return g * (a / out), g * (b / out)


@op(kind=ELEMENTWISE, dtypes=numeric, primitive="fmod", samples=binary(0.6, 3.0), inplace=True)
def fmod(a: Operand, b: Operand) -> Tensor:
    """a - trunc(a / b) * b, exactly, with the sign of a, as C's fmod.

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   promote; bool is rejected
    Gradient: 1 to a, -trunc(a / b) to b
    Errors:   DivisionError for an integer division by zero; ShapeError; DTypeError for bool
    Source:   torch.fmod

    >>> fmod(tensor([-7.0, 7.0]), 3)
    tensor([-1.,  1.])
    """
    ...


@fmod.vjp
def _(g: Any, out: Any, a: Any, b: Any) -> Any:
    return g, -g * trunc_divide(a, b)


@op(kind=ELEMENTWISE, dtypes=float_promote, primitive="copysign", samples=binary(), inplace=True)
def copysign(a: Operand, b: Operand) -> Tensor:
    """The size of a with the sign of b.

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   floats promote; integers and bool become the default float
    Gradient: 1 or -1 to a, 0 where a is 0; 0 to b
    Errors:   ShapeError if S and T do not broadcast
    Source:   torch.copysign

    >>> copysign(tensor([1.0, -2.0]), tensor([-1.0, -0.0]))
    tensor([-1., -2.])
    """
    ...


@copysign.vjp
def _(g: Any, out: Any, a: Any, b: Any) -> Any:
    return where(eq(a, 0), 0.0, g * (out / a)), zeros_like(g)


@op(kind=ELEMENTWISE, dtypes=wide_floats, primitive="nextafter", samples=binary(scalar=None), differentiable=False, inplace=True)
def nextafter(a: Operand, b: Operand) -> Tensor:
    """The number next to a in the direction of b.

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   float32 and float64
    Gradient: none
    Errors:   ShapeError if S and T do not broadcast; DTypeError for other dtypes
    Source:   torch.nextafter

    >>> nextafter(tensor([1.0]), tensor([2.0])) > 1
    tensor([True])
    """
    ...


@op(kind=ELEMENTWISE, dtypes=integers, primitive="gcd", samples=_whole, differentiable=False, inplace=True)
def gcd(a: Operand, b: Operand) -> Tensor:
    """The greatest common divisor, never negative; gcd(0, 0) is 0.

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   integers promote; others are rejected
    Gradient: none
    Errors:   ShapeError if S and T do not broadcast; DTypeError
    Source:   torch.gcd

    >>> gcd(tensor([12, -18]), tensor([8, 12]))
    tensor([4, 6])
    """
    ...


@op(kind=ELEMENTWISE, dtypes=integers, samples=_whole, differentiable=False, inplace=True)
def lcm(a: Operand, b: Operand) -> Tensor:
    """The least common multiple, never negative; 0 if either is 0.

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   integers promote; others are rejected
    Gradient: none
    Errors:   ShapeError if S and T do not broadcast; DTypeError
    Source:   torch.lcm

    >>> lcm(tensor([4, -6]), tensor([6, 8]))
    tensor([12, 24])
    """
    divisor = gcd(a, b)
    nothing = eq(divisor, 0)
    return where(nothing, 0, abs(mul(floor_divide(a, where(nothing, 1, divisor)), b)))


@op(kind=ELEMENTWISE, dtypes=promote, samples=binary(scalar=None))
def fmax(a: Operand, b: Operand) -> Tensor:
    """The greater of two; the other one if one is NaN.

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   promote
    Gradient: to the greater one; to a at a tie
    Errors:   ShapeError if S and T do not broadcast
    Source:   torch.fmax

    >>> fmax(tensor([1.0, 5.0]), tensor([3.0, 2.0]))
    tensor([3., 5.])
    """
    found = maximum(a, b)
    return where(isnan(a), b, where(isnan(b), a, found)) if found.dtype.is_floating_point else found


@fmax.vjp
def _(g: Any, out: Any, a: Any, b: Any) -> Any:
    first = (a >= b) | isnan(b)
    return where(first, g, 0.0), where(first, 0.0, g)


@op(kind=ELEMENTWISE, dtypes=promote, samples=binary(scalar=None))
def fmin(a: Operand, b: Operand) -> Tensor:
    """The lesser of two; the other one if one is NaN.

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   promote
    Gradient: to the lesser one; to a at a tie
    Errors:   ShapeError if S and T do not broadcast
    Source:   torch.fmin

    >>> fmin(tensor([1.0, 5.0]), tensor([3.0, 2.0]))
    tensor([1., 2.])
    """
    found = minimum(a, b)
    return where(isnan(a), b, where(isnan(b), a, found)) if found.dtype.is_floating_point else found


@fmin.vjp
def _(g: Any, out: Any, a: Any, b: Any) -> Any:
    first = (a <= b) | isnan(b)
    return where(first, g, 0.0), where(first, 0.0, g)


@op(kind=ELEMENTWISE, dtypes=promote, samples=binary(scalar=None), differentiable=False, inplace=True, names="values=b")
def heaviside(a: Operand, b: Operand) -> Tensor:
    """0 where a is negative or NaN, 1 where it is positive, b where it is 0.

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   promote
    Gradient: none
    Errors:   ShapeError if S and T do not broadcast
    Source:   torch.heaviside

    >>> heaviside(tensor([-1.0, 0.0, 2.0]), tensor([0.5]))
    tensor([0.0000, 0.5000, 1.0000])
    """
    return where(eq(a, 0), b, cast(a > 0, (a * b).dtype))  # type: ignore[union-attr]


@op(kind=ELEMENTWISE, dtypes=float_promote, samples=binary(0.3, 2.5), inplace=True)
def xlogy(a: Operand, b: Operand) -> Tensor:
    """a * log(b), 0 where a is 0 (but NaN where b is).

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   floats promote; integers and bool become the default float
    Gradient: log(b) to a, 0 where a is 0 and b not positive; a / b to b
    Errors:   ShapeError if S and T do not broadcast
    Source:   torch.xlogy

    >>> xlogy(tensor([0.0, 2.0]), tensor([0.0, 3.0]))
    tensor([0.0000, 2.1972])
    """
    return where(isnan(b), float("nan"), where(eq(a, 0), 0.0, a * log(b)))


@xlogy.vjp
def _(g: Any, out: Any, a: Any, b: Any) -> Any:
    first = where((a == 0) & (b <= 0), 0.0, xlogy(g, b))
    return first, g * a / b


@op(kind=ELEMENTWISE, dtypes=floats, samples=binary(scalar=None))
def logaddexp(a: Operand, b: Operand) -> Tensor:
    """log(exp(a) + exp(b)), without overflow.

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   floats promote; others are rejected
    Gradient: the softmax weights of a and b
    Errors:   ShapeError if S and T do not broadcast; DTypeError unless floating point
    Source:   torch.logaddexp

    >>> logaddexp(tensor([0.0]), tensor([0.0]))
    tensor([0.6931])
    """
    same = eq(a, b)
    return maximum(a, b) + where(same, 0.6931471805599453, log1p(exp(-abs(a - b))))


@logaddexp.vjp
def _(g: Any, out: Any, a: Any, b: Any) -> Any:
    return g / (1 + exp(b - a)), g / (1 + exp(a - b))


@op(kind=ELEMENTWISE, dtypes=floats, samples=binary(scalar=None))
def logaddexp2(a: Operand, b: Operand) -> Tensor:
    """log2(2 ** a + 2 ** b), without overflow.

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   floats promote; others are rejected
    Gradient: the weights 2 ** a and 2 ** b over their sum
    Errors:   ShapeError if S and T do not broadcast; DTypeError unless floating point
    Source:   torch.logaddexp2

    >>> logaddexp2(tensor([0.0]), tensor([0.0]))
    tensor([1.])
    """
    same = eq(a, b)
    return maximum(a, b) + where(same, 1.0, log1p(exp2(-abs(a - b))) * 1.4426950408889634)


@logaddexp2.vjp
def _(g: Any, out: Any, a: Any, b: Any) -> Any:
    return g / (1 + exp2(b - a)), g / (1 + exp2(a - b))


@op(
    kind=ELEMENTWISE,
    dtypes=float_promote,
    samples=lambda m: [(m(3, 5), m.ints(3, 5, low=-3, high=4)), (m(3, 5), m.ints(5, high=4))],
    inplace=True,
)
def ldexp(a: Operand, b: Operand) -> Tensor:
    """a * 2 ** b.

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   floats promote; integers and bool become the default float
    Gradient: 2 ** b to a, out * log(2) to b
    Errors:   ShapeError if S and T do not broadcast
    Source:   torch.ldexp

    >>> ldexp(tensor([1.0, 3.0]), tensor([3, -1]))
    tensor([8.0000, 1.5000])
    """
    return a * exp2(b)


@ldexp.vjp
def _(g: Any, out: Any, a: Any, b: Any) -> Any:
    return g * exp2(b), g * (out * 0.6931471805599453)


@op(kind=ELEMENTWISE, dtypes=doubles, samples=binary(0.3, 2.5), inplace=True, names="exponent=b")
def float_power(a: Operand, b: Operand) -> Tensor:
    """a ** b, computed in float64 whatever the dtypes.

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   any; float64
    Gradient: as `pow`
    Errors:   ShapeError if S and T do not broadcast
    Source:   torch.float_power

    >>> float_power(tensor([1, 2]), 3)
    tensor([1., 8.], dtype=duograph.float64)
    """
    return pow(a, b)


def _sum_samples(m: Any) -> Any:
    return _three(m) if m.is_float else []


@op(
    kind=ELEMENTWISE,
    dtypes=no_bool.on("x", "a", "b"),
    samples=_three,
    inplace=True,
    torch=lambda torch, x, a, b, value=1: torch.addcmul(x, a, b, value=value),
    names="tensor1=a tensor2=b",
)
def addcmul(x: Operand, a: Operand, b: Operand, value: Number = 1) -> Tensor:
    """x + value * a * b.

    Shapes:   all [*S] broadcast together
    Dtypes:   promote; bool is rejected
    Gradient: 1 to x, value * b to a, value * a to b
    Errors:   ShapeError; DTypeError for bool
    Source:   torch.addcmul

    >>> addcmul(tensor([1.0]), tensor([2.0]), tensor([3.0]), value=10)
    tensor([61.])
    """
    return x + value * a * b  # type: ignore[return-value]


@addcmul.vjp
def _(g: Any, out: Any, x: Any, a: Any, b: Any, value: Any) -> Any:
    return g, g * b * value, g * a * value


@op(
    kind=ELEMENTWISE,
    dtypes=floats.on("x", "a", "b"),
    samples=_sum_samples,
    inplace=True,
    torch=lambda torch, x, a, b, value=1: torch.addcdiv(x, a, b, value=value),
    names="tensor1=a tensor2=b",
)
def addcdiv(x: Operand, a: Operand, b: Operand, value: Number = 1) -> Tensor:
    """x + value * a / b.

    Shapes:   all [*S] broadcast together
    Dtypes:   floats promote; others are rejected
    Gradient: 1 to x, value / b to a, -value * a / b ** 2 to b
    Errors:   ShapeError; DTypeError unless floating point
    Source:   torch.addcdiv

    >>> addcdiv(tensor([1.0]), tensor([6.0]), tensor([3.0]), value=10)
    tensor([21.])
    """
    return x + value * (a / b)  # type: ignore[return-value]


@addcdiv.vjp
def _(g: Any, out: Any, x: Any, a: Any, b: Any, value: Any) -> Any:
    slope = g * value / b
    return g, slope, -slope * (a / b)


@op(kind=ELEMENTWISE, dtypes=floats, primitive="exponent", differentiable=False, method=False, public=False)
def exponent_of(x: Operand) -> Tensor:
    """The IR's exponent, as a float."""
    ...


@op(kind=ELEMENTWISE, dtypes=floats, primitive="mantissa", differentiable=False, method=False, public=False)
def mantissa_of(x: Operand) -> Tensor:
    """The IR's mantissa."""
    ...


@op(kind=ELEMENTWISE, dtypes=floats, samples=unary())
def frexp(x: Tensor) -> tuple[Tensor, Tensor]:
    """x as mantissa * 2 ** exponent, the mantissa's size in [1/2, 1); 0, infinities and NaN with exponent 0.

    Shapes:   x [*S] → twice [*S]
    Dtypes:   floats; mantissa kept, exponent int32
    Gradient: 2 ** -exponent, of the mantissa
    Errors:   DTypeError unless floating point
    Source:   torch.frexp

    >>> frexp(tensor([8.0, -3.0]))[1]
    tensor([4, 2], dtype=duograph.int32)
    """
    return mantissa_of(x), cast(exponent_of(x), core.int32)


@frexp.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g[0] * exp2(-cast(out[1], x.dtype))
