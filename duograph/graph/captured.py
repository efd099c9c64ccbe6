"""What a static function captured, as a graph: to look at, to fetch from the middle of, to change."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from duograph import _core as core
from duograph.capture.static import Handler, make_static
from duograph.errors import ArgumentError, GraphError, ShapeError
from duograph.ir.builder import active, current
from duograph.ir.dim import Dim, Expr
from duograph.ir.graph import Graph as Region
from duograph.ir.graph import Node, Value, free_values
from duograph.ir.late import late_symbol
from duograph.ir.substitution import substitute, symbols
from duograph.ops.tracing import value_of, wrap

from .building import Graph
from .calling import parameter_variable
from .constants import constant, placeholder
from .definition import Definition
from .elements import Operation, Slot, Tensor
from .resolving import Run
from .shapes import PartialType

_NAME = re.compile(r"^[A-Za-z0-9][\w/]*$")


def graph_of(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Graph:
    """The graph of a static function's capture: see `static_fn.graph`."""
    if args or kwargs:
        function(*args, **kwargs)
    entries = function.entries
    if not entries:
        raise ArgumentError(
            f"graph: {function.handler.__name__} has captured nothing yet",
            hint="call it first, or give graph() the arguments of a call",
        )
    entry = function.find(*args, **kwargs) if args or kwargs else entries[0]
    description = entry.description
    made = Graph()
    with made.as_default():
        _Build(made, description["lines"].graph, description["inputs"]).all()
    return made


class Captured(NamedTuple):
    """A node of a captured program, and the values that it and its regions read."""

    node: Node
    read: list[Value]


class _Build:
    """The operations of one captured graph."""

    def __init__(self, graph: Graph, source: Region, inputs: Sequence[Any]) -> None:
        self.graph = graph
        self.source = source
        self.tensors: dict[Value, Tensor] = {}
        self.sizes: dict[Dim, Tensor] = {}  # the placeholder that says a size
        self.definitions: dict[str, Definition] = {}
        self.states = iter([x[1] for x in inputs if x[0] == "tensor"])

    def all(self) -> None:
        """Inputs, nodes, and the collections "inputs" and "outputs"."""
        for number, (value, argument) in enumerate(zip(self.source.inputs, self.source.arguments)):
            self.tensors[value] = made = self.input(number, value, argument.origin)
            if argument.origin == "argument":
                self.graph.add_to_collection("inputs", made)
                for size in value.type.shape:
                    if isinstance(size, Dim) and size.is_symbol:
                        self.sizes.setdefault(size, made)
        for node in self.source.nodes:
            self.node(node)
        for value in self.source.outputs:
            self.graph.add_to_collection("outputs", self.tensors[value])

    def input(self, number: int, value: Value, origin: str) -> Tensor:
        """A placeholder for an argument, a variable for a parameter, a constant for any other tensor found outside."""
        name = value.name.replace(".", "/")
        if not _NAME.match(name):
            name = f"{origin}_{number}"
        if origin == "argument":
            made = placeholder(value.dtype, _known(value.type.shape), name)
            made.node.attrs["captured"] = value
            return made
        tensor = next(self.states)
        if not isinstance(tensor, core.Tensor):
            return placeholder(value.dtype, _known(value.type.shape), name)
        return parameter_variable(self.graph, tensor, name) if type(tensor) is not core.Tensor else constant(tensor, name=name)

    def node(self, node: Node) -> None:
        """The operation that makes a node of the program again."""
        read = list(dict.fromkeys((*node.inputs, *(x for region in node.regions for x in free_values(region)))))
        inputs = tuple(self.tensors[x] for x in read)
        bound = {size for x in read for size in x.type.shape if isinstance(size, Dim) and size.is_symbol}
        asked = {size for size in _sizes_of(node) if size not in bound and size in self.sizes}
        attrs: dict[str, Any] = {key: x for key, x in node.attrs.items() if isinstance(x, (str, int, float, bool, tuple))}
        attrs |= {"captured": Captured(node, read), "operands": [Slot(i) for i in range(len(read))]}
        if asked:
            attrs["captures"] = tuple({self.sizes[size] for size in asked})
        definition = self.definitions.setdefault(
            node.op, Definition(node.op, _nothing, evaluate=_made_again, differentiable=False)
        )
        types = [PartialType(x.dtype, _known(x.type.shape)) for x in node.outputs]
        made = self.graph.add(definition, inputs, attrs, types, node.op.strip("_") or "node")
        made.location = node.location
        self.tensors.update(zip(node.outputs, made.outputs))


def _nothing() -> None:
    """The node says what the operation does."""


def _known(shape: Iterable[Expr]) -> tuple[int | None, ...]:
    return tuple(size if isinstance(size, int) else None for size in shape)


def _sizes_of(node: Node) -> set[Dim]:
    """The symbols that a node's types and attributes speak of, those of its regions included."""
    found: set[Dim] = set()
    waiting: list[Any] = [node]
    while waiting:
        each = waiting.pop()
        if isinstance(each, Node):
            waiting += [x.type.shape for x in each.outputs]
            waiting += each.attrs.values()
            waiting += [inner for region in each.regions for inner in (*region.nodes, *(x.type.shape for x in region.inputs))]
        elif isinstance(each, Dim):
            found.update(symbols(each))
        elif isinstance(each, (tuple, list)):
            waiting += each
    return found


def _made_again(run: Run, operation: Operation) -> Any:
    """The node in the program that is captured now: on these values, in these sizes."""
    node, read = operation.attrs["captured"]
    if _is_apart(node) or any(_is_apart(inner) for inner in _walk(node)):
        raise GraphError(
            f"{node.op}: a captured node that calls Python, draws, or makes a size of its own is there to look at only"
        )
    if not active():
        return _by_itself(run, operation)
    values = {old: value_of(run.tensor(new)) for old, new in zip(read, operation.inputs)}
    sizes: dict[Dim, Expr] = {}
    for old, new in values.items():
        _bind(operation, old, new, sizes)
    for given in operation.attrs.get("captures", ()):
        _bind(operation, given.node.attrs["captured"], value_of(run.tensor(given)), sizes)
    made = _again(node, values, sizes)
    return [wrap(x) for x in made] if len(made) != 1 else wrap(made[0])


def _by_itself(run: Run, operation: Operation) -> Any:
    """The node as a program of its own, where none is being captured: the dynamic side of `explain`."""
    given = (*operation.inputs, *operation.attrs.get("captures", ()))

    def evaluate(values: Sequence[Any]) -> Any:
        return _made_again(Run(run.state, dict(zip(given, values))), operation)

    if not core.in_dynamic_mode():
        raise GraphError(f"{operation.op}: nodes of a captured graph are computed in programs only")
    core.set_dynamic_mode(False)
    try:
        if core.in_dynamic_mode():
            raise GraphError(
                f"{operation.op}: nodes of a captured graph are computed in programs only",
                hint="leave dynamic mode: DUOGRAPH_DYNAMIC, or an outer `dynamic_mode()`",
            )
        evaluate.__name__ = operation.op
        return make_static(evaluate, Handler(evaluate, False))([run.tensor(x) for x in given])
    finally:
        core.set_dynamic_mode(True)


def _is_apart(node: Node) -> bool:
    """Whether a node says more than its operands do: a call of Python, or a size that it alone knows."""
    return node.op == "host_call" or late_symbol(node) is not None


def _walk(node: Node) -> Iterable[Node]:
    for region in node.regions:
        yield from region.walk()


def _bind(operation: Operation, old: Any, new: Value, sizes: dict[Dim, Expr]) -> None:
    """Learn what the captured symbols are now. ShapeError where a fed tensor does not fit."""
    have, wanted = new.type.shape, old.type.shape
    if len(have) != len(wanted):
        raise ShapeError(
            f"{operation.op}: was captured with {len(wanted)} dimensions, is given {len(have)}", [operation.built_at]
        )
    for size, other in zip(wanted, have):
        if isinstance(size, Dim) and size.is_symbol:
            sizes.setdefault(size, other)
        elif isinstance(size, int) and isinstance(other, int) and size != other:
            raise ShapeError(f"{operation.op}: was captured with size {size}, is given {other}", [operation.built_at])


def _again(node: Node, values: dict[Value, Value], sizes: dict[Dim, Expr]) -> list[Value]:
    types = [x.type.substitute(sizes) for x in node.outputs]
    attrs = {key: _substituted(x, sizes) for key, x in node.attrs.items()}
    regions = tuple(_region(region, values, sizes) for region in node.regions)
    return current().emit(node.op, [values[x] for x in node.inputs], attrs, types, regions)


def _substituted(value: Any, sizes: dict[Dim, Expr]) -> Any:
    if isinstance(value, Dim):
        return substitute(value, sizes)
    return tuple(_substituted(x, sizes) for x in value) if type(value) is tuple else value


def _region(region: Region, outer: dict[Value, Value], sizes: dict[Dim, Expr]) -> Region:
    """A copy of a region on other values, in other sizes."""
    values = dict(outer)
    inputs = []
    for old in region.inputs:
        values[old] = Value(old.type.substitute(sizes), None, old.index, old.name)
        inputs.append(values[old])
    nodes = []
    for node in region.nodes:
        regions = tuple(_region(inner, values, sizes) for inner in node.regions)
        attrs = {key: _substituted(x, sizes) for key, x in node.attrs.items()}
        types = tuple(x.type.substitute(sizes) for x in node.outputs)
        made = Node(
            node.op, tuple(values[x] for x in node.inputs), attrs, types, regions, node.location, node.scope or current().scope
        )
        values.update(zip(node.outputs, made.outputs))
        nodes.append(made)
    return region.replace(inputs=tuple(inputs), nodes=tuple(nodes), outputs=tuple(values[x] for x in region.outputs))
