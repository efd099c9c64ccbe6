"""Activations that take settings only, and comparisons of vectors, as modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import _core as core
from ..errors import DomainError, ShapeError
from ..tensors.creation import full
from . import functional
from .applied import Applied
from .module import Module
from .parameter import Parameter

Tensor = core.Tensor


class Hardtanh(Applied):
    """x limited to [min_val, max_val]."""

    operator: Callable[..., Tensor] = staticmethod(functional.hardtanh)

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        if min_val >= max_val:
            raise DomainError(f"Hardtanh: min_val must be below max_val, got {min_val} and {max_val}")
        super().__init__(min_val=min_val, max_val=max_val, inplace=inplace)


class ReLU6(Applied):
    """x limited to [0, 6]."""

    operator: Callable[..., Tensor] = staticmethod(functional.relu6)

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(inplace=inplace)


class Hardsigmoid(Applied):
    """x / 6 + 1/2 limited to [0, 1]."""

    operator: Callable[..., Tensor] = staticmethod(functional.hardsigmoid)

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(inplace=inplace)


class Hardswish(Applied):
    """x · Hardsigmoid(x)."""

    operator: Callable[..., Tensor] = staticmethod(functional.hardswish)

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(inplace=inplace)


class Hardshrink(Applied):
    """x, or 0 where its size is at most lambd."""

    operator: Callable[..., Tensor] = staticmethod(functional.hardshrink)

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__(lambd=lambd)


class Softshrink(Applied):
    """x brought closer to 0 by lambd, 0 where its size is at most that."""

    operator: Callable[..., Tensor] = staticmethod(functional.softshrink)

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__(lambd=lambd)


class Tanhshrink(Applied):
    """x − tanh(x)."""

    operator: Callable[..., Tensor] = staticmethod(functional.tanhshrink)


class Softsign(Applied):
    """x / (1 + |x|)."""

    operator: Callable[..., Tensor] = staticmethod(functional.softsign)


class Mish(Applied):
    """x · tanh(softplus(x))."""

    operator: Callable[..., Tensor] = staticmethod(functional.mish)

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(inplace=inplace)


class SELU(Applied):
    """ELU of the alpha that keeps mean and variance, times their scale."""

    operator: Callable[..., Tensor] = staticmethod(functional.selu)

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(inplace=inplace)


class CELU(Applied):
    """x where positive, else alpha · (exp(x / alpha) − 1)."""

    operator: Callable[..., Tensor] = staticmethod(functional.celu)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__(alpha=alpha, inplace=inplace)


class Threshold(Applied):
    """x where above the threshold, else value."""

    operator: Callable[..., Tensor] = staticmethod(functional.threshold)

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__(threshold=threshold, value=value, inplace=inplace)


class LogSigmoid(Applied):
    """log(sigmoid(x))."""

    operator: Callable[..., Tensor] = staticmethod(functional.logsigmoid)


class GLU(Applied):
    """The first half of x along a dimension, times the sigmoid of the second."""

    operator: Callable[..., Tensor] = staticmethod(functional.glu)

    def __init__(self, dim: int = -1) -> None:
        super().__init__(dim=dim)


class CosineSimilarity(Applied):
    """The cosine of the angle between two tensors' vectors along `dim`, whose norms count as eps at least."""

    operator: Callable[..., Tensor] = staticmethod(functional.cosine_similarity)

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__(dim=dim, eps=eps)


class LocalResponseNorm(Applied):
    """x over a power of the mean square of `size` neighbouring channels."""

    operator: Callable[..., Tensor] = staticmethod(functional.local_response_norm)

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__(size=size, alpha=alpha, beta=beta, k=k)


class PairwiseDistance(Applied):
    """The norm of order p of x1 − x2 + eps along the last dimension."""

    operator: Callable[..., Tensor] = staticmethod(functional.pairwise_distance)

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__(p=p, eps=eps, keepdim=keepdim)


class Softmin(Module):
    """Softmax of −x."""

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return functional.softmax(-x, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmax2d(Module):
    """Softmax over the channels of [N, C, H, W] or [C, H, W]."""

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() not in (3, 4):
            raise ShapeError(f"Softmax2d: x must have 3 or 4 dimensions, got {x.dim()}")
        return functional.softmax(x, -3)


class PReLU(Module):
    """x where positive, else weight · x, with one weight or one per channel (dimension 1), learned."""

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.init = init
        self.weight = Parameter(full((num_parameters,), init, device=device, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        return functional.prelu(x, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class RReLU(Module):
    """x where positive, else x times a slope: drawn from [lower, upper) in training, else their mean."""

    def __init__(self, lower: float = 0.125, upper: float = 0.3333333333333333, inplace: bool = False) -> None:
        super().__init__()
        self.lower = lower
        self.upper = upper
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        return functional.rrelu(x, self.lower, self.upper, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"lower={self.lower}, upper={self.upper}"
