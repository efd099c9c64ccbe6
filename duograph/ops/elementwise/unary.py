"""Exponentials, logarithms, roots and angles: elementwise functions of one operand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..definition import ELEMENTWISE, op
from ..dtypes import float_promote, floats
from ..samples import unary

if TYPE_CHECKING:
    from duograph._core import Tensor

    from ..definition import Operand


def _scipy_free_erf(np: Any, x: Any) -> Any:
    import math

    return np.vectorize(math.erf, otypes=[np.float64])(x)


@op(kind=ELEMENTWISE, dtypes=float_promote, primitive="exp", reference="numpy.exp", samples=unary(), inplace="exp_")
def exp(x: Operand) -> Tensor:
    """e to the power x.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: out
    Errors:   none
    Source:   torch.exp

    >>> exp(tensor([0.0, 1.0]))
    tensor([1.0000, 2.7183])
    """
    ...


@exp.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g * out


@op(kind=ELEMENTWISE, dtypes=float_promote, primitive="exp2", reference="numpy.exp2", samples=unary(), inplace="exp2_")
def exp2(x: Operand) -> Tensor:
    """2 to the power x.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: out * log(2)
    Errors:   none
    Source:   torch.exp2

    >>> exp2(tensor([0.0, 3.0]))
    tensor([1., 8.])
    """
    ...


@exp2.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g * (out * 0.6931471805599453)


@op(kind=ELEMENTWISE, dtypes=float_promote, primitive="expm1", reference="numpy.expm1", samples=unary(), inplace="expm1_")
def expm1(x: Operand) -> Tensor:
    """exp(x) - 1, accurate near 0.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: out + 1
    Errors:   none
    Source:   torch.expm1

    >>> expm1(tensor([0.0, 1.0]))
    tensor([0.0000, 1.7183])
    """
    ...


@expm1.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g * (out + 1)


@op(kind=ELEMENTWISE, dtypes=float_promote, primitive="log", reference="numpy.log", samples=unary(0.2, 4.0), inplace="log_")
def log(x: Operand) -> Tensor:
    """The natural logarithm; NaN below 0.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: 1 / x
    Errors:   none
    Source:   torch.log

    >>> log(tensor([1.0, 10.0]))
    tensor([0.0000, 2.3026])
    """
    ...


@log.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g / x


@op(kind=ELEMENTWISE, dtypes=float_promote, primitive="log2", reference="numpy.log2", samples=unary(0.2, 4.0), inplace="log2_")
def log2(x: Operand) -> Tensor:
    """The logarithm to base 2.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: 1 / (x * log(2))
    Errors:   none
    Source:   torch.log2

    >>> log2(tensor([1.0, 8.0]))
    tensor([0., 3.])
    """
    ...


@log2.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g / (x * 0.6931471805599453)


@op(
    kind=ELEMENTWISE, dtypes=float_promote, primitive="log1p", reference="numpy.log1p", samples=unary(-0.8, 4.0), inplace="log1p_"
)
def log1p(x: Operand) -> Tensor:
    """log(1 + x), accurate near 0.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: 1 / (1 + x)
    Errors:   none
    Source:   torch.log1p

    >>> log1p(tensor([0.0, 1.0]))
    tensor([0.0000, 0.6931])
    """
    ...


@log1p.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g / (x + 1)


@op(kind=ELEMENTWISE, dtypes=float_promote, primitive="sqrt", reference="numpy.sqrt", samples=unary(0.2, 4.0), inplace="sqrt_")
def sqrt(x: Operand) -> Tensor:
    """The square root; NaN below 0.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: 1 / (2 * out)
    Errors:   none
    Source:   torch.sqrt

    >>> sqrt(tensor([4.0, 9.0]))
    tensor([2., 3.])
    """
    ...


@sqrt.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g / (out + out)


@op(
    kind=ELEMENTWISE,
    dtypes=float_promote,
    primitive="rsqrt",
    reference=lambda np, x: 1 / np.sqrt(x),
    samples=unary(0.2, 4.0),
    inplace="rsqrt_",
)
def rsqrt(x: Operand) -> Tensor:
    """1 / sqrt(x).

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: -out ** 3 / 2
    Errors:   none
    Source:   torch.rsqrt

    >>> rsqrt(tensor([4.0, 16.0]))
    tensor([0.5000, 0.2500])
    """
    ...


@rsqrt.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g * (-0.5 * (out * out * out))


@op(
    kind=ELEMENTWISE,
    dtypes=float_promote,
    primitive="reciprocal",
    reference=lambda np, x: 1 / np.asarray(x),
    samples=unary(0.3, 2.0),
    inplace="reciprocal_",
)
def reciprocal(x: Operand) -> Tensor:
    """1 / x.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: -out ** 2
    Errors:   none
    Source:   torch.reciprocal

    >>> reciprocal(tensor([2.0, 4.0]))
    tensor([0.5000, 0.2500])
    """
    ...


@reciprocal.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return -g * (out * out)


@op(kind=ELEMENTWISE, dtypes=float_promote, primitive="sin", reference="numpy.sin", samples=unary(), inplace="sin_")
def sin(x: Operand) -> Tensor:
    """The sine of x in radians.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: cos(x)
    Errors:   none
    Source:   torch.sin

    >>> sin(tensor([0.0, 1.0]))
    tensor([0.0000, 0.8415])
    """
    ...


@sin.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g * cos(x)


@op(kind=ELEMENTWISE, dtypes=float_promote, primitive="cos", reference="numpy.cos", samples=unary(), inplace="cos_")
def cos(x: Operand) -> Tensor:
    """The cosine of x in radians.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: -sin(x)
    Errors:   none
    Source:   torch.cos

    >>> cos(tensor([0.0, 1.0]))
    tensor([1.0000, 0.5403])
    """
    ...


@cos.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return -g * sin(x)


@op(kind=ELEMENTWISE, dtypes=float_promote, primitive="tan", reference="numpy.tan", samples=unary(-1.2, 1.2), inplace="tan_")
def tan(x: Operand) -> Tensor:
    """The tangent of x in radians.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: 1 + out ** 2
    Errors:   none
    Source:   torch.tan

    >>> tan(tensor([0.0, 1.0]))
    tensor([0.0000, 1.5574])
    """
    ...


@tan.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g * (out * out + 1)


@op(
    functional=True,
    kind=ELEMENTWISE,
    dtypes=float_promote,
    primitive="tanh",
    reference="numpy.tanh",
    samples=unary(),
    inplace="tanh_",
)
def tanh(x: Operand) -> Tensor:
    """The hyperbolic tangent.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: 1 - out ** 2
    Errors:   none
    Source:   torch.tanh

    >>> tanh(tensor([0.0, 1.0]))
    tensor([0.0000, 0.7616])
    """
    ...


@tanh.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g * (1 - out * out)


@op(kind=ELEMENTWISE, dtypes=float_promote, primitive="erf", reference=_scipy_free_erf, samples=unary(), inplace="erf_")
def erf(x: Operand) -> Tensor:
    """The error function.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: 2 / sqrt(pi) * exp(-x ** 2)
    Errors:   none
    Source:   torch.erf

    >>> erf(tensor([0.0, 1.0]))
    tensor([0.0000, 0.8427])
    """
    ...


@erf.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g * (1.1283791670955126 * exp(-(x * x)))


@op(
    functional=True,
    kind=ELEMENTWISE,
    dtypes=float_promote,
    samples=unary(),
    inplace="sigmoid_",
    reference=lambda np, x: np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x)))),
)
def sigmoid(x: Operand) -> Tensor:
    """1 / (1 + exp(-x)).

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: out * (1 - out)
    Errors:   none
    Source:   torch.sigmoid

    >>> sigmoid(tensor([0.0, 2.0]))
    tensor([0.5000, 0.8808])
    """
    return reciprocal(exp(-x) + 1)


@sigmoid.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g * ((1 - out) * out)


@op(kind=ELEMENTWISE, dtypes=float_promote, samples=unary(0.2, 4.0), reference="numpy.log10", inplace="log10_")
def log10(x: Operand) -> Tensor:
    """The logarithm to base 10.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: 1 / (x * log(10))
    Errors:   none
    Source:   torch.log10

    >>> log10(tensor([1.0, 100.0]))
    tensor([0., 2.])
    """
    return log2(x) * 0.30102999566398120


@log10.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g / (x * 2.302585092994046)


@op(
    functional=True,
    kind=ELEMENTWISE,
    dtypes=floats,
    samples=unary(),
    reference=lambda np, x: np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x))),
    method=False,
)
def logsigmoid(x: Operand) -> Tensor:
    """log(sigmoid(x)), without overflow.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats; others are rejected
    Gradient: sigmoid(-x)
    Errors:   DTypeError unless floating point
    Source:   torch.nn.functional.logsigmoid

    >>> logsigmoid(tensor([0.0]))
    tensor([-0.6931])
    """
    from .choice import minimum

    return minimum(x, 0.0) - log1p(exp(-abs(x)))  # type: ignore[operator]


@logsigmoid.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g * sigmoid(-x)
