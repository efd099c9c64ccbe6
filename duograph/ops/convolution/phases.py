"""Transposed convolutions by phases: the elements of a result whose places leave one remainder of the stride.

Each phase is a convolution of its own, with every stride-th tap of the kernel and a stride of 1. Everything is per
dimension, for any number of them.
"""

from __future__ import annotations

from itertools import product as combinations
from math import gcd
from typing import TYPE_CHECKING, Any, NamedTuple

from duograph.ir.dim import ceildiv, product
from duograph.ir.dim import maximum as greater

from ..shapes.affine_views import affine_view
from ..shapes.creation import zeros_like
from ..shapes.joining import cat
from ..shapes.movement import reshape
from ..shapes.padding import zero_pad
from ..shapes.permuting import permute
from ..shapes.view_forms import part
from .windows import identity

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from duograph._core import Tensor

    from .geometry import Numbers

# Up to so many phases are products of their own; more are one, of taps filled up with zeros.
MOST_PHASES = 8


class Phase(NamedTuple):
    """Along one dimension: the elements j of a transposed convolution's result with j % stride the same.

    Element number q of them, counted from 0, is reached by the taps first + step · t from the places q + shift - t · back.
    `taps` is 0 where no tap reaches any.
    """

    first: int
    step: int
    taps: Any
    shift: int
    back: int


def phases(kernel: Any, stride: int, dilation: int) -> list[Phase]:
    """One for each remainder j % stride; j counts from the first element that padding may have cut off."""
    shared = gcd(stride, dilation)
    step, back = stride // shared, dilation // shared
    found = []
    for remainder in range(stride):
        if remainder % shared:
            found.append(Phase(0, step, 0, 0, back))
            continue
        first = remainder // shared * pow(back, -1, step) % step if step > 1 else 0
        taps = greater(ceildiv(kernel - first, step), 0) if first else ceildiv(kernel, step)
        found.append(Phase(first, step, taps, (remainder - first * dilation) // stride, back))
    return found


class Spread(NamedTuple):
    """Along one dimension: which elements of a transposed convolution's result are computed, in rounds of all phases.

    start   the first round; rounds: how many
    front, behind   the zeros that the given tensor needs around it
    """

    start: Any
    rounds: Any
    front: Any
    behind: Any


def spread(count: Any, kernel: Any, low: Any, size: Any, stride: int, dilation: int) -> Spread:
    """For `size` elements from `low` on, made of `count` elements `stride` apart."""
    start, end = low // stride, ceildiv(low + size, stride)
    front = greater((kernel - 1) * dilation // stride - start, 0)
    return Spread(start, end - start, front, greater(end - count, 0))


def reached(u: Any, places: Sequence[Spread], chosen: Sequence[Phase]) -> Tensor:
    """The padded u [*B, *S] as [*B, *rounds, *taps]: what the taps of a phase see from each element of the result."""
    dims = len(chosen)
    batch = len(u.shape) - dims
    shape = (*u.shape[:batch], *(place.rounds for place in places), *(phase.taps for phase in chosen))
    rows = identity(batch, len(shape))
    offsets: list[Any] = [0] * batch
    for d, (place, phase) in enumerate(zip(places, chosen)):
        row = [0] * len(shape)
        row[batch + d], row[batch + dims + d] = 1, -phase.back
        rows.append(row)
        offsets.append(place.front + place.start + phase.shift)
    return affine_view(u, shape, offsets, rows, False)


def taps_of(weight: Any, first: int, chosen: Sequence[Phase]) -> Tensor:
    """weight's taps of a phase; its dimensions from number `first` on are taps."""
    if all(phase.step == 1 for phase in chosen):
        return weight  # type: ignore[no-any-return]
    rank = len(weight.shape)
    last = first + len(chosen)
    shape = (*weight.shape[:first], *(phase.taps for phase in chosen), *weight.shape[last:])
    rows = identity(rank, rank)
    for d, phase in enumerate(chosen):
        rows[first + d][first + d] = phase.step
    offsets = [*([0] * first), *(phase.first for phase in chosen), *([0] * (rank - last))]
    return affine_view(weight, shape, offsets, rows, True)


def divided_taps(weight: Any, first: int, filled: Sequence[Phase], stride: Numbers) -> Tensor:
    """weight [*A, *K, *B] as [*A, *taps, *B, *stride], filled up with zeros to a multiple of the stride."""
    dims, rank = len(stride), len(weight.shape)
    kernel = weight.shape[first : first + dims]
    more = [phase.taps * step - size for phase, size, step in zip(filled, kernel, stride)]
    if not all(isinstance(n, int) and n == 0 for n in more):
        weight = zero_pad(weight, (0,) * rank, (*([0] * first), *more, *([0] * (rank - first - dims))))
    shape = (*weight.shape[:first], *(phase.taps for phase in filled), *weight.shape[first + dims :], *stride)
    rows = identity(rank, len(shape))
    for d, step in enumerate(stride):
        rows[first + d][first + d], rows[first + d][rank + d] = step, 1
    return affine_view(weight, shape, [0] * rank, rows, True)


def gathered_back(
    g: Any,
    kernel: Sequence[Any],
    low: Sequence[Any],
    sizes: Sequence[Any],
    stride: Numbers,
    dilation: Numbers,
    of_phase: Callable[[Any, Sequence[Spread], Sequence[Phase]], Any],
    of_all: Callable[[Any, Sequence[Spread], Sequence[Phase]], Any],
    most: int = MOST_PHASES,
    pads: bool = True,
) -> Any:
    """[*B, *sizes] of g [*B, *counts], by `of_phase` [*B, *rounds] or, from many phases on, `of_all` [*B, *rounds, *stride].

    Both are given the padded g (without `pads`, g as it is), its `Spread`s and which taps: of `of_all` those of a kernel that
    a stride divides.
    """
    dims = len(stride)
    batch = len(g.shape) - dims
    places = [spread(*along) for along in zip(g.shape[batch:], kernel, low, sizes, stride, dilation)]
    each = [phases(*along) for along in zip(kernel, stride, dilation)]

    def padded(places: Sequence[Spread]) -> Any:
        ends = [[*([0] * batch), *(getattr(place, end) for place in places)] for end in ("front", "behind")]
        return zero_pad(g, *map(tuple, ends)) if pads else g

    if all(step == 1 for step in stride):
        return of_phase(padded(places), places, [along[0] for along in each])
    starts = [front - place.start * step for front, place, step in zip(low, places, stride)]
    if product(stride) > most and all(hole == 1 for hole in dilation):
        filled = [Phase(0, 1, ceildiv(size, step), 0, 1) for size, step in zip(kernel, stride)]
        return _cut(_in_turn(of_all(padded(places), places, filled), dims), starts, sizes, stride)
    turns = [_turns(*along) for along in zip(places, g.shape[batch:], low, sizes, stride)]
    given = padded([along[0].place for along in turns])
    found: list[Any] = []
    for numbered in combinations(*turns):
        chosen = [each[d][turn.phase] for d, turn in enumerate(numbered)]
        none = any(isinstance(phase.taps, int) and phase.taps == 0 for phase in chosen)
        found.append(None if none else of_phase(given, [turn.place for turn in numbered], chosen))
    some = next(made for made in found if made is not None)
    made = _woven([zeros_like(some) if made is None else made for made in found], stride)
    known = [isinstance(front, int) for front in low]
    return _cut(made, [0 if is_known else start for is_known, start in zip(known, starts)], sizes, stride)


class _Turn(NamedTuple):
    """Along one dimension: every stride-th element of the result, as the phase that they are of, and where they lie."""

    phase: int
    place: Spread


def _turns(place: Spread, count: Any, low: Any, size: Any, stride: int) -> list[_Turn]:
    """One for each of the first elements: of the result, if it is known which phase begins, else of the first round."""
    if not isinstance(low, int):
        return [_Turn(phase, place) for phase in range(stride)]
    rounds = ceildiv(size, stride)
    place = place._replace(rounds=rounds, behind=greater((low + stride - 1) // stride + rounds - count, 0))
    return [_Turn(first % stride, place._replace(start=first // stride)) for first in range(low, low + stride)]


def _woven(parts: list[Any], stride: Numbers) -> Any:
    """[*B, rounds, stride, rounds, stride …] of the phases' results [*B, *rounds], the last dimension's fastest."""
    dims = len(stride)
    batch = len(parts[0].shape) - dims
    parts = [reshape(x, *x.shape[:batch], *(size for count in x.shape[batch:] for size in (count, 1))) for x in parts]
    for d in range(dims - 1, -1, -1):
        step = stride[d]
        if step > 1:
            parts = [cat(parts[i : i + step], batch + 2 * d + 1) for i in range(0, len(parts), step)]
    return parts[0]


def _in_turn(made: Any, dims: int) -> Any:
    """The same of [*B, *rounds, *stride]."""
    batch = len(made.shape) - 2 * dims
    return permute(made, *range(batch), *(batch + d + half * dims for d in range(dims) for half in (0, 1)))


def _cut(made: Any, starts: Sequence[Any], sizes: Sequence[Any], stride: Numbers) -> Any:
    """[*B, *sizes] of [*B, rounds, stride, rounds, stride …], from these places on."""
    dims = len(stride)
    batch = len(made.shape) - 2 * dims
    made = reshape(made, *made.shape[:batch], *(made.shape[batch + 2 * d] * step for d, step in enumerate(stride)))
    return part(made, (*([0] * batch), *starts), (1,) * (batch + dims), (*made.shape[:batch], *sizes))
