"""Gradients of tensors that are other tensors on some ways: under `strict`, summed in dynamic mode's order.

Dynamic mode has one tensor where a static graph has two of which a run finds that they are one. What its uses give is added
up as they come, so each gradient that arrives at the one goes on to the other at once, where the condition holds. What does
not arrive is -0.0, which changes no sum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.ir.graph import Value
from duograph.ops.tracing import as_user

from ..control.conditions import choice, opposite
from ..control.regions import nothing

if TYPE_CHECKING:
    from duograph.ir.types import TensorType

    from ..builder import CaptureBuilder


Pair = tuple[Value | None, Any]  # a condition (None: always), and the tensor that another one then is


class Shared:
    """The tensors of a capture whose gradients go on to others."""

    def __init__(self, builder: CaptureBuilder) -> None:
        self.builder = builder
        self.wanted = False
        self.known: dict[Any, list[tuple[Value | None, Any, Any]]] = {}  # by place on the tape; with the other's place

    def on(self) -> bool:
        """Whether the order of sums matters here."""
        return self.wanted and core.is_grad_enabled()

    def follow(self, tensor: Any, pairs: Sequence[Pair]) -> Any:
        """The tensor, from which gradients go on to the first that it is."""
        if not tensor.requires_grad or not any(t.requires_grad for _, t in pairs):
            return tensor
        return self._record(tensor, tensor, pairs)

    def chosen(self, condition: Value, a: Any, b: Any) -> Any:
        """`a` where the condition holds, else `b`; each gradient goes to one of them at once."""
        if not self.on() or not (a.requires_grad and b.requires_grad):
            return choice(condition, a, b)
        old = core.set_grad_enabled(False)
        try:
            value = choice(condition, a, b)
        finally:
            core.set_grad_enabled(old)
        return self._record(value, value, [(condition, a), (None, b)])

    def pairs(self, tensor: Any) -> list[Pair]:
        """What a tensor is on some ways, as `follow` was told."""
        found = self.known.get(tensor.grad_fn, []) if self.known else []
        return [(c, t) for c, t, _ in found] if all(t.grad_fn == place for _, t, place in found) else []

    def _record(self, tensor: Any, own: Any, pairs: Sequence[Pair]) -> Any:
        split = _split(self.builder, self.builder.read(tensor).type, [c for c, _ in pairs])
        made = self.builder.tape.record([tensor], [own, *(t for _, t in pairs)], "shared", split, at_once=True)[0]
        self.known[made.grad_fn] = [(c, t, t.grad_fn) for c, t in pairs]
        return made


def _split(
    builder: CaptureBuilder, type_: TensorType, conditions: Sequence[Value | None]
) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    """From a gradient to those of the tensor itself, and of what it is where the first of the conditions holds."""

    def split(grads: Sequence[Any]) -> tuple[Any, ...]:
        own = grads[0]
        parts: list[Any] = []
        presence = builder.presence
        there, rest = presence.of(own), None
        with as_user():
            zero = nothing(builder, type_)
            for condition in conditions:
                if condition is None:
                    return (None, *parts, own)
                part, own = choice(condition, own, zero), choice(condition, zero, own)
                presence.mark(part, presence.both(presence.both(condition, rest), there))
                rest = presence.both(opposite(condition), rest)
                presence.mark(own, presence.both(rest, there))
                parts.append(part)
        return (own, *parts)

    return split
