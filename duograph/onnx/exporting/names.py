"""ONNX's names for element types."""

from __future__ import annotations

from typing import Any

import onnx
from onnx import helper

_TYPES = {
    "float32": "FLOAT", "float64": "DOUBLE", "float16": "FLOAT16", "bfloat16": "BFLOAT16", "bool": "BOOL", "int8": "INT8",
    "int16": "INT16", "int32": "INT32", "int64": "INT64", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32",
    "uint64": "UINT64",
}  # fmt: skip


def element_type(dtype: Any) -> int:
    """The number that ONNX has for a dtype."""
    return int(onnx.TensorProto.DataType.Value(_TYPES[dtype.name]))


def numpy_type(dtype: Any) -> Any:
    """NumPy's dtype for it, as the package `onnx` stores it."""
    return helper.tensor_dtype_to_np_dtype(element_type(dtype))
