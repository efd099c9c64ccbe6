"""Functions over the rows of tensors, made of loops: `map_fn`, `scan`, `foldl`, `foldr`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import duograph as dg
from duograph.errors import ArgumentError, ShapeError

from .arrays import shape
from .building import Graph
from .constants import convert_to_tensor
from .control_flow import while_loop
from .definition import Operand, filled, operation, structure_of
from .dtypes import as_dtype
from .elements import Tensor
from .tensor_arrays import TensorArray

__all__ = ["foldl", "foldr", "map_fn", "scan"]


class _Rows:
    """The rows of one tensor, or of several in a structure, that a function goes over together."""

    def __init__(self, title: str, elems: Any) -> None:
        leaves: list[Any] = []
        self.structure = structure_of(elems, leaves, lambda x: not isinstance(x, (list, tuple, dict)))
        self.tensors = [convert_to_tensor(x) for x in leaves]
        for tensor in self.tensors:
            if tensor.type.sizes == ():
                raise ShapeError(f"{title}: {tensor.name} is a scalar: it has no rows", [tensor.node.built_at])
        self.graph: Graph = self.tensors[0].graph
        known = [t.type.sizes[0] for t in self.tensors if t.type.sizes and t.type.sizes[0] is not None]
        if len(set(known)) > 1:
            raise ShapeError(
                f"{title}: the tensors have {' and '.join(map(str, known))} rows", hint="give tensors with as many rows"
            )
        self.count: Any = known[0] if known else shape(self.tensors[0])[0]

    def row(self, number: Any) -> Any:
        """The rows of this number."""
        return filled(self.structure, [x[number] for x in self.tensors])


def _flat(value: Any) -> tuple[list[Any], Any]:
    leaves: list[Any] = []
    structure = structure_of(value, leaves, lambda x: not isinstance(x, (list, tuple, dict)))
    return [convert_to_tensor(x) for x in leaves], structure


def _arrays(dtypes: Sequence[Any], count: Any) -> list[TensorArray]:
    return [TensorArray(dtype, size=count) for dtype in dtypes]


def map_fn(
    fn: Callable[[Any], Any],
    elems: Any,
    dtype: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    infer_shape: bool = True,
    name: str | None = None,
) -> Any:
    """What a function gives for each row, stacked.

    Args:
        fn: a function of a row (for a structure of tensors: of a structure of rows).
        dtype: of the result, in its structure, where it differs from that of `elems`.

    >>> import duograph.graph as tf
    >>> with tf.Session() as session:
    ...     session.run(tf.map_fn(lambda row: row * row, tf.constant([1.0, 2.0, 3.0])))
    array([1., 4., 9.], dtype=float32)
    """
    rows = _Rows("map_fn", elems)
    with rows.graph.as_default(), rows.graph.name_scope(name or "map"):
        dtypes: list[Any] = []
        structure = structure_of(elems if dtype is None else dtype, dtypes, lambda x: not isinstance(x, (list, tuple, dict)))
        wanted = [t.dtype for t in rows.tensors] if dtype is None else [as_dtype(d) for d in dtypes]

        def body(number: Any, arrays: list[TensorArray]) -> Any:
            results, _ = _flat(fn(rows.row(number)))
            if len(results) != len(arrays):
                raise ArgumentError(
                    f"map_fn: fn gives {len(results)} tensors, {len(arrays)} are expected", hint="say their dtypes: dtype=(…)"
                )
            return number + 1, [array.write(number, result) for array, result in zip(arrays, results)]

        _, done = while_loop(lambda number, arrays: number < rows.count, body, [0, _arrays(wanted, rows.count)])
        return filled(structure, [_with_rows(array, rows) for array in done])


def _with_rows(array: TensorArray, rows: _Rows) -> Tensor:
    stacked = array.stack()
    if isinstance(rows.count, int) and stacked.type.sizes is not None:
        stacked.set_shape([rows.count, *stacked.type.sizes[1:]])
    return stacked


def scan(
    fn: Callable[[Any, Any], Any],
    elems: Any,
    initializer: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    infer_shape: bool = True,
    reverse: bool = False,
    name: str | None = None,
) -> Any:
    """All that a function gives when it goes over the rows with what it gave before, stacked.

    Args:
        fn: a function of what it gave last, and of a row.
        initializer: what it is given first; left out: the first row, which is then the first result.
        reverse: go over the rows from the last to the first; results lie in the order of the rows.

    >>> import duograph.graph as tf
    >>> with tf.Session() as session:
    ...     session.run(tf.scan(lambda total, x: total + x, tf.constant([1, 2, 3, 4])))
    array([ 1,  3,  6, 10], dtype=int32)
    """
    rows = _Rows("scan", elems)
    with rows.graph.as_default(), rows.graph.name_scope(name or "scan"):
        start, structure, first = _start(rows, initializer, reverse)

        def order(number: Any) -> Any:
            return rows.count - 1 - number if reverse else number

        def body(number: Any, state: list[Any], arrays: list[TensorArray]) -> Any:
            results, _ = _flat(fn(filled(structure, state), rows.row(order(number + first))))
            if len(results) != len(state):
                raise ArgumentError(f"scan: fn gives {len(results)} tensors, the initializer has {len(state)}")
            return number + 1, results, [array.write(number, result) for array, result in zip(arrays, results)]

        left = rows.count - first
        _, _, done = while_loop(
            lambda number, state, arrays: number < left, body, [0, start, _arrays([x.dtype for x in start], left)]
        )
        stacked = [array.stack() for array in done]
        if first:
            stacked = [_behind(x, rest) for x, rest in zip(start, stacked)]
        if reverse:
            stacked = [_turned(x) for x in stacked]
        return filled(structure, stacked)


@operation("ScanBehind")
def _behind(first: Operand, rest: Operand, name: str | None = None) -> Any:
    return dg.cat([first[None], rest])


@operation("ScanTurned")
def _turned(rows: Operand, name: str | None = None) -> Any:
    return rows.flip(0)


def _start(rows: _Rows, initializer: Any, reverse: bool) -> tuple[list[Tensor], Any, int]:
    """(the first state, its structure, how many rows it uses up)."""
    if initializer is not None:
        found, structure = _flat(initializer)
        return found, structure, 0
    return [x[-1 if reverse else 0] for x in rows.tensors], rows.structure, 1


def _fold(title: str, fn: Callable[[Any, Any], Any], elems: Any, initializer: Any, reverse: bool, name: str | None) -> Any:
    rows = _Rows(title, elems)
    with rows.graph.as_default(), rows.graph.name_scope(name or title):
        start, structure, first = _start(rows, initializer, reverse)

        def body(number: Any, state: list[Any]) -> Any:
            at = rows.count - 1 - number if reverse else number
            results, _ = _flat(fn(filled(structure, state), rows.row(at)))
            return number + 1, results

        _, state = while_loop(lambda number, state: number < rows.count, body, [first, start])
        return filled(structure, state)


def foldl(
    fn: Callable[[Any, Any], Any],
    elems: Any,
    initializer: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    name: str | None = None,
) -> Any:
    """What a function gives last when it goes over the rows from the first on with what it gave before.

    >>> import duograph.graph as tf
    >>> with tf.Session() as session:
    ...     session.run(tf.foldl(lambda total, x: total * 10 + x, tf.constant([1, 2, 3])))
    np.int32(123)
    """
    return _fold("foldl", fn, elems, initializer, False, name)


def foldr(
    fn: Callable[[Any, Any], Any],
    elems: Any,
    initializer: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    name: str | None = None,
) -> Any:
    """The same from the last row on."""
    return _fold("foldr", fn, elems, initializer, True, name)
