"""The classes of ONNX's messages, which is all of the package `onnx` that reading a file takes: the rest loads thrice as long."""

from __future__ import annotations

import os
import sys
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from typing import Any

from duograph.errors import ArgumentError


def library() -> Any:
    """The package `onnx`, or an error that names the extra which has it."""
    try:
        import onnx
    except ImportError:
        raise ArgumentError("onnx: the package onnx is not installed", hint='pip install "duograph[onnx]"') from None
    return onnx


@cache
def messages() -> Any:
    """The module that has ModelProto and the others: the very classes that `onnx` has, as protobuf keeps one of each."""
    spec = None if "onnx" in sys.modules else find_spec("onnx")
    for folder in (spec and spec.submodule_search_locations) or ():
        path = os.path.join(folder, "onnx_ml_pb2.py")
        inner = spec_from_file_location("onnx.onnx_ml_pb2", path) if os.path.isfile(path) else None
        if inner is not None and inner.loader is not None:
            module = module_from_spec(inner)
            inner.loader.exec_module(module)
            return module
    return library()
