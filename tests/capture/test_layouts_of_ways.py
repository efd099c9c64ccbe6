"""Layouts that depend on the way through a branch or loop: `contiguous` and `reshape` copy on some ways only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import duograph as dg


def turned(x: Any) -> Any:
    return x.transpose(0, 1).contiguous().transpose(0, 1)


def one_side(x: Any, y: Any) -> Any:
    if x.sum() > 0:
        y = turned(y)
    r = y.transpose(0, 1).contiguous().transpose(0, 1)
    r[0][1:] = 0.5
    return y, r.sum(1)


def other_side(x: Any, y: Any) -> Any:
    y = y + 1 if x.sum() > 0 else turned(y)
    r = y.contiguous()
    r[0] = 3
    return y, r.sum(1)


def both_sides(x: Any, y: Any) -> Any:
    y = turned(y) if x.sum() > 0 else turned(y * 2)
    r, s = y.transpose(0, 1).contiguous(), y.contiguous()
    r[0], s[1] = 3, 4
    return y, r, s


def nested(x: Any, y: Any) -> Any:
    if x.sum() > 0 and x.max() > 0.9:
        y = turned(y)
    r = y.transpose(0, 1).contiguous()
    r[0] = 3
    return y, r, y * 2


def asked_in_a_branch(x: Any, y: Any) -> Any:
    if x.sum() > 0:
        y = turned(y)
    r = y.contiguous() if x.max() > 0.9 else y * 2
    r[0] = 4
    return y, r


def gaps(x: Any, y: Any) -> Any:
    y = y * 1.0
    z = y[:, 1:]
    if x.sum() > 0:
        z = z * 2
    r = z.contiguous()
    r[0] = 5
    return y * 1, z, r


def reshaped(x: Any, y: Any) -> Any:
    if x.sum() > 0:
        y = turned(y)
    r = y.transpose(0, 1).reshape(-1)
    r[2:4] = 2
    return y, r


def flattened(x: Any, y: Any) -> Any:
    if x.sum() > 0:
        y = turned(y)
    r = y.flatten()
    r[2] = 2
    return y, r


def viewed_on(x: Any, y: Any) -> Any:
    if x.sum() > 0:
        y = turned(y)
    r = y.transpose(0, 1).reshape(-1).reshape(2, -1)[1]
    y[1] = 2
    return y, r


def of_two_sizes(x: Any, y: Any) -> Any:
    y = dg.cat([y, y]) if x.sum() > 0 else y + 1
    r = y.contiguous()
    r[0] = 2
    return y, r


def turned_in_a_turn(x: Any, y: Any) -> Any:
    while y.sum() < 20:
        y = turned(y + 0.5)
    z = y.transpose(0, 1).contiguous()
    z[1] = 5
    return y, z


def turned_in_some_turns(x: Any, y: Any) -> Any:
    while y.sum() < 20:
        y = turned(y + 0.5) if y.sum() > 10 else y + 0.75
    z = y.contiguous()
    z[1] = 5
    return y, z


def turned_alone(x: Any, y: Any) -> Any:
    h = x * 1.0
    while h.sum() < 20:
        h = h + 1.0
        y = turned(y)
    z = y.contiguous()
    z[1] = 5
    return y, z


def written_in_other_shapes(x: Any, y: Any) -> Any:
    h, z = x * 1.0, y
    while h.sum() < 20:
        h = h + 1.0
        z = z.reshape(-1).reshape(y.shape)
    z[1] = 5
    return y, z


def begins_otherwise(x: Any, y: Any) -> Any:
    h = (y * 1.0)[:, 0]
    for row in y[:, :3].transpose(0, 1):
        h = h.contiguous() + row
    r = h.contiguous()
    r[0] = 1
    return h, r


WAYS = [
    one_side, other_side, both_sides, nested, asked_in_a_branch, gaps, reshaped, flattened, viewed_on, of_two_sizes,
    turned_in_a_turn, turned_in_some_turns, turned_alone, written_in_other_shapes, begins_otherwise,
]  # fmt: skip


def arguments(seed: int, shape: tuple[int, ...] = (3, 4)) -> list[Any]:
    generator = np.random.default_rng(seed)
    return [dg.from_numpy((generator.uniform(-1, 1, shape) + 0.3 * (-1) ** seed).astype(np.float32)) for _ in range(2)]


def outcome(function: Callable[..., Any], given: list[Any], gradients: bool = False, writes: bool = False) -> list[Any]:
    """Results, after they were written if `writes`, and gradients of first and second order."""
    leaves = [x.clone().requires_grad_(gradients) for x in given]
    results = function(*(x * 1.0 for x in leaves))
    for result in results if writes else ():
        result[0] *= 1.5
    found = [*results]
    if gradients:
        first = dg.autograd.grad(sum((r * (r + 1)).sum() for r in results), leaves, create_graph=True, allow_unused=True)
        found += [g for g in first if g is not None]
        total = sum((g * g * g).sum() for g in first if g is not None)
        found += [g for g in dg.autograd.grad(total, leaves, allow_unused=True) if g is not None]
    return [x.detach().numpy() for x in found]


@pytest.mark.parametrize("function", WAYS)
@pytest.mark.parametrize("writes", [False, True], ids=["read", "written"])
def test_both_modes_share_the_same_memory(function: Callable[..., Any], writes: bool) -> None:
    static = dg.static(function, strict=True)
    for seed in range(4):
        expected, found = (outcome(f, arguments(seed), writes=writes) for f in (function, static))
        for a, b in zip(expected, found, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("function", [one_side, other_side, both_sides, nested, reshaped, of_two_sizes])
@pytest.mark.parametrize("writes", [False, True], ids=["read", "written"])
@pytest.mark.parametrize("strict", [False, True], ids=["default", "strict"])
def test_gradients_go_through_what_is_shared(function: Callable[..., Any], writes: bool, strict: bool) -> None:
    def on_copies(x: Any, y: Any) -> Any:
        return function(x * 1.0, y * 1.0)

    static = dg.static(on_copies, strict=strict)
    for seed in range(3):
        expected, found = (outcome(f, arguments(seed), True, writes) for f in (on_copies, static))
        for a, b in zip(expected, found, strict=True):
            np.testing.assert_array_equal(a, b) if strict else np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("function", [one_side, both_sides, reshaped, turned_in_some_turns])
def test_sizes_may_be_symbols(function: Callable[..., Any]) -> None:
    static = dg.static(function, strict=True)
    for seed, shape in enumerate([(3, 4), (5, 2), (2, 2), (6, 3), (2, 7)]):
        for a, b in zip(outcome(function, arguments(seed, shape)), outcome(static, arguments(seed, shape)), strict=True):
            np.testing.assert_array_equal(a, b)


def test_an_argument_is_written_through_what_it_is_on_some_ways() -> None:
    def function(x: Any, y: Any) -> Any:
        if x.sum() > 0:
            y = turned(y)
        r = y.contiguous()
        r[0] = 2
        return r * 2

    static = dg.static(function)
    for seed in range(4):
        ours, theirs = arguments(seed), arguments(seed)
        np.testing.assert_array_equal(static(*ours).numpy(), function(*theirs).numpy())
        np.testing.assert_array_equal(ours[1].numpy(), theirs[1].numpy())


def test_a_copy_made_by_reshape_is_no_view() -> None:
    def function(x: Any, y: Any) -> Any:
        z = y * 2
        r = z.t().reshape(-1)
        r[0] = 1
        r.mul_(x.sum())
        if x.max() > 0.9:
            z = r.reshape(4, 3).transpose(0, 1)
        return z, r

    static = dg.static(function, strict=True)
    for seed in range(4):
        for writes in (False, True):
            expected, found = (outcome(f, arguments(seed), True, writes) for f in (function, static))
            for a, b in zip(expected, found, strict=True):
                np.testing.assert_array_equal(a, b)


def test_what_never_asks_for_a_layout_is_captured_once() -> None:
    runs = []

    def function(x: Any, y: Any) -> Any:
        runs.append(1)
        if x.sum() > 0:
            y = turned(y)
        for row in x:
            y = y + row
        return y * 2

    dg.static(function)(*arguments(0))
    assert len(runs) == 1


def test_a_layout_asked_of_sizes_that_only_the_run_knows() -> None:
    def function(x: Any, y: Any) -> Any:
        found = x[y[:, 0] > -1] * 2
        r, s = found.t().reshape(-1), found.t().contiguous()
        r[0], s[1] = 1, 2
        return found, r, s

    static = dg.static(function)
    for seed in range(3):
        for a, b in zip(function(*arguments(seed)), static(*arguments(seed)), strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_a_second_gradient_through_a_part_of_a_result_that_lies_otherwise() -> None:
    def function(x: Any, y: Any) -> Any:
        if y.max() > 0.5:
            y = turned(x)
        part = y.transpose(0, 1)[0]
        if x.max() < 0.5:
            y = y * 0.5
        return y, part

    for strict in (False, True):
        static = dg.static(function, strict=strict)
        for seed in range(6):
            expected, found = (outcome(f, arguments(seed), True) for f in (function, static))
            for a, b in zip(expected, found, strict=True):
                np.testing.assert_array_equal(a, b) if strict else np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
