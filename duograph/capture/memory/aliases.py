"""Tensors that are other tensors' memory on some ways through a branch or loop.

What a branch or loop gives back is a storage of its own, *linked* to each tensor it may really be: a condition, known when
the program runs, and that tensor. A write reaches, under the condition, the linked tensor too; a read looks, under the
condition, what it holds now. Storages made inside that several results lie on come out as results themselves, and so do
conditions. A program is captured in this way once a write and a read were found to make a difference (see `borrowed`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from duograph import _core as core
from duograph._stack import user_location
from duograph.errors import CaptureError
from duograph.ir.builder import current
from duograph.ir.graph import Value
from duograph.ops.tracing import as_user, in_operator, wrap

from ..control.conditions import both, either, opposite
from ..values.sizes import Unsettled
from .cells import Cell, Step
from .histories import Move, down, moves, shortened, view_written
from .in_order import Pair, Shared

if TYPE_CHECKING:
    from ..builder import CaptureBuilder
    from ..control.regions import Region

Key = tuple[int, tuple[Move, ...] | None]
ROW: Move = ("row", ())  # of a way: a row whose position is one of `Place.positions`


Way = tuple[tuple[Move, ...], tuple[Value, ...]]  # moves, and the positions of rows among them that only a region knows


class Place(NamedTuple):
    """Memory that a tensor may lie on: a part of `base`, a tensor from outside of a region or a storage made in it."""

    condition: Value | None  # None: always
    base: Any
    moves: tuple[Move, ...] | None  # None: a part that is not known any more
    root: Any  # a tensor that is all of the storage
    positions: tuple[Value, ...] = ()  # of the rows on the way that only the region knows
    itself: Any = None  # a view from outside that the tensor is, where the order of gradients' sums matters

    @property
    def key(self) -> Key:
        return id(self.base), self.moves


class Link:
    """A tensor that another one is, under a condition."""

    __slots__ = ("condition", "known", "lender", "location", "place", "row_major", "seen", "surely")

    def __init__(self, condition: Value | None, lender: Any, seen: int, known: bool) -> None:
        self.condition = condition
        self.lender = lender
        self.known = known  # else the tensor is a part of it that cannot be told any more
        self.seen = seen  # the version of the lender's storage that is known
        self.location = None if known else user_location()
        self.place: Any = None  # the lender, if the tensor is that one on the tape, too
        self.surely = known  # it is a part of it, known or not
        self.row_major = False  # all of the lender's storage, in row-major order in the tensor's shape


def written() -> None:
    """Hook of the core: an in-place operator ends, and its place on the tape is known."""
    builder: Any = current()
    if not in_operator():
        builder.aliases.flush()


class Aliases:
    """The links of a capture."""

    def __init__(self, builder: CaptureBuilder) -> None:
        self.builder = builder
        self.exact = False
        self.shared = Shared(builder)
        self.links: dict[Cell, tuple[Any, list[Link]]] = {}
        self.covered: set[Cell] = set()  # storages that always are others
        self.written: list[Cell] = []
        self.leading: list[Cell] = []  # what was written, and others follow
        self.partly: dict[int, tuple[int, Value]] = {}  # versions of storages: the one before, and when there was a write

    # ---- reads and writes

    def sync(self, cell: Cell, read: bool = True) -> None:
        """The storage holds what the tensors that it may be hold now; `read`: it is needed."""
        found = self.links.get(cell)
        if found is None or cell in self.leading:
            return
        owner, links = found
        stale = []
        for link in links:
            lender = self.builder.view_of(link.lender).cell
            self.sync(lender)
            if lender.version != link.seen and (read or link.known):
                check_known(link)
                self._see(cell, link)
                stale.append(link)
        if not stale:
            return
        old = core.set_grad_enabled(True)
        try:
            for link in stale:
                self._choose(link.condition, link.lender, owner, owner)
        finally:
            core.set_grad_enabled(old)

    def sync_all(self, region: Region | None = None) -> None:
        """The same for all storages that are there at this place of the program, or those made in a region."""
        for cell in list(self.links):
            if region.holds(cell.born) if region is not None else self._is_there(cell):
                self.sync(cell, False)

    def note(self, cell: Cell) -> None:
        """The storage was written: those that it may be, too, when the operator is done."""
        if cell in self.links:
            self.written.append(cell)

    def flush(self) -> None:
        while self.written:
            self._push(self.written.pop(0))

    def _push(self, cell: Cell) -> None:
        owner, links = self.links[cell]
        self.leading.append(cell)
        for link in links:
            lender = link.lender
            check_known(link)
            _check_leaf(self.builder.base_of(lender))
            self.sync(self.builder.view_of(lender).cell)
            self._choose(link.condition, owner, lender, lender)
            target = self.builder.view_of(lender).cell
            if target in self.links:
                self._push(target)
        for link in links:
            self._see(cell, link)
        self.leading.remove(cell)

    def _see(self, cell: Cell, link: Link) -> None:
        regions = self.builder.regions
        if regions and not regions[-1].holds(cell.born):
            regions[-1].note_link(link)
        link.seen = self.builder.view_of(link.lender).cell.version

    def written_since(self, cell: Cell, version: int) -> Any:
        """Whether a storage was written since it had a version: True, False or a condition."""
        found: Any = False
        now = cell.version
        while now != version:
            if now not in self.partly:
                return True
            now, condition = self.partly[now]
            found = either(found, condition)
        return found

    def _choose(self, condition: Value | None, a: Any, b: Any, target: Any) -> None:
        """The target holds `a` from now on where the condition holds, else `b`, and has its history."""
        cell = self.builder.view_of(target).cell
        before = cell.version
        self._store(target, a if condition is None else self.shared.chosen(condition, a, b))
        if condition is not None and cell is self.builder.view_of(target).cell:
            self.partly[cell.version] = before, condition

    def _store(self, target: Any, value: Any) -> None:
        """The tensor holds a value from now on, and has its history."""
        with as_user():
            if self.builder.regions:
                self.builder.regions[-1].check_write(target, value)
            if target._traced is None:
                self.builder.prepare_write(target)
            self.builder.keep_history(self.builder.base_of(target))
            self.builder.view_of(target).write(self.builder, self.builder.read(value))
            if not core.is_grad_enabled() or not (value.requires_grad or target.requires_grad):
                return
            if self.builder.base_of(target) is not target:
                view_written(target, value)
            else:
                core.rebase(target, value)

    def _is_there(self, cell: Cell) -> bool:
        value = cell.born
        inside = value in self.builder.inside or value.node in self.builder.inside
        return not inside or any(region.holds(value) for region in self.builder.regions)

    # ---- where tensors lie

    def bind(self, tensor: Any, places: Sequence[Place], own: bool) -> list[Pair]:
        """A new tensor is one of these, or, if `own`, perhaps none; those that it is as a whole."""
        links = []
        for place in places:
            lender = place.base
            positions = iter(place.positions)
            with as_user():
                if place.itself is not None:
                    lender = place.itself
                    self.builder.read(lender)  # it has the history that its memory has now
                for move in place.moves or () if lender is place.base else ():
                    lender = down(("row", (next(positions),)) if move == ROW else move, lender)
            cell, known = self.builder.view_of(place.base).cell, place.moves is not None
            if self.builder.view_of(lender).cell is not cell:
                if not (self.builder.regions and place.base.requires_grad):
                    raise CaptureError(
                        "static: a variable is a part of another tensor on some ways through a branch or loop, in a layout "
                        "that is not known at capture",
                        hint="make it a copy: add .clone()",
                        location=user_location(),
                    )
                lender, known = place.base, False  # a part of the leaf that stands for it here, where it is not written
            links.append(Link(place.condition, lender, cell.version, known))
            if place.moves == () or (known and place.itself is lender):
                links[-1].place = lender
        cell = self.builder.view_of(tensor).cell
        if not own:
            self.covered.add(cell)
        if links:
            self.links[cell] = (tensor, links)
            core.set_following(True)
        if not self.shared.on():
            return []
        return [(link.condition, link.place) for link in links if link.place is not None]

    def stands_for(self, tensor: Any, other: Any) -> None:
        """Another tensor is what the program has in the place of one that was bound."""
        cell = self.builder.view_of(tensor).cell
        if other is not tensor and cell in self.links:
            self.links[cell] = (other, self.links[cell][1])

    def lend(self, tensor: Any, lenders: Sequence[Any], surely: bool = False) -> None:
        """Parts of the tensor may be (`surely`: are) what some of the others are, or parts of them: it cannot be told which."""
        own = self.builder.view_of(tensor).cell
        lenders = [lender for lender in lenders if self.builder.view_of(lender).cell is not own]
        if not lenders:
            return
        if self.exact:
            self.bind(tensor, [Place(None, lender, None, None) for lender in lenders], True)
            for link in self.links[self.builder.view_of(tensor).cell][1]:
                link.surely = surely
        else:
            inside = self.builder.regions[-1:]
            cells = [self.storage(inside[0], t)[0] if inside else self.builder.view_of(t).cell for t in lenders]
            self.builder.borrowed.note(tensor, "an item of a list", cells)

    def storage(self, region: Region, tensor: Any) -> tuple[Cell, Any]:
        """The storage of a tensor of the region, and a tensor that it is, or is a view of."""
        view = self.builder.view_of(tensor)
        base = self.builder.base_of(tensor)
        if not region.holds(view.cell.born):
            base = region.from_outside(base)
        return self.builder.view_of(base).cell, base

    def are_items(self, stack: Any) -> None:
        """The rows of a tensor are items of a list: what parts of it may be, they are."""
        for link in self.links.get(self.builder.view_of(stack).cell, (None, []))[1]:
            link.surely = True

    def inherit(self, tensor: Any, other: Any) -> None:
        """Parts of the tensor may be what parts of the other may be; the other itself is out of use."""
        cell = self.builder.view_of(other).cell
        if self.exact:
            links = self.links.get(cell, (None, []))[1]
            self.lend(tensor, [link.lender for link in links], all(link.surely for link in links))
            for mine, link in zip(self.links.get(self.builder.view_of(tensor).cell, (None, []))[1], links):
                mine.location = link.location or mine.location
        else:
            cells = [lender for lender, _ in self.builder.borrowed.known.get(cell, ("", []))[1]]
            self.builder.borrowed.note(tensor, "an item of a list", cells)

    def beneath(self, region: Region, tensor: Any) -> dict[Cell, Any]:
        """The storages on which a tensor of the region may lie, with a tensor on each of those from outside."""
        cell, root = self.storage(region, tensor)
        found, queue = {cell: root}, [cell]
        while queue:
            cell = queue.pop()
            for link in self.links.get(cell, (None, []))[1]:
                lender, root = self.storage(region, link.lender)
                if lender not in found:
                    found[lender] = root
                    queue.append(lender)
            for lender, _ in self.builder.borrowed.known.get(cell, ("", []))[1]:
                if lender not in found:
                    found[lender] = None if region.holds(lender.born) else self._outside(lender)
                    queue.append(lender)
        return found

    def places(
        self, region: Region, tensor: Any, condition: Value | None = None, after: Way | None = ((), ())
    ) -> Iterator[Place]:
        """Memory that a tensor of the (open) region may lie on; the last is memory made in the region, if any is."""
        view = self.builder.view_of(tensor)
        base = self.builder.base_of(tensor)
        if not region.holds(view.cell.born):
            base = region.from_outside(base)
            if base is None or (base._traced is not None and region.holds(base._traced)):
                base, way = self._outside(view.cell), _way(region, view.chain, after)
            else:
                way = _way(region, view.chain[len(self.builder.view_of(base).chain) :], after)
            itself = None
            if self.shared.on() and after == ((), ()) and tensor is not base:
                outer = region.from_outside(tensor)
                itself = outer if outer is not None and outer._traced is not None and not region.holds(outer._traced) else None
            yield Place(condition, base, *_parts(way, None), itself=itself)
            return
        way = _way(region, view.chain, after)
        links = self.links.get(view.cell, (None, []))[1]
        for link in links:
            yield from self.places(region, link.lender, _joint(condition, link.condition), way if link.known else None)
        if view.cell in self.covered:
            return
        for link in links:
            if link.known and link.condition is not None:  # then it is that one, and not memory of its own
                condition = _joint(condition, opposite(link.condition))
        whole = base if not self.builder.view_of(base).chain and self.builder.view_of(base).cell is view.cell else None
        yield Place(condition, view.cell, *_parts(way, whole))

    def _outside(self, cell: Cell) -> Any:
        """A tensor without history on a storage from outside of all regions."""
        return wrap(self.builder.handle_on(cell))


def _way(region: Region, chain: Sequence[Step], after: Way | None) -> Way | None:
    """The way along a chain of views and further; None if it cannot be told."""
    if after is None:
        return None
    way: list[Move] = []
    positions: list[Value] = []
    for name, args in moves(tuple(chain)):
        inside = name == "row" and region.holds(args[0])
        positions += args if inside else ()
        way.append(ROW if inside else (name, args))
    return shortened((*way, *after[0])), (*positions, *after[1])


def _parts(way: Way | None, root: Any) -> tuple[Any, Any, tuple[Value, ...]]:
    return (None, root, ()) if way is None else (way[0], root, way[1])


def check_known(link: Link, location: Any = None) -> None:
    """Refuses what needs to know which part of another tensor a tensor is; in numbers of the call it may be known."""
    if not link.known:
        builder: Any = current()
        lengths = [size for size in builder.read(link.lender).shape[:1] if not isinstance(size, int)]
        if lengths and builder.call_sizes.knows(*lengths):
            builder.call_sizes.pin_symbols(*lengths)
            raise Unsettled("which item of a list a tensor is must be known")
        raise CaptureError(
            "static: a variable or an item of a list is a part of another tensor, or one of several, that a loop or "
            "branch chose, and after it one of them is written in place and the other read, or both are results",
            hint="make it a copy where it is chosen: add .clone()",
            location=location or user_location(),
        )


def _joint(a: Value | None, b: Value | None) -> Value | None:
    return a if b is None else b if a is None else both(a, b)


def _check_leaf(base: Any) -> None:
    """As in dynamic mode, where the condition holds, a leaf of the tape must not be written."""
    if core.is_grad_enabled() and base.requires_grad and base.is_leaf:
        raise CaptureError(
            "static: a variable that is, on one way through a branch or loop, a tensor that requires grad is written in place",
            hint="make it a copy before: add .clone()",
            location=user_location(),
        )
