"""Gradients with respect to variables that are other tensors on some ways through a branch or loop.

Where a variable is another tensor, dynamic mode has one place on the tape for both: what arrives at the other is a part of the
variable's gradient. A static graph has two places, so it takes both gradients and chooses by the condition.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph._stack import user_location
from duograph.errors import CaptureError, GradError
from duograph.ir.builder import current

from ..memory.borrowed import MayShare
from .conditions import choice
from .inner import walk_back
from .merge import is_synthetic
from .one_place import position
from .region_gradients import grad

if TYPE_CHECKING:
    from ..builder import CaptureBuilder
    from ..memory.cells import Cell


class Several:
    """The tensors that branches and loops of one capture left in variables."""

    def __init__(self, builder: CaptureBuilder) -> None:
        self.builder = builder
        self.known: dict[int, tuple[Any, str, bool]] = {}  # by id; with the name, and whether it is a leaf on some ways
        self.read: dict[int, tuple[Any, Any]] = {}  # those without a gradient whose `.grad` was read, and where

    def note(self, tensor: Any, path: str, ways: Iterable[Any]) -> None:
        """A variable is what branches or turns left in it, one of `ways`."""
        if tensor.requires_grad:
            self.known[id(tensor)] = (tensor, path, any(map(self._is_leaf, ways)))
            if id(tensor) in self.read:
                self._check(tensor, self.read[id(tensor)][1])

    def _is_leaf(self, tensor: Any) -> bool:
        if not isinstance(tensor, core.Tensor) or not tensor.requires_grad:
            return False
        tensor = self.builder.versions.behind(tensor)
        known = self.known.get(id(tensor))
        return bool(tensor.is_leaf) if known is None else known[2]

    def no_gradient(self, tensor: Any) -> None:
        """`.grad` was read, and is None: refuses it of a variable that is a leaf on some ways, whose own is not known."""
        if tensor.requires_grad:
            location = user_location()
            self.read[id(tensor)] = tensor, location
            self._check(tensor, location)

    def _check(self, tensor: Any, location: Any) -> None:
        _, path, is_leaf = self.known.get(id(tensor), (None, "", False))
        if is_leaf:
            name = "a variable" if is_synthetic(path) else path
            raise CaptureError(
                f"static: .grad of {name} is read, which is one of several tensors, as a tensor's value decides",
                hint="use dg.autograd.grad(loss, [x]), or let x stay one tensor and write into it, under dg.no_grad()",
                location=location,
            )

    def watches(self, tensor: Any, method: str) -> None:
        """Refuses what looks at the gradient of a variable while it is computed, if that is another tensor on some ways."""
        if not tensor.requires_grad:
            return
        if self._lenders(tensor):
            raise MayShare(f"static: {method} of a variable that is another tensor on some ways", location=user_location())
        if self._others(tensor):
            raise CaptureError(
                f"static: {method} of a variable that is another tensor on some ways, as a tensor's value decides",
                hint=f"call {method} in the branch or loop, or make it a tensor of its own before: add .clone()",
                location=user_location(),
            )

    # ---- gradients with respect to them

    def wanted(self, outs: Sequence[Any], inputs: Sequence[Any]) -> list[Any]:
        """The inputs of a gradient, and after them the tensors that these may be."""
        self._check_followed(outs, inputs)
        found = list(inputs)
        for tensor in found:
            found += [other for _, other in self._others(tensor) if not any(other is t for t in found)]
        return found

    def choose(self, wanted: Sequence[Any], grads: Sequence[Any], count: int) -> list[Any]:
        """The gradients of the first `count`, from those of all."""
        number = {id(t): i for i, t in enumerate(wanted)}
        known: dict[int, Any] = {}

        def of(i: int) -> Any:
            if i not in known:
                known[i] = grads[i]
                own = grads[i]
                for condition, other in reversed(self._others(wanted[i])):
                    there = of(number[id(other)])
                    if wanted[i].is_leaf and own is not None and there is not None:  # nothing goes on from it by itself
                        there = there + own
                    known[i] = _either(condition, there, known[i])
            return known[i]

        return [of(i) for i in range(count)]

    def _others(self, tensor: Any) -> list[tuple[Any, Any]]:
        """Conditions, and the tensor that this one is where they hold."""
        if tensor._traced is None:
            return []
        cell = self.builder.view_of(tensor).cell
        owner, links = self.builder.aliases.links.get(cell, (None, []))
        if owner is tensor:
            places = [(link.condition, link.place) for link in links if link.place is not None]
            return [(condition, other) for condition, other in places if other.requires_grad]
        return []

    def _check_followed(self, outs: Sequence[Any], inputs: Sequence[Any]) -> None:
        """Asks for another try if a gradient also leads, by another way, to what an input may be, and that is not followed."""
        for tensor in inputs:
            lenders = self._lenders(tensor)
            if lenders and not self._leads_to(outs, tensor).isdisjoint(lenders):
                raise MayShare(
                    "static: a gradient is taken with respect to a variable that is another tensor on some ways",
                    location=user_location(),
                )

    def _lenders(self, tensor: Any) -> list[Cell]:
        """The storages of what a variable may be, where that is not followed."""
        if id(tensor) not in self.known or self.builder.aliases.exact:
            return []
        return [cell for cell, _ in self.builder.borrowed.known.get(self.builder.view_of(tensor).cell, ("", []))[1]]

    def _leads_to(self, outs: Sequence[Any], end: Any) -> set[Cell]:
        """The storages of what is on the tape from `outs` back, without what is behind `end`."""
        found: set[Cell] = set()
        outs = list(outs)
        for region in (*reversed(self.builder.regions), None):
            outs = outs if region is None else [region.localize(t) for t in outs]
            met = _met(outs, {position(end), position(end if region is None else region.localize(end))})
            aliases = (
                {}
                if region is None
                else {id(t): alias.outer for alias in region.aliases.values() for t in (alias.leaf, alias.used)}
            )
            outs = list({id(t): t for t in (aliases.get(id(t)) for t in met) if t is not None}.values())
            found |= {self.builder.view_of(self.builder.versions.behind(t)).cell for t in met}
        return found


def _met(outs: Sequence[Any], ends: set[Hashable]) -> list[Any]:
    """Tensors on the tape from `outs` back, up to `ends`."""
    found: list[Any] = []
    seen = set(ends)

    def meet(item: Any, index: int, place: Hashable) -> bool:
        if place in seen:
            return False
        seen.add(place)
        found.append(item.outputs()[index] if isinstance(item, core.Node) else item)
        return True

    walk_back(outs, meet)
    return [t for t in found if t is not None]


def _either(condition: Any, a: Any, b: Any) -> Any:
    """`a` where the condition (None: always) holds, else `b`; each may be None."""
    if a is None or a is b or condition is None:
        return b if a is None else a
    return choice(condition, a, a.new_zeros(a.shape) if b is None else b)


def grad_of(outs: Any, ins: Any, seeds: Any, retain_graph: bool | None, create_graph: bool, allow_unused: bool) -> Any:
    """What `autograd.grad` does in a capture."""
    builder: Any = current()
    regions = vars(builder).get("regions", ())
    if not all(x.requires_grad for x in (*outs, *ins)) or any(r.one_example for r in regions) or "several" not in vars(builder):
        return core.grad(outs, ins, seeds, retain_graph, create_graph, allow_unused)
    wanted = builder.several.wanted(outs, ins)
    found: Sequence[Any]
    if not regions and len(wanted) == len(ins):
        found = core.grad(outs, ins, seeds, retain_graph, create_graph, allow_unused)
    elif not regions:
        found = core.grad(outs, tuple(wanted), seeds, retain_graph, create_graph, True)
    else:
        found = grad(outs, wanted, seeds, create_graph, len(ins))
    found = builder.several.choose(wanted, found, len(ins))
    for i, value in enumerate(found):
        if value is None and not allow_unused:
            raise GradError(
                f"grad: the outputs do not depend on input {i}",
                hint="pass allow_unused=True to get None for it",
                location=user_location(),
            )
    return tuple(found)
