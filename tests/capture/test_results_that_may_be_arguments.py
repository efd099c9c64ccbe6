"""Results that are arguments, or parts of them, on some ways through a function: the caller gets the very tensor there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

import duograph as dg


class Pair(NamedTuple):
    first: Any
    second: Any


def branch(x: Any, n: Any) -> Any:
    y = x
    if n > 1:
        y = x * 2
    return y


def early_return(x: Any, n: Any) -> Any:
    if n > 1:
        return x
    return x + 1


def part(x: Any, n: Any) -> Any:
    y = x[1:]
    if n > 1:
        y = (x * 2)[1:]
    return y


def part_afterwards(x: Any, n: Any) -> Any:
    y = x if n > 1 else x * 2
    return y[::2].reshape(2, 1)


def loop(x: Any, n: Any) -> Any:
    y = x
    while n > 0:
        y = y + 1
        n = n - 1
    return y


def branch_in_a_loop(x: Any, n: Any) -> Any:
    y = x * 1
    while n > 0:
        y = x if n > 1 else y + 1
        n = n - 2
    return y


def nested(x: Any, n: Any) -> Any:
    y = x * 3
    if n > 0:
        y = x
        if n > 1:
            y = x - 1
    return y


def one_of_two(x: Any, n: Any) -> Any:
    z = x[:2]
    return z if n > 1 else x[2:]


def twice(x: Any, n: Any) -> Any:
    y = x if n > 1 else -x
    return Pair(y, {"again": y})


def after_a_write(x: Any, n: Any) -> Any:
    y = x if n > 1 else x.clone()
    y += 5
    return y


def results_that_are_one(x: Any, n: Any) -> Any:
    y = x * 2
    z = y
    if n > 1:
        z = y + 1
    return Pair(y, {"again": z})


def made_inside(x: Any, n: Any) -> Any:
    if n > 1:
        y = z = x * 2
    else:
        y, z = x + 1, x + 2
    return Pair(y, {"again": z})


def part_of_a_result(x: Any, n: Any) -> Any:
    y = x * 2
    return Pair(y, {"again": y[1:3] if n > 1 else x[1:3] + 0})


def part_of_what_may_be_the_argument(x: Any, n: Any) -> Any:
    y = x if n > 1 else x * 2
    s = x[1:] * 3
    if n > 0:
        s = y[1:]
    return s


def parts_of_what_turns_choose(x: Any, n: Any) -> Any:
    a = b = x[:1] * 0
    while n > 0:
        if x.sum() < 0:
            x = x * 2
        a, b = x[1:2], x[2:3]
        n = n - 1
    return Pair(a, {"again": b})


FUNCTIONS = [
    branch, early_return, part, part_afterwards, loop, branch_in_a_loop, nested, one_of_two, twice,
    results_that_are_one, made_inside, part_of_a_result,
    part_of_what_may_be_the_argument, parts_of_what_turns_choose, after_a_write,
]  # fmt: skip


def tensors(result: Any) -> list[Any]:
    if isinstance(result, Pair):
        return [result.first, result.second["again"]]
    return [result]


def seen(function: Callable[..., Any], n: int) -> Any:
    """What the caller sees after the call, and after it has written to the result."""
    x = dg.arange(4.0)
    results = tensors(function(x, dg.tensor(n)))
    before = [r.tolist() for r in results], x.tolist()
    results[0].mul_(10)
    return before, [r.tolist() for r in results], x.tolist(), [r is x for r in results], [r is results[0] for r in results]


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_write_to_the_result_reaches_the_argument_where_it_is_one(function: Callable[..., Any], strict: bool) -> None:
    static = dg.static(function, strict=strict)
    for n in (0, 1, 2, 3):
        assert seen(static, n) == seen(function, n), n
    assert static.captures == 1


@pytest.mark.parametrize("function", FUNCTIONS[:-1])
def test_gradients_go_to_the_argument(function: Callable[..., Any]) -> None:
    static = dg.static(function, strict=True)

    def gradients(run: Callable[..., Any], n: int) -> Any:
        leaf = dg.arange(4.0).requires_grad_()
        x = leaf * 2
        x.retain_grad()
        results = tensors(run(x, dg.tensor(n)))
        first = results[0]
        first.register_hook(lambda g: g * 3)
        (first * first).sum().backward()
        return leaf.grad.tolist(), x.grad.tolist(), [r is x for r in results], [r.requires_grad for r in results]

    for n in (0, 1, 2, 3):
        assert gradients(static, n) == gradients(function, n), n


def part_in_a_loop(x: Any, n: Any) -> Any:
    y = x[:2] * 1
    while n > 0:
        y = x[-2:]
        n = n - 1
    return y, x.sin() + x * 0.7


def part_in_a_branch(x: Any, n: Any) -> Any:
    x = x * 1
    y = x[-2:] if n > 1 else x[:2] * 1
    return y, x.sin() + x * 0.7, x


@pytest.mark.parametrize("function", [part_in_a_loop, part_in_a_branch])
def test_a_part_keeps_its_place_among_the_uses_of_the_whole(function: Callable[..., Any]) -> None:
    """Its gradient is added where the part was made, not after the call: the very bits, of both orders."""

    def gradients(run: Callable[..., Any], n: int, seed: int) -> Any:
        dg.manual_seed(seed)
        x = dg.rand(5).requires_grad_()
        results = run(x, dg.tensor(n))
        loss = sum((r * r).sum() for r in results) + (x * x.cos()).sum()
        (first,) = dg.autograd.grad(loss, x, create_graph=True)
        return first.tolist(), dg.autograd.grad((first * first).sum(), x)[0].tolist()

    static = dg.static(function, strict=True)
    for seed in range(6):
        for n in (0, 2):
            assert gradients(static, n, seed) == gradients(function, n, seed), (n, seed)


def test_sizes_stay_symbols() -> None:
    static = dg.static(part)
    for size in (3, 4, 5, 6):
        for n in (1, 2):
            x = dg.arange(float(size))
            static(x, dg.tensor(n)).fill_(-1)
            assert x.tolist() == ([0.0] + [-1.0] * (size - 1) if n == 1 else list(range(size)))
    assert static.captures <= 2


def test_state_that_a_call_gives_or_leaves_behind() -> None:
    class Memory(dg.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last: Any = dg.zeros(2)

        def forward(self, x: Any) -> Any:
            old = self.last
            self.last = x if x.sum() > 0 else old * 2
            return old if x.sum() > 1 else x * 1

    plain, static = Memory(), dg.static(Memory())
    for run in (plain, static):
        first, second = dg.tensor([1.0, 2.0]), dg.tensor([-1.0, -2.0])
        zero = run.last
        assert run(first) is zero
        assert run.last is first
        given = run(second)
        assert given is not second
        assert run.last.tolist() == [2.0, 4.0]
        kept = run.last
        kept.add_(1)
        assert first.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("n", [1, 2])
def test_gradients_of_gradients_go_through_what_a_call_leaves_behind(n: int) -> None:
    class Memory(dg.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last: Any = None

        def forward(self, x: Any, n: Any) -> Any:
            y = x
            if n > 1:
                y = (x * x).sin()
            self.last = y
            return (y * x).sum()

    def second_order(module: Any) -> Any:
        leaf = dg.tensor([0.3, 0.5], requires_grad=True)
        total = module(leaf * 2, dg.tensor(n)) + (module.last**3).sum()
        (first,) = dg.autograd.grad(total, leaf, create_graph=True)
        return first.tolist(), dg.autograd.grad((first * first).sum(), leaf)[0].tolist()

    assert second_order(dg.static(Memory(), strict=True)) == second_order(Memory())
