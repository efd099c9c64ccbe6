"""Kernels of loops and branches over values in registers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from duograph.codegen.analysis import Facts, is_unit
from duograph.codegen.body import Body, Scope
from duograph.codegen.dtypes import DTYPES
from duograph.codegen.frame import Frame
from duograph.codegen.kernel import SUM_LANES, FlowKernel, Gather, Instr, Launch
from duograph.codegen.llvm import Module, Value
from duograph.codegen.reduction import Reduction
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
    flow.run(0, len(kernel.body), flow.place(None, {}))
    cost = ENDLESS if kernel.work is None else kernel.work * INSTRUCTION
    return frame.finish(1, cost)._replace(whole=True)


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


@dataclass
class _Place:
    """A region: the same values seen by instructions of one element and by those of many."""

    one: Scope
    many: Scope


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
        self.count = kernel.count
        self.wide = frozenset(kernel.wide)
        lanes = 1 << (kernel.count - 1).bit_length()
        self.vectors = frame.vectors(lanes)
        self.mask = None if lanes == kernel.count else Vec(self.f.low_mask(lanes, kernel.count), "i1", lanes)

    def place(self, outer: _Place | None, values: dict[int, Vec]) -> _Place:
        """A region inside another in which these values are known."""
        one = Scope(self.frame.vectors(1), {}, outer=outer.one if outer else None, values=values)
        many = Scope(self.vectors, {0: 0}, 0, self.mask, outer.many if outer else None, values=values)
        return _Place(one, many)

    def _scope(self, number: int, place: _Place) -> Scope:
        return place.many if number in self.wide else place.one

    def run(self, low: int, high: int, place: _Place) -> None:
        """The instructions [low, high)."""
        number = low
        while number < high:
            op = self.instrs[number].op
            if op == "enter":
                number = self._loop(number, place)
            elif op == "if":
                number = self._branch(number, place)
            elif op == "gather" and number in self.wide:
                place.one.values[number] = self._row(self.instrs[number], place)
                number += 1
            elif op == "reduce":
                place.one.values[number] = self._reduce(number, place)
                number += 1
            else:
                self.body.emit([number], [self._scope(number, place)])
                number += 1

    def _values(self, numbers: Sequence[int], first: int, place: _Place) -> list[Vec]:
        """The values of some instructions as those from `first` on take them over."""
        return [self._scope(first + i, place).value(number) for i, number in enumerate(numbers)]

    def _inside(self, place: _Place, first: int, values: Sequence[Vec]) -> _Place:
        """A region in which the instructions from `first` on have these values."""
        return self.place(place, dict(zip(range(first, first + len(values)), values)))

    def _row(self, instr: Instr, place: _Place) -> Vec:
        """The elements of a row at a position known now; where they are apart, one by one."""
        attr = instr.attr
        assert isinstance(attr, Gather)
        if is_unit(attr.address.strides[0]):
            loaded = self.body.gather(instr, place.many)
            assert loaded is not None
            return loaded
        f, v, info = self.f, self.vectors, DTYPES[instr.dtype]
        frame = self.frame
        start: Value = frame.fixed((id(attr), "offset"), attr.address.offset)
        for index, stride, extent in attr.indices:
            position = place.one.value(index)
            self.body.check_index(position, frame.fixed((id(attr), index, "extent"), extent), None, place.one)
            step = frame.fixed((id(attr), index, "stride"), stride)
            start = f.add(start, f.mul(place.one.v.extract(position), step))
        apart = frame.fixed((id(attr), "apart"), attr.address.strides[0])
        elements = "zeroinitializer"
        kind = f"<{v.lanes} x {info.storage}>"
        for lane in range(self.count):
            pointer = f.gep(frame.pointer(attr.address.arg), f.add(start, f.mul(lane, apart)), info.size)
            item = f.load(info.storage, pointer, info.size)
            elements = f.op(f"insertelement {kind} {elements}, {info.storage} {item}, i32 {lane}")
        return self.body.to_value(v, Vec(elements, info.storage, v.lanes), instr.dtype)

    def _reduce(self, number: int, place: _Place) -> Vec:
        """All elements to one: 16 partials in order, then their tree."""
        instr = self.instrs[number]
        dtype = self.instrs[instr.inputs[0]].dtype
        reduction = Reduction(number, instr.inputs[0], str(instr.attr), dtype, instr.dtype)
        v, value = self.frame.vectors(SUM_LANES), place.many.value(instr.inputs[0])
        total = reduction.identity(v)
        for start in range(0, self.count, SUM_LANES):
            part = v.shuffle(value, None, [min(start + i, value.lanes - 1) for i in range(SUM_LANES)])
            left = self.count - start
            mask = None if left >= SUM_LANES else Vec(self.f.low_mask(SUM_LANES, left), "i1", SUM_LANES)
            total = reduction.step(v, total, part, lambda: v.iota("i64"), mask)
        return reduction.result(self.frame.vectors(1), reduction.horizontal(v, total))

    def _test(self, first: int, test: int, place: _Place, values: Sequence[Vec]) -> str:
        """Whether the loop goes on with these carried values: an i1."""
        inner = self._inside(place, first, values)
        self.run(first + len(values), test, inner)
        return inner.one.v.extract(inner.one.value(self.instrs[test].inputs[0]))

    def _loop(self, enter: int, place: _Place) -> int:
        """Tested once before the first turn and then at the bottom of each; returns the instruction behind it."""
        f = self.f
        test, again = self.marks[enter]
        first = enter + 1
        initial = self._values(self.instrs[enter].inputs, first, place)
        body, more, poll, done = (f.label(hint) for hint in ("turn", "more", "poll", "done"))
        f.cond_br(self._test(first, test, place, initial), body, done)
        before, left_before = f.block, self.left
        f.place(body)
        carried = [Vec(f.name_value(), value.element, value.lanes) for value in initial]
        left, line = f.name_value(), f.reserve()
        lines = [f.reserve() for _ in carried]
        self.left = left
        inner = self._inside(place, first, carried)
        self.run(test + 1, again, inner)
        following = self._values(self.instrs[again].inputs, first, inner)
        left_after = f.op(f"sub i64 {self.left}, 1")
        self.left = left_after
        goes_on = self._test(first, test, place, following)
        left_tested = self.left
        latch = f.block
        f.cond_br(goes_on, more, done)
        f.place(more)
        f.cond_br(f.icmp("sle", left_tested, 0), poll, body)
        self._poll(poll, body)
        f.fill(line, f"{left} = phi i64 [{left_before}, %{before}], [{left_tested}, %{more}], [{POLL_TURNS}, %{poll}]")
        for spot, value, start, after in zip(lines, carried, initial, following):
            f.fill(
                spot,
                f"{value.ref} = phi {value.type} [{start.ref}, %{before}], "
                + ", ".join(f"[{after.ref}, %{block}]" for block in (more, poll)),
            )
        f.place(done)
        for number, start, after in zip(range(first, test), initial, following):
            place.one.values[number] = Vec(
                f.phi(start.type, [(start.ref, before), (after.ref, latch)]), start.element, start.lanes
            )
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

    def _branch(self, start: int, place: _Place) -> int:
        """Returns the instruction behind the branch and its merged results."""
        f = self.f
        middle, end = self.marks[start]
        then, otherwise, done = (f.label(hint) for hint in ("then", "else", "done"))
        f.cond_br(place.one.v.extract(place.one.value(self.instrs[start].inputs[0])), then, otherwise)
        left = self.left
        sides = []
        for label, low, high in ((then, start + 1, middle), (otherwise, middle + 1, end)):
            f.place(label)
            self.left = left
            inner = self.place(place, {})
            self.run(low, high, inner)
            sides.append((self._values(self.instrs[high].inputs, end + 1, inner), self.left, f.block))
            f.br(done)
        f.place(done)
        (first, left_first, after_first), (second, left_second, after_second) = sides
        for number, a, b in zip(range(end + 1, end + 1 + len(first)), first, second):
            merged = f.phi(a.type, [(a.ref, after_first), (b.ref, after_second)])
            place.one.values[number] = Vec(merged, a.element, a.lanes)
        if left_first != left_second:
            self.left = f.phi("i64", [(left_first, after_first), (left_second, after_second)])
        return end + 1 + len(first)
