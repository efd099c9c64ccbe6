"""In which order the elements of tensors lie in memory, where branches and loops decide it.

In dynamic mode `contiguous` gives a tensor itself if its elements lie in row-major order, and `reshape` a view if one can
show it. What a branch or loop gives back has a layout for each way it may have come. Most programs never ask for it; once
the answer to a question depends on the way, the capture is made again with conditions for each layout. A copy that is, on some
ways, the tensor itself is then followed like any tensor that may be another (see `aliases`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.ir.graph import Value
from duograph.ir.types import TensorType
from duograph.ops.shapes.copying import contiguous as contiguous_copy
from duograph.ops.tracing import wrap

from ..control.conditions import either, flag, opposite
from ..control.control import UNBOUND
from .aliases import Place
from .cells import Layout, Step, View, contiguous, strides_after, view_layout
from .joined import Care, LookAgain

if TYPE_CHECKING:
    from ..builder import CaptureBuilder
    from ..control.regions import Region

Strides = tuple[Any, ...]
Kind = Strides | None  # of one way; None: row-major order, whatever the sizes are
Kinds = dict[Kind, Any]  # with the condition under which it is so
GAPS: Strides = ("gaps",)  # strides that only a side or turn knows


class LayoutMatters(LookAgain):
    """What the program does depends on which layout a tensor has."""

    def care(self, before: Care) -> Care:
        return before._replace(layouts=True)


class Layouts:
    """The layouts of a capture's tensors."""

    def __init__(self, builder: CaptureBuilder, followed: bool) -> None:
        self.builder = builder
        self.followed = followed
        self.retired: set[Value | None] = set()  # handles of tensors that became views of themselves
        self.asked = 0  # so many questions depended on a layout
        self.copied: dict[Value, Any] = {}  # what operators of views gave, and where it is one: elsewhere dynamic mode copies

    def row_major(self, tensor: Any) -> Any:
        """Whether the tensor's elements lie in row-major order: True, False or a condition."""
        view = self.builder.views.get(tensor._traced)
        if view is None:
            return True
        shape = view.value.type.shape
        return self._where(view.layouts, [self._is_row_major(shape, strides) for strides, _ in view.layouts])

    def place(self, tensor: Any) -> tuple[Any, Strides] | None:
        """Offset and strides of a tensor as numbers, which are guards then; None where only the run knows them."""
        view, sizes = self.builder.view_of(tensor), self.builder.call_sizes
        strides = view.strides
        if len(view.layouts) > 1 or strides == GAPS or not sizes.knows(*strides):
            return None
        found = None if view.cell.input is not None else view_layout(view.chain, 0, view.cell.root.strides)
        offset = found[0] if found is not None and sizes.knows(found[0]) else None
        return None if offset is None else sizes.number(offset), tuple(map(sizes.number, strides))

    def copy(self, made: Any, tensor: Any, condition: Any) -> Any:
        """`made`, a copy of the tensor, which in dynamic mode is the tensor itself where the condition holds."""
        builder = self.builder
        if not builder.aliases.exact:
            builder.borrowed.note(made, "a tensor made contiguous", [builder.view_of(tensor).cell])
            return made
        pairs = builder.aliases.bind(made, [Place(condition, tensor, (), None)], True)
        view = builder.view_of(tensor)
        for link in builder.aliases.links[builder.view_of(made).cell][1]:
            link.row_major = all(step.op in ("permute", "reshape") for step in view.chain)
        if pairs:
            here = builder.regions[-1].localize(tensor) if builder.regions else tensor
            core.rebase(made, builder.aliases.shared.follow(made, [(c, here) for c, _ in pairs]))
        return made

    def view(self, handle: Value, base: View, steps: Sequence[Step], value: Value) -> None:
        """Note what dynamic mode makes of a view of `base`: a view, a copy, or the one or the other on different ways."""
        layouts, copied = [], []
        for strides, condition in base.layouts:
            is_copy = False
            for step in steps:
                after = strides_after(step, strides)
                is_copy |= after is None
                strides = contiguous(step.after.shape) if after is None else after
            layouts.append(Layout(strides, condition))
            copied.append(is_copy)
        if all(copied):
            self.copied[handle] = False
            return
        made = self.builder.views[handle] = View(base.cell, (*base.chain, *steps), value, ())
        made.layouts = tuple(layouts)
        if any(copied):
            self.copied[handle] = self._where(layouts, [not is_copy for is_copy in copied])

    def made(self, tensor: Any) -> Any:
        """What a reshaping operator made as a view: on ways on which dynamic mode copies a tensor of its own."""
        is_view = self.copied.pop(tensor._traced, True)
        if is_view is True:
            return tensor
        if is_view is False:  # the same tensor, without a base
            made = wrap(tensor._traced)
            if tensor.requires_grad:
                core.rebase(made, tensor)
            return made
        layouts = self.builder.views[tensor._traced].layouts
        made = self.copy(contiguous_copy(tensor), tensor, is_view)
        self.builder.view_of(made).layouts = layouts
        return made

    def _where(self, layouts: Sequence[Layout], found: Sequence[bool]) -> Any:
        """Where what was found of each layout holds: True, False or a condition."""
        self.asked += 1
        if len(set(found)) == 1:
            return found[0]
        if not self.followed:
            raise LayoutMatters("static: what the program does depends on the layout of a tensor that only the run knows")
        made: Any = False
        for layout, yes in zip(layouts, found):
            made = either(made, layout.condition) if yes else made
        return made

    def _is_row_major(self, shape: Strides, strides: Strides) -> bool:
        wanted = contiguous(shape)
        if strides == wanted or 0 in shape:
            return True
        return all(self._equal(n, 1) or self._equal(a, b) for n, a, b in zip(shape, strides, wanted))

    def _equal(self, a: Any, b: Any) -> bool:
        """Whether sizes are the same in this call, which is a guard then; if only the run knows them, as they are written."""
        sizes = self.builder.call_sizes
        return a == b or (sizes.knows(a, b) and sizes.number(a) == sizes.number(b))

    # ---- of the results of branches and loops

    def of(self, value: Any, rank: int, mark: Any) -> Kinds:
        """The layouts that a variable of this rank may have, in sizes known at `mark`, each with its condition."""
        if value is UNBOUND:
            return {}
        if not isinstance(value, core.Tensor) or value.ndim != rank or rank == 0:
            return {None: True}
        view = self.builder.view_of(value)
        found: Kinds = {}
        for strides, condition in view.layouts:
            kind = _kind(view.value.type.shape, strides)
            kind = kind if all(self.builder.known_before(step, mark) for step in kind or ()) else GAPS
            found[kind] = either(found.get(kind, False), condition)
        return found

    def give(self, tensor: Any, kinds: Kinds) -> None:
        """The tensor has one of these layouts."""
        if not kinds or kinds.keys() == {None}:
            return
        view = self.builder.view_of(tensor)
        shape = view.value.type.shape
        view.layouts = tuple(Layout(_strides(shape, kind), condition) for kind, condition in kinds.items())


def _kind(shape: Strides, strides: Strides) -> Kind:
    wanted = contiguous(shape)
    same = 0 in shape or all(n == 1 or a == b for n, a, b in zip(shape, strides, wanted))
    return None if same else tuple(b if n == 1 else a for n, a, b in zip(shape, strides, wanted))


def _strides(shape: Strides, kind: Kind) -> Strides:
    wanted = contiguous(shape)
    if kind == GAPS:  # no two dimensions lie like one
        return tuple(step * 3 ** (len(shape) - dim) for dim, step in enumerate(wanted))
    return wanted if kind is None else kind


class LayoutsOfSides:
    """The layouts of a branch's results."""

    def __init__(self, builder: CaptureBuilder, predicate: Value, regions: Sequence[Region], mark: Any) -> None:
        """`mark`: of the sizes that were there before the branch."""
        self.layouts, self.builder = builder.layouts, builder
        self.predicate = predicate
        self.regions = regions
        self.mark = mark
        self.found: list[dict[Kind, list[Any]]] = []  # of each result: the conditions on both sides
        self.flags: dict[tuple[int, Kind], Any] = {}  # those that come out as results

    def outs(self, ways: Sequence[Sequence[Any]], ranks: Sequence[int]) -> tuple[list[Any], list[Any]]:
        """Further results; `ways`: of each result what it is on both sides."""
        made: tuple[list[Any], list[Any]] = ([], [])
        for number, (sides, rank) in enumerate(zip(ways, ranks)):
            found: dict[Kind, list[Any]] = {}
            for i, (region, value) in enumerate(zip(self.regions, sides)):
                with region.open(at_end=True):
                    for kind, condition in self.layouts.of(value, rank, self.mark).items():
                        found.setdefault(kind, [False, False])[i] = condition
            self.found.append(found)
            if len(found) < 2 or not self.layouts.followed:
                continue
            for kind, pair in found.items():
                if any(isinstance(condition, Value) for condition in pair):
                    self.flags[number, kind] = None
                    for region, condition, out in zip(self.regions, pair, made):
                        with region.open(at_end=True):
                            out.append(flag(condition))
        return made

    def take(self, more: Sequence[Any]) -> Sequence[Any]:
        """What became of `outs`; gives the rest."""
        self.flags = {where: self.builder.read(made) for where, made in zip(self.flags, more)}
        return more[len(self.flags) :]

    def bind(self, number: int, tensor: Any) -> Any:
        """A result of the branch."""
        kinds = {kind: self._condition(number, kind, pair) for kind, pair in self.found[number].items()}
        self.layouts.give(tensor, kinds)
        return tensor

    def _condition(self, number: int, kind: Kind, pair: Sequence[Any]) -> Any:
        if len(self.found[number]) < 2 or not self.layouts.followed:
            return True
        if (number, kind) in self.flags:
            return self.flags[number, kind]
        return self.predicate if pair == [True, False] else opposite(self.predicate) if pair == [False, True] else True


class LayoutsOfTurns:
    """The layouts that a loop's variables have at the start of its turns."""

    def __init__(self, builder: CaptureBuilder) -> None:
        self.layouts, self.builder = builder.layouts, builder
        self.mark = builder.late_mark()
        self.known: dict[str, dict[Kind, None]] = {}  # of each variable
        self.flags: dict[tuple[str, Kind], Any] = {}  # inputs of the region
        self.asked = 0
        self.after: dict[str, Kinds] = {}

    def begin(self, region: Region, tensors: Mapping[str, Any], initial: Mapping[str, Any]) -> list[Value]:
        """The variables of a turn have the layouts that are known; conditions as further inputs of the region."""
        self.before = {path: self.layouts.of(initial[path], tensor.ndim, self.mark) for path, tensor in tensors.items()}
        for path, kinds in self.before.items():
            self.known.setdefault(path, {}).update(dict.fromkeys(kinds))
        several = [(path, kind) for path in tensors for kind in self.known[path] if len(self.known[path]) > 1]
        followed = several if self.layouts.followed else []
        self.flags = {where: region.input(TensorType(core.bool), f"the layout of {where[0]}") for where in followed}
        self._give(tensors)
        self.asked = self.layouts.asked
        return list(self.flags.values())

    def look(self, tensors: Mapping[str, Any], after: Callable[[str], Any]) -> bool:
        """Whether a turn, which asked for layouts, gives variables further ones."""
        self.after = {path: self.layouts.of(after(path), tensor.ndim, self.mark) for path, tensor in tensors.items()}
        new = [(path, kind) for path, kinds in self.after.items() for kind in kinds if kind not in self.known[path]]
        for path, kind in new:
            self.known[path][kind] = None
        return bool(new) and (self.layouts.followed or self.asked != self.layouts.asked)

    def outs(self) -> list[Any]:
        """The conditions at the end of a turn."""
        return [flag(self.after[path].get(kind, False)) for path, kind in self.flags]

    def initial(self) -> list[Any]:
        """The conditions before the loop."""
        return [flag(self.before[path].get(kind, False)) for path, kind in self.flags]

    def finish(self, results: Mapping[str, Any], more: Sequence[Any]) -> None:
        """After the loop; `more`: what became of the conditions."""
        self.flags = {where: self.builder.read(made) for where, made in zip(self.flags, more)}
        self._give(results)

    def _give(self, tensors: Mapping[str, Any]) -> None:
        for path, tensor in tensors.items():
            self.layouts.give(tensor, {kind: self.flags.get((path, kind), True) for kind in self.known[path]})
