"""`raise` and `assert` inside of `try` where a tensor decides: each run goes on in the handler, or in the body."""

from __future__ import annotations

import pytest

import duograph as dg
from duograph.errors import CaptureError


def first_then_rest(x):
    try:
        if x.sum() > 0:
            raise ValueError("positive")
        t = x * 5
        y = t + 1
    except ValueError:
        y = x * 2
    return y


def with_else_and_finally(x):
    y, done = x, 0
    try:
        if x.sum() > 0:
            if x[0] > 1:
                raise KeyError(1)
            y = y + 1
        elif x.sum() < -5:
            raise ValueError
        else:
            y = y * 3
        y = y * 2
    except KeyError:
        y = -y
    except (ValueError, TypeError):
        y = y * 7
    else:
        y = y + 100
    finally:
        done += 1
    return y * done


def returns(x):
    try:
        if x.sum() > 0:
            raise ValueError
        return x * 2
    except ValueError:
        return x * 3


def asserts(x):
    try:
        assert x.sum() > 0, "not positive"
        y = x.sqrt()
        assert x[0] < 4
    except AssertionError:
        y = x * x
    return y


def in_a_loop(x):
    total = x * 0
    for row in x.reshape(3, 1):
        try:
            if row.sum() < 0:
                raise ValueError
            total = total + row
        except ValueError:
            continue
        else:
            total = total * 2
        total = total + 1
    return total


def in_a_while(x):
    turns = 0
    while x.abs().sum() > 1:
        turns += 1
        try:
            if x.sum() > 3:
                raise OverflowError
        except OverflowError:
            x = x * 0.25
            continue
        x = x * 0.5
    return x * turns


def python_decides(x):
    found = []
    for n in range(4):
        try:
            if n == 0:
                continue
            if n == 1:
                raise ValueError(n)
            found.append(n)
            if n == 2:
                raise KeyError(n)
        except ValueError as error:
            found.append(error.args[0] * 10)
        except LookupError:
            found.append(-1)
        else:
            found.append(100)
    return x * sum(found)


class Found(Exception):
    def __init__(self, value):
        super().__init__(value)
        self.value = value


def found_in_a_loop(x):
    y = x
    try:
        for k in range(3):
            if x[k] < 0:
                raise Found(x[k] * 3)
            x = x + 1
        while x.sum() > 1:
            assert x.max() < 5
            x = x * 0.5
            if x[0] > 2:
                raise Found(x)
        y = x * 2
    except Found as found:
        y = found.value * x
    except AssertionError:
        y = -x
    return y


def inner_and_outer(x):
    try:
        try:
            if x.sum() > 0:
                raise ValueError
            y = x * 2
        except ValueError:
            y = x * 3
        if x[0] < -1:
            raise KeyError
    except KeyError:
        y = x * 5
    return y


PROGRAMS = [
    first_then_rest,
    with_else_and_finally,
    returns,
    asserts,
    in_a_loop,
    in_a_while,
    python_decides,
    found_in_a_loop,
    inner_and_outer,
]


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("function", PROGRAMS)
def test_both_modes_go_the_same_way(function, strict):
    static = dg.static(function, strict=strict)
    for values in ([1.0, 2.0, 4.0], [5.0, 2.0, 0.5], [-1.0, -3.0, 0.5], [-7.0, 1.0, 3.0], [0.5, -0.25, 1.0]):
        ends = []
        for run in (function, static):
            x = dg.tensor(values).requires_grad_()
            out = run(x)
            (gradient,) = dg.autograd.grad(out.sum(), x)
            ends.append((out.nan_to_num(-99).tolist(), gradient.nan_to_num(-99).tolist()))
        assert ends[0] == ends[1]
    assert static.captures == 1


def test_else_is_left_out_where_the_body_was_left():
    def f(x):
        for i in range(3):
            try:
                if i == 0:
                    continue
                if i == 2:
                    break
            except ValueError:
                pass
            else:
                x = x * 7
        return x

    assert dg.static(f)(dg.ones(1)).tolist() == f(dg.ones(1)).tolist() == [7.0]


def test_what_no_handler_takes_is_refused_with_the_line():
    def f(x):
        try:
            if x.sum() > 0:
                raise KeyError("positive")
        except ValueError:
            x = -x
        return x

    with pytest.raises(CaptureError, match="inside of try") as raised:
        dg.static(f)(dg.ones(2))
    assert 'raise KeyError("positive")' in str(raised.value)
