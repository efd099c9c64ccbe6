"""Filling parameters before training. Each function writes its tensor in place, records nothing, and returns it."""

from __future__ import annotations

import math

from .. import _core as core
from ..autograd import no_grad
from ..errors import DomainError, ShapeError
from ..ops.elementwise.choice import where
from ..ops.randomness.generators import Generator
from ..tensors import creation

Tensor = core.Tensor

_GAINS = {
    "linear": 1.0,
    "identity": 1.0,
    "conv1d": 1.0,
    "conv2d": 1.0,
    "conv3d": 1.0,
    "conv_transpose1d": 1.0,
    "conv_transpose2d": 1.0,
    "conv_transpose3d": 1.0,
    "sigmoid": 1.0,
    "tanh": 5.0 / 3,
    "relu": math.sqrt(2.0),
    "selu": 3.0 / 4,
}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor that keeps the variance across a nonlinearity; `param` is the slope of leaky_relu (0.01)."""
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, (int, float)):
            raise DomainError(f"calculate_gain: the slope of leaky_relu must be a number, got {param!r}")
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity not in _GAINS:
        raise DomainError(f"calculate_gain: no gain is known for {nonlinearity!r}; there are leaky_relu, {', '.join(_GAINS)}")
    return _GAINS[nonlinearity]


def fans(tensor: Tensor) -> tuple[int, int]:
    """(fan in, fan out) of a weight [out, in, *kernel]."""
    if tensor.dim() < 2:
        raise ShapeError(f"init: fan in and fan out need at least 2 dimensions, the tensor is {list(tensor.shape)}")
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def _correct_fan(tensor: Tensor, mode: str) -> int:
    if mode.lower() not in ("fan_in", "fan_out"):
        raise DomainError(f"init: mode must be 'fan_in' or 'fan_out', got {mode!r}")
    fan_in, fan_out = fans(tensor)
    return fan_in if mode.lower() == "fan_in" else fan_out


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Draws from the uniform distribution on [a, b)."""
    with no_grad():
        tensor.uniform_(a, b, generator=generator)
    return tensor


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Draws from the normal distribution."""
    with no_grad():
        tensor.normal_(mean, std, generator=generator)
    return tensor


def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator: Generator | None = None
) -> Tensor:
    """Draws from the normal distribution, redrawing what falls outside [a, b]."""
    if not a < b:
        raise DomainError(f"trunc_normal_: the bounds must satisfy a < b, got a = {a}, b = {b}")
    if mean + 8 * std < a or mean - 8 * std > b:
        raise DomainError(f"trunc_normal_: N({mean}, {std}) almost never falls into [{a}, {b}]")
    with no_grad():
        drawn = creation.randn(tensor.shape, dtype=tensor.dtype, generator=generator) * std + mean
        while True:
            outside = (drawn < a) | (drawn > b)
            if not outside.any():
                tensor.copy_(drawn)
                return tensor
            again = creation.randn(tensor.shape, dtype=tensor.dtype, generator=generator) * std + mean
            drawn = where(outside, again, drawn)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fills with one value."""
    with no_grad():
        tensor.fill_(val)
    return tensor


def ones_(tensor: Tensor) -> Tensor:
    """Fills with 1."""
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Fills with 0."""
    return constant_(tensor, 0.0)


def eye_(tensor: Tensor) -> Tensor:
    """Fills a matrix with the identity."""
    if tensor.dim() != 2:
        raise ShapeError(f"eye_: only a matrix can be the identity, the tensor is {list(tensor.shape)}")
    with no_grad():
        tensor.copy_(creation.eye(*tensor.shape, dtype=tensor.dtype))
    return tensor


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Fills a convolution's weight so that each of its channels (in every group) is passed on as it is."""
    if tensor.dim() not in (3, 4, 5) or groups < 1 or tensor.shape[0] % groups:
        raise ShapeError(f"dirac_: takes 3 to 5 dimensions, the first divisible by {groups} groups, got {list(tensor.shape)}")
    each = tensor.shape[0] // groups
    middle = tuple(size // 2 for size in tensor.shape[2:])
    with no_grad():
        tensor.zero_()
        for group in range(groups):
            for channel in range(min(each, tensor.shape[1])):
                tensor[(group * each + channel, channel, *middle)] = 1
    return tensor


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator | None = None) -> Tensor:
    """Normal around 0 with a standard deviation, but for so large a share of zeros in each column (Martens 2010)."""
    if tensor.dim() != 2:
        raise ShapeError(f"sparse_: takes a matrix, the tensor is {list(tensor.shape)}")
    rows, columns = tensor.shape
    zeros = math.ceil(sparsity * rows)
    normal_(tensor, 0.0, std, generator)
    with no_grad():
        for column in range(columns):
            tensor[creation.randperm(rows, generator=generator)[:zeros], column] = 0
    return tensor


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Uniform with variance gain²·2/(fan in + fan out) (Glorot and Bengio 2010)."""
    bound = gain * math.sqrt(6.0 / max(sum(fans(tensor)), 1))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Normal with variance gain²·2/(fan in + fan out) (Glorot and Bengio 2010)."""
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / max(sum(fans(tensor)), 1)), generator)


def kaiming_uniform_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Generator | None = None
) -> Tensor:
    """Uniform with variance gain²/fan (He et al. 2015); `a` is the slope of a leaky_relu."""
    if 0 in tensor.shape:
        return tensor
    bound = calculate_gain(nonlinearity, a) * math.sqrt(3.0 / _correct_fan(tensor, mode))
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Generator | None = None
) -> Tensor:
    """Normal with variance gain²/fan (He et al. 2015); `a` is the slope of a leaky_relu."""
    if 0 in tensor.shape:
        return tensor
    return normal_(tensor, 0.0, calculate_gain(nonlinearity, a) / math.sqrt(_correct_fan(tensor, mode)), generator)


def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Orthonormal rows or columns, whichever are fewer, of all dimensions but the first as one (Saxe et al. 2013)."""
    if tensor.dim() < 2:
        raise ShapeError(f"orthogonal_: needs at least 2 dimensions, the tensor is {list(tensor.shape)}")
    from ..linalg import qr

    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    with no_grad():
        wide = core.float64 if tensor.dtype is core.float64 else core.float32
        drawn = creation.randn(max(rows, columns), min(rows, columns), dtype=wide, generator=generator)
        q, r = qr(drawn)
        q = q * r.diagonal().sign()  # makes the distribution uniform
        tensor.copy_((q.T if rows < columns else q).reshape(tuple(tensor.shape)) * gain)
    return tensor
