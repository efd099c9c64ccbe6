"""Modules that hold modules."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, overload

from ..errors import ArgumentError, BoundsError
from .module import Module, RegistrationError, _indent


class _Listed(Module):
    """Modules under the names "0", "1", …: what Sequential and ModuleList share."""

    def _position(self, index: Any) -> int:
        try:
            position = operator.index(index)
        except TypeError:
            raise ArgumentError(f"{type(self).__name__}: the index must be an int or a slice, got {index!r}") from None
        count = len(self._modules)
        if not -count <= position < count:
            raise BoundsError(f"{type(self).__name__}: index {position} is out of range, it holds {count} modules")
        return position % count

    def _name_at(self, index: Any) -> str:
        return list(self._modules)[self._position(index)]

    def _refill(self, modules: list[Module]) -> None:
        for name in list(self._modules):
            del self.__dict__[name]
        self._modules.clear()
        for number, module in enumerate(modules):
            self.add_module(str(number), module)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())  # type: ignore[arg-type]

    def __contains__(self, module: object) -> bool:
        return any(held is module for held in self._modules.values())

    def __setitem__(self, index: int, module: Module) -> None:
        _check_module(self, module)
        setattr(self, self._name_at(index), module)

    def __delitem__(self, index: int | slice) -> None:
        kept = list(self)
        if isinstance(index, slice):
            del kept[index]
        else:
            del kept[self._position(index)]
        self._refill(kept)

    def append(self, module: Module) -> Any:
        """Adds a module at the end; returns the container."""
        _check_module(self, module)
        self.add_module(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Any:
        """Adds several modules at the end; returns the container."""
        for module in list(modules):
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> Any:
        """Adds a module before a position; returns the container."""
        _check_module(self, module)
        kept = list(self)
        kept.insert(operator.index(index), module)
        self._refill(kept)
        return self

    def pop(self, index: int = -1) -> Module:
        """Removes and returns the module at a position."""
        module = self[index]
        del self[index]
        return module

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Any: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return type(self)._of(list(self._modules.items())[index])
        return self._modules[self._name_at(index)]

    @classmethod
    def _of(cls, items: list[tuple[str, Module | None]]) -> Any:
        raise NotImplementedError


class Sequential(_Listed):
    """Calls its modules one after the other.

    >>> import duograph as dg
    >>> dg.nn.Sequential(dg.nn.Linear(2, 3), dg.nn.ReLU())
    Sequential(
      (0): Linear(in_features=2, out_features=3, bias=True)
      (1): ReLU()
    )
    """

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, module in modules[0].items():
                self.add_module(name, module)
            return
        for number, module in enumerate(modules):
            _check_module(self, module)
            self.add_module(str(number), module)

    @classmethod
    def _of(cls, items: list[tuple[str, Module | None]]) -> Sequential:
        return Sequential(dict(items))

    def forward(self, x: Any) -> Any:
        for module in self._modules.values():
            x = module(x)  # type: ignore[misc]
        return x


class ModuleList(_Listed):
    """A list of modules, all of them registered."""

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.extend(modules)

    @classmethod
    def _of(cls, items: list[tuple[str, Module | None]]) -> ModuleList:
        return ModuleList(module for _, module in items if module is not None)

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        return ModuleList([*self, *other])

    def __iadd__(self, other: Iterable[Module]) -> ModuleList:
        self.extend(other)
        return self

    def __repr__(self) -> str:
        """Equal neighbours are written once: `(0-3): 4 x Linear(…)`."""
        runs: list[tuple[int, int, str]] = []
        for number, module in enumerate(self):
            text = repr(module)
            if runs and runs[-1][2] == text:
                runs[-1] = (runs[-1][0], number, text)
            else:
                runs.append((number, number, text))
        if not runs:
            return f"{self._get_name()}()"
        lines = [
            f"({first}): {_indent(text)}" if first == last else f"({first}-{last}): {last - first + 1} x {_indent(text)}"
            for first, last, text in runs
        ]
        return "\n  ".join([f"{self._get_name()}(", *lines]) + "\n)"


class ModuleDict(Module):
    """A dict of modules, all of them registered."""

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.update(modules)

    def __getitem__(self, key: str) -> Module:
        module = self._modules.get(key)
        if module is None:
            known = ", ".join(self._modules) or "none"
            raise RegistrationError(f"{type(self).__name__} has no module {key!r}; there are: {known}")
        return module

    def __setitem__(self, key: str, module: Module) -> None:
        _check_module(self, module)
        if key in self._modules:
            setattr(self, key, module)
        else:
            self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        self[key]
        delattr(self, key)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, key: object) -> bool:
        return key in self._modules

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._modules.keys()

    def values(self) -> Iterable[Module]:
        """The modules."""
        return self._modules.values()  # type: ignore[return-value]

    def items(self) -> Iterable[tuple[str, Module]]:
        """Names and modules."""
        return self._modules.items()  # type: ignore[return-value]

    def pop(self, key: str) -> Module:
        """Removes and returns the module of a name."""
        module = self[key]
        del self[key]
        return module

    def clear(self) -> None:
        """Removes all modules."""
        for key in list(self._modules):
            del self[key]

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Adds or replaces modules by name."""
        for key, module in modules.items() if isinstance(modules, Mapping) else modules:
            self[key] = module


def _check_module(owner: Module, module: object) -> None:
    if not isinstance(module, Module):
        raise RegistrationError(
            f"{type(owner).__name__}: expected a Module, got {type(module).__name__}",
            hint="a function has to be wrapped in a Module's forward" if callable(module) else None,
        )
