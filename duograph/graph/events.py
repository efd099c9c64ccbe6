"""Event files, as TensorBoard reads them: records of protocol buffers, and a graph as one of these.

The library tensorboardX has the buffers' definitions. It is imported when the first one is made.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import os
import socket
import struct
import threading
import time
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from duograph.errors import FileError, GraphError

from .elements import Operation, Slot

if TYPE_CHECKING:
    from .building import Graph

_numbers = itertools.count()


@functools.cache
def proto(module: str, name: str) -> Any:
    """A class of protocol buffers. GraphError if the library is not installed."""
    return getattr(_library(f"proto.{module}_pb2"), name)


def _library(module: str) -> Any:
    try:
        return importlib.import_module(f"tensorboardX.{module}")
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("tensorboardX"):
            raise
        raise GraphError(
            "summaries are written by the library tensorboardX, which is not installed",
            hint='pip install "duograph[tensorboard]"',
        ) from None


class EventFile:
    """A file of events: they are on disk after `flush`, and when the next comes `flush_secs` later."""

    def __init__(self, folder: str, suffix: str, flush_secs: float) -> None:
        os.makedirs(folder, exist_ok=True)
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{next(_numbers):05d}{suffix}"
        self.path = os.path.join(folder, name)
        self._records = _library("record_writer").RecordWriter(self.path)
        self._lock = threading.Lock()
        self._flush_secs = flush_secs
        self._flushed = time.monotonic()
        self.close = weakref.finalize(self, self._records.close)
        self.add(proto("event", "Event")(wall_time=time.time(), file_version="brain.Event:2"))
        self.flush()

    def add(self, event: Any) -> None:
        """Append an event."""
        with self._lock:
            self._records.write(event.SerializeToString())
        if time.monotonic() >= self._flushed + self._flush_secs:
            self.flush()

    def flush(self) -> None:
        """Bring everything to disk."""
        with self._lock:
            self._records.flush()
            self._flushed = time.monotonic()


def summary_iterator(path: Any) -> Iterator[Any]:
    """The events of a file, one after another; the end of a file that is still being written is left out.

    Errors:   FileError where the file is damaged
    """
    masked_crc32c = _library("record_writer").masked_crc32c
    with open(path, "rb") as file:
        while len(head := file.read(12)) == 12:
            length, check = struct.unpack("<QI", head)
            if masked_crc32c(head[:8]) != check:
                raise FileError(f"summary_iterator: {os.fspath(path)!r} is damaged, or no file of events")
            record = file.read(length + 4)
            if len(record) < length + 4:
                return
            if masked_crc32c(record[:-4]) != int.from_bytes(record[-4:], "little"):
                raise FileError(f"summary_iterator: {os.fspath(path)!r} is damaged")
            yield proto("event", "Event").FromString(record[:-4])


# ---- graphs

_DTYPES = {
    "float32": 1, "float64": 2, "int32": 3, "uint8": 4, "int16": 5, "int8": 6, "string": 7, "int64": 9, "bool": 10,
    "bfloat16": 14, "uint16": 17, "float16": 19, "uint32": 22, "uint64": 23,
}  # fmt: skip
_LONGEST = 200  # characters of an attribute


def dtype_number(dtype: Any) -> int:
    """The number of a dtype in TensorFlow's buffers; 0 for none of its own."""
    return _DTYPES.get(dtype.name, 0)


def shape_proto(sizes: Any) -> Any:
    """A shape, of which sizes or the rank may be unknown."""
    cls = proto("tensor_shape", "TensorShapeProto")
    if sizes is None:
        return cls(unknown_rank=True)
    return cls(dim=[cls.Dim(size=-1 if size is None else size) for size in sizes])


def graph_def(graph: Graph) -> Any:
    """The graph as a GraphDef: names, inputs, control inputs, devices, dtypes, shapes, and the line that built each operation."""
    made = proto("graph", "GraphDef")()
    made.versions.producer = 22
    made.node.extend([_node_def(node) for node in graph.get_operations()])
    return made


def _node_def(node: Operation) -> Any:
    made = proto("node_def", "NodeDef")(name=node.name, op=node.op, device=node.device)
    results = [y for region in node.regions for y in region.outputs]  # of branches and bodies, which are drawn as going in
    for x in dict.fromkeys((*node.inputs, *node.attrs.get("captures", ()), *results)):
        made.input.append(x.node.name if x.index == 0 else x.name)
    made.input.extend([f"^{control.name}" for control in node.control_inputs])
    if node.outputs:
        made.attr["dtype"].type = dtype_number(node.outputs[0].dtype)
        made.attr["_output_shapes"].list.shape.extend([shape_proto(x.type.sizes) for x in node.outputs])
    if node.location is not None:
        made.attr["built_at"].s = str(node.location).encode()
    for name, value in node.attrs.items():
        if name != "captures" and not _has_slots(value):
            made.attr[name].s = repr(value)[:_LONGEST].encode()
    return made


def _has_slots(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(_has_slots(x) for x in value)
    return isinstance(value, Slot)
