"""Attention, and the layers made of it, against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import twins

import duograph as dg
from duograph import nn

RNG = np.random.default_rng(3)
attention = nn.functional.scaled_dot_product_attention


def numbers(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


def bools(*shape: int) -> np.ndarray:
    return RNG.uniform(size=shape) > 0.4


def holes(*shape: int) -> np.ndarray:
    """Floats to add, with -inf among them, and a first row of nothing else."""
    made = np.where(bools(*shape), numbers(*shape), -np.inf)
    made[..., 0, :] = -np.inf
    return made


def without(mask: np.ndarray) -> np.ndarray:
    mask[..., 0, :] = False
    return mask


Q, K, V = numbers(2, 4, 3, 5), numbers(2, 4, 6, 5), numbers(2, 4, 6, 2)

CASES: dict[str, tuple[tuple[np.ndarray, ...], dict[str, Any]]] = {
    "plain": ((Q, K, V), {}),
    "scale": ((Q[0, 0], K[0, 0], V[0, 0]), {"scale": -0.3}),
    "causal, more keys": ((Q, K, V), {"is_causal": True}),
    "causal, more queries": ((K, Q, Q), {"is_causal": True}),
    "rows that see nothing": ((Q, K, V, without(bools(3, 6))), {}),
    "a mask for each head": ((Q, K, V, without(bools(2, 4, 3, 6))), {}),
    "a mask of keys": ((Q, K, V, bools(2, 1, 1, 6)), {}),
    "no dimension in the mask": ((Q, K, V, np.array(0.5)), {}),
    "floats with rows of -inf": ((Q, K, V, holes(3, 6)), {}),
    "floats for each example": ((Q, K, V, holes(2, 1, 3, 6)), {}),
    "leading sizes broadcast": ((Q[:, :1], K[0], numbers(2, 1, 6, 3)), {}),
    "groups of queries": ((Q, K[:, :2], V[:, :2]), {"enable_gqa": True}),
    "groups and masks": ((Q, K[:, :2], V[:, :2], without(bools(2, 4, 3, 6))), {"enable_gqa": True}),
    "groups, causal": ((Q, K[:, :1], V[:, :1]), {"enable_gqa": True, "is_causal": True}),
    "groups unlike each other": ((Q, K[:, :2], V[:, :1]), {"enable_gqa": True}),
    "one head of three": ((numbers(4, 3, 5), numbers(2, 6, 5), numbers(2, 6, 5)), {"enable_gqa": True}),
    "no keys": ((Q, K[:, :, :0], V[:, :, :0]), {}),
    "no queries": ((Q[:, :, :0], K, V), {}),
    "no batch": ((Q[:0], K[:0], V[:0]), {}),
    "one of each": ((Q[:, :, :1], K[:, :, :1], V[:, :, :1]), {}),
}


@pytest.mark.parametrize("what", CASES)
def test_as_in_torch(what: str) -> None:
    arrays, settings = CASES[what]
    theirs = torch.nn.functional.scaled_dot_product_attention
    second = what not in ("no keys", "no queries", "no batch")
    expected = twins.results(torch, lambda *x: theirs(*x, **settings), arrays, (), second)
    twins.close(twins.results(dg, lambda *x: attention(*x, **settings), arrays, (), second), expected)
    static = dg.static(lambda *x: attention(*x, **settings), strict=True)
    twins.same_bits(twins.results(dg, static, arrays, ()), twins.results(dg, lambda *x: attention(*x, **settings), arrays, ()))


def test_sizes_may_change() -> None:
    static = dg.static(lambda q, k, v: attention(q, k, v, is_causal=True), strict=True)
    for length in (3, 5, 9, 4):
        arrays = [dg.tensor(numbers(2, length, 4)) for _ in range(3)]
        twins.same_bits([static(*arrays).numpy()], [attention(*arrays, is_causal=True).numpy()])
    assert len(static.signatures()) <= 3


def test_dropout() -> None:
    """Weights are dropped at the rate asked for, the gradients are those of the ones that stay; in both modes the same."""
    q, k = dg.tensor(numbers(4, 50, 8)), dg.tensor(numbers(4, 30, 8))
    v = dg.eye(30, dtype=dg.float64).requires_grad_()

    def run(q: Any, k: Any, v: Any) -> Any:
        return attention(q, k, v, dropout_p=0.25)

    for f in (run, dg.static(run, strict=True)):
        dg.manual_seed(4)
        weights = f(q, k, v)
        plain = attention(q, k, v)
        kept = weights.detach().numpy() != 0
        assert 0.7 < kept.mean() < 0.8
        np.testing.assert_allclose(weights.detach().numpy(), np.where(kept, plain.detach().numpy() / 0.75, 0), rtol=1e-12)
        (gradient,) = dg.autograd.grad(weights.sum(), v)
        np.testing.assert_allclose(gradient.numpy(), np.repeat(weights.detach().numpy().sum((0, 1))[:, None], 30, 1), rtol=1e-12)
    assert attention(q, k, v, dropout_p=1.0).abs().max().item() == 0


def test_gradients_with_dropout() -> None:
    arrays = [dg.tensor(a, requires_grad=True) for a in (Q[0], K[0], V[0], holes(3, 6))]

    def run(*x: Any) -> Any:
        dg.manual_seed(3)
        return attention(*x[:3], dg.where(x[3] < -9, -30.0, x[3]), dropout_p=0.3)

    assert dg.autograd.gradcheck(run, arrays) and dg.autograd.gradgradcheck(run, arrays)


def test_sixteen_bits() -> None:
    arrays = [a.astype(np.float32) for a in (Q, K, V)]
    for name in ("bfloat16", "float16"):
        found = attention(*(dg.tensor(a).to(getattr(dg, name)) for a in arrays))
        expected = torch.nn.functional.scaled_dot_product_attention(*(torch.tensor(a).to(getattr(torch, name)) for a in arrays))
        assert found.dtype is getattr(dg, name)
        np.testing.assert_allclose(found.float().numpy(), expected.float().numpy(), atol=0.02)


def test_few_kernels() -> None:
    arrays = [dg.randn(2, 4, 16, 8, requires_grad=True) for _ in range(3)]

    def step(q: Any, k: Any, v: Any) -> Any:
        attention(q, k, v, is_causal=True).square().sum().backward()
        return q.grad, k.grad, v.grad

    text = str(dg.static(step).explain(*arrays))
    assert int(text.split("kernels")[1].split()[1]) <= 8, text


MHA: dict[str, tuple[dict[str, Any], tuple[np.ndarray, ...], dict[str, Any]]] = {
    "self": ({}, (numbers(3, 2, 4),), {}),
    "self, no weights, causal": ({}, (numbers(3, 2, 4),), {"need_weights": False, "is_causal": True, "attn_mask": "causal"}),
    "self, causal": ({}, (numbers(3, 2, 4),), {"is_causal": True, "attn_mask": "causal"}),
    "each head's weights": ({"bias": False}, (numbers(3, 2, 4), numbers(5, 2, 4)), {"average_attn_weights": False}),
    "batch first": ({"batch_first": True}, (numbers(2, 3, 4), numbers(2, 5, 4)), {"key_padding_mask": [[0, 0, 1, 0, 1]] * 2}),
    "no batch": ({"batch_first": True}, (numbers(3, 4), numbers(5, 4)), {"key_padding_mask": [0, 0, 1, 0, 1]}),
    "no batch, 3-d mask": ({}, (numbers(3, 4), numbers(2, 4)), {"attn_mask": np.eye(3, 2)[None].repeat(2, 0) == 1}),
    "unlike features": ({"kdim": 5, "vdim": 3}, (numbers(3, 2, 4), numbers(5, 2, 5), numbers(5, 2, 3)), {}),
    "further keys": (
        {"add_bias_kv": True, "add_zero_attn": True},
        (numbers(3, 2, 4), numbers(5, 2, 4), numbers(5, 2, 4)),
        {"key_padding_mask": [[1, 0, 0, 0, 1], [0, 0, 1, 1, 1]], "attn_mask": np.eye(3, 5) == 1},
    ),
    "further keys, no weights": (
        {"add_bias_kv": True, "kdim": 3, "bias": False},
        (numbers(3, 2, 4), numbers(5, 2, 3), numbers(5, 2, 4)),
        {"need_weights": False, "key_padding_mask": [[1, 0, 0, 0, 1], [0, 0, 1, 1, 1]]},
    ),
    "floats and bools": (
        {"add_zero_attn": True},
        (numbers(3, 2, 4), numbers(5, 2, 4)),
        {"key_padding_mask": [[1, 0, 0, 0, 1], [0, 0, 1, 1, 1]], "attn_mask": numbers(4, 3, 5)},
    ),
    "nothing to see": ({}, (numbers(3, 2, 4),), {"need_weights": False, "key_padding_mask": [[1, 1, 1], [0, 1, 0]]}),
}


def arguments(library: Any, given: dict[str, Any]) -> dict[str, Any]:
    made = dict(given)
    for name, value in given.items():
        if isinstance(value, str):
            value = np.triu(np.ones((3, 3), bool), 1)
        if isinstance(value, list):
            value = np.array(value) == 1
        made[name] = library.tensor(value) if isinstance(value, np.ndarray) else value
    return made


@pytest.mark.parametrize("what", MHA)
def test_heads_as_in_torch(what: str) -> None:
    settings, arrays, given = MHA[what]
    ours, theirs = twins.pair("MultiheadAttention", 4, 2, **settings)

    def call(module: Any, *x: Any) -> Any:
        library = dg if isinstance(module, nn.Module) else torch
        return module(*x, *(x[-1:] * (3 - len(x))), **arguments(library, given))

    twins.compare(ours, theirs, arrays, call)


def test_heads_where_nothing_is_seen() -> None:
    """With weights NaN, as PyTorch gives."""
    ours, theirs = twins.pair("MultiheadAttention", 4, 2)
    x, mask = numbers(3, 1, 4), np.ones((1, 3), bool)
    found = ours(*[dg.tensor(x)] * 3, key_padding_mask=dg.tensor(mask))
    expected = theirs(*[torch.tensor(x)] * 3, key_padding_mask=torch.tensor(mask))
    assert all(x.isnan().all().item() for x in (*found, *expected))


def test_dropped_weights_are_the_ones_used() -> None:
    layer = nn.MultiheadAttention(4, 1, dropout=0.5).double()
    x = dg.tensor(numbers(20, 1, 4))
    dg.manual_seed(1)
    made, weights = layer(x, x, x)
    assert 0.3 < (weights == 0).double().mean().item() < 0.7
    value = x @ layer.in_proj_weight[8:].T + layer.in_proj_bias[8:]
    expected = layer.out_proj(weights[0] @ value[:, 0])
    np.testing.assert_allclose(made[:, 0].detach().numpy(), expected.detach().numpy(), rtol=1e-9)
    assert (layer.eval()(x, x, x)[1] == 0).sum().item() == 0


def test_mistakes() -> None:
    def case(error: type[Exception], text: str, *shapes: tuple[int, ...], **settings: Any) -> None:
        with pytest.raises(error, match=text):
            attention(*map(dg.zeros, shapes), **settings)

    name = "scaled_dot_product_attention: "
    case(IndexError, name + "query must have at least two dimensions, got 1", (3,), (2, 3), (2, 3))
    case(ValueError, name + "query has 3 features, key has 4", (2, 3), (2, 4), (2, 4))
    case(ValueError, name + "there are 5 keys for 6 values", (2, 3), (5, 3), (6, 3))
    case(ValueError, name + r"shapes \(2, 4, 3\) and \(3, 5, 3\) do not broadcast", (2, 4, 3), (3, 5, 3), (3, 5, 3))
    mask = dg.zeros(4, 4, dtype=dg.bool)
    case(ValueError, name + r"attn_mask has shape \(4, 4\), the scores have \(4, 5\)", (4, 3), (5, 3), (5, 3), attn_mask=mask)
    case(ValueError, name + r"attn_mask has shape \(1, 4, 4\)", (4, 3), (4, 3), (4, 3), attn_mask=mask[None])
    case(TypeError, name + "attn_mask and is_causal=True exclude", (4, 3), (4, 3), (4, 3), attn_mask=mask, is_causal=True)
    case(TypeError, name + "attn_mask must be bool or float32, got int64", (4, 3), (4, 3), (4, 3), attn_mask=mask.long())
    case(ValueError, name + "dropout_p must be between 0 and 1, got 1.5", (4, 3), (4, 3), (4, 3), dropout_p=1.5)
    shapes = (4, 2, 3), (3, 2, 3), (3, 2, 3)
    case(ValueError, name + "4 heads of query do not fall into groups for 3 heads of key", *shapes, enable_gqa=True)
    case(IndexError, name + "enable_gqa needs heads: query must have at", (4, 3), (4, 3), (4, 3), enable_gqa=True)
    with pytest.raises(TypeError, match=name + "query, key and value must have one floating-point dtype, got float32, float64"):
        attention(dg.zeros(2, 2), dg.zeros(2, 2).double(), dg.zeros(2, 2))
    with pytest.raises(ValueError, match="MultiheadAttention: 5 features do not fall into 2 heads"):
        nn.MultiheadAttention(5, 2)
    layer, x = nn.MultiheadAttention(4, 2), dg.zeros(3, 2, 4)
    name = "multi_head_attention_forward: "
    with pytest.raises(IndexError, match=name + "key must have 3 dimensions beside a query of 3, got 2"):
        layer(x, x[0], x[0])
    with pytest.raises(ValueError, match=name + "query has 3 features, the layer is made for 4"):
        layer(x[..., :3], x, x)
    with pytest.raises(ValueError, match=name + "query has a batch of 2, key one of 1"):
        layer(x, x[:, :1], x[:, :1])
    with pytest.raises(ValueError, match=name + r"attn_mask must have shape \(3, 3\), got \(2, 3\)"):
        layer(x, x, x, attn_mask=dg.zeros(2, 3))
    with pytest.raises(ValueError, match=name + r"key_padding_mask must have shape \(2, 3\), got \(3, 2\)"):
        layer(x, x, x, key_padding_mask=dg.zeros(3, 2, dtype=dg.bool))
    with pytest.raises(TypeError, match=name + "key_padding_mask must be bool or a float, got int64"):
        layer(x, x, x, key_padding_mask=dg.zeros(2, 3, dtype=dg.int64))
    with pytest.raises(TypeError, match=name + "is_causal=True says that attn_mask is the causal one, and needs it"):
        layer(x, x, x, is_causal=True)


def test_keys_whose_number_a_loop_decides() -> None:
    """As in generation with a cache: one capture, whatever the length."""

    def attend(q: dg.Tensor, keys: dg.Tensor, begin: int) -> dg.Tensor:
        for end in range(begin, keys.shape[-2]):
            q = q + attention(q, keys[:, :end], keys[:, :end])
        return q

    static = dg.static(attend)
    for length, begin in ((6, 2), (4, 1), (9, 3)):
        q, keys = dg.tensor(numbers(2, 1, 4)), dg.tensor(numbers(2, length, 4))
        np.testing.assert_allclose(static(q, keys, begin).numpy(), attend(q, keys, begin).numpy(), rtol=1e-12)
    assert static.captures == 2
