"""Operators that pick boxes."""

from __future__ import annotations

from typing import Any

import numpy as np

import duograph as dg
from duograph._recorded import callee

from .. import followed
from .definition import Tensor, operator


def _number(value: Any) -> Any:
    if value is None:
        return None
    return value.reshape(()) if isinstance(value, dg.Tensor) else np.asarray(value).reshape(-1).tolist()[0]


@operator("NonMaxSuppression", since=10)
def non_max_suppression(
    boxes: Tensor, scores: Tensor, most: Any = None, overlap: Any = None, least: Any = None, *, center_point_box: int = 0
) -> Tensor:
    """The boxes that are kept, [n, 3]: example, class, box. Of each class the best first."""
    examples, classes, count = scores.shape
    limit, most = _number(overlap), _number(most)
    limit = 0.0 if limit is None else limit
    most = 0 if most is None else most
    alone = _overlaps(boxes, center_point_box) <= limit  # [examples, boxes, boxes]
    order = dg.argsort(scores, -1, descending=True, stable=True)
    ranked = dg.gather(scores, 2, order)
    possible = dg.ones_like(ranked, dtype=dg.bool) if least is None else ranked > _number(least)
    rows = dg.gather(
        alone.unsqueeze(1).expand(examples, classes, count, count), 2, order.unsqueeze(-1).expand(*order.shape, count)
    )
    pairs = dg.gather(rows, 3, order.unsqueeze(2).expand(*order.shape, count))  # by rank on both sides

    def test(values: Any) -> Any:
        return values[0] < count

    def turn(values: Any) -> Any:
        at, kept, taken = values
        here = at.reshape(1)
        free = dg.index_select(pairs, 2, here).squeeze(2) | ~kept
        mine = dg.index_select(possible, 2, here).squeeze(2) & free.all(-1) & (taken < most)
        spot = (dg.arange(count) == at) & mine.unsqueeze(-1)
        return at + 1, kept | spot, taken + mine.to(dg.int64)

    start = (dg.zeros((), dtype=dg.int64), dg.zeros_like(possible), dg.zeros(examples, classes, dtype=dg.int64))
    _, kept, _ = callee(followed.loop)(test, turn, start)
    found = kept.nonzero()
    example, kind, rank = found[:, 0], found[:, 1], found[:, 2]
    return dg.stack([example, kind, order[example, kind, rank]], 1)


def _overlaps(boxes: Tensor, by_centre: int) -> Tensor:
    """How much any two boxes of an example have in common, of what they cover together."""
    a, b, c, d = [boxes[..., i] for i in range(4)]
    if by_centre:
        left, right, top, bottom = a - c / 2, a + c / 2, b - d / 2, b + d / 2
    else:
        top, bottom, left, right = dg.minimum(a, c), dg.maximum(a, c), dg.minimum(b, d), dg.maximum(b, d)
    area = (right - left) * (bottom - top)
    width = dg.minimum(right.unsqueeze(2), right.unsqueeze(1)) - dg.maximum(left.unsqueeze(2), left.unsqueeze(1))
    height = dg.minimum(bottom.unsqueeze(2), bottom.unsqueeze(1)) - dg.maximum(top.unsqueeze(2), top.unsqueeze(1))
    shared = dg.clamp(width, 0) * dg.clamp(height, 0)
    together = area.unsqueeze(2) + area.unsqueeze(1) - shared
    return dg.where(together > 0, shared / together, dg.zeros_like(shared))
