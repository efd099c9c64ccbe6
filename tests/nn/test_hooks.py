"""Hooks of Modules, against torch, in both modes."""

import pytest
import torch

import duograph as dg
from duograph.errors import ArgumentError, GradError
from duograph.nn.state import StateError


def pair(lib):
    """A network with fixed weights."""
    net = lib.nn.Sequential(lib.nn.Linear(2, 3), lib.nn.Tanh(), lib.nn.Linear(3, 1))
    with lib.no_grad():
        for i, p in enumerate(net.parameters()):
            p.copy_((lib.arange(p.numel()).reshape(p.shape) + i) * 0.1 - 0.2)
    return net


def numbers(value):
    if isinstance(value, (tuple, list)):
        return [numbers(v) for v in value]
    return None if value is None else [round(x, 5) for x in value.detach().reshape(-1).tolist()]


class Scale:
    """A Module that takes keyword arguments; of either library."""

    def __new__(cls, lib):
        class Scaled(lib.nn.Module):
            def forward(self, x, *, by=2.0):
                return x * by

        return Scaled()


def both(run):
    ours, theirs = run(dg), run(torch)
    assert ours == theirs
    return ours


def test_order_of_forward_hooks_and_what_they_replace():
    def run(lib):
        net, log = Scale(lib), []
        net.register_forward_pre_hook(lambda m, a: log.append("a"))
        net.register_forward_pre_hook(lambda m, a: log.append("b") or (a[0] + 1), prepend=True)
        net.register_forward_pre_hook(
            lambda m, a, k: log.append(("c", sorted(k))) or (a, {**k, "by": 10.0}), with_kwargs=True, prepend=True
        )
        net.register_forward_hook(lambda m, a, o: log.append(("d", numbers(a))) or o + 5)
        net.register_forward_hook(lambda m, a, k, o: log.append(("e", k["by"], numbers(o))), with_kwargs=True)
        net.register_forward_hook(lambda m, a, o: log.append(("f", numbers(o))), prepend=True)
        log.append(numbers(net(lib.ones(2), by=3.0)))
        return log

    assert both(run)[0] == ("c", ["by"])


def test_hooks_that_are_always_called():
    def run(lib):
        class Failing(lib.nn.Module):
            def forward(self, x):
                raise KeyError("x")

        net, log = Failing(), []
        net.register_forward_hook(lambda m, a, o: log.append("not"))
        net.register_forward_hook(lambda m, a, o: log.append(("always", o)), always_call=True)
        with pytest.raises(KeyError):
            net(lib.ones(1))
        working = Scale(lib)
        working.register_forward_hook(lambda m, a, o: 1 / 0)
        working.register_forward_hook(lambda m, a, o: log.append(("always", numbers(o))), always_call=True)
        with pytest.raises(ZeroDivisionError):
            working(lib.ones(1))
        return log

    both(run)

    net = Scale(dg)

    def failing(m, a, o):
        raise ValueError("again")

    net.register_forward_pre_hook(lambda m, a: 1 / 0)
    net.register_forward_hook(failing, always_call=True)
    with pytest.raises(ZeroDivisionError), pytest.warns(UserWarning, match="silenced.*again"):
        net(dg.ones(1))


def test_full_backward_hooks():
    def run(lib):
        net, log = pair(lib), []
        net[0].register_full_backward_hook(lambda m, i, o: log.append(("first", numbers(i), numbers(o))))
        net[2].register_full_backward_hook(lambda m, i, o: log.append(("last", numbers(i), numbers(o))) or (i[0] * 2,))
        net[2].register_full_backward_pre_hook(lambda m, o: log.append(("before", numbers(o))) or (o[0] * 3,))
        net[1].register_full_backward_hook(lambda m, i, o: log.append("behind"))
        net[1].register_full_backward_hook(lambda m, i, o: log.append("in front"), prepend=True)
        x = lib.ones(4, 2, requires_grad=True)
        net(x).sum().backward()
        if lib is torch:
            import warnings

            warnings.simplefilter("ignore")  # that it fires without gradients of inputs
        net(lib.ones(4, 2)).sum().backward()  # no gradient for the input
        return log, numbers(x.grad), [numbers(p.grad) for p in net.parameters()]

    log, _, _ = both(run)
    assert len(log) == 10


def test_backward_hooks_of_several_inputs_and_outputs():
    def run(lib):
        class Two(lib.nn.Module):
            def forward(self, a, n, b):
                return a * b * n, b + 1

        net, log = Two(), []
        net.register_full_backward_hook(lambda m, i, o: log.append((numbers(i), numbers(o))) or (i[0], None, i[2] * 2))
        a, b = lib.ones(2, requires_grad=True), lib.ones(2) * 3
        b.requires_grad_()
        first, second = net(a, 2, b)
        (first.sum() + second.sum() * 5).backward()
        fixed = lib.ones(2)
        net(a, 2, fixed)[0].sum().backward()
        return log[:1], numbers(a.grad), numbers(b.grad)

    both(run)


def test_errors_of_hooks():
    net = Scale(dg)
    with pytest.raises(ArgumentError, match="a hook must be a function"):
        net.register_forward_hook(3)
    wrong = net.register_forward_pre_hook(lambda m, a, k: a, with_kwargs=True)
    with wrong, pytest.raises(ArgumentError, match=r"must return None or \(args, kwargs\)"):
        net(dg.ones(1))
    x = dg.ones(2, requires_grad=True)
    wrong = net.register_full_backward_hook(lambda m, i, o: (i[0], i[0]))
    with wrong, pytest.raises(GradError, match="returned 2 grad_input, expected 1"):
        net(x).sum().backward()
    linear = dg.nn.Linear(2, 2)
    with linear.register_full_backward_hook(lambda m, i, o: o), pytest.raises(GradError, match="no input requires grad"):
        linear(dg.ones(1, 2)).sum().backward()
    net(x).sum().backward()
    assert "_hooks" not in net.__dict__


def test_hooks_in_static_functions():
    def run(static):
        net, log = pair(dg), []
        optimizer = dg.optim.SGD(net.parameters(), lr=0.1)

        def step(x):
            optimizer.zero_grad()
            loss = (net(x) ** 2).sum()
            loss.backward()
            optimizer.step()
            return loss

        step = dg.static(step, strict=True) if static else step
        x = dg.ones(4, 2)

        def two():
            log.extend([step(x).item(), step(x).item()])

        two()
        one = net[0].register_forward_hook(lambda m, a, o: o * 2)
        two()
        two_more = net[2].register_full_backward_hook(lambda m, i, o: (i[0] * 0.5,))
        third = net[1].register_forward_pre_hook(lambda m, a, k: ((a[0] - 1,), k), with_kwargs=True, prepend=True)
        fourth = net[2].register_full_backward_pre_hook(lambda m, o: (o[0] * 0.25,))
        two()
        for handle in (one, two_more, third, fourth):
            handle.remove()
            two()
        return log

    assert run(True) == run(False)


def test_state_dict_hooks():
    def run(lib):
        net, log, before = pair(lib), [], []  # here all hooks before loading come before all hooks after it
        net[0].register_state_dict_pre_hook(lambda m, prefix, keep: log.append(("before", prefix, keep)))

        def rename(m, state, prefix, metadata):
            log.append(("after", prefix, sorted(state)))
            state[prefix + "w"] = state.pop(prefix + "weight")

        net[2].register_state_dict_post_hook(rename)
        net.register_state_dict_post_hook(lambda m, state, prefix, metadata: log.append(("root", prefix, sorted(state))))
        state = net.state_dict()

        def back(m, state, prefix, metadata, strict, missing, unexpected, errors):
            before.append((prefix, strict, missing, unexpected, errors))
            state[prefix + "weight"] = state.pop(prefix + "w")

        other = pair(lib)
        other[2].register_load_state_dict_pre_hook(back)
        other[0].register_load_state_dict_post_hook(lambda m, keys: log.append(("loaded", list(keys.missing_keys))))
        other.register_load_state_dict_post_hook(lambda m, keys: log.append("root loaded"))
        other.load_state_dict(state)
        log.append(sorted(state))
        return log, before

    both(run)


def test_a_hook_after_loading_may_forgive():
    def run(lib):
        net = pair(lib)
        state = {"0.weight": lib.zeros(3, 2), "more": lib.zeros(1)}
        with pytest.raises(RuntimeError):
            net.load_state_dict(state)
        handle = net.register_load_state_dict_post_hook(lambda m, keys: [names.clear() for names in keys] and None)
        net.load_state_dict(state)
        handle.remove()
        return [numbers(p) for p in net.parameters()]

    both(run)

    def told(m, state, prefix, metadata, strict, missing, unexpected, errors):
        errors.append("from the future")

    net = pair(dg)
    net[0].register_load_state_dict_pre_hook(told)
    before = numbers(net[0].weight)
    with pytest.raises(StateError, match="from the future"):
        net.load_state_dict({k: v * 0 for k, v in pair(dg).state_dict().items()}, strict=False)
    assert numbers(net[0].weight) == before


@pytest.mark.parametrize("lib", [pytest.param(torch, id="torch"), pytest.param(dg, id="duograph")])
def test_backward_hooks_of_results_that_are_not_all_tensors(lib):
    class Mixed(lib.nn.Module):
        def forward(self, x, k):
            return x * k, "name", None

    class Named(lib.nn.Module):
        def forward(self, x):
            return {"a": x * 2}

    log = []
    values = lambda gradients: [None if g is None else g.tolist() for g in gradients]  # noqa: E731
    x = lib.tensor([1.0, 2.0], requires_grad=True)
    mixed = Mixed()
    mixed.register_full_backward_hook(lambda module, into, out: log.append((values(into), values(out))))
    mixed(x, 3)[0].sum().backward()
    assert log == [([[3, 3], None], [[1, 1], None, None])]
    named = Named()
    named.register_full_backward_hook(lambda *_: log.append("called"))
    with pytest.warns(UserWarning, match="Tensor or a tuple"):
        made = named(x)
    made["a"].sum().backward()
    assert len(log) == 1 and x.grad.tolist() == [5, 5]


@pytest.mark.parametrize("lib", [dg, torch])
def test_hooks_of_what_modules_get(lib):
    module, seen = lib.nn.modules.module, []

    def note(kind, change=lambda value: None):
        def hook(owner, name, value):
            seen.append((kind, type(owner).__name__, name))
            return change(value)

        return hook

    handles = [
        module.register_module_parameter_registration_hook(note("parameter")),
        module.register_module_module_registration_hook(note("module")),
        module.register_module_buffer_registration_hook(note("buffer", lambda value: value + 1)),
    ]
    try:
        model = lib.nn.Sequential(lib.nn.Linear(2, 3))
        model.register_buffer("count", lib.zeros(2))
    finally:
        for handle in handles:
            handle.remove()
    model.extra = lib.nn.ReLU()
    assert seen == [
        ("parameter", "Linear", "weight"), ("parameter", "Linear", "bias"), ("module", "Sequential", "0"),
        ("buffer", "Sequential", "count"),
    ]  # fmt: skip
    assert model.count.tolist() == [1, 1]
