"""Results that are other tensors on some ways through a function: arguments, state, other results, or parts of them.

A program gives such a result as a tensor of its own, with the conditions under which it is another one; each call gives its
caller the very tensor. A capture follows what variables are (see `aliases`) once such a result was found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from duograph import _core as core
from duograph.errors import BoundsError
from duograph.ir.graph import Value
from duograph.ops.shapes.slicing import select

from ..control.conditions import both
from ..values.tree import Row
from .aliases import Link, check_known
from .borrowed import MayReturn
from .cells import Cell, Step, View
from .histories import down, moves

if TYPE_CHECKING:
    from ..results import Results

Chain = tuple[Step, ...]


class Others:
    """What the results of a capture are besides tensors of their own."""

    def __init__(self, results: Results, find: bool) -> None:
        """`find`: a result that may be another tensor asks for another try."""
        self.results = results
        self.builder = results.builder
        self.find = find
        self.users: dict[int, set[int]] = {}  # of each storage: the results that are, or may be, on it
        self.wholes: dict[int, Any] = {}  # of each storage: a result that is all of it
        self.copies: dict[Cell, Any] = {}  # storages that are others in row-major order on some ways: a tensor that is all of one
        self.direct: set[Cell] = set()  # storages that results lie on

    def note(self, cell: Any, tensor: Any) -> None:
        """A result lies on a storage."""
        if not self.builder.view_of(tensor).chain:
            self.wholes.setdefault(id(cell), tensor)
        self.users.setdefault(id(cell), set()).add(id(tensor))
        self.direct.add(cell)
        base = self.builder.base_of(tensor)
        whole = self.builder.view_of(base)
        if whole.cell is cell and not whole.chain and any(link.row_major for link in self._links(cell)):
            self.copies[cell] = base
            self.users[id(cell)].add(0)  # what lies on the others
        for _, lender, _ in self._lenders(cell, None, ()):
            self.users.setdefault(id(self.builder.view_of(lender).cell), set()).add(id(tensor))

    def are_several(self, cell: Any) -> bool:
        """Whether more than one result lies on a storage, or may lie on it."""
        return len(self.users.get(id(cell), ())) > 1

    def of(self, tensor: Any) -> list[Row]:
        """Conditions, each followed by what the tensor is where it holds."""
        view = None if tensor._traced is None or tensor._traced.type.weak else self.builder.views.get(tensor._traced)
        if view is None or view.cell.input is not None:
            return []
        lenders = [cell for cell, _ in self.builder.borrowed.known.get(view.cell, ("", []))[1]]
        if self.find and any(cell.input is not None or id(cell) in self.users for cell in lenders):
            raise MayReturn("static: a result is another tensor itself on one way through a branch or loop")
        self._check_known(view.cell, tensor)
        make: Callable[..., Any] = _part
        if self.results.differentiable and tensor.requires_grad:
            is_behind = tensor._base is not None and view.history != view.cell.version
            make = _part_behind if is_behind else _part_with_history
        found: list[Row] = []
        for condition, lender, chain in (*self._lenders(view.cell, None, view.chain), *self._copies(view)):
            row = self._row(lender, chain, make)
            if row is not None:
                if not chain and make is not _part:
                    self.results.same.append((self.results.bases.get(id(self.builder.view_of(lender).cell)), tensor))
                found += [("const", True) if condition is None else ("output", self.results.add(condition, None)), row]
        return found

    def _check_known(self, cell: Any, tensor: Any) -> None:
        """Refuses a result that is a part of memory that others see, if it cannot be told which."""
        for link in self._links(cell):
            lender = self.builder.view_of(link.lender).cell
            if link.surely and not link.known and (lender.input is not None or self.users.get(id(lender), set()) - {id(tensor)}):
                check_known(link, link.location)
            self._check_known(lender, tensor)

    def _lenders(self, cell: Any, condition: Value | None, chain: Chain) -> Iterator[tuple[Value | None, Any, Chain]]:
        """What a storage is under a condition, and the way from there to where `chain` leads to."""
        for link in self._links(cell):
            if not link.known:
                continue
            here = condition if link.condition is None else link.condition
            if condition is not None and link.condition is not None:
                here = both(condition, link.condition)
            place = self.builder.view_of(link.lender)
            yield from self._lenders(place.cell, here, (*place.chain, *chain))
            if not (link.row_major and cell in self.copies and place.cell in self.direct):
                yield here, link.lender, chain

    def _links(self, cell: Cell) -> Sequence[Link]:
        return self.builder.aliases.links.get(cell, (None, ()))[1]

    def _copies(self, view: View) -> Iterator[tuple[Value | None, Any, Chain]]:
        """What is in row-major order all of the storage that a result lies on, and the way from there to the result."""
        for cell, whole in self.copies.items():
            for link in self._links(cell):
                place = self.builder.view_of(link.lender)
                if link.row_major and place.cell is view.cell:
                    yield link.condition, whole, (*_back(place.chain), *view.chain)

    def _row(self, lender: Any, chain: Chain, make: Callable[..., Any]) -> Row | None:
        """The row of a view of `lender`, which others see, too."""
        place, history = self.builder.view_of(lender), make is not _part
        whole, chain = self._whole(lender, place.cell, history), (*place.chain, *chain)
        if whole is None:
            return None
        row = self.results.concrete_row(whole) if place.cell.input is not None else self.results.own_row(whole)
        if not chain and (lender is whole or id(lender) in self.results.arguments.slots):
            return row
        steps: list[Row] = []
        for name, args in moves(chain):
            steps.append(("const", name))
            if name == "row":
                steps.append(("output", self.results.add(args[0], None)))
            else:
                steps.append(self.results.size_row(args))
        return ("make", make, [row, *steps])

    def _whole(self, lender: Any, cell: Any, history: bool) -> Any:
        """The tensor that is all of a storage which not only one result may lie on; None if there is none.

        With a history it must be a result itself: gradients of gradients go through the results alone.
        """
        if cell.input is not None:
            return self.builder.input_tensor(cell)
        known = self.wholes.get(id(cell), self.copies.get(cell))
        if known is not None:
            return known
        if history:
            return self.results.bases.get(id(cell)) if self.are_several(cell) else None
        base = self.builder.base_of(lender)
        place = self.builder.view_of(base)
        return base if not place.chain and place.cell is cell and self.are_several(cell) else None


def _back(chain: Chain) -> Iterator[Step]:
    """From all elements of a storage in another order to the storage."""
    for step in reversed(chain):
        dims = step.attrs.get("dims", ())
        attrs = {"dims": tuple(sorted(range(len(dims)), key=dims.__getitem__))} if dims else {}
        yield Step(step.op, attrs, step.after, step.before)


class _Placed(NamedTuple):
    """A part whose history is the call's, as that of the result that stands for it."""

    part: Any


def chosen(own: Any, *others: Any) -> Any:
    """`others`: conditions and tensors by turns; the first whose condition holds, else `own`."""
    for condition, other in zip(others[::2], others[1::2]):
        if condition if isinstance(condition, bool) else condition.item():
            if isinstance(other, _Placed):
                core.rebase(other.part, own)
                return other.part
            return other
    return own


def _part(tensor: Any, *way: Any, history: bool = False) -> Any:
    """The view that a way of moves, each with its arguments, leads to; None where a run that does not choose it has none."""
    before = core.set_grad_enabled(history)
    try:
        for name, args in zip(way[::2], way[1::2]):
            tensor = select(tensor, 0, args.item()) if name == "row" else down((name, args), tensor)
        return tensor
    except BoundsError:
        return None
    finally:
        core.set_grad_enabled(before)


def _part_with_history(tensor: Any, *way: Any) -> Any:
    made = _part(tensor, *way, history=True)
    return made if made is tensor else _Placed(made)


def _part_behind(tensor: Any, *way: Any) -> Any:
    """The same for a view that others have written since it was made: its place on the tape is that of its next use."""
    made = _part(tensor, *way, history=True)
    if made is not None:
        core.fall_behind(made)
    return made
