"""Branches on a tensor's value: both sides are captured, and each run takes one."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph._recorded import state
from duograph._stack import user_location
from duograph.errors import CaptureError, Error
from duograph.ir.builder import current
from duograph.ir.graph import Value
from duograph.ir.types import TensorType
from duograph.ops.tracing import to_bool, value_of, wrap

from ..memory.layouts import LayoutsOfSides
from ..memory.sharing import Join
from ..outside.host_calls import Diverged
from ..outside.outside_places import OutsidePlaces, with_places
from .branch_node import Branch
from .conditions import opposite
from .containers import Containers
from .control import UNBOUND, Thunk, Variables, held_by
from .masked import note_items, on_either_side
from .merge import Pairs, adopt, common_type, is_synthetic, leaves, rebuild, refuse, same, type_of
from .region_gradients import Written, with_gradients
from .regions import Region
from .sizes_of_sides import Room, Sizes

if TYPE_CHECKING:
    from ..builder import CaptureBuilder
    from ..memory.cells import Cell
    from ..outside.recorder import Recorder

ENDED = object()  # what a side gives that ends the run with an error
_WHERE = ("where the condition holds", "elsewhere")


def truth(tensor: Any) -> Value:
    """The truth of a tensor with one element, as `bool` takes it."""
    builder = current()
    value = builder.read(tensor)
    if value.type.size != 1:
        raise CaptureError(
            f"bool: a tensor of shape {tuple(tensor.shape)} has no single truth value",
            hint="use any() or all()",
            location=user_location(),
        )
    if value.shape:
        value = builder.read(wrap(value).reshape(()))
    return to_bool(value)


def negation(tensor: Any) -> Any:
    """`not` of a tensor: stands for a Python bool."""
    made = current().emit("logical_not", [truth(tensor)], {}, [TensorType(core.bool, (), weak=True)])
    return wrap(made[0])


class Outside:
    """What code in a region must leave alone: watched from the start of a region to its end."""

    def __init__(self, recorder: Recorder, gradients: bool = False, places: bool = False) -> None:
        self.recorder = recorder
        self.gradients = gradients  # may be written
        self.places = places  # likewise
        self.before = self._marks()
        self.requiring = len(recorder.requiring)

    def _marks(self) -> tuple[int, int, int, int]:
        recorder = self.recorder
        gradients = 0 if self.gradients else sum(kind == "write" for kind, _, _ in recorder.gradients_written)
        return len(recorder.calls), len(recorder.undo) - recorder.first, 0 if self.places else len(recorder.log), gradients

    def check(self, region: Region) -> None:
        """Refuse what would happen once, at capture, instead of when the branch or loop runs."""
        noted = self.recorder.requiring[self.requiring :]
        if any(tensor.requires_grad is not before for tensor, before in noted if not tensor.grad_fn):
            for tensor, before in reversed(noted):
                tensor.requires_grad_(before)
            raise CaptureError(
                "static: a branch or loop that a tensor's value steers changes requires_grad of a tensor from outside of it",
                hint="set it before, or where Python decides",
                location=user_location(),
            )
        gradients = any(alias.leaf.grad is not None for alias in region.aliases.values())
        if gradients or self._marks() != self.before:
            raise CaptureError(
                "static: a branch or loop that a tensor's value steers changes something outside of the function",
                hint="assign to a local variable inside and do this after it, or do it in a dg.host_callback",
                location=user_location(),
            )


def branch(
    recorder: Recorder,
    test: Any,
    then: Thunk,
    otherwise: Thunk,
    variables: Variables,
) -> None:
    """`if` on a tensor: the variables afterwards are what the side taken gives them."""
    predicate = truth(test)
    written = Written(recorder)
    outside = OutsidePlaces(recorder)
    given = variables
    before = variables.get()
    containers = Containers(recorder, (*variables.loads(), *before), variables)
    while True:
        choice = _Choice(recorder, predicate)
        found: list[Any] = []
        contents: list[list[Any]] = []
        more = False
        for run in (then, otherwise):
            try:
                with containers.hold(choice.builder):
                    found.append(choice.side(run, variables.get, writes=True))
                more |= written.new() | outside.new()
            finally:
                written.take_back()
                outside.take_back()
                given.set(before)
                contents.append(containers.take_back())
        if not more:
            break
        variables = with_gradients(with_places(given, outside), written, fixed=True)
    if ENDED in found:
        choice.go_on([after is ENDED for after in found], then, otherwise)
        return
    _, set_, names, live, _ = variables
    kept = [name for name in names if name in live]
    pairs = [tuple(after[names.index(name)] for after in found) for name in kept]
    changed = containers.changed(*contents)
    choice.pairs.held = [containers.held(side) for side in contents]
    for i in changed:
        first, second = contents[0][i], contents[1][i]
        pairs.append(on_either_side(choice.builder, choice.regions, containers.saved[i], first, second) or (first, second))
    results = choice.merge([*kept, *(containers.names[i] for i in changed)], pairs)
    containers.give([(i, value) for i, value in zip(changed, results[len(kept) :])])
    for value in results[len(kept) :]:
        note_items(choice.builder, value)
    merged = dict(zip(kept, results))
    set_(tuple(merged.get(name, UNBOUND) for name in names))
    for made, first, second in choice.pairs.assembled:
        choice.builder.chosen.note(made, (first, second), given)


def choose(recorder: Recorder, test: Any, then: Thunk, otherwise: Thunk) -> Any:
    """A conditional expression on a tensor. What its parts call may change things, as statements may."""
    held: list[Any] = [UNBOUND]
    branch(
        recorder,
        test,
        lambda: operator.setitem(held, 0, then()),
        lambda: operator.setitem(held, 0, otherwise()),
        held_by(held, "the expression", lambda: (then, otherwise)),
    )
    return held[0]


def check(recorder: Recorder, test: Any, message: Thunk | None) -> None:
    """`assert` on a tensor: a run that finds it false raises here."""

    def fail() -> None:
        raise AssertionError(*(() if message is None else (message(),)))

    _go_on_if(recorder, test, fail)


def must(test: Any, error: Exception) -> None:
    """A run that finds the test false raises this error here."""
    recorder: Any = state.recorder

    def fail() -> None:
        recorder.hosts.raises(error)
        raise Diverged

    _go_on_if(recorder, test, fail)


def _go_on_if(recorder: Recorder, test: Any, fail: Thunk) -> None:
    choice = _Choice(recorder, truth(test))
    for run in (lambda: None, fail):
        choice.side(run, lambda: None)
    choice.go_on([False, True], lambda: None, fail)


class _Choice:
    """Both sides of one branch."""

    def __init__(self, recorder: Recorder, predicate: Value) -> None:
        builder: Any = current()
        self.builder: CaptureBuilder = builder
        self.recorder = recorder
        self.predicate = predicate
        self.regions: list[Region] = []
        self.values: list[tuple[Any, Any]] = []  # of each result: what it is on both sides
        self.lenders: list[tuple[str, list[Cell]]] = []  # of each result: whose memory it is on one side
        self.sizes = Sizes(builder, predicate)
        self.pairs = Pairs()

    def side(self, run: Thunk, get: Thunk, writes: bool = False) -> Any:
        """Capture one side; gives the variables at its end, or ENDED if it raises."""
        region = Region(self.builder)
        self.regions.append(region)
        outside = Outside(self.recorder, gradients=writes, places=writes)
        with region.open():
            try:
                run()
                result = get()
            except (Error, NameError):
                raise
            except RecursionError:
                raise CaptureError(
                    "static: a function calls itself without end here: a tensor is to stop it, and both ways are captured",
                    hint="write it as a `while` loop over variables",
                    location=user_location(),
                ) from None
            except Exception as error:
                self.recorder.hosts.raises(error)
                result = ENDED
            outside.check(region)
        return result

    def go_on(self, ends: Sequence[bool], then: Thunk, otherwise: Thunk) -> None:
        """A side ends the run with an error of its own: what comes after the branch belongs to the other."""
        nodes = self.regions[0].nodes, self.regions[1].nodes
        for region, ended in zip(self.regions, ends):
            if not ended:  # it is run again as a part of what is around the branch
                region.nodes = []
        Branch(self.builder, self.predicate, self.regions, ([], [])).emit()
        for region, kept in zip(self.regions, nodes):
            region.nodes = kept
        if all(ends):
            raise Diverged
        (otherwise if ends[0] else then)()

    def merge(self, names: Sequence[str], pairs: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The variables after the branch."""
        outs: tuple[list[Any], list[Any]] = ([], [])
        plans: list[tuple[tuple[Any, Any], list[Any]]] = []  # per variable: both sides, and leaves (None: the next result)
        for name, (a, b) in zip(names, pairs):
            plans.append(self._plan(name, a, b, outs))
        join = None
        if self.builder.aliases.exact and outs[0]:
            join = Join(self.builder, self.predicate, self.regions, list(zip(*self.values)))
            self._check_resized(join, [row for _, kept in plans for row in kept])
        count = len(outs[0])
        layouts = LayoutsOfSides(self.builder, self.predicate, self.regions, self.sizes.mark)
        layout_flags = layouts.outs(self.values, [t.ndim for t in outs[0]])
        cells = self._cells(outs)
        ways = self.values[:count]
        for more in (layout_flags, *(() if join is None else (join.outs(),))):
            for out, found in zip(outs, more):
                out += found
        node = Branch(self.builder, self.predicate, self.regions, outs)
        made = node.emit() if outs[0] or node.acts() else []
        runs = (lambda: self.predicate), (lambda: opposite(self.predicate))
        self.builder.first_reads.ran(zip(self.regions, runs))
        for tensor, (path, _), sides in zip(made, self.lenders, ways):
            self.builder.kinds.note(tensor, path, sides)
            self.builder.several.note(tensor, path, sides)
            for region, side in zip(self.regions, sides):
                self.builder.versions.hand_on(region, side, tensor)
        sharing = layouts.take(made[count + len(cells) :])
        results = iter(made)
        numbers = itertools.count()
        merged = []
        for like, kept in plans:
            queue = iter(kept)

            def take(queue: Any = queue) -> Any:
                row = next(queue)
                if row is None:
                    return layouts.bind(next(numbers), next(results))
                if not isinstance(row, Room):
                    return row[0]
                (number, room), *given = [(next(numbers), next(results)) for _ in (row, *row.inside)]
                return layouts.bind(number, self.sizes.cut(room, row, [t for _, t in given]))

            merged.append(rebuild(like[0], take) if like[1] is None else self.pairs.rebuild(*like, take))
        for cell in cells:
            self.builder.note_cell(cell)
            before, cell.value = cell.version, self.builder.read(next(results))
            cell.changed()
            self.builder.versions.merged(self.regions, cell, before)
        if join is not None:
            join.bind(made[:count], sharing)
            return merged
        borrowed = self.builder.borrowed
        for tensor, (path, lenders) in zip(made, self.lenders):
            borrowed.note(tensor, path, lenders)
        for region, values in zip(self.regions, outs):
            borrowed.note_together(region, values, [(path, t) for t, (path, _) in zip(made, self.lenders)])
        return merged

    def _check_resized(self, join: Join, rows: Sequence[Any]) -> None:
        """A result of either size is memory of its own: refuse one that would have to be followed."""
        number = 0
        for row in rows:
            if isinstance(row, Room) and join.conditions[number]:
                first, second = zip(_WHERE, self.values[number])
                what = "is of another size on either side of a branch that a tensor's value decides, and shares memory"
                raise refuse(self.lenders[number][0], what, first, second, "add .clone() on both sides")
            if row is None or isinstance(row, Room):
                number += 1 + (0 if row is None else len(row.inside))

    def _plan(self, name: str, a: Any, b: Any, outs: tuple[list[Any], list[Any]]) -> tuple[tuple[Any, Any], list[Any]]:
        hidden = [side is UNBOUND for side in (a, b)]
        if all(hidden):
            return (None, None), [(UNBOUND,)]
        if any(hidden):
            if not is_synthetic(name):
                hint = f"assign {name} before the branch, or on both sides of it"
                raise refuse(name, "is assigned on one side of a branch only", (_WHERE[0], a), (_WHERE[1], b), hint)
            whole = (b if hidden[0] else a, None)
            rows = [(leaf, leaf) for leaf in leaves(whole[0], name)]
            rows = [(None if hidden[0] else x, None if hidden[1] else y) for x, y in rows]  # type: ignore[misc]
        else:
            if not self.pairs.alike(a, b):
                raise refuse(name, "is built differently on the two sides of a branch", (_WHERE[0], a), (_WHERE[1], b), "")
            whole = (a, b)
            rows = self.pairs.leaves(a, b, name)
        kept = [self._leaf(name, x, y, outs) for x, y in rows]
        return whole, kept

    def _leaf(self, name: str, x: Any, y: Any, outs: tuple[list[Any], list[Any]]) -> Any:
        """(its value,) of a leaf that is no result of the branch; else its Room, or None if it needs none."""
        path = (x or y).path
        values = [UNBOUND if leaf is None else leaf.value for leaf in (x, y)]
        if same(*values):
            return (values[0],)
        form = self._form(path, values)
        self._note(path, values)
        for region, value, out in zip(self.regions, values, outs):
            with region.open(at_end=True):
                out.append(self.sizes.fill(value, form) if isinstance(form, Room) else adopt(value, form))
        if not isinstance(form, Room):
            return None
        for dim in form.inside:
            counts = []
            for region, size, out in zip(self.regions, (form.first[dim], form.second[dim]), outs):
                with region.open(at_end=True):
                    counts.append(wrap(value_of(size)))
                    out.append(counts[-1])
            self._note(path, counts)
        return form

    def _note(self, path: str, values: Sequence[Any]) -> None:
        """One more result: what it is on both sides, and whose memory."""
        self.values.append((values[0], values[1]))
        borrowed = self.builder.borrowed
        lenders = [c for region, value in zip(self.regions, values) for c in borrowed.lenders(region, (value,))]
        self.lenders.append((path, lenders))

    def _form(self, path: str, values: Sequence[Any]) -> TensorType | Room:
        """What both sides can give: one type, or room for the sizes of either."""
        with self.regions[0].open(at_end=True):
            first = type_of(values[0])
        with self.regions[1].open(at_end=True):
            second = type_of(values[1])
        form: TensorType | Room | None = first if values[1] is UNBOUND else second if values[0] is UNBOUND else None
        if form is None and first is not None and second is not None:
            form = common_type(first, second) or self.sizes.room(first, second)
            if form is None:
                self.builder.call_sizes.must_be_equal(first.shape, second.shape)
        if form is not None:
            return form
        hint = (
            "make both sides give the same dtype and shape"
            if first and second
            else "let Python decide it, or compute it with where"
        )
        what = "differs between the two sides of a branch that a tensor's value decides"
        raise refuse(path, what, (_WHERE[0], values[0]), (_WHERE[1], values[1]), hint)

    def _cells(self, outs: tuple[list[Any], list[Any]]) -> list[Cell]:
        """Storages that either side wrote: their contents are results too."""
        written: dict[int, Cell] = {}
        for region in self.regions:
            for key, (cell, _) in region.written.items():
                written.setdefault(key, cell)
        for key, cell in written.items():
            for region, out in zip(self.regions, outs):
                out.append(wrap(region.written[key][1] if key in region.written else cell.value))
        return list(written.values())
