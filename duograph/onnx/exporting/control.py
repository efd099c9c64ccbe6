"""Branches and loops, and memory of runs."""

from __future__ import annotations

from typing import Any

import onnx
from onnx import helper

from duograph import _core as core
from duograph.ir.graph import Graph, Node, Value
from duograph.ir.late import late_symbol

from .names import element_type
from .table import exports
from .writer import Ref, Writer


def enter(w: Writer, region: Graph, given: list[Any]) -> Writer:
    """The writer of a region whose operands are known under these names."""
    inner = w.inner()
    for value, ref in zip(region.inputs, given):
        inner.refs[value] = ref
    return inner


@exports("cond")
def cond(w: Writer, node: Node) -> None:
    operands = node.inputs[1:]
    refs = [w.ref(value) for value in operands]
    graphs = []
    for region, name in zip(node.regions, ("then", "else")):
        inner = enter(w, region, refs)
        for value, outer in zip(region.inputs, operands):
            _as_outside(w, inner, value, outer)
        inner.write(region.nodes)
        names = [_own(inner, value) for value in region.outputs]
        outputs = [_info(value, result, inner.boxed.get(value)) for value, result in zip(region.outputs, names)]
        graphs.append(helper.make_graph(inner.finish(names), name, [], outputs))
        w.boxed.update((out, inner.boxed[x]) for out, x in zip(node.outputs, region.outputs) if x in inner.boxed)
    made = w.emit_several("If", [w.use(node.inputs[0])], len(node.outputs), then_branch=graphs[0], else_branch=graphs[1])
    for value, name in zip(node.outputs, made):
        w.set(value, name)


def _as_outside(w: Writer, inner: Writer, value: Value, outer: Value) -> None:
    """What is known of an operand inside of a region, too."""
    known = w.known(outer)
    if known is not None:
        inner.constants[value] = known
    if outer in w.boxed:
        inner.boxed[value] = w.boxed[outer]


def _own(inner: Writer, value: Value) -> str:
    """A result under a name of the region's own."""
    return inner.emit("Identity", [inner.use(value)])


def _info(value: Value, name: str, inside: Value | None = None) -> Any:
    """dtype and rank, sizes that are numbers; of a number of memory, of what lies there."""
    if inside is not None:
        return _loose(inside, name)
    shape = [size if isinstance(size, int) else None for size in value.shape]
    return helper.make_tensor_value_info(name, element_type(value.dtype), shape)


@exports("while_loop")
def while_loop(w: Writer, node: Node) -> None:
    """The test is made before the loop, and after each turn."""
    carried = node.attrs["carried"]
    test = node.regions[0]
    outer = [w.ref(value) for value in node.inputs[carried:]]
    start = [w.use(value) for value in node.inputs[:carried]]
    before = _test_here(w, test, start, outer)
    for value, operand in zip(test.inputs, node.inputs):
        _as_outside(w, before, value, operand)
    before.write(test.nodes)
    first = before.use(test.outputs[0])
    body = _body(w, node, outer)
    made = w.emit_several("Loop", ["", first, *start], len(node.outputs), body=body)
    for value, name in zip(node.outputs, made):
        w.set(value, name)
    w.boxed.update((out, w.boxed[x]) for out, x in zip(node.outputs, node.inputs[:carried]) if x in w.boxed)
    turns = late_symbol(node)
    if turns is not None:
        w.symbols[turns] = (made[carried], 0)


def _test_here(w: Writer, test: Graph, names: list[str], outer: list[Any]) -> Writer:
    """The writer of a loop's test, on these values, among the nodes of another."""
    made = enter(w, test, [Ref(name, tuple(value.shape)) for name, value in zip(names, test.inputs)] + outer)
    made.nodes, made.sizes = w.nodes, w.sizes
    return made


def _body(w: Writer, node: Node, outer: list[Any]) -> onnx.GraphProto:
    """A turn as a graph: its number, whether it is made, and the carried values → whether there is another, these, and rows."""
    carried, (test, step) = node.attrs["carried"], node.regions
    body = enter(w, step, [None] * carried + outer)
    names = [body.fresh(name) for name in ("turn", "going", *["carried"] * carried)]
    inputs = [helper.make_tensor_value_info(names[0], element_type(core.int64), [])]
    inputs.append(helper.make_tensor_value_info(names[1], element_type(core.bool), []))
    for value, operand, name in zip(step.inputs, node.inputs, names[2:]):
        body.set(value, name)
        if operand in w.boxed:
            body.boxed[value] = w.boxed[operand]
        inputs.append(_info(value, name, body.boxed.get(value)))
    for value, operand in zip(step.inputs[carried:], node.inputs[carried:]):
        _as_outside(w, body, value, operand)
    body.write(step.nodes)
    results = [_own(body, value) for value in step.outputs]
    again = _test_here(body, test, results[:carried], outer)
    again.write(test.nodes)
    last = _own(again, test.outputs[0])
    insides = [body.boxed.get(value) for value in step.inputs[:carried]] + [None] * (len(results) - carried)
    outputs = [_info(test.outputs[0], last)]
    outputs += [_info(value, name, inside) for value, name, inside in zip(step.outputs, results, insides)]
    return helper.make_graph(body.finish([last, *results]), "body", inputs, outputs)


def _loose(value: Value, name: str) -> Any:
    """A tensor whose sizes change from turn to turn."""
    return helper.make_tensor_value_info(name, element_type(value.dtype), [None] * len(value.shape))


@exports("box")
def box(w: Writer, node: Node) -> None:
    """The number of memory is the tensor itself: loops of ONNX carry tensors of any size."""
    w.boxed[node.output] = node.inputs[0]
    w.set(node.output, w.use(node.inputs[0]))


@exports("unbox")
def unbox(w: Writer, node: Node) -> None:
    w.set(node.output, w.ref(node.inputs[0]).name)


@exports("assign")
def assign(w: Writer, node: Node) -> None:
    """What an input holds in the end: a result of the file."""
    ref = w.ref(node.inputs[1])
    w.set(node.output, ref.name, ref.shape)
