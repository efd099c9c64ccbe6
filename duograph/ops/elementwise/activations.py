"""Activations and softmax."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph.errors import DomainError

from ..definition import COMPOSITION, ELEMENTWISE, op
from ..dtypes import floats, numeric
from ..reduction.extrema import peak
from ..reduction.reductions import sum
from ..samples import unary
from ..shapes.copying import cast
from ..shapes.movement import axis
from .arithmetic import abs
from .choice import maximum, minimum, where
from .unary import erf, exp, expm1, log, log1p, reciprocal, sigmoid, tanh

if TYPE_CHECKING:
    from duograph._core import DType, Tensor

    from ..definition import Number, Operand


@op(functional=True, kind=ELEMENTWISE, dtypes=numeric, reference=lambda np, x: np.maximum(x, 0), samples=unary(), inplace="relu_")
def relu(x: Operand) -> Tensor:
    """x where positive, else 0.

    Shapes:   x [*S] → [*S]
    Dtypes:   kept; bool is rejected
    Gradient: 1 where the result is positive, else 0
    Errors:   DTypeError for bool
    Source:   torch.relu

    >>> relu(tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """
    return maximum(x, 0)


@relu.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return where(out <= 0, 0.0, g)


_SQRT_HALF = 0.7071067811865476
_SQRT_TWO_OVER_PI = 0.7978845608028654
_INVERSE_SQRT_TWO_PI = 0.3989422804014327
_CUBIC = 0.044715


def _np_gelu(np: Any, x: Any, approximate: str = "none") -> Any:
    import math

    if approximate == "tanh":
        return 0.5 * x * (1 + np.tanh(_SQRT_TWO_OVER_PI * (x + _CUBIC * x**3)))
    return 0.5 * x * (1 + np.vectorize(math.erf, otypes=[np.float64])(x * _SQRT_HALF))


@op(
    functional=True,
    kind=ELEMENTWISE,
    dtypes=floats,
    reference=_np_gelu,
    method=False,
    samples=lambda m: [*unary(special=(0.0, -0.0, 1.0, 6.0, -6.0))(m), (m(3, 5), "tanh")],
)
def gelu(x: Operand, approximate: str = "none") -> Tensor:
    """x times the probability that a standard normal variable is below x; approximate="tanh" is the tanh formula.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats; others are rejected
    Gradient: Φ(x) + x * φ(x), or the tanh formula's
    Errors:   DTypeError unless floating point; DomainError for another `approximate`
    Source:   Hendrycks and Gimpel 2016; torch.nn.functional.gelu

    >>> dg.nn.functional.gelu(tensor([1.0]))
    tensor([0.8413])
    """
    half = x * 0.5
    if approximate == "none":
        return half * (erf(x * _SQRT_HALF) + 1)
    if approximate != "tanh":
        raise DomainError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")
    return half * (tanh(_SQRT_TWO_OVER_PI * (x + _CUBIC * (x * x * x))) + 1)


@gelu.vjp
def _(g: Any, out: Any, x: Any, approximate: str) -> Any:
    if approximate == "none":
        probability = (erf(x * _SQRT_HALF) + 1) * 0.5
        return g * (probability + x * (exp(x * x * -0.5) * _INVERSE_SQRT_TWO_PI))
    squared = x * x
    bent = tanh(_SQRT_TWO_OVER_PI * (x + _CUBIC * (squared * x)))
    slope = (1 - bent * bent) * (_SQRT_TWO_OVER_PI + (3 * _CUBIC * _SQRT_TWO_OVER_PI) * squared)
    return g * (0.5 * (1 + bent) + 0.5 * x * slope)


@op(
    inplace=True,
    functional=True,
    kind=ELEMENTWISE,
    dtypes=floats,
    reference=lambda np, x: x / (1 + np.exp(-x)),
    samples=unary(special=(0.0, -0.0, 1.0, 6.0, -6.0)),
    method=False,
)
def silu(x: Operand) -> Tensor:
    """x * sigmoid(x), also called swish.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats; others are rejected
    Gradient: s * (1 + x * (1 - s)) with s = sigmoid(x)
    Errors:   DTypeError unless floating point
    Source:   torch.nn.functional.silu

    >>> dg.nn.functional.silu(tensor([1.0]))
    tensor([0.7311])
    """
    return x * sigmoid(x)


@silu.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    s = sigmoid(x)
    return g * (s * (1 + x * (1 - s)))


@op(
    inplace=True,
    functional=True,
    kind=ELEMENTWISE,
    dtypes=floats,
    reference=lambda np, x, slope=0.01: np.where(x > 0, x, x * slope),
    method=False,
    samples=lambda m: [(m(3, 5),), (m(70), 0.2), (m(),), (m(0),)],
)
def leaky_relu(x: Operand, negative_slope: Number = 0.01) -> Tensor:
    """x where positive, else x * negative_slope.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats; others are rejected
    Gradient: 1 where x is positive, else negative_slope
    Errors:   DTypeError unless floating point
    Source:   torch.nn.functional.leaky_relu

    >>> dg.nn.functional.leaky_relu(tensor([-1.0, 2.0]))
    tensor([-0.0100,  2.0000])
    """
    return where(x > 0, x, x * negative_slope)


@leaky_relu.vjp
def _(g: Any, out: Any, x: Any, negative_slope: Any) -> Any:
    return where(x > 0, g, g * negative_slope)


@op(
    inplace=True,
    functional=True,
    kind=ELEMENTWISE,
    dtypes=floats,
    reference=lambda np, x, alpha=1.0: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))),
    method=False,
    samples=lambda m: [(m(3, 5),), (m(70), 0.5), (m(),), (m(0),)],
)
def elu(x: Operand, alpha: Number = 1.0) -> Tensor:
    """x where positive, else alpha * (exp(x) - 1).

    Shapes:   x [*S] → [*S]
    Dtypes:   floats; others are rejected
    Gradient: 1 where x is positive, else alpha * exp(x)
    Errors:   DTypeError unless floating point
    Source:   torch.nn.functional.elu

    >>> dg.nn.functional.elu(tensor([-1.0, 2.0]))
    tensor([-0.6321,  2.0000])
    """
    return where(x > 0, x, expm1(minimum(x, 0.0)) * alpha)


@elu.vjp
def _(g: Any, out: Any, x: Any, alpha: Any) -> Any:
    return where(x <= 0, g * (exp(minimum(x, 0.0)) * alpha), g)


@op(
    functional=True,
    kind=ELEMENTWISE,
    dtypes=floats,
    method=False,
    samples=lambda m: [(m(3, 5),), (m(70, low=-30, high=30),), (m(5), 2.0, 1.0), (m(),), (m(0),)],
    reference=lambda np, x, beta=1.0, threshold=20.0: np.where(
        x * beta > threshold, x, np.log1p(np.exp(np.minimum(x * beta, threshold))) / beta
    ),
)
def softplus(x: Operand, beta: Number = 1.0, threshold: Number = 20.0) -> Tensor:
    """log(1 + exp(beta * x)) / beta; x itself where beta * x is above the threshold.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats; others are rejected
    Gradient: sigmoid(beta * x), 1 above the threshold
    Errors:   DTypeError unless floating point
    Source:   torch.nn.functional.softplus

    >>> dg.nn.functional.softplus(tensor([0.0]))
    tensor([0.6931])
    """
    scaled = x * beta
    smooth = (maximum(scaled, 0.0) + log1p(exp(-abs(scaled)))) / beta
    return where(scaled > threshold, x, smooth)


@softplus.vjp
def _(g: Any, out: Any, x: Any, beta: Any, threshold: Any) -> Any:
    return where(x * beta > threshold, g, g * sigmoid(x * beta))


def _np_softmax(np: Any, x: Any, dim: int = -1) -> Any:
    e = np.exp(x - np.max(x, dim, keepdims=True))
    return e / np.sum(e, dim, keepdims=True)


def _softmax_samples(m: Any) -> Any:
    return [(m(3, 5), 1), (m(3, 5), 0), (m(2, 3, 40), -1), (m(70), 0), (m(2, 3, 4), 1)]


@op(kind=COMPOSITION, dtypes=floats, reference=_np_softmax, samples=_softmax_samples)
def softmax(x: Tensor, dim: int) -> Tensor:
    """exp(x) over its sum along a dimension. The function and method also take `dtype`, to convert before.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats; others are rejected
    Gradient: out * (g - sum(g * out))
    Errors:   DTypeError unless floating point; DimensionError
    Source:   torch.softmax

    >>> softmax(tensor([1.0, 2.0]), 0)
    tensor([0.2689, 0.7311])
    """
    if not x.shape:
        axis("softmax", dim, 0)
        return exp(x - x)
    e = exp(x - peak(x, dim, True))
    return e * reciprocal(sum(e, dim, True))  # one division per row


@softmax.vjp
def _(g: Any, out: Any, x: Any, dim: int) -> Any:
    weighted = g * out
    return weighted - out * sum(weighted, dim, True)


@op(kind=COMPOSITION, dtypes=floats, reference=lambda np, x, dim: np.log(_np_softmax(np, x, dim)), samples=_softmax_samples)
def log_softmax(x: Tensor, dim: int) -> Tensor:
    """log(softmax(x)), stable. The function and method also take `dtype`, to convert before.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats; others are rejected
    Gradient: g - exp(out) * sum(g)
    Errors:   DTypeError unless floating point; DimensionError
    Source:   torch.log_softmax

    >>> log_softmax(tensor([1.0, 2.0]), 0)
    tensor([-1.3133, -0.3133])
    """
    if not x.shape:
        axis("log_softmax", dim, 0)
        return x - x
    shifted = x - peak(x, dim, True)
    return shifted - log(sum(exp(shifted), dim, True))


@log_softmax.vjp
def _(g: Any, out: Any, x: Any, dim: int) -> Any:
    return g - exp(out) * sum(g, dim, True)


@op(kind=COMPOSITION, over="softmax", torch="torch.softmax", samples=lambda m: [(m(3, 5), 1, m.dtype_of("float64"))])
def softmax_of(x: Tensor, dim: int, dtype: DType | None = None) -> Tensor:
    """`softmax` of x converted to a dtype first.

    Shapes:   x [*S] → [*S]
    Dtypes:   dtype
    Gradient: as `softmax`
    Errors:   as `softmax`
    Source:   torch.softmax

    >>> softmax(tensor([0.0, 0.0]), 0, dtype=dg.float64)
    tensor([0.5000, 0.5000], dtype=duograph.float64)
    """
    return softmax(x if dtype is None else cast(x, dtype), dim)


@op(kind=COMPOSITION, over="log_softmax", torch="torch.log_softmax", samples=lambda m: [(m(3, 5), 1, m.dtype_of("float64"))])
def log_softmax_of(x: Tensor, dim: int, dtype: DType | None = None) -> Tensor:
    """`log_softmax` of x converted to a dtype first.

    Shapes:   x [*S] → [*S]
    Dtypes:   dtype
    Gradient: as `log_softmax`
    Errors:   as `log_softmax`
    Source:   torch.log_softmax

    >>> log_softmax(tensor([0.0, 0.0]), 0, dtype=dg.float64)
    tensor([-0.6931, -0.6931], dtype=duograph.float64)
    """
    return log_softmax(x if dtype is None else cast(x, dtype), dim)
