"""What fusion ends in: steps in order, over buffers. Plain data that the memory planner and the runtime read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from duograph.codegen.kernel import ContractionKernel, Kernel, LoopKernel, ScatterKernel
from duograph.ir.dim import Dim, Expr, symbol
from duograph.ir.graph import Node, Value
from duograph.ir.location import Location

from .groups import Buffer, Placement


class KernelStep(NamedTuple):
    """One kernel: `buffers` are its operands; `nodes` what it computes; `locations` the user lines they come from."""

    kernel: Kernel
    buffers: tuple[Buffer, ...]
    nodes: tuple[Node, ...]
    locations: tuple[Location, ...]
    flops: Expr
    bytes: Expr
    per_turn: bool = False  # a loop inside makes nobody knows how many turns, of which one is counted

    @property
    def writes(self) -> tuple[Buffer, ...]:
        return tuple(b for b, operand in zip(self.buffers, self.kernel.operands) if operand.role != "in")


class CopyStep(NamedTuple):
    """All bytes of one buffer into another."""

    target: Buffer
    source: Buffer


@dataclass(frozen=True)
class RandomStep:
    """Reserve `count` random numbers; key and counter go to the buffer."""

    buffer: Buffer
    count: Expr


class CondStep(NamedTuple):
    """Run the first steps if the bool in `predicate` is true, else the second."""

    predicate: Buffer
    then: tuple[Step, ...]
    otherwise: tuple[Step, ...]


class Stack(NamedTuple):
    """Rows that the turns of a loop leave: `row` is where the present turn writes. Without `rows` the memory grows."""

    row: Buffer
    memory: Buffer
    bytes: Expr
    rows: Expr | None


@dataclass(frozen=True)
class WhileStep:
    """Run `condition`; while the bool in `predicate` is true then, run `body` and `condition` again.

    `turns`, if given, is known from then on as the number of turns; `count` is that number where it is known before.
    """

    condition: tuple[Step, ...]
    predicate: Buffer
    body: tuple[Step, ...]
    stacks: tuple[Stack, ...] = ()
    turns: Dim | None = None
    count: Expr | None = None


@dataclass(frozen=True)
class ImagesStep:
    """Run `steps` on one image after another, `count` in all. `moving`: parts of buffers, which they use as they are for the
    first image, and how many bytes on it is from image to image."""

    count: int
    steps: tuple[KernelStep, ...]
    moving: tuple[tuple[Buffer, int], ...]


class SizeStep(NamedTuple):
    """The int64 in `source` is a late size from here on."""

    source: Buffer
    size: Dim


@dataclass(frozen=True)
class NonzeroStep:
    """How many of the `count` bools are true is a late size from here on; `target`, which holds `room`, gets their positions."""

    source: Buffer
    count: Expr
    size: Dim
    target: Buffer
    room: Expr


class CheckStep(NamedTuple):
    """The run ends with `code` here if two sizes are not in this relation."""

    relation: str
    left: Expr
    right: Expr
    code: int


class BoxStep(NamedTuple):
    """`box` is memory of the run that nothing lives in from here on; what is written there may be kept to the end of the run."""

    box: Buffer
    keep: bool


class NumberStep(NamedTuple):
    """The number of a box goes to `target`."""

    box: Buffer
    target: Buffer


class UnboxStep(NamedTuple):
    """`target` is the memory of the box whose number is in `source` from here on."""

    source: Buffer
    target: Buffer


class HostStep(NamedTuple):
    """Call function `number` of whoever runs the program, on operands in row-major order; the results get what it gives."""

    number: int
    operands: tuple[Buffer, ...]
    results: tuple[Buffer, ...]


Step: TypeAlias = (
    "KernelStep | CopyStep | RandomStep | CondStep | WhileStep | ImagesStep | SizeStep | NonzeroStep | BoxStep | NumberStep"
    " | UnboxStep | CheckStep | HostStep"
)


@dataclass
class Result:
    """One output of the program: a fresh buffer, or a view of an input (`placement`), or the input itself (`inplace`)."""

    dtype_code: int
    shape: tuple[Expr, ...]
    buffer: Buffer | None = None
    placement: Placement | None = None
    inplace: int | None = None


@dataclass
class Schedule:
    """A program: steps, the buffers they use besides inputs, and the results; values computed again, by segment.

    `turns` says how many turns loops make, as far as it is known before they run; `around` is as for `scheduling.schedule`.
    """

    steps: tuple[Step, ...]
    results: tuple[Result, ...]
    buffers: list[Buffer] = field(default_factory=list)
    checks: list[tuple[str, Expr, Expr, int]] = field(default_factory=list)
    again: Mapping[Value, int] = field(default_factory=dict)
    turns: Mapping[Node, Expr] = field(default_factory=dict)
    around: bool = False


class Counted(NamedTuple):
    """A kernel with how often it runs, and whether that is in each turn of a loop of unknown length."""

    step: KernelStep
    times: Expr
    per_turn: bool


def counted(steps: Sequence[Step], times: Expr = 1, per_turn: bool = False) -> list[Counted]:
    """The kernels of steps and their regions, in order, with how often each runs."""
    found: list[Counted] = []
    for step in steps:
        if isinstance(step, KernelStep):
            found.append(Counted(step, times, per_turn or step.per_turn))
        elif isinstance(step, ImagesStep):
            found += counted(step.steps, times * step.count, per_turn)
        elif isinstance(step, CondStep):
            found += counted(step.then, times, per_turn) + counted(step.otherwise, times, per_turn)
        elif isinstance(step, WhileStep):
            inside = times if step.count is None else times * step.count
            found += counted((*step.condition, *step.body), inside, per_turn or step.count is None)
    return found


def touched(steps: Sequence[Step]) -> Iterator[Buffer]:
    """All buffers that steps use, in order."""
    for step in steps:
        if isinstance(step, KernelStep):
            yield from (buffer.owner for buffer in step.buffers)
        elif isinstance(step, ImagesStep):
            yield from touched(step.steps)
        elif isinstance(step, CopyStep):
            yield from (step.source.owner, step.target.owner)
        elif isinstance(step, RandomStep):
            yield step.buffer.owner
        elif isinstance(step, CondStep):
            yield step.predicate.owner
            yield from touched(step.then)
            yield from touched(step.otherwise)
        elif isinstance(step, (SizeStep, UnboxStep)):
            yield step.source.owner
        elif isinstance(step, NonzeroStep):
            yield from (step.source.owner, step.target.owner)
        elif isinstance(step, NumberStep):
            yield step.target.owner
        elif isinstance(step, BoxStep):
            continue
        elif isinstance(step, HostStep):
            yield from (buffer.owner for buffer in (*step.operands, *step.results))
        elif isinstance(step, WhileStep):
            yield step.predicate.owner
            yield from (stack.memory.owner for stack in step.stacks)
            yield from touched(step.condition)
            yield from touched(step.body)


def boxes(steps: Sequence[Step]) -> Iterator[Buffer]:
    """The boxes that steps make, in order."""
    for step in steps:
        if isinstance(step, BoxStep):
            yield step.box
        elif isinstance(step, CondStep):
            yield from boxes((*step.then, *step.otherwise))
        elif isinstance(step, WhileStep):
            yield from boxes((*step.condition, *step.body))


def boxes_bytes(steps: Sequence[Step], times: Expr = 1) -> Expr:
    """The bytes of all boxes that steps fill when they run so many times."""
    total: Expr = 0
    for step in steps:
        if isinstance(step, BoxStep):
            total = total + step.box.bytes * (times if step.keep or times == 1 else 2)
        elif isinstance(step, CondStep):
            total = total + boxes_bytes(step.then, times) + boxes_bytes(step.otherwise, times)
        elif isinstance(step, WhileStep):
            count = symbol("turns", 0) if step.count is None else step.count
            total = total + boxes_bytes((*step.condition, *step.body), times * count)
    return total


__all__ = [
    "BoxStep",
    "CheckStep",
    "CondStep",
    "ContractionKernel",
    "CopyStep",
    "Counted",
    "HostStep",
    "ImagesStep",
    "KernelStep",
    "LoopKernel",
    "NonzeroStep",
    "NumberStep",
    "RandomStep",
    "Result",
    "ScatterKernel",
    "Schedule",
    "SizeStep",
    "Stack",
    "Step",
    "UnboxStep",
    "WhileStep",
    "boxes",
    "boxes_bytes",
    "counted",
    "touched",
]
