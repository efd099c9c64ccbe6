"""L-BFGS: a quasi-Newton method with limited memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .. import _core as core
from ..autograd import enable_grad, no_grad
from ..errors import ArgumentError, CaptureError
from ..ops.matrix.contractions import dot
from ..ops.shapes.joining import cat
from ..ops.shapes.movement import reshape
from .optimizer import Group, Optimizer, check_not_negative
from .wolfe import Point, strong_wolfe

Tensor = core.Tensor


class LBFGS(Optimizer):
    """L-BFGS (Liu and Nocedal 1989). Each `step` makes up to max_iter iterations and evaluates the closure many times.

    Args:
        lr: the length of a step, or the first one tried by the line search.
        max_iter, max_eval: iterations and evaluations in one `step` (max_eval: 1.25 · max_iter, if left out).
        tolerance_grad: stops where no element of the gradient is larger.
        tolerance_change: stops where loss and parameters change less.
        history_size: how many pairs of steps and gradient changes are kept.
        line_search_fn: None or "strong_wolfe".

    Errors: ArgumentError for more than one parameter group, or a step without a closure; CaptureError in a static function:
    how often the closure runs depends on what it gives.

    >>> import duograph as dg
    >>> p = dg.tensor([3.0], requires_grad=True)
    >>> optimizer = LBFGS([p], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = ((p - 1) ** 2).sum()
    ...     loss.backward()
    ...     return loss
    >>> _ = optimizer.step(closure); p.detach()
    tensor([1.])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ArgumentError("LBFGS: takes one parameter group", hint="pass all parameters in one list")
        self.params: list[Tensor] = self.param_groups[0]["params"]

    def check_group(self, group: Group) -> None:
        check_not_negative("LBFGS", lr=group["lr"], tolerance_grad=group["tolerance_grad"])
        if group["line_search_fn"] not in (None, "strong_wolfe"):
            raise ArgumentError(f"LBFGS: line_search_fn must be None or 'strong_wolfe', got {group['line_search_fn']!r}")

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Minimises from where the parameters are. Returns the closure's first result.

        Args:
            closure: forgets the gradients, computes the loss, calls `backward`, returns the loss.
        """
        closure = self._before_step(closure)
        if closure is None:
            raise ArgumentError("LBFGS: step needs a closure that computes the loss anew", hint="optimizer.step(closure)")
        if core.tracing():
            raise CaptureError(
                "LBFGS: how often step evaluates its closure depends on the losses it gives",
                hint="make the closure static, and call step outside of the static function",
            )
        with no_grad():
            loss = _Run(self, closure).run()
        self._after_step(closure)
        return loss

    def load_value(self, name: str, key: Any, value: Any, parameter: Tensor) -> Any:
        # Directions and gradients are of all parameters together, and kept with the first.
        if isinstance(value, list):
            return [self.load_value(name, key, item, parameter) for item in value]
        return value.detach().to(parameter.dtype).clone() if isinstance(value, Tensor) else value


class _Run:
    """One call of `step`."""

    def __init__(self, optimizer: LBFGS, closure: Callable[[], Any]) -> None:
        self.params = optimizer.params
        self.closure = closure
        self.group = optimizer.param_groups[0]
        self.memory = optimizer.state.setdefault(self.params[0], {})  # as PyTorch: the first parameter holds it all
        self.memory.setdefault("func_evals", 0)
        self.memory.setdefault("n_iter", 0)
        self.evaluations = 0

    def evaluate(self) -> Any:
        self.evaluations += 1
        self.memory["func_evals"] += 1
        with enable_grad():
            return self.closure()

    def gradient(self) -> Tensor:
        pieces = [p.grad if p.grad is not None else core.zeros(tuple(p.shape), p.dtype) for p in self.params]
        flat: Tensor = cat([reshape(piece.detach(), (-1,)) for piece in pieces])
        return flat

    def move(self, length: float, direction: Tensor) -> None:
        start = 0
        for p in self.params:
            count = p.numel()
            p.add_(direction[start : start + count].reshape(p.shape) * length)
            start += count

    def at(self, length: float, direction: Tensor, origin: list[Tensor]) -> Point:
        """Loss and gradient at a distance from where the line search began."""
        self.move(length, direction)
        loss = float(self.evaluate())
        gradient = self.gradient()
        for p, saved in zip(self.params, origin):
            p.copy_(saved)
        return Point(length, loss, gradient, float(dot(gradient, direction)))

    def direction(self, gradient: Tensor) -> Tensor:
        """The inverse Hessian that the kept pairs stand for, times minus the gradient (the two-loop recursion)."""
        memory = self.memory
        steps, changes = memory["old_stps"], memory["old_dirs"]
        weights = []
        q: Tensor = -gradient
        for s, y in zip(reversed(steps), reversed(changes)):
            weight = dot(s, q) / dot(y, s)
            weights.append(weight)
            q = q - y * weight
        q = q * memory["H_diag"]
        for s, y, weight in zip(steps, changes, reversed(weights)):
            q = q + s * (weight - dot(y, q) / dot(y, s))
        return q

    def remember(self, gradient: Tensor) -> None:
        """Keep the last step and how it changed the gradient, if the curvature along it is positive."""
        memory = self.memory
        change = gradient - memory["prev_flat_grad"]
        made = memory["d"] * memory["t"]
        curvature = dot(change, made)
        if float(curvature) > 1e-10:
            if len(memory["old_dirs"]) == self.group["history_size"]:
                memory["old_dirs"].pop(0)
                memory["old_stps"].pop(0)
            memory["old_dirs"].append(change)
            memory["old_stps"].append(made)
            memory["H_diag"] = curvature / dot(change, change)

    def run(self) -> Any:
        group, memory = self.group, self.memory
        first = self.evaluate()
        loss = float(first)
        gradient = self.gradient()
        if float(gradient.abs().max()) <= group["tolerance_grad"]:
            return first
        for iteration in range(1, group["max_iter"] + 1):
            memory["n_iter"] += 1
            if memory["n_iter"] == 1:
                memory.update(d=-gradient, old_dirs=[], old_stps=[], H_diag=1.0)
            else:
                self.remember(gradient)
                memory["d"] = self.direction(gradient)
            memory["prev_flat_grad"], before = gradient, loss
            direction = memory["d"]
            scale = min(1.0, 1.0 / float(gradient.abs().sum())) if memory["n_iter"] == 1 else 1.0
            memory["t"] = scale * group["lr"]
            slope = float(dot(gradient, direction))
            if slope > -group["tolerance_change"]:
                break
            loss, gradient = self.advance(loss, gradient, slope, last=iteration == group["max_iter"])
            if self.evaluations >= group["max_eval"] or float(gradient.abs().max()) <= group["tolerance_grad"]:
                break
            moved = float((direction * memory["t"]).abs().max())
            if moved <= group["tolerance_change"] or abs(loss - before) < group["tolerance_change"]:
                break
        return first

    def advance(self, loss: float, gradient: Tensor, slope: float, last: bool) -> tuple[float, Tensor]:
        """One step along the direction; the loss and gradient there."""
        memory, direction = self.memory, self.memory["d"]
        if self.group["line_search_fn"] is None:
            self.move(memory["t"], direction)
            if last:
                return loss, gradient  # nobody looks at what would be evaluated here
            return float(self.evaluate()), self.gradient()
        origin = [p.clone() for p in self.params]
        start = Point(0.0, loss, gradient, slope)
        found = strong_wolfe(lambda t: self.at(t, direction, origin), start, memory["t"], direction)
        memory["t"] = found.length
        self.move(found.length, direction)
        return found.loss, found.gradient
