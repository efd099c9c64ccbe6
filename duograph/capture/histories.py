"""Views and the tape during a capture: a write through a view changes its base's history, and by that all other views'.

The index maps of views are replayed as recorded operators, so gradients of any order come out as in dynamic mode.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.ir.builder import current
from duograph.ir.types import TensorType
from duograph.ops.affine_views import places, put_back
from duograph.ops.indexing import index
from duograph.ops.movement import broadcast_to, reshape
from duograph.ops.permuting import permute
from duograph.ops.rows import row, row_put
from duograph.ops.slicing import slice as slice_
from duograph.ops.slicing import slice_put
from duograph.ops.tracing import wrap

from .cells import Step, View

if TYPE_CHECKING:
    from .builder import CaptureBuilder

Move = tuple[str, tuple[Any, ...]]


def moves(chain: tuple[Step, ...]) -> Iterator[Move]:
    """The steps of a view as operators with their arguments; slices one dimension at a time."""
    for step in chain:
        after: tuple[Any, ...] = step.after.shape
        if step.op == "slice":
            for dim, (start, by) in enumerate(zip(step.attrs["starts"], step.attrs["steps"])):
                if start != 0 or by != 1 or after[dim] != step.before.shape[dim]:
                    yield "slice", (dim, start, start + (after[dim] - 1) * by + 1 if after[dim] else start, by)
        elif step.op == "row":
            yield "row", (step.attrs["index"],)
        elif step.op == "affine":
            yield "affine", (after, step.attrs["offsets"], step.attrs["coefficients"], step.attrs["distinct"])
        elif step.op == "permute":
            yield "permute", (step.attrs["dims"],)
        else:
            yield step.op, (after,)


def down(move: Move, tensor: Any) -> Any:
    """The part of `tensor` that a move leads to."""
    name, args = move
    if name == "slice":
        return slice_(tensor, *args)
    if name == "row":
        return row(tensor, wrap(args[0]))
    if name == "affine":
        return reshape(index(reshape(tensor, (-1,)), [_places(tensor, args)], (0,)), args[0])
    if name == "permute":
        return permute(tensor, args[0])
    return reshape(tensor, args[0]) if name == "reshape" else broadcast_to(tensor, args[0])


def _places(whole: Any, args: tuple[Any, ...]) -> Any:
    return places(whole, lambda x: _affine(x, args))


def _affine(x: Any, args: tuple[Any, ...]) -> Any:
    shape, offsets, coefficients, distinct = args
    attrs = {"offsets": offsets, "coefficients": coefficients, "distinct": distinct}
    return wrap(current().emit("affine", [current().read(x)], attrs, [TensorType(x.dtype, shape)])[0])


def up(move: Move, whole: Any, part: Any) -> Any:
    """`whole` after `part` was written through the move."""
    name, args = move
    if name == "slice":
        return slice_put(whole, part, *args)
    if name == "row":
        return row_put(whole, wrap(args[0]), part)
    if name == "affine":
        return put_back(whole, part, lambda x: _affine(x, args))
    if name == "permute":
        return permute(part, tuple(sorted(range(len(args[0])), key=args[0].__getitem__)))
    return reshape(part, tuple(whole.shape))


def _path(builder: CaptureBuilder, tensor: Any, view: View) -> list[Move]:
    """From the tensor's base to the tensor."""
    return list(moves(view.chain[len(builder.view_of(tensor._base).chain) :]))


def view_written(target: Any, written: Any) -> None:
    """Hook of the core: `target`, a view, now holds `written`, which has a history: its base gets it too."""
    from .builder import CaptureBuilder

    builder = current()
    assert isinstance(builder, CaptureBuilder)
    view = builder.view_of(target)
    path = _path(builder, target, view)
    levels = [target._base]
    for move in path[:-1]:
        levels.append(down(move, levels[-1]))
    result = written
    for move, whole in zip(reversed(path), reversed(levels)):
        result = up(move, whole, result)
    core.rebase(target._base, result)
    builder.note_view(view)
    view.history = -1


def refresh(builder: CaptureBuilder, tensor: Any, view: View) -> None:
    """A view whose memory was written since it was made gets the history it has now: its base's."""
    builder.note_view(view)
    view.history = view.cell.version
    base = tensor._base
    if not (base.requires_grad or tensor.requires_grad):
        return
    old = core.set_grad_enabled(True)
    try:
        for move in _path(builder, tensor, view):
            base = down(move, base)
    finally:
        core.set_grad_enabled(old)
    core.rebase(tensor, base)
