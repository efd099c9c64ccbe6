"""Emitting the instructions of a body at one place of a loop nest: loads, stores, gathers and scalar primitives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from duograph.codegen import philox
from duograph.codegen.analysis import Facts, is_unit, is_zero
from duograph.codegen.convert import pack, unpack
from duograph.codegen.dtypes import DTYPES
from duograph.codegen.frame import Frame
from duograph.codegen.kernel import STATUS_INDEX, Address, Gather, Instr, Philox
from duograph.codegen.llvm import Value
from duograph.codegen.scalar import Scalars, emit_primitive
from duograph.codegen.vector import Vec, Vectors


@dataclass
class Scope:
    """One place of the loop nest.

    ``index`` holds the current value of every loop dim bound here or further out; that of ``vector_dim`` is the first
    lane's. ``mask`` are the lanes that exist (all if None). Values of the enclosing scope are found through ``outer``.
    """

    v: Vectors
    index: dict[int, Value]
    vector_dim: int | None = None
    mask: Vec | None = None
    outer: Scope | None = None
    shift: int = 0  # added to the vector dim's index: the position in an unrolled body
    stream: bool = False  # stores bypass the cache; whole aligned vectors only
    # masks of addresses that hold in this scope and inside, by address; None: all lanes are
    valid: dict[int, Vec | None] = field(default_factory=dict)
    values: dict[int, Vec] = field(default_factory=dict)
    pointers: dict[int, str] = field(default_factory=dict)

    def value(self, number: int) -> Vec:
        scope: Scope | None = self
        while scope is not None:
            found = scope.values.get(number)
            if found is not None:
                return self.v.widen(found) if found.lanes == 1 else found
            scope = scope.outer
        raise KeyError(f"instruction {number} has no value here")

    def has(self, number: int) -> bool:
        scope: Scope | None = self
        while scope is not None:
            if number in scope.values:
                return True
            scope = scope.outer
        return False

    def inner(self, v: Vectors, vector_dim: int, start: Value, mask: Vec | None, shift: int = 0) -> Scope:
        return Scope(v, {**self.index, vector_dim: start}, vector_dim, mask, self, shift)


_BITS, _EVERY_SECOND = 16, 0x55555555


class Body:
    """Emits the body of one kernel into a frame."""

    def __init__(self, frame: Frame, facts: Facts) -> None:
        self.frame = frame
        self.facts = facts
        # loads that read a contiguous copy instead: by address, where the element at index 0 of the vector dim would lie
        self.staged: dict[int, str] = {}

    def emit(self, numbers: Iterable[int], scopes: Sequence[Scope]) -> None:
        """Instructions in order, each in all scopes (the copies of an unrolled loop) before the next."""
        for number in numbers:
            for scope in scopes:
                if not scope.has(number):
                    self._emit_one(number, scope)

    def _emit_one(self, number: int, scope: Scope) -> None:
        instr = self.facts.body[number]
        handler = _HANDLERS.get(instr.op)
        if handler is not None:
            result = handler(self, instr, scope)
            if result is not None:
                scope.values[number] = result
            return

        def fail(lanes: Vec, code: int, values: Callable[[], Vec] | None = None, extent: int = 0) -> None:
            if scope.mask is not None:
                lanes = scope.v.and_(lanes, scope.mask)
            self.frame.fail_lanes(scope.v, lanes, code, values, extent)

        inputs = [scope.value(i) for i in instr.inputs]
        operand_dtype = self.facts.operand_dtype(number)
        scope.values[number] = emit_primitive(Scalars(scope.v, fail), instr.op, operand_dtype, instr.dtype, inputs)

    # ---- addresses ----

    def extent(self, dim: int) -> Value:
        return self.frame.fixed(("extent", dim), self.facts.extents[dim])

    def stride(self, address: Address | Philox, dim: int) -> Value:
        return self.frame.fixed((id(address), dim), address.strides[dim])

    def load_stride(self, address: Address, dim: int) -> Value:
        """The stride along the vector dim, as a number where loads have a way of their own for it."""
        stride = address.strides[dim]
        return stride if isinstance(stride, int) and stride == 2 else self.stride(address, dim)

    def offset(self, address: Address | Philox, scope: Scope, skip: int | None = None) -> Value:
        """Elements from the operand's start, over all bound dims but ``skip``."""
        f = self.frame.function
        total: Value = self.frame.fixed((id(address), "offset"), address.offset)
        for dim, stride in enumerate(address.strides):
            if dim != skip and dim in scope.index and not is_zero(stride):
                total = f.add(total, f.mul(scope.index[dim], self.stride(address, dim)))
        return total

    def prepare(self, address: Address, scope: Scope, vector_dim: int) -> None:
        """Compute the row pointer of an access in ``scope``, for the vector loop inside it."""
        if id(address) in self.staged:
            scope.pointers[id(address)] = self.staged[id(address)]
            return
        f = self.frame.function
        size = DTYPES[self.facts.operands[address.arg].dtype].size
        offset = self.offset(address, scope, vector_dim)
        scope.pointers[id(address)] = f.gep(self.frame.pointer(address.arg), offset, size)

    def _row(self, address: Address, scope: Scope) -> str:
        """The address with the vector dim's index left out."""
        place: Scope | None = scope
        while place is not None:
            if id(address) in place.pointers:
                return place.pointers[id(address)]
            place = place.outer
        f = self.frame.function
        size = DTYPES[self.facts.operands[address.arg].dtype].size
        return f.gep(self.frame.pointer(address.arg), self.offset(address, scope, scope.vector_dim), size)

    def prefetch(self, address: Address, scope: Scope, dim: int, ahead: int, write: bool) -> None:
        """What an access reaches ``ahead`` further on along ``dim``, if neighbours along the vector dim lie side by side."""
        assert scope.vector_dim is not None
        if id(address) in self.staged or not is_unit(address.strides[scope.vector_dim]):
            return
        f, size = self.frame.function, DTYPES[self.facts.operands[address.arg].dtype].size
        here = self._first(self._row(address, scope), scope, 1, size)
        f.prefetch(f.gep(here, f.mul(self.stride(address, dim), ahead), size), write=write)

    def _start(self, scope: Scope) -> tuple[Value, int]:
        assert scope.vector_dim is not None
        return scope.index[scope.vector_dim], scope.shift

    def _first(self, pointer: str, scope: Scope, stride: Value, size: int) -> str:
        """The address of the first lane."""
        f = self.frame.function
        start, shift = self._start(scope)
        pointer = f.gep(pointer, f.mul(start, stride), size)
        return f.gep(pointer, f.mul(shift, stride), size) if shift else pointer

    def valid(self, address: Address, scope: Scope) -> Vec | None:
        """The lanes inside the address's mask, or None for no mask."""
        f, v = self.frame.function, scope.v
        valid: Vec | None = None
        place: Scope | None = scope if address.mask else None
        while place is not None:
            if id(address) in place.valid:
                known = place.valid[id(address)]
                return known and v.widen(known)
            place = place.outer
        for dim, low, high in address.mask:
            bounds = [self.frame.fixed((id(address), dim, side), x) for side, x in (("low", low), ("high", high))]
            if dim == scope.vector_dim:
                lanes = self._index(scope, dim)
                inside = v.icmp("sge", lanes, v.splat("i64", bounds[0]))
                inside = v.and_(inside, v.icmp("slt", lanes, v.splat("i64", bounds[1])))
            else:
                position = scope.index.get(dim, 0)
                one = f.op(f"and i1 {f.icmp('sge', position, bounds[0])}, {f.icmp('slt', position, bounds[1])}")
                inside = v.splat("i1", one)
            valid = inside if valid is None else v.and_(valid, inside)
        return valid

    def _index(self, scope: Scope, dim: int) -> Vec:
        v = scope.v
        if dim not in scope.index:
            return v.const("i64", 0)
        lanes = v.splat("i64", scope.index[dim])
        if dim != scope.vector_dim:
            return lanes
        if v.lanes > 1:
            lanes = v.add(lanes, v.iota("i64"))
        return v.add(lanes, v.const("i64", scope.shift)) if scope.shift else lanes

    # ---- loads and stores ----

    def to_value(self, v: Vectors, raw: Vec, dtype: str) -> Vec:
        info = DTYPES[dtype]
        if info.kind == "b":
            return v.icmp("ne", raw, v.like(raw, 0))
        return unpack(v, raw, dtype) if info.narrow else raw

    def to_storage(self, v: Vectors, value: Vec, dtype: str) -> Vec:
        info = DTYPES[dtype]
        if info.kind == "b":
            return v.convert("zext", value, "i8")
        return pack(v, value, dtype) if info.narrow else value

    def _load_at(self, pointer: str, stride: Value, valid: Vec | None, dtype: str, scope: Scope) -> Vec:
        """Lanes from ``pointer`` (that of the first lane) on, ``stride`` elements apart."""
        f, v, info = self.frame.function, scope.v, DTYPES[dtype]
        if v.lanes == 1 or (stride == 0 and valid is None):
            one = scope.v.narrowed(1)
            if valid is not None:
                zero = f.alloca("i64")
                f.store("i64", 0, zero)
                pointer = str(f.select(v.extract(valid), pointer, zero, "ptr"))
            raw = Vec(f.load(f"<1 x {info.storage}>", pointer, info.size), info.storage, 1)
            return v.widen(self.to_value(one, raw, dtype))
        if stride == 1:
            kind = f"<{v.lanes} x {info.storage}>"
            mask = scope.mask
            if valid is not None:
                mask = valid if mask is None else v.and_(mask, valid)
            ref = f.load(kind, pointer, info.size) if mask is None else f.masked_load(kind, pointer, mask.ref, info.size)
            return self.to_value(v, Vec(ref, info.storage, v.lanes), dtype)
        if stride == -1 and valid is None and scope.mask is None:
            ref = f.load(f"<{v.lanes} x {info.storage}>", f.gep(pointer, 1 - v.lanes, info.size), info.size)
            raw = Vec(ref, info.storage, v.lanes)
            return self.to_value(v, v.shuffle(raw, raw, range(v.lanes - 1, -1, -1)), dtype)
        if stride == 2:
            return self._load_every_second(pointer, valid, dtype, scope)
        pointers = [f.gep(pointer, f.mul(lane, stride), info.size) for lane in range(v.lanes)]
        return self._load_lanes(pointers, valid, dtype, scope)

    def _load_every_second(self, pointer: str, valid: Vec | None, dtype: str, scope: Scope) -> Vec:
        """Every second element as two vectors; what lies behind the last one is not touched."""
        f, v, info = self.frame.function, scope.v, DTYPES[dtype]
        mask = scope.mask
        if valid is not None:
            mask = valid if mask is None else v.and_(mask, valid)
        kind = f"<{v.lanes} x {info.storage}>"
        if mask is None:
            refs = [f.load(kind, f.gep(pointer, start, info.size), info.size) for start in (0, v.lanes - 1)]
            picked = [*range(0, v.lanes, 2), *range(v.lanes + 1, 2 * v.lanes, 2)]
        else:
            masks = self._spread(v, mask)
            starts = zip((0, v.lanes), masks)
            refs = [f.masked_load(kind, f.gep(pointer, start, info.size), m.ref, info.size) for start, m in starts]
            picked = list(range(0, 2 * v.lanes, 2))
        first, second = (Vec(ref, info.storage, v.lanes) for ref in refs)
        return self.to_value(v, v.shuffle(first, second, picked), dtype)

    def _spread(self, v: Vectors, mask: Vec) -> list[Vec]:
        """A mask with every second lane new and empty, as two."""
        if v.lanes != _BITS or not self.frame.target.has("bmi2"):
            none, lanes = v.const("i1", 0), range(v.lanes)
            return [v.shuffle(mask, none, [v.lanes if i % 2 else start + i // 2 for i in lanes]) for start in (0, v.lanes // 2)]
        f = self.frame.function
        bits = f.op(f"zext i{_BITS} {f.op(f'bitcast {mask.type} {mask.ref} to i{_BITS}')} to i32")
        spread = f.intrinsic("llvm.x86.bmi.pdep.32", "i32", [("i32", bits), ("i32", _EVERY_SECOND)])
        parts = [spread, f.op(f"lshr i32 {spread}, {_BITS}")]
        narrow = [f.op(f"trunc i32 {part} to i{_BITS}") for part in parts]
        return [Vec(f.op(f"bitcast i{_BITS} {part} to {mask.type}"), "i1", v.lanes) for part in narrow]

    def _load_lanes(self, pointers: Sequence[str], valid: Vec | None, dtype: str, scope: Scope) -> Vec:
        f, v, info = self.frame.function, scope.v, DTYPES[dtype]
        zero = ""
        if valid is not None:
            zero = f.alloca("i64")
            f.store("i64", 0, zero)
        kind = f"<{v.lanes} x {info.storage}>"
        ref = "poison"
        for lane, pointer in enumerate(pointers):
            if valid is not None:
                pointer = str(f.select(v.extract(valid, lane), pointer, zero, "ptr"))
            item = f.load(info.storage, pointer, info.size)
            ref = f.op(f"insertelement {kind} {ref}, {info.storage} {item}, i32 {lane}")
        return self.to_value(v, Vec(ref, info.storage, v.lanes), dtype)

    def load(self, instr: Instr, scope: Scope) -> Vec:
        address = instr.attr
        assert isinstance(address, Address)
        stride: Value = 0
        pointer = self._row(address, scope)
        if scope.vector_dim is not None:
            stride = 1 if id(address) in self.staged else self.load_stride(address, scope.vector_dim)
            size = DTYPES[instr.dtype].size
            pointer = self._first(pointer, scope, stride, size)
        return self._load_at(pointer, stride, self.valid(address, scope), instr.dtype, scope)

    def store(self, instr: Instr, scope: Scope) -> None:
        address = instr.attr
        assert isinstance(address, Address)
        dtype = self.facts.operands[address.arg].dtype
        f, v, info = self.frame.function, scope.v, DTYPES[dtype]
        raw = self.to_storage(v, scope.value(instr.inputs[0]), dtype)
        stride: Value = 0
        pointer = self._row(address, scope)
        if scope.vector_dim is not None:
            stride = self.stride(address, scope.vector_dim)
            pointer = self._first(pointer, scope, stride, info.size)
        if v.lanes == 1 or stride == 1:
            if scope.stream:
                f.store(raw.type, raw.ref, pointer, 64, nontemporal=True)
            elif scope.mask is None:
                f.store(raw.type, raw.ref, pointer, info.size)
            else:
                f.masked_store(raw.type, raw.ref, pointer, scope.mask.ref, info.size)
            return
        assert scope.mask is None
        for lane in range(v.lanes):
            f.store(info.storage, v.extract(raw, lane), f.gep(pointer, f.mul(lane, stride), info.size), info.size)

    def gather(self, instr: Instr, scope: Scope) -> Vec:
        attr = instr.attr
        assert isinstance(attr, Gather)
        f, v, info = self.frame.function, scope.v, DTYPES[instr.dtype]
        valid = self.valid(attr.address, scope)
        indices = [(self.raw_value(i, scope), (i, stride, extent)) for i, stride, extent in attr.indices]
        uniform = all(index.lanes == 1 for index, _ in indices)
        for index, (number, _, extent) in indices:
            self.check_index(index, self.frame.fixed((id(attr), number, "extent"), extent), valid, scope)
        pointer = self._row(attr.address, scope)
        stride: Value = 0
        if scope.vector_dim is not None:
            stride = self.load_stride(attr.address, scope.vector_dim)
            pointer = self._first(pointer, scope, stride, info.size)
        if uniform:
            for index, (number, index_stride, _) in indices:
                step = self.frame.fixed((id(attr), number, "stride"), index_stride)
                pointer = f.gep(pointer, f.mul(scope.v.narrowed(1).extract(index), step), info.size)
            return self._load_at(pointer, stride, valid, instr.dtype, scope)
        offset: Vec | None = None
        for index, (number, index_stride, _) in indices:
            step = self.frame.fixed((id(attr), number, "stride"), index_stride)
            part = v.widen(index)
            part = part if step == 1 else v.mul(part, v.splat("i64", step))
            offset = part if offset is None else v.add(offset, part)
        assert offset is not None
        if v.lanes > 1 and info.size >= 4 and self.frame.target.gathers:
            return self._gather_at(pointer, stride, offset, valid, instr.dtype, scope)
        pointers = []
        for lane in range(v.lanes):
            start = f.gep(pointer, f.mul(lane, stride), info.size)
            pointers.append(f.gep(start, v.extract(offset, lane), info.size))
        return self._load_lanes(pointers, valid, instr.dtype, scope)

    def _gather_at(self, pointer: str, stride: Value, offset: Vec, valid: Vec | None, dtype: str, scope: Scope) -> Vec:
        f, v, info = self.frame.function, scope.v, DTYPES[dtype]
        if stride != 0:
            offset = v.add(offset, v.mul(v.iota("i64"), v.splat("i64", stride)))
        places = f.op(f"getelementptr {info.storage}, ptr {pointer}, {offset.type} {offset.ref}")
        mask = v.const("i1", True) if valid is None else v.widen(valid)
        ref = f.masked_gather(f"<{v.lanes} x {info.storage}>", places, mask.ref, info.size)
        return self.to_value(v, Vec(ref, info.storage, v.lanes), dtype)

    def raw_value(self, number: int, scope: Scope) -> Vec:
        """A value as it is, one lane wide if it does not vary along the vector."""
        place: Scope | None = scope
        while place is not None:
            if number in place.values:
                return place.values[number]
            place = place.outer
        raise KeyError(number)

    def check_index(self, index: Vec, extent: Value, valid: Vec | None, scope: Scope) -> None:
        v = scope.v.narrowed(index.lanes)
        outside = v.icmp("uge", index, v.splat("i64", extent))
        for lanes in (valid, scope.mask):
            if lanes is not None:
                if lanes.lanes != index.lanes:  # the index is uniform: does any lane use it?
                    one = scope.v.any(lanes)
                    lanes = v.splat("i1", one)
                outside = v.and_(outside, lanes)
        self.frame.fail_lanes(v, outside, STATUS_INDEX, lambda: index, extent)

    # ---- other leaves ----

    def number(self, instr: Instr, scope: Scope) -> Vec:
        assert isinstance(instr.attr, int)
        info = DTYPES[instr.dtype]
        one = scope.v.narrowed(1)
        ref = self.frame.function.load(f"<1 x {info.storage}>", self.frame.pointer(instr.attr), info.size)
        return scope.v.widen(self.to_value(one, Vec(ref, info.storage, 1), instr.dtype))

    def constant(self, instr: Instr, scope: Scope) -> Vec:
        assert isinstance(instr.attr, (bool, int, float))
        return scope.v.const(DTYPES[instr.dtype].element, instr.attr)

    def parameter(self, instr: Instr, scope: Scope) -> Vec:
        attr, element = instr.attr, DTYPES[instr.dtype].element
        assert attr is not None and not isinstance(attr, (str, float, Address, Gather, Philox))
        one = scope.v.narrowed(1)
        bits = one.splat("i64", self.frame.fixed((id(instr), "bits"), attr))
        bits = bits if element == "double" else one.convert("trunc", bits, "i32")
        return scope.v.widen(one.convert("bitcast", bits, element))

    def index(self, instr: Instr, scope: Scope) -> Vec:
        assert isinstance(instr.attr, int)
        return self._index(scope, instr.attr)

    def size(self, instr: Instr, scope: Scope) -> Vec:
        attr = instr.attr
        assert attr is not None and not isinstance(attr, (str, float, Address, Gather, Philox))
        return scope.v.splat("i64", self.frame.fixed((id(instr), "size"), attr))

    def philox(self, instr: Instr, scope: Scope) -> Vec:
        attr = instr.attr
        assert isinstance(attr, Philox)
        f, v = self.frame.function, scope.v
        state = self.frame.pointer(attr.arg)
        key, counter = f.load("i64", state, 8), f.load("i64", f.gep(state, 8), 8)
        base = self.offset(attr, scope, scope.vector_dim)
        if v.lanes == 16 and self.stride(attr, scope.vector_dim or 0) == 1:
            start, shift = self._start(scope)
            return philox.consecutive(v, instr.dtype, key, counter, f.add(f.add(base, start), shift))
        element = v.splat("i64", base)
        if scope.vector_dim is not None:
            stride = self.stride(attr, scope.vector_dim)
            if stride != 0:
                lanes = self._index(scope, scope.vector_dim)
                element = v.add(element, lanes if stride == 1 else v.mul(lanes, v.splat("i64", stride)))
        return philox.random_bits(v, instr.dtype, v.splat("i64", key), v.splat("i64", counter), element)


_HANDLERS: dict[str, Callable[[Body, Instr, Scope], Vec | None]] = {
    "load": Body.load,
    "store": Body.store,
    "gather": Body.gather,
    "number": Body.number,
    "const": Body.constant,
    "parameter": Body.parameter,
    "index": Body.index,
    "size": Body.size,
    "philox": Body.philox,
}
