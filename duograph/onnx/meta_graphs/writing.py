"""A session graph as an ONNX model."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import onnx
from onnx import helper

from duograph.errors import Error, GraphError
from duograph.graph.bridges import GraphFunction
from duograph.graph.building import Graph
from duograph.graph.elements import Operation, Slot, Tensor
from duograph.graph.session import Session
from duograph.graph.state import State
from duograph.graph.tensor_arrays import Unmade
from duograph.graph.variables import Variable
from duograph.ir.dim import INFINITY
from duograph.tensors.creation import ones

from ..exporting.building import OPSET, Built, build
from ..exporting.calling import EQUATION
from ..exporting.capturing import Program, captured_program
from ..exporting.files import put_inside, write
from ..exporting.functions import names_read, opset_imports
from ..exporting.names import element_type
from ..exporting.open_sizes import Names
from ..exporting.writer import note
from . import DOMAIN, KEY
from .parts import Parts

_SIZES = (4, 8, 32, 64, 16, 28, 224, 1)  # of open dimensions, while a program is captured: any that fits serves


def export(graph: Graph, path: Any, session: Any, collections: Sequence[Any] | None) -> Any:
    """Write a graph; the model, too. Variables have the values of the session, or their initial ones."""
    built = _Writing(graph, session, collections).built()
    if path is not None:
        write(built, path)
    return put_inside(built)


class _Writing:
    def __init__(self, graph: Graph, session: Any, collections: Sequence[Any] | None) -> None:
        self.graph = graph
        self.parts = Parts(graph)
        self.state = _with_values(graph, self.parts.variables, session)
        self.collections = graph.get_all_collection_keys() if collections is None else collections
        self.functions: dict[tuple[str, bytes], onnx.FunctionProto] = {}
        self.weights: dict[str, Any] = {}
        self.written: set[str] = set()
        self.effects: dict[str, Any] = {}
        self.names: set[str] = set()

    def built(self) -> Built:
        """The model."""
        main = self.program(self.parts.tensors, [x.name for x in self.parts.tensors])
        graph = main.model.graph
        self.add_weights(main)
        for node in self.parts.effects:
            self.effect(graph, node)
        for variable in self.parts.variables:
            self.weights.setdefault(variable.node.name, self.state.read(variable))
        for name in sorted(self.written):
            tensor = self.weights[name]
            graph.input.append(helper.make_tensor_value_info(name, element_type(tensor.dtype), list(tensor.shape)))
        graph.name = "graph"
        del main.model.functions[:]
        main.model.functions.extend(self.functions.values())
        domains = sorted({"", DOMAIN, *(x.domain for x in main.model.functions)})
        del main.model.opset_import[:]
        main.model.opset_import.extend(helper.make_opsetid(x, 1 if x else OPSET) for x in domains)
        del main.model.metadata_props[:]
        note(main.model.metadata_props, KEY, json.dumps(self.described()))
        return Built(main.model, self.weights, main.inputs, main.outputs, {})

    # ---- programs

    def program(self, outputs: Sequence[Any], names: Sequence[str]) -> Built:
        """The model of what gives these outputs (and does these operations) for all placeholders."""
        given = self.parts.placeholders
        function = _Fetching(self.state, given, outputs)
        program = self.captured(function, given, outputs)
        self.parts.leave_out(function.unmade)
        kept = [name for name, x in zip(names, outputs) if x not in function.unmade]
        return build(program, OPSET, [x.name for x in given], kept, functions=self.functions)

    def captured(self, function: _Fetching, given: Sequence[Tensor], outputs: Sequence[Any]) -> Program:
        problem: Exception | None = None
        for size in _SIZES:
            shapes = [[size if n is None else n for n in x.type.sizes or ()] for x in given]
            args = [ones(shape, dtype=x.dtype) for x, shape in zip(given, shapes)]
            wanted: Names = {}
            for slot, x in enumerate(given):
                for axis, n in enumerate(x.type.sizes or ()):
                    if n is None:
                        wanted[slot, axis] = (re.sub(r"\W", "_", f"{x.node.name}_{axis}"), 0, INFINITY)
            try:
                program = captured_program(function, args, {}, None, wanted)
            except Error as error:
                problem = problem or error
                continue
            lost = sorted({name for name, _, _ in wanted.values()} - program.varied)
            facts = [fact for fact in program.facts() if EQUATION.search(fact)]
            if not lost and not facts:
                return program
            what = " and ".join([*(f"{name} = {size}" for name in lost), *facts])
            problem = problem or GraphError(f"its Python decides by a size that is open: it holds where {what}")
        title = "export_meta_graph: the graph" if len(outputs) > 1 else f"export_meta_graph: {outputs[0].name!r}"
        raise GraphError(
            f"{title} cannot be written for sizes that stay open: {problem}", hint="give the placeholders their sizes"
        ) from problem

    def effect(self, graph: onnx.GraphProto, node: Operation) -> None:
        """An operation that writes, as a function, and a call of it."""
        names = [x.name for x in node.outputs]
        made = self.program([*node.outputs] or [node], names)
        pairs = json.loads(next((x.value for x in made.model.metadata_props if x.key == "duograph.state"), "{}"))
        inner = made.model.graph
        name = self.fresh(re.sub(r"\W", "_", node.name))
        inputs = [x.name for x in inner.input if x.name not in made.weights] + list(made.weights)
        read = {text for one in inner.node for text in names_read(one)}
        inputs = [text for text in inputs if text in read]
        outputs = [x.name for x in inner.output]
        nodes = [*_constants(inner), *inner.node]
        function = helper.make_function(DOMAIN, name, inputs, outputs, nodes, opset_imports(OPSET, nodes))
        self.functions[DOMAIN, name.encode()] = function
        results = names + [f"{node.name}|{variable}" for variable in pairs]
        variables = {after: name for name, after in pairs.items()}
        order = [x if x in names else f"{node.name}|{variables[x]}" for x in outputs]
        call = helper.make_node(name, inputs, order, name=node.name, domain=DOMAIN)
        graph.node.append(call)
        kinds = {x.name: x for x in inner.output}
        for result, own in zip(order, outputs):
            info = onnx.ValueInfoProto()
            info.CopyFrom(kinds[own])
            info.name = result
            graph.output.append(info)
        self.add_weights(made)
        self.written.update(pairs)
        self.effects[node.name] = {"writes": {x: f"{node.name}|{x}" for x in pairs}, "results": results}

    def add_weights(self, made: Built) -> None:
        for name, tensor in made.weights.items():
            if self.weights.setdefault(name, tensor) is not tensor:
                raise GraphError(f"export_meta_graph: two tensors are called {name!r}")

    def fresh(self, name: str) -> str:
        made, number = name, 1
        while made in self.names:
            number += 1
            made = f"{name}_{number}"
        self.names.add(made)
        return made

    # ---- the metadata

    def described(self) -> dict[str, Any]:
        """What the names of the file are."""
        variables = {
            x.node.name: {**_type(x), "trainable": x.trainable, "initializer": x.initializer.name} for x in self.parts.variables
        }
        effects = {x.name: {**self.effects[x.name], **_operation(x)} for x in self.parts.effects}
        placeholders = {
            x.node.name: {**_type(x), "default": x.node.inputs[0].name if x.node.inputs else None}
            for x in self.parts.placeholders
        }
        return {
            "placeholders": placeholders,
            "variables": variables,
            "operations": {x.name: _operation(x) for x in self.parts.operations},
            "order": self.parts.order,
            "effects": effects,
            "collections": {str(key): self.collection(key) for key in self.collections},
            "left_out": self.parts.left_out,
        }

    def collection(self, key: Any) -> list[Any]:
        """The values of a collection: names, or numbers and texts."""
        found: list[Any] = []
        for x in self.graph.get_collection(key):
            if isinstance(x, Variable):
                found.append({"variable": x.node.name})
            elif isinstance(x, (Tensor, Operation)):
                found.append({"element": x.name})
            elif x is None or isinstance(x, (bool, int, float, str)):
                found.append({"value": x})
            else:
                raise GraphError(
                    f"export_meta_graph: the collection {key!r} has {x!r}, which a file cannot",
                    hint="collection_list= has the names of those that are to be written",
                )
        return found


class _Fetching(GraphFunction):
    """The values of tensors for what is fed, each in memory of its own."""

    def __init__(self, state: State, inputs: Sequence[Tensor], outputs: Sequence[Any]) -> None:
        super().__init__(state, inputs, [Slot(i) for i in range(len(outputs))], outputs)
        self.unmade: set[Tensor] = set()  # outputs that are no tensors, such as arrays that a loop is to fill

    def _given(self, run: Any, tensor: Tensor) -> Any:
        if isinstance(run.value(tensor), Unmade):
            self.unmade.add(tensor)
            return None
        return run.tensor(tensor).clone()

    @property
    def __state_names__(self) -> dict[int, str]:
        """The names of variables, and of constants."""
        graph = (self.inputs or self.outputs)[0].graph
        constants = [node for node in graph.get_operations() if node.op == "Const"]
        found = {id(node.attrs["value"].value): f"{node.name}/value" for node in constants}
        return found | super().__state_names__


def _with_values(graph: Graph, variables: Sequence[Variable], session: Any) -> State:
    """The state of the session; of a new one, in which variables have their initial values, where it lacks some."""
    if session is not None and all(session.state.has(x) for x in variables):
        state: State = session.state
        return state
    made = Session(graph=graph)
    missing = [x for x in variables if session is None or not session.state.has(x)]
    made.run([x.initializer for x in missing])
    for variable in variables:
        if variable not in missing:
            made.state.keep(variable, session.state.read(variable))
    return made.state


def _constants(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Initialisers as nodes: functions have none."""
    return [helper.make_node("Constant", [], [x.name], value=x) for x in graph.initializer]


def _type(tensor: Tensor) -> dict[str, Any]:
    """dtype and sizes; a placeholder of any rank is a number in a file."""
    sizes = () if tensor.type.sizes is None and tensor.node.op == "Placeholder" else tensor.type.sizes
    return {"dtype": tensor.dtype.name, "shape": None if sizes is None else list(sizes)}


def _operation(node: Operation) -> dict[str, Any]:
    read = dict.fromkeys((*node.inputs, *node.attrs.get("captures", ())))
    return {
        "type": node.op,
        "inputs": [x.name for x in read],
        "control": [x.name for x in node.control_inputs],
        "outputs": [_type(x) for x in node.outputs],
        "line": "" if node.location is None else str(node.location),
    }
