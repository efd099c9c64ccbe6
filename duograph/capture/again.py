"""A call of a static function recorded anew, dynamically, long after it was made: what gradients of gradients run on.

Its Python runs once more, on the world as it was at the call; what it does to the world is undone.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from duograph import _core as core
from duograph._recorded import state
from duograph.errors import GradError

from .conversion.convert import callee
from .memory.chosen import chosen
from .outside.journal import is_its_own
from .values.sizes import known_sizes
from .values.tree import Remake, tensors_again

_STORES = ("setattr", "setitem", "setcell")


class Place(NamedTuple):
    """Where a differentiable output of the program is found after another run of the Python."""

    number: int
    result: int | None  # the place among the tensors of the result; None where it is left elsewhere
    base: bool  # it is what that one is a view of ...
    others: tuple[int, ...] = ()  # ... unless one of these results on the same memory is it
    shape: tuple[int | None, ...] = ()


def places_of(outputs: Sequence[tuple[int, Any]], result: Any, same: Sequence[tuple[Any, Any]]) -> list[Place]:
    """The places of the program's outputs, which are (number, tensor).

    Args:
        same: outputs, and results that are these on some ways.
    """
    found, results = [], tensors_again(result)
    for number, tensor in outputs:
        place = next((i for i, t in enumerate(results) if t is tensor), None)
        if place is not None:
            found.append(Place(number, place, False))
            continue
        place = next((i for i, t in enumerate(results) if t._base is tensor), None)
        others = tuple(i for i, t in enumerate(results) if any(t is b and tensor is a for a, b in same))
        found.append(Place(number, place, True, others, known_sizes(tensor.shape)))
    return found


def _base(results: Sequence[Any], place: Place) -> Any:
    """What one of the results is a view of, as the capture knew it: a view of memory laid out otherwise, perhaps."""
    assert place.result is not None
    whole = results[place.result]._base
    if whole is None:
        return None
    found = next((results[i] for i in place.others if results[i] is whole or results[i]._base is whole), whole)
    return found if all(have == known for have, known in zip(found.shape, place.shape) if known is not None) else None


class Again:
    """Records a call anew.

    Args:
        outputs: of the differentiable outputs of the program.
        count: so many tensors a result has.
        effects: what each run of the entry does when it ends.
    """

    def __init__(
        self,
        target: Callable[..., Any],
        n_positional: int,
        keywords: tuple[str, ...],
        outputs: list[Place],
        count: int,
        effects: Sequence[tuple[Any, ...]],
    ) -> None:
        self.target = target
        self.n_positional = n_positional
        self.keywords = keywords
        self.outputs = outputs
        self.count = count
        self.effects = effects
        self.autocast = core.autocast()

    def __call__(self, arguments: tuple[Any, ...], call: Any) -> tuple[Any, ...]:
        """The differentiable outputs; None for one that is not found again.

        Args:
            call: what is known of it (the core's StaticGradient); None where another capture is under way.
        """
        args, kwargs = arguments[: self.n_positional], dict(zip(self.keywords, arguments[self.n_positional :]))
        old, autocast = core.set_grad_enabled(True), core.set_autocast(self.autocast)
        core.set_dynamic_mode(True)
        try:
            if call is None:
                recorder = state.recorder
                function = self.target if recorder is None else callee(recorder, self.target)
                return self._run(lambda: function(*args, **kwargs))
            return self._as_at(call, lambda: self._run(lambda: self.target(*args, **kwargs)))
        finally:
            core.set_dynamic_mode(False)
            core.set_autocast(autocast)
            core.set_grad_enabled(old)

    def _run(self, run: Callable[[], Any]) -> tuple[Any, ...]:
        lists = {id(held): (held, len(held)) for held in _containers(self.effects) if isinstance(held, list)}
        results = tensors_again(run())
        if len(results) != self.count:
            raise GradError(
                "static: a gradient of a gradient runs the function's Python again, and a result was a number now and a tensor "
                "then, or the other way round",
                hint="begin with dg.tensor(…), so that the result is a tensor on all ways through the function",
            )
        left: dict[int, Any] = {}
        if any(place.result is None for place in self.outputs):
            left = _left(self.effects, lists)

        def find(place: Place) -> Any:
            if place.result is None:
                return left.get(place.number)
            return _base(results, place) if place.base else results[place.result]

        return tuple(map(find, self.outputs))

    def _as_at(self, call: Any, run: Callable[[], tuple[Any, ...]]) -> tuple[Any, ...]:
        """What `run` gives in the world as it was at the call; that is as it is now, after."""
        stores = [(effect, value) for effect, value in zip(self.effects, call.before) if effect[0] in _STORES]
        places, before = [effect for effect, _ in stores], [value for _, value in stores]
        missing = call.missing
        now = [_look(effect, missing) for effect in places]
        gradients = [value for effect, value in zip(self.effects, call.before) if effect[0] == "grad"]
        gradients_now = [(tensor, tensor.grad) for tensor, _ in gradients]
        containers = [(c, c.copy()) for c in _containers(self.effects)]
        written = [(t, t.detach().clone()) for t in call.written]
        generator = core.get_rng_state()
        try:
            for effect, value in zip(places, before):
                _put(effect, value, missing)
            for tensor, grad in gradients:
                tensor.grad = grad
            call.check()
            for tensor, grad in gradients:
                if grad is not None and grad.grad_fn is None:  # it may be added to in place
                    tensor.grad = grad.detach().clone()
            core.set_rng_state(*call.generator)
            state.again = True
            return run()
        finally:
            state.again = False
            core.set_rng_state(*generator)
            for tensor, grad in gradients_now:
                tensor.grad = grad
            for container, content in containers:
                container.clear()
                (container.extend if isinstance(container, list) else container.update)(content)
            for effect, value in zip(places, now):
                _put(effect, value, missing)
            grads = core.set_grad_enabled(False)
            for tensor, value in written:
                tensor.copy_(value)
            core.set_grad_enabled(grads)


def _left(effects: Sequence[tuple[Any, ...]], lists: dict[int, tuple[list[Any], int]]) -> dict[int, Any]:
    """By number the outputs that a run has stored; `lists`: those it changes, and how long they were."""
    found: dict[int, Any] = {}
    others = {
        id(getattr(function, "__self__", None)) for kind, function, *_ in effects if kind == "call" and not _appends(function)
    }
    ends = {identity: length for identity, (_, length) in lists.items() if identity not in others}
    for effect in effects:
        if effect[0] in _STORES:
            _match(effect[-1], _look(effect, None), found)
        elif effect[0] == "call":
            _, function, rows = effect
            if _appends(function) and id(function.__self__) in ends:
                holder = function.__self__
                at = ends[id(holder)]
                ends[id(holder)] += 1
                if at < len(holder):
                    _match(rows[0], holder[at], found)
            elif isinstance(function, functools.partial) and function.func is operator.setitem:
                _match(rows[0], _look(("setitem", *function.args), None), found)
    return found


def _appends(function: Any) -> bool:
    return isinstance(getattr(function, "__self__", None), list) and function.__name__ == "append"


def _match(row: tuple[Any, ...], value: Any, found: dict[int, Any]) -> None:
    """Note the tensors of a value under the numbers that its template gives them."""
    kind = row[0]
    if kind == "output" and isinstance(value, core.Tensor):
        found.setdefault(row[1], value)
    elif kind in ("tuple", "list") and isinstance(value, (tuple, list)) and len(value) == len(row[1]):
        for part, item in zip(row[1], value):
            _match(part, item, found)
    elif kind == "dict" and isinstance(value, dict):
        for key, part in zip(row[1], row[2]):
            _match(part, value.get(key), found)
    elif kind == "make" and row[1] is chosen:  # the tensor of its own; as another one it has no gradient
        _match(row[2][0], value, found)
    elif kind == "make" and isinstance(value, tuple):
        _match(row[2][0], tuple(value), found)
    elif kind == "make" and isinstance(row[1], Remake):
        for name, part in zip(row[1].fields, row[2]):
            _match(part, getattr(value, name, None), found)


def _look(effect: tuple[Any, ...], missing: Any) -> Any:
    """What is where an effect writes to."""
    try:
        if effect[0] == "setattr":
            return getattr(effect[1], effect[2]) if is_its_own(effect[1], effect[2]) else missing
        return effect[1].cell_contents if effect[0] == "setcell" else effect[1][effect[2]]
    except (AttributeError, KeyError, IndexError, ValueError):
        return missing


def _put(effect: tuple[Any, ...], value: Any, missing: Any) -> None:
    """Put a value where an effect writes to."""
    there = _look(effect, missing)
    if there is value:
        return
    kind, holder, *key = effect
    if kind == "setcell":
        if value is missing:
            del holder.cell_contents
        else:
            holder.cell_contents = value
    elif kind == "setattr":
        delattr(holder, key[0]) if value is missing else setattr(holder, key[0], value)
    elif value is missing:
        del holder[key[0]]
    else:
        holder[key[0]] = value


def _containers(effects: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Lists, dicts and sets that calls at the end of a run change."""
    found: dict[int, Any] = {}
    for kind, function, *_ in effects:
        if kind != "call":
            continue
        holders = [getattr(function, "__self__", None), *(function.args if isinstance(function, functools.partial) else ())]
        found.update((id(h), h) for h in holders if isinstance(h, (list, dict, set)))
    return list(found.values())
