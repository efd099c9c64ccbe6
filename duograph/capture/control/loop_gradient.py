"""The gradient of a captured loop: a loop whose turn `k` undoes turn `n - 1 - k`. See `loop_node`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from duograph import _core as core
from duograph._stack import user_location
from duograph.errors import CaptureError
from duograph.ir.dim import Dim
from duograph.ir.effects import has_effects
from duograph.ir.graph import Node, Value
from duograph.ir.late import makes, mentions
from duograph.ir.primitives import CONTRACTION, INDEXING, MOVEMENT, NULLARY, REDUCE, TRANSCENDENTAL, WINDOWS, kind_of
from duograph.ir.primitives import PRIMITIVES as TABLE
from duograph.ir.types import TensorType
from duograph.ops.definition import REGISTRY
from duograph.ops.tracing import wrap

from .handed_boxes import COUNTER, check_single, inner_sizes
from .inner import Back, Crossing, check_order
from .loop_node import Boxed, Loop, Row
from .one_place import OnePlace
from .regions import flip, gradients, nothing, zeros


class Reverse:
    """The loop of a loop's gradient. It goes on with sums that are there before (`begun`, of what is outside)."""

    def __init__(self, loop: Loop, begun: Sequence[Any]) -> None:
        self.loop = loop
        self.region = loop.region
        self.builder = loop.builder
        self.carried = [i for i, leaf in enumerate(loop.leaves) if leaf is not None]
        count, rows = len(self.carried), sum(row.leaf is not None for row in loop.rows)
        self.begun_carried = dict(zip(self.carried, begun[:count]))
        self.begun_rows = begun[count : count + rows]
        self.back: Back | None = None
        if loop.crossing is not None:
            inside = len(loop.crossing.outside())
            self.back = Back(self, loop.crossing, begun[count + rows : count + rows + inside])
            rows += inside
        self.begun = list(begun[count + rows :])
        self.one_place = OnePlace(loop)
        self.one_place.move_sums(self.begun_carried, self.begun)

    def run(self, finals: Sequence[tuple[int, Any]], kept: Sequence[tuple[Any, Any, bool]]) -> tuple[Any, ...]:
        loop, region, builder, carried = self.loop, self.region, self.builder, self.carried
        check_order(builder)
        again = core.is_grad_enabled()
        if again and any(i in loop.boxes for i in carried):
            raise CaptureError(
                "static: the gradient of a gradient, inside of a static function, of a loop whose variables change their size",
                hint="take the first gradient inside of the static function and the second one outside of it",
                location=user_location(),
            )
        mark = len(region.nodes)
        made = Loop(builder, region, region.input(COUNTER, "turn"))
        made.start = mark
        made.forward_order = not loop.forward_order
        known = dict(finals)
        seeds, given = self._seeds(made)
        sums = [region.input(alias.value.type, "gradient") for alias in loop.constants]
        rows = [Row(region.input(TensorType(t.dtype, builder.read(g).shape[1:])), None, g, back) for t, g, back in kept]
        seed_leaves = {i: self._leaf(value, again) for i, value in seeds.items()}
        sum_leaves = [self._leaf(value, again) for value in sums]
        row_leaves = [self._leaf(row.value, again) for row in rows]
        with region.open():
            flags = self._may_be_absent(sum_leaves)
            pairs = self._roots(seed_leaves, [(t, leaf) for (t, _, _), leaf in zip(kept, row_leaves)], sum_leaves)
            targets = [loop.leaves[i] for i in carried]
            row_targets = [row.leaf for row in loop.rows if row.leaf is not None]
            constants = [alias.leaf for alias in loop.constants]
            ends: list[Any] = []
            if self.back is not None:
                pairs += self.back.begin(made)
                ends = self.back.crossing.targets()
            wanted = [*targets, *row_targets, *constants]
            found = gradients([o for o, _ in pairs], wanted, [g for _, g in pairs], ends)
            found_rows = found[len(targets) : len(targets) + len(row_targets)]
            found_constants = list(found[len(targets) + len(row_targets) : len(wanted)])
            by_number = {i: zeros(loop.leaves[i]) if g is None else g for i, g in zip(carried, found)}
            self.one_place.choose(pairs, by_number, found_constants, again, ends)
            outs = [by_number[i] for i in carried]
            shared = {i for place in self.one_place.places for i in place.carried}
            self.replaced = {i for i, g in zip(carried, found) if g is None and i not in shared}
            kept_rows = [zeros(leaf) if g is None else g for leaf, g in zip(row_targets, found_rows)]
            if self.back is not None:
                kept_rows += self.back.end(made, found[len(wanted) :])
            # A gradient nothing was added to is still the sum that the turn was given.
            used = [k for k, g in enumerate(found_constants) if g is not None and builder.read(g) is not sums[k]]
        initial = [known[i] if i in known else zeros(loop.ends.get(i, loop.initial[i])) for i in carried]
        made.carry(given, [seed_leaves[i] if again else None for i in carried], initial, outs)
        begun = [nothing(builder, loop.constants[k].value.type) if self.begun[k] is None else self.begun[k] for k in used]
        made.carry(
            [sums[k] for k in used], [sum_leaves[k] if again else None for k in used],
            begun, [found_constants[k] for k in used],
        )  # fmt: skip
        if self.back is not None:
            self.back.carry(made)
        made.kept = kept_rows
        made.numbers = [(loop.counter, True), *((value, not back) for value, back in loop.numbers)]
        made.rows = [row._replace(back=not row.back) for row in loop.rows]
        made.rows += [row._replace(leaf=leaf if again else None) for row, leaf in zip(rows, row_leaves)]
        self._supply(made, mark)
        if again and loop.places:
            self._lead_back(made)
        self._turns(made)
        carried_flags = self._flags(made, flags, found_constants, used)
        results = made.emit()
        incoming = builder.presence.any([g for _, g in finals] + [g for _, g, _ in kept])
        after = self._sums(made, used, carried_flags, results, incoming)
        return self._gradients(made, results, initial, after, incoming)

    def _seeds(self, made: Loop) -> tuple[dict[int, Value], list[Value]]:
        """The gradients of what a turn hands on: (by the numbers of the variables, as the new loop carries them)."""
        loop, region = self.loop, self.region
        seeds: dict[int, Value] = {}
        given: list[Value] = []
        for number, i in enumerate(self.carried):
            if i not in loop.boxes:
                seeds[i] = region.input(loop.inputs[i].type, "gradient")
                given.append(seeds[i])
                continue
            ends = self.builder.read(loop.initial[i]).type
            made.boxes[number] = Boxed(loop.handed_on(i), {}, ends)
            box, seeds[i] = made.boxed(made.boxes[number].type, "gradient")
            given.append(box)
        return seeds, given

    def _roots(self, seeds: dict[int, Any], kept: Sequence[tuple[Any, Any]], sums: Sequence[Any]) -> list[tuple[Any, Any]]:
        """What a turn's pass along the tape starts with: (tensor, its gradient)."""
        loop, region = self.loop, self.region
        inside = {id(t) for t in loop.inner}
        pairs = [(region.localize(loop.outs[i]), leaf) for i, leaf in seeds.items() if loop.outs[i].requires_grad]
        pairs += [(t if id(t) in inside else region.localize(t), leaf) for t, leaf in kept]
        pairs += [(alias.leaf, leaf) for alias, leaf in zip(loop.constants, sums)]
        return pairs + self._starts()

    def _lead_back(self, made: Loop) -> None:
        """The tape of the new loop ends where it leads back into the old one."""
        loop, region = self.loop, self.region
        with region.open():
            made.crossing = Crossing(loop, made, [region.localize(t) for t in (*made.outs, *made.kept)])
        made.places = dict(loop.places)
        if loop.length is None and loop.node is not None and "turns" not in loop.node.attrs:
            loop.keep([loop.counter])  # their number is the size of what it hands over

    def _turns(self, made: Loop) -> None:
        """As many as the old loop made."""
        loop = self.loop
        assert loop.node is not None
        made.count = wrap(loop.node.outputs[0])
        made.length = loop.length
        if made.length is None and "turns" in loop.node.attrs:
            made.length = loop.symbol

    def _sums(
        self, made: Loop, used: Sequence[int], flags: dict[int, int], results: Sequence[Any], incoming: Value | None
    ) -> dict[int, Any]:
        """The sums that turns added to, by the numbers of what the body reads from outside."""
        presence = self.builder.presence
        turned = None if self._always(made) or not used else self.loop.turned()
        after: dict[int, Any] = {}
        for k, tensor in zip(used, results[len(self.carried) :]):
            given = self.builder.read(results[flags[k]]) if k in flags else turned
            after[k] = self._mark(tensor, self.begun[k], presence.both(given, incoming))
        return after

    def _gradients(
        self, made: Loop, results: Sequence[Any], initial: Sequence[Any], after: dict[int, Any], incoming: Value | None
    ) -> tuple[Any, ...]:
        """The gradients of the old loop's `outside()`."""
        loop = self.loop
        flows = [row for row in loop.rows if row.leaf is not None]
        stacks = [s if row.back else flip(s) for row, s in zip(flows, made.stacks)]
        of_carried = dict(zip(self.carried, self._carried(made, results, initial, incoming)))
        self.one_place.give_back(of_carried, after)
        return (
            *of_carried.values(),
            *(self._mark(s if b is None else b + s, b, incoming) for b, s in zip(self.begun_rows, stacks)),
            *(() if self.back is None else self.back.results(made, results, made.stacks[len(flows) :], incoming)),
            *(after.get(k) for k in range(len(loop.constants))),
        )

    def _may_be_absent(self, sums: Sequence[Any]) -> dict[int, Value]:
        """For sums that no turn may have added to before one: whether one has."""
        presence = self.builder.presence
        flags: dict[int, Value] = {}
        for k, (before, leaf) in enumerate(zip(self.begun, sums)):
            if before is None or presence.of(before) is not None:
                flags[k] = self.region.input(TensorType(core.bool), "found")
                presence.mark(leaf, flags[k])
        return flags

    def _starts(self) -> list[tuple[Any, Any]]:
        """In the loop's first turn, the gradient's last, carried variables are what they began with: its sum goes on."""
        begun = [(i, t) for i, t in self.begun_carried.items() if t is not None and i not in self.loop.boxes]
        if not begun:
            return []
        first = wrap(self.loop.counter) == 0
        where = REGISTRY["where"].op
        return [
            (self.loop.leaves[i], where(first, self.region.localize(t), nothing(self.builder, self.loop.type_of(i))))
            for i, t in begun
        ]

    def _carried(self, made: Loop, results: Sequence[Any], initial: Sequence[Any], incoming: Value | None) -> list[Any]:
        """The gradients of what the carried variables began with."""
        found = []
        for i, tensor, final in zip(self.carried, results, initial):
            before = self.begun_carried[i]
            exists = self.builder.presence.both(self._not_turned(made), incoming) if i in self.replaced else incoming
            if before is None or i in self.loop.boxes:
                found.append(self._mark(tensor if before is None else before + tensor, before, exists))
                continue
            if not self._always(made):  # without a turn, the last value is the first
                tensor = REGISTRY["where"].op(wrap(self.loop.turned()), tensor, before + final)
            found.append(self._mark(tensor, before, exists))
        return found

    def _mark(self, tensor: Any, before: Any, condition: Value | None) -> Any:
        """A sum of gradients goes on under a condition."""
        presence = self.builder.presence
        presence.mark(tensor, presence.joined(before, condition))
        return tensor

    def _flags(self, made: Loop, flags: dict[int, Value], found: Sequence[Any], used: Sequence[int]) -> dict[int, int]:
        """For sums to which not every turn adds: whether one has (number of the sum → of the carried variable)."""
        carried: dict[int, int] = {}
        now: dict[int, Value | None] = {}
        with self.region.open():
            for k, before in flags.items():
                now[k] = self.builder.presence.of(found[k]) if k in used else before
        changed = [k for k, before in flags.items() if now[k] is not None and now[k] is not before]
        for k, before in flags.items():
            after = now[k]
            if k in changed:
                carried[k] = len(made.inputs)
            no = wrap(self.builder.constant(False, core.bool))
            made.carry([before], [None], [no], [wrap(self.builder.constant(True, core.bool) if after is None else after)])
        return carried

    def _always(self, made: Loop) -> bool:
        """Whether a turn is made in each run: of as many as a size says, a capture is for those with a turn or without."""
        length, sizes = made.length, self.builder.call_sizes
        if type(length) is int:
            return length > 0
        return length is not None and sizes.knows(length) and sizes.decide(0, "lt", length)

    def _not_turned(self, made: Loop) -> Value:
        """Whether none was."""
        if self._always(made):
            return self.builder.constant(False, core.bool)
        return self.builder.read(wrap(self.builder.read(made.count)) == 0)

    def _leaf(self, value: Value, requires_grad: bool) -> Any:
        leaf = self.region.leaf(value, requires_grad)
        self.region.leaves.add(id(leaf))
        self.region.keep.append(leaf)
        return leaf

    def _supply(self, made: Loop, mark: int) -> None:
        """Give the new loop what its body needs of the old one's turns: kept as rows, or computed again."""
        loop, region = self.loop, self.region
        with region.open():
            results = [self.builder.read(t) for t in (*made.outs, *made.kept)]
        forward = set(region.nodes[:mark])
        own = {*made.inputs, made.counter, *(row.value for row in made.rows), *(value for value, _ in made.numbers)}
        carried = {v: None if i in loop.boxes else leaf for i, (v, leaf) in enumerate(zip(loop.inputs, loop.leaves))}
        wanted: dict[Value, None] = {}
        kept: list[Value] = []
        stack = list(results)
        seen: set[Value] = set()
        makers = {size: node for node in region.nodes for size in makes(node)}
        while stack:
            value = stack.pop()
            if value in seen or value in own:
                continue
            seen.add(value)
            if makers and value.node is not None and value.node in region.members:
                speaks = (mentions(value.node) | inner_sizes(value.shape, makers)) & makers.keys()
                again = [size for size in speaks if not (makers[size] in forward and has_effects(makers[size]))]
                wanted |= dict.fromkeys(self._count(made, size) for size in speaks.difference(again))
                stack += [v for size in again for v in makers[size].inputs]
            if value in carried:
                wanted.setdefault(value)
            elif value.node in forward and value.node is not None:
                if self._is_kept(value.node, value):
                    wanted.setdefault(self._in_box(made, value) if self.builder.is_late(value.shape) else value)
                    kept.append(value)
                else:
                    stack += value.node.inputs
            elif value.node is not None and value.node in region.members:
                stack += value.node.inputs
        if core.is_grad_enabled():
            wanted.update(dict.fromkeys(self._origins(kept, carried)))
        loop.keep(list(wanted))
        for value in wanted:
            leaf = None if loop.places else carried.get(value)
            tensor = loop.history(value, leaf) if leaf is not None else wrap(loop.saved[value])
            made.rows.append(Row(value, leaf if core.is_grad_enabled() else None, tensor, True))

    def _in_box(self, made: Loop, value: Value) -> Value:
        """What is kept of a value whose sizes only each turn knows: the number of its box."""
        box = made.handed.boxes[value] = self.loop.boxing.box(value, self.builder.late_symbols)
        return box

    def _count(self, made: Loop, size: Dim) -> Value:
        """What is kept of a size that is not made again: it as a number."""
        count = made.handed.sizes[size] = self.loop.boxing.count(size)
        return count

    def _origins(self, kept: Sequence[Value], carried: dict[Value, Any]) -> list[Value]:
        """The carried variables that kept values were computed from: a gradient of the gradient leads on to them."""
        stack, seen, found = list(kept), set(kept), []
        while stack:
            value = stack.pop()
            if value in carried:
                if carried[value] is not None:
                    found.append(value)
            elif value.node is not None and value.node in self.region.members:
                new = [v for v in value.node.inputs if v not in seen]
                seen.update(new)
                stack += new
        return found

    def _is_kept(self, node: Node, value: Value) -> bool:
        """Whether a value of the body is kept for the gradient's loop rather than computed again."""
        passing = value in self.builder.boxes
        if has_effects(node):
            check_single(self.builder.boxes_kept, value)
            if passing:
                raise CaptureError(
                    "static: the gradient of a loop inside of another, whose variables change their sizes, and in which "
                    "random numbers are drawn or Python is called",
                    hint="draw or call outside of the inner loop",
                    location=user_location(),
                )
            return True
        if passing or self.builder.is_late(value.shape):
            return False
        kind = kind_of(node.op)
        if kind in (NULLARY, MOVEMENT, INDEXING):
            return False
        if kind in (CONTRACTION, WINDOWS, REDUCE, "composite") or node.op in ("while_loop", "cond"):
            return True
        return TABLE[node.op].cost >= TRANSCENDENTAL
