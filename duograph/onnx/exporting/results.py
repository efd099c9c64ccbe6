"""What a program returns and leaves behind, as named outputs of a file."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from duograph.capture.memory.chosen import chosen
from duograph.capture.results import _to_number, _view_of
from duograph.errors import GraphError
from duograph.ir.dim import Expr
from duograph.ir.graph import Graph, Value

from .capturing import Program
from .movement import _flat_index
from .writer import Writer


class Output:
    """One tensor that a file gives: what computes it, its name, dtype, sizes, and where in the result it is."""

    def __init__(self, source: str, dtype: Any, shape: tuple[Expr, ...], path: str) -> None:
        self.source = source
        self.name = source
        self.dtype = dtype
        self.shape = shape
        self.path = path

    def named(self, name: str) -> Output:
        """The same under the name that the file is to have for it."""
        self.name = name
        return self


class Results:
    """The results of a program, found in the templates by which each run rebuilds them."""

    def __init__(self, writer: Writer, program: Program) -> None:
        self.writer = writer
        self.program = program
        self.graph: Graph = program.graph
        self.reads = program.captured.description["reads"]

    def all(self) -> list[Output]:
        """The outputs of the call."""
        return list(self._of(self.program.captured.description["outputs"], ""))

    def _of(self, row: Any, path: str) -> Iterator[Output]:
        kind = row[0]
        if kind in ("tuple", "list"):
            for number, item in enumerate(row[1]):
                yield from self._of(item, f"{path}.{number}" if path else str(number))
        elif kind == "dict":
            for key, item in zip(row[1], row[2]):
                yield from self._of(item, f"{path}.{key}" if path else str(key))
        elif kind == "make" and row[1] is chosen:  # on some ways it is another tensor, with the same elements
            yield from self._of(row[2][0], path)
        elif kind == "make" and row[1] is not _view_of:
            for key, item in _parts(row[1], row[2]):
                yield from self._of(item, f"{path}.{key}".strip("."))
        elif kind == "const" and not hasattr(row[1], "dtype"):
            return
        else:
            yield self.tensor(row, path)

    def tensor(self, row: Any, path: str) -> Output:
        """One tensor of a template."""
        w, kind = self.writer, row[0]
        if kind == "output":
            value = self._output(row[1])
            return Output(w.use(value), value.dtype, tuple(value.shape), path)
        if kind == "view":
            value = self._output(row[1])
            shape, strides, offset = row[2:]
            return self._view(value, shape, strides, offset, path)
        if kind == "make":
            source, *layout = row[2]
            shape, strides, offset = (self._size(x) for x in layout)
            return self._view(self._afterwards(source), shape, strides, offset, path)
        if kind in ("read", "const"):
            value = self._afterwards(row)
            return Output(w.use(value), value.dtype, tuple(value.shape), path)
        if kind == "number":
            return self._number(row, path)
        raise GraphError(f"onnx: a result of the kind {kind!r} cannot be an output of a file")

    def _output(self, number: int) -> Value:
        if number >= 0:
            return self.graph.outputs[number]
        raise GraphError("onnx: a result that shares memory with another cannot be an output of a file")

    def _afterwards(self, row: Any) -> Value:
        """What a tensor from before the call holds at its end."""
        value = self.value(row)
        written = (node for node in self.graph.nodes if node.op == "assign" and node.inputs[0] is value)
        return next((node.inputs[1] for node in written), value)

    def value(self, row: Any) -> Value:
        """The value that a template's tensor from before the call is."""
        if row[0] == "output":
            return self._output(row[1])
        slot = self.program.slot_of(row)
        if slot >= 0:
            return self.program.slots[slot]
        rows = self.program.captured.description["inputs"]
        for number, given in enumerate(rows):
            if row[0] == "read" and given[0] == "read" and given[1] == row[1]:
                return self.graph.inputs[number]
            if row[0] == "const" and given[0] == "tensor" and given[1] is row[1]:
                return self.graph.inputs[number]
        raise GraphError("onnx: a result is a tensor from outside that the function does not compute with")

    def _size(self, row: Any) -> Any:
        """Sizes of a template as expressions."""
        if row[0] == "const":
            return row[1]
        if row[0] == "tuple":
            return tuple(self._size(x) for x in row[1])
        if row[0] == "make":  # a size that only the run knows
            value = self._output(row[2][0][1])
            if value.node is not None and value.node.op == "size":
                return value.node.attrs["value"]
        elif row[0] == "number":
            return self.program.size(row[1])
        raise GraphError("onnx: a result is a view whose sizes are computed by Python", hint="return a copy: x.clone()")

    def _view(self, value: Value, shape: Any, strides: Any, offset: Any, path: str) -> Output:
        w = self.writer
        flat = w.emit("Reshape", [w.use(value), w.numbers([-1])])
        index = _flat_index(w, (0,), shape, (offset,), [strides])
        return Output(w.emit("Gather", [flat, index], axis=0), value.dtype, tuple(shape), path)

    def _number(self, row: Any, path: str) -> Output:
        from duograph import _core as core

        size = self.program.size(row[1])
        if size is None:
            raise GraphError("onnx: a number that Python computes cannot be an output of a file")
        w = self.writer
        name = w.reshape(w.size(size), ()) if not isinstance(size, int) else w.array(np.asarray(size))
        return Output(name, core.int64, (), path)


def _parts(maker: Any, rows: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    """What an object of a result is made of, each with what it is called there."""
    named = getattr(getattr(maker, "__self__", None), "_fields", None)  # `_make` of a namedtuple
    if maker is _to_number:
        yield "", rows[0]
    elif isinstance(maker, type) and issubclass(maker, dict):
        yield from ((pair[1][0][1], pair[1][1]) for pair in rows[0][1])
    elif named is not None or isinstance(maker, type):
        yield from zip(named or itertools.count(), rows[0][1])
    else:
        yield from zip(getattr(maker, "fields", itertools.count()), rows)
