"""Variables that are another tensor itself on some ways through a branch or loop, written in place or read after a write."""

from __future__ import annotations

import pytest

import duograph as dg


def writes_what_may_be_its_argument(x, c):
    y = x if c > 0 else x * 2
    y += 1
    return x, y


def row_of_the_argument_or_a_new_one(x, c):
    if c > 0:
        y = x[0]
    else:
        y = x[1] * 2
    x *= 3
    y.mul_(2)
    z = x.sum()
    x += 1
    return x, y, z


def view_of_what_may_be_the_argument(x, c):
    if c > 0:
        y = x
    else:
        y = x * 2
    v = y[0]
    v += 1
    x[1] = 7
    return x, y, v


def variable_that_is_the_argument_in_the_first_turn(x, c):
    y = x
    k = 0
    while k < c:
        y += 1
        y = y * 2
        k = k + 1
    y[0] = 0.5
    return x, y


def one_memory_on_one_side_two_on_the_other(x, c):
    a = x * 1
    b = x * 2
    if c > 0:
        a = b
    elif c < 0:
        n = a * 3
        a = n
        b = n[:]
    a += 1
    b *= 3
    return x, a, b


def variables_that_change_places(x, c):
    a = x
    b = x * 2
    k = 0
    while k < c:
        a, b = b, a
        a += 1
        k = k + 1
    a *= 2
    return x, a, b


def two_variables_on_what_the_last_turn_made(x, c):
    h = x * 1
    out = x * 1
    k = 0
    while k < c:
        h = (h * 0.5 + k).tanh()
        out = h
        k = k + 1
    h += 1
    return out, h


def shared_from_some_turn_on(x, c):
    h = x * 1
    out = x * 1
    k = 0
    while k < c:
        h += 1
        if k > 0:
            h = h * 2
            out = h
        k = k + 1
    out[0] = 9
    return out, h


def view_or_whole_in_a_loop(x, c):
    y = x * 1
    z = y
    for i in range(c):
        if x.sum() > i:
            z = y[1:]
            z = dg.cat([z, y[:1]])
        else:
            z = y
        z += 1
    return y, z


def nested(x, c):
    y = x * 2
    if c > 0:
        z = x[0]
        if x.sum() > 5:
            z = y[1]
        z += 1
        w = z
    else:
        w = y[0] * 3
    y *= 2
    w -= 1
    x *= 0.5
    return x, y, w


def loop_in_a_branch(x, c):
    y = x
    if c > 0:
        for i in range(c):
            if i > 0:
                y = y * 2
            y += i
    y += 0.25
    return x, y


def written_in_an_unrolled_loop(x, c):
    parts = [x[0], x[1]]
    total = x.sum()
    for part in parts:
        if total > c:
            chosen = part
        else:
            chosen = part * 2
        chosen += 1
        total = total + chosen.sum()
    return x, total


def conditional_expression(x, c):
    y = x if c > 0 else x.transpose(0, 1)
    y[0] = 7
    x[1, 0] += 1
    return x, y


def early_return(x, c):
    def part(a):
        if c > 0:
            return a[1:]
        if c < 0:
            return a[:1] * 2
        return a[:1]

    y = part(x)
    y *= 3
    x += 1
    return x, y


FUNCTIONS = [
    writes_what_may_be_its_argument,
    row_of_the_argument_or_a_new_one,
    view_of_what_may_be_the_argument,
    variable_that_is_the_argument_in_the_first_turn,
    one_memory_on_one_side_two_on_the_other,
    variables_that_change_places,
    two_variables_on_what_the_last_turn_made,
    shared_from_some_turn_on,
    view_or_whole_in_a_loop,
    nested,
    loop_in_a_branch,
    written_in_an_unrolled_loop,
    conditional_expression,
    early_return,
]


def outcome(function, c, gradients):
    x = dg.tensor([[1.0, 2.0], [3.0, 4.0]]).requires_grad_(gradients)
    results = function(x, dg.tensor(c))
    found = [t.tolist() for t in (*results, x)]
    if gradients:
        total = sum((t * t.sin()).sum() for t in results)
        found.append(dg.autograd.grad(total, [x])[0].tolist())
    return found


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_values(function, strict):
    static = dg.static(function, strict=strict)
    for c in (3, -1, 0, 1):
        assert outcome(static, c, False) == outcome(function, c, False)
    assert static.captures == 1


def no_write_inside(x, c):
    y = x if c > 0 else x * 2
    y *= 1.5
    v = y[0]
    x[1] = y[0] * 0.5
    v += 1
    return x, y, v


def diagonals(x, c):
    d = x.diagonal()
    x *= 2
    y = x if c > 0 else x * 1.0
    part = y.diagonal()
    part += d * 3
    return x, y, d


def chosen_view(x, c):
    u, v = x[1, 0], x[0, 1]
    m = u if c > 0 else v
    x[1, 1] = m * 3
    return x[1, 1], m


def after_a_loop(x, c):
    y = x
    while y.sum() < 30 * c:
        y = y * 1.5
    y *= y
    x += 1
    return x, y


@pytest.mark.parametrize(
    "function",
    [
        FUNCTIONS[0],
        FUNCTIONS[1],
        FUNCTIONS[2],
        conditional_expression,
        early_return,
        no_write_inside,
        diagonals,
        chosen_view,
        after_a_loop,
    ],
)
def test_gradients(function):
    def of_a_copy(x, c):
        return function(x * 1.0, c)

    def whole(x, c):
        return dg.autograd.grad(sum((t * t.sin()).sum() for t in of_a_copy(x, c)), [x])[0]

    static, inside = dg.static(of_a_copy, strict=True), dg.static(whole, strict=True)
    for c in (3, -1, 0, 1):
        expected = outcome(of_a_copy, c, True)
        found = outcome(static, c, True)
        assert found == expected
        x = dg.tensor([[1.0, 2.0], [3.0, 4.0]]).requires_grad_()
        assert inside(x, dg.tensor(c)).tolist() == expected[-1]
    assert static.captures == inside.captures == 1


def test_a_leaf_of_the_tape_is_refused():
    def f(x, c):
        y = x if c > 0 else x * 2
        y += 1
        return y

    with pytest.raises(dg.errors.CaptureError, match="requires grad is written in place") as error:
        dg.static(f)(dg.ones(2).requires_grad_(), dg.tensor(0))
    assert "y += 1" in str(error.value) and "clone()" in str(error.value)


def test_reports_and_comparisons_follow_too():
    x, c = dg.ones(2, 2), dg.tensor(1)
    assert "where" in str(dg.static(FUNCTIONS[1]).explain(x, c))
    assert dg.compare(FUNCTIONS[1], x, c)


def rows_of_a_loop_are_written(x, c):
    for row in x:
        row += c
    return x


def rows_by_number_are_written(x, c):
    for i in range(c):
        row = x[i]
        row *= 2
        x[i, 0] += row[1]
        column = x[:, i]
        column -= 1
    return x, x.sum()


def row_of_a_chosen_tensor(x, c):
    y = x * 3
    for i in range(c):
        z = x if x[i].sum() > y[i].mean() else y
        part = z[i]
        part += 1
        z[i, 1] = part[0]
    return x, y


@pytest.mark.parametrize("size", [2, 12])
@pytest.mark.parametrize("function", [rows_of_a_loop_are_written, rows_by_number_are_written, row_of_a_chosen_tensor])
def test_rows_are_views(function, size):
    static = dg.static(function, strict=True)
    for c in (2, 1, 0):
        found = []
        for run in (function, static):
            x = dg.arange(size * 2).reshape(size, 2).float()
            results = run(x, dg.tensor(c))
            found.append([t.tolist() for t in (*(results if isinstance(results, tuple) else (results,)), x)])
        assert found[0] == found[1]


def test_a_row_that_a_loop_chose_is_read_after_its_tensor_was_written():
    def f(x, c):
        row = x[0]
        for i in range(c):
            row = x[i]
        x += 1
        return row * 2

    quick = dg.static(f)
    for turns in (3, 1, 12):
        x, y = dg.arange(24.0).reshape(12, 2), dg.arange(24.0).reshape(12, 2)
        assert quick(x, dg.tensor(turns)).tolist() == f(y, turns).tolist()
        assert x.tolist() == y.tolist()
    assert quick.captures == 1


def grows_by_what_it_writes(x, c):
    h, items = x * 1.0, []
    for _ in range(12):
        h += c
        items.append(h)
    return dg.stack(items)


def writes_what_it_appended(x, c):
    items = []
    for _ in range(12):
        items.append(x[0])  # noqa: PERF401
    x += c
    return dg.stack(items)


def appends_before_it_writes(x, c):
    h, items = x * 1.0, []
    for _ in range(c):
        items.append(h)
        h += 1
        h = h * 2
    return dg.stack(items)


def contiguous_of_a_view(x, c):
    y = x.transpose(0, 1).contiguous().transpose(0, 1)
    y[0] = c
    z = x.contiguous()
    z[1] += c
    return x, y


@pytest.mark.parametrize(
    "function", [grows_by_what_it_writes, writes_what_it_appended, appends_before_it_writes, contiguous_of_a_view]
)
def test_lists_and_copies(function):
    for c in (3, 1):
        found = []
        for run in (function, dg.static(function, strict=True)):
            x = dg.arange(6).reshape(2, 3).float()
            results = run(x, dg.tensor(c))
            found.append([t.tolist() for t in (*(results if isinstance(results, tuple) else (results,)), x)])
        assert found[0] == found[1]


def test_a_list_of_one_tensor_written_in_each_turn_is_refused():
    def f(x, c):
        h, items = x * 1.0, []
        for _ in range(c):
            h += 1
            items.append(h)
        return dg.stack(items)

    def g(x, c):
        h, items = x * 1.0, []
        for _ in range(c):
            h = h * 2
            items.append(h)
        h += 1
        return dg.stack(items)

    with pytest.raises(dg.errors.CaptureError, match="that other turns of the loop write"):
        dg.static(f)(dg.ones(2), dg.tensor(3))
    with pytest.raises(dg.errors.CaptureError, match="item of a list is a part of another"):
        dg.static(g)(dg.ones(2), dg.tensor(3))


def test_contiguous_asks_sizes_no_more_than_it_must():
    def f(x):
        y = x.transpose(0, 1).contiguous()
        y += 1
        return y, x.contiguous()

    static = dg.static(f)
    for n in (2, 3, 4, 5):
        x = dg.arange(n * 4).reshape(n, 4).float()
        assert static(x)[0].tolist() == f(x)[0].tolist()
    assert static.captures <= 2


def test_rows_of_what_takes_part_in_differentiation_are_variables_of_inner_loops():
    """The row is a part of a tensor from outside of the loop, which stands there as a leaf."""

    def f(x, y, c):
        x, y = x * 1.0, y * 1.0
        row = y[0]
        row += 0.25
        last = row * 1.0
        while y.sum() < c:
            k = 0
            while k < c:
                last = row if y.mean() > 0.5 else row * 0.5
                row = x[-1]
                k = k + 1
            y = y + x.abs() + 0.5
        return y, row, last

    static = dg.static(f, strict=True)
    for c in (3, 9, -9):
        found = []
        for run in (f, static):
            x = dg.tensor([[0.1, -0.2], [0.3, 0.7]]).requires_grad_()
            y = dg.tensor([[0.5, 0.2], [-0.3, 0.1]]).requires_grad_()
            results = run(x, y, dg.tensor(c))
            grads = dg.autograd.grad(sum((t * t.sin()).sum() for t in results), [x, y], allow_unused=True)
            found.append([t.tolist() for t in results])
            found[-1] += [dg.zeros(2, 2).tolist() if g is None else (g + 0.0).tolist() for g in grads]  # nothing, or zeros
        assert found[0] == found[1]
