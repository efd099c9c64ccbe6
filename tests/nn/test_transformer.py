"""Transformers and their layers against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import twins

import duograph as dg
from duograph import nn

RNG = np.random.default_rng(9)
SMALL = {"d_model": 4, "nhead": 2, "dim_feedforward": 6, "dropout": 0.0}


def numbers(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


def called(given: dict[str, Any]) -> Any:
    """Calls a module of either library with arrays among the keywords."""

    def call(module: Any, *x: Any) -> Any:
        library = dg if isinstance(module, nn.Module) else torch
        return module(*x, **{k: library.tensor(v) if isinstance(v, np.ndarray) else v for k, v in given.items()})

    return call


CAUSAL = np.triu(np.full((3, 3), -np.inf), 1)
PADDING = np.array([[False, True, False], [False, False, True]])


@pytest.mark.parametrize(
    "settings, x, given",
    [
        ({}, numbers(3, 2, 4), {}),
        ({"norm_first": True, "activation": "gelu", "bias": False}, numbers(3, 4), {"src_mask": CAUSAL, "is_causal": True}),
        (
            {"batch_first": True, "layer_norm_eps": 0.1},
            numbers(2, 3, 4),
            {"src_key_padding_mask": PADDING, "src_mask": CAUSAL == 0},
        ),
    ],
)
def test_encoder_layer(settings: dict[str, Any], x: np.ndarray, given: dict[str, Any]) -> None:
    if "src_key_padding_mask" in given:
        given = {**given, "src_mask": CAUSAL < 0}
    twins.compare(*twins.pair("TransformerEncoderLayer", **SMALL, **settings), [x], called(given))


@pytest.mark.parametrize(
    "settings, x, memory, given",
    [
        ({}, numbers(3, 2, 4), numbers(5, 2, 4), {"tgt_mask": CAUSAL, "tgt_is_causal": True}),
        ({"norm_first": True, "bias": False}, numbers(3, 4), numbers(2, 4), {"memory_mask": numbers(3, 2)}),
        (
            {"batch_first": True},
            numbers(2, 3, 4),
            numbers(2, 3, 4),
            {"memory_key_padding_mask": PADDING, "tgt_key_padding_mask": PADDING},
        ),
    ],
)
def test_decoder_layer(settings: dict[str, Any], x: np.ndarray, memory: np.ndarray, given: dict[str, Any]) -> None:
    twins.compare(*twins.pair("TransformerDecoderLayer", **SMALL, **settings), [x, memory], called(given))


def test_any_function_may_be_the_activation() -> None:
    ours = nn.TransformerEncoderLayer(**SMALL, activation=nn.functional.silu).double()
    theirs = torch.nn.TransformerEncoderLayer(**SMALL, activation=torch.nn.functional.silu).double()
    twins.load(ours, theirs)
    twins.compare(ours, theirs, [numbers(3, 2, 4)], second=False)
    assert nn.TransformerEncoderLayer(**SMALL, activation=nn.Tanh()).activation(dg.zeros(1)).item() == 0
    with pytest.raises(ValueError, match="TransformerEncoderLayer: activation must be 'relu', 'gelu' or a function, got 'tanh'"):
        nn.TransformerEncoderLayer(**SMALL, activation="tanh")


def test_transformer() -> None:
    settings = {"num_encoder_layers": 2, "num_decoder_layers": 1, **SMALL}
    mask = nn.Transformer.generate_square_subsequent_mask(3)
    assert mask.tolist() == CAUSAL.tolist() and mask.dtype is dg.float32
    given = {"tgt_mask": CAUSAL, "src_key_padding_mask": PADDING, "memory_key_padding_mask": PADDING, "tgt_is_causal": True}
    ours, theirs = twins.pair("Transformer", **settings, batch_first=True)
    twins.compare(ours, theirs, [numbers(2, 3, 4), numbers(2, 3, 4)], called(given), second=False)
    with pytest.raises(ValueError, match="Transformer: src has a batch of 2, tgt one of 3"):
        ours(dg.zeros(2, 3, 4).double(), dg.zeros(3, 3, 4).double())
    with pytest.raises(ValueError, match="Transformer: tgt has 5 features, d_model is 4"):
        ours(dg.zeros(2, 3, 4).double(), dg.zeros(2, 3, 5).double())


def test_stacks() -> None:
    for norm in (True, False):
        ours = nn.TransformerEncoder(nn.TransformerEncoderLayer(**SMALL), 2, nn.LayerNorm(4) if norm else None).double()
        layer = torch.nn.TransformerEncoderLayer(**SMALL)
        theirs = torch.nn.TransformerEncoder(
            layer, 2, torch.nn.LayerNorm(4) if norm else None, enable_nested_tensor=False
        ).double()
        assert list(ours.state_dict()) == list(theirs.state_dict())
        twins.load(ours, theirs)
        twins.compare(ours, theirs, [numbers(3, 2, 4)], called({"mask": CAUSAL}), second=False)
    first, second = ours.layers
    assert first.self_attn.in_proj_weight is not second.self_attn.in_proj_weight


def test_a_training_step_at_several_lengths() -> None:
    """The static step is the dynamic one, to the bit, with dropout."""

    def run(freeze: bool) -> list[np.ndarray]:
        dg.manual_seed(0)
        model = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, 0.2, batch_first=True, norm_first=True), 2)
        optimizer = dg.optim.SGD(model.parameters(), lr=0.1)

        def step(x: Any) -> Any:
            loss = (model(x) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        step = dg.static(step, strict=True) if freeze else step
        losses = [step(dg.tensor(RNG_OF(n).standard_normal((3, n, 8)).astype(np.float32))) for n in (4, 6, 5)]
        return [x.detach().numpy() for x in (*losses, *model.parameters())]

    twins.same_bits(run(True), run(False))


RNG_OF = np.random.default_rng
