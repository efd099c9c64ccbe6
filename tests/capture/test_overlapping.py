"""Arguments and state that overlap one another, some of them written: as in dynamic mode."""

from __future__ import annotations

import pytest

import duograph as dg


def both_written(x, y):
    y.add_(x[: y.shape[0]])
    x.mul_(2.0)
    return y + 1, x[0]


def second_written(x, y):
    y *= 2
    return x + 1


def sum_of_second(x, y):
    x += y.sum()
    y *= 2
    return x * y


WINDOWS = {
    "whole and rest": lambda m: (m[0], m[0, 1:]),
    "rest and whole": lambda m: (m[0, 1:], m[0]),
    "shifted": lambda m: (m[0, :-1], m[0, 1:]),
    "columns": lambda m: (m[:, :3], m[:, 2:]),
    "corners": lambda m: (m[1:, 1:], m[:-1, :-1]),
    "woven": lambda m: (m[0, ::2], m[0, 1::2]),
    "transposed": lambda m: (m.T[:3], m[:4].T[1:4]),
    "apart": lambda m: (m[0], m[1]),
}


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("function", [both_written, second_written, sum_of_second])
def test_as_in_dynamic_mode(function, strict):
    for name, windows in WINDOWS.items():
        static = dg.static(function, strict=strict)
        for rows in (6, 6, 7):
            here, there = (dg.arange(5.0 * rows).reshape(rows, 5) for _ in range(2))
            try:
                wanted = function(*windows(here))
            except dg.errors.ShapeError:
                continue
            found = static(*windows(there))
            pairs = zip(wanted, found) if isinstance(wanted, tuple) else [(wanted, found)]
            assert all(a.tolist() == b.tolist() for a, b in pairs), name
            assert here.tolist() == there.tolist(), name


def test_captured_once_for_the_same_overlap():
    static = dg.static(both_written)
    for _ in range(3):
        x = dg.arange(6.0)
        y, _ = static(x, x[1:])
        assert x.tolist() == [0, 2, 6, 10, 14, 18] and y.tolist() == [3, 7, 11, 15, 19]
    assert static.captures == 1
    assert static(dg.ones(6), dg.ones(5))[0].tolist() == [3.0] * 5  # apart
    x = dg.arange(6.0)
    static(x, x[1:])
    assert static.captures == 2 and x.tolist() == [0, 2, 6, 10, 14, 18]


def test_an_argument_that_is_a_part_of_state():
    state = dg.arange(6.0)

    @dg.static
    def double(part):
        part *= 2
        return state + 1

    assert double(state[1:3]).tolist() == [1, 3, 5, 4, 5, 6]
    assert double(state[3:]).tolist() == [1, 3, 5, 7, 9, 11]
    assert double(dg.ones(2)).tolist() == [1, 3, 5, 7, 9, 11]
    state = dg.zeros(6)
    assert double(state[1:3] + 1).tolist() == [1.0] * 6


def test_a_result_that_is_a_view_of_one_of_them():
    @dg.static
    def first_two(x, y):
        y += 1
        return x[:2]

    x = dg.zeros(4)
    first_two(x, x[1:])[1] = 9.0
    assert x.tolist() == [0, 9, 1, 1]


def test_windows_whose_elements_share_places_are_refused():
    x = dg.zeros(4)
    with pytest.raises(dg.Error, match=r"share one place|shows one element at several places"):
        dg.static(second_written)(x, x[1:2].expand(3))
