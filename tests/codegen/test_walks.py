"""Contractions of operands that several strides walk: the very bits of the product of copies, and no copies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from duograph.codegen.contraction.driver import HEADER
from duograph.codegen.kernel import Address, ContractionKernel, Instr, Operand
from duograph.codegen.walks import walk_of, with_walks
from tests.codegen.contraction_calls import contract, product
from tests.codegen.test_contraction import RUNNABLE

RNG = np.random.default_rng(3)
GAP = 7


def windows(x: np.ndarray, kernel: tuple[int, int], stride: int = 1, dilation: int = 1) -> np.ndarray:
    """[c, h, w] as [c, u, v, oh, ow], in the memory of x."""
    counts = [(size - (k - 1) * dilation - 1) // stride + 1 for size, k in zip(x.shape[1:], kernel)]
    c, h, w = x.strides
    strides = (c, h * dilation, w * dilation, h * stride, w * stride)
    return np.lib.stride_tricks.as_strided(x, (x.shape[0], *kernel, *counts), strides)


def image(*shape: int, dtype: str) -> np.ndarray:
    """Random numbers with NaN around them in memory: what is read besides is seen."""
    room = np.full(int(np.prod(shape)) + 2 * GAP, np.nan, dtype)
    made = room[GAP:-GAP].reshape(shape)
    made[...] = RNG.standard_normal(shape)
    return made


def assert_same(a: np.ndarray, b: np.ndarray, m: int, k: int, isa: str, cuts: int = 1) -> None:
    """C = A·B of operands [*m, *k] and [*k, *n] without copies, with the bits of the product of copies."""
    depth = int(np.prod(a.shape[m:]))
    rows = np.ascontiguousarray(a).reshape(-1, depth)
    columns = np.ascontiguousarray(b).reshape(depth, -1)
    expected = product(rows, columns, isa=isa)
    c = np.full((*a.shape[:m], *b.shape[k:]), np.nan, a.dtype)
    compiled = contract(a, b, c, batch=0, m=m, k=k, cuts=cuts, isa=isa)
    assert not compiled.temporaries and len(compiled.launches) == 1
    np.testing.assert_array_equal(c.reshape(expected.shape), expected)


@pytest.mark.parametrize("isa", RUNNABLE)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_windows_have_the_bits_of_their_copies(dtype: str, isa: str) -> None:
    """Runs of columns, of k, and neither; rows shorter, as long and longer than panels; several blocks of k."""
    for m, shape, kernel, stride, dilation in [
        (5, (3, 6, 5), (3, 3), 1, 1),
        (33, (2, 9, 70), (1, 3), 1, 1),
        (16, (1, 7, 66), (2, 2), 1, 2),
        (3, (4, 9, 9), (3, 2), 2, 1),
        (9, (2, 7, 84), (3, 3), 2, 1),
        (17, (70, 5, 9), (3, 3), 1, 1),
        (300, (3, 5, 34), (2, 2), 1, 1),
    ]:
        x = image(*shape, dtype=dtype)
        b = windows(x, kernel, stride, dilation)
        a = RNG.standard_normal((m, *b.shape[:3])).astype(dtype)
        assert_same(a, b, 1, 3, isa, cuts=1 + m % 3)
        turned = b.transpose(3, 4, 0, 1, 2)  # the gradient of the kernel: k are the windows
        g = RNG.standard_normal((m, *turned.shape[:2])).astype(dtype)
        assert_same(g, turned, 1, 2, isa, cuts=1 + m % 3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_are_walked_along_k(dtype: str) -> None:
    """A whose k do not merge, with elements side by side and apart, over more k than a block has."""
    for m, k, n in ((20, (3, 9), 40), (5, (30, 20), 33), (2, (4, 3, 5), 1)):
        wide = image(m, 2 * k[0], *k[1:], dtype=dtype)
        b = RNG.standard_normal((*k, n)).astype(dtype)
        assert_same(wide[:, ::2], b, 1, len(k), "native", cuts=2)
        apart = image(*k[::-1], m, dtype=dtype)
        assert_same(apart.transpose(), b, 1, len(k), "native")


def test_epilogues_run_on_joined_columns() -> None:
    """Bias by row and a residual, on each piece of C: one launch."""
    x = image(4, 8, 9, dtype="float32")
    b = windows(x, (3, 3))
    a = RNG.standard_normal((6, 4, 3, 3)).astype("float32")
    c = np.zeros((6, 6, 7), "float32")
    bias, more = RNG.standard_normal(6).astype("float32"), RNG.standard_normal((6, 6, 7)).astype("float32")
    epilogue = (
        Instr("accumulator", (), "float32"),
        Instr("load", (), "float32", Address(3, (1, 0, 0))),
        Instr("add", (0, 1), "float32"),
        Instr("load", (), "float32", Address(4, (42, 7, 1))),
        Instr("add", (2, 3), "float32"),
    )
    compiled = contract(a, b, c, (bias, more), epilogue, batch=0, m=1, k=3)
    assert len(compiled.launches) == 1
    plain = product(a.reshape(6, -1), np.ascontiguousarray(b).reshape(36, -1)).reshape(c.shape)
    np.testing.assert_array_equal(c, plain + bias[:, None, None] + more)


def test_walks_are_as_short_as_they_can_be() -> None:
    assert walk_of((2, 3, 4), (12, 4, 1)) == ((24, 1),)
    assert walk_of((2, 3, 4), (24, 4, 1)) == ((2, 24), (12, 1))
    assert walk_of((1, 5, 1), (7, 3, 9)) == ((5, 3),)
    assert walk_of((), ()) == ((1, 0),)


def test_columns_are_joined_only_where_c_and_the_epilogue_allow_it() -> None:
    def kernel(c_strides: tuple[int, ...], *epilogue: Instr) -> ContractionKernel:
        operands = tuple(Operand("float32", role) for role in ("in", "in", "out", "in"))
        first: Any = Instr("accumulator", (), "float32")
        return ContractionKernel(
            "c", "float32", (), (8,), (5, 6), (4,), (4, 1), (60, 10, 1), c_strides, operands, (first, *epilogue)
        )

    joined = with_walks(kernel((30, 6, 1)))
    assert joined.n == (30,) and joined.columns == ((5, 10), (6, 1)) and joined.c_strides == (30, 1)
    assert not with_walks(kernel((40, 8, 1))).columns
    assert not with_walks(kernel((30, 6, 1), Instr("load", (), "float32", Address(3, (0, 1, 0))))).columns
    assert not with_walks(kernel((30, 6, 1), Instr("index", (), "int64", 1))).columns


def test_rows_are_walked_backwards() -> None:
    """Kernels turned round, as the gradient of a convolution's x takes them."""
    for m, f, taps, n in ((5, 3, (3, 3), 40), (17, 40, (1, 21), 33), (15, 70, (3, 3), 20)):
        turned = image(f, m, *taps, dtype="float32").transpose(1, 0, 2, 3)[:, :, ::-1, ::-1]
        assert_same(turned, RNG.standard_normal((f, *taps, n)).astype("float32"), 1, 3, "native", cuts=2)


@pytest.mark.parametrize("isa", RUNNABLE)
@pytest.mark.parametrize("walked", [False, True])
def test_matrices_with_one_a_are_multiplied_together(walked: bool, isa: str) -> None:
    """Panels of two matrices' columns; several blocks of k and of columns, pieces of the matrices, what follows the sums."""
    for m, c, size, count in ((20, 4, (7, 7), 5), (3, 150, (5, 9), 4), (33, 70, (14, 14), 7), (15, 3, (1, 1), 40)):
        x = RNG.standard_normal((count, c, size[0] + 2, size[1] + 2)).astype("float32")
        if walked:
            n, ch, h, w = x.strides
            b = np.lib.stride_tricks.as_strided(x, (c, 3, 3, count, *size), (ch, h, w, n, h, w))
        else:
            b = np.ascontiguousarray(x[:, :, 1:-1, 1:-1]).transpose(1, 0, 2, 3)
        taps = b.ndim - 3
        a = RNG.standard_normal((m, *b.shape[:taps])).astype("float32")
        bias = RNG.standard_normal(m).astype("float32")
        wide = np.full((count + 1, m + 1, *size), np.nan, "float32")
        given = np.full_like(wide, 3)
        for cuts in (1, 3):
            for after in (False, True):
                out = wide[:count, :m].transpose(1, 0, 2, 3)
                out[...] = np.nan
                strides = tuple(s // 4 for s in out.strides)
                add = (
                    Instr("accumulator", (), "float32"),
                    Instr("load", (), "float32", Address(3, (1, 0, 0, 0))),
                    Instr("add", (0, 1), "float32"),
                    Instr("load", (), "float32", Address(4, strides)),
                    Instr("mul", (2, 3), "float32"),
                )
                compiled = contract(
                    a, b, out, (bias, given) if after else (), add if after else (), batch=0, m=1, k=taps, cuts=cuts, isa=isa
                )
                assert not compiled.temporaries
                for i in range(count):
                    alone = np.full((m, *size), np.nan, "float32")
                    contract(a, b[..., i, :, :], alone, batch=0, m=1, k=taps, isa=isa)
                    expected = (alone + bias[:, None, None]) * np.float32(3) if after else alone
                    np.testing.assert_array_equal(out[:, i], expected)
                assert np.isnan(wide[count]).all() and np.isnan(wide[:, m]).all()


@pytest.mark.parametrize(("m", "n", "joined"), [(16, 128, False), (28, 300, False), (29, 128, True), (16, 64, True)])
def test_few_rows_read_matrices_side_by_side_where_they_lie(m: int, n: int, joined: bool) -> None:
    a, b = RNG.standard_normal((m, 40)).astype("float32"), RNG.standard_normal((3, 40, n)).astype("float32")
    out = np.empty((3, m, n), "float32")
    compiled = contract(a, b.transpose(1, 0, 2), out.transpose(1, 0, 2), batch=0, m=1, k=1)
    assert bool(compiled.launches[0].size_exprs[HEADER.index("joined")]) == joined
    for i in range(3):
        np.testing.assert_array_equal(out[i], product(a, b[i]))
