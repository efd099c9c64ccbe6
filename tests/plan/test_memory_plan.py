"""The memory plan: nothing is overwritten while it is needed, and the peak is not far above what is alive."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import pytest

from duograph import _core as core
from duograph.codegen.kernel import Address, Instr, LoopKernel, Operand
from duograph.ir.text import parse_graph
from duograph.passes.fusion.groups import Buffer
from duograph.passes.fusion.schedule import KernelStep, Step
from duograph.passes.lowering.scheduling import schedule
from duograph.passes.memory.plan_memory import EXACT_LIMIT, Plan, _replaceable, clash, plan_memory
from duograph.passes.pipeline import Options, optimise
from duograph.runtime.build import build

sys.path.append(str(Path(__file__).parent.parent / "passes"))

from random_graphs import RandomGraph


def kernel_step(reads: list[Buffer], writes: list[Buffer], elementwise: bool) -> KernelStep:
    """A kernel that reads and writes whole buffers, element by element or in another order."""
    body = [Instr("load", (), "uint8", Address(i, (1 if elementwise else 2,))) for i in range(len(reads))]
    count = len(reads)
    body += [Instr("store", (0,), "uint8", Address(count + j, (1,))) for j in range(len(writes))]
    operands = tuple(Operand("uint8") for _ in reads) + tuple(Operand("uint8", "out") for _ in writes)
    kernel = LoopKernel("k", (writes[0].shape[0],), frozenset(), operands, tuple(body))
    return KernelStep(kernel, (*reads, *writes), (), (), 0, 0)


def random_steps(seed: int, length: int) -> list[Step]:
    draw = random.Random(seed)
    sizes = [64, 100, 1000, 4096, 5000]
    alive: list[Buffer] = [Buffer("input", 0, core.uint8, (64,))]
    steps: list[Step] = []
    for number in range(length):
        reads = draw.sample(alive, min(len(alive), draw.randint(1, 3)))
        size = draw.choice([buffer.shape[0] for buffer in reads] + sizes)
        kind = "output" if draw.random() < 0.05 else "temp"
        made = Buffer(kind, number, core.uint8, (size,))
        steps.append(kernel_step(reads, [made], draw.random() < 0.6))
        alive.append(made)
        if len(alive) > 8:
            alive.pop(draw.randrange(len(alive)))
    return steps


def ranges(plan: Plan) -> dict[Buffer, tuple[Any, int, int]]:
    """Where each temporary lies: (the arena or the result, start, end)."""
    found: dict[Buffer, tuple[Any, int, int]] = {}
    for life in plan.lives:
        buffer = life.buffer
        if buffer.kind == "output":
            found[buffer] = (buffer, 0, int(buffer.bytes))  # type: ignore[arg-type]
        elif buffer in plan.inside:
            host = plan.inside[buffer]
            start = int(host.offset) * host.dtype.itemsize
            found[buffer] = (host.owner, start, start + int(buffer.bytes))  # type: ignore[arg-type]
        else:
            start = plan.offsets[buffer]
            found[buffer] = ("arena", int(start), int(start) + int(buffer.bytes))  # type: ignore[arg-type]
    return found


def check_contents(steps: list[Step], plan: Plan) -> None:
    """Run the steps over memory that remembers which buffer was written last: every read must find its own."""
    place = ranges(plan)
    valid: set[Buffer] = set()
    for step in steps:
        assert isinstance(step, KernelStep)
        written = {buffer.owner for buffer in step.writes}
        for buffer in written & set(place):
            for operand in {operand.owner for operand in step.buffers} & set(place) - {buffer}:
                (where, low, high), (other_where, other_low, other_high) = place[buffer], place[operand]
                if where is other_where and low < other_high and other_low < high:
                    assert operand not in written, "two results of a kernel overlap"
                    assert operand in _replaceable(step, [buffer])[buffer], "an operand is overwritten while it is read"
                    assert low == other_low, "an operand is overwritten at another element"
        for buffer in step.buffers:
            owner = buffer.owner
            if owner in place and owner not in written:
                assert owner in valid, f"{owner} was overwritten before it was read"
        for buffer in step.buffers:
            if buffer.owner not in written or buffer.owner not in place:
                continue
            where, low, high = place[buffer.owner]
            for other, (other_where, other_low, other_high) in place.items():
                if other is not buffer.owner and other_where is where and other_low < high and low < other_high:
                    valid.discard(other)
        valid |= {owner for owner in written if owner in place}


@pytest.mark.parametrize("length", [5, 60, EXACT_LIMIT + 200])
@pytest.mark.parametrize("seed", range(8))
def test_random_steps(seed: int, length: int) -> None:
    steps = random_steps(seed, length)
    plan = plan_memory(steps)
    check_contents(steps, plan)
    place = ranges(plan)
    by_buffer = {life.buffer: life for life in plan.lives}
    for life in plan.lives:
        for other in plan.lives:
            if life is other or not clash(life, other):
                continue
            (where, low, high), (other_where, other_low, other_high) = place[life.buffer], place[other.buffer]
            assert where is not other_where or high <= other_low or other_high <= low
    in_arena = [by_buffer[buffer] for buffer in plan.offsets]
    clock = max((life.last for life in plan.lives), default=0)
    peak = max((sum(int(a.size) for a in in_arena if a.first <= t <= a.last) for t in range(clock + 1)), default=0)  # type: ignore[arg-type]
    assert plan.arena <= 1.6 * peak


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("fuse", [True, False])
def test_random_graphs(seed: int, fuse: bool) -> None:
    graph = optimise(RandomGraph(seed, nodes=25).graph, Options(fuse=fuse))
    steps = list(schedule(graph, fuse).steps)
    check_contents(steps, plan_memory(steps))


def test_elementwise_chain_needs_one_place() -> None:
    lines = ["graph chain(%x: float32[1000]) {"]
    lines += [f"  %{i + 1}: float32[1000] = exp(%{i or 'x'})" for i in range(10)]
    text = "\n".join([*lines, "  %11: float32[] = reduce(%10) {kind='sum', dims=(0,)}", "  return %11", "}"])
    steps = schedule(parse_graph(text), fuse=False).steps
    plan = plan_memory(steps)
    assert plan.arena <= 4096


def test_without_fusion_the_result_reuses_the_product() -> None:
    graph = parse_graph(
        """graph line(%w: float32[1000], %x: float32[1000], %b: float32[1000]) {
  %0: float32[1000] = mul(%w, %x)
  %1: float32[1000] = add(%0, %b)
  return %1
}
"""
    )
    built = build(graph, strict=True, fuse=False)
    assert len(built.report.kernels) == 2
    assert [variable.bytes for variable in built.report.variables] == [4000] * 4
    assert [kernel.expression for kernel in build(graph, strict=False).report.kernels] == ["fma(w, x, b)"]


def test_symbolic_sizes_share_places() -> None:
    lines = ["graph chain(%x: float32[n]) {"]
    lines += [f"  %{i + 1}: float32[n] = exp(%{i or 'x'})" for i in range(6)]
    text = "\n".join([*lines, "  %7: float32[] = reduce(%6) {kind='sum', dims=(0,)}", "  return %7", "}"])
    plan = plan_memory(schedule(parse_graph(text), fuse=False).steps)
    assert len(set(plan.offsets.values())) == 1


def test_loop_keeps_what_it_needs() -> None:
    """A buffer from before a loop that its body reads is not given away inside."""
    graph = parse_graph(
        """graph g(%x: float32[100], %limit: number int64[]) {
  %0: float32[100] = exp(%x)
  %1: int64[] = constant() {value=0}
  %2: int64[], %3: float32[100] = while_loop(%1, %x, %limit, %0) {carried=2} [
    region(%4: int64[], %5: float32[100], %6: int64[], %7: float32[100]) {
      %8: bool[] = lt(%4, %6)
      return %8
    }
    region(%9: int64[], %10: float32[100], %11: int64[], %12: float32[100]) {
      %13: int64[] = constant() {value=1}
      %14: int64[] = add(%9, %13)
      %15: float32[100] = flip(%10) {dims=(0,)}
      %16: float32[100] = tanh(%15)
      %17: float32[100] = add(%16, %12)
      return %14, %17
    }
  ]
  return %3
}
"""
    )
    import numpy as np

    import duograph as dg

    x = np.linspace(-1, 1, 100, dtype=np.float32)
    (out,) = build(graph).program.run([dg.from_numpy(x)], [3], [])
    expected = x
    for _ in range(3):
        expected = np.tanh(expected[::-1]) + np.exp(x)
    np.testing.assert_allclose(out.numpy(), expected, rtol=1e-5)


def chain_of_activations(layers: int) -> list[Step]:
    """A way there that keeps a buffer for each layer, and a way back that reads them in reverse, in place."""
    kept = [Buffer("input", 0, core.uint8, (4096,))]
    steps: list[Step] = []
    for number in range(layers):
        kept.append(Buffer("temp", number, core.uint8, (4096 + 64 * (number % 7),)))
        steps.append(kernel_step(kept[-2:-1], kept[-1:], elementwise=False))
    back = kept[0]
    for number in range(layers):
        made = Buffer("temp", layers + number, core.uint8, kept[-1 - number].shape)
        steps.append(kernel_step([kept[-1 - number], back], [made], elementwise=True))
        back = made
    return steps


def test_gradients_take_the_places_of_activations_in_deep_programs_too() -> None:
    for layers in (20, EXACT_LIMIT):
        steps = chain_of_activations(layers)
        plan = plan_memory(steps)
        check_contents(steps, plan)
        alive = sum(int(life.size) for life in plan.lives[:layers])
        assert alive <= plan.arena <= alive + 3 * 4544


def test_twice_the_steps_take_about_twice_the_time() -> None:
    """Counted in calls, which no other process on the machine changes."""

    def calls(layers: int) -> int:
        steps, count = chain_of_activations(layers), 0

        def profile(frame: Any, event: str, argument: Any) -> None:
            nonlocal count
            count += event in ("call", "c_call")

        sys.setprofile(profile)
        try:
            plan_memory(steps)
        finally:
            sys.setprofile(None)
        return count

    for layers in (EXACT_LIMIT, 4 * EXACT_LIMIT):
        assert calls(2 * layers) <= 2.2 * calls(layers)
    assert calls(80) <= 5 * calls(20)
