"""Layers that drop elements or whole channels in training."""

from __future__ import annotations

from collections.abc import Callable

from .. import _core as core
from ..errors import DomainError
from . import functional
from .module import Module

Tensor = core.Tensor


class _Dropping(Module):
    """Base: calls `function` in training; the identity in `eval()`."""

    function: Callable[..., Tensor]

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not isinstance(p, (int, float)) or not 0 <= p <= 1:
            raise DomainError(f"{type(self).__name__}: p must be a probability between 0 and 1, got {p!r}")
        self.p = p
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropping):
    """In training sets each element to zero with probability p and scales the others by 1/(1−p); the identity in `eval()`."""

    function: Callable[..., Tensor] = staticmethod(functional.dropout)


class Dropout1d(_Dropping):
    """Drops whole channels of one dimension in training (Tompson et al. 2015)."""

    function: Callable[..., Tensor] = staticmethod(functional.dropout1d)


class Dropout2d(_Dropping):
    """Drops whole channels of two dimensions in training."""

    function: Callable[..., Tensor] = staticmethod(functional.dropout2d)


class Dropout3d(_Dropping):
    """Drops whole channels of three dimensions in training."""

    function: Callable[..., Tensor] = staticmethod(functional.dropout3d)


class AlphaDropout(_Dropping):
    """Sets elements to SELU's lower limit in training, keeping mean 0 and variance 1 (Klambauer et al. 2017)."""

    function: Callable[..., Tensor] = staticmethod(functional.alpha_dropout)


class FeatureAlphaDropout(_Dropping):
    """`AlphaDropout` of whole channels."""

    function: Callable[..., Tensor] = staticmethod(functional.feature_alpha_dropout)
