"""Losses scaled up before their gradients are taken, so that float16 holds them; the steps that overflow are left out.

Written as users write: a capture follows this code, so that a step left out is a branch of the program.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from duograph import _core as core

from ..autograd import no_grad
from ..errors import ArgumentError, DTypeError, Error
from ..ops.elementwise.choice import where
from ..ops.elementwise.comparison import isfinite
from ..ops.training.optimizer_steps import scale_together_, total_norm
from ..tensors.creation import full, zeros


class ScalerError(Error, RuntimeError):
    """A gradient scaler's methods called in an order that has no meaning."""


class GradScaler:
    """Scales losses so that the gradients' float16 values neither vanish nor overflow, and finds the scale by itself.

    A step whose gradients are not all finite is left out, and the scale lowered; after `growth_interval` steps in a row
    that were finite it is raised. Works alike in static functions, where one capture holds for both kinds of steps.

    Args:
        device: accepted for PyTorch's sake.
        init_scale: what losses are multiplied with at first.
        growth_factor, backoff_factor: what the scale is multiplied with to raise, to lower it.
        growth_interval: after so many finite steps in a row it is raised.
        enabled: False: losses are not scaled, `step` is the optimiser's.

    Errors:   ArgumentError for factors on the wrong side of 1; ScalerError for methods called in another order

    Source: torch.amp.GradScaler

    >>> import duograph as dg
    >>> w = dg.tensor([1.0], requires_grad=True)
    >>> optimizer, scaler = dg.optim.SGD([w], lr=0.5), dg.GradScaler(init_scale=4.0)
    >>> scaler.scale((w * w).sum()).backward()
    >>> w.grad
    tensor([8.])
    >>> scaler.step(optimizer)
    >>> scaler.update()
    >>> w.detach(), scaler.get_scale()
    (tensor([0.]), 4.0)
    """

    def __init__(
        self,
        device: str = "cpu",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        if enabled and not growth_factor > 1.0:
            raise ArgumentError(f"GradScaler: growth_factor must be above 1, got {growth_factor}")
        if enabled and not backoff_factor < 1.0:
            raise ArgumentError(f"GradScaler: backoff_factor must be below 1, got {backoff_factor}")
        self._enabled = bool(enabled)
        self._device = device
        self._growth_factor = growth_factor
        self._backoff_factor = backoff_factor
        self._growth_interval = growth_interval
        self._scale = full((), float(init_scale), dtype=core.float32)
        self._tracker = zeros((), dtype=core.int32)
        self._unscaled: list[Any] = []  # (optimiser, whether it found one that is not finite) since the last update
        self._stepped: list[Any] = []  # the optimisers that made their step since then

    def scale(self, outputs: Any) -> Any:
        """A tensor, or each of a list or tuple, multiplied with the scale."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, core.Tensor):
            return outputs * self._scale
        if isinstance(outputs, (list, tuple)):
            return type(outputs)([self.scale(x) for x in outputs])
        raise ArgumentError(f"GradScaler.scale: expected a Tensor, or a list or tuple of them, not {type(outputs).__name__}")

    def unscale_(self, optimizer: Any) -> None:
        """Divides the gradients of an optimiser's parameters by the scale, as to clip them; `step` then does not.

        Errors:   ScalerError the second time since `update`, after `step`, and without any gradient; DTypeError for float16
                  gradients: the parameters must be float32
        """
        if not self._enabled:
            return
        if _is_among(self._stepped, optimizer):
            raise ScalerError("GradScaler.unscale_: called after step()", hint="call it before, or update() first")
        if self._found(optimizer) is not None:
            raise ScalerError(
                "GradScaler.unscale_: called for the second time for this optimizer since the last update()",
                hint="call update() after each step",
            )
        self._unscale(optimizer)

    def _unscale(self, optimizer: Any) -> Any:
        grads = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if not grads:
            raise ScalerError("GradScaler: no parameter of the optimizer has a gradient", hint="call backward() first")
        if any(grad.dtype == core.float16 for grad in grads):
            raise DTypeError("GradScaler: a gradient is float16", hint="keep parameters in float32, autocast converts them")
        with no_grad():
            finite = isfinite(total_norm(grads, float("inf")))
            scale_together_(grads, self._scale.double().reciprocal().float())
        self._unscaled.append((optimizer, ~finite))
        return ~finite

    def _found(self, optimizer: Any) -> Any:
        for other, found in self._unscaled:
            if other is optimizer:
                return found
        return None

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """The optimiser's step, unless a gradient is not finite; unscales the gradients if that was not done.

        Errors:   ArgumentError with a closure, ScalerError the second time since `update`
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if args or "closure" in kwargs:
            raise ArgumentError("GradScaler.step: closures are not taken", hint="compute the gradients before")
        if _is_among(self._stepped, optimizer):
            raise ScalerError("GradScaler.step: called for the second time since the last update()", hint="call update()")
        found = self._found(optimizer)
        if found is None:
            found = self._unscale(optimizer)
        self._stepped.append(optimizer)
        if not found:
            optimizer.step(**kwargs)
        return None

    def update(self, new_scale: Any = None) -> None:
        """Lowers the scale if a gradient was not finite since the last time, raises it after enough that were.

        Args:
            new_scale: sets it instead.

        Errors:   ScalerError if no gradients were unscaled since the last time
        """
        if not self._enabled:
            return
        if new_scale is not None:
            with no_grad():
                if isinstance(new_scale, core.Tensor):
                    self._scale.copy_(new_scale.reshape(()))
                else:
                    self._scale.fill_(float(new_scale))
        else:
            if not self._unscaled:
                raise ScalerError("GradScaler.update: no gradients were unscaled", hint="call step(optimizer) before")
            found = self._unscaled[0][1]
            for _, other in self._unscaled[1:]:
                found = found | other
            self._adapt(found)
        self._unscaled.clear()
        self._stepped.clear()

    def _adapt(self, found: Any) -> None:
        """The scale and the count of finite steps after one in which `found` says whether a gradient was not finite."""
        with no_grad():
            count = self._tracker + 1
            full_turn = count == self._growth_interval
            grown = self._scale * self._growth_factor
            raised = where(full_turn & isfinite(grown), grown, self._scale)
            self._scale.copy_(where(found, self._scale * self._backoff_factor, raised))
            self._tracker.copy_(where(found | full_turn, 0, count))

    def get_scale(self) -> float:
        """The scale now; 1.0 if not enabled."""
        return self._scale.item() if self._enabled else 1.0

    def get_growth_factor(self) -> float:
        """What the scale is multiplied with to raise it."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Sets it."""
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """What the scale is multiplied with to lower it."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Sets it."""
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        """After so many finite steps in a row the scale is raised."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Sets it."""
        self._growth_interval = new_interval

    def is_enabled(self) -> bool:
        """Whether it does anything."""
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        """Scale, factors, interval and count as plain numbers, under PyTorch's names; empty if not enabled."""
        if not self._enabled:
            return {}
        return {
            "scale": self.get_scale(),
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._tracker.item(),
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Takes over what `state_dict` gave.

        Errors:   ScalerError if it is empty, that of a scaler that was not enabled
        """
        if not self._enabled:
            return
        if not state_dict:
            raise ScalerError("GradScaler.load_state_dict: the state is empty", hint="it is of a scaler with enabled=False")
        with no_grad():
            self._scale.fill_(float(state_dict["scale"]))
            self._tracker.fill_(int(state_dict["_growth_tracker"]))
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]


def _is_among(held: list[Any], optimizer: Any) -> bool:
    return any(other is optimizer for other in held)
