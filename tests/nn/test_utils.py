"""`nn.utils` and the rest of `Module`, against torch: old normalisations, fusion, pruning, state beside tensors."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.utils.prune

import duograph as dg
from duograph.errors import ArgumentError, DomainError

LIBRARIES = (dg, torch)


def filled(lib, module, scale=0.1):
    with lib.no_grad():
        for i, p in enumerate(module.parameters()):
            p.copy_(((lib.arange(p.numel()).reshape(p.shape) * 7 + i) % 11 - 4.5) * scale)
    return module


def values(x):
    return np.asarray(x.detach().tolist())


def same(ours, theirs):
    np.testing.assert_allclose(values(ours), values(theirs), rtol=1e-5, atol=1e-6)


def state_of(module):
    return {name: values(x) for name, x in module.state_dict().items()}


def trained(lib, module, run):
    """A step of SGD by what `run(module)` gives."""
    optimizer = lib.optim.SGD(module.parameters(), lr=0.1)
    run(module).square().sum().backward()
    optimizer.step()
    return module


def compare_states(ours, theirs):
    assert sorted(ours) == sorted(theirs)
    for name in ours:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dim", [0, 1, None])
def test_weight_norm(dim):
    made = []
    for lib in LIBRARIES:
        layer = lib.nn.utils.weight_norm(filled(lib, lib.nn.Linear(3, 2)), dim=dim)
        trained(lib, layer, lambda m, lib=lib: m(lib.ones(4, 3)))
        made.append((state_of(layer), values(layer(lib.ones(1, 3)))))
        before = values(layer.weight)
        lib.nn.utils.remove_weight_norm(layer)
        assert sorted(n for n, _ in layer.named_parameters()) == ["bias", "weight"]
        np.testing.assert_allclose(values(layer.weight), before, rtol=1e-6)
        with pytest.raises(ValueError if lib is torch else ArgumentError):
            lib.nn.utils.remove_weight_norm(layer)
    compare_states(made[0][0], made[1][0])
    np.testing.assert_allclose(made[0][1], made[1][1], rtol=1e-4)


def test_weight_norm_in_static_functions():
    layer = dg.nn.utils.weight_norm(filled(dg, dg.nn.Linear(3, 2)))
    twin = copy.deepcopy(layer)
    step = dg.static(lambda m, x: trained(dg, m, lambda m: m(x)).weight_g.sum(), strict=True)
    for _ in range(3):
        trained(dg, twin, lambda m: m(dg.ones(4, 3)))
        step(layer, dg.ones(4, 3))
    compare_states(state_of(layer), state_of(twin))


@pytest.mark.filterwarnings("ignore")
def test_spectral_norm():
    made = []
    for lib in LIBRARIES:
        layer = lib.nn.utils.spectral_norm(filled(lib, lib.nn.Linear(3, 2)), n_power_iterations=2)
        with lib.no_grad():
            layer.weight_u.copy_(lib.tensor([0.6, 0.8]))
        first = values(layer(lib.ones(1, 3)))
        layer.eval()
        made.append((first, values(layer(lib.ones(1, 3))), values(layer.weight_u), values(layer.weight_v)))
        assert sorted(layer.state_dict()) == ["bias", "weight_orig", "weight_u", "weight_v"]
        lib.nn.utils.remove_spectral_norm(layer)
        assert sorted(layer.state_dict()) == ["bias", "weight"]
    for ours, theirs in zip(*made):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)


@pytest.mark.parametrize("transposed", [False, True])
def test_fused_convolutions(transposed):
    made = []
    for lib in LIBRARIES:
        conv = filled(lib, (lib.nn.ConvTranspose2d if transposed else lib.nn.Conv2d)(2, 3, 3))
        norm = filled(lib, lib.nn.BatchNorm2d(3))
        with lib.no_grad():
            norm.running_mean.copy_(lib.tensor([0.1, 0.2, 0.3]))
            norm.running_var.copy_(lib.tensor([0.5, 1.0, 2.0]))
        x = lib.arange(50.0).reshape(1, 2, 5, 5) / 10
        with pytest.raises((ArgumentError, AssertionError)):
            lib.nn.utils.fuse_conv_bn_eval(conv, norm, transposed)
        fused = lib.nn.utils.fuse_conv_bn_eval(conv.eval(), norm.eval(), transposed)
        np.testing.assert_allclose(values(fused(x)), values(norm(conv(x))), rtol=1e-4, atol=1e-5)
        made.append(fused)
    same(made[0].weight, made[1].weight)
    same(made[0].bias, made[1].bias)


def test_fused_linear_layers():
    linear, norm = filled(dg, dg.nn.Linear(3, 2)).eval(), filled(dg, dg.nn.BatchNorm1d(2)).eval()
    fused = dg.nn.utils.fuse_linear_bn_eval(linear, norm)
    np.testing.assert_allclose(values(fused(dg.ones(2, 3))), values(norm(linear(dg.ones(2, 3)))), rtol=1e-5)
    with pytest.raises(DomainError, match="gives 2 features, the other takes 5"):
        dg.nn.utils.fuse_linear_bn_eval(linear, dg.nn.BatchNorm1d(5).eval())


def test_skip_init():
    dg.manual_seed(3)
    before = dg.get_rng_state()
    assert dg.nn.utils.skip_init(dg.nn.Linear, 3, 2, bias=False).weight.shape == (2, 3)
    assert dg.get_rng_state() == before


PRUNED = {
    "l1": lambda p, m: p.l1_unstructured(m, "weight", 0.4),
    "l1 of a count": lambda p, m: p.l1_unstructured(m, "weight", 3),
    "twice": lambda p, m: p.l1_unstructured(p.l1_unstructured(m, "weight", 4), "weight", 0.5),
    "ln": lambda p, m: p.ln_structured(m, "weight", 1, n=2, dim=1),
    "ln after": lambda p, m: p.ln_structured(p.ln_structured(m, "weight", 1, n=2, dim=1), "weight", 0.5, n=1, dim=0),
    "identity": lambda p, m: p.identity(m, "weight"),
}


@pytest.mark.parametrize("name", PRUNED)
def test_pruning(name):
    made = []
    for lib in LIBRARIES:
        prune, layer = torch.nn.utils.prune if lib is torch else dg.nn.utils.prune, lib.nn.Linear(4, 5)
        with lib.no_grad():
            layer.weight.copy_(lib.linspace(-1.0, 1.5, 20).reshape(5, 4) ** 3 + 0.01)
            layer.bias.copy_(lib.ones(5))
        PRUNED[name](prune, layer)
        assert prune.is_pruned(layer)
        trained(lib, layer, lambda m, lib=lib: m(lib.ones(2, 4)))
        layer(lib.ones(2, 4))
        state = state_of(layer)
        prune.remove(layer, "weight")
        assert not prune.is_pruned(layer)
        made.append((state, state_of(layer)))
    for ours, theirs in zip(*made):
        compare_states(ours, theirs)


def test_pruning_at_random_and_globally():
    prune = dg.nn.utils.prune
    layer, other = dg.nn.Linear(10, 10), dg.nn.Linear(10, 5)
    assert (prune.random_unstructured(layer, "weight", 0.3).weight_mask == 0).sum() == 30
    assert (prune.random_structured(other, "weight", 0.4, dim=1).weight_mask.sum(0) == 0).sum() == 4
    nets = []
    for lib in LIBRARIES:
        tools = torch.nn.utils.prune if lib is torch else prune
        net = filled(lib, lib.nn.Sequential(lib.nn.Linear(3, 4), lib.nn.Linear(4, 2)))
        with lib.no_grad():
            net[0].weight.copy_(lib.linspace(-1.0, 2.0, 12).reshape(4, 3))
            net[1].weight.copy_(lib.linspace(0.05, 0.9, 8).reshape(2, 4))
        method = tools.L1Unstructured if lib is torch else tools.l1_unstructured
        tools.global_unstructured([(net[0], "weight"), (net[1], "weight")], method, amount=0.5)
        nets.append(state_of(net))
    compare_states(*nets)
    with pytest.raises(DomainError, match=r"between 0 and 1, got 1\.5"):
        prune.l1_unstructured(layer, "weight", 1.5)
    with pytest.raises(ArgumentError, match="remove: 'bias' of Linear is not of that kind"):
        prune.remove(dg.nn.Linear(2, 2), "bias")


def test_pruned_layers_in_static_functions():
    layer = dg.nn.utils.prune.l1_unstructured(filled(dg, dg.nn.Linear(4, 5)), "weight", 0.5)
    twin = copy.deepcopy(layer)
    step = dg.static(lambda m, x: trained(dg, m, lambda m: m(x)).bias.sum(), strict=True)
    for _ in range(3):
        trained(dg, twin, lambda m: m(dg.ones(2, 4)))
        step(layer, dg.ones(2, 4))
    compare_states(state_of(layer), state_of(twin))
    assert (layer.weight[layer.weight_mask == 0] == 0).all()


def with_extra(lib):
    class Counting(lib.nn.Module):
        def __init__(self):
            super().__init__()
            self.calls = 0
            self.inner = lib.nn.Linear(1, 1)

        def get_extra_state(self):
            return {"calls": self.calls}

        def set_extra_state(self, state):
            self.calls = state["calls"]

    return lib.nn.Sequential(Counting(), lib.nn.Linear(1, 1))


def test_extra_state():
    keys = []
    for lib in LIBRARIES:
        net, other = with_extra(lib), with_extra(lib)
        net[0].calls = 7
        state = net.state_dict()
        keys.append(list(state))
        other.load_state_dict(state)
        assert other[0].calls == 7
        del state["0._extra_state"]
        with pytest.raises(RuntimeError, match=r"0\._extra_state"):
            other.load_state_dict(state)
        assert list(other.load_state_dict(state, strict=False).missing_keys) == ["0._extra_state"]
        with pytest.raises(RuntimeError, match="_extra_state"):
            lib.nn.Linear(1, 1).load_state_dict({**lib.nn.Linear(1, 1).state_dict(), "_extra_state": 1})
    assert keys[0] == keys[1]


def test_set_submodule():
    for lib in LIBRARIES:
        net = lib.nn.Sequential(lib.nn.Sequential(lib.nn.Linear(1, 1)), lib.nn.ReLU())
        net.set_submodule("0.0", lib.nn.Linear(2, 3))
        assert net[0][0].weight.shape == (3, 2)
        net.set_submodule("1", lib.nn.Tanh())
        assert isinstance(net[1], lib.nn.Tanh)
        for path, error in (("", ValueError), ("5.0", AttributeError)):
            with pytest.raises(error):
                net.set_submodule(path, lib.nn.Tanh())
        with pytest.raises(AttributeError):
            net.set_submodule("0.7", lib.nn.Tanh(), strict=True)
        net.set_submodule("0.7", lib.nn.Tanh())
        assert isinstance(net.get_submodule("0.7"), lib.nn.Tanh)


def test_to_empty():
    net = dg.nn.BatchNorm1d(3)
    weight, pointer = net.weight, net.weight.data_ptr()
    assert net.to_empty(device="cpu") is net and net.weight is weight
    assert weight.data_ptr() != pointer and net.running_mean.shape == (3,)


def test_adaptive_log_softmax():
    made = []
    for lib in LIBRARIES:
        layer = filled(lib, lib.nn.AdaptiveLogSoftmaxWithLoss(8, 12, [3, 7], div_value=2.0, head_bias=True))
        x = lib.arange(40.0).reshape(5, 8) / 20 - 1
        target = lib.tensor([0, 11, 4, 2, 7])
        output, loss = layer(x, target)
        loss.backward()
        single = layer(x[0], target[1])
        gradients = [values(p.grad) for p in layer.parameters()]
        made.append([values(output), values(loss), values(layer.log_prob(x)), values(layer.predict(x)), *gradients])
        made[-1] += [values(single.output), values(single.loss), np.asarray(sorted(layer.state_dict()))]
        with pytest.raises((IndexError, RuntimeError)):
            layer(x, lib.tensor([0, 12, 4, 2, 7]))
        with pytest.raises(ValueError, match="cutoffs"):
            lib.nn.AdaptiveLogSoftmaxWithLoss(8, 12, [7, 3])
    for ours, theirs in zip(*made, strict=True):
        if ours.dtype.kind == "U":
            assert ours.tolist() == theirs.tolist()
        else:
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_adaptive_log_softmax_in_static_functions():
    layer = filled(dg, dg.nn.AdaptiveLogSoftmaxWithLoss(8, 12, [3, 7], div_value=2.0))
    static = dg.static(lambda x, target: layer(x, target).output)
    for targets in ([0, 11, 4, 2, 7], [0, 1, 2, 2, 1], [8, 8, 9, 4, 4]):
        x, target = dg.arange(40.0).reshape(5, 8) / 20 - 1, dg.tensor(targets)
        np.testing.assert_allclose(values(static(x, target)), values(layer(x, target).output), rtol=1e-6)
