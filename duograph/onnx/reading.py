"""Files of models: from a path or bytes to a ModelProto, and from its tensors to arrays. Files are not trusted.

A size is believed only when the bytes are there; external data lies in the model's folder, also after symbolic links.
"""

from __future__ import annotations

import math
import mmap
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from duograph import _core as core
from duograph._core import borrow_numpy

from .errors import ModelError, UnsupportedError
from .messages import library, messages
from .operators.narrow import carrier, held, is_narrow
from .wire import split

_LARGEST = 1 << 31  # bytes of one protobuf message
_OLDEST_IR = 3
_STAMPED = 1 << 23  # bytes, in 25 ms
_LARGEST_SIZE, _MOST_DIMENSIONS = 1 << 48, 32


class Source(NamedTuple):
    """A model and where it was read from: `folder` holds its external data, None if it came from memory.

    `weights` are the bytes of initialisers of the outermost graph, by number, that the model lacks; `stamp` a digest of all the
    rest, or empty where that is large.
    """

    model: Any
    folder: str | None
    name: str
    weights: Mapping[int, Any] = MappingProxyType({})
    stamp: str = ""


def read(source: Any, folder: Any = None, apart: bool = False) -> Source:
    """The model at a path, in bytes, or as it is.

    Args:
        source: a path, bytes, an open binary file, or a ModelProto.
        folder: where external data lies, for what is no path.
        apart: read large initialisers of a path straight to where they stay, into `Source.weights`: the model lacks them.

    Errors:   ModelError for what is no model, FileNotFoundError
    """
    if isinstance(source, messages().ModelProto):
        return Source(_checked(source, "model"), None if folder is None else os.fspath(folder), "model")
    if isinstance(source, (bytes, bytearray, memoryview)):
        return Source(_checked(_parsed(bytes(source), "bytes"), "bytes"), None if folder is None else os.fspath(folder), "model")
    if hasattr(source, "read"):
        return read(source.read(), folder)
    path = os.fspath(source)
    with open(path, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ModelError(f"onnx.load: {path!r} is no regular file")
        if os.fstat(file.fileno()).st_size > _LARGEST:
            raise ModelError(f"onnx.load: {path!r} has more than 2 GB", hint="large weights belong into external data")
        size = os.fstat(file.fileno()).st_size
        data, weights = (split(file.fileno(), size) if apart else None) or (file.read(), {})
    found = os.path.dirname(os.path.abspath(path)) if folder is None else os.fspath(folder)
    model = _checked(_parsed(data, repr(path)), repr(path))
    return Source(model, found, os.path.basename(path), weights, core.digest(data) if len(data) <= _STAMPED else "")


def _parsed(data: bytes, what: str) -> Any:
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    model = messages().ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, ValueError, RecursionError) as error:
        raise ModelError(f"onnx.load: {what} is no ONNX model, or a damaged one: {error}") from None
    return model


def _checked(model: Any, what: str) -> Any:
    if not model.HasField("graph") or not (model.graph.node or model.graph.output):
        raise ModelError(f"onnx.load: {what} has no graph")
    if model.ir_version and model.ir_version < _OLDEST_IR:
        raise ModelError(f"onnx.load: {what} is of version {model.ir_version} of ONNX's format, {_OLDEST_IR} is the oldest known")
    for name in _names(model.graph):
        if not isinstance(name, str):
            raise ModelError(f"onnx.load: {what} has the name {name!r}, which is no UTF-8 text")
    return model


def _names(graph: Any) -> Iterator[Any]:
    """What protobuf gives as bytes where it is no text."""
    yield graph.name
    for value in (*graph.input, *graph.output):
        yield value.name
        yield from (size.dim_param for size in value.type.tensor_type.shape.dim)
    yield from (tensor.name for tensor in graph.initializer)


# ---- tensors

_DTYPES = {
    1: core.float32,
    2: core.uint8,
    3: core.int8,
    4: core.uint16,
    5: core.int16,
    6: core.int32,
    7: core.int64,
    9: core.bool,
    10: core.float16,
    11: core.float64,
    12: core.uint32,
    13: core.uint64,
    16: core.bfloat16,
}
# What NumPy reads the bytes as, and the field that holds them where `raw_data` does not.
_LAYOUTS = {
    1: ("<f4", "float_data"),
    2: ("u1", "int32_data"),
    3: ("i1", "int32_data"),
    4: ("<u2", "int32_data"),
    5: ("<i2", "int32_data"),
    6: ("<i4", "int32_data"),
    7: ("<i8", "int64_data"),
    9: ("?", "int32_data"),
    10: ("<f2", "int32_data"),
    11: ("<f8", "double_data"),
    12: ("<u4", "uint64_data"),
    13: ("<u8", "uint64_data"),
    16: ("<u2", "int32_data"),
}
_STRING = 8


def dtype_of(number: int, what: str) -> core.DType:
    """The dtype that ONNX calls by this number; the one that holds its values where there is none."""
    if is_narrow(number):
        return carrier(number)
    found = _DTYPES.get(number)
    if found is None:
        names = {value: name for name, value in messages().TensorProto.DataType.items()}
        name = names.get(number)
        if name is None or name == "UNDEFINED":
            raise ModelError(f"{what} has no element type" if number == 0 else f"{what} has the element type {number}: unknown")
        raise UnsupportedError(f"{what} is of {name.lower()}, for which there is no dtype")
    return found


def number_of(dtype: core.DType) -> int:
    """ONNX's number for a dtype."""
    return next(number for number, known in _DTYPES.items() if known is dtype)


class Data(NamedTuple):
    """The elements of a tensor in the file: `array` has the dtype's bits, as unsigned numbers where NumPy has no such dtype."""

    array: Any
    dtype: core.DType
    narrow: int = 0  # ONNX's number for a type that the dtype only holds

    def tensor(self) -> Any:
        """A tensor that borrows the array's memory, which nobody else writes to."""
        made = borrow_numpy(self.array, alone=True)
        return made.view(core.bfloat16) if self.dtype is core.bfloat16 else made


def tensor_data(proto: Any, folder: str | None, what: str, apart: Any = None) -> Data:
    """The elements of a TensorProto. ModelError where the bytes are not as many as the sizes say.

    Args:
        apart: its bytes, if they were read apart.
    """
    shape = tuple(proto.dims)
    if any(not 0 <= size <= _LARGEST_SIZE for size in shape) or len(shape) > _MOST_DIMENSIONS:
        raise ModelError(f"{what} has the sizes {list(shape)}")
    if proto.HasField("segment"):
        raise UnsupportedError(f"{what} is stored in segments")
    if apart is not None and (is_narrow(proto.data_type) or proto.data_type == _STRING or proto.data_location == 1):
        proto.raw_data, apart = apart.tobytes(), None
    if is_narrow(proto.data_type):
        return _narrow(proto, shape, what)
    if proto.data_type == _STRING:
        return Data(_texts(proto, shape, what), core.uint8)
    dtype = dtype_of(proto.data_type, what)
    layout, field = _LAYOUTS[proto.data_type]
    kind = np.dtype(layout)
    count = math.prod(shape)
    if proto.data_location == 1:
        flat = np.frombuffer(_external(proto, folder, count * kind.itemsize, what), kind)
    elif apart is not None or proto.HasField("raw_data"):
        raw = proto.raw_data if apart is None else apart
        if len(raw) != count * kind.itemsize:
            raise ModelError(f"{what} has sizes {list(shape)}, which take {count * kind.itemsize} bytes, and {len(raw)}")
        flat = np.frombuffer(raw, kind)
    else:
        flat = _listed(getattr(proto, field), proto.data_type, kind, count, what)
    return Data(flat.reshape(shape), dtype)


def _listed(values: Sequence[Any], number: int, kind: np.dtype[Any], count: int, what: str) -> Any:
    """The numbers of a typed field; half floats are stored as their bits."""
    if len(values) != count:
        raise ModelError(f"{what} has {count} elements by its sizes, and {len(values)} are stored")
    if number == 10:
        return np.array(values, np.int64).astype(np.uint16).view(kind)
    wide = np.array(values, kind if kind.kind == "f" else np.uint64 if kind.itemsize == 8 and kind.kind == "u" else np.int64)
    return wide.astype(kind)


def _narrow(proto: Any, shape: tuple[int, ...], what: str) -> Data:
    """A tensor of a type that has no dtype, in one that holds it."""
    if proto.data_location == 1:
        raise UnsupportedError(f"{what}: external data of this type are not known")
    if math.prod(shape) > 4 * max(len(proto.raw_data), len(proto.int32_data) * 4):
        raise ModelError(f"{what} has sizes {list(shape)}, and fewer bytes than that")
    try:
        array = library().numpy_helper.to_array(proto)
    except (ValueError, TypeError) as error:
        raise ModelError(f"{what}: {error}") from None
    return Data(held(array, proto.data_type), carrier(proto.data_type), proto.data_type)


def _texts(proto: Any, shape: tuple[int, ...], what: str) -> Any:
    if len(proto.string_data) != math.prod(shape):
        raise ModelError(f"{what} has sizes {list(shape)} and {len(proto.string_data)} texts")
    made = np.empty(len(proto.string_data), object)
    made[:] = [text.decode("utf-8", "replace") for text in proto.string_data]
    return made.reshape(shape)


def _external(proto: Any, folder: str | None, size: int, what: str) -> Any:
    """The mapped bytes of external data. They are private: writing to them does not change the file."""
    entries = {entry.key: entry.value for entry in proto.external_data}
    location = entries.get("location", "")
    if folder is None:
        raise ModelError(f"{what} lies in the file {location!r}, and the model has no folder", hint="load(..., folder=...)")
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", size))
    except ValueError:
        raise ModelError(f"{what}: the place of its external data is no number") from None
    if length != size or offset < 0:
        raise ModelError(f"{what} takes {size} bytes, and its external data are {length} bytes at {offset}")
    if not size:
        return b""
    root = os.path.realpath(folder)
    path = os.path.realpath(os.path.join(root, location))
    if not location or "\0" in location or os.path.isabs(location) or os.path.commonpath((root, path)) != root:
        raise ModelError(f"{what}: its external data {location!r} lie outside of the model's folder")
    return _mapped(path, offset, size, what)


def _mapped(path: str, offset: int, size: int, what: str) -> Any:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise ModelError(f"{what}: its external data cannot be read: {error}") from None
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise ModelError(f"{what}: its external data are in {path!r}, which is no regular file")
        if offset + size > found.st_size:
            raise ModelError(f"{what} takes {size} bytes at {offset} of {path!r}, which has {found.st_size}")
        start = offset - offset % mmap.ALLOCATIONGRANULARITY
        mapped = mmap.mmap(handle, offset + size - start, access=mmap.ACCESS_COPY, offset=start)
    finally:
        os.close(handle)
    return memoryview(mapped)[offset - start : offset - start + size]
