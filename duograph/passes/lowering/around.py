"""Convolutions that read their images where these lie, instead of a copy with zeros around it.

A direct convolution by rows of taps can leave out every tap beside the image (`codegen.contraction.direct_rows`). Where it
does, and the image is in memory, nobody needs the padded copy; it is made only where somebody else reads it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from duograph.ir.graph import Value

from ..fusion.access import Index
from ..fusion.groups import Buffer, Group, Request
from ..fusion.schedule import KernelStep, Schedule, Step, touched


def images_of(groups: Sequence[Group], written: Iterable[Buffer]) -> dict[Request, Request]:
    """For operands of contractions that are padded copies of what lies in memory: the same, read there.

    Args:
        written: the inputs that the program writes; they may change before they would be read.
    """
    copies = {value: source for group in groups for value, source in _copied(group)}
    if not copies:
        return {}
    writes: dict[Buffer, int] = {}
    for group in groups:
        places = [*(store.placement for store in group.stores), *(target.placement for target in group.carried)]
        for place in places:
            writes[place.buffer.owner] = writes.get(place.buffer.owner, 0) + 1
    changed = {buffer.owner for buffer in written} | {buffer for buffer, count in writes.items() if count > 1}
    found: dict[Request, Request] = {}
    for group in groups:
        for operand in group.operands if group.kind == "contraction" else ():
            loaded = operand.loaded()
            source = copies.get(loaded.value)
            if source is None or source.placement is None or source.placement.buffer.owner in changed:
                continue
            low = loaded.value.node.attrs["low"]  # type: ignore[union-attr]
            access = tuple(Index(index.offset - front, index.terms) for index, front in zip(loaded.access, low))
            image = Request(source.value, access, (), True, loaded.inner)
            image.placement = source.placement
            found[loaded] = image
    return found


def _copied(group: Group) -> list[tuple[Value, Request]]:
    """What a group pads and does nothing else with, and where that lies in memory."""
    if group.kind != "loop" or len(group.stores) != 1 or group.reduce is not None:
        return []
    request = group.stores[0].request
    node = request.value.node
    if node is None or node.op != "pad" or not request.operands:
        return []
    if any(not isinstance(zeros, int) or zeros for end in ("low", "high") for zeros in node.attrs[end][:-2]):
        return []
    source = request.operands[0]
    if source.operands is not None or source.value is not node.inputs[0]:
        return []
    placement = source.placement
    return [] if placement is None or placement.number else [(request.value, source)]


def without_copies(steps: Sequence[Step], images: Mapping[Request, Request], plan: Schedule) -> tuple[Step, ...]:
    """The steps without padded copies that nobody reads any more."""
    padded = {request.placement.buffer.owner for request in images if request.placement is not None}
    users: dict[Buffer, list[Step]] = {buffer: [] for buffer in padded if buffer.kind == "temp"}
    for step in steps:
        for buffer in set(touched((step,))) & users.keys():
            users[buffer].append(step)
    unread = {buffer: made[0] for buffer, made in users.items() if len(made) == 1 and isinstance(made[0], KernelStep)}
    plan.buffers = [buffer for buffer in plan.buffers if buffer not in unread]
    dropped = {id(step) for step in unread.values()}
    return tuple(step for step in steps if id(step) not in dropped)
