"""From a contraction group to its kernel spec: letters to classes, operands to strides, consumers to the epilogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from duograph.codegen.kernel import Address, Border, ContractionKernel, Instr, LoopKernel, Operand
from duograph.ir.dim import Expr, contiguous_strides, product
from duograph.ir.graph import Node

from ..fusion.groups import Buffer, Group, Request, Store
from ..fusion.schedule import KernelStep
from ..rewriting.unrounded import multiplies_pairs
from .lower import Lowering
from .merge import merge_contraction, merge_dims
from .pairs import Paired, Pairs, is_even

_COMPUTED_IN_FLOAT32 = ("float16", "bfloat16")


class _Classes(NamedTuple):
    """Loops by role; `swapped`: the operands changed places so that the result is contiguous along n."""

    batch: list[int]
    m: list[int]
    n: list[int]
    k: list[int]
    swapped: bool


def lower_contraction(group: Group, images: Mapping[Request, Request], pairs: Pairs) -> tuple[list[KernelStep], list[Buffer]]:
    """A contraction with its epilogue, what brings images into pairs before it and results into 16 bits behind; new memory.

    Args:
        images: operands that are padded copies, and what they are copies of.
        pairs: the images that are there in pairs.
    """
    node, anchor = group.node, group.anchor
    assert node is not None and anchor is not None
    (store,) = group.stores
    batch, m, n, k, swapped = _classes(group, node, anchor, store)
    operands = [request.loaded() for request in group.operands]
    left, right = reversed(operands) if swapped else operands
    along = _pair_loop(group, node)
    if along is not None:
        k = [along, *(loop for loop in k if loop != along)]
    if product([group.extents[loop] for loop in m]) == 1:
        batch, n = _apart(group, right, batch, n)
    lowering = Lowering(group, [*batch, *m, *n])
    factors = [_factor(request, group, node, along, pairs) for request in (left, right)]
    sums = _Sums(group, anchor, store) if any(factor.paired for factor in factors) and group.held is None else None
    sums = sums if sums is not None and sums.are_wider else None
    lowering.buffers = [*(factor.start for factor in factors), _store_start(store) if sums is None else sums.buffer]
    lowering.roles = ["in", "in", "out"]
    lowering.fixed = 3
    lowering.nodes.setdefault(node)
    result = node.outputs[0].dtype.name
    accumulator = "float32" if result in _COMPUTED_IN_FLOAT32 else result
    number = lowering.add("accumulator", (), accumulator)
    if result != accumulator:
        number = lowering.add("cast", (number,), result)
    lowering.numbers[anchor] = number
    if group.held is not None:
        lowering.roles[2] = "inout"
        lowering.numbers[group.held] = lowering.add("load", (), accumulator, Address(2, lowering.strides(store.address())))
    last = lowering.number(store.request)
    if last != len(lowering.body) - 1 or sums is not None:
        lowering.body.append(Instr("cast", (last,), accumulator if sums is not None else lowering.body[last].dtype))
    sizes = [tuple(group.extents[loop] for loop in loops) for loops in (batch, m, n, k)]
    kernel = ContractionKernel(
        "contraction",
        accumulator,
        *(sizes[0], sizes[1], sizes[2], sizes[3]),
        factors[0].along([*batch, *m, *k]),
        factors[1].along([*batch, *k, *n]),
        lowering.strides(store.address()) if sums is None else sums.along([*batch, *m, *n]),
        lowering.operands(),
        tuple(lowering.body),
        borders=_borders(right, group, n, k),
        pairs="" if along is None else "even" if is_even(group.extents[along]) else "any",
        paired=(factors[0].paired is not None, factors[1].paired is not None),
    )
    lowering.flops = lowering.flops + 2 * product([group.extents[loop] for loop in (*batch, *m, *n, *k)])
    traffic: Expr = lowering.traffic()
    for value in (*node.inputs, store.request.value):
        traffic = traffic + value.type.bytes
    if right in images:
        from duograph.codegen.contraction.algorithms import reads_around

        image = _factor(images[right], group, node, along, pairs)
        same = (image.paired is None) == (factors[1].paired is None)
        around = merge_contraction(kernel._replace(b_strides=image.along([*batch, *k, *n]), beyond=True))
        if same and reads_around(around):
            lowering.buffers[1] = image.start
            factors[1], kernel = image, around
    before = pairs.steps([factor.paired for factor in factors])
    made = [step.buffers[1] for step in before]
    work = [*before, lowering.step(kernel if kernel.beyond else merge_contraction(kernel), traffic)]
    return (work, made) if sums is None else ([*work, sums.step(work[-1], store)], [*made, sums.buffer])


class _Sums:
    """Memory for the results of a contraction in the dtype it adds in, in the order of its letters, where they are stored in
    16 bits: convolutions write no others, and end each piece while it is in cache."""

    def __init__(self, group: Group, anchor: Request, store: Store) -> None:
        assert group.node is not None
        self.loops = [index.terms[0][0] for index in anchor.access if index.terms]
        self.extents = tuple(group.extents[loop] for loop in self.loops)
        self.strides = tuple(contiguous_strides(self.extents))
        self.buffer = Buffer("temp", -1, group.node.outputs[0].dtype, self.extents, "sums")
        self.are_wider = store.placement.buffer.dtype.name in _COMPUTED_IN_FLOAT32

    def along(self, loops: Sequence[int]) -> tuple[Expr, ...]:
        return tuple(dict(zip(self.loops, self.strides))[loop] for loop in loops)

    def step(self, work: KernelStep, store: Store) -> KernelStep:
        """What stores them, behind the contraction."""
        buffers = self.buffer, _store_start(store)
        wide, dtype = (buffer.dtype.name for buffer in buffers)
        body = [Instr("load", (), wide, Address(0, self.strides)), Instr("cast", (0,), dtype)]
        body.append(Instr("store", (1,), dtype, Address(1, _store_strides(store, self.loops))))
        operands = Operand(wide), Operand(dtype, "out")
        kernel = merge_dims(LoopKernel("narrowed", self.extents, frozenset(), operands, tuple(body)))
        moved = sum(buffer.dtype.itemsize for buffer in buffers) * product(self.extents)
        return KernelStep(kernel, buffers, work.nodes, work.locations, 0, moved)


class _Factor(NamedTuple):
    """An operand as the kernel reads it."""

    request: Request
    paired: Paired | None

    @property
    def start(self) -> Buffer:
        return _start(self.request) if self.paired is None else self.paired.start

    def along(self, loops: Sequence[int]) -> tuple[Expr, ...]:
        return _strides(self.request, loops) if self.paired is None else self.paired.along(loops)


def _factor(request: Request, group: Group, node: Node, along: int | None, pairs: Pairs) -> _Factor:
    return _Factor(request, None if along is None else pairs.of(request, group, node, along))


def _pair_loop(group: Group, node: Node) -> int | None:
    """The loop along which elements are multiplied in pairs of bfloat16, on a machine that does so."""
    letter = node.attrs.get("pairs", "")
    if not letter or not multiplies_pairs():
        return None
    terms = group.operands[0].access[node.attrs["a"].index(letter)].terms
    return terms[0][0] if terms else None


def _start(request: Request) -> Buffer:
    """The operand's memory from its first element on."""
    assert request.placement is not None
    return request.placement.buffer.view(request.address().offset)


def _store_start(store: Store) -> Buffer:
    return store.placement.buffer.view(store.address().offset)


def _classes(group: Group, node: Node, anchor: Request, store: Store) -> _Classes:
    loops: dict[str, int] = {}
    a, b, out = (node.attrs[name] for name in ("a", "b", "out"))
    for letters, request in ((out, anchor), (a, group.operands[0]), (b, group.operands[1])):
        for letter, index in zip(letters, request.access):
            if index.terms:
                loops[letter] = index.terms[0][0]
    batch = [loops[x] for x in out if x in loops and x in a and x in b]
    m = [loops[x] for x in out if x in loops and x in a and x not in b]
    n = [loops[x] for x in out if x in loops and x in b and x not in a]
    k = [loops[x] for x in a if x in loops and x in b and x not in out]
    strides = {term[0]: term[1] for term in store.address().terms}
    swapped = bool(m) and (not n or any(strides.get(loop) == 1 for loop in m))
    return _Classes(batch, n, m, k, True) if swapped else _Classes(batch, m, n, k, False)


def _apart(group: Group, right: Request, batch: list[int], n: list[int]) -> tuple[list[int], list[int]]:
    """The batch and the columns of a product of one row: matrices whose columns do not follow each other are a batch of them.

    One row is multiplied with rows of a matrix as they lie, and packs nothing that several matrices could share.
    """
    if any(len(index.terms) > 1 for index in right.access):  # windows
        return batch, n
    strides = _strides(right, n)
    inner = len(n) - 1
    while inner > 0 and strides[inner - 1] == strides[inner] * group.extents[n[inner]]:
        inner -= 1
    return ([*batch, *n[:inner]], n[inner:]) if inner > 0 else (batch, n)


def _borders(request: Request, group: Group, n: Sequence[int], k: Sequence[int]) -> tuple[Border, ...]:
    """What is known of zeros around an operand that was padded, along its last two dims."""
    node = request.value.node
    if node is None or node.op != "pad":
        return ()
    found = []
    for index, low, size in zip(request.access[-2:], node.attrs["low"][-2:], node.inputs[0].shape[-2:]):
        steps = {loop: step for loop, step, divisor, modulus in index.terms if divisor == 1 and modulus is None}
        places, taps = [loop for loop in n if loop in steps], [loop for loop in k if loop in steps]
        if not len(places) == len(taps) == 1 or len(index.terms) != 2:
            return ()
        (place,), (tap,), first = places, taps, low - index.offset
        found.append(Border(group.extents[place], group.extents[tap], steps[place], steps[tap], first, first + size))
    return tuple(found)


def _store_strides(store: Store, loops: Sequence[int]) -> tuple[Expr, ...]:
    strides = {loop: coefficient for loop, coefficient, _, _ in store.address().terms}
    return tuple(strides.get(loop, 0) for loop in loops)


def _strides(request: Request, loops: Sequence[int]) -> tuple[Expr, ...]:
    strides = {loop: coefficient for loop, coefficient, _, _ in request.address().terms}
    return tuple(strides.get(loop, 0) for loop in loops)
