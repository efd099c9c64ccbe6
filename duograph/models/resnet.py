"""Residual networks (He et al. 2015) of two kinds of blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from .. import _core as core
from .. import nn
from ..errors import ArgumentError, DomainError
from .weights import with_weights

Tensor = core.Tensor
Norm: TypeAlias = Callable[[int], nn.Module]


def _conv3x3(inputs: int, outputs: int, stride: int = 1, groups: int = 1, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, padding=dilation, dilation=dilation, groups=groups, bias=False)


def _conv1x1(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 1, stride, bias=False)


class BasicBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut, the block of ResNet-18.

    Shapes: x [n, inplanes, h, w] → [n, planes, ⌈h / stride⌉, ⌈w / stride⌉]
    `downsample` brings x to the shape of the result where that is another one.
    Errors: DomainError where groups, width or dilation are not 1, 64 and 1: they are the Bottleneck's
    """

    expansion = 1

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        groups: int = 1,
        base_width: int = 64,
        dilation: int = 1,
        norm_layer: Norm | None = None,
    ) -> None:
        super().__init__()
        norm = nn.BatchNorm2d if norm_layer is None else norm_layer
        if groups != 1 or base_width != 64 or dilation != 1:
            given = f"groups={groups}, width_per_group={base_width}, dilation={dilation}"
            raise DomainError(f"BasicBlock: has no groups, widths and dilations, got {given}", hint="Bottleneck has them")
        self.conv1 = _conv3x3(inplanes, planes, stride)
        self.bn1 = norm(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = _conv3x3(planes, planes)
        self.bn2 = norm(planes)
        self.downsample = downsample
        self.stride = stride

    @property
    def last_norm(self) -> nn.Module:
        """The normalisation before the sum."""
        return self.bn2

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        made = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(made)) + shortcut)  # type: ignore[no-any-return]


class Bottleneck(nn.Module):
    """A 3×3 convolution between two 1×1 ones beside a shortcut, the block of ResNet-50; the 3×3 one has the stride.

    Shapes: x [n, inplanes, h, w] → [n, 4 · planes, ⌈h / stride⌉, ⌈w / stride⌉]
    The middle has `planes · base_width / 64 · groups` channels.
    """

    expansion = 4

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        groups: int = 1,
        base_width: int = 64,
        dilation: int = 1,
        norm_layer: Norm | None = None,
    ) -> None:
        super().__init__()
        norm = nn.BatchNorm2d if norm_layer is None else norm_layer
        width = int(planes * (base_width / 64.0)) * groups
        self.conv1 = _conv1x1(inplanes, width)
        self.bn1 = norm(width)
        self.conv2 = _conv3x3(width, width, stride, groups, dilation)
        self.bn2 = norm(width)
        self.conv3 = _conv1x1(width, planes * self.expansion)
        self.bn3 = norm(planes * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.stride = stride

    @property
    def last_norm(self) -> nn.Module:
        """The normalisation before the sum."""
        return self.bn3

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        made = self.relu(self.bn1(self.conv1(x)))
        made = self.relu(self.bn2(self.conv2(made)))
        return self.relu(self.bn3(self.conv3(made)) + shortcut)  # type: ignore[no-any-return]


Block: TypeAlias = type[BasicBlock] | type[Bottleneck]


class ResNet(nn.Module):
    """A stem, four stages of residual blocks, and a linear layer on the mean of each channel.

    Args:
        block: `BasicBlock` or `Bottleneck`.
        layers: how many blocks each of the four stages has.
        num_classes: features of the result.
        zero_init_residual: each block begins as its shortcut (Goyal et al. 2017).
        groups, width_per_group: of Bottlenecks (Xie et al. 2016, Zagoruyko and Komodakis 2016).
        replace_stride_with_dilation: for each of the last three stages, whether it dilates its kernels and keeps the size.
        norm_layer: what makes a normalisation of so many channels; BatchNorm2d.
        in_channels: channels of the images.
        width: channels of the stem; the stages have 1, 2, 4 and 8 times as many planes.

    Shapes: x [n, in_channels, h, w], any h and w of at least 1 → [n, num_classes]
    Parameters and buffers have torchvision's names. Convolutions start as He et al. have it (by what goes out).
    Errors: ArgumentError where there are not four stages; DomainError for groups, widths or dilations of BasicBlocks

    >>> import duograph as dg
    >>> small = dg.models.ResNet(dg.models.BasicBlock, [1, 1, 1, 1], num_classes=10, width=8)
    >>> small(dg.rand(2, 3, 32, 32)).shape
    duograph.Size([2, 10])
    """

    def __init__(
        self,
        block: Block,
        layers: Sequence[int],
        num_classes: int = 1000,
        zero_init_residual: bool = False,
        groups: int = 1,
        width_per_group: int = 64,
        replace_stride_with_dilation: Sequence[bool] | None = None,
        norm_layer: Norm | None = None,
        *,
        in_channels: int = 3,
        width: int = 64,
    ) -> None:
        super().__init__()
        dilated = (False, False, False) if replace_stride_with_dilation is None else tuple(replace_stride_with_dilation)
        if len(layers) != 4:
            raise ArgumentError(f"ResNet: layers must say how many blocks each of the 4 stages has, got {list(layers)}")
        if len(dilated) != 3:
            raise ArgumentError(f"ResNet: replace_stride_with_dilation must be 3 answers, got {replace_stride_with_dilation!r}")
        self._norm: Norm = nn.BatchNorm2d if norm_layer is None else norm_layer
        self.inplanes, self.dilation = width, 1
        self.groups, self.base_width = groups, width_per_group
        self.conv1 = nn.Conv2d(in_channels, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = self._norm(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = self._stage(block, width, layers[0], 1, False)
        self.layer2 = self._stage(block, 2 * width, layers[1], 2, dilated[0])
        self.layer3 = self._stage(block, 4 * width, layers[2], 2, dilated[1])
        self.layer4 = self._stage(block, 8 * width, layers[3], 2, dilated[2])
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(8 * width * block.expansion, num_classes)
        self._fill(zero_init_residual)

    def _stage(self, block: Block, planes: int, count: int, stride: int, dilated: bool) -> nn.Sequential:
        """Blocks of which the first changes size and channels."""
        before = self.dilation
        if dilated:
            self.dilation, stride = self.dilation * stride, 1
        outputs = planes * block.expansion
        shortcut = None
        if stride != 1 or self.inplanes != outputs:
            shortcut = nn.Sequential(_conv1x1(self.inplanes, outputs, stride), self._norm(outputs))
        shared = (self.groups, self.base_width)
        blocks = [block(self.inplanes, planes, stride, shortcut, *shared, before, self._norm)]
        self.inplanes = outputs
        blocks += [block(outputs, planes, 1, None, *shared, self.dilation, self._norm) for _ in range(1, count)]
        return nn.Sequential(*blocks)

    def _fill(self, zero_init_residual: bool) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif zero_init_residual and isinstance(module, (BasicBlock, Bottleneck)):
                weight: Any = getattr(module.last_norm, "weight", None)
                if weight is not None:
                    nn.init.zeros_(weight)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))  # type: ignore[no-any-return]


def resnet18(*, weights: str | None = None, **settings: Any) -> ResNet:
    """ResNet-18: two BasicBlocks in each stage, 11.7 million parameters.

    Args:
        weights: a safetensors file with torchvision's names, as `dg.save(model.state_dict(), path)` writes it.
        settings: as `ResNet` takes them.

    >>> import duograph as dg
    >>> sum(p.numel() for p in dg.models.resnet18().parameters())
    11689512
    """
    return with_weights(ResNet(BasicBlock, [2, 2, 2, 2], **settings), weights)


def resnet50(*, weights: str | None = None, **settings: Any) -> ResNet:
    """ResNet-50: 3, 4, 6 and 3 Bottlenecks, 25.6 million parameters; arguments as `resnet18`'s.

    >>> import duograph as dg
    >>> sum(p.numel() for p in dg.models.resnet50().parameters())
    25557032
    """
    return with_weights(ResNet(Bottleneck, [3, 4, 6, 3], **settings), weights)
