"""Connectionist temporal classification: the likelihood of labels, over all ways in which they can lie along time.

A way is a walk over states: blank, first label, blank, second label, …, blank. At each time it stays, goes on by one state, or
by two (from a label to an unlike one). Both recurrences here are loops of one kernel over time, and each is made of
the other when it is differentiated.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import BoundsError, DimensionError, DomainError, DTypeError, ShapeError
from duograph.ir.builder import current
from duograph.ir.dim import product
from duograph.ir.types import TensorType

from ..definition import COMPOSITION, INDEXING, function, op
from ..elementwise.choice import maximum, where
from ..elementwise.unary import exp, log
from ..reduction.extrema import positions
from ..selection.indexing import add_along, gather, take_along
from ..shapes.arranging import flip
from ..shapes.creation import full
from ..shapes.joining import cat
from ..shapes.movement import reshape, unsqueeze
from ..shapes.padding import pad
from ..shapes.slicing import slice
from ..tracing import emit, value_of, wrap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duograph._core import Tensor

    from ..definition import Size

_NAME = "ctc_loss"


def _scan(turns: Any, start: Any, turn: Callable[[Any, Any], tuple[Any, Any]]) -> Any:
    """The rows that `turn(number, carried)` gives beside what the next turn gets, one for each turn."""
    builder = current()
    counter = TensorType(core.int64, (), weak=True)
    first = value_of(start)
    with builder.region([counter, first.type]) as body:
        number, carried = body.inputs
        following = builder.emit("add", [number, builder.constant(1, core.int64)], {}, [counter])[0]
        after, row = turn(wrap(number), wrap(carried))
        body.outputs = [following, value_of(after), value_of(row)]
    count = value_of(turns)
    with builder.region([counter, first.type]) as test:
        test.outputs = builder.emit("lt", [test.inputs[0], count], {}, [TensorType(core.bool)])
    return wrap(builder.while_loop(test, body, [builder.constant(0, core.int64), first], 1, turns)[-1])


def _row(x: Any, number: Any) -> Any:
    return emit("row", [x, number], x.dtype, tuple(x.shape[1:]))


def _later(x: Any, states: int, filler: float) -> Any:
    """x moved by so many states towards the end (or, negative, the start) of its last dimension."""
    return pad(x, (states, -states), "constant", filler) if states else x


def _log_sum(parts: Sequence[Any]) -> Any:
    """log of the sum of exp; -inf of nothing but -inf."""
    greatest = parts[0]
    for part in parts[1:]:
        greatest = maximum(greatest, part)
    shift = where(greatest == -math.inf, 0.0, greatest)
    total = exp(parts[0] - shift)
    for part in parts[1:]:
        total = total + exp(part - shift)
    return log(total) + shift


@op(kind=COMPOSITION, lowers=True, method=False, public=False)
def log_paths(scores: Tensor, skips: Tensor) -> Tensor:
    """For each state and time the log of the sum, over all walks that end there, of exp of the scores on the way.

    Row 0 is before the first time: a walk stands in front of state 0 or 1. `skips`: the states reached from two before.

    Shapes:   scores [t, n, s], skips [n, s] → [t + 1, n, s]
    Dtypes:   floats
    Gradient: to scores
    Errors:   none
    Source:   Graves et al. 2006

    >>> dg.ops.log_paths(dg.zeros(2, 1, 3), tensor([[False, False, False]]))[2]
    tensor([[0.0000, 0.6931, 0.0000]])
    """
    first = where(positions(skips, 1) == 0, full(tuple(skips.shape), 0.0, scores.dtype), -math.inf)

    def turn(number: Any, before: Any) -> tuple[Any, Any]:
        parts = [before, _later(before, 1, -math.inf), where(skips, _later(before, 2, -math.inf), -math.inf)]
        now = _row(scores, number) + _log_sum(parts)
        return now, now

    return cat([unsqueeze(first, 0), _scan(scores.shape[0], first, turn)], 0)


@log_paths.vjp
def _(g: Any, out: Any, scores: Any, skips: Any) -> Any:
    now = slice(out, 0, 1, None)
    reached = now != -math.inf
    shares = []
    for states in (0, 1, 2):
        before = pad(slice(out, 0, 0, -1), (states, -states), "constant", -math.inf)
        share = exp(where(reached, before + scores - now, -math.inf))
        shares.append(where(skips, share, 0.0) if states == 2 else share)
    return walked(slice(g, 0, 1, None), *shares, True), None


@op(kind=COMPOSITION, lowers=True, method=False, public=False)
def walked(sources: Tensor, stay: Tensor, step: Tensor, skip: Tensor, back: bool = False) -> Tensor:
    """y[t, s] = sources[t, s] + stay[t, s]·y[t-1, s] + step[t, s]·y[t-1, s-1] + skip[t, s]·y[t-1, s-2]; `back`: its transpose.

    Shapes:   all [t, n, s]
    Dtypes:   floats
    Gradient: to all
    Errors:   none
    Source:   linear recurrence with a band of three

    >>> one = dg.ones(2, 1, 2)
    >>> dg.ops.walked(one, one, one, one)[1]
    tensor([[2., 3.]])
    """
    turns = sources.shape[0]
    factors = (stay, step, skip)
    nothing = full(tuple(sources.shape[1:]), 0.0, sources.dtype)

    def ahead(number: Any, before: Any) -> tuple[Any, Any]:
        now = _row(sources, number)
        for states, factor in enumerate(factors):
            now = now + _row(factor, number) * _later(before, states, 0.0)
        return now, now

    def behind(number: Any, carried: Any) -> tuple[Any, Any]:
        time = emit("size", [], core.int64, (), value=turns - 1) - number
        now = _row(sources, time) + carried
        earlier = _row(stay, time) * now
        for states, factor in ((1, step), (2, skip)):
            earlier = earlier + _later(_row(factor, time) * now, -states, 0.0)
        return earlier, now

    rows = _scan(turns, nothing, behind if back else ahead)
    return flip(rows, (0,)) if back else rows


@walked.vjp
def _(g: Any, out: Any, sources: Any, stay: Any, step: Any, skip: Any, back: bool) -> Any:
    other = walked(g, stay, step, skip, not back)
    ahead, behind = (other, out) if back else (out, other)
    slopes = []
    for states in (0, 1, 2):
        before = pad(ahead, (states, -states, 0, 0, 1, -1), "constant", 0.0)
        slopes.append(behind * before)
    return other, *slopes


@op(kind=INDEXING, differentiable=False, method=False, public=False)
def label_states(targets: Tensor, lengths: Tensor, classes: Size, blank: int) -> tuple[Tensor, Tensor]:
    """The class of each state of a walk, and whether it is reached from two before.

    Shapes:   targets [n, s], lengths [n] → twice [n, 2 s + 1]
    Dtypes:   integers; int64, bool
    Gradient: none
    Errors:   none
    Source:   Graves et al. 2006

    >>> dg.ops.label_states(tensor([[2, 2, 1]]), tensor([2]), 3, 0)[0]
    tensor([[0, 2, 0, 2, 0, 0, 0]])
    """
    n, width = targets.shape
    inside = positions(targets, 1) < unsqueeze(lengths, 1)
    labels = where(inside, where(targets < 0, classes, targets), blank)  # negative ones are refused as classes out of range
    blanks = full((n, width, 1), blank, core.int64)
    pairs = reshape(cat([blanks, unsqueeze(labels, 2)], 2), (n, width * 2))
    states = cat([pairs, full((n, 1), blank, core.int64)], 1)
    return states, states != _later(states, 2, blank)


def _places(paths: Any, times: Any, states: Any) -> Any:
    """Where paths[times[n], n, states[n]] is among all elements; beyond all of them for what is out of range."""
    rows, n, s = paths.shape
    wrong = (times < 0) | (times >= rows) | (states < 0) | (states >= s)
    return where(wrong, rows * n * s, (times * n + positions(times, 0)) * s + states)


def _ends(paths: Any, times: Any, last: Any) -> list[tuple[Any, Any]]:
    """The two states in which a walk may end: where they are, and the paths to them (-inf to what is not there)."""
    flat = reshape(paths, (product(tuple(paths.shape)),))
    first, second = (_places(paths, times, states) for states in (last, maximum(last - 1, 0)))
    return [(first, take_along(flat, first, 0)), (second, where(last > 0, take_along(flat, second, 0), -math.inf))]


@op(kind=COMPOSITION, lowers=True, method=False, public=False)
def path_ends(paths: Tensor, times: Tensor, last: Tensor) -> Tensor:
    """Minus the log of the sum over both states in which walks may end: `last` and the one before it.

    Shapes:   paths [t + 1, n, s], times and last [n] → [n]
    Dtypes:   floats; int64
    Gradient: to paths; none to impossible ones
    Errors:   BoundsError for times and states out of range
    Source:   Graves et al. 2006

    >>> dg.ops.path_ends(dg.zeros(1, 1, 3), tensor([0]), tensor([2]))
    tensor([-0.6931])
    """
    found: Tensor = -_log_sum([end for _, end in _ends(paths, times, last)])
    return found


@path_ends.vjp
def _(g: Any, out: Any, paths: Any, times: Any, last: Any) -> Any:
    flat = full((product(tuple(paths.shape)),), 0.0, paths.dtype)
    for place, end in _ends(paths, times, last):
        flat = add_along(flat, place, where(end == -math.inf, 0.0, exp(end + out)) * -g, 0)
    return reshape(flat, tuple(paths.shape)), None, None


@op(kind=COMPOSITION, lowers=True, method=False, public=False)
def of_log_softmax(loss: Tensor, log_probs: Tensor, input_lengths: Tensor, zero_infinity: bool = False) -> Tensor:
    """The loss; its gradient is that of log_softmax's operand, which log_softmax hands on as it is, as PyTorch has it.

    Shapes:   loss [n], log_probs [t, n, c], input_lengths [n] → [n]
    Dtypes:   floats; int64
    Gradient: exp(log_probs) up to the lengths; NaN of an infinite loss unless `zero_infinity`
    Errors:   none
    Source:   torch.nn.functional.ctc_loss

    >>> dg.ops.of_log_softmax(tensor([2.0]), dg.zeros(1, 1, 3), tensor([1]))
    tensor([2.])
    """
    return where(loss == math.inf, 0.0, loss) if zero_infinity else emit("copy", [loss], loss.dtype, tuple(loss.shape))


@of_log_softmax.vjp
def _(g: Any, out: Any, loss: Any, log_probs: Any, input_lengths: Any, zero_infinity: bool) -> Any:
    infinite = loss == math.inf
    slope = where(infinite, 0.0 if zero_infinity else math.nan, g)
    inside = positions(log_probs, 0) < reshape(input_lengths, (1, log_probs.shape[1], 1))
    to_log_probs = where(inside, exp(log_probs) * reshape(slope, (1, log_probs.shape[1], 1)), 0.0)
    return where(infinite, 0.0, g) if zero_infinity else g, to_log_probs, None


def _lengths(what: str, given: Any, batch: Any) -> Any:
    """Lengths as a tensor of int64."""
    if not isinstance(given, core.Tensor):
        numbers = [given] if isinstance(given, int) else list(given)
        given = cat([full((1,), number, core.int64) for number in (numbers or [0])])[: len(numbers)]
    if given.dtype.is_floating_point or given.dtype is core.bool:
        raise DTypeError(f"{_NAME}: {what} must be integers, got {given.dtype.name}")
    given = given.reshape(-1)
    if given.shape[0] != batch:
        raise ShapeError(f"{_NAME}: {what} must have {batch} elements, one for each example, got {given.shape[0]}")
    return given.to(core.int64)


def _check_values(what: str, lengths: Any, most: int) -> None:
    """In dynamic mode lengths are looked at; in a static program what is out of range ends the run with an index's error."""
    if core.tracing():
        return
    for length in lengths.tolist():
        if not 0 <= length <= most:
            raise BoundsError(f"{_NAME}: {what} must be between 0 and {most}, got {length}")


def _padded(targets: Any, lengths: Any) -> Any:
    """Targets one after the other as rows."""
    total = targets.shape[0]
    width = total
    if not core.tracing():
        if sum(lengths.tolist()) != total:
            raise ShapeError(f"{_NAME}: targets has {total} elements, target_lengths add up to {sum(lengths.tolist())}")
        width = max(lengths.tolist(), default=0)
    begins = lengths.cumsum(0) - lengths
    place = begins.unsqueeze(1) + full((width,), 1, core.int64).cumsum(0) - 1
    return cat([targets, full((1,), 0, targets.dtype)])[place.clamp(max=total)]


def _targets(targets: Any, lengths: Any, batched: bool) -> Any:
    """Targets as rows of int64, of one element at least."""
    if targets.dim() == 1 and batched:
        made = _padded(targets, lengths)
    elif targets.dim() == (2 if batched else 1):
        made = targets if batched else targets.unsqueeze(0)
    else:
        raise DimensionError(
            f"{_NAME}: targets must have {'1 or 2 dimensions' if batched else '1 dimension'}, got {targets.dim()}"
        )
    if made.shape[0] != lengths.shape[0]:
        raise ShapeError(f"{_NAME}: targets has {made.shape[0]} rows for {lengths.shape[0]} examples")
    _check_values("target_lengths", lengths, made.shape[1])
    made = made.to(core.int64)
    return made if made.shape[1] > 0 else full((made.shape[0], 1), 0, core.int64)


def _samples(m: Any) -> Any:
    if m.dtype not in ("float32", "float64"):
        return []
    x = m(6, 2, 4)
    x = m.of(x - m.numpy.log(m.numpy.exp(x).sum(-1, keepdims=True)))
    rows, many = m.numpy.array([[1, 2], [3, 3]]), m.numpy.array([1, 2, 3])
    lengths = [m.numpy.array(pair) for pair in ((6, 5), (2, 2), (2, 1))]
    return [
        (x, rows, lengths[0], lengths[1]),
        (x, many, lengths[0], lengths[2], 0, "sum"),
        (x, rows, lengths[0], lengths[2], 1, "none", True),
    ]


@function(functional=True, method=False, samples=_samples, tolerance=4.0, autocast="float32")
def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor | Sequence[int],
    target_lengths: Tensor | Sequence[int],
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Minus the log-likelihood of labels, over all ways in which they and blanks can lie along time.

    "mean" divides each loss by the length of its target first. `zero_infinity`: impossible targets have loss 0.

    Shapes:   log_probs [t, n, c] (or [t, c]), targets [n, s] or one after the other [all], lengths [n] → [], or [n] for "none"
    Dtypes:   floats; targets and lengths integers
    Gradient: to log_probs, that of log_softmax's operand, as in PyTorch; of any order
    Errors:   ShapeError, DimensionError; BoundsError for lengths and labels out of range; DomainError for blank; DTypeError
    Source:   Graves et al. 2006; torch.nn.functional.ctc_loss

    >>> dg.nn.functional.ctc_loss(dg.zeros(2, 1, 2), tensor([[1]]), (2,), (1,))
    tensor(-1.0986)
    """
    if reduction not in ("none", "mean", "sum"):
        raise DomainError(f"{_NAME}: reduction must be 'mean', 'sum' or 'none', got {reduction!r}")
    if log_probs.dim() not in (2, 3):
        raise DimensionError(f"{_NAME}: log_probs must have 3 dimensions, or 2 without a batch, got {log_probs.dim()}")
    if not log_probs.dtype.is_floating_point:
        raise DTypeError(f"{_NAME}: log_probs must be floats, got {log_probs.dtype.name}")
    batched = log_probs.dim() == 3
    wide = log_probs if log_probs.dtype is core.float64 else log_probs.to(core.float32)
    wide = wide if batched else wide.unsqueeze(1)
    times, batch, classes = wide.shape
    if times == 0 or batch == 0:
        raise ShapeError(f"{_NAME}: log_probs must not be empty, got shape {tuple(log_probs.shape)}")
    if not 0 <= blank < classes:
        raise DomainError(f"{_NAME}: blank must be one of the {classes} classes, got {blank}")
    inputs, labels = _lengths("input_lengths", input_lengths, batch), _lengths("target_lengths", target_lengths, batch)
    _check_values("input_lengths", inputs, times)
    rows = _targets(targets, labels, batched)
    states, skips = label_states(rows, labels, classes, blank)
    scores = gather(wide, 2, states.expand(times, *states.shape))
    found = path_ends(log_paths(scores, skips), inputs, labels * 2)
    loss: Tensor = of_log_softmax(found, wide, inputs, zero_infinity).to(log_probs.dtype)
    if reduction == "mean":
        loss = (loss / labels.clamp(min=1)).mean()
    elif reduction == "sum":
        loss = loss.sum()
    return loss if batched or reduction != "none" else loss.squeeze(0)
