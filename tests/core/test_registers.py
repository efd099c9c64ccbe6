"""Registers of a program: arithmetic of sizes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from duograph import _core as core


def registers_program(regs: list[list[object]], n_sizes: int, results: int) -> core.Program:
    """A program without kernels whose 1-d outputs have the last `results` registers as sizes."""
    first = n_sizes + len(regs) - results
    return core.Program(
        {"inputs": [], "n_sizes": n_sizes, "regs": regs, "outputs": [[1, [first + i], None] for i in range(results)]}
    )


def evaluate(op: str, *values: int) -> int:
    """One register operation, its result plus 10**6 read from an output's size."""
    n = len(values)
    regs: list[list[object]] = [[op, *range(n)], ["const", 10**6], ["add", n, n + 1]]
    return registers_program(regs, n, 1).run_raw([], [], list(values))[0]["shape"][0] - 10**6


@pytest.mark.parametrize("a", [-7, -1, 0, 1, 5, 9])
@pytest.mark.parametrize("b", [-4, -1, 1, 2, 9])
def test_register_arithmetic_is_pythons(a: int, b: int) -> None:
    assert evaluate("add", a, b) == a + b
    assert evaluate("sub", a, b) == a - b
    assert evaluate("mul", a, b) == a * b
    assert evaluate("floordiv", a, b) == a // b
    assert evaluate("mod", a, b) == a % b
    assert evaluate("ceildiv", a, b) == -(-a // b)
    assert evaluate("min", a, b) == min(a, b)
    assert evaluate("max", a, b) == max(a, b)
    assert evaluate("eq", a, b) == (a == b)
    assert evaluate("ne", a, b) == (a != b)
    assert evaluate("lt", a, b) == (a < b)
    assert evaluate("le", a, b) == (a <= b)
    assert evaluate("and", a, b) == bool(a and b)
    assert evaluate("or", a, b) == bool(a or b)
    assert evaluate("select", a, b, 3) == (b if a else 3)


@pytest.mark.parametrize("a", [-(2**63), -1025, -1024, -7, -1, 0, 1, 5, 1023, 1024, 2**63 - 1])
@pytest.mark.parametrize("b", [1, 2, 1024, 3, 2**62])
@pytest.mark.parametrize(
    ("op", "expected"), [("floordiv", lambda a, b: a // b), ("mod", lambda a, b: a % b), ("ceildiv", lambda a, b: -(-a // b))]
)
def test_division_by_a_constant(a: int, b: int, op: str, expected: Callable[[int, int], int]) -> None:
    regs: list[list[object]] = [["const", b], [op, 0, 2], ["eq", 1, 3]]
    program = registers_program(regs, 2, 1)
    assert program.run_raw([], [], [a, expected(a, b)])[0]["shape"] == [1]


def test_division_by_zero_and_overflow_do_not_trap() -> None:
    assert evaluate("floordiv", 5, 0) == 0
    assert evaluate("mod", 5, 0) == 0
    low = -(2**63)
    regs = [["floordiv", 0, 1], ["eq", 0, 2]]
    assert registers_program(regs, 2, 1).run_raw([], [], [low, -1])[0]["shape"] == [1]
