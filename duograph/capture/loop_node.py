"""A captured loop: its node in the graph, the rows it keeps of each turn, and its gradient, which is a loop again.

Turn `k` of the gradient's loop undoes turn `n - 1 - k` of the loop: it runs the body's own tape from what that turn
handed on to what it was given. What the tape needs of the body's values is kept as rows, one for each turn, or computed
again where that is cheaper. A gradient's loop is an ordinary loop over the same region, so it has a gradient itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from duograph import _core as core
from duograph._stack import user_location
from duograph.errors import CaptureError
from duograph.ir.builder import close_regions
from duograph.ir.dim import Dim
from duograph.ir.effects import has_effects
from duograph.ir.graph import Graph, Node, Value
from duograph.ir.primitives import CONTRACTION, INDEXING, MOVEMENT, NULLARY, REDUCE, TRANSCENDENTAL, kind_of
from duograph.ir.primitives import PRIMITIVES as TABLE
from duograph.ir.substitution import symbols
from duograph.ir.types import TensorType
from duograph.ops.definition import REGISTRY
from duograph.ops.tracing import wrap

from .one_place import OnePlace
from .regions import Region, copy_nodes, gradients, live_nodes, nothing, with_own_sizes, zeros

if TYPE_CHECKING:
    from .builder import CaptureBuilder
    from .sequences import Sequence_

COUNTER = TensorType(core.int64, (), weak=True)


class Row(NamedTuple):
    """A value of the region that each turn reads from a stack: row `turn`, or counted from the end if `back`."""

    value: Value
    leaf: Any  # the tensor on it that takes part in differentiation, or None
    stack: Any
    back: bool


class Loop:
    """A region that runs once for each turn."""

    def __init__(self, builder: CaptureBuilder, region: Region, counter: Value) -> None:
        self.builder = builder
        self.region = region
        self.counter = counter
        self.inputs: list[Value] = []  # carried variables, as values of the region
        self.leaves: list[Any] = []  # the tensors on them, None where no gradient flows
        self.initial: list[Any] = []
        self.outs: list[Any] = []
        self.rows: list[Row] = []
        self.kept: list[Any] = []  # tensors of the region of which each turn leaves a row
        self.numbers: list[tuple[Value, bool]] = []  # earlier counters of the region: the turn's number, or from the end
        self.test: tuple[Region, Value] | None = None
        self.length: Any = None
        self.count: Any = None
        self.node: Node | None = None
        self.saved: dict[Value, Value] = {}  # values of the region → their stacks
        self.values: list[Value] = []
        self.symbol: Dim | None = None
        self.in_order = False  # gradients of variables go on to what they begin with at once
        self.forward = 0  # nodes of the region that make up the body
        self.known: tuple[Sequence[Value], Sequence[Value], Value | None] = (
            (),
            (),
            None,
        )  # first initial values, rows, the count
        self.start = 0  # from which on they run what has an effect: before, an earlier loop did

    def carry(self, inputs: Sequence[Value], leaves: Sequence[Any], initial: Sequence[Any], outs: Sequence[Any]) -> None:
        """Further carried variables."""
        self.inputs += inputs
        self.leaves += leaves
        self.initial += initial
        self.outs += outs

    def over(self, sequence: Sequence_, stops: bool) -> None:
        """The loop goes over a sequence, perhaps not to its end."""
        self.count = sequence.count()
        self.length = None if stops else sequence.length

    # ---- the node

    def emit(self) -> list[Any]:
        """Append the loop to the graph around it; the carried variables after it, with their place on the tape."""
        builder = self.builder
        known = self.known
        self.initial_values = [*known[0], *(builder.read(t) for t in self.initial[len(known[0]) :])]
        self.row_values = [*known[1], *(builder.read(row.stack) for row in self.rows[len(known[1]) :])]
        self.count_value = known[2] or (None if self.count is None else builder.read(self.count))
        with self.region.open(at_end=True):
            self.values = [builder.read(t) for t in self.outs]
            self.kept_values = [builder.read(t) for t in self.kept]
            for tensor in (*self.outs, *self.kept):
                self.region.localize(tensor)  # what a turn hands on as it is gets a gradient, too
        self.forward = len(self.region.nodes)
        self.zero = builder.read(wrap(builder.number(0)))
        inputs, regions = self._regions()
        types = [COUNTER, *(v.type for v in self.inputs), *(self._stack_type(v) for v in self.kept_values)]
        outputs = builder.emit("while_loop", inputs, self._attrs(len(self.kept)), types, regions)
        node = outputs[0].node
        assert node is not None
        self.node = node
        finals = [wrap(value) for value in outputs[1 : 1 + len(self.inputs)]]
        self.stacks = [wrap(value) for value in outputs[1 + len(self.inputs) :]]
        return self._record(finals)

    def _attrs(self, stacked: int) -> dict[str, Any]:
        attrs: dict[str, Any] = {"carried": 1 + len(self.inputs)}
        if stacked:
            attrs.update(stacked=stacked, trips=self.length)
            if self.length is None:
                attrs["turns"] = self._turns()
        return attrs

    def _turns(self) -> Dim:
        """The number of turns as a size that is known when the loop has ended."""
        if self.symbol is None:
            self.symbol = self.builder.late("turns")
        return self.symbol

    def _stack_type(self, value: Value) -> TensorType:
        first = self._turns() if self.length is None else self.length
        return TensorType(value.type.dtype, (first, *value.type.shape))

    def _regions(self, more: Sequence[Value] = ()) -> tuple[tuple[Value, ...], tuple[Graph, ...]]:
        """(operands of the node, its test and body); `more` are further values kept as rows."""
        test, body = self._test_graph(), self._body_graph((*self.kept_values, *more))
        closed, outer = close_regions([test, body])
        return (self.zero, *self.initial_values, *outer), tuple(closed)

    def _start(self) -> tuple[tuple[Value, ...], dict[Value, Value]]:
        inputs = (Value(COUNTER, None, 0, "turn"), *(Value(v.type, None, i + 1, v.name) for i, v in enumerate(self.inputs)))
        return inputs, {self.counter: inputs[0], **dict(zip(self.inputs, inputs[1:]))}

    def _test_graph(self) -> Graph:
        inputs, values = self._start()
        if self.test is not None:
            region, result = self.test
            nodes = copy_nodes(live_nodes(region.nodes, [result], lambda node: True), values)
            return with_own_sizes(self.builder, Graph(inputs, tuple(nodes), (values.get(result, result),), name="test"))
        assert self.count_value is not None
        less = Node("lt", (inputs[0], self.count_value), {}, (TensorType(core.bool),))
        return Graph(inputs, (less,), less.outputs, name="test")

    def _body_graph(self, kept: Sequence[Value]) -> Graph:
        inputs, values = self._start()
        nodes: list[Node] = []

        def make(op: str, operands: Sequence[Value], type_: TensorType, **attrs: Any) -> Value:
            node = Node(op, tuple(operands), attrs, (type_,), (), self.node.location if self.node else None)
            nodes.append(node)
            return node.output

        one = make("constant", (), COUNTER, value=1)
        back: Value | None = None
        if any(row.back for row in self.rows) or any(from_end for _, from_end in self.numbers):
            assert self.count_value is not None
            last = make("sub", (self.count_value, one), COUNTER)
            back = make("sub", (last, inputs[0]), COUNTER)
        for value, from_end in self.numbers:
            values[value] = back if from_end and back is not None else inputs[0]
        for row, stack in zip(self.rows, self.row_values):
            number = back if row.back and back is not None else inputs[0]
            values[row.value] = make("row", (stack, number), row.value.type)
        following = make("add", (inputs[0], one), COUNTER)
        results = [*self.values, *kept]
        own = set(self.region.nodes[self.start : self.forward])
        live = live_nodes(self.region.nodes[: self.forward], results, own.__contains__, values)
        nodes += copy_nodes(live, values)
        made = Graph(inputs, tuple(nodes), (following, *(values.get(v, v) for v in results)), name="body")
        return with_own_sizes(self.builder, made)

    # ---- rows kept of each turn

    def keep(self, wanted: Sequence[Value]) -> None:
        """Keep further values of the region, one row for each turn."""
        new = [v for v in dict.fromkeys(wanted) if v not in self.saved]
        if not new:
            return
        node = self.node
        assert node is not None
        inputs, regions = self._regions([*self.saved, *new])
        made = tuple(
            Value(self._stack_type(v), node, len(node.outputs) + i, f"{v.name or 'kept'}_rows") for i, v in enumerate(new)
        )
        node.inputs, node.regions, node.outputs = inputs, regions, (*node.outputs, *made)
        self.saved.update(zip(new, made))
        node.attrs = self._attrs(len(self.kept) + len(self.saved))

    # ---- the tape

    def outside(self) -> list[Any]:
        """The tensors that a gradient flows to: initial values, rows, and what the body reads from outside."""
        found = [t for t, leaf in zip(self.initial, self.leaves) if leaf is not None]
        found += [row.stack for row in self.rows if row.leaf is not None]
        return [*found, *(alias.outer for alias in self.constants)]

    def _record(self, finals: list[Any]) -> list[Any]:
        self.constants = list(self.region.aliases.values())
        floats = [i for i, leaf in enumerate(self.leaves) if leaf is not None]
        inputs = self.outside()
        if not core.is_grad_enabled() or not any(t.requires_grad for t in inputs):
            return finals
        self.floats = floats
        numbers = [i for i, t in enumerate(self.kept) if t.dtype.is_floating_point]
        recorded = core.record_python(
            [*(finals[i] for i in floats), *(self.stacks[i] for i in numbers)],
            inputs, "loop", _Gradient(self, numbers).apply, True,
        )  # fmt: skip
        for i, tensor in zip(floats, recorded):
            finals[i] = tensor
        for i, tensor in zip(numbers, recorded[len(floats) :]):
            self.stacks[i] = tensor
        return finals

    def history(self, value: Value, leaf: Any) -> Any:
        """The stack of a carried variable at the start of each turn, as a tensor that can be differentiated again."""
        stack = wrap(self.saved[value])
        if leaf is None or not core.is_grad_enabled():
            return stack
        inputs = self.outside()
        if not any(t.requires_grad for t in inputs):
            return stack

        def backward(grads: Sequence[Any], sums: Sequence[Any]) -> tuple[Any, ...]:
            return self.gradient([], [(leaf, grads[0], True)], sums)

        return core.record_python([stack], inputs, "loop rows", backward, True)[0]

    def gradient(
        self, finals: Sequence[tuple[int, Any]], kept: Sequence[tuple[Any, Any, bool]], sums: Sequence[Any]
    ) -> tuple[Any, ...]:
        """Gradients of `outside()`.

        Args:
            finals: (number of a carried variable, the gradient of its last value).
            kept: (tensor of the region, the gradient of its rows, whether rows count from the end in the new loop).
            sums: of `outside()` what is there before, or None.
        """
        return _Reverse(self, sums).run(finals, kept)


class _Gradient:
    """What the tape calls: the loop's gradient by its outputs."""

    def __init__(self, loop: Loop, kept: Sequence[int]) -> None:
        self.loop = loop
        self.kept = kept

    def apply(self, grads: Sequence[Any], sums: Sequence[Any]) -> tuple[Any, ...]:
        loop = self.loop
        finals = [(i, g) for i, g in zip(loop.floats, grads) if g is not None]
        rows = zip(self.kept, grads[len(loop.floats) :])
        return loop.gradient(finals, [(loop.kept[i], g, True) for i, g in rows if g is not None], sums)

    def push(self, tangents: Sequence[Any]) -> list[Any]:
        """The tangents of the outputs from those of the loop's `outside()`."""
        from .forward_loop import forward_loop

        return forward_loop(self.loop, self.kept, tangents)


class _Reverse:
    """The loop of a loop's gradient. It goes on with sums that are there before (`begun`, of what is outside)."""

    def __init__(self, loop: Loop, begun: Sequence[Any]) -> None:
        self.loop = loop
        self.region = loop.region
        self.builder = loop.builder
        self.carried = [i for i, leaf in enumerate(loop.leaves) if leaf is not None]
        count, rows = len(self.carried), sum(row.leaf is not None for row in loop.rows)
        self.begun_carried = dict(zip(self.carried, begun[:count]))
        self.begun_rows = begun[count : count + rows]
        self.begun = list(begun[count + rows :])
        self.one_place = OnePlace(loop)
        self.one_place.move_sums(self.begun_carried, self.begun)

    def run(self, finals: Sequence[tuple[int, Any]], kept: Sequence[tuple[Any, Any, bool]]) -> tuple[Any, ...]:
        loop, region, builder, carried = self.loop, self.region, self.builder, self.carried
        again = core.is_grad_enabled()
        mark = len(region.nodes)
        made = Loop(builder, region, region.input(COUNTER, "turn"))
        made.start = mark
        known = dict(finals)
        seeds = {i: region.input(loop.inputs[i].type, "gradient") for i in carried}
        sums = [region.input(alias.value.type, "gradient") for alias in loop.constants]
        rows = [Row(region.input(TensorType(t.dtype, builder.read(g).shape[1:])), None, g, back) for t, g, back in kept]
        seed_leaves = {i: self._leaf(value, again) for i, value in seeds.items()}
        sum_leaves = [self._leaf(value, again) for value in sums]
        row_leaves = [self._leaf(row.value, again) for row in rows]
        with region.open():
            flags = self._may_be_absent(sum_leaves)
            pairs = [(region.localize(loop.outs[i]), seed_leaves[i]) for i in carried if loop.outs[i].requires_grad]
            pairs += [(region.localize(t), leaf) for (t, _, _), leaf in zip(kept, row_leaves)]
            pairs += [(alias.leaf, leaf) for alias, leaf in zip(loop.constants, sum_leaves)]
            pairs += self._starts()
            targets = [loop.leaves[i] for i in carried]
            row_targets = [row.leaf for row in loop.rows if row.leaf is not None]
            constants = [alias.leaf for alias in loop.constants]
            found = gradients([o for o, _ in pairs], [*targets, *row_targets, *constants], [g for _, g in pairs])
            found_rows = found[len(targets) : len(targets) + len(row_targets)]
            found_constants = list(found[len(targets) + len(row_targets) :])
            by_number = {i: zeros(loop.leaves[i]) if g is None else g for i, g in zip(carried, found)}
            self.one_place.choose(pairs, by_number, found_constants, again)
            outs = [by_number[i] for i in carried]
            kept_rows = [zeros(leaf) if g is None else g for leaf, g in zip(row_targets, found_rows)]
            # A gradient nothing was added to is still the sum that the turn was given.
            used = [k for k, g in enumerate(found_constants) if g is not None and builder.read(g) is not sums[k]]
        initial = [known[i] if i in known else zeros(loop.initial[i]) for i in carried]
        made.carry([seeds[i] for i in carried], [seed_leaves[i] if again else None for i in carried], initial, outs)
        begun = [nothing(builder, loop.constants[k].value.type) if self.begun[k] is None else self.begun[k] for k in used]
        made.carry(
            [sums[k] for k in used], [sum_leaves[k] if again else None for k in used],
            begun, [found_constants[k] for k in used],
        )  # fmt: skip
        made.kept = kept_rows
        made.numbers = [(loop.counter, True), *((value, not back) for value, back in loop.numbers)]
        made.rows = [row._replace(back=not row.back) for row in loop.rows]
        made.rows += [row._replace(leaf=leaf if again else None) for row, leaf in zip(rows, row_leaves)]
        self._supply(made, mark)
        assert loop.node is not None
        made.count = wrap(loop.node.outputs[0])
        made.length = loop.length if loop.length is not None else loop.symbol
        carried_flags = self._flags(made, flags, found_constants, used)
        results = made.emit()
        presence = builder.presence
        incoming = presence.any([g for _, g in finals] + [g for _, g, _ in kept])
        turned = None if self._always(made) or not used else self._turned(made)
        after: dict[int, Any] = {}
        for k, tensor in zip(used, results[len(carried) :]):
            given = builder.read(results[carried_flags[k]]) if k in carried_flags else turned
            after[k] = self._mark(tensor, self.begun[k], presence.both(given, incoming))
        flows = [row for row in loop.rows if row.leaf is not None]
        stacks = [s if row.back else flip(s) for row, s in zip(flows, made.stacks)]
        of_carried = dict(zip(carried, self._carried(made, results, initial, incoming)))
        self.one_place.give_back(of_carried, after)
        return (
            *of_carried.values(),
            *(self._mark(s if b is None else b + s, b, incoming) for b, s in zip(self.begun_rows, stacks)),
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
        begun = [(i, tensor) for i, tensor in self.begun_carried.items() if tensor is not None]
        if not begun:
            return []
        first = wrap(self.loop.counter) == 0
        where = REGISTRY["where"].op
        return [
            (self.loop.leaves[i], where(first, self.region.localize(t), nothing(self.builder, self.loop.inputs[i].type)))
            for i, t in begun
        ]

    def _carried(self, made: Loop, results: Sequence[Any], initial: Sequence[Any], incoming: Value | None) -> list[Any]:
        """The gradients of what the carried variables began with."""
        found = []
        for i, tensor, final in zip(self.carried, results, initial):
            before = self.begun_carried[i]
            if before is None:
                found.append(self._mark(tensor, None, incoming))
                continue
            if not self._always(made):  # without a turn, the last value is the first
                tensor = REGISTRY["where"].op(wrap(self._turned(made)), tensor, before + final)
            found.append(self._mark(tensor, before, incoming))
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
            if k not in changed and not self.builder.aliases.shared.wanted:  # else one may depend on the others
                continue
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

    def _turned(self, made: Loop) -> Value:
        """Whether a turn was made."""
        return self.builder.read(wrap(self.builder.read(made.count)) > 0)

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
        carried = dict(zip(loop.inputs, loop.leaves))
        wanted: dict[Value, None] = {}
        kept: list[Value] = []
        stack = list(results)
        seen: set[Value] = set()
        while stack:
            value = stack.pop()
            if value in seen or value in own:
                continue
            seen.add(value)
            if value in carried:
                wanted.setdefault(value)
            elif value.node in forward and value.node is not None:
                if self._is_kept(value.node, value):
                    wanted.setdefault(value)
                    kept.append(value)
                else:
                    stack += value.node.inputs
            elif value.node is not None and value.node in region.members:
                stack += value.node.inputs
        if core.is_grad_enabled():
            wanted.update(dict.fromkeys(self._origins(kept, carried)))
        loop.keep(list(wanted))
        for value in wanted:
            leaf = carried.get(value)
            tensor = loop.history(value, leaf) if leaf is not None else wrap(loop.saved[value])
            made.rows.append(Row(value, leaf if core.is_grad_enabled() else None, tensor, True))

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
        late = any(isinstance(s, Dim) and not self.builder.late_symbols.isdisjoint(symbols(s)) for s in value.type.shape)
        if has_effects(node):
            if late:
                raise CaptureError(
                    "static: the gradient of a loop inside of another, whose number of turns a tensor's value decides, and in "
                    "which random numbers are drawn or Python is called",
                    hint="draw or call outside of the inner loop",
                    location=user_location(),
                )
            return True
        if late:
            return False
        kind = kind_of(node.op)
        if kind in (NULLARY, MOVEMENT, INDEXING):
            return False
        if kind in (CONTRACTION, REDUCE, "composite") or node.op in ("while_loop", "cond"):
            return True
        return TABLE[node.op].cost >= TRANSCENDENTAL


def flip(stack: Any) -> Any:
    """The rows in reverse order."""
    return REGISTRY["flip"].op(stack, (0,))
