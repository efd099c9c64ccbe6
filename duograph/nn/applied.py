"""What modules that only apply an operator share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import _core as core
from .module import Module

Tensor = core.Tensor


class Applied(Module):
    """Base: applies `operator` with the settings that the class was made with."""

    operator: Callable[..., Tensor]

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.settings = tuple(settings)
        for name, value in settings.items():
            setattr(self, name, value)

    def forward(self, *tensors: Tensor) -> Tensor:
        return self.operator(*tensors, **{name: getattr(self, name) for name in self.settings})

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in self.settings)
