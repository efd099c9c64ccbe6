"""Hooks of a Module: functions called before and after forward, in backward, and around its state.

A module without hooks never comes here.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import _core as core
from .._recorded import callee
from ..errors import ArgumentError, GradError
from .scopes import called

if TYPE_CHECKING:
    from .module import Module

KINDS = (
    "before", "forward", "backward_before", "backward", "state_before", "state_after", "load_before", "load_after",
)  # fmt: skip


# Hooks of all modules, by kind; they run before a module's own.
EVERYWHERE: dict[str, dict[int, Any]] = {kind: {} for kind in ("before", "forward", "backward_before", "backward")}
# Hooks of what is registered with any module.
REGISTRATION: dict[str, dict[int, Any]] = {kind: {} for kind in ("parameter", "buffer", "module")}
ACTIVE: list[int] = []  # their keys: not empty while there are any
_numbers = itertools.count()


class Hook(NamedTuple):
    """A registered function and how it wants to be called."""

    function: Callable[..., Any]
    with_kwargs: bool = False
    always_call: bool = False


class HookHandle:
    """What a `register_*_hook` returns: `remove()` takes the hook away again; also a context manager."""

    def __init__(self, module: Any, kind: str, key: int) -> None:
        self._module = module
        self._kind = kind
        self._key = key

    @classmethod
    def add(
        cls, module: Any, kind: str, function: Any, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False
    ) -> HookHandle:
        """Registers a hook behind those already there, or in front of them."""
        if not callable(function):
            raise ArgumentError(f"{type(module).__name__}: a hook must be a function, got {type(function).__name__}")
        hooks = module.__dict__.setdefault("_hooks", {"next": 0, **{k: {} for k in KINDS}})
        key = hooks["next"]
        hooks["next"] = key + 1
        table = hooks[kind]
        others = list(table.items())
        if prepend:
            table.clear()
        table[key] = Hook(function, with_kwargs, always_call)
        table.update(others)
        core.bump_epoch()
        return cls(module, kind, key)

    def remove(self) -> None:
        """Takes the hook away; once more does nothing."""
        hooks = self._module.__dict__.get("_hooks")
        if hooks is None or hooks[self._kind].pop(self._key, None) is None:
            return
        if not any(hooks[kind] for kind in KINDS):
            del self._module.__dict__["_hooks"]
        core.bump_epoch()

    def __enter__(self) -> HookHandle:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()


class RegistrationHookHandle:
    """What `register_module_*_registration_hook` returns: `remove()` takes the hook away again; also a context manager."""

    def __init__(self, kind: str, function: Any) -> None:
        if not callable(function):
            raise ArgumentError(
                f"register_module_{kind}_registration_hook: a hook must be a function, got {type(function).__name__}"
            )
        self._kind = kind
        self._key = next(_numbers)
        REGISTRATION[kind][self._key] = function

    def remove(self) -> None:
        """Takes the hook away; once more does nothing."""
        REGISTRATION[self._kind].pop(self._key, None)

    def __enter__(self) -> RegistrationHookHandle:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()


def registering(kind: str, module: Module, name: str, value: Any) -> Any:
    """What takes the place of a value that is registered with a module: itself, or what a hook gave."""
    for hook in tuple(REGISTRATION[kind].values()):
        given = hook(module, name, value)
        value = value if given is None else given
    return value


class GlobalHookHandle:
    """What `register_module_*_hook` returns: `remove()` takes the hook away again; also a context manager."""

    def __init__(self, kind: str, function: Any, with_kwargs: bool = False, always_call: bool = False) -> None:
        if not callable(function):
            raise ArgumentError(f"register_module_{kind}: a hook must be a function, got {type(function).__name__}")
        self._kind = kind
        self._key = next(_numbers)
        EVERYWHERE[kind][self._key] = Hook(function, with_kwargs, always_call)
        ACTIVE.append(self._key)
        core.bump_epoch()

    def remove(self) -> None:
        """Takes the hook away; once more does nothing."""
        if EVERYWHERE[self._kind].pop(self._key, None) is not None:
            ACTIVE.remove(self._key)
            core.bump_epoch()

    def __enter__(self) -> GlobalHookHandle:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()


def _hooks(module: Module, kind: str) -> list[tuple[Any, Hook]]:
    """The hooks of one kind in the order in which they run, with keys of their own."""
    own = module.__dict__.get("_hooks")
    found: list[tuple[Any, Hook]] = list(own[kind].items()) if own is not None else []
    everywhere = EVERYWHERE.get(kind)
    return [*((("all", key), hook) for key, hook in everywhere.items()), *found] if everywhere else found


def registered(module: Module, kind: str) -> list[Callable[..., Any]]:
    """The functions of one kind, as they are to be called now."""
    return [callee(hook.function) for _, hook in _hooks(module, kind)]


def run_with_hooks(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Forward with the hooks before and after it, and those of backward put in place."""
    call = _Call(module, args, kwargs)
    try:
        return call.run()
    except Exception:
        call.tell_failed()
        raise


class _Call:
    """One call of a Module with hooks."""

    def __init__(self, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.module = module
        self.args = args
        self.kwargs = kwargs
        self.output: Any = None
        self.called: set[Any] = set()  # keys of the forward hooks

    def run(self) -> Any:
        """All hooks around forward."""
        for _, hook in _hooks(self.module, "before"):
            self._prepare(hook)
        watched = any(_hooks(self.module, kind) for kind in ("backward", "backward_before"))
        in_backward = BackwardHooks(self.module) if watched else None
        if in_backward is not None:
            self.args = in_backward.enter(self.args)
        self.output = called(self.module, callee(self.module.forward), self.args, self.kwargs)
        for key, hook in _hooks(self.module, "forward"):
            self.called.add(key)
            replaced = self._after(hook)
            if replaced is not None:
                self.output = replaced
        return self.output if in_backward is None else in_backward.leave(self.output)

    def tell_failed(self) -> None:
        """Something has failed: the hooks that want to know are called; what they raise is only warned of."""
        for key, hook in _hooks(self.module, "forward"):
            if not hook.always_call or key in self.called:
                continue
            try:
                self._after(hook)
            except Exception as error:
                text = "a forward hook with always_call=True raised an exception that was silenced"
                warnings.warn(f"{type(self.module).__name__}: {text}, as forward had failed before: {error}", stacklevel=2)

    def _after(self, hook: Hook) -> Any:
        function = callee(hook.function)
        if hook.with_kwargs:
            return function(self.module, self.args, self.kwargs, self.output)
        return function(self.module, self.args, self.output)

    def _prepare(self, hook: Hook) -> None:
        """The arguments after a hook before forward."""
        function = callee(hook.function)
        if not hook.with_kwargs:
            replaced = function(self.module, self.args)
            if replaced is not None:
                self.args = replaced if isinstance(replaced, tuple) else (replaced,)
            return
        replaced = function(self.module, self.args, self.kwargs)
        if replaced is None:
            return
        if not (isinstance(replaced, tuple) and len(replaced) == 2):
            name = type(self.module).__name__
            raise ArgumentError(f"{name}: a forward pre-hook with_kwargs must return None or (args, kwargs), got {replaced!r}")
        self.args, self.kwargs = replaced


class BackwardHooks:
    """One call's place in backward: an identity around the inputs and one around the outputs see all gradients at once."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.n_inputs = 0
        self.tensors: list[int] | None = None  # positions of the inputs that have gradients; None: there are none
        self.grad_outputs: tuple[Any, ...] | None = None
        self.n_outputs = 0
        self.results: list[int] = []  # positions of the tensors among the results

    def enter(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments, whose gradients come to the hooks."""
        self.n_inputs = len(args)
        positions = [i for i, a in enumerate(args) if isinstance(a, core.Tensor)]
        if not core.is_grad_enabled() or not any(args[i].requires_grad for i in positions):
            return args
        self.tensors = positions
        chosen = tuple(args[i] for i in positions)
        seen = core.record_python(chosen, chosen, f"{type(self.module).__name__} inputs", self._inputs)
        replaced = dict(zip(positions, seen))
        return tuple(replaced.get(i, a) for i, a in enumerate(args))

    def leave(self, output: Any) -> Any:
        """The result, whose gradients the hooks see first."""
        single = isinstance(output, core.Tensor)
        given = (output,) if single else output
        positions = [i for i, x in enumerate(given) if isinstance(x, core.Tensor)] if isinstance(given, (tuple, list)) else []
        if not positions:
            warnings.warn(
                f"{type(self.module).__name__}: backward hooks are only called for results that are a Tensor or a tuple of them, "
                f"not {type(output).__name__}",
                stacklevel=2,
            )
            return output
        chosen = tuple(given[i] for i in positions)
        if not core.is_grad_enabled() or not any(x.requires_grad for x in chosen):
            return output
        self.n_outputs, self.results = len(given), positions
        replaced = dict(
            zip(positions, core.record_python(chosen, chosen, f"{type(self.module).__name__} outputs", self._outputs))
        )
        seen = [replaced.get(i, x) for i, x in enumerate(given)]
        make: Any = type(given)
        return seen[0] if single else make(seen) if type(given) in (tuple, list) else make(*seen)

    def _outputs(self, arrived: tuple[Any, ...]) -> tuple[Any, ...]:
        placed = dict(zip(self.results, arrived))
        grads = self._seen_by_hooks(tuple(placed.get(i) for i in range(self.n_outputs)))
        return tuple(grads[i] for i in self.results)

    def _seen_by_hooks(self, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        for hook in registered(self.module, "backward_before"):
            replaced = hook(self.module, grads)
            if replaced is not None:
                grads = self._fitting("grad_output", replaced, len(grads))
        self.grad_outputs = grads
        if self.tensors is not None:
            return grads
        for hook in registered(self.module, "backward"):
            replaced = hook(self.module, (None,) * self.n_inputs, grads)
            if replaced is not None and not (isinstance(replaced, tuple) and all(g is None for g in replaced)):
                raise GradError(
                    f"{type(self.module).__name__}: a backward hook gave gradients for inputs, but no input requires grad"
                )
        return grads

    def _inputs(self, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        assert self.tensors is not None
        if self.grad_outputs is None:  # they came here without passing the results, or for the second time
            return grads
        placed = dict(zip(self.tensors, grads))
        given = tuple(placed.get(i) for i in range(self.n_inputs))
        outputs, self.grad_outputs = self.grad_outputs, None
        for hook in registered(self.module, "backward"):
            replaced = hook(self.module, given, outputs)
            if replaced is not None:
                given = self._fitting("grad_input", replaced, self.n_inputs)
        return tuple(given[i] for i in self.tensors)

    def _fitting(self, what: str, replaced: Any, count: int) -> tuple[Any, ...]:
        found = replaced if isinstance(replaced, tuple) else (replaced,)
        if len(found) != count:
            raise GradError(f"{type(self.module).__name__}: a backward hook returned {len(found)} {what}, expected {count}")
        return found
