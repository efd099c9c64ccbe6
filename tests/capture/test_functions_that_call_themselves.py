"""Functions of a module that call themselves or one another, and copies of static functions."""

from __future__ import annotations

import copy
import pickle

import pytest

import duograph as dg
from duograph import nn


def power(x, n):
    return x if n <= 1 else x * power(x, n - 1)


def even(x, n):
    return x if n == 0 else odd(x * 2, n - 1)


def odd(x, n):
    return -x if n == 0 else even(x + 1, n - 1)


def endless(x):
    return endless(x * 2) if x.sum() < 1e9 else x


@dg.static
def factorial(x, n):
    return x if n <= 1 else x * n * factorial(x, n - 1)


@dg.static
def scaled(x):
    return x * 2


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(2, 2)

    def forward(self, x):
        return self.lin(x)


def test_of_a_module():
    x = dg.tensor([2.0, 3.0])
    assert dg.static(power)(x, 3).tolist() == [8.0, 27.0]
    assert dg.jit.trace(power, (x, 3))(x, 2).tolist() == [4.0, 9.0]
    assert dg.static(even)(x, 3).tolist() == even(x, 3).tolist()
    assert factorial(x, 3).tolist() == [48.0, 162.0]


def test_a_tensor_is_to_stop_it():
    with pytest.raises(dg.errors.CaptureError, match="calls itself without end") as raised:
        dg.static(endless)(dg.ones(2))
    assert f"{__file__}:" in str(raised.value)


def test_copies():
    x = dg.ones(2)
    assert copy.copy(scaled) is copy.deepcopy(scaled) is pickle.loads(pickle.dumps(scaled)) is scaled
    local = dg.static(lambda x: x * 3, strict=True)
    again = copy.deepcopy(local)
    assert again is not local and again(x).tolist() == local(x).tolist() == [3.0, 3.0]
    assert again.captures == 1
    static = dg.static(Model())
    for other in (copy.deepcopy(static), pickle.loads(pickle.dumps(static))):
        assert other(dg.ones(1, 2)).tolist() == static(dg.ones(1, 2)).tolist()
        with dg.no_grad():
            next(iter(other.parameters())).add_(1.0)
        assert other(dg.ones(1, 2)).tolist() != static(dg.ones(1, 2)).tolist()


def test_a_coroutine_is_refused():
    async def f(x):
        return x * 2

    with pytest.raises(dg.errors.CaptureError, match="a coroutine leaves the function"):
        dg.static(f)(dg.ones(2))
