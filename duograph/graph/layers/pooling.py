"""Layers of maxima and means over windows."""

from __future__ import annotations

from typing import Any

from .. import nn
from ..layer import Layer
from ..nn.windows import per_size
from .convolutional import format_of
from .functions import function_of

__all__ = [
    "AveragePooling1D",
    "AveragePooling2D",
    "AveragePooling3D",
    "MaxPooling1D",
    "MaxPooling2D",
    "MaxPooling3D",
    "average_pooling1d",
    "average_pooling2d",
    "average_pooling3d",
    "max_pooling1d",
    "max_pooling2d",
    "max_pooling3d",
]


class _Pooling(Layer):
    rank: int
    kind: str

    def __init__(
        self,
        pool_size: Any,
        strides: Any,
        padding: str = "valid",
        data_format: str = "channels_last",
        name: str | None = None,
        **others: Any,
    ) -> None:
        super().__init__(name=name, **others)
        self.pool_size = tuple(per_size(type(self).__name__, "pool_size", pool_size, self.rank, None))
        self.strides = tuple(per_size(type(self).__name__, "strides", strides, self.rank, None))
        self.padding = padding
        self.data_format = data_format
        self._format = format_of(self.rank, data_format)

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """The outputs."""
        padding = self.padding.upper()
        return nn.pool(inputs, self.pool_size, self.kind, padding, strides=self.strides, data_format=self._format)


_ARGUMENTS = """

    Args:
        pool_size, strides: one number for all sizes, or one for each.
        padding: "valid" or "same".
        data_format: "channels_last" or "channels_first".
"""


class MaxPooling1D(_Pooling):
    __doc__ = "The greatest of each window of rows." + _ARGUMENTS
    rank, kind = 1, "MAX"


class MaxPooling2D(_Pooling):
    __doc__ = "The greatest of each window of images." + _ARGUMENTS
    rank, kind = 2, "MAX"


class MaxPooling3D(_Pooling):
    __doc__ = "The greatest of each window of volumes." + _ARGUMENTS
    rank, kind = 3, "MAX"


class AveragePooling1D(_Pooling):
    __doc__ = "The mean of each window of rows." + _ARGUMENTS
    rank, kind = 1, "AVG"


class AveragePooling2D(_Pooling):
    __doc__ = "The mean of each window of images." + _ARGUMENTS
    rank, kind = 2, "AVG"


class AveragePooling3D(_Pooling):
    __doc__ = "The mean of each window of volumes." + _ARGUMENTS
    rank, kind = 3, "AVG"


max_pooling1d = function_of(MaxPooling1D, "max_pooling1d")
max_pooling2d = function_of(MaxPooling2D, "max_pooling2d")
max_pooling3d = function_of(MaxPooling3D, "max_pooling3d")
average_pooling1d = function_of(AveragePooling1D, "average_pooling1d")
average_pooling2d = function_of(AveragePooling2D, "average_pooling2d")
average_pooling3d = function_of(AveragePooling3D, "average_pooling3d")
