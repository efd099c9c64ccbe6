"""Gradients through views and writes to views, made of operators: what `create_graph` records instead of the core's own."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from .shapes.affine_views import added_back, put_back, strided
from .shapes.creation import full
from .shapes.movement import reshape

if TYPE_CHECKING:
    from collections.abc import Callable

    from duograph._core import Tensor

Layout = tuple[tuple[int, ...], tuple[int, ...], int]  # sizes, strides, offset within the base's memory


def _cells(layout: Layout) -> int:
    """How many elements of memory a tensor reaches over, from its first to its last."""
    sizes, strides, _ = layout
    return 0 if 0 in sizes else 1 + sum((n - 1) * step for n, step in zip(sizes, strides))


def _row_major(layout: Layout) -> bool:
    step = 1
    for size, stride in zip(reversed(layout[0]), reversed(layout[1])):
        if size != 1 and stride != step:
            return False
        step *= size
    return True


def _image(whole: Tensor, base: Layout) -> Tensor:
    """A tensor of the base's shape as one row, laid out as the base's memory is."""
    if _row_major(base):
        return reshape(whole, (whole.numel(),))
    empty = full((_cells(base),), 0, whole.dtype)
    return put_back(empty, whole, lambda of: strided(of, base[0], base[1], 0))


def _shown(image: Tensor, base: Layout) -> Tensor:
    return reshape(image, base[0]) if _row_major(base) else strided(image, base[0], base[1], 0)


def region_gradient(grad: Tensor, base: Layout, view: Layout, overlaps: bool) -> Tensor:
    """Of the base, from that of a view: zeros elsewhere, added up where the view shows a place several times."""
    repeats = math.prod(n for n, step in zip(base[0], base[1]) if step == 0 and n > 1)
    image = full((_cells(base),), 0, grad.dtype)
    into = added_back if overlaps else lambda g, of, show: put_back(of, g, show)
    found = _shown(into(grad, image, lambda of: strided(of, *view)), base)
    return found if repeats == 1 else found / repeats  # the elements that show one place share its gradient


def region_taken(whole: Tensor, base: Layout, view: Layout) -> Tensor:
    """The part of a gradient of the base that belongs to a view."""
    return strided(_image(whole, base), *view)


def region_replaced(whole: Tensor, part: Tensor | None, base: Layout, view: Layout) -> Tensor:
    """A gradient of the base with the view's part replaced; by zeros if none is given."""
    part = full(view[0], 0, whole.dtype) if part is None else part
    return _shown(put_back(_image(whole, base), part, lambda of: strided(of, *view)), base)


def view_gradient(task: str, *args: Any) -> Tensor:
    """Hook of the core, which knows the layouts."""
    tasks: dict[str, Callable[..., Tensor]]
    tasks = {"gradient": region_gradient, "taken": region_taken, "replaced": region_replaced}
    return tasks[task](*args)


__all__ = ["view_gradient"]
