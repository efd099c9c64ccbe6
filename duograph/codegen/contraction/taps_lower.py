"""Which contractions are gradients of convolutions to their kernels, and their launches: see `taps`."""

from __future__ import annotations

from typing import NamedTuple

from duograph.codegen.contraction.course import LINE
from duograph.codegen.contraction.direct import PART, behind_panels
from duograph.codegen.contraction.direct_lower import MOST_UNUSED, PANEL, all_known, direct_form, holds, reach_fact, words_of
from duograph.codegen.contraction.direct_tile import STEP_BYTES, sums_bytes
from duograph.codegen.contraction.parts import library_name
from duograph.codegen.contraction.shape import BLOCK_UNIT, TileShape, most_in_a_chain
from duograph.codegen.contraction.taps import FUNCTION, HEADER
from duograph.codegen.contraction.taps_tile import ROUNDS, STEPS, TAPS
from duograph.codegen.kernel import ContractionKernel, Extent, Launch, Walk
from duograph.ir.dim import ceildiv, floordiv, maximum, minimum, product

_PACKED_BYTES = 768 << 10  # at a time: with the windows that pass by, they stay in the second level cache
# Sums wait in C between what is packed at a time, and go there one by one: that pays for many k and few kernels. Of more
# kernels each shares the copies of windows that a product makes.
_LEAST_K, _MOST_KERNELS = 1024, 160
_K_PER_COLUMN = 2
_FEWEST_ROWS = 7


class Taps(NamedTuple):
    """The sizes of such a gradient; strides in elements. ``walk``: the columns' dims in x, outer to inner."""

    kernels: Extent
    k: Extent
    k_walk: Walk
    w_kernel: Extent
    w_walk: Walk
    columns: Extent
    walk: Walk
    rows: Extent
    row_x: Extent
    row_c: Extent
    others: Walk
    other_c: Extent
    c_kernel: Extent
    taps: Extent = 0  # those side by side, if tiles are made of them
    round: Extent = 1  # k in a round of these tiles


def taps_form(kernel: ContractionKernel) -> Taps | None:
    """The sizes if a contraction has the form of one: gradients by windows, summed over all images."""
    d = direct_form(kernel)
    if d is None or len(kernel.n) != 1 or len(kernel.epilogue) > 1 or d.w_walk[-1][1] != 1:
        return None
    dims = d.pixel_walk
    (first, first_x), (last, last_x) = dims[0], dims[-1]
    by_first = minimum(maximum(first - _FEWEST_ROWS + 1, 0), 1)  # rows of tiles are channels, unless there are too few

    def either(one: Extent, other: Extent) -> Extent:
        return _choice(by_first, one, other)

    return Taps(
        d.kernels,
        d.k,
        d.k_walk,
        d.w_kernel,
        d.w_walk,
        d.pixels,
        dims,
        either(first, last),
        either(first_x, last_x),
        either(product([extent for extent, _ in dims[1:]]), 1),
        tuple((either(a, c), either(b, d)) for (a, b), (c, d) in zip(dims[1:], dims[:-1])) or ((1, 0),),
        either(1, last),
        d.c_kernel,
    )


def _choice(which: Extent, one: Extent, other: Extent) -> Extent:
    """The one if ``which`` is 1, the other if it is 0."""
    return one if one == other else which * one + (1 - which) * other


def _by_lines(t: Taps, shape: TileShape) -> Taps:
    """The same with rows that are channels, and tiles of their taps side by side, where there are such tiles."""
    if len(t.walk) < 2:
        return t
    (channels, channel), (taps, apart), (along, step) = t.walk[0], t.walk[-1], t.k_walk[-1]
    fits = holds([(apart, 1), (1, apart), (min(STEPS), step), (step, max(STEPS)), (taps, shape.rows)])
    side_by_side: Extent = 0
    for count in TAPS:
        side_by_side = side_by_side + holds([(count, taps), (taps, count)])
    round: Extent = 0
    for length in ROUNDS:
        even = 1 - minimum(along - floordiv(along, length) * length, 1)
        round = _choice(minimum(round, 1), round, even * length)
    made = fits * side_by_side * minimum(round, 1)
    round = _choice(made, round, 1)
    others = zip((*t.walk[1:-1], (1, 0)), t.others)
    return t._replace(
        k_walk=(*t.k_walk[:-1], (floordiv(along, maximum(round, 1)), step * round)),
        rows=_choice(made, channels, t.rows),
        row_x=_choice(made, channel, t.row_x),
        row_c=_choice(made, product([extent for extent, _ in t.walk[1:]]), t.row_c),
        others=tuple((_choice(made, a, b), _choice(made, c, d)) for (a, c), (b, d) in others),
        other_c=_choice(made, taps, t.other_c),
        taps=made * taps,
        round=round,
    )


def is_taps(kernel: ContractionKernel) -> bool | None:
    """Whether a contraction is made so; None where that depends on sizes that only a run knows. No bit does."""
    t = taps_form(kernel)
    return False if t is None else all_known(_facts(t, kernel.dtype))


def taps_pays(t: Taps, dtype: str) -> Extent:
    """1 if a contraction is made so, else 0."""
    return holds(_facts(t, dtype))


def taps_limits(t: Taps, dtype: str) -> list[tuple[Extent, Extent]]:
    """What must be at most how much, so that it can be made at all."""
    return [(1, t.k), reach_fact(t.k_walk, dtype)]


def _facts(t: Taps, dtype: str) -> list[tuple[Extent, Extent]]:
    """The same, so that it pays."""
    unused = ceildiv(t.kernels, PANEL) * PANEL - t.kernels
    return [
        (_LEAST_K, t.k),
        (_K_PER_COLUMN * t.columns, t.k),
        (t.kernels, _MOST_KERNELS),
        (unused * MOST_UNUSED, t.kernels),
        (_FEWEST_ROWS, t.rows),
        *taps_limits(t, dtype),
    ]


def taps_launch(t: Taps, dtype: str, shape: TileShape) -> Launch:
    """The launch: args are x, the gradient, C. Its sizes are those of `taps`."""
    t = _by_lines(t, shape)
    lines = floordiv(shape.rows, maximum(t.taps, 1))
    high = _choice(minimum(t.taps, 1), lines, shape.rows)
    row_bytes = shape.vectors * shape.vector_bytes
    panels = ceildiv(t.kernels, shape.width)
    blocks = ceildiv(t.k, most_in_a_chain(shape.size))
    block = ceildiv(ceildiv(t.k, maximum(blocks, 1)), BLOCK_UNIT) * BLOCK_UNIT
    long = block * maximum(floordiv(_PACKED_BYTES, maximum(panels * block * row_bytes, 1)), 1)
    panel = (long + shape.lanes) * row_bytes
    others = product([extent for extent, _ in t.others])
    words: dict[str, Extent] = {
        "kernels": t.kernels,
        "k": t.k,
        "w_kernel": t.w_kernel,
        "rows": t.rows,
        "row_x": t.row_x,
        "row_c": t.row_c,
        "others": others,
        "other_c": t.other_c,
        "c_kernel": t.c_kernel,
        "panel": panel,
        "long": long,
        "taps": t.taps,
        "high": high,
        "round": t.round,
        "k_dims": len(t.k_walk),
        "w_dims": len(t.w_walk),
        "other_dims": len(t.others),
    }
    sizes = (*(words[name] for name in HEADER), *words_of(t.k_walk), *words_of(t.w_walk), *words_of(t.others))
    scratch = sums_bytes(shape) + ceildiv(long * STEP_BYTES, LINE) * LINE + panels * panel + behind_panels(shape)
    cost = floordiv(t.kernels * t.columns * t.k, 2)
    symbol = f"{library_name(dtype, PART)}:{FUNCTION}"
    return Launch(symbol, (1, 0, 2), sizes, ceildiv(t.rows, maximum(high, 1)) * others, scratch, cost, whole=True)
