"""Loops: what `while` and `for` do in a capture, as one node of the graph or turn by turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from duograph.errors import CaptureError
from duograph.ir.builder import current
from duograph.ops.tracing import wrap

from ..conversion.scopes import HELPER
from ..memory.joined import LookAgain
from ..outside.recorder import Recorder
from ..values.sizes import Unsettled
from .branches import branch, truth
from .control import Thunk, Variables, decides, deciding
from .loop_capture import EndsAtOnce, LoopCapture
from .loop_state import FirstTurnDiffers, TestActs
from .sequences import Later, Sequence_, as_sequence

UNROLL = 8  # turns: so many are written out


def while_loop(
    recorder: Recorder,
    first: Any,
    test: Thunk,
    body: Thunk,
    variables: Variables,
) -> None:
    """`while` on a tensor; `first`: what the test gave before the first turn."""
    capture = LoopCapture(recorder, variables)
    try:
        capture.run(None, lambda item: body(), test, None)
    except EndsAtOnce:
        capture.give_up()
        branch(recorder, first, body, lambda: None, variables)
    except TestActs:
        capture.give_up()
        _while_flag(recorder, first, test, body, variables)


def _while_flag(recorder: Recorder, first: Any, test: Thunk, body: Thunk, variables: Variables) -> None:
    """`while` whose test does something: it is made at the end of each turn, and what it gave is a variable."""
    state: list[Any] = [wrap(truth(first))]
    name = f"{HELPER}goes_on"

    def set_(values: Any) -> None:
        variables.set(tuple(values[:-1]))
        state[0] = values[-1]

    def turn(item: Any) -> None:
        body()
        value = deciding(test())
        state[0] = bool(value) if decides(value) is None else wrap(truth(value))

    more = variables._replace(
        get=lambda: (*variables.get(), state[0]), set=set_, names=[*variables.names, name], live=[*variables.live, name]
    )
    LoopCapture(recorder, more).run(None, turn, lambda: state[0], None)


def while_of_sizes(recorder: Recorder, test: Thunk, body: Thunk, variables: Variables) -> bool:
    """`while` that a size decides: one loop node if Python's numbers in it can be numbers of the run; whether they can."""
    capture = LoopCapture(recorder, variables)
    capture.sizes_stay = True
    try:
        capture.run(None, lambda item: body(), test, None)
    except CaptureError:
        capture.give_up()
        return False
    return True


def for_loop(
    recorder: Recorder,
    items: Any,
    body: Callable[[Any], None],
    stop: Thunk | None,
    variables: Variables,
) -> None:
    """`for`: one loop node over tensors and ranges where the body can be captured once, turn by turn otherwise."""
    sequence = as_sequence(items)
    if sequence is not None and (sequence.turns is None or sequence.turns >= UNROLL):
        capture = LoopCapture(recorder, variables)
        if sequence.turns is None:
            try:
                capture.run(sequence, body, None, stop)
            except EndsAtOnce as error:
                _write_out(recorder, sequence, error)
                capture.give_up()
                builder: Any = current()
                first = lambda: body(sequence.item(builder.regions[-1], wrap(builder.number(0))))  # noqa: E731
                branch(recorder, sequence.count() > 0, first, lambda: None, variables)
            except LookAgain:
                raise
            except FirstTurnDiffers as error:
                capture.give_up()
                rest = _after_first_turn(recorder, sequence, body) if stop is None else None
                if rest is None:
                    _write_out(recorder, sequence, error)
                    raise
                for_loop(recorder, rest, body, None, variables)
            except CaptureError as error:
                _write_out(recorder, sequence, error)
                raise
            return
        capture.may_unroll = True
        try:
            capture.run(sequence, body, None, stop)
            return
        except (CaptureError, EndsAtOnce):
            capture.give_up()
    _turn_by_turn(recorder, items if sequence is None else sequence.items(), body, stop, variables)


def _after_first_turn(recorder: Recorder, sequence: Sequence_, body: Callable[[Any], None]) -> Sequence_ | None:
    """Makes the first turn, and gives the others; None if it is not known in the call's sizes whether there is one."""
    sizes, length = recorder.sizes, sequence.length
    if type(sequence) is Later or length is None or not sizes.knows(length):
        return None
    if sizes.decide(1, "le", length):
        body(sequence.item(None, 0))
    return Later(sequence)


def _write_out(recorder: Recorder, sequence: Sequence_, error: Exception) -> None:
    """A body cannot be captured once for all turns: if the call's sizes say how many there are, each is captured by itself."""
    length, sizes = sequence.length, recorder.sizes
    if length is not None and sizes.knows(length):
        sizes.pin_symbols(length)
        raise Unsettled("each turn of this loop is captured by itself") from error


def _turn_by_turn(
    recorder: Recorder,
    items: Iterable[Any],
    body: Callable[[Any], None],
    stop: Thunk | None,
    variables: Variables,
) -> None:
    """Python's own loop; once a tensor may have ended it, each turn is a branch."""
    every = variables._replace(live=variables.names)
    stopped: Any = False
    for item in items:
        if decides(stopped) is not None:
            branch(recorder, stopped, lambda: None, lambda item=item: body(item), every)  # type: ignore[misc]
        else:
            body(item)
        if stop is not None:
            stopped = stop()
            if decides(stopped) is None and stopped:
                return
