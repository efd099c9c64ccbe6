"""Branches whose sides give tensors of different sizes, and slices up to where a tensor says."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import duograph as dg


def two_or_five(x: Any, w: Any) -> Any:
    if w * x.sum() > 0:
        y = x[:2] * w
    else:
        y = x[:5] * w
    return (y * y).sum(), y.shape[0]


def part_or_whole(x: Any, w: Any) -> Any:
    y = x[:2] * w if w > 0.75 else x
    return (y.sin() * w).sum(), len(y)


def at_most_three(x: Any, w: Any) -> Any:
    y = x[x > 0] * w
    if y.shape[0] > 3:
        y = y[:3]
    return (y * y).sum(), y * 2


def joined_where_positive(x: Any, w: Any) -> Any:
    y = dg.zeros(0)
    for v in x:
        if v > 0:
            y = dg.cat([y, (v * w).reshape(1)])
    return y.sin().sum(), y


def both_dimensions(x: Any, w: Any) -> Any:
    y = x.reshape(1, -1) * w if w > 0.75 else x[:4].reshape(2, 2) * w
    return (y @ y.T).sum(), y


def up_to_a_tensor(x: Any, w: Any) -> Any:
    y = x[: (x > 0).sum()] * w
    return (y * y).sum(), y


def up_to_a_tensor_of_some(x: Any, w: Any) -> Any:
    z = x[x > 0]
    y = z[: (z > 0.5).sum()] * w
    return (y * y).sum(), y


PROGRAMS = [
    two_or_five, part_or_whole, at_most_three, joined_where_positive, both_dimensions, up_to_a_tensor,
    up_to_a_tensor_of_some,
]  # fmt: skip
CALLS = [(0, 10, 0.9), (1, 10, 0.7), (2, 12, 0.8), (3, 9, 0.6), (4, 14, -0.9)]


def arguments(seed: int, size: int, w: float) -> tuple[Any, Any]:
    x = np.random.default_rng(seed).standard_normal(size).astype("float32")
    return dg.tensor(x).requires_grad_(), dg.tensor(w).requires_grad_()


def whole(program: Any, x: Any, w: Any, order: int) -> list[Any]:
    total, *rest = program(x, w)
    if order == 0:
        return [total, *rest]
    first = dg.autograd.grad(total, [x, w], create_graph=order > 1)
    if order == 1:
        return [total, *first]
    return [total, *first, *dg.autograd.grad(sum((g * g).sum() for g in first), [x, w])]


def equal(a: Any, b: Any) -> bool:
    if not isinstance(a, dg.Tensor):
        return type(a) is type(b) and a == b
    return np.array_equal(a.detach().numpy(), b.detach().numpy())


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("inside", [True, False], ids=["inside", "outside"])
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda f: f.__name__)
def test_as_dynamic(program, inside, order):
    static = dg.static((lambda x, w: whole(program, x, w, order)) if inside else program, strict=True)
    for call in CALLS:
        expected = whole(program, *arguments(*call), order)
        found = static(*arguments(*call)) if inside else whole(static, *arguments(*call), order)
        assert all(map(equal, expected, found)), call
    assert static.captures <= (5 if program is joined_where_positive else 3)  # whose turns are written out for each size


def test_a_result_that_would_share_memory_is_refused():
    static = dg.static(lambda x: x.reshape(-1, 1) if x.sum() > 0 else dg.zeros(1, 1))
    with pytest.raises(dg.errors.CaptureError, match="shares memory"):
        static(dg.ones(3))


def whole_numbers(x: Any) -> Any:
    k = int(x.abs().sum() * 0.3)
    n, turns = int(x.abs().sum().item() * 10) + 1, 0
    while n != 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        turns += 1
    t = x.sum().item()
    return k, x * k, x[:k], turns, round(t), math.floor(t), math.ceil(t), math.trunc(-3 * t)


def test_whole_numbers_of_floats():
    static = dg.static(whole_numbers)
    for seed, size, w in CALLS:
        x = arguments(seed, size, w)[0].detach()
        assert all(map(equal, whole_numbers(x), static(x))), seed
    assert static.captures <= 3


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_a_float_that_is_no_whole_number_of_64_bits(value):
    static = dg.static(lambda x: int(x.sum()))
    assert static(dg.tensor([1.5, 2.0])) == 3
    with pytest.raises(ValueError, match="NaN, infinite or has more than 64 bits"):
        static(dg.tensor([value, 0.0]))
