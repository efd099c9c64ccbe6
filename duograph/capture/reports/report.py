"""`explain`: the dynamic graph and the static program of one call, side by side, and each kernel with the user's line."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.config import config

from ..outside.journal import is_its_own
from ..session import Captured, Session
from ..values.numbers import evaluate
from ..values.size_history import SizeHistory

if TYPE_CHECKING:
    from duograph.passes.memory.recompute import Recomputation
    from duograph.runtime.report import Place

    from ..static import Handler

_LONGEST = 40  # characters of a size in the table
_RUNS = 5  # of the static program, for its microseconds


@dataclass
class KernelLine:
    """One kernel: what it computes, and the user's line it comes from."""

    expression: str
    file: str = ""
    line: int = 0
    function: str = ""
    text: str = ""
    flops: int = 0
    bytes: int = 0
    microseconds: float | None = None
    times: int = 1  # how often it runs in a call
    per_turn: bool = False  # and that in each turn of a loop of unknown length
    way: str = ""  # in which a contraction is made: see `dg.tune`
    scopes: tuple[str, ...] = ()  # of what it computes: in `duograph.graph`, the names of operations
    writes: tuple[Place, ...] = ()  # where in memory its results lie

    @property
    def location(self) -> str:
        """`file:line`."""
        return f"{self.file}:{self.line}" if self.file else ""


@dataclass
class Side:
    """What one of the two graphs needs for the call."""

    variables: int = 0
    bytes: int = 0
    kernels: int = 0
    flops: int = 0
    bytes_moved: int = 0
    kernel_list: list[KernelLine] = field(default_factory=list)

    @property
    def per_turn(self) -> bool:
        """Whether loops of unknown length are among what is counted, with one turn."""
        return any(kernel.per_turn for kernel in self.kernel_list)


@dataclass
class Report:
    """The result of `explain`; `print` it, or read `report.dynamic` and `report.static`."""

    name: str
    dynamic: Side
    static: Side
    arena_bytes: int | str = 0
    peak_bytes: int | str = 0  # of the static program: arena and results
    recomputed: Recomputation | None = None  # what was done for a memory budget

    def __str__(self) -> str:
        rows: list[tuple[str, int | str, int | str]] = [
            (self.name, "dynamic", "static"),
            ("variables", self.dynamic.variables, self.static.variables),
            ("bytes", self.dynamic.bytes, self.static.bytes),
            ("kernels", self.dynamic.kernels, self.static.kernels),
            ("floating-point operations", self.dynamic.flops, self.static.flops),
            ("bytes moved", self.dynamic.bytes_moved, self.static.bytes_moved),
        ]
        texts = [(str(a), _number(b), _number(c)) for a, b, c in rows]
        widths = [max(len(row[i]) for row in texts) for i in range(3)]
        lines = [f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}" for a, b, c in texts]
        lines.insert(1, "-" * len(lines[0]))
        if self.static.per_turn:
            lines.append("of loops whose number of turns values decide, one turn is counted")
        lines += self._memory()
        lines += ["", "static kernels"]
        lines += [f"  {line}" for line in self._kernels()]
        return "\n".join(lines)

    def _memory(self) -> list[str]:
        """What the program allocates, and what was done for the budget."""
        lines = ["", f"allocated by the static program: {_number(self.peak_bytes)} bytes"]
        done = self.recomputed
        if done is not None and done.budget is not None:
            lines.append(f"memory budget: {_number(done.budget)} bytes; without it: {_number(done.before)} bytes")
        if done is not None and (done.values or done.turns):
            counts = ((done.values, "values"), (done.turns, "turns of loops"))
            what = [f"{_number(number)} {name}" for number, name in counts if number]
            lines.append(
                f"computed again: {' and '.join(what)} of {_number(done.bytes)} bytes, "
                f"{_number(done.operations)} floating-point operations added"
            )
        return lines

    def _kernels(self) -> list[str]:
        timed = any(k.microseconds is not None for k in self.static.kernel_list)
        repeated = any(k.per_turn or _number(k.times) != "1" for k in self.static.kernel_list)
        width = min(60, max((len(k.expression) for k in self.static.kernel_list), default=0))
        widest = max((len(k.way) for k in self.static.kernel_list), default=0)
        lines = []
        for kernel in self.static.kernel_list:
            time = f"{kernel.microseconds:9.1f} µs  " if timed and kernel.microseconds is not None else ""
            where = f"{os.path.basename(kernel.file)}:{kernel.line}    {kernel.text}" if kernel.file else ""
            often = "per turn" if kernel.per_turn else f"× {_number(kernel.times)}" if _number(kernel.times) != "1" else ""
            often = f"{often:<9} " if repeated else ""
            way = f"{kernel.way:<{widest}}  " if widest else ""
            lines.append(f"{time}{often}{way}{kernel.expression:<{width}}  {where}".rstrip())
        return lines

    __repr__ = __str__


def _number(value: Any) -> str:
    """A count for the table; where values decide it, the expression, if it is a short one."""
    if isinstance(value, int):
        return f"{value:,}".replace(",", " ")
    text = str(value)
    return text if len(text) <= _LONGEST else "depends on values"


def explain(handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any], time: bool) -> Report:
    """See `Handler.explain`. Captures anew, so that it depends on nothing that ran before; leaves all state as it was."""
    plan = None
    if handler.budget is not None and handler.sizes.declared:  # what is done for the budget depends on the greatest sizes
        plan = SizeHistory(handler.sizes.declared).plan(handler.target, args, kwargs).bounded()
    make = lambda care: Session(handler.target, handler.__name__, False, plan=plan, care=care)  # noqa: E731
    session, captured = Session.captured(make, args, kwargs)
    from duograph.runtime.build import build

    built = build(captured.graph, strict=handler.strict, fuse=config.fuse, views=False, budget=handler.budget)
    static = static_side(built)
    if time:
        microseconds(session, captured, built, static)
    dynamic = dynamic_side(handler, session, captured, args, kwargs)
    dynamic.flops = unfused_flops(captured)
    done = built.report
    return Report(handler.__name__, dynamic, static, _bytes(done.arena), _bytes(done.peak), done.recomputed)


def _bytes(size: Any) -> int | str:
    """A number of bytes; as text where it depends on sizes that runs decide."""
    return size if isinstance(size, int) else str(size)


def unfused_flops(captured: Captured) -> Any:
    """Operations of the graph as it was written: each operator computes its result once, loops' in each turn."""
    from duograph.passes.fusion.schedule import counted
    from duograph.passes.lowering.scheduling import schedule
    from duograph.passes.pipeline import Options, optimise
    from duograph.passes.rewriting.segment_loops import nowhere

    plan = schedule(optimise(captured.graph, Options(strict=True, fuse=False, cut=nowhere)), False)
    total: Any = 0
    for step, times, _ in counted(plan.steps):
        total = total + step.flops * times
    return total


def static_side(built: Any) -> Side:
    """What the planned program needs."""
    report = built.report
    side = Side(flops=report.flops, bytes_moved=report.bytes_moved, kernels=len(report.kernels))
    side.variables = len(report.variables)
    side.bytes = report.bytes
    for kernel in report.kernels:
        where = kernel.location
        line = KernelLine(kernel.expression, flops=kernel.flops, bytes=kernel.bytes, times=kernel.times, per_turn=kernel.per_turn)
        line.way, line.scopes, line.writes = kernel.way, kernel.scopes, kernel.writes
        if where is not None:
            line.file, line.line, line.function, line.text = where.file, where.line, where.function, where.text
        side.kernel_list.append(line)
    return side


def dynamic_side(handler: Handler, session: Session, captured: Captured, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Side:
    """Run the function dynamically, counting buffers and kernels, and undo what it changed."""
    protection = Protection(session, captured)
    core.set_dynamic_mode(True)
    core.begin_count()
    try:
        handler.target(*args, **kwargs)
    finally:
        calls = core.end_count()
        core.set_dynamic_mode(False)
        protection.restore()
    buffers: dict[int, int] = {}
    side = Side()
    for name, inputs, outputs, kernels in calls:
        side.kernels += kernels
        for storage, size in (*inputs, *outputs):
            buffers[storage] = max(size, buffers.get(storage, 0))
        if kernels:
            side.bytes_moved += sum(size for _, size in (*inputs, *outputs))
            side.kernel_list += [KernelLine(name)] * kernels
    side.variables = len(buffers)
    side.bytes = sum(buffers.values())
    return side


class Protection:
    """Everything a call of the captured function changes, kept to be put back."""

    def __init__(self, session: Session, captured: Captured) -> None:
        description = captured.description
        tensors = captured.input_tensors
        self.tensors = [(tensors[i], tensors[i].detach().clone(), tensors[i]._version) for i in description["writes"]]
        self.gradients = [(tensor, tensor.grad) for tensor in {id(t): t for _, t, _ in session.journal}.values()]
        self.random = core.get_rng_state()
        self.places: list[Any] = []
        for kind, holder, key, current in session.recorder.stores.values():
            try:
                self.places.append((kind, holder, key, kind != "setattr" or is_its_own(holder, key), current()))
            except (AttributeError, KeyError, ValueError):
                self.places.append((kind, holder, key, False, None))
        self.containers = [(f.__self__, f.__self__.copy()) for f, _ in session.recorder.calls if hasattr(f, "__self__")
                           and isinstance(f.__self__, (list, dict, set))]  # fmt: skip

    def restore(self) -> None:
        old = core.set_grad_enabled(False)
        for tensor, saved, _ in self.tensors:
            tensor.detach().copy_(saved)
        core.set_grad_enabled(old)
        for tensor, grad in self.gradients:
            tensor.grad = grad
        core.set_rng_state(*self.random)
        for kind, holder, key, existed, value in self.places:
            if kind == "setattr":
                setattr(holder, key, value) if existed else delattr(holder, key)
            elif kind == "setcell":
                holder.cell_contents = value
            elif existed:
                holder[key] = value
            else:
                holder.pop(key, None)
        for container, saved in self.containers:
            if isinstance(container, list):
                container[:] = saved
            else:
                container.clear()
                container.update(saved)


def microseconds(session: Session, captured: Captured, built: Any, side: Side) -> None:
    """Time every kernel on copies of the inputs."""
    tensors = [t.detach().clone() if t.is_contiguous() else t.detach() for t in captured.input_tensors]
    reads = captured.description["reads"]
    values = session.arguments.number_values

    def read(number: int) -> Any:
        kind, holder, key = reads[number]
        if kind == "number":
            return values[key]
        return getattr(holder, key) if kind == "attr" else holder.cell_contents if kind == "cell" else holder[key]

    numbers = [evaluate(tuple(postfix), read) for postfix in captured.description["numbers"]]
    program = built.program
    random = core.get_rng_state()
    program.run(tensors, numbers, [])
    program.set_profiling(True)
    for _ in range(_RUNS):
        program.run(tensors, numbers, [])
    rows = program.profile()
    program.set_profiling(False)
    core.set_rng_state(*random)
    for kernel, line in zip(built.report.kernels, side.kernel_list):
        own = (row["microseconds"] for row in rows if row["kind"] == "kernel" and row["node"] == kernel.step)
        line.microseconds = sum(own) / _RUNS
