"""Lists that grow in loops whose number of turns only each run knows."""

from __future__ import annotations

import pytest

import duograph as dg


def starts_with_items(x, c):
    items = [x, x * 2]
    for i in range(c):
        items.append(x * i)  # noqa: PERF401
    return dg.stack(items), items[0], items[-1], len(items)


def several_each_turn(x, c):
    items = []
    for i in range(c):
        items.append(x * i)
        items.append(x - i)
    t = x * 0
    for a in items:
        t = t * 0.5 + a
    return dg.stack(items), items[1], items[-2], t, len(items)


def tuples(x, c):
    items = []
    for i in range(c):
        items.append((x * i, x.sum() - i))  # noqa: PERF401
    t = x * 0
    for a, b in items:
        t = t * 0.5 + a * b
    u, v = items[-1]
    return t, u, v, len(items)


def two_loops(x, c):
    items = [x]
    for i in range(c):
        items.append(x * i)  # noqa: PERF401
    for i in range(c + 1):
        items.append(x - i)  # noqa: PERF401
    return dg.cat(items), items[2]


def appended_after_it(x, c):
    items = []
    for i in range(c):
        items.append(x * i)  # noqa: PERF401
    items.append(x * 100)
    return dg.stack(items, 1), items[0], items[-1], items[-2], len(items)


@pytest.mark.parametrize("function", [starts_with_items, several_each_turn, tuples, two_loops, appended_after_it])
def test_items(function):
    static = dg.static(function, strict=True)
    for c in (3, 2, 5):
        found = []
        for run in (function, static):
            x = dg.tensor([[0.5, 1.0], [1.5, 2.0]]).requires_grad_()
            results = run(x, dg.tensor(c))
            tensors = [t for t in results if isinstance(t, dg.Tensor)]
            gradient = dg.autograd.grad(sum((t * t).sum() for t in tensors), [x])[0]
            found.append([t.tolist() if isinstance(t, dg.Tensor) else t for t in (*results, gradient)])
        assert found[0] == found[1]
    assert static.captures == 1


def last_of_one(x, c):
    items = [x]
    while len(items) <= c:
        items.append(items[-1] * 2 + 1)
    return items[-1]


def last_but_one(x, c):
    items = [x * 1, x]
    for i in range(c):
        items.append(x * i)  # noqa: PERF401
    return items[-2]


def third_from_the_end_of_pairs(x, c):
    items = [(x, x.cos()), (x * 3, x), (x * 4, x * 5)]
    for i in range(c):
        items.append((x * i, x - i))  # noqa: PERF401
    return items[-3][0]


def last_but_one_with_another_behind(x, c):
    items = [x]
    for i in range(c):
        items.append(x * i)  # noqa: PERF401
    items.append(x + 1)
    return items[-2]


def last_of_a_known_number(x, c):
    items = [x]
    for i in range(c.shape[0]):
        items.append(x * i)  # noqa: PERF401
    return items[-1]


LAST = [last_of_one, last_but_one, third_from_the_end_of_pairs, last_but_one_with_another_behind, last_of_a_known_number]


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("function", LAST)
def test_the_last_items_are_the_very_tensors(function, gradient):
    """Where no turn was made the last item is the argument, so that writes and gradients reach it."""

    def seen(run, c):
        leaf = dg.tensor([0.5, 1.5]).requires_grad_(gradient)
        x = leaf * 1
        found = run(x, dg.zeros(c) if function is last_of_a_known_number else dg.tensor(c))
        values = found.tolist(), found is x
        if gradient:
            (found * found).sum().backward()
            return (*values, leaf.grad.tolist())
        found += 10
        return (*values, x.tolist())

    static = dg.static(function, strict=True)
    for c in (2, 0, 1, 3, 12, 0):
        assert seen(static, c) == seen(function, c), c


def test_a_result_that_may_be_any_item_is_refused():
    def chosen(x, c):
        items = [x]
        for i in range(c):
            items.append(x * i)  # noqa: PERF401
        return items[c - 1]

    def last(x, c):
        items = [x]
        for i in range(c):
            items.append(x * i)  # noqa: PERF401
        for item in items:
            x = item
        return x

    for function in (chosen, last):
        with pytest.raises(dg.errors.CaptureError, match="a part of another tensor, or one of several"):
            dg.static(function)(dg.ones(2), dg.tensor(2))
        copy = dg.static(lambda x, c, f=function: f(x * 1, c))
        assert copy(dg.ones(2), dg.tensor(2)).tolist() == function(dg.ones(2), dg.tensor(2)).tolist()


def test_unlike_items_are_refused():
    def f(x, c):
        items = [x[0]]
        for i in range(c):
            items.append(x * i)  # noqa: PERF401
        return dg.cat(items)

    with pytest.raises(dg.errors.CaptureError, match="unlike items: float32\\[2\\] and float32\\[3, 2\\]"):
        dg.static(f)(dg.ones(3, 2), dg.tensor(2))


def test_what_only_the_length_would_tell_is_refused():
    def f(x, c):
        items = []
        for i in range(c):
            items.append(x * i)  # noqa: PERF401
        items.pop()
        return items

    def g(x, c):
        items = [x]
        for i in range(c):
            items.append(x * i)  # noqa: PERF401
        one = items[c]
        one += 1
        return x, dg.stack(items)

    with pytest.raises(dg.errors.CaptureError, match="how many tensors this list holds"):
        dg.static(f)(dg.ones(2), dg.tensor(2))
    with pytest.raises(dg.errors.CaptureError, match="a part of another tensor, or one of several"):
        dg.static(g)(dg.ones(2), dg.tensor(2))


def joins_all_of_a_list(x, c):
    items = []
    for i in range(c):
        items.append(x * i)  # noqa: PERF401
    columns, row, rows = dg.stack(items, 1), dg.cat(items), dg.stack(items)
    columns += 1
    row *= 2
    rows -= 3
    return columns, row, rows, items[0] * 1


def test_what_lists_are_joined_to_has_memory_of_its_own():
    quick = dg.static(joins_all_of_a_list)
    for turns in (3, 1, 5):
        found, wanted = quick(dg.ones(2) * 4, dg.tensor(turns)), joins_all_of_a_list(dg.ones(2) * 4, turns)
        assert [t.tolist() for t in found] == [t.tolist() for t in wanted]


@pytest.mark.parametrize(
    ("index", "error"),
    [
        (lambda i: i.sum().item(), r"list indices must be integers or slices, not float"),
        (lambda i: i.sum(), r"only a Tensor with one integer can be used as an index"),
        (lambda i: i.long(), r"only a Tensor with one integer can be used as an index"),
    ],
)
def test_what_is_no_index_is_refused(index, error):
    def f(x, i):
        items = []
        while x.norm() > 0.5:
            x = x * 0.5
            items.append(x.sum())
        return items[index(i)]

    for function in (f, dg.static(f)):
        with pytest.raises(TypeError, match=error):
            function(dg.tensor([3.0, 4.0]), dg.tensor([0.5, 1.0]))


def test_rows_whose_sizes_only_a_turn_knows_are_refused():
    """In dynamic mode such rows may differ in size, and stacking them is an error then."""

    def rows(x, n):
        found, i = [], dg.tensor(0)
        while i < n:
            found.append(x[i : i + 1])
            i = i + 1
        return dg.stack(found)

    def sized(x, n):
        found, i = [], dg.tensor(0)
        while i < n:
            found.append(x[i : i + 1].reshape(1))
            i = i + 1
        return dg.stack(found)

    x, n = dg.arange(5.0), dg.tensor(3)
    with pytest.raises(dg.errors.CaptureError, match="grows by a tensor whose sizes only each turn"):
        dg.static(rows)(x, n)
    assert dg.static(sized)(x, n).equal(rows(x, n))
