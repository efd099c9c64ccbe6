"""dtypes by TensorFlow's names: they are the core's own, and know NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np

from duograph import _core as core
from duograph._core import (
    DType,
    bfloat16,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from duograph.errors import DTypeError

__all__ = [
    "DType", "as_dtype", "bfloat16", "double", "float16", "float32", "float64", "half", "int8", "int16", "int32", "int64",
    "string", "uint8", "uint16", "uint32", "uint64",
]  # fmt: skip

bool = core.bool
half, double = float16, float64
_ALL = (bool, uint8, uint16, uint32, uint64, int8, int16, int32, int64, float16, bfloat16, float32, float64)
_BY_NAME = {dtype.name: dtype for dtype in _ALL} | {"half": float16, "float": float32, "double": float64, "int": int32}


class StringType:
    """The dtype of texts. They are Python's: a run hands them on, and computes nothing from them."""

    name = "string"
    kind = "s"
    code = -1
    itemsize = 8
    is_floating_point = is_complex = is_signed = False
    as_numpy_dtype = np.object_

    @property
    def base_dtype(self) -> StringType:
        return self

    def __repr__(self) -> str:
        return "tf.string"


string = StringType()


def numpy_dtype(dtype: Any) -> Any:
    """The NumPy type of a dtype; bfloat16, which NumPy lacks, crosses as float32."""
    if dtype is string:
        return np.object_
    return np.dtype("float32" if dtype is bfloat16 else dtype.name).type


def as_dtype(value: Any) -> Any:
    """A dtype given as such, by name, as NumPy's or Python's type.

    Errors:   DTypeError for what names no dtype

    >>> import duograph.graph as tf
    >>> tf.as_dtype("float32") is tf.float32
    True
    """
    if isinstance(value, (DType, StringType)):
        return value
    if value is float:
        return float32
    if value is int:
        return int32
    if value is str or value == "string":
        return string
    if isinstance(value, str) and value in _BY_NAME:
        return _BY_NAME[value]
    if isinstance(value, str) and value.endswith("_ref"):
        return as_dtype(value[:-4])
    try:
        name = np.dtype(value).name
    except TypeError:
        name = str(value)
    if name.startswith(("str", "bytes", "object")):
        return string
    if name not in _BY_NAME:
        raise DTypeError(f"as_dtype: {value!r} names no dtype", hint=f"one of {', '.join(dtype.name for dtype in _ALL)}")
    return _BY_NAME[name]


def dtype_of_array(array: Any, plain: Any) -> Any:
    """The dtype that a constant takes: Python's floats are float32 and its ints int32, arrays keep theirs."""
    if isinstance(plain, (np.ndarray, np.generic)):
        return as_dtype(array.dtype)
    if array.dtype == np.float64:
        return float32
    if array.dtype == np.int64:
        if array.size and (array.max() > 2147483647 or array.min() < -2147483648):
            return int64
        return int32
    return as_dtype(array.dtype)


def _install() -> None:
    """TensorFlow's attributes of dtypes, on the core's class."""

    def limits(dtype: Any) -> Any:
        return np.finfo(dtype.name) if dtype.is_floating_point else np.iinfo(dtype.name)

    attributes = {
        "as_numpy_dtype": numpy_dtype,
        "base_dtype": lambda dtype: dtype,
        "real_dtype": lambda dtype: dtype,
        "is_floating": lambda dtype: dtype.is_floating_point,
        "is_integer": lambda dtype: dtype.kind in "iu",
        "is_bool": lambda dtype: dtype.kind == "b",
        "size": lambda dtype: dtype.itemsize,
        "max": lambda dtype: limits(dtype).max,
        "min": lambda dtype: limits(dtype).min,
    }
    for name, read in attributes.items():
        setattr(DType, name, property(read))


_install()
