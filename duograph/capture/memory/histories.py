"""Views and the tape during a capture: a write through a view changes its base's history, and by that all other views'.

The index maps of views are replayed as recorded operators, so gradients of any order come out as in dynamic mode.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.ir.builder import active, current
from duograph.ir.graph import Value
from duograph.ops.selection.rows import row_put
from duograph.ops.shapes.affine_views import put_back
from duograph.ops.shapes.movement import broadcast_to, reshape
from duograph.ops.shapes.permuting import permute
from duograph.ops.shapes.view_forms import affine, part, part_put
from duograph.ops.tracing import wrap
from duograph.tensors.indexing import row_view

from .cells import Step, View

if TYPE_CHECKING:
    from ..builder import CaptureBuilder

Move = tuple[str, tuple[Any, ...]]


def moves(chain: tuple[Step, ...]) -> Iterator[Move]:
    """The steps of a view as operators with their arguments."""
    for step in chain:
        after: tuple[Any, ...] = step.after.shape
        if step.op == "slice":
            yield "part", (step.attrs["starts"], step.attrs["steps"], after)
        elif step.op == "row":
            yield "row", (step.attrs["index"],)
        elif step.op == "affine":
            yield "affine", (after, step.attrs["offsets"], step.attrs["coefficients"], step.attrs["distinct"])
        elif step.op == "permute":
            yield "permute", (step.attrs["dims"],)
        else:
            yield step.op, (after,)


def shortened(way: Sequence[Move]) -> tuple[Move, ...]:
    """The way without what later moves take back: dimensions exchanged twice, a shape that is written in another one."""
    made: list[Move] = []
    for name, args in way:
        if made and name == made[-1][0] == "permute":
            (before,) = made.pop()[1]
            args = (tuple(before[d] for d in args[0]),)
        elif made and name == made[-1][0] == "reshape":
            made.pop()
        if name != "permute" or args[0] != tuple(range(len(args[0]))):
            made.append((name, args))
    return tuple(made)


@contextmanager
def _trusting() -> Iterator[None]:
    """Nothing is asked of sizes in a capture: it was, when the view was made first."""
    builder: Any = current() if active() else None
    if builder is not None:
        builder.trusting = True
    try:
        yield
    finally:
        if builder is not None:
            builder.trusting = False


def down(move: Move, tensor: Any) -> Any:
    """The part of `tensor` that a move leads to."""
    name, args = move
    if name == "part":
        with _trusting():
            return part(tensor, *args)
    if name == "row":
        return row_view(tensor, wrap(args[0]))
    if name == "affine":
        with _trusting():
            return affine(tensor, *args)
    if name == "permute":
        return permute(tensor, args[0])
    return reshape(tensor, args[0]) if name == "reshape" else broadcast_to(tensor, args[0])


def up(move: Move, whole: Any, written: Any) -> Any:
    """`whole` after `written` was written through the move."""
    name, args = move
    if name == "part":
        with _trusting():
            return part_put(whole, written, *args[:2])
    if name == "row":
        return row_put(whole, wrap(args[0]), written)
    if name == "affine":
        with _trusting():
            return put_back(whole, written, lambda tensor: affine(tensor, *args))
    if name == "permute":
        return permute(written, tuple(sorted(range(len(args[0])), key=args[0].__getitem__)))
    return reshape(written, tuple(whole.shape))


def _path(builder: CaptureBuilder, tensor: Any, view: View) -> list[Move]:
    """From the tensor's base to the tensor."""
    return list(moves(view.chain[len(builder.view_of(builder.base_of(tensor)).chain) :]))


def view_written(target: Any, written: Any) -> None:
    """Hook of the core: `target`, a view, now holds `written`, which has a history: its base gets it too."""
    from ..builder import CaptureBuilder

    builder = current()
    assert isinstance(builder, CaptureBuilder)
    view = builder.view_of(target)
    path = _path(builder, target, view)
    base = builder.base_of(target)
    levels = [base]
    for move in path[:-1]:
        levels.append(down(move, levels[-1]))
    result = written
    for move, whole in zip(reversed(path), reversed(levels)):
        result = up(move, whole, result)
    core.rebase(base, result)
    refresh(builder, target, view)  # at once, as in dynamic mode: other views when they are used again


def refresh(builder: CaptureBuilder, tensor: Any, view: View) -> None:
    """A view whose memory was written since it was made gets the history it has now: its base's; perhaps on some ways only."""
    written = builder.aliases.written_since(view.cell, view.history)
    builder.note_view(view)
    view.history = view.cell.version
    base = builder.base_of(tensor)
    if not (base.requires_grad or tensor.requires_grad):
        return
    old = core.set_grad_enabled(True)
    try:
        for move in _path(builder, tensor, view):
            base = down(move, base)
        if isinstance(written, Value) and builder.aliases.shared.on():
            base = builder.aliases.shared.chosen(written, base, tensor)
        base = builder.first_reads.chosen(tensor, view, base)
    finally:
        core.set_grad_enabled(old)
    core.rebase(tensor, base)


def refresh_for_all(builder: CaptureBuilder, tensor: Any, view: View) -> None:
    """The same before the branches and loops in which its memory is not written: it has one place on the tape for all of them."""
    regions = builder.regions
    count = next((i for i in range(len(regions), 0, -1) if regions[i - 1].changes(view.cell)), 0)
    before = view.history
    with builder.outside(count):
        refresh(builder, tensor, view)
        view.current(builder)
    for region in regions[count:]:
        region.keep_history(view)
    if len(regions) > count:
        builder.first_reads.note(view, before, count)
