"""In which order kernels run: each after those it depends on, otherwise in program order, but whatever frees more bytes
than it takes as soon as it can."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush

from duograph.ir.dim import Expr, known_le

from ..fusion.groups import Buffer, CyclicGroups, Group, Placement


class _Balance:
    """For each group the bytes that are alive after it and were not before, as far as temporaries go."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self.takes: dict[Group, Expr] = {}
        self.reads: dict[Group, list[Buffer]] = {}
        self.readers: dict[Buffer, dict[Group, None]] = {}
        for group in groups:
            written = {place.buffer.owner for place in _written(group)}
            total: Expr = 0
            for buffer in written:
                if buffer.kind not in ("input", "box"):
                    total = total + buffer.bytes
            self.takes[group] = total
            read = {place.buffer.owner: None for place in _read(group)}
            self.reads[group] = [buffer for buffer in read if buffer.kind == "temp" and buffer not in written]
            for buffer in self.reads[group]:
                self.readers.setdefault(buffer, {})[group] = None
        for buffer, readers in self.readers.items():
            self._last(buffer, readers)

    def _last(self, buffer: Buffer, readers: dict[Group, None]) -> list[Group]:
        """Let the one reader that is left free the buffer."""
        if len(readers) != 1:
            return []
        (group,) = readers
        self.takes[group] = self.takes[group] - buffer.bytes
        return [group]

    def done(self, group: Group) -> list[Group]:
        """Note that a group has run; returns those that are better off by it."""
        better: list[Group] = []
        for buffer in self.reads[group]:
            readers = self.readers[buffer]
            del readers[group]
            better += self._last(buffer, readers)
        return better

    def frees(self, group: Group) -> bool:
        """Whether fewer bytes are alive after a group than before."""
        return known_le(self.takes[group], -1)


def _written(group: Group) -> list[Placement]:
    return [store.placement for store in group.stores] + [target.placement for target in group.carried]


def _read(group: Group) -> list[Placement]:
    return [request.placement for request in group.all_requests() if request.placement is not None]


def in_order(groups: Sequence[Group]) -> list[Group]:
    """The groups so that each comes after those it depends on."""
    balance = _Balance(groups)
    waiting = {group: len(group.deps) for group in groups}
    users: dict[Group, list[Group]] = {}
    for group in groups:
        for dep in group.deps:
            users.setdefault(dep, []).append(group)
    ready = [_entry(group) for group in groups if not group.deps]
    freeing = [_entry(group) for group in groups if not group.deps and balance.frees(group)]
    heapify(ready)
    heapify(freeing)
    order: dict[Group, None] = {}
    while ready or freeing:
        group = heappop(freeing or ready)[2]
        if group in order:
            continue
        order[group] = None
        for better in balance.done(group):
            if not waiting[better] and better not in order and balance.frees(better):
                heappush(freeing, _entry(better))
        for user in users.get(group, ()):
            waiting[user] -= 1
            if not waiting[user]:
                heappush(freeing if balance.frees(user) else ready, _entry(user))
    if len(order) != len(groups):
        raise CyclicGroups
    return _late(list(order), balance)


def _late(order: list[Group], balance: _Balance) -> list[Group]:
    """The order with what reads no temporary, such as zeros to be added to, right before the first that waits for it."""
    early = {g for g in order if g.kind == "loop" and not balance.reads[g] and not g.again and not g.gathers}
    done: dict[Group, None] = {}
    for group in order:
        if group in early:
            continue
        pending = [group]
        while pending:
            above = [dep for dep in pending[-1].deps if dep in early and dep not in done]
            if above:
                pending.append(min(above, key=_entry))
            else:
                done[pending.pop()] = None
    done.update(dict.fromkeys(order))
    return list(done)


def _entry(group: Group) -> tuple[int, int, Group]:
    return group.low, group.number, group
