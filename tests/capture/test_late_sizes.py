"""Sizes that values decide, in user code: the number of elements a mask selects."""

import numpy as np
import pytest

import duograph as dg


def check(function, captures=1):
    static = dg.static(function)
    for values in ([1.0, -2.0, 3.0, -4.0, 5.0], [-1.0, 2.0, -3.0, 4.0, -5.0], [-1.0, -1.0, -1.0, -1.0, 2.0], [1.0] * 5):
        x = dg.tensor(values)
        got, expected = static(x), function(x)
        assert type(got) is type(expected)
        for a, b in zip(*((r,) if not isinstance(r, tuple) else r for r in (got, expected))):
            if isinstance(b, dg.Tensor):
                np.testing.assert_array_equal(a.numpy(), b.numpy())
            else:
                assert a == b and type(a) is type(b)
    assert static.captures == captures


def test_arithmetic():
    def f(x):
        y = x[x > 0]
        n = y.shape[0]
        return n, n + 1, 2 * n - 1, n // 2, n % 2, n / 2, n**2, y.numel(), len(y), y.size(0), y.shape, y.sum() / n, y * n

    check(f)


def test_as_a_size():
    def f(x):
        y = x[x > 0]
        n = y.shape[0]
        return dg.zeros(n) + y, y.reshape(n, 1), y[: n - 1], dg.arange(n) * y, y.expand(2, n)

    check(f)


@pytest.mark.parametrize("name", ["median", "nanmedian"])
def test_the_median_of_what_is_selected(name):
    def f(x):
        found = getattr(x[x[:, 0] > 0], name)()
        return found, *dg.autograd.grad(found * 3, [x])

    nan = float("nan")
    static = dg.static(f)
    for values in ([[1.0, 2.0], [3.0, 1.0], [-1.0, nan]], [[-1.0, 0.0]], [[1.0, nan], [nan, 3.0]], [[2.0, nan], [2.0, nan]]):
        x = dg.tensor(values, requires_grad=True)
        for got, expected in zip(static(x), f(x)):
            np.testing.assert_array_equal(got.detach().numpy(), expected.detach().numpy())


def test_branches():
    def equal(x):
        y = x[x > 0]
        if y.shape[0] == 2:
            return y.sum()
        return y.sum() * 2

    def several(x):
        y = x[x > 0]
        if len(y) == 1 or 3 <= y.shape[0] < 5:
            return y.sum()
        return -y.sum()

    def never(x):
        y = x[x > 0]
        return y.sum() if y.shape[0] >= 0 else x.sum()

    for function in (equal, several, never):
        check(function)


def test_loops():
    def f(x):
        y = x[x > 0]
        total = dg.tensor(0.0)
        for i in range(y.shape[0]):
            total = total + y[i] * i
        return total

    check(f)


def test_printing(capsys):
    @dg.static
    def f(x):
        y = x[x > 0]
        print("found", y.shape[0], f"{y.shape[0]} of {x.shape[0]}")
        return y

    f(dg.tensor([1.0, -1.0]))
    f(dg.tensor([1.0, 1.0]))
    assert capsys.readouterr().out == "found 1 1 of 2\nfound 2 2 of 2\n"


def test_as_a_plain_number_it_is_refused_with_the_line():
    @dg.static
    def f(x):
        y = x[x > 0]
        return [1.0, 2.0, 3.0][y.shape[0]]

    with pytest.raises(dg.errors.CaptureError, match="depends on values") as caught:
        f(dg.tensor([1.0, -1.0]))
    assert "return [1.0, 2.0, 3.0][y.shape[0]]" in str(caught.value)
