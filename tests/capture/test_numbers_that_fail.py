"""Arithmetic on numbers of a static function where Python raises, or gives another kind of number, for some of them."""

from __future__ import annotations

import math

import pytest

import duograph as dg

FUNCTIONS = {
    "10 / n": lambda x, n: x * (10 / n),
    "1 / (n - 2)": lambda x, n: x * (1 / (n - 2)),
    "7 % n": lambda x, n: x * (7 % n),
    "divmod(7, n)": lambda x, n: x * divmod(7, n)[1],
    "n ** 0.5": lambda x, n: x * (n**0.5),
    "10.0 ** n": lambda x, n: x * (10.0**n),
    "0.0 ** n": lambda x, n: x * (0.0**n),
    "sqrt": lambda x, n: x * math.sqrt(n),
    "log": lambda x, n: x * math.log(n),
    "exp": lambda x, n: x * math.exp(n),
    "pow": lambda x, n: x * math.pow(n, 0.5),
}
VALUES = (2.0, -2.0, 0.0, 400.0, 2.0, -2.0, 3.0, float("inf"), 0.0, 5.0)


def caught(function):
    def f(x, n):
        try:
            return function(x, n)
        except (ArithmeticError, ValueError, TypeError):
            return x * -77

    return f


@pytest.mark.filterwarnings("ignore::duograph.errors.CaptureWarning")
@pytest.mark.parametrize("inside", [False, True], ids=["raised", "caught"])
@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_each_number_as_in_dynamic_mode(function, inside):
    function = caught(function) if inside else function
    static, x = dg.static(function), dg.ones(2)

    def outcome(run, n):
        try:
            return str(run(x, n).tolist())
        except (ArithmeticError, ValueError, TypeError) as error:
            return type(error).__name__

    for n in VALUES:
        assert outcome(static, n) == outcome(function, n), n
    assert static.captures <= 5


OF_TENSORS = {
    "/": lambda t: 10 / t.item(),
    "/=": lambda t: _halved(t.item()),
    "//": lambda t: 7 // t.item(),
    "// of floats": lambda t: 7.0 // t.item(),
    "% of floats": lambda t: t.item() % (t.item() * 1.0),
    "0 ** t": lambda t: 0.0 ** (t.item() - 2),
    "0 ** int": lambda t: 4 ** (t.item() + 1),
    "t ** -1.0": lambda t: float(t) ** -1.0,
    "t ** 0.5": lambda t: float(t) ** 0.5,
    "t ** 3": lambda t: float(t) ** 3,
    "in a tensor": lambda t: t * (1.0 / (t.item() - 1)),
}


def _halved(number):
    number /= number * 2
    return number


def in_a_loop(t):
    total, i = 0.0, 3
    while i > t - 2:
        total = total + 6 / i
        i = i - 1
    return total


def on_one_side(t):
    n = t.item()
    return 6 / n if n > 0 else 0.0


@pytest.mark.parametrize("dtype", [dg.int64, dg.float32])
@pytest.mark.parametrize(
    "function", [*OF_TENSORS.values(), in_a_loop, on_one_side], ids=[*OF_TENSORS, "in a loop", "on one side"]
)
def test_numbers_of_tensors_raise_as_numbers(function, dtype):
    static = dg.static(function)

    def outcome(run, value):
        try:
            result = run(dg.tensor(value, dtype=dtype))
        except ZeroDivisionError as error:
            assert run is function or __file__ in str(error), error  # with the line
            return "ZeroDivisionError"
        return result.tolist() if isinstance(result, dg.Tensor) else result

    for value in (2, 0, 1, 4, 0):
        assert outcome(static, value) == outcome(function, value), value
    assert static.captures == 1


def test_a_number_that_would_be_complex_ends_the_run():
    for function in (lambda t: t.item() ** 0.5, lambda t: (-8.0) ** (t.item() + 0.5)):
        static = dg.static(function)
        with pytest.raises(dg.errors.DomainError, match="complex"):
            static(dg.tensor(-2.0))
    assert dg.static(lambda t: t.item() ** 3.0)(dg.tensor(-2.0)) == -8
    assert dg.static(lambda t: t.item() ** -2)(dg.tensor(-2.0)) == 0.25
