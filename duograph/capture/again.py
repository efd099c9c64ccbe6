"""A call of a static function recorded anew, dynamically, long after it was made: what gradients of gradients run on.

Its Python runs once more, on the world as it was at the call; what it does to the world is undone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from duograph import _core as core
from duograph._recorded import state
from duograph.errors import GradError

from .convert import callee
from .tree import tensors_of

_STORES = ("setattr", "setitem", "setcell")


class Again:
    """Records a call anew.

    Args:
        outputs: of the differentiable outputs of the program, the number and the place among the tensors of the result,
            None for one that is stored elsewhere.
        effects: what each run of the entry does when it ends.
    """

    def __init__(
        self,
        target: Callable[..., Any],
        n_positional: int,
        keywords: tuple[str, ...],
        outputs: list[tuple[int, int | None]],
        effects: Sequence[tuple[Any, ...]],
    ) -> None:
        self.target = target
        self.n_positional = n_positional
        self.keywords = keywords
        self.outputs = outputs
        self.effects = effects

    def __call__(self, arguments: tuple[Any, ...], call: Any) -> tuple[Any, ...]:
        """The differentiable outputs; None for one that is not found again.

        Args:
            call: what is known of it (the core's StaticGradient); None where another capture is under way.
        """
        args, kwargs = arguments[: self.n_positional], dict(zip(self.keywords, arguments[self.n_positional :]))
        old = core.set_grad_enabled(True)
        core.set_dynamic_mode(True)
        try:
            if call is None:
                recorder = state.recorder
                function = self.target if recorder is None else callee(recorder, self.target)
                outputs = tensors_of(function(*args, **kwargs))
            else:
                return self._as_at(call, lambda: self._chosen(tensors_of(self.target(*args, **kwargs))))
        finally:
            core.set_dynamic_mode(False)
            core.set_grad_enabled(old)
        return self._chosen(outputs)

    def _chosen(self, outputs: list[Any]) -> tuple[Any, ...]:
        stored = {effect[-1][1]: effect for effect in self.effects if effect[0] in _STORES and effect[-1][0] == "output"}
        return tuple(
            outputs[at] if at is not None else _look(stored[number], None) if number in stored else None
            for number, at in self.outputs
        )

    def _as_at(self, call: Any, run: Callable[[], tuple[Any, ...]]) -> tuple[Any, ...]:
        """What `run` gives in the world as it was at the call; that is as it is now, after."""
        if any(kind == "grad" for kind, *_ in self.effects):
            raise GradError(
                "static: a gradient of its gradient runs the function again, which writes .grad",
                hint="take both gradients inside of the static function, or call it under dg.dynamic_mode()",
            )
        places = [effect for effect in self.effects if effect[0] != "call"]
        missing = call.missing
        before = [value for effect, value in zip(self.effects, call.before) if effect[0] != "call"]
        now = [_look(effect, missing) for effect in places]
        containers = [(c, c.copy()) for c in _containers(self.effects)]
        written = [(t, t.detach().clone()) for t in call.written]
        generator = core.get_rng_state()
        try:
            for effect, value in zip(places, before):
                _put(effect, value, missing)
            call.check()
            core.set_rng_state(*call.generator)
            state.again = True
            return run()
        finally:
            state.again = False
            core.set_rng_state(*generator)
            for container, content in containers:
                container.clear()
                (container.extend if isinstance(container, list) else container.update)(content)
            for effect, value in zip(places, now):
                _put(effect, value, missing)
            grads = core.set_grad_enabled(False)
            for tensor, value in written:
                tensor.copy_(value)
            core.set_grad_enabled(grads)


def _look(effect: tuple[Any, ...], missing: Any) -> Any:
    """What is where an effect writes to."""
    try:
        if effect[0] == "setattr":
            return getattr(effect[1], effect[2])
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
