"""Layers that standardise what comes in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import _core as core
from ..errors import ArgumentError, DomainError
from ..ops.reduction.normalisation import layer_norm, rms_norm
from ..tensors.creation import empty
from . import functional, init
from .module import Module
from .parameter import Parameter

Tensor = core.Tensor


class ScaleAndShift(Module):
    """Base: has a weight that is 1 at first and a bias that is 0, or None in the place of either."""

    weight: Parameter | None
    bias: Parameter | None

    def _make_parameters(self, shape: tuple[int, ...], weight: bool, bias: bool, device: Any, dtype: Any) -> None:
        for name, wanted in (("weight", weight), ("bias", bias)):
            self.register_parameter(name, Parameter(empty(shape, device=device, dtype=dtype)) if wanted else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight 1, bias 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)


def _normalized_shape(owner: str, given: int | Sequence[int]) -> tuple[int, ...]:
    shape = (given,) if isinstance(given, int) else tuple(given)
    if not shape or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise ArgumentError(f"{owner}: normalized_shape must be an int or a sequence of ints, got {given!r}")
    return shape


class LayerNorm(ScaleAndShift):
    """Shifts and scales the last dimensions to mean 0 and variance 1, then applies weight and bias.

    Shapes: x [*, *normalized_shape] → the same; weight, bias [*normalized_shape], at first 1 and 0
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = shape = _normalized_shape("LayerNorm", normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self._make_parameters(shape, elementwise_affine, elementwise_affine and bias, device, dtype)

    def forward(self, x: Tensor) -> Tensor:
        return layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        affine = f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        return f"{self.normalized_shape}, eps={self.eps}, {affine}"


class RMSNorm(Module):
    """Divides by the root of the mean square over the last dimensions, then scales by weight (Zhang and Sennrich 2019).

    Shapes: x [*, *normalized_shape] → the same; weight [*normalized_shape], at first 1
    """

    weight: Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = _normalized_shape("RMSNorm", normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        if elementwise_affine:
            self.weight = Parameter(empty(self.normalized_shape, device=device, dtype=dtype))
            init.ones_(self.weight)
        else:
            self.register_parameter("weight", None)

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(ScaleAndShift):
    """Standardises groups of channels of each example, then scales and shifts each channel (Wu and He 2018).

    Shapes: x [n, num_channels, *] → the same; weight, bias [num_channels], at first 1 and 0
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if num_groups < 1:
            raise DomainError(f"GroupNorm: num_groups must be at least 1, got {num_groups}")
        if num_channels % num_groups:
            raise DomainError(f"GroupNorm: {num_channels} channels do not fall into {num_groups} groups")
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        self._make_parameters((num_channels,), affine, affine and bias, device, dtype)

    def forward(self, x: Tensor) -> Tensor:
        return functional.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"
