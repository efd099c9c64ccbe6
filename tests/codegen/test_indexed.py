"""Gathers, scatters, masks and random bits."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_harness import ALL_LEVELS, Failure, run
from kernel_specs import F, M, N, P, load, operands, store

from duograph.codegen.kernel import (
    STATUS_INDEX,
    Address,
    Gather,
    Instr,
    LoopKernel,
    Operand,
    Philox,
    ScatterKernel,
)

RNG = np.random.default_rng(3)
I = "int64"
SHAPES = ((5, 20, 7), (3, 100, 300), (10, 0, 4), (4, 9, 1))


def scatter(kind, dtype, rows):
    """target[index] (+)= source, the index per row or per element."""
    index = load(0, 1, 0, dtype=I) if rows else load(0, P, 1, dtype=I)
    body = (index, load(1, P, 1, dtype=dtype))
    types = (Operand(I), Operand(dtype), Operand(dtype, "inout"))
    return ScatterKernel("scatter", kind, (M, P), frozenset({0}), types, body, Address(2, (0, 1)), ((0, P, N),), 1)


@pytest.mark.parametrize("isa", ALL_LEVELS)
@pytest.mark.parametrize("kind", ["add", "put"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int32", "float64"])
def test_scatter_in_index_order(isa, kind, dtype):
    for n, m, p in SHAPES:
        source = (RNG.standard_normal((m, p)) * 10).astype(dtype)
        start = (RNG.standard_normal((n, p)) * 10).astype(dtype)
        rows, cells = RNG.integers(0, n, m), RNG.integers(0, n, (m, p))
        sizes = {"n": n, "m": m, "p": p}
        by_row, by_cell = start.copy(), start.copy()
        for i in range(m):
            by_row[rows[i]] = by_row[rows[i]] + source[i] if kind == "add" else source[i]
            at = (cells[i], np.arange(p))
            by_cell[at] = by_cell[at] + source[i] if kind == "add" else source[i]
        got = run(scatter(kind, dtype, True), [rows, source, start], sizes, isa=isa, splits=2)[2]
        assert got.tobytes() == by_row.tobytes()
        got = run(scatter(kind, dtype, False), [cells, source, start], sizes, isa=isa, splits=2)[2]
        assert got.tobytes() == by_cell.tobytes()


def histogram(kind, dtype):
    """target[row, (|place| + place // 3) % 7 + shift] (+)= value * value, along rows that are written element by element."""
    body = (
        load(0, P, 1, dtype=I),
        Instr("abs", (0,), I),
        Instr("const", (), I, 3),
        Instr("floordiv", (0, 2), I),
        Instr("add", (1, 3), I),
        Instr("const", (), I, 7),
        Instr("mod", (4, 5), I),
        load(2, 1, 0, dtype=I),
        Instr("add", (6, 7), I),
        load(1, P, 1, dtype=dtype),
        Instr("mul", (9, 9), dtype),
    )
    types = (Operand(I), Operand(dtype), Operand(I), Operand(dtype, "inout"))
    return ScatterKernel("scatter", kind, (M, P), frozenset({1}), types, body, Address(3, (N, 0)), ((8, 1, N),), 10)


@pytest.mark.parametrize("isa", ALL_LEVELS)
@pytest.mark.parametrize("kind", ["add", "put"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "float64"])
@np.errstate(over="ignore")
def test_computed_places_are_written_in_order(isa, kind, dtype):
    for m, p in ((3, 0), (1, 1), (2, 15), (2, 255), (3, 256), (2, 257), (1, 1000)):
        places = RNG.integers(-50, 50, (m, p))
        values = (RNG.standard_normal((m, p)) * 3).astype(dtype)
        shift = RNG.integers(0, 3, m)
        expected = np.ones((m, 10), dtype)
        for i in range(m):
            for j in range(p):
                at = (i, (abs(places[i, j]) + places[i, j] // 3) % 7 + shift[i])
                square = values[i, j] * values[i, j]
                expected[at] = expected[at] + square if kind == "add" else square
        sizes = {"n": 10, "m": m, "p": p}
        arrays = [places, values, shift, np.ones((m, 10), dtype)]
        assert run(histogram(kind, dtype), arrays, sizes, isa=isa, splits=2)[3].tobytes() == expected.tobytes()


def test_computed_places_are_checked():
    arrays = [np.zeros((1, 300), I), np.zeros((1, 300), F), np.array([8]), np.zeros((1, 5), F)]
    with pytest.raises(Failure) as failure:
        run(histogram("add", F), arrays, {"n": 5, "m": 1, "p": 300})
    assert failure.value.args == (STATUS_INDEX, 8, 5)


def test_scatter_checks_every_index():
    with pytest.raises(Failure) as failure:
        run(scatter("add", F, True), [np.array([0, 7, 1]), np.zeros((3, 4), F), np.zeros((5, 4), F)], {"n": 5, "m": 3, "p": 4})
    assert failure.value.args == (STATUS_INDEX, 7, 5)


def gather(rows):
    index = load(1, 1, 0, dtype=I) if rows else load(1, P, 1, dtype=I)
    taken = Instr("gather", (), F, Gather(Address(0, (0, 1)), ((0, P, N),)))
    return LoopKernel("gather", (M, P), frozenset(), operands([F, I], F), (index, taken, store(1, 2, P, 1)))


@pytest.mark.parametrize("isa", ALL_LEVELS)
def test_gather(isa):
    for n, m, p in SHAPES:
        x = RNG.standard_normal((n, p)).astype(F)
        sizes = {"n": n, "m": m, "p": p}
        rows, cells = RNG.integers(0, n, m), RNG.integers(0, n, (m, p))
        out = np.zeros((m, p), F)
        assert (run(gather(True), [x, rows, out], sizes, isa=isa, splits=3)[2] == x[rows]).all()
        assert (run(gather(False), [x, cells, out], sizes, isa=isa, splits=3)[2] == np.take_along_axis(x, cells, 0)).all()


@pytest.mark.parametrize("bad", [-1, 4, -(2**63), 2**63 - 1])
@pytest.mark.parametrize("width", [1, 40])
def test_gather_checks_every_index(bad, width):
    index = np.zeros((3, width), I)
    index[1, width - 1] = bad
    with pytest.raises(Failure) as failure:
        run(gather(False), [np.zeros((4, width), F), index, np.zeros((3, width), F)], {"n": 4, "m": 3, "p": width})
    assert failure.value.args == (STATUS_INDEX, bad, 4)


@pytest.mark.parametrize("isa", ALL_LEVELS)
def test_padding_reads_nothing_outside(isa):
    """out[i, j] = x[i - 1, j - 2] inside, 0 outside."""
    mask = ((0, 1, N + 1), (1, 2, M + 2))
    body = (load(0, M, 1, offset=-M - 2, mask=mask), store(0, 1, M + 5, 1))
    kernel = LoopKernel("pad", (N + 4, M + 5), frozenset(), operands([F], F), body)
    for n, m in ((1, 1), (3, 13), (4, 100)):
        x = RNG.standard_normal((n, m)).astype(F)
        got = run(kernel, [x, np.ones((n + 4, m + 5), F)], {"n": n, "m": m}, isa=isa, splits=2)[1]
        np.testing.assert_array_equal(got, np.pad(x, ((1, 3), (2, 3))))


def philox_block(key, counter):
    """Philox4x32-10 of the paper, on Python integers."""
    x = [counter & 0xFFFFFFFF, counter >> 32, 0, 0]
    k = [key & 0xFFFFFFFF, key >> 32]
    for i in range(10):
        if i:
            k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
        a, b = x[0] * 0xD2511F53, x[2] * 0xCD9E8D57
        x = [(b >> 32) ^ x[1] ^ k[0], b & 0xFFFFFFFF, (a >> 32) ^ x[3] ^ k[1], a & 0xFFFFFFFF]
    return x


@pytest.mark.parametrize("isa", ALL_LEVELS)
def test_random_bits(isa):
    assert philox_block(0, 0)[0] == 0x6627E8D5  # the published known answer for key 0, counter 0
    key, counter = 0x0123456789ABCDEF, 0xFFFFFFFE
    for n in (1, 15, 37, 200):
        words = [w for b in range(n) for w in philox_block(key, counter + b)]
        for dtype, expected in (
            ("uint32", words[:n]),
            ("uint64", [words[2 * i] | words[2 * i + 1] << 32 for i in range(n)]),
        ):
            body = (Instr("philox", (), dtype, Philox(0, (1,))), store(0, 1, 1, dtype=dtype))
            kernel = LoopKernel("bits", (N,), frozenset(), operands(["uint64"], dtype), body)
            got = run(kernel, [np.array([key, counter], "uint64"), np.zeros(n, dtype)], {"n": n}, isa=isa)[1]
            assert got.tolist() == expected
