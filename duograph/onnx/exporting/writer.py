"""Writing one ONNX graph: of the model, of a branch or loop in it, or the body of a function."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import helper

from duograph import _core as core
from duograph.errors import GraphError
from duograph.ir.dim import Dim, Expr, bounds
from duograph.ir.graph import Graph, Node, Value
from duograph.ir.primitives import PRIMITIVES
from duograph.ir.substitution import substitute

from .names import element_type, numpy_type
from .table import PRIMITIVE, STANDARD


class Ref(NamedTuple):
    """A tensor of the file; a value that is stretched may be one with sizes 1, or fewer dimensions, in its place."""

    name: str
    shape: tuple[Expr, ...]


class Model:
    """What all graphs of one file share."""

    def __init__(self, graph: Graph, opset: int, equal: dict[Dim, Expr], effects: bool = True) -> None:
        self.opset = opset
        self.read = set(read_values(graph))
        self.equal = equal  # sizes, and what they are
        self.effects = effects  # prints and errors are written
        self.hosts: list[Any] = []  # what calls of Python are
        self.scalar: Callable[[Writer, Sequence[Any]], str | None] = lambda _, postfix: None  # numbers of Python's
        self.generators: set[Value] = set()  # keys of random numbers: generators of a file have their own state
        self.functions: dict[tuple[str, bytes], onnx.FunctionProto] = {}
        self.dropped: list[str] = []  # what was left out, for the metadata
        self.taken: set[str] = set()
        self.counts: dict[str, int] = {}

    def fresh(self, hint: str) -> str:
        """A name that nothing else has."""
        return fresh(hint, self.taken, self.counts)


def fresh(hint: str, taken: set[str], counts: dict[str, int]) -> str:
    """`hint`, with a number behind it where that is taken."""
    name = hint
    while name in taken:
        counts[hint] = counts.get(hint, 0) + 1
        name = f"{hint}_{counts[hint]}"
    taken.add(name)
    return name


class Writer:
    """The nodes of one graph, and under which names its values are known there."""

    def __init__(self, model: Model, parent: Writer | None = None, is_function: bool = False) -> None:
        self.model = model
        self.parent = parent
        self.is_function = is_function
        self.nodes: list[onnx.NodeProto] = []
        self.refs: dict[Value, Ref] = {}
        self.constants: dict[Value, np.ndarray[Any, Any]] = {}
        self.boxed: dict[Value, Value] = {}  # numbers of memory, and what lies there
        self.sizes: dict[Expr, str] = {}
        self.symbols: dict[Dim, tuple[str, int]] = {}  # the tensor whose dimension it is; -1: the one number in it
        self.asked: list[Dim] = []  # of a function: sizes that its inputs do not tell
        self.origin: Node | None = None
        self.in_function: bool = is_function or (parent is not None and parent.in_function)
        self.taken: set[str] = parent.taken if parent is not None else set() if is_function else model.taken
        self.counts: dict[str, int] = parent.counts if parent is not None else {} if is_function else model.counts

    # ---- names and nodes

    def fresh(self, hint: str) -> str:
        return fresh(hint, self.taken, self.counts)

    def emit(self, op: str, inputs: Sequence[str], domain: str = "", **attributes: Any) -> str:
        """A node with one output."""
        return self.emit_several(op, inputs, 1, domain, **attributes)[0]

    def emit_several(self, op: str, inputs: Sequence[str], outputs: int, domain: str = "", **attributes: Any) -> list[str]:
        """A node; attributes that are None are left out."""
        if not domain and not onnx.defs.has(op, self.model.opset, ""):
            raise self._too_old(op)
        hint = self.origin.op.strip("_") if self.origin is not None else op.lower()
        made = [self.fresh(hint) for _ in range(outputs)]
        given = {key: value for key, value in attributes.items() if value is not None}
        node = helper.make_node(op, list(inputs), made, domain=domain, **given)
        node.name = f"{op}_{made[0]}"
        self._note_origin(node)
        self.nodes.append(node)
        return made

    def _too_old(self, op: str) -> GraphError:
        since = min(schema.since_version for schema in onnx.defs.get_all_schemas_with_history() if schema.name == op)
        what = f"needs {op}, which is there from opset {since} on, and opset {self.model.opset} was asked for"
        return GraphError(f"onnx: {what}") if self.origin is None else refused(self.origin, what)

    def _note_origin(self, node: onnx.NodeProto) -> None:
        """Where the user's program has it; in functions, which many lines may call, nothing."""
        if self.in_function or self.origin is None or self.model.opset < 21:
            return
        note(node.metadata_props, "duograph.op", self.origin.op)
        location = self.origin.location
        if location is not None:
            note(node.metadata_props, "duograph.line", str(location))
        if self.origin.scope:
            note(node.metadata_props, "duograph.scope", self.origin.scope)

    def array(self, array: np.ndarray[Any, Any]) -> str:
        """A constant of the file."""
        origin, self.origin = self.origin, None
        name = self.emit("Constant", [], value=onnx.numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape)))
        self.origin = origin
        return name

    def number(self, value: float | bool, dtype: Any) -> str:
        """A constant without dimensions."""
        return self.array(np.asarray(value, numpy_type(dtype)))

    def numbers(self, values: Sequence[int]) -> str:
        """A row of int64."""
        return self.array(np.asarray(values, np.int64))

    def cast(self, name: str, dtype: Any) -> str:
        return self.emit("Cast", [name], to=element_type(dtype))

    # ---- values

    def set(self, value: Value, name: str, shape: Iterable[Expr] | None = None) -> None:
        """What a value is called; `shape` where it is not stretched to its own yet."""
        self.refs[value] = Ref(name, tuple(value.shape if shape is None else shape))

    def ref(self, value: Value) -> Ref:
        """A value as it is known here, maybe not stretched yet."""
        at: Writer | None = self
        while at is not None:
            found = at.refs.get(value)
            if found is not None:
                return found
            if value in at.constants:
                at.refs[value] = Ref(at.array(at.constants[value]), tuple(at.constants[value].shape))
                return at.refs[value]
            at = at.parent
        raise KeyError(value)

    def known(self, value: Value) -> np.ndarray[Any, Any] | None:
        """The elements of a constant, of as many dimensions as its smallest form has."""
        at: Writer | None = self
        while at is not None:
            if value in at.constants:
                return at.constants[value]
            at = at.parent
        return None

    def use(self, value: Value) -> str:
        """The name of a value in its full shape."""
        ref = self.ref(value)
        if ref.shape == tuple(value.shape):
            return ref.name
        name = self.emit("Expand", [ref.name, self.shape(value.shape)])
        self.refs[value] = Ref(name, tuple(value.shape))
        return name

    def together(self, values: Sequence[Value], shape: Sequence[Expr]) -> list[str]:
        """The names of operands that an operator stretches by itself, so that the result has the shape."""
        refs = [self.ref(value) for value in values]
        for d in range(1, len(shape) + 1):
            sizes = [ref.shape[-d] for ref in refs if len(ref.shape) >= d]
            if shape[-d] not in sizes:
                return [self.use(values[0]), *(ref.name for ref in refs[1:])]
        return [ref.name for ref in refs]

    # ---- sizes

    def size(self, expr: Expr) -> str:
        """A size as a row of one int64."""
        expr = substitute(expr, self.model.equal)
        at: Writer | None = self
        while at is not None:
            if expr in at.sizes:
                return at.sizes[expr]
            at = at.parent
        if isinstance(expr, int):
            return self._remember(expr, self.numbers([expr]))
        if expr.is_symbol:
            return self._symbol(expr)
        total = None
        for monomial, coefficient in expr.terms:
            term = None if coefficient == 1 and monomial else self.numbers([coefficient])
            for atom in monomial:
                factor = self.size(atom.dim) if atom.kind == "symbol" else self._atom(atom)
                term = factor if term is None else self.emit("Mul", [term, factor])
            assert term is not None
            total = term if total is None else self.emit("Add", [total, term])
        assert total is not None
        return self._remember(expr, total)

    def _remember(self, expr: Expr, name: str) -> str:
        self.sizes[expr] = name
        return name

    def _symbol(self, symbol: Dim) -> str:
        at: Writer | None = self
        while at is not None:
            if symbol in at.symbols:
                tensor, axis = at.symbols[symbol]
                name = tensor if axis < 0 else at.emit("Shape", [tensor], start=axis, end=axis + 1)
                return at._remember(symbol, name)
            if at.parent is None:
                break
            at = at.parent
        assert at is not None
        if not at.is_function:
            raise GraphError(f"onnx: the size {symbol} is not one of an argument", hint="give the argument's size as a number")
        at.asked.append(symbol)
        return at._remember(symbol, at.fresh(f"size_{symbol}"))

    def _atom(self, atom: Any) -> str:
        left, right = atom.args
        a, b = self.size(left), self.size(right)
        if atom.kind in ("min", "max"):
            return self.emit(atom.kind.capitalize(), [a, b])
        if atom.kind == "ceildiv":
            a = self.emit("Sub", [self.emit("Add", [a, b]), self.size(1)])
        elif atom.kind == "mod":
            return self.emit("Mod", [a, b])
        if bounds(left)[0] < 0:
            a = self.emit("Sub", [a, self.emit("Mod", [a, b])])
        return self.emit("Div", [a, b])

    def shape(self, sizes: Sequence[Expr]) -> str:
        """Sizes as a row of int64."""
        sizes = [substitute(size, self.model.equal) for size in sizes]
        if all(isinstance(size, int) for size in sizes):
            return self.numbers(sizes)  # type: ignore[arg-type]
        parts: list[str] = []
        run: list[int] = []
        for size in sizes:
            if isinstance(size, int):
                run.append(size)
                continue
            parts += [self.numbers(run)] if run else []
            run = []
            parts.append(self.size(size))
        parts += [self.numbers(run)] if run else []
        return parts[0] if len(parts) == 1 else self.emit("Concat", parts, axis=0)

    def reshape(self, name: str, shape: Sequence[Expr]) -> str:
        return self.emit("Reshape", [name, self.shape(shape)], allowzero=1 if self.model.opset >= 14 else None)

    # ---- nodes of the program

    def write(self, nodes: Iterable[Node]) -> None:
        """The program's nodes in order."""
        for node in nodes:
            outer, self.origin = self.origin, node
            try:
                self._node(node)
            finally:
                self.origin = outer

    def _node(self, node: Node) -> None:
        from .functions import call

        exporter = PRIMITIVE.get(node.op)
        if exporter is not None:
            exporter(self, node)
        elif node.op in PRIMITIVES:
            raise refused(node, "has no form in ONNX")
        else:
            known = STANDARD.get(node.op) if node.call else None
            found = known(self, node) if known is not None else None
            names = [found] if isinstance(found, str) else found
            if names is None or not self.model.read.isdisjoint(node.outputs[len(names) :]):
                call(self, node)
                return
            for value, name in zip(node.outputs, names):
                self.set(value, name)

    def finish(self, outputs: Sequence[str]) -> list[onnx.NodeProto]:
        """The nodes that the outputs need."""
        needed = set(outputs)
        kept = []
        for node in reversed(self.nodes):
            if has_effect(node) or not needed.isdisjoint(node.output):
                needed.update(node.input, *(read_by(x.g) for x in node.attribute if x.HasField("g")))
                kept.append(node)
        return kept[::-1]

    def inner(self) -> Writer:
        """The writer of a graph inside of this one."""
        made = Writer(self.model, self)
        made.origin = self.origin
        return made


def read_values(graph: Graph) -> Iterator[Value]:
    """Every value that something reads, in regions, too."""
    yield from graph.outputs
    for node in graph.nodes:
        yield from node.inputs
        for region in node.regions:
            yield from read_values(region)


def has_effect(node: onnx.NodeProto) -> bool:
    """Whether a node says something, or one in its graphs does."""
    if node.domain == "duograph" and node.op_type.rstrip("0123456789") in ("Print", "Raise"):
        return True
    return any(has_effect(inner) for x in node.attribute if x.HasField("g") for inner in x.g.node)


def read_by(graph: onnx.GraphProto) -> set[str]:
    """The names that the nodes of a graph read, its own included."""
    found = {value.name for value in graph.output}
    for node in graph.node:
        found.update(node.input, *(read_by(x.g) for x in node.attribute if x.HasField("g")))
    return found


def refused(node: Node, why: str, hint: str | None = None) -> GraphError:
    """The error for a node that cannot be written."""
    location: Any = node.location
    lines = [] if location is None else [f"at {location}"]
    return GraphError(f"onnx: {node.op.strip('_')}: {why}", lines, hint=hint)


def note(props: Any, key: str, value: str) -> None:
    """One more row of metadata."""
    row = props.add()
    row.key, row.value = key, value


def type_of(value: Value, name: str, model: Model) -> onnx.ValueInfoProto:
    """dtype and shape of a value, symbols as names."""
    shape = [size if isinstance(size, int) else str(size) for size in (substitute(s, model.equal) for s in value.shape)]
    return helper.make_tensor_value_info(name, element_type(value.dtype), shape)


def is_number(x: Any) -> bool:
    """Whether an argument is a plain number, known when the file is written."""
    return type(x) in (int, float, bool) and not isinstance(x, core.Tensor)
