"""Which contractions are direct convolutions, and their launches: see `direct`."""

from __future__ import annotations

from typing import NamedTuple

from duograph.codegen.contraction.course import BACK, FORTH, ROW, SLOTS, course_bytes
from duograph.codegen.contraction.direct import HEADER, KEEP_HEADER, NARROW_PART, PART, before_panels, behind_panels, narrow
from duograph.codegen.contraction.direct_halves import halves_bytes
from duograph.codegen.contraction.direct_lines import FEW, LONGEST, LONGEST_HALVED, SHORTEST, WIDEST_STEP
from duograph.codegen.contraction.direct_rows import LEFT, RIGHT
from duograph.codegen.contraction.epilogue import may_run_hot
from duograph.codegen.contraction.keep import KEEP, Kept, all_panels
from duograph.codegen.contraction.parts import TILED, library_name
from duograph.codegen.contraction.shape import TileShape, panel_bytes
from duograph.codegen.dtypes import DTYPES
from duograph.codegen.kernel import KEPT, Address, Border, ContractionKernel, Extent, Instr, Keep, Launch, Philox, Walk
from duograph.codegen.walks import counted_in_pairs, walk_of
from duograph.ir.dim import ceildiv, floordiv, known_le, maximum, minimum, product

# Of panels, which stay in the second level cache while windows pass by: of few pixels, so that workers pack different ones.
_GROUP_BYTES, _SMALLER = 768 << 10, 2
_MANY_PIXELS = 2048
# Pixels of a strip, about: what it makes is in the first level cache or near it for the epilogue. Fewer, but so many at least,
# where there would be fewer chunks than this, for threads to share.
_STRIP, _SHORTEST, _CHUNKS = 64, 28, 16
_MOST_OFFSET = 1 << 31
_MOST_K = 12288  # a panel holds all of k
# Kernels are packed in each call: it pays where so many pixels share them, and, where they do not lie side by side, if there
# are at most so many for each pixel.
_FEWEST_PIXELS, _KERNELS_PER_PIXEL = 36, 2
PANEL, _FEWEST = 32, 5  # kernels in a panel, pixels in a row
# Kernels for which panels are one vector; below so many multiply-adds a pixel, turning tiles costs more than packing windows
# does, and in long rows, which are packed quickly, lanes without a kernel do: so many kernels for 4 pixels up to a most.
_FEWEST_KERNELS, _NARROW = 6, 16
_FEWEST_PRODUCTS, _LONG = 400, 40
_SHORTEST_LINE = 8  # pixels, for vectors of them
MOST_UNUSED = 5  # of what is computed, a share of 1 / this


class Direct(NamedTuple):
    """The sizes of a direct convolution; strides in elements."""

    images: Extent
    kernels: Extent
    k: Extent
    k_walk: Walk
    pixels: Extent
    pixel_walk: Walk
    w_kernel: Extent
    w_walk: Walk
    x_image: Extent
    c_image: Extent
    c_kernel: Extent
    borders: tuple[Border, ...] = ()
    pairs: bool = False


def direct_form(kernel: ContractionKernel) -> Direct | None:
    """The sizes if a contraction has the form of one: kernels by windows of an image or of a batch of images."""
    if kernel.dtype not in TILED or len(kernel.m) != 1 or not 1 <= len(kernel.n) <= 2 or kernel.batch:
        return None
    if kernel.pairs and kernel.paired != (False, True):
        return None
    kernel = counted_in_pairs(kernel)
    read = kernel.operands[1:3] if kernel.pairs else kernel.operands[:3]
    if any(operand.dtype != kernel.dtype for operand in read) or kernel.operands[2].role != "out":
        return None
    pixels = kernel.columns or walk_of(kernel.n[-1:], kernel.b_strides[-1:])
    k = product(list(kernel.k))
    windows = len(pixels) > 1 or len(kernel.b_walk) > 1
    if not windows or kernel.c_strides[-1] != 1 or not may_run_hot(kernel.epilogue):
        return None
    several = len(kernel.n) == 2
    return Direct(
        kernel.n[0] if several else 1,
        kernel.m[0],
        k,
        kernel.b_walk,
        product([extent for extent, _ in pixels]),
        pixels,
        kernel.a_strides[0],
        kernel.a_walk,
        kernel.b_strides[-2] if several else 0,
        kernel.c_strides[1] if several else 0,
        kernel.c_strides[0],
        kernel.borders,
        kernel.pairs != "",
    )


def is_direct(kernel: ContractionKernel) -> bool | None:
    """Whether a contraction is a direct convolution; None where that depends on sizes that only a run knows.

    It is one of windows, with enough pixels, and in each row. No bit depends on the answer.
    """
    d = direct_form(kernel)
    if d is None:
        return False
    answers = [_known(d, kernel.dtype, narrow) for narrow in (False, True)]
    return True in answers or (None if None in answers else False)


def is_narrow(kernel: ContractionKernel) -> bool | None:
    """Whether it is one of few kernels, for which a panel is one vector."""
    d = direct_form(kernel)
    return False if d is None else _known(d, kernel.dtype, True)


def _known(d: Direct, dtype: str, narrow: bool) -> bool | None:
    return all_known(_facts(d, dtype, narrow))


def pays(d: Direct, dtype: str, narrow: bool) -> Extent:
    """1 if a contraction is a direct convolution with such panels, else 0."""
    return holds(_facts(d, dtype, narrow))


def all_known(facts: list[tuple[Extent, Extent]]) -> bool | None:
    """Whether of each pair the first is at most the second; None where sizes of a run decide."""
    if all(known_le(low, high) for low, high in facts):
        return True
    return False if any(known_le(high + 1, low) for low, high in facts) else None


def holds(facts: list[tuple[Extent, Extent]]) -> Extent:
    """1 if of each pair the first is at most the second, else 0."""
    answer: Extent = 1
    for low, high in facts:
        answer = minimum(answer, maximum(high - low + 1, 0))
    return answer


def reach_fact(walk: Walk, dtype: str) -> tuple[Extent, Extent]:
    """How many bytes a walk goes, and how many steps can count."""
    reach: Extent = 0
    for extent, stride in walk:
        reach = reach + extent * maximum(stride, -1 * stride)
    return DTYPES[dtype].size * reach, _MOST_OFFSET


def limits(d: Direct, dtype: str) -> list[tuple[Extent, Extent]]:
    """What must be at most how much, so that it can be made at all."""
    return [(1, d.k), (d.k, _MOST_K), reach_fact(d.k_walk, dtype)]


def _facts(d: Direct, dtype: str, narrow: bool) -> list[tuple[Extent, Extent]]:
    """The same, so that it pays."""
    unused = ceildiv(d.kernels, PANEL) * PANEL - d.kernels
    beside = d.pairs or _lies_beside(d)
    pixels = maximum(d.images, 1) * d.pixels
    return [
        *limits(d, dtype),
        *(_facts_of_few(d) if narrow else [(unused * MOST_UNUSED, d.kernels), (by_lines(d), 0)]),
        (_FEWEST, d.pixel_walk[-1][0]),
        (_FEWEST_PIXELS, pixels),
        (0 if beside else d.kernels, _KERNELS_PER_PIXEL * pixels),
    ]


def _facts_of_few(d: Direct) -> list[tuple[Extent, Extent]]:
    lines, width = by_lines(d), d.pixel_walk[-1][0]
    others = 1 - lines
    return [
        (others * _FEWEST_KERNELS, d.kernels),
        (others * d.kernels, _NARROW),
        (others * _FEWEST_PRODUCTS, d.k * d.kernels),
        (others * minimum(width, _LONG), 4 * d.kernels),
        (lines * _SHORTEST_LINE, width),
    ]


def by_lines(d: Direct) -> Extent:
    """1 if a convolution with panels of one vector is made by vectors of pixels instead, else 0."""
    width, step = d.pixel_walk[-1]
    few = holds([(d.kernels, FEW), (1, step), (step, 1)])
    short = holds([(d.k, LONGEST), (SHORTEST, width), (1, step), (step, WIDEST_STEP)])
    return maximum(maximum(few, short), holds([(d.k, LONGEST_HALVED), (SHORTEST, width), *_facts_of_halves(d)]))


def _facts_of_halves(d: Direct) -> list[tuple[Extent, Extent]]:
    """Every second pixel, of rows whose taps lie side by side."""
    step, apart = d.pixel_walk[-1][1], d.k_walk[-1][1] if d.k_walk else 0
    return [(2, step), (step, 2), (1, apart), (apart, 1)]


def words_of(walk: Walk) -> list[Extent]:
    """What a launch says of a walk."""
    return [word for dim in walk for word in dim]


def product_launch(
    d: Direct, dtype: str, shape: TileShape, args: tuple[int, ...], epilogue: int, few: bool, kept: Kept
) -> Launch:
    """The launch: args are x, the kernels, C, what the epilogue loads and what is kept. Its sizes are those of `direct`."""
    keep = None if few and not d.pairs else kept.keep
    shape = narrow(shape) if few else shape
    panel = panel_bytes(shape, d.k)
    panels = ceildiv(d.kernels, shape.width)
    many = minimum(floordiv(d.images * d.pixels, _MANY_PIXELS), 1)
    most = floordiv(_GROUP_BYTES, _SMALLER) * (1 + (_SMALLER - 1) * many)
    group = maximum(minimum(floordiv(most, panel), panels), 1)
    strip = _strip(d, shape, ceildiv(panels, group))
    words: dict[str, Extent] = {
        "images": d.images,
        "kernels": d.kernels,
        "k": d.k,
        "pixels": d.pixels,
        "w_kernel": d.w_kernel,
        "x_image": d.x_image,
        "c_image": d.c_image,
        "c_kernel": d.c_kernel,
        "panel": panel,
        "group": group,
        "strip": strip,
        "course": course_bytes(shape.longest_block, d.k),
        **_rows_of_taps(d),
        "epilogue": epilogue,
        "kept": len(args) - len(kept.args) if keep else 0,
        "k_dims": len(d.k_walk),
        "pixel_dims": len(d.pixel_walk),
        "w_dims": len(d.w_walk),
    }
    sizes: tuple[Extent, ...] = tuple(words[name] for name in HEADER)
    sizes += (*words_of(d.k_walk), *words_of(d.pixel_walk), *words_of(d.w_walk))
    chunks = ceildiv(panels, group) * d.images * ceildiv(d.pixels, strip)
    cost = floordiv(d.images * d.pixels * d.kernels * d.k, 2)
    symbol = f"{library_name(dtype, NARROW_PART if few else PART)}:run"
    scratch = before_panels(shape, d.k) + SLOTS * words["course"] + group * panel + behind_panels(shape)
    if few and d.k_walk:
        halves = halves_bytes(shape.size, d.k, maximum(d.k_walk[-1][0], 1), d.pixel_walk[-1][0])
        scratch = scratch + holds(_facts_of_halves(d)) * halves
    return Launch(symbol, args, sizes, chunks, scratch, cost, whole=True, grain=1, keep=keep)


def _strip(d: Direct, shape: TileShape, groups: Extent) -> Extent:
    """Pixels in a strip: some rows of an image, or a part of one, which ends with a tile."""
    width = d.pixel_walk[-1][0]
    rows = maximum(groups * d.images * floordiv(d.pixels, width), 1)
    parts = minimum(ceildiv(_CHUNKS, rows), floordiv(width, _SHORTEST))  # of a row
    several = minimum(maximum(parts - 1, 0), 1)
    together = maximum(minimum(floordiv(_STRIP, width), floordiv(rows, _CHUNKS)), ceildiv(_SHORTEST, width))
    part = ceildiv(ceildiv(width, maximum(parts, 1)), shape.rows) * shape.rows
    return minimum(several * part + (1 - several) * width * together, d.pixels)


def _rows_of_taps(d: Direct) -> dict[str, Extent]:
    """The words about rows of taps: whether a row is three side by side, and which ones lie on zeros."""
    taps, apart = d.k_walk[-1] if d.k_walk else (1, 1)
    backwards = isinstance(apart, int) and apart == -1
    along = d.k_walk[-2][0] if len(d.k_walk) > 1 else 1
    triples = _is(taps, ROW) * BACK if backwards else _is(taps, ROW, apart, 1) * FORTH
    words: dict[str, Extent] = {"triples": triples, "tap_rows": along, "image_rows": 1, "row_step": 0, "row_hole": 1}
    words |= {"row_low": 0, "row_high": along, "rows_back": 0, "spared": 0}
    if len(d.borders) != 2 or len(d.k_walk) < 3 or len(d.pixel_walk) < 2:
        return words
    (rows, rows_back), (columns, columns_back) = map(_forwards, d.borders)
    height, (width, step) = d.pixel_walk[-2][0], d.pixel_walk[-1]
    known = _is(height, rows.places, along, rows.taps, width, columns.places, taps, columns.taps, step, columns.step)
    known = known * (int(columns.hole == 1) if columns_back else _is(apart, columns.hole)) * int(columns_back == backwards)
    words |= {"image_rows": height, "row_step": rows.step * known, "row_hole": maximum(rows.hole, 1)}
    words |= {"row_low": rows.low * known, "row_high": rows.high * known + along * (1 - known), "rows_back": int(rows_back)}
    beyond = (width - 1) * step + (ROW - 1) - columns.high + 1
    left, right = (minimum(maximum(amount, 0), 1) for amount in (columns.low, beyond))
    return words | {"spared": (left * LEFT + right * RIGHT) * known}


def spares_all(d: Direct) -> bool:
    """Whether all of an image's zeros are left out, for sizes that are known: at most one beside each row."""
    words = _rows_of_taps(d)
    (width, step), spared = d.pixel_walk[-1], words["spared"]
    if (
        by_lines(d) != 0  # they read all zeros
        or words["triples"] == 0
        or words["row_step"] == 0
        or not all(isinstance(word, int) for word in (*words.values(), width, step))
    ):
        return False
    columns, _ = _forwards(d.borders[-1])
    few = all_known([(columns.low, 1), ((width - 1) * step + ROW, columns.high + 1)])
    both = (0, LEFT | RIGHT) if step == 1 else (0, LEFT) if step == 2 else ()
    return few is True and spared in both and (step == 1 or words["triples"] == FORTH)


def _forwards(border: Border) -> tuple[Border, bool]:
    """The border with taps counted from the first in x, and whether they were counted from the last."""
    if not isinstance(border.hole, int) or border.hole > 0:
        return border, False
    span = (border.taps - 1) * -border.hole
    return border._replace(hole=-border.hole, low=border.low + span, high=border.high + span), True


def _is(*pairs: Extent) -> Extent:
    """1 if the first is the second, the third the fourth and so on, else 0."""
    return holds([pair for a, b in zip(pairs[::2], pairs[1::2]) for pair in ((a, b), (b, a))])


def _lies_beside(d: Direct) -> bool:
    """Whether the kernels' panels are those of products: a kernel's elements lie side by side."""
    return len(d.w_walk) == 1 and d.w_walk[0][1] == 1


def panels_of_kernels(d: Direct, dtype: str, shape: TileShape) -> Kept:
    """All panels, to be kept with the kernels, unless these are few."""
    return Kept(_keep(d, dtype, shape), (KEPT,), panel_bytes(shape, d.k))


def _keep(d: Direct, dtype: str, shape: TileShape) -> Keep:
    if _lies_beside(d):
        return all_panels(dtype, shape, 0, d.kernels, d.k, 1, d.w_kernel)
    panel, panels = panel_bytes(shape, d.k), ceildiv(d.kernels, shape.width)
    words = {"kernels": d.kernels, "k": d.k, "w_kernel": d.w_kernel, "panel": panel, "w_dims": len(d.w_walk)}
    sizes = (*(words[name] for name in KEEP_HEADER), *words_of(d.w_walk))
    return Keep(0, f"{library_name(dtype, PART)}:{KEEP}", sizes, panels, panels * panel + behind_panels(shape))


def images_first(kernel: ContractionKernel) -> ContractionKernel:
    """The kernel with the outer of two dims of n as the last of its batch; only C and the epilogue are told."""
    if len(kernel.m) != 1 or len(kernel.n) != 2:
        return kernel
    first = len(kernel.batch)
    order = (*range(first), first + 1, first, first + 2)

    def turned(strides: tuple[Extent, ...]) -> tuple[Extent, ...]:
        return tuple(strides[d] for d in order)

    def moved(instr: Instr) -> Instr:
        attr = instr.attr
        if instr.op == "index":
            assert isinstance(attr, int)
            return instr._replace(attr=order[attr])
        if isinstance(attr, Address):
            mask = tuple((order[d], low, high) for d, low, high in attr.mask)
            return instr._replace(attr=attr._replace(strides=turned(attr.strides), mask=mask))
        return instr._replace(attr=attr._replace(strides=turned(attr.strides))) if isinstance(attr, Philox) else instr

    batch, n, epilogue = (*kernel.batch, kernel.n[0]), kernel.n[1:], tuple(map(moved, kernel.epilogue))
    return kernel._replace(batch=batch, n=n, c_strides=turned(kernel.c_strides), epilogue=epilogue)
