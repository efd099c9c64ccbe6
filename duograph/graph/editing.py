"""Changing what an operation reads or waits for after it was built: only to what was built before it, so never in a circle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from duograph.errors import ArgumentError, DTypeError, GraphError, ShapeError

from .resolving import needed

if TYPE_CHECKING:
    from .elements import Operation, Tensor


def add_control_inputs(node: Operation, controls: Sequence[Any]) -> None:
    """See `Operation._add_control_inputs`."""
    graph = node.graph
    found = [graph.as_graph_element(x) for x in controls]
    added = [x if hasattr(x, "control_inputs") else x.node for x in found]
    for control in added:
        _check(node, control, f"{node.name} cannot wait for {control.name}")
    with graph.changing():
        node.control_inputs = tuple(dict.fromkeys((*node.control_inputs, *added)))


def update_input(node: Operation, index: int, tensor: Any) -> None:
    """See `Operation._update_input`."""
    graph = node.graph
    made: Tensor = graph.as_graph_element(tensor, allow_operation=False)
    if not 0 <= index < len(node.inputs):
        raise ArgumentError(f"_update_input: {node.name} has {len(node.inputs)} inputs, there is no number {index}")
    old = node.inputs[index]
    if made.dtype is not old.dtype:
        raise DTypeError(f"_update_input: {old.name} is {old.dtype.name}, {made.name} is {made.dtype.name}", [node.built_at])
    if not made.shape.is_compatible_with(old.shape):
        raise ShapeError(f"_update_input: {old.name} is {old.shape}, {made.name} is {made.shape}", [node.built_at])
    _check(node, made.node, f"{node.name} cannot read {made.name}")
    with graph.changing():
        node.inputs = (*node.inputs[:index], made, *node.inputs[index + 1 :])


def _check(node: Operation, source: Operation, refusal: str) -> None:
    """GraphError if the source comes behind the node, in a circle or only in the order in which they were built."""
    if source.region is not node.region:
        raise GraphError(f"{refusal}: one of them lies in a branch or loop", [node.built_at, source.built_at])
    if source.order < node.order:
        return
    circle = _path(source, node)
    if circle:
        names = " → ".join(x.name for x in (*circle, circle[0]))
        raise GraphError(f"{refusal}: that is a cycle, {names}", [x.built_at for x in circle])
    raise GraphError(
        f"{refusal}, which was built after it",
        [node.built_at, source.built_at],
        hint="operations run in the order in which they were built: build it before, or use tf.graph_replace",
    )


def _path(source: Operation, node: Operation) -> list[Operation]:
    """Operations from the node to the source, each of which needs the one before it; none if the source needs no such node."""
    behind = {node}
    via: dict[Operation, Operation] = {}
    for each in needed([source], {}, node.region):
        reads = (*(x.node for x in (*each.inputs, *each.attrs.get("captures", ()))), *each.control_inputs)
        before = next((x for x in reads if x in behind), None)
        if each is not node and before is not None:
            behind.add(each)
            via[each] = before
    if source not in behind:
        return []
    path = [source]
    while path[-1] is not node:
        path.append(via[path[-1]])
    return path[::-1]
