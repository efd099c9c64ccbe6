"""A loop on its way to a graph node: the body is captured once, on tensors that stand for the variables of any turn."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph._stack import user_location
from duograph.errors import CaptureError, Error
from duograph.ir.builder import current
from duograph.ir.effects import has_effects
from duograph.ir.graph import Value
from duograph.ir.late import makes
from duograph.ops.tracing import wrap

from ..memory.layouts import LayoutsOfTurns
from ..memory.one_another import OneAnother
from ..memory.sharing import Turns
from ..outside.outside_places import OutsidePlaces, with_places
from ..outside.recorder import Recorder
from .branches import Outside, truth
from .changing_sizes import Carried, ChangingSizes
from .containers import Containers, same_items
from .control import UNBOUND, Thunk, Variables, decides, deciding
from .growing import Rows, extend, tensors_of
from .handed_boxes import COUNTER, inner_sizes
from .loop_node import Loop
from .loop_state import FirstTurnDiffers, LoopState, NotALoop, TestActs
from .merge import common_type, is_number, is_synthetic, leaves, rebuild, refuse, same, same_structure, type_of
from .region_gradients import Written, check_asked, with_gradients
from .regions import Region
from .sequences import Sequence_

if TYPE_CHECKING:
    from ..builder import CaptureBuilder
    from ..memory.cells import Cell

_TRIES = 8
_HINT = "give it the same dtype and shape before the loop and at the end of its body"


class EndsAtOnce(Exception):
    """The body of a loop raises in its first turn."""


class LoopCapture:
    """One loop on its way to a node."""

    def __init__(
        self,
        recorder: Recorder,
        variables: Variables,
    ) -> None:
        builder: Any = current()
        self.builder: CaptureBuilder = builder
        self.recorder = recorder
        self.given = variables
        self.written = Written(recorder)
        self.outside = OutsidePlaces(recorder)
        self._take(variables)
        self.carried: dict[str, Carried] = {}
        self.cells: dict[int, Cell] = {}
        self.containers = Containers(recorder, (*variables.loads(), *self.before), variables)
        self.state = LoopState(self.containers)
        self.lenders: list[tuple[list[Any], list[str]]] = []
        self.mark = recorder.mark()
        self.uncertain = dict(builder.borrowed.uncertain)
        self.may_unroll = False
        self.sizes_stay = False  # those of variables, from turn to turn
        self.steered = False  # a tensor decides whether there is another turn
        self.sequence: Sequence_ | None = None
        self.structures: dict[str, Any] = {}  # of variables that get their first value in the loop
        self.flowing: set[str] = set()  # leaves through which gradients flow
        self.after: dict[str, Any] = {}  # the variables at the end of a turn ...
        self.starts: dict[str, Any] = {}  # ... and at its start
        self.turns = Turns(builder) if builder.aliases.exact else None
        self.one_another = OneAnother(builder)
        self.layouts = LayoutsOfTurns(builder)

    def give_up(self) -> None:
        """All is as before the loop, outside of the function too."""
        self.recorder.back_to(self.mark)
        self.builder.borrowed.uncertain = dict(self.uncertain)
        self.reset()

    def reset(self) -> None:
        """Variables, gradients and containers are as before the loop."""
        self.written.take_back()
        self.outside.take_back()
        self.given.set(self.before[: len(self.given.names)])
        self.containers.take_back()

    def _take(self, variables: Variables) -> None:
        self.get, self.set, self.names = variables.get, variables.set, variables.names
        self.kept = [name for name in variables.names if name in variables.live]
        self.before = variables.get()

    def run(self, sequence: Sequence_ | None, body: Callable[[Any], None], test: Thunk | None, stop: Thunk | None) -> None:
        self.sequence = sequence
        for _ in range(_TRIES):
            loop = self._attempt(body, test, stop)
            if loop is not None:
                self.reset()
                self._finish(loop)
                return
            self.give_up()
        parts = [path for path, c in self.carried.items() if c.changing] if self.turns is not None else []
        if parts:
            raise CaptureError(
                f"static: only the run knows which part of another tensor {parts[0]} is after a turn of this loop, and one of "
                "the two is returned or written",
                hint=f"add .clone() where {parts[0]} gets its new size",
                location=user_location(),
            )
        raise CaptureError("static: the variables of this loop change their kind again and again", location=user_location())

    # ---- one attempt

    def _value(self, name: str) -> Any:
        return self.before[self.names.index(name)]

    def _attempt(self, body: Callable[[Any], None], test: Thunk | None, stop: Thunk | None) -> Loop | None:
        """The loop, or None if more of its variables turned out to change."""
        if self.written.tensors or self.state.places or self.outside.places:  # looked at anew, as giving up forgets it
            self._take(with_gradients(with_places(self.state.with_places(self.given), self.outside), self.written))
        region = Region(self.builder)
        self._flows({})
        counter = region.input(COUNTER, "turn")
        loop = Loop(self.builder, region, counter)
        changing = ChangingSizes(self.builder, loop, self.carried)
        inputs = changing.values
        given = tensors = {path: region.leaf(value, path in self.flowing) for path, value in inputs.items()}
        contents = {key: region.input(cell.value.type) for key, cell in self.cells.items()}
        region.leaves.update(id(t) for t in tensors.values())
        for path, c in self.carried.items():
            lenders = self.builder.borrowed.lenders(region, (c.initial,))
            self.builder.borrowed.note(tensors[path], path, lenders, False)
            self.builder.several.note(tensors[path], path, (c.initial,))
        pairs = self.one_another.begin(region, given, {path: self.carried[path].initial for path in self.flowing})
        turn = self.turn = region.leaf(counter, False)
        self.builder.read_last.clear()
        layouts = self.layouts.begin(region, given, {path: c.initial for path, c in self.carried.items()})
        flags = [*(self.turns.inputs(region) if self.turns is not None else []), *layouts]
        test_region, go_on = self._test(region, tensors, contents, turn, test, stop)
        outside = Outside(self.recorder, gradients=True, places=not self.may_unroll)
        with region.open(), self.containers.hold(self.builder), self._raising(), self.builder.borrowed.paired(pairs):
            self._enter(tensors, contents)
            if self.turns is not None:
                tensors = self.turns.bind(given)
                region.leaves.update(id(t) for t in tensors.values())
                self._give(tensors)
            body(None if self.sequence is None else self.sequence.item(region, turn))
            after = dict(zip(self.names, self.get()))
            outside.check(region)
            grown = self._look(region, tensors, after) or self.layouts.look(given, lambda path: self._leaf(after, path))
        grown |= self._new_cells(region)
        self.set(self.before)
        if grown:
            return None
        if test is not None and not self.steered:
            raise NotALoop("static: nothing that a turn changes ends this loop", location=user_location())
        outs = []
        with region.open(at_end=True):
            for path, c in self.carried.items():
                outs.append(region.localize(c.fit(self._leaf(after, path))))
            outs += [wrap(region.written[k][1] if k in region.written else contents[k]) for k in self.cells]
            outs += self.turns.outs() if self.turns is not None else []
            outs += self.layouts.outs()
        initial = [c.fit(c.initial) for c in self.carried.values()]
        check_asked(region, list(zip(tensors.values(), initial, outs)))
        initial += [wrap(cell.value) for cell in self.cells.values()]
        initial += self.turns.initial() if self.turns is not None else []
        initial += self.layouts.initial()
        loop.in_order = self.turns is not None and self.builder.aliases.shared.on()
        flowing = [tensor if path in self.flowing else None for path, tensor in given.items()]
        none = [None] * (len(contents) + len(flags))
        loop.carry([*changing.given, *contents.values(), *flags], [*flowing, *none], initial, outs)
        changing.carry(initial, outs)
        loop.kept = [t for _, new in self.state.growing for t in tensors_of(new)]
        loop.test = None if go_on is None else (test_region, go_on)
        if self.sequence is not None:
            loop.over(self.sequence, stops=stop is not None)
        self.after, self.starts = after, tensors
        return loop

    def _look(self, region: Region, tensors: dict[str, Any], after: dict[str, Any]) -> bool:
        """Whether a turn was found to change more than is carried, but for storages."""
        grown = self.state.look(self.builder) | self.written.new() | self.outside.new() or self._grown(after)
        if self.turns is not None and not grown:
            grown = self._share(region, after)
        grown = grown or self._flows(after) or self.one_another.look(region, lambda path: self._leaf(after, path))
        if not grown:
            self._check_appended(region, tensors, after)
        return grown

    def _share(self, region: Region, after: dict[str, Any]) -> bool:
        """Whether variables were found to lie on further memory at the end of a turn."""
        assert self.turns is not None
        variables = [path for path in self.carried if path not in self.turns.slots]
        grown, new = self.turns.look(region, [(path, self.carried[path].initial, self._leaf(after, path)) for path in variables])
        for path, type_ in new:
            self.carried[path] = Carried(path, type_, UNBOUND)
        return grown

    @contextmanager
    def _raising(self) -> Iterator[None]:
        """What the body raises in any turn, it raises in the first."""
        try:
            yield
        except (Error, NameError):
            raise
        except Exception as error:
            raise EndsAtOnce from error

    def _flows(self, after: dict[str, Any]) -> bool:
        """Whether gradients were found to flow through further variables, by what they begin with and end a turn with."""
        if not core.is_grad_enabled():
            return False
        new = set()
        for path, c in self.carried.items():
            if path in self.flowing or c.type.weak or not c.type.dtype.is_floating_point:
                continue
            both = (c.initial, self._leaf(after, path)) if after else (c.initial,)
            if any(isinstance(t, core.Tensor) and t.requires_grad for t in both):
                new.add(path)
        self.flowing |= new
        return bool(new)

    def _enter(self, tensors: dict[str, Any], contents: dict[int, Value]) -> None:
        """Give the variables and storages what they hold at the start of a turn."""
        self.state.stand_in(self.turn)
        for key, cell in self.cells.items():
            self.builder.note_cell(cell)
            cell.value = contents[key]
            cell.changed()
        self._give(tensors)

    def _give(self, tensors: dict[str, Any]) -> list[Any]:
        """Set the variables that are read later, to what this returns: with these tensors where they change, else as before."""
        values = []
        for name, value in zip(self.names, self.before):
            if name not in self.kept:
                values.append(UNBOUND)
                continue
            value = self.structures.get(name, value)
            now = iter([tensors.get(leaf.path, leaf.value) for leaf in leaves(value, name)])
            values.append(rebuild(value, now.__next__, keep=name not in self.structures))
        self.set(tuple(values))
        return values

    def _test(
        self, body: Region, tensors: dict[str, Any], contents: dict[int, Value], turn: Any, test: Thunk | None, stop: Thunk | None
    ) -> tuple[Region, Value | None]:
        """The condition under which a turn is made, apart from the number of turns."""
        region = Region(self.builder)
        region.own, region.leaves = body.own, body.leaves
        if test is None and stop is None:
            return region, None
        with region.open():
            self._enter(tensors, contents)
            go_on: Any = True
            if test is not None:
                go_on = self._asked(test, region)
            elif stop is not None:
                stopped = stop()
                go_on = stopped.logical_not() if decides(stopped) is not None else not stopped
            self.steered = decides(go_on) is not None
            if not self.steered:
                value = self.builder.constant(bool(go_on), core.bool)
            else:
                value = truth(go_on)
            if self.sequence is not None:
                within = self.sequence.within(turn)
                value = self.builder.read(within.logical_and(wrap(value)))
        self.set(self.before)
        return region, value

    def _asked(self, test: Thunk, region: Region) -> Any:
        """What the test gives, which must not do anything besides: it is asked once more often than there are turns."""
        held, written = [x.copy() for x in self.containers.known], region.versions_written()
        found = deciding(test())
        changed = not all(same_items(x.copy(), before) for x, before in zip(self.containers.known, held))
        if changed or region.versions_written() != written or any(map(has_effects, region.nodes)):
            raise TestActs("static: the test of a loop changes something", location=user_location())
        return found

    def _check_appended(self, region: Region, tensors: dict[str, Any], after: dict[str, Any]) -> None:
        """What a turn appends must not be memory that later turns write; memory that lives on is noted."""
        builder = self.builder
        late = {symbol for node in region.nodes for symbol in makes(node)}
        self.lenders = []  # of each appended tensor: tensors from outside, and variables, that lie on its memory
        for item, stacked in ((t, type(x) is Rows) for _, new in self.state.growing for x in new for t in tensors_of([x])):
            if not stacked and inner_sizes(builder.read(item).shape, late):
                raise CaptureError(
                    "static: a list grows by a tensor whose sizes only each turn of the loop knows",
                    hint="append tensors of one size: .reshape(size) says which",
                    location=user_location(),
                )
            cells = builder.aliases.beneath(region, item) if stacked else dict([builder.aliases.storage(region, item)])
            outer = [root for cell, root in cells.items() if not region.holds(cell.born)]
            on = [path for path in self.carried if self._is_on(self._leaf(after, path), cells)]
            written = any(path in tensors and builder.view_of(tensors[path]).cell.written for path in on)
            written |= not region.cells_written().isdisjoint(map(id, cells))
            if written or ((outer or on) and self.may_unroll and builder.aliases.exact):
                raise NotALoop(
                    "static: a list grows by a tensor that other turns of the loop write in place",
                    hint="append a copy: add .clone()",
                    location=user_location(),
                )
            self.lenders.append((outer, on))

    def _is_on(self, leaf: Any, cells: Container[Cell]) -> bool:
        return isinstance(leaf, core.Tensor) and self.builder.view_of(leaf).cell in cells

    def _leaf(self, after: dict[str, Any], path: str) -> Any:
        if self.turns is not None and path in self.turns.slots:
            return self.turns.slots[path]
        name = min((n for n in self.kept if path == n or path.startswith((n + "[", n + "."))), key=len)
        return next(leaf.value for leaf in leaves(after[name], name) if leaf.path == path)

    # ---- what changes

    def _grown(self, after: dict[str, Any]) -> bool:
        """Whether leaves change that were not carried, or in a way their type does not allow; they are from now on."""
        grown = False
        for name in self.kept:
            old, new = self.structures.get(name, self._value(name)), after[name]
            if old is UNBOUND:
                grown |= self._first_assigned(name, new)
                continue
            if not same_structure(old, new):
                raise refuse(name, "is built differently after a turn of the loop", ("before", old), ("after", new), _HINT)
            for before, now in zip(leaves(old, name), leaves(new, name)):
                grown |= self._changed(before.path, before.value, now.value)
        return grown

    def _first_assigned(self, name: str, new: Any) -> bool:
        """A variable that gets its first value inside the loop and is read after it."""
        if new is UNBOUND:
            return False
        if not is_synthetic(name) and (self.sequence is None or not self.sequence.turns):
            raise CaptureError(
                f"static: {name} is first assigned inside a loop that may make no turn",
                hint=f"give {name} a value of the same dtype and shape before the loop",
                location=user_location(),
            )
        self.structures[name] = new
        for leaf in leaves(new, name):
            type_ = type_of(leaf.value)
            if type_ is None:
                raise refuse(name, "is no tensor and changes in a loop", ("before", UNBOUND), ("after", leaf.value), _HINT)
            self.carried[leaf.path] = Carried(leaf.path, type_, UNBOUND)
        return True

    def _changed(self, path: str, before: Any, now: Any) -> bool:
        known = self.carried.get(path)
        type_ = type_of(now)
        if known is None:
            if same(before, now):
                return False
            old = type_of(before)
            if old is None or type_ is None:
                kind = FirstTurnDiffers if before is None and type_ is not None else CaptureError
                raise refuse(path, "is no tensor and changes in a loop", ("before", before), ("after", now), _HINT, kind)
            if self.may_unroll and is_number(before):
                raise NotALoop(f"static: {path} is a number that changes in a loop")
            self.carried[path] = Carried(path, old, before)
            return True
        if type_ is None:
            raise refuse(path, "is no tensor and changes in a loop", ("before", before), ("after", now), _HINT)
        joined = common_type(known.like(type_), type_)
        further = known.further(type_) if joined is None and not (self.sizes_stay or self.may_unroll) else None
        if further is not None:
            self.carried[path] = further
            return True
        if joined is None or (joined.dtype is not known.type.dtype and not known.type.weak):
            self.builder.call_sizes.must_be_equal(known.type.shape, type_.shape)
            kind = FirstTurnDiffers if is_number(known.initial) else CaptureError
            raise refuse(path, "changes its dtype or shape in a loop", ("before a turn", before), ("after it", now), _HINT, kind)
        if (joined.dtype, joined.weak) == (known.type.dtype, known.type.weak):
            return False
        self.carried[path] = known._replace(type=joined)
        return True

    def _new_cells(self, region: Region) -> bool:
        new = {key: cell for key, (cell, _) in region.written.items() if key not in self.cells}
        self.cells.update(new)
        return bool(new)

    # ---- the end

    def _ways(self, loop: Loop) -> Iterator[tuple[Region, Callable[[], Any]]]:
        """The regions of a loop, and whether they run."""
        if loop.test is not None:
            yield loop.test[0], lambda: True
        yield loop.region, loop.turned if self._may_make_none(loop) else lambda: True

    def _may_make_none(self, loop: Loop) -> bool:
        """Whether the loop may make no turn. Where it is asked for a variable of several kinds, a size's answer is a guard."""
        if self.sequence is None or loop.length is None or self.sequence.turns is not None:
            return self.sequence is None or loop.length is None or not self.sequence.turns
        starts = [(type_of(c.initial), c.type) for c in self.carried.values()]
        several, sizes = any(start and start.weak != type_.weak for start, type_ in starts), self.builder.call_sizes
        return not (several and sizes.knows(loop.length) and sizes.decide(1, "le", loop.length))

    def _finish(self, loop: Loop) -> None:
        finals = loop.emit()
        self.builder.first_reads.ran(self._ways(loop))
        results = dict(zip(self.carried, finals))
        stacks = iter(loop.stacks)
        turns = None if self.sequence is None or loop.length is None else self.sequence.turns
        for stack, (outer, on) in zip(loop.stacks, self.lenders):
            self.builder.aliases.lend(stack, [*outer, *(results[path] for path in on)], True)
        for container, new in self.state.growing:
            extend(self.builder, container, new, [next(stacks) for _ in tensors_of(new)], turns)
        for cell, final in zip(self.cells.values(), finals[len(self.carried) :]):
            self.builder.note_cell(cell)
            cell.value = self.builder.read(final)
            cell.changed()
        more = finals[len(self.carried) + len(self.cells) :]
        if self.turns is not None:
            more = self.turns.finish(results, more)
        self.layouts.finish(results, more)
        may_make_none = self._may_make_none(loop)
        for (path, c), final in zip(self.carried.items(), finals):
            ways = (c.initial, self._leaf(self.after, path)) if may_make_none else (self._leaf(self.after, path),)
            self.builder.borrowed.note(final, path, self.builder.borrowed.lenders(loop.region, ways))
            self.builder.kinds.note(final, path, ways)
            for result in (final, self.starts[path]):
                self.builder.versions.hand_on(loop.region, self._leaf(self.after, path), result)
                self.builder.several.note(result, path, (c.initial, self._leaf(self.after, path)))
        self.one_another.end(results, may_make_none)
        last = [self._leaf(self.after, path) for path in self.carried]
        self.builder.borrowed.note_together(loop.region, last, list(zip(self.carried, finals)))
        for name, now in zip(self.names, self._give(results)):
            if name in self.kept and now is not self._value(name):
                self.builder.chosen.note(now, (self._value(name), self.after[name]), self.given)
