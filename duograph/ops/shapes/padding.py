"""Padding: what is put around a tensor's elements."""

from __future__ import annotations

from math import copysign
from typing import TYPE_CHECKING, Any

from duograph.errors import ArgumentError, ShapeError
from duograph.ir.dim import maximum as greater

from ..definition import MOVEMENT, function, op
from ..elementwise.choice import clamp, where
from ..reduction.extrema import positions
from ..selection.indexing import take_along
from ..tracing import emit, require, user_operator
from .creation import full
from .slicing import slice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duograph._core import Tensor

    from ..definition import Integers, Number, Sizes


def _np_pad(np: Any, x: Any, pad: Any, mode: str = "constant", value: float = 0) -> Any:
    pairs = [(0, 0)] * x.ndim
    for i in range(len(pad) // 2):
        low, high = pad[2 * i], pad[2 * i + 1]
        cut = [np.s_[:]] * x.ndim
        cut[-1 - i] = np.s_[max(-low, 0) : x.shape[-1 - i] - max(-high, 0)]
        x = x[tuple(cut)]
        pairs[-1 - i] = (max(low, 0), max(high, 0))
    how = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}[mode]
    return np.pad(x, pairs, how, **({"constant_values": value} if mode == "constant" else {}))


def _pad_samples(m: Any) -> Any:
    calls: list[Any] = [(m(3, 4), (1, 2)), (m(3, 4), (0, 1, 2, 0)), (m(5), (-1, 2)), (m(0, 2), (1, 1))]
    calls.append((m(2, 3), (1, 0), "constant", 2))
    for mode in ("reflect", "replicate", "circular"):
        calls += [(m(2, 4, 5), (2, 1), mode), (m(2, 3, 4, 3), (1, 2, 2, 1), mode)]
    return calls


@op(kind=MOVEMENT, method=False, public=False, functional=True, samples=_pad_samples, reference=_np_pad)
def pad(x: Tensor, pad: Integers, mode: str = "constant", value: Number = 0) -> Tensor:
    """More elements around x: pairs of how many in front and behind, last dimension first; negative ones cut.

    What is put there: a value ("constant"), or x mirrored without its edge ("reflect"), its edge ("replicate"), or x
    from its other side ("circular").

    Shapes:   x [*S] → [*S with more at the last dimensions]
    Dtypes:   kept
    Gradient: to x, added up where it is repeated
    Errors:   ArgumentError for an odd number of sizes, too many or another mode; ShapeError for more than x has
    Source:   torch.nn.functional.pad

    >>> dg.nn.functional.pad(tensor([1, 2]), (1, 2))
    tensor([0, 1, 2, 0, 0])
    """
    name, rank = user_operator("pad"), len(x.shape)
    if len(pad) % 2 or len(pad) > 2 * rank:
        raise ArgumentError(f"{name}: {len(pad)} sizes for {rank} dimensions", hint="two for each dimension, the last one first")
    pairs = [(rank - 1 - i, pad[2 * i], pad[2 * i + 1]) for i in range(len(pad) // 2)]
    if mode == "constant":
        return _constant_pad(name, x, pairs, value)
    if mode not in ("reflect", "replicate", "circular"):
        raise ArgumentError(f"{name}: mode must be constant, reflect, replicate or circular, got {mode!r}")
    made = x
    for d, low, high in pairs:
        made = take_along(made, _source_index(name, mode, x.shape[d], low, high), d)
    return made


@op(
    kind=MOVEMENT,
    lowers=True,
    method=False,
    public=False,
    samples=lambda m: [(m(3, 4), (0, 1), (2, 0)), (m(3), (2,), (1,)), (m(0, 2), (1, 0), (0, 1))],
    reference=lambda np, x, low, high: np.pad(x, list(zip(low, high))),
)
def zero_pad(x: Tensor, low: Sizes, high: Sizes) -> Tensor:
    """x with zeros around it: how many in front of and behind each dimension.

    Shapes:   x [*S] → [*(low + S + high)]
    Dtypes:   kept
    Gradient: cut out
    Errors:   none
    Source:   numpy.pad

    >>> dg.ops.zero_pad(tensor([1]), (1,), (2,))
    tensor([0, 1, 0, 0])
    """
    shape = tuple(a + size + b for a, size, b in zip(low, x.shape, high))
    return emit("pad", [x], x.dtype, shape, low=tuple(low), high=tuple(high))


@zero_pad.vjp
def _(g: Any, out: Any, x: Any, low: Any, high: Any) -> Any:
    for d, size in enumerate(x.shape):
        g = slice(g, d, low[d], low[d] + size)
    return g


def _constant_pad(name: str, x: Any, pairs: Sequence[tuple[int, Any, Any]], value: Any) -> Tensor:
    rank = len(x.shape)
    for d, low, high in pairs:
        cut = greater(-low, 0) + greater(-high, 0)
        require("le", cut, x.shape[d], ShapeError, f"{name}: a padding of {low} and {high} cuts more than the size {x.shape[d]}")
        x = slice(x, d, greater(-low, 0), x.shape[d] - greater(-high, 0))
    lows: list[Any] = [0] * rank
    highs: list[Any] = [0] * rank
    for d, low, high in pairs:
        lows[d], highs[d] = greater(low, 0), greater(high, 0)
    made = zero_pad(x, tuple(lows), tuple(highs))
    if isinstance(value, int | float) and value == 0 and copysign(1, value) > 0:
        return made
    inside: Any = None
    for d, _, _ in pairs:
        at = positions(made, d)
        here = (at >= lows[d]) & (at < lows[d] + x.shape[d])
        inside = here if inside is None else inside & here
    return made if inside is None else where(inside, made, full((), value, x.dtype))


def _source_index(name: str, mode: str, size: Any, low: Any, high: Any) -> Any:
    """Which element stands at each place of a padded dimension."""
    from .creation import iota

    limit = {"reflect": size - 1, "circular": size}.get(mode)
    for given in (low, high):
        if limit is not None:
            message = f"{name}: {given} elements of {mode} padding need more than the size {size}"
            require("le", given, limit, ShapeError, message)
    require("le", 1, size, ShapeError, f"{name}: {mode} padding of a dimension of size 0")
    place: Any = iota(low + size + high) - low
    if mode == "replicate":
        return clamp(place, 0, size - 1)
    if mode == "circular":
        return place % size
    place = where(place < 0, -place, place)
    return where(place > size - 1, 2 * (size - 1) - place, place)


_padded = pad  # the parameter of the next one has its name


@function(method=False, samples=lambda m: [(m(2, 3), (1, 2)), (m(3), (0, 1), 2)])
def constant_pad_nd(x: Tensor, pad: Sequence[int], value: float = 0) -> Tensor:
    """A constant around x: `nn.functional.pad`.

    Shapes:   x [*S] → [*S with more at the last dimensions]
    Dtypes:   kept
    Gradient: cut out
    Errors:   ArgumentError for an odd number of sizes or too many
    Source:   torch.constant_pad_nd

    >>> constant_pad_nd(tensor([1, 2]), (1, 0), 7)
    tensor([7, 1, 2])
    """
    return _padded(x, tuple(pad), "constant", value)
