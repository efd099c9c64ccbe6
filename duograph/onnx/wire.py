"""Large weights of a model's file, read once, to where they stay; the rest of the file is small, and goes to protobuf.

A file is a tree of fields: a key (number and kind), then a varint, 4 or 8 bytes, or a length and as many bytes.
Source: the encoding of protocol buffers, and the field numbers of onnx.proto3.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

_GRAPH, _INITIALISER, _RAW_DATA = 7, 5, 9  # of ModelProto, GraphProto, TensorProto
_LARGE = 1 << 14  # bytes
_WINDOW = 1 << 12
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5


class Field(NamedTuple):
    """One field: its key begins at `start`, its bytes are those from `low` to `high`."""

    number: int
    kind: int
    start: int
    low: int
    high: int


class _Unusual(Exception):
    """Not as files are written: protobuf shall say what it is."""


class _File:
    def __init__(self, handle: int, size: int) -> None:
        self.handle, self.size = handle, size
        self.window, self.at = b"", 0

    def piece(self, low: int, high: int) -> bytes:
        """The bytes from `low` to `high`."""
        made = b"".join(_pieces(self.handle, low, high))
        if len(made) != high - low:
            raise _Unusual
        return made

    def varint(self, at: int) -> tuple[int, int]:
        """A number, and where it ends."""
        if not self.at <= at <= self.at + len(self.window) - 10:
            self.window, self.at = os.pread(self.handle, _WINDOW, at), at
        value = shift = 0
        for place in range(at - self.at, min(at - self.at + 10, len(self.window))):
            byte = self.window[place]
            value |= (byte & 127) << shift
            if byte < 128:
                return value, self.at + place + 1
            shift += 7
        raise _Unusual

    def fields(self, low: int, high: int) -> Iterator[Field]:
        """The fields of the message that these bytes are."""
        while low < high:
            key, at = self.varint(low)
            number, kind = key >> 3, key & 7
            if kind == _BYTES:
                length, at = self.varint(at)
                end = at + length
            elif kind == _VARINT:
                _, end = self.varint(at)
            elif kind in (_EIGHT, _FOUR):
                end = at + (8 if kind == _EIGHT else 4)
            else:
                raise _Unusual
            if end > high:
                raise _Unusual
            yield Field(number, kind, low, at, end)
            low = end


def _pieces(handle: int, low: int, high: int) -> Iterator[bytes]:
    while low < high:
        found = os.pread(handle, high - low, low)
        if not found:
            return
        low += len(found)
        yield found


def split(handle: int, size: int) -> tuple[bytes, dict[int, Any]] | None:
    """The file without the bytes of its large initialisers, and these by the initialiser's number; None if it is unusual."""
    file = _File(handle, size)
    try:
        top = list(file.fields(0, size))
        graphs = [field for field in top if field.number == _GRAPH]
        if len(graphs) != 1 or graphs[0].kind != _BYTES:
            return None
        graph, large = _without_weights(file, graphs[0])
        parts = [_message(_GRAPH, graph) if field is graphs[0] else file.piece(field.start, field.high) for field in top]
        return b"".join(parts), {number: _read(handle, field) for number, field in large.items()}
    except _Unusual:
        return None


def _without_weights(file: _File, graph: Field) -> tuple[bytes, dict[int, Field]]:
    parts: list[bytes] = []
    large: dict[int, Field] = {}
    count = 0
    start = graph.low
    for field in file.fields(graph.low, graph.high):
        if field.number != _INITIALISER:
            continue
        if field.kind == _BYTES and field.high - field.low > _LARGE:
            inner = list(file.fields(field.low, field.high))
            raw = [each for each in inner if each.number == _RAW_DATA]
            if len(raw) == 1 and raw[0].kind == _BYTES and raw[0].high - raw[0].low > _LARGE:
                kept = b"".join(file.piece(each.start, each.high) for each in inner if each is not raw[0])
                parts += [file.piece(start, field.start), _message(_INITIALISER, kept)]
                large[count], start = raw[0], field.high
        count += 1
    parts.append(file.piece(start, graph.high))
    return b"".join(parts), large


def _read(handle: int, field: Field) -> Any:
    """The field's bytes in memory of their own."""
    length = field.high - field.low
    made: Any = np.empty(length, np.uint8)
    view, done = memoryview(made), 0
    while done < length:
        got = os.preadv(handle, [view[done:]], field.low + done)
        if not got:
            raise _Unusual
        done += got
    return made


def _message(number: int, content: bytes) -> bytes:
    return _number(number << 3 | _BYTES) + _number(len(content)) + content


def _number(value: int) -> bytes:
    made = bytearray()
    while value > 127:
        made.append(value & 127 | 128)
        value >>= 7
    made.append(value)
    return bytes(made)
