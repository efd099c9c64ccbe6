"""Static functions that write in place: to arguments, views, state, and tensors of their own."""

from both_modes import both, same, vector

import duograph as dg


def test_in_place_writes_to_arguments():
    def f(x, y):
        x += y
        y.mul_(2)
        x[0] = 7.0
        return x * y

    assert both(f, lambda: vector(1, 2, 3), lambda: vector(4, 5, 6)).captures == 1


def test_views_and_their_bases_share_writes():
    def f(x):
        y = x * 1
        row = y[1]
        column = y[:, 0]
        row += 10
        column *= 2
        flat = y.reshape(-1)
        flat[5] = -1.0
        turned = y.transpose(0, 1)
        turned[0] += 100
        return y, row, column, flat, turned

    both(f, lambda: dg.arange(6.0).reshape(2, 3))


def test_reshape_of_a_transposed_tensor_is_a_copy():
    def f(x):
        y = x * 1
        copy = y.transpose(0, 1).reshape(-1)
        copy += 100
        return y, copy

    both(f, lambda: dg.arange(6.0).reshape(2, 3))


def test_clone_and_detach():
    def f(x):
        copy, alias = x.clone(), x.detach()
        copy += 1
        alias += 10
        return copy, alias, x

    both(f, lambda: vector(1, 2))


def test_returned_argument_is_the_argument_and_returned_views_are_views():
    def f(x):
        x += 1
        return x, x[1:], x.reshape(3, 1)

    static = dg.static(f)
    for _ in range(2):
        x = vector(1, 2, 3)
        whole, part, column = static(x)
        assert whole is x
        part.zero_()
        column[0] = 9.0
        same(x, vector(9, 0, 0))


def test_two_results_on_one_storage():
    @dg.static
    def f(x):
        y = x * 2
        return y, y[1:], y

    for _ in range(2):
        y, part, again = f(vector(1, 2, 3))
        assert again is y
        part.zero_()
        same(y, vector(2, 0, 0))


def test_overlapping_arguments():
    def f(a, b):
        a += 1
        b *= 2
        return a + 0, b + 0

    static = dg.static(f)
    for _ in range(2):
        x, y = vector(1, 2, 3, 4), vector(1, 2, 3, 4)
        got, expected = static(x, x[1:]), f(y, y[1:])
        for g, e in zip(got, expected):
            same(g, e)
        same(x, y)
    for g, e in zip(static(x[:3], x[1:]), f(y[:3], y[1:])):
        same(g, e)
    same(x, y)
    x, y, u, v = vector(1, 2, 3, 4), vector(1, 2, 3, 4), vector(4, 5, 6), vector(4, 5, 6)
    static(x, u), f(y, v)
    same(x, y)
    same(u, v)
    assert static.captures == 3


def test_state_is_written_for_real():
    counter = vector(0)

    @dg.static
    def f(x):
        counter.add_(x)
        return counter * 2

    for i in range(1, 4):
        same(f(vector(1)), vector(2 * i))
        same(counter, vector(i))
    assert f.captures == 1


def test_tensors_made_from_data_are_constants():
    @dg.static
    def f(x):
        fresh = dg.tensor([1.0, 2.0])
        fresh += x
        return fresh, dg.zeros(2) + dg.ones(2)

    for _ in range(2):
        got, one = f(vector(1, 1))
        same(got, vector(2, 3))
        same(one, vector(1, 1))
