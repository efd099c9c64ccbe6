"""What a program leaves behind, as a file has it: state as pairs of inputs and outputs, gradients as outputs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from duograph.errors import GraphError
from duograph.ir.graph import Value

from .capturing import Program
from .names import numpy_type
from .results import Output, Results
from .writer import Writer

_STORES = ("setattr", "setitem")


def numbers(w: Writer, program: Program) -> dict[str, tuple[Value, Any]]:
    """Numbers that stay open, by name, with what they were: those among the arguments, and a training step's settings.

    Every other number is what it was.
    """
    import numpy as np

    found: dict[str, tuple[Value, Any]] = {}
    steps = any(value in program.written for value, _, _ in program.state)
    for (value, number), postfix in zip(program.numbers, program.captured.description["numbers"]):
        name = program.number_name(postfix, steps)
        if name is None:
            w.constants[value] = np.asarray(number)
            continue
        name = w.model.fresh(name)
        w.set(value, name)
        found[name] = value, np.asarray(number, numpy_type(value.dtype))
    return found


def written(w: Writer, program: Program) -> Iterator[tuple[str, Output]]:
    """For each tensor that the program writes, its name and what it holds afterwards."""
    names = {value: name for value, name, _ in program.state} | dict(program.arguments)
    for node in program.graph.nodes:
        if node.op == "assign":
            value, after = node.inputs
            own = w.ref(value).name if value in names else ""
            yield own, Output(w.use(after), value.dtype, tuple(value.shape), f"{own}.next")


def gradients(w: Writer, program: Program, results: Results) -> Iterator[tuple[str, Output]]:
    """For each tensor that gets a gradient, its name and the gradient. GraphError for what a file cannot keep."""
    stored = []
    for effect in program.captured.description["effects"]:
        kind, target, row = effect[0], effect[1], effect[2]
        if kind in _STORES:
            stored.append((target, row))
        if kind != "grad" or row[0] == "const":
            continue
        name = w.ref(results.value(target)).name
        found = results.tensor(row, f"{name}.grad")
        yield name, found
    _check(program, stored)


def _check(program: Program, stored: list[tuple[Any, Any]]) -> None:
    """A Python number that the program reads and changes would stay what it was."""
    reads = program.captured.description["reads"]
    for postfix in program.captured.description["numbers"]:
        for token in postfix:
            read = reads[token[1]] if token[0] == "read" else ("", None, None)
            if any(read[2] == key and (read[1] is x or read[1] is getattr(x, "__dict__", None)) for x, key in stored):
                raise GraphError(
                    f"onnx: {read[2]} is a Python number that the function computes with and changes, which a file cannot",
                    hint="make it a tensor, so that it is a part of the state",
                )
