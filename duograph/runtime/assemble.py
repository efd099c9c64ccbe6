"""From a graph to a program the core runs: passes, kernels, memory plan, registers, steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.codegen.contraction.driver import HEADER as PRODUCT
from duograph.codegen.contraction.gemv import FAR
from duograph.codegen.contraction.library import symbol_of
from duograph.codegen.contraction.parts import TILED
from duograph.codegen.kernel import KEPT, CompiledKernel, ContractionKernel, Launch
from duograph.ir.dim import Dim, Expr
from duograph.ir.graph import Graph, Value
from duograph.ir.late import late_symbols
from duograph.ir.primitives import INDEXING, PRIMITIVES
from duograph.ir.substitution import symbols
from duograph.passes.fusion.groups import Buffer, Placement
from duograph.passes.fusion.schedule import (
    BoxStep,
    CheckStep,
    CondStep,
    CopyStep,
    HostStep,
    ImagesStep,
    KernelStep,
    NonzeroStep,
    NumberStep,
    RandomStep,
    Result,
    Schedule,
    SizeStep,
    Step,
    UnboxStep,
    WhileStep,
    counted,
)
from duograph.passes.lowering.scheduling import schedule
from duograph.passes.memory.images import by_images
from duograph.passes.memory.plan_memory import Plan, most, plan_memory, results_bytes, room
from duograph.passes.memory.recompute import Fitted, Planner, Recomputation, fit, greatest_peak, planned_peak, too_small
from duograph.passes.memory.trim import ready, trim
from duograph.passes.pipeline import Options, keep_rows, simplified
from duograph.passes.rewriting.hoist import may_fail
from duograph.passes.rewriting.segment_loops import Cut, by_default, cost, in_parts, nowhere

from .chains import PLACES, Chain, cut_launches, with_chains
from .kernels import CompiledUnit, compile_unit
from .registers import Registers

if TYPE_CHECKING:
    from .choices import Chooser
    from .report import PlanReport

Spec = dict[str, Any]
_CACHES = 3 << 23  # bytes
_PRODUCTS = frozenset(map(symbol_of, TILED))
_CHAIN = 12  # where an entry of a kernel says which ones run together with it

# How loops are cut for a memory budget: of two segments ever more turns twice, then ever more segments.
CUTS: tuple[Cut, ...] = (*(in_parts(eighths, of=8) for eighths in (1, 2, 3, 4)), *map(in_parts, (3, 4, 6, 8, 12, 16)))


class Assembled:
    """The parts of a program, and what its report is made of."""

    def __init__(
        self, graph: Graph, plan: Schedule, spec: Spec, code: bytes, compiled: dict[int, CompiledKernel], memory: Plan
    ) -> None:
        self.graph = graph
        self.plan = plan
        self.spec = spec
        self.code = code
        self.compiled = compiled
        self.memory = memory
        self.recomputed: Recomputation | None = None

    def report(self) -> PlanReport:
        """What the program does, in words and figures."""
        from dataclasses import replace

        from .report import describe

        report = describe(self.graph, self.plan, counted(self.plan.steps), self.compiled, self.memory)
        return replace(report, peak=planned_peak(self.memory), recomputed=self.recomputed)


def assemble(graph: Graph, options: Options, optimised: bool, views: bool, chooser: Chooser | None = None) -> Assembled:
    """Compile a graph; see `build.build`. `chooser`: how contractions are made, None: by their sizes."""
    given = graph
    if not optimised:
        graph = simplified(graph, options)
    if options.budget is not None:
        return _within_budget(graph, given, options, views, chooser)
    again = cost(graph) if not optimised else None
    if not optimised:
        graph = keep_rows(graph, options)
    graph = ready(graph) if options.fuse else graph
    around = options.fuse and chooser is None  # of ways that somebody may choose, only one can do without padded copies
    plan = schedule(graph, options.fuse, views, around=around)
    trimmed = trim(graph, plan, _planner(options, views, around)) if options.fuse else None
    if trimmed is not None:
        made = _assemble(trimmed.graph, given, trimmed.schedule, chooser, options.fuse)
        made.recomputed = trimmed.report
        return made
    made = _assemble(graph, given, plan, chooser, options.fuse)
    if again is not None and again.turns:
        peak = planned_peak(made.memory)
        after = peak if isinstance(peak, int) else 0
        made.recomputed = Recomputation(None, after, after, 0, again.bytes, again.operations, again.turns)
    return made


def _planner(options: Options, views: bool, around: bool = False) -> Planner:
    """Schedules a graph and plans its memory, but for what kernels need beside their operands."""

    def planner(graph: Graph, again: Mapping[Value, int]) -> tuple[Schedule, Plan]:
        plan = schedule(graph, options.fuse, views, again, around)
        return plan, plan_memory(plan.steps, late=list(late_symbols(graph)))

    return planner


def _within_budget(graph: Graph, given: Graph, options: Options, views: bool, chooser: Chooser | None) -> Assembled:
    """The program that allocates no more than the options allow."""
    assert options.budget is not None
    loops = _Loops(graph, options, _planner(options, views))
    unbudgeted = loops.unbudgeted()
    budget = options.budget if isinstance(options.budget, int) else int(unbudgeted * options.budget)
    reserve = 0  # for what kernels need beside their operands, which is known when they are compiled
    while True:
        found = loops.fit(budget, reserve)
        made = _assemble(found.graph, given, found.schedule, chooser, options.fuse)
        peak = most(planned_peak(made.memory))
        done = found.report._replace(before=min(found.report.before, unbudgeted + reserve), after=peak)
        if peak <= budget:
            made.recomputed = done
            return made
        if found.report.after > budget:
            raise too_small(graph.name, done, results_bytes(made.memory))
        reserve += peak - budget


class _Loops:
    """A program's graph with its loops cut in several ways, and what fits."""

    def __init__(self, graph: Graph, options: Options, planner: Planner) -> None:
        self.graph = graph
        self.options = options
        self.planner = planner
        self.made: dict[Cut, Graph] = {}
        self.peaks: dict[Cut, int] = {}

    def cut(self, cut: Cut) -> Graph:
        """The graph with its loops cut so."""
        if cut not in self.made:
            self.made[cut] = keep_rows(self.graph, self.options._replace(cut=cut))
        return self.made[cut]

    def peak(self, cut: Cut) -> int:
        """The planned peak where nothing but turns of loops is computed again."""
        if cut not in self.peaks:
            graph = self.cut(cut)
            self.peaks[cut] = greatest_peak(graph.name, self.planner(graph, {})[1])
        return self.peaks[cut]

    def unbudgeted(self) -> int:
        """The planned peak of the program that is made without a budget."""
        graph = ready(self.cut(by_default))
        trimmed = trim(graph, self.planner(graph, {})[0], self.planner) if self.options.fuse else None
        return self.peak(by_default) if trimmed is None else trimmed.report.after

    def fit(self, budget: int, reserve: int) -> Fitted:
        """A program within the budget, with few turns of loops computed again if any; where there is none, the smallest."""
        smallest = fit(self.cut(nowhere), budget, self.planner, reserve)
        if smallest.report.after <= budget or not cost(self.graph, CUTS[0]).turns:
            return smallest
        fitting = next((cut for cut in CUTS if self.peak(cut) + reserve <= budget), None)
        for cut in CUTS if fitting is None else [fitting]:
            found = fit(self.cut(cut), budget, self.planner, reserve)
            if found.report.after <= budget or found.report.after < smallest.report.after:
                again = cost(self.graph, cut)
                done = found.report
                smallest = found._replace(
                    report=done._replace(
                        before=self.peak(nowhere) + reserve,
                        bytes=done.bytes + again.bytes,
                        operations=done.operations + again.operations,
                        turns=again.turns,
                    )
                )
            if found.report.after <= budget:
                break
        return smallest


def _assemble(graph: Graph, given: Graph, plan: Schedule, chooser: Chooser | None, fuse: bool) -> Assembled:
    """Compile a schedule."""
    free = fuse and chooser is None  # to make kernels that are not those of the whole operands
    together, chains = with_chains(plan) if free else (plan, [])
    together = by_images(together, {id(step) for chain in chains for step in chain.steps}) if free else plan
    unit, compiled = _compiled(together, graph, chooser)
    if cut_launches(chains, compiled):
        plan = together
    else:  # one of their kernels is made in another way than was thought
        plan = by_images(plan, set())
        chains, (unit, compiled) = [], _compiled(plan, graph, chooser)
    _mark_far(plan, graph, compiled)
    temporaries = {
        key: [Buffer("temp", -1, core.uint8, (size,), "kernel temporary") for size in kernel.temporaries]
        for key, kernel in compiled.items()
    }
    used = {id(step): [*temporaries[id(step)], *chain.buffers()] for chain in chains for step in chain.steps}
    memory = plan_memory(plan.steps, temporaries | used, list(late_symbols(graph)))
    writer = _SpecWriter(graph, given, memory, compiled, temporaries, chains)
    return Assembled(graph, plan, writer.write(plan), unit.object, compiled, memory)


def _compiled(plan: Schedule, graph: Graph, chooser: Chooser | None) -> tuple[CompiledUnit, dict[int, CompiledKernel]]:
    """The kernels of a schedule, also by their steps."""
    steps = kernel_steps(plan.steps)
    kernels = [step.kernel for step in steps]
    if chooser is not None:
        for i, (kernel, kept) in enumerate(zip(kernels, kept_operands(steps, graph, plan))):
            kernels[i] = chooser(kernel, kept) if isinstance(kernel, ContractionKernel) else kernel
    unit = compile_unit(kernels, decided=chooser is not None)
    return unit, {id(step): kernel for step, kernel in zip(steps, unit.kernels)}


def _mark_far(plan: Schedule, graph: Graph, compiled: dict[int, CompiledKernel]) -> None:
    """Tell products whose matrix is an argument that it comes from memory, where more than caches hold is read in between:
    the arguments of a run, or in a loop the matrices of a turn."""
    sizes = {i: value.type.bytes for i, value in enumerate(graph.inputs)}

    def mark(steps: Sequence[Step], read: Iterable[int]) -> None:
        far = sum(size for size in map(sizes.get, read) if isinstance(size, int)) > _CACHES
        for step in steps:
            if isinstance(step, CondStep):
                mark((*step.then, *step.otherwise), read)
            elif isinstance(step, WhileStep):
                turn = (*step.condition, *step.body)
                mark(turn, {product.buffers[1].index for product in kernel_steps(turn) if _has_far(product)})
            elif far and isinstance(step, KernelStep) and _has_far(step):
                kernel = compiled[id(step)]
                compiled[id(step)] = kernel._replace(launches=tuple(map(_from_memory, kernel.launches)))

    mark(plan.steps, sizes)


def _has_far(step: KernelStep) -> bool:
    """Whether it is a product whose matrix is an argument."""
    return isinstance(step.kernel, ContractionKernel) and step.buffers[1].kind == "input"


def _from_memory(launch: Launch) -> Launch:
    """The launch of a product whose matrix is far; any other one as it is."""
    if launch.symbol not in _PRODUCTS:
        return launch
    words = list(launch.size_exprs)
    known = words[PRODUCT.index("far")]
    assert isinstance(known, int)
    words[PRODUCT.index("far")] = known | FAR
    return launch._replace(size_exprs=tuple(words))


def kernel_steps(steps: Sequence[Step]) -> list[KernelStep]:
    """The kernels of steps and their regions, in order."""
    found: list[KernelStep] = []
    for step in steps:
        if isinstance(step, KernelStep):
            found.append(step)
        elif isinstance(step, ImagesStep):
            found += step.steps
        elif isinstance(step, CondStep):
            found += kernel_steps(step.then) + kernel_steps(step.otherwise)
        elif isinstance(step, WhileStep):
            found += kernel_steps(step.condition) + kernel_steps(step.body)
    return found


def kept_operands(steps: Sequence[KernelStep], graph: Graph, plan: Schedule) -> list[bool]:
    """Whether what a kernel makes of its first operand may be kept with that."""
    written = _written(plan)
    return [_stays(step.buffers[0], graph, written) for step in steps]


def _written(plan: Schedule) -> set[int]:
    """The inputs that a program writes to."""
    return {result.inplace for result in plan.results if result.inplace is not None}


def _stays(buffer: Buffer, graph: Graph, written: set[int]) -> bool:
    """Whether a buffer is a tensor that the program is given and does not write to."""
    if buffer.kind != "input" or graph.arguments[buffer.index].kind == "number":
        return False
    return buffer.index not in written


class _SpecWriter:
    """Writes the dict that `core.Program` takes."""

    def __init__(
        self,
        graph: Graph,
        given: Graph,
        memory: Plan,
        compiled: dict[int, CompiledKernel],
        temporaries: dict[int, list[Buffer]],
        chains: Sequence[Chain],
    ) -> None:
        self.graph = graph
        self.memory = memory
        self.compiled = compiled
        self.temporaries = temporaries
        self.chained = {id(chain.steps[0]): chain for chain in chains}
        self.tensors = [i for i, argument in enumerate(graph.arguments) if argument.kind != "number"]
        self.numbers = [i for i, argument in enumerate(graph.arguments) if argument.kind == "number"]
        self.position = {i: p for p, i in enumerate(self.tensors)} | {i: p for p, i in enumerate(self.numbers)}
        ranks = [graph.inputs[i].type.rank for i in self.tensors]
        self.registers = Registers(2 * sum(ranks) + len(graph.sizes))
        self._bind(given, ranks)
        self.slots: list[list[object]] = []
        self.slot_of: dict[Any, int] = {}
        self.symbols: dict[str, int] = {}
        self.nodes: list[list[object]] = []
        self.data = bytearray()

    def _bind(self, given: Graph, ranks: Sequence[int]) -> None:
        """Registers of the symbols, as the graph had them before equal ones were made one: checks speak of all."""
        register, renamed = 0, []
        for i, rank in zip(self.tensors, ranks):
            shape, strides = given.inputs[i].shape, given.arguments[i].strides or ()
            now = self.graph.inputs[i].shape  # of two late sizes that are equal, the program may only be given the other one
            for values, others in ((shape, now), (strides or (0,) * rank, (0,) * rank)):
                for value, other in zip(values, others):
                    if isinstance(value, Dim) and value.is_symbol:
                        self.registers.bind(value, register)
                    renamed.append((other, register))
                    register += 1
        for value, place in renamed:  # after all: the size that a symbol now stands for may be an input's, which is checked
            if isinstance(value, Dim) and value.is_symbol:
                self.registers.bind(value, place)
        for symbol in self.graph.sizes:
            self.registers.bind(symbol, register)
            register += 1
        self.late = {symbol: number for number, symbol in enumerate(late_symbols(self.graph))}
        for symbol, number in self.late.items():
            self.registers.bind(symbol, self.registers.operation("late", number))

    def write(self, plan: Schedule) -> Spec:
        """The spec of a schedule."""
        reg = self.registers
        self.written = _written(plan)
        # A late size that no node makes any more, because nobody needs it, is never wrong.
        known = [check for check in plan.checks if all(map(self._is_known, (check[1], check[2])))]
        checks = [[self._relation(relation, left, right), max(code, 1)] for relation, left, right, code in known]
        steps = self._steps(plan.steps)
        outputs = [self._result(result) for result in plan.results]
        in_arena = len(self.memory.offsets) > len(self.memory.arenas)
        arena = reg(self.memory.arena) if in_arena else None
        spec: Spec = {
            "inputs": [self.graph.inputs[i].type.rank for i in self.tensors],
            "numbers": [self.graph.inputs[i].dtype.code for i in self.numbers],
            "n_sizes": len(self.graph.sizes),
            "checks": checks,
            "slots": self.slots,
            "arena": arena,
            "steps": steps,
            "outputs": outputs,
            "symbols": list(self.symbols),
            "nodes": self.nodes,
        }
        if self.memory.late:
            spec["late_arenas"] = [reg(size) for size in self.memory.late]
        if self.data:
            from binascii import b2a_base64

            spec["data"] = b2a_base64(bytes(self.data), newline=False).decode()
        spec["regs"] = reg.code
        return spec

    def _is_known(self, size: Expr) -> bool:
        return isinstance(size, int) or all(map(self.registers.bound, symbols(size)))

    def _relation(self, relation: str, left: Expr, right: Expr) -> int:
        return self.registers.operation(relation, self.registers(left), self.registers(right))

    # Slots

    def slot(self, buffer: Buffer) -> int:
        """The slot of a buffer, or of its part from an offset on."""
        if buffer in self.slot_of:
            return self.slot_of[buffer]
        if buffer.base is not None:
            base = self.slot(buffer.base)
            offset = self.registers(buffer.offset * buffer.dtype.itemsize)
            return self._slot(("view", base, offset), ["view", base, offset])
        if buffer.kind == "input":
            number = self.graph.arguments[buffer.index].kind == "number"
            return self._slot(buffer, ["number" if number else "input", self.position[buffer.index]])
        if buffer.kind == "output":
            return self._slot(buffer, ["output", buffer.index])
        if buffer.kind == "const":
            return self._constant(buffer)
        if buffer.kind == "band":
            return self._kept()
        if buffer.kind in ("row", "stack", "box"):
            return self._slot(buffer, [buffer.kind])
        host = self.memory.inside.get(buffer)
        if host is not None:
            return self.slot(host)
        offset = self.registers(self.memory.offsets[buffer])
        entry = ["temp", offset, self.registers(room(buffer.bytes, self.late))]
        late = self.memory.arenas.get(buffer)
        return self._slot(buffer, entry if late is None else [*entry, late])

    def _slot(self, key: object, entry: list[object]) -> int:
        found = self.slot_of.get(key)
        if found is None:
            found = self.slot_of[key] = len(self.slots)
            self.slots.append(entry)
        return found

    def _constant(self, buffer: Buffer) -> int:
        found = self.slot_of.get(buffer.data)
        if found is None:
            self.data += bytes(-len(self.data) % 64)
            found = self._slot(buffer.data, ["const", len(self.data)])
            self.data += buffer.data or bytes(1)  # one without elements has a place, too
        return found

    def symbol(self, name: str) -> int:
        return self.symbols.setdefault(name, len(self.symbols))

    # Steps

    def _steps(self, steps: Sequence[Step]) -> list[list[object]]:
        written: list[list[object]] = []
        for step in steps:
            if isinstance(step, KernelStep):
                written += self._kernel(step)
            elif isinstance(step, ImagesStep):
                written.append(self._images(step))
            elif isinstance(step, CopyStep):
                size = self.registers(step.target.bytes)
                written.append(["copy", self.slot(step.target), self.slot(step.source), size])
            elif isinstance(step, RandomStep):
                written.append(["random", self.slot(step.buffer), self.registers(step.count)])
            elif isinstance(step, CondStep):
                then, otherwise = self._steps(step.then), self._steps(step.otherwise)
                written.append(["cond", self.slot(step.predicate), then, otherwise])
            elif isinstance(step, SizeStep):
                written.append(["measure", self.late[step.size], self.slot(step.source)])
            elif isinstance(step, NonzeroStep):
                source, count = self.slot(step.source), self.registers(step.count)
                room = self.registers(step.room)
                written.append(["nonzero", self.late[step.size], source, count, self.slot(step.target), room])
            elif isinstance(step, BoxStep):
                written.append(["box", self.slot(step.box), self.registers(step.box.bytes), step.keep])
            elif isinstance(step, NumberStep):
                written.append(["number", self.slot(step.box), self.slot(step.target)])
            elif isinstance(step, UnboxStep):
                written.append(["unbox", self.slot(step.target), self.registers(step.target.bytes), self.slot(step.source)])
            elif isinstance(step, CheckStep):
                if self._is_known(step.left) and self._is_known(step.right):
                    written.append(["check", self._relation(step.relation, step.left, step.right), step.code])
            elif isinstance(step, HostStep):
                written.append(["host", step.number, *(list(map(self._value, part)) for part in (step.operands, step.results))])
            else:
                written.append(self._loop(step))
        return written

    def _value(self, buffer: Buffer) -> list[object]:
        return [self.slot(buffer), buffer.dtype.code, [self.registers(size) for size in buffer.shape]]

    def _images(self, step: ImagesStep) -> list[object]:
        moving = []
        for buffer, size in step.moving:
            offset = self.registers(buffer.offset * buffer.dtype.itemsize)
            moving.append([self._slot(buffer, ["view", self.slot(buffer.owner), offset]), self.registers(size)])
        return ["images", self._steps(step.steps), self.registers(step.count), moving]

    def _loop(self, step: WhileStep) -> list[object]:
        condition, body = self._steps(step.condition), self._steps(step.body)
        entry: list[object] = ["while", condition, self.slot(step.predicate), body]
        if not step.stacks and step.turns is None:
            return entry
        stacks = []
        for stack in step.stacks:
            rows = None if stack.rows is None else self.registers(stack.rows)
            stacks.append([self.slot(stack.row), self.slot(stack.memory), self.registers(stack.bytes), rows])
        return [*entry, None if step.turns is None else self.late[step.turns], stacks]

    def _kernel(self, step: KernelStep) -> list[list[object]]:
        kernel = self.compiled[id(step)]
        operands = [*step.buffers, *self.temporaries[id(step)]]
        writes = {position for position, operand in enumerate(step.kernel.operands) if operand.role != "in"}
        node = len(self.nodes)
        self.nodes.append(_source(step))
        entries = [self._launch(launch, operands, writes, node) for launch in kernel.launches]
        if id(step) in self.chained:
            (entry,) = entries
            entries = [[*entry, *[None] * (_CHAIN - len(entry)), self._chain(self.chained[id(step)])]]
        return entries

    def _chain(self, chain: Chain) -> list[object]:
        return [len(chain.steps), chain.window, *PLACES, *(self.registers(size) for size in chain.words())]

    def _launch(self, launch: Launch, operands: Sequence[Buffer], writes: set[int], node: int) -> list[object]:
        reg = self.registers
        slots = [self._kept() if position == KEPT else self.slot(operands[position]) for position in launch.args]
        committed = [self.slot(operands[position]) for position in launch.args if position in writes]
        for name in getattr(launch, "functions", ()):
            symbol = self.symbol(name)
            slots.append(self._slot(("symbol", symbol), ["symbol", symbol]))
        entry = [
            "kernel",
            self.symbol(launch.symbol),
            slots,
            [reg(size) for size in launch.size_exprs],
            reg(launch.chunks),
            reg(launch.scratch),
            node,
            reg(launch.cost),
            committed,
            bool(getattr(launch, "whole", False)),
            None if isinstance(launch.grain, int) and launch.grain == 0 else reg(launch.grain),
        ]
        keep = launch.keep
        if keep is None or not self._stays(operands[keep.operand]):
            return entry
        sizes = [reg(size) for size in keep.size_exprs]
        buffer = operands[keep.operand]
        source, offset = self.position[buffer.index], reg(buffer.offset * buffer.dtype.itemsize)
        place = launch.args.index(KEPT)
        kept = [place, source, self.symbol(keep.symbol), sizes, reg(keep.chunks), reg(keep.bytes), offset, launch.unless_kept]
        return [*entry, kept]

    def _kept(self) -> int:
        return self._slot("kept", ["kept"])

    def _stays(self, buffer: Buffer) -> bool:
        return _stays(buffer, self.graph, self.written)

    # Results

    def _result(self, result: Result) -> list[object]:
        shape = [self.registers(size) for size in result.shape]
        if result.inplace is not None:
            return [result.dtype_code, shape, ["inplace", self.position[result.inplace]]]
        if result.placement is not None:
            return [result.dtype_code, shape, self._view(result.placement)]
        return [result.dtype_code, shape, None]

    def _view(self, place: Placement) -> list[object]:
        strides = [self.registers(stride) for stride in place.strides]
        offset = None if place.offset == 0 else self.registers(place.offset)
        return [self.position[place.buffer.index], strides, offset]


def _source(step: KernelStep) -> list[object]:
    """What messages about a kernel name: its operators, and the user's lines that may fail, by an index or otherwise."""
    names = sorted({node.op for node in step.nodes})
    lines: tuple[dict[Any, None], dict[Any, None]] = {}, {}
    for node in (inner for outer in step.nodes for inner in (outer, *(n for region in outer.regions for n in region.walk()))):
        if node.location is not None and node.op in PRIMITIVES and may_fail(node):
            location = node.location
            lines[PRIMITIVES[node.op].kind != INDEXING][location.file, location.line, location.function] = None
    return [",".join(names), *([list(line) for line in kind] for kind in lines)]
