"""Functions with a gradient of their own, step by step beside PyTorch."""

import pytest
import torch

import duograph as dg
from duograph.errors import ArgumentError, GradError

LIBRARIES = [pytest.param(torch, id="torch"), pytest.param(dg, id="duograph")]
both = pytest.mark.parametrize("lib", LIBRARIES)


def leaf(lib, *values):
    return lib.tensor([float(v) for v in values], requires_grad=True)


def function(lib, forward, backward, **more):
    members = {"forward": forward, "backward": backward, **more}
    return type("Made", (lib.autograd.Function,), {name: staticmethod(f) for name, f in members.items()})


def doubling(lib):
    def forward(ctx, x):
        ctx.mark_dirty(x)
        x.mul_(2)
        return x

    return function(lib, forward, lambda ctx, g: g * 2)


@both
def test_what_is_marked_dirty_becomes_the_output(lib):
    x = leaf(lib, 1, 2)
    y = x * 1
    z = doubling(lib).apply(y)
    assert z is y and y.tolist() == [2, 4] and y.grad_fn == z.grad_fn
    (y * 3).sum().backward()
    assert x.grad.tolist() == [6, 6]


@both
def test_a_dirty_tensor_without_history_gets_one(lib):
    def forward(ctx, x, w):
        ctx.mark_dirty(x)
        x.add_(w)
        return x

    w, y = leaf(lib, 3, 4), lib.ones(2)
    z = function(lib, forward, lambda ctx, g: (g, g)).apply(y, w)
    z.sum().backward()
    assert z is y and y.requires_grad and not y.is_leaf and w.grad.tolist() == [1, 1]


@both
def test_a_dirty_view_changes_what_its_base_was_computed_from(lib):
    x = leaf(lib, 1, 2, 3)
    y = x * 1
    doubling(lib).apply(y[:2])
    y.sum().backward()
    assert y.tolist() == [2, 4, 3] and x.grad.tolist() == [2, 2, 1]


@both
def test_dirty_leaves_are_refused(lib):
    with pytest.raises(RuntimeError, match="leaf"):
        doubling(lib).apply(leaf(lib, 1, 2))


def test_dirty_views_among_several_outputs_are_refused():
    def forward(ctx, x):
        ctx.mark_dirty(x)
        x.mul_(2)
        return x, x * 1

    y = leaf(dg, 1, 2, 3) * 1
    with pytest.raises(GradError, match="Made: a view can be written in place only as the first input"):
        function(dg, forward, lambda ctx, g, h: g).apply(y[:2])


def test_what_is_dirty_has_to_be_returned():
    def forward(ctx, x):
        ctx.mark_dirty(x)
        return x.mul_(2) * 1

    with pytest.raises(GradError, match="Made: an input marked by mark_dirty is not among the outputs"):
        function(dg, forward, lambda ctx, g: g).apply(leaf(dg, 1, 2) * 1)


@both
def test_setup_context_apart_from_forward(lib):
    def setup(ctx, inputs, output):
        x, k = inputs
        ctx.save_for_backward(x, output)
        ctx.k = k

    def backward(ctx, g):
        x, output = ctx.saved_tensors
        return g * output / x * 2, None

    x = leaf(lib, 1, 2)
    function(lib, lambda x, k: x * x * k, backward, setup_context=setup).apply(x, 3).sum().backward()
    assert x.grad.tolist() == [6, 12]


@both
def test_results_that_are_no_tensors_are_passed_on(lib):
    got = []

    def backward(ctx, *grads):
        got.append([g is None for g in grads])
        return grads[1] * 2

    x = leaf(lib, 1, 2)
    name, y, nothing, number = function(lib, lambda ctx, x: ("s", x * 2, None, 3), backward).apply(x)
    y.sum().backward()
    assert (name, nothing, number) == ("s", None, 3) and got == [[True, False, True, True]] and x.grad.tolist() == [2, 2]


@both
def test_gradients_are_fitted_to_their_inputs(lib):
    x = leaf(lib, 1, 2)
    function(lib, lambda ctx, x: x * 2, lambda ctx, g: lib.ones(3, 2, dtype=lib.float64)).apply(x).sum().backward()
    assert x.grad.tolist() == [3, 3] and x.grad.dtype == lib.float32
    with pytest.raises(RuntimeError):
        function(lib, lambda ctx, x: x * 2, lambda ctx, g: lib.ones(3)).apply(x).sum().backward()


@both
def test_once_differentiable(lib):
    recording = []

    def backward(ctx, g):
        recording.append(lib.is_grad_enabled())
        (x,) = ctx.saved_tensors
        return g * 3 * x * x

    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    made = function(lib, forward, lib.autograd.function.once_differentiable(backward))
    x, scale = leaf(lib, 1, 2), leaf(lib, 1, 1)
    (g,) = lib.autograd.grad(made.apply(x), x, scale, create_graph=True)
    assert g.tolist() == [3, 12] and recording == [False]
    with pytest.raises(RuntimeError, match="once_differentiable"):
        g.sum().backward()


@both
def test_what_was_saved_is_given_up_by_backward(lib):
    contexts = []

    def forward(ctx, x):
        ctx.save_for_backward(x, None)
        contexts.append(ctx)
        return x**3

    def backward(ctx, g):
        x, _ = ctx.saved_tensors
        return g * 3 * x * x

    y = function(lib, forward, backward).apply(leaf(lib, 1, 2)).sum()
    y.backward(retain_graph=True)
    y.backward()
    for again in (y.backward, lambda: contexts[0].saved_tensors):
        with pytest.raises(RuntimeError, match="retain_graph=True"):
            again()


def test_only_tensors_are_saved():
    def forward(ctx, x):
        ctx.save_for_backward([x])
        return x * 2

    with pytest.raises(ArgumentError, match="save_for_backward: takes tensors and None, got list"):
        function(dg, forward, lambda ctx, g: g).apply(leaf(dg, 1))
