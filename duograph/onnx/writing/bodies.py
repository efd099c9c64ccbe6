"""A graph's nodes as statements, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import ModelError, UnsupportedError
from ..operators import host
from ..operators.definition import OPERAND, TENSOR
from ..operators.known import Known
from ..reading import Data
from ..steering import steering_inputs
from ..structure import Body, Node
from . import calls_again, control, plain
from .layout import Group, Layout, literal, remark, statement
from .names import Names
from .values import Constant, Shape, Sizes, Value, sizes_of

_ABOUT_SIZES = ("Shape", "Size", "Identity")


class Scope:
    """The statements of one function: values by name, variables that are taken.

    module   what all functions share: the weights, the imports, the functions that are called
    outer    the scope of the function's graph around this one
    """

    def __init__(self, module: Any, names: Names, outer: Scope | None = None, indent: int = 8) -> None:
        self.module = module
        self.names = names
        self.outer = outer
        self.indent: int = indent if outer is None else outer.indent + 4
        self.values: dict[str, Value | None] = {} if outer is None else dict(outer.values)
        self.lines: list[str] = []
        self.floats: set[str] = set() if outer is None else set(outer.floats)

    # ---- statements

    def put(self, before: str, value: Layout, comment: str = "", after: str = "") -> None:
        self.lines += statement(before, value, self.indent, comment, after)

    def inner(self) -> Scope:
        """A scope for what is indented below the last line; its lines are to be added to these."""
        return Scope(self.module, self.names, self)

    def take(self, inner: Scope) -> None:
        self.lines += inner.lines or [" " * inner.indent + "pass"]

    def variable(self, name: str, loose: bool = False) -> str:
        """A new variable that holds the graph's value of this name."""
        made = self.names.new(name)
        self.values[name] = Value(made, loose)
        return made

    # ---- values

    def value(self, name: str) -> Value | None:
        return self.values[name] if name else None

    def tensor(self, value: Value) -> Layout:
        """A tensor, whatever is known of it."""
        if isinstance(value, Constant):
            return self.constant(value)
        if isinstance(value, (Sizes, Shape)):
            return Group("dg.tensor(", [value.text])
        if value.loose:
            return Group(f"{self.module.calls()}.tensor(", [value.text])
        return value.text

    def constant(self, value: Constant) -> Layout:
        held: Layout | None = self.module.weight(value)
        if held is not None:
            return held
        if value.array.size > 1 and value.uniform():
            first = literal(value.array.reshape(-1)[0].item())
            shape = Group("(", [*map(str, value.array.shape)], literal=True)
            return Group("dg.full(", [shape, first, f"dtype=dg.{value.data.dtype.name}"])
        numbers = literal(value.array.tolist())
        made = Group("dg.tensor(", [numbers, f"dtype=dg.{value.data.dtype.name}"])
        return made if value.array.size else Group(f"{made}.reshape(", [*map(str, value.array.shape)])

    def simple(self, value: Value) -> str:
        """A tensor as a name, or what is as short."""
        made = self.tensor(value)
        if isinstance(made, str):
            return made
        name = self.names.new(getattr(value, "key", None) or "numbers")
        self.put(f"{name} = ", made)
        return name

    def loose(self, value: Value) -> Layout:
        """What an operator takes that works on numbers, too."""
        if not isinstance(value, Constant):
            return value.text
        inline = value.inline()
        if inline is not None:
            return literal(inline)
        if value.small:
            name = value.array.dtype.name
            return Group(f"{self.module.numpy()}.array(", [literal(value.array.tolist()), f'"{name}"'])
        return self.constant(value)

    # ---- nodes

    def write(self, body: Body) -> None:
        """All nodes of the graph."""
        for name, data in body.initialisers.items():
            self.values[name] = Constant(data, name)
        for node in body.nodes:
            try:
                self.node(node)
            except (KeyError, IndexError, AttributeError, TypeError, ValueError) as error:
                raise ModelError(f"onnx: {node} cannot be written: {type(error).__name__}: {error}") from error

    def node(self, node: Node) -> None:
        inputs = [self.value(name) for name in node.inputs]
        if self.known(node, inputs):
            return
        if control.write(self, node, inputs):
            return
        if node.function is not None:
            self.call(node, inputs)
            return
        made = None if node.references else plain.expression(self, node, inputs)
        if made is None:
            self.operator(node, inputs)
            return
        self.assign(node, made, loose=False)

    def assign(self, node: Node, made: Layout, loose: bool) -> None:
        if plain.gives_floats(self, node):
            self.floats.update(node.outputs)
        outputs = node.outputs[:1] if len(node.outputs) > 1 and not any(node.outputs[1:]) else node.outputs
        targets = [self.variable(name, loose) if name else "_" for name in outputs]
        self.put(f"{', '.join(targets)} = ", made, remark(node.line))

    def known(self, node: Node, inputs: Sequence[Value | None]) -> bool:
        """Constants and shape arithmetic, which need no statement or a short one."""
        if node.references or node.domain:
            return False
        if node.op == "Constant":
            return self.constant_node(node)
        if node.op == "Shape":
            (source,) = inputs
            if source is None or source.loose:
                return False
            start, end = node.attributes.get("start", 0), node.attributes.get("end")
            self.values[node.outputs[0]] = Shape(str(self.tensor(source)), start, end)
            return True
        found = sizes_of(node.op, list(inputs), node.attributes, node.opset)
        if found is None:
            return node.host is not None and self.folded(node, inputs)
        if isinstance(found, Sizes) and len(found.items) == 1 and (" " in str(found.items[0]) or node.op == "Gather"):
            name = self.names.new(node.outputs[0])
            self.put(f"{name} = ", str(found.items[0]), remark(node.line))
            found = Sizes([name], found.scalar)
        self.values[node.outputs[0]] = found
        return True

    def constant_node(self, node: Node) -> bool:
        given = node.attributes
        name = node.outputs[0]
        for key in ("value_int", "value_ints", "value_float", "value_floats"):
            if key in given:
                array = np.array(given[key], np.int64 if "int" in key else np.float32)
                self.values[name] = Constant(Data(array, Known(array).dtype), name)
                return True
        data = given.get("value")
        if not isinstance(data, Data) or data.narrow or data.array.dtype == object:
            raise UnsupportedError(f"onnx: {node}: constants of this kind cannot be written")
        self.values[name] = Constant(data, name)
        return True

    def folded(self, node: Node, inputs: Sequence[Value | None]) -> bool:
        """What an operator makes of constants alone."""
        known = []
        for value in inputs:
            if value is not None and not (isinstance(value, Constant) and value.small):
                return False
            known.append(None if value is None else Known(value.array))
        if not known:
            return False
        if node.op == "Identity":
            self.values[node.outputs[0]] = inputs[0]
            return True
        made = host.computed(node.op, known, node.attributes, node.opset)
        if made is NotImplemented:
            return False
        for name, value in zip(node.outputs, made if isinstance(made, list) else [made]):
            self.values[name] = Constant(Data(value.array, value.dtype), name)
        return True

    def operator(self, node: Node, inputs: Sequence[Value | None]) -> None:
        """A call of the operator itself."""
        kinds = [None if node.row is None else node.row.kind(i) for i in range(len(inputs))]
        numbers = node.host is not None and all(value is None or value.loose for value in inputs)
        items: list[Layout] = []
        for value, kind in zip(inputs, kinds):
            if value is None:
                items.append("None")
            elif numbers or kind not in (TENSOR, OPERAND) or (kind == OPERAND and _is_number(value)):
                items.append(self.loose(value))
            else:
                items.append(self.tensor(value))
        while items and items[-1] == "None":
            items.pop()
        items += self.attributes(node)
        function = self.module.operators(node.domain, node.opset)
        may_be_known = numbers or node.op in _ABOUT_SIZES or plain.gives_narrow(node)
        self.assign(node, Group(f"{function}.{node.op}(", items), may_be_known)

    def attributes(self, node: Node) -> Iterator[Layout]:
        for name, value in sorted(node.attributes.items()):
            if name not in node.references:
                yield from self.attribute(node, name, value)
        for name, reference in sorted(node.references.items()):
            yield f"{self.keyword(node, name)}={self.module.parameter(reference)}"
        if len(node.outputs) > 1:
            yield f"outputs={len(node.outputs)}"
        if node.row is not None and "dtypes" in node.row.given:
            yield Group("dtypes=(", [*map(repr, node.dtypes or ())], literal=True)

    def keyword(self, node: Node, name: str) -> str:
        """An attribute's name as the name of an argument."""
        if node.function is not None:
            found: str = self.module.parameter(name)
            return found
        return plain.keyword_of(node, name)

    def attribute(self, node: Node, name: str, value: Any) -> Iterator[Layout]:
        key = self.keyword(node, name)
        if isinstance(value, Data):
            if value.narrow or value.array.dtype == object or value.dtype.name == "bfloat16" or value.array.size > 64:
                raise UnsupportedError(f"onnx: {node}: the attribute {name!r} cannot be written")
            made = literal(value.array.tolist())
            yield Group(f"{key}={self.module.numpy()}.array(", [made, f'"{value.array.dtype.name}"'])
        elif isinstance(value, (bool, int, float, str)):
            yield f"{key}={literal(value)}"
        elif isinstance(value, list) and all(isinstance(item, (int, float, str)) for item in value):
            yield Group(f"{key}=[", [literal(item) for item in value], "]", literal=True)
        else:
            raise UnsupportedError(f"onnx: {node}: the attribute {name!r} cannot be written")

    def call(self, node: Node, inputs: Sequence[Value | None]) -> None:
        """A call of a function of the model's."""
        body = node.function
        assert body is not None
        made = calls_again.expression(self, node, inputs)
        if made is not None:
            self.assign(node, made, False)
            return
        steering = steering_inputs(body)
        items: list[Layout] = []
        for name, value in zip(body.inputs, inputs):
            items.append("None" if value is None else self.loose(value) if name in steering else self.tensor(value))
        method = self.module.method(body, node)
        items += [item for item in self.attributes(node) if not str(item).startswith("outputs=")]
        self.assign(node, Group(f"self.{method}(", items), False)


def _is_number(value: Value) -> bool:
    return isinstance(value, Constant) and value.small and value.scalar
