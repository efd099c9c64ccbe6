"""Symbolic sizes: canonical form, provable questions, evaluation."""

from __future__ import annotations

import random
from typing import Any

import pytest

from duograph.ir.dim import (
    Dim,
    UndecidedSize,
    bounds,
    ceildiv,
    contiguous_strides,
    floordiv,
    maximum,
    minimum,
    mod,
    set_undecided,
    symbol,
)
from duograph.ir.substitution import evaluate, substitute, symbols

n, m = symbol("n"), symbol("m")


def test_equal_expressions_are_the_same_object() -> None:
    assert n + 1 is 1 + n
    assert (n + 1) * (n - 1) is n * n - 1
    assert n * m is m * n
    assert (n + m) - m is n
    assert symbol("n") is n
    assert n - n == 0
    assert isinstance(n - n, int)


def test_equality_is_structural() -> None:
    assert n != m
    assert n != 3
    assert n + 0 == n


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (floordiv(2 * n, 2), n),
        (floordiv(2 * n + 1, 2), n),
        (floordiv(n * m, m), n),
        (mod(4 * n + 6, 4), 2),
        (mod(n * m, m), 0),
        (ceildiv(64 * n, 64), n),
        (ceildiv(n, 1), n),
        (minimum(n, n + 1), n),
        (maximum(n, 0), n),
        (minimum(minimum(1, n), n), minimum(1, n)),
        (maximum(m, maximum(n, m)), maximum(n, m)),
        (n // 1, n),
        (n % 1, 0),
    ],
)
def test_simplifies(expression: Any, expected: Any) -> None:
    assert expression == expected


def test_provable_comparisons() -> None:
    assert n + 1 > 0
    assert n >= 0
    assert n + m >= n
    assert (n + 1) != 0
    assert bool(n + 1)
    assert bounds(2 * n + 3) == (3, float("inf"))


def test_undecided_comparison_is_an_error_that_a_handler_may_take() -> None:
    with pytest.raises(UndecidedSize, match="n < m"):
        assert n < m
    with pytest.raises(UndecidedSize, match="symbolic"):
        range(n)  # type: ignore[arg-type]
    asked = []

    def handler(left: Any, relation: str, right: Any) -> bool:
        asked.append((left, relation, right))
        return True

    before = set_undecided(handler)
    try:
        assert n < m
    finally:
        set_undecided(before)
    assert asked == [(n, "<", m)]


def test_text() -> None:
    assert str(2 * n * m - n + 3) == "2*m*n - n + 3"
    assert str(ceildiv(n, 64) * 64) == "64*ceildiv(n, 64)"


def test_substitute_and_symbols() -> None:
    expression = (n + 1) // 2 + m
    assert symbols(expression) == [m, n] or symbols(expression) == [n, m]
    assert substitute(expression, {n: 5, m: n}) == n + 3


def test_contiguous_strides_of_size_one_are_zero() -> None:
    assert contiguous_strides((n, 1, m, 2)) == (2 * m, 0, 2, 1)


@pytest.mark.parametrize("seed", range(20))
def test_arithmetic_agrees_with_integers(seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(50):
        values = {"n": draw.randint(0, 9), "m": draw.randint(1, 9)}
        pairs: list[tuple[Any, int]] = [(n, values["n"]), (m, values["m"]), (2, 2), (3, 3)]
        for _ in range(6):
            (a, x), (b, y) = draw.choice(pairs), draw.choice(pairs)
            operation = draw.choice(["+", "-", "*", "//", "%", "min", "max", "ceil"])
            if operation in ("//", "%", "ceil") and y <= 0:
                continue
            made: tuple[Any, int] = {
                "+": lambda a=a, b=b, x=x, y=y: (a + b, x + y),
                "-": lambda a=a, b=b, x=x, y=y: (a - b, x - y),
                "*": lambda a=a, b=b, x=x, y=y: (a * b, x * y),
                "//": lambda a=a, b=b, x=x, y=y: (floordiv(a, b), x // y),
                "%": lambda a=a, b=b, x=x, y=y: (mod(a, b), x % y),
                "min": lambda a=a, b=b, x=x, y=y: (minimum(a, b), min(x, y)),
                "max": lambda a=a, b=b, x=x, y=y: (maximum(a, b), max(x, y)),
                "ceil": lambda a=a, b=b, x=x, y=y: (ceildiv(a, b), -(-x // y)),
            }[operation]()
            pairs.append(made)
            assert evaluate(made[0], values) == made[1]
            low, high = bounds(made[0])
            assert low <= made[1] <= high
            if isinstance(made[0], Dim):
                assert substitute(made[0], {n: values["n"], m: values["m"]}) == made[1]
