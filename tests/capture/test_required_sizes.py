"""Sizes that only the run knows must fit where the line that needs it runs, and nowhere else: in branches and in loops."""

from __future__ import annotations

import numpy as np
import pytest

import duograph as dg
from duograph.errors import BoundsError, ShapeError
from duograph.nn import functional as F

VALUES = [
    [0.5, -1.0, 2.0, -0.25, 1.5],
    [-0.5, -1.0, -2.0],
    [0.5, 1.0, 2.0],
    [3.0, -1.0, 0.25, 4.0],
    [0.5, 0.75],
    [-0.5, 2.0],
]


def first(y):
    return y[0] ** 2


def chosen(x):
    y = x[x > 0]
    if y.shape[0] > 0:
        return y[0] * y
    return x[0] * x


def three(x):
    y = x[x > 0]
    if y.shape[0] == 3:
        return y * y + dg.arange(3)
    return y * 2 + x.sum()


def three_and_after(x):
    y = x[x > 0] ** 2
    r = x.sum()
    if y.shape[0] == 3:
        w = y * 2
        r = r + (w * dg.arange(3)).sum() + y @ dg.ones(3) + dg.stack([y, w]).sum()
    z = x[x <= 0]
    return r * y + len(y), z * len(z)


def another_line(x):
    y = x[x > 0]
    r = (x * x).sum()
    if r > 6:
        r = r + y[1] * r
    return r


def nested(x):
    y = x[x > 0]
    if y.shape[0] > 0:
        if x.sum() > 0:
            if y.shape[0] > 1:
                return y[0] * y[1]
            return y[0] ** 2
        return y[-1] ** 3
    return x[0] ** 2


def two_sizes(x):
    y, z = x[x > 0], x[x <= 0]
    r = x.sum()
    if y.shape[0] == z.shape[0]:
        r = r + (y * z).sum()
    if y.shape[0] == z.shape[0] + 1:
        r = r + (y[1:] * z).sum()
    return r * r


def expression(x):
    y = x[x > 0]
    return y[0] ** 2 if y.shape[0] > 0 else x[0] * 3


def operators(x):
    y = x[x > 0]
    if y.shape[0] > 1 and y[1] > 0.6:
        return y[1] ** 2
    return x[0] * 2


def function(x):
    y = x[x > 0]
    if y.shape[0] > 0:
        return first(y)
    return first(x)


def counted_loop(x):
    y, r = x[x > 0], x.sum()
    for i in range(4):
        if y.shape[0] > i:
            r = r * y[i]
    return r


def loop_while(x):
    y, r = x[x > 0], x.sum()
    k = dg.tensor(0)
    while k < y.shape[0]:
        r = r * 0.5 + y[0] * y[k]
        k = k + 1
    return r


def loop_without_turns(x):
    y, r = x[x > 0], x.sum()
    while r < 0 and y.shape[0] > 0:
        r = r + y[0] * y[0]
    return r


def loop_over_rows(x):
    r = x.sum()
    for t in x:
        y, z = x[x > t], x[x < t]
        if y.shape[0] > 1:
            r = r + y[1] * t
            if y.shape[0] == z.shape[0]:
                r = r + (y * z).sum()
    return r


def loop_that_carries(x):
    y = x[x > 0]
    c = y * y
    if y.shape[0] == 3:
        for t in x:
            c = c * dg.arange(3) * t + y
    return c


def branch_in_a_loop(x):
    y = x[x > 0]
    c = y * y
    for t in x:
        if y.shape[0] == 3:
            c = c * 0.5 + dg.arange(3) * t * y
    return c


def inside(x):
    r = x.sum()
    if r > 0:
        y = x[x > 0]
        r = r + y[0] ** 2
        if y.shape[0] == 3:
            r = r + (y * y * dg.arange(3)).sum()
    return r


def reshaped(x):
    y = x[x > 0]
    if y.shape[0] == 2:
        return (y.reshape(2, 1) * dg.ones(2, 2)).sum(0) ** 2
    return x[:2] ** 2


def less_than_nothing(x):
    y = x[x > 0]
    if y.shape[0] >= 3:
        z = dg.ones(y.shape[0] - 3) * x.sum()
        return z.sum() + (z * 2).cumsum(0).sum() * x[0]
    w = (y * 2).cumsum(0)
    return w.sum() + (w * w).cumsum(0).sum()


def composed(x):
    y = x[x > 0]
    if y.shape[0] == 3:
        return F.mse_loss(y, dg.ones(3)) + F.cross_entropy(y.unsqueeze(0), dg.tensor([1]))
    return x[0] ** 2


def chosen_elements(x):
    y = x[x > 0]
    if y.shape[0] == 3:
        return dg.where(y > 0.6, y * y, dg.arange(3).float())
    return y


def a_part_itself(x):
    y = x[x > 0].long()
    y = x[: y.sum() // 2]
    if y.shape[0] > 3:
        return y[3]
    if y.shape[0] > 0:
        return y[0]
    return x.sum()


def raised_before(x):
    y = x[x > 0]
    if y.shape[0] < 2:
        raise ValueError(f"only {y.shape[0]}")
    return y[1] * y


def asserted_before(x):
    y = x[x > 0]
    assert y.shape[0] >= 2, "few"
    r = y[:-1] * y[1:] + y[1]
    assert r.sum() < 100
    return r


def printed_in_a_loop(x):
    r = x.sum() * 0
    for t in x:
        y = x[x >= t]
        print(t, len(y))
        if t < 1:
            z = x[x > 0]
            if z.shape[0] == 0:
                raise ValueError("none")
            r = r + z[0] * t
    return r


def raised_in_a_branch(x):
    y = x[x > 0]
    if x.sum() > 100:
        if y.shape[0] < 2:
            raise ValueError("few")
        return y[1]
    return x[0] ** 2


PROGRAMS = [
    chosen, three, three_and_after, another_line, nested, two_sizes, expression, operators, function, counted_loop, loop_while,
    loop_without_turns, loop_over_rows, loop_that_carries, branch_in_a_loop, inside, reshaped, less_than_nothing, composed,
    chosen_elements, raised_in_a_branch, a_part_itself, raised_before, asserted_before, printed_in_a_loop,
]  # fmt: skip


def total(results):
    return sum((r * r).sum() for r in (results if isinstance(results, tuple) else (results,)))


def values_and_gradients(f, x, orders):
    """The results of f, and gradients of what they add up to."""
    x = dg.tensor(x).requires_grad_()
    try:
        results = f(x)
    except (ValueError, AssertionError) as error:
        return [np.array(str(error.args[0]).splitlines()[0])]
    found = [r.detach().numpy() for r in (results if isinstance(results, tuple) else (results,))]
    value = total(results)
    for order in range(orders):
        (value,) = dg.autograd.grad(value, x, create_graph=order + 1 < orders)
        found.append(value.detach().numpy())
        value = (value * value).sum()
    return found


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "default"])
@pytest.mark.parametrize("f", PROGRAMS)
def test_as_dynamic(f, strict):
    static = dg.static(f, strict=strict)
    for values in VALUES:
        for expected, got in zip(values_and_gradients(f, values, 2), values_and_gradients(static, values, 2), strict=True):
            assert expected.shape == got.shape
            if strict or expected.dtype.kind == "U":
                np.testing.assert_array_equal(expected, got)
            else:
                np.testing.assert_allclose(expected, got, 1e-5, 1e-6)


@pytest.mark.parametrize("f", PROGRAMS)
def test_gradient_inside(f):
    def with_gradient(x):
        value = total(f(x))
        (grad,) = dg.autograd.grad(value, x)
        return value, grad * 2

    static = dg.static(with_gradient)
    for values in VALUES:
        try:
            expected = with_gradient(dg.tensor(values).requires_grad_())
        except (ValueError, AssertionError) as error:
            with pytest.raises(type(error)):
                static(dg.tensor(values).requires_grad_())
            continue
        got = static(dg.tensor(values).requires_grad_())
        for one, other in zip(expected, got, strict=True):
            np.testing.assert_allclose(one.detach().numpy(), other.detach().numpy(), 1e-5, 1e-6)


def needs_two(x):
    y, r = x[x > 0], x.sum()
    if r > 0:
        r = r + y[1]  # here
    return r


def needs_three(x):
    y, r = x[x > 0], x.sum()
    if r > 0:
        z = x * 2
        r = r + (z[z > 0] + y + dg.arange(3)).sum()  # here
    return r


def needs_two_in_a_loop(x):
    y, r = x[x > 0], x.sum()
    while r > 0:
        r = r - 10 + y[1]  # here
    return r


def reads_nothing_of_it(x):
    y = x[x > 0]
    if x.sum() > 0:
        y[1]  # here
    return x * 2


def two_lines(x):
    y, r = x[x > 0], x.sum()
    if r > 100:
        return y[1]
    if r > 0:
        return y[1] * 2  # here
    return r


@pytest.mark.parametrize("f", [needs_two, needs_three, needs_two_in_a_loop, reads_nothing_of_it, two_lines])
def test_the_line_where_they_do_not_fit(f, source_line):
    static = dg.static(f)
    for _ in range(2):
        below = dg.tensor([-3.0, 1.0])
        np.testing.assert_array_equal(static(below).numpy(), f(below).numpy())
        above = dg.tensor([1.0, 4.0] if f is needs_three else [-3.0, 4.0])
        with pytest.raises((BoundsError, ShapeError)):
            f(above)
        with pytest.raises(ShapeError, match="known only when this line runs") as error:
            static(above)
        assert error.value.location.line == source_line(f)


@pytest.fixture
def source_line():
    """The number of the line of a function that says so."""
    import inspect

    def find(f):
        lines, start = inspect.getsourcelines(f)
        return start + next(i for i, line in enumerate(lines) if line.rstrip().endswith("# here"))

    return find


def test_a_size_is_another_one_in_one_branch_only():
    def f(x):
        y, r = x[x > 0], x.sum()
        if y.shape[0] == 3:
            r = r + (y * dg.arange(3)).sum()
        return r, dg.zeros(y.shape[0]), y.reshape(-1, 1)

    static = dg.static(f)
    for values in VALUES:
        for expected, got in zip(f(dg.tensor(values)), static(dg.tensor(values)), strict=True):
            np.testing.assert_array_equal(expected.numpy(), got.numpy())
    assert static.captures <= 2


def test_mapped_over_examples():
    def f(x, y, row):
        if y.shape[0] > 1:
            row = row * y[1]
        return row + x.sum()

    def g(x, rows):
        y = x[x > 0]
        return dg.vmap(lambda row: f(x, y, row))(rows)

    static = dg.static(g)
    rows = dg.tensor([[1.0, 2.0], [3.0, 4.0]])
    for values in VALUES:
        np.testing.assert_array_equal(static(dg.tensor(values), rows).numpy(), g(dg.tensor(values), rows).numpy())
