"""Kernels of loops and branches over values in registers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from duograph.codegen.analysis import Facts
from duograph.codegen.body import Body, Scope
from duograph.codegen.frame import Frame
from duograph.codegen.kernel import FlowKernel, Instr, Launch
from duograph.codegen.llvm import Module
from duograph.codegen.target import Target
from duograph.codegen.vector import Vec

POLL_TURNS = 4096  # turns between two looks at the interrupt flag
ENDLESS = 1 << 24  # more than the core takes to run without watching out for Ctrl-C
INSTRUCTION = 32  # bytes that are touched in the time of an instruction

_ENDS = {"while": "enter", "again": "enter", "else": "if", "end": "if"}


def emit_flow(module: Module, target: Target, symbol: str, kernel: FlowKernel) -> Launch:
    """The function of a kernel; its one chunk is everything."""
    frame = Frame(module, target, symbol, tuple(range(len(kernel.operands))))
    flow = _Flow(frame, kernel)
    flow.run(0, len(kernel.body), Scope(frame.vectors(1), {}))
    cost = ENDLESS if kernel.work is None else kernel.work * INSTRUCTION
    return replace(frame.finish(1, cost), whole=True)


def _facts(kernel: FlowKernel) -> Facts:
    count = len(kernel.body)
    return Facts((), (), (), kernel.operands, kernel.body, (frozenset(),) * count, (0,) * count)


def _marks(body: Sequence[Instr]) -> dict[int, list[int]]:
    """For each "enter" and "if" the positions of the instructions that go on with it and end it."""
    found: dict[int, list[int]] = {}
    open_: list[int] = []
    for number, instr in enumerate(body):
        if instr.op in ("enter", "if"):
            open_.append(number)
            found[number] = []
        elif instr.op in _ENDS:
            if body[open_[-1]].op != _ENDS[instr.op]:
                raise ValueError(f"{instr.op} at {number} ends nothing")
            found[open_[-1]].append(number)
            if instr.op in ("again", "end"):
                open_.pop()
    return found


class _Flow:
    """Emits instructions in order, loops and branches by recursion.

    `left` counts the turns to the next look at the interrupt flag, through all loops together.
    """

    def __init__(self, frame: Frame, kernel: FlowKernel) -> None:
        self.frame = frame
        self.f = frame.function
        self.instrs = kernel.body
        self.body = Body(frame, _facts(kernel))
        self.marks = _marks(kernel.body)
        self.left: str | int = POLL_TURNS

    def run(self, low: int, high: int, scope: Scope) -> None:
        """The instructions [low, high)."""
        number = low
        while number < high:
            op = self.instrs[number].op
            if op == "enter":
                number = self._loop(number, scope)
            elif op == "if":
                number = self._branch(number, scope)
            else:
                self.body.emit([number], [scope])
                number += 1

    def _values(self, numbers: Sequence[int], scope: Scope) -> list[Vec]:
        return [scope.value(number) for number in numbers]

    def _inside(self, scope: Scope, first: int, values: Sequence[Vec]) -> Scope:
        """A scope in which the instructions from `first` on have these values."""
        return Scope(scope.v, {}, outer=scope, values=dict(zip(range(first, first + len(values)), values)))

    def _test(self, first: int, test: int, scope: Scope, values: Sequence[Vec]) -> str:
        """Whether the loop goes on with these carried values: an i1."""
        inner = self._inside(scope, first, values)
        self.run(first + len(values), test, inner)
        return inner.v.extract(inner.value(self.instrs[test].inputs[0]))

    def _loop(self, enter: int, scope: Scope) -> int:
        """Tested once before the first turn and then at the bottom of each; returns the instruction behind it."""
        f = self.f
        test, again = self.marks[enter]
        first = enter + 1
        initial = self._values(self.instrs[enter].inputs, scope)
        body, more, poll, done = (f.label(hint) for hint in ("turn", "more", "poll", "done"))
        f.cond_br(self._test(first, test, scope, initial), body, done)
        before, left_before = f.block, self.left
        f.place(body)
        carried = [Vec(f.name_value(), value.element, value.lanes) for value in initial]
        left, line = f.name_value(), f.reserve()
        lines = [f.reserve() for _ in carried]
        self.left = left
        inner = self._inside(scope, first, carried)
        self.run(test + 1, again, inner)
        following = self._values(self.instrs[again].inputs, inner)
        left_after = f.op(f"sub i64 {self.left}, 1")
        self.left = left_after
        goes_on = self._test(first, test, scope, following)
        left_tested = self.left
        latch = f.block
        f.cond_br(goes_on, more, done)
        f.place(more)
        f.cond_br(f.icmp("sle", left_tested, 0), poll, body)
        self._poll(poll, body)
        f.fill(line, f"{left} = phi i64 [{left_before}, %{before}], [{left_tested}, %{more}], [{POLL_TURNS}, %{poll}]")
        for place, value, start, after in zip(lines, carried, initial, following):
            f.fill(
                place,
                f"{value.ref} = phi {value.type} [{start.ref}, %{before}], "
                + ", ".join(f"[{after.ref}, %{block}]" for block in (more, poll)),
            )
        f.place(done)
        for number, start, after in zip(range(first, test), initial, following):
            scope.values[number] = Vec(f.phi(start.type, [(start.ref, before), (after.ref, latch)]), start.element, start.lanes)
        self.left = f.phi("i64", [(left_before, before), (left_tested, latch)])
        return again + 1

    def _poll(self, poll: str, body: str) -> None:
        """Leave the kernel, nothing being written yet, if the interrupt flag is set."""
        f = self.f
        f.place(poll)
        flag = f.load("ptr", f.gep("%status", 24))
        raised = f.icmp("ne", f.op(f"load atomic i32, ptr {flag} monotonic, align 4"), 0, "i32")
        leave = f.label("leave")
        f.cond_br(raised, leave, body)
        f.place(leave)
        f.ret()

    def _branch(self, start: int, scope: Scope) -> int:
        """Returns the instruction behind the branch and its merged results."""
        f = self.f
        middle, end = self.marks[start]
        then, otherwise, done = (f.label(hint) for hint in ("then", "else", "done"))
        f.cond_br(scope.v.extract(scope.value(self.instrs[start].inputs[0])), then, otherwise)
        left = self.left
        sides = []
        for label, low, high in ((then, start + 1, middle), (otherwise, middle + 1, end)):
            f.place(label)
            self.left = left
            inner = Scope(scope.v, {}, outer=scope)
            self.run(low, high, inner)
            sides.append((self._values(self.instrs[high].inputs, inner), self.left, f.block))
            f.br(done)
        f.place(done)
        (first, left_first, after_first), (second, left_second, after_second) = sides
        for number, a, b in zip(range(end + 1, end + 1 + len(first)), first, second):
            merged = f.phi(a.type, [(a.ref, after_first), (b.ref, after_second)])
            scope.values[number] = Vec(merged, a.element, a.lanes)
        if left_first != left_second:
            self.left = f.phi("i64", [(left_first, after_first), (left_second, after_second)])
        return end + 1 + len(first)
