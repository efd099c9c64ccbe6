"""The structure of a model: graphs as nodes in order, each with the function that it means. Names and cycles are checked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .errors import ModelError, UnsupportedError
from .messages import library, messages
from .operators import host
from .operators.definition import Operator, find
from .reading import Data, Source, tensor_data
from .recalled import KEY, Recalled

_DEEPEST = 60  # graphs inside graphs
_MOST_NODES = 1_000_000  # after functions are put in the place of their calls
_KEPT = ("consumed_inputs",)  # attributes that say nothing any more
_DEFAULT = ("", "ai.onnx")
_KNOWN = 21  # the version of operators that the oldest package onnx which may be installed knows


class Body:
    """A graph, or a function's body: what is computed, in order.

    initialisers  the constants of the graph by name
    dtypes        ONNX's numbers for dtypes by the name of a value, where the graph says them
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.inputs: list[str] = []
        self.outputs: list[str] = []
        self.nodes: list[Node] = []
        self.initialisers: dict[str, Data] = {}
        self.dtypes: dict[str, int] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}  # of its outputs; 0 for a size that the graph leaves open
        self.defaults: dict[str, Any] = {}  # of a function's attributes
        self.size = 0  # nodes, with those of the functions that are called

    def free_names(self) -> Iterator[str]:
        """What nodes and outputs read from outside."""
        own = {*self.inputs, *self.initialisers, *(name for node in self.nodes for name in node.outputs)}
        for node in self.nodes:
            yield from (name for name in node.reads() if name not in own)
        yield from (name for name in self.outputs if name not in own)


class Node:
    """One operation of a graph: `row` of the table, or `function`, is what it means."""

    __slots__ = (
        "attributes", "call", "context", "domain", "dtypes", "function", "host", "inputs", "line", "name", "number", "op",
        "opset", "outputs", "recalled", "references", "row", "scope",
    )  # fmt: skip

    def __init__(self, proto: Any, number: int, domain: str, opset: int) -> None:
        for text in (proto.name, proto.op_type, domain, *proto.input, *proto.output, *[each.name for each in proto.attribute]):
            if not isinstance(text, str):
                raise ModelError(f"onnx: a node has the name {text!r}, which is no UTF-8 text")
        self.name: str = proto.name
        self.op: str = proto.op_type
        self.domain = domain
        self.opset = opset
        self.number = number
        self.line = next((row.value for row in proto.metadata_props if row.key == "duograph.line"), "")
        self.inputs: tuple[str, ...] = tuple(proto.input)
        self.outputs: tuple[str, ...] = tuple(proto.output)
        self.attributes: dict[str, Any] = {}
        self.references: dict[str, str] = {}  # attributes that are those of the function around
        self.row: Operator | None = None
        self.function: Body | None = None
        self.host: Any = None
        self.context: Context | None = None
        self.dtypes: tuple[int | None, ...] | None = None
        self.call: Any = None
        said = next((row.value for row in proto.metadata_props if row.key == KEY), "") if domain == "duograph" else ""
        self.recalled = Recalled.of(said, len(self.inputs)) if said else None  # the operator that a function stands for

    def bodies(self) -> Iterator[Body]:
        for value in self.attributes.values():
            for item in value if isinstance(value, list) else (value,):
                if isinstance(item, Body):
                    yield item

    def reads(self) -> Iterator[str]:
        """The names that it reads, in its graphs too."""
        yield from (name for name in self.inputs if name)
        for body in self.bodies():
            yield from body.free_names()

    def __str__(self) -> str:
        return described(self.name, self.op, self.domain, self.opset, self.outputs)


def described(name: str, op: str, domain: str, opset: int | None, outputs: Iterable[str]) -> str:
    """A node as messages call it."""
    made = f"of {next(iter(outputs), '?')!r}" if not name else repr(name)
    version = "" if opset is None else f", opset {opset}"
    return f"node {made} ({domain or 'ai.onnx'}.{op}{version})"


class Reader:
    """Makes bodies of the graphs and functions of one model."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.functions: dict[tuple[str, str, str], Any] = {}
        self.made: dict[tuple[Any, ...], Body | None] = {}  # None while it is being made
        for proto in source.model.functions:
            key = (_domain(proto.domain), proto.name, getattr(proto, "overload", ""))
            if key in self.functions:
                raise ModelError(f"onnx: the function {proto.domain}.{proto.name} is there twice")
            self.functions[key] = proto
        self.unsupported: list[str] = []

    def model(self) -> Body:
        """The model's graph."""
        body = self.graph(self.source.model.graph, opsets_of(self.source.model.opset_import), (), 0)
        if self.unsupported:
            shown = self.unsupported[:8]
            rest = len(self.unsupported) - len(shown)
            raise UnsupportedError(
                f"onnx: {shown[0]} is not known", [*shown[1:], *([f"and {rest} more"] if rest else [])], location=None
            )
        return body

    def graph(self, proto: Any, opsets: Mapping[str, int], outside: tuple[frozenset[str], ...], depth: int) -> Body:
        """A graph's body.

        Args:
            outside: the names that the graphs around it have.
        """
        if depth > _DEEPEST:
            raise ModelError(f"onnx: graph {proto.name!r} lies in more than {_DEEPEST} graphs")
        body = Body(proto.name)
        body.inputs = [value.name for value in proto.input]
        body.outputs = [value.name for value in proto.output]
        _check_unique(body.inputs, f"inputs of graph {proto.name!r}")
        if proto.sparse_initializer:
            raise UnsupportedError(f"onnx: graph {proto.name!r} has sparse initialisers")
        weights = self.source.weights if depth == 0 else {}
        for number, tensor in enumerate(proto.initializer):
            if not tensor.name or tensor.name in body.initialisers:
                raise ModelError(f"onnx: graph {proto.name!r} has two initialisers of the name {tensor.name!r}")
            what = f"initialiser {tensor.name!r}"
            body.initialisers[tensor.name] = tensor_data(tensor, self.source.folder, what, weights.get(number))
        for value in (*proto.value_info, *proto.output, *proto.input):
            if value.type.HasField("tensor_type"):
                body.dtypes[value.name] = value.type.tensor_type.elem_type
        for value in proto.output:
            body.shapes[value.name] = tuple([max(size.dim_value, 0) for size in value.type.tensor_type.shape.dim])
        self.fill(body, proto.node, opsets, outside, depth)
        return body

    def fill(self, body: Body, protos: Any, opsets: Mapping[str, int], outside: tuple[frozenset[str], ...], depth: int) -> None:
        """Add the nodes, in order."""
        own = [*body.inputs, *(name for name in body.initialisers if name not in body.inputs)]
        for proto in protos:
            own.extend(name for name in proto.output if name)
        names = frozenset(own)
        if len(names) != len(own):
            _check_unique(own, f"values of graph {body.name!r}")
        scopes = (*outside, names)
        nodes = [self.node(proto, number, opsets, scopes, depth) for number, proto in enumerate(protos, 1)]
        for node in nodes:
            node.dtypes = tuple(body.dtypes.get(name) for name in node.outputs)
        body.nodes = ordered(nodes, body, names, outside)
        body.size = sum(1 + sum(inner.size for inner in node.bodies()) + _called(node) for node in nodes)
        if body.size > _MOST_NODES:
            raise ModelError(
                f"onnx: graph {body.name!r} has more than {_MOST_NODES:,} nodes with those of the functions it calls"
            )
        for name in body.outputs:
            if name and not any(name in scope for scope in scopes):
                raise ModelError(f"onnx: graph {body.name!r} has the output {name!r}, which nothing computes")

    def node(self, proto: Any, number: int, opsets: Mapping[str, int], scopes: tuple[frozenset[str], ...], depth: int) -> Node:
        """One node, with what it means."""
        domain = _domain(proto.domain)
        function = self.functions.get((domain, proto.op_type, getattr(proto, "overload", "")))
        version = opsets.get(domain)
        if version is None and function is None:
            where = described(proto.name, proto.op_type, domain, None, proto.output)
            raise ModelError(f"onnx: {where}: the model says no version of the domain {domain or 'ai.onnx'!r}")
        node = Node(proto, number, domain, version or 1)
        for attribute in proto.attribute:
            if attribute.ref_attr_name:
                node.references[attribute.name] = attribute.ref_attr_name
            elif attribute.name not in _KEPT:
                node.attributes[attribute.name] = self.attribute(attribute, node, opsets, scopes, depth)
        node.row = find(domain, node.op, node.opset)
        if node.row is not None:
            node.host = host.TABLE.get(node.op) if domain == "" else None
            _check_row(node, node.row)
        else:
            node.function = self.function(node, function, proto)
        return node

    def attribute(self, proto: Any, node: Node, opsets: Mapping[str, int], scopes: Any, depth: int) -> Any:
        """An attribute's value as functions of operators take it."""
        kinds = messages().AttributeProto
        what = f"{node}: attribute {proto.name!r}"
        kind = proto.type
        if kind == kinds.FLOAT:
            return proto.f
        if kind == kinds.INT:
            return proto.i
        if kind == kinds.STRING:
            return proto.s.decode("utf-8", "replace")
        if kind == kinds.TENSOR:
            return tensor_data(proto.t, self.source.folder, what)
        if kind == kinds.GRAPH:
            return self.graph(proto.g, opsets, scopes, depth + 1)
        if kind == kinds.FLOATS:
            return list(proto.floats)
        if kind == kinds.INTS:
            return list(proto.ints)
        if kind == kinds.STRINGS:
            return [text.decode("utf-8", "replace") for text in proto.strings]
        if kind == kinds.TENSORS:
            return [tensor_data(tensor, self.source.folder, what) for tensor in proto.tensors]
        if kind == kinds.GRAPHS:
            return [self.graph(graph, opsets, scopes, depth + 1) for graph in proto.graphs]
        if kind == kinds.TYPE_PROTO:
            return proto.tp
        if kind == kinds.UNDEFINED:
            raise ModelError(f"onnx: {what} has no type")
        raise UnsupportedError(f"onnx: {what} is of a kind that is not known")

    def function(self, node: Node, proto: Any, source: Any) -> Body | None:
        """The body of the function that a node calls: the model's own, or the one that ONNX has for the operator."""
        key: tuple[Any, ...] = (node.domain, node.op, node.opset, id(proto))
        defaults: dict[str, Any] = {}
        if proto is None:
            schema = standard_schema(node.domain, node.op, node.opset)
            if schema is None:
                texts = works_on_texts(node.domain, node.op, node.opset)
                self.unsupported.append(f"{node} works on texts, for which there is no dtype: it" if texts else str(node))
                return None
            if not schema.has_function:
                node.context = Context(self, schema, source)
                return None
            proto = schema.function_body
            defaults = defaults_of(schema)
        if key not in self.made:
            self.made[key] = None
            self.made[key] = self.function_body(proto, node, defaults)
        body = self.made[key]
        if body is None:
            raise ModelError(f"onnx: {node} is a function that calls itself")
        return body

    def function_body(self, proto: Any, node: Node, defaults: dict[str, Any]) -> Body:
        body = Body(proto.name)
        body.inputs, body.outputs = list(proto.input), list(proto.output)
        opsets = opsets_of(proto.opset_import) or {"": node.opset}
        for attribute in (*defaults.values(), *proto.attribute_proto):
            body.defaults[attribute.name] = self.attribute(attribute, node, opsets, (), 0)
        self.fill(body, proto.node, opsets, (), 0)
        return body


def defaults_of(schema: Any) -> dict[str, Any]:
    """The default values of an operator's attributes."""
    return {name: about.default_value for name, about in schema.attributes.items() if about.default_value.name}


class Context:
    """An operator that ONNX defines in terms of others, by the types of its inputs."""

    def __init__(self, reader: Reader, schema: Any, proto: Any) -> None:
        self.reader = reader
        self.schema = schema
        self.proto = proto.SerializeToString()
        self.bodies: dict[tuple[bytes, ...], Body] = {}

    def body(self, node: Node, types: tuple[bytes, ...]) -> Body:
        """The body for inputs of these types, which are serialised TypeProtos."""
        found = self.bodies.get(types)
        if found is None:
            text = self.schema.get_context_dependent_function(self.proto, types)
            if not text:
                raise UnsupportedError(f"onnx: {node} is not known for inputs of these types")
            proto = messages().FunctionProto.FromString(text)
            computed = {*proto.input, *(name for inner in proto.node for name in inner.output)}
            proto.output[:] = [name if name in computed else "" for name in proto.output]  # some, where they are not asked for
            found = self.reader.function_body(proto, node, defaults_of(self.schema))
            if self.reader.unsupported:
                raise UnsupportedError(f"onnx: {node} needs what is not known: {self.reader.unsupported.pop()}")
            self.bodies[types] = found
        return found


def _called(node: Node) -> int:
    return 0 if node.function is None else node.function.size


def _domain(name: str) -> str:
    return "" if name in _DEFAULT else name


def opsets_of(imports: Any) -> dict[str, int]:
    """The versions of domains that a model or function uses."""
    found = {_domain(entry.domain): entry.version for entry in imports}
    newest = _KNOWN if found.get("", 1) <= _KNOWN else library().defs.onnx_opset_version()
    if found.get("", 1) > newest:
        raise UnsupportedError(
            f"onnx: the model uses version {found['']} of ONNX's operators; the package onnx that is installed knows {newest}",
            hint="install a newer onnx",
        )
    return found


def standard_schema(domain: str, name: str, opset: int) -> Any:
    """What ONNX says of an operator that it defines in terms of others; None where it does not."""
    defs = library().defs
    if not defs.has(name, domain):
        return None
    try:
        schema = defs.get_schema(name, opset, domain)
    except defs.SchemaError:
        return None
    return schema if schema.has_function or schema.has_context_dependent_function else None


def works_on_texts(domain: str, name: str, opset: int) -> bool:
    """Whether an input or output of an operator can be nothing else."""
    defs = library().defs
    try:
        schema = defs.get_schema(name, opset, domain)
    except defs.SchemaError:
        return False
    values = (*schema.inputs, *schema.outputs)
    return any(value.types and all("string" in kind for kind in value.types) for value in values)


def _check_row(node: Node, row: Operator) -> None:
    """Whether the node's inputs and attributes are those that the operator has."""
    given = len(node.inputs)
    while given and not node.inputs[given - 1]:
        given -= 1
    if given < row.required or (row.rest is None and given > len(row.inputs)):
        raise ModelError(f"onnx: {node} has {given} inputs, the operator takes {_takes(row)}")
    attributes = {*node.attributes, *node.references}
    for name in row.asked - attributes:
        raise ModelError(f"onnx: {node} lacks the attribute {name!r}")
    for name in attributes - row.attributes - row.given:
        raise UnsupportedError(f"onnx: {node} has the attribute {name!r}, which is not known")


def _takes(row: Operator) -> str:
    if row.rest is not None:
        return f"at least {row.required}"
    return str(row.required) if row.required == len(row.inputs) else f"{row.required} to {len(row.inputs)}"


def _check_unique(names: Iterable[str], what: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ModelError(f"onnx: two {what} have the name {name!r}")
        seen.add(name)


def ordered(nodes: list[Node], body: Body, names: frozenset[str], outside: tuple[frozenset[str], ...]) -> list[Node]:
    """The nodes, each behind those that it reads. ModelError for cycles and for names that nothing computes."""
    ready = {*body.inputs, *body.initialisers}
    makers = {name: node for node in nodes for name in node.outputs if name}
    waits = {}
    for node in nodes:
        waits[node.number] = reads = [name for name in dict.fromkeys(node.reads()) if name in names]
        for name in node.reads():
            if name not in names and not any(name in scope for scope in outside):
                raise ModelError(f"onnx: {node} reads {name!r}, which nothing computes")
        if all(name in ready for name in reads):
            ready.update(node.outputs)
    if all(name in ready for node in nodes for name in node.outputs):
        return nodes
    return _sorted(nodes, makers, waits, {*body.inputs, *body.initialisers})


def _sorted(nodes: list[Node], makers: dict[str, Node], waits: dict[int, list[str]], ready: set[str]) -> list[Node]:
    placed: list[Node] = []
    done: set[int] = set()
    open_: set[int] = set()
    for start in nodes:
        stack = [start]
        while stack:
            node = stack[-1]
            if node.number in done:
                stack.pop()
                continue
            before = [makers[n] for n in waits[node.number] if n not in ready and makers[n].number not in done]
            if not before:
                placed.append(node)
                done.add(node.number)
                open_.discard(node.number)
                stack.pop()
                continue
            if node.number in open_ and any(other.number in open_ for other in before):
                raise ModelError(f"onnx: {node} reads {next(iter(before)).outputs[0]!r}, which is computed from it: a cycle")
            open_.add(node.number)
            stack.extend(before)
    return placed
