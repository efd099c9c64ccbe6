"""Indexed writes in the row-major order of their serial dims; parallel over the others, vectors along a contiguous one."""

from __future__ import annotations

from collections.abc import Sequence

from duograph.codegen.analysis import Facts, address_of, cost, is_unit, item_bytes, plain_access
from duograph.codegen.body import Body, Scope
from duograph.codegen.dtypes import DTYPES
from duograph.codegen.frame import Frame
from duograph.codegen.kernel import Launch, ScatterKernel
from duograph.codegen.llvm import Module, Value
from duograph.codegen.nest import Carried, for_chunks, vector_loop
from duograph.codegen.scalar import PRIMITIVES, Scalars
from duograph.codegen.target import Target
from duograph.codegen.vector import Vec
from duograph.ir.dim import ceildiv, product

BLOCK = 256  # elements of the vector dim in one chunk
LINES = 64  # elements of the inner dim in one chunk, where vectors are not possible
# Where each element's place follows from the last one's write, what is written where is computed ahead, in vectors, for so
# many elements, if it costs so much (see `Primitive`).
AHEAD, _WORTH_IT = 256, 12


def emit_scatter(module: Module, target: Target, symbol: str, facts: Facts, kernel: ScatterKernel) -> list[Launch]:
    frame = Frame(module, target, symbol, tuple(range(len(facts.operands))))
    scatter = Scatter(frame, facts, kernel)
    dim, block = (scatter.inner, LINES) if scatter.dim is None else (scatter.dim, BLOCK)
    outer = [d for d in facts.parallel_dims if d not in kernel.serial_dims and d != dim]
    extents = [scatter.body.extent(d) for d in outer]
    sizes = [facts.extents[d] for d in outer]
    if dim is not None:
        blocks = ceildiv(facts.extents[dim], block)
        extents.append(frame.fixed("blocks", blocks))
        sizes.append(blocks)
    for_chunks(frame, extents, lambda indices: scatter.emit(dict(zip(outer, indices)), indices[-1] if indices else 0))
    points = product(list(facts.extents))
    weight = item_bytes(facts) + 2 * DTYPES[facts.operands[kernel.target.arg].dtype].size
    return [frame.finish(product(sizes), points * weight)]


class Scatter:
    def __init__(self, frame: Frame, facts: Facts, kernel: ScatterKernel) -> None:
        self.frame = frame
        self.facts = facts
        self.kernel = kernel
        self.body = Body(frame, facts)
        self.serial = [d for d in facts.parallel_dims if d in kernel.serial_dims]
        self.dim = self._vector_dim()
        self.inner = self._inner_dim() if self.dim is None else None
        self.ahead = self._computes_ahead()

    def _computes_ahead(self) -> bool:
        facts = self.facts
        if self.dim is not None or self.inner is not None or not self.serial:
            return False
        last = self.serial[-1]
        extent = facts.extents[last]
        read = {a.arg for a in map(address_of, facts.body) if a is not None}
        if (isinstance(extent, int) and extent < AHEAD) or self.kernel.target.arg in read:
            return False
        return sum(cost(facts, i, last) for i in self._varying(last) if address_of(facts.body[i]) is None) >= _WORTH_IT

    def _varying(self, dim: int) -> list[int]:
        return [i for i in range(len(self.facts.body)) if dim in self.facts.deps[i]]

    def _vector_dim(self) -> int | None:
        """A parallel dim along which the target is contiguous and the written positions do not depend on an index."""
        moving = {d for i, _, _ in self.kernel.indices for d in self.facts.deps[i]}
        for d in reversed(self.facts.parallel_dims):
            if d not in self.kernel.serial_dims and d not in moving and is_unit(self.kernel.target.strides[d]):
                return d
        return None

    def _inner_dim(self) -> int | None:
        """A parallel dim to be walked inside the serial ones, since more memory is contiguous along it than along those.

        What is written along it is apart, so that this order, too, combines each element's values in theirs.
        """
        if not self.serial:
            return None
        dims = [d for d in self.facts.parallel_dims if d not in self.kernel.serial_dims]
        addresses = [a for a in map(address_of, self.facts.body) if a is not None]

        def contiguous(d: int) -> int:
            return sum(is_unit(a.strides[d]) for a in (*addresses, self.kernel.target))

        best = max(dims, key=contiguous, default=None)
        return best if best is not None and contiguous(best) > max(map(contiguous, self.serial)) else None

    def emit(self, index: dict[int, Value], block: Value) -> None:
        """All writes of one chunk, in order."""
        row = Scope(self.frame.vectors(1), index)
        self._loops(list(self.serial), row, block)

    def _loops(self, dims: Sequence[int], row: Scope, block: Value) -> None:
        if not dims and self.inner is not None:
            low = self.frame.function.mul(block, LINES)
            high = self.frame.function.umin(self.frame.function.add(low, LINES), self.body.extent(self.inner))
            with self.frame.function.loop(low, high) as i:
                self._write(Scope(row.v, {**row.index, self.inner: i}), block)
            return
        if not dims:
            self._write(row, block)
            return
        if self.ahead and len(dims) == 1:
            self._write_computed(row, dims[0])
            return
        with self.frame.function.loop(0, self.body.extent(dims[0])) as i:
            self._loops(dims[1:], Scope(row.v, {**row.index, dims[0]: i}), block)

    def _write_computed(self, row: Scope, dim: int) -> None:
        """All writes along ``dim``: places and values of a stretch in vectors, then one after the other."""
        facts, f, v = self.facts, self.frame.function, self.frame.vectors(1)
        varying = self._begin_row(row, dim)
        wanted = {number for number, _, _ in self.kernel.indices} | {self.kernel.value}
        kept = {number: DTYPES[facts.body[number].dtype] for number in sorted(wanted.intersection(varying))}
        buffers = {number: f.alloca(info.storage, 64, AHEAD) for number, info in kept.items()}
        masked = self.frame.target.masks and plain_access(facts, dim)
        with f.loop(0, self.body.extent(dim), AHEAD) as low:
            high = f.umin(f.add(low, AHEAD), self.body.extent(dim))

            def step(scopes: Sequence[Scope], carried: Carried) -> Carried:
                self.body.emit(varying, scopes)
                for scope in scopes:
                    for number, info in kept.items():
                        raw = self.body.to_storage(scope.v, scope.value(number), facts.body[number].dtype)
                        place = f.gep(buffers[number], f.sub(f.add(scope.index[dim], scope.shift), low), info.size)
                        f.store(raw.type, raw.ref, place, info.size)
                return carried

            vector_loop(self.body, row, dim, low, high, unroll=1, masked=masked, step=step)
            with f.loop(low, high) as i:
                element = Scope(v, {**row.index, dim: i}, outer=row)
                for number, info in kept.items():
                    place = f.gep(buffers[number], f.sub(i, low), info.size)
                    raw = Vec(f.load(f"<1 x {info.storage}>", place, info.size), info.storage, 1)
                    element.values[number] = self.body.to_value(v, raw, facts.body[number].dtype)
                self._combine(element, self._pointer(element))

    def _begin_row(self, row: Scope, dim: int) -> list[int]:
        """Computes what stands still along ``dim``; what does not is returned."""
        varying = self._varying(dim)
        self.body.emit([i for i in range(len(self.facts.body)) if i not in varying], [row])
        for number in varying:
            address = address_of(self.facts.body[number])
            if address is not None:
                self.body.prepare(address, row, dim)
        return varying

    def _write(self, line: Scope, block: Value) -> None:
        facts, dim, f = self.facts, self.dim, self.frame.function
        if dim is None:
            self.body.emit(range(len(facts.body)), [line])
            self._combine(line, self._pointer(line))
            return
        varying = self._begin_row(line, dim)
        pointer = self._pointer(line)
        low = f.mul(block, BLOCK)
        high = f.umin(f.add(low, BLOCK), self.body.extent(dim))

        def step(scopes: Sequence[Scope], carried: Carried) -> Carried:
            self.body.emit(varying, scopes)
            for scope in scopes:
                size = DTYPES[facts.operands[self.kernel.target.arg].dtype].size
                position = f.gep(pointer, scope.index[dim], size)
                self._combine(scope, f.gep(position, scope.shift * size))
            return carried

        masked = self.frame.target.masks and plain_access(facts, dim)
        vector_loop(self.body, line, dim, low, high, unroll=1, masked=masked, step=step)

    def _pointer(self, line: Scope) -> str:
        """Where the target is written, but for the vector dim."""
        f, target = self.frame.function, self.kernel.target
        size = DTYPES[self.facts.operands[target.arg].dtype].size
        offset = self.body.offset(target, line, self.dim)
        for number, stride, extent in self.kernel.indices:
            value = line.value(number)
            self.body.check_index(value, self.frame.fixed((id(self.kernel), number, "extent"), extent), None, line)
            step = self.frame.fixed((id(self.kernel), number, "stride"), stride)
            offset = f.add(offset, f.mul(line.v.extract(value), step))
        return f.gep(self.frame.pointer(target.arg), offset, size)

    def _combine(self, scope: Scope, pointer: str) -> None:
        f, v = self.frame.function, scope.v
        dtype = self.facts.operands[self.kernel.target.arg].dtype
        info, value = DTYPES[dtype], scope.value(self.kernel.value)
        kind = f"<{v.lanes} x {info.storage}>"
        mask = scope.mask
        if self.kernel.kind != "put":
            ref = f.load(kind, pointer, info.size) if mask is None else f.masked_load(kind, pointer, mask.ref, info.size)
            before = self.body.to_value(v, Vec(ref, info.storage, v.lanes), dtype)
            value = PRIMITIVES[self.kernel.kind].emit(Scalars(v, lambda *_: None), info, [before, value])
        raw = self.body.to_storage(v, value, dtype)
        if mask is None:
            f.store(raw.type, raw.ref, pointer, info.size)
        else:
            f.masked_store(raw.type, raw.ref, pointer, mask.ref, info.size)
