"""A loop's tangent: the loop again, which carries the tangents beside what it carries.

A turn computes what the loop's turn does and goes along the body's tape forward, so nothing is kept of the turns; what
cannot happen twice, such as random keys, is handed over in rows. That the values are computed a second time is mended in
the whole graph, where the first loop is found in the second (`passes.join_loops`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from duograph import _core as core
from duograph.ir.effects import has_effects
from duograph.ir.graph import Value
from duograph.ir.types import TensorType
from duograph.ops.tracing import wrap

from .loop_node import Loop, Row
from .regions import tangents_of, zeros


def forward_loop(loop: Loop, kept: Sequence[Any], tangents: Sequence[Any]) -> list[Any]:
    """The tangents of a loop's last values and rows.

    Args:
        kept: tensors of the region of which each turn leaves a row.
        tangents: of `loop.outside()`; None stands for zero.

    Returns:  one for each carried variable with a gradient, then one for each of `kept`; None for zero
    """
    carried = [i for i, leaf in enumerate(loop.leaves) if leaf is not None]
    given = iter(tangents)
    initial = {i: next(given) for i in carried}
    rows = [(row.leaf, next(given), row.back) for row in loop.rows if row.leaf is not None]
    if loop.crossing is not None:
        inside = [next(given) for _ in loop.crossing.outside()]
        rows += [(leaf, t, order is not loop.forward_order) for leaf, t, order in loop.crossing.pairs(inside)]
    constants = list(given)
    moving = {i for i in carried if initial[i] is not None}
    while True:
        made, outs, stacks = _turn(loop, kept, moving, rows, constants)
        more = {i for i, t in zip(carried, outs) if t is not None} - moving
        if not more:
            break
        moving |= more
    order = sorted(moving)
    by_number = dict(zip(carried, outs))
    with loop.region.open():
        finals = [zeros(loop.leaves[i]) if by_number[i] is None else by_number[i] for i in order]
    first = len(made.inputs) - len(order)
    made.initial += [zeros(loop.initial[i]) if initial[i] is None else initial[i] for i in order]
    made.outs += finals
    made.kept = [t for t in stacks if t is not None]
    if not order and not made.kept:
        return [None] * (len(carried) + len(kept))
    _hand_over(loop, made)
    results = made.emit()
    last = dict(zip(order, results[first:]))
    found = iter(made.stacks)
    return [*(last.get(i) for i in carried), *(None if t is None else next(found) for t in stacks)]


def _turn(
    loop: Loop, kept: Sequence[Any], moving: set[int], rows: Sequence[tuple[Any, Any, bool]], constants: Sequence[Any]
) -> tuple[Loop, Sequence[Any], Sequence[Any]]:
    """A loop whose first variables are those of `loop`, then the tangents that move; those tangents after a turn."""
    region, again = loop.region, core.is_grad_enabled()
    made = Loop(loop.builder, region, loop.counter)
    made.start = len(region.nodes)
    made.test, made.count, made.length, made.numbers = loop.test, loop.count, loop.length, list(loop.numbers)
    made.known = (loop.initial_values, loop.row_values, loop.count_value)
    made.carry(loop.inputs, loop.leaves, loop.initial, loop.outs)
    made.rows = list(loop.rows)
    ends = {i: box._replace(ends=loop.builder.read(loop.ends[i]).type) for i, box in loop.boxes.items()}
    made.boxes, made.entering = dict(ends), loop.entering

    def leaf(value: Value) -> Any:
        tensor = region.leaf(value, again)
        region.leaves.add(id(tensor))
        region.keep.append(tensor)
        return tensor

    pairs: list[tuple[Any, Any]] = []
    for i in sorted(moving):
        if i in ends:
            made.boxes[len(made.inputs)] = ends[i]
            given, value = made.boxed(ends[i].type, "tangent")
        else:
            given = value = region.input(loop.inputs[i].type, "tangent")
        pairs.append((loop.leaves[i], leaf(value)))
        made.inputs.append(given)
        made.leaves.append(pairs[-1][1] if again else None)
    for tensor, tangent, back in rows:
        if tangent is not None:
            value = region.input(TensorType(tensor._traced.type.dtype, tensor._traced.type.shape), "tangent")
            pairs.append((tensor, leaf(value)))
            made.rows.append(Row(value, pairs[-1][1] if again else None, tangent, back))
    pairs += [(alias.leaf, tangent) for alias, tangent in zip(loop.constants, constants) if tangent is not None]
    carried = [i for i, x in enumerate(loop.leaves) if x is not None]
    with region.open():
        inside = {id(t) for t in loop.inner}
        wanted = [region.localize(loop.outs[i]) for i in carried]
        wanted += [t if id(t) in inside else region.localize(t) for t in kept]
        found = tangents_of(wanted, [x for x, _ in pairs], [t for _, t in pairs])
    return made, found[: len(carried)], found[len(carried) :]


def _hand_over(loop: Loop, made: Loop) -> None:
    """What the loop drew or was told in its turns comes as rows."""
    region = loop.region
    effects = {node for node in region.nodes[: made.start] if has_effects(node)}
    if not effects:
        return
    with region.open():
        stack = [loop.builder.read(region.localize(t)) for t in (*made.outs, *made.kept)]
    if made.test is not None:
        stack.append(made.test[1])
    known = {*made.inputs, *(row.value for row in made.rows)}
    seen: set[Value] = set()
    wanted: dict[Value, None] = {}
    while stack:
        value = stack.pop()
        if value in seen or value in known or value.node is None or value.node not in region.members:
            continue
        seen.add(value)
        if value.node in effects:
            wanted[value] = None
        else:
            stack += value.node.inputs
    loop.keep(list(wanted))
    made.rows += [Row(value, None, wrap(loop.saved[value]), False) for value in wanted]
