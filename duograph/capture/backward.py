"""The static backward of a static function: the same tape over traced values, cut off as a program of its own."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

from duograph import _core as core
from duograph.errors import GradError
from duograph.ir.dim import Dim
from duograph.ir.graph import Argument, Graph, Node, Value
from duograph.ir.late import makes, mentions
from duograph.ir.substitution import symbols
from duograph.ir.types import TensorType
from duograph.ops.tracing import wrap

from .builder import CaptureBuilder
from .control.packed_boxes import unpacked
from .control.regions import copy_nodes, filled
from .memory.versions import Read


class Refused(NamedTuple):
    """A gradient of any of these outputs does not go to any of these inputs, since something was overwritten."""

    outputs: list[int]
    inputs: list[int]
    error: GradError
    condition: int | None  # which of the gradient program's conditions says whether one arrives there; None: one always does

    def __call__(self, conditions: Sequence[Any] | None = None) -> None:
        """The error, at the line that asks for the gradient; `conditions` are None before the program has run."""
        if self.condition is None or (conditions is not None and conditions[self.condition].item()):
            raise GradError(self.error.message, self.error.operands, self.error.hint)


class Backward(NamedTuple):
    """A gradient program and how it hangs on the forward one."""

    graph: Graph  # inputs: the saved values, one gradient per output, then numbers
    saved: list[Value]  # values of the forward graph
    saved_for: dict[Value, list[int]]  # of each, the outputs whose gradients need it
    numbers: list[Value]  # number inputs of the forward graph that it reads too
    outputs: list[tuple[int, Any]]  # (program output, tensor) that can be differentiated
    inputs: list[Value]  # tensor inputs that get a gradient, in the order of the graph's outputs; after them: conditions
    paths: list[tuple[int, int]]  # (i, j): a gradient of output i takes more than what is given for it where one is for j
    refused: list[Refused]
    continued: Graph  # the same that goes on with sums that are there before: further inputs, after the outputs' gradients


def differentiate(builder: CaptureBuilder, outputs: list[tuple[int, Any]], inputs: list[tuple[Value, Any]]) -> Backward | None:
    """Run the tape from `outputs` to `inputs`; the nodes this adds leave the builder again as a graph."""
    if not inputs:
        return None
    paths = core.result_paths([tensor for _, tensor in outputs])
    mark = len(builder.body())
    seeds = [Value(TensorType(t.dtype, tuple(t.shape)), None, i, f"grad_{i}") for i, (_, t) in enumerate(outputs)]
    begun = [Value(value.type, None, i, f"sum_{i}") for i, (value, _) in enumerate(inputs)]
    notes = builder.versions.notes = []
    numbers_of_sizes = core.set_user_sizes(True)  # hooks and the rules of the user's own functions
    try:
        grads = core.grad(
            tuple(t for _, t in (*outputs, *inputs)), tuple(t for _, t in inputs), tuple(wrap(s) for s in (*seeds, *begun)),
            retain_graph=True, create_graph=False, allow_unused=True, end=True,
        )  # fmt: skip
    finally:
        core.set_user_sizes(numbers_of_sizes)
        builder.versions.notes = None
    found = [(value, builder.read(grad), given) for (value, _), grad, given in zip(inputs, grads, begun) if grad is not None]
    found = [row for row in found if row[1] is not row[2]]
    differentiated, results, begun = ([row[k] for row in found] for k in range(3))
    added = builder.taken_from(mark)
    if not results:
        return None
    refused, conditions = _refused(added, notes, seeds, results)
    results += conditions
    if refused:
        added, results = _without(builder.versions.stand_ins, added, results)
    live = _live(added, results)
    live, results = _with_boxes(builder, live, results)
    made: set[Value] = {*seeds, *begun}
    for node in live:
        made.update(node.outputs)
    saved: dict[Value, None] = {}
    numbers: dict[Value, None] = {}
    number_inputs = set(builder.number_inputs.values())
    constants: dict[Node, None] = {}

    def needs(value: Value) -> None:
        if value in made:
            return
        if value in number_inputs:
            numbers.setdefault(value)
        elif value.node is not None and value.node.op == "constant":
            constants.setdefault(value.node)
        else:
            saved.setdefault(value)

    for node in live:
        for value in node.inputs:
            needs(value)
    for value in results:
        needs(value)
    _add_sizes(builder, live, saved, seeds)
    needed = _saved_for(live, seeds, list(saved))
    nodes = [*constants, *live]
    continued = _graph(builder, nodes, (*saved, *seeds, *begun, *numbers), results, len(numbers))
    nodes, results = _from_nothing(nodes, begun, results)
    graph = _graph(builder, nodes, (*saved, *seeds, *numbers), results, len(numbers))
    return Backward(graph, list(saved), needed, list(numbers), outputs, differentiated, paths, refused, continued)


def _saved_for(nodes: list[Node], seeds: list[Value], saved: list[Value]) -> dict[Value, list[int]]:
    """By saved value the numbers of the seeds that meet it, or what is made of it alone; all if none does."""
    given = {seed: 1 << i for i, seed in enumerate(seeds)}
    of_node: dict[Node, int] = {}
    for node in nodes:
        of_node[node] = functools.reduce(operator.or_, (given.get(value, 0) for value in node.inputs), 0)
        given.update(dict.fromkeys(node.outputs, of_node[node]))
    needed: dict[Value, int] = {}
    for node in reversed(nodes):
        mask = of_node[node] or functools.reduce(operator.or_, (needed.get(value, 0) for value in node.outputs), 0)
        for value in node.inputs:
            needed[value] = needed.get(value, 0) | mask
    everything = (1 << len(seeds)) - 1
    masks = {value: needed.get(value, 0) or everything for value in saved}
    return {value: [i for i in range(len(seeds)) if mask >> i & 1] for value, mask in masks.items()}


def _refused(nodes: list[Node], notes: list[Read], seeds: list[Value], results: list[Value]) -> tuple[list[Refused], list[Value]]:
    """The ways that lead through operators whose gradients need what was overwritten, and when something goes there."""
    made = []
    conditions: dict[Value, int] = {}
    for read in notes:
        above = {value for node in read.nodes for value in node.inputs}
        below = {value for node in read.nodes for value in node.outputs}
        for node in reversed(nodes):
            if not above.isdisjoint(node.outputs):
                above.update(node.inputs)
        for node in nodes:
            if not below.isdisjoint(node.inputs):
                below.update(node.outputs)
        outputs = [i for i, seed in enumerate(seeds) if seed in above]
        inputs = [i for i, grad in enumerate(results) if grad in below]
        number = None if read.condition is None else conditions.setdefault(read.condition, len(conditions))
        made.append(Refused(outputs, inputs, read.error, number))
    return made, list(conditions)


def _without(values: list[Value], nodes: list[Node], results: list[Value]) -> tuple[list[Node], list[Value]]:
    """The same with some number for values whose gradients are refused: zeros times it is zero where there are none."""
    made: list[Node] = []
    known = {value: filled(value.type, 1.0 if value.dtype.is_floating_point else 0, made) for value in values}
    made += copy_nodes(nodes, known)
    return made, [known.get(value, value) for value in results]


def _from_nothing(nodes: list[Node], begun: list[Value], results: list[Value]) -> tuple[list[Node], list[Value]]:
    """The same with sums of which nothing is there before: they start with what is added first."""
    known: dict[Value, Value] = {}
    made: list[Node] = []
    for value in begun:
        known[value] = filled(value.type, -0.0, made)
    first = set(begun)
    for node in nodes:
        others = [value for value in node.inputs if value not in first]
        if node.op == "add" and len(others) == 1 and others[0].type == node.output.type:
            known[node.output] = known.get(others[0], others[0])
        else:
            made += copy_nodes([node], known)
    results = [known.get(value, value) for value in results]
    return _live(made, results), results


def _add_sizes(builder: CaptureBuilder, live: list[Node], saved: dict[Value, None], seeds: list[Value]) -> None:
    """Values that have the late sizes which the program speaks of: it finds a size where it is one of a value's."""
    given = {size for value in (*saved, *seeds) for size in value.type.shape}
    spoken = {size for node in live for size in mentions(node)}
    spoken |= {s for value in (*saved, *seeds) for size in value.type.shape if isinstance(size, Dim) for s in symbols(size)}
    missing = {size for size in spoken if size in builder.late_symbols and size not in given}
    if not missing:
        return
    for node in builder.body():
        for value in node.outputs:
            found = missing.intersection(value.type.shape)
            if found and value.type.shape:
                saved.setdefault(value)
                missing -= found
    known = {size for node in builder.body() for size in makes(node)}
    for size in sorted(missing & known, key=str):  # a tensor without elements
        saved.setdefault(builder.constant(False, core.bool, (size, 0)))


def _with_boxes(builder: CaptureBuilder, live: list[Node], results: list[Value]) -> tuple[list[Node], list[Value]]:
    """The same with what it reads in boxes of the forward program, which end with its run."""
    if not builder.boxes_kept:
        return live, results
    nodes, values = unpacked(builder, dict.fromkeys(value for node in live for value in node.inputs))
    if not values:
        return live, results
    nodes += copy_nodes(live, values)
    return nodes, [values.get(value, value) for value in results]


def _live(nodes: list[Node], results: list[Value]) -> list[Node]:
    """The nodes that results depend on, in order."""
    wanted: set[Value] = set(results)
    live: list[Node] = []
    for node in reversed(nodes):
        if any(value in wanted for value in node.outputs):
            live.append(node)
            wanted.update(node.inputs)
    live.reverse()
    return live


def _graph(builder: CaptureBuilder, nodes: list[Node], given: Sequence[Value], results: list[Value], n_numbers: int) -> Graph:
    from duograph.ir.builder import rename

    inputs = {value: Value(value.type, None, i, value.name) for i, value in enumerate(given)}
    whole = Graph((), tuple(nodes), tuple(results), name=f"{builder.name}.backward")
    values = dict(inputs)
    renamed, outputs = rename(whole, values)
    n_tensors = len(inputs) - n_numbers
    arguments = []
    for i, value in enumerate(inputs):
        known = builder.inputs.index(value) if value.node is None and value in builder.inputs else None
        strides = builder.arguments[known].strides if known is not None else None
        arguments.append(Argument("tensor" if i < n_tensors else "number", strides, "argument"))
    return Graph(tuple(inputs.values()), renamed, outputs, tuple(arguments), name=whole.name)


def depends(graph: Graph, results: Sequence[Value], n_tensors: int) -> tuple[list[int], list[int]]:
    """The numbers of the tensor inputs, and of the number inputs, that results depend on."""
    wanted = set(results)
    for node in reversed(graph.nodes):
        if not wanted.isdisjoint(node.outputs):
            wanted.update(node.inputs)
    found = [i for i, value in enumerate(graph.inputs) if value in wanted]
    return [i for i in found if i < n_tensors], [i - n_tensors for i in found if i >= n_tensors]
