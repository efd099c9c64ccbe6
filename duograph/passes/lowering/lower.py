"""From a group to the kernel spec that the code generators take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from duograph.codegen.kernel import (
    Address,
    Gather,
    Instr,
    Kernel,
    LoopKernel,
    Operand,
    Philox,
    ScatterKernel,
)
from duograph.errors import InternalError
from duograph.ir.dim import Dim, Expr, contiguous_strides, product
from duograph.ir.graph import Node
from duograph.ir.location import Location
from duograph.ir.primitives import ELEMENTWISE, MOVEMENT, PRIMITIVES, RANDOM

from ..fusion.access import Access, Index, is_plain, linear
from ..fusion.groups import Buffer, Group, Request, Store
from ..fusion.schedule import KernelStep
from .merge import merge_dims


class Lowering:
    """The body of one kernel under construction: instructions, operands, and the dims that loops are."""

    def __init__(self, group: Group, order: Sequence[int]) -> None:
        self.group = group
        self.order = list(order)
        self.fixed = 0  # so many operands have a place of their own (A, B and C of a contraction)
        self.dims = {loop: d for d, loop in enumerate(self.order)}
        self.body: list[Instr] = []
        self.known: dict[tuple[Any, ...], int] = {}
        self.numbers: dict[Request, int] = {}
        self.buffers: list[Buffer] = []
        self.roles: list[str] = []
        self.nodes: dict[Node, None] = {}
        self.flops: Expr = 0

    # Operands and addresses

    def operand(self, buffer: Buffer, writes: bool) -> int:
        """The position of a buffer among the operands."""
        for position, known in enumerate(self.buffers):
            if known is buffer and position >= self.fixed:
                if writes != (self.roles[position] == "out"):
                    self.roles[position] = "inout"
                return position
        self.buffers.append(buffer)
        self.roles.append("out" if writes else "in")
        return len(self.buffers) - 1

    def operands(self) -> tuple[Operand, ...]:
        return tuple(Operand(b.dtype.name, role) for b, role in zip(self.buffers, self.roles))  # type: ignore[arg-type]

    def strides(self, index: Index) -> tuple[Expr, ...]:
        """Strides per dim of a plain address; pseudo loops apart."""
        strides: list[Expr] = [0] * len(self.order)
        for loop, coefficient, divisor, modulus in index.terms:
            if divisor != 1 or modulus is not None:
                raise InternalError("an address depends on the quotient of a loop")
            if loop >= 0:
                strides[self.dims[loop]] = strides[self.dims[loop]] + coefficient
        return tuple(strides)

    def pseudo(self, index: Index, access: Access) -> tuple[tuple[int, Expr, Expr], ...]:
        """(instruction, stride, extent) of the computed indices in an address; those of one element are checked, too."""
        steps: dict[int, Expr] = {term[0]: 0 for part in access for term in part.terms if term[0] < 0}
        steps |= {loop: coefficient for loop, coefficient, _, _ in index.terms if loop < 0}
        found = []
        for loop, coefficient in steps.items():
            request, extent = self.group.gathers[-1 - loop]
            found.append((self.numbers[request], coefficient, extent))
        return tuple(found)

    # Instructions

    def add(self, op: str, inputs: tuple[int, ...], dtype: str, attr: Any = None) -> int:
        """The number of an instruction; equal ones are one."""
        key = (op, inputs, dtype, attr.__class__, repr(attr) if isinstance(attr, float) else attr)
        found = self.known.get(key)
        if found is None:
            self.body.append(Instr(op, inputs, dtype, attr))
            found = self.known[key] = len(self.body) - 1
        return found

    def constant(self, value: Any, dtype: str) -> int:
        return self.add("size", (), dtype, value) if isinstance(value, Dim) else self.add("const", (), dtype, value)

    def number(self, root: Request) -> int:
        """The instruction that computes a request, after appending it and all it needs."""
        pending = [root]
        while pending:
            request = pending[-1]
            if request in self.numbers:
                pending.pop()
                continue
            missing = [needed for needed in self._needs(request) if needed not in self.numbers]
            if missing:
                pending.extend(reversed(missing))
            else:
                self.numbers[request] = self._emit(request)
                pending.pop()
        return self.numbers[root]

    def _needs(self, request: Request) -> list[Request]:
        """Requests that must be computed first: operands, and computed indices in the address."""
        node = request.value.node
        if request.operands is None or (node is not None and node.op == "iota"):
            loops = (term[0] for index in request.access for term in index.terms)
            return [self.group.gathers[-1 - loop][0] for loop in loops if loop < 0]
        if node is not None and PRIMITIVES[node.op].kind == RANDOM:
            return []
        return request.operands

    def _emit(self, request: Request) -> int:
        if request.operands is None:
            return self._load(request)
        node = request.value.node
        if node is None:
            raise InternalError("an input cannot be computed")
        self.nodes.setdefault(node)
        numbers = tuple(self.numbers[operand] for operand in request.operands if operand in self.numbers)
        return self._compute(request, node, numbers)

    def _load(self, request: Request) -> int:
        placement = request.placement
        if placement is None:
            raise InternalError(f"{request.value!r} has no place in memory")
        position = self.operand(placement.buffer, writes=False)
        dtype = placement.buffer.dtype.name
        if placement.number:
            return self.add("number", (), dtype, position)
        index = request.address()
        mask = tuple((self.dims[loop], low, high) for loop, low, high in request.mask)
        address = Address(position, self.strides(index), index.offset, mask)
        indices = self.pseudo(index, request.access)
        if indices:
            return self.add("gather", (), dtype, Gather(address, indices))
        return self.add("load", (), dtype, address)

    def _compute(self, request: Request, node: Node, inputs: tuple[int, ...]) -> int:
        row = PRIMITIVES[node.op]
        dtype = node.outputs[0].dtype.name
        if row.kind == ELEMENTWISE:
            self._count(request, row.flops)
            if node.op == "copy" or (node.op == "cast" and self.body[inputs[0]].dtype == dtype):
                return inputs[0]
            return self.add(node.op, inputs, dtype)
        if row.kind == MOVEMENT:
            return inputs[0]
        if node.op == "constant":
            return self.constant(node.attrs["value"], dtype)
        if node.op == "size":
            return self._integer(node.attrs["value"], dtype)
        if node.op == "iota":
            return self._iota(request.access[node.attrs["dim"]], dtype)
        if row.kind == RANDOM:
            return self._random(request, node, dtype)
        if node.op == "reduce":
            return self._reduce(request, node, inputs[0], dtype)
        return inputs[1]  # gather and take: the load does it

    def _count(self, request: Request, flops: int) -> None:
        if flops and request.value.dtype.kind == "f":
            loops = {term[0] for index in request.access for term in index.terms if term[0] >= 0}
            self.flops = self.flops + flops * product([self.group.extents[loop] for loop in sorted(loops)])

    def _integer(self, value: Expr, dtype: str) -> int:
        number = self.constant(value, "int64")
        return number if dtype == "int64" else self.add("cast", (number,), dtype)

    def _iota(self, index: Index, dtype: str) -> int:
        total: int | None = None
        for loop, coefficient, divisor, modulus in index.terms:
            if loop < 0:
                number = self.numbers[self.group.gathers[-1 - loop][0]]
            else:
                number = self.add("index", (), "int64", self.dims[loop])
            if divisor != 1:
                number = self.add("floordiv", (number, self._integer(divisor, "int64")), "int64")
            if modulus is not None:
                number = self.add("mod", (number, self._integer(modulus, "int64")), "int64")
            if coefficient != 1:
                number = self.add("mul", (number, self._integer(coefficient, "int64")), "int64")
            total = number if total is None else self.add("add", (total, number), "int64")
        if total is None or index.offset != 0:
            offset = self._integer(index.offset, "int64")
            total = offset if total is None else self.add("add", (total, offset), "int64")
        return total if dtype == "int64" else self.add("cast", (total,), dtype)

    def _random(self, request: Request, node: Node, dtype: str) -> int:
        assert request.operands is not None
        key = request.operands[0].placement
        assert key is not None
        position = self.operand(key.buffer, writes=False)
        index = linear(request.access, contiguous_strides(request.value.shape))
        if not is_plain(index):
            raise InternalError("random numbers are wanted along the quotient of a loop")
        philox = Philox(position, self.strides(index), index.offset)
        if node.op == "random_bits":
            return self.add("philox", (), dtype, philox)
        wide = dtype == "float64"
        bits, shift, scale = ("uint64", 11, 2.0**-53) if wide else ("uint32", 8, 2.0**-24)
        real = "float64" if wide else "float32"
        number = self.add("philox", (), bits, philox)
        number = self.add("shr", (number, self.constant(shift, bits)), bits)
        number = self.add("cast", (number,), real)
        number = self.add("mul", (number, self.constant(scale, real)), real)
        return number if dtype == real else self.add("cast", (number,), dtype)

    def _reduce(self, request: Request, node: Node, operand: int, dtype: str) -> int:
        kind = node.attrs["kind"]
        if kind in ("sum", "prod") and self.body[operand].dtype != dtype:
            operand = self.add("cast", (operand,), dtype)
        self.flops = self.flops + product(request.operands[0].value.shape if request.operands else ())
        return self.add("reduce", (operand,), dtype, kind)

    def store(self, store: Store) -> None:
        """Append a store."""
        number = self.number(store.request)
        position = self.operand(store.placement.buffer, writes=True)
        index = store.address()
        address = Address(position, self.strides(index), index.offset)
        self.body.append(Instr("store", (number,), store.placement.buffer.dtype.name, address))

    def step(self, kernel: Kernel, traffic: Expr) -> KernelStep:
        """The finished step."""
        locations: dict[Location, None] = {}
        for node in self.nodes:
            if node.location is not None:
                locations.setdefault(node.location)
        return KernelStep(kernel, tuple(self.buffers), tuple(self.nodes), tuple(locations), self.flops, traffic)

    def traffic(self) -> Expr:
        """Bytes moved: each access once over the dims it depends on."""
        total: Expr = 0
        for instr in self.body:
            address = instr.attr.address if isinstance(instr.attr, Gather) else instr.attr
            if isinstance(address, Address):
                sizes = [self.group.extents[loop] for loop, stride in zip(self.order, address.strides) if stride != 0]
                total = total + product(sizes) * self.buffers[address.arg].dtype.itemsize
        return total


def lower_loop(group: Group) -> KernelStep:
    """A loop group as a `LoopKernel`."""
    lowering = Lowering(group, group.order)
    # All stores come last: what is read at an index is read before anything is written there.
    for store in group.stores:
        lowering.number(store.request)
    for store in group.stores:
        lowering.store(store)
    reduce_dims = frozenset() if group.reduce is None else frozenset([lowering.dims[group.reduce]])
    extents = tuple(group.extents[loop] for loop in group.order)
    kernel = LoopKernel("loop", extents, reduce_dims, lowering.operands(), tuple(lowering.body))
    return lowering.step(merge_dims(kernel), lowering.traffic())


def lower_scatter(group: Group) -> KernelStep:
    """A scatter group as a `ScatterKernel`."""
    lowering = Lowering(group, group.order)
    (store,) = group.stores
    node = group.node
    assert node is not None
    value = lowering.number(store.request)
    for request, _ in group.gathers:
        lowering.number(request)
    target = lowering.operand(store.placement.buffer, writes=True)
    lowering.roles[target] = "inout"
    address = store.address()
    kernel = ScatterKernel(
        "scatter",
        "add" if node.op in ("scatter_add", "take_add") else node.attrs.get("kind", "put"),
        tuple(group.extents[loop] for loop in group.order),
        frozenset(lowering.dims[loop] for loop in group.serial),
        lowering.operands(),
        tuple(lowering.body),
        Address(target, lowering.strides(address), address.offset),
        lowering.pseudo(address, store.access),
        value,
    )
    lowering.nodes.setdefault(node)
    return lowering.step(kernel, lowering.traffic())
