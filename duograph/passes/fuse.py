"""fuse: which nodes share a kernel, which values get memory.

Nodes are visited from the last to the first, so that all uses of a value are known as *requests* of groups (a group,
the indices wanted) before it is decided whether the value is computed inside those groups or gets memory of its own,
written by one of them (its host) or by a new one. Everything is decided in one pass and by program order only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from duograph.errors import InternalError
from duograph.ir.dim import Dim, Expr, contiguous_strides, product, symbols
from duograph.ir.graph import Graph, Node, Value
from duograph.ir.late import late_symbol, mentions
from duograph.ir.primitives import CONTROL, ELEMENTWISE, INDEXING, LATE, MOVEMENT, PRIMITIVES, RANDOM, READS

from .access import ZERO, Access, Index, Mask, Split, divided, is_plain, linear, loop_index
from .costs import CHEAP, LOAD_COST, Costs
from .groups import Buffer, Group, Placement, Request, Store, Target, reaches
from .movement import through
from .reductions import plan_reduction, reduce_operand
from .small_loops import is_small, operand_kinds

MAX_STORES = 8
MAX_SCALAR_STORES = 48


class Fusion:
    """The groups of one graph (the program or a region).

    placements  where the graph's inputs lie
    targets     where values must be written
    again       values computed again, by segment: they share no kernel with what runs before
    """

    def __init__(
        self,
        graph: Graph,
        placements: dict[Value, Placement],
        targets: dict[Value, list[Target]],
        share: bool,
        fuse: bool = True,
        again: Mapping[Value, int] | None = None,
    ) -> None:
        self.graph = graph
        self.placements = placements
        self.targets = targets
        self.share = share and fuse
        self.fuse = fuse
        self.again = again or {}
        self.groups: list[Group] = []
        self.requesters: dict[Value, dict[Group, None]] = {}
        self.hosts: dict[Value, list[Group]] = {}
        self.copies: dict[Value, tuple[Placement, Group]] = {}
        self.temporaries: list[Buffer] = []
        self.index: dict[Value, int] = {value: i for i, node in enumerate(graph.nodes) for value in node.outputs}
        self.costs = Costs(graph, list(targets))
        self.uses = Counter(value for node in graph.nodes for value in node.inputs) + Counter(graph.outputs)
        late = {symbol for symbol in map(late_symbol, graph.nodes) if symbol is not None}
        self.late = {v: mentions(node) & late for node in graph.nodes for v in node.outputs} if late else {}
        self.waiting: dict[Dim, dict[Group, None]] = {}  # groups in which a late size is spoken of
        self.scalar_group: Group | None = None
        self.next_random: Group | None = None

    def run(self) -> None:
        """Visit every node, last to first, then the inputs."""
        for node in reversed(self.graph.nodes):
            if node.op == "assign":
                continue
            if node.op == "random_key":
                self._random_key(node)
            elif PRIMITIVES[node.op].kind == CONTROL:
                self._control(node)
            elif PRIMITIVES[node.op].kind == LATE:
                self._measure(node)
            else:
                self._visit(node.outputs[0], node)
        for value in self.graph.inputs:
            self._visit_input(value)

    # Groups and requests

    def group(self, kind: str, node: Node | None = None) -> Group:
        made = Group(kind, len(self.groups), node)
        made.again = self.again.get(node.outputs[0], 0) if node and self.again else 0
        self.groups.append(made)
        return made

    def map_group(self, shape: Sequence[Expr]) -> tuple[Group, Access]:
        """A loop group over a shape, and the indices that are its loops."""
        group = self.group("loop")
        return group, self._loops(group, shape)

    @staticmethod
    def _loops(group: Group, shape: Sequence[Expr]) -> Access:
        indices = []
        for size in shape:
            if size.__class__ is int and size == 1:
                indices.append(ZERO)
                continue
            loop = group.loop(size)
            group.order.append(loop)
            indices.append(loop_index(loop))
        return tuple(indices)

    def ask(
        self, group: Group, value: Value, access: Access, mask: Mask = (), leaf: bool = False, inner: bool = False
    ) -> Request:
        """Request a value in a group."""
        request, first = group.request(value, access, mask, leaf, inner)
        if first:
            self.requesters.setdefault(value, {})[group] = None
            if self.late:
                self._wait(group, value)
        return request

    def _wait(self, group: Group, value: Value) -> None:
        """Let a group that speaks of late sizes run when they are known."""
        for symbol in self.late.get(value, ()):
            self.waiting.setdefault(symbol, {})[group] = None

    def _known(self, node: Node, group: Group) -> None:
        """Whoever speaks of the late size that a node makes runs after the node's group."""
        symbol = late_symbol(node)
        for waiter in self.waiting.get(symbol, ()) if symbol is not None else ():
            if waiter is not group:
                waiter.deps[group] = None

    def temporary(self, value: Value) -> Placement:
        """New memory for a value."""
        buffer = Buffer("temp", len(self.temporaries), value.dtype, value.shape, value.name)
        buffer.value = value
        self.temporaries.append(buffer)
        return Placement.contiguous(buffer, value.shape)

    def _requests(self, value: Value) -> list[tuple[Group, Request]]:
        return [(group, request) for group in self.requesters.get(value, ()) for request in group.requests[value]]

    # Visiting one value

    def _visit(self, value: Value, node: Node) -> None:
        requests = self._requests(value)
        targets = self.targets.get(value, [])
        if not requests and not targets:
            return
        row = PRIMITIVES[node.op]
        if node.op == "constant" and isinstance(node.attrs["value"], bytes):
            self._constant_array(value, node, requests, targets)
        elif node.op == "contraction":
            self._contraction(value, node, requests, targets)
        elif node.op in ("concat", "slice_update") or (row.kind == INDEXING and node.op not in READS):
            self._update(value, node, requests, targets)
        elif node.op == "reshape":
            self._place_reshape(value, node, requests, targets)
        else:
            self._place(value, node, requests, targets)

    def _place(self, value: Value, node: Node, requests: list[tuple[Group, Request]], targets: list[Target]) -> None:
        """Decide where a value that can be computed inside a group is computed and where it is loaded."""
        inline = [pair for pair in requests if self._can_inline(value, node, *pair)]
        if not self.fuse and PRIMITIVES[node.op].kind != MOVEMENT and node.inputs:
            inline = []
        cost = self.costs.again(value)
        kept = (len(inline) > 1 and cost > CHEAP) or (self.fuse and value in self.costs.joined)
        if node.op == "broadcast" and product(node.inputs[0].shape) != product(value.shape):
            kept = False  # if anything, what is broadcast
        elif not kept and node.op != "reduce" and self.costs.whole(value) > CHEAP:
            kept = any(self._is_smaller(value, *pair) for pair in inline)
        if targets or kept or len(inline) < len(requests):
            host = self._host(value, node, inline, requests, targets)
            again = [] if kept or cost > LOAD_COST + 1 else [pair for pair in inline if pair[0] is not host]
            loads = [pair for pair in requests if pair[0] is not host and pair not in again]
            self._load(value, loads, self._store(value, host, targets, bool(loads)), [host])
            inline = again + [(host, request) for request in host.requests[value]]
        for group, request in inline:
            self._expand(node, group, request)

    def _place_reshape(self, value: Value, node: Node, requests: list[tuple[Group, Request]], targets: list[Target]) -> None:
        """A reshape is followed where the indices can say it; else its operand is written in row-major order."""
        operand = node.inputs[0]
        row_major = contiguous_strides(value.shape)
        strided = [target for target in targets if target.placement.strides != row_major]
        placement: Placement | None = None
        waiters: list[Group] = []
        for target in targets:
            if target in strided:
                continue
            old = target.placement
            forwarded = Target(Placement(old.buffer, contiguous_strides(operand.shape), old.offset), target.readable)
            forwarded.hosts, forwarded.waiters = target.hosts, target.waiters
            self.targets.setdefault(operand, []).append(forwarded)
            if target.readable and placement is None:
                placement, waiters = old, forwarded.waiters
        if strided:
            group, access = self.map_group(value.shape)
            self._write(group, self.ask(group, value, access), strided[0])
            group.placed(self.index[value])
            requests = [*requests, (group, group.requests[value][0])]
            if strided[1:]:
                raise InternalError("a reshaped value is written to two strided tensors")
        loads = []
        for group, request in requests:
            if through(node, group, request) is None:
                loads.append((group, request))
            else:
                self._expand(node, group, request)
        if not loads:
            return
        if placement is None:
            placement, waiters = self._row_major(operand, value)
        for group, request in loads:
            request.placement = placement
            waiters.append(group)

    def _row_major(self, operand: Value, value: Value) -> tuple[Placement, list[Group]]:
        """The operand's memory in row-major order, seen in the shape of its reshape, and who waits for it."""
        place = self.placements.get(operand)
        if place is not None and place.strides == contiguous_strides(operand.shape):
            return Placement(place.buffer, contiguous_strides(value.shape), place.offset), []
        target = Target(self.temporary(operand))
        self.targets.setdefault(operand, []).append(target)
        return Placement.contiguous(target.placement.buffer, value.shape), target.waiters

    def _is_smaller(self, value: Value, group: Group, request: Request) -> bool:
        """Whether computing the value in the group would repeat it for each index of another loop."""
        used = {term[0] for index in request.access for term in index.terms}
        rest = [loop for loop in group.outer if loop not in used]
        statistic = self.costs.statistics.get(value)
        if rest and statistic is not None and group.reduce is None and group.order[-len(rest) :] == rest:
            # The group will reduce along these very loops, and then computes the value once for each row.
            return product([group.extents[loop] for loop in rest]) != statistic
        return bool(rest)

    def _can_inline(self, value: Value, node: Node, group: Group, request: Request) -> bool:
        row = PRIMITIVES[node.op]
        if row.kind == MOVEMENT:
            return through(node, group, request) is not None
        if request.leaf or request.mask or group.kind not in ("loop", "contraction", "scatter"):
            return False
        if row.kind == ELEMENTWISE or node.op in ("constant", "size"):
            return True
        if group.kind == "contraction":
            return False
        if node.op == "reduce":
            return plan_reduction(group, request, node) is not None
        # Of the digits of a merged loop a table needs all, and the computed index takes some.
        return row.kind != INDEXING or not divided(request.access)

    # Hosts

    def _host(
        self,
        value: Value,
        node: Node,
        inline: list[tuple[Group, Request]],
        requests: list[tuple[Group, Request]],
        targets: list[Target],
    ) -> Group:
        """The group that writes a value: the first that needs every element of it anyway, one beside it, or a new one."""
        others = [group for group, _ in requests] + [waiter for target in targets for waiter in target.waiters]
        if self.share and value not in self.costs.epilogues and value not in self.costs.joined:
            first = min((group for group, _ in inline), key=lambda g: (g.low, g.number), default=None)
            if first is not None and self._may_host(value, node, first, inline, others, targets):
                return first
            beside = self._beside(value, node, others)
            if beside is not None:
                return beside
        group, access = self.map_group(value.shape)
        group.again = self.again.get(value, 0)
        self.ask(group, value, access)
        if not value.shape and node.op != "reduce":
            self.scalar_group = group
        return group

    def _may_host(
        self,
        value: Value,
        node: Node,
        group: Group,
        inline: list[tuple[Group, Request]],
        others: Sequence[Group],
        targets: Sequence[Target],
    ) -> bool:
        mine = group.requests[value]
        covering = next((request for request in mine if group.coverage(value, request.access)), None)
        if covering is None or not all(is_plain(linear(covering.access, t.placement.strides)) for t in targets):
            return False
        return (
            group.kind == "loop"
            and not (group.again and group.again != self.again.get(value))
            and (len(mine) == 1 or node.op != "reduce")
            and len(group.stores) < (MAX_STORES if group.order else MAX_SCALAR_STORES)
            and all((group, request) in inline for request in mine)
            and all(not r.mask and not r.leaf for r in mine)
            and not any(other is not group and reaches(group, other) for other in others)
        )

    def _beside(self, value: Value, node: Node, others: Sequence[Group]) -> Group | None:
        """A group over the same space that reads the same operand, or any group of scalars for a scalar."""
        sizes = [size for size in value.shape if size != 1]
        count = product(value.shape)
        candidates: list[Group] = []
        if not sizes and self.scalar_group is not None and node.op != "reduce":
            candidates.append(self.scalar_group)
        for operand in node.inputs:
            if sizes and (product(operand.shape) == count or node.op == "reduce"):
                candidates.extend(list(self.requesters.get(operand, ()))[:4])
        limit = MAX_STORES if sizes else MAX_SCALAR_STORES
        for group in candidates:
            if group.kind != "loop" or group.frozen or len(group.stores) >= limit or value in group.requests:
                continue
            if group.again != self.again.get(value, 0):
                continue
            loops = group.order if node.op != "reduce" else group.outer
            if (group.reduce is not None) != (node.op == "reduce") or [group.extents[loop] for loop in loops] != sizes:
                continue
            if any(other is group or reaches(group, other) for other in others):
                continue
            access = self._onto(value.shape, loops)
            if node.op == "reduce" and plan_reduction(group, Request(value, access, (), False, False), node) is None:
                continue
            self.ask(group, value, access)
            return group
        return None

    @staticmethod
    def _onto(shape: Sequence[Expr], loops: Sequence[int]) -> Access:
        left = iter(loops)
        return tuple(ZERO if size == 1 else loop_index(next(left)) for size in shape)

    def _store(self, value: Value, host: Group, targets: list[Target], loaded: bool) -> Placement | None:
        """Let the host write all targets, and new memory if others load the value from none of them."""
        request = next(r for r in host.requests[value] if host.coverage(value, r.access) or not host.order)
        for target in targets:
            self._write(host, request, target)
        placement = next((target.placement for target in targets if target.readable), None)
        if placement is None and (loaded or not targets):
            placement = self.temporary(value)
            self._add_store(host, request, placement)
        host.placed(self.index.get(value, -1))
        self.hosts[value] = [host]
        return placement

    def _write(self, host: Group, request: Request, target: Target) -> None:
        self._add_store(host, request, target.placement)
        target.hosts.append(host)
        for waiter in target.waiters:
            waiter.deps[host] = None

    @staticmethod
    def _add_store(host: Group, request: Request, placement: Placement) -> None:
        host.stores.append(Store(request, request.access, placement))

    def _load(
        self, value: Value, loads: Sequence[tuple[Group, Request]], placement: Placement | None, hosts: Sequence[Group]
    ) -> None:
        """Let requests be loads; what cannot be addressed there is loaded from a copy in row-major order."""
        for group, request in loads:
            assert placement is not None
            request.placement = placement
            sources = hosts
            if not is_plain(request.address()):
                request.placement, copier = self._copy(value, placement, hosts)
                sources = [copier]
            for host in sources:
                if host is not group:
                    group.deps[host] = None

    def _copy(self, value: Value, placement: Placement, hosts: Sequence[Group]) -> tuple[Placement, Group]:
        found = self.copies.get(value)
        if found is None:
            group, access = self.map_group(value.shape)
            request = self.ask(group, value, access)
            request.placement = placement
            copied = self.temporary(value)
            self._add_store(group, request, copied)
            group.placed(self.index.get(value, -1))
            for host in hosts:
                group.deps[host] = None
            found = self.copies[value] = (copied, group)
        return found

    def _visit_input(self, value: Value) -> None:
        placement = self.placements[value]
        requests = self._requests(value)
        self._load(value, requests, placement, [])
        for target in self.targets.get(value, []):
            group, access = self.map_group(value.shape)
            request = self.ask(group, value, access)
            request.placement = placement
            self._write(group, request, target)
            group.placed(-1)

    def _constant_array(self, value: Value, node: Node, requests: list[tuple[Group, Request]], targets: list[Target]) -> None:
        buffer = Buffer("const", 0, value.dtype, value.shape, value.name, node.attrs["value"])
        placement = Placement.contiguous(buffer, value.shape)
        self.placements[value] = placement
        self._visit_input(value)

    # Computing a value inside a group

    def _expand(self, node: Node, group: Group, request: Request) -> None:
        """Request what the value is computed from."""
        if request.operands is not None:
            return
        row = PRIMITIVES[node.op]
        access, inner = request.access, request.inner
        if row.kind == ELEMENTWISE:
            request.operands = [self.ask(group, operand, access, inner=inner) for operand in node.inputs]
            return
        if row.kind == MOVEMENT:
            self._expand_movement(node, group, request)
            return
        if node.op in ("constant", "size"):
            request.operands = []
            return
        group.scalar_only = False
        if node.op == "iota":
            request.operands = []
        elif row.kind == RANDOM:
            request.operands = [self.ask(group, node.inputs[0], (ZERO,), leaf=True)]
        elif node.op == "reduce":
            plan = plan_reduction(group, request, node)
            assert plan is not None
            inside = reduce_operand(group, request, node, plan)
            request.operands = [self.ask(group, node.inputs[0], inside, inner=True)]
        else:
            request.operands = self._expand_gather(node, group, request)

    def _expand_movement(self, node: Node, group: Group, request: Request) -> None:
        found = through(node, group, request)
        while isinstance(found, Split):
            if not group.split(found.loop, found.sizes):
                raise InternalError("a loop under a padding mask was to be split")
            found = through(node, group, request)
        if found is None:
            raise InternalError(f"{node.op}: the indices asked for cannot be followed")
        access, mask = found
        leaf = request.leaf or bool(mask)
        request.operands = [self.ask(group, node.inputs[0], access, mask, leaf, request.inner)]

    def _expand_gather(self, node: Node, group: Group, request: Request) -> list[Request]:
        table, index = node.inputs
        dim = node.attrs.get("dim", 0)  # a row is taken from the first dimension
        access = request.access
        if node.op == "gather":
            where = access
            rest = list(access)
            before, after = rest[:dim], rest[dim + 1 :]
        else:
            rank = len(index.shape)
            where = access[dim : dim + rank]
            before, after = list(access[:dim]), list(access[dim + rank :])
        position = self.ask(group, index, where, inner=request.inner)
        pseudo = group.computed_loop(position, table.shape[dim])
        found = self.ask(group, table, (*before, loop_index(pseudo), *after), inner=request.inner)
        return [position, found]

    # Nodes with kernels or steps of their own

    def _contraction(self, value: Value, node: Node, requests: list[tuple[Group, Request]], targets: list[Target]) -> None:
        """Fuse with the one elementwise group that uses it whole, or write it out."""
        if len(requests) == 1 and not targets and self.fuse:
            group, request = requests[0]
            if self._is_epilogue(value, group, request):
                group.kind, group.frozen, group.node, group.anchor = "contraction", True, node, request
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
            targets[0].hosts.append(group)
            for waiter in targets[0].waiters:
                waiter.deps[group] = None
        self._load(value, requests, placement, [group])
        self._copy_to(value, placement, [group], copies)
        self._contract(node, group, access)

    def _copy_to(self, value: Value, placement: Placement, hosts: Sequence[Group], targets: Sequence[Target]) -> None:
        """Copy a placed value to further targets."""
        for target in targets:
            copier, loops = self.map_group(value.shape)
            request = self.ask(copier, value, loops)
            request.placement = placement
            for host in hosts:
                copier.deps[host] = None
            self._write(copier, request, target)
            copier.placed(self.index.get(value, -1))

    def _is_epilogue(self, value: Value, group: Group, request: Request) -> bool:
        if group.kind != "loop" or group.reduce is not None or not group.scalar_only or len(group.stores) != 1:
            return False
        if request.leaf or request.mask or group.coverage(value, request.access) != "full" or group.gathers:
            return False
        if any(r.mask for r in group.all_requests()) or self._rewrites_operand(group):
            return False
        return all(size == 1 or index.loop is not None for size, index in zip(value.shape, request.access))

    def _rewrites_operand(self, group: Group) -> bool:
        """Whether the group writes an input it also reads: a contraction may not, it writes partial sums first."""
        return any(any(self.placements.get(value) is store.placement for value in group.requests) for store in group.stores)

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
                below = Target(placement)
                below.hosts = first.hosts if first else []
                below.waiters.append(writer)
                self.targets.setdefault(initial, []).append(below)
        for group in writers:
            group.placed(self.index[value])
            self._wait(group, value)
        if first:
            first.hosts.extend(writers)
            for waiter in first.waiters:
                waiter.deps.update(dict.fromkeys(writers))
        self._load(value, requests, placement, writers)
        self._copy_to(value, placement, writers, targets[1:] if first else targets)

    def _dies(self, value: Value) -> bool:
        """Whether a value is computed for its one user alone, which may then write over it."""
        if value.node is None or self.uses[value] != 1 or value in self.targets:
            return False
        return PRIMITIVES[value.node.op].kind != MOVEMENT and value.node.op != "constant"

    def _concat(self, node: Node, placement: Placement, writers: list[Group]) -> None:
        dim = node.attrs["dim"]
        offset: Expr = placement.offset
        for part in node.inputs:
            group, access = self.map_group(part.shape)
            self._add_store(group, self.ask(group, part, access), Placement(placement.buffer, placement.strides, offset))
            offset = offset + part.shape[dim] * placement.strides[dim]
            writers.append(group)

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
        if node.op in ("scatter", "scatter_add"):
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
        if self.next_random is not None:
            self.next_random.deps[group] = None
        self.next_random = group
        placement = self.temporary(value)
        request = self.ask(group, value, (ZERO,))
        request.operands = []
        self._add_store(group, request, placement)
        self._load(value, [pair for pair in self._requests(value) if pair[0] is not group], placement, [group])

    def _control(self, node: Node) -> None:
        """A branch or a loop is one step; the carried variables of a loop are written before it."""
        symbol = late_symbol(node)
        if symbol is None and not any(value in self.requesters or value in self.targets for value in node.outputs):
            return
        group = self.group("control", node)
        group.placed(self.index[node.outputs[0]])
        group.in_registers = self.fuse and is_small(node)
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
        if first and first.placement.strides != contiguous_strides(value.shape):
            first = None
        if first:
            placement = first.placement
            first.hosts.append(group)
            for waiter in first.waiters:
                waiter.deps[group] = None
        elif grows:
            placement = Placement.contiguous(Buffer("stack", -1, value.dtype, value.shape, value.name), value.shape)
        else:
            placement = self.temporary(value)
        group.carried.append(Target(placement, readable=False))
        self._load(value, self._requests(value), placement, [group])
        self._copy_to(value, placement, [group], targets[1:] if first else targets)

    def _measure(self, node: Node) -> None:
        """A late size from a value, or from a count: the operand is written row-major for the step that looks at it."""
        group = self.group("late", node)
        group.placed(self.index[node.outputs[0]])
        operand = Target(self.temporary(node.inputs[0]))
        operand.waiters.append(group)
        self.targets.setdefault(node.inputs[0], []).append(operand)
        group.carried.append(operand)
        if node.op == "nonzero":
            self._result(group, node.output)
        self._known(node, group)
