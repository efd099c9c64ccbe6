"""Functions of `math` and `statistics` on numbers of tensors: each run calls them, so values and errors are Python's own."""

from __future__ import annotations

import functools
import math
import statistics

import pytest

import duograph as dg
from duograph.errors import CaptureError


def items(x):
    return [t.item() for t in x]


def centred(x):
    return x - statistics.mean(items(x))


def until_small(x):
    turn = 0
    while math.hypot(*items(x)) > 1:
        x = x / math.exp(abs(x[0].item()) / 4 + 0.1)
        turn += 1
    return x * turn


def on_one_side(x):
    if x.sum() > 0:
        y = x * math.log(x.sum().item(), 2)
    else:
        y = x * math.erf(x[0].item())
    return y


def positive(x):
    return x * math.comb(7, len(x[x > 0])) + math.isclose(x[0].item(), 2.0, rel_tol=0.1)


def parts(x):
    fraction, whole = math.modf(x[0].item())
    mantissa, exponent = math.frexp(x[1].item())
    return x * fraction + whole * mantissa - exponent


PROGRAMS = {
    "mean": centred,
    "fmean of an iterator": lambda x: x * statistics.fmean(t.item() for t in x),
    "stdev": lambda x: x / statistics.stdev(items(x)),
    "median": lambda x: x * statistics.median(items(x)) + statistics.median_high(items(x)),
    "variance about": lambda x: statistics.pvariance(items(x), mu=statistics.mean(items(x))),
    "correlation": lambda x: statistics.correlation(items(x), [1.0, 2.0, 4.0]),
    "map": lambda x: x * sum(map(math.sin, items(x))),
    "reduce": lambda x: functools.reduce(math.atan2, items(x)),
    "of a tensor": lambda x: x * math.sqrt((x * x).sum()),
    "dist": lambda x: math.dist(items(x), (0.0, 1.0, 2.0)),
    "fsum and a number": lambda x: math.fsum([*items(x), 1e30, 1.0, -1e30]),
    "in a loop": until_small,
    "on one side": on_one_side,
    "whole numbers": positive,
    "parts": parts,
}


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("function", PROGRAMS.values(), ids=PROGRAMS)
def test_both_modes_give_the_same(function, strict):
    static = dg.static(function, strict=strict)
    for values in ([2.0, 3.0, 7.5], [1.5, 0.25, -1.0], [-2.0, 0.5, 0.25]):
        ends = []
        for run in (function, static):
            x = dg.tensor(values).requires_grad_()
            out = run(x)
            if isinstance(out, dg.Tensor):
                (gradient,) = dg.autograd.grad(out.sum(), x)
                ends.append((out.tolist(), gradient.tolist()))
            else:
                ends.append(out)
        assert ends[0] == ends[1]
    assert static.captures == 1


@pytest.mark.parametrize(
    "function, value, error, words",
    [
        (lambda x: math.log(x.item()), -1.0, ValueError, "math domain error"),
        (lambda x: math.exp(x.item()), 1000.0, OverflowError, "math range error"),
        (lambda x: statistics.geometric_mean([x.item(), 1.0]), -1.0, statistics.StatisticsError, "geometric mean"),
        (lambda x: 10.0 ** x.item(), 400.0, OverflowError, ""),
        (lambda x: x.item() ** 2.5, 1e200, OverflowError, ""),
        (lambda x: (x.item() * 1e90) ** 2, 1e200, OverflowError, ""),
        (lambda x: (x.item() * 1e90) ** 3, 1e200, OverflowError, ""),
    ],
)
def test_a_run_raises_what_dynamic_mode_raises(function, value, error, words):
    static = dg.static(function)
    assert static(dg.tensor(0.5)) == pytest.approx(function(dg.tensor(0.5)), rel=1e-15)
    for run in (function, static):
        with pytest.raises(error, match=words or None):
            run(dg.tensor(value, dtype=dg.float64))
    infinite = dg.tensor(math.inf)
    assert dg.static(lambda x: 10.0 ** x.item() + x.item() ** 2)(infinite) == math.inf


def test_whole_numbers_that_may_give_either_are_refused():
    whole = dg.tensor([1, 2, 4])
    with pytest.raises(CaptureError, match=r"statistics\.mean of whole numbers") as raised:
        dg.static(lambda x: statistics.mean(items(x)))(whole)
    assert "float(n)" in str(raised.value) and __file__ in str(raised.value)
    assert dg.static(lambda x: statistics.mean([float(t) for t in x]))(whole) == statistics.mean([1.0, 2.0, 4.0])
    assert dg.static(lambda x: statistics.fmean(items(x)))(whole) == statistics.fmean([1, 2, 4])
