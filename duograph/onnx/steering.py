"""Which inputs of a model decide shapes: their numbers are handed to the program as Python's, not as tensors."""

from __future__ import annotations

from .operators.definition import BOUNDS, NUMBER, NUMBERS
from .structure import Body

_WHOLE = (6, 7)


def steering_inputs(body: Body) -> set[str]:
    """Names that reach the axes, sizes or counts of a node, straight or by shape arithmetic."""
    wanted: set[str] = set()
    for node in reversed(body.nodes):
        for inner in node.bodies():
            wanted |= steering_inputs(inner)
        passes_on = node.host is not None and any(name in wanted for name in node.outputs)
        for position, name in enumerate(node.inputs):
            kind = None if node.row is None else node.row.kind(position)
            if name and (passes_on or kind in (NUMBERS, BOUNDS, NUMBER)):
                wanted.add(name)
        if node.function is not None:
            inside = steering_inputs(node.function)
            wanted.update(name for name, parameter in zip(node.inputs, node.function.inputs) if parameter in inside)
    return {name for name in wanted if body.dtypes.get(name, 7) in _WHOLE}
