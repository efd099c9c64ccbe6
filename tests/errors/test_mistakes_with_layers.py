"""Mistakes that users make with layers and their functions: refused in both modes, as in PyTorch, by operator and values."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

import duograph as dg

# A call of either library (`r` draws floats, `i` gives integers of zeros), and how the message begins.
MISTAKES = [
    ("F.conv2d(r(1,3,8,8), r(4,3,3,3), stride=-1)", "conv2d: stride must be at least 1, got -1"),
    ("F.conv2d(r(1,3,8,8), r(4,3,3,3), padding='same', stride=2)", "conv2d: padding='same' needs a stride of 1, got (2, 2)"),
    ("F.conv2d(i(1,3,8,8), r(4,3,3,3))", "conv2d: operands must have one dtype, got int64, float32"),
    ("nn.Conv2d(3, 4, 3)(r(1,4,8,8))", "conv2d: x has 4 channels, weight of shape (4, 3, 3, 3) with groups=1 takes 3"),
    ("nn.ConvTranspose2d(3, 4, 3, stride=2, output_padding=2)(r(1,3,4,4))", "conv_transpose2d: output_padding 2 must be smaller"),
    ("F.max_pool2d(r(1,3,4,4), 5)", "max_pool2d: a window of 5 in a dimension of size 4 with padding 0"),
    ("F.lp_pool2d(r(1,3,4,4), 0, 2)", "lp_pool2d: norm_type must not be 0"),
    ("nn.AdaptiveAvgPool2d((1,))(r(1,2,3,3))", "adaptive_avg_pool2d: output_size must be one number or 2, got (1,)"),
    ("nn.GroupNorm(0, 4)", "GroupNorm: num_groups must be at least 1, got 0"),
    ("F.group_norm(r(1,2), 2)", "group_norm: there is one element in each group of one example: input has shape (1, 2)"),
    ("nn.LayerNorm(4)(i(2,4))", "layer_norm: operands must have one dtype, got int64, float32"),
    ("F.layer_norm(i(2,4), (4,))", "layer_norm: needs a floating-point dtype, got int64"),
    ("F.layer_norm(r(2,4), (4,), r(4).double())", "layer_norm: operands must have one dtype, got float32, float64"),
    ("F.local_response_norm(r(1,2,3), 0)", "local_response_norm: size must be at least 1, got 0"),
    ("F.mse_loss(r(3), r(3), reduction='avg')", "mse_loss: reduction must be"),
    ("F.huber_loss(r(3), r(3), delta=0)", "huber_loss: needs a delta above 0, got 0"),
    ("F.multi_margin_loss(r(2,3), i(2), p=3)", "multi_margin_loss: p must be 1 or 2, got 3"),
    ("F.multilabel_margin_loss(r(2,3), i(2,2))", "multilabel_margin_loss: input has shape (2, 3), target (2, 2)"),
    ("F.grid_sample(r(1,1,4,4), r(1,2,2,2).double())", "grid_sample: operands must have one dtype, got float32, float64"),
    ("F.pixel_shuffle(r(1,4,2,2), 0)", "pixel_shuffle: upscale_factor must be at least 1, got 0"),
    ("F.pixel_unshuffle(r(1,4,2,2), 0)", "pixel_unshuffle: downscale_factor must be at least 1, got 0"),
    ("F.channel_shuffle(r(1,4,2), 0)", "channel_shuffle: groups must be at least 1, got 0"),
    ("F.pad(r(1,1,3), (1.5,1))", "pad: pad must be an integer or a sequence of integers, not float"),
    ("nn.ZeroPad2d(1.5)(r(1,1,2,2))", "ZeroPad2d: padding must be an integer or 4 of them, got 1.5"),
    ("F.one_hot(r(3), 4)", "one_hot: x must hold integers, got float32"),
    ("F.one_hot(i(3), -2)", "one_hot: num_classes must not be negative, got -2"),
    ("nn.Hardtanh(1.0, -1.0)(r(2))", "Hardtanh: min_val must be below max_val, got 1.0 and -1.0"),
    ("nn.LSTM(3, 4)(r(0,2,3))", "LSTM: a sequence needs at least one step, got (0, 2, 3)"),
    (
        "F.scaled_dot_product_attention(r(1,4,8), r(1,4,8), r(1,4,8), attn_mask=r(3,4))",
        "scaled_dot_product_attention: attn_mask has",
    ),
]


def names(library: Any) -> dict[str, Any]:
    def integers(*shape: int) -> Any:
        return library.zeros(*shape, dtype=library.int64)

    return {"F": library.nn.functional, "nn": library.nn, "r": library.rand, "i": integers}


@pytest.mark.parametrize(("call", "message"), MISTAKES, ids=[call for call, _ in MISTAKES])
def test_refused_in_both_modes(call: str, message: str) -> None:
    run = eval(f"lambda: {call}", names(dg))
    for function in (run, dg.static(run)):
        with pytest.raises(dg.Error, match=re.escape(message)):
            function()
    with pytest.raises(Exception):  # noqa: B017
        eval(call, names(torch))


def test_classes_below_zero() -> None:
    with pytest.raises(IndexError, match="one_hot: classes must not be negative, got -2"):
        dg.nn.functional.one_hot(dg.tensor([-2, -3]))


SEVENS = dg.tensor([7, 7, 7])
TABLE = dg.rand(5, 3)
WHILE_RUNNING = {
    "embedding: index 7 is out of range for a dimension of size 5": lambda: dg.nn.functional.embedding(SEVENS, TABLE),
    "nll_loss: index 7 is out of range for a dimension of size 3": lambda: dg.nn.functional.nll_loss(TABLE[:3], SEVENS),
    "index_add: index 7 is out of range for a dimension of size 5": lambda: TABLE.index_add(0, SEVENS, TABLE[:3]),
    "binary_cross_entropy: needs an input between 0 and 1, got 7": lambda: dg.nn.functional.binary_cross_entropy(
        dg.full((3,), 7.0), TABLE[0]
    ),
}


@pytest.mark.parametrize("message", WHILE_RUNNING)
def test_a_running_static_program_names_the_operator(message: str) -> None:
    for function in (WHILE_RUNNING[message], dg.static(WHILE_RUNNING[message])):
        with pytest.raises(dg.Error, match=f"^{re.escape(message)}\n  at {re.escape(__file__)}:"):
            function()


def test_two_operators_of_one_line_are_not_guessed_between() -> None:
    def both(a: Any, b: Any) -> Any:
        return dg.nn.functional.embedding(a, TABLE), TABLE.index_select(0, b)

    with pytest.raises(IndexError, match=r"^both: index 7 is out of range for a dimension of size 5"):
        dg.static(both)(SEVENS - 7, SEVENS)
