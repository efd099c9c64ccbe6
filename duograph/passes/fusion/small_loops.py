"""small_loops: loops and branches over scalars and small tensors, which run inside one kernel, their values in registers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from duograph.codegen.kernel import Address, FlowKernel, Gather, Instr, Operand
from duograph.ir.dim import Dim, Expr, ceildiv, product
from duograph.ir.graph import Graph, Node, Value
from duograph.ir.late import late_symbol
from duograph.ir.location import Location
from duograph.ir.primitives import CONTROL, ELEMENTWISE, MOVEMENT, PRIMITIVES

from .groups import Buffer, Placement
from .schedule import KernelStep

MAX_ELEMENTS = 64  # of a tensor that is kept in registers
MAX_NODES = 400  # larger ones would take long to compile, and one more step costs them little
_REDUCTIONS = ("sum", "prod", "max", "min", "any", "all")


def is_small(node: Node) -> bool:
    """Whether a loop or branch can be a `FlowKernel`.

    All it computes are scalars and small tensors of one shape, element by element or reduced to scalars, perhaps from
    rows of arrays.
    """
    nodes = (node, *_inner(node))
    values = [value for inner in nodes if inner.op != "row" for value in inner.outputs]
    shapes = {value.shape for value in values if not is_scalar(value)}
    if len(shapes) > 1:
        return False
    shape = shapes.pop() if shapes else ()
    count = product(shape)
    if not isinstance(count, int) or not 0 < count <= MAX_ELEMENTS or len(nodes) * ceildiv(count, 16) > MAX_NODES:
        return False
    if not all(_is_simple(inner, shape) for inner in nodes):
        return False
    try:
        roles = _roles(node)
    except _Unfit:
        return False
    kept = [value for value, role in zip(node.inputs, roles) if "kept" in role]
    return all(len(role) <= 1 for role in roles) and all(_is_kept(value, shape) for value in kept)


class _Unfit(Exception):
    """A value is used in a way for which it would have to be in memory, or in registers."""


def _roles(node: Node) -> list[set[str]]:
    """For each operand how it is used: "kept" in registers, or as an "array" of which rows are read."""
    first = 1 if node.op == "cond" else 0
    count = 1 if node.op == "cond" else node.attrs["carried"]
    roles: list[set[str]] = [{"kept"} if i < count else set() for i in range(len(node.inputs))]
    for region in node.regions:
        positions = {value: i + first for i, value in enumerate(region.inputs)}
        uses = [use for inner in region.nodes for use in _uses(inner)]
        rows: dict[Value, str] = {}
        for value, role in (*uses, *((value, "kept") for value in region.outputs)):
            if value in positions:
                roles[positions[value]].add(role)
            elif value.node is not None and not is_scalar(value):
                is_row = value.node.op == "row"
                if role == "array" and not is_row:
                    raise _Unfit
                if is_row and (rows.setdefault(value, role) != role or (role == "kept" and len(value.shape) != 1)):
                    raise _Unfit
    return roles


def _uses(node: Node) -> list[tuple[Value, str]]:
    if node.op == "row":
        return [(node.inputs[0], "array"), (node.inputs[1], "kept")]
    if node.regions:
        return [(value, role) for value, roles in zip(node.inputs, _roles(node)) for role in roles]
    return [(value, "kept") for value in node.inputs]


def operand_kinds(node: Node) -> list[str]:
    """How a small node takes each operand: as a "constant", "scalar", "tensor" or "array"; "" if not at all."""
    kinds = []
    for value, roles in zip(node.inputs, _roles(node)):
        if not roles or "array" in roles:
            kinds.append("array" if roles else "")
        elif number_of(value) is not None:
            kinds.append("constant")
        else:
            kinds.append("scalar" if is_scalar(value) else "tensor")
    return kinds


def is_scalar(value: Value) -> bool:
    """Whether a value has one element."""
    return all(size.__class__ is int and size == 1 for size in value.shape)


def _is_kept(value: Value, shape: tuple[Expr, ...]) -> bool:
    """Whether a value is in registers: a scalar, or of the one shape there is."""
    return is_scalar(value) or value.shape == shape


def _is_simple(node: Node, shape: tuple[Expr, ...]) -> bool:
    if node.op == "row":
        return is_scalar(node.inputs[1])
    kind = PRIMITIVES[node.op].kind
    if kind == CONTROL:
        return not node.attrs.get("stacked") and late_symbol(node) is None
    if kind == ELEMENTWISE or node.op == "broadcast":
        return all(_is_kept(value, shape) for value in node.inputs)
    if node.op in ("reshape", "permute"):
        return all(map(is_scalar, (*node.inputs, *node.outputs)))
    if node.op == "reduce":
        whole = is_scalar(node.outputs[0]) and node.inputs[0].shape == shape and not is_scalar(node.inputs[0])
        return whole and node.attrs["kind"] in _REDUCTIONS
    return node.op == "size" or (node.op == "constant" and not isinstance(node.attrs["value"], bytes))


def number_of(value: Value) -> bool | int | float | None:
    """The number that a value is everywhere, if that is known: a kernel then holds it as a constant."""
    node = value.node
    while node is not None and node.op == "broadcast":
        node = node.inputs[0].node
    if node is None or node.op != "constant" or node.outputs[0].shape:
        return None
    number: bool | int | float | bytes = node.attrs["value"]
    return None if isinstance(number, bytes) else number


def lower_flow(
    node: Node, operands: Sequence[Placement | None], results: Sequence[Placement], turns: Mapping[Node, Expr]
) -> KernelStep:
    """A small loop or branch as a step: where its operands are (see `operand_kinds`) and its results go."""
    lowering = _Flow(node, turns)
    kinds = operand_kinds(node)
    numbers = [lowering.operand(*operand) for operand in zip(node.inputs, operands, kinds)]
    values = dict(zip(node.inputs, numbers))
    lowering.control(node, values)
    for value, place in zip(node.outputs, results):
        lowering.store(values[value], value, place)
    locations: dict[Location, None] = {}
    for inner in lowering.nodes:
        if inner.location is not None:
            locations.setdefault(inner.location)
    kernel = FlowKernel(
        "flow",
        tuple(Operand(b.dtype.name, role) for b, role in zip(lowering.buffers, lowering.roles)),  # type: ignore[arg-type]
        tuple(lowering.body),
        _work(node),
        lowering.count,
        tuple(sorted(lowering.wide)),
    )
    traffic = sum((buffer.bytes for buffer in lowering.buffers), 0)
    nodes = tuple(lowering.nodes)
    return KernelStep(kernel, tuple(lowering.buffers), nodes, tuple(locations), lowering.flops, traffic, lowering.per_turn)


def _inner(node: Node) -> Iterator[Node]:
    return (inner for region in node.regions for inner in region.walk())


def _elements(value: Value) -> int:
    count = product(value.shape)
    assert isinstance(count, int)
    return count


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


_NOTHING = -1 << 30


class _Array(NamedTuple):
    """An array in memory from which elements are read; `indices` are (instruction, stride, extent), see `Gather`."""

    address: Address
    strides: tuple[Expr, ...]
    shape: tuple[Expr, ...]
    indices: tuple[tuple[int, Expr, Expr], ...] = ()


class _Flow:
    """The body under construction. Equal instructions are one where the first is seen: in its own region and inside."""

    def __init__(self, node: Node, turns: Mapping[Node, Expr]) -> None:
        values = [value for inner in (node, *_inner(node)) if inner.op != "row" for value in inner.outputs]
        self.count: int = max(_elements(value) for value in values)
        self.wide: set[int] = set()  # instructions whose value has an element for each index
        self.body: list[Instr] = []
        self.buffers: list[Buffer] = []
        self.roles: list[str] = []
        self.nodes: dict[Node, None] = {}
        self.flops: Expr = 0
        self.turns = turns
        self.times: Expr = 1  # how often what is emitted runs
        self.per_turn = False  # a loop in it makes nobody knows how many turns, of which one is counted
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
        if op != "reduce" and any(i in self.wide for i in inputs):
            self.wide.add(number)
        return number

    def _mark(self, number: int, value: Value) -> int:
        """The instruction, which has the elements of a value."""
        if not is_scalar(value):
            self.wide.add(number)
        return number

    def _address(self, position: int, value: Value, place: Placement) -> Address:
        return Address(position, () if is_scalar(value) else (1,), place.offset)

    # Memory

    def _argument(self, buffer: Buffer, role: str) -> int:
        for position, known in enumerate(self.buffers):
            if known is buffer and self.roles[position] == role:
                return position
        self.buffers.append(buffer)
        self.roles.append(role)
        return len(self.buffers) - 1

    def operand(self, value: Value, place: Placement | None, kind: str) -> int:
        """A value from outside."""
        dtype = value.dtype.name
        if kind == "constant":
            return self.add("const", (), dtype, number_of(value))
        if place is None:
            return _NOTHING
        position = self._argument(place.buffer, "in")
        if kind == "array":
            return self._array(_Array(Address(position, (), place.offset), place.strides, value.shape))
        if place.number:
            return self.add("number", (), dtype, position)
        return self._mark(self.add("load", (), dtype, self._address(position, value, place)), value)

    def _array(self, array: _Array) -> int:
        self.arrays.append(array)
        return -len(self.arrays)

    def _row(self, source: int, index: int, value: Value, in_registers: bool) -> int:
        """A row of an array: loaded, or an array with one dimension less."""
        array = self.arrays[-1 - source]
        indices = (*array.indices, (index, array.strides[0], array.shape[0]))
        if not in_registers:
            return self._array(_Array(array.address, array.strides[1:], array.shape[1:], indices))
        strides = () if is_scalar(value) else array.strides[1:]
        address = Address(array.address.arg, strides, array.address.offset)
        return self._mark(self.add("gather", (), value.dtype.name, Gather(address, indices)), value)

    def store(self, number: int, value: Value, place: Placement) -> None:
        """Write a result."""
        address = self._address(self._argument(place.buffer, "out"), value, place)
        self._mark(self.emit("store", (number,), place.buffer.dtype.name, address), value)

    # Nodes

    def region(self, region: Graph, operands: Sequence[int]) -> tuple[int, ...]:
        """The nodes of a region over these operands; the numbers of its results. What it adds is known to it alone."""
        values: dict[Value, int] = dict(zip(region.inputs, operands))
        kept = {value for node in region.nodes for value, role in _uses(node) if role == "kept"}
        kept.update(region.outputs)
        self.known.append({})
        for node in region.nodes:
            self.nodes.setdefault(node)
            if PRIMITIVES[node.op].kind == CONTROL:
                self.control(node, values)
            elif node.op == "row":
                source, index = (values[value] for value in node.inputs)
                in_registers = is_scalar(node.output) or node.output in kept
                values[node.output] = self._row(source, index, node.output, in_registers)
            else:
                values[node.outputs[0]] = self._compute(node, [values[value] for value in node.inputs])
        self.known.pop()
        return tuple(values[value] for value in region.outputs)

    def _compute(self, node: Node, inputs: Sequence[int]) -> int:
        dtype = node.outputs[0].dtype.name
        if node.op == "constant":
            return self.add("const", (), dtype, node.attrs["value"])
        if node.op == "size":
            return self._size(node.attrs["value"], dtype)
        if node.op == "reduce":
            return self._reduce(inputs[0], node.attrs["kind"], dtype)
        if PRIMITIVES[node.op].kind == MOVEMENT or node.op == "copy":
            return inputs[0]
        if node.op == "cast" and self.body[inputs[0]].dtype == dtype:
            return inputs[0]
        if node.outputs[0].dtype.kind == "f":
            self.flops = self.flops + self.times * (PRIMITIVES[node.op].flops * _elements(node.outputs[0]))
        return self.add(node.op, tuple(inputs), dtype)

    def _reduce(self, operand: int, kind: str, dtype: str) -> int:
        if kind in ("sum", "prod") and self.body[operand].dtype != dtype:
            operand = self.add("cast", (operand,), dtype)
        self.flops = self.flops + self.times * self.count
        return self.add("reduce", (operand,), dtype, kind)

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
        carried = [self._mark(self.emit("phi", (), v.dtype.name, i), v) for i, v in enumerate(node.outputs[:count])]
        inside = [*carried, *operands[count:]]
        outside, turns = self.times, self.turns.get(node)
        self.per_turn = self.per_turn or turns is None
        self.times = outside if turns is None else outside * turns
        self.emit("while", self.region(test, inside), "bool")
        self.emit("again", self.region(step, inside))
        self.times = outside
        return iter(carried)

    def _branch(self, node: Node, operands: Sequence[int]) -> Iterator[int]:
        then, otherwise = node.regions
        self.emit("if", (operands[0],))
        self.emit("else", self.region(then, operands[1:]))
        self.emit("end", self.region(otherwise, operands[1:]))
        return iter([self._mark(self.emit("merge", (), v.dtype.name, i), v) for i, v in enumerate(node.outputs)])


__all__ = ["is_small", "lower_flow", "operand_kinds"]
