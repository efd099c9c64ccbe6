"""A session graph from its ONNX file: the operations of the graph compute what the file's nodes say, as far as a run needs it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from duograph.autograd.modes import no_grad
from duograph.errors import GraphError
from duograph.graph.building import Graph
from duograph.graph.constants import placeholder, placeholder_with_default
from duograph.graph.definition import Definition
from duograph.graph.dtypes import as_dtype
from duograph.graph.elements import Operation, Tensor
from duograph.graph.resolving import Run
from duograph.graph.shapes import PartialType
from duograph.graph.variables import Variable, variable_of_initializer

from ..errors import ModelError
from ..interpreting import Frame, as_tensor
from ..keeping import apart
from ..reading import Data, read
from ..structure import Node, Reader
from . import KEY


def restore(path: Any, graph: Graph, scope: str) -> list[Variable]:
    """Add what a file has to a graph; the variables.

    Args:
        scope: before all names, with "/" at its end, or empty.
    """
    source = read(path)
    text = next((row.value for row in source.model.metadata_props if row.key == KEY), None)
    if text is None:
        raise ModelError(f"import_meta_graph: {source.name} was not written by export_meta_graph", hint="dg.onnx.load reads it")
    program = _Program(Reader(source).model(), source.name)
    try:
        return _Restoring(program, json.loads(text), graph, scope).all()
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError) as error:
        if isinstance(error, GraphError):
            raise
        raise ModelError(f"import_meta_graph: {source.name} is damaged: {type(error).__name__}: {error}") from error


class _Program:
    """The file's nodes, and what computes which value."""

    def __init__(self, body: Any, file: str) -> None:
        self.body = body
        self.file = file
        self.makers: dict[str, Node] = {name: node for node in body.nodes for name in node.outputs}
        self.constants = {name: data.tensor() for name, data in body.initialisers.items() if isinstance(data, Data)}

    def values(self, run: Run) -> _Values:
        """The values of this run so far."""
        while run.outer is not None:
            run = run.outer
        found: _Values | None = run.imported.get(self)
        if found is None:
            found = run.imported[self] = _Values(self, run)
        return found


class _Values:
    """The values of a file in one run, each computed when it is asked for.

    sources   placeholders and variables, by what the file calls them
    """

    def __init__(self, program: _Program, run: Run) -> None:
        self.program = program
        self.run = run
        self.frame = Frame(program.body, program.file)
        self.sources: dict[str, Tensor] = {}

    def value(self, name: str) -> Any:
        """A value, computed with all that it needs; GraphError for an input that is not there."""
        values, waiting = self.frame.values, [name]
        while waiting:
            wanted = waiting[-1]
            node = self.program.makers.get(wanted)
            if wanted in values:
                waiting.pop()
            elif wanted in self.sources:
                values[wanted] = self.run.tensor(self.sources[wanted])
            elif node is None:
                if wanted not in self.program.constants:
                    raise GraphError(f"{name} needs {wanted}, which is not fed")
                values[wanted] = self.program.constants[wanted]
            elif missing := [x for x in dict.fromkeys(node.reads()) if x not in values]:
                waiting += missing
            else:
                self.frame.evaluate(node)
        return as_tensor(values[name])


class _Restoring:
    """One import."""

    def __init__(self, program: _Program, said: Mapping[str, Any], graph: Graph, scope: str) -> None:
        self.program = program
        self.said = said
        self.graph = graph
        self.scope = scope
        self.tensors: dict[str, Tensor] = {}
        self.called: dict[Tensor, str] = {}  # what the file calls them
        self.variables: dict[str, Variable] = {}
        self.nodes: dict[str, Operation] = {}
        self.definitions: dict[tuple[str, bool], Definition] = {}

    def all(self) -> list[Variable]:
        """Everything, each behind what it reads."""
        placeholders, operations = self.said["placeholders"], self.said["operations"]
        for name in (*self.said["order"], *self.said["variables"], *self.said["effects"]):
            self.graph.claim(self.scope + name)
        with self.graph.as_default(), self.graph.outermost():
            for name, about in self.said["variables"].items():
                self.variable(name, about)
            for name in self.said["order"]:
                if name in placeholders:
                    self.placeholder(name, placeholders[name])
                else:
                    self.operation(name, operations[name], None)
            for name, about in self.said["effects"].items():
                self.operation(name, about, about["writes"])
            for name, about in self.said["variables"].items():
                self.variables[name]._initializer = self.nodes[about["initializer"]]
            for key, items in self.said["collections"].items():
                self.collection(key, items)
        for name, reason in self.said["left_out"].items():
            self.graph.missing[self.scope + name] = f"it is not in the file that the graph came from: {reason}"
        return list(self.variables.values())

    def variable(self, name: str, about: Mapping[str, Any]) -> None:
        made = variable_of_initializer(self.graph, _type(about), f"{self.scope}{name}/")
        made.trainable = bool(about["trainable"])
        self.variables[name], self.tensors[f"{name}:0"], self.nodes[name] = made, made, made.node
        self.called[made] = name

    def placeholder(self, name: str, about: Mapping[str, Any]) -> None:
        full, kind = f"{self.scope}{name}/", _type(about)
        if about["default"] is None:
            made = placeholder(kind.dtype, kind.sizes, full)
        else:
            made = placeholder_with_default(self.tensors[about["default"]], kind.sizes, full)
        self.tensors[f"{name}:0"], self.nodes[name] = made, made.node
        self.called[made] = f"{name}:0"

    def operation(self, name: str, about: Mapping[str, Any], writes: Mapping[str, str] | None) -> None:
        """An operation whose results are values of the file. `writes`: the values that variables get."""
        read = about["inputs"] if writes is None else self.read_by(about["results"])
        inputs = list(dict.fromkeys(self.tensors[x] for x in (*(f"{x}:0" for x in writes or ()), *read) if x in self.tensors))
        outputs = [f"{name}:{i}" for i in range(len(about["outputs"]))]
        attrs = {
            "results": _Results(self.program, outputs, {x: self.called[x] for x in inputs}),
            "next": list((writes or {}).values()),
            "written": len(writes or ()),  # so many of the inputs, the first ones, are changed
        }
        definition = self.definition(about["type"], writes is not None)
        made = self.graph.add(definition, tuple(inputs), attrs, [_type(x) for x in about["outputs"]], f"{self.scope}{name}/")
        if writes is None:
            made.control_inputs = tuple(self.nodes[x] for x in about["control"] if x in self.nodes)
        self.nodes[name] = made
        self.tensors.update(zip(outputs, made.outputs))
        self.called.update(zip(made.outputs, outputs))

    def read_by(self, results: list[str]) -> list[str]:
        """The tensors that the file's node reads which has these results."""
        node = self.program.makers[results[0]] if results else None
        return [] if node is None else [x if x in self.tensors else f"{x}:0" for x in node.inputs]

    def definition(self, kind: str, writes: bool) -> Definition:
        key = (kind, writes)
        if key not in self.definitions:
            evaluate: Callable[[Run, Operation], Any] = _written if writes else _evaluated
            self.definitions[key] = Definition(
                f"Imported{kind}", lambda: None, evaluate=evaluate, differentiable=not writes, stateful=writes, late=writes
            )
        return self.definitions[key]

    def collection(self, key: str, items: list[Any]) -> None:
        for item in items:
            if "variable" in item:
                value: Any = self.variables[item["variable"]]
            elif "element" in item:
                table: Mapping[str, Any] = self.tensors if ":" in item["element"] else self.nodes
                if item["element"] not in table:
                    continue  # what is in no file, such as a summary
                value = table[item["element"]]
            else:
                value = item["value"]
            self.graph.add_to_collection(key, value)


class _Results:
    """Values of a file that an operation has, and what the file calls the operation's inputs."""

    def __init__(self, program: _Program, names: list[str], inputs: Mapping[Tensor, str]) -> None:
        self.program = program
        self.names = names
        self.inputs = inputs

    def __repr__(self) -> str:
        return ", ".join(self.names)


def _taken(run: Run, node: Operation) -> _Values:
    """The run's values of the file, with this operation's inputs."""
    results = node.attrs["results"]
    found: _Values = results.program.values(run)
    for tensor, name in results.inputs.items():
        if not isinstance(tensor.node.attrs.get("results"), _Results):
            found.sources[name] = tensor
        elif tensor in run.fed:
            raise GraphError(f"feed: {tensor.name!r} is computed in the file that the graph came from", hint="feed placeholders")
        else:
            found.frame.values[name] = run.tensor(tensor)
    return found


def _evaluated(run: Run, node: Operation) -> Any:
    values = _taken(run, node)
    return [values.value(name) for name in node.attrs["results"].names]


def _written(run: Run, node: Operation) -> Any:
    values = _taken(run, node)
    variables: Any = node.inputs[: node.attrs["written"]]
    with no_grad():
        held = {x.node.name: run.state.read(x) for x in variables if run.state.has(x)}
        found = [apart(values.value(name), held) for name in node.attrs["results"].names]
        following = [apart(values.value(name), held) for name in node.attrs["next"]]
        for variable, value in zip(variables, following):
            run.state.write(variable, value)
    return found


def _type(about: Mapping[str, Any]) -> PartialType:
    sizes = about["shape"]
    return PartialType(as_dtype(about["dtype"]), None if sizes is None else tuple(sizes))
