"""Parts of tensors whose start or length only the run knows: `narrow`, and slices with bounds that are tensors."""

from __future__ import annotations

import pytest

import duograph as dg
from duograph.errors import BoundsError, ShapeError

MARKS = [[1.0, 0.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]


def count(x):
    return (x > 0).sum()


@pytest.mark.parametrize(
    "take",
    [
        lambda b, x: b.narrow(0, count(x), 2),
        lambda b, x: b.narrow(0, 1, count(x)),
        lambda b, x: b.narrow(0, -3, count(x)),
        lambda b, x: b.narrow(0, -1 - count(x), count(x)),
        lambda b, x: dg.narrow(b, 0, int(count(x)), count(x).item()),
        lambda b, x: b.narrow(0, 0, len(dg.nonzero(x))),
        lambda b, x: b[x.shape[0] - 3 :].narrow(0, len(x[x > 0]), 1),
        lambda b, x: b.reshape(2, 3).narrow(1, count(x), 1).flatten(),
        lambda b, x: b.narrow_copy(0, count(x), 3),
        lambda b, x: b[count(x) :],
        lambda b, x: b[count(x) : count(x) + 2],
    ],
)
@pytest.mark.parametrize("strict", [False, True])
def test_values_and_gradients_are_those_of_dynamic_mode(take, strict):
    def f(b, x):
        return take(b, x) ** 3

    static = dg.static(f, strict=strict)
    for marks in MARKS:
        ends = []
        for function in (f, static):
            b = (dg.arange(6.0) + 1).requires_grad_()
            out = function(b, dg.tensor(marks))
            (first,) = dg.autograd.grad(out.sum(), b, create_graph=True)
            (second,) = dg.autograd.grad((first * first).sum(), b)
            ends.append([out.tolist(), first.tolist(), second.tolist()])
        assert ends[0] == ends[1]
    assert static.captures == 1


def test_writes_reach_the_whole():
    @dg.static
    def f(b, x):
        b.narrow(0, count(x), 2).mul_(10)
        return b.sum()

    b = dg.arange(6.0)
    assert f(b, dg.tensor([1.0, 0.0, 1.0])).item() == 60
    assert b.tolist() == [0, 1, 20, 30, 4, 5]


@pytest.mark.parametrize("size", [3, 4])
def test_a_part_beyond_the_end_is_an_error_of_the_run(size):
    def f(b, x):
        return b.narrow(0, 2, count(x)).sum()

    x = dg.tensor([1.0] * (size - 2) + [0.0] * 3)
    assert dg.static(f)(dg.arange(float(size)), x).item() == f(dg.arange(float(size)), x).item()
    more = dg.tensor([1.0] * (size + 1))
    with pytest.raises(BoundsError, match=rf"start 2 and length {size + 1} do not lie within size {size}"):
        f(dg.arange(float(size)), more)
    with pytest.raises(ShapeError, match=r"do not fit together\n.*b\.narrow"):
        dg.static(f)(dg.arange(float(size)), more)


def test_a_float_is_no_length():
    with pytest.raises(BoundsError, match="must be integers, got float32"):
        dg.static(lambda b, x: b.narrow(0, 0, x.sum()))(dg.arange(3.0), dg.tensor([1.0]))
