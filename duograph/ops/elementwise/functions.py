"""Elementwise functions of one operand: inverse and hyperbolic ones, angles, signs and what replaces special values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import DTypeError

from ..definition import ELEMENTWISE, function, op
from ..dtypes import compare, float_promote, floats
from ..samples import unary
from .choice import clamp, where
from .comparison import eq, isfinite, lt
from .pairs import copysign
from .rounding import trunc
from .unary import cos, log, rsqrt, sin

if TYPE_CHECKING:
    from duograph._core import Tensor

    from ..definition import Number, Operand

_PI = 3.141592653589793


@op(kind=ELEMENTWISE, dtypes=float_promote, primitive="asin", samples=unary(-0.9, 0.9), inplace=True, aliases=("arcsin",))
def asin(x: Operand) -> Tensor:
    """The angle in radians, from -pi/2 to pi/2, whose sine is x; NaN beyond 1 and -1.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: 1 / sqrt(1 - x ** 2)
    Errors:   none
    Source:   torch.asin

    >>> asin(tensor([0.0, 1.0]))
    tensor([0.0000, 1.5708])
    """
    ...


@asin.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g * rsqrt(1 - x * x)


@op(kind=ELEMENTWISE, dtypes=float_promote, primitive="acos", samples=unary(-0.9, 0.9), inplace=True, aliases=("arccos",))
def acos(x: Operand) -> Tensor:
    """The angle in radians, from 0 to pi, whose cosine is x; NaN beyond 1 and -1.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: -1 / sqrt(1 - x ** 2)
    Errors:   none
    Source:   torch.acos

    >>> acos(tensor([0.0, 1.0]))
    tensor([1.5708, 0.0000])
    """
    ...


@acos.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return -g * rsqrt(1 - x * x)


@op(kind=ELEMENTWISE, dtypes=float_promote, primitive="atan", samples=unary(), inplace=True, aliases=("arctan",))
def atan(x: Operand) -> Tensor:
    """The angle in radians, from -pi/2 to pi/2, whose tangent is x.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: 1 / (1 + x ** 2)
    Errors:   none
    Source:   torch.atan

    >>> atan(tensor([0.0, 1.0]))
    tensor([0.0000, 0.7854])
    """
    ...


@atan.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g / (x * x + 1)


@op(kind=ELEMENTWISE, dtypes=float_promote, primitive="sinh", samples=unary(), inplace=True)
def sinh(x: Operand) -> Tensor:
    """The hyperbolic sine.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: cosh(x)
    Errors:   none
    Source:   torch.sinh

    >>> sinh(tensor([0.0, 1.0]))
    tensor([0.0000, 1.1752])
    """
    ...


@sinh.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g * cosh(x)


@op(kind=ELEMENTWISE, dtypes=float_promote, primitive="cosh", samples=unary(), inplace=True)
def cosh(x: Operand) -> Tensor:
    """The hyperbolic cosine.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: sinh(x)
    Errors:   none
    Source:   torch.cosh

    >>> cosh(tensor([0.0, 1.0]))
    tensor([1.0000, 1.5431])
    """
    ...


@cosh.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g * sinh(x)


@op(kind=ELEMENTWISE, dtypes=float_promote, primitive="asinh", samples=unary(), inplace=True, aliases=("arcsinh",))
def asinh(x: Operand) -> Tensor:
    """The number whose hyperbolic sine is x.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: 1 / sqrt(x ** 2 + 1)
    Errors:   none
    Source:   torch.asinh

    >>> asinh(tensor([0.0, 1.0]))
    tensor([0.0000, 0.8814])
    """
    ...


@asinh.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g * rsqrt(x * x + 1)


@op(kind=ELEMENTWISE, dtypes=float_promote, primitive="acosh", samples=unary(1.2, 4.0), inplace=True, aliases=("arccosh",))
def acosh(x: Operand) -> Tensor:
    """The positive number whose hyperbolic cosine is x; NaN below 1.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: 1 / sqrt(x ** 2 - 1)
    Errors:   none
    Source:   torch.acosh

    >>> acosh(tensor([1.0, 2.0]))
    tensor([0.0000, 1.3170])
    """
    ...


@acosh.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g * rsqrt(x * x - 1)


@op(kind=ELEMENTWISE, dtypes=float_promote, primitive="atanh", samples=unary(-0.9, 0.9), inplace=True, aliases=("arctanh",))
def atanh(x: Operand) -> Tensor:
    """The number whose hyperbolic tangent is x; infinite at 1 and -1, NaN beyond.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: 1 / (1 - x ** 2)
    Errors:   none
    Source:   torch.atanh

    >>> atanh(tensor([0.0, 0.5]))
    tensor([0.0000, 0.5493])
    """
    ...


@atanh.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g / (1 - x * x)


@op(kind=ELEMENTWISE, dtypes=float_promote, samples=unary(), inplace=True, tolerance=8)
def sinc(x: Operand) -> Tensor:
    """sin(pi x) / (pi x), 1 at 0.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: the derivative, 0 at 0
    Errors:   none
    Source:   torch.sinc

    >>> sinc(tensor([0.0, 0.5]))
    tensor([1.0000, 0.6366])
    """
    turn = x * _PI
    return where(eq(x, 0), 1.0, sin(turn) / turn)


@sinc.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    turn = x * _PI
    return where(x == 0, 0.0, g * ((turn * cos(turn) - sin(turn)) / (turn * x)))


@op(
    kind=ELEMENTWISE,
    dtypes=float_promote,
    samples=lambda m: [*unary(0.1, 0.9)(m), (m(3, 5), 0.1)] if m.is_float else unary(0.1, 0.9)(m),
    inplace=True,
    tolerance=4,
)
def logit(x: Operand, eps: Number | None = None) -> Tensor:
    """log(x / (1 - x)). With eps, x is first limited to eps and 1 - eps.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: 1 / (x * (1 - x)); with eps 0 where x was limited, else NaN beyond 0 and 1
    Errors:   none
    Source:   torch.logit

    >>> logit(tensor([0.5, 0.9]))
    tensor([0.0000, 2.1972])
    """
    if eps is not None:
        x = clamp(x, eps, 1 - eps)
    return log(x / (1 - x))


@logit.vjp
def _(g: Any, out: Any, x: Any, eps: Any) -> Any:
    slope = g / (x * (1 - x))
    if eps is None:
        return where((x < 0) | (x > 1), float("nan"), slope)
    return where((x < eps) | (x > 1 - eps), 0.0, slope)


@op(kind=ELEMENTWISE, dtypes=floats, samples=unary(), inplace=True)
def frac(x: Operand) -> Tensor:
    """x without its whole part, with the sign of x.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats; others are rejected
    Gradient: 1
    Errors:   DTypeError unless floating point
    Source:   torch.frac

    >>> frac(tensor([1.5, -1.25]))
    tensor([ 0.5000, -0.2500])
    """
    return x - trunc(x)


@frac.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g


@op(kind=ELEMENTWISE, dtypes=float_promote, samples=unary(), inplace=True)
def deg2rad(x: Operand) -> Tensor:
    """Degrees in radians: x * pi / 180.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: pi / 180
    Errors:   none
    Source:   torch.deg2rad

    >>> deg2rad(tensor([180.0, 90.0]))
    tensor([3.1416, 1.5708])
    """
    return x * 0.017453292519943295  # type: ignore[return-value]


@deg2rad.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g * 0.017453292519943295


@op(kind=ELEMENTWISE, dtypes=float_promote, samples=unary(), inplace=True)
def rad2deg(x: Operand) -> Tensor:
    """Radians in degrees: x * 180 / pi.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: 180 / pi
    Errors:   none
    Source:   torch.rad2deg

    >>> rad2deg(tensor([3.14159265, 1.0]))
    tensor([180.0000,  57.2958])
    """
    return x * 57.29577951308232  # type: ignore[return-value]


@rad2deg.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g * 57.29577951308232


@op(kind=ELEMENTWISE, dtypes=compare, samples=unary(), differentiable=False)
def signbit(x: Operand) -> Tensor:
    """Whether the sign is negative, also of -0 and NaN.

    Shapes:   x [*S] → [*S]
    Dtypes:   any; bool
    Gradient: none
    Errors:   none
    Source:   torch.signbit

    >>> signbit(tensor([-0.0, 0.0, -2.0]))
    tensor([ True, False,  True])
    """
    return lt(copysign(1.0, x) if x.dtype.is_floating_point else x, 0)  # type: ignore[union-attr]


@op(kind=ELEMENTWISE, dtypes=compare, samples=unary(), differentiable=False)
def isposinf(x: Operand) -> Tensor:
    """Where x is +inf.

    Shapes:   x [*S] → [*S]
    Dtypes:   any; bool
    Gradient: none
    Errors:   none
    Source:   torch.isposinf

    >>> isposinf(tensor([1.0, 2.0]) / tensor([0.0, 1.0]))
    tensor([ True, False])
    """
    return eq(x, float("inf")) if x.dtype.is_floating_point else lt(x, x)  # type: ignore[union-attr]


@op(kind=ELEMENTWISE, dtypes=compare, samples=unary(), differentiable=False)
def isneginf(x: Operand) -> Tensor:
    """Where x is -inf.

    Shapes:   x [*S] → [*S]
    Dtypes:   any; bool
    Gradient: none
    Errors:   none
    Source:   torch.isneginf

    >>> isneginf(tensor([-1.0, 2.0]) / tensor([0.0, 1.0]))
    tensor([ True, False])
    """
    return eq(x, float("-inf")) if x.dtype.is_floating_point else lt(x, x)  # type: ignore[union-attr]


@op(kind=ELEMENTWISE, dtypes=compare, samples=unary(), differentiable=False)
def isreal(x: Operand) -> Tensor:
    """Where x is a real number: everywhere, as there are no complex tensors.

    Shapes:   x [*S] → [*S]
    Dtypes:   any; bool
    Gradient: none
    Errors:   none
    Source:   torch.isreal

    >>> isreal(tensor([1.0, 2.0]))
    tensor([True, True])
    """
    return eq(x, x) | (x != x)


@op(kind=ELEMENTWISE, dtypes=float_promote, samples=unary())
def angle(x: Operand) -> Tensor:
    """The angle of a number in the complex plane: pi for negative numbers, 0 for others; NaN stays.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: 0
    Errors:   none
    Source:   torch.angle

    >>> angle(tensor([1.0, -2.0]))
    tensor([0.0000, 3.1416])
    """
    return where(lt(x, 0), _PI, where(eq(x, x), 0.0, x))


@angle.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g * 0.0


_GREATEST = {
    "float16": 65504.0,
    "bfloat16": 3.3895313892515355e38,
    "float32": 3.4028234663852886e38,
    "float64": 1.7976931348623157e308,
}


@op(kind=ELEMENTWISE, samples=lambda m: [*unary()(m), (m(3, 5), 1.0, 2.0, 3.0)], inplace=True)
def nan_to_num(x: Tensor, nan: Number | None = None, posinf: Number | None = None, neginf: Number | None = None) -> Tensor:
    """x with NaN and infinities replaced: if nothing is said, by 0 and by the greatest and least finite number of the dtype.

    Shapes:   x [*S] → [*S]
    Dtypes:   kept; integers and bool have nothing to replace
    Gradient: 1 where x is finite, else 0
    Errors:   none
    Source:   torch.nan_to_num

    >>> nan_to_num(tensor([1.0, 2.0]) / tensor([0.0, 1.0]), posinf=9.0)
    tensor([9., 2.])
    """
    if not x.dtype.is_floating_point:
        return where(eq(x, x), x, x)
    greatest = _GREATEST[x.dtype.name]
    high = where(eq(x, float("inf")), greatest if posinf is None else posinf, x)
    low = where(eq(x, float("-inf")), -greatest if neginf is None else neginf, high)
    return where(eq(x, x), low, 0.0 if nan is None else nan)


@nan_to_num.vjp
def _(g: Any, out: Any, x: Any, nan: Any, posinf: Any, neginf: Any) -> Any:
    return where(isfinite(x), g, 0.0)


@function(samples=lambda m: [(m(3, 5),), (m(),)])
def positive(x: Tensor) -> Tensor:
    """x itself, as `+x`.

    Shapes:   x [*S] → [*S]
    Dtypes:   kept; bool is rejected
    Gradient: 1
    Errors:   DTypeError for bool
    Source:   torch.positive

    >>> positive(tensor([1.0, -2.0]))
    tensor([ 1., -2.])
    """
    if x.dtype is core.bool:
        raise DTypeError("positive: not defined for bool", hint="convert with .to(dg.int64)")
    return x


@function(samples=lambda m: [(m(2, 3),), (m(),)], aliases=("resolve_conj", "resolve_neg"))
def conj(x: Tensor) -> Tensor:
    """x itself: numbers here are real, and so their own conjugates.

    Shapes:   x [*S] → [*S]
    Dtypes:   kept
    Gradient: 1
    Errors:   none
    Source:   torch.conj

    >>> conj(tensor([1, 2]))
    tensor([1, 2])
    """
    return x


@function(samples=lambda m: [(m(2, 3),), (m(),)])
def real(x: Tensor) -> Tensor:
    """x itself: numbers here are real.

    Shapes:   x [*S] → [*S]
    Dtypes:   kept
    Gradient: 1
    Errors:   none
    Source:   torch.real

    >>> real(tensor([1, 2]))
    tensor([1, 2])
    """
    return x
