"""small_loops: loops and branches over scalars, which run inside one kernel with their values in registers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from duograph.codegen.kernel import Address, FlowKernel, Gather, Instr, Operand
from duograph.ir.dim import Dim, Expr
from duograph.ir.graph import Graph, Node, Value
from duograph.ir.location import Location
from duograph.ir.primitives import CONTROL, ELEMENTWISE, MOVEMENT, PRIMITIVES

from .groups import Buffer, Placement
from .schedule import KernelStep

MAX_NODES = 400  # larger ones would take long to compile, and one more step costs them little


def is_small(node: Node) -> bool:
    """Whether a loop or branch can be a `FlowKernel`: all it computes are scalars, perhaps from elements of arrays."""
    if node.attrs.get("stacked"):
        return False
    nodes = (node, *(inner for region in node.regions for inner in region.walk()))
    if len(nodes) > MAX_NODES or not all(map(_is_simple, nodes)):
        return False
    return all(not value.shape for region in node.regions for value in region.outputs)


def _is_simple(node: Node) -> bool:
    if node.op == "row":
        return not node.inputs[1].shape
    if any(value.shape for value in node.outputs):
        return False
    kind = PRIMITIVES[node.op].kind
    if kind == CONTROL:
        return not node.attrs.get("stacked")
    if kind == ELEMENTWISE or node.op in ("broadcast", "reshape"):
        return all(not value.shape for value in node.inputs)
    return node.op == "size" or (node.op == "constant" and not isinstance(node.attrs["value"], bytes))


def number_of(value: Value) -> bool | int | float | None:
    """The number that a scalar is, if that is known: a kernel then holds it as a constant."""
    node = value.node
    if node is None or node.op != "constant" or value.shape:
        return None
    number: bool | int | float | bytes = node.attrs["value"]
    return None if isinstance(number, bytes) else number


def lower_flow(node: Node, operands: Sequence[Placement | None], results: Sequence[Placement]) -> KernelStep:
    """A small loop or branch as a step. An operand without a place is a constant (see `number_of`)."""
    lowering = _Flow()
    numbers = [lowering.operand(value, place) for value, place in zip(node.inputs, operands)]
    values = dict(zip(node.inputs, numbers))
    lowering.control(node, values)
    for value, place in zip(node.outputs, results):
        lowering.store(values[value], place)
    locations: dict[Location, None] = {}
    for inner in lowering.nodes:
        if inner.location is not None:
            locations.setdefault(inner.location)
    kernel = FlowKernel(
        "flow",
        tuple(Operand(b.dtype.name, role) for b, role in zip(lowering.buffers, lowering.roles)),  # type: ignore[arg-type]
        tuple(lowering.body),
        _work(node),
    )
    traffic = sum(buffer.dtype.itemsize for buffer in lowering.buffers)
    return KernelStep(kernel, tuple(lowering.buffers), tuple(lowering.nodes), tuple(locations), lowering.flops, traffic)


def _work(node: Node) -> Expr | None:
    """How many instructions a node runs; None if a loop in it runs until its test says no."""
    turns = 1 if node.op == "cond" else node.attrs.get("trips")
    if turns is None:
        return None
    total: Expr = len(node.outputs)
    for inner in (inner for region in node.regions for inner in region.nodes):
        work = _work(inner) if inner.regions else 1
        if work is None:
            return None
        total = total + work
    return turns * total


class _Array(NamedTuple):
    """An array in memory from which elements are read; `indices` are (instruction, stride, extent), see `Gather`."""

    address: Address
    strides: tuple[Expr, ...]
    shape: tuple[Expr, ...]
    indices: tuple[tuple[int, Expr, Expr], ...] = ()


class _Flow:
    """The body under construction. Equal instructions are one where the first is seen: in its own region and inside."""

    def __init__(self) -> None:
        self.body: list[Instr] = []
        self.buffers: list[Buffer] = []
        self.roles: list[str] = []
        self.nodes: dict[Node, None] = {}
        self.flops = 0
        self.known: list[dict[tuple[Any, ...], int]] = [{}]
        self.arrays: list[_Array] = []  # the value -1 - i is array i

    def emit(self, op: str, inputs: tuple[int, ...] = (), dtype: str = "", attr: Any = None) -> int:
        """A new instruction."""
        self.body.append(Instr(op, inputs, dtype, attr))
        return len(self.body) - 1

    def add(self, op: str, inputs: tuple[int, ...], dtype: str, attr: Any = None) -> int:
        """The instruction that computes this, perhaps a new one."""
        key = (op, inputs, dtype, attr.__class__, repr(attr) if isinstance(attr, float) else attr)
        for scope in reversed(self.known):
            found: int | None = scope.get(key)
            if found is not None:
                return found
        number = self.emit(op, inputs, dtype, attr)
        self.known[-1][key] = number
        return number

    # Memory

    def _argument(self, buffer: Buffer, role: str) -> int:
        for position, known in enumerate(self.buffers):
            if known is buffer and self.roles[position] == role:
                return position
        self.buffers.append(buffer)
        self.roles.append(role)
        return len(self.buffers) - 1

    def operand(self, value: Value, place: Placement | None) -> int:
        """A value from outside."""
        dtype = value.dtype.name
        if place is None:
            return self.add("const", (), dtype, number_of(value))
        position = self._argument(place.buffer, "in")
        if value.shape:
            return self._array(_Array(Address(position, (), place.offset), place.strides, value.shape))
        if place.number:
            return self.add("number", (), dtype, position)
        return self.add("load", (), dtype, Address(position, (), place.offset))

    def _array(self, array: _Array) -> int:
        self.arrays.append(array)
        return -len(self.arrays)

    def _row(self, source: int, index: int, dtype: str) -> int:
        """A row of an array: an element, or an array with one dimension less."""
        array = self.arrays[-1 - source]
        indices = (*array.indices, (index, array.strides[0], array.shape[0]))
        if len(array.shape) == 1:
            return self.add("gather", (), dtype, Gather(array.address, indices))
        return self._array(_Array(array.address, array.strides[1:], array.shape[1:], indices))

    def store(self, number: int, place: Placement) -> None:
        """Write a result."""
        address = Address(self._argument(place.buffer, "out"), (), place.offset)
        self.emit("store", (number,), place.buffer.dtype.name, address)

    # Nodes

    def region(self, region: Graph, operands: Sequence[int]) -> tuple[int, ...]:
        """The nodes of a region over these operands; the numbers of its results. What it adds is known to it alone."""
        values: dict[Value, int] = dict(zip(region.inputs, operands))
        self.known.append({})
        for node in region.nodes:
            self.nodes.setdefault(node)
            if PRIMITIVES[node.op].kind == CONTROL:
                self.control(node, values)
            else:
                values[node.outputs[0]] = self._compute(node, [values[value] for value in node.inputs])
        self.known.pop()
        return tuple(values[value] for value in region.outputs)

    def _compute(self, node: Node, inputs: Sequence[int]) -> int:
        dtype = node.outputs[0].dtype.name
        if node.op == "constant":
            return self.add("const", (), dtype, node.attrs["value"])
        if node.op == "row":
            return self._row(inputs[0], inputs[1], dtype)
        if node.op == "size":
            return self._size(node.attrs["value"], dtype)
        if PRIMITIVES[node.op].kind == MOVEMENT or node.op == "copy":
            return inputs[0]
        if node.op == "cast" and self.body[inputs[0]].dtype == dtype:
            return inputs[0]
        if node.outputs[0].dtype.kind == "f":
            self.flops += PRIMITIVES[node.op].flops
        return self.add(node.op, tuple(inputs), dtype)

    def _size(self, value: Expr, dtype: str) -> int:
        if isinstance(value, Dim):
            number = self.add("size", (), "int64", value)
            return number if dtype == "int64" else self.add("cast", (number,), dtype)
        return self.add("const", (), dtype, value)

    def control(self, node: Node, values: dict[Value, int]) -> None:
        """A loop or branch over values that have numbers; its results get theirs."""
        operands = [values[value] for value in node.inputs]
        self.nodes.setdefault(node)
        results = self._branch(node, operands) if node.op == "cond" else self._loop(node, operands)
        values.update(zip(node.outputs, results))

    def _loop(self, node: Node, operands: Sequence[int]) -> Iterator[int]:
        count = node.attrs["carried"]
        test, step = node.regions
        self.emit("enter", tuple(operands[:count]))
        carried = [self.emit("phi", (), value.dtype.name, i) for i, value in enumerate(node.outputs[:count])]
        inside = [*carried, *operands[count:]]
        self.emit("while", self.region(test, inside), "bool")
        self.emit("again", self.region(step, inside))
        return iter(carried)

    def _branch(self, node: Node, operands: Sequence[int]) -> Iterator[int]:
        then, otherwise = node.regions
        self.emit("if", (operands[0],))
        self.emit("else", self.region(then, operands[1:]))
        self.emit("end", self.region(otherwise, operands[1:]))
        return iter([self.emit("merge", (), value.dtype.name, i) for i, value in enumerate(node.outputs)])


__all__ = ["is_small", "lower_flow", "number_of"]
