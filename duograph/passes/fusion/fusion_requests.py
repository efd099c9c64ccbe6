"""What all of fusion is written in: groups, requests for values in them, where values are loaded from and written to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from duograph.ir.dim import Dim, Expr
from duograph.ir.graph import Graph, Node, Value
from duograph.ir.late import late_symbol, mentions

from ..rewriting.costs import Costs
from .access import ZERO, Access, Mask, is_plain, loop_index
from .groups import Buffer, Group, Placement, Request, Store, Target


class Requests:
    """The groups of one graph (the program or a region).

    placements  where the graph's inputs lie
    targets     where values must be written
    again       values computed again, by segment: they share no kernel with what runs before
    """

    def __init__(
        self,
        graph: Graph,
        placements: dict[Value, Placement],
        targets: dict[Value, list[Target]],
        share: bool,
        fuse: bool = True,
        again: Mapping[Value, int] | None = None,
    ) -> None:
        self.graph = graph
        self.placements = placements
        self.targets = targets
        self.share = share and fuse
        self.fuse = fuse
        self.again = again or {}
        self.groups: list[Group] = []
        self.requesters: dict[Value, dict[Group, None]] = {}
        self.reshapes: dict[Value, list[Value]] = {}  # of placed values: what is read in their memory in another shape
        self.hosts: dict[Value, list[Group]] = {}
        self.copies: dict[Value, tuple[Placement, Group]] = {}
        # What gathers read in memory though it could be computed where it is wanted, and who writes it.
        self.tables: dict[Value, tuple[Placement, Group]] = {}
        self.temporaries: list[Buffer] = []
        self.index: dict[Value, int] = {value: i for i, node in enumerate(graph.nodes) for value in node.outputs}
        self.costs = Costs(graph, list(targets))
        self.uses = Counter(value for node in graph.nodes for value in node.inputs) + Counter(graph.outputs)
        late = {symbol for symbol in map(late_symbol, graph.nodes) if symbol is not None}
        self.late = {v: mentions(node) & late for node in graph.nodes for v in node.outputs} if late else {}
        self.waiting: dict[Dim, dict[Group, None]] = {}  # groups in which a late size is spoken of
        self.scalar_group: Group | None = None
        self.next_effect: Group | None = None

    def group(self, kind: str, node: Node | None = None) -> Group:
        made = Group(kind, len(self.groups), node)
        made.again = self.again.get(node.outputs[0], 0) if node and self.again else 0
        self.groups.append(made)
        return made

    def map_group(self, shape: Sequence[Expr]) -> tuple[Group, Access]:
        """A loop group over a shape, and the indices that are its loops."""
        group = self.group("loop")
        return group, self._loops(group, shape)

    @staticmethod
    def _loops(group: Group, shape: Sequence[Expr]) -> Access:
        indices = []
        for size in shape:
            if size.__class__ is int and size == 1:
                indices.append(ZERO)
                continue
            loop = group.loop(size)
            group.order.append(loop)
            indices.append(loop_index(loop))
        return tuple(indices)

    def ask(
        self, group: Group, value: Value, access: Access, mask: Mask = (), leaf: bool = False, inner: bool = False
    ) -> Request:
        """Request a value in a group."""
        request, first = group.request(value, access, mask, leaf, inner)
        if first:
            self.requesters.setdefault(value, {})[group] = None
            if self.late:
                self._wait(group, value)
        return request

    def _wait(self, group: Group, value: Value) -> None:
        """Let a group that speaks of late sizes run when they are known."""
        for symbol in self.late.get(value, ()):
            self.waiting.setdefault(symbol, {})[group] = None

    def _known(self, node: Node, group: Group) -> None:
        """Whoever speaks of the late size that a node makes runs after the node's group."""
        symbol = late_symbol(node)
        for waiter in self.waiting.get(symbol, ()) if symbol is not None else ():
            if waiter is not group:
                waiter.deps[group] = None

    def temporary(self, value: Value) -> Placement:
        """New memory for a value."""
        buffer = Buffer("temp", len(self.temporaries), value.dtype, value.shape, value.name)
        buffer.value = value
        self.temporaries.append(buffer)
        return Placement.contiguous(buffer, value.shape)

    def _requests(self, value: Value) -> list[tuple[Group, Request]]:
        """Those that nothing has been said about yet."""
        found = ((group, request) for group in self.requesters.get(value, ()) for request in group.requests[value])
        return [(group, request) for group, request in found if request.placement is None]

    def _write(self, host: Group, request: Request, target: Target) -> None:
        self._add_store(host, request, target.placement)
        target.written_by(host)

    @staticmethod
    def _add_store(host: Group, request: Request, placement: Placement) -> None:
        host.stores.append(Store(request, request.access, placement))

    def _load(
        self, value: Value, loads: Sequence[tuple[Group, Request]], placement: Placement | None, hosts: Sequence[Group]
    ) -> None:
        """Let requests be loads; what cannot be addressed there is loaded from a copy in row-major order."""
        for group, request in loads:
            assert placement is not None
            request.placement = placement
            sources = hosts
            if not is_plain(request.address()):
                request.placement, copier = self._copy(value, placement, hosts)
                sources = [copier]
            for host in sources:
                if host is not group:
                    group.deps[host] = None

    def _copy(self, value: Value, placement: Placement, hosts: Sequence[Group]) -> tuple[Placement, Group]:
        found = self.copies.get(value)
        if found is None:
            group, access = self.map_group(value.shape)
            request = self.ask(group, value, access)
            request.placement = placement
            copied = self.temporary(value)
            self._add_store(group, request, copied)
            group.placed(self.index.get(value, -1))
            for host in hosts:
                group.deps[host] = None
            found = self.copies[value] = (copied, group)
        return found

    def _copy_to(self, value: Value, placement: Placement, hosts: Sequence[Group], targets: Sequence[Target]) -> None:
        """Copy a placed value to further targets."""
        for target in targets:
            copier, loops = self.map_group(value.shape)
            request = self.ask(copier, value, loops)
            request.placement = placement
            for host in hosts:
                copier.deps[host] = None
            self._write(copier, request, target)
            copier.placed(self.index.get(value, -1))
