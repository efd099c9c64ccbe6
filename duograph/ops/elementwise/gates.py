"""Activations made of pieces, gates, and what draws from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import DomainError, ShapeError

from ..definition import COMPOSITION, ELEMENTWISE, function, op
from ..dtypes import float_promote, floats, numeric
from ..reduction.extrema import argmax
from ..samples import unary
from ..selection.indexing import scatter
from ..shapes.copying import cast
from ..shapes.creation import full, zeros_like
from ..shapes.movement import axis, reshape, unsqueeze
from ..shapes.slicing import slice
from ..tracing import require, require_equal
from .activations import leaky_relu, softmax, softplus
from .arithmetic import abs
from .choice import clamp, where
from .unary import exp, expm1, log, sigmoid, tanh

if TYPE_CHECKING:
    from duograph._core import DType, Tensor

    from ..definition import Number, Operand

_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805


@op(
    kind=ELEMENTWISE,
    dtypes=numeric.on("x"),
    samples=lambda m: [*unary()(m), (m(3, 5), -0.5, 1.5), (m(4), -1000, 1 << 40)] if m.kind != "u" else [],
    inplace=True,
    functional=True,
    method=False,
)
def hardtanh(x: Tensor, min_val: Number = -1.0, max_val: Number = 1.0) -> Tensor:
    """x limited to [min_val, max_val].

    Shapes:   x [*S] → [*S]
    Dtypes:   kept; bool is rejected
    Gradient: 1 inside, 0 at the limits and beyond
    Errors:   DTypeError for bool
    Source:   torch.nn.functional.hardtanh

    >>> dg.nn.functional.hardtanh(tensor([-4.0, -0.5, 0.5, 4.0]))
    tensor([-1.0000, -0.5000,  0.5000,  1.0000])
    """
    if x.dtype.is_floating_point:
        return clamp(x, min_val, max_val)
    low, high = (full((), limit, core.int64) for limit in (min_val, max_val))
    return cast(clamp(cast(x, core.int64), low, high), x.dtype)


@hardtanh.vjp
def _(g: Any, out: Any, x: Any, min_val: Any, max_val: Any) -> Any:
    return where((x <= min_val) | (x >= max_val), 0.0, g)


@op(inplace=True, kind=ELEMENTWISE, dtypes=numeric, samples=unary(-8.0, 8.0), functional=True, method=False)
def relu6(x: Operand) -> Tensor:
    """x limited to [0, 6].

    Shapes:   x [*S] → [*S]
    Dtypes:   kept; bool is rejected
    Gradient: 1 between 0 and 6, else 0
    Errors:   DTypeError for bool
    Source:   torch.nn.functional.relu6

    >>> dg.nn.functional.relu6(tensor([-4.0, 3.0, 8.0]))
    tensor([0., 3., 6.])
    """
    return clamp(x, 0, 6)


@relu6.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return where((x <= 0) | (x >= 6), 0.0, g)


@op(kind=ELEMENTWISE, dtypes=floats, samples=unary(-5.0, 5.0), inplace=True, functional=True, method=False)
def hardsigmoid(x: Operand) -> Tensor:
    """x / 6 + 1/2 limited to [0, 1].

    Shapes:   x [*S] → [*S]
    Dtypes:   floats; others are rejected
    Gradient: 1/6 between -3 and 3, else 0
    Errors:   DTypeError unless floating point
    Source:   torch.nn.functional.hardsigmoid

    >>> dg.nn.functional.hardsigmoid(tensor([-4.0, -0.5, 0.5, 4.0]))
    tensor([0.0000, 0.4167, 0.5833, 1.0000])
    """
    return clamp(x + 3, 0.0, 6.0) * 0.16666666666666666


@hardsigmoid.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return where((x > -3) & (x < 3), g * 0.16666666666666666, 0.0)


@op(kind=ELEMENTWISE, dtypes=floats, samples=unary(-5.0, 5.0), inplace=True, functional=True, method=False)
def hardswish(x: Operand) -> Tensor:
    """x * hardsigmoid(x).

    Shapes:   x [*S] → [*S]
    Dtypes:   floats; others are rejected
    Gradient: x / 3 + 1/2 between -3 and 3, 0 below, 1 above
    Errors:   DTypeError unless floating point
    Source:   torch.nn.functional.hardswish

    >>> dg.nn.functional.hardswish(tensor([-4.0, -0.5, 0.5, 4.0]))
    tensor([-0.0000, -0.2083,  0.2917,  4.0000])
    """
    return x * (clamp(x + 3, 0.0, 6.0) * 0.16666666666666666)


@hardswish.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return where(x <= -3, 0.0, where(x < 3, g * (x / 3 + 0.5), g))


@op(kind=ELEMENTWISE, dtypes=floats, samples=lambda m: [*unary()(m), (m(3, 5), 1.0)], functional=True)
def hardshrink(x: Operand, lambd: Number = 0.5) -> Tensor:
    """x, or 0 where its size is at most lambd.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats; others are rejected
    Gradient: 1 where x was kept
    Errors:   DTypeError unless floating point
    Source:   torch.nn.functional.hardshrink

    >>> dg.nn.functional.hardshrink(tensor([-4.0, -0.5, 0.5, 4.0]))
    tensor([-4.,  0.,  0.,  4.])
    """
    return where((x >= -lambd) & (x <= lambd), 0.0, x)


@hardshrink.vjp
def _(g: Any, out: Any, x: Any, lambd: Any) -> Any:
    return where((x >= -lambd) & (x <= lambd), 0.0, g)


@op(kind=ELEMENTWISE, dtypes=floats, samples=lambda m: [*unary()(m), (m(3, 5), 1.0)], functional=True, method=False)
def softshrink(x: Operand, lambd: Number = 0.5) -> Tensor:
    """x brought closer to 0 by lambd, 0 where its size is at most that.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats; others are rejected
    Gradient: 1 where x was kept
    Errors:   DTypeError unless floating point
    Source:   torch.nn.functional.softshrink

    >>> dg.nn.functional.softshrink(tensor([-4.0, -0.5, 0.5, 4.0]))
    tensor([-3.5000, -0.0000,  0.0000,  3.5000])
    """
    return where(x > lambd, x - lambd, where(x < -lambd, x + lambd, x * 0.0))


@softshrink.vjp
def _(g: Any, out: Any, x: Any, lambd: Any) -> Any:
    return where((x >= -lambd) & (x <= lambd), 0.0, g)


@op(kind=ELEMENTWISE, dtypes=float_promote, samples=unary(), functional=True, method=False)
def tanhshrink(x: Operand) -> Tensor:
    """x - tanh(x).

    Shapes:   x [*S] → [*S]
    Dtypes:   floats promote; integers become the default float
    Gradient: tanh(x) ** 2
    Errors:   none
    Source:   torch.nn.functional.tanhshrink

    >>> dg.nn.functional.tanhshrink(tensor([-4.0, -0.5, 0.5, 4.0]))
    tensor([-3.0007, -0.0379,  0.0379,  3.0007])
    """
    return x - tanh(x)


@tanhshrink.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    bent = tanh(x)
    return g * (bent * bent)


@op(kind=ELEMENTWISE, dtypes=float_promote, samples=unary(), functional=True, method=False)
def softsign(x: Operand) -> Tensor:
    """x / (1 + |x|).

    Shapes:   x [*S] → [*S]
    Dtypes:   floats promote; integers become the default float
    Gradient: 1 / (1 + |x|) ** 2
    Errors:   none
    Source:   torch.nn.functional.softsign

    >>> dg.nn.functional.softsign(tensor([-4.0, -0.5, 0.5, 4.0]))
    tensor([-0.8000, -0.3333,  0.3333,  0.8000])
    """
    return x / (1 + abs(x))


@softsign.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    size = 1 + abs(x)
    return g / (size * size)


@op(kind=ELEMENTWISE, dtypes=floats, samples=unary(), inplace=True, functional=True, method=False)
def mish(x: Operand) -> Tensor:
    """x * tanh(softplus(x)).

    Shapes:   x [*S] → [*S]
    Dtypes:   floats; others are rejected
    Gradient: the derivative
    Errors:   DTypeError unless floating point
    Source:   Misra 2019; torch.nn.functional.mish

    >>> dg.nn.functional.mish(tensor([-4.0, -0.5, 0.5, 4.0]))
    tensor([-0.0726, -0.2207,  0.3752,  3.9974])
    """
    return x * tanh(softplus(x))


@mish.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    bent, weight = tanh(softplus(x)), sigmoid(x)
    return g * (bent + x * weight * (1 - bent * bent))


@op(kind=ELEMENTWISE, dtypes=floats, samples=unary(), inplace=True, functional=True, method=False)
def selu(x: Operand) -> Tensor:
    """elu of the alpha that keeps mean and variance, times their scale.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats; others are rejected
    Gradient: the scale, times alpha * exp(x) below 0
    Errors:   DTypeError unless floating point
    Source:   Klambauer et al. 2017; torch.nn.functional.selu

    >>> dg.nn.functional.selu(tensor([-4.0, -0.5, 0.5, 4.0]))
    tensor([-1.7259, -0.6918,  0.5254,  4.2028])
    """
    return _SELU_SCALE * where(x > 0, x, _SELU_ALPHA * expm1(clamp(x, None, 0.0)))


@selu.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return _SELU_SCALE * where(x <= 0, g * (_SELU_ALPHA * exp(clamp(x, None, 0.0))), g)


@op(kind=ELEMENTWISE, dtypes=floats, samples=lambda m: [*unary()(m), (m(3, 5), 2.0)], inplace=True, functional=True, method=False)
def celu(x: Operand, alpha: Number = 1.0) -> Tensor:
    """x where positive, else alpha * (exp(x / alpha) - 1).

    Shapes:   x [*S] → [*S]
    Dtypes:   floats; others are rejected
    Gradient: 1 where positive, else exp(x / alpha)
    Errors:   DTypeError unless floating point
    Source:   torch.nn.functional.celu

    >>> dg.nn.functional.celu(tensor([-4.0, -0.5, 0.5, 4.0]))
    tensor([-0.9817, -0.3935,  0.5000,  4.0000])
    """
    return where(x > 0, x, alpha * expm1(clamp(x, None, 0.0) / alpha))


@celu.vjp
def _(g: Any, out: Any, x: Any, alpha: Any) -> Any:
    return where(x <= 0, g * exp(clamp(x, None, 0.0) / alpha), g)


@op(
    kind=ELEMENTWISE,
    dtypes=numeric.on("x"),
    samples=lambda m: [(*call, 1, 3) for call in unary()(m)],
    inplace=True,
    functional=True,
    method=False,
)
def threshold(x: Operand, threshold: Number, value: Number) -> Tensor:
    """x where above the threshold, else value.

    Shapes:   x [*S] → [*S]
    Dtypes:   kept; bool is rejected
    Gradient: 1 where x was kept
    Errors:   DTypeError for bool
    Source:   torch.nn.functional.threshold

    >>> dg.nn.functional.threshold(tensor([-1.0, 2.0]), 1.0, 9.0)
    tensor([9., 2.])
    """
    return where(x <= threshold, value, x)


@threshold.vjp
def _(g: Any, out: Any, x: Any, threshold: Any, value: Any) -> Any:
    return where(x <= threshold, 0.0, g)


def _slopes(weight: Any, x: Any) -> Any:
    """The slopes along dimension 1 of x."""
    if len(weight.shape) == 0 or len(x.shape) < 2 or (isinstance(weight.shape[0], int) and weight.shape[0] == 1):
        return reshape(weight, ()) if len(weight.shape) and len(x.shape) < 2 else weight
    have, want = weight.shape[0], x.shape[1]
    require_equal("prelu", have, want, f"there are {have} weights and {want} channels (dimension 1)")
    return reshape(weight, (have,) + (1,) * (len(x.shape) - 2))


@op(
    kind=COMPOSITION,
    dtypes=floats,
    functional=True,
    samples=lambda m: [(m(3, 5), m(1)), (m(2, 4, 3), m(4)), (m(6), m(1)), (m(0, 3), m(3))],
    autocast="lower",
)
def prelu(x: Tensor, weight: Tensor) -> Tensor:
    """x where positive, else weight * x, with one weight or one per channel (dimension 1).

    Shapes:   x [*S], weight [1] or [C] → [*S]
    Dtypes:   floats; others are rejected
    Gradient: 1 or weight to x; x where not positive, summed, to weight
    Errors:   DTypeError; ShapeError
    Source:   He et al. 2015; torch.nn.functional.prelu

    >>> dg.nn.functional.prelu(tensor([-4.0, 2.0]), tensor([0.25]))
    tensor([-1.,  2.])
    """
    return where(x > 0, x, _slopes(weight, x) * x)


@function(functional=True, method=False, samples=lambda m: [(m(3, 5), 0.1, 0.3), (m(7),)] if m.is_float else [])
def rrelu(
    x: Tensor, lower: float = 0.125, upper: float = 0.3333333333333333, training: bool = False, inplace: bool = False
) -> Tensor:
    """x where positive, else x times a slope: drawn from [lower, upper) for each element in training, else their mean.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats; others are rejected
    Gradient: 1 where positive, else the slope
    Errors:   DTypeError unless floating point; DomainError if lower is above upper
    Source:   Xu et al. 2015; torch.nn.functional.rrelu

    >>> dg.nn.functional.rrelu(tensor([-4.0, 2.0]), 0.25, 0.25)
    tensor([-1.,  2.])
    """
    if lower > upper:
        raise DomainError(f"rrelu: lower must not be above upper, got {lower} and {upper}")
    if training:
        from ..randomness.random import rand

        slope: Any = rand(tuple(x.shape), x.dtype) * (upper - lower) + lower
        result = where(x > 0, x, x * slope)
    else:
        result = leaky_relu(x, (lower + upper) / 2)
    return x.copy_(result) if inplace else result


@op(
    kind=COMPOSITION,
    dtypes=floats,
    functional=True,
    method=False,
    samples=lambda m: [(m(3, 6),), (m(4, 3), 0), (m(2, 4, 3), -2), (m(0, 2),)],
)
def glu(x: Tensor, dim: int = -1) -> Tensor:
    """The first half of x along a dimension, times the sigmoid of the second.

    Shapes:   x [*S] → [*S with S[dim] halved]
    Dtypes:   floats; others are rejected
    Gradient: derived
    Errors:   DTypeError; ShapeError for an odd size
    Source:   Dauphin et al. 2017; torch.nn.functional.glu

    >>> dg.nn.functional.glu(tensor([2.0, 0.0]))
    tensor([1.])
    """
    if not len(x.shape):
        raise ShapeError("glu: x must have a dimension to halve")
    dim = axis("glu", dim, len(x.shape))
    size = x.shape[dim]
    message = f"glu: the size of dimension {dim} must be even, got {size}"
    require("eq", size - size // 2 * 2, 0, ShapeError, message)
    return slice(x, dim, 0, size // 2) * sigmoid(slice(x, dim, size // 2, size // 2 * 2))


@function(
    functional=True,
    method=False,
    samples=lambda m: [(m(3, 5), 1), (m(2, 3, 4), 0)] if m.is_float else [],
)
def softmin(x: Tensor, dim: int | None = None, dtype: DType | None = None) -> Tensor:
    """`softmax` of -x, by default along dimension 0 of 0, 1 or 3 dimensions and else 1.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats; others are rejected
    Gradient: as `softmax`
    Errors:   DTypeError; DimensionError
    Source:   torch.nn.functional.softmin

    >>> dg.nn.functional.softmin(tensor([0.0, 0.0]), dim=0)
    tensor([0.5000, 0.5000])
    """
    if dim is None:
        dim = 0 if x.ndim in (0, 1, 3) else 1
    return softmax(-x if dtype is None else -cast(x, dtype), dim)


@function(functional=True, method=False)
def gumbel_softmax(logits: Tensor, tau: float = 1.0, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Tensor:
    """A draw from the Gumbel-softmax distribution; `hard` makes it one-hot, with the soft one's gradient.

    Shapes:   logits [*S] → [*S]
    Dtypes:   floats; others are rejected
    Gradient: the softmax's
    Errors:   DTypeError; DimensionError
    Source:   Jang et al. 2017; torch.nn.functional.gumbel_softmax

    >>> dg.nn.functional.gumbel_softmax(tensor([0.0, 1000.0]), hard=True)
    tensor([0., 1.])
    """
    from ..randomness.random import rand

    noise = -log(-log(clamp(rand(tuple(logits.shape), logits.dtype), 1e-30, None)))
    soft = softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    chosen = unsqueeze(argmax(soft, dim), dim)
    return scatter(zeros_like(soft), dim, chosen, 1.0) - soft.detach() + soft
