"""Whole training steps as static programs: the same bits as dynamic mode under strict, gradients and state included."""

import numpy as np
import pytest
from both_modes import same

import duograph as dg
import duograph.nn as nn


class Net(nn.Module):
    def __init__(self, scale=1.0):
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.second = nn.Linear(8, 3)
        self.scale = scale
        self.flip = False

    def forward(self, x):
        h = dg.relu(self.first(x)) * self.scale
        return -self.second(h) if self.flip else self.second(h)


OPTIMISERS = {
    "sgd": lambda p: dg.optim.SGD(p, lr=0.1),
    "momentum": lambda p: dg.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda p: dg.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: dg.optim.Adam(p, lr=1e-2),
    "adamw": lambda p: dg.optim.AdamW(p, lr=1e-2),
}


class Training:
    """A net, an optimiser and a step over them."""

    def __init__(self, optimiser="sgd", static=None):
        dg.manual_seed(0)
        self.model, self.loss_fn = Net(), nn.MSELoss()
        self.optimiser = OPTIMISERS[optimiser](self.model.parameters())
        model, loss_fn, optimizer = self.model, self.loss_fn, self.optimiser

        def step(x, y):
            loss = loss_fn(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        self.step = step if static is None else dg.static(step, **static)
        self.x, self.y = dg.randn(5, 6), dg.randn(5, 3)

    def tensors(self):
        found = [*self.model.parameters(), *(p.grad for p in self.model.parameters())]
        for p in self.model.parameters():
            found += [v for v in self.optimiser.state.get(p, {}).values() if isinstance(v, dg.Tensor)]
        return found


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_strict_steps_give_the_dynamic_bits(optimiser):
    ours, theirs = Training(optimiser, {"strict": True}), Training(optimiser)
    for i in range(6):
        if i == 3:
            for t in (ours, theirs):
                t.optimiser.param_groups[0]["lr"] *= 0.5
        same(ours.step(ours.x, ours.y), theirs.step(theirs.x, theirs.y))
        for a, b in zip(ours.tensors(), theirs.tensors(), strict=True):
            same(a, b)
    assert ours.step.captures == 1


def test_default_steps_are_close():
    ours, theirs = Training("adam", {}), Training("adam")
    for _ in range(5):
        a, b = ours.step(ours.x, ours.y), theirs.step(theirs.x, theirs.y)
        np.testing.assert_allclose(a.item(), b.item(), rtol=1e-5)


def test_module_changes_capture_again_and_numbers_do_not():
    dg.manual_seed(0)
    model = Net()
    static = dg.static(model, strict=True)
    x = dg.randn(2, 6)
    same(static(x), model(x))
    model.scale = 3.0
    same(static(x), model(x))
    assert static.captures == 1
    model.flip = True
    same(static(x), model(x))
    model.second = nn.Linear(8, 3)
    same(static(x), model(x))
    model.eval()
    same(static(x), model(x))
    assert static.captures == 4
    model.train()
    same(static(x), model(x))
    Net()  # another Module changes nothing
    same(static(x), model(x))
    assert static.captures == 4
    model.load_state_dict(Net().state_dict())
    same(static(x), model(x))
    assert static.captures == 4
    assert [n for n, _ in static.named_parameters()] == [n for n, _ in model.named_parameters()]


def test_gradients_accumulate_as_in_dynamic_mode():
    def run(static):
        dg.manual_seed(1)
        model = Net()
        x = dg.randn(4, 6)

        def accumulate(x):
            loss = (model(x) ** 2).sum()
            loss.backward()
            return loss

        call = dg.static(accumulate, strict=True) if static else accumulate
        for i in range(4):
            if i == 2:
                model.first.weight.grad = None
            call(x)
        return model

    ours, theirs = run(True), run(False)
    for a, b in zip(ours.parameters(), theirs.parameters()):
        same(a.grad, b.grad)


def test_static_functions_take_part_in_the_tape():
    def run(make):
        dg.manual_seed(2)
        model = Net()
        forward = make(model)
        x = dg.randn(4, 6)
        x.requires_grad_()
        loss = 0.0
        for _ in range(2):
            loss = loss + (forward(x) * 2).sum()
        loss.backward()
        return [x.grad, *(p.grad for p in model.parameters())]

    for a, b in zip(run(lambda m: dg.static(m, strict=True)), run(lambda m: m)):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-6)


def test_no_grad_results_are_not_recorded():
    model = Net()
    static = dg.static(model)
    x = dg.randn(2, 6)
    with dg.no_grad():
        assert not static(x).requires_grad
    assert static(x).requires_grad and static.captures == 2


def test_second_order_through_a_static_function():
    def f(x, k):
        return (x * x * x * k).sum()

    static = dg.static(f)
    x = dg.tensor([1.0, 2.0], requires_grad=True)
    (first,) = dg.autograd.grad(static(x, 2.0), x, create_graph=True)
    (second,) = dg.autograd.grad(first.sum(), x)
    np.testing.assert_allclose(first.detach().numpy(), [6.0, 24.0])
    np.testing.assert_allclose(second.numpy(), [12.0, 24.0])


def test_gradient_inside_a_static_function():
    def f(x):
        y = (x * x * x).sum()
        (g,) = dg.autograd.grad(y, x, create_graph=True)
        return y, (g * g).sum()

    static = dg.static(f, strict=True)
    x = dg.tensor([1.0, 2.0], requires_grad=True)
    for a, b in zip(static(x), f(x)):
        same(a, b)
    static(x)[1].backward()
    got, x.grad = x.grad, None
    f(x)[1].backward()
    np.testing.assert_allclose(got.numpy(), x.grad.numpy(), rtol=1e-6)


def test_overwritten_values_are_noticed():
    static = dg.static(lambda x, w: (x * w).sum())
    w = dg.tensor([1.0, 2.0], requires_grad=True)
    x = dg.tensor([3.0, 4.0])
    loss = static(x, w)
    x.add_(1)
    with pytest.raises(dg.errors.GradError, match="overwritten"):
        loss.backward()


def test_hooks_of_modules_and_user_modules_in_sequential():
    class Double(nn.Module):
        factor = 2.0

        def forward(self, x):
            return x * self.factor

    double = Double()
    model = nn.Sequential(nn.Linear(3, 3), double, nn.ReLU())
    static = dg.static(model, strict=True)
    x = dg.randn(2, 3)
    same(static(x), model(x))
    double.factor = 5.0
    same(static(x), model(x))
    handle = model[0].register_forward_hook(lambda module, args, out: out + 1)
    same(static(x), model(x))
    handle.remove()
    same(static(x), model(x))


def test_dropout_draws_the_same_numbers():
    model = nn.Sequential(nn.Linear(4, 16), nn.Dropout(0.5))
    static = dg.static(model, strict=True)
    x = dg.randn(3, 4)
    for _ in range(3):
        state = dg._core.get_rng_state()
        got = static(x)
        after = dg._core.get_rng_state()
        dg._core.set_rng_state(*state)
        same(got, model(x))
        assert dg._core.get_rng_state() == after
    assert static.captures == 1
    model.eval()
    same(static(x), model(x))


def test_lazily_made_state_needs_two_captures_at_most():
    class Running(nn.Module):
        def __init__(self):
            super().__init__()
            self.mean = None

        def forward(self, x):
            if self.mean is None:
                self.mean = dg.zeros(3)
            self.mean = self.mean * 0.9 + x * 0.1
            return self.mean

    ours, theirs = Running(), Running()
    static = dg.static(ours, strict=True)
    for i in range(4):
        x = dg.full((3,), float(i))
        same(static(x), theirs(x))
    assert static.captures == 2
    same(ours.mean, theirs.mean)


def test_ten_thousand_steps_do_not_grow_memory():
    training = Training("adam", {})
    for _ in range(100):
        training.step(training.x, training.y)
    before = dg._core.memory_stats()["allocated"]
    for _ in range(2000):
        training.step(training.x, training.y)
    assert dg._core.memory_stats()["allocated"] <= before


def test_a_module_class_can_be_static():
    @dg.static
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 3)
            self.k = 2.0

        def forward(self, x):
            return self.linear(x) * self.k

    model = Scaled()
    x = dg.randn(2, 3)
    first = model(x)
    with dg.dynamic_mode():
        same(first, model(x))
    model.k = 3.0
    with dg.dynamic_mode():
        expected = model(x)
    same(model(x), expected)
    assert Scaled.forward.captures == 1


def test_gradients_of_arguments_are_written():
    w = dg.tensor([1.0, 2.0], requires_grad=True)

    @dg.static(strict=True)
    def step(x, v):
        loss = (x * v * w).sum()
        loss.backward()
        return loss

    for _ in range(2):
        w.grad = None
        x, v = dg.tensor([3.0, 4.0], requires_grad=True), dg.tensor([5.0, 6.0])
        step(x, v)
        assert x.grad.tolist() == [5, 12] and w.grad.tolist() == [15, 24] and v.grad is None
    assert step.captures == 1


def test_parameters_frozen_between_calls_capture_again():
    model = Net()
    static = dg.static(lambda x: model(x).sum(), strict=True)
    x = dg.randn(2, 6)
    static(x).backward()
    for p in model.parameters():
        p.requires_grad_(False)
    assert not static(x).requires_grad and static.captures == 2


def test_weight_data_may_be_exchanged():
    model = nn.Linear(2, 2)
    static = dg.static(model, strict=True)
    x = dg.randn(3, 2)
    static(x)
    model.weight.data = dg.ones(2, 2)
    same(static(x), model(x))
    assert static.captures == 1


def test_gradient_hooks_are_part_of_a_capture():
    model = nn.Linear(2, 2)
    x = dg.randn(3, 2)

    def loss():
        total = (model(x) ** 2).sum()
        total.backward()
        return model.weight.grad

    static = dg.static(loss, strict=True)

    def both():
        model.weight.grad = model.bias.grad = None
        got = static()
        model.weight.grad = model.bias.grad = None
        same(got, loss())

    both()
    model.weight.register_hook(lambda g: g * 10)
    both()
    both()
    assert static.captures == 2
