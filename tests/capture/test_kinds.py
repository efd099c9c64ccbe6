"""Numbers that a branch or loop replaces: they leave a static function as numbers of their type; what cannot is said."""

from __future__ import annotations

import pytest
from user_modes import Program, check

import duograph as dg

UP, DOWN = dg.tensor([1.0, 2.0]), dg.tensor([-1.0, -2.0])


def replaced(x):
    n = 3
    if x.sum() > 0:
        n = 5
    return n


def counted(x):
    turns, low = 0, True
    while x.sum() < 10:
        x = x + 1
        turns += 1
        low = False
    return turns, low, x


def computed(x):
    n = 3
    if x.sum() > 0:
        n = 5
    return n * 2, n + 0.5, n // 2, -n, max(n, 4), n == 3, [n], {"n": n}, n * x


def chosen(x):
    return 3 if x.sum() > 0 else 5, 0.5 if x.sum() > 0 else 1.5


def asked(x):
    n = 3
    if x.sum() > 0:
        n = 5
    return isinstance(n, int), isinstance(n, dg.Tensor), isinstance(n, (float, bool)), type(n).__name__, type(x).__name__


@pytest.mark.parametrize("function", [replaced, counted, computed, chosen, asked])
def test_a_number_stays_a_number(function):
    check(lambda: Program(function, (UP,), (DOWN,), (UP,)), captures=1)


class Box:
    value = 0


def test_a_number_that_is_kept_outside_is_a_number():
    def program():
        box, log = Box(), []

        def f(x):
            n = 3
            if x.sum() > 0:
                n = 5
            box.value = n
            log.append(n)
            print(n, f"{n:>3}", "%d" % n)  # noqa: UP031
            return x

        return Program(f, (UP,), (DOWN,), state=lambda: [box.value, log])

    check(program, captures=1)


def int_or_float(x):
    n = 1
    if x.sum() > 0:
        n = 2.5
    return n


def number_or_tensor(x):
    n = 1
    if x.sum() > 0:
        n = x.sum()
    return n


def sum_in_a_loop(x):
    total = 0
    while x.sum() > 0:
        total = total + x.sum()
        x = x - 1
    return total


def nested(x):
    n = 1
    if x.sum() > 0:
        n = n * 2.5 if x.sum() > 5 else n
    return [n]


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (int_or_float, "n is an int on some ways through the function and a float on others"),
        (number_or_tensor, "n is an int on some ways through the function and a tensor on others"),
        (sum_in_a_loop, "total is an int on some ways through the function and a tensor on others"),
        (nested, "n is an int on some ways through the function and a float on others"),
    ],
)
def test_a_value_of_several_kinds_is_said(function, text):
    with pytest.warns(dg.errors.CaptureWarning, match=text) as caught:
        dg.static(function)(UP)
    assert "test_kinds.py" in str(caught[0].message) and "hint: give it one kind" in str(caught[0].message)


def used_inside(x):
    scale, total = 1, 0
    if x.sum() > 0:
        scale = 0.5
    for row in x:
        total = total + row
    return x * scale + total


def test_inside_it_is_nobodys_business():
    check(lambda: Program(used_inside, (UP,), (DOWN,)), captures=1)


def test_a_sum_over_rows_that_begins_with_an_int_is_a_tensor_at_any_size():
    @dg.static
    def total(x):
        found, product = 0, 1
        for row in x:
            found = found + row * 2
            product = product * row.sum()
        return found, product

    for rows in (2, 3, 4, 11):  # a warning would be an error here
        found, product = total(dg.ones(rows, 2))
        assert (found.tolist(), product.tolist()) == ([2.0 * rows] * 2, 2.0**rows)
    assert total.captures == 2


def test_a_variable_that_begins_as_none_is_a_tensor_at_any_size():
    @dg.static
    def best(x):
        found, lengths = None, []
        for i, row in enumerate(x):
            if i % 2 == 1:
                continue
            found = row if found is None else found.maximum(row * i)
            lengths.append(found.sum())
        return found, dg.stack(lengths)

    with dg.dynamic_mode():
        wanted = [[t.tolist() for t in best(dg.arange(2.0 * rows).reshape(rows, 2))] for rows in (2, 3, 4, 11)]
    found = [[t.tolist() for t in best(dg.arange(2.0 * rows).reshape(rows, 2))] for rows in (2, 3, 4, 11)]
    assert found == wanted


def test_a_running_sum_with_a_gradient_is_captured_once():
    @dg.static
    def mean(x):
        found = None
        for row in x:
            found = row * row if found is None else found + row * row
        return found / x.shape[0]

    for rows in (2, 3, 4, 11):
        x = dg.arange(2.0 * rows).reshape(rows, 2).requires_grad_()
        mean(x).sum().backward()
        assert dg.allclose(x.grad, x.detach() * 2 / rows)
    assert mean.captures == 2


def test_the_best_row_is_captured_once_and_is_the_row_itself():
    @dg.static
    def best(x):
        found = None
        for row in x:
            if found is None or row.sum() > found.sum():
                found = row
        return found

    for rows in (2, 3, 4, 11):
        x = dg.arange(2.0 * rows).reshape(rows, 2).clone()
        result = best(x)
        result += 1
        assert x[-1].tolist() == result.tolist() == [2.0 * rows - 1, 2.0 * rows]
    assert best.captures == 2
