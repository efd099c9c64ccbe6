"""Branches and loops, memory of runs, and calls of Python."""

from __future__ import annotations

from typing import Any

from onnx import helper

from duograph import _core as core
from duograph.capture.outside.host_calls import Again
from duograph.ir.graph import Graph, Node, Value

from .names import element_type
from .table import exports
from .writer import Writer, refused


def enter(w: Writer, region: Graph, given: list[Any]) -> Writer:
    """The writer of a region whose operands are known under these names."""
    inner = w.inner()
    for value, ref in zip(region.inputs, given):
        inner.refs[value] = ref
    return inner


@exports("cond")
def cond(w: Writer, node: Node) -> None:
    refs = [w.ref(value) for value in node.inputs[1:]]
    graphs = []
    for region, name in zip(node.regions, ("then", "else")):
        inner = enter(w, region, refs)
        for value, outer in zip(region.inputs, node.inputs[1:]):
            _same_constant(w, inner, value, outer)
        inner.write(region.nodes)
        names = [_own(inner, value) for value in region.outputs]
        outputs = [_info(value, result) for value, result in zip(region.outputs, names)]
        graphs.append(helper.make_graph(inner.finish(names), name, [], outputs))
    made = w.emit_several("If", [w.use(node.inputs[0])], len(node.outputs), then_branch=graphs[0], else_branch=graphs[1])
    for value, name in zip(node.outputs, made):
        w.set(value, name)


def _same_constant(w: Writer, inner: Writer, value: Value, outer: Value) -> None:
    known = w.known(outer)
    if known is not None:
        inner.constants[value] = known


def _own(inner: Writer, value: Value) -> str:
    """A result under a name of the region's own."""
    return inner.emit("Identity", [inner.use(value)])


def _info(value: Value, name: str) -> Any:
    """dtype and rank; sizes that are numbers, too."""
    shape = [size if isinstance(size, int) else None for size in value.shape]
    return helper.make_tensor_value_info(name, element_type(value.dtype), shape)


@exports("while_loop")
def while_loop(w: Writer, node: Node) -> None:
    carried, stacked = node.attrs["carried"], node.attrs.get("stacked") or 0
    test, step = node.regions
    boxed = [w.boxed.get(value) for value in node.inputs]
    outer = [w.ref(value) if i >= carried else None for i, value in enumerate(node.inputs)]
    start = [w.use(value) for value in node.inputs[:carried]]
    before = enter(w, test, [_as_is(name, value) for name, value in zip(start, test.inputs)] + outer[carried:])
    before.nodes, before.sizes = w.nodes, w.sizes  # written where the loop stands
    for value, operand in zip(test.inputs, node.inputs):
        _same_constant(w, before, value, operand)
    before.write(test.nodes)
    first = before.use(test.outputs[0])
    body = enter(w, step, outer)
    turn, going = body.fresh("turn"), body.fresh("going")
    inputs = [helper.make_tensor_value_info(turn, element_type(core.int64), [])]
    inputs.append(helper.make_tensor_value_info(going, element_type(core.bool), []))
    for i, value in enumerate(step.inputs):
        if i >= carried:
            _same_constant(w, body, value, node.inputs[i])
            continue
        name = body.fresh("carried")
        inside = boxed[i]
        body.set(value, name)
        if inside is not None:
            body.boxed[value] = inside
        inputs.append(_info(value, name) if inside is None else _loose(inside, name))
    body.write(step.nodes)
    results = [_own(body, value) for value in step.outputs]
    again = enter(body, test, [_as_is(n, v) for n, v in zip(results[:carried], test.inputs)] + outer[carried:])
    again.nodes, again.sizes = body.nodes, body.sizes
    again.write(test.nodes)
    last = _own(again, test.outputs[0])
    outputs = [_info(test.outputs[0], last)]
    for i, (value, name) in enumerate(zip(step.outputs, results)):
        inside = boxed[i] if i < carried else None
        outputs.append(_info(value, name) if inside is None else _loose(inside, name))
    graph = helper.make_graph(body.finish([last, *results]), "body", inputs, outputs)
    made = w.emit_several("Loop", ["", first, *start], carried + stacked, body=graph)
    for i, (value, name) in enumerate(zip(node.outputs, made)):
        w.set(value, name)
        if i < carried and boxed[i] is not None:
            w.boxed[value] = boxed[i]  # type: ignore[assignment]
    turns = node.attrs.get("turns")
    if turns is None and stacked and node.attrs.get("trips") is None:
        turns = node.outputs[carried].shape[0]
    if turns is not None:
        w.symbols[turns] = (made[carried], 0)


def _as_is(name: str, value: Value) -> Any:
    from .writer import Ref

    return Ref(name, tuple(value.shape))


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


@exports("host_call")
def host_call(w: Writer, node: Node) -> None:
    """A print, or an error that is raised: a function of the domain `duograph` that computes nothing, its text an attribute."""
    row = w.model.hosts[node.attrs["number"]]
    function = row[2].__closure__[0].cell_contents
    raises = isinstance(function, Again)
    if node.attrs["results"] or not (raises or function is print):
        hint = "take the call out of the function, or save what is around it"
        raise refused(node, "this line calls Python, which a file cannot", hint)
    if not w.model.effects:
        w.set(node.output, w.number(False, core.bool))
        return
    parts = ["{%d}" % part[1] if part[0] == "output" else str(part[1]) for part in row[3]]  # noqa: UP031
    text = " ".join(parts)
    if raises:
        text = f"{type(function.error).__name__}: {text}"
    name = "Raise" if raises else "Print"
    names = [w.use(value) for value in node.inputs]
    w.set(node.output, w.emit(_effect(w, f"{name}{len(names)}", len(names)), names, "duograph", text=text))


def _effect(w: Writer, name: str, count: int) -> str:
    """The function that stands for an effect where nobody knows of it."""
    no = helper.make_node("Constant", [], ["done"], value=helper.make_tensor("no", element_type(core.bool), [], [False]))
    imports = [helper.make_opsetid("", w.model.opset)]
    made = helper.make_function("duograph", name, [f"x{i}" for i in range(count)], ["done"], [no], imports, ["text"])
    w.model.functions.setdefault((name, b""), made)
    return name
