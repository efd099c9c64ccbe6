"""From a window kernel to its launch: the words that `driver` reads, all of them sizes."""

from __future__ import annotations

from duograph.codegen.dtypes import DTYPES
from duograph.codegen.kernel import Extent, Launch, WindowKernel
from duograph.ir.dim import ceildiv, floordiv, maximum, minimum, product

PREFIX = "windows-"
# Sizes and strides in elements, three dimensions of places each. "band": how many results are made of the rows in scratch,
# over the first two dimensions. "x…" and "g…" are what `rows` reads: how an operand lies, and its rows in scratch.
# "epilogue": which of args it is, 0 for none; "flat": 1 if rows of results are one row for it. "plane": from channel to
# channel of results. "first1", "end1": the rows of results that are made, which a run of several kernels in turn sets (see
# `runtime.chains`).
_ROWS = ("size0", "size1", "size2", "step0", "step1", "step2", "slab", "stride", "low", "pitch")
HEADER = (
    *("images", "groups", "made", "read", "count0", "count1", "count2", "taps0", "taps1", "taps2"),
    *("stride0", "stride1", "hole0", "hole1", "hole2", "low0", "low1", "band0", "band1", "first1", "end1", "plane"),
    *("x_image", "x_group", "x_channel", *(f"x_{name}" for name in _ROWS)),
    *("w_group", "w_made", "w_read", "w_tap0", "w_tap1", "w_tap2"),
    *("g_image", "g_group", "g_made", *(f"g_{name}" for name in _ROWS)),
    *("weights_at", "sums_at", "rows_at", "given_at", "epilogue", "flat"),
)
X_ROWS, G_ROWS = HEADER.index("x_size0"), HEADER.index("g_size0")
ROWS_MADE = HEADER.index("first1"), HEADER.index("end1")
LANES = 16  # a row in scratch is as many elements times a whole number
_BAND_BYTES = 32 << 10  # of rows in scratch, if one result does not need more: they stay in the first level cache
_PLANE_COST = 1024  # of a plane, however small
LINE = 64


def launch_windows(kernel: WindowKernel) -> Launch:
    """The call of a window kernel."""
    images, groups, made, read = kernel.planes
    sums = kernel.op == "sums"
    size = DTYPES[kernel.dtype].size
    span = [(taps - 1) * hole + 1 for taps, hole in zip(kernel.taps, kernel.dilation)]
    counts, stride, low = kernel.counts, kernel.stride, kernel.low
    pitch = _whole(counts[2] + floordiv(maximum(span[2] - 1, 0), stride[2]))
    row, room = pitch * stride[2], _BAND_BYTES // size

    def results(rows: Extent, d: int) -> Extent:
        """How many results along dimension d so many rows make, at least one."""
        return maximum(minimum(floordiv(maximum(rows - span[d], 0), stride[d]) + 1, counts[d]), 1)

    span = [maximum(each, 1) for each in span]
    band1 = results(floordiv(room, row * span[0]), 1)
    slab = (band1 - 1) * stride[1] + span[1]
    band0 = results(floordiv(room, row * slab), 0)
    given_pitch = _whole(counts[2])
    all_taps = product(list(kernel.taps))
    weights_at = _lines(8 * all_taps)
    sums_at = weights_at + _lines(size * all_taps)
    rows_at = sums_at + (0 if sums else made * all_taps * LINE)
    given_at = rows_at + size * row * slab * ((band0 - 1) * stride[0] + span[0]) + LINE  # a row's last vector may reach further
    scratch = given_at + (0 if sums else size * given_pitch * band0 * band1)
    steps, others = kernel.x_strides, kernel.other_strides
    words: list[Extent] = [images, groups, made, read, *counts, *kernel.taps, *stride[:2], *kernel.dilation, *low[:2]]
    plane = product(list(counts)) if kernel.plane is None else kernel.plane
    words += [band0, band1, 0, counts[1], plane, *steps[:3], *kernel.sizes, *steps[3:], slab, stride[2], low[2], pitch]
    words += [*others, 0, 0, 0] if sums else [0] * 6 + list(others[:3])
    words += [*counts, *([0] * 3 if sums else others[3:]), band1, 1, 0, given_pitch]
    words += [weights_at, sums_at, rows_at, given_at, 0, 0]
    assert len(words) == len(HEADER)
    chunks = images * groups if sums else groups
    computed = product([*counts[:2], _whole(counts[2])])
    cost = images * groups * made * read * (floordiv(computed * (all_taps + 8), 4) + _PLANE_COST)
    symbol = f"{PREFIX}{kernel.dtype}:{kernel.op}"
    return Launch(symbol, tuple(range(3)), tuple(words), chunks, scratch, cost)


def _whole(count: Extent) -> Extent:
    return ceildiv(count, LANES) * LANES


def _lines(size: Extent) -> Extent:
    return ceildiv(size, LINE) * LINE
