"""What tests of boxes write graphs with: tensors of three columns and any number of rows, carried by numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

import duograph as dg
from duograph import _core as core
from duograph.ir import Builder, Graph, TensorType, Value, symbol
from duograph.ir.dim import Expr
from duograph.ir.text import parse_graph, print_graph
from duograph.ir.verify import verify
from duograph.runtime.build import build

BOOL, INDEX, F32 = TensorType(core.bool), TensorType(core.int64), core.float32
N = symbol("n")
Array = np.ndarray[Any, Any]


def emit(b: Builder, op: str, inputs: list[Value], type: TensorType, **attrs: Any) -> Value:
    return b.emit(op, inputs, attrs, [type])[0]


def plus(b: Builder, value: Value, number: int) -> Value:
    return emit(b, "add", [value, b.constant(number, core.int64)], INDEX)


def number(b: Builder, size: Expr) -> Value:
    return emit(b, "size", [], INDEX, value=size)


def rows(size: Expr) -> TensorType:
    return TensorType(F32, (size, 3))


def joined(b: Builder, *parts: Value) -> Value:
    size: Expr = 0
    for part in parts:
        size = size + part.shape[0]
    return emit(b, "concat", list(parts), rows(size), dim=0)


def opened(b: Builder, count: Value, box: Value, name: str = "late") -> Value:
    """What is in a box of `count` rows."""
    return b.unbox(box, F32, (b.size_of(count, name), 3))


def checked(graph: Graph) -> Graph:
    verify(graph)
    assert print_graph(parse_graph(str(graph))) == str(graph)
    return graph


def made(graph: Graph, fuse: bool = True) -> Any:
    return build(checked(graph), fuse=fuse).program


def run(program: Any, tensors: list[Array], numbers: list[int]) -> list[Array]:
    return [out.numpy() for out in program.run([dg.from_numpy(t) for t in tensors], numbers, [])]


def table(n: int) -> Array:
    return np.random.default_rng(n).standard_normal((n, 3)).astype(np.float32)
