"""Graphs as text that reads well and parses back.

graph line(%w: float32[n], %x: float32[n], %b: float32[n]) {
  %0: float32[n] = mul(%w, %x)  # line.py:3 in line:    return w * x + b
  %1: float32[n] = add(%0, %b)
  return %1
}
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from typing import Any

from . import dim
from .dim import Dim, Expr
from .graph import Argument, Check, Graph, Node, Value
from .location import Location
from .types import TensorType, dtype_by_name


class Names:
    """Gives each value of a graph, regions included, its own name: its own if it has one and it is free, else a number."""

    def __init__(self) -> None:
        self._names: dict[Value, str] = {}
        self._taken: set[str] = set()
        self._next = 0

    def __call__(self, value: Value) -> str:
        name = self._names.get(value)
        if name is None:
            name = value.name if value.name.isidentifier() else ""
            if not name or name in self._taken:
                while not name or name in self._taken:
                    name = str(self._next)
                    self._next += 1
            self._taken.add(name)
            self._names[value] = name
        return "%" + name


def _attribute(value: Any) -> str:
    if isinstance(value, tuple):
        return "(" + "".join(_attribute(item) + ", " for item in value).rstrip(" ") + ")"
    if hasattr(value, "itemsize") and hasattr(value, "name"):
        return f"dtype({value.name!r})"
    return repr(value)


def _input(value: Value, argument: Argument, names: Names) -> str:
    text = names(value) + ": " + ("" if argument.kind == "tensor" else argument.kind + " ") + str(value.type)
    if argument.strides is not None:
        text += f" strides({', '.join(map(str, argument.strides))})"
    return text + ("" if argument.origin == "argument" else " " + argument.origin)


def _lines(graph: Graph, names: Names, indent: str, head: str, locations: bool) -> Iterator[str]:
    inputs = ", ".join(_input(value, argument, names) for value, argument in zip(graph.inputs, graph.arguments))
    sizes = f" sizes({', '.join(map(str, graph.sizes))})" if graph.sizes else ""
    yield f"{indent}{head}({inputs}){sizes} {{"
    inner = indent + "  "
    for check in graph.checks:
        yield f"{inner}check {check.relation}({check.left}, {check.right}) {check.code}"
    for node in graph.nodes:
        yield from _node_lines(node, names, inner, locations)
    yield f"{inner}return {', '.join(map(names, graph.outputs))}".rstrip()
    yield indent + "}"


def _node_lines(node: Node, names: Names, indent: str, locations: bool) -> Iterator[str]:
    operands = ", ".join(map(names, node.inputs))
    results = ", ".join(f"{names(value)}: {value.type}" for value in node.outputs)
    attrs = ", ".join(f"{key}={_attribute(value)}" for key, value in node.attrs.items())
    text = f"{indent}{results} = {node.op}({operands})" + (f" {{{attrs}}}" if attrs else "")
    comment = (f"  # {node.location}" if locations else "  #") if node.location else ""
    if not node.regions:
        yield text + comment
        return
    yield text + " [" + comment
    for region in node.regions:
        yield from _lines(region, names, indent + "  ", "region", locations)
    yield indent + "]"


def print_graph(graph: Graph, locations: bool = True) -> str:
    """The text of a graph; without `locations` it says only which nodes have one."""
    return "\n".join(_lines(graph, Names(), "", f"graph {graph.name}", locations)) + "\n"


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "min": dim.minimum,
    "max": dim.maximum,
    "ceildiv": dim.ceildiv,
    "dtype": dtype_by_name,
}
_HEAD = re.compile(r"\s*(?:graph (?P<name>\S+?)|region)\((?P<inputs>.*?)\)(?: sizes\((?P<sizes>[^)]*)\))? \{$")
_INPUT = re.compile(
    r"%(?P<name>\w+): (?:(?P<kind>number|cell) )?(?P<weak>weak )?(?P<dtype>\w+)\[(?P<shape>[^\]]*)\]"
    r"(?: strides\((?P<strides>(?:[^()]|\([^()]*\))*)\))?(?: (?P<origin>state))?"
)
_NODE = re.compile(r"\s*(?P<results>%.*?) = (?P<op>\w+)\((?P<inputs>[^)]*)\)(?: \{(?P<attrs>.*)\})?(?P<regions> \[)?$")
_RESULT = re.compile(r"%(\w+): (weak )?(\w+)\[([^\]]*)\]")
_CHECK = re.compile(r"\s*check (\w+)\((.*)\) (\d+)$")
_COMMENT = re.compile(r"  # (?P<file>[^:]+):(?P<line>\d+)(?: in (?P<function>[^:]+))?(?::    (?P<text>.*))?$")


class ParseError(ValueError):
    """Text that is not a graph."""


class _Parser:
    def __init__(self, text: str) -> None:
        self.lines = [line for line in text.splitlines() if line.strip()]
        self.at = 0
        self.symbols: dict[str, Dim] = {}

    def next(self) -> str:
        if self.at >= len(self.lines):
            raise ParseError("the text ends inside a graph")
        self.at += 1
        return self.lines[self.at - 1]

    def graph(self, values: dict[str, Value]) -> Graph:
        head = _HEAD.match(self.next())
        if head is None:
            raise ParseError(f"not the head of a graph: {self.lines[self.at - 1]!r}")
        sizes = tuple(self._symbol(name.strip(), -dim.INFINITY) for name in (head["sizes"] or "").split(",") if name.strip())
        inputs, arguments = self._inputs(head["inputs"], values)
        checks, nodes = [], []
        while True:
            line = self.next()
            if line.strip().startswith("return"):
                names = line.strip()[len("return") :].split(",")
                outputs = tuple(self._value(name, values) for name in names if name.strip())
                self.next()
                break
            check = _CHECK.match(line)
            if check:
                left, right = self._expressions(check[2])
                checks.append(Check(check[1], left, right, int(check[3])))
            else:
                nodes.append(self._node(line, values))
        return Graph(inputs, tuple(nodes), outputs, arguments, sizes, tuple(checks), name=head["name"] or "region")

    def _inputs(self, text: str, values: dict[str, Value]) -> tuple[tuple[Value, ...], tuple[Argument, ...]]:
        inputs: list[Value] = []
        arguments: list[Argument] = []
        for match in _INPUT.finditer(text):
            type = TensorType(dtype_by_name(match["dtype"]), self._expressions(match["shape"]), bool(match["weak"]))
            value = Value(type, None, len(inputs), match["name"])
            values[match["name"]] = value
            strides = None if match["strides"] is None else self._expressions(match["strides"])
            inputs.append(value)
            arguments.append(Argument(match["kind"] or "tensor", strides, match["origin"] or "argument"))
        return tuple(inputs), tuple(arguments)

    def _node(self, line: str, values: dict[str, Value]) -> Node:
        comment = _COMMENT.search(line)
        location = None
        if comment:
            line = line[: comment.start()]
            location = Location(comment["file"], int(comment["line"]), comment["function"] or "", comment["text"] or "")
        match = _NODE.match(line)
        if match is None:
            raise ParseError(f"not a node: {line.strip()!r}")
        inputs = tuple(self._value(name, values) for name in match["inputs"].split(",") if name.strip())
        results = _RESULT.findall(match["results"])
        types = tuple(TensorType(dtype_by_name(dtype), self._expressions(shape), bool(weak)) for _, weak, dtype, shape in results)
        attrs = self._attributes(match["attrs"] or "")
        regions = []
        if match["regions"]:
            while self.lines[self.at].strip() != "]":
                regions.append(self.graph(values))
            self.next()
        node = Node(match["op"], inputs, attrs, types, tuple(regions), location)
        for (name, *_), value in zip(results, node.outputs):
            value.name = "" if name.isdigit() else name
            values[name] = value
        return node

    def _value(self, name: str, values: dict[str, Value]) -> Value:
        found = values.get(name.strip().removeprefix("%"))
        if found is None:
            raise ParseError(f"{name.strip()} is read before it is defined")
        return found

    def _attributes(self, text: str) -> dict[str, Any]:
        call = ast.parse(f"f({text})", mode="eval").body
        assert isinstance(call, ast.Call)
        return {keyword.arg or "": self._evaluate(keyword.value) for keyword in call.keywords}

    def _expressions(self, text: str) -> tuple[Expr, ...]:
        if not text.strip():
            return ()
        found = self._evaluate(ast.parse(f"({text},)", mode="eval").body)
        assert isinstance(found, tuple)
        return found

    def _symbol(self, name: str, low: float = 0) -> Dim:
        found = self.symbols.get(name)
        if found is None:
            found = self.symbols[name] = dim.symbol(name, low)
        return found

    def _evaluate(self, tree: ast.expr) -> Any:
        match tree:
            case ast.Constant(value):
                return value
            case ast.Tuple(items):
                return tuple(self._evaluate(item) for item in items)
            case ast.Name(name):
                return float(name) if name in ("inf", "nan") else self._symbol(name)
            case ast.UnaryOp(ast.USub(), operand):
                return -self._evaluate(operand)
            case ast.BinOp(left, operator, right):
                a, b = self._evaluate(left), self._evaluate(right)
                return _arithmetic(a, operator, b)
            case ast.Call(ast.Name(name), arguments) if name in _FUNCTIONS:
                return _FUNCTIONS[name](*(self._evaluate(argument) for argument in arguments))
        raise ParseError(f"not an expression over sizes: {ast.unparse(tree)}")


def _arithmetic(a: Any, operator: ast.operator, b: Any) -> Any:
    match operator:
        case ast.Add():
            return a + b
        case ast.Sub():
            return a - b
        case ast.Mult():
            return a * b
        case ast.FloorDiv():
            return dim.floordiv(a, b)
        case ast.Mod():
            return dim.mod(a, b)
    raise ParseError(f"not an operation on sizes: {type(operator).__name__}")


def parse_graph(text: str) -> Graph:
    """The graph that `print_graph` wrote; raises `ParseError` for anything else."""
    return _Parser(text).graph({})
