"""Reductions: one summation order whatever the layout, schedule, split and instruction level."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_harness import ALL_LEVELS, run
from kernel_specs import F, M, N, P, load, operands, reduction, store

from duograph.codegen.emit import emit_module
from duograph.codegen.kernel import Instr, LoopKernel
from duograph.codegen.target import get_target

RNG = np.random.default_rng(7)


def halve(parts):
    """16 partials along the last axis to one, in the contract's tree."""
    width = 16
    while width > 1:
        width //= 2
        parts = parts[..., :width] + parts[..., width : 2 * width]
    return parts[..., 0]


def interleaved(x):
    padded = np.zeros((*x.shape[:-1], -(-x.shape[-1] // 16) * 16), x.dtype)
    padded[..., : x.shape[-1]] = x
    total = np.zeros((*x.shape[:-1], 16), x.dtype)
    for i in range(0, padded.shape[-1], 16):
        total = total + padded[..., i : i + 16]
    return halve(total)


def contract_sum(x):
    """The sum over the last axis, exactly as the numeric contract orders it."""
    chunks = [interleaved(x[..., i : i + 4096]) for i in range(0, x.shape[-1], 4096)]
    total = np.zeros((*x.shape[:-1], 16), x.dtype)
    for c, result in enumerate(chunks):
        total[..., c % 16] = total[..., c % 16] + result
    return halve(total)


SHAPES = [(1, 1), (3, 0), (4, 15), (5, 17), (33, 70), (2, 4096), (3, 4097), (2, 10000), (5000, 20), (130, 65)]
ROW = reduction("sum", (N, M), [1], (M, 1), (1, 0))
ROW_OF_TRANSPOSED = reduction("sum", (N, M), [1], (1, N), (1, 0))
COLUMN = reduction("sum", (N, M), [0], (M, 1), (0, 1))
ALL_OF_TRANSPOSED = reduction("sum", (N, M), [0, 1], (1, N), (0, 0))
ALL = reduction("sum", (N,), [0], (1,), (0,))
OUTER_AND_INNER = reduction("sum", (N, M, P), [0, 2], (M * P, P, 1), (0, 1, 0))
MIDDLE = reduction("sum", (N, M, P), [1], (M * P, P, 1), (P, 0, 1))


@pytest.mark.parametrize("isa", ALL_LEVELS)
@pytest.mark.parametrize("dtype", ["float32"])
def test_sum_bits(isa, dtype):
    for n, m in SHAPES:
        x = RNG.standard_normal((n, m)).astype(dtype)
        sizes = {"n": n, "m": m}
        transposed = np.ascontiguousarray(x.T)
        for splits in (1, 3):
            rows = run(ROW, [x, np.ones(n, dtype)], sizes, isa=isa, splits=splits)[1]
            assert rows.tobytes() == contract_sum(x).tobytes()
            rows = run(ROW_OF_TRANSPOSED, [transposed, np.ones(n, dtype)], sizes, isa=isa, splits=splits)[1]
            assert rows.tobytes() == contract_sum(x).tobytes()
            columns = run(COLUMN, [x, np.ones(m, dtype)], sizes, isa=isa, splits=splits)[1]
            assert columns.tobytes() == contract_sum(transposed).tobytes()
            whole = run(ALL_OF_TRANSPOSED, [transposed, np.ones((), dtype)], sizes, isa=isa, splits=splits)[1]
            assert whole.tobytes() == contract_sum(x.reshape(-1)).tobytes()


@pytest.mark.parametrize("isa", ALL_LEVELS)
def test_sum_everything(isa):
    for n in (0, 1, 16, 100, 4096, 4097, 100_000):
        x = RNG.standard_normal(n).astype(F)
        for splits in (1, 3):
            total = run(ALL, [x, np.ones((), F)], {"n": n}, isa=isa, splits=splits, shift=4)[1]
            assert total.tobytes() == contract_sum(x).tobytes()


@pytest.mark.parametrize("isa", ALL_LEVELS)
def test_sum_of_dims_that_do_not_merge(isa):
    for n, m, p in ((1, 2, 3), (10, 3, 17), (40, 2, 150), (3, 5, 5000)):
        x = RNG.standard_normal((n, m, p)).astype(F)
        sizes = {"n": n, "m": m, "p": p}
        expected = contract_sum(np.ascontiguousarray(x.transpose(1, 0, 2)).reshape(m, -1))
        assert (run(OUTER_AND_INNER, [x, np.ones(m, F)], sizes, isa=isa, splits=2)[1] == expected).all()
        expected = contract_sum(np.ascontiguousarray(x.transpose(0, 2, 1)))
        assert (run(MIDDLE, [x, np.ones((n, p), F)], sizes, isa=isa, splits=2)[1] == expected).all()


KINDS = [("argmax", np.argmax, "int64"), ("argmin", np.argmin, "int64"), ("max", np.max, F), ("min", np.min, F)]


@pytest.mark.parametrize("isa", ["native", "x86-64", "x86-64-v3"])
@pytest.mark.parametrize(("kind", "reference", "output"), KINDS)
def test_extremes(isa, kind, reference, output):
    """First index of equals; NaN wins."""
    for n, m in ((4, 15), (5, 17), (33, 70), (3, 4097), (2, 10000), (200, 30)):
        x = RNG.integers(-5, 5, (n, m)).astype(F)
        x[0] = -np.inf
        x[1, 3] = np.nan
        sizes = {"n": n, "m": m}
        cases = [
            (reduction(kind, (N, M), [1], (M, 1), (1, 0), F, output), np.zeros(n, output), reference(x, axis=1)),
            (reduction(kind, (N, M), [0], (M, 1), (0, 1), F, output), np.zeros(m, output), reference(x, axis=0)),
            (reduction(kind, (N, M), [0, 1], (M, 1), (0, 0), F, output), np.zeros((), output), reference(x)),
        ]
        for kernel, out, expected in cases:
            got = run(kernel, [x, out], sizes, isa=isa, splits=2)[1]
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("isa", ["native", "x86-64"])
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int32", "int64", "uint64", "float64"])
def test_kinds_and_dtypes(isa, dtype):
    for n, m in ((3, 5), (20, 33), (2, 5000)):
        x = RNG.integers(0, 2, (n, m)).astype(dtype) if dtype == "bool" else (RNG.standard_normal((n, m)) * 50).astype(dtype)
        sizes = {"n": n, "m": m}
        kinds = {"max": np.max, "min": np.min}
        if dtype == "bool":
            kinds |= {"any": np.any, "all": np.all}
        elif dtype != "float64":
            kinds |= {"sum": lambda a, axis: np.sum(a, axis, dtype=dtype), "prod": lambda a, axis: np.prod(a, axis, dtype=dtype)}
        for kind, reference in kinds.items():
            for dims, source, target, axis, out in (([1], (M, 1), (1, 0), 1, n), ([0], (M, 1), (0, 1), 0, m)):
                kernel = reduction(kind, (N, M), dims, source, target, dtype)
                got = run(kernel, [x, np.zeros(out, dtype)], sizes, isa=isa)[1]
                np.testing.assert_array_equal(got, reference(x, axis=axis), err_msg=kind)


def softmax(strides, dims):
    """max, exp of the difference, sum, quotient: three passes."""
    body = (
        load(0, *strides),
        Instr("reduce", (0,), F, "max"),
        Instr("sub", (0, 1), F),
        Instr("exp", (2,), F),
        Instr("reduce", (3,), F, "sum"),
        Instr("div", (3, 4), F),
        store(5, 1, *strides),
    )
    return LoopKernel("softmax", (N, M), frozenset(dims), operands([F], F), body)


@pytest.mark.parametrize("isa", ALL_LEVELS)
@pytest.mark.parametrize("strides", [(M, 1), (1, N)])
@pytest.mark.parametrize("axis", [0, 1])
def test_softmax(isa, strides, axis):
    kernel = softmax(strides, [axis])
    for n, m in ((1, 1), (3, 7), (20, 100), (7, 5000), (300, 64), (90, 70)):
        x = (RNG.standard_normal((n, m)) * 3).astype(F)
        memory = x if strides == (M, 1) else np.ascontiguousarray(x.T)
        got = run(kernel, [memory, np.zeros_like(memory)], {"n": n, "m": m}, isa=isa, splits=2)[1]
        got = got if strides == (M, 1) else got.T
        wide = x.astype("float64")
        expected = np.exp(wide - wide.max(axis, keepdims=True))
        expected /= expected.sum(axis, keepdims=True)
        np.testing.assert_allclose(got, expected, rtol=3e-6)


def test_reduction_of_what_does_not_vary():
    """A constant source is still counted once per element."""
    body = (load(0, 0, 0, 0), Instr("reduce", (0,), F, "sum"), store(1, 1, P, 0, 1))
    kernel = LoopKernel("sum", (N, M, P), frozenset([1]), operands([F], F), body)
    got = run(kernel, [np.float32(2), np.zeros((5, 6), F)], {"n": 5, "m": 3, "p": 6})[1]
    assert (got == 6).all()
    body = (load(0, 0, 0, 0), Instr("reduce", (0,), "int64", "argmax"), store(1, 1, P, 0, 1, dtype="int64"))
    kernel = LoopKernel("argmax", (N, M, P), frozenset([1]), operands([F], "int64"), body)
    got = run(kernel, [np.float32(2), np.ones((5, 6), "int64")], {"n": 5, "m": 3, "p": 6})[1]
    assert (got == 0).all()


@pytest.mark.parametrize("kind", ["sum", "max"])
def test_rows_of_odd_length_have_no_scalar_tail(kind):
    """With masks, the last elements of a row take one masked pass: what is stored once for each row hinders nothing."""
    target = get_target("x86-64-v4")
    kernel = reduction(kind, (N, M), [1], (M, 1), (1, 0))
    text = emit_module([kernel], target)[0].text()
    assert "llvm.masked.load" in text
    assert " = load float," not in text  # one element at a time
