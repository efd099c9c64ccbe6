"""Watching Modules: one epoch counter says that some Module changed, then what the capture saw is compared."""

from __future__ import annotations

import sys
from typing import Any

from duograph._stack import is_followed

_TABLES = ("_parameters", "_buffers", "_modules")
MISSING = object()
_NUMBERS = (int, float, bool, str)


def is_module(value: Any) -> bool:
    """Whether it is an nn.Module (without importing `nn` for that)."""
    nn = sys.modules.get("duograph.nn.module")
    return nn is not None and isinstance(value, nn.Module)


def library_code_reads(cls: type) -> bool:
    """Whether forward code that is not converted, the library's own, may read this Module's attributes."""
    return any(c.__module__.startswith("duograph.") and not _is_converted(c) for c in cls.__mro__)


def _is_converted(cls: type) -> bool:
    nn = sys.modules.get("duograph.nn.module")
    return (nn is not None and issubclass(nn.Module, cls)) or is_followed(cls.__module__)


def _same(now: Any, then: Any) -> bool:
    return now is then or (type(now) is type(then) and isinstance(then, _NUMBERS) and now == then)


class ModuleWatch:
    """The attributes of Modules that a capture depends on."""

    def __init__(self) -> None:
        self.dicts: dict[int, dict[Any, Any]] = {}  # watched dicts by id
        self.seen: dict[tuple[int, Any], tuple[dict[Any, Any], Any, Any]] = {}
        self.tables: list[tuple[dict[Any, Any], list[tuple[Any, Any]]]] = []
        self.modules: list[Any] = []
        self.tensors: set[int] = set()
        self.skipped: set[tuple[int, Any]] = set()
        self.anew: set[tuple[int, Any]] = set()  # places of tensors that each run finds there

    def module(self, module: Any) -> None:
        """From now on this Module counts."""
        own = module.__dict__
        if id(own) in self.dicts:
            return
        if not self.modules:
            for table in sys.modules["duograph.nn.hooks"].EVERYWHERE.values():
                self.tables.append((table, list(table.items())))
        self.modules.append(module)
        self.dicts[id(own)] = own
        library = library_code_reads(type(module))
        self.remember(own, "_hooks", own.get("_hooks", MISSING))
        self.remember(own, "forward", own.get("forward", MISSING))
        for table in own.get("_hooks", {}).values():
            if isinstance(table, dict):
                self.tables.append((table, list(table.items())))
        for name, value in own.items():
            if name in _TABLES and isinstance(value, dict):
                self.dicts[id(value)] = value
                self.tables.append((value, list(value.items())))
                self.tensors.update(id(x) for x in value.values())
            elif library or name == "training":
                self.remember(own, name, value)
                if isinstance(value, dict):
                    self.tables.append((value, list(value.items())))

    def owns(self, holder: Any) -> bool:
        return id(holder) in self.dicts

    def remember(self, holder: dict[Any, Any], key: Any, value: Any) -> None:
        self.seen.setdefault((id(holder), key), (holder, key, value))

    def forget(self, holder: Any, key: Any) -> None:
        """The captured function writes this place itself."""
        self.skipped.add((id(holder), key))

    def read_anew(self, key: Any, tensor: Any) -> None:
        """Each run finds the tensor of this name afresh, in all places where a Module keeps it."""
        for holder in self.dicts.values():
            if holder.get(key, MISSING) is tensor:
                self.skipped.add((id(holder), key))
                self.anew.add((id(holder), key))

    def is_as_seen(self, holder: dict[Any, Any], key: Any, then: Any) -> bool:
        """Whether a place holds what the capture saw there, or may hold something else."""
        return (id(holder), key) in self.anew or _same(holder.get(key, MISSING), then)

    def unchanged(self) -> bool:
        """Whether all Modules still look as the capture saw them."""
        for holder, key, value in self.seen.values():
            if not self.is_as_seen(holder, key, value):
                return False
        for table, items in self.tables:
            if len(table) != len(items):
                return False
            for key, value in items:
                if table.get(key, MISSING) is not value and (id(table), key) not in self.skipped:
                    return False
        return True
