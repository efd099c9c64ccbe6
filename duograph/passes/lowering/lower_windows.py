"""From a group that sums over windows to its kernel spec."""

from __future__ import annotations

from duograph.codegen.kernel import Instr, WindowKernel
from duograph.errors import InternalError
from duograph.ir.dim import Expr, product

from ..fusion.groups import Buffer, Group, Request
from ..fusion.schedule import KernelStep
from .lower import Lowering

_DIMS = 3  # of places; missing ones are in front and have one place


def lower_windows(group: Group) -> KernelStep:
    """Sums over windows, or the taps that such sums are a product with, as a call of the library for its dtype."""
    node = group.node
    assert node is not None
    value, (x, other) = node.output, (operand.shape for operand in node.inputs)
    dims = len(node.attrs["stride"])
    lowering = Lowering(group, _order(group, dims))
    lowering.nodes.setdefault(node)
    read = [_read(request) for request in group.operands]
    lowering.buffers = [*(buffer for buffer, _ in read), _written(group)]
    lowering.roles = ["in", "in", "out"]
    lowering.fixed = 3
    _end(lowering, group)
    sums = node.op == "window_sums"
    counts, taps = (value.shape[3:], other[3:]) if sums else (other[3:], value.shape[2:])
    made = other[1] if sums else other[2]

    def full(given: tuple[Expr, ...], missing: Expr) -> tuple[Expr, ...]:
        return (*([missing] * (_DIMS - dims)), *given)

    def strides(given: tuple[Expr, ...]) -> tuple[Expr, ...]:
        return (*given[:3], *full(given[3:], 0))

    kernel = WindowKernel(
        "windows",
        "sums" if sums else "taps",
        value.dtype.name,
        (x[0], x[1], made, x[2]),
        full(x[3:], 1),
        full(counts, 1),
        full(taps, 1),
        full(node.attrs["low"], 0),
        (*([1] * (_DIMS - dims)), *node.attrs["stride"]),
        (*([1] * (_DIMS - dims)), *node.attrs["dilation"]),
        strides(read[0][1]),
        strides(read[1][1]),
        lowering.operands(),
        tuple(lowering.body),
    )
    lowering.flops = lowering.flops + 2 * product([x[0], x[1], x[2], made, *counts, *taps])
    traffic = lowering.traffic()
    for each in (*node.inputs, value):
        traffic = traffic + each.type.bytes
    return lowering.step(kernel, traffic)


def _order(group: Group, dims: int) -> list[int]:
    """The loops of what follows sums, one for each of three planes and of `_DIMS` places; none where nothing does."""
    if group.anchor is None:
        return []
    loops = [group.loop(1) if index.loop is None else index.loop for index in group.anchor.access]
    return [*loops[:3], *(group.loop(1) for _ in range(_DIMS - dims)), *loops[3:]]


def _written(group: Group) -> Buffer:
    """The memory of the result from its first element on."""
    if group.anchor is None:
        placement = group.carried[0].placement
        return placement.buffer.view(placement.offset)
    (store,) = group.stores
    return store.placement.buffer.view(store.address().offset)


def _end(lowering: Lowering, group: Group) -> None:
    """Append what follows the sums."""
    if group.anchor is None:
        return
    (store,) = group.stores
    lowering.numbers[group.anchor] = lowering.add("accumulator", (), group.anchor.value.dtype.name)
    last = lowering.number(store.request)
    if last != len(lowering.body) - 1:
        lowering.body.append(Instr("cast", (last,), lowering.body[last].dtype))


def _read(request: Request) -> tuple[Buffer, tuple[Expr, ...]]:
    """The operand's memory from its first element on, and a stride for each of its dims."""
    loaded = request.loaded()
    if loaded.placement is None or loaded.mask:
        raise InternalError(f"{request.value!r} has no place in memory")
    address = loaded.address()
    by_loop: dict[int, Expr] = {loop: coefficient for loop, coefficient, _, _ in address.terms}
    strides = tuple(0 if index.loop is None else by_loop.get(index.loop, 0) for index in request.access)
    return loaded.placement.buffer.view(address.offset), strides
