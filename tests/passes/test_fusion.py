"""What shares a kernel: the shapes of program that decide the speed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import duograph as dg
from duograph.codegen.kernel import ContractionKernel, LoopKernel
from duograph.ir.text import parse_graph
from duograph.passes.fusion.schedule import KernelStep, Schedule
from duograph.passes.lowering.scheduling import schedule
from duograph.passes.pipeline import Options, optimise
from duograph.runtime.build import build


def plan(text: str, strict: bool = True) -> Schedule:
    return schedule(optimise(parse_graph(text), Options(strict=strict, verify=True)))


def kernels(text: str, strict: bool = True) -> list[Any]:
    return [step.kernel for step in plan(text, strict).steps if isinstance(step, KernelStep)]


def ops(kernel: Any) -> list[str]:
    body = kernel.epilogue if isinstance(kernel, ContractionKernel) else kernel.body
    return [instr.op for instr in body]


SOFTMAX = """graph softmax(%x: float32[n, m]) {
  %0: float32[n] = reduce(%x) {kind='max', dims=(1,)}
  %1: float32[n, 1] = reshape(%0)
  %2: float32[n, m] = broadcast(%1)
  %3: float32[n, m] = sub(%x, %2)
  %4: float32[n, m] = exp(%3)
  %5: float32[n] = reduce(%4) {kind='sum', dims=(1,)}
  %6: float32[n, 1] = reshape(%5)
  %7: float32[n, m] = broadcast(%6)
  %8: float32[n, m] = div(%4, %7)
  return %8
}
"""


def test_softmax_is_one_kernel_that_loads_once() -> None:
    (kernel,) = kernels(SOFTMAX)
    assert ops(kernel) == ["load", "reduce", "sub", "exp", "reduce", "div", "store"]
    assert kernel.reduce_dims == {1}


def test_linear_bias_relu_is_one_contraction() -> None:
    (kernel,) = kernels(
        """graph linear(%x: float32[64, 100], %w: float32[10, 100], %b: float32[10]) {
  %0: float32[64, 10] = contraction(%x, %w) {a='mk', b='nk', out='mn'}
  %1: float32[64, 10] = broadcast(%b)
  %2: float32[64, 10] = add(%0, %1)
  %3: float32[] = constant() {value=0.0}
  %4: float32[64, 10] = broadcast(%3)
  %5: float32[64, 10] = maximum(%2, %4)
  return %5
}
"""
    )
    assert isinstance(kernel, ContractionKernel)
    assert ops(kernel) == ["accumulator", "load", "add", "const", "maximum"]
    assert (kernel.m, kernel.n, kernel.k) == ((64,), (10,), (100,))
    assert (kernel.a_strides, kernel.b_strides, kernel.c_strides) == ((100, 1), (1, 100), (10, 1))


def test_contraction_of_several_letters_merges_them() -> None:
    (kernel,) = kernels(
        """graph linear(%x: float32[2, 7, 100], %w: float32[10, 100]) {
  %0: float32[2, 7, 10] = contraction(%x, %w) {a='btk', b='nk', out='btn'}
  return %0
}
"""
    )
    assert (kernel.batch, kernel.m, kernel.n, kernel.k) == ((), (14,), (10,), (100,))


def test_result_is_contiguous_along_n() -> None:
    (kernel,) = kernels(
        """graph g(%x: float32[5, 100], %w: float32[10, 100]) {
  %0: float32[10, 5] = contraction(%x, %w) {a='mk', b='nk', out='nm'}
  return %0
}
"""
    )
    assert (kernel.m, kernel.n) == ((10,), (5,))
    assert kernel.c_strides == (5, 1)


UPDATE = """graph update(%p: cell float32[9], %m: cell float32[9], %v: cell float32[9], %g: float32[9], %lr: number float32[]) {
  %0: float32[9] = add(%m, %g)
  %1: float32[9] = mul(%g, %g)
  %2: float32[9] = add(%v, %1)
  %3: float32[9] = sqrt(%2)
  %4: float32[9] = div(%0, %3)
  %5: float32[9] = broadcast(%lr)
  %6: float32[9] = mul(%4, %5)
  %7: float32[9] = sub(%p, %6)
  %8: float32[9] = assign(%p, %7)
  %9: float32[9] = assign(%m, %0)
  %10: float32[9] = assign(%v, %2)
  return
}
"""


def test_optimiser_update_is_one_kernel_in_place() -> None:
    (kernel,) = kernels(UPDATE)
    assert ops(kernel).count("store") == 3
    assert [operand.role for operand in kernel.operands].count("inout") == 3
    arrays = [np.full(9, value, np.float32) for value in (1, 2, 3, 4)]
    tensors = [dg.from_numpy(array.copy()) for array in arrays]
    build(parse_graph(UPDATE)).program.run(tensors, [0.5], [])
    p, m, v, g = arrays
    np.testing.assert_allclose(tensors[0].numpy(), p - 0.5 * (m + g) / np.sqrt(v + g * g), rtol=1e-6)
    np.testing.assert_array_equal(tensors[1].numpy(), m + g)


def test_loss_is_one_full_reduction() -> None:
    (kernel,) = kernels(
        """graph mse(%x: float32[8, 9], %y: float32[8, 9]) {
  %0: float32[8, 9] = sub(%x, %y)
  %1: float32[8, 9] = mul(%0, %0)
  %2: float32[] = reduce(%1) {kind='sum', dims=(0, 1)}
  %3: float32[] = constant() {value=72.0}
  %4: float32[] = div(%2, %3)
  return %4
}
"""
    )
    assert kernel.extents == (72,)
    assert kernel.reduce_dims == {0}


def test_bias_gradient_joins_the_masked_gradient() -> None:
    """The column sum and the store of what is summed are one kernel."""
    steps = kernels(
        """graph g(%h: float32[32, 10], %g: float32[32, 10], %w: float32[10, 6]) {
  %0: float32[] = constant() {value=0.0}
  %1: float32[32, 10] = broadcast(%0)
  %2: bool[32, 10] = gt(%h, %1)
  %3: float32[32, 10] = where(%2, %g, %1)
  %4: float32[10] = reduce(%3) {kind='sum', dims=(0,)}
  %5: float32[32, 6] = contraction(%3, %w) {a='mk', b='kn', out='mn'}
  return %4, %5
}
"""
    )
    assert [type(kernel) for kernel in steps] == [LoopKernel, ContractionKernel]
    assert ops(steps[0]).count("store") == 2
    assert steps[0].reduce_dims == {0}


def test_expensive_values_are_kept_cheap_ones_computed_again() -> None:
    text = """graph g(%x: float32[8, 9], %y: float32[9, 8]) {{
  %0: float32[8, 9] = {op}(%x)
  %1: float32[9, 8] = permute(%0) {{dims=(1, 0)}}
  %2: float32[9, 8] = mul(%1, %y)
  %3: float32[8] = reduce(%0) {{kind='sum', dims=(1,)}}
  return %2, %3
}}
"""
    expensive = kernels(text.format(op="exp"))
    assert sum(ops(kernel).count("exp") for kernel in expensive) == 1
    cheap = kernels(text.format(op="neg"))
    assert sum(ops(kernel).count("neg") for kernel in cheap) == 2
    assert len(cheap) == 2


def test_movement_costs_nothing() -> None:
    (kernel,) = kernels(
        """graph g(%x: float32[4, 6], %y: float32[3, 2, 2]) {
  %0: float32[6, 4] = permute(%x) {dims=(1, 0)}
  %1: float32[3, 2, 4] = reshape(%0)
  %2: float32[3, 2, 2] = slice(%1) {starts=(0, 0, 1), steps=(1, 1, 2)}
  %3: float32[3, 2, 2] = flip(%2) {dims=(0,)}
  %4: float32[3, 2, 2] = add(%3, %y)
  return %4
}
"""
    )
    assert ops(kernel) == ["load", "load", "add", "store"]


def test_view_of_an_input_is_no_kernel() -> None:
    found = plan(
        """graph g(%x: float32[4, 6]) {
  %0: float32[6, 4] = permute(%x) {dims=(1, 0)}
  %1: float32[5, 2] = slice(%0) {starts=(1, 0), steps=(1, 2)}
  return %1, %x
}
"""
    )
    assert found.steps == ()
    view, whole = found.results
    assert view.placement is not None
    assert (view.placement.strides, view.placement.offset) == ((1, 12), 1)
    assert whole.inplace is None and whole.placement is not None
    assert (whole.placement.strides, whole.placement.offset) == ((6, 1), 0)


def test_same_structure_of_other_sizes_shares_code() -> None:
    built = build(
        parse_graph(
            """graph g(%x: float32[4, 6], %y: float32[7]) {
  %0: float32[4, 6] = exp(%x)
  %1: float32[7] = exp(%y)
  return %0, %1
}
"""
        )
    )
    assert len(built.spec["symbols"]) == 1
    assert len(built.spec["steps"]) == 2


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_constants_that_differ_share_code(dtype: str) -> None:
    factors = (0.375, -0.0, np.inf, np.nan, 7.0)
    sizes = range(9, 9 + len(factors))
    lines = "".join(
        f"""  %a{n}: {dtype}[] = constant() {{value={factor}}}
  %b{n}: {dtype}[{n}] = broadcast(%a{n})
  %c{n}: {dtype}[{n}] = mul(%x{n}, %b{n})
  %d{n}: {dtype}[] = constant() {{value=-1.5}}
  %e{n}: {dtype}[{n}] = broadcast(%d{n})
  %f{n}: {dtype}[{n}] = maximum(%c{n}, %e{n})
"""
        for n, factor in zip(sizes, factors)
    )
    inputs, outputs = ", ".join(f"%x{n}: {dtype}[{n}]" for n in sizes), ", ".join(f"%f{n}" for n in sizes)
    built = build(parse_graph(f"graph g({inputs}) {{\n{lines}  return {outputs}\n}}\n"))
    assert len(built.spec["symbols"]) == 1
    assert len(built.spec["steps"]) == len(factors)
    arrays = [np.linspace(-2, 2, n).astype(dtype) for n in sizes]
    made = built.program.run([dg.from_numpy(x) for x in arrays], [], [])
    for result, x, factor in zip(made, arrays, factors):
        with np.errstate(invalid="ignore"):
            np.testing.assert_array_equal(result.numpy(), np.maximum(x * np.array(factor, dtype), np.array(-1.5, dtype)))


def test_reductions_met_again_count_once() -> None:
    lines = "".join(f"  %y{n}: float32[n, m] = mul(%y{n - 1}, %centred)\n" for n in range(1, 20))
    (kernel,) = kernels(
        f"""graph g(%x: float32[n, m]) {{
  %0: float32[n] = reduce(%x) {{kind='sum', dims=(1,)}}
  %1: float32[n, 1] = reshape(%0)
  %2: float32[n, m] = broadcast(%1)
  %centred: float32[n, m] = sub(%x, %2)
  %y0: float32[n, m] = exp(%centred)
{lines}  return %y19
}}
"""
    )
    assert ops(kernel).count("reduce") == 1


SWAP = """graph swap(%a: cell float32[5], %b: cell float32[5]) {
  %0: float32[5] = assign(%a, %b)
  %1: float32[5] = assign(%b, %a)
  return %0, %1
}
"""


def test_cells_that_exchange_values() -> None:
    a, b = np.arange(5, dtype=np.float32), np.full(5, 9, np.float32)
    tensors = [dg.from_numpy(a.copy()), dg.from_numpy(b.copy())]
    build(parse_graph(SWAP)).program.run(tensors, [], [])
    np.testing.assert_array_equal(tensors[0].numpy(), b)
    np.testing.assert_array_equal(tensors[1].numpy(), a)


def test_cell_written_from_its_own_other_elements() -> None:
    text = """graph reverse(%a: cell float32[5], %x: float32[3]) {
  %0: float32[5] = flip(%a) {dims=(0,)}
  %1: float32[5] = slice_update(%0, %x) {starts=(1,), steps=(1,)}
  %2: float32[5] = assign(%a, %1)
  %3: float32[] = reduce(%a) {kind='sum', dims=(0,)}
  return %3
}
"""
    a = np.arange(5, dtype=np.float32)
    tensor = dg.from_numpy(a.copy())
    (total,) = build(parse_graph(text)).program.run([tensor, dg.from_numpy(np.full(3, 7, np.float32))], [], [])
    np.testing.assert_array_equal(tensor.numpy(), [4, 7, 7, 7, 0])
    assert total.item() == 10


def test_slice_update_of_a_cell_touches_only_the_slice() -> None:
    (kernel,) = kernels(
        """graph g(%a: cell float32[1000], %x: float32[3]) {
  %0: float32[1000] = slice_update(%a, %x) {starts=(10,), steps=(1,)}
  %1: float32[1000] = assign(%a, %0)
  return %1
}
"""
    )
    assert kernel.extents == (3,)


def test_layer_norm_is_one_kernel() -> None:
    (kernel,) = kernels(
        """graph layer_norm(%x: float32[n, m], %w: float32[m], %b: float32[m]) {
  %0: float32[n] = reduce(%x) {kind='sum', dims=(1,)}
  %1: int64[] = size() {value=m}
  %2: float32[] = cast(%1)
  %3: float32[n] = broadcast(%2)
  %4: float32[n] = div(%0, %3)
  %5: float32[n, 1] = reshape(%4)
  %6: float32[n, m] = broadcast(%5)
  %7: float32[n, m] = sub(%x, %6)
  %8: float32[n, m] = mul(%7, %7)
  %9: float32[n] = reduce(%8) {kind='sum', dims=(1,)}
  %10: float32[n] = div(%9, %3)
  %11: float32[] = constant() {value=1e-05}
  %12: float32[n] = broadcast(%11)
  %13: float32[n] = add(%10, %12)
  %14: float32[n] = rsqrt(%13)
  %15: float32[n, 1] = reshape(%14)
  %16: float32[n, m] = broadcast(%15)
  %17: float32[n, m] = mul(%7, %16)
  %18: float32[n, m] = broadcast(%w)
  %19: float32[n, m] = mul(%17, %18)
  %20: float32[n, m] = broadcast(%b)
  %21: float32[n, m] = add(%19, %20)
  return %21
}
"""
    )
    assert ops(kernel).count("reduce") == 2
    assert ops(kernel).count("store") == 1


def test_an_activation_keeps_one_factor_for_the_way_back() -> None:
    """gelu(x @ w) @ v and its gradient: neither x @ w nor its error function is kept, but what the gradient is times."""
    text = """graph gelu(%x: float32[64, 32], %w: float32[32, 128], %v: float32[128, 32], %g: float32[64, 32]) {
  %h: float32[64, 128] = contraction(%x, %w) {a='mk', b='kn', out='mn'}
  %half: float32[] = constant() {value=0.5}
  %halves: float32[64, 128] = broadcast(%half)
  %e: float32[64, 128] = erf(%h)
  %m: float32[64, 128] = mul(%h, %halves)
  %a: float32[64, 128] = mul(%m, %e)
  %y: float32[64, 32] = contraction(%a, %v) {a='mk', b='kn', out='mn'}
  %s: float32[64, 32] = add(%y, %g)
  %back: float32[64, 128] = contraction(%s, %v) {a='mn', b='kn', out='mk'}
  %square: float32[64, 128] = mul(%h, %h)
  %density: float32[64, 128] = exp(%square)
  %times: float32[64, 128] = mul(%h, %density)
  %factor: float32[64, 128] = fma(%e, %halves, %times)
  %da: float32[64, 128] = mul(%back, %factor)
  %dw: float32[32, 128] = contraction(%x, %da) {a='km', b='kn', out='mn'}
  %dv: float32[128, 32] = contraction(%a, %s) {a='km', b='kn', out='mn'}
  return %dw, %dv
}
"""
    steps = [step for step in plan(text).steps if isinstance(step, KernelStep)]
    (activation,) = [step for step in steps if any(node.op == "erf" for node in step.nodes)]
    assert any(node.op == "exp" for node in activation.nodes)
    assert sum(operand.role == "out" for operand in activation.kernel.operands) == 2
    h = activation.buffers[0]
    assert not any(h in step.buffers for step in steps[steps.index(activation) + 1 :])


def test_a_mask_is_no_gain_where_what_it_is_made_of_is_kept_anyway() -> None:
    text = """graph relu(%x: float32[64, 32], %w: float32[32, 32], %v: float32[32, 32]) {
  %h: float32[64, 32] = contraction(%x, %w) {a='mk', b='kn', out='mn'}
  %zero: float32[] = constant() {value=0.0}
  %zeros: float32[64, 32] = broadcast(%zero)
  %r: float32[64, 32] = maximum(%h, %zeros)
  %y: float32[64, 32] = contraction(%r, %v) {a='mk', b='kn', out='mn'}
  %back: float32[64, 32] = contraction(%y, %v) {a='mn', b='kn', out='mk'}
  %mask: bool[64, 32] = gt(%r, %zeros)
  %dr: float32[64, 32] = where(%mask, %back, %zeros)
  %dw: float32[32, 32] = contraction(%x, %dr) {a='km', b='kn', out='mn'}
  %dv: float32[32, 32] = contraction(%r, %y) {a='km', b='kn', out='mn'}
  return %dw, %dv
}
"""
    assert all(isinstance(kernel, ContractionKernel) for kernel in kernels(text))


def test_row_statistics_are_read_where_columns_are_summed() -> None:
    """The rows of a matrix in three dims are summed as one; what is broadcast along them is no matrix in memory."""
    steps = plan(
        """graph sums(%x: float32[8, 16, 32], %s: float32[8, 16, 1], %w: float32[32]) {
  %0: float32[8, 16, 32] = broadcast(%s)
  %1: float32[8, 16, 32] = broadcast(%w)
  %2: float32[8, 16, 32] = mul(%x, %0)
  %3: float32[8, 16, 32] = mul(%2, %1)
  %4: float32[128, 32] = reshape(%3)
  %5: float32[32] = reduce(%4) {kind='sum', dims=(0,)}
  return %5
}
"""
    ).steps
    assert len(steps) == 1


def test_zeros_are_written_right_before_what_is_added_to_them() -> None:
    text = """graph parts(%x: float32[64, 64], %a: float32[2, 64], %b: float32[3, 64]) {
  %zero: float32[] = constant() {value=0.0}
  %zeros: float32[5, 64] = broadcast(%zero)
  %0: float32[5, 64] = slice_update(%zeros, %a) {starts=(0, 0), steps=(1, 1)}
  %1: float32[64, 64] = contraction(%x, %x) {a='mk', b='kn', out='mn'}
  %2: float32[64, 64] = contraction(%1, %x) {a='mk', b='kn', out='mn'}
  %3: float32[5, 64] = contraction(%0, %2) {a='mk', b='kn', out='mn'}
  return %3
}
"""
    steps = [step for step in plan(text).steps if isinstance(step, KernelStep)]
    assert [type(step.kernel) for step in steps] == [
        ContractionKernel,
        ContractionKernel,
        LoopKernel,
        LoopKernel,
        ContractionKernel,
    ]


def test_parts_by_turns_in_memory_or_of_shared_values_are_written_by_one_kernel() -> None:
    text = """graph g(%x: float32[n, SIZE], %y: float32[n, SIZE]) {
  %0: float32[n, SIZE] = add(%x, %y)
  %1: float32[n, SIZE] = sub(%x, %y)
  %2: float32[n, TWICE] = concat(%0, %1) {dim=1}
  return %2
}
"""
    (kernel,) = kernels(text.replace("SIZE", "1").replace("TWICE", "2"))
    assert ops(kernel).count("load") == ops(kernel).count("store") == 2
    (kernel,) = kernels(text.replace("SIZE", "5").replace("TWICE", "10"))  # computed of shared values
    assert ops(kernel).count("load") == ops(kernel).count("store") == 2
    apart = text.replace("add(%x, %y)", "abs(%x)").replace("sub(%x, %y)", "neg(%y)")
    assert len(kernels(apart.replace("SIZE", "1").replace("TWICE", "2"))) == 1
    assert len(kernels(apart.replace("SIZE", "5").replace("TWICE", "10"))) == 2


def test_a_value_and_its_transpose_are_written_once_for_their_product() -> None:
    text = """graph g(%x: float32[n, m], %s: float32[n, m]) {
  %0: float32[n, m] = div(%x, %s)
  %1: float32[n, m] = exp(%0)
  %2: float32[m, n] = permute(%1) {dims=(1, 0,)}
  %3: float32[n, n] = contraction(%1, %2) {a='mk', b='kn', out='mn'}
  return %3
}
"""
    loop, contraction = kernels(text)
    assert ops(loop) == ["load", "load", "div", "exp", "store"]
    m = contraction.k[0]
    assert (contraction.a_strides, contraction.b_strides) == ((m, 1), (1, m))
