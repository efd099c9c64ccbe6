"""Gradients of a loop that begins with a tensor its body also reads: in the first turn both are one place on the tape.

Dynamic mode adds what that turn gives for either to one sum, in the order of the operators. So of the first turn the
gradient is taken a second time, with one leaf for both (the additions alone are further work), and its sum is chosen.
Where a capture follows what variables are (`in_order`), the variable's gradients go on to the tensor anyhow.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from duograph import _core as core
from duograph.ops.definition import REGISTRY
from duograph.ops.tracing import wrap

from .regions import nothing

if TYPE_CHECKING:
    from .loop_node import Loop


class Place(NamedTuple):
    """Carried variables that begin as one tensor, and the number of the alias that the body reads it by, if it does."""

    carried: list[int]
    constant: int | None


class OnePlace:
    """The places of a loop that several of what it is given share."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.places: list[Place] = []
        if not loop.builder.call_sizes.strict:
            return
        found: dict[Any, Place] = {}
        for i, (tensor, leaf) in enumerate(zip(loop.initial, loop.leaves)):
            if leaf is not None and tensor.requires_grad:
                found.setdefault(position(tensor), Place([], None)).carried.append(i)
        for k, alias in enumerate(loop.constants):
            place = found.get(position(alias.outer))
            if place is not None and place.constant is None:
                found[position(alias.outer)] = place._replace(constant=k)
        self.places = [place for place in found.values() if place.constant is not None or len(place.carried) > 1]

    def members(self) -> set[int]:
        """The carried variables that share a place with something."""
        return {i for place in self.places for i in place.carried}

    def move_sums(self, carried: dict[int, Any], constants: list[Any]) -> None:
        """What is there before goes on with the sum of the alias, not with that of the variable."""
        for place in self.places:
            if place.constant is not None:
                first = place.carried[0]
                constants[place.constant], carried[first] = carried[first], None

    def choose(
        self,
        roots: Sequence[tuple[Any, Any]],
        carried: dict[int, Any],
        constants: list[Any],
        record: bool,
        ends: Sequence[Any] = (),
    ) -> None:
        """In the first turn, gradients that meet at a place are one sum, and the others nothing. The tape ends at `ends`."""
        if not self.places or self.loop.in_order:
            return
        loop, leaves = self.loop, self.loop.leaves
        joined: list[Any] = []
        targets = []
        for place in self.places:
            target = leaves[place.carried[0]] if place.constant is None else loop.constants[place.constant].leaf
            targets.append(target)
            for i in place.carried:
                if leaves[i] is not target:
                    joined += [leaves[i], target]
        outs, seeds = [o for o, _ in roots], [g for _, g in roots]
        sums = core.grad(outs, [*targets, *ends], seeds, True, record, True, bool(ends), joined)
        first, where = wrap(loop.counter) == 0, REGISTRY["where"].op
        for place, total in zip(self.places, sums):
            members = place.carried
            if place.constant is not None:
                constants[place.constant] = where(first, total, constants[place.constant])
            else:
                carried[members[0]] = where(first, total, carried[members[0]])
                members = members[1:]
            for i in members:
                carried[i] = where(first, nothing(loop.builder, loop.type_of(i)), carried[i])

    def give_back(self, carried: dict[int, Any], constants: dict[int, Any]) -> None:
        """The sum of the alias is the variable's; without a turn, what the variable ends with is what it begins with."""
        for place in self.places:
            if place.constant is None:
                continue
            total = constants.pop(place.constant, None)  # without `in_order` it is always there: see `choose`
            for i in place.carried:
                total, carried[i] = total if self.loop.in_order else total + carried[i], None
            carried[place.carried[0]] = total


def position(tensor: Any) -> Hashable:
    """Where on the tape the tensor is."""
    node = tensor.grad_fn
    return id(tensor) if node is None else (node, node.output_index)
