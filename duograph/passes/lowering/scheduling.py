"""From a graph of primitives to a schedule: fuse, order, lower; writes to mutable inputs; branches and loops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

from duograph.errors import InternalError
from duograph.ir.dim import Dim, Expr, bounds, contiguous_strides
from duograph.ir.effects import calls_host, is_parted
from duograph.ir.graph import Graph, Node, Value
from duograph.ir.late import late_symbol, makes, mentions

from ..fusion.fuse import Fusion
from ..fusion.groups import Buffer, CyclicGroups, Group, Placement, Request, Store, Target, reaches
from ..fusion.schedule import (
    BoxStep,
    CheckStep,
    CondStep,
    NonzeroStep,
    NumberStep,
    RandomStep,
    Result,
    Schedule,
    SizeStep,
    Stack,
    Step,
    UnboxStep,
    WhileStep,
)
from ..fusion.small_loops import lower_flow
from ..rewriting.turns import turns
from .around import images_of, without_copies
from .lower import lower_loop, lower_scatter
from .lower_contraction import lower_contraction
from .lower_rows import lower_rows
from .lower_windows import lower_windows
from .ordering import in_order
from .pairs import Pairs
from .parts import parted_steps
from .views import view_of


def schedule(
    graph: Graph, fuse: bool = True, views: bool = True, again: Mapping[Value, int] | None = None, around: bool = False
) -> Schedule:
    """The steps of a program.

    Without `fuse` every elementwise node is a kernel; without `views` only written inputs are results themselves, and
    what is an input or a view of one is copied. `again` are values computed again, by segment (see recompute). `around`:
    contractions may be made in ways that need no padded copy (see around).
    """
    cells: dict[Value, Value] = {}
    written: set[int] = set()
    if not is_parted(graph):
        graph, cells, written = _resolve_writes(graph)
    placements = {}
    for i, (value, argument) in enumerate(zip(graph.inputs, graph.arguments)):
        buffer = Buffer("input", i, value.dtype, value.shape, value.name)
        strides = contiguous_strides(value.shape) if argument.strides is None else argument.strides
        placements[value] = Placement(buffer, strides, number=argument.kind == "number")
    plan = Schedule((), (), again=again or {}, turns=dict(turns(graph)), around=around)
    results: list[Result] = []
    targets: list[tuple[Value, Target]] = []
    for j, value in enumerate(graph.outputs):
        result = _alias(value, placements, plan, j in written) if views or j in written else None
        if result is None:
            buffer = Buffer("output", j, value.dtype, value.shape, value.name or "result")
            targets.append((value, Target(Placement.contiguous(buffer, value.shape))))
            result = Result(value.dtype.code, value.shape, buffer)
            plan.buffers.append(buffer)
        results.append(result)
    for cell, value in cells.items():
        if value is not cell:
            targets.append((value, Target(placements[cell], cell=cell)))
    plan.steps = _steps(graph, placements, targets, plan, fuse)
    plan.results = tuple(results)
    plan.checks += [(check.relation, check.left, check.right, check.code) for check in graph.checks]
    return plan


def _resolve_writes(graph: Graph) -> tuple[Graph, dict[Value, Value], set[int]]:
    """The graph without `assign` nodes, what each written input holds in the end, and which results are such inputs.

    A result that is what an assignment returned is the input itself; elsewhere it is the assigned value.
    """
    cells: dict[Value, Value] = {}
    written: dict[Value, Value] = {}
    values: dict[Value, Value] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        inputs = tuple(values.get(value, value) for value in node.inputs)
        if node.op == "assign":
            cells[node.inputs[0]] = inputs[1]
            for output in node.outputs:
                values[output] = inputs[1]
                written[output] = node.inputs[0]
            continue
        if inputs != node.inputs:
            made = node.with_inputs(inputs)
            values.update(zip(node.outputs, made.outputs))
            node = made
        nodes.append(node)
    outputs = tuple(written.get(value) or values.get(value, value) for value in graph.outputs)
    results = {j for j, value in enumerate(graph.outputs) if value in written}
    return graph.replace(nodes=tuple(nodes), outputs=outputs), cells, results


def _alias(value: Value, placements: Mapping[Value, Placement], plan: Schedule, written: bool) -> Result | None:
    """The result that shares an input's memory, if the value is an input or a view of one."""
    if value in placements:
        place = placements[value]
        if place.number:
            return None
        if written:
            return Result(value.dtype.code, value.shape, inplace=place.buffer.index)
        return Result(value.dtype.code, value.shape, placement=place)
    found = view_of(value, placements)
    if found is None:
        return None
    placement, checks = found
    plan.checks += checks
    return Result(value.dtype.code, value.shape, placement=placement)


def _steps(
    graph: Graph,
    placements: dict[Value, Placement],
    targets: Sequence[tuple[Value, Target]],
    plan: Schedule,
    fuse: bool,
) -> tuple[Step, ...]:
    """The steps of a graph, in parts where Python is called."""
    graph = _checked_when_known(graph, plan)

    def run(graph: Graph, placements: dict[Value, Placement], targets: Sequence[tuple[Value, Target]]) -> tuple[Step, ...]:
        return _fused_steps(graph, placements, targets, plan, fuse)

    return parted_steps(graph, placements, targets, plan, run) if is_parted(graph) else run(graph, placements, targets)


def _checked_when_known(graph: Graph, plan: Schedule) -> Graph:
    """The graph without what it requires of sizes that it makes itself: they are checked as soon as they are known.

    A call into Python between the two may end the run otherwise, so what is required behind one stays there.
    """
    if not any(node.op == "require" for node in graph.nodes):
        return graph
    unsure = any(bounds(size)[0] < 0 for value in graph.outputs for size in value.shape)  # memory comes with the size
    made: set[Dim] = set()  # since the last call
    before: set[Dim] = set()
    early = []
    for node in graph.nodes:
        if node.op == "require" and mentions(node) & (made if node.attrs["relation"] != "eq" and not unsure else made | before):
            early.append(node)
        elif calls_host(node):
            before |= made
            made = set()
        made |= makes(node)
    plan.checks += [tuple(map(node.attrs.__getitem__, ("relation", "left", "right", "code"))) for node in early]
    return graph.replace(nodes=tuple(node for node in graph.nodes if node not in early))


def _fused_steps(
    graph: Graph,
    placements: dict[Value, Placement],
    targets: Sequence[tuple[Value, Target]],
    plan: Schedule,
    fuse: bool,
) -> tuple[Step, ...]:
    """Fuse, again with more caution while writes to inputs get into each other's way. What sizes must be is checked first."""
    required = [node for node in graph.nodes if node.op == "require"]
    if required:
        graph = graph.replace(nodes=tuple(node for node in graph.nodes if node.op != "require"))
    checks = [CheckStep(*map(node.attrs.__getitem__, ("relation", "left", "right", "code"))) for node in required]
    apart: set[Value] = set()
    share = True
    while True:
        fusion, final = _fuse(graph, placements, targets, apart, share, fuse, plan.again)
        clashes = _order_writes(fusion, final, placements)
        if clashes - apart:
            apart |= clashes
            continue
        try:
            groups = in_order(fusion.groups)
        except CyclicGroups:
            if not share:
                raise InternalError("fusion found no order of kernels") from None
            share = False
            continue
        break
    plan.buffers += fusion.temporaries
    written = [target.cell for _, target in final if target.cell is not None]
    images = images_of(groups, [placements[cell].buffer for cell in written]) if plan.around else {}
    lowering = _GroupSteps(plan, fuse, images)
    steps = [step for group in groups for step in lowering.steps(group)]
    return (*checks, *(without_copies(steps, images, plan) if images else steps))


def _fuse(
    graph: Graph,
    placements: dict[Value, Placement],
    targets: Sequence[tuple[Value, Target]],
    apart: set[Value],
    share: bool,
    fuse: bool,
    again: Mapping[Value, int],
) -> tuple[Fusion, list[tuple[Value, Target]]]:
    """One attempt. Cells in `apart` are written by a copy at the end; returns the writes to cells there are."""
    wanted: dict[Value, list[Target]] = {}
    final: list[tuple[Value, Target]] = []
    late: list[tuple[Value, Target]] = []
    for value, target in targets:
        fresh = Target(target.placement, target.readable, target.cell)
        if target.cell is not None and target.cell in apart:
            late.append((value, fresh))
            continue
        wanted.setdefault(value, []).append(fresh)
        if target.cell is not None:
            final.append((value, fresh))
    fusion = Fusion(graph, dict(placements), wanted, share, fuse, again)
    kept: list[tuple[Group, Target, Target]] = []
    for value, target in late:
        saved = Target(fusion.temporary(value))
        wanted.setdefault(value, []).append(saved)
        copier, access = fusion.map_group(value.shape)
        request = Request(value, access, (), True, False)
        request.placement = saved.placement
        request.operands = None
        copier.requests[value] = [request]
        saved.waiters.append(copier)
        copier.stores.append(Store(request, access, target.placement))
        copier.placed(len(graph.nodes) + len(kept))
        target.hosts.append(copier)
        kept.append((copier, saved, target))
        final.append((value, target))
    fusion.run()
    return fusion, final


def _order_writes(fusion: Fusion, final: Sequence[tuple[Value, Target]], placements: Mapping[Value, Placement]) -> set[Value]:
    """Let whoever reads an input run before it is written; returns the inputs for which that cannot be."""
    clashes: set[Value] = set()
    for _, target in final:
        cell = target.cell
        assert cell is not None
        seen = [cell, *fusion.reshapes.get(cell, ())]
        reads = [(reader, reader.requests[value]) for value in seen for reader in list(fusion.requesters.get(value, ()))]
        for writer, (reader, requests) in product(target.hosts, reads):
            old = [r for r in requests if r.placement is not None and r.placement.buffer is placements[cell].buffer]
            if not old:
                continue
            if reader is writer:
                if not all(_same_place(writer, request, target) for request in old):
                    clashes.add(cell)
            elif reaches(reader, writer):
                clashes.add(cell)
            else:
                writer.deps[reader] = None
    return clashes


def _same_place(group: Group, request: Request, target: Target) -> bool:
    """Whether a group reads an element only where it writes it, and in one pass: a second one would read the new value."""
    if request is group.held:
        return True
    stores = [store for store in group.stores if store.placement.buffer is target.placement.buffer]
    by_row = group.kind == "scatter" and group.node is not None and group.node.op == "row_update"
    if request.leaf or request.mask or not (group.kind == "loop" or by_row) or len(stores) != 1:
        return False
    read, written = request.address(), stores[0].address()
    if any(term[0] == group.reduce for term in read.terms):
        return False
    return read.offset == written.offset and set(read.terms) == set(written.terms)


class _GroupSteps:
    """Steps of groups; regions become schedules of their own inside."""

    def __init__(self, plan: Schedule, fuse: bool, images: Mapping[Request, Request]) -> None:
        self.plan = plan
        self.fuse = fuse
        self.images = images
        self.pairs = Pairs()

    def steps(self, group: Group) -> list[Step]:
        if group.kind == "loop":
            return [lower_loop(group)]
        if group.kind == "scatter":
            return [lower_scatter(group)]
        if group.kind == "contraction":
            steps, made = lower_contraction(group, self.images, self.pairs)
            self.plan.buffers += made
            return [*steps]
        if group.kind == "rows":
            return [lower_rows(group)]
        if group.kind == "windows":
            return [lower_windows(group)]
        if group.kind == "random":
            assert group.node is not None
            return [RandomStep(group.stores[0].placement.buffer, group.node.attrs["count"])]
        if group.kind == "box":
            assert group.node is not None
            return [BoxStep(group.carried[0].placement.buffer, group.node.attrs["keep"])]
        return [self._measure(group) if group.kind == "late" else self._control(group)]

    @staticmethod
    def _measure(group: Group) -> Step:
        node = group.node
        assert node is not None
        source = group.carried[0].placement.buffer
        if node.op == "size_of":
            return SizeStep(source, node.attrs["size"])
        result = group.carried[1].placement
        if node.op == "unbox":
            return UnboxStep(source, result.buffer)
        if node.op == "box":
            return NumberStep(source, result.buffer.view(result.offset))
        count, room = node.inputs[0].type.size, node.output.type.size
        return NonzeroStep(source, count, node.attrs["size"], result.buffer.view(result.offset), room)

    def _control(self, group: Group) -> Step:
        node = group.node
        assert node is not None
        operands = [_operand_placement(request) for request in group.operands]
        if group.in_registers:
            places = [_operand_placement(s) if isinstance(s, Request) else s for s in group.sources]
            return lower_flow(node, places, [target.placement for target in group.carried], self.plan.turns)
        if node.op == "cond":
            predicate = self._whole(operands[0])
            then, otherwise = (self._branch(region, operands[1:], group) for region in node.regions)
            return CondStep(predicate, then, otherwise)
        count = node.attrs["carried"]
        carried = [target.placement for target in group.carried[:count]]
        test, body = node.regions
        rows = zip(group.carried[count:], body.outputs[count:], node.outputs[count:])
        stacks = [self._stack(target.placement, row, made.shape[0]) for target, row, made in rows]
        predicate = Buffer("temp", -1, test.outputs[0].dtype, (), "condition")
        self.plan.buffers.append(predicate)
        inputs = [*carried, *operands]
        condition = self._region(test, inputs, [Target(Placement.contiguous(predicate, ()))])
        targets = [
            Target(placement, cell=body.inputs[i]) if body.outputs[i] is not body.inputs[i] else None
            for i, placement in enumerate(carried)
        ]
        targets += [Target(Placement.contiguous(stack.row, stack.row.shape)) for stack in stacks]
        steps = self._region(body, inputs, targets)
        return WhileStep(condition, predicate, steps, tuple(stacks), late_symbol(node), self.plan.turns.get(node))

    @staticmethod
    def _stack(placement: Placement, row: Value, count: Expr) -> Stack:
        """Where a loop's rows go: the memory of the result, or some that grows."""
        memory = placement.buffer.view(placement.offset)
        rows = None if placement.buffer.kind == "stack" else count
        return Stack(Buffer("row", -1, row.dtype, row.shape, row.name), memory, row.type.bytes, rows)

    def _whole(self, placement: Placement) -> Buffer:
        """A bool that is the first element of its buffer."""
        return placement.buffer.view(placement.offset)

    def _branch(self, region: Graph, inputs: Sequence[Placement], group: Group) -> tuple[Step, ...]:
        return self._region(region, inputs, [Target(target.placement) for target in group.carried])

    def _region(self, region: Graph, inputs: Sequence[Placement], targets: Sequence[Target | None]) -> tuple[Step, ...]:
        placements = dict(zip(region.inputs, inputs))
        wanted = [(value, target) for value, target in zip(region.outputs, targets) if target is not None]
        return _steps(region, placements, wanted, self.plan, self.fuse)


def _operand_placement(request: Request) -> Placement:
    """Where an operand of a branch or loop lies, per dimension of the operand."""
    loaded = request.loaded()
    placement = loaded.placement
    assert placement is not None
    if placement.number:
        return placement
    address = loaded.address()
    by_loop: dict[int, Expr] = {loop: coefficient for loop, coefficient, _, _ in address.terms}
    strides = tuple(0 if index.loop is None else by_loop.get(index.loop, 0) for index in request.access)
    return Placement(placement.buffer, strides, address.offset)
