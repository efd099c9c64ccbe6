"""Contractions against numpy: shapes, layouts, levels, bits, epilogues, dtypes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from duograph.codegen.contraction.driver import HEADER
from duograph.codegen.contraction.library import build_library
from duograph.codegen.contraction.parts import M_WORD, N_WORD, PARTS, PARTS_WORD, SPREAD_WORD, needed_parts, part_symbols
from duograph.codegen.contraction.shape import TileShape, tile_shape
from duograph.codegen.kernel import Address, Instr
from duograph.codegen.target import LEVELS, get_target
from duograph.ir.dim import symbol
from tests.codegen.contraction_calls import (
    chunk_count,
    contract,
    engine_of,
    function,
    header,
    new_status,
    product,
    scratch,
    strides_of,
)

SHAPES = [
    (1, 1, 1),
    (1, 17, 5),
    (5, 1, 9),
    (14, 32, 64),
    (15, 33, 129),
    (31, 47, 1),
    (64, 10, 100),
    (70, 200, 300),
    (3, 300, 1049),
    (1, 1000, 600),
    (129, 65, 70),
    (200, 1, 300),
    (280, 70, 40),
]
EMPTY = [(0, 5, 3), (5, 0, 3), (7, 16, 0), (1, 40, 0), (9, 1, 0)]
RUNNABLE = ["native"] + [
    level
    for level in LEVELS
    if set(get_target(level).features)
    <= set(get_target("native").features) | {"evex512", "64bit", "mmx", "x87", "cx8", "cmov", "fxsr", "sahf"}
]
RNG = np.random.default_rng(7)


def laid_out(x: np.ndarray, layout: str) -> np.ndarray:
    """The same values by rows, by columns, or with both strides above one."""
    if layout == "columns":
        return np.ascontiguousarray(x.swapaxes(-1, -2)).swapaxes(-1, -2)
    if layout == "spread":
        odd = np.nan if x.dtype.kind == "f" else 1
        wide = np.full((*x.shape[:-2], 2 * x.shape[-2], 3 * x.shape[-1]), odd, x.dtype)
        wide[..., ::2, ::3] = x
        return wide[..., ::2, ::3]
    return np.ascontiguousarray(x)


def matrices(m: int, n: int, k: int, dtype: str = "float32", batch: Sequence[int] = ()) -> tuple[np.ndarray, np.ndarray]:
    return RNG.standard_normal((*batch, m, k)).astype(dtype), RNG.standard_normal((*batch, k, n)).astype(dtype)


def assert_close(got: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    """Within the error bound of a chain of len(k) roundings."""
    exact = a.astype(np.float64) @ b.astype(np.float64)
    magnitude = np.abs(a).astype(np.float64) @ np.abs(b).astype(np.float64)
    bound = (a.shape[-1] + 2) * np.finfo(got.dtype).eps * magnitude
    assert (np.abs(got - exact) <= bound).all()


@pytest.mark.parametrize("isa", RUNNABLE)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_and_bits_over_layouts_and_chunks(dtype: str, isa: str) -> None:
    """Neither the layouts of A and B nor the cut into chunks change a bit."""
    for m, n, k in SHAPES + EMPTY:
        a, b = matrices(m, n, k, dtype)
        expected = product(a, b, isa=isa)
        assert_close(expected, a, b)
        for layout_a, layout_b in itertools.product(("rows", "columns", "spread"), repeat=2):
            x, y = laid_out(a, layout_a), laid_out(b, layout_b)
            assert np.array_equal(product(x, y, isa=isa), expected), (m, n, k, layout_a, layout_b)
        chunks = chunk_count(expected, (32, 64))
        cuts = sorted({0, chunks, *RNG.integers(0, chunks + 1, 3).tolist()})
        pieces = product(a, b, chunk=(32, 64), ranges=list(itertools.pairwise(cuts)), isa=isa)
        assert np.array_equal(pieces, expected), (m, n, k, cuts)


def test_a_row_does_not_depend_on_the_others() -> None:
    """A row of A gives the same bits alone and among others, up to the longest k block and beyond."""
    for k in (1, 100, 512, 513, 1100):
        a, b = matrices(40, 70, k)
        whole = product(a, b)
        for rows in (slice(0, 1), slice(3, 5), slice(10, 39)):
            assert np.array_equal(product(a[rows], b), whole[rows])
        assert np.array_equal(product(a, b[:, :1]), whole[:, :1])


@pytest.mark.parametrize("isa", RUNNABLE)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_row_times_long_columns_has_the_bits_of_many_rows(dtype: str, isa: str) -> None:
    """Also beyond the chains that are added up one after another in registers."""
    for n, k in ((19, 257), (19, 1100), (37, 4700)):
        a, b = matrices(9, n, k, dtype)
        assert np.array_equal(product(a[4:5], laid_out(b, "columns"), isa=isa), product(a, b, isa=isa)[4:5]), (n, k)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("isa", RUNNABLE)
def test_a_row_times_a_matrix_from_memory_has_the_same_bits(dtype: str, isa: str) -> None:
    rng = np.random.default_rng(8)
    for k, n in (
        (1, 1),
        (7, 300),
        (300, 7),
        (384, 384),
        (1536, 65),
        (513, 1030),
        (768, 600),
        (1100, 1540),
        (1600, 33),
        (700, 2100),
    ):
        a, b = rng.standard_normal((1, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
        expected = product(a, b, isa=isa)
        np.testing.assert_array_equal(product(a, b, isa=isa, far=True), expected)
        beside = np.zeros((k, n + 70), dtype)[:, :n]  # a row ends before the next one begins
        beside[:] = b
        np.testing.assert_array_equal(product(a, beside, isa=isa, far=True), expected)
        pieces = product(a, b, chunk=(1, 32), ranges=[(0, 1), (1, (n + 31) // 32)], isa=isa, far=True)
        np.testing.assert_array_equal(pieces, expected)


def test_levels_with_fused_multiply_add_agree() -> None:
    a, b = matrices(45, 77, 600)
    expected = product(a, b)
    for isa in RUNNABLE:
        if get_target(isa).fma:
            assert np.array_equal(product(a, b, isa=isa), expected)


@pytest.mark.parametrize("batch", [(3,), (2, 3), (2, 1, 4), (0, 2)])
def test_batches(batch: tuple[int, ...]) -> None:
    a, b = matrices(33, 40, 20, batch=batch)
    assert np.allclose(product(a, b, chunk=(32, 64)), a @ b, atol=1e-4)
    standing = np.broadcast_to(b[(slice(0, 1),) * len(batch)], b.shape)
    assert np.allclose(product(a, standing), a @ standing, atol=1e-4)


@pytest.mark.parametrize("isa", RUNNABLE)
def test_batches_whose_next_matrix_is_prefetched(isa: str) -> None:
    """Each matrix has the bits it has alone: what is read ahead, past the last one too, changes nothing."""
    for m, n, k in ((40, 72, 50), (17, 200, 9), (70, 33, 64), (1, 300, 40), (30, 2, 700), (5, 1500, 40)):
        a, b = matrices(m, n, k, batch=(3,))
        alone = np.stack([product(x, y, isa=isa) for x, y in zip(a, b)])
        for layout_a, layout_b in itertools.product(("rows", "columns", "spread"), repeat=2):
            x, y = laid_out(a, layout_a), laid_out(b, layout_b)
            assert np.array_equal(product(x, y, isa=isa), alone), (m, n, k, layout_a, layout_b)
        backwards = product(a[::-1], b[::-1], isa=isa)
        assert np.array_equal(backwards[::-1], alone)


def test_large() -> None:
    """Several blocks of columns and of k, copies of A and B of every kind: more rows than are multiplied with B in place."""
    a, b = matrices(300, 2100, 1024)
    expected = product(a, b)
    assert_close(expected, a, b)
    for layout_a, layout_b in (("columns", "rows"), ("rows", "columns"), ("spread", "spread")):
        assert np.array_equal(product(laid_out(a, layout_a), laid_out(b, layout_b)), expected)


@pytest.mark.parametrize("isa", RUNNABLE)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_columns_pages_apart(dtype: str, isa: str) -> None:
    """A by columns that share cache sets is copied, several tiles at a time: the bits are those of A by rows."""
    for m, n, k in ((120, 70, 530), (300, 200, 40), (250, 66, 3)):
        a, b = matrices(m, n, k, dtype)
        pages = np.full((k, 4096), np.nan, dtype)
        pages[:, 5 : 5 + m] = a.T
        assert np.array_equal(product(pages[:, 5 : 5 + m].T, b, isa=isa), product(a, b, isa=isa)), (m, n, k)


def test_special_values() -> None:
    """Infinities and NaNs stay in their rows and columns: nothing is computed with padding."""
    a, b = matrices(17, 35, 21)
    a[3, 2], b[5, 7] = np.inf, np.nan
    for layout in ("rows", "columns", "spread"):
        got = product(a, laid_out(b, layout))
        assert np.array_equal(np.isfinite(got), np.isfinite(a.astype(np.float64) @ b))


def test_interrupt_flag() -> None:
    """A raised flag ends the launch before it computes."""
    a, b = matrices(64, 64, 64)
    c = np.full((64, 64), 3, np.float32)
    args = np.array([a.ctypes.data, b.ctypes.data, c.ctypes.data], np.uint64)
    sizes = header(a, b, c, (32, 64))
    status, _flag = new_status(stop=1)
    function(engine_of("float32", "native"), "run")(
        args.ctypes.data, sizes.ctypes.data, 0, 2, scratch().ctypes.data, status.ctypes.data
    )
    assert (c == 3).all()


@pytest.mark.parametrize("isa", RUNNABLE)
@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64"])
def test_integers(dtype: str, isa: str) -> None:
    """Of all values: what does not fit wraps."""
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    shapes = ((1, 1, 1), (5, 33, 7), (40, 100, 20), (3, 4, 0), (6, 40, 0), (9, 21, 600))
    narrow = (
        (1, 1, 8),
        (1, 1, 16),
        (7, 1, 15),
        (6, 1, 2063),
        (1, 2, 40),
        (35, 2, 33),
        (33, 1, 17000),
        (9, 3, 50),
        (2, 37, 90),
        (5, 1, 0),
    )
    for m, n, k in (*shapes, *narrow):
        a, b = (RNG.integers(low, high, shape, dtype, endpoint=True) for shape in ((2, m, k), (2, k, n)))
        for left, right in itertools.product(("rows", "columns", "spread"), ("rows", "columns", "spread")):
            got = product(laid_out(a, left), laid_out(b, right), chunk=(32, 64), isa=isa)
            assert np.array_equal(got, np.matmul(a, b)), (m, n, k, left, right)


@pytest.mark.parametrize("isa", RUNNABLE)
@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64"])
def test_few_rows_of_many_integers(dtype: str, isa: str) -> None:
    """Columns by many vectors, by one and by elements, in place and with strides."""
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    for m, n, k in ((1, 1143, 19), (3, 64, 5), (2, 530, 1), (1, 1024, 0)):
        a, b = (RNG.integers(low, high, shape, dtype, endpoint=True) for shape in ((m, k), (k, n)))
        for left, right in itertools.product(("rows", "spread"), repeat=2):
            got = product(laid_out(a, left), laid_out(b, right), chunk=(32, 2048), isa=isa)
            assert np.array_equal(got, np.matmul(a, b)), (m, n, k, left, right)


def test_libraries_are_deterministic() -> None:
    target = get_target()
    assert build_library("contraction-int32", target) == build_library("contraction-int32", target)
    with pytest.raises(ValueError, match="no library"):
        build_library("contraction-bool", target)


# ---- specs ----


def bias_relu(bias: np.ndarray) -> tuple[Instr, ...]:
    """max(sum + bias[n], 0), by a comparison that lets NaN through."""
    return (
        Instr("accumulator", (), "float32"),
        Instr("load", (), "float32", Address(3, (*(0,) * 1, *strides_of(bias)))),
        Instr("add", (0, 1), "float32"),
        Instr("const", (), "float32", 0.0),
        Instr("maximum", (2, 3), "float32"),
    )


@pytest.mark.parametrize("isa", RUNNABLE)
@pytest.mark.parametrize("cuts", [1, 3])
def test_hot_epilogue(cuts: int, isa: str) -> None:
    for m, n, k in [*SHAPES, *EMPTY]:
        a, b = matrices(m, n, k)
        a[:1, :1] = np.nan
        bias, c = RNG.standard_normal(n).astype("float32"), np.full((m, n), 9, np.float32)
        compiled = contract(a, b, c, [bias], bias_relu(bias), batch=0, cuts=cuts, isa=isa)
        assert len(compiled.launches) == (m * n > 0) and all(launch.functions for launch in compiled.launches)
        assert np.array_equal(c, np.maximum(product(a, b, isa=isa) + bias, 0), equal_nan=True), (m, n, k)


def test_hot_epilogue_in_a_batch() -> None:
    """A residual and a value per matrix: batch indices reach the epilogue."""
    a, b = matrices(20, 50, 30, batch=(3, 2))
    c, residual, scale = (
        np.zeros((3, 2, 20, 50), np.float32),
        RNG.standard_normal((3, 2, 20, 50)).astype("f"),
        np.arange(1, 7, dtype="f"),
    )
    epilogue = (
        Instr("accumulator", (), "float32"),
        Instr("load", (), "float32", Address(4, (2, 1, 0, 0))),
        Instr("mul", (0, 1), "float32"),
        Instr("load", (), "float32", Address(3, strides_of(residual))),
        Instr("add", (2, 3), "float32"),
    )
    for cuts in (1, 4):
        compiled = contract(a, b, c, [residual, scale], epilogue, batch=2, cuts=cuts)
        assert len(compiled.launches) == 1
        assert np.array_equal(c, product(a, b) * scale.reshape(3, 2, 1, 1) + residual)


@pytest.mark.parametrize("isa", RUNNABLE)
@pytest.mark.parametrize("layout", ["rows", "columns", "spread"])
def test_adding_to_what_c_holds_is_adding_the_product(layout: str, isa: str) -> None:
    """Bit for bit, also where a product that is too small for a number leaves -0 and C holds -0."""
    total, addition = Instr("accumulator", (), "float32"), Instr("add", (1, 0), "float32")
    for m, n, k in [(1, 1, 1), (1, 40, 7), (40, 1, 16), (14, 32, 16), (37, 70, 512), (300, 33, 100), (5, 9, 1)]:
        for small in (False, True):
            a, b = matrices(m, n, k)
            c = laid_out(RNG.standard_normal((m, n)).astype("f"), layout)
            if small:
                a, b, c[...] = -np.abs(a) * np.float32(1e-30), np.abs(b) * np.float32(1e-30), np.float32(-0.0)
            expected = c + product(a, b, isa=isa)
            load = Instr("load", (), "float32", Address(2, strides_of(c)))
            compiled = contract(a, b, c, (), (total, load, addition), batch=0, isa=isa, cuts=2)
            assert compiled.launches[0].whole == (len(compiled.launches) == 2)
            assert (len(compiled.launches) == 1) == (n == 1 or strides_of(c)[1] == 1), (m, n, k)
            assert c.tobytes() == expected.tobytes(), (m, n, k, small)


def test_sums_are_not_written_over_what_is_read() -> None:
    a, b = matrices(4, 5, 6)
    load = Instr("load", (), "float32", Address(2, (5, 1)))
    epilogue = (Instr("accumulator", (), "float32"), load, Instr("mul", (1, 0), "float32"))
    with pytest.raises(ValueError, match="writes sums over what its epilogue reads"):
        contract(a, b, np.zeros((4, 5), np.float32), (), epilogue, batch=0)


def test_plain_needs_no_code() -> None:
    a, b = matrices(20, 30, 40)
    compiled = contract(a, b, np.zeros((20, 30), np.float32), batch=0)
    (launch,) = compiled.launches
    assert launch.symbol == "contraction-float32:run" and launch.functions == part_symbols("float32") and launch.whole


def test_the_cost_of_one_row_is_the_memory_it_reads() -> None:
    """By its multiply-adds alone it would not seem worth a second thread."""
    for m, n in ((1, 300), (300, 1)):
        a, b = matrices(m, n, 400)
        (launch,) = contract(a, b, np.zeros((m, n), np.float32), batch=0).launches
        assert launch.cost >= 300 * 400 * 4


@pytest.mark.parametrize(
    ("m", "n", "piece"), [(2000, 300, (112, 300)), (2000, 1200, (2000, 256)), (400, 100, (400, 64)), (2000, 60, None)]
)
def test_pieces_have_all_columns_of_tall_products_else_all_rows(m: int, n: int, piece: tuple[int, int] | None) -> None:
    """A piece of many rows and few columns would read all of A for these; a few more columns than a chunk's are needed."""
    a, b = matrices(m, n, 40)
    (launch,) = contract(a, b, np.zeros((m, n), np.float32), batch=0).launches
    rows, columns = (launch.size_exprs[HEADER.index(name)] for name in ("rows_per_chunk", "columns_per_chunk"))
    assert isinstance(rows, int) and isinstance(columns, int) and isinstance(launch.grain, int)
    down, across = -(-m // rows), -(-n // columns)
    assert launch.chunks == down * across
    if piece is not None:
        assert piece == (min(rows * launch.grain, m), columns * max(1, launch.grain // down))


@pytest.mark.parametrize("isa", RUNNABLE)
def test_bits_do_not_depend_on_the_parts(isa: str) -> None:
    """All sizes near those of a tile, with each part that they may do without left out."""
    shape = tile_shape("float32", get_target(isa))
    for m in range(1, 2 * shape.rows + 3):
        for n in (1, shape.lanes, shape.width - 1, shape.width, 3 * shape.width + 1):
            a, b = matrices(m, n, 40)
            expected = product(a, b, isa=isa)
            assert np.array_equal(product(a, b, isa=isa, without=("heights", "rows")), expected), (m, n)
            left_out = [part for part, needed in zip(PARTS, needed_parts(shape, m, n)) if not needed]
            assert np.array_equal(product(a, b, isa=isa, without=left_out, chunk=(32, 128)), expected), (m, n, left_out)


def test_sizes_decide_on_the_parts() -> None:
    assert [HEADER[i] for i in (M_WORD, N_WORD, PARTS_WORD, SPREAD_WORD)] == ["m", "n", "parts", "spread"]
    shape = TileShape("float", 4, 16, 2, 14, True, True)
    anything, many = symbol("a"), symbol("b", 267)
    assert needed_parts(shape, 64, 128) == (False, False, False, False)
    assert needed_parts(shape, 64, 10) == (True, False, False, False) and needed_parts(shape, 64, 31) == (
        False,
        False,
        False,
        False,
    )
    assert needed_parts(shape, 13, 128) == (False, True, False, False) and needed_parts(shape, 14, 128) == (
        False,
        False,
        False,
        False,
    )
    assert not needed_parts(shape, 16, 128)[1] and needed_parts(shape, 15, 128)[1] and not needed_parts(shape, 300, 128)[1]
    assert needed_parts(shape, 1, 128) == (False, False, True, False) and needed_parts(shape, 128, 1) == (
        True,
        False,
        True,
        False,
    )
    assert needed_parts(shape, anything, anything) == (True, True, True, False)
    assert needed_parts(shape, many, 128) == (False, False, False, False)
    assert needed_parts(shape, 1, 128, spread=True) == (False, False, False, True)


def test_float16() -> None:
    """16-bit floats are summed in float32 and rounded once."""
    a, b = (x.astype(np.float16) for x in matrices(30, 40, 50))
    c = np.zeros((30, 40), np.float16)
    contract(a, b, c, batch=0, dtype="float32")
    assert np.array_equal(c, product(a.astype(np.float32), b.astype(np.float32)).astype(np.float16))


def test_unsigned() -> None:
    a, b = (RNG.integers(0, 250, (9, 9)).astype(np.uint8) for _ in range(2))
    c = np.zeros((9, 9), np.uint8)
    contract(a, b, c, batch=0)
    assert np.array_equal(c, a @ b)


def test_dims_that_do_not_merge() -> None:
    """Several m, n and k dims with gaps between them, C with columns apart."""
    a = RNG.standard_normal((3, 5, 8, 7)).astype("f")[:, :4, ::2]
    b = RNG.standard_normal((4, 9, 2, 6)).astype("f")[:, :7, :, :5]
    expected = np.tensordot(a.astype(np.float64), b.astype(np.float64), ((2, 3), (0, 1)))
    for order in ((0, 1, 2, 3), (3, 2, 1, 0)):
        c = np.zeros([expected.shape[d] for d in order], np.float32).transpose(np.argsort(order))
        contract(a, b, c, batch=0, m=2, k=2, dtype="float32")
        assert np.allclose(c, expected, atol=1e-5)


def test_vectors() -> None:
    a, b = RNG.standard_normal(50).astype("f"), RNG.standard_normal((50, 30)).astype("f")
    row, dot = np.zeros(30, np.float32), np.zeros((), np.float32)
    contract(a, b, row, batch=0, m=0)
    contract(a, a, dot, batch=0, m=0)
    assert np.allclose(row, a @ b, atol=1e-5) and np.allclose(dot, a @ a, atol=1e-5)
    column = np.zeros(30, np.float32)
    contract(b.T, a, column, batch=0)
    assert np.array_equal(column, row)
