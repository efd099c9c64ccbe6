"""Arguments that are more than an array of numbers, and change their sizes: Parameters, expanded tensors; numbers of sizes."""

from __future__ import annotations

import math

import pytest
from user_modes import Program, check, make

import duograph as dg

SIZES = (3, 4, 5, 6, 7, 9)


def parameters():
    return [(dg.nn.Parameter(make(n, 2, seed=n)),) for n in SIZES]


def expanded():
    return [(make(1, 2, seed=n).expand(n, 2),) for n in SIZES]


def columns():
    return [(make(n, 1, seed=n).expand(n, 3),) for n in SIZES]


def leaves_expanded():
    return [(make(2, seed=n, grad=True).expand(n, 2),) for n in SIZES]


def halved(p):
    with dg.no_grad():
        p *= 0.5
    return p * 1


def stepped(p):
    p.grad = None
    (p * p).sum().backward()
    with dg.no_grad():
        p -= 0.1 * p.grad
    return p.detach().sum()


@pytest.mark.parametrize(
    "function",
    [
        lambda p: (p * p).sum(),
        lambda p: p.view(-1),
        lambda p: (p * 2, isinstance(p, dg.nn.Parameter), p.requires_grad, p.is_leaf, type(p).__name__),
        halved,
        stepped,
    ],
)
def test_parameters(function):
    check(lambda: Program(function, *parameters()), captures=2)


@pytest.mark.parametrize("given", [expanded, columns, leaves_expanded])
@pytest.mark.parametrize(
    "function",
    [
        lambda x: (x * x).sum(0),
        lambda x: x[0] + x[-1] + len(x),
        lambda x: x.transpose(0, 1),
        lambda x: (x.clone() * 2).reshape(-1),
        lambda x: [x[i] * 2 for i in range(2)],
    ],
)
def test_expanded_tensors(given, function):
    check(lambda: Program(function, *given()), captures=2)


def test_an_expanded_tensor_is_not_written():
    @dg.static
    def f(x):
        x += 1  # here
        return x

    for (x,) in expanded()[:3]:
        with pytest.raises(dg.Error, match="one element at several places") as error:
            f(x)
        assert "test_sizes_of_arguments.py" in str(error.value)


@pytest.mark.parametrize(
    "number",
    [
        lambda x: round(len(x) / 3),
        lambda x: round(len(x) / 2),
        lambda x: round(len(x) * 0.5),
        lambda x: round(-len(x) / 4),
        lambda x: round(len(x) / 2, 0) if len(x) < 0 else 1,
        lambda x: len(x) ** 5,
        lambda x: math.pow(len(x), 2),
        lambda x: math.pow(2, 0.5) * len(x),
        lambda x: ~len(x),
        lambda x: len(x) | 1,
        lambda x: divmod(len(x), 2),
        lambda x: min(len(x), 5) + max(len(x), 4, 2),
        lambda x: math.sqrt(len(x)) + math.log(len(x)),
        lambda x: int(len(x) * 0.5) + int(len(x) / 2) + len(x) // 2 * 2,
        lambda x: math.ceil(len(x) / 2) + math.floor(len(x) / 2),
        lambda x: sum(x.shape) * math.prod(x.shape),
        lambda x: int(len(x) * 0.8) + int(0.9 * len(x)) + math.floor(len(x) * 0.1),
        lambda x: tuple(x.shape) == (len(x), 2) and x.shape[1:] == (2,),
    ],
)
def test_numbers_of_sizes_need_no_new_capture(number):
    sizes = [(make(n, 2),) for n in (3, 4, 5, 6, 7, 9, 10, 15, 25, 45)]
    check(lambda: Program(lambda x: (number(x), x * 2), *sizes), captures=2)


def test_an_int_that_no_longer_fits_is_exact():
    check(lambda: Program(lambda x: (len(x) ** 4, len(x) ** 3 / 7), *((dg.ones(n),) for n in (2, 30, 100_000, 200_000))))
