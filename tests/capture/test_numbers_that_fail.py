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
