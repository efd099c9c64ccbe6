"""Forward hooks of a Module. A module without hooks never comes here."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .. import _core as core
from .._recorded import callee

if TYPE_CHECKING:
    from .module import Module


class HookHandle:
    """What a `register_*_hook` returns: `remove()` takes the hook away again; also a context manager."""

    def __init__(self, module: Module, kind: str, key: int) -> None:
        self._module = module
        self._kind = kind
        self._key = key

    @classmethod
    def add(cls, module: Module, kind: str, hook: Callable[..., Any]) -> HookHandle:
        """Registers a hook behind those already there."""
        hooks = module.__dict__.setdefault("_hooks", {"before": {}, "forward": {}, "next": 0})
        key = hooks["next"]
        hooks["next"] = key + 1
        hooks[kind][key] = hook
        core.bump_epoch()
        return cls(module, kind, key)

    def remove(self) -> None:
        """Takes the hook away; once more does nothing."""
        hooks = self._module.__dict__.get("_hooks")
        if hooks is None or hooks[self._kind].pop(self._key, None) is None:
            return
        if not hooks["before"] and not hooks["forward"]:
            del self._module.__dict__["_hooks"]
        core.bump_epoch()

    def __enter__(self) -> HookHandle:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()


def run_with_hooks(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Forward with the hooks before and after it."""
    hooks = module.__dict__["_hooks"]
    for hook in list(hooks["before"].values()):
        replaced = callee(hook)(module, args)
        if replaced is not None:
            args = replaced if isinstance(replaced, tuple) else (replaced,)
    output = callee(module.forward)(*args, **kwargs)
    for hook in list(hooks["forward"].values()):
        replaced = callee(hook)(module, args, output)
        if replaced is not None:
            output = replaced
    return output
