"""Products added to what a loop carries or a state holds: one kernel, in place, with the bits of two."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import duograph as dg
from duograph.codegen.contraction.shape import most_in_a_chain
from duograph.codegen.kernel import ContractionKernel
from duograph.ir.text import parse_graph
from duograph.passes.fusion.schedule import KernelStep, Schedule, Step, WhileStep
from duograph.passes.lowering.scheduling import schedule
from duograph.passes.pipeline import Options, optimise
from duograph.runtime.build import build

BLOCK = most_in_a_chain(4)
RNG = np.random.default_rng(3)


def text(k: Any, total: str = "add(%c, %0)", result: str = "%2", more: str = "") -> str:
    return f"""graph g(%c: cell float32[20, 33], %a: float32[20, {k}], %b: float32[{k}, 33]) {{
  %0: float32[20, 33] = contraction(%a, %b) {{a='mk', b='kn', out='mn'}}
  %1: float32[20, 33] = {total}
  %2: float32[20, 33] = assign(%c, %1)
{more}  return {result}
}}
"""


def plan(text: str) -> Schedule:
    return schedule(optimise(parse_graph(text), Options(verify=True)))


def in_place(steps: tuple[Step, ...]) -> list[ContractionKernel]:
    """The contractions that add to what they write."""
    found = []
    for step in steps:
        if isinstance(step, WhileStep):
            found += in_place(step.body)
        elif isinstance(step, KernelStep) and isinstance(step.kernel, ContractionKernel):
            found += [step.kernel] if step.kernel.operands[2].role == "inout" else []
    return found


def matrices(k: int) -> list[np.ndarray]:
    return [RNG.standard_normal(shape).astype(np.float32) for shape in ((20, 33), (20, k), (k, 33))]


def run(text: str, arrays: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    """What the first argument holds in the end, and the results."""
    tensors = [dg.from_numpy(array.copy()) for array in arrays]
    results = build(parse_graph(text)).program.run(tensors, [], [])
    return tensors[0].numpy(), [result.numpy() for result in results]


@pytest.mark.parametrize("total", ["add(%c, %0)", "add(%0, %c)"])
@pytest.mark.parametrize("k", [1, 16, BLOCK, BLOCK + 1])
def test_one_kernel_if_k_is_one_block(k: int, total: str) -> None:
    steps = plan(text(k, total)).steps
    assert (len(steps), len(in_place(steps))) == ((1, 1) if k <= BLOCK else (2, 0))
    c, a, b = matrices(k)
    found, _ = run(text(k, total), [c, a, b])
    expected = dg.from_numpy(c) + dg.from_numpy(a) @ dg.from_numpy(b)
    assert found.tobytes() == expected.numpy().tobytes()


@pytest.mark.parametrize("total", ["sub(%c, %0)", "mul(%c, %0)", "add(%0, %0)"])
def test_nothing_but_additions(total: str) -> None:
    assert not in_place(plan(text(16, total)).steps)


def test_k_of_no_elements_or_of_any_number_is_not_added_in_place() -> None:
    """-0 plus an empty product is +0; a size without a bound may be several blocks."""
    assert not in_place(plan(text(0)).steps)
    assert not in_place(plan(text("k")).steps)
    c, a, b = matrices(0)
    c[:] = -0.0
    assert not np.signbit(run(text(0), [c, a, b])[0]).any()


def test_what_is_read_elsewhere_is_read_before() -> None:
    """Another kernel reads what was there before, beside or instead of the addition."""
    before = text(16).replace("%2: float32[20, 33] = assign", "%3: float32[20, 33] = exp(%c)\n  %2: float32[20, 33] = assign")
    c, a, b = matrices(16)
    found, (copied,) = run(before.replace("return %2", "return %3"), [c, a, b])
    assert len(in_place(plan(before.replace("return %2", "return %3")).steps)) == 1
    assert copied.tobytes() == dg.from_numpy(c).exp().numpy().tobytes()
    assert found.tobytes() == (dg.from_numpy(c) + dg.from_numpy(a) @ dg.from_numpy(b)).numpy().tobytes()


@pytest.mark.parametrize("operands", ["%c, %b", "%b, %c", "%c, %c"])
def test_the_sum_as_an_operand_of_the_product(operands: str) -> None:
    graph = f"""graph g(%c: cell float32[24, 24], %b: float32[24, 24]) {{
  %0: float32[24, 24] = contraction({operands}) {{a='mk', b='kn', out='mn'}}
  %1: float32[24, 24] = add(%c, %0)
  %2: float32[24, 24] = assign(%c, %1)
  return %2
}}
"""
    assert not in_place(plan(graph).steps)
    arrays = [RNG.standard_normal((24, 24)).astype(np.float32) for _ in range(2)]
    by_name = dict(zip(("%c", "%b"), map(dg.from_numpy, arrays)))
    left, right = (by_name[name] for name in operands.split(", "))
    assert run(graph, arrays)[0].tobytes() == (by_name["%c"] + left @ right).numpy().tobytes()


def test_a_sum_that_is_read_transposed_is_not_overwritten() -> None:
    graph = """graph g(%c: cell float32[24, 24], %b: float32[24, 24]) {
  %0: float32[24, 24] = contraction(%b, %b) {a='mk', b='kn', out='mn'}
  %1: float32[24, 24] = permute(%c) {dims=(1, 0)}
  %2: float32[24, 24] = add(%1, %0)
  %3: float32[24, 24] = assign(%c, %2)
  return %3
}
"""
    assert not in_place(plan(graph).steps)
    c, b = (RNG.standard_normal((24, 24)).astype(np.float32) for _ in range(2))
    expected = dg.from_numpy(c).T + dg.from_numpy(b) @ dg.from_numpy(b)
    assert run(graph, [c, b])[0].tobytes() == expected.numpy().tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "bfloat16"])
@pytest.mark.parametrize("overlap", [False, True])
def test_loops_carry_the_same_bits(overlap: bool, dtype: str) -> None:
    def accumulate(x: Any) -> Any:
        total, turned = x[0].T @ x[0], x[0].T @ x[0]
        for t in range(x.shape[0]):
            product = x[t].T @ x[t]
            turned = turned + (x[t].T @ (x[t] + 1)).T
            total = total + (product + total @ product if overlap else product)
        return total, turned

    x = dg.from_numpy(RNG.integers(-3, 4, (12, 16, 9)).astype(np.float32) / 4).to(getattr(dg, dtype))
    with dg.dynamic_mode():
        expected = accumulate(x)
    for found, wanted in zip(dg.static(accumulate, strict=True)(x), expected):
        assert found.to(dg.float64).numpy().tobytes() == wanted.to(dg.float64).numpy().tobytes()
