"""MobileNetV2 (Sandler et al. 2018): inverted residual blocks with depthwise convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import _core as core
from .. import nn
from ..errors import ArgumentError, DomainError
from .resnet import Norm
from .weights import with_weights

Tensor = core.Tensor

# Of each stage: how much wider a block is inside, its result's channels, how many blocks, the first one's stride.
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def rounded_channels(channels: float, divisor: int = 8) -> int:
    """The nearest multiple of `divisor` that is at least `divisor`, and not less than nine tenths of what is asked for.

    >>> [rounded_channels(x) for x in (3, 33, 35, 36)]
    [8, 32, 32, 40]
    """
    nearest = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return nearest + divisor if nearest < 0.9 * channels else nearest


class ConvNormActivation(nn.Sequential):
    """A convolution that keeps the size up to its stride, a normalisation and ReLU6.

    Shapes: x [n, inputs, h, w] → [n, outputs, ⌈h / stride⌉, ⌈w / stride⌉]
    """

    def __init__(self, inputs: int, outputs: int, kernel_size: int, stride: int, groups: int, norm: Norm) -> None:
        padding = (kernel_size - 1) // 2
        convolution = nn.Conv2d(inputs, outputs, kernel_size, stride, padding, groups=groups, bias=False)
        super().__init__(convolution, norm(outputs), nn.ReLU6(inplace=True))


class InvertedResidual(nn.Module):
    """A depthwise convolution of more channels between two 1×1 ones; added to x where the shape stays.

    Shapes: x [n, inp, h, w] → [n, oup, ⌈h / stride⌉, ⌈w / stride⌉]
    Errors: DomainError for a stride other than 1 and 2
    """

    def __init__(self, inp: int, oup: int, stride: int, expand_ratio: float, norm_layer: Norm | None = None) -> None:
        super().__init__()
        if stride not in (1, 2):
            raise DomainError(f"InvertedResidual: stride must be 1 or 2, got {stride}")
        norm = nn.BatchNorm2d if norm_layer is None else norm_layer
        hidden = round(inp * expand_ratio)
        layers: list[nn.Module] = []
        if expand_ratio != 1:
            layers.append(ConvNormActivation(inp, hidden, 1, 1, 1, norm))
        layers.append(ConvNormActivation(hidden, hidden, 3, stride, hidden, norm))
        self.conv = nn.Sequential(*layers, nn.Conv2d(hidden, oup, 1, bias=False), norm(oup))
        self.stride = stride
        self.use_res_connect = stride == 1 and inp == oup

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.use_res_connect else self.conv(x)  # type: ignore[no-any-return]


class MobileNetV2(nn.Module):
    """A stem, stages of inverted residual blocks, a 1×1 convolution, and a linear layer on the mean of each channel.

    Args:
        num_classes: features of the result.
        width_mult: all channels are so many times as many, rounded to multiples of `round_nearest`.
        inverted_residual_setting: of each stage the expansion, channels, count and stride; `STAGES` if left out.
        block, norm_layer: what makes a block and a normalisation; `InvertedResidual` and BatchNorm2d.
        dropout: what the last layer's input loses in training.
        in_channels: channels of the images.

    Shapes: x [n, in_channels, h, w], any h and w of at least 1 → [n, num_classes]
    Parameters and buffers have torchvision's names.
    Errors: ArgumentError where a stage is not four numbers

    >>> import duograph as dg
    >>> small = dg.models.MobileNetV2(num_classes=10, width_mult=0.25)
    >>> small(dg.rand(2, 3, 32, 32)).shape
    duograph.Size([2, 10])
    """

    def __init__(
        self,
        num_classes: int = 1000,
        width_mult: float = 1.0,
        inverted_residual_setting: Sequence[Sequence[int]] | None = None,
        round_nearest: int = 8,
        block: Any = InvertedResidual,
        norm_layer: Norm | None = None,
        dropout: float = 0.2,
        *,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        norm = nn.BatchNorm2d if norm_layer is None else norm_layer
        stages = STAGES if inverted_residual_setting is None else inverted_residual_setting
        for stage in stages:
            if len(stage) != 4:
                raise ArgumentError(f"MobileNetV2: a stage is expansion, channels, count and stride, got {stage!r}")
        channels = rounded_channels(32 * width_mult, round_nearest)
        self.last_channel = rounded_channels(1280 * max(1.0, width_mult), round_nearest)
        features: list[nn.Module] = [ConvNormActivation(in_channels, channels, 3, 2, 1, norm)]
        for expansion, planes, count, stride in stages:
            outputs = rounded_channels(planes * width_mult, round_nearest)
            for number in range(count):
                features.append(block(channels, outputs, stride if number == 0 else 1, expansion, norm))
                channels = outputs
        features.append(ConvNormActivation(channels, self.last_channel, 1, 1, 1, norm))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(self.last_channel, num_classes))
        self._fill()

    def _fill(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0.0, 0.01)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean((2, 3)))  # type: ignore[no-any-return]


def mobilenet_v2(*, weights: str | None = None, **settings: Any) -> MobileNetV2:
    """MobileNetV2 with its published stages, 3.5 million parameters.

    Args:
        weights: a safetensors file with torchvision's names, as `dg.save(model.state_dict(), path)` writes it.
        settings: as `MobileNetV2` takes them.

    >>> import duograph as dg
    >>> sum(p.numel() for p in dg.models.mobilenet_v2().parameters())
    3504872
    """
    return with_weights(MobileNetV2(**settings), weights)
