"""Gradients that may be absent: of what only some turns or one side of a branch used.

Where dynamic mode leaves `.grad` at None, a static graph computes zeros and the condition under which there is a
gradient at all. It follows the gradient along the tape: an optimiser leaves a parameter without gradient alone, and
`.grad` is None after a run without one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.ir.graph import Value
from duograph.ops.tracing import wrap

if TYPE_CHECKING:
    from ..builder import CaptureBuilder


class Presence:
    """For values that stand for gradients which a run may not have: the condition (a 0-d bool) that it has."""

    def __init__(self, builder: CaptureBuilder) -> None:
        self.builder = builder
        self.known: dict[Value, Value] = {}

    def of(self, tensor: Any) -> Value | None:
        """The condition under which there is this gradient; None if there always is."""
        if not self.known or not isinstance(tensor, core.Tensor) or tensor._traced is None:
            return None
        view = self.builder.views.get(tensor._traced)
        return self.known.get(tensor._traced) or (None if view is None else self.known.get(view.cell.value))

    def mark(self, tensor: Any, condition: Value | None) -> None:
        """The gradient exists under a condition."""
        if condition is not None and isinstance(tensor, core.Tensor) and tensor._traced is not None:
            self.known[tensor._traced] = condition
            self.known.setdefault(self.builder.read(tensor), condition)

    def any(self, tensors: Iterable[Any]) -> Value | None:
        """The condition under which one of several gradients exists."""
        joined: Value | None = None
        for tensor in tensors:
            if tensor is None:
                continue
            condition = self.of(tensor)
            if condition is None:
                return None
            joined = condition if joined is None or joined is condition else self.either(joined, condition)
        return joined

    def either(self, a: Value, b: Value) -> Value:
        return self.builder.read(wrap(a).logical_or(wrap(b)))

    def joined(self, before: Any, condition: Value | None) -> Value | None:
        """The condition of a sum that was perhaps there before (None: it was not) and goes on under a condition."""
        if before is None:
            return condition
        known = self.of(before)
        return None if known is None or condition is None else self.either(known, condition)

    def both(self, a: Value | None, b: Value | None) -> Value | None:
        """The condition that both hold; None stands for always."""
        if a is None or b is None:
            return a if b is None else b
        return self.builder.read(wrap(a).logical_and(wrap(b)))

    def follow(self, grads: Sequence[Any], results: Sequence[Any]) -> None:
        """What a gradient rule gives exists if one of its incoming gradients does."""
        if not self.known:
            return
        condition = self.any(grads)
        if condition is not None:
            for result in results:
                if result is not None and self.of(result) is not condition:
                    self.mark(result, condition)

    def summed(self, operands: Sequence[Any], result: Value) -> None:
        """The sum of two gradients exists if either does."""
        if self.known and any(self.of(x) is not None for x in operands):
            condition = self.any(operands)
            if condition is not None:
                self.known[result] = condition


def grad_if(exists: Any, grad: Any) -> Any:
    """`.grad` after a run."""
    return grad if exists.item() else None
