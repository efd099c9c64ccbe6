"""Normalisation over trailing dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph.errors import ShapeError

from ..definition import COMPOSITION, op
from ..dtypes import floats_like_first, floats_of_first
from ..elementwise.unary import rsqrt
from ..tracing import require_equal, user_operator
from .reductions import sum
from .statistics import mean

if TYPE_CHECKING:
    from duograph._core import Tensor

    from ..definition import Number, Sizes


def _np_layer_norm(np: Any, x: Any, shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    dims = tuple(range(-len(shape), 0))
    y = (x - x.mean(dims, keepdims=True)) / np.sqrt(x.var(dims, keepdims=True) + eps)
    return y * (1 if weight is None else weight) + (0 if bias is None else bias)


def _normalised_dims(name: str, x: Any, shape: Any) -> tuple[int, ...]:
    """The trailing dimensions that a shape names."""
    rank = len(x.shape)
    tail = tuple(x.shape[rank - len(shape) :])
    name = user_operator(name)
    message = f"normalized_shape {tuple(shape)} must be the last sizes of x, which has {tuple(x.shape)}"
    if not 0 < len(shape) <= rank:
        raise ShapeError(f"{name}: {message}")
    for have, want in zip(tail, shape):
        require_equal(name, have, want, message)
    return tuple(range(rank - len(shape), rank))


def _standardised(x: Any, dims: tuple[int, ...], eps: Any) -> tuple[Any, Any]:
    """(x - mean) / sqrt(var + eps), and the inverse square root."""
    centred = x - mean(x, dims, True)
    inverse = rsqrt(mean(centred * centred, dims, True) + eps)
    return centred * inverse, inverse


@op(
    functional=True,
    kind=COMPOSITION,
    dtypes=floats_like_first.on("x", "weight", "bias"),
    reference=_np_layer_norm,
    method=False,
    tolerance=2.0,
    samples=lambda m: [
        (m(3, 5), (5,)),
        (m(3, 5), (5,), m(5), m(5)),
        (m(2, 3, 4), (3, 4), m(3, 4)),
        (m(2, 40), (40,), None, m(40), 1e-3),
    ],
)
def layer_norm(
    x: Tensor, normalized_shape: Sizes, weight: Tensor | None = None, bias: Tensor | None = None, eps: Number = 1e-5
) -> Tensor:
    """x standardised over its last dimensions, times weight plus bias.

    Shapes:   x [*S, *N], normalized_shape N, weight and bias [*N] → [*S, *N]
    Dtypes:   one float; 16-bit floats with float32 parameters stay what they are
    Gradient: to x, weight and bias
    Errors:   ShapeError unless N are the last sizes of x; DTypeError
    Source:   Ba, Kiros and Hinton 2016; torch.nn.functional.layer_norm

    >>> dg.nn.functional.layer_norm(tensor([1.0, 2.0, 3.0]), (3,))
    tensor([-1.2247,  0.0000,  1.2247])
    """
    result, _ = _standardised(x, _normalised_dims("layer_norm", x, normalized_shape), eps)
    if weight is not None:
        result = result * weight
    return result if bias is None else result + bias  # type: ignore[no-any-return]


@layer_norm.vjp
def _(g: Any, out: Any, x: Any, normalized_shape: Any, weight: Any, bias: Any, eps: Any) -> Any:
    dims = _normalised_dims("layer_norm", x, normalized_shape)
    outer = tuple(range(dims[0]))
    y, inverse = _standardised(x, dims, eps)
    scaled = g if weight is None else g * weight
    first = inverse * (scaled - mean(scaled, dims, True) - y * mean(scaled * y, dims, True))
    to_weight = None if weight is None else (sum(g * y, outer) if outer else g * y)
    to_bias = None if bias is None else (sum(g, outer) if outer else g)
    return first, to_weight, to_bias


def _np_rms_norm(np: Any, x: Any, shape: Any, weight: Any = None, eps: float | None = None) -> Any:
    dims = tuple(range(-len(shape), 0))
    eps = 2.0**-52 if eps is None else eps
    return x / np.sqrt((x * x).mean(dims, keepdims=True) + eps) * (1 if weight is None else weight)


@op(
    functional=True,
    kind=COMPOSITION,
    dtypes=floats_of_first.on("x", "weight"),
    reference=_np_rms_norm,
    method=False,
    samples=lambda m: [(m(3, 5), (5,)), (m(3, 5), (5,), m(5), 1e-6), (m(2, 3, 4), (3, 4), m(3, 4), 1e-3)],
)
def rms_norm(x: Tensor, normalized_shape: Sizes, weight: Tensor | None = None, eps: Number | None = None) -> Tensor:
    """x over the root of its mean square over the last dimensions plus eps, times weight.

    Left out, eps is the gap between 1 and the next number of the dtype (float32's for 16-bit floats).

    Shapes:   x [*S, *N], normalized_shape N, weight [*N] → [*S, *N]
    Dtypes:   floats promote; 16-bit floats with float32 parameters stay what they are
    Gradient: to x and weight
    Errors:   ShapeError unless N are the last sizes of x; DTypeError
    Source:   Zhang and Sennrich 2019; torch.nn.functional.rms_norm

    >>> dg.nn.functional.rms_norm(tensor([3.0, 4.0]), (2,))
    tensor([0.8485, 1.1314])
    """
    dims = _normalised_dims("rms_norm", x, normalized_shape)
    if eps is None:
        eps = 2.0**-52 if x.dtype.itemsize == 8 else 2.0**-23
    result = x * rsqrt(mean(x * x, dims, True) + eps)
    return result if weight is None else result * weight
