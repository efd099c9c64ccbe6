"""Facts about a kernel body that schedules decide by: what varies along which loop, stages, costs, best vector dim."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

from duograph.codegen.dtypes import DTYPES
from duograph.codegen.kernel import Address, Extent, Gather, Instr, LoopKernel, Operand, Philox, ScatterKernel
from duograph.codegen.scalar import PRIMITIVES


@dataclass(frozen=True)
class Facts:
    """Per instruction: ``deps`` the loop dims its value varies along, ``stage`` the number of reductions before it."""

    extents: tuple[Extent, ...]
    reduce_dims: tuple[int, ...]
    parallel_dims: tuple[int, ...]
    operands: tuple[Operand, ...]
    body: tuple[Instr, ...]
    deps: tuple[frozenset[int], ...]
    stages: tuple[int, ...]

    @property
    def last_stage(self) -> int:
        return max(self.stages, default=0)

    def operand_dtype(self, number: int) -> str:
        """The dtype that decides how instruction ``number`` works: its last input's, or its own."""
        instr = self.body[number]
        return self.body[instr.inputs[-1]].dtype if instr.inputs else instr.dtype


def analyse(kernel: LoopKernel | ScatterKernel) -> Facts:
    reduce_dims = kernel.reduce_dims if isinstance(kernel, LoopKernel) else frozenset()
    live = [d for d, extent in enumerate(kernel.extents) if not is_unit(extent)]
    if reduce_dims and not reduce_dims & set(live):
        live = sorted([*live, max(reduce_dims)])  # a reduction over one element still is one
    deps: list[frozenset[int]] = []
    stages: list[int] = []
    for instr in kernel.body:
        own = _own_dims(instr) | {d for i in instr.inputs for d in deps[i]}
        if isinstance(instr.attr, Gather):
            own |= {d for i, _, _ in instr.attr.indices for d in deps[i]}
        stage = max((stages[i] + (kernel.body[i].op == "reduce") for i in needs(instr)), default=0)
        deps.append(frozenset(own & set(live)) - (reduce_dims if instr.op == "reduce" else frozenset()))
        stages.append(stage)
    return Facts(
        kernel.extents,
        tuple(d for d in live if d in reduce_dims),
        tuple(d for d in live if d not in reduce_dims),
        kernel.operands,
        kernel.body,
        tuple(deps),
        tuple(stages),
    )


def needs(instr: Instr) -> tuple[int, ...]:
    """All instructions read by one: its inputs and the index values of a gather."""
    if isinstance(instr.attr, Gather):
        return instr.inputs + tuple(i for i, _, _ in instr.attr.indices)
    return instr.inputs


def address_of(instr: Instr) -> Address | None:
    if isinstance(instr.attr, Gather):
        return instr.attr.address
    return instr.attr if isinstance(instr.attr, Address) else None


def is_zero(stride: Extent) -> bool:
    return isinstance(stride, int) and stride == 0


def is_unit(stride: Extent) -> bool:
    return isinstance(stride, int) and stride == 1


def is_backward(stride: Extent) -> bool:
    """Contiguous from the end on."""
    return isinstance(stride, int) and stride == -1


def _own_dims(instr: Instr) -> set[int]:
    if instr.op == "index":
        assert isinstance(instr.attr, int)
        return {instr.attr}
    where = address_of(instr) or (instr.attr if isinstance(instr.attr, Philox) else None)
    if where is None:
        return set()
    dims = {d for d, stride in enumerate(where.strides) if not is_zero(stride)}
    return dims | {d for d, _, _ in where.mask} if isinstance(where, Address) else dims


def cost(facts: Facts, number: int, vector_dim: int | None = None) -> int:
    """Rough vector instructions of one instruction."""
    instr = facts.body[number]
    if instr.op in PRIMITIVES:
        scale = 2 if facts.operand_dtype(number) in ("float64", "int64", "uint64") else 1
        return PRIMITIVES[instr.op].cost * scale
    if instr.op == "philox":
        return 80
    if instr.op in ("load", "gather", "store"):
        address = address_of(instr)
        contiguous = vector_dim is None or address is None or isinstance(address.strides[vector_dim], int)
        return 1 if contiguous and instr.op != "gather" else 16
    if instr.op == "cast":
        return 2
    return 1


def total_cost(facts: Facts, vector_dim: int | None = None) -> int:
    return sum(cost(facts, i, vector_dim) for i in range(len(facts.body)))


def best_vector_dim(facts: Facts, candidates: Iterable[int]) -> int | None:
    """The candidate along which most memory is contiguous; the innermost of equals."""
    best, best_score, candidates = None, -1, tuple(candidates)
    reduced = set(facts.reduce_dims)
    for d in candidates:
        score = 0
        for number, instr in enumerate(facts.body):
            address = address_of(instr)
            # with reductions only what their loops touch counts: the rest is once per result
            if address is not None and (not reduced or facts.deps[number] & reduced):
                stride = address.strides[d]
                score += (5 if instr.op == "store" else 3) * is_unit(stride) + is_zero(stride)
                if instr.op == "store" and d == _innermost(address, candidates):
                    score += 4  # with gaps, but the next best: along other dims every element is on a cache line of its own
        if score >= best_score:
            best, best_score = d, score
    return best


def _innermost(address: Address, candidates: Sequence[int]) -> int | None:
    """The last dim along which an access moves; None if it is contiguous along one."""
    if any(is_unit(address.strides[d]) for d in candidates):
        return None
    return max((d for d in candidates if not is_zero(address.strides[d])), default=None)


def plain_access(facts: Facts, vector_dim: int, staged: Container[int] = (), rows: set[int] | None = None) -> bool:
    """Every access along the vector dim is contiguous or constant (or a staged copy, or a load of every second element), so
    that masks can handle tails. What is stored once for each row, if ``rows`` are its dims, is stored behind the loop."""
    for number, instr in enumerate(facts.body):
        address = address_of(instr)
        if id(address) in staged:
            continue
        if rows is not None and instr.op == "store" and not runs_along(facts, number, rows):
            continue
        if address is not None and not isinstance(address.strides[vector_dim], int):
            return False
        if address is not None and address.strides[vector_dim] not in ((0, 1) if instr.op == "store" else (0, 1, 2)):
            return False
        # Only an empty dim has such stores: several indices would write one element.
        if address is not None and instr.op == "store" and is_zero(address.strides[vector_dim]):
            return False
        if isinstance(instr.attr, Gather) and any(vector_dim in facts.deps[i] for i, _, _ in instr.attr.indices):
            return False
    return True


def item_bytes(facts: Facts) -> int:
    """Bytes moved per point of the index space, for cost estimates."""
    return sum(DTYPES[instr.dtype].size for instr in facts.body if instr.op in ("load", "gather", "store"))


def runs_along(facts: Facts, number: int, dims: set[int]) -> bool:
    """Whether a store runs along any of ``dims``."""
    address = address_of(facts.body[number])
    assert address is not None
    return bool(facts.deps[number] & dims) or any(not is_zero(address.strides[d]) for d in dims)
