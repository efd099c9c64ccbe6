"""Building graphs node by node; every tracer writes through one of these."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import local
from typing import Any

from duograph.errors import CaptureError

from .dim import INFINITY, Dim, Expr, bounds, is_one, symbol
from .graph import Argument, Check, Graph, Node, Value, free_values
from .location import Location
from .substitution import joined, substitute, symbols
from .types import DTypeLike, TensorType


class _Stack(local):
    builders: list[Builder]

    def __init__(self) -> None:
        self.builders = []


_STACK = _Stack()


def current() -> Builder:
    """The innermost builder of this thread."""
    if not _STACK.builders:
        raise LookupError("no graph is being built in this thread")
    return _STACK.builders[-1]


def active() -> bool:
    """Whether a graph is being built in this thread."""
    return bool(_STACK.builders)


@contextmanager
def suspended() -> Iterator[None]:
    """Inside, no graph is being built in this thread."""
    builders = _STACK.builders
    _STACK.builders = []
    try:
        yield
    finally:
        _STACK.builders = builders


@contextmanager
def scoped(scope: str) -> Iterator[None]:
    """The nodes that this thread's builder makes inside belong to this scope."""
    builder = _STACK.builders[-1] if _STACK.builders else None
    if builder is None:
        yield
        return
    outer, builder.scope = builder.scope, scope
    try:
        yield
    finally:
        builder.scope = outer


class Builder:
    """Collects nodes. As a context manager it is the thread's current builder.

    `location` and `scope` are given to every node emitted while they are set.
    """

    refusal = ""  # why a value cannot be read, where no capture says it
    refused: type[CaptureError] = CaptureError  # the error where the value is to steer Python

    def __init__(self, name: str = "graph") -> None:
        self.name = name
        self.inputs: list[Value] = []
        self.arguments: list[Argument] = []
        self.sizes: list[Dim] = []
        self.checks: list[Check] = []
        self.equal: dict[Dim, Expr] = {}
        self.late_symbols: set[Dim] = set()
        self._late_order: dict[Dim, int] = {}
        self._highest: dict[Dim, Expr] = {}  # of late sizes: what they are at most
        self.late_numbers: dict[Dim, Any] = {}  # tensors that stand for late sizes in results
        self.location: Location | None = None
        self.scope = ""
        # One list of nodes and one constant table for each open region, innermost last.
        self._nodes: list[list[Node]] = [[]]
        self._constants: list[dict[tuple[Any, ...], Value]] = [{}]

    def __enter__(self) -> Builder:
        _STACK.builders.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        _STACK.builders.remove(self)

    # Inputs

    def input(
        self,
        type: TensorType,
        name: str = "",
        kind: str = "tensor",
        strides: tuple[Expr, ...] | None = None,
        origin: str = "argument",
    ) -> Value:
        """A new input of the graph."""
        value = Value(type, None, len(self.inputs), name)
        self.inputs.append(value)
        self.arguments.append(Argument(kind, strides, origin))
        return value

    def size(self, name: str, low: float = -INFINITY) -> Dim:
        """A new integer operand of the graph."""
        made = symbol(name, low)
        self.sizes.append(made)
        return made

    def lift(self, tensor: Any) -> Value:
        """The value that stands for a concrete tensor which meets traced ones: here a 0-d tensor becomes a constant.

        Capture overrides this: there the tensor is state of the program.
        """
        if tensor.ndim != 0:
            raise TypeError(f"a concrete tensor of shape {tuple(tensor.shape)} cannot be part of a compiled operator")
        return self.constant(tensor.item(), tensor.dtype)

    # What tracers reach tensors through. Capture overrides these four.

    def read(self, tensor: Any) -> Value:
        """The present value of a tensor, traced or concrete."""
        value: Value | None = tensor._traced
        return self.lift(tensor) if value is None else value

    def number(self, number: Any) -> Value:
        """A Python number as a weak 0-d value."""
        from duograph import _core

        if isinstance(number, bool):
            dtype = _core.bool
        elif isinstance(number, int):
            dtype = _core.int64
        elif isinstance(number, float):
            dtype = _core.float64
        else:
            raise TypeError(f"expected a number, got {number.__class__.__name__}")
        key = ("weak", number.__class__, repr(number))
        found = self._constants[-1].get(key)
        if found is None:
            (found,) = self.emit("constant", (), {"value": number}, [TensorType(dtype, (), weak=True)])
            self._constants[-1][key] = found
        return found

    def write(self, tensor: Any, value: Value) -> None:
        """Make a value the contents of a tensor from here on."""
        from duograph import _core

        _core.set_traced(tensor, value)

    def results(self, op: Any, operands: Sequence[Any], values: Sequence[Value]) -> Sequence[Value]:
        """The results of an operator the user called, as they go on."""
        return values

    def row_major(self, tensor: Any) -> Any:
        """Whether a traced tensor's elements lie in row-major order. Capture knows of views; a condition: on some ways."""
        return True

    def copied_elsewhere(self, made: Any, tensor: Any, condition: Any) -> Any:
        """`made`, a copy of a tensor, which is the tensor itself where the condition holds. Capture follows such tensors."""
        return made

    def reshaped(self, tensor: Any) -> Any:
        """What a reshaping operator gave. Capture knows where it is no view, but a copy."""
        return tensor

    def shape_changes(self, name: str, tensor: Any, view: Any) -> None:
        """A tensor is about to become a view of itself. Capture refuses it where that could be seen from outside."""

    def note_row(self, base: Any, tensor: Any, index: Any) -> None:
        """`tensor` is the row of another one at an index that only the run knows. Capture makes it a view."""

    def is_row(self, base: Any, tensor: Any, index: Any) -> bool:
        """Whether `tensor` is that row, as a view."""
        return False

    def local_leaf(self, tensor: Any) -> None:
        """A tensor is made the start of a tape of its own. Capture tells it from those outside of a region."""

    def followed(self, grads: Sequence[Any], results: Sequence[Any]) -> None:
        """A gradient rule gave results for incoming gradients. Capture notes which may be absent."""

    def updated(self, args: Sequence[Any], updates: list[tuple[Any, Value]]) -> list[tuple[Any, Value]]:
        """What an operator writes into several tensors. Capture leaves those alone that have no gradient."""
        return updates

    # Nodes

    def emit(
        self,
        op: str,
        inputs: Sequence[Value],
        attrs: dict[str, Any],
        types: Sequence[TensorType],
        regions: tuple[Graph, ...] = (),
    ) -> list[Value]:
        """Append a node; returns its outputs."""
        node = Node(op, tuple(inputs), attrs, tuple(types), regions, self.location, self.scope)
        self._nodes[-1].append(node)
        return list(node.outputs)

    def constant(self, value: Any, dtype: DTypeLike, shape: tuple[Expr, ...] = ()) -> Value:
        """A constant: a Python number (with any shape: broadcast), or the bytes of an array of this dtype and shape."""
        key = (dtype.code, value.__class__, repr(value))
        found = self._constants[-1].get(key) if not isinstance(value, bytes) else None
        if found is None:
            inner = shape if isinstance(value, bytes) else ()
            (found,) = self.emit("constant", (), {"value": value}, [TensorType(dtype, inner)])
            if not isinstance(value, bytes):
                self._constants[-1][key] = found
        return found if found.shape == shape else self.broadcast(found, shape)

    def broadcast(self, value: Value, shape: tuple[Expr, ...]) -> Value:
        """The value stretched to a shape (right-aligned, sizes 1 repeat); the value itself if it has that shape."""
        if value.shape == shape:
            return value
        return self.emit("broadcast", [value], {}, [TensorType(value.dtype, shape)])[0]

    @contextmanager
    def composite(self, name: str, attrs: dict[str, Any]) -> Iterator[list[Value]]:
        """Nodes emitted inside become the body of one node `name`; put its results in the list this yields.

        On leaving, the list holds the outputs of the node instead. The body reads outer values directly.
        """
        results: list[Value] = []
        self._nodes.append([])
        self._constants.append({})
        try:
            yield results
        except BaseException:
            self._nodes.pop()
            self._constants.pop()
            raise
        body = Graph((), tuple(self._nodes.pop()), tuple(results), name=name)
        self._constants.pop()
        results[:] = self.emit(name, free_values(body), attrs, [value.type for value in results], (body,))

    @contextmanager
    def region(self, types: Sequence[TensorType], names: Sequence[str] = ()) -> Iterator[Region]:
        """Nodes emitted inside become a region with inputs of these types (the body of a loop or a branch)."""
        inputs = tuple(Value(type, None, index, names[index] if names else "") for index, type in enumerate(types))
        made = Region(inputs)
        self._nodes.append([])
        self._constants.append({})
        try:
            yield made
        except BaseException:
            self._nodes.pop()
            self._constants.pop()
            raise
        made.graph = Graph(inputs, tuple(self._nodes.pop()), tuple(made.outputs), name="region")
        self._constants.pop()

    def while_loop(
        self, condition: Region, body: Region, initial: Sequence[Value], stacked: int = 0, trips: Expr | None = None
    ) -> list[Value]:
        """A loop over the regions' inputs; what the regions read from outside is passed along unchanged.

        The last `stacked` outputs of the body are rows, one for each turn; they come back stacked along a new first
        dimension, whose size is `trips` where the number of turns is known, else a late symbol.
        """
        (test, step), outer = close_regions([condition.graph, body.graph])
        if len(step.outputs) != len(initial) + stacked:
            raise ValueError(f"a loop of {len(initial)} carried values and {stacked} rows has {len(step.outputs)} results")
        attrs: dict[str, Any] = {"carried": len(initial)}
        types = [value.type for value in initial]
        if stacked:
            turns = self.late("turns") if trips is None else trips
            attrs.update(stacked=stacked, trips=trips)
            if trips is None:
                attrs["turns"] = turns
            types += [TensorType(row.dtype, (turns, *row.shape)) for row in step.outputs[len(initial) :]]
        return self.emit("while_loop", [*initial, *outer], attrs, types, (test, step))

    def late(self, name: str = "late", high: Expr | None = None) -> Dim:
        """A new symbol for a size that is known once a node has run, at most `high`."""
        made = symbol(f"{name}{len(self.late_symbols)}", 0, INFINITY if high is None else bounds(high)[1])
        self.late_symbols.add(made)
        self._late_order[made] = len(self._late_order)
        if high is not None:
            self._highest[made] = high
        return made

    def at_most(self, size: Expr, other: Expr) -> bool:
        """Whether a late size was made as one that is at most the other."""
        highest = self._highest.get(size) if isinstance(size, Dim) else None
        return highest is not None and self.resolve(highest) == self.resolve(other)

    def highest(self, size: Dim) -> Expr | None:
        """What a late size was made as one that is at most; None where nobody said."""
        found = self._highest.get(size)
        return None if found is None else self.resolve(found)

    def is_late(self, sizes: Iterable[Expr]) -> bool:
        """Whether only a run knows one of the sizes."""
        return any(not self.late_symbols.isdisjoint(symbols(size)) for size in sizes)

    def _known_after(self, size: Expr) -> int:
        """The number of the last late symbol in a size; -1 if it is known when the program starts."""
        return max((self._late_order.get(found, -1) for found in symbols(size)), default=-1) if self._late_order else -1

    def late_mark(self) -> int:
        """How many late sizes there are by now."""
        return len(self._late_order)

    def known_before(self, size: Expr, mark: int) -> bool:
        """Whether a size was known when there were so many late ones."""
        return self._known_after(size) < mark

    def size_of(self, value: Value, name: str = "late", high: Expr | None = None) -> Dim:
        """A 0-d int64, at most `high`, as a size, known once the value is; a negative one is an error of the run."""
        made = self.late(name, high)
        self.emit("size_of", [value], {"size": made}, [value.type])
        return made

    def box(self, value: Value, keep: bool = False) -> Value:
        """The number (0-d int64) of memory of the run that holds a value: what a loop carries in place of a tensor
        whose size changes from turn to turn.

        The memory holds the value until the same node has run twice more, with `keep` until the program ends.
        """
        return self.emit("box", [value], {"keep": keep}, [TensorType(_int64(), ())])[0]

    def unbox(self, number: Value, dtype: DTypeLike, shape: tuple[Expr, ...]) -> Value:
        """The value in the memory that `box` gave the number of, which is as large as what was boxed at most."""
        return self.emit("unbox", [number], {}, [TensorType(dtype, shape)])[0]

    def cond(self, predicate: Value, then: Region, otherwise: Region, operands: Sequence[Value] = ()) -> list[Value]:
        """One of two regions, both over `operands` and whatever they read from outside."""
        regions, outer = close_regions([then.graph, otherwise.graph])
        types = [value.type for value in regions[0].outputs]
        return self.emit("cond", [predicate, *operands, *outer], {}, types, tuple(regions))

    def assign(self, cell: Value, value: Value) -> Value:
        """Write a mutable input when the program ends; the result stands for the input's memory after the write."""
        return self.emit("assign", [cell, value], {}, [cell.type])[0]

    # Sizes

    def check(self, relation: str, left: Expr, right: Expr, code: int = 0) -> None:
        """Require a relation between sizes ("eq", "ne", "lt", "le") when the program runs."""
        if isinstance(left, int) and isinstance(right, int):
            holds = {"eq": left == right, "ne": left != right, "lt": left < right, "le": left <= right}[relation]
            if holds:
                return
        self.checks.append(Check(relation, left, right, code))

    def unify(self, left: Expr, right: Expr, code: int = 0) -> Expr:
        """Require that two sizes are equal, and return the one to go on with: the number if there is one."""
        left, right = substitute(left, self.equal), substitute(right, self.equal)
        if left == right:
            return left
        self.check("eq", left, right, code)
        keep, other = (left, right) if isinstance(left, int) or not isinstance(right, int) else (right, left)
        if self._known_after(keep) > self._known_after(other):
            keep, other = other, keep  # what is known first is what memory is planned with
        if isinstance(other, Dim) and not other.is_symbol and isinstance(keep, Dim) and keep.is_symbol:
            keep, other = other, keep
        # A symbol is only written in terms of others that do not contain it.
        late = self._known_after(keep) > self._known_after(other)
        if isinstance(other, Dim) and other.is_symbol and other not in symbols(keep) and not late:
            self.equate(other, keep)
        return keep

    def equate(self, symbol: Dim, size: Expr) -> None:
        """From here on a symbol is written as what a check makes it equal to."""
        self.equal = joined(self.equal, size, symbol)

    def is_one(self, size: Expr) -> bool:
        """Whether a size is 1. Symbols of compiled operators are not: which sizes are 1 is known there."""
        return is_one(size)

    def resolve(self, size: Expr) -> Expr:
        """A size with everything known about equal sizes written in."""
        return substitute(size, self.equal)

    def finish(self, outputs: Sequence[Value]) -> Graph:
        """The graph of all nodes emitted so far."""
        return Graph(
            tuple(self.inputs),
            tuple(self._nodes[0]),
            tuple(outputs),
            tuple(self.arguments),
            tuple(self.sizes),
            tuple(self.checks),
            dict(self.equal),
            self.name,
        )


def _int64() -> DTypeLike:
    from duograph import _core

    return _core.int64


class Region:
    """Inputs of a region under construction; set `outputs` before the `with` block ends, `graph` is there after it."""

    def __init__(self, inputs: tuple[Value, ...]) -> None:
        self.inputs = inputs
        self.outputs: Sequence[Value] = ()
        self.graph: Graph


def close_regions(regions: Sequence[Graph]) -> tuple[list[Graph], list[Value]]:
    """The regions with everything they read from outside turned into further inputs, the same for all of them."""
    outer: dict[Value, None] = {}
    for region in regions:
        for value in free_values(region):
            outer.setdefault(value)
    closed = []
    for region in regions:
        inner = {value: Value(value.type, None, len(region.inputs) + i, value.name) for i, value in enumerate(outer)}
        inputs = (*region.inputs, *inner.values())
        nodes, outputs = rename(region, inner)
        closed.append(Graph(inputs, nodes, outputs, name=region.name))
    return closed, list(outer)


def rename(graph: Graph, values: dict[Value, Value]) -> tuple[tuple[Node, ...], tuple[Value, ...]]:
    """Nodes and outputs of a graph reading other values; `values` is extended by the outputs of nodes that changed."""
    nodes = []
    for node in graph.nodes:
        inputs = tuple(values.get(value, value) for value in node.inputs)
        regions = tuple(_rename_region(region, values) for region in node.regions)
        if inputs != node.inputs or any(a is not b for a, b in zip(regions, node.regions)):
            made = node.with_inputs(inputs, regions)
            values.update(zip(node.outputs, made.outputs))
            node = made
        nodes.append(node)
    return tuple(nodes), tuple(values.get(value, value) for value in graph.outputs)


def _rename_region(region: Graph, values: dict[Value, Value]) -> Graph:
    if not any(value in values for value in free_values(region)):
        return region
    nodes, outputs = rename(region, dict(values))
    return region.replace(nodes=nodes, outputs=outputs)
