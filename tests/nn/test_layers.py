"""Layers, containers, losses and initialisation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import duograph as dg
from duograph import nn


def array(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def softmax(x: Any) -> Any:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_linear() -> None:
    layer = nn.Linear(4, 3)
    x = array(2, 5, 4)
    expected = x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
    np.testing.assert_allclose(layer(dg.from_numpy(x)).detach().numpy(), expected, rtol=1e-5, atol=1e-6)
    assert nn.Linear(4, 3, bias=False).bias is None
    assert nn.Linear(2, 2, dtype=dg.float64).weight.dtype is dg.float64
    with pytest.raises(ValueError, match="in_features must be an int of at least 0, got -1"):
        nn.Linear(-1, 2)


ACTIVATIONS: list[tuple[nn.Module, Any]] = [
    (nn.ReLU(), lambda x: np.maximum(x, 0)),
    (nn.ReLU(inplace=True), lambda x: np.maximum(x, 0)),
    (nn.Tanh(), np.tanh),
    (nn.Sigmoid(), lambda x: 1 / (1 + np.exp(-x))),
    (nn.SiLU(), lambda x: x / (1 + np.exp(-x))),
    (nn.GELU(), lambda x: x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))),
    (nn.GELU("tanh"), lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))),
    (nn.LeakyReLU(0.1), lambda x: np.where(x > 0, x, 0.1 * x)),
    (nn.ELU(0.5), lambda x: np.where(x > 0, x, 0.5 * np.expm1(x))),
    (nn.Softplus(2.0), lambda x: np.log1p(np.exp(2 * x)) / 2),
    (nn.RMSNorm(4), lambda x: x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6)),
    (nn.Softmax(dim=-1), softmax),
    (nn.LogSoftmax(dim=-1), lambda x: np.log(softmax(x))),
    (nn.Flatten(), lambda x: x.reshape(x.shape[0], -1)),
    (nn.Identity(3, unused=True), lambda x: x),
    (nn.LayerNorm(4), lambda x: (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)),
    (nn.LayerNorm((3, 4)), lambda x: (x - x.mean((1, 2), keepdims=True)) / np.sqrt(x.var((1, 2), keepdims=True) + 1e-5)),
]


@pytest.mark.parametrize(("layer", "reference"), ACTIVATIONS, ids=[repr(layer) for layer, _ in ACTIVATIONS])
def test_layer(layer: nn.Module, reference: Any) -> None:
    x = array(2, 3, 4)
    expected = reference(x)
    np.testing.assert_allclose(layer(dg.tensor(x)).detach().numpy(), expected, rtol=2e-5, atol=2e-6)


def test_softmax_without_dim() -> None:
    x = array(2, 3)
    np.testing.assert_allclose(nn.Softmax()(dg.from_numpy(x)).numpy(), softmax(x), rtol=1e-5)


def test_embedding() -> None:
    table = nn.Embedding(5, 3, padding_idx=-1)
    assert table.padding_idx == 4 and table.weight[4].tolist() == [0, 0, 0]
    index = dg.tensor([[0, 4], [2, 2]])
    out = table(index)
    assert out.shape == (2, 2, 3) and out[1, 0].tolist() == table.weight[2].tolist()
    out.sum().backward()
    assert table.weight.grad[:, 0].tolist() == [1, 0, 2, 0, 0]
    frozen = nn.Embedding.from_pretrained(dg.eye(3))
    assert frozen(dg.tensor(1)).tolist() == [0, 1, 0] and not frozen.weight.requires_grad
    assert repr(table) == "Embedding(5, 3, padding_idx=4)"
    with pytest.raises(IndexError):
        table(dg.tensor([5]))


def test_dropout() -> None:
    dg.manual_seed(0)
    layer = nn.Dropout(0.25)
    x = dg.ones(10000)
    y = layer(x).numpy()
    assert set(np.unique(y)) <= {np.float32(0), np.float32(1 / 0.75)} and abs((y == 0).mean() - 0.25) < 0.02
    assert layer.eval()(x) is x
    assert nn.Dropout(1.0)(x).sum().item() == 0
    with pytest.raises(ValueError, match=r"p must be a probability between 0 and 1, got 1\.5"):
        nn.Dropout(1.5)


def test_losses_with_every_reduction() -> None:
    x, y = array(4, 5), array(4, 5, seed=1)
    target = np.array([0, 4, 2, 2])
    weight = np.abs(array(5, seed=2))
    log_p = np.log(softmax(x))
    picked = -log_p[np.arange(4), target]
    logistic = np.maximum(x, 0) - x * (y > 0) + np.log1p(np.exp(-np.abs(x)))
    t = dg.from_numpy
    cases: list[tuple[Any, Any, Any, Any]] = [
        (nn.MSELoss, {}, (t(x), t(y)), (x - y) ** 2),
        (nn.L1Loss, {}, (t(x), t(y)), np.abs(x - y)),
        (nn.CrossEntropyLoss, {}, (t(x), t(target)), picked),
        (nn.NLLLoss, {}, (t(log_p), t(target)), picked),
        (nn.BCEWithLogitsLoss, {}, (t(x), t((y > 0).astype(np.float32))), logistic),
        (nn.CrossEntropyLoss, {}, (t(x), t(softmax(y))), -(softmax(y) * log_p).sum(1)),
        (
            nn.CrossEntropyLoss,
            {"label_smoothing": 0.1},
            (t(x), t(target)),
            0.9 * picked - 0.1 * log_p.mean(1),
        ),
    ]
    for kind, extra, arguments, expected in cases:
        for reduction, reduce in (("none", lambda e: e), ("sum", np.sum), ("mean", np.mean)):
            found = kind(reduction=reduction, **extra)(*arguments)
            np.testing.assert_allclose(found.numpy(), reduce(expected), rtol=2e-5, atol=1e-6, err_msg=f"{kind} {reduction}")
    weighted = nn.CrossEntropyLoss(weight=t(weight))(t(x), t(target)).item()
    assert weighted == pytest.approx((picked * weight[target]).sum() / weight[target].sum(), rel=1e-5)
    ignored = nn.CrossEntropyLoss(ignore_index=2)(t(x), t(target)).item()
    assert ignored == pytest.approx(picked[:2].mean(), rel=1e-5)
    with pytest.raises(ValueError, match="reduction must be 'mean', 'sum' or 'none', got 'avg'"):
        nn.MSELoss("avg")


def test_sequential() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    assert len(net) == 3 and isinstance(net[-1], nn.Linear) and len(net[:2]) == 2
    net.append(nn.Tanh())
    net.insert(0, nn.Identity())
    assert [type(layer).__name__ for layer in net] == ["Identity", "Linear", "ReLU", "Linear", "Tanh"]
    del net[0]
    net[1] = nn.GELU()
    assert isinstance(net.pop(), nn.Tanh) and list(net.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert net(dg.ones(5, 2)).shape == (5, 1)
    named = nn.Sequential({"up": nn.Linear(1, 2), "act": nn.ReLU()})
    assert list(named.state_dict()) == ["up.weight", "up.bias"] and isinstance(named.up, nn.Linear)
    with pytest.raises(IndexError, match="index 3 is out of range, it holds 3 modules"):
        net[3]
    with pytest.raises(TypeError, match="expected a Module, got builtin_function_or_method"):
        nn.Sequential(abs)


def test_module_list_and_dict() -> None:
    layers = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))
    layers += [nn.ReLU()]
    assert len(layers) == 4 and len(list(layers.parameters())) == 6
    assert repr(layers) == ("ModuleList(\n  (0-2): 3 x Linear(in_features=2, out_features=2, bias=True)\n  (3): ReLU()\n)")
    table = nn.ModuleDict({"a": nn.ReLU()})
    table["b"] = nn.Linear(1, 1)
    table.update({"a": nn.Tanh()})
    assert list(table.keys()) == ["a", "b"] and "b" in table and isinstance(table["a"], nn.Tanh)
    assert isinstance(table.pop("a"), nn.Tanh) and len(table) == 1
    with pytest.raises(KeyError, match="ModuleDict has no module 'z'; there are: b"):
        table["z"]


def test_initialisation() -> None:
    dg.manual_seed(0)
    w = dg.empty(200, 300)
    bound = 1 / math.sqrt(300)
    assert nn.init.kaiming_uniform_(w, a=math.sqrt(5)) is w
    assert -bound <= w.min().item() < -0.98 * bound and 0.98 * bound < w.max().item() <= bound
    nn.init.xavier_uniform_(w)
    assert 0.98 * math.sqrt(6 / 500) < w.max().item() <= math.sqrt(6 / 500)
    nn.init.xavier_normal_(w)
    assert w.std().item() == pytest.approx(math.sqrt(2 / 500), rel=0.02)
    nn.init.kaiming_normal_(w, nonlinearity="relu")
    assert w.std().item() == pytest.approx(math.sqrt(2 / 300), rel=0.02)
    nn.init.normal_(w, 3, 0.5)
    assert w.mean().item() == pytest.approx(3, abs=0.02) and w.std().item() == pytest.approx(0.5, rel=0.02)
    nn.init.trunc_normal_(w, a=-1, b=1)
    assert w.min().item() >= -1 and w.max().item() <= 1
    assert nn.init.constant_(w, 4)[0, 0].item() == 4 and nn.init.zeros_(w).sum().item() == 0
    assert nn.init.eye_(dg.empty(2, 2)).tolist() == [[1, 0], [0, 1]]
    layer = nn.Linear(100, 50)
    assert 0.09 < layer.weight.max().item() <= 0.1 and layer.bias.abs().max().item() <= 0.1
    assert layer.weight.requires_grad and layer.weight.is_leaf
    assert nn.init.calculate_gain("leaky_relu", 0.2) == pytest.approx(math.sqrt(2 / 1.04))
    with pytest.raises(ValueError, match="no gain is known for 'odd'"):
        nn.init.calculate_gain("odd")
    with pytest.raises(ValueError, match=r"need at least 2 dimensions, the tensor is \[3\]"):
        nn.init.xavier_normal_(dg.empty(3))


@pytest.mark.parametrize(
    "options", [{"max_norm": 1.0}, {"max_norm": 1.0, "norm_type": 1.0, "padding_idx": 2}, {"scale_grad_by_freq": True}]
)
def test_embedding_with_limits_and_frequencies_as_in_torch(options):
    import torch

    rows, table = np.array([[1, 2, 2], [5, 1, 0]]), np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)

    def run(lib):
        weight = lib.tensor(table, requires_grad=True)
        found = lib.nn.functional.embedding(lib.tensor(rows), weight, **options)
        (found * found).sum().backward()
        return found.detach(), weight.grad, weight.detach()

    for found, expected in zip(run(dg), run(torch)):
        np.testing.assert_allclose(found.tolist(), expected.tolist(), rtol=1e-5, atol=1e-6)
    with pytest.raises(dg.errors.DomainError, match="there are no sparse gradients"):
        dg.nn.Embedding(3, 2, sparse=True)


def test_rarer_starts_of_weights() -> None:
    import torch

    for shape, groups in (((4, 2, 3), 1), ((4, 2, 3, 3), 2), ((2, 3, 1, 2, 3), 1)):
        theirs = torch.nn.init.dirac_(torch.empty(shape), groups)
        assert dg.nn.init.dirac_(dg.ones(shape), groups).tolist() == theirs.tolist()
    made = dg.nn.init.sparse_(dg.zeros(10, 4), 0.35)
    assert (made == 0).sum(0).tolist() == [4, 4, 4, 4]


def test_faults_that_named_another_function() -> None:
    functional = dg.nn.functional
    with pytest.raises(dg.errors.ShapeError, match=r"prelu: there are 2 weights and 3 channels"):
        functional.prelu(dg.ones(2, 3), dg.ones(2))
    with pytest.raises(dg.errors.ShapeError, match=r"(?s)one_hot: no elements tell how many classes there are.*num_classes"):
        functional.one_hot(dg.zeros(0, dtype=dg.int64))
    assert functional.softmin(dg.tensor([[0.0, 0.0]])).tolist() == [[0.5, 0.5]]
    x = dg.tensor(5.0, requires_grad=True)
    dg.index_select(x, 0, dg.tensor([0])).backward()
    assert x.grad is not None and x.grad.item() == 1
