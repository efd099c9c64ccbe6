"""A captured program as an ONNX model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import helper

from duograph.errors import ArgumentError

from .capturing import Program
from .functions import DOMAIN
from .leaving import gradients, written
from .names import element_type
from .results import Output, Results
from .settings import Number, Settings
from .table import load_families
from .writer import Model, Writer, note, type_of

OPSET = 21
OLDEST = 16
_IR_VERSIONS = {16: 8, 17: 8, 18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11, 24: 12, 25: 13, 26: 13}


class Built(NamedTuple):
    """A model without its weights' bytes, and the weights.

    inputs    names of the arguments' tensors, in order
    outputs   of the call
    numbers   those among the arguments that stay open, by their place
    """

    model: onnx.ModelProto
    weights: dict[str, Any]
    inputs: list[str]
    outputs: list[Output]
    numbers: Mapping[int, Number] = MappingProxyType({})


def build(
    program: Program,
    opset: int = OPSET,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    effects: bool = True,
    functions: dict[tuple[str, bytes], onnx.FunctionProto] | None = None,
) -> Built:
    """The model of a program. `functions`: those that other models of the same file have; new ones are added."""
    load_families()
    model = Model(program.graph, opset, program.fixed, effects)
    model.functions = model.functions if functions is None else functions
    model.hosts = program.captured.description["hosts"]
    model.taken.update(output_names or ())
    w = Writer(model)
    inputs = _inputs(w, program, list(input_names or ()))
    weights = _state(w, program)
    settings = Settings(w, program)
    model.scalar = settings.scalar
    w.write(program.graph.nodes)
    results = Results(w, program)
    outputs = _named(w, results.all(), list(output_names or ()))
    pairs = {name: output.named(w.model.fresh(f"{name}.next")) for name, output in written(w, program, settings)}
    slopes = {name: output.named(w.model.fresh(f"{name}.grad")) for name, output in gradients(w, program, results)}
    everything = [*outputs, *pairs.values(), *slopes.values()]
    nodes = under_their_names(w.finish([output.source for output in everything]), everything)
    used = _used(nodes)
    graph = helper.make_graph(nodes, program.graph.name, inputs, [_output_info(model, output) for output in everything])
    state = {w.ref(value).name: value for value, _, _ in program.state}
    graph.input.extend(type_of(state[name], name, model) for name in pairs if name in state)
    graph.input.extend(_number_info(number) for number in settings.open)
    graph.initializer.extend(onnx.numpy_helper.from_array(number.value, number.name) for number in settings.open)
    made = _model(graph, model)
    _describe(made, model, program, outputs)
    for key, table in (("state", pairs), ("gradients", slopes)):
        if table:
            note(made.metadata_props, f"duograph.{key}", json.dumps({name: x.name for name, x in table.items()}))
    kept = {name: tensor for name, tensor in weights.items() if name in used or name in pairs}
    return Built(made, kept, [value.name for value in inputs], outputs, settings.arguments)


def weights_as_inputs(built: Built, kept: bool) -> Built:
    """The model whose callers may give other weights, and, if they are not kept in it, have to."""
    given = {value.name for value in built.model.graph.input}
    for name, tensor in built.weights.items():
        if name not in given:
            value = helper.make_tensor_value_info(name, element_type(tensor.dtype), list(tensor.shape))
            built.model.graph.input.append(value)
    return built if kept else built._replace(weights={})


def _model(graph: onnx.GraphProto, model: Model) -> onnx.ModelProto:
    """The model of a graph and the functions that it calls."""
    domains = [helper.make_opsetid("", model.opset), *([helper.make_opsetid(DOMAIN, 1)] if model.functions else [])]
    made: onnx.ModelProto = helper.make_model(
        graph,
        producer_name="duograph",
        functions=list(model.functions.values()),
        opset_imports=domains,
        ir_version=_IR_VERSIONS.get(model.opset, 10),
    )
    return made


def under_their_names(nodes: list[onnx.NodeProto], outputs: Sequence[Output]) -> list[onnx.NodeProto]:
    """The nodes with outputs called what they are to be: where nothing computes one, or it is another output, too, a copy is."""
    computed = {name for node in nodes for name in node.output}
    renamed: dict[str, str] = {}
    copies = []
    for output in outputs:
        if output.source in computed and output.source not in renamed:
            renamed[output.source] = output.name
        else:
            copies.append(output)
    for node in nodes:
        _rename(node, renamed)
    for output in copies:
        source = renamed.get(output.source, output.source)
        nodes.append(helper.make_node("Identity", [source], [output.name], name=f"Identity_{output.name}"))
    return nodes


def _rename(node: onnx.NodeProto, names: dict[str, str]) -> None:
    for field in (node.input, node.output):
        for number, name in enumerate(field):
            if name in names:
                field[number] = names[name]
    for attribute in node.attribute:
        if attribute.HasField("g"):
            for inner in attribute.g.node:
                _rename(inner, names)
            for value in attribute.g.output:
                value.name = names.get(value.name, value.name)


def _inputs(w: Writer, program: Program, names: list[str]) -> list[onnx.ValueInfoProto]:
    """The arguments, under the names asked for or their own."""
    made = []
    if len(names) > len(program.arguments):
        raise ArgumentError(f"onnx: input_names has {len(names)} names for {len(program.arguments)} tensors")
    for number, (value, own) in enumerate(program.arguments):
        name = w.model.fresh(names[number] if number < len(names) else own)
        w.set(value, name)
        for axis, size in enumerate(value.shape):
            if not isinstance(size, int) and size.is_symbol:
                w.symbols.setdefault(size, (name, axis))
        made.append(type_of(value, name, w.model))
    return made


def _state(w: Writer, program: Program) -> dict[str, Any]:
    """Tensors found outside, by the names that the file has for them."""
    made = {}
    for value, own, tensor in program.state:
        name = w.model.fresh(own)
        w.set(value, name)
        made[name] = tensor
    return made


def _named(w: Writer, found: list[Output], names: list[str]) -> list[Output]:
    if len(names) > len(found):
        raise ArgumentError(f"onnx: output_names has {len(names)} names for {len(found)} tensors")
    for number, output in enumerate(found):
        own = "output" if len(found) == 1 else f"output_{output.path or number}"
        output.named(names[number] if number < len(names) else w.model.fresh(own))
    return found


def _output_info(model: Model, output: Output) -> onnx.ValueInfoProto:
    from duograph.ir.graph import Value
    from duograph.ir.types import TensorType

    return type_of(Value(TensorType(output.dtype, output.shape)), output.name, model)


def _number_info(number: Number) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(number.name, element_type(number.dtype), [])


def _used(nodes: list[onnx.NodeProto]) -> set[str]:
    from .functions import names_read

    return {name for node in nodes for name in names_read(node)}


def _describe(made: onnx.ModelProto, model: Model, program: Program, outputs: list[Output]) -> None:
    """What a reader of the file cannot see in its nodes."""
    from duograph.ir.dim import INFINITY, bounds

    sizes = {}
    for value, _ in program.arguments:
        for size in value.shape:
            if not isinstance(size, int) and size.is_symbol:
                low, high = bounds(size)
                sizes[str(size)] = [int(low), None if high == INFINITY else int(high)]
    note(made.metadata_props, "duograph.outputs", json.dumps({output.name: output.path for output in outputs}))
    if sizes:
        note(made.metadata_props, "duograph.sizes", json.dumps(sizes))
    facts = program.facts()
    if facts:
        note(made.metadata_props, "duograph.facts", json.dumps(facts))
    if model.dropped:
        note(made.metadata_props, "duograph.unchecked", json.dumps(sorted(set(model.dropped))))


def tensor_proto(name: str, tensor: Any) -> onnx.TensorProto:
    """A tensor's bytes as an initialiser."""
    array = tensor.detach().contiguous()
    made = onnx.TensorProto(name=name, data_type=element_type(tensor.dtype), dims=list(tensor.shape))
    made.raw_data = bytes(memoryview(_bytes(array)))
    return made


def _bytes(tensor: Any) -> Any:
    from duograph import _core as core

    if tensor.dtype.name == "bfloat16":
        tensor = tensor.view(core.uint16) if hasattr(core, "uint16") else tensor.view(core.int16)
    return np.ascontiguousarray(tensor.numpy()).reshape(-1).view(np.uint8)
