"""What goes wrong in a capture with symbols shows as the error it is; only what needs a plain number is captured with it."""

from __future__ import annotations

import numpy as np
import pytest

import duograph as dg
from duograph.capture.numbers import SizeNumber
from duograph.capture.sizes import CallSizes


def rows(n):
    return dg.tensor(np.arange(3 * n, dtype="float32").reshape(n, 3))


@pytest.mark.parametrize("error", [TypeError("planted"), KeyError("planted"), dg.errors.CaptureError("planted")])
def test_a_fault_with_symbols_is_not_captured_around(monkeypatch, error):
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
    with pytest.raises(type(error), match="planted") as caught:
        f(rows(4))
    assert f.captures == 1
    assert any("not with the sizes of this call as numbers" in note for note in caught.value.__notes__)


def test_a_fault_names_the_line(monkeypatch):
    @dg.static
    def f(x):
        rows = x.shape[0]
        return x.reshape(rows * 3)

    def planted(self, other):
        raise TypeError("planted")

    f(rows(2))
    monkeypatch.setattr(SizeNumber, "__mul__", planted)
    with pytest.raises(TypeError, match="planted") as caught:
        f(rows(4))
    assert any("return x.reshape(rows * 3)" in str(frame.statement) for frame in caught.traceback)
    assert f.captures == 1


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
