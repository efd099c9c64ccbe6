"""fuse: which nodes share a kernel, which values get memory.

Nodes are visited from the last to the first, so that all uses of a value are known as *requests* of groups (a group,
the indices wanted) before it is decided whether the value is computed inside those groups or gets memory of its own,
written by one of them (its host) or by a new one. Everything is decided in one pass and by program order only.
"""

from __future__ import annotations

from collections.abc import Sequence

from duograph.errors import InternalError
from duograph.ir.dim import Expr, contiguous_strides, product
from duograph.ir.graph import Node, Value
from duograph.ir.primitives import CONTROL, ELEMENTWISE, INDEXING, LATE, MOVEMENT, PRIMITIVES, RANDOM, READS, ROWS, WINDOWS

from ..rewriting.costs import CHEAP, LOAD_COST
from .access import ZERO, Access, Mask, Split, divided, is_plain, linear, loop_index
from .fusion_nodes import OwnNodes
from .groups import Buffer, Group, Placement, Request, Target, reaches
from .movement import is_read, through
from .reductions import plan_reduction, reduce_operand

MAX_STORES = 8
MAX_SCALAR_STORES = 48
MAX_ONE_BY_ONE = 40  # what costs more is computed in vectors before a kernel that has none


class Fusion(OwnNodes):
    """Visits the nodes of a graph and decides for each value where it is computed."""

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
            elif PRIMITIVES[node.op].kind == ROWS:
                self._rows(node)
            elif PRIMITIVES[node.op].kind == WINDOWS:
                self._windows(node)
            else:
                self._visit(node.outputs[0], node)
        for value in self.graph.inputs:
            self._visit_input(value)

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
        kept = (len(inline) > 1 and cost > CHEAP) or (self.fuse and (value in self.costs.joined or value in self.costs.early))
        if node.op == "broadcast" and product(node.inputs[0].shape) != product(value.shape):
            kept = False  # if anything, what is broadcast
        elif not kept and node.op != "reduce" and self.costs.whole(value) > LOAD_COST:
            dear = self.costs.whole(value) > CHEAP
            missing = [pair for pair in inline if (dear and not pair[1].leaf) or self._is_position(*pair)]  # leaves are in memory
            kept = any(self._is_smaller(value, *pair) for pair in missing)
        if targets or kept or len(inline) < len(requests):
            host = self._host(value, node, inline, requests, targets)
            cheap = not kept and cost <= LOAD_COST + 1 and all(map(self._is_near, node.inputs))
            again = [pair for pair in inline if pair[0] is not host] if cheap else []
            loads = [pair for pair in requests if pair[0] is not host and pair not in again]
            self._load(value, loads, self._store(value, host, targets, bool(loads)), [host])
            inline = again + [(host, request) for request in host.requests[value] if request.placement is None]
        for group, request in inline:
            self._expand(node, group, request)

    def _is_near(self, value: Value) -> bool:
        """Whether a value is computed again at no great cost, or is in memory whoever else needs it."""
        node = value.node
        if node is None or PRIMITIVES[node.op].kind not in (ELEMENTWISE, MOVEMENT):
            return True
        if PRIMITIVES[node.op].kind == MOVEMENT:
            return all(map(self._is_near, node.inputs))
        if self.costs.again(value) <= CHEAP or value in self.costs.epilogues or value in self.targets:
            return True
        return any(request.leaf for _, request in self._requests(value))

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
            forwarded = target.at(Placement(old.buffer, contiguous_strides(operand.shape), old.offset))
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
            if self._followed(node, group, request) is None:
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
            self.reshapes.setdefault(operand, []).append(value)
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

    @staticmethod
    def _is_position(group: Group, request: Request) -> bool:
        """Whether elements next to each other in the group are gathered by it: then it is looked up rather than computed."""
        inner = group.order[-1:]
        return any(position is request for position, _ in group.gathers) and any(
            term[0] in inner for index in request.access for term in index.terms
        )

    def _can_inline(self, value: Value, node: Node, group: Group, request: Request) -> bool:
        row = PRIMITIVES[node.op]
        if row.kind == MOVEMENT:
            return through(node, group, request) is not None
        if request.leaf or request.mask or group.kind not in ("loop", "contraction", "windows", "scatter"):
            return False
        if group.kind == "scatter" and group.one_by_one and self.costs.whole(value) > MAX_ONE_BY_ONE:
            return False
        if row.kind == ELEMENTWISE or node.op in ("constant", "size"):
            return True
        if group.kind in ("contraction", "windows"):
            return False
        if node.op == "reduce":
            return plan_reduction(group, request, node) is not None
        # Of the digits of a merged loop a table needs all, and the computed index takes some.
        return row.kind != INDEXING or not divided(request.access)

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
        if self.share and not any(value in own for own in (self.costs.epilogues, self.costs.joined, self.costs.early)):
            first = min((group for group, _ in inline), key=lambda g: (g.low, g.number), default=None)
            if first is not None and self._may_host(value, node, first, inline, others, targets):
                return first
            beside = self._beside(value, node, others)
            if beside is not None:
                return beside
        group, access = self.map_group(value.shape)
        group.again = self.again.get(value, 0)
        self.ask(group, value, access)
        if value in self.costs.early:
            group.placed(self.costs.early[value] + 1)
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
        found = self._followed(node, group, request)
        if found is None:
            raise InternalError(f"{node.op}: the indices asked for cannot be followed")
        access, mask = found
        leaf = request.leaf or bool(mask)
        request.operands = [self.ask(group, node.inputs[0], access, mask, leaf, request.inner)]

    def _followed(self, node: Node, group: Group, request: Request) -> tuple[Access, Mask] | None:
        """The indices at a movement's operand, after the splits of loops that they ask for; None where nothing can say them."""
        found = through(node, group, request)
        while isinstance(found, Split):
            if not group.split(found.loop, found.sizes):
                raise InternalError("a loop under a padding mask was to be split")
            found = through(node, group, request)
        return found

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
        at = (*before, loop_index(pseudo), *after)
        if table not in self.index or is_read(table, dim):  # what an earlier part has computed lies in memory
            return [position, self.ask(group, table, at, inner=request.inner)]
        return [position, self._in_memory(group, table, at)]

    def _in_memory(self, group: Group, table: Value, access: Access) -> Request:
        """A request for what nothing would be loaded for: it is written first, since a load is what checks an index."""
        if table not in self.tables:
            writer, along = self.map_group(table.shape)
            target = Target(self.temporary(table))
            self._write(writer, self.ask(writer, table, along), target)
            writer.placed(self.index[table])
            self.tables[table] = target.placement, writer
        found = self.ask(group, table, access)
        found.placement, writer = self.tables[table]
        group.deps[writer] = None
        return found
