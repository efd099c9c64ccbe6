"""Fusion of the nodes that have kernels or steps of their own: contractions, updates, control flow, late sizes."""

from __future__ import annotations

from collections.abc import Sequence

from duograph.codegen.contraction.shape import most_in_a_chain
from duograph.ir.dim import Expr, bounds, contiguous_strides, product
from duograph.ir.effects import must_run
from duograph.ir.graph import Node, Value
from duograph.ir.late import late_symbol
from duograph.ir.primitives import ELEMENTWISE, MOVEMENT, PRIMITIVES
from duograph.ir.substitution import symbols

from .access import ZERO, Access, Index, linear, loop_index
from .fusion_requests import Requests
from .groups import Buffer, Group, Placement, Request, Store, Target
from .small_loops import is_small, operand_kinds

MAX_OPERANDS = 48  # looked at to find out whether parts are computed of shared values
MAX_TURNS = 8  # parts of a concatenation that one kernel writes by turns


class OwnNodes(Requests):
    """Places nodes that are no part of a loop over elements."""

    def _contraction(self, value: Value, node: Node, requests: list[tuple[Group, Request]], targets: list[Target]) -> None:
        """Fuse with the one elementwise group that uses it whole, or write it out."""
        if len(requests) == 1 and not targets and self.fuse:
            group, request = requests[0]
            if self._is_epilogue(value, node, group, request):
                group.kind, group.frozen, group.node, group.anchor = "contraction", True, node, request
                group.held = self._held(node, group, request) if self._rewrites_operand(group) else None
                request.operands = []
                self._contract(node, group, request.access)
                return
        group = self.group("contraction", node)
        group.frozen = True
        access = self._loops(group, value.shape)
        group.anchor = self.ask(group, value, access)
        group.anchor.operands = []
        copies = targets[1:] if targets and targets[0].readable else targets
        placement = targets[0].placement if targets and targets[0].readable else self.temporary(value)
        self._add_store(group, group.anchor, placement)
        group.placed(self.index[value])
        if targets and targets[0].readable:
            targets[0].written_by(group)
        self._load(value, requests, placement, [group])
        self._copy_to(value, placement, [group], copies)
        self._contract(node, group, access)

    def _is_epilogue(self, value: Value, node: Node, group: Group, request: Request) -> bool:
        if group.kind != "loop" or group.reduce is not None or not group.scalar_only or len(group.stores) != 1:
            return False
        if request.leaf or request.mask or group.coverage(value, request.access) != "full" or group.gathers:
            return False
        if any(r.mask for r in group.all_requests()):
            return False
        if self._rewrites_operand(group) and self._held(node, group, request) is None:
            return False
        return all(size == 1 or index.loop is not None for size, index in zip(value.shape, request.access))

    def _rewrites_operand(self, group: Group) -> bool:
        """Whether the group writes an input it also reads: a contraction may only add to it (`_held`), it writes sums first."""
        return any(any(self.placements.get(value) is store.placement for value in group.requests) for store in group.stores)

    def _held(self, node: Node, group: Group, anchor: Request) -> Request | None:
        """What a group adds a product to in place, if it does no more than that and each element is one chain of multiply-adds.

        With several chains the first would be added before the product is whole: other bits.
        """
        (store,) = group.stores
        total = store.request.value
        if total.node is None or total.node.op != "add" or total.dtype.name not in ("float32", "float64"):
            return None
        ends = [_behind_movement(operand) for operand in store.request.operands or ()]
        held = next((end for end in ends if self.placements.get(end.value) is store.placement), None)
        if held is None or anchor not in ends or not _is_one_chain(node):
            return None
        read, written = Store(held, held.access, store.placement).address(), store.address()
        return held if read.offset == written.offset and set(read.terms) == set(written.terms) else None

    def _contract(self, node: Node, group: Group, access: Access) -> None:
        """Request the operands over the loops of the letters."""
        letters: dict[str, Index] = dict(zip(node.attrs["out"], access))
        for name, operand in zip(("a", "b"), node.inputs):
            for letter, size in zip(node.attrs[name], operand.shape):
                if letter not in letters:
                    letters[letter] = ZERO if size == 1 else loop_index(group.loop(size))
        for name, operand in zip(("a", "b"), node.inputs):
            where = tuple(ZERO if size == 1 else letters[letter] for letter, size in zip(node.attrs[name], operand.shape))
            group.operands.append(self.ask(group, operand, where, leaf=True))

    def _update(self, value: Value, node: Node, requests: list[tuple[Group, Request]], targets: list[Target]) -> None:
        """Nodes that write parts of their result: concatenation, assignment to a slice, scatters."""
        first = targets[0] if targets and targets[0].readable else None
        placement = first.placement if first else self.temporary(value)
        writers: list[Group] = []
        if node.op == "concat":
            self._concat(node, placement, writers)
        else:
            initial = node.inputs[0]
            in_place = first is not None and first.cell is initial
            dies = not in_place and self._dies(initial)
            if not in_place and not dies:
                filler, access = self.map_group(value.shape)
                self._add_store(filler, self.ask(filler, initial, access), placement)
                filler.placed(self.index[value])
                writers.append(filler)
            writer = self._slice_update(node, placement) if node.op == "slice_update" else self._scatter(node, placement)
            for group in writers:
                writer.deps[group] = None
            writers.append(writer)
            if dies:
                below = Target(placement, cell=first.cell if first else None)
                below.hosts, below.maker = (first.hosts, first.maker) if first else ([], None)
                below.waiters.append(writer)
                self.targets.setdefault(initial, []).append(below)
        for group in writers:
            group.placed(self.index[value])
            self._wait(group, value)
        if first:
            first.written_by(*writers)
        self._load(value, requests, placement, writers)
        self._copy_to(value, placement, writers, targets[1:] if first else targets)

    def _dies(self, value: Value) -> bool:
        """Whether a value is computed for its one user alone, which may then write over it."""
        if value.node is None or self.uses[value] != 1 or value in self.targets:
            return False
        return PRIMITIVES[value.node.op].kind != MOVEMENT and value.node.op != "constant"

    def _concat(self, node: Node, placement: Placement, writers: list[Group]) -> None:
        """A kernel for each part; one for all where their elements lie by turns in memory, so that it is gone through once, or
        where all are computed of shared values.
        """
        dim = node.attrs["dim"]
        offset: Expr = placement.offset
        shape = node.inputs[0].shape
        alike = 1 < len(node.inputs) <= MAX_TURNS and all(part.shape == shape for part in node.inputs)
        turns = alike and (all(size == 1 for size in shape[dim:]) or _computed_together(node.inputs))
        together = turns and self.share and self.fuse
        for part in node.inputs:
            if not (together and writers):
                group, access = self.map_group(part.shape)
                writers.append(group)
            self._add_store(group, self.ask(group, part, access), Placement(placement.buffer, placement.strides, offset))
            offset = offset + part.shape[dim] * placement.strides[dim]

    def _slice_update(self, node: Node, placement: Placement) -> Group:
        source = node.inputs[1]
        group, access = self.map_group(source.shape)
        offset = placement.offset
        strides = []
        for start, step, stride in zip(node.attrs["starts"], node.attrs["steps"], placement.strides):
            offset = offset + start * stride
            strides.append(stride * step)
        self._add_store(group, self.ask(group, source, access), Placement(placement.buffer, tuple(strides), offset))
        return group

    def _scatter(self, node: Node, placement: Placement) -> Group:
        """Loops over the source; the target's dimension `dim` is addressed by the index."""
        target, index, source = node.inputs
        dim = node.attrs.get("dim", 0)
        group = self.group("scatter", node)
        group.frozen = True
        if node.op in ("scatter", "scatter_add", "scatter_reduce"):
            group.one_by_one = True
            access = self._loops(group, index.shape)
            where, serial = access, {dim}
            before, after = access[:dim], access[dim + 1 :]
        else:
            rank = len(index.shape)
            access = self._loops(group, source.shape)
            where, serial = access[dim : dim + rank], set(range(dim, dim + rank))
            before, after = access[:dim], access[dim + rank :]
        position = self.ask(group, index, where)
        request = self.ask(group, source, access)
        pseudo = group.computed_loop(position, target.shape[dim])
        group.stores.append(Store(request, (*before, loop_index(pseudo), *after), placement))
        group.serial = tuple(access[d].terms[0][0] for d in sorted(serial) if access[d].terms)
        return group

    def _random_key(self, node: Node) -> None:
        value = node.outputs[0]
        group = self.group("random", node)
        group.placed(self.index[value])
        self._wait(group, value)
        self._in_turn(group)
        targets = self.targets.get(value, [])
        placement = targets[0].placement if targets else self.temporary(value)
        request = self.ask(group, value, (ZERO,))
        request.operands = []
        self._add_store(group, request, placement)
        for target in targets[:1]:
            target.written_by(group)
        self._load(value, [pair for pair in self._requests(value) if pair[0] is not group], placement, [group])
        self._copy_to(value, placement, [group], targets[1:])

    def _in_turn(self, group: Group) -> None:
        """Effects happen in program order."""
        if self.next_effect is not None:
            self.next_effect.deps[group] = None
        self.next_effect = group

    def _control(self, node: Node) -> None:
        """A branch or a loop is one step; the carried variables of a loop are written before it."""
        symbol = late_symbol(node)
        effects = must_run(node)
        wanted = symbol is not None or effects or any(v in self.requesters or v in self.targets for v in node.outputs)
        if not wanted:
            return
        group = self.group("control", node)
        group.placed(self.index[node.outputs[0]])
        group.in_registers = self.fuse and is_small(node)
        if effects:
            self._in_turn(group)
        carried = node.attrs["carried"] if node.op == "while_loop" and not group.in_registers else 0
        for value in node.outputs:
            self._wait(group, value)
            self._result(group, value, symbol is not None and symbol in symbols(value.type.size))
        self._known(node, group)
        kinds = operand_kinds(node) if group.in_registers else ["array"] * len(node.inputs)
        for position, (value, kind) in enumerate(zip(node.inputs, kinds)):
            if position < carried or kind == "tensor":
                target = group.carried[position] if position < carried else Target(self.temporary(value))
                target.waiters.append(group)
                self.targets.setdefault(value, []).append(target)
                group.sources.append(target.placement)
            elif kind in ("scalar", "array"):
                loops = tuple(ZERO if size == 1 else loop_index(group.loop(size)) for size in value.shape)
                group.operands.append(self.ask(group, value, loops, leaf=True))
                group.sources.append(group.operands[-1])
            else:
                group.sources.append(None)

    def _result(self, group: Group, value: Value, grows: bool = False) -> None:
        """Where a branch, a loop or a step of its own writes a result: in memory of its own while its size is not known."""
        targets = self.targets.get(value, [])
        first = targets[0] if targets and targets[0].readable and targets[0].cell is None and not grows else None
        if first and first.maker is not None:  # a loop's variables are written before it, by others
            first = None
        if first and first.placement.strides != contiguous_strides(value.shape):
            first = None
        if first:
            placement = first.placement
            first.written_by(group)
        elif grows:
            placement = Placement.contiguous(Buffer("stack", -1, value.dtype, value.shape, value.name), value.shape)
        else:
            placement = self.temporary(value)
        group.carried.append(Target(placement, readable=False))
        self._load(value, self._requests(value), placement, [group])
        self._copy_to(value, placement, [group], targets[1:] if first else targets)

    def _rows(self, node: Node) -> None:
        """A function on rows reads its operands where they lie and writes its results row-major."""
        if not any(value in self.requesters or value in self.targets for value in node.outputs):
            return
        group = self.group("rows", node)
        group.frozen = True
        group.placed(self.index[node.outputs[0]])
        for value in node.outputs:
            self._wait(group, value)
            self._result(group, value)
        outer = [size for d, size in enumerate(node.outputs[0].shape) if d != node.attrs["dim"]]
        shared = list(self._loops(group, outer))
        for operand in node.inputs:
            size = operand.shape[node.attrs["dim"]]
            inner = ZERO if size == 1 else loop_index(group.loop(size))
            access = (*shared[: node.attrs["dim"]], inner, *shared[node.attrs["dim"] :])
            group.operands.append(self.ask(group, operand, access, leaf=True))

    def _windows(self, node: Node) -> None:
        """Sums over windows read their operands where they lie and write their result, or what is made of it, row-major."""
        value = node.output
        if value not in self.requesters and value not in self.targets:
            return
        group = self._ended_by(value, node) or self._windows_alone(value, node)
        for operand in node.inputs:
            access = tuple(ZERO if size == 1 else loop_index(group.loop(size)) for size in operand.shape)
            group.operands.append(self.ask(group, operand, access, leaf=True))

    def _windows_alone(self, value: Value, node: Node) -> Group:
        group = self.group("windows", node)
        group.frozen = True
        group.placed(self.index[value])
        self._wait(group, value)
        self._result(group, value)
        return group

    def _ended_by(self, value: Value, node: Node) -> Group | None:
        """The one elementwise group that uses sums whole and writes its result as the sums would lie; it is theirs then."""
        requests = self._requests(value)
        if len(requests) != 1 or self.targets.get(value) or not self.fuse or node.op != "window_sums":
            return None
        group, request = requests[0]
        if self._rewrites_operand(group) or not self._is_epilogue(value, node, group, request):
            return None
        (store,) = group.stores
        sums = linear(request.access, contiguous_strides(value.shape))
        if store.placement.buffer.dtype != value.dtype or set(store.address().terms) != set(sums.terms):
            return None
        group.kind, group.frozen, group.node, group.anchor = "windows", True, node, request
        request.operands = []
        return group

    def _measure(self, node: Node) -> None:
        """A late size from a value, or from a count: the operand is written row-major for the step that looks at it."""
        if node.op in ("box", "unbox"):
            if node.output in self.requesters or node.output in self.targets:
                (self._box if node.op == "box" else self._unbox)(node)
            return
        group = self.group("late", node)
        group.placed(self.index[node.outputs[0]])
        operand = Target(self.temporary(node.inputs[0]))
        operand.waiters.append(group)
        self.targets.setdefault(node.inputs[0], []).append(operand)
        group.carried.append(operand)
        if node.op == "nonzero":
            self._result(group, node.output)
        self._known(node, group)

    def _box(self, node: Node) -> None:
        """Memory is made as soon as the size is known, and whoever computes the value writes it there; then it has its number."""
        value = node.inputs[0]
        maker = self.group("box", node)
        maker.placed(self.index.get(value, -1))
        for symbol in symbols(value.type.size):
            self.waiting.setdefault(symbol, {})[maker] = None
        buffer = Buffer("box", -1, value.dtype, value.shape, value.name)
        buffer.value = value
        target = Target(Placement.contiguous(buffer, value.shape))
        target.maker = maker
        maker.carried.append(target)
        group = self.group("late", node)
        group.placed(self.index[node.output])
        group.deps[maker] = None
        group.carried.append(target)
        target.waiters.append(group)
        self.targets.setdefault(value, []).append(target)
        self._result(group, node.output)

    def _unbox(self, node: Node) -> None:
        """What is in a box is read where it lies, and copied to where it must be."""
        value = node.output
        group = self.group("late", node)
        group.placed(self.index[value])
        self._wait(group, value)
        number = Target(self.temporary(node.inputs[0]))
        number.waiters.append(group)
        self.targets.setdefault(node.inputs[0], []).append(number)
        placement = Placement.contiguous(Buffer("box", -1, value.dtype, value.shape, value.name), value.shape)
        group.carried += [number, Target(placement, readable=False)]
        self._load(value, self._requests(value), placement, [group])
        self._copy_to(value, placement, [group], self.targets.get(value, []))


def _is_one_chain(node: Node) -> bool:
    """Whether the k of a contraction is never 0 and never more than one block."""
    a = node.inputs[0]
    low, high = bounds(product([size for letter, size in zip(node.attrs["a"], a.shape) if letter not in node.attrs["out"]]))
    return low >= 1 and high <= most_in_a_chain(node.output.dtype.itemsize)


def _behind_movement(request: Request) -> Request:
    """The request that one for the same elements, elsewhere or in another order, is followed to."""
    while request.operands and request.value.node is not None and PRIMITIVES[request.value.node.op].kind == MOVEMENT:
        (request,) = request.operands
    return request


def _computed_together(values: Sequence[Value]) -> bool:
    """Whether elementwise operations make each of the values, of something that others are made of, too."""
    made_of = [_operands_of(value) for value in values]
    return all(any(not own.isdisjoint(other) for j, other in enumerate(made_of) if i != j) for i, own in enumerate(made_of))


def _operands_of(value: Value) -> set[Value]:
    """What elementwise operations read on the way to a value, from the nearest ones on; at most a few dozen."""
    found: set[Value] = set()
    pending = [value]
    while pending and len(found) < MAX_OPERANDS:
        node = pending.pop().node
        if node is not None and PRIMITIVES[node.op].kind == ELEMENTWISE:
            fresh = [x for x in node.inputs if x not in found and (x.node is None or x.node.op != "constant")]
            found.update(fresh)
            pending += fresh
    return found
