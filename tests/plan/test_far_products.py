"""Products of one row that read their matrix from memory: told so where more than caches hold is read in between."""

from __future__ import annotations

from typing import Any

import pytest

import duograph as dg
from duograph.codegen.contraction.driver import HEADER
from duograph.codegen.contraction.gemv import FAR, FEW_STREAMS
from duograph.codegen.target import get_target

WORD = HEADER.index("far")


def _told(function: Any, *args: Any, bit: int = FAR) -> list[Any]:
    """A bit of the word `far` of each product that a static function makes."""
    _, built = function.handler.capture(args, {})
    kernels = built[0].assembled().compiled.values()
    launches = [launch for kernel in kernels for launch in kernel.launches if launch.symbol.endswith(":run")]
    return [launch.size_exprs[WORD] & bit for launch in launches if launch.symbol.startswith("contraction")]


@dg.static
def turns(x: Any, count: Any, matrices: list[Any]) -> Any:
    for _ in range(count):
        for matrix in matrices:
            x = (x @ matrix).tanh()
    return x


@dg.static
def one_after_the_other(x: Any, matrices: list[Any]) -> Any:
    for matrix in matrices:
        x = (x @ matrix).tanh()
    return x


@pytest.mark.parametrize(("width", "count", "far"), [(1024, 5, 0), (1024, 7, 1), (2048, 2, 1)])
def test_sums_of_matrices_decide(width: int, count: int, far: int) -> None:
    matrices = [dg.randn(width, width) * 0.03 for _ in range(count)]
    x = dg.randn(1, width)
    assert _told(one_after_the_other, x, matrices) == [far] * count
    assert _told(turns, x, dg.tensor(3), matrices) == [far] * count


def test_a_loop_that_reads_little_is_not_told() -> None:
    """What else a program is given does not count in a loop that does not read it."""
    small, large = dg.randn(256, 256) * 0.1, dg.ones(3000, 3000)

    @dg.static
    def f(x: Any, count: Any) -> Any:
        for _ in range(count):
            x = (x @ small).tanh()
        return x @ small + large.sum()

    assert sorted(_told(f, dg.randn(1, 256), dg.tensor(3))) == [0, 1]


def test_hardware_that_loses_streams_is_named() -> None:
    wanted = 0 if get_target().follows_streams else FEW_STREAMS
    assert _told(one_after_the_other, dg.randn(1, 64), [dg.randn(64, 64)], bit=FEW_STREAMS) == [wanted]


def test_the_bits_stay() -> None:
    matrices = [dg.randn(1536, 1536) * 0.03 for _ in range(4)]
    x = dg.randn(1, 1536)
    assert turns(x, dg.tensor(2), matrices).equal(turns.__wrapped__(x, 2, matrices))
