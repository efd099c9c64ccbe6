"""What goes wrong in a capture with symbols alone is told by a warning; only what needs a plain number is captured with it."""

from __future__ import annotations

import numpy as np
import pytest

import duograph as dg
from duograph.capture.values.sizes import CallSizes


def rows(n):
    return dg.tensor(np.arange(3 * n, dtype="float32").reshape(n, 3))


@pytest.mark.parametrize("error", [TypeError("planted"), KeyError("planted")])
def test_a_fault_with_symbols_is_told_and_the_program_runs(monkeypatch, error):
    @dg.static
    def f(x):
        return x.reshape(x.shape[0] * 3) * 2

    f(rows(2))

    complete = CallSizes.complete

    def planted(self, graph):
        if self:
            raise error
        return complete(self, graph)

    monkeypatch.setattr(CallSizes, "complete", planted)
    with pytest.warns(dg.errors.CaptureWarning, match="(?s)f is captured for each size.*planted.*report") as caught:
        found = f(rows(4))
    assert found.tolist() == (rows(4) * 2).flatten().tolist()
    assert caught[0].filename == __file__ and f.captures == 2
    assert f(rows(4)).tolist() == found.tolist() and f.captures == 2


def test_sizes_that_are_equal_only_for_some_numbers_are_no_fault():
    @dg.static
    def f(x):
        y = x
        if x[0, 0] > 0.5:
            y = dg.cat([x[1:], x[:1]], 0)
        return y * 1.0

    for n in (2, 3, 5):
        for value in (0.0, 1.0):
            x = rows(n)
            x[0, 0] = value
            expected = x if value < 0.5 else dg.cat([x[1:], x[:1]], 0)
            assert f(x).tolist() == expected.tolist()


def test_a_mistake_is_told_in_the_numbers_of_the_call():
    @dg.static
    def f(x, y):
        return x @ y

    f(rows(3), rows(3))
    f(rows(4), rows(3))
    with pytest.raises(dg.errors.ShapeError, match=r"a.shape.-1. = 3, b.shape.-2. = 5"):
        f(rows(6), rows(5))


def test_an_error_of_the_program_is_raised_once():
    seen = []

    @dg.static
    def f(x):
        if x.shape[0] > 5:
            raise KeyError(f"{x.shape[0]} rows")
        return x + 1

    f(rows(2))
    f(rows(4))
    for n in (6, 7):
        with pytest.raises(KeyError, match=f"{n} rows") as caught:
            f(rows(n))
        seen.append(getattr(caught.value, "__notes__", []))
    assert seen == [[], []]


def test_a_loop_that_needs_its_length_says_so_and_is_captured_for_each():
    @dg.static
    def f(x):
        names = ["a", "b", "c", "d", "e", "f", "g", "h", "i"]
        found = {}
        for i in range(x.shape[0]):
            found[names[i]] = x[i].sum()
        return found

    for n in (2, 3, 4, 3, 2):
        assert {k: v.item() for k, v in f(rows(n)).items()} == {"abcdefghi"[i]: rows(n)[i].sum().item() for i in range(n)}
    assert f.captures == 3
