"""Tensors that are another tensor's memory on one way through a branch or loop, and their own on another.

Whether a write to such a tensor reaches the other one, and the other way round, only each run would know. A static graph
keeps them apart, so what would tell the difference is refused.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from duograph import _core as core
from duograph._stack import user_location
from duograph.errors import Error
from duograph.ir.builder import current

from .joined import Care, LookAgain

if TYPE_CHECKING:
    from ..builder import CaptureBuilder
    from ..control.regions import Region
    from .cells import Cell


class MayShare(LookAgain):
    """The program must be captured with links between such tensors."""

    def care(self, before: Care) -> Care:
        return before._replace(exact=True, for_order=False)


class MayAlternate(Error):
    """The same, for nothing but the order in which gradients are summed."""

    def care(self, before: Care) -> Care:
        return before._replace(exact=True, for_order=True)


class MayReturn(LookAgain):
    """The same, since results may be such tensors, which only the caller would notice."""

    def care(self, before: Care) -> Care:
        return before._replace(exact=True, find=False)


F = TypeVar("F", bound=Callable[..., Any])


def no_use(function: F) -> F:
    """What the function reads is no use of a variable: only types are wanted, or values for the rules of gradients."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        borrowed = vars(current()).get("borrowed")
        if borrowed is None:
            return function(*args, **kwargs)
        pairs, borrowed.pairs = borrowed.pairs, {}
        try:
            return function(*args, **kwargs)
        finally:
            borrowed.pairs = pairs

    return run  # type: ignore[return-value]


class Borrowed:
    """For such tensors' storages: the variable, and the storages they may really be, with their versions."""

    def __init__(self, builder: CaptureBuilder) -> None:
        self.builder = builder
        self.known: dict[Cell, tuple[str, list[tuple[Cell, int]]]] = {}
        self.uncertain: dict[Cell, str] = {}  # storages that a write through a variable may have reached
        self.pairs: dict[Cell, list[tuple[int, list[bool]]]] = {}  # of each storage: its number in a pair, who was read of it

    def lenders(self, region: Region, values: Iterable[Any]) -> list[Cell]:
        """The storages among the values that were there before the region."""
        cells = [self.builder.aliases.storage(region, x)[0] for x in values if isinstance(x, core.Tensor)]
        cells += [lender for cell in cells for lender, _ in self.known.get(cell, ("", []))[1]]
        return [cell for cell in cells if not region.holds(cell.born)]

    def note(self, tensor: Any, path: str, lenders: list[Cell], pairs: bool = True) -> None:
        """The variable may lie on the lenders' memory, and on that which they may lie on; `pairs`: in whose place it then is."""
        if not lenders or tensor._traced is None or self.builder.aliases.exact:
            return
        everyone = dict.fromkeys(lenders)
        for cell in lenders:
            everyone.update(dict.fromkeys(other for other, _ in self.known.get(cell, ("", []))[1]))
        own = self.builder.view_of(tensor).cell
        before = self.known.get(own, (path, []))[1]
        found = dict.fromkeys((*before, *((cell, cell.version) for cell in everyone if cell is not own)))
        self.known[own] = (path, list(found))
        if pairs and tensor.requires_grad and self.builder.aliases.shared.on():
            for cell in everyone:
                self.pair(own, cell)

    def pair(self, a: Cell, b: Cell) -> None:
        """Tensors on these may be one: their gradients are to be followed if both are read from now on."""
        pair = [False, False]
        self.pairs.setdefault(a, []).append((0, pair))
        self.pairs.setdefault(b, []).append((1, pair))

    @contextmanager
    def paired(self, pairs: Iterable[tuple[Cell, Cell]]) -> Iterator[None]:
        """The same inside."""
        old = {cell: list(found) for cell, found in self.pairs.items()}
        for a, b in pairs:
            self.pair(a, b)
        try:
            yield
        finally:
            self.pairs = old

    def note_together(self, region: Region, values: Iterable[Any], results: Iterable[tuple[str, Any]]) -> None:
        """Results that share memory in the region from which they come, or may do so there."""
        results = list(results)
        groups: dict[Cell, list[int]] = {}
        for number, value in enumerate(values):
            if isinstance(value, core.Tensor) and number < len(results):
                cell = self.builder.view_of(value).cell
                inside = (lender for lender, _ in self.known.get(cell, ("", []))[1] if region.holds(lender.born))
                for lender in {cell, *inside}:
                    groups.setdefault(lender, []).append(number)
        together: dict[int, dict[int, None]] = {}
        for group in groups.values():
            for number in group:
                together.setdefault(number, {}).update(dict.fromkeys(group))
        for number, others in together.items():
            path, tensor = results[number]
            cells = dict.fromkeys(self.builder.view_of(results[other][1]).cell for other in others if other != number)
            own = self.builder.view_of(tensor).cell
            self.note(tensor, path, [cell for cell in cells if cell is not own])

    def check_read(self, cell: Cell) -> None:
        """A tensor is read: the memory it may lie on must be as it was, and nobody else may have written it."""
        if cell in self.uncertain:
            raise _refusal(self.uncertain[cell], "the other is read after that was written in place", "before writing into it")
        for number, pair in self.pairs.get(cell, ()):
            pair[number] = True
            if all(pair):
                raise MayAlternate("static: gradients of variables that may be one another are summed in the order of their uses")
        found = self.known.get(cell)
        if found is not None and any(lender.version != version or lender in self.uncertain for lender, version in found[1]):
            raise _refusal(found[0], "it is read after the other was written in place", "before the write")

    def check_write(self, cell: Cell) -> None:
        """A tensor is written in place: who may lie on the same memory must not be looked at any more."""
        found = self.known.get(cell)
        if found is None:
            return
        path, lenders = found
        if any(lender.input is not None for lender, _ in lenders):  # the caller would look at it
            raise _refusal(path, "it is written in place", "before writing into it")
        self.uncertain.update((lender, path) for lender, _ in lenders)


def _refusal(path: str, what: str, when: str) -> MayShare:
    return MayShare(
        f"static: {path} is another tensor itself on one way through a branch or loop that a tensor's value steers, "
        f"and a tensor of its own on another, and {what}",
        hint=f"make it a copy {when}: {path} = {path}.clone()",
        location=user_location(),
    )
