"""What converted control flow calls: the statement itself on Python values, graph nodes where a tensor decides."""

from __future__ import annotations

import functools
import operator
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from duograph import _core as core
from duograph._recorded import state
from duograph._stack import user_location
from duograph.errors import CaptureError
from duograph.ops.tracing import wrap

from ..values.asked import stands_for_number
from ..values.numbers import is_live, stood_for
from ..values.texts import joined, modulo
from .growing import grows, holds_any, settled

if TYPE_CHECKING:
    from ..outside.recorder import Recorder

Thunk = Callable[[], Any]


class _Unbound:
    """The value of a variable that has none."""

    def __repr__(self) -> str:
        return "<unassigned>"


UNBOUND = _Unbound()


def decides(value: Any) -> Recorder | None:
    """The capture in which `value`, a tensor, decides at each run what happens; None where Python decides now."""
    recorder = state.recorder
    if recorder is None or not isinstance(value, core.Tensor) or recorder.single_path:
        return None
    return recorder


def deciding(value: Any) -> Any:
    """What decides where a statement asks for the truth of a value: a list that grows is not seen through."""
    return holds_any(value) if type(value) is list and grows(value) else value


class Variables(NamedTuple):
    """The variables that a control statement assigns, as the conversion hands them over."""

    get: Thunk
    set: Callable[[Any], None]
    names: Sequence[str]
    live: Sequence[str]  # those that are read later, then others that are
    loads: Thunk  # gives what the statement reads besides


def held_by(held: list[Any], name: str, loads: Thunk) -> Variables:
    """The one thing that a list holds, as a variable."""
    return Variables(lambda: tuple(held), lambda values: operator.setitem(held, slice(None), values), (name,), (name,), loads)


class ControlFlow:
    """The helpers of converted control flow; `Sites` inherits them."""

    __slots__ = ()

    # ---- variables

    variables = Variables

    @staticmethod
    def peek(read: Thunk) -> Any:
        """A variable's value, if it has one."""
        try:
            return read()
        except NameError:
            return UNBOUND

    @staticmethod
    def is_unbound(value: Any) -> bool:
        return value is UNBOUND

    # ---- patterns of `match`

    @staticmethod
    def is_singleton(value: Any, singleton: Any) -> Any:
        """`value is singleton`; a truth that only the run knows may be it."""
        if singleton is not None and stands_for_number(value) and value.dtype.kind == "b":
            return value if singleton else value.logical_not()
        return value is singleton

    @staticmethod
    def is_of(value: Any, kind: Any) -> bool:
        return isinstance(stood_for(value), kind)

    @staticmethod
    def is_sequence(value: Any, length: int) -> bool:
        """Whether it is a sequence of so many items, as patterns take it."""
        if not isinstance(value, Sequence) or isinstance(value, (str, bytes, bytearray)):
            return False
        return len(settled(value)) == length

    @staticmethod
    def result(returned: Any, read: Thunk) -> Any:
        """What a function gives whose `return` lies inside control flow."""
        if decides(returned) is not None:
            raise CaptureError(
                "static: the function returns a value on some ways through it and nothing on others, as a tensor's value decides",
                hint="end it with a return of the same kind",
                location=user_location(),
            )
        value = ControlFlow.peek(read)
        return None if value is UNBOUND else value

    @staticmethod
    def update(old: Any, how: str, value: Any) -> Any:
        """`old += value` and the like. A tensor that stands for a Python number is not written: numbers never are."""
        if how == "imod" and isinstance(old, str):
            return modulo(old, value)
        if isinstance(old, core.Tensor) and old._traced is not None and old._traced.type.weak:
            how = how[1:] + "_" if how in ("iand", "ior") else how[1:]
        elif state.recorder is not None:
            state.recorder.augmented(old, how, value)
        return getattr(operator, how)(old, value)

    # ---- statements

    @staticmethod
    def if_(
        test: Any,
        then: Thunk,
        otherwise: Thunk,
        variables: Variables,
    ) -> None:
        test = deciding(test)
        recorder = decides(test)
        if recorder is not None:
            from .branches import branch

            branch(recorder, test, then, otherwise, variables)
        elif test:
            then()
        else:
            otherwise()

    @staticmethod
    def while_(
        test: Thunk,
        body: Thunk,
        variables: Variables,
    ) -> None:
        open_ = state.recorder
        while True:
            asked = 0 if open_ is None else open_.sizes.asked
            value = deciding(test())
            recorder = decides(value)
            if recorder is not None:
                from .loops import while_loop

                while_loop(recorder, value, test, body, variables)
                return
            if not value:
                return
            if open_ is not None and open_.sizes.asked > asked and not open_.single_path:
                from .loops import while_of_sizes

                if while_of_sizes(open_, test, body, variables):
                    return
                open_ = None  # every turn is written out
            body()

    @staticmethod
    def for_(
        items: Any,
        body: Callable[[Any], None],
        stop: Thunk | None,
        variables: Variables,
    ) -> None:
        recorder = state.recorder
        if recorder is not None and not recorder.single_path:
            from .loops import for_loop

            for_loop(recorder, items, body, stop, variables)
            return
        for item in items:
            body(item)
            if stop is not None and stop():
                return

    @staticmethod
    def assert_(test: Any, message: Thunk | None) -> None:
        test = deciding(test)
        recorder = decides(test)
        if recorder is not None:
            from .branches import check

            check(recorder, test, message)
        elif not test:
            raise AssertionError(*(() if message is None else (message(),)))

    @staticmethod
    def tried(change: int) -> None:
        """The body of a `try` statement begins or ends."""
        if state.recorder is not None:
            state.recorder.tried += change

    @staticmethod
    def caught() -> None:
        """An `except` clause begins: what ends the capture is not for the program to catch."""
        error = sys.exc_info()[1]
        if state.recorder is not None and any(error is known for known in state.recorder.refusals):
            assert error is not None
            raise error

    # ---- expressions

    @staticmethod
    def comprehension(items: Any, spread: bool, make: Callable[..., Any], keep: Callable[..., Any] | None = None) -> list[Any]:
        """`[make(item) for item in items if keep(item)]`."""
        recorder = state.recorder
        if keep is not None:
            from .loops_over_rows import sift

            ways = [(lambda item, way=way: way(*item)) if spread else way for way in (make, keep)]
            return sift(recorder, items, *ways)
        plain = isinstance(items, (list, tuple, dict)) and not grows(items)
        if recorder is not None and not recorder.single_path and not plain:
            from .loops_over_rows import gather

            found = gather(recorder, items, (lambda item: make(*item)) if spread else make)
            if found is not None:
                return found
        settled(items)
        return [make(*item) for item in items] if spread else [make(item) for item in items]

    @staticmethod
    def items(value: Any) -> Any:
        """A value that Python goes over or takes apart."""
        return value if state.recorder is None else settled(value)

    @staticmethod
    def text(*parts: Any) -> Any:
        """An f-string; with tensors in it, one that each run fills in."""
        return joined(parts)

    @staticmethod
    def said(*parts: Any) -> Any:
        """An f-string that is printed: each run fills in numbers, too."""
        return joined(parts, numbers=True)

    @staticmethod
    def modulo(left: Any, right: Any) -> Any:
        """`left % right`: a remainder, or a text with tensors in it."""
        return modulo(left, right)

    @staticmethod
    def said_modulo(left: Any, right: Any) -> Any:
        """`text % values` that is printed: each run fills in numbers, too."""
        return modulo(left, right, numbers=True)

    @staticmethod
    def if_exp(test: Any, then: Thunk, otherwise: Thunk) -> Any:
        test = deciding(test)
        recorder = decides(test)
        if recorder is not None:
            from .branches import choose

            return choose(recorder, test, then, otherwise)
        return then() if test else otherwise()

    @staticmethod
    def and_(first: Any, *rest: Thunk) -> Any:
        return _short_circuit(first, rest, True)

    @staticmethod
    def or_(first: Any, *rest: Thunk) -> Any:
        return _short_circuit(first, rest, False)

    @staticmethod
    def all_of(first: Any, *rest: Thunk) -> Any:
        """`and` of which only the truth counts."""
        return _short_circuit(_truth(first), [functools.partial(_truth_of, thunk) for thunk in rest], True)

    @staticmethod
    def any_of(first: Any, *rest: Thunk) -> Any:
        """`or` of which only the truth counts."""
        return _short_circuit(_truth(first), [functools.partial(_truth_of, thunk) for thunk in rest], False)

    @staticmethod
    def not_(value: Any) -> Any:
        value = deciding(value)
        if decides(value) is None:
            return not value
        from .branches import negation

        return negation(value)

    @staticmethod
    def chain(left: Any, *links: tuple[str, Thunk]) -> Any:
        result: Any = True
        for i, (name, right) in enumerate(links):
            value = right()
            outcome = getattr(operator, name)(left, value)
            left = value
            if i == 0:
                result = outcome
            elif decides(result) is not None or decides(outcome) is not None:
                result = _both(result, outcome)
            else:
                result = outcome
            if i + 1 < len(links) and decides(result) is None and not result:
                return result
        return result


def _both(a: Any, b: Any) -> Any:
    if not isinstance(a, core.Tensor):
        return b if a else a
    return a.logical_and(b) if isinstance(b, core.Tensor) else a.logical_and(bool(b))


def _short_circuit(first: Any, rest: Iterable[Thunk], every: bool) -> Any:
    """`and` (every) or `or`: stops at the first Python value that decides; a tensor's truth is taken at each run."""
    result = first
    for thunk in rest:
        recorder = decides(result)
        if recorder is not None:
            from .branches import choose

            kept, other = result, thunk
            truth = kept if kept.dtype is core.bool else kept != 0
            keep = _Constant(kept)
            result = choose(recorder, truth, other, keep) if every else choose(recorder, truth, keep, other)
        elif bool(deciding(result)) is not every:
            return result
        else:
            result = thunk()
    return result


def _truth(value: Any) -> Any:
    """What stands for the truth of a value: Python's own values as they are, a tensor as a truth of the run."""
    from .branches import truth

    value = deciding(value)
    return value if decides(value) is None else wrap(truth(value))


def _truth_of(thunk: Thunk) -> Any:
    value = _truth(thunk())
    return bool(value) if decides(value) is None and not is_live(value) else value


class _Constant:
    """A thunk of a value."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self) -> Any:
        return self.value
