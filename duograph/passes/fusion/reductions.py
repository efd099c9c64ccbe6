"""How a reduction joins a group, and the pass that cuts reductions into blocks of neighbouring dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from duograph.ir.dim import Expr, contiguous_strides, product
from duograph.ir.graph import Graph, Node, Value
from duograph.ir.types import TensorType

from ..rewriting.rewrite import Rewriter, in_regions
from .access import ZERO, Access, Index, is_plain, linear, loop_index, merge_loops
from .groups import Group, Request

# A reduction over everything whose input is needed once more (softmax of a vector) stays one kernel up to this extent.
WHOLE_LIMIT = 65536


class ReductionPlan(NamedTuple):
    """How the group gets its reduce loop: "share" the one it has, "add" one, or "adopt" parallel loops as it."""

    how: str
    loops: tuple[int, ...]
    extent: Expr
    orientation: str


def _reduced(node: Node) -> tuple[list[int], list[int]]:
    """Kept and reduced dims, without those of size 1."""
    shape, dims = node.inputs[0].shape, node.attrs["dims"]
    kept = [d for d, size in enumerate(shape) if d not in dims and size != 1]
    return kept, [d for d in sorted(dims) if shape[d] != 1]


def plan_reduction(group: Group, request: Request, node: Node) -> ReductionPlan | None:
    """How `node` can be computed inside the group for this request; None if it cannot."""
    if group.kind != "loop" or request.mask or request.leaf or group.frozen:
        return None
    used = []
    for size, index in zip(node.outputs[0].shape, request.access):
        if size == 1:
            continue
        loop = index.loop
        if loop is None or loop < 0 or loop == group.reduce or loop in used:
            return None
        used.append(loop)
    kept, reduced = _reduced(node)
    shape = node.inputs[0].shape
    extent = product(tuple(shape[d] for d in reduced))
    orientation = "row" if not kept or not reduced or reduced[0] > kept[-1] else "column"
    if group.reduce is not None:
        same = group.extents[group.reduce] == extent and set(used) == set(group.outer)
        fits = orientation == group.orientation or not kept
        if not same or not fits or (orientation == "column" and request.inner):
            return None
        return ReductionPlan("share", (group.reduce,), extent, orientation)
    rest = [loop for loop in group.order if loop not in used]
    if not rest:
        return ReductionPlan("add", (), extent, orientation)
    return _plan_adoption(group, used, rest, extent, orientation)


def _plan_adoption(group: Group, used: Sequence[int], rest: list[int], extent: Expr, orientation: str) -> ReductionPlan | None:
    if orientation != "row" or group.order[-len(rest) :] != rest or product(tuple(group.extents[i] for i in rest)) != extent:
        return None
    if not used and not (isinstance(extent, int) and extent <= WHOLE_LIMIT):
        return None
    if len(rest) > 1:
        merged = _Merged(rest, [group.extents[loop] for loop in rest], len(group.extents))
        if any(merged.masks(request) or request.placement is not None for request in group.all_requests()):
            return None
        # One loop must say every index that the several said: in row-major order, nothing left out.
        if not all(merged.follows(r.access, contiguous_strides(r.value.shape)) for r in group.all_requests()):
            return None
        if not all(merged.follows(store.access, store.placement.strides) for store in group.stores):
            return None
    return ReductionPlan("adopt", tuple(rest), extent, orientation)


class _Merged(NamedTuple):
    """Loops that would become one."""

    loops: Sequence[int]
    sizes: Sequence[Expr]
    loop: int

    def masks(self, request: Request) -> bool:
        return any(entry[0] in self.loops for entry in request.mask)

    def follows(self, access: Access, strides: Sequence[Expr]) -> bool:
        return is_plain(linear(merge_loops(access, self.loops, self.sizes, self.loop), strides))


def reduce_operand(group: Group, request: Request, node: Node, plan: ReductionPlan) -> Access:
    """Carry out the plan; returns the indices at which the operand is wanted."""
    kept, reduced = _reduced(node)
    shape, dims = node.inputs[0].shape, node.attrs["dims"]
    if plan.how == "add":
        loop = group.loop(plan.extent)
        _insert(group, request, node, loop, kept, reduced)
    elif plan.how == "adopt" and len(plan.loops) > 1:
        loop = group.loop(plan.extent)
        sizes = [group.extents[i] for i in plan.loops]
        group.order[group.order.index(plan.loops[0]) :] = [loop]
        for other in group.all_requests():
            other.access = merge_loops(other.access, plan.loops, sizes, loop)
        for store in group.stores:
            store.access = merge_loops(store.access, plan.loops, sizes, loop)
    else:
        loop = plan.loops[0]
    if plan.how != "share":
        group.reduce, group.orientation = loop, plan.orientation
    inside = _digits(loop, [shape[d] for d in reduced])
    outside = iter(request.access)
    where = dict(zip(reduced, inside))
    return tuple(where.get(d, ZERO) if d in dims else next(outside) for d in range(len(shape)))


def _insert(group: Group, request: Request, node: Node, loop: int, kept: list[int], reduced: list[int]) -> None:
    """Put a new reduce loop where the reduced dims lie among the kept ones."""
    dims = node.attrs["dims"]
    position = {d: i for i, d in enumerate(d for d in range(len(node.inputs[0].shape)) if d not in dims)}
    before = [request.access[position[d]].loop for d in kept if reduced and d < reduced[0]]
    at = 1 + max((group.order.index(i) for i in before if i is not None), default=-1)
    if not any(d > reduced[-1] for d in kept) if reduced else True:
        at = len(group.order)
    group.order.insert(at, loop)


def _digits(loop: int, sizes: Sequence[Expr]) -> list[Index]:
    """The indices of dims that one loop runs over in row-major order."""
    if len(sizes) == 1:
        return [loop_index(loop)]
    result = []
    for d in range(len(sizes)):
        divisor = product(tuple(sizes[d + 1 :]))
        result.append(Index(0, ((loop, 1, divisor, None if d == 0 else sizes[d]),)))
    return result


_MULTI_STEP = frozenset({"sum", "prod", "max", "min", "any", "all"})


def split_reductions(graph: Graph) -> Graph:
    """Reductions over separated blocks of dims as several, the innermost block first; over sizes 1 as reshapes.

    The order of additions this gives is part of the numeric contract, so the pass runs in every mode.
    """
    graph = in_regions(graph, split_reductions)

    def visit(rewriter: Rewriter, node: Node, old: Node) -> Sequence[Value] | None:
        if node.op != "reduce":
            return None
        shape, kind = node.inputs[0].shape, node.attrs["kind"]
        kept, reduced = _reduced(node)
        result = node.outputs[0].type
        if not reduced:
            return [_of_one(rewriter, node, kind)] if kind in _MULTI_STEP or kind.startswith("arg") else None
        blocks = _blocks(kept, reduced)
        if len(blocks) == 1:
            return None
        if kind not in _MULTI_STEP:
            return [_gathered(rewriter, node, reduced)]
        value = node.inputs[0]
        left = list(range(len(shape)))
        for block in reversed(blocks):
            dims = tuple(left.index(d) for d in block)
            left = [d for d in left if d not in block]
            type = TensorType(result.dtype, tuple(shape[d] for d in left))
            value = rewriter.emit("reduce", [value], {"kind": kind, "dims": dims}, type)
        return [value if value.shape == result.shape else rewriter.emit("reshape", [value], {}, result)]

    return Rewriter().run(graph, visit)


def _blocks(kept: Sequence[int], reduced: Sequence[int]) -> list[list[int]]:
    """Runs of reduced dims without a kept one between them."""
    blocks: list[list[int]] = []
    for d in reduced:
        if blocks and not any(blocks[-1][-1] < k < d for k in kept):
            blocks[-1].append(d)
        else:
            blocks.append([d])
    return blocks


def _of_one(rewriter: Rewriter, node: Node, kind: str) -> Value:
    """A reduction of one element: the element itself; the position of the only element is 0."""
    operand, result = node.inputs[0], node.outputs[0].type
    if kind.startswith("arg"):
        zero = rewriter.emit("constant", (), {"value": 0}, TensorType(result.dtype, ()))
        return rewriter.emit("broadcast", [zero], {}, result) if result.shape else zero
    if operand.dtype.code != result.dtype.code:
        operand = rewriter.emit("cast", [operand], {}, TensorType(result.dtype, operand.shape))
    return rewriter.emit("reshape", [operand], {}, result) if operand.shape != result.shape else operand


def _gathered(rewriter: Rewriter, node: Node, reduced: Sequence[int]) -> Value:
    """argmax over separated dims: those dims moved behind the others first, in their order."""
    operand = node.inputs[0]
    dims = node.attrs["dims"]
    order = (*(d for d in range(len(operand.shape)) if d not in dims), *sorted(dims))
    shape = tuple(operand.shape[d] for d in order)
    moved = rewriter.emit("permute", [operand], {"dims": order}, TensorType(operand.dtype, shape))
    behind = tuple(range(len(shape) - len(dims), len(shape)))
    return rewriter.emit("reduce", [moved], {**node.attrs, "dims": behind}, node.outputs[0].type)
