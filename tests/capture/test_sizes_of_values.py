"""Sizes that a tensor's value gives, where an operator takes sizes: known to each run."""

from __future__ import annotations

import pytest
from user_modes import Program, check

import duograph as dg

GIVEN = [(dg.tensor(values),) for values in ([1.0, 2.0, 3.0, 4.0], [1.0, -2.0, 3.0, -4.0], [-1.0, -2.0, -3.0, -4.0])]


@pytest.mark.parametrize(
    "make",
    [
        lambda x, n: dg.ones(n),
        lambda x, n: dg.zeros((n, 2)) + n,
        lambda x, n: dg.full((2, n), 2.0).sum(),
        lambda x, n: dg.rand(n) * 0,
        lambda x, n: x.new_zeros(n),
        lambda x, n: dg.ones(n, 3).sum(0) * x[:3],
        lambda x, n: dg.nn.functional.pad(x, (0, n)),
        lambda x, n: dg.arange(n),
        lambda x, n: dg.arange(int(n)) + 1,
        lambda x, n: dg.arange(1.5, n.item() + 2, 0.5),
        lambda x, n: dg.arange(n.item() + 1, -2, -1),
        lambda x, n: dg.arange(0, 10, n + 1),
        lambda x, n: dg.arange(float(n), dtype=dg.float64),
        lambda x, n: dg.linspace(0, 1, int(n)),
        lambda x, n: dg.logspace(0, 1, n),
        lambda x, n: dg.eye(n),
        lambda x, n: dg.eye(3, n),
        lambda x, n: x.topk(n)[0],
        lambda x, n: dg.nn.functional.one_hot(dg.zeros(2, dtype=dg.int64), n + 1),
    ],
)
def test_counts_are_sizes(make):
    check(lambda: Program(lambda x: make(x, (x > 0).sum()), *GIVEN), captures=1)


@pytest.mark.parametrize(
    "use",
    [
        lambda x, n: x.reshape(n, -1),
        lambda x, n: x.view(n, -1),
        lambda x, n: x.repeat(n),
        lambda x, n: x.expand((n, 4)),
        lambda x, n: dg.ones(n, 2),
        lambda x, n: x.tile(n),
    ],
)
def test_numbers_that_a_branch_replaces_are_sizes(use):
    def program():
        def f(x):
            n = 2
            if x.sum() > 0:
                n = 1
            return use(x, n)

        return Program(f, *GIVEN)

    check(program, captures=1)


def test_a_negative_size_is_a_shape_error():
    with pytest.raises(dg.errors.ShapeError, match="negative"):
        dg.static(lambda x: dg.ones((x > 0).sum() - 5))(dg.ones(4))


def test_sizes_are_integers():
    with pytest.raises(dg.errors.ArgumentError, match="integers, got float32") as error:
        dg.static(lambda x: dg.ones(x.sum()))(dg.ones(4))
    assert "test_sizes_of_values.py" in str(error.value)


@pytest.mark.parametrize(
    ("use", "name"),
    [(lambda x, n: x.cumsum(n), "dim is"), (lambda x, n: x.flip(n), "dims is")],
)
def test_what_must_be_a_number_is_refused_by_name(use, name):
    with pytest.raises(dg.errors.CaptureError, match=f"{name} a tensor here") as error:
        dg.static(lambda x: use(x, (x > 0).sum()))(dg.ones(4))
    assert "test_sizes_of_values.py" in str(error.value)
