"""Operators that pick boxes."""

from __future__ import annotations

import math
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
    """The boxes that are kept, [n, 3]: example, class, box. Of each class the best first.

    Each turn keeps the best box that every class of every example has left, and drops those that overlap it.
    """
    limit, most = _number(overlap), _number(most)
    limit = 0.0 if limit is None else limit
    most = 0 if most is None else most
    edges = _edges(boxes, center_point_box)
    area = _area(*edges)
    finite = dg.clamp(scores, dg.finfo(scores.dtype).min, None)
    possible = dg.ones_like(scores, dtype=dg.bool) if least is None else scores > _number(least)
    places = dg.arange(scores.shape[-1])

    def test(values: Any) -> Any:
        turns, left = values
        return (turns == 0) | (turns < most) & left.any()  # once at least, as rows are stacked

    def turn(values: Any) -> Any:
        turns, left = values
        best = dg.argmax(dg.where(left, finite, -math.inf), -1)  # [examples, classes]
        some = left.any(-1) & (turns < most)
        mine = [dg.gather(edge, 1, best).unsqueeze(-1) for edge in edges]
        shared = _area(*[keep(own, edge.unsqueeze(1)) for keep, own, edge in zip(_SHARED, mine, edges)])
        together = _area(*mine) + area.unsqueeze(1) - shared
        apart = ~(dg.where(together > 0, shared / together, 0.0) > limit)
        return (turns + 1, left & apart & (places != best.unsqueeze(-1))), [dg.where(some, best, -1)]

    start = (dg.zeros((), dtype=dg.int64), possible)
    rows: list[Any] = []
    callee(followed.loop_with_rows)(test, turn, start, [rows])
    picks = callee(followed.stacked)(rows, dg.int64, tuple(scores.shape[:2])).permute(1, 2, 0)
    found = (picks >= 0).nonzero()
    example, kind, rank = found[:, 0], found[:, 1], found[:, 2]
    return dg.stack([example, kind, picks[example, kind, rank]], 1)


_SHARED = (dg.maximum, dg.minimum, dg.maximum, dg.minimum)


def _edges(boxes: Tensor, by_centre: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Where boxes begin and end in both directions."""
    a, b, c, d = [boxes[..., i] for i in range(4)]
    if by_centre:
        return a - c / 2, a + c / 2, b - d / 2, b + d / 2
    return dg.minimum(a, c), dg.maximum(a, c), dg.minimum(b, d), dg.maximum(b, d)


def _area(low: Tensor, high: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """That of boxes between edges; none where these are the wrong way round."""
    return dg.clamp(high - low, 0) * dg.clamp(last - first, 0)
