"""What a program leaves behind, as a file has it: state as pairs of inputs and outputs, gradients as outputs."""

from __future__ import annotations

from collections.abc import Iterator

from duograph.ir.graph import Value

from .capturing import Program
from .results import Output, Results
from .settings import Settings
from .writer import Writer


def written(w: Writer, program: Program, settings: Settings) -> Iterator[tuple[str, Output]]:
    """For each tensor, or number of Python's, that the program writes: its name and what it holds afterwards."""
    names: dict[Value, str] = {value: name for value, name, _ in program.state} | dict(program.arguments)
    for node in program.graph.nodes:
        if node.op == "assign":
            value, after = node.inputs
            if value in w.model.generators:
                continue
            own = w.ref(value).name if value in names else ""
            yield own, Output(w.use(after), value.dtype, tuple(value.shape), f"{own}.next")
    yield from settings.counted()


def gradients(w: Writer, program: Program, results: Results) -> Iterator[tuple[str, Output]]:
    """For each tensor that gets a gradient, its name and the gradient. GraphError for what a file cannot keep."""
    for effect in program.captured.description["effects"]:
        kind, target, row = effect[0], effect[1], effect[2]
        if kind != "grad" or row[0] == "const":
            continue
        name = w.ref(results.value(target)).name
        found = results.tensor(row, f"{name}.grad")
        yield name, found
