"""Module: members, names, state, modes, text, and what mistakes say."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

import duograph as dg
from duograph import nn


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2, 3)
        self.rest = nn.Sequential(nn.ReLU(), nn.Linear(3, 1, bias=False))
        self.register_buffer("count", dg.zeros(()))
        self.register_buffer("scratch", dg.zeros(1), persistent=False)
        self.scale = nn.Parameter(dg.ones(1))

    def forward(self, x: dg.Tensor) -> dg.Tensor:
        return self.rest(self.first(x)) * self.scale


NAMES = ["scale", "count", "first.weight", "first.bias", "rest.1.weight"]


def test_names_in_order() -> None:
    net = Net()
    assert [name for name, _ in net.named_parameters()] == ["scale", "first.weight", "first.bias", "rest.1.weight"]
    assert [name for name, _ in net.named_buffers()] == ["count", "scratch"]
    assert [name for name, _ in net.named_modules()] == ["", "first", "rest", "rest.0", "rest.1"]
    assert [name for name, _ in net.named_children()] == ["first", "rest"]
    assert list(net.state_dict()) == NAMES
    assert net.get_submodule("rest.1") is net.rest[1] and net.get_submodule("") is net
    assert net.get_parameter("first.bias") is net.first.bias and net.get_buffer("count") is net.count


def test_shared_members_come_once() -> None:
    net = Net()
    net.again = net.first
    net.tied = net.first.weight
    assert len(list(net.parameters())) == 4 and len(list(net.modules())) == 5
    assert "again.weight" in net.state_dict() and "tied" in net.state_dict()


def test_call_and_gradients() -> None:
    net = Net()
    net(dg.ones(4, 2)).sum().backward()
    assert all(p.grad is not None and p.grad.shape == p.shape for p in net.parameters())
    net.zero_grad(set_to_none=False)
    assert all(p.grad.abs().sum().item() == 0 for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


def test_modes() -> None:
    net = Net()
    assert net.training and net.eval() is net
    assert not any(module.training for module in net.modules())
    assert net.train().rest[0].training
    with pytest.raises(TypeError, match="mode must be True or False, got 1"):
        net.train(1)  # type: ignore[arg-type]
    net.requires_grad_(False)
    assert not any(p.requires_grad for p in net.parameters())


def test_apply_goes_children_first() -> None:
    seen: list[str] = []
    assert Net().apply(lambda module: seen.append(type(module).__name__)) is not None
    assert seen == ["Linear", "ReLU", "Linear", "Sequential", "Net"]


def test_attributes_become_members() -> None:
    net = Net()
    net.first.bias = None
    assert "first.bias" not in net.state_dict() and net.first.bias is None
    net.first.bias = nn.Parameter(dg.zeros(3))
    assert "first.bias" in net.state_dict()
    del net.scale
    assert "scale" not in net.state_dict() and not hasattr(net, "scale")
    net.count = dg.ones(())
    assert net.state_dict()["count"].item() == 1
    net.value = nn.Parameter(dg.ones(1))
    del net.value
    net.value = nn.ReLU()
    assert isinstance(net.value, nn.ReLU) and "value" in dict(net.named_children())
    net.plain = dg.ones(1)
    assert "plain" not in net.state_dict()


def test_every_change_bumps_the_epoch() -> None:
    net = Net()

    def bumps(change: Any) -> bool:
        before = dg._core.epoch()
        change()
        return bool(dg._core.epoch() != before)

    assert bumps(net.eval) and not bumps(net.eval) and bumps(net.train)
    assert bumps(lambda: setattr(net, "width", 3))
    assert bumps(lambda: net.register_buffer("more", dg.zeros(1)))
    assert bumps(lambda: delattr(net, "more"))
    assert bumps(lambda: net.rest.append(nn.ReLU()))


def test_state_round_trip() -> None:
    source, target = Net(), Net()
    source.count.fill_(4)
    result = target.load_state_dict(source.state_dict())
    assert repr(result) == "<All keys matched successfully>"
    for name, value in source.state_dict().items():
        assert target.state_dict()[name].tolist() == value.tolist()
        assert target.state_dict()[name].data_ptr() != value.data_ptr()
    target.load_state_dict(source.state_dict(), assign=True)
    assert target.first.weight.data_ptr() == source.first.weight.data_ptr()
    assert isinstance(target.first.weight, nn.Parameter) and target.first.weight.requires_grad


def test_state_shares_memory_without_history() -> None:
    net = Net()
    state = net.state_dict()
    assert not state["scale"].requires_grad
    state["scale"].fill_(3)
    assert net.scale.item() == 3
    assert net.state_dict(keep_vars=True)["scale"] is net.scale
    assert "net.scale" in net.state_dict(prefix="net.")


def test_state_that_does_not_fit() -> None:
    net = Net()
    before = net.scale.item()
    state = net.state_dict()
    state["scale"] = dg.full((1,), 9.0)
    state["first.weight"] = dg.zeros(3, 5)
    state["stray"] = dg.zeros(1)
    state["count"] = 3
    del state["first.bias"]
    with pytest.raises(RuntimeError) as caught:
        net.load_state_dict(state)
    text = str(caught.value)
    assert text.startswith("Net.load_state_dict: the state does not fit this Net")
    assert "missing: 'first.bias'" in text and "unexpected: 'stray'" in text and "not a tensor: 'count' is a int" in text
    assert "size mismatch: 'first.weight' is [3, 2] in the module, [3, 5] in the state" in text
    assert net.scale.item() == before  # nothing was changed
    del state["first.weight"], state["count"]
    result = net.load_state_dict(state, strict=False)
    assert result.missing_keys == ["count", "first.weight", "first.bias"] and result.unexpected_keys == ["stray"]
    assert net.scale.item() == 9


def test_prefixed_state_gets_a_hint() -> None:
    net = Net()
    with pytest.raises(RuntimeError, match=r"all names start with 'module\.'"):
        net.load_state_dict({f"module.{name}": value for name, value in net.state_dict().items()})
    with pytest.raises(TypeError, match=r"expected a dict of names and tensors, got list"):
        net.load_state_dict([])  # type: ignore[arg-type]


def test_conversion_keeps_identity() -> None:
    net = Net()
    weight = net.first.weight
    net.register_buffer("index", dg.zeros(1, dtype=dg.int64))
    assert net.double() is net
    assert net.first.weight is weight and weight.dtype is dg.float64 and net.count.dtype is dg.float64
    assert net.index.dtype is dg.int64
    assert net.to(dg.float32).to("cpu").scale.dtype is dg.float32
    with pytest.raises(TypeError, match="floating-point dtypes only, got int32"):
        net.to(dg.int32)
    with pytest.raises(RuntimeError, match="there is no device 'cuda'"):
        net.cuda()


def test_text() -> None:
    assert repr(Net()) == (
        "Net(\n"
        "  (first): Linear(in_features=2, out_features=3, bias=True)\n"
        "  (rest): Sequential(\n"
        "    (0): ReLU()\n"
        "    (1): Linear(in_features=3, out_features=1, bias=False)\n"
        "  )\n"
        ")"
    )


def test_copies() -> None:
    net = Net()
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert repr(other) == repr(net)
        assert other.first.weight.tolist() == net.first.weight.tolist()
        assert other.first.weight.data_ptr() != net.first.weight.data_ptr()
        assert isinstance(other.first.weight, nn.Parameter) and other.first.weight.requires_grad
        assert len(list(other.parameters())) == 4


def test_hooks() -> None:
    net = nn.Linear(1, 1)
    seen: list[str] = []
    before = net.register_forward_pre_hook(lambda module, args: seen.append("before"))
    after = net.register_forward_hook(lambda module, args, output: output * 0 + 7)
    assert net(dg.ones(1, 1)).item() == 7 and seen == ["before"]
    after.remove()
    with before:
        net(dg.ones(1, 1))
    net(dg.ones(1, 1))
    assert seen == ["before", "before"]


class Late(nn.Module):
    def __init__(self) -> None:
        self.layer = nn.Linear(1, 1)


@pytest.mark.parametrize(
    ("attempt", "kind", "message"),
    [
        (Late, AttributeError, r"Late: a member 'layer' was set before super\(\).__init__\(\)"),
        (lambda: setattr(Net(), "scale", 3), TypeError, "'scale' is a parameter and cannot become a int"),
        (lambda: setattr(Net(), "scale", dg.ones(1)), TypeError, "'scale' is a parameter and cannot become a Tensor"),
        (lambda: setattr(Net(), "first", 3), TypeError, "'first' is a module and cannot become a int"),
        (lambda: setattr(Net(), "count", 3), TypeError, "'count' is a buffer and cannot become a int"),
        (lambda: Net().register_buffer("a.b", None), KeyError, r"may neither be empty nor hold a dot, got 'a\.b'"),
        (lambda: Net().register_buffer("forward", None), KeyError, "there is already an attribute 'forward'"),
        (lambda: Net().register_parameter("p", dg.ones(1)), TypeError, "'p' must be a Parameter or None, got Tensor"),
        (lambda: Net().add_module("m", 3), TypeError, "'m' must be a Module or None, got int"),
        (lambda: Net().get_submodule("rest.7"), AttributeError, r"Sequential has no module '7' \(of 'rest.7'\); there are: 0, 1"),
        (lambda: Net().get_parameter("first.w"), AttributeError, "Linear has no parameter 'w'"),
        (lambda: Net().missing, AttributeError, "missing"),
        (lambda: nn.Module()(1), NotImplementedError, r"Module does not define forward\(\)"),
        (lambda: nn.Parameter([1.0]), TypeError, "data must be a Tensor, not list"),
        (lambda: nn.Parameter(dg.arange(3)), TypeError, "only floating-point tensors can require a gradient, data is int64"),
        (lambda: nn.Module(3), TypeError, "takes no arguments, got 3"),
    ],
)
def test_mistakes(attempt: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        attempt()
