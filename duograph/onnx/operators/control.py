"""Branches and loops, sequences and optionals."""

from __future__ import annotations

from typing import Any

import duograph as dg
from duograph import _core as core
from duograph._recorded import callee, current

from .. import followed
from ..reading import dtype_of
from .definition import Number, Numbers, Tensor, operator
from .known import Known


def _tensor(value: Any) -> Any:
    return value if isinstance(value, (core.Tensor, list)) or value is None else Known(value).tensor()


# ---- branches and loops


@operator("If", since=1)
def branch(condition: Any, *, then_branch: Any, else_branch: Any) -> Any:
    if not isinstance(condition, core.Tensor):
        return tuple((then_branch if condition.reshape(-1)[0] else else_branch).follow())
    made = callee(followed.branch)(condition.reshape(()), lambda: tuple(then_branch()), lambda: tuple(else_branch()))
    return tuple(made)


@operator("Loop", since=1)
def loop(most: Any = None, going: Any = None, *initial: Any, body: Any, outputs: int) -> Any:
    """Turns while `going` holds, at most `most` of them; values that each turn gives besides are rows of results."""
    carried = [_tensor(value) for value in initial]
    count = len(carried)
    if current() is None or _few_turns(most, going, body):
        return _turn_by_turn(most, going, carried, body)
    limit = None if most is None else _tensor(most).reshape(())
    first = dg.tensor(True) if going is None else _tensor(going).reshape(())

    def test(values: Any) -> Any:
        return values[1] if limit is None else values[1] & (values[0] < limit)

    def turn(values: Any) -> Any:
        made = body(values[0], values[1], *values[2:])
        going_on = first if going is None and made[0] is None else made[0].reshape(())
        return (values[0] + 1, going_on, *map(_of_turn, made[1 : count + 1])), made[count + 1 :]

    rows = len(body.body.outputs) - 1 - count
    start = (dg.zeros((), dtype=dg.int64), first, *carried)
    if not rows:
        values = callee(followed.loop)(test, lambda values: turn(values)[0], start)
        return tuple(values[2:])
    lists: list[Any] = [[] for _ in range(rows)]
    values = callee(followed.loop_with_rows)(test, turn, start, lists)
    return (*values[2:], *[_stacked(items, body, i + 1 + count) for i, items in enumerate(lists)])


def _of_turn(value: Any) -> Any:
    """A value that a turn hands on. Constants are made anew whenever the body is followed: what is carried is their copy."""
    return value.clone() if isinstance(value, core.Tensor) and value._traced is None else value


_FEW = 4  # turns that are written out


def _few_turns(most: Any, going: Any, body: Any) -> bool:
    """Whether the number of turns is known to be small."""
    if isinstance(most, core.Tensor) or most is None or type(most.reshape(-1).tolist()[0]) is not int:
        return False
    return not isinstance(going, core.Tensor) and int(most.reshape(-1)[0]) <= _FEW and body.keeps_going()


def _turn_by_turn(most: Any, going: Any, carried: list[Any], body: Any) -> Any:
    count = len(carried)
    limit = None if most is None else int(most.reshape(-1)[0])
    on = True if going is None else bool(going.reshape(-1)[0])
    rows: list[list[Any]] = [[] for _ in range(len(body.body.outputs) - 1 - count)]
    turn = 0
    while on and (limit is None or turn < limit):
        made = body(dg.tensor(turn, dtype=dg.int64), dg.tensor(on), *carried)
        on = bool(made[0]) if current() is None else True
        carried = made[1 : count + 1]
        for row, value in zip(rows, made[count + 1 :]):
            row.append(value)
        turn += 1
    return (*carried, *[_stacked(row, body, i + 1 + count) for i, row in enumerate(rows)])


def _stacked(rows: list[Any], body: Any, place: int) -> Any:
    """The rows that turns gave for an output of the body."""
    name = body.body.outputs[place]
    dtype = dtype_of(body.body.dtypes.get(name, 1), "a result without rows")
    return callee(followed.stacked)(rows, dtype, body.body.shapes.get(name, ()))


@operator("Scan", since=9)
def scan(
    *inputs: Tensor,
    body: Any,
    num_scan_inputs: int,
    scan_input_axes: list[int] | None = None,
    scan_input_directions: list[int] | None = None,
    scan_output_axes: list[int] | None = None,
    scan_output_directions: list[int] | None = None,
) -> Any:
    count = len(inputs) - num_scan_inputs
    states, scanned = list(inputs[:count]), list(inputs[count:])
    for i, axis in enumerate(scan_input_axes or []):
        scanned[i] = scanned[i].movedim(axis, 0)
    for i, backwards in enumerate(scan_input_directions or []):
        scanned[i] = dg.flip(scanned[i], (0,)) if backwards else scanned[i]
    results = _scanned(states, scanned, body)
    made = []
    for i, rows in enumerate(results[count:]):
        rows = dg.flip(rows, (0,)) if scan_output_directions and scan_output_directions[i] else rows
        made.append(rows.movedim(0, scan_output_axes[i]) if scan_output_axes and scan_output_axes[i] else rows)
    return (*results[:count], *made)


def _scanned(states: list[Any], scanned: list[Any], body: Any) -> tuple[Any, ...]:
    """The states after all rows, and what each row gave, stacked."""
    count = len(states)
    length = scanned[0].shape[0]

    def test(values: Any) -> Any:
        return values[0] < length

    def turn(values: Any) -> Any:
        made = body(*values[1:], *[dg.index_select(rows, 0, values[0].reshape(1)).squeeze(0) for rows in scanned])
        return (values[0] + 1, *map(_of_turn, made[:count])), made[count:]

    lists: list[Any] = [[] for _ in range(len(body.body.outputs) - count)]
    start = (dg.zeros((), dtype=dg.int64), *states)
    if not lists:
        return tuple(callee(followed.loop)(test, lambda values: turn(values)[0], start)[1:])
    values = callee(followed.loop_with_rows)(test, turn, start, lists)
    return (*values[1:], *[_stacked(items, body, i + count) for i, items in enumerate(lists)])


@operator("Scan", since=8, until=8)
def scan_batches(
    lengths: Tensor | None, *inputs: Tensor, body: Any, num_scan_inputs: int, directions: list[int] | None = None
) -> Any:
    """The old one: a batch dimension first, each example by itself."""
    if lengths is not None:
        raise NotImplementedError("sequences of unlike lengths are not known")
    results = [
        scan(*[x[i] for x in inputs], body=body, num_scan_inputs=num_scan_inputs, scan_input_directions=directions)
        for i in range(inputs[0].shape[0])
    ]
    return tuple([dg.stack(items) for items in zip(*results)])


# ---- sequences


@operator("SequenceEmpty", since=11)
def sequence_empty(*, dtype: int = 1) -> Any:
    return []


@operator("SequenceConstruct", since=11)
def sequence_construct(*inputs: Tensor) -> Any:
    return list(inputs)


@operator("SequenceAt", since=11)
def sequence_at(sequence: Any, position: Number) -> Tensor:
    return sequence[position]


@operator("SequenceInsert", since=11)
def sequence_insert(sequence: Any, tensor: Tensor, position: Number | None = None) -> Any:
    place = len(sequence) if position is None else position
    if not -len(sequence) <= place <= len(sequence):
        raise IndexError(f"position {place} of a sequence of {len(sequence)}")
    made = list(sequence)
    made.insert(place, tensor)
    return made


@operator("SequenceErase", since=11)
def sequence_erase(sequence: Any, position: Number | None = None) -> Any:
    made = list(sequence)
    del made[-1 if position is None else position]
    return made


@operator("SequenceLength", since=11)
def sequence_length(sequence: Any) -> Any:
    return dg.tensor(len(sequence), dtype=dg.int64)


@operator("ConcatFromSequence", since=11)
def concat_from_sequence(sequence: Any, *, axis: int, new_axis: int = 0) -> Tensor:
    return dg.stack(sequence, axis) if new_axis else dg.cat(sequence, axis)


@operator("SplitToSequence", since=11)
def split_to_sequence(x: Tensor, split: Any = None, *, axis: int = 0, keepdims: int = 1) -> Any:
    if split is None:
        return [part if keepdims else part.squeeze(axis) for part in dg.split(x, 1, axis)]
    numbers: Numbers = split.tolist()
    return list(dg.split(x, numbers, axis))


# ---- optionals


@operator("Optional", since=15)
def optional(value: Any = None, *, type: Any = None) -> Any:
    return value


@operator("OptionalHasElement", since=15)
def optional_has_element(value: Any = None) -> Any:
    return dg.tensor(value is not None)


@operator("OptionalGetElement", since=15)
def optional_get_element(value: Any) -> Any:
    return value


@operator("SequenceMap", since=17)
def sequence_map(sequence: Any, *others: Any, body: Any) -> Any:
    """What the body gives for each element; tensors among the others are the same each time."""
    rows = [
        body(item, *[other[i] if isinstance(other, list) else _tensor(other) for other in others])
        for i, item in enumerate(sequence)
    ]
    return tuple([list(items) for items in zip(*rows)]) if rows else tuple([[] for _ in body.body.outputs])
