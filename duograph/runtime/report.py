"""What a program does, for people: kernels with their expressions and lines, variables, bytes, operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

from duograph.codegen.contraction.algorithms import ways_of_symbols
from duograph.codegen.kernel import (
    Address,
    CompiledKernel,
    ContractionKernel,
    FlowKernel,
    Gather,
    Instr,
    RowKernel,
    ScatterKernel,
    WindowKernel,
)
from duograph.ir.dim import Expr
from duograph.ir.graph import Graph, Node
from duograph.ir.location import Location
from duograph.ir.primitives import PRIMITIVES
from duograph.passes.fusion.groups import Buffer
from duograph.passes.fusion.schedule import Counted, KernelStep, Schedule, boxes
from duograph.passes.memory.plan_memory import Plan
from duograph.passes.memory.recompute import Recomputation


class Place(NamedTuple):
    """Where a buffer lies: in the program's "arena" or in a "result", from this byte on, or in that of "state" and arguments."""

    memory: str
    offset: Expr
    bytes: Expr

    def __str__(self) -> str:
        return f"{self.memory}[{self.offset}:{self.offset + self.bytes}]"


@dataclass(frozen=True)
class KernelReport:
    """One kernel: its fused expression, the user's line, operations and bytes moved of a run, its symbols, its number.

    It runs `times` times; with `per_turn` in each turn of a loop whose number of turns is not known, besides.
    `way`: how it is made, of a contraction. `scopes`: those of the nodes that it computes. `writes`: where its results lie.
    """

    expression: str
    location: Location | None
    locations: tuple[Location, ...]
    flops: Expr
    bytes: Expr
    symbols: tuple[str, ...]
    step: int
    times: Expr = 1
    per_turn: bool = False
    way: str = ""
    scopes: tuple[str, ...] = ()
    writes: tuple[Place, ...] = ()


@dataclass(frozen=True)
class Variable:
    """One distinct piece of memory: an argument, state, intermediate or result."""

    what: str
    name: str
    bytes: Expr


@dataclass(frozen=True)
class PlanReport:
    """A program in figures. `peak` is what it allocates: arena and results."""

    kernels: tuple[KernelReport, ...] = ()
    variables: tuple[Variable, ...] = ()
    arena: Expr = 0
    results: int = field(default=0)
    peak: Expr = 0
    recomputed: Recomputation | None = None

    @property
    def bytes(self) -> Expr:
        """Bytes of all variables."""
        return _total(variable.bytes for variable in self.variables)

    @property
    def flops(self) -> Expr:
        """Floating-point operations of a run; of loops of unknown length those of one turn."""
        return _total(kernel.flops * kernel.times for kernel in self.kernels)

    @property
    def bytes_moved(self) -> Expr:
        """Bytes read and written in a run; of loops of unknown length those of one turn."""
        return _total(kernel.bytes * kernel.times for kernel in self.kernels)


def _total(values: object) -> Expr:
    total: Expr = 0
    for value in values:  # type: ignore[attr-defined]
        total = total + value
    return total


def describe(
    graph: Graph, plan: Schedule, steps: Sequence[Counted], compiled: dict[int, CompiledKernel], memory: Plan
) -> PlanReport:
    """The report of a program."""
    results = {result.buffer: number for number, result in enumerate(plan.results) if result.buffer is not None}
    kernels = tuple(
        KernelReport(
            expression(step),
            step.locations[-1] if step.locations else None,
            step.locations,
            step.flops,
            step.bytes,
            tuple(launch.symbol for launch in compiled[id(step)].launches),
            number,
            times,
            per_turn,
            _way(step, compiled[id(step)]),
            _scopes(step.nodes),
            tuple(_place(buffer, memory, results) for buffer in step.writes),
        )
        for number, (step, times, per_turn) in enumerate(steps)
    )
    variables: list[Variable] = []
    for value, argument in zip(graph.inputs, graph.arguments):
        if argument.kind != "number":
            variables.append(Variable(argument.origin, value.name, value.type.bytes))
    for number, size in enumerate(_places(memory)):
        variables.append(Variable("intermediate", f"t{number}", size))
    variables += [Variable("intermediate", f"box{number}", box.bytes) for number, box in enumerate(boxes(plan.steps))]
    buffers = [result.buffer for result in plan.results if result.buffer is not None]
    variables += [Variable("result", buffer.name, buffer.bytes) for buffer in buffers]
    return PlanReport(kernels, tuple(variables), memory.arena, len(plan.results))


def _way(step: KernelStep, compiled: CompiledKernel) -> str:
    """How a contraction is made."""
    return ways_of_symbols(launch.symbol for launch in compiled.launches) if isinstance(step.kernel, ContractionKernel) else ""


def _scopes(nodes: Sequence[Node]) -> tuple[str, ...]:
    """Those of what is computed; a node made of two has both, line by line."""
    lines = (line for node in nodes if not _is_constant(node) for line in node.scope.splitlines())
    return tuple(dict.fromkeys(lines))


def _is_constant(node: Node) -> bool:
    """Whether a node is a number, perhaps stretched: one of them serves all who need it."""
    if node.op == "broadcast":
        return node.inputs[0].node is not None and _is_constant(node.inputs[0].node)
    return node.op == "constant"


def _place(buffer: Buffer, memory: Plan, results: Mapping[Buffer, int]) -> Place:
    """Where a kernel writes."""
    home = memory.inside.get(buffer, buffer)
    if home in results:
        return Place(f"result {results[home]}", 0, buffer.bytes)
    if home in memory.offsets:
        late = memory.arenas.get(home)
        return Place("arena" if late is None else f"late arena {late}", memory.offsets[home], buffer.bytes)
    return Place("scratch" if home.kind == "band" else "state", 0, buffer.bytes)


def _places(memory: Plan) -> list[Expr]:
    """Bytes of each distinct place in the arena; temporaries that take turns at one place count once."""
    places: dict[Expr, Expr] = {}
    for life in memory.lives:
        offset = memory.offsets.get(life.buffer)
        if offset is None:
            continue
        size, known = life.buffer.bytes, places.get(offset)
        if known is None or (isinstance(size, int) and isinstance(known, int) and size > known):
            places[offset] = size
    return list(places.values())


# Expressions


def expression(step: KernelStep) -> str:
    """What a kernel computes, as a line of arithmetic over its operands."""
    return _FlowPrinter(step).text() if isinstance(step.kernel, FlowKernel) else _Printer(step).text()


class _Printer:
    """Prints instructions that several others use once, under a name."""

    def __init__(self, step: KernelStep) -> None:
        kernel = step.kernel
        self.step = step
        self.body: Sequence[Instr] = kernel.epilogue if isinstance(kernel, (ContractionKernel, WindowKernel)) else kernel.body
        self.uses = [0] * len(self.body)
        for instr in self.body:
            for i in instr.inputs:
                self.uses[i] += 1
        self.texts: list[tuple[str, bool]] = []
        self.lines: list[str] = []
        self.names: dict[int, str] = {}

    def text(self) -> str:
        kernel = self.step.kernel
        results: list[str] = []
        for number, instr in enumerate(self.body):
            if instr.op == "store":
                assert isinstance(instr.attr, Address)
                results.append(self._stored(instr.attr.arg, self.texts[instr.inputs[0]][0]))
                self.texts.append(("", True))
                continue
            text, atomic = self._instr(instr)
            if self.uses[number] > 1 and not atomic:
                name = f"t{len(self.names)}"
                self.names[number] = name
                self.lines.append(f"{name} = {text}")
                text, atomic = name, True
            self.texts.append((text, atomic))
        if isinstance(kernel, ContractionKernel):
            results.append(self.texts[-1][0])
        elif isinstance(kernel, ScatterKernel):
            value = self.texts[kernel.value][0]
            results.append(f"scatter_{kernel.kind}({self._name(kernel.target.arg)}, {value})")
        elif isinstance(kernel, RowKernel):
            read = [self._name(i) for i, operand in enumerate(kernel.operands) if operand.role == "in"]
            results.append(f"{kernel.function.rpartition('_')[0]}({', '.join(read)})")
        elif isinstance(kernel, WindowKernel):
            results.append((self.texts or [self._sums()])[-1][0])
        if len(results) > 1 or (results and "=" in results[0].split("(")[0]):
            results = [", ".join(results)]
        return "; ".join([*self.lines, *results])

    def _stored(self, arg: int, text: str) -> str:
        several = sum(instr.op == "store" for instr in self.body) > 1
        buffer = self.step.buffers[arg]
        return f"{buffer} = {text}" if several or buffer.kind == "input" else text

    def _name(self, arg: int) -> str:
        return str(self.step.buffers[arg])

    def _operand(self, number: int) -> str:
        text, atomic = self.texts[number]
        return text if atomic else f"({text})"

    def _instr(self, instr: Instr) -> tuple[str, bool]:
        attr = instr.attr
        if isinstance(attr, Gather):
            indices = ", ".join(self.texts[number][0] for number, _, _ in attr.indices)
            return f"{self._name(attr.address.arg)}[{indices}]", True
        if isinstance(attr, Address):
            return self._name(attr.arg), True
        if instr.op == "number":
            assert isinstance(attr, int)
            return self._name(attr), True
        if instr.op == "const":
            return _number(attr), True
        if instr.op in ("size", "index"):
            return (str(attr) if instr.op == "size" else f"i{attr}"), True
        if instr.op == "accumulator":
            return self._sums()
        if instr.op == "philox":
            return "random()", True
        if instr.op == "reduce":
            return f"{attr}({self.texts[instr.inputs[0]][0]})", True
        return self._scalar(instr)

    def _sums(self) -> tuple[str, bool]:
        """What a contraction or sums over windows end in."""
        kernel, (x, other) = self.step.kernel, (self._name(i) for i in range(2))
        return (f"window_{kernel.op}({x}, {other})", True) if isinstance(kernel, WindowKernel) else (f"{x} @ {other}", False)

    def _scalar(self, instr: Instr) -> tuple[str, bool]:
        if instr.op == "cast":
            return f"{instr.dtype}({self.texts[instr.inputs[0]][0]})", True
        row = PRIMITIVES.get(instr.op)
        symbol = row.symbol if row else ""
        if symbol and len(instr.inputs) == 2:
            return f"{self._operand(instr.inputs[0])} {symbol} {self._operand(instr.inputs[1])}", False
        if symbol:
            return f"{symbol}{self._operand(instr.inputs[0])}", False
        return f"{instr.op}({', '.join(self.texts[number][0] for number in instr.inputs)})", True


class _FlowPrinter(_Printer):
    """Prints loops and branches as one line of Python with braces: `i = 0; while i < n: {i = i + 1}; count = i`."""

    def __init__(self, step: KernelStep) -> None:
        super().__init__(step)
        loops = [node for node in step.nodes if node.op == "while_loop"]
        self.loops = iter(loops)
        self.taken: set[str] = {str(buffer) for buffer in step.buffers}
        self.blocks: list[list[str]] = [[]]  # statements, innermost open block last
        self.tests: list[str] = []
        self.carried: list[list[str]] = []
        self.merged: list[str] = []

    def text(self) -> str:
        for number, instr in enumerate(self.body):
            self.texts.append(self._flow(number, instr))
        return "; ".join(self.blocks[0])

    def _flow(self, number: int, instr: Instr) -> tuple[str, bool]:
        inputs = [self.texts[i][0] for i in instr.inputs]
        if instr.op == "enter":
            node = next(self.loops)
            names = [value.name for value in node.regions[1].inputs]
            self.carried.append([self._fresh(name) for name in names[: len(inputs)]])
            self._assign(self.carried[-1], inputs)
            self.blocks.append([])
        elif instr.op == "phi":
            assert isinstance(instr.attr, int)
            return self.carried[-1][instr.attr], True
        elif instr.op == "while":
            self.tests.append("; ".join([*self.blocks.pop(), *inputs]))
            self.blocks.append([])
        elif instr.op == "again":
            self._assign(self.carried.pop(), inputs)
            self._close(f"while {self.tests.pop()}: ")
        elif instr.op == "if":
            self.tests.append(inputs[0])
            self.blocks.append([])
        elif instr.op == "else":
            self.carried.append([self._fresh("") for _ in inputs])
            self._assign(self.carried[-1], inputs)
            self._close(f"if {self.tests.pop()}: ")
            self.blocks.append([])
        elif instr.op == "end":
            self.merged = self.carried.pop()
            self._assign(self.merged, inputs)
            self._close("else: ")
        elif instr.op == "merge":
            assert isinstance(instr.attr, int)
            return self.merged[instr.attr], True
        elif instr.op == "store":
            assert isinstance(instr.attr, Address)
            self.blocks[-1].append(f"{self._name(instr.attr.arg)} = {inputs[0]}")
        else:
            return self._value(number, instr)
        return "", True

    def _value(self, number: int, instr: Instr) -> tuple[str, bool]:
        text, atomic = self._instr(instr)
        if self.uses[number] > 1 and not atomic:
            name = self._fresh("")
            self.blocks[-1].append(f"{name} = {text}")
            return name, True
        return text, atomic

    def _fresh(self, name: str) -> str:
        """The name, or another one that nothing has yet."""
        letters = (f"t{i}" for i in count())
        found = name if name and name not in self.taken else next(t for t in letters if t not in self.taken)
        self.taken.add(found)
        return found

    def _assign(self, names: Sequence[str], values: Sequence[str]) -> None:
        pairs = [(name, value) for name, value in zip(names, values) if name != value]
        if pairs:
            self.blocks[-1].append(", ".join(name for name, _ in pairs) + " = " + ", ".join(value for _, value in pairs))

    def _close(self, head: str) -> None:
        inside = "; ".join(self.blocks.pop())
        self.blocks[-1].append(f"{head}{{{inside}}}")


def _number(value: object) -> str:
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e6 else f"{value:.6g}"
    return str(value)


__all__ = ["Buffer", "KernelReport", "PlanReport", "Variable", "describe", "expression"]
