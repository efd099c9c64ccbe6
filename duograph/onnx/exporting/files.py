"""Models on disk: written beside their place and moved there when whole; large weights in a file of their own."""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path
from typing import Any

import onnx

from .building import Built, tensor_proto

_LARGE = 1 << 10  # bytes from which a tensor goes to the file of weights
_LIMIT = 3 << 29  # bytes of weights from which they go to a file of their own; protobuf ends at 2 GiB
_ALIGNED = 4096


def write(built: Built, path: Any, external: bool | None = None) -> None:
    """The model in a file, or in an open one; `external` None: weights lie beside it where they are too many for one file."""
    total = sum(tensor.nbytes for tensor in built.weights.values())
    if hasattr(path, "write"):
        path.write(put_inside(built).SerializeToString())
        return
    target = Path(path)
    beside = external if external is not None else total > _LIMIT
    if beside:
        data = target.with_name(target.name + ".data")
        with _replacing(data) as file:
            _put_beside(built, file, data.name)
    else:
        put_inside(built)
    with _replacing(target) as file:
        file.write(built.model.SerializeToString())


class _replacing:
    """A new file under another name, which takes its place when it is whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.temporary = path.with_name(f".{secrets.token_hex(6)}.tmp")
        self.file: Any = None

    def __enter__(self) -> Any:
        if self.path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(self.path))
        try:
            self.file = open(self.temporary, "wb")
        except OSError as error:
            error.filename = str(self.path)
            raise
        return self.file

    def __exit__(self, kind: Any, *rest: object) -> None:
        try:
            if kind is None:
                self.file.flush()
                os.fsync(self.file.fileno())
        finally:
            self.file.close()
        if kind is None:
            os.replace(self.temporary, self.path)
        else:
            self.temporary.unlink(missing_ok=True)


def put_inside(built: Built) -> onnx.ModelProto:
    """The model with its weights in it."""
    _drop(built)
    for name, tensor in built.weights.items():
        built.model.graph.initializer.append(tensor_proto(name, tensor))
    return built.model


def _drop(built: Built) -> None:
    """The model without weights that were put there before."""
    kept = [each for each in built.model.graph.initializer if each.name not in built.weights]
    del built.model.graph.initializer[:]
    built.model.graph.initializer.extend(kept)


def _put_beside(built: Built, file: Any, location: str) -> None:
    """Large weights one after the other at borders of pages, so that they can be mapped."""
    at = 0
    _drop(built)
    for name, tensor in built.weights.items():
        made = tensor_proto(name, tensor)
        if len(made.raw_data) >= _LARGE:
            at += file.write(bytes(-at % _ALIGNED))
            length = file.write(made.raw_data)
            made.ClearField("raw_data")
            made.data_location = onnx.TensorProto.EXTERNAL
            for key, value in (("location", location), ("offset", str(at)), ("length", str(length))):
                row = made.external_data.add()
                row.key, row.value = key, value
            at += length
        built.model.graph.initializer.append(made)
