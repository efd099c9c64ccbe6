"""Lists that a branch, `break`, `continue` or the filter of a comprehension fills on some ways only."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import duograph as dg
from duograph.errors import ArgumentError, CaptureError

W = dg.tensor([0.5, -0.5, 1.5, 2.0])


def appended_if(x: Any, w: Any) -> Any:
    items = []
    for v in x:
        if v > 0:
            items.append(v * w)  # noqa: PERF401
    return items


def on_both_sides(x: Any, w: Any) -> Any:
    up, down = [x[0] * w], []
    for v in x:
        if v > 0:
            up.append(v * w)
            up.append(v * 2)
        elif v > -1:
            down.append((v, w * 2))
    total = w * 0
    for p, q in down:
        total = total + p * q
    return up, up[-1] * 2, dg.stack(up[1:]), dg.stack(up[::-1]), len(up), len(down), total


def until_break(x: Any, w: Any) -> Any:
    items = []
    while True:
        x = x * w
        if x.norm() < 0.5:
            break
        items.append(x.sum())
    return items, len(items)


def with_continue(x: Any, w: Any) -> Any:
    items = []
    for i in range(len(x)):
        if x[i] > 1:
            continue
        items.append((x[i] * w, x[:2] * i))
    return items


def asks_length(x: Any, w: Any) -> Any:
    items: list[Any] = []
    n = 0
    while len(items) < 3 and n < 20:
        x = x * 1.1
        if x.sum().sin() > 0:
            items.append(x.sum() * w)
        n += 1
    return items, n


def reads_last(x: Any, w: Any) -> Any:
    items, n = [x * w], 0
    while n < x.abs().sum():
        if (w * n).sin() > 0:
            items.append(items[-1] * 1.1)
        n += 1
    return dg.stack(items), len(items)


def filtered(x: Any, w: Any) -> Any:
    return [v * w for v in x if v > -5 if v * v < 2]


def filtered_numbers(x: Any, w: Any) -> Any:
    return [i for i, v in enumerate(x) if v * w > 0]


def filtered_sum(x: Any, w: Any) -> Any:
    return w + sum(v * w for v in x if v > 0)


def without_a_loop(x: Any, w: Any) -> Any:
    items = []
    if x[0] > 0:
        items.append(x * w)
    if x[1] > 0:
        items.append(x * 2)
    total = w * 0
    for t in items:
        total = total + t.sum()
    return items, total if items else -total


def nested(x: Any, w: Any) -> Any:
    items = []
    for i in range(len(x)):
        for j in range(i):
            if x[i] > x[j]:
                items.append(x[i] * w - x[j])  # noqa: PERF401
    return items


def items_are_written(x: Any, w: Any) -> Any:
    items = []
    for v in x:
        if v > 0:
            items.append(v * w)  # noqa: PERF401
    rest = items[1:]
    if rest:
        rest[0].mul_(3)
    items[-1].add_(1)
    return items


def counts_in_a_container(x: Any, w: Any) -> Any:
    count = [0]
    for v in x:
        if v > 0.9:
            break
        count[0] += 1
    return x * count[0] * w


PROGRAMS = [
    appended_if, on_both_sides, until_break, with_continue, asks_length, reads_last, filtered, filtered_numbers, filtered_sum,
    without_a_loop, nested, items_are_written, counts_in_a_container,
]  # fmt: skip


def arguments(seed: int, size: int, grad: bool = False) -> Any:
    x = np.random.default_rng(seed).standard_normal(size).astype("float32")
    x[-1] = 0.8  # each list gets something
    return dg.tensor(x).requires_grad_(grad), dg.tensor(0.75 + 0.05 * seed).requires_grad_(grad)


def same(a: Any, b: Any, exact: bool) -> bool:
    """Whether two results are built alike and hold the same numbers."""
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(lambda p: same(*p, exact), zip(a, b)))
    if not isinstance(a, dg.Tensor):
        return type(a) is type(b) and a == b
    a, b = a.detach().numpy(), b.detach().numpy()
    return a.dtype == b.dtype and (np.array_equal(a, b) if exact else np.allclose(a, b, rtol=1e-5, atol=1e-6))


@pytest.mark.parametrize("strict", [False, True], ids=["", "strict"])
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda f: f.__name__)
def test_as_dynamic(program, strict):
    static = dg.static(program, strict=strict)
    for seed, size in ((0, 10), (1, 10), (2, 12), (3, 9), (4, 15)):
        assert same(program(*arguments(seed, size)), static(*arguments(seed, size)), strict), (seed, size)
    assert static.captures <= (5 if program is nested else 3)  # rows of rows: a loop in a loop is captured for each size


def stacked(x: Any, w: Any) -> Any:
    return dg.stack([v * w for v in x if v > 0]).sin().sum()


def products(x: Any, w: Any) -> Any:
    items, n = [x[0] * w], 0
    while n < x.abs().sum():
        if (w * n).sin() > 0:
            items.append(items[-1] * w)
        n += 1
    return dg.stack(items).sum() + len(items) * w


def two_lists(x: Any, w: Any) -> Any:
    up, down = [], []
    for v in x:
        if v > 0:
            up.append(v * w)
        else:
            down.append((v * w, w * 2))
    total = x.sum() * 0
    for p, q in down:
        total = total + p * q
    for i, t in enumerate(up):
        total = total + t * i
    return total


def ends(x: Any, w: Any) -> Any:
    items, _ = until_break(x, w)
    return dg.stack(items).prod() + items[-1] * items[0]


def one_or_two(x: Any, w: Any) -> Any:
    items = []
    if w > 0:
        items.append(x * w)
    if w > 0.8:
        items.append(x * x)
    return sum((t.sum() for t in items), w * 0)


DIFFERENTIABLE = [stacked, products, two_lists, ends, one_or_two, filtered_sum]


def gradients(function: Any, x: Any, w: Any, order: int) -> list[Any]:
    y = function(x, w)
    y = y if isinstance(y, dg.Tensor) else dg.stack(y).square().sum()
    first = dg.autograd.grad(y, [x, w], create_graph=order > 1)
    if order == 1:
        return [y, *first]
    return [y, *first, *dg.autograd.grad(sum((g * g).sum() for g in first), [x, w], allow_unused=True)]


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("inside", [True, False], ids=["inside", "outside"])
@pytest.mark.parametrize("program", DIFFERENTIABLE, ids=lambda f: f.__name__)
def test_gradients(program, inside, order):
    def whole(x: Any, w: Any) -> Any:
        return gradients(program, x, w, order)

    static = dg.static(whole if inside else program, strict=True)
    for seed, size in ((0, 10), (1, 10), (2, 12)):
        expected = whole(*arguments(seed, size, True))
        found = static(*arguments(seed, size, True)) if inside else gradients(static, *arguments(seed, size, True), order)
        assert same(expected, found, True), (seed, size)


def test_gradient_of_a_list_that_is_returned():
    static = dg.static(appended_if)
    for seed, size in ((0, 10), (1, 10), (2, 12)):
        expected = gradients(appended_if, *arguments(seed, size, True), 1)
        assert same(expected, gradients(static, *arguments(seed, size, True), 1), False)


class TestNothing:
    """Where the list stays empty."""

    @staticmethod
    def lists(x: Any) -> Any:
        items = []
        for v in x:
            if v > 0:
                items.append(v * 2)  # noqa: PERF401
        return items

    @staticmethod
    def turns(x: Any) -> Any:
        items = []
        while x.sum() > 0.1:
            x = x * 0.7
            items.append(x.sum())
        return items

    @pytest.mark.parametrize("make", ["lists", "turns"])
    @pytest.mark.parametrize(
        "use, error",
        [
            (lambda a: dg.stack(a), ArgumentError),
            (lambda a: dg.cat([t.reshape(1) for t in a]), ArgumentError),
            (lambda a: a[-1], IndexError),
            (lambda a: a[0], IndexError),
            (lambda a: a[-3], IndexError),
        ],
        ids=["stack", "cat", "last", "first", "third from the end"],
    )
    def test_what_has_no_result_raises(self, make, use, error):
        made = getattr(self, make)
        static = dg.static(lambda x: use(made(x)))
        x = dg.arange(1.0, 11.0)
        for _ in range(2):
            assert static(x).equal(use(made(x)))
        with pytest.raises(error):
            static(-x)
        assert static(x).equal(use(made(x)))

    @pytest.mark.parametrize("make", ["lists", "turns"])
    def test_what_has_one(self, make):
        made = getattr(self, make)

        def use(x: Any) -> Any:
            items = made(x)
            if not items:
                return len(items), x.sum()
            return len(items), items[0]

        static = dg.static(use)
        for x in (dg.arange(1.0, 11.0), -dg.arange(1.0, 11.0), -dg.arange(1.0, 13.0)):
            assert same(use(x), static(x), False)


class TestMemory:
    """Items that are other tensors' memory: what dynamic mode shares is not copied silently."""

    @pytest.mark.parametrize(
        "use",
        [
            lambda x, items: items[0].add_(1) * 0 + x,
            lambda x, items: x.add_(1) * 0 + dg.stack(items).sum(),
        ],
        ids=["the item is written", "the tensor is written"],
    )
    def test_writes_are_refused(self, use):
        def program(x: Any) -> Any:
            x = x * 1
            return use(x, [v for v in x if v > 0])

        static = dg.static(program)
        with pytest.raises(CaptureError, match=r"a part of another tensor[\s\S]*clone"):
            static(dg.arange(1.0, 11.0))

    @pytest.mark.parametrize("of_state", [False, True])
    def test_results_are_refused(self, of_state):
        static = dg.static(lambda x: [v for v in (W if of_state else x) if v > x[0]])
        with pytest.raises(CaptureError, match=r"a part of another tensor[\s\S]*clone"):
            static(dg.arange(-4.0, 7.0))


def test_a_stack_may_be_flattened():
    def program(x: Any) -> Any:
        return dg.stack([v * 2 for v in x]).flatten()

    static = dg.static(program)
    for size in (9, 11, 12):
        x = dg.arange(2.0 * size).reshape(size, 2)
        assert static(x).equal(program(x))


def test_unlike_items_are_refused():
    def program(x: Any) -> Any:
        items = []
        if x[0] > 0:
            items.append(x)
            items.append(x[:2])
        return items

    with pytest.raises(CaptureError, match="unlike items") as caught:
        dg.static(program)(dg.ones(3))
    line = inspect.getsourcelines(program)[1] + 2
    assert f"test_lists_on_some_ways.py:{line}" in str(caught.value)
