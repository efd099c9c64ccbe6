"""Hostile but legal Python around tensors: what each of these gets is an error or a result, never a crash."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

import duograph as dg
from duograph import _core as core
from duograph import errors


class Emptying:
    """Empties the list that it is read from."""

    def __init__(self, owner: list[Any]) -> None:
        self.owner = owner

    def __index__(self) -> int:
        self.owner.clear()
        gc.collect()
        return 1

    def __eq__(self, other: object) -> bool:
        self.owner.clear()
        gc.collect()
        return True

    __hash__ = None  # type: ignore[assignment]


def emptying(*more: Any) -> list[Any]:
    owner: list[Any] = []
    owner += [Emptying(owner), *more, *(Emptying(owner) for _ in range(2))]
    return owner


def test_lists_that_change_while_they_are_read() -> None:
    assert dg.ones(1).reshape(emptying()).shape == (1, 1, 1)
    with pytest.raises((dg.Error, TypeError, ValueError)):
        dg.tensor(emptying())
    for call in (lambda: dg.ones(emptying()), lambda: dg.ones(1, 1, 1)[emptying()]):
        try:
            call()
        except (dg.Error, TypeError, ValueError, IndexError):
            pass
    static = dg.static(lambda values: values[1] * 2)
    for _ in range(3):
        try:
            static(emptying(dg.ones(3)))
        except (dg.Error, IndexError):
            pass


def test_numbers_beyond_64_bits_in_static_functions() -> None:
    static = dg.static(lambda x, n: x)
    for n in (10**30, -(10**30), 2**63):
        for _ in range(2):
            try:
                static(dg.ones(2), n)
            except dg.Error:
                pass
    assert static(dg.ones(2), 3).tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    "value", [np.datetime64("2020"), np.timedelta64(3, "s"), np.void(b"1234"), np.str_("a"), np.bytes_(b"ab")]
)
def test_scalars_of_numpy_that_are_no_numbers(value: Any) -> None:
    with pytest.raises((dg.Error, TypeError)):
        dg.ones(2) + value
    with pytest.raises((dg.Error, TypeError)):
        dg.tensor(value)


@pytest.mark.parametrize("name", ["Tensor", "Op", "Program", "Node", "DType", "StaticFunction", "StaticEntry", "Memory", "Block"])
def test_objects_that_were_never_initialised(name: str) -> None:
    cls = getattr(core, name)
    for make in (lambda: cls.__new__(cls), lambda: object.__new__(cls), lambda: cls()):
        try:
            made = make()
        except TypeError:
            continue
        if name == "Tensor":
            assert made.shape == (0,)
        else:
            with pytest.warns(RuntimeWarning, match="uninitialized"), pytest.raises(TypeError):
                made.stats() if name == "Program" else made.read()
        del made
    gc.collect()


def test_a_tensor_of_seventeen_dimensions() -> None:
    x = dg.ones((1,) * 16)
    for call in (lambda: x.unsqueeze(0), lambda: x[None], lambda: dg.stack([x]), lambda: x[dg.zeros(1, 1, dtype=dg.int64)]):
        with pytest.raises(errors.ShapeError, match="at most 16 dimensions"):
            call()


@pytest.mark.parametrize("new", [dg.ones(1), dg.ones(2, dtype=dg.float64), dg.ones(3, 3)])
@pytest.mark.parametrize("switch", [lambda f: f, dg.static], ids=["dynamic", "static"])
def test_data_exchanged_between_forward_and_backward(switch: Any, new: dg.Tensor) -> None:
    x = dg.ones(500_000, requires_grad=True)
    y = switch(lambda x: (x * x * x).sum())(x)
    x.data = new
    with pytest.raises(errors.GradError, match="gradient"):
        y.backward()
        if x.grad is not None and x.grad.shape != x.shape:  # a gradient of the old shape is no crash either
            raise errors.GradError("gradient of the data before")
    assert x.data.shape == new.shape


def test_data_exchanged_under_views_and_optimizers() -> None:
    x = dg.ones(4, 4)
    view = x[1:]
    x.data = dg.ones(1)
    view.add_(1)
    assert view.sum().item() == 24
    w = dg.ones(4, 4, requires_grad=True)
    y = w * 1
    view = y[1:]
    y.data = dg.ones(2)
    with pytest.raises(errors.GradError):
        view.mul_(2)
    parameter = dg.nn.Parameter(dg.ones(3))
    optimizer = dg.optim.Adam([parameter])
    parameter.grad = dg.ones(3)
    optimizer.step()
    parameter.data = dg.ones(2, 2)
    parameter.grad = None
    parameter.grad = dg.ones(2, 2)
    with pytest.raises(errors.ShapeError):
        optimizer.step()


def test_hooks_that_call_backward_again() -> None:
    x = dg.ones(2, requires_grad=True)
    y = x * 2
    loss = (y * y).sum()
    y.register_hook(lambda gradient: loss.backward(retain_graph=True))
    with pytest.raises(RecursionError):
        loss.backward(retain_graph=True)
    assert (dg.ones(2) + 1).tolist() == [2.0, 2.0]


def test_cycles_through_hooks_and_gradients_are_collected() -> None:
    class Owner:
        result: Any

    x = dg.ones(2, requires_grad=True)
    y = x * 2
    owner = Owner()
    owner.result = y
    y.register_hook(lambda gradient, owner=owner: None)
    x.grad = dg.ones(2)
    x.grad.grad = x
    gone = [weakref.ref(owner), weakref.ref(x)]
    del owner, x, y
    gc.collect()
    assert [ref() for ref in gone] == [None, None]


@pytest.mark.parametrize("kind", ["values", "views", "functions", "gradients"])
def test_chains_of_a_hundred_thousand(kind: str) -> None:
    class Same(dg.autograd.Function):
        @staticmethod
        def forward(context: Any, x: Any) -> Any:
            return x * 1

        @staticmethod
        def backward(context: Any, gradient: Any) -> Any:
            return gradient

    if kind == "gradients":
        x = first = dg.ones(2)
        for _ in range(100_000):
            x.grad = dg.ones(2)
            x = x.grad
        del x, first
        return
    x = dg.ones(1, 2, requires_grad=True)
    y = x * 1
    for _ in range(10_000 if kind == "functions" else 100_000):
        y = y * 1.0 if kind == "values" else y.transpose(0, 1) if kind == "views" else Same.apply(y)
    y.sum().backward()
    assert x.grad is not None and x.grad.tolist() == [[1.0, 1.0]]
    del y
    y = x
    for _ in range(10_000 if kind == "functions" else 100_000):
        y = y * 1.0 if kind == "values" else y.transpose(0, 1) if kind == "views" else Same.apply(y)
    del y


def test_tensors_that_leak_out_of_a_capture() -> None:
    held: list[dg.Tensor] = []

    @dg.static
    def f(x: dg.Tensor) -> dg.Tensor:
        y = x * 2
        held.extend([x, y])
        return y + 1

    try:
        f(dg.ones(3))
    except dg.Error:
        pass
    for leaked in tuple(held):
        for use in (
            lambda t: t + 1,
            lambda t: dg.ones(3).add_(t),
            lambda t: dg.cat([t, t]),
            lambda t: t.tolist(),
            repr,
            core.to_bytes,
            lambda t: setattr(dg.ones(3), "data", t),
            f,
        ):
            try:
                use(leaked)
            except dg.Error:
                pass
    assert not core.tracing() and (dg.ones(2) + 1).tolist() == [2.0, 2.0]
