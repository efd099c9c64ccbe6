"""A captured loop: its node in the graph, the rows it keeps of each turn, and its gradient, which is a loop again.

Turn `k` of the gradient's loop undoes turn `n - 1 - k` of the loop: it runs the body's own tape from what that turn
handed on to what it was given. What the tape needs of the body's values is kept as rows, one for each turn, or computed
again where that is cheaper. A gradient's loop is an ordinary loop over the same region, so it has a gradient itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from duograph import _core as core
from duograph.ir.builder import close_regions
from duograph.ir.dim import Dim
from duograph.ir.graph import Graph, Node, Value
from duograph.ir.types import TensorType
from duograph.ops.tracing import wrap

from .handed_boxes import BOX, COUNTER, Boxing, Handed, Kept
from .inner import Crossing, Place, Places, found_in, stands_for, takes_places
from .one_place import position
from .regions import Region, copy_nodes, live_nodes, with_own_sizes

if TYPE_CHECKING:
    from ..builder import CaptureBuilder
    from .sequences import Sequence_


class Row(NamedTuple):
    """A value of the region that each turn reads from a stack: row `turn`, or counted from the end if `back`."""

    value: Value
    leaf: Any  # the tensor on it that takes part in differentiation, or None
    stack: Any
    back: bool


class Boxed(NamedTuple):
    """A carried variable whose size changes from turn to turn: the loop carries where it is, as a number.

    type    of its value at the start of a turn, in the region's sizes
    sizes   which of its sizes change, and the numbers of the carried variables that count them
    ends    its type after the loop where that does not depend on the counts, else None
    """

    type: TensorType
    sizes: dict[int, int]
    ends: TensorType | None = None

    def after(self, builder: CaptureBuilder, counts: Sequence[Value]) -> TensorType:
        """The type of its value after the loop."""
        if self.ends is not None:
            return self.ends
        shape = list(self.type.shape)
        for dim, number in self.sizes.items():
            shape[dim] = builder.size_of(counts[number], "length")
        return TensorType(self.type.dtype, tuple(shape))


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
        self.boxes: dict[int, Boxed] = {}  # carried variables that change their size
        self.entering: list[Node] = []  # take these out of their boxes at the start of a turn
        self.ends: dict[int, Any] = {}  # those that change their size, after the loop
        self.rows: list[Row] = []
        self.handed = Handed.nothing()  # what of the region a turn takes from rows of boxes and numbers
        self.boxing = Boxing()
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
        self.forward_order = True  # whether its turns are in the order of the first loop's
        self.places: Places = {}  # of its tape and of those it leads back into, under strict
        self.inner: list[Any] = []  # tensors at its own places
        self.finals: dict[int, Any] = {}  # tensors at the places of the last values
        self.crossing: Crossing | None = None

    def carry(self, inputs: Sequence[Value], leaves: Sequence[Any], initial: Sequence[Any], outs: Sequence[Any]) -> None:
        """Further carried variables."""
        self.inputs += inputs
        self.leaves += leaves
        self.initial += initial
        self.outs += outs

    def boxed(self, type: TensorType, name: str = "") -> tuple[Value, Value]:
        """A carried variable that changes its size: (what is carried, its value of this type in the region)."""
        carried = self.region.input(BOX, name)
        value = self.region.unboxed(carried, type)
        return carried, value

    def type_of(self, number: int) -> TensorType:
        """The type of a carried variable at the start of a turn."""
        return self.boxes[number].type if number in self.boxes else self.inputs[number].type

    def handed_on(self, number: int) -> TensorType:
        """The type, at the end of a turn, of a carried variable that changes its size."""
        box = self.values[number].node
        assert box is not None
        return box.inputs[0].type

    def over(self, sequence: Sequence_, stops: bool) -> None:
        """The loop goes over a sequence, perhaps not to its end."""
        self.count = sequence.count()
        self.length = None if stops else sequence.length

    # ---- the node

    def emit(self) -> list[Any]:
        """Append the loop to the graph around it; the carried variables after it, with their place on the tape."""
        builder = self.builder
        known = self.known
        self.initial_values = [*known[0], *self._handed(self.initial, len(known[0]))]
        self.row_values = [*known[1], *(builder.read(row.stack) for row in self.rows[len(known[1]) :])]
        self.count_value = known[2] or (None if self.count is None else builder.read(self.count))
        with self.region.open(at_end=True):
            self.values = self._handed(self.outs)
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
        finals = [wrap(value) for value in self._taken(outputs[1 : 1 + len(self.inputs)])]
        self.ends = {i: finals[i] for i in self.boxes}
        builder.boxes.update(outputs[1 + i] for i in self.boxes)
        self.stacks = [wrap(value) for value in outputs[1 + len(self.inputs) :]]
        return self._record(finals)

    def _handed(self, tensors: Sequence[Any], first: int = 0) -> list[Value]:
        """Carried variables from this one on, as the loop is given them and hands them on."""
        values = [self.builder.read(t) for t in tensors[first:]]
        return [self.builder.box(v) if i in self.boxes else v for i, v in enumerate(values, first)]

    def _taken(self, outputs: Sequence[Value]) -> list[Value]:
        """The values of the carried variables after the loop."""
        builder = self.builder
        found = list(outputs)
        for i, box in self.boxes.items():
            after = box.after(builder, outputs)
            found[i] = builder.unbox(outputs[i], after.dtype, after.shape)
        return found

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
            live = live_nodes([*self.entering, *region.nodes], [result], lambda node: True)
            nodes = copy_nodes(live, values)
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
        nodes += self.handed.taken(values)
        following = make("add", (inputs[0], one), COUNTER)
        results = [*self.values, *kept]
        own = set(self.region.nodes[self.start : self.forward])
        body = [*self.region.nodes[: self.forward], *self.boxing.nodes]
        live = live_nodes(body, results, own.__contains__, values, self.handed.sizes)
        nodes += copy_nodes(live, values)
        made = Graph(inputs, tuple(nodes), (following, *(values.get(v, v) for v in results)), name="body")
        return with_own_sizes(self.builder, made)

    def turned(self) -> Value:
        """Whether a turn was made, when the loop has ended."""
        assert self.node is not None
        return self.builder.read(wrap(self.node.outputs[0]) > 0)

    # ---- rows kept of each turn

    def keep(self, wanted: Sequence[Value]) -> None:
        """Keep further values of the region, one row for each turn."""
        known = self.builder.boxes_kept
        known |= self.boxing.kept
        for i, boxed in self.boxes.items():
            known[self.inputs[i]] = Kept(boxed.type, {dim: self.inputs[n] for dim, n in boxed.sizes.items()})
        counts = [count for v in wanted if v in known for count in known[v].sizes.values()]
        new = [v for v in dict.fromkeys((*wanted, *counts)) if v not in self.saved]
        if not new:
            return
        node = self.node
        assert node is not None
        for i in self.boxes:
            if self.inputs[i] in new:
                for box in (self.initial_values[i].node, self.values[i].node):
                    assert box is not None
                    box.attrs = {**box.attrs, "keep": True}
        inputs, regions = self._regions([*self.saved, *new])
        made = tuple(
            Value(self._stack_type(v), node, len(node.outputs) + i, f"{v.name or 'kept'}_rows") for i, v in enumerate(new)
        )
        node.inputs, node.regions, node.outputs = inputs, regions, (*node.outputs, *made)
        self.saved.update(zip(new, made))
        node.attrs = self._attrs(len(self.kept) + len(self.saved))
        for value in new:
            if value in known:
                sizes = {dim: self.saved[count] for dim, count in known[value].sizes.items()}
                known[self.saved[value]] = Kept(known[value].type, sizes)

    # ---- the tape

    def outside(self) -> list[Any]:
        """The tensors that a gradient flows to: initial values, rows, and what the body reads from outside."""
        found = [t for t, leaf in zip(self.initial, self.leaves) if leaf is not None]
        found += [row.stack for row in self.rows if row.leaf is not None]
        found += [] if self.crossing is None else self.crossing.outside()
        return [*found, *(alias.outer for alias in self.constants)]

    def local_out(self, number: int) -> Any:
        """What a turn hands on, as the region sees it."""
        with self.region.open(at_end=True):
            return self.region.localize(self.outs[number])

    def _record(self, finals: list[Any]) -> list[Any]:
        self.constants = list(self.region.aliases.values())
        floats = [i for i, leaf in enumerate(self.leaves) if leaf is not None]
        inputs = self.outside()
        if not core.is_grad_enabled() or not any(t.requires_grad for t in inputs):
            return finals
        self.floats = floats
        numbers = [i for i, t in enumerate(self.kept) if t.dtype.is_floating_point]
        places = self._places(floats)
        recorded = self.builder.tape.record(
            [*(finals[i] for i in floats), *(self.stacks[i] for i in numbers), *places],
            inputs, "loop", _Gradient(self, numbers).apply, continues_sums=True,
        )  # fmt: skip
        if places:
            outputs = recorded[0].grad_fn.outputs()
            self.finals = dict(zip(floats, outputs))
            for t, outer in zip(self.inner, outputs[len(floats) + len(numbers) :]):
                self.places[position(t)] = Place(t, outer, self.forward_order)
        for i, tensor in zip(floats, recorded):
            finals[i] = tensor
        for i, tensor in zip(numbers, recorded[len(floats) :]):
            self.stacks[i] = tensor
        return finals

    def _places(self, floats: Sequence[int]) -> list[Any]:
        """What stands for the places inside on the tape around the loop."""
        builder = self.builder
        if not takes_places(builder) or not floats:
            return []
        ends = [*self.outs, *self.kept]
        with self.region.open(at_end=True):
            ends = [self.region.localize(t) for t in ends if t.requires_grad]
        leaves = [leaf for leaf in self.leaves if leaf is not None and not builder.is_late(leaf._traced.type.shape)]
        self.inner = [*leaves, *found_in(builder, ends, self.places)]
        return [stands_for(builder, self._stack_type(t._traced)) for t in self.inner]

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

        return self.builder.tape.record([stack], inputs, "loop rows", backward, continues_sums=True)[0]

    def gradient(
        self, finals: Sequence[tuple[int, Any]], kept: Sequence[tuple[Any, Any, bool]], sums: Sequence[Any]
    ) -> tuple[Any, ...]:
        """Gradients of `outside()`.

        Args:
            finals: (number of a carried variable, the gradient of its last value).
            kept: (tensor of the region, the gradient of its rows, whether rows count from the end in the new loop).
            sums: of `outside()` what is there before, or None.
        """
        from .loop_gradient import Reverse

        return Reverse(self, sums).run(finals, kept)


class _Gradient:
    """What the tape calls: the loop's gradient by its outputs."""

    def __init__(self, loop: Loop, kept: Sequence[int]) -> None:
        self.loop = loop
        self.kept = kept

    def apply(self, grads: Sequence[Any], sums: Sequence[Any]) -> tuple[Any, ...]:
        loop = self.loop
        finals = [(i, g) for i, g in zip(loop.floats, grads) if g is not None]
        inside = zip(loop.inner, grads[len(loop.floats) + len(self.kept) :])
        kept = [(t, g, True) for t, g in inside if g is not None]
        rows = zip(self.kept, grads[len(loop.floats) :])
        return loop.gradient(finals, kept + [(loop.kept[i], g, True) for i, g in rows if g is not None], sums)

    def push(self, tangents: Sequence[Any]) -> list[Any]:
        """The tangents of the outputs from those of the loop's `outside()`."""
        from .forward_loop import forward_loop

        return forward_loop(self.loop, [*(self.loop.kept[i] for i in self.kept), *self.loop.inner], tangents)
