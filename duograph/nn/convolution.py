"""Layers that multiply windows by kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .. import _core as core
from ..errors import ArgumentError, DomainError, ShapeError
from ..ops.convolution.convolutions import conv_transpose
from ..ops.convolution.geometry import numbers
from ..tensors.creation import empty
from . import functional, init
from .linear import check_count
from .module import Module
from .parameter import Parameter

Tensor = core.Tensor

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _Convolution(Module):
    """What convolutions and transposed ones share: settings, parameters and their first values.

    Both parameters start uniform in ±1/√(elements of a kernel) (He et al. 2015 with a = √5, as in PyTorch).
    """

    dims: int
    transposed: bool
    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int],
        padding: str | int | Sequence[int],
        dilation: int | Sequence[int],
        output_padding: int | Sequence[int],
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any,
        dtype: Any,
    ) -> None:
        super().__init__()
        name, dims = type(self).__name__, self.dims
        self.in_channels = check_count(name, "in_channels", in_channels)
        self.out_channels = check_count(name, "out_channels", out_channels)
        self.groups = check_count(name, "groups", groups)
        if groups < 1:
            raise DomainError(f"{name}: groups must be at least 1, got {groups}")
        for what, count in (("in_channels", in_channels), ("out_channels", out_channels)):
            if count % groups:
                raise ShapeError(f"{name}: {what}={count} is no multiple of groups={groups}")
        if padding_mode not in _PADDING_MODES:
            raise ArgumentError(f"{name}: padding_mode must be one of {', '.join(_PADDING_MODES)}, got {padding_mode!r}")
        self.kernel_size = numbers(name, "kernel_size", kernel_size, dims, 1)
        self.stride = numbers(name, "stride", stride, dims, 1)
        self.dilation = numbers(name, "dilation", dilation, dims, 1)
        self.output_padding = numbers(name, "output_padding", output_padding, dims, 0)
        self.padding = self._checked_padding(name, padding)
        self.padding_mode = padding_mode
        kernels = (in_channels, out_channels // groups) if self.transposed else (out_channels, in_channels // groups)
        self.weight = Parameter(empty(*kernels, *self.kernel_size, device=device, dtype=dtype))
        if bias:
            self.bias = Parameter(empty(out_channels, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def _checked_padding(self, name: str, padding: str | int | Sequence[int]) -> str | tuple[int, ...]:
        if not isinstance(padding, str):
            return numbers(name, "padding", padding, self.dims, 0)
        if padding not in ("same", "valid"):
            raise DomainError(f"{name}: padding must be 'same', 'valid' or numbers, got {padding!r}")
        if padding == "same" and any(step != 1 for step in self.stride):
            raise DomainError(f"{name}: padding='same' needs a stride of 1, got {self.stride}")
        return padding

    def reset_parameters(self) -> None:
        """Draws weight and bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            elements = math.prod(self.weight.shape[1:])
            bound = 1 / math.sqrt(elements) if elements > 0 else 0.0
            init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        none = (0,) * self.dims
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if self.padding != none:
            text += f", padding={self.padding}"
        if self.dilation != (1,) * self.dims:
            text += f", dilation={self.dilation}"
        if self.output_padding != none:
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        return text if self.padding_mode == "zeros" else f"{text}, padding_mode={self.padding_mode}"


class _Conv(_Convolution):
    transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: str | int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            *(in_channels, out_channels, kernel_size, stride, padding, dilation),
            *(0, groups, bias, padding_mode, device, dtype),
        )
        self._around = self._ends()

    def _ends(self) -> tuple[int, ...]:
        """What `functional.pad` puts in front of and behind each dimension, the last one first."""
        if self.padding == "valid":
            return (0,) * (2 * self.dims)
        if self.padding == "same":
            spans = [hole * (size - 1) for hole, size in zip(self.dilation, self.kernel_size)]
            pairs = [(span // 2, span - span // 2) for span in spans]
        else:
            pairs = [(int(size), int(size)) for size in self.padding]
        return tuple(size for pair in reversed(pairs) for size in pair)

    def forward(self, x: Tensor) -> Tensor:
        padding = self.padding
        if self.padding_mode != "zeros":
            x, padding = functional.pad(x, self._around, self.padding_mode), 0  # type: ignore[assignment]
        convolve = getattr(functional, f"conv{self.dims}d")
        return convolve(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)  # type: ignore[no-any-return]


class _ConvTranspose(_Convolution):
    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        output_padding: int | Sequence[int] = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | Sequence[int] = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if padding_mode != "zeros":
            raise DomainError(f"{type(self).__name__}: padding_mode must be 'zeros', got {padding_mode!r}")
        super().__init__(
            *(in_channels, out_channels, kernel_size, stride, padding, dilation),
            *(output_padding, groups, bias, padding_mode, device, dtype),
        )

    def _checked_padding(self, name: str, padding: str | int | Sequence[int]) -> str | tuple[int, ...]:
        return numbers(name, "padding", padding, self.dims, 0)

    def forward(self, x: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """`output_size`: the sizes of the result (with or without batch and channels), of which several fit one x."""
        padding = self.output_padding if output_size is None else self._padding_for(x, output_size)
        return conv_transpose(x, self.weight, self.bias, self.stride, self.padding, padding, self.groups, self.dilation)

    def _padding_for(self, x: Tensor, output_size: Sequence[int]) -> tuple[int, ...]:
        """The output_padding that gives a result of these sizes."""
        name, sizes, dims = type(self).__name__, tuple(output_size), self.dims
        if len(sizes) == x.dim() and len(sizes) != dims:
            sizes = sizes[-dims:]
        if len(sizes) != dims:
            raise ShapeError(f"{name}: output_size must be {dims} sizes or those of the whole result, got {tuple(output_size)}")
        found = []
        settings = zip(sizes, x.shape[-dims:], self.stride, self.padding, self.kernel_size, self.dilation)
        for wanted, size, step, pad, kernel, hole in settings:
            least = (size - 1) * step - 2 * int(pad) + hole * (kernel - 1) + 1
            if not least <= wanted < least + step:
                raise ShapeError(f"{name}: output_size {wanted} is not between {least} and {least + step - 1}")
            found.append(wanted - least)
        return tuple(found)


class Conv1d(_Conv):
    """Sums of products of each window of x with each kernel of weight; see `functional.conv1d`.

    Shapes: x [n, in_channels, length] or without n → [n, out_channels, windows];
    weight [out_channels, in_channels / groups, kernel]; bias [out_channels]
    """

    dims = 1


class Conv2d(_Conv):
    """Sums of products of each window of x with each kernel of weight; see `functional.conv2d`.

    Shapes: x [n, in_channels, h, w] or without n → [n, out_channels, windows];
    weight [out_channels, in_channels / groups, kh, kw]; bias [out_channels]

    >>> import duograph as dg
    >>> dg.nn.Conv2d(3, 8, 3, padding=1)(dg.ones(2, 3, 5, 4)).shape
    duograph.Size([2, 8, 5, 4])
    """

    dims = 2


class Conv3d(_Conv):
    """Sums of products of each window of x with each kernel of weight; see `functional.conv3d`.

    Shapes: x [n, in_channels, d, h, w] or without n → [n, out_channels, windows];
    weight [out_channels, in_channels / groups, kd, kh, kw]; bias [out_channels]
    """

    dims = 3


class ConvTranspose1d(_ConvTranspose):
    """Each element of x times a kernel of weight, added up `stride` apart; see `functional.conv_transpose1d`.

    Shapes: x [n, in_channels, length] or without n → [n, out_channels, sizes];
    weight [in_channels, out_channels / groups, kernel]; bias [out_channels]
    """

    dims = 1


class ConvTranspose2d(_ConvTranspose):
    """Each element of x times a kernel of weight, added up `stride` apart; see `functional.conv_transpose2d`.

    Shapes: x [n, in_channels, h, w] or without n → [n, out_channels, sizes];
    weight [in_channels, out_channels / groups, kh, kw]; bias [out_channels]

    >>> import duograph as dg
    >>> dg.nn.ConvTranspose2d(8, 3, 2, stride=2)(dg.ones(2, 8, 5, 4)).shape
    duograph.Size([2, 3, 10, 8])
    """

    dims = 2


class ConvTranspose3d(_ConvTranspose):
    """Each element of x times a kernel of weight, added up `stride` apart; see `functional.conv_transpose3d`.

    Shapes: x [n, in_channels, d, h, w] or without n → [n, out_channels, sizes];
    weight [in_channels, out_channels / groups, kd, kh, kw]; bias [out_channels]
    """

    dims = 3


class Unfold(Module):
    """The windows of images as columns; see `functional.unfold`.

    Shapes: x [n, c, h, w] → [n, c · kernel elements, windows]
    """

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        dilation: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        stride: int | Sequence[int] = 1,
    ) -> None:
        super().__init__()
        self.kernel_size, self.dilation, self.padding, self.stride = kernel_size, dilation, padding, stride

    def forward(self, x: Tensor) -> Tensor:
        return functional.unfold(x, self.kernel_size, self.dilation, self.padding, self.stride)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, stride={self.stride}"


class Fold(Module):
    """Columns added up to images; see `functional.fold`.

    Shapes: x [n, c · kernel elements, windows] → [n, c, *output_size]
    """

    def __init__(
        self,
        output_size: int | Sequence[int],
        kernel_size: int | Sequence[int],
        dilation: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        stride: int | Sequence[int] = 1,
    ) -> None:
        super().__init__()
        self.output_size, self.kernel_size, self.dilation = output_size, kernel_size, dilation
        self.padding, self.stride = padding, stride

    def forward(self, x: Tensor) -> Tensor:
        settings = self.kernel_size, self.dilation, self.padding, self.stride
        return functional.fold(x, self.output_size, *settings)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        sizes = f"output_size={self.output_size}, kernel_size={self.kernel_size}"
        return f"{sizes}, dilation={self.dilation}, padding={self.padding}, stride={self.stride}"
