"""A static program that fails while it runs names the line inside of the function that failed."""

from __future__ import annotations

import inspect

import pytest

import duograph as dg


def looked_up(x, i):
    y = x * 2
    z = y[i] + 1  # here
    return z.sum()


def picked(x, i):
    y = x.exp()
    return y.index_select(0, i)  # here


def written(x, i):
    x = x + 1
    x[i] = 0.0  # here
    return x


def looked_up_in_a_loop(x, i):
    while x.sum() < 10:
        x = x + x[i]  # here
    return x


def divided(x, i):
    k = i // (i - 7)  # here
    return x * k.sum()


def remainder_in_a_branch(x, i):
    if x.sum() > 0:
        i = i % (i - 7)  # here
    return x * i.sum()


def unlikely(x, i):
    k = dg.bernoulli(x * i)  # here
    return x + k.sum()


def masked(x, i):
    chosen = x[x > 0]
    return chosen + dg.ones(2)  # here


def reshaped(x, i):
    y = x[: i.sum()]
    return y.reshape(2, 2)  # here


ERRORS = {
    looked_up: (dg.errors.BoundsError, "index 7 is out of range for a dimension of size 3"),
    picked: (dg.errors.BoundsError, "index_select: index 7 is out of range for a dimension of size 3"),
    written: (dg.errors.BoundsError, "index 7 is out of range for a dimension of size 3"),
    looked_up_in_a_loop: (dg.errors.BoundsError, "index 7 is out of range for a dimension of size 3"),
    divided: (dg.errors.DivisionError, "integer division or remainder by zero"),
    remainder_in_a_branch: (dg.errors.DivisionError, "integer division or remainder by zero"),
    unlikely: (dg.errors.DomainError, "bernoulli: needs probabilities between 0 and 1, got 7"),
    masked: (dg.errors.ShapeError, "sizes that are known only when this line runs do not fit together"),
    reshaped: (dg.errors.ShapeError, "sizes that are known only when this line runs do not fit together"),
}


@pytest.mark.parametrize("again", [False, True], ids=["compiled", "from the cache"])
@pytest.mark.parametrize("function", ERRORS, ids=lambda f: f.__name__)
def test_the_line_inside(function, again):
    error, message = ERRORS[function]
    with pytest.raises(error) as raised:
        dg.static(function)(dg.ones(3), dg.tensor([7]))
    lines, first = inspect.getsourcelines(function)
    line = next(n for n, text in enumerate(lines) if "# here" in text)
    text = str(raised.value)
    assert text.startswith(message if ": " in message else f"{function.__name__}: {message}")
    assert f"{__file__}:{first + line} in {function.__name__}:    {lines[line].strip()}" in text


def test_two_lines_that_may_be_it():
    def twice(x, i, j):
        a = x[i]
        return a + x[j]

    with pytest.raises(dg.errors.BoundsError) as raised:
        dg.static(twice)(dg.ones(3), dg.tensor([1]), dg.tensor([5]))
    assert "return a + x[j]" in str(raised.value)
