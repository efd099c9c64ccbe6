"""Items that a list holds on some ways through the function only: rows of a stack, with a mask that says which of them there are.

A branch that appends on one side makes such rows, and so does one turn of a loop with such a branch. Which rows the list
holds is asked once: when it is read outside of the loops that fill it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.ir.types import TensorType
from duograph.ops.definition import REGISTRY
from duograph.ops.tracing import wrap

from .growing import Rows, appended, check_alike, tensors_of
from .merge import filler, same_structure

if TYPE_CHECKING:
    from ..builder import CaptureBuilder
    from .regions import Region


def on_either_side(
    builder: CaptureBuilder, regions: Sequence[Region], saved: list[Any], first: Any, second: Any
) -> tuple[list[Any], list[Any]] | None:
    """What a list holds at the end of both sides of a branch, built alike; None if it need not be or cannot be."""
    if type(first) is not list or type(second) is not list:
        return None
    tails = [appended(held, saved) for held in (first, second)]
    if tails[0] is None or tails[1] is None or same_structure(*tails):
        return None
    lengths = [[rows_of(item) for item in tail] for tail in tails if tail is not None]
    if any(type(n) is not int for side in lengths for n in side):
        return None
    likes = [item.like if type(item) is Rows else item for tail in tails if tail is not None for item in tail]
    check_alike(likes)
    most = max(sum(side) for side in lengths)
    made = []
    for region, tail in zip(regions, tails):
        with region.open(at_end=True):
            made.append([*saved, _masked(builder, tail or [], likes[0], most)])
    return made[0], made[1]


def note_items(builder: CaptureBuilder, held: Any) -> None:
    """What a container holds after a branch: rows are what was appended."""
    for item in held if type(held) is list else ():
        for stack in item.stacks if type(item) is Rows else ():
            builder.aliases.are_items(stack)


def rows_of(item: Any) -> Any:
    """How many rows an item of a list takes: an int, or a size as an expression."""
    return item.length() if type(item) is Rows else 1


def _masked(builder: CaptureBuilder, items: Sequence[Any], like: Any, count: int) -> Rows:
    """The items as so many rows, of which the last are none."""
    parts = [*items]
    missing = count - sum(rows_of(item) for item in items)
    if missing:
        nothing = [filler(TensorType(t.dtype, (missing, *_shape(t)))) for t in tensors_of([like])]
        parts.append(Rows(like, nothing, truths(builder, False, missing)))
    return put_together(builder, parts, like, True)


def _shape(tensor: Any) -> Any:
    """Its sizes as expressions."""
    return tensor.shape if tensor._traced is None else tensor._traced.shape


def truths(builder: CaptureBuilder, value: bool, count: Any) -> Any:
    """A mask that holds everywhere or nowhere."""
    return wrap(builder.constant(value, core.bool, (count,)))


def put_together(builder: CaptureBuilder, items: Sequence[Any], like: Any, masked: bool = False, surely: bool = True) -> Rows:
    """Items of a list, some of them rows, as rows: with a mask if one of them has one, or always (`masked`).

    surely   a row that is looked at is an item that the program has, too; else it may be
    """
    stacks, masks, lenders = [], [], []
    some = masked or any(type(item) is Rows and item.mask is not None for item in items)
    for item in items:
        lenders.append(item.stacks if type(item) is Rows else tensors_of([item]))
        if type(item) is Rows:
            stacks.append(item.stacks)
            masks.append(truths(builder, True, rows_of(item)) if some and item.mask is None else item.mask)
        else:
            stacks.append([_row(t) for t in lenders[-1]])
            masks.append(truths(builder, True, 1) if some else None)
    made = Rows(like, [_cat(part) for part in zip(*stacks)], _cat(masks) if some else None)
    for stack, part in zip(made.stacks, zip(*lenders)):
        builder.aliases.lend(stack, [t for t in part if t is not stack], surely)
    return made


def _row(tensor: Any) -> Any:
    return REGISTRY["stack"].op([tensor], 0)


def _cat(parts: Sequence[Any], dim: int = 0) -> Any:
    return parts[0] if len(parts) == 1 else REGISTRY["cat"].op(list(parts), dim)


def after_loop(builder: CaptureBuilder, new: Sequence[Any], stacks: Sequence[Any]) -> Rows:
    """What all turns appended, where a turn appends items with masks; `stacks`: each of their tensors as it was in each turn."""
    queue = iter(stacks)
    by_turn: list[tuple[list[Any], Any]] = []
    for item in new:
        masked = type(item) is Rows
        found = [next(queue) if masked else next(queue).unsqueeze(1) for _ in tensors_of([item])]
        mask = found.pop() if masked else None
        by_turn.append((found, mask))
    turns = next(_shape(mask)[0] for _, mask in by_turn if mask is not None)
    always = wrap(builder.constant(True, core.bool, (turns, 1)))
    columns = [*zip(*(found for found, _ in by_turn)), [always if mask is None else mask for _, mask in by_turn]]
    flat = [_cat(part, 1).flatten(0, 1) for part in columns]
    first = new[0].like if type(new[0]) is Rows else new[0]
    return Rows(first, flat[:-1], flat[-1])


def present(builder: CaptureBuilder, rows: Rows) -> Rows:
    """The rows that are items of the list, and no others: from now on, unless a branch or loop asks."""
    if rows.mask is None:
        return rows
    stacks = [stack[rows.mask] for stack in rows.stacks]
    for stack, whole in zip(stacks, rows.stacks):
        if builder.regions:
            builder.aliases.lend(stack, [whole], True)
        else:
            builder.aliases.inherit(stack, whole)
    if builder.regions:
        return Rows(rows.like, stacks)
    rows.stacks, rows.mask = stacks, None
    return rows
