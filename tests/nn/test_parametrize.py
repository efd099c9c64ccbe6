"""Parametrizations, against torch, in both modes."""

import numpy as np
import pytest
import torch

import duograph as dg
from duograph.errors import ArgumentError, DimensionError, DomainError


def tools(lib):
    return lib.nn.utils.parametrize


def linear(lib, rows=3, columns=3):
    net = lib.nn.Linear(columns, rows)
    with lib.no_grad():
        for i, p in enumerate(net.parameters()):
            p.copy_((lib.arange(p.numel()).reshape(p.shape) + i) * 0.1 - 0.25)
    return net


def modules(lib):
    class Symmetric(lib.nn.Module):
        def forward(self, x):
            return x.triu() + x.triu(1).mT

        def right_inverse(self, a):
            return a.triu()

    class Doubled(lib.nn.Module):
        def forward(self, x):
            return x * 2

        def right_inverse(self, x):
            return x / 2

    class Sum(lib.nn.Module):
        def forward(self, a, b):
            return a + b

        def right_inverse(self, x):
            return x * 0.25, x * 0.75

    class Plain(lib.nn.Module):
        def forward(self, x):
            return x.tanh()

    return Symmetric, Doubled, Sum, Plain


def seen(value):
    return np.asarray(value.detach().tolist())


def agree(run):
    ours, theirs = run(dg), run(torch)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs):
        if isinstance(a, (str, list, tuple, bool, type(None))):
            assert a == b
        else:
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_register_use_set_and_remove():
    def run(lib):
        Symmetric, Doubled, _Sum, Plain = modules(lib)
        p, net, found = tools(lib), linear(lib), []
        weight = net.weight
        p.register_parametrization(net, "weight", Symmetric())
        found += [type(net).__name__, isinstance(net, lib.nn.Linear), p.is_parametrized(net), p.is_parametrized(net, "bias")]
        found += [seen(net.weight), net.parametrizations.weight.original is weight, sorted(net.state_dict())]
        p.register_parametrization(net, "weight", Doubled())
        found += [seen(net.weight), seen(net.parametrizations.weight.original), len(net.parametrizations.weight)]
        net.weight = lib.ones(3, 3) * 5
        found += [seen(net.weight), seen(weight)]
        p.register_parametrization(net, "bias", Plain())
        found += [seen(net.bias), seen(net(lib.ones(2, 3)))]
        (net(lib.ones(2, 3)) ** 2).sum().backward()
        found += [seen(weight.grad), [name for name, _ in net.named_parameters()]]
        p.remove_parametrizations(net, "weight")
        found += [net.weight is weight, seen(net.weight), p.is_parametrized(net), type(net).__name__]
        p.remove_parametrizations(net, "bias", leave_parametrized=False)
        found += [seen(net.bias), p.is_parametrized(net), type(net).__name__, sorted(net.state_dict())]
        return found

    agree(run)


def test_several_originals_and_buffers():
    def run(lib):
        _Symmetric, Doubled, Sum, Plain = modules(lib)
        p, net, found = tools(lib), linear(lib), []
        p.register_parametrization(net, "weight", Sum())
        found += [seen(net.weight), sorted(net.state_dict()), seen(net.parametrizations.weight.original1)]
        p.register_parametrization(net, "weight", Doubled())
        net.weight = lib.ones(3, 3)
        found += [seen(net.weight), seen(net.parametrizations.weight.original0)]
        p.remove_parametrizations(net, "weight")
        found += [seen(net.weight), isinstance(net.weight, lib.nn.Parameter)]
        net.register_buffer("scale", lib.ones(2) * 3)
        p.register_parametrization(net, "scale", Plain())
        found += [seen(net.scale), sorted(net.state_dict()), len(list(net.parameters()))]
        return found

    agree(run)


def test_values_are_kept_inside_of_cached():
    calls = []

    class Counted(dg.nn.Module):
        def forward(self, x):
            calls.append(1)
            return x * 2

    p, net = tools(dg), linear(dg)
    p.register_parametrization(net, "weight", Counted())
    calls.clear()
    with p.cached():
        first = net.weight
        with p.cached():
            assert net.weight is first
        assert net.weight is first and len(calls) == 1
    assert net.weight is not first and len(calls) == 2
    f = dg.static(lambda x: net(x) + net(x))
    with p.cached():
        before = f(dg.ones(1, 3)).tolist()
        with dg.no_grad():
            net.parametrizations.weight.original.zero_()
        assert f(dg.ones(1, 3)).tolist() != before


def test_training_in_both_modes():
    def run(static):
        Symmetric, Doubled, _Sum, _Plain = modules(dg)
        net = dg.nn.Sequential(linear(dg), dg.nn.Tanh(), linear(dg))
        tools(dg).register_parametrization(net[0], "weight", Symmetric())
        dg.nn.utils.parametrizations.weight_norm(net[2])
        optimizer = dg.optim.SGD(net.parameters(), lr=0.1)

        def step(x):
            optimizer.zero_grad()
            loss = (net(x) ** 2).sum() + (net[0].weight ** 2).sum()
            loss.backward()
            optimizer.step()
            return loss

        step = dg.static(step, strict=True) if static else step
        losses = [step(dg.ones(4, 3)).item() for _ in range(3)]
        tools(dg).register_parametrization(net[0], "weight", Doubled())
        losses += [step(dg.ones(4, 3)).item() for _ in range(2)]
        return losses

    assert run(True) == run(False)


def test_a_capture_notices_that_parametrizations_come_and_go():
    Symmetric, _Doubled, _, Plain = modules(dg)
    net = linear(dg)
    f = dg.static(lambda x: net(x))
    g = dg.static(lambda x: x @ net.weight.T)

    def check():
        x = dg.ones(2, 3)
        np.testing.assert_allclose(f(x).detach().numpy(), net(x).detach().numpy(), rtol=1e-5)
        np.testing.assert_allclose(g(x).detach().numpy(), (x @ net.weight.T).detach().numpy(), rtol=1e-5)

    check()
    tools(dg).register_parametrization(net, "weight", Symmetric())
    check()
    tools(dg).register_parametrization(net, "weight", Plain())
    check()
    tools(dg).remove_parametrizations(net, "weight")
    check()


@pytest.mark.parametrize("dim", [0, 1, -1, None])
def test_weight_norm(dim):
    def run(lib):
        net = lib.nn.utils.parametrizations.weight_norm(linear(lib, 2, 4), dim=dim)
        x = lib.ones(3, 4)
        (net(x) ** 2).sum().backward()
        kept = net.parametrizations.weight
        found = [
            seen(net.weight),
            seen(kept.original0),
            seen(kept.original1),
            seen(kept.original0.grad),
            seen(kept.original1.grad),
        ]
        net.weight = lib.ones(2, 4) * 3
        return [*found, seen(net.weight), seen(kept.original0), tuple(kept.original0.shape)]

    agree(run)


@pytest.mark.parametrize("dim", [None, 1])
def test_spectral_norm(dim):
    def run(lib):
        net = lib.nn.utils.parametrizations.spectral_norm(linear(lib, 3, 4), n_power_iterations=2, dim=dim)
        kept = net.parametrizations.weight
        rows, columns = (3, 4) if dim is None else (4, 3)
        with lib.no_grad():
            kept[0]._u.copy_(lib.arange(rows) + 1.0)
            kept[0]._v.copy_(lib.arange(columns) + 1.0)
        x = lib.ones(2, 4)
        (net(x) ** 2).sum().backward()
        net.eval()
        return [seen(net.weight), seen(net.weight), seen(kept.original.grad), seen(kept[0]._u), sorted(net.state_dict())]

    agree(run)


def test_spectral_norm_in_a_static_step():
    def run(static):
        dg.manual_seed(1)
        net = dg.nn.utils.parametrizations.spectral_norm(linear(dg, 3, 4))

        def step(x):
            net.zero_grad()
            loss = (net(x) ** 2).sum()
            loss.backward()
            return loss

        step = dg.static(step, strict=True) if static else step
        losses = [step(dg.ones(4, 4)).item() for _ in range(3)]
        return losses, net.parametrizations.weight[0]._u.tolist(), net.parametrizations.weight.original.grad.tolist()

    assert run(True) == run(False)


def test_the_norm_is_that_of_the_greatest_singular_value():
    dg.manual_seed(0)
    net = dg.nn.Linear(8, 5)
    largest = np.linalg.svd(net.weight.detach().numpy())[1][0]
    before = net.weight.detach().numpy().copy()
    net = dg.nn.utils.parametrizations.spectral_norm(net, n_power_iterations=50)
    np.testing.assert_allclose(net.weight.detach().numpy(), before / largest, rtol=1e-3)


def test_errors():
    Symmetric, *_ = modules(dg)
    p, net = tools(dg), linear(dg)

    class Smaller(dg.nn.Module):
        def forward(self, x):
            return x[:1]

    with pytest.raises(ArgumentError, match="no parameter, buffer or parametrized tensor 'wait'"):
        p.register_parametrization(net, "wait", Symmetric())
    with pytest.raises(DomainError, match=r"makes float32\[1, 3\] of float32\[3, 3\]"):
        p.register_parametrization(net, "weight", Smaller())
    assert not p.is_parametrized(net) and tuple(net.weight.shape) == (3, 3)
    p.register_parametrization(net, "weight", Smaller(), unsafe=True)
    assert tuple(net.weight.shape) == (1, 3)
    with pytest.raises(ArgumentError, match="not parametrized"):
        p.remove_parametrizations(net, "bias")
    other = dg.nn.utils.parametrizations.weight_norm(linear(dg))
    with pytest.raises(DomainError, match="several"):
        p.remove_parametrizations(other, "weight", leave_parametrized=False)
    with pytest.raises(DimensionError, match="out of range"):
        dg.nn.utils.parametrizations.weight_norm(linear(dg), dim=2)
    with pytest.raises(ArgumentError, match="no parameter or buffer"):
        dg.nn.utils.parametrizations.spectral_norm(linear(dg), "wait")
    with pytest.raises(DomainError, match="at least 1"):
        dg.nn.utils.parametrizations.spectral_norm(linear(dg), n_power_iterations=0)


@pytest.mark.parametrize("lib", [pytest.param(torch, id="torch"), pytest.param(dg, id="duograph")])
def test_parametrizations_are_transferred(lib):
    parametrize = lib.nn.utils.parametrize

    class Doubled(lib.nn.Module):
        def forward(self, w):
            return w * 2

    first, second = lib.nn.Linear(2, 2), lib.nn.Linear(2, 2)
    parametrize.register_parametrization(first, "weight", Doubled())
    assert parametrize.transfer_parametrizations_and_params(first, second) is second
    assert second.weight.tolist() == first.weight.tolist() and parametrize.is_parametrized(second, "weight")


@pytest.mark.parametrize("lib", [pytest.param(torch, id="torch"), pytest.param(dg, id="duograph")])
def test_what_has_no_inverse_is_not_assigned(lib):
    class Doubled(lib.nn.Module):
        def forward(self, w):
            return w * 2

    module = lib.nn.Linear(2, 2)
    lib.nn.utils.parametrize.register_parametrization(module, "weight", Doubled())
    before = module.weight.tolist()
    with pytest.raises((RuntimeError, ArgumentError), match="right_inverse"):
        module.weight = lib.ones(2, 2)
    assert module.weight.tolist() == before


@pytest.mark.parametrize("kind", [None, "matrix_exp", "cayley", "householder"])
@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4)])
def test_orthogonal_as_in_torch(kind, shape):
    import torch

    def make(lib):
        layer = lib.nn.Linear(shape[1], shape[0], bias=False)
        return lib.nn.utils.parametrizations.orthogonal(layer, "weight", kind, use_trivialization=True)

    ours, theirs = make(dg), make(torch)
    weight = np.array(ours.weight.detach().tolist())
    product = weight @ weight.T if shape[0] <= shape[1] else weight.T @ weight
    np.testing.assert_allclose(product, np.eye(len(product)), atol=1e-5)
    parametrization, other = ours.parametrizations.weight, theirs.parametrizations.weight
    start = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
    with dg.no_grad():
        parametrization.original.copy_(dg.tensor(start))
    with torch.no_grad():
        other.original.copy_(torch.tensor(start))
        other[0].base.copy_(torch.tensor(parametrization[0].base.tolist()))
    np.testing.assert_allclose(ours.weight.tolist(), theirs.weight.tolist(), rtol=2e-4, atol=2e-5)
    for lib, layer in ((dg, ours), (torch, theirs)):
        (layer.weight * lib.arange(float(shape[0] * shape[1])).reshape(shape)).sum().backward()
    np.testing.assert_allclose(parametrization.original.grad.tolist(), other.original.grad.tolist(), rtol=2e-3, atol=2e-4)


def test_orthogonal_without_a_base():
    layer = dg.nn.utils.parametrizations.orthogonal(dg.nn.Linear(2, 4), use_trivialization=False)
    q = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 2)))[0].astype(np.float32)
    layer.weight = dg.tensor(q)
    np.testing.assert_allclose(layer.weight.tolist(), q, atol=1e-5)
    with pytest.raises(dg.errors.DomainError, match="orthogonal_map must be"):
        dg.nn.utils.parametrizations.orthogonal(dg.nn.Linear(2, 2), orthogonal_map="qr")
