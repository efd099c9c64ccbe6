"""Elementary functions: within 2 units in the last place of a high-precision reference, edges included."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from kernel_harness import ALL_LEVELS, run
from kernel_specs import elementwise, store

from duograph.codegen.emit import emit_module
from duograph.codegen.kernel import Instr, LoopKernel, Operand
from duograph.codegen.target import get_target

LIMIT = 2.0
FUNCTIONS = ["exp", "exp2", "expm1", "log", "log2", "log1p", "sin", "cos", "tan", "tanh", "erf", "sqrt", "rsqrt"]
ODD = {"expm1", "log1p", "sin", "tan", "tanh", "erf", "sqrt"}  # f(-0) is -0
# with FMA and 512-bit instructions; with FMA; with neither
LEVELS = ["native", "x86-64-v3", "x86-64"]


def call(op, *inputs, isa="native"):
    dtype = inputs[0].dtype.name
    kernel = elementwise(op, [dtype] * len(inputs), dtype)
    return run(kernel, [*inputs, np.zeros_like(inputs[0])], {"n": len(inputs[0])}, isa=isa)[-1]


def points(dtype, count, seed=1):
    """Any bit pattern; moderate numbers; numbers near 1; edges and their neighbours."""
    rng = np.random.default_rng(seed)
    info = np.finfo(dtype)
    word = "uint32" if dtype == "float32" else "uint64"
    patterns = rng.integers(0, np.iinfo(word).max, count, dtype=word, endpoint=True).view(dtype)
    patterns[np.isnan(patterns)] = np.nan  # a quiet one: NumPy warns of signalling ones
    moderate = (rng.standard_normal(count) * np.exp(rng.uniform(-8, 5, count))).astype(dtype)
    near_one = (1 + rng.standard_normal(count) * 0.05).astype(dtype)
    edges = [0, -0.0, 1, -1, np.inf, -np.inf, np.nan, info.tiny, info.smallest_subnormal, info.max, info.eps, 0.5, 2, 3]
    edges += [-x for x in edges] + [0.55, 0.89, 3.92, 1e6, math.pi / 2, math.pi, 88.7, -87.4, -103.9, 709.7, -745.1]
    edges = np.array(edges, dtype)
    with np.errstate(all="ignore"):
        around = [np.nextafter(edges, dtype_limit) for dtype_limit in np.array([np.inf, -np.inf], dtype)]
    return np.concatenate([patterns, moderate, near_one, edges, *around])


def wide_reference(op, x):
    """float32 references, computed in float64."""
    with np.errstate(all="ignore"):
        x = x.astype("float64")
        if op == "erf":
            return np.array([math.erf(v) for v in x.tolist()])
        if op == "rsqrt":
            return 1 / np.sqrt(x)
        return getattr(np, op)(x)


def exact_reference(op, x):
    """One value in many digits, as an mpmath number (or an infinity or NaN)."""
    inf = mpmath.inf
    if math.isnan(x):
        return mpmath.nan
    if op in ("sin", "cos", "tan"):
        if math.isinf(x):
            return mpmath.nan
        with mpmath.workprec(1300 if abs(x) > 1e15 else 140):
            return +getattr(mpmath, op)(mpmath.mpf(x))
    if op in ("log", "log2", "log1p", "rsqrt", "sqrt"):
        at = x + 1 if op == "log1p" and x > -1 else x + 1 if op == "log1p" else x
        if at <= 0 and not (op == "log1p" and x > -1):
            if op == "sqrt":
                return mpmath.mpf(0) if x == 0 else mpmath.nan
            pole = math.copysign(math.inf, x) if op == "rsqrt" else -math.inf
            return mpmath.mpf(pole) if at == 0 else mpmath.nan
    if op in ("exp", "exp2", "expm1") and abs(x) > 1e5:
        return inf if x > 0 else mpmath.mpf(-1 if op == "expm1" else 0)
    if op in ("tanh", "erf") and abs(x) > 1e3:
        return mpmath.mpf(math.copysign(1, x))
    if math.isinf(x):
        return mpmath.mpf(0) if op == "rsqrt" else inf
    functions = {"exp2": lambda v: mpmath.mpf(2) ** v, "log2": lambda v: mpmath.log(v, 2), "rsqrt": lambda v: 1 / mpmath.sqrt(v)}
    with mpmath.workprec(140):
        return functions.get(op, getattr(mpmath, op, None))(mpmath.mpf(x))


def worst_wide(got, expected):
    """The largest error in units of the last place of float32, against float64 values."""
    expected = np.asarray(expected, "float64")
    both_nan = np.isnan(got) & np.isnan(expected)
    with np.errstate(all="ignore"):
        rounded = expected.astype("float32")
        same = (got == rounded) | both_nan
        exponent = np.maximum(np.frexp(np.where(np.isfinite(expected), expected, 1))[1] - 24, -149)
        error = np.abs(got.astype("float64") - expected) / np.ldexp(1.0, exponent)
    error = np.where(same & ~np.isfinite(got), 0, np.where(np.isnan(error), np.inf, error))
    at = int(np.argmax(error))
    return float(error[at]), at


def exact_error(got, expected):
    """The error in units of the last place of float64."""
    if mpmath.isnan(expected) or math.isnan(got):
        return 0.0 if mpmath.isnan(expected) and math.isnan(got) else math.inf
    if mpmath.isinf(expected) or math.isinf(got):
        near = abs(expected) > mpmath.mpf(2) ** 1024 * (1 - mpmath.mpf(2) ** -54)
        return 0.0 if near and math.isinf(got) and (got > 0) == (expected > 0) else math.inf
    if expected == 0:
        return 0.0 if got == 0 else math.inf
    exponent = max(int(mpmath.floor(mpmath.log(abs(expected), 2))) - 52, -1074)
    return float(abs(mpmath.mpf(got) - expected) / mpmath.mpf(2) ** exponent)


def check_zero_sign(op, x, got):
    if op in ODD:
        zeros = (x == 0) & (got == 0)
        assert (np.signbit(got) == np.signbit(x))[zeros].all()


@pytest.mark.parametrize("op", FUNCTIONS)
@pytest.mark.parametrize("isa", LEVELS)
def test_float32(op, isa):
    x = points("float32", 8000)
    got = call(op, x, isa=isa)
    error, at = worst_wide(got, wide_reference(op, x))
    assert error <= LIMIT, (error, x[at], got[at])
    check_zero_sign(op, x, got)


@pytest.mark.parametrize("op", FUNCTIONS)
def test_float64(op):
    x = points("float64", 700)
    expected = [exact_reference(op, v) for v in x.tolist()]
    for isa in LEVELS:
        got = call(op, x, isa=isa)
        errors = [exact_error(g, e) for g, e in zip(got.tolist(), expected)]
        at = int(np.argmax(errors))
        assert errors[at] <= LIMIT, (isa, errors[at], x[at], got[at])
        check_zero_sign(op, x, got)


@pytest.mark.parametrize("isa", LEVELS)
@pytest.mark.parametrize("op", ["sin", "cos", "tan"])
def test_near_multiples_of_a_quarter_turn(op, isa):
    quarters = np.concatenate([np.arange(-40000, 90000), np.random.default_rng(3).integers(90000, 10**7, 3000)])
    x = np.concatenate([(quarters * (np.pi / 2)).astype("float32"), points("float32", 20)])
    got = call(op, x, isa=isa)
    error, at = worst_wide(got, wide_reference(op, x))
    assert error <= LIMIT, (error, x[at], got[at])
    small = np.abs(x) < 1e5  # the same bits without huge neighbours
    np.testing.assert_array_equal(call(op, x[small], isa=isa), got[small])


@pytest.mark.parametrize("isa", LEVELS)
@pytest.mark.parametrize("op, low, high", [("erfc", -5, 10.2), ("tanh", -10, 10), ("erf", -4, 4)])
def test_float32_densely(op, low, high, isa):
    x = np.linspace(low, high, 60_000).astype("float32")
    error, at = worst_wide(call(op, x, isa=isa), np.array([getattr(math, op)(value) for value in x.tolist()]))
    assert error <= LIMIT, (error, x[at])


def test_float64_where_intervals_meet():
    octaves = np.concatenate([2.0**octave * (1 + np.arange(4) / 4) for octave in range(4)])[1:] - 1  # multiples of the first
    ends = {
        "erf": (np.arange(16) + 0.5) * 0.3833939885586004,
        "erfc": octaves * 2,
        "erfinv": np.sqrt(-np.expm1(-2.41 * octaves)),
    }
    for op, wide, limit in (("erf", 6.2, 1.7), ("erfc", 27.3, 1.3), ("erfinv", 1, 2.5)):
        random = np.random.default_rng(2).uniform(0, wide, 400)
        x = np.concatenate([ends[op], np.nextafter(ends[op], 0), random, random[:20] * 1e-3])
        expected = [more_reference(op, value) for value in x.tolist()]
        for isa in (isa for isa in LEVELS if get_target(isa).has("avx512f")):
            errors = list(map(exact_error, call(op, x, isa=isa).tolist(), expected))
            assert max(errors) <= limit, (op, isa, max(errors), x[int(np.argmax(errors))])


def near_the_middle(most):
    """float64 x whose root is within most / 2**106 of the middle between two numbers: M**2 + M = j modulo 2**52 or 2**53."""
    for j in range(-most, most + 1, 2):
        for digits in (52, 53):
            found = {0, 1}
            for bit in range(1, digits):
                found = {c for m in found for c in (m, m + (1 << bit)) if (c * c + c - j) % (2 << bit) == 0}
            for m in (m + (1 << 52) * k for m in found for k in (0, 1)):
                a, rest = divmod(m * m + m - j, 1 << digits)
                if not rest and 1 << 52 <= m < 1 << 53 and 1 << 52 <= a < 1 << 53:
                    yield math.ldexp(a, digits)


@pytest.mark.parametrize("isa", LEVELS)
def test_sqrt_is_rounded_correctly(isa):
    hard = np.array(list(near_the_middle(200)))
    assert len(hard) > 200
    random = np.random.default_rng(5)
    mantissas = random.uniform(1, 4, 100_000)
    tiny = np.concatenate([mantissas[:999] * 2.0**-960, mantissas[:999] * 2.0**-1072])
    squares = np.arange(1, 2000.0) ** 2
    next_to = [np.nextafter(x, limit) for x in (squares, np.arange(1.0, 4.0, 2.0**-9)) for limit in (0, np.inf)]
    x = np.concatenate([hard, hard * 2.0**900, hard * 2.0**-1000, mantissas, tiny, squares, *next_to, points("float64", 100_000)])
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(call("sqrt", x, isa=isa), np.sqrt(x))


def test_log_of_float64_near_1_and_where_intervals_meet():
    root = np.float64(0.5**0.5).view("int64")
    ends = (root + (np.arange(17) << 48)).view("float64")
    x = np.concatenate([np.linspace(0.95, 1.05, 200), ends, np.nextafter(ends, 0), ends * 2.0**-1060])
    for op in ("log", "log2", "log1p"):
        expected = [exact_reference(op, value) for value in x.tolist()]
        for isa in LEVELS:
            assert max(map(exact_error, call(op, x, isa=isa).tolist(), expected)) <= 1


def power_pairs(dtype, count):
    x = points(dtype, count, 5)
    rng = np.random.default_rng(6)
    y = (rng.standard_normal(len(x)) * np.exp(rng.uniform(-3, 5, len(x)))).astype(dtype)
    bases = np.exp(rng.uniform(-3, 3, count)).astype(dtype)
    exponents = rng.uniform(-300, 300, count).astype(dtype)
    edges = np.array([0, -0.0, 1, -1, np.inf, -np.inf, np.nan, 5e-324, 1e30, -1e30, 0.5, -0.5, 2, 3, -2, -3, 1e308], dtype)
    grid = [a.ravel() for a in np.meshgrid(edges, edges)]
    return np.concatenate([x, bases, grid[0]]), np.concatenate([y, exponents, grid[1]])


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("isa", LEVELS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_power(isa, dtype):
    x, y = power_pairs(dtype, 700)
    got = call("pow", x, y, isa=isa)
    with np.errstate(all="ignore"):
        approximate = np.power(x.astype("float64"), y.astype("float64"))
    if dtype == "float32":
        error, at = worst_wide(got, approximate)
        assert error <= LIMIT, (error, x[at], y[at], got[at])
        return
    for a, b, g, e in zip(x.tolist(), y.tolist(), got.tolist(), approximate.tolist()):
        if not math.isfinite(e) or e == 0 or g == e:
            same = g == e and math.copysign(1, g) == math.copysign(1, e)
            assert same or (g != g and e != e) or (math.isinf(e) and g > 1e308), (a, b, g, e)
            continue
        with mpmath.workprec(200):
            error = exact_error(g, mpmath.power(mpmath.mpf(a), mpmath.mpf(b)))
        assert error <= LIMIT, (error, a, b, g)


@pytest.mark.parametrize("isa", LEVELS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_float_modulo_is_exact(isa, dtype):
    x = points(dtype, 1000, 8)
    y = np.random.default_rng(9).permutation(x)
    for op, function in (("mod", np.mod), ("floordiv", np.floor_divide)):
        got = call(op, x, y, isa=isa)
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(got, function(x, y), err_msg=op)


MORE = ["asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh", "erfc", "erfinv"]
# these have zeros whose neighbourhood is not resolved: errors in units of the last place of 1 there
SUMS = ["lgamma", "digamma"]
DOUBLE_LIMITS = {"erfc": 4, "erfinv": 4, "lgamma": 4, "digamma": 8}
MORE_ODD = {"asin", "atan", "sinh", "asinh", "atanh", "erfinv"}


def more_points(op, dtype, count):
    x = points(dtype, count, 3)
    inside = np.random.default_rng(4).uniform(-1, 1, count).astype(dtype)
    near_one = (1 - np.abs(np.random.default_rng(5).standard_normal(count)) * 1e-3).astype(dtype)
    return np.concatenate([x, inside, near_one, (inside * 20).astype(dtype)])


def more_reference(op, x):
    """One value in many digits."""
    if math.isnan(x):
        return mpmath.nan
    if op in ("asin", "acos", "atanh", "erfinv") and abs(x) >= 1:
        if abs(x) > 1:
            return mpmath.nan
        if op in ("atanh", "erfinv"):
            return mpmath.mpf(x) * mpmath.inf
    if op == "acosh" and x < 1:
        return mpmath.nan
    if op in ("sinh", "cosh") and abs(x) > 1e4:
        return mpmath.inf if x > 0 or op == "cosh" else -mpmath.inf
    if op == "erfc" and abs(x) > 40:
        return mpmath.mpf(0 if x > 0 else 2)
    if op in SUMS and (math.isinf(x) or (x <= 0 and x == math.floor(x))):
        if op == "lgamma" or x == math.inf:
            return mpmath.inf
        return mpmath.nan if x else mpmath.mpf(-math.copysign(math.inf, x))
    names = {"lgamma": lambda v: mpmath.re(mpmath.loggamma(v)), "digamma": mpmath.digamma}
    with mpmath.workprec(200):
        return mpmath.mpf(names.get(op, getattr(mpmath, op, None))(mpmath.mpf(x)))


def scaled_error(op, got, expected, digits):
    """The error in units of the last place (of 1 at least, for sums) of a format with so many digits."""
    if mpmath.isnan(expected) or math.isnan(got):
        return 0.0 if mpmath.isnan(expected) and math.isnan(got) else math.inf
    limit = mpmath.mpf(2) ** (1024 if digits == 53 else 128)
    if mpmath.isinf(expected) or math.isinf(got):
        near = abs(expected) > limit * (1 - mpmath.mpf(2) ** (-digits))
        return 0.0 if near and math.isinf(got) and (got > 0) == (expected > 0) else math.inf
    size = max(abs(expected), 1) if op in SUMS else abs(expected)
    if size == 0:
        return 0.0 if got == 0 else math.inf
    exponent = max(int(mpmath.floor(mpmath.log(size, 2))) + 1 - digits, -1074 if digits == 53 else -149)
    return float(abs(mpmath.mpf(got) - expected) / mpmath.mpf(2) ** exponent)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("op", [*MORE, *SUMS])
def test_more_functions(op, dtype):
    x = more_points(op, dtype, 150)
    if op in SUMS:
        x = x[~(x < -1e3)]  # the digits of pi x run out: checked at moderate arguments
    expected = [more_reference(op, v) for v in x.tolist()]
    for isa in LEVELS:
        got = call(op, x, isa=isa)
        errors = [scaled_error(op, g, e, 53 if dtype == "float64" else 24) for g, e in zip(got.tolist(), expected)]
        at = int(np.argmax(errors))
        assert errors[at] <= (DOUBLE_LIMITS.get(op, LIMIT) if dtype == "float64" else LIMIT), (isa, errors[at], x[at], got[at])
        if op in MORE_ODD:
            zeros = (x == 0) & (got == 0)
            assert (np.signbit(got) == np.signbit(x))[zeros].all()


@pytest.mark.parametrize("isa", LEVELS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_functions_of_two(isa, dtype):
    x = points(dtype, 300, 8)
    y = np.random.default_rng(9).permutation(x)
    edges = np.array([0, -0.0, 1, -1, np.inf, -np.inf, np.nan, 1e-300, 1e300], "float64")
    with np.errstate(all="ignore"):
        grid = [a.ravel().astype(dtype) for a in np.meshgrid(edges, edges)]
        x, y = np.concatenate([x, grid[0]]), np.concatenate([y, grid[1]])
        digits = 53 if dtype == "float64" else 24
        for op, function in (("atan2", math.atan2), ("hypot", math.hypot)):
            got = call(op, x, y, isa=isa)
            for a, b, g in zip(x.tolist(), y.tolist(), got.tolist()):
                with mpmath.workprec(200):
                    exact = mpmath.mpf(function(a, b))
                    if math.isfinite(a) and math.isfinite(b) and a and b:
                        exact = getattr(mpmath, op)(mpmath.mpf(a), mpmath.mpf(b))
                assert scaled_error(op, g, exact, digits) <= LIMIT, (op, a, b, g)
                if op == "atan2" and g == 0:
                    assert math.copysign(1, g) == math.copysign(1, a)
        for op, function in (("fmod", np.fmod), ("copysign", np.copysign), ("nextafter", np.nextafter)):
            np.testing.assert_array_equal(call(op, x, y, isa=isa), function(x, y), err_msg=op)
        finite = np.where(np.isfinite(x), x, 1)
        finite = np.concatenate([finite, finite * np.finfo(dtype).smallest_subnormal, np.array([-3e-310, 5e-324]).astype(dtype)])
        np.testing.assert_array_equal(call("exponent", finite, isa=isa), np.frexp(finite)[1])
        np.testing.assert_array_equal(call("mantissa", finite, isa=isa), np.frexp(finite)[0])


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint8", "int32"])
def test_integers_of_two(dtype):
    info = np.iinfo(dtype)
    edges = np.array([0, 1, 2, 12, 18, info.max, info.max - 1, info.min, info.min + 1], dtype)
    a, b = (np.concatenate([x.ravel(), x.ravel()]) for x in np.meshgrid(edges, edges))
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(call("gcd", a, b), np.gcd(a, b).astype(dtype))
        divisor = np.where(b == 0, 1, b).astype(dtype)
        np.testing.assert_array_equal(call("fmod", a, divisor), np.fmod(a, divisor))


@pytest.mark.parametrize("op", ["exp", "tanh", "erf", "sin"])
def test_levels_agree_to_a_unit_or_two(op):
    """Each level meets the bar by itself; together they cannot be far apart."""
    x = points("float32", 3000, 12)
    native = call(op, x)
    for isa in ALL_LEVELS:
        error, at = worst_wide(call(op, x, isa=isa), native.astype("float64"))
        assert error <= 2 * LIMIT, (isa, error, x[at])


@pytest.mark.long
@pytest.mark.parametrize("op", FUNCTIONS)
def test_float32_sweep(op):
    """Every 97th float32."""
    for start in range(0, 2**32, 2**28):
        x = np.arange(start, start + 2**28, 97, dtype="uint64").astype("uint32").view("float32")
        got = call(op, x)
        error, at = worst_wide(got, wide_reference(op, x))
        assert error <= LIMIT, (error, x[at], got[at])


@pytest.mark.parametrize("isa", ALL_LEVELS)
def test_a_function_of_many_single_values_is_written_once_and_called(isa):
    count = 9
    outputs = tuple(Operand("float32", "out") for _ in range(count))
    body = [Instr("number", (), "float32", i) for i in range(2 * count)]
    body += [Instr("pow", (i, count + i), "float32") for i in range(count)]
    body += [store(2 * count + i, 2 * count + i) for i in range(count)]
    kernel = LoopKernel("powers", (), frozenset(), (*[Operand("float32")] * (2 * count), *outputs), tuple(body))
    text = emit_module([kernel, kernel._replace(name="again")], get_target(isa))[0].text()
    assert text.count("define internal <1 x float> @power") == 1
    x, y = np.linspace(0.5, 9, count).astype("float32"), np.linspace(-3, 3, count).astype("float32")
    made = run(kernel, [*x[:, None], *y[:, None], *np.zeros((count, 1), "float32")], isa=isa)[2 * count :]
    (one,) = run(elementwise("pow", ["float32"] * 2, "float32"), [x, y, np.zeros(count, "float32")], {"n": count}, isa=isa)[2:]
    assert np.concatenate(made).tobytes() == one.tobytes()
