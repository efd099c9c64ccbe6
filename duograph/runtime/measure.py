"""A kernel by itself, to be measured: a program that runs nothing else, over memory of its own."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any, NamedTuple

from duograph import _core as core
from duograph.codegen.kernel import KEPT, Address, ContractionKernel, Extent, Launch, Philox

from .kernels import compile_unit
from .libraries import load_libraries
from .registers import Registers

_ROUNDS, _MORE_ROUNDS = 9, 18
_LEAST_SECONDS = 1e-3  # of a sample: so many runs that the clock and the call do not count
_ALIGNMENT = 64
_KEY_WORDS = 2  # of random numbers


class Reach(NamedTuple):
    """Which elements of an operand a kernel may touch, counted from its address."""

    dtype: str
    low: int
    high: int


def reaches(kernel: ContractionKernel) -> list[Reach]:
    """How large the operands of a kernel must be. All its sizes are known."""
    batch, m, n, k = kernel.batch, kernel.m, kernel.n, kernel.k
    spans = [[(0, 0)] for _ in kernel.operands]
    columns = kernel.columns or tuple(zip(n[-1:], kernel.b_strides[len(batch) + len(k) + len(n) - 1 :]))
    rest = kernel.b_strides[len(batch) + len(k) : len(batch) + len(k) + len(n) - len(n[-1:])]
    spans[0].append(_span(0, (*batch, *m), kernel.a_strides[: len(batch) + len(m)], kernel.a_walk))
    spans[1].append(_span(0, (*batch, *n[:-1]), (*kernel.b_strides[: len(batch)], *rest), (*kernel.b_walk, *columns)))
    spans[2].append(_span(0, (*batch, *m, *n), kernel.c_strides))
    for instr in kernel.epilogue:
        attr = instr.attr
        if isinstance(attr, Address):
            spans[attr.arg].append(_span(attr.offset, (*batch, *m, *n), attr.strides))
        elif isinstance(attr, Philox):
            spans[attr.arg].append((0, _KEY_WORDS - 1))
    return [
        Reach(operand.dtype, min(low for low, _ in found), max(high for _, high in found) + 1)
        for operand, found in zip(kernel.operands, spans)
    ]


def _span(
    offset: Extent, extents: Sequence[Extent], strides: Sequence[Extent], walk: Sequence[tuple[Extent, Extent]] = ()
) -> tuple[int, int]:
    """The first and the last element that an address reaches."""
    assert isinstance(offset, int)
    steps = [(extent - 1) * stride for extent, stride in (*zip(extents, strides), *walk)]
    low, high = (sum(pick(step, 0) for step in steps) for pick in (min, max))
    assert isinstance(low, int) and isinstance(high, int)
    return offset + low, offset + high


class Measured:
    """One way of making a kernel, ready to run on tensors that begin at its addresses."""

    def __init__(self, kernel: ContractionKernel, tensors: Sequence[Any]) -> None:
        unit = compile_unit([kernel], decided=True)
        self.tensors = tensors
        spec = _Writer(kernel, unit.kernels[0].temporaries).write(unit.kernels[0].launches)
        load_libraries(spec["symbols"])
        self.program = core.Program(spec, unit.object)
        start = perf_counter()
        self.run(1)
        seconds = min(perf_counter() - start, self.run(1))
        self.runs = max(1, int(_LEAST_SECONDS / max(seconds, 1e-7)))

    def run(self, times: int) -> float:
        """Seconds of so many runs."""
        start = perf_counter()
        for _ in range(times):
            self.program.run(self.tensors, [], [])
        return perf_counter() - start

    def sample(self) -> float:
        """Seconds of a run."""
        return self.run(self.runs) / self.runs


def race(ways: dict[str, Measured], rule: str) -> dict[str, float]:
    """Seconds of a run in each way: the best of several samples, taken by turns, so that all see the same disturbances.

    The way of the rule and the one that seems faster then have more of them.
    """
    best = {name: way.sample() for name, way in ways.items()}

    def go_on(names: Sequence[str], rounds: int) -> None:
        for _ in range(rounds):
            for name in names:
                best[name] = min(best[name], ways[name].sample())

    go_on(list(ways), _ROUNDS - 1)
    fastest = min(best, key=best.__getitem__)
    if fastest != rule:
        go_on([rule, fastest], _MORE_ROUNDS)
    return best


class _Writer:
    """The dict that `core.Program` takes, of one kernel whose operands are inputs."""

    def __init__(self, kernel: ContractionKernel, temporaries: Sequence[Extent]) -> None:
        self.kernel = kernel
        self.registers = Registers(2 * len(kernel.operands))
        self.slots: list[list[object]] = [["input", i] for i in range(len(kernel.operands))]
        self.symbols: dict[str, int] = {}
        self.arena: Extent = 0
        for size in temporaries:
            assert isinstance(size, int)
            self.slots.append(["temp", self.registers(self.arena), self.registers(size)])
            self.arena += -(-size // _ALIGNMENT) * _ALIGNMENT

    def write(self, launches: Sequence[Launch]) -> dict[str, Any]:
        steps = [self._launch(launch) for launch in launches]
        outputs = [
            [core.float32.code, [], ["inplace", i]] for i, operand in enumerate(self.kernel.operands) if operand.role != "in"
        ]
        return {
            "inputs": [1] * len(self.kernel.operands),
            "numbers": [],
            "n_sizes": 0,
            "checks": [],
            "slots": self.slots,
            "arena": self.registers(self.arena) if self.arena else None,
            "steps": steps,
            "outputs": outputs,
            "symbols": list(self.symbols),
            "nodes": [["contraction", [], []]],
            "regs": self.registers.code,
        }

    def _launch(self, launch: Launch) -> list[object]:
        reg = self.registers
        slots = [self._slot(["kept"]) if position == KEPT else position for position in launch.args]
        slots += [self._slot(["symbol", self._symbol(name)]) for name in launch.functions]
        sizes = [reg(size) for size in launch.size_exprs]
        entry = [
            *("kernel", self._symbol(launch.symbol), slots, sizes, reg(launch.chunks), reg(launch.scratch), 0, reg(launch.cost)),
            *([], launch.whole, reg(launch.grain)),
        ]
        keep = launch.keep
        if keep is None:
            return entry
        kept = [reg(size) for size in keep.size_exprs]
        place = launch.args.index(KEPT)
        return [*entry, [place, keep.operand, self._symbol(keep.symbol), kept, reg(keep.chunks), reg(keep.bytes), reg(0)]]

    def _slot(self, entry: list[object]) -> int:
        self.slots.append(entry)
        return len(self.slots) - 1

    def _symbol(self, name: str) -> int:
        return self.symbols.setdefault(name, len(self.symbols))
