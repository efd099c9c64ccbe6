"""A line search for the strong Wolfe conditions: bracketing, then cubic interpolation (Nocedal and Wright 2006, ch. 3)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from .. import _core as core

Tensor = core.Tensor


class Point(NamedTuple):
    """A point on the line."""

    length: float
    loss: float
    gradient: Tensor
    slope: float  # of the loss along the line


def cubic_minimum(a: Point, b: Point, low: float, high: float) -> float:
    """Where the cubic through two points with their slopes is least, kept between low and high."""
    a, b = (a, b) if a.length <= b.length else (b, a)
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.length - b.length)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return (low + high) / 2
    d2 = math.sqrt(square)
    at = b.length - (b.length - a.length) * ((b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2))
    return min(max(at, low), high)


def strong_wolfe(
    evaluate: Callable[[float], Point],
    start: Point,
    length: float,
    direction: Tensor,
    c1: float = 1e-4,
    c2: float = 0.9,
    tolerance: float = 1e-9,
    limit: int = 25,
) -> Point:
    """A point with sufficient decrease (c1) and a small slope (c2); the best one seen where none is found.

    Args:
        evaluate: the point at a length.
        start: the point at length 0, with a negative slope; length: the first one tried.
        direction: the line's; tolerance: brackets shorter than this end the search; limit: of evaluations.
    """
    norm = float(direction.abs().max())

    def too_high(point: Point) -> bool:
        return point.loss > start.loss + c1 * point.length * start.slope

    previous, point = start, evaluate(length)
    turns = 0
    bracket: list[Point] = []
    while turns < limit:
        if too_high(point) or (turns > 1 and point.loss >= previous.loss):
            bracket = [previous, point]
            break
        if abs(point.slope) <= -c2 * start.slope:
            return point
        if point.slope >= 0:
            bracket = [previous, point]
            break
        low, high = point.length + 0.01 * (point.length - previous.length), point.length * 10
        following = cubic_minimum(previous, point, low, high)
        previous, point = point, evaluate(following)
        turns += 1
    if not bracket:
        bracket = [start, point]
    return _zoom(evaluate, start, bracket, turns, norm, too_high, c2, tolerance, limit)


def _zoom(
    evaluate: Callable[[float], Point],
    start: Point,
    bracket: list[Point],
    turns: int,
    norm: float,
    too_high: Callable[[Point], bool],
    c2: float,
    tolerance: float,
    limit: int,
) -> Point:
    """Shrinks a bracket until a point in it fulfils the conditions."""
    best, other = sorted(bracket, key=lambda p: p.loss)
    stalled = False
    while turns < limit:
        ends = sorted((best.length, other.length))
        if (ends[1] - ends[0]) * norm < tolerance:
            break
        length = cubic_minimum(best, other, *ends)
        margin = 0.1 * (ends[1] - ends[0])
        if min(ends[1] - length, length - ends[0]) < margin:  # hardly away from an end: once is an accident
            if stalled or length >= ends[1] or length <= ends[0]:
                length = ends[1] - margin if abs(length - ends[1]) < abs(length - ends[0]) else ends[0] + margin
                stalled = False
            else:
                stalled = True
        else:
            stalled = False
        point = evaluate(length)
        turns += 1
        if too_high(point) or point.loss >= best.loss:
            other = point
            best, other = (best, other) if best.loss <= other.loss else (other, best)
            continue
        if abs(point.slope) <= -c2 * start.slope:
            return point
        if point.slope * (other.length - best.length) >= 0:
            other = best
        best = point
    return best
