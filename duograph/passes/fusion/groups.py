"""What fusion works on: buffers, groups of nodes that become one kernel, and the requests for values inside a group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from duograph.ir.dim import Expr, contiguous_strides, product
from duograph.ir.graph import Node, Value

from .access import Access, Index, Mask, divided, linear, split_loop


class Buffer:
    """A piece of memory of a program.

    kind   "input" (number `index` of the graph's inputs), "output" (number `index` of its results), "temp" or "const"
    base   another buffer that this one is the rest of, from element `offset` on
    value  what a temporary holds
    """

    __slots__ = ("base", "data", "dtype", "index", "kind", "name", "offset", "shape", "value")

    def __init__(self, kind: str, index: int, dtype: Any, shape: Sequence[Expr], name: str = "", data: bytes = b"") -> None:
        self.kind = kind
        self.index = index
        self.dtype = dtype
        self.shape = tuple(shape)
        self.name = name
        self.data = data
        self.base: Buffer | None = None
        self.offset: Expr = 0
        self.value: Value | None = None

    def view(self, offset: Expr) -> Buffer:
        """The buffer from an element on."""
        return self if offset == 0 else self.part(offset)

    def part(self, offset: Expr) -> Buffer:
        """The same as another buffer, whatever the offset."""
        made = Buffer(self.kind, self.index, self.dtype, self.shape, self.name)
        made.base, made.offset = self.base or self, self.offset + offset
        return made

    @property
    def owner(self) -> Buffer:
        """The buffer whose memory this is."""
        return self.base or self

    @property
    def bytes(self) -> Expr:
        size: int = self.dtype.itemsize
        return product(self.shape) * size

    def __repr__(self) -> str:
        return self.name or f"{self.kind}{self.index}"


class Placement:
    """Where a value lies: a buffer, strides per dimension of the value and an offset, in elements."""

    __slots__ = ("buffer", "number", "offset", "strides")

    def __init__(self, buffer: Buffer, strides: tuple[Expr, ...], offset: Expr = 0, number: bool = False) -> None:
        self.buffer = buffer
        self.strides = strides
        self.offset = offset
        self.number = number

    @staticmethod
    def contiguous(buffer: Buffer, shape: Sequence[Expr]) -> Placement:
        """Row-major from the start of the buffer."""
        return Placement(buffer, contiguous_strides(tuple(shape)))


class Target:
    """A place that must receive a value. `hosts` are the groups that write it; `waiters` need it to be written.

    Others may load the value from a `readable` target; the carried variables of a loop are not. Where `maker` is given, the
    place is memory that this group makes.
    """

    __slots__ = ("cell", "hosts", "maker", "placement", "readable", "waiters")

    def __init__(self, placement: Placement, readable: bool = True, cell: Value | None = None) -> None:
        self.placement = placement
        self.readable = readable
        self.cell = cell
        self.maker: Group | None = None
        self.hosts: list[Group] = []
        self.waiters: list[Group] = []

    def at(self, placement: Placement) -> Target:
        """The same memory for a value from which this one's is made there."""
        made = Target(placement, self.readable, self.cell)
        made.hosts, made.waiters, made.maker = self.hosts, self.waiters, self.maker
        return made

    def written_by(self, *hosts: Group) -> None:
        """Note who writes it; let these run before whoever waits."""
        self.hosts.extend(hosts)
        for waiter in self.waiters:
            waiter.deps.update(dict.fromkeys(hosts))
        if self.maker is not None:
            for host in hosts:
                host.deps[self.maker] = None


class Request:
    """A value wanted inside a group at some indices.

    leaf      it must come from memory (contraction operands, padding, gathered tables)
    inner     it is wanted inside the operand of one of the group's reductions
    operands  the requests it is computed from, once it is; else `placement` says where it is loaded
    """

    __slots__ = ("access", "inner", "leaf", "mask", "operands", "placement", "value")

    def __init__(self, value: Value, access: Access, mask: Mask, leaf: bool, inner: bool) -> None:
        self.value = value
        self.access = access
        self.mask = mask
        self.leaf = leaf
        self.inner = inner
        self.operands: list[Request] | None = None
        self.placement: Placement | None = None

    def loaded(self) -> Request:
        """The request whose memory this one reads: itself, or the one behind movement."""
        request = self
        while request.operands:
            (request,) = request.operands
        return request

    def address(self) -> Index:
        """The element address over the group's loops."""
        assert self.placement is not None
        index = linear(self.access, self.placement.strides)
        return Index(index.offset + self.placement.offset, index.terms)


class Store:
    """A group writes a requested value to a place; `access` is where in the place's value each index lies."""

    __slots__ = ("access", "placement", "request")

    def __init__(self, request: Request, access: Access, placement: Placement) -> None:
        self.request = request
        self.access = access
        self.placement = placement

    def address(self) -> Index:
        """The element address over the group's loops."""
        index = linear(self.access, self.placement.strides)
        return Index(index.offset + self.placement.offset, index.terms)


class Group:
    """Nodes that become one kernel: loops, requested values, stores, and the groups that must run before it.

    kind     "loop", "contraction", "scatter", "rows", "windows", "control", "random", "late" or "box"
    extents  by loop number; `order` lists the live parallel and reduce loops, outer to inner
    again    the segment computed again that it belongs to (0: none); see recompute
    gathers  pseudo loops -1, -2, …: computed indices (request, extent) that gathered loads are addressed with
    """

    def __init__(self, kind: str, number: int, node: Node | None = None) -> None:
        self.kind = kind
        self.number = number
        self.node = node
        self.extents: list[Expr] = []
        self.order: list[int] = []
        self.reduce: int | None = None
        self.orientation = ""
        self.requests: dict[Value, list[Request]] = {}
        self.stores: list[Store] = []
        self.gathers: list[tuple[Request, Expr]] = []
        self.deps: dict[Group, None] = {}
        self.frozen = False
        self.again = 0
        self.scalar_only = True  # nothing inlined that a contraction's epilogue could not do
        self.anchor: Request | None = None
        self.held: Request | None = None  # what a contraction adds its product to, in place
        self.operands: list[Request] = []  # of a contraction, branch or loop
        self.serial: tuple[int, ...] = ()  # loops of a scatter that run in order
        self.one_by_one = False  # a scatter in which every element has an index of its own
        self.low = 1 << 60
        self.high = -1
        self.carried: list[Target] = []
        self.in_registers = False  # a branch or loop that is one kernel
        self.sources: list[Request | Placement | None] = []  # where each operand of a branch or loop is

    def loop(self, extent: Expr) -> int:
        """A new loop, not yet in the order."""
        self.extents.append(extent)
        return len(self.extents) - 1

    def computed_loop(self, position: Request, extent: Expr) -> int:
        """The pseudo loop whose index is a computed value below `extent`."""
        for number, (known, size) in enumerate(self.gathers):
            if known is position and size == extent:
                return -1 - number
        self.gathers.append((position, extent))
        return -len(self.gathers)

    @property
    def outer(self) -> list[int]:
        """The parallel loops."""
        return [loop for loop in self.order if loop != self.reduce]

    def request(
        self, value: Value, access: Access, mask: Mask = (), leaf: bool = False, inner: bool = False
    ) -> tuple[Request, bool]:
        """The request for a value at some indices, and whether it is the group's first for this value."""
        known = self.requests.get(value)
        if known is None:
            made = Request(value, access, mask, leaf, inner)
            self.requests[value] = [made]
            return made, True
        for found in known:
            if found.access == access and found.mask == mask and found.leaf == leaf:
                found.inner = found.inner or inner
                return found, False
        made = Request(value, access, mask, leaf, inner)
        known.append(made)
        return made, False

    def all_requests(self) -> list[Request]:
        return [request for requests in self.requests.values() for request in requests]

    def placed(self, index: int) -> None:
        """Note the program position of something stored here."""
        self.low = min(self.low, index)
        self.high = max(self.high, index)

    def splittable(self) -> list[bool]:
        """Which loops may be split."""
        live = set() if self.frozen or self.kind != "loop" else set(self.order)
        live.discard(-1 if self.reduce is None else self.reduce)
        return [loop in live for loop in range(len(self.extents))]

    def split(self, loop: int, sizes: Sequence[Expr]) -> bool:
        """Replace a loop by several; False if a padding mask depends on it."""
        requests = self.all_requests()
        if any(entry[0] == loop for request in requests for entry in request.mask):
            return False
        parts = [self.loop(size) for size in sizes]
        position = self.order.index(loop)
        self.order[position : position + 1] = parts
        for request in requests:
            request.access = split_loop(request.access, loop, parts, sizes)
        for store in self.stores:
            store.access = split_loop(store.access, loop, parts, sizes)
        return True

    def coverage(self, value: Value, access: Access) -> str:
        """ "full" or "outer" if running over the group's loops (or those that are not reduced) meets each element once."""
        whole = product(value.shape)
        if isinstance(whole, int) and whole == 0:
            return "full"
        index = linear(access, contiguous_strides(value.shape))
        if index.offset != 0 or (divided(access) and any(t[2] != 1 or t[3] is not None for t in index.terms)):
            return ""
        left = {loop: coefficient for loop, coefficient, _, _ in index.terms}
        if len(left) != len(index.terms):
            return ""
        used = set(left)
        step: Expr = 1
        while left:
            found = next((loop for loop, coefficient in left.items() if coefficient == step), None)
            if found is None or found < 0:
                return ""
            del left[found]
            step = step * self.extents[found]
        if step != whole:
            return ""
        if used == set(self.order):
            return "full"
        return "outer" if self.reduce is not None and used == set(self.outer) else ""


def reaches(start: Group, goal: Group) -> bool:
    """Whether `start` depends on `goal`. Groups that end before the goal begins in program order are not followed."""
    pending = [start]
    seen = {start}
    while pending:
        group = pending.pop()
        for dep in group.deps:
            if dep is goal:
                return True
            if dep not in seen and dep.high >= goal.low:
                seen.add(dep)
                pending.append(dep)
    return False


class CyclicGroups(Exception):
    """Fusion led to groups that wait for each other; it is done again without sharing kernels between results."""
