"""Python's builtins that go over values — max, min, any, all, sum, sorted — where tensors or sizes are among them."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph._stack import user_location
from duograph.errors import CaptureError
from duograph.ir.builder import current
from duograph.ir.dim import maximum, minimum
from duograph.ops.tracing import wrap

from ..control.branches import choose, negation, truth
from ..control.control import decides
from ..control.growing import joined
from ..control.loops_over_rows import total
from ..control.sequences import as_sequence
from ..values.late import is_late, late
from ..values.numbers import SizeNumber

if TYPE_CHECKING:
    from ..outside.recorder import Recorder

_MISSING = object()


def replacement(recorder: Recorder, function: Any) -> Callable[..., Any] | None:
    """What to call instead of one of these builtins; None for any other function."""
    if function is builtins.max or function is builtins.min:
        return lambda *args, **kwargs: _extreme(recorder, function is builtins.max, *args, **kwargs)
    if function is builtins.any or function is builtins.all:
        return lambda items: _quantifier(items, function is builtins.all)
    if function is builtins.sum:
        return lambda items, start=0: _sum(recorder, items, start)
    if function is builtins.sorted:
        return lambda items, *, key=None, reverse=False: _sorted(recorder, items, key, reverse)
    return None


def _extreme(recorder: Recorder, greatest: bool, *args: Any, key: Any = None, default: Any = _MISSING) -> Any:
    """`max` or `min`: the first of the values that none exceeds."""
    function: Callable[..., Any] = builtins.max if greatest else builtins.min
    values = list(args[0]) if len(args) == 1 else list(args)
    if not values:
        return function((), **({} if default is _MISSING else {"default": default}))
    if key is not None:
        key = recorder.callee(key)
    elif all(type(v) is int or isinstance(_plain_size(v), SizeNumber) for v in values):
        return _extreme_size(recorder, greatest, values)
    best = values[0]
    rank = best if key is None else key(best)
    for value in values[1:]:
        other = value if key is None else key(value)
        better = other > rank if greatest else other < rank
        if decides(better) is None:
            if better:
                best, rank = value, other
            continue
        pairs = [(best, value)] if key is None else [(best, value), (rank, other)]
        chosen = [choose(recorder, better, lambda new=new: new, lambda old=old: old) for old, new in pairs]  # type: ignore[misc]
        best, rank = chosen[0], chosen[-1]
    return best


def _plain_size(value: Any) -> Any:
    return value if type(value) is SizeNumber or is_late(value) else None


def _extreme_size(recorder: Recorder, greatest: bool, values: list[Any]) -> Any:
    """The greatest or least of sizes is a size again: nothing is decided."""
    join = maximum if greatest else minimum
    expressions = [value if type(value) is int else value.expr for value in values]
    found = expressions[0]
    for other in expressions[1:]:
        found = join(found, other)
    return late(recorder, found) if any(is_late(value) for value in values) else recorder.sizes.number(found)


def _quantifier(items: Iterable[Any], every: bool) -> Any:
    """`all` (every) or `any`."""
    found: Any = None
    for item in items:
        if decides(item) is None:
            if bool(item) is not every:
                return not every
            continue
        holds = wrap(truth(item))
        found = holds if found is None else found.logical_and(holds) if every else found.logical_or(holds)
    return every if found is None else negation(negation(found))


def _sum(recorder: Recorder, items: Any, start: Any) -> Any:
    sequence = as_sequence(items) if isinstance(items, (core.Tensor, list)) else None
    if sequence is None or sequence.turns is not None or recorder.single_path:
        return sum(items, start)
    if isinstance(items, core.Tensor):
        return total(recorder, items, start)
    builder: Any = current()
    rows = joined(builder, items)
    if not isinstance(rows.like, core.Tensor):
        raise TypeError(f"sum: items are of type {type(rows.like).__name__}, expected tensors")
    return total(recorder, rows.stacks[0], start)


def _sorted(recorder: Recorder, items: Iterable[Any], key: Any, reverse: bool) -> list[Any]:
    values = list(items)
    ranks = values if key is None else [recorder.callee(key)(value) for value in values]
    if any(isinstance(rank, core.Tensor) for rank in ranks):
        raise CaptureError(
            "static: the order of Python objects depends on a tensor's values here, which only the run knows",
            hint="stack the tensors and use sort, argsort or topk",
            location=user_location(),
        )
    return [values[i] for i in sorted(range(len(values)), key=ranks.__getitem__, reverse=reverse)]
