"""Pooling as modules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .. import _core as core
from ..errors import DomainError
from . import functional
from .module import Module

Tensor = core.Tensor
Numbers = int | Sequence[int]


class _Pool(Module):
    """Base: applies `operator` with the settings that the class was made with; the stride is the kernel's size if left out."""

    operator: Callable[..., Any]
    shown: tuple[str, ...] = ()

    def __init__(self, kernel_size: Numbers, stride: Numbers | None, **settings: Any) -> None:
        super().__init__()
        self.settings = ("kernel_size", "stride", *settings)
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        for name, value in settings.items():
            setattr(self, name, value)

    def forward(self, x: Tensor) -> Any:
        return self.operator(x, **{name: getattr(self, name) for name in self.settings})

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)}" for name in self.shown)


class _MaxPool(_Pool):
    shown = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")

    def __init__(
        self,
        kernel_size: Numbers,
        stride: Numbers | None = None,
        padding: Numbers = 0,
        dilation: Numbers = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__(
            kernel_size, stride, padding=padding, dilation=dilation, return_indices=return_indices, ceil_mode=ceil_mode
        )


class MaxPool1d(_MaxPool):
    """The greatest element of each window over the last dimension; with return_indices also where it lies."""

    operator: Callable[..., Any] = staticmethod(functional.max_pool1d)


class MaxPool2d(_MaxPool):
    """The greatest element of each window over the last two dimensions; with return_indices also where it lies."""

    operator: Callable[..., Any] = staticmethod(functional.max_pool2d)


class MaxPool3d(_MaxPool):
    """The greatest element of each window over the last three dimensions; with return_indices also where it lies."""

    operator: Callable[..., Any] = staticmethod(functional.max_pool3d)


class AvgPool1d(_Pool):
    """The mean of each window over the last dimension."""

    operator: Callable[..., Any] = staticmethod(functional.avg_pool1d)
    shown = ("kernel_size", "stride", "padding")

    def __init__(
        self,
        kernel_size: Numbers,
        stride: Numbers | None = None,
        padding: Numbers = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(kernel_size, stride, padding=padding, ceil_mode=ceil_mode, count_include_pad=count_include_pad)

    def extra_repr(self) -> str:
        shown = ((name, getattr(self, name)) for name in self.shown)
        return ", ".join(f"{name}={(value,) if isinstance(value, int) else value}" for name, value in shown)


class _AvgPool(_Pool):
    shown = ("kernel_size", "stride", "padding")

    def __init__(
        self,
        kernel_size: Numbers,
        stride: Numbers | None = None,
        padding: Numbers = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__(
            kernel_size,
            stride,
            padding=padding,
            ceil_mode=ceil_mode,
            count_include_pad=count_include_pad,
            divisor_override=divisor_override,
        )


class AvgPool2d(_AvgPool):
    """The mean of each window over the last two dimensions."""

    operator: Callable[..., Any] = staticmethod(functional.avg_pool2d)


class AvgPool3d(_AvgPool):
    """The mean of each window over the last three dimensions."""

    operator: Callable[..., Any] = staticmethod(functional.avg_pool3d)


class _LPPool(Module):
    operator: Callable[..., Any]

    def __init__(self, norm_type: float, kernel_size: Numbers, stride: Numbers | None = None, ceil_mode: bool = False) -> None:
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def forward(self, x: Tensor) -> Any:
        return self.operator(x, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self) -> str:
        names = ("norm_type", "kernel_size", "stride", "ceil_mode")
        return ", ".join(f"{name}={getattr(self, name)}" for name in names)


class LPPool1d(_LPPool):
    """The norm of each window over the last dimension."""

    operator: Callable[..., Any] = staticmethod(functional.lp_pool1d)


class LPPool2d(_LPPool):
    """The norm of each window over the last two dimensions."""

    operator: Callable[..., Any] = staticmethod(functional.lp_pool2d)


class LPPool3d(_LPPool):
    """The norm of each window over the last three dimensions."""

    operator: Callable[..., Any] = staticmethod(functional.lp_pool3d)


class _Adaptive(Module):
    operator: Callable[..., Any]

    def __init__(self, output_size: int | Sequence[int | None] | None) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, x: Tensor) -> Any:
        return self.operator(x, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_Adaptive):
    """The means of as many windows over the last dimension as output_size says."""

    operator: Callable[..., Any] = staticmethod(functional.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(_Adaptive):
    """The means of as many windows over the last two dimensions as output_size says; None keeps a size."""

    operator: Callable[..., Any] = staticmethod(functional.adaptive_avg_pool2d)


class AdaptiveAvgPool3d(_Adaptive):
    """The means of as many windows over the last three dimensions as output_size says; None keeps a size."""

    operator: Callable[..., Any] = staticmethod(functional.adaptive_avg_pool3d)


class _AdaptiveMax(_Adaptive):
    def __init__(self, output_size: int | Sequence[int | None] | None, return_indices: bool = False) -> None:
        super().__init__(output_size)
        self.return_indices = return_indices

    def forward(self, x: Tensor) -> Any:
        return self.operator(x, self.output_size, self.return_indices)


class AdaptiveMaxPool1d(_AdaptiveMax):
    """The greatest of as many windows over the last dimension as output_size says; with return_indices also where."""

    operator: Callable[..., Any] = staticmethod(functional.adaptive_max_pool1d)


class AdaptiveMaxPool2d(_AdaptiveMax):
    """The greatest of as many windows over the last two dimensions as output_size says; with return_indices also where."""

    operator: Callable[..., Any] = staticmethod(functional.adaptive_max_pool2d)


class AdaptiveMaxPool3d(_AdaptiveMax):
    """The greatest of as many windows over the last three dimensions as output_size says; with return_indices also where."""

    operator: Callable[..., Any] = staticmethod(functional.adaptive_max_pool3d)


class _MaxUnpool(Module):
    operator: Callable[..., Any]
    dims: int

    def __init__(self, kernel_size: Numbers, stride: Numbers | None = None, padding: Numbers = 0) -> None:
        super().__init__()
        self.kernel_size = self._all(kernel_size)
        self.stride = self.kernel_size if stride is None else self._all(stride)
        self.padding = self._all(padding)

    def _all(self, value: Numbers) -> tuple[int, ...]:
        return (value,) * self.dims if isinstance(value, int) else tuple(value)

    def forward(self, input: Tensor, indices: Tensor, output_size: Sequence[int] | None = None) -> Any:
        return self.operator(input, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    """Undoes `MaxPool1d` with its indices: the elements where they were, zeros elsewhere."""

    operator: Callable[..., Any] = staticmethod(functional.max_unpool1d)
    dims = 1


class MaxUnpool2d(_MaxUnpool):
    """Undoes `MaxPool2d` with its indices: the elements where they were, zeros elsewhere."""

    operator: Callable[..., Any] = staticmethod(functional.max_unpool2d)
    dims = 2


class MaxUnpool3d(_MaxUnpool):
    """Undoes `MaxPool3d` with its indices: the elements where they were, zeros elsewhere."""

    operator: Callable[..., Any] = staticmethod(functional.max_unpool3d)
    dims = 3


class _FractionalMaxPool(Module):
    operator: Callable[..., Any]
    _random_samples: Tensor | None

    def __init__(
        self,
        kernel_size: Numbers,
        output_size: Numbers | None = None,
        output_ratio: float | Sequence[float] | None = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ) -> None:
        super().__init__()
        if (output_size is None) == (output_ratio is None):
            raise DomainError(f"{type(self).__name__}: give either output_size or output_ratio")
        self.kernel_size, self.output_size, self.output_ratio = kernel_size, output_size, output_ratio
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)

    def forward(self, input: Tensor) -> Any:
        size = self.kernel_size, self.output_size, self.output_ratio
        return self.operator(input, *size, self.return_indices, self._random_samples)


class FractionalMaxPool2d(_FractionalMaxPool):
    """The greatest elements of windows that begin at random places of a plane; with return_indices also where they lie."""

    operator: Callable[..., Any] = staticmethod(functional.fractional_max_pool2d)


class FractionalMaxPool3d(_FractionalMaxPool):
    """The greatest elements of windows that begin at random places of a block; with return_indices also where they lie."""

    operator: Callable[..., Any] = staticmethod(functional.fractional_max_pool3d)
