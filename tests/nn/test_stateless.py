"""Modules as functions of their parameters; lists and dicts of parameters; buffers; hooks of all modules."""

from __future__ import annotations

from typing import Any

import pytest

import duograph as dg
from duograph import nn
from duograph.nn.modules import module as everywhere


def network() -> nn.Module:
    dg.manual_seed(4)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def test_functional_call_in_both_modes() -> None:
    net, x = network(), dg.rand(5, 3)
    own = dict(net.named_parameters())
    before = net(x)

    def call(given: Any, x: Any) -> Any:
        return dg.func.functional_call(net, given, x)

    static = dg.static(call, strict=True)
    slopes = dg.static(lambda given, x: dg.func.grad(lambda q: call(q, x).sum())(given), strict=True)
    for scale in (1.0, 2.0, 3.0):
        given = {name: value.detach() * scale for name, value in own.items()}
        expected = call(given, x)
        assert static(given, x).tolist() == expected.tolist()
        if scale == 1:
            assert expected.tolist() == before.tolist()
        ours = dg.func.grad(lambda q: call(q, x).sum())(given)
        assert {k: v.tolist() for k, v in slopes(given, x).items()} == {k: v.tolist() for k, v in ours.items()}
        leaves = {name: value.requires_grad_() for name, value in given.items()}
        call(leaves, x).sum().backward()
        assert all(leaves[name].grad.tolist() == ours[name].tolist() for name in ours)
    assert all(value is own[name] for name, value in net.named_parameters()) and net(x).tolist() == before.tolist()


def test_replaced_buffers_take_the_writes() -> None:
    class Counter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.count = nn.Buffer(dg.zeros(()))
            self.scratch = nn.Buffer(dg.zeros(2), persistent=False)

        def forward(self, x: Any) -> Any:
            self.count += 1
            return x * self.count

    net = Counter()
    count = dg.tensor(4.0)
    assert dg.func.functional_call(net, {"count": count}, (dg.ones(1),)).tolist() == [5]
    assert count.item() == 5 and net.count.item() == 0
    assert [n for n, _ in net.named_buffers()] == ["count", "scratch"] and list(net.state_dict()) == ["count"]


def test_tied_weights_and_mistakes() -> None:
    net = nn.Module()
    net.a = net.b = nn.Parameter(dg.ones(1))
    net.forward = lambda x: x * net.a + net.b
    assert dg.func.functional_call(net, {"a": dg.tensor([3.0])}, dg.ones(1)).item() == 6
    assert dg.func.functional_call(net, {"a": dg.tensor([3.0])}, dg.ones(1), tie_weights=False).item() == 4
    assert dg.func.functional_call(net, [{"a": dg.zeros(1)}, {}], (), {"x": dg.ones(1)}).item() == 0
    with pytest.raises(dg.errors.ArgumentError, match="functional_call: Module has no 'c'"):
        dg.func.functional_call(net, {"c": dg.ones(1)}, dg.ones(1))
    with pytest.raises(dg.errors.ArgumentError, match="'a' is given twice"):
        dg.func.functional_call(net, [{"a": dg.ones(1)}, {"a": dg.ones(1)}], dg.ones(1))
    with pytest.raises(dg.errors.ArgumentError, match=r"'0.weight' is not given"):
        dg.func.functional_call(network(), {"0.bias": dg.ones(4)}, dg.ones(3), strict=True)
    with pytest.raises(dg.errors.ArgumentError, match="'a' must be a Tensor, got int"):
        dg.func.functional_call(net, {"a": 1}, dg.ones(1))  # type: ignore[dict-item]
    assert net.a is net.b and isinstance(net.a, nn.Parameter)


def test_ensembles() -> None:
    nets = [nn.Linear(3, 2) for _ in range(4)]
    parameters, buffers = dg.func.stack_module_state(nets)
    x = dg.rand(5, 3)
    made = dg.vmap(lambda p, x: dg.func.functional_call(nets[0], p, x), (0, None))(parameters, x)
    assert not buffers and parameters["bias"].requires_grad
    for one, net in zip(made, nets):
        assert (one - net(x)).abs().max().item() < 1e-6
    with pytest.raises(dg.errors.ArgumentError, match="several modules of one class"):
        dg.func.stack_module_state([nn.Linear(1, 1), nn.Tanh()])


def test_parameter_lists_and_dicts() -> None:
    held = nn.ParameterList([dg.zeros(2), nn.Parameter(dg.ones(3))])
    held += [dg.ones(1)]
    assert len(held) == 3 and all(isinstance(p, nn.Parameter) for p in held) and len(held[1:]) == 2
    held[-1] = nn.Parameter(dg.zeros(4))
    assert held[2].shape == (4,) and list(held.state_dict()) == ["0", "1", "2"] and held[1] in held
    assert repr(held).splitlines()[1] == "  (0): Parameter: float32[2]"
    with pytest.raises(IndexError, match="index 3 is out of range, it holds 3"):
        held[3]
    named = nn.ParameterDict({"left": dg.zeros(2)})
    named["right"] = nn.Parameter(dg.ones(1))
    assert list(named) == ["left", "right"] and named.pop("left").shape == (2,) and "left" not in named
    assert [n for n, _ in named.named_parameters()] == ["right"] and named.get("left") is None
    with pytest.raises(KeyError, match="ParameterDict has no 'left'; there are: right"):
        named["left"]
    with pytest.raises(AttributeError, match="'training' is the name of an attribute"):
        named["training"] = dg.ones(1)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = nn.ParameterList([dg.ones(2), dg.ones(2) * 3])

        def forward(self, x: Any) -> Any:
            for w in self.weights:
                x = x * w
            return x

    net = Net()
    assert dg.static(net)(dg.ones(2)).tolist() == net(dg.ones(2)).tolist() == [3, 3]


def test_hooks_of_all_modules() -> None:
    net, x = network(), dg.rand(2, 3)
    static = dg.static(lambda x: net(x))
    plain = static(x).flatten().tolist()
    seen: list[str] = []

    def note(module: nn.Module, args: Any, output: Any) -> Any:
        seen.append(type(module).__name__)
        return output * 2 if isinstance(module, nn.Sequential) else None

    net.register_forward_hook(lambda module, args, output: seen.append("own"))
    with everywhere.register_module_forward_hook(note) as handle:
        doubled = net(x).flatten().tolist()
        assert seen == ["Linear", "Tanh", "Linear", "Sequential", "own"]
        assert static(x).flatten().tolist() == pytest.approx(doubled) and doubled != plain
    assert static(x).flatten().tolist() == pytest.approx(plain) == net(x).flatten().tolist()
    handle.remove()
    seen.clear()
    with everywhere.register_module_full_backward_hook(lambda m, gi, go: seen.append(type(m).__name__)):
        net(x).sum().backward()
    assert seen == ["own", "Sequential", "Linear", "Tanh", "Linear"]
    with everywhere.register_module_forward_pre_hook(lambda m, args: (args[0] * 0,)):
        assert nn.Tanh()(x).abs().max().item() == 0
    with pytest.raises(dg.errors.ArgumentError, match="a hook must be a function, got int"):
        everywhere.register_module_forward_hook(3)  # type: ignore[arg-type]
