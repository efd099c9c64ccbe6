"""Tensors that get another shape, size or memory in place, against PyTorch; in static functions too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import duograph as dg


def shown(x: Any) -> Any:
    return x.tolist(), tuple(x.shape), tuple(x.stride())


def several(L: Any) -> Any:
    x = L.arange(6).view(2, 3).clone()
    x.t_().transpose_(0, 1).swapaxes_(0, 1).swapdims_(-1, 0).unsqueeze_(1).squeeze_()
    return x


def of_a_view(L: Any) -> Any:
    z = L.ones(2, 3, requires_grad=True)
    x = z * 1
    row = x[0]
    row.unsqueeze_(0)
    row.mul_(3)
    (x * x).sum().backward()
    return z.grad


def without_gradient(L: Any) -> Any:
    z = L.ones(2, requires_grad=True)
    x = z * 2
    with L.no_grad():
        x.unsqueeze_(0)
    (x * L.tensor([[3.0, 4.0]])).sum().backward()
    return z.grad


def second_order(L: Any) -> Any:
    z = L.tensor([[1.0, 2.0, 3.0]], requires_grad=True)
    x = z**3
    x.t_()
    (g,) = L.autograd.grad((x * x).sum(), z, create_graph=True)
    return L.autograd.grad(g.sum(), z)[0]


def of_a_leaf(L: Any) -> Any:
    x = L.ones(2, requires_grad=True)
    with L.no_grad():
        x.unsqueeze_(0)
    (x * 2).sum().backward()
    return x.grad


def with_views(L: Any) -> Any:
    z = L.ones(2, 3, requires_grad=True)
    x = z * 1
    row = x[0]
    x.t_()
    row.mul_(3)
    (x * x).sum().backward()
    return z.grad


def with_strides(L: Any) -> Any:
    return L.arange(6.0).as_strided_((2, 2), (1, 2))


def resized(L: Any) -> Any:
    x = L.arange(6)
    assert x.resize_(2, 2) is x
    assert x.tolist() == [[0, 1], [2, 3]]
    return x.resize_((6,))


def resized_part(L: Any) -> Any:
    return L.arange(6).view(2, 3)[:, 1:].resize_(2, 1)


def outgrown(L: Any) -> Any:
    x = L.arange(6)
    assert tuple(x.resize_as_(L.zeros(4, 2)).shape) == (4, 2)
    return x.view(-1)[:6]


def other_memory(L: Any) -> Any:
    x, y = L.zeros(2), L.ones(3)
    x.set_(y)
    y.add_(1)
    return x


STATIC_TOO: list[Callable[[Any], Any]] = [several, of_a_view, without_gradient, second_order]
ALL = [*STATIC_TOO, of_a_leaf, with_views, with_strides, resized, resized_part, outgrown, other_memory]


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.__name__)
def test_as_in_torch(case: Callable[[Any], Any]) -> None:
    assert shown(case(dg)) == shown(case(torch))


@pytest.mark.parametrize("case", STATIC_TOO, ids=lambda case: case.__name__)
def test_in_static_functions(case: Callable[[Any], Any]) -> None:
    static = dg.static(lambda: case(dg))
    assert static().tolist() == static().tolist() == case(dg).tolist()


def test_saved_values_notice() -> None:
    x = dg.ones(2, requires_grad=True) * 1
    y = x * x
    x.unsqueeze_(0)
    with pytest.raises(dg.errors.GradError, match="mul: a was overwritten in place after it was saved"):
        y.sum().backward()


def test_refused() -> None:
    leaf = dg.ones(2, requires_grad=True)
    with pytest.raises(dg.errors.GradError, match=r"(?s)unsqueeze_: a leaf tensor that requires grad.*x = x\.unsqueeze\("):
        leaf.unsqueeze_(0)
    with pytest.raises(dg.errors.GradError, match="resize_: a tensor that requires grad keeps its size"):
        leaf.resize_(3)
    x = dg.zeros(2)
    view = x[:]
    with pytest.raises(dg.errors.ShapeError, match=r"(?s)resize_: \(3,\) needs more memory .*other tensors share"):
        x.resize_(3)
    assert view.shape == (2,)


def of_an_argument(x: dg.Tensor) -> dg.Tensor:
    return x.t_()


def in_a_branch(x: dg.Tensor) -> dg.Tensor:
    y = x * 1
    if x.sum() > 0:
        y.t_()
    return y


def of_one_with_views(x: dg.Tensor) -> dg.Tensor:
    y = x * 1
    row = y[0]
    y.t_()
    return row + 1


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (of_an_argument, "from outside of the function"),
        (in_a_branch, "in a branch or loop"),
        (of_one_with_views, "that has views"),
    ],
)
def test_refused_in_static_functions(function: Callable[[Any], Any], why: str) -> None:
    with pytest.raises(dg.errors.CaptureError, match=rf"(?s)t_ changes the shape of a tensor.*{why}.*write x = x\.t\("):
        dg.static(function)(dg.ones(2, 3))


def asked(x: dg.Tensor) -> Any:
    y = x * 1
    return x.is_contiguous(), x.stride(), x.t().is_contiguous(), y.t().stride(0), y[1].storage_offset(), y[:, 1].stride()


def test_layouts_in_static_functions() -> None:
    static = dg.static(asked)
    for x in (dg.ones(2, 3), dg.ones(3, 2).t(), dg.ones(4, 5)):
        assert static(x) == asked(x)


def test_a_layout_that_only_the_run_knows() -> None:
    def function(x: dg.Tensor) -> Any:
        y = x.t() if x.sum() > 0 else x * 1
        if y.is_contiguous():
            return y * 2
        return y * 3

    static = dg.static(function)
    for x in (dg.ones(2, 2), -dg.ones(2, 2)):
        assert static(x).tolist() == function(x).tolist()
    with pytest.raises(dg.errors.CaptureError, match=r"storage_offset\(\) of a tensor \(float32\[2\]\) whose place"):
        dg.static(lambda x: x[1].storage_offset())(dg.ones(2, 2))
