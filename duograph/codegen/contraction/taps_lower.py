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
from duograph.codegen.contraction.taps_tile import STEPS, TAPS
from duograph.codegen.kernel import ContractionKernel, Extent, Launch, Walk
from duograph.ir.dim import ceildiv, floordiv, maximum, minimum, product

_PACKED_BYTES = 768 << 10  # at a time: with the windows that pass by, they stay in the second level cache
_LEAST_K = 1024
_FEWEST_ROWS = 7
# A product copies windows, and of more kernels each shares that: so many at most, and so many k for each two columns.
_MOST_KERNELS, _K_PER_TWO_COLUMNS = 160, 4
_MOST_KERNELS_BY_LINES, _K_PER_TWO_COLUMNS_BY_LINES = 512, 1


class Taps(NamedTuple):
    """The sizes of such a gradient; strides in elements. ``across``: columns in a row, if there are several
    rows, ``taps``: those side by side, if tiles are made of them, else 0."""

    kernels: Extent
    k: Extent
    k_walk: Walk
    w_kernel: Extent
    w_walk: Walk
    columns: Extent
    rows: Extent
    row_x: Extent
    row_c: Extent
    others: Walk
    other_c: Extent
    c_kernel: Extent
    across: Extent
    taps: Extent = 0
    apart: Extent = 0
    most: int = 0  # such taps


def taps_forms(kernel: ContractionKernel, rows: int = max(TAPS)) -> list[Taps]:
    """The sizes if a contraction has the form of one: gradients by windows, summed over all images; the better way first.

    Args:
        rows: of the largest tile.
    """
    d = direct_form(kernel)
    if d is None or len(kernel.n) != 1 or len(kernel.epilogue) > 1 or d.w_walk[-1][1] != 1:
        return []
    dims = d.pixel_walk
    (first, first_x), (last, last_x) = dims[0], dims[-1]
    of_channel = product([extent for extent, _ in dims[1:]])
    by_first = minimum(maximum(first - _FEWEST_ROWS + 1, 0), 1)  # rows of tiles are channels, unless there are too few

    def either(one: Extent, other: Extent) -> Extent:
        return by_first * one + (1 - by_first) * other

    by_rows = Taps(
        d.kernels,
        d.k,
        d.k_walk,
        d.w_kernel,
        d.w_walk,
        d.pixels,
        either(first, last),
        either(first_x, last_x),
        either(of_channel, 1),
        tuple((either(a, c), either(b, d)) for (a, b), (c, d) in zip(dims[1:], dims[:-1])) or ((1, 0),),
        either(1, last),
        d.c_kernel,
        last if len(dims) > 1 else 0,
    )
    if len(dims) < 2:
        return [by_rows]
    by_channels = by_rows._replace(
        rows=first, row_x=first_x, row_c=of_channel, others=dims[1:-1] or ((1, 0),), other_c=last, taps=last, apart=last_x
    )
    return [by_channels._replace(most=min(rows, max(TAPS))), by_rows]


def is_taps(kernel: ContractionKernel) -> bool | None:
    """Whether a contraction is made so; None where that depends on sizes that only a run knows. No bit does."""
    answers = [all_known(_facts(t, kernel.dtype)) for t in taps_forms(kernel)]
    return True in answers or (None if None in answers else False)


def taps_pays(t: Taps, dtype: str) -> Extent:
    """1 if a contraction is made so, else 0."""
    return holds(_facts(t, dtype))


def taps_limits(t: Taps, dtype: str) -> list[tuple[Extent, Extent]]:
    """What must be at most how much, so that it can be made at all."""
    limits: list[tuple[Extent, Extent]] = [(1, t.k), reach_fact(t.k_walk, dtype)]
    if isinstance(t.taps, int) and t.taps == 0:
        return limits
    along, step = t.k_walk[-1]
    even, odd = along - 2 * floordiv(along, 2), t.taps - 2 * floordiv(t.taps, 2)
    limits += [(min(TAPS), t.taps), (t.taps, t.most), (1, odd), (even, 0)]
    return [*limits, (1, t.apart), (t.apart, 1), (min(STEPS), step), (step, max(STEPS))]


def _facts(t: Taps, dtype: str) -> list[tuple[Extent, Extent]]:
    """The same, so that it pays."""
    unused = ceildiv(t.kernels, PANEL) * PANEL - t.kernels
    by_lines = not isinstance(t.taps, int) or t.taps > 0
    return [
        (_LEAST_K, t.k),
        ((_K_PER_TWO_COLUMNS_BY_LINES if by_lines else _K_PER_TWO_COLUMNS) * t.columns, 2 * t.k),
        (t.kernels, _MOST_KERNELS_BY_LINES if by_lines else _MOST_KERNELS),
        (unused * MOST_UNUSED, t.kernels),
        (_FEWEST_ROWS, t.rows * maximum(t.taps, 1)),
        (t.across, t.k_walk[-1][0]),  # as many pixels as taps in a row: a convolution whose image is small has fewer
        *taps_limits(t, dtype),
    ]


def taps_launch(t: Taps, dtype: str, shape: TileShape) -> Launch:
    """The launch: args are x, the gradient, C. Its sizes are those of `taps`."""
    high = floordiv(shape.rows, maximum(t.taps, 1))
    row_bytes = shape.vectors * shape.vector_bytes
    panels = ceildiv(t.kernels, shape.width)
    blocks = ceildiv(t.k, most_in_a_chain(shape.size))
    block = ceildiv(ceildiv(t.k, maximum(blocks, 1)), BLOCK_UNIT) * BLOCK_UNIT
    long = block * maximum(floordiv(_PACKED_BYTES, maximum(panels * block * row_bytes, 1)), 1)
    panel = (long + shape.lanes) * row_bytes
    others = product([extent for extent, _ in t.others])
    chunks = ceildiv(t.rows, maximum(high, 1)) * others
    waiting = holds([(long + 1, t.k)]) * chunks * panels * shape.rows * row_bytes
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
        "waiting": waiting,
        "taps": t.taps,
        "high": high,
        "k_dims": len(t.k_walk),
        "w_dims": len(t.w_walk),
        "other_dims": len(t.others),
    }
    sizes = (*(words[name] for name in HEADER), *words_of(t.k_walk), *words_of(t.w_walk), *words_of(t.others))
    scratch = sums_bytes(shape) + ceildiv(long * STEP_BYTES, LINE) * LINE + waiting + panels * panel + behind_panels(shape)
    cost = floordiv(t.kernels * t.columns * t.k, 2)
    symbol = f"{library_name(dtype, PART)}:{FUNCTION}"
    return Launch(symbol, (1, 0, 2), sizes, chunks, scratch, cost, whole=True)
