"""Casts between all dtypes, integer edges and elementwise access patterns, at every instruction level."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_harness import ALL_LEVELS, Failure, run
from kernel_specs import F, M, N, elementwise, load, operands, store

from duograph.codegen.dtypes import DTYPES
from duograph.codegen.kernel import STATUS_NEGATIVE_POWER, STATUS_ZERO_DIVISION, Instr, LoopKernel, Operand

RNG = np.random.default_rng(11)
INTEGERS = [name for name, info in DTYPES.items() if info.kind in "iu"]


def storage(dtype):
    """The NumPy dtype that holds a dtype's bytes."""
    return "uint16" if dtype == "bfloat16" else dtype


def to_bfloat16(x):
    """Reference rounding of float32 to bfloat16, to nearest even."""
    bits = x.astype(F).view("uint32").astype("uint64")
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(x), 0x7FC0, rounded).astype("uint16")


def from_bfloat16(bits):
    return (bits.astype("uint32") << 16).view(F)


def samples(dtype):
    info = DTYPES[dtype]
    if info.kind == "b":
        return np.array([False, True, True, False] * 9)
    if info.kind in "iu":
        limits = np.iinfo(dtype)
        edges = np.array([0, 1, limits.min, limits.max, limits.max - 1, limits.min + 1, 7, 100, 127], dtype)
        return np.concatenate([edges, RNG.integers(limits.min, limits.max, 40, dtype=dtype, endpoint=True)])
    if dtype == "bfloat16":
        return np.concatenate([np.arange(0, 65536, 37), np.arange(0x7F70, 0x7F90), np.arange(0, 20)]).astype("uint16")
    if dtype == "float16":
        return np.arange(0, 65536, 13).astype("uint16").view("float16")
    tiny = np.finfo(dtype)
    powers = 2.0 ** np.arange(-30, 70)
    near = np.concatenate([powers, -powers, powers - 1, powers + 0.5, 1 - powers])
    edges = [
        0.0,
        -0.0,
        np.inf,
        -np.inf,
        np.nan,
        tiny.max,
        -tiny.max,
        tiny.tiny,
        65504,
        65519.99,
        65520,
        65536,
        2.0**-24,
        2.0**-25,
    ]
    small = RNG.standard_normal(300) * 2.0 ** RNG.integers(-30, 20, 300)
    return np.concatenate([near, edges, small, 1 + np.arange(40) * 2.0**-11, 1 + np.arange(40) * 2.0**-8]).astype(dtype)


def reference_cast(x, source, result):
    if source == "bfloat16":
        x, source = from_bfloat16(x), F
    if result == "bfloat16":
        return to_bfloat16(x.astype(F))
    if DTYPES[source].kind == "f" and DTYPES[result].kind in "iu":
        limits = np.iinfo(result)
        whole = [0 if v != v else int(max(min(v, 2.0**70), -(2.0**70))) for v in x.astype("float64").tolist()]
        return np.array([max(limits.min, min(limits.max, v)) for v in whole], result)
    if result == "float16" and source != "float16":
        x = x.astype(F)
    return x.astype(result)


@pytest.mark.parametrize("isa", ALL_LEVELS)
@pytest.mark.parametrize("source", DTYPES)
def test_casts(isa, source):
    """One kernel casts to every dtype."""
    x = samples(source)
    results = [name for name in DTYPES if name != source]
    body = [load(0, 1, dtype=source)]
    body += [Instr("cast", (0,), result) for result in results]
    body += [store(i, i, 1, dtype=result) for i, result in enumerate(results, 1)]
    types = (Operand(source), *(Operand(result, "out") for result in results))
    kernel = LoopKernel("casts", (N,), frozenset(), types, tuple(body))
    arrays = [x, *(np.zeros(len(x), storage(result)) for result in results)]
    for result, got in zip(results, run(kernel, arrays, {"n": len(x)}, isa=isa)[1:]):
        with np.errstate(all="ignore"):
            expected = reference_cast(x, source, result)
        if result == "bfloat16":
            got, expected = from_bfloat16(got), from_bfloat16(expected)
        wrong = ~((got == expected) | ((got != got) & (expected != expected)))
        assert not wrong.any(), (result, x[wrong][:5], got[wrong][:5], expected[wrong][:5])
        if DTYPES[source].kind == "f" and DTYPES[result].kind == "f":
            assert (np.signbit(got) == np.signbit(expected))[got == got].all()


def pairs(dtype):
    a, b = np.meshgrid(samples(dtype), samples(dtype))
    return a.ravel(), b.ravel()


@pytest.mark.parametrize("isa", ALL_LEVELS)
@pytest.mark.parametrize("dtype", INTEGERS)
def test_integer_division_and_shifts(isa, dtype):
    a, b = pairs(dtype)
    nonzero = b != 0
    a, b = a[nonzero], b[nonzero]
    sizes, out = {"n": len(a)}, np.zeros_like(a)
    bits, mask = DTYPES[dtype].bits, (1 << DTYPES[dtype].bits) - 1

    def wrap(values):
        return np.array([v & mask for v in values], f"uint{bits}").view(dtype)

    pair = list(zip(a.tolist(), b.tolist()))
    for op, function in (("floordiv", lambda x, y: x // y), ("mod", lambda x, y: x % y)):
        got = run(elementwise(op, [dtype, dtype], dtype), [a, b, out], sizes, isa=isa)[2]
        np.testing.assert_array_equal(got, wrap([function(x, y) for x, y in pair]))

    def left(x, y):
        return x << y if 0 <= y < bits else 0

    def right(x, y):
        return x >> (y if 0 <= y < bits else bits)

    for op, function in (("shl", left), ("shr", right)):
        got = run(elementwise(op, [dtype, dtype], dtype), [a, b, out], sizes, isa=isa)[2]
        np.testing.assert_array_equal(got, wrap([function(x, y) for x, y in pair]))


@pytest.mark.parametrize("isa", ["native", "x86-64"])
@pytest.mark.parametrize("dtype", INTEGERS)
def test_integer_power(isa, dtype):
    a, b = pairs(dtype)
    keep = (b >= 0) & (b <= 200)
    a, b = a[keep], b[keep]
    mask = (1 << DTYPES[dtype].bits) - 1
    got = run(elementwise("pow", [dtype, dtype], dtype), [a, b, np.zeros_like(a)], {"n": len(a)}, isa=isa)[2]
    expected = np.array([pow(x, y, mask + 1) for x, y in zip(a.tolist(), b.tolist())], f"uint{DTYPES[dtype].bits}")
    np.testing.assert_array_equal(got, expected.view(dtype))


@pytest.mark.parametrize("isa", ALL_LEVELS)
@pytest.mark.parametrize(
    ("op", "bad", "code"),
    [("floordiv", 0, STATUS_ZERO_DIVISION), ("mod", 0, STATUS_ZERO_DIVISION), ("pow", -1, STATUS_NEGATIVE_POWER)],
)
def test_lanes_that_fail(isa, op, bad, code):
    for n in (1, 5, 16, 40):
        a = np.full(n, 7, "int32")
        b = np.full(n, 2, "int32")
        run(elementwise(op, ["int32", "int32"], "int32"), [a, b, a], {"n": n}, isa=isa)
        b[n - 1] = bad
        with pytest.raises(Failure) as failure:
            run(elementwise(op, ["int32", "int32"], "int32"), [a, b, a], {"n": n}, isa=isa)
        assert failure.value.args[0] == code


@pytest.mark.parametrize("isa", ALL_LEVELS)
@pytest.mark.parametrize("op", ["floor", "ceil", "round", "trunc", "sign", "abs", "neg"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rounding(isa, op, dtype):
    x = np.concatenate([samples(dtype), np.arange(-20, 20) / 4]).astype(dtype)
    got = run(elementwise(op, [dtype], dtype), [x, np.zeros_like(x)], {"n": len(x)}, isa=isa)[1]
    reference = {"round": np.rint, "abs": np.abs, "neg": np.negative}.get(op) or getattr(np, op)
    expected = reference(x)
    np.testing.assert_array_equal(got, expected)
    if op != "sign":
        assert (np.signbit(got) == np.signbit(expected))[x == x].all()


@pytest.mark.parametrize("isa", ALL_LEVELS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fma_rounds_once(isa, dtype):
    a, b, c = (RNG.standard_normal(4000).astype(dtype) for _ in range(3))
    c[:2000] = -(a[:2000] * b[:2000])  # what is left is only the product's rounding error
    got = run(elementwise("fma", [dtype] * 3, dtype), [a, b, c, a], {"n": 4000}, isa=isa)[3]
    native = run(elementwise("fma", [dtype] * 3, dtype), [a, b, c, a], {"n": 4000})[3]
    if dtype == "float32":
        assert got.tobytes() == native.tobytes()
    else:
        assert (got == native).mean() > 0.999
        np.testing.assert_allclose(got, native, rtol=1e-15)


@pytest.mark.parametrize("isa", ALL_LEVELS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_16_bit_arithmetic_rounds_once(isa, dtype):
    x = samples(dtype)
    y = x[::-1].copy()
    wide = [v.astype(F) if dtype == "float16" else from_bfloat16(v) for v in (x, y)]
    for op, function in (("add", np.add), ("mul", np.multiply), ("div", np.divide), ("maximum", np.maximum)):
        got = run(elementwise(op, [dtype, dtype], dtype), [x, y, np.zeros_like(x)], {"n": len(x)}, isa=isa)[2]
        with np.errstate(all="ignore"):
            exact = function(*wide)
            expected = exact.astype("float16") if dtype == "float16" else from_bfloat16(to_bfloat16(exact))
        got = got if dtype == "float16" else from_bfloat16(got)
        np.testing.assert_array_equal(got, expected, err_msg=op)


@pytest.mark.parametrize("isa", ALL_LEVELS)
def test_every_length_and_alignment(isa):
    add = elementwise("add", [F, F], F)
    for n in [*range(70), 255, 1000, 8192, 20001]:
        a, b = RNG.standard_normal((2, n)).astype(F)
        for splits, shift in ((1, 0), (3, 4)):
            got = run(add, [a, b, np.zeros(n, F)], {"n": n}, isa=isa, splits=splits, shift=shift)[2]
            assert (got == a + b).all()


@pytest.mark.parametrize("isa", ALL_LEVELS)
def test_strides(isa):
    """A transposed operand, one broadcast along all but the middle dim, a contiguous result; a strided result."""
    body = (load(0, 1, N, N * M), load(1, 0, 1, 0), Instr("add", (0, 1), F), store(2, 2, M * 3, 3, 1))
    kernel = LoopKernel("add", (N, M, 3), frozenset(), operands([F, F], F), body)
    every_other = LoopKernel("copy", (N,), frozenset(), operands([F], F), (load(0, 3), store(0, 1, 2)))
    for n, m in ((1, 1), (5, 7), (33, 20), (100, 17)):
        a, b = RNG.standard_normal((3, m, n)).astype(F), RNG.standard_normal(m).astype(F)
        for splits in (1, 4):
            got = run(kernel, [a, b, np.zeros((n, m, 3), F)], {"n": n, "m": m}, isa=isa, splits=splits)[2]
            assert (got == a.T + b[None, :, None]).all()
        got = run(every_other, [a, np.zeros(2 * n, F)], {"n": n}, isa=isa)[1]
        assert (got[::2] == a.ravel()[: 3 * n : 3]).all()
        assert (got[1::2] == 0).all()


def test_no_dims():
    body = (Instr("number", (), F, 0), Instr("const", (), F, 2.0), Instr("mul", (0, 1), F), store(2, 1))
    kernel = LoopKernel("scalar", (), frozenset(), (Operand(F), Operand(F, "out")), body)
    assert run(kernel, [np.float32(21), np.float32(0)])[1] == 42


@pytest.mark.parametrize("isa", ALL_LEVELS)
def test_index_and_size(isa):
    body = (
        Instr("index", (), "int64", 0),
        Instr("index", (), "int64", 1),
        Instr("size", (), "int64", M),
        Instr("mul", (0, 2), "int64"),
        Instr("add", (3, 1), "int64"),
        store(4, 0, M, 1, dtype="int64"),
    )
    kernel = LoopKernel("number", (N, M), frozenset(), (Operand("int64", "out"),), body)
    for n, m in ((2, 3), (5, 40)):
        got = run(kernel, [np.zeros((n, m), "int64")], {"n": n, "m": m}, isa=isa)[0]
        assert (got == np.arange(n * m).reshape(n, m)).all()


@pytest.mark.parametrize("isa", ALL_LEVELS)
@pytest.mark.parametrize("dtype", ["float32", "bool", "float16", "float64"])
def test_transpose(isa, dtype):
    """Staged tile by tile, whole and partial ones."""
    body = (load(0, 1, N, dtype=dtype), store(0, 1, M, 1, dtype=dtype))
    kernel = LoopKernel("transpose", (N, M), frozenset(), operands([dtype], dtype), body)
    for n, m in ((1, 1), (16, 16), (17, 33), (100, 300), (31, 257), (0, 5)):
        x = (RNG.standard_normal((m, n)) * 3).astype(dtype)
        for splits in (1, 3):
            got = run(kernel, [x, np.zeros((n, m), dtype)], {"n": n, "m": m}, isa=isa, splits=splits)[1]
            assert (got == x.T).all()


@pytest.mark.parametrize("isa", ["native", "x86-64"])
def test_large_results_past_the_cache(isa):
    n = (1 << 22) + 37
    a, b = RNG.standard_normal((2, n), dtype=F)
    for shift in (0, 4):
        got = run(elementwise("add", [F, F], F), [a, b, np.zeros(n, F)], {"n": n}, isa=isa, splits=3, shift=shift)[2]
        assert (got == a + b).all()
