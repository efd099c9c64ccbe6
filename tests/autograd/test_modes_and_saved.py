"""Inference mode, saved-tensor hooks, recomputation."""

import gc

import pytest
import torch

import duograph as dg
from duograph.autograd.graph import disable_saved_tensors_hooks, save_on_cpu, saved_tensors_hooks
from duograph.errors import ArgumentError, CaptureError, GradError
from duograph.utils.checkpoint import checkpoint, checkpoint_sequential


def leaf(*values):
    return dg.tensor([float(v) for v in values], requires_grad=True)


# ---- inference mode ---------------------------------------------------------------------------------------------------


def test_tensors_made_in_inference_mode_cannot_be_saved_for_a_gradient():
    with dg.inference_mode():
        made = dg.ones(2) * 3
        assert dg.is_inference_mode_enabled() and not dg.is_grad_enabled()
    assert made.is_inference() and not dg.is_inference_mode_enabled() and dg.is_grad_enabled()
    x = leaf(1, 2)
    with pytest.raises(GradError, match="mul: a tensor made in inference_mode cannot be saved for the gradient") as error:
        x * made
    assert "x * made" in str(error.value) and "clone" in str(error.value)
    (x + made).sum().backward()  # addition saves nothing
    assert x.grad.tolist() == [1, 1]
    (x * made.clone()).sum().backward()
    assert x.grad.tolist() == [4, 4]
    assert not (made * 2).is_inference()


def test_inference_mode_agrees_with_torch():
    def states(lib, ones):
        found = []
        p = ones(2)
        p.requires_grad_()
        with lib.inference_mode():
            y = p * 2
            view = p[:1]
            with lib.enable_grad():
                again = p * 2
            found += [
                y.is_inference(),
                y.requires_grad,
                view.is_inference(),
                again.requires_grad,
                lib.is_inference_mode_enabled(),
            ]
            with lib.inference_mode(False):
                inner = p * 2
                found += [inner.is_inference(), inner.requires_grad, lib.is_grad_enabled()]
        found += [y[:1].is_inference(), y.detach().is_inference(), y.clone().is_inference()]
        for refused in (lambda: y.add_(1), lambda: y.requires_grad_(), lambda: p * y):
            try:
                refused()
                found.append("went")
            except RuntimeError:
                found.append("refused")
        with lib.no_grad():
            found.append((p * y).is_inference())
        with lib.inference_mode():
            y.add_(1)
        return found

    assert states(dg, dg.ones) == states(torch, torch.ones)


def test_inference_mode_as_decorator_and_in_static_functions():
    @dg.inference_mode()
    def f(x):
        return x * 2

    @dg.inference_mode
    def g(x):
        return x * 2

    x = leaf(1, 2)
    assert f(x).is_inference() and g(x).is_inference() and not f(x).requires_grad

    @dg.static
    def h(x):
        with dg.inference_mode():
            fixed = x * 2
        return (x + fixed).sum()

    y = h(x)
    y.backward()
    assert y.item() == 9 and x.grad.tolist() == [1, 1]

    s = dg.static(lambda x: x * 3)
    with dg.inference_mode(), dg.enable_grad():
        assert not s(x).requires_grad
    assert s(x).requires_grad


# ---- saved-tensor hooks -----------------------------------------------------------------------------------------------


def test_hooks_pack_what_is_saved_as_in_torch():
    def run(lib, tensor):
        packed, unpacked = [], []

        def pack(t):
            packed.append(t.tolist())
            return len(packed) - 1, t

        def unpack(kept):
            unpacked.append(kept[0])
            return kept[1]

        x = tensor([1.0, 2.0], requires_grad=True)
        w = tensor([3.0, 4.0], requires_grad=True)
        with lib.autograd.graph.saved_tensors_hooks(pack, unpack):
            y = (x * w).exp().sum()
        z = y * x.sum()
        z.backward(retain_graph=True)
        first = len(unpacked)
        z.backward()
        return sorted(packed), first, len(unpacked), x.grad.tolist(), w.grad.tolist()

    ours, theirs = run(dg, dg.tensor), run(torch, torch.tensor)
    for a, b in zip(ours, theirs):
        assert a == pytest.approx(b, rel=1e-5) if not isinstance(a, list) or not isinstance(a[0], list) else True
    assert len(ours[0]) == len(theirs[0]) == 3


def test_packed_values_may_be_anything_and_differentiate_twice():
    x = leaf(1, 2)
    with saved_tensors_hooks(lambda t: t.tolist(), dg.tensor):
        y = (x**3).sum()
    (g,) = dg.autograd.grad(y, x, create_graph=True)
    (h,) = dg.autograd.grad(g.sum(), x)
    assert g.tolist() == [3, 12] and h.tolist() == [6, 12]


def test_packed_values_are_given_up_by_backward():
    class Kept:
        alive = 0

        def __init__(self, tensor):
            self.tensor = tensor
            Kept.alive += 1

        def __del__(self):
            Kept.alive -= 1

    x = leaf(1, 2)
    with saved_tensors_hooks(Kept, lambda kept: kept.tensor):
        y = (x.exp() * x).sum()
    assert Kept.alive == 3
    y.backward()
    assert Kept.alive == 0
    with pytest.raises(GradError, match="freed"):
        y.backward()
    with saved_tensors_hooks(Kept, lambda kept: kept.tensor):
        y = (x.exp() * x).sum()
    del y
    gc.collect()
    assert Kept.alive == 0


def test_hooks_of_functions_with_their_own_gradient_and_of_static_functions():
    class Square(dg.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            y = x * x
            ctx.save_for_backward(x, y)
            return y

        @staticmethod
        def backward(ctx, g):
            x, y = ctx.saved_tensors
            return g * 2 * x + 0 * y

    x = leaf(1, 2)
    seen = []

    def pack(t):
        seen.append(tuple(t.shape))
        return t.clone() * 1

    with saved_tensors_hooks(pack, lambda t: t):
        y = Square.apply(x)
    y.sum().backward()
    assert x.grad.tolist() == [2, 4] and len(seen) == 2

    f = dg.static(lambda x: (x.exp() * x).sum())
    x.grad = None
    f(x).backward()
    plain, x.grad, seen[:] = x.grad, None, []
    with saved_tensors_hooks(pack, lambda t: t + 0):
        y = f(x)
    assert seen
    y.backward()
    assert x.grad.tolist() == plain.tolist()
    doubled = saved_tensors_hooks(lambda t: t, lambda t: t * 2)
    x.grad = None
    with doubled:
        y = f(x)
    y.backward()
    assert x.grad.tolist() != plain.tolist()  # what unpack gives is what the gradient reads


def test_errors_of_hooks():
    x = leaf(1, 2)
    with pytest.raises(ArgumentError, match="unpack must be a function"):
        saved_tensors_hooks(lambda t: t, None)
    with saved_tensors_hooks(lambda t: t, lambda t: t[:1]):
        y = x.exp()
    with pytest.raises(GradError, match=r"exp: unpack of saved_tensors_hooks gave float32\[1\]"):
        y.sum().backward()
    with saved_tensors_hooks(lambda t: t, lambda t: 3):
        y = x.exp()
    with pytest.raises(GradError, match="gave int, not a Tensor"):
        y.sum().backward()

    def broken(t):
        raise KeyError("no room")

    with saved_tensors_hooks(broken, lambda t: t), pytest.raises(KeyError, match="no room"):
        x.exp()
    x.exp().sum().backward()  # nothing is left behind
    assert x.grad is not None

    @dg.static
    def captured(x):
        with saved_tensors_hooks(lambda t: t, lambda t: t):
            return x.exp()

    with pytest.raises(CaptureError, match="saved_tensors_hooks"):
        captured(x)
    with (
        disable_saved_tensors_hooks("not here"),
        pytest.raises(GradError, match="not here"),
        saved_tensors_hooks(lambda t: t, lambda t: t),
    ):
        pass


def test_save_on_cpu():
    x = leaf(1, 2)
    with save_on_cpu():
        y = x.exp().sum()
    y.backward()
    assert x.grad.tolist() == x.exp().tolist()


# ---- recomputation ----------------------------------------------------------------------------------------------------


def network(p=0.5):
    dg.manual_seed(3)
    return dg.nn.Sequential(dg.nn.Linear(4, 16), dg.nn.Tanh(), dg.nn.Dropout(p), dg.nn.Linear(16, 4), dg.nn.GELU())


@pytest.mark.parametrize("early_stop", [True, False])
def test_checkpoint_gives_the_same_gradients_with_the_same_random_numbers(early_stop):
    def run(use):
        net = network()
        x = dg.randn(8, 4, requires_grad=True)
        out = checkpoint(net, x, early_stop=early_stop) if use else net(x)
        after = dg.rand(1).item()
        (out * out).sum().backward()
        assert dg.rand(1).item() != after
        return [x.grad.tolist(), after, *(p.grad.tolist() for p in net.parameters())]

    assert run(True) == run(False)


def test_checkpoint_runs_the_function_once_more_for_each_backward():
    calls = []

    def f(x, scale=1.0):
        calls.append(1)
        return (x.exp() * x * scale).tanh()

    x = leaf(0.1, 0.2)
    y = checkpoint(f, x, scale=2.0).sum()
    assert len(calls) == 1
    y.backward(retain_graph=True)
    assert len(calls) == 2
    first = x.grad.clone()
    y.backward()
    assert len(calls) == 3 and x.grad.tolist() == (first * 2).tolist()
    x.grad = None
    f(x, 2.0).sum().backward()
    assert x.grad.tolist() == first.tolist()


def test_checkpoints_nest_and_differentiate_twice():
    w = leaf(0.5, 0.25)

    def inner(x):
        return (x * w).sin().exp()

    def outer(x):
        return checkpoint(inner, x.tanh() * 2) * x.cos()

    x = leaf(1, 2)
    (g,) = dg.autograd.grad(checkpoint(outer, x).sum(), x, create_graph=True)
    (h,) = dg.autograd.grad(g.pow(2).sum(), w)
    (g2,) = dg.autograd.grad((((x.tanh() * 2) * w).sin().exp() * x.cos()).sum(), x, create_graph=True)
    (h2,) = dg.autograd.grad(g2.pow(2).sum(), w)
    assert g.tolist() == g2.tolist() and h.tolist() == h2.tolist()


def test_checkpoint_keeps_less():
    x = dg.randn(1 << 16, requires_grad=True)

    def block(x):
        for _ in range(8):
            x = (x * 1.01).sin().exp().tanh()
        return x

    def kept(run):
        y = run()
        before = dg.memory_stats()["allocated"]
        del y
        return before - dg.memory_stats()["allocated"]

    size = x.nbytes
    assert kept(lambda: block(x)) > 16 * size
    assert kept(lambda: checkpoint(block, x)) <= 2 * size


def test_checkpoint_notices_another_second_run_and_overwritten_arguments():
    times = []

    def changing(x):
        times.append(1)
        return (x.exp() if len(times) == 1 else x.exp()[:1]) * x

    x = leaf(1, 2)
    y = checkpoint(changing, x)
    with pytest.raises(GradError, match=r"value \d that .*changing saves was float32\[2\] in forward and is float32\[1\]"):
        y.sum().backward()

    def fewer(x):
        times.append(1)
        return x.exp() * x if len(times) == 1 else x.exp()

    times.clear()
    y = checkpoint(fewer, x)
    with pytest.raises(GradError, match="saved 3 values in forward, 1 when it ran again"):
        y.sum().backward()

    h = x * 2
    y = checkpoint(lambda h: h.exp(), h)
    h.detach().add_(1)
    with pytest.raises(GradError, match="overwritten"):
        y.sum().backward()
    with pytest.raises(ArgumentError, match="expected a function"):
        checkpoint(3, x)


def test_checkpoint_in_a_static_training_step():
    def run(static, use):
        net = network()
        optimizer = dg.optim.SGD(net.parameters(), lr=0.1)
        dg.manual_seed(5)

        def step(x):
            optimizer.zero_grad()
            out = checkpoint(net, x) if use else net(x)
            loss = (out * out).mean()
            loss.backward()
            optimizer.step()
            return loss

        step = dg.static(step, strict=True) if static else step
        x = dg.randn(8, 4)
        return [step(x).item() for _ in range(3)]

    assert run(True, True) == run(False, True) == run(False, False)


@pytest.mark.parametrize("segments", [1, 2, 3, 5, 9])
def test_checkpoint_sequential(segments):
    net, x = network(0.0), dg.ones(2, 4, requires_grad=True)
    net(x).sum().backward()
    expected, x.grad = x.grad.tolist(), None
    checkpoint_sequential(net, segments, x).sum().backward()
    assert x.grad.tolist() == expected


def test_saved_outputs_that_nobody_holds_keep_their_place():
    """A gradient that is differentiated again goes through the outputs that forward saved, also when they are gone."""

    class Both(dg.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            square, triple = x * x, x * 3
            ctx.save_for_backward(square, triple)
            return square, triple

        @staticmethod
        def backward(ctx, to_square, to_triple):
            _, triple = ctx.saved_tensors
            return to_square * triple * (2 / 3) + to_triple * 3

    x = dg.tensor([2.0], requires_grad=True)
    for keep in (True, False):
        outputs = Both.apply(x)
        total = sum(y * 1.0 for y in outputs).sum()
        if not keep:
            del outputs
        (slope,) = dg.autograd.grad(total, [x], create_graph=True)
        assert slope.item() == 7
        (second,) = dg.autograd.grad(slope.sum(), [x])
        assert second.item() == 2, keep
