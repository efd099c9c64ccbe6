"""Values that are known while a model is followed: constants, and sizes, which a capture's numbers stand for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from duograph import _core as core
from duograph.tensors.creation import tensor as make_tensor

LONGEST = 1024  # elements of a constant that is kept as numbers
_DTYPES = {
    "int64": core.int64, "int32": core.int32, "int16": core.int16, "int8": core.int8, "uint8": core.uint8, "uint16": core.uint16,
    "uint32": core.uint32, "uint64": core.uint64, "float32": core.float32, "float64": core.float64, "float16": core.float16,
    "bool": core.bool,
}  # fmt: skip
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


class Known:
    """Numbers of at most one dimension (and what shape arithmetic makes of them).

    array   their values; of dtype object where sizes of a capture are among them
    dtype   that of the tensor that they are
    maker   gives that tensor where it exists already: an initialiser of the model
    """

    __slots__ = ("array", "dtype", "made", "maker")

    def __init__(self, array: Any, dtype: core.DType | None = None, maker: Callable[[], Any] | None = None) -> None:
        self.array = array
        self.dtype = dtype or (core.int64 if array.dtype == object else _DTYPES[array.dtype.name])
        self.maker = maker
        self.made: Any = None

    def tensor(self) -> Any:
        """The numbers as a tensor."""
        if self.maker is not None:
            return self.maker()
        if self.made is None:
            self.made = make_tensor(self.array.tolist(), dtype=self.dtype)
            if 0 in self.array.shape:
                self.made = self.made.reshape(self.array.shape)
        return self.made

    def numbers(self) -> list[Any]:
        """All numbers, one after the other."""
        found: list[Any] = self.array.reshape(-1).tolist()
        return found

    def number(self) -> Any:
        """The one number, as Python has it."""
        return self.array.reshape(-1).tolist()[0]


def numpy_name(dtype: core.DType) -> str | None:
    """What NumPy calls a dtype; None for what it does not have."""
    return _NAMES.get(dtype)


def of_sizes(sizes: Any) -> Known:
    """The shape of a tensor, as numbers."""
    numbers = list(sizes)
    if all(type(size) is int for size in numbers):
        return Known(np.array(numbers, np.int64))
    array = np.empty(len(numbers), object)
    array[:] = numbers
    return Known(array, core.int64)


def of_array(array: Any, maker: Callable[[], Any] | None = None) -> Known | None:
    """A constant as numbers; None if it is too large for that, or no numbers."""
    if array.ndim > 1 or array.size > LONGEST or array.dtype.name not in _DTYPES:
        return None
    return Known(array, None, maker)


def equals(size: Any, number: int) -> bool:
    """Whether a size is a number; a size that only the run knows is not."""
    return not isinstance(size, core.Tensor) and (size == number) is True


def settled(number: Any) -> Any:
    """A number that decides what is done, as Python's: the capture holds while it is that."""
    return number if type(number) is int else number.__index__()
