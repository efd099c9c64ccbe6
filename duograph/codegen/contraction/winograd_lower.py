"""Which contractions can be made by Winograd's way, and their launches: see `winograd`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from duograph.codegen.contraction.course import LINE
from duograph.codegen.contraction.direct_lower import direct_form
from duograph.codegen.contraction.direct_tile import STEP_BYTES
from duograph.codegen.contraction.parts import library_name
from duograph.codegen.contraction.shape import TileShape
from duograph.codegen.contraction.winograd import (
    HEADER,
    KERNELS,
    KERNELS_HEADER,
    OUT,
    PART,
    POINTS,
    PREPARE,
    RUN,
    SQUARE_BYTES,
    TABLE_ROWS,
)
from duograph.codegen.kernel import KEPT, ContractionKernel, Extent, Keep, Launch
from duograph.ir.dim import ceildiv, floordiv, maximum, minimum

_TAPS = 3
_MOST_OFFSET = 1 << 31
# Transformed tiles of a block stay in the second level cache; a block has so many tiles, and is so large a share, at least.
_BLOCK_BYTES, _LEAST_TILES, _SHARES = 1 << 20, 28, 8
_MOST_BYTES = 1 << 22  # of the tiles of one line
_LEAST_SIZE = 4


class Winograd(NamedTuple):
    """The sizes of such a convolution; strides in elements."""

    images: Extent
    kernels: Extent
    channels: Extent
    rows: Extent
    columns: Extent
    x_start: Extent
    x_image: Extent
    x_channel: Extent
    x_row: Extent
    c_image: Extent
    c_kernel: Extent
    w_start: Extent
    w_kernel: Extent
    w_channel: Extent
    w_row: Extent
    w_column: Extent


def winograd_form(kernel: ContractionKernel) -> Winograd | None:
    """The sizes if a contraction has the form of one, but for what `is_winograd` asks of known sizes."""
    d = direct_form(kernel)
    if d is None or kernel.dtype != "float32" or len(d.k_walk) != 3 or len(d.pixel_walk) != 2 or len(d.w_walk) > 3:
        return None
    (channels, x_channel), _, (_, way) = d.k_walk
    (rows, x_row), (columns, _) = d.pixel_walk
    column = d.w_walk[-1][1]
    row = d.w_walk[-2][1] if len(d.w_walk) == 3 else _TAPS * column
    channel = d.w_walk[0][1] if len(d.w_walk) > 1 else _TAPS * _TAPS * column
    # Windows that run backwards, as of gradients, are taken forwards from the other end, and the taps backwards.
    last = 1 - way  # the last tap, 2, where they do
    return Winograd(
        d.images,
        d.kernels,
        channels,
        rows,
        columns,
        -1 * last * (x_row + 1),
        d.x_image,
        x_channel,
        x_row,
        d.c_image,
        d.c_kernel,
        last * (row + column),
        d.w_kernel,
        channel,
        row * way,
        column * way,
    )


def is_winograd(kernel: ContractionKernel) -> bool:
    """Whether a contraction, whose sizes are known, can be made so: 3 × 3 taps side by side, a stride of 1."""
    form, d = winograd_form(kernel), direct_form(kernel)
    if form is None or d is None:
        return False
    row = form.x_row
    taps = {1: [_TAPS * _TAPS * form.channels], 2: [form.channels, _TAPS * _TAPS], 3: [form.channels, _TAPS, _TAPS]}
    way = d.k_walk[2][1]
    beside = (
        way in (1, -1) and d.k_walk[1:] == ((_TAPS, way * row), (_TAPS, way)) and [step for _, step in d.pixel_walk] == [row, 1]
    )
    line = POINTS * 4 * form.channels * ceildiv(form.columns, OUT)
    reach = 4 * (form.images * form.x_image + (form.rows + _TAPS) * row)
    facts = ((_LEAST_SIZE, form.rows), (_LEAST_SIZE, form.columns), (line, _MOST_BYTES), (reach, _MOST_OFFSET))
    known = all(isinstance(low, int) and isinstance(high, int) and low <= high for low, high in facts)
    return beside and known and [extent for extent, _ in d.w_walk] == taps[len(d.w_walk)]


def transformed_bytes(form: Winograd, shape: TileShape) -> Extent:
    """Bytes of all kernels' transforms."""
    return ceildiv(form.kernels, shape.width) * POINTS * form.channels * (shape.vectors * shape.vector_bytes)


def memory_elements(form: Winograd, shape: TileShape) -> Extent:
    """Elements of the memory that `prepare` is given."""
    return floordiv(LINE + transformed_bytes(form, shape), shape.size)


def prepare_launch(form: Winograd, shape: TileShape, memory: int) -> Launch:
    """The launch that transforms the kernels, unless that was kept; ``memory``: a temporary's position."""
    library = library_name("float32", PART)
    words = form._asdict()
    sizes: tuple[Extent, ...] = tuple(words[name] for name in KERNELS_HEADER)
    chunks = ceildiv(form.kernels, shape.width) * form.channels
    bytes = transformed_bytes(form, shape)
    keep = Keep(0, f"{library}:{KERNELS}", sizes, chunks, bytes)
    return Launch(f"{library}:{PREPARE}", (0, memory, KEPT), sizes, chunks, 0, 2 * bytes, keep=keep)


def winograd_launch(form: Winograd, shape: TileShape, args: Sequence[int], epilogue: int) -> Launch:
    """The launch: args are x, the memory of `prepare`, C and what the epilogue loads. Its sizes are those of `winograd`."""
    row_bytes = shape.vectors * shape.vector_bytes
    across, down = ceildiv(form.columns, OUT), ceildiv(form.rows, OUT)
    lines = form.images * down
    fitting = maximum(floordiv(_BLOCK_BYTES, POINTS * shape.size * form.channels * across), 1)
    wanted = maximum(ceildiv(_LEAST_TILES, across), floordiv(lines, _SHARES))
    blocks = ceildiv(lines, minimum(minimum(fitting, wanted), lines))
    block = ceildiv(lines, blocks)
    panels = ceildiv(form.kernels, shape.width)
    group = ceildiv(panels, minimum(maximum(floordiv(_SHARES, blocks), 1), panels))  # few blocks are shared by workers
    count = ceildiv(panels, group)
    groups = ceildiv(block * across, shape.lanes)
    pitch = groups * shape.vector_bytes
    plane = form.channels * pitch + LINE  # points do not share cache sets
    sums_plane = block * across * row_bytes + LINE
    behind: dict[str, Extent] = {
        "sums": POINTS * sums_plane,
        "steps": ceildiv((form.channels + 1) * STEP_BYTES, LINE) * LINE,
        "table": groups * (TABLE_ROWS * shape.lanes * STEP_BYTES),
        "square": shape.lanes * SQUARE_BYTES,
    }
    words: dict[str, Extent] = form._asdict() | {"across": across, "down": down, "lines": lines, "block": block}
    words |= {"group": group, "groups": count}
    words |= {"pitch": pitch, "plane": plane, "sums_plane": sums_plane, "epilogue": epilogue}
    scratch: Extent = POINTS * plane
    for name, size in behind.items():
        words[name] = scratch
        scratch = scratch + size
    sizes: tuple[Extent, ...] = tuple(words[name] for name in HEADER)
    cost = floordiv(lines * across * POINTS * form.kernels * form.channels, 2)
    symbol = f"{library_name('float32', PART)}:{RUN}"
    return Launch(symbol, tuple(args), sizes, ceildiv(lines, block) * count, scratch, cost, whole=True)
