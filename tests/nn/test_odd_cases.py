"""Every kind of layer at odd sizes against PyTorch's: results, gradients of two orders, state, and the static graph's bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import twins

import duograph as dg

RANDOM = np.random.default_rng(11)


def numbers(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape)


Case = tuple[str, tuple[Any, ...], dict[str, Any], tuple[int, ...]]

CONVOLUTIONS: list[Case] = [
    ("Conv1d", (4, 4, 3), {"groups": 4, "padding": 1}, (2, 4, 1)),
    ("Conv1d", (2, 3, 2), {"dilation": 5}, (1, 2, 6)),
    ("Conv1d", (2, 3, 4), {"padding": "same"}, (2, 2, 1)),
    ("Conv1d", (2, 3, 3), {"padding": 1}, (0, 2, 5)),
    ("Conv1d", (2, 3, 3), {"padding": 2, "padding_mode": "reflect"}, (2, 2, 3)),
    ("Conv2d", (3, 6, 3), {"groups": 3, "padding": 1, "stride": 2}, (2, 3, 1, 1)),
    ("Conv2d", (4, 4, 2), {"groups": 4, "dilation": 3, "padding": "same"}, (1, 4, 3, 2)),
    ("Conv2d", (2, 3, (2, 4)), {"padding": "same", "padding_mode": "circular"}, (1, 2, 4, 5)),
    ("Conv2d", (2, 3, 3), {"padding": 1, "padding_mode": "replicate"}, (2, 2, 1, 1)),
    ("Conv2d", (1, 1, 1), {}, (1, 1, 1, 1)),
    ("Conv2d", (2, 4, 3), {"groups": 2}, (0, 2, 4, 4)),
    ("Conv2d", (2, 1, 3), {"padding": 1, "stride": 2}, (2, 2, 26, 23)),
    ("Conv2d", (4, 6, 3), {"groups": 2, "padding": (0, 2), "dilation": (1, 4), "stride": (2, 1)}, (4, 5, 7)),
    ("Conv3d", (2, 2, 2), {"groups": 2, "padding": "same"}, (1, 2, 1, 2, 3)),
    ("Conv3d", (2, 3, 1), {"stride": 2, "dilation": 4}, (2, 2, 1, 1, 1)),
    ("Conv3d", (2, 3, 2), {"padding": 1, "padding_mode": "circular"}, (1, 2, 2, 2, 2)),
    ("Conv3d", (2, 3, 2), {}, (0, 2, 3, 3, 3)),
    ("ConvTranspose1d", (4, 4, 3), {"groups": 4, "stride": 2, "output_padding": 1}, (2, 4, 1)),
    ("ConvTranspose1d", (2, 3, 2), {"dilation": 5}, (1, 2, 3)),
    ("ConvTranspose1d", (2, 3, 2), {}, (0, 2, 3)),
    ("ConvTranspose2d", (2, 2, 1), {"stride": 3}, (1, 2, 1, 1)),
    ("ConvTranspose2d", (4, 8, 3), {"groups": 4, "padding": 1, "dilation": 2, "bias": False}, (2, 4, 2, 3)),
    ("ConvTranspose2d", (2, 3, 3), {}, (0, 2, 3, 3)),
    ("ConvTranspose3d", (2, 2, 2), {"groups": 2, "stride": 2}, (1, 2, 1, 1, 2)),
    ("ConvTranspose3d", (2, 3, 2), {"padding": 1, "dilation": 3}, (0, 2, 2, 2, 2)),
]

POOLS: list[Case] = [
    ("MaxPool1d", (2,), {"stride": 1}, (2, 3, 2)),
    ("MaxPool1d", (1,), {}, (2, 3, 1)),
    ("MaxPool2d", (2,), {}, (0, 3, 4, 4)),
    ("MaxPool2d", (3,), {"stride": 2, "padding": 1}, (1, 2, 1, 1)),
    ("MaxPool2d", (3,), {"stride": 1, "padding": 1, "dilation": 2}, (1, 2, 5, 4)),
    ("MaxPool3d", (2,), {"ceil_mode": True}, (1, 2, 3, 3, 3)),
    ("AvgPool1d", (3,), {"padding": 1}, (2, 3, 1)),
    ("AvgPool2d", (2,), {"ceil_mode": True, "count_include_pad": False, "padding": 1}, (1, 2, 1, 1)),
    ("AvgPool2d", (3,), {}, (0, 2, 3, 3)),
    ("AvgPool3d", (2,), {"divisor_override": 3}, (1, 2, 2, 2, 2)),
    ("LPPool1d", (1.5, 2), {}, (2, 3, 5)),
    ("LPPool2d", (2, 2), {"stride": 1}, (2, 3, 3, 3)),
    ("LPPool3d", (3, 2), {}, (1, 2, 2, 2, 2)),
    ("AdaptiveAvgPool1d", (3,), {}, (2, 3, 1)),
    ("AdaptiveAvgPool2d", ((3, None),), {}, (2, 3, 1, 1)),
    ("AdaptiveAvgPool2d", (1,), {}, (0, 3, 4, 4)),
    ("AdaptiveAvgPool3d", ((2, 1, 3),), {}, (2, 3, 4, 2)),
    ("AdaptiveMaxPool1d", (4,), {}, (2, 3, 2)),
    ("AdaptiveMaxPool2d", ((2, 3),), {}, (2, 3, 1, 1)),
    ("AdaptiveMaxPool2d", (2,), {}, (0, 3, 4, 4)),
    ("AdaptiveMaxPool3d", (1,), {}, (1, 2, 2, 3, 2)),
]

OTHERS: list[Case] = [
    ("Linear", (3, 2), {}, (0, 3)),
    ("Linear", (3, 1), {"bias": False}, (3,)),
    ("BatchNorm1d", (3,), {"eps": 0.1}, (2, 3)),
    ("BatchNorm2d", (2,), {}, (3, 2, 1, 1)),
    ("BatchNorm3d", (2,), {"momentum": None}, (1, 2, 1, 1, 2)),
    ("InstanceNorm1d", (2,), {"affine": True}, (1, 2, 2)),
    ("InstanceNorm2d", (2,), {"track_running_stats": True}, (2, 1, 3)),
    ("InstanceNorm3d", (2,), {}, (1, 2, 1, 1, 2)),
    ("GroupNorm", (4, 4), {}, (2, 4, 3)),
    ("GroupNorm", (1, 4), {"affine": False}, (2, 4)),
    ("GroupNorm", (2, 4), {}, (0, 4, 2)),
    ("GroupNorm", (2, 2), {"eps": 0.3}, (2, 2, 1, 1)),
    ("LayerNorm", (4,), {}, (0, 4)),
    ("LayerNorm", (1,), {"eps": 0.5}, (3, 1)),
    ("LayerNorm", ((2, 3),), {"bias": False}, (2, 2, 3)),
    ("LayerNorm", (3,), {"elementwise_affine": False}, (3,)),
    ("RMSNorm", (4,), {}, (0, 4)),
    ("RMSNorm", ((2, 3),), {"eps": 0.2}, (2, 2, 3)),
    ("RMSNorm", (1,), {"elementwise_affine": False}, (2, 1)),
    ("LocalResponseNorm", (9,), {}, (1, 3, 1)),
    ("Unfold", (2,), {"padding": 1}, (1, 2, 1, 1)),
    ("Fold", ((2, 2), 2), {"padding": 1}, (1, 4, 9)),
    ("PixelShuffle", (3,), {}, (1, 9, 1, 1)),
    ("PixelUnshuffle", (2,), {}, (1, 1, 2, 2)),
    ("ChannelShuffle", (3,), {}, (1, 3, 1, 1)),
    ("Upsample", (), {"size": 3}, (1, 2, 1)),
    ("Upsample", (), {"scale_factor": 0.5, "mode": "bilinear"}, (1, 2, 2, 2)),
    ("Upsample", (), {"size": (1, 1), "mode": "bicubic", "align_corners": True}, (2, 1, 3, 3)),
    ("Upsample", (), {"size": 2, "mode": "trilinear"}, (0, 1, 2, 2, 2)),
    ("Upsample", (), {"size": (2, 3), "mode": "bilinear", "align_corners": True}, (1, 1, 1, 1)),
    ("ReflectionPad1d", (2,), {}, (2, 3)),
    ("ReplicationPad2d", (3,), {}, (2, 1, 1)),
    ("ReplicationPad3d", (1,), {}, (0, 1, 1, 2, 2)),
    ("CircularPad2d", ((0, 1, 2, 0),), {}, (1, 2, 2, 1)),
    ("ConstantPad1d", ((-1, -1), 3.0), {}, (2, 3)),
    ("ZeroPad2d", ((-1, 2, 0, -1),), {}, (0, 2, 3, 3)),
]


@pytest.mark.parametrize(
    "name, arguments, settings, shape",
    [*CONVOLUTIONS, *POOLS, *OTHERS],
    ids=[f"{name}-{'x'.join(map(str, shape))}-{i}" for i, (name, _, _, shape) in enumerate([*CONVOLUTIONS, *POOLS, *OTHERS])],
)
def test_as_in_torch(name: str, arguments: tuple[Any, ...], settings: dict[str, Any], shape: tuple[int, ...]) -> None:
    twins.compare(*twins.pair(name, *arguments, **settings), [numbers(*shape)])


@pytest.mark.parametrize("padding", [(-2, -2), (-4, 0), (-4, 3)])
def test_padding_that_cuts_more_than_there_is(padding: tuple[int, int]) -> None:
    pad = dg.nn.functional.pad
    for f in (pad, dg.static(pad)):
        with pytest.raises(dg.errors.ShapeError, match=r"pad: a padding of -\d and -?\d cuts more than the size 3"):
            f(dg.rand(1, 1, 3), padding)
    assert pad(dg.rand(1, 1, 3), (-2, -1)).shape == (1, 1, 0)
