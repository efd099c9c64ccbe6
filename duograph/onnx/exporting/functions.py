"""Composites that ONNX has no operator for: functions of the domain `duograph`, with bodies of standard operators."""

from __future__ import annotations

from typing import Any

import onnx
from onnx import helper

from duograph.ir.dim import Dim
from duograph.ir.graph import Node, Operand, Value

from .. import recalled
from .writer import Model, Writer, note

DOMAIN = "duograph"


def call(writer: Writer, node: Node) -> None:
    """Write a composite as a call of a function; one whose body is nothing, as what it hands on."""
    if any(inner.op in ("random_key", "host_call", "box", "unbox", "size_of", "nonzero") for inner in node.regions[0].walk()):
        inline(writer, node)
        return
    inside = Writer(writer.model, is_function=True)
    read = list(dict.fromkeys(node.inputs))
    inputs = [inside.fresh(f"x{i}") for i in range(len(read))]
    for value, name in zip(read, inputs):
        known = writer.known(value)
        if known is not None and known.size == 1:
            inside.constants[value] = known
        inside.set(value, name)
        for axis, size in enumerate(value.shape):
            if isinstance(size, Dim) and size.is_symbol:
                inside.symbols.setdefault(size, (name, axis))
    inside.write(node.regions[0].nodes)
    results = [_result(inside, value, inputs) for value in node.regions[0].outputs]
    nodes = inside.finish(results)
    if len(nodes) < 2:
        inline(writer, node)
        return
    asked = list(dict.fromkeys(inside.asked))
    read_inside = _read(nodes, results)
    kept = [(value, name) for value, name in zip(read, inputs) if name in read_inside]
    given = [name for _, name in kept] + [inside.sizes[size] for size in asked]
    name = _define(writer.model, node.op.strip("_"), given, results, nodes)
    operands = [writer.use(value) for value, _ in kept] + [writer.size(size) for size in asked]
    made = writer.emit_several(name, operands, len(results), DOMAIN)
    _note_call(writer, node, [value for value, _ in kept])
    for value, result in zip(node.outputs, made):
        writer.set(value, result)


def _note_call(writer: Writer, node: Node, kept: list[Value]) -> None:
    """What the operator was called with: a reader that knows it calls it again."""

    def place(operand: Any) -> Any:
        if not isinstance(operand, Operand) or operand.number is None:
            raise LookupError
        value = node.inputs[operand.number]
        if value in kept:
            return {"input": kept.index(value)}
        known = writer.known(value)
        if known is None or known.ndim or not value.type.weak:
            raise LookupError
        return known.item()

    text = recalled.written(node.op.strip("_"), node.call, place) if node.call and writer.model.opset >= 21 else None
    if text is not None:
        note(writer.nodes[-1].metadata_props, recalled.KEY, text)


def inline(writer: Writer, node: Node) -> None:
    """Write the body of a composite where it stands."""
    writer.write(node.regions[0].nodes)
    for value, inner in zip(node.outputs, node.regions[0].outputs):
        known = writer.known(inner)
        if known is not None and known.shape == tuple(inner.shape):
            writer.constants[value] = known
            continue
        ref = writer.ref(inner)
        writer.set(value, ref.name, ref.shape)


def _result(inside: Writer, value: Value, inputs: list[str]) -> str:
    """A result under a name that is no input's: functions do not hand inputs on."""
    name = inside.use(value)
    return inside.emit("Identity", [name]) if name in inputs else name


def _read(nodes: list[onnx.NodeProto], results: list[str]) -> set[str]:
    found = set(results)
    for node in nodes:
        found.update(names_read(node))
    return found


def names_read(node: onnx.NodeProto) -> set[str]:
    """What a node reads, graphs in it included."""
    found = set(node.input)
    for attribute in node.attribute:
        if attribute.HasField("g"):
            for inner in attribute.g.node:
                found |= names_read(inner)
            found.update(x.name for x in attribute.g.output)
    return found


def _define(model: Model, name: str, inputs: list[str], outputs: list[str], nodes: list[onnx.NodeProto]) -> str:
    """The name of the function with this body: one body, one function."""
    made: Any = helper.make_function(DOMAIN, name, inputs, outputs, nodes, opset_imports(model.opset, nodes))
    body = made.SerializeToString(deterministic=True)
    found = model.functions.get((name, body))
    if found is None:
        taken = {known.name for known in model.functions.values()}
        number = 1
        while made.name in taken:
            number += 1
            made.name = f"{name}_{number}"
        found = model.functions[name, body] = made
    return str(found.name)


def opset_imports(opset: int, nodes: list[onnx.NodeProto]) -> list[onnx.OperatorSetIdProto]:
    """The domains that nodes speak of, with the versions."""
    made = [helper.make_opsetid("", opset)]
    if any(_speaks(node) for node in nodes):
        made.append(helper.make_opsetid(DOMAIN, 1))
    return made


def _speaks(node: onnx.NodeProto) -> bool:
    return node.domain == DOMAIN or any(_speaks(x) for a in node.attribute if a.HasField("g") for x in a.g.node)
