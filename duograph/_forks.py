"""Locks that a fork waits for: its child has one thread, and nobody to release what the others held.

A module that another thread is importing is such a lock too, so the package's late imports run under `compile_lock`.
"""

from __future__ import annotations

import os
from _thread import RLock, _local

TYPE_CHECKING = False  # as typing's, whose import takes longer than the rest
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

# Whoever takes both takes them in this order, as a fork does.
capture_lock = RLock()  # one capture at a time; runs go in parallel
compile_lock = RLock()  # late imports, code generation and LLVM, whose own lock a fork would not wait for
_LOCKS = (capture_lock, compile_lock)
_of_thread = _local()  # "taken": the locks, while this thread forks; none if the package was imported in the middle of a fork


def _acquire() -> None:
    _of_thread.taken = []
    for lock in _LOCKS:
        lock.acquire()
        _of_thread.taken.append(lock)


def _release() -> None:
    taken = getattr(_of_thread, "taken", [])
    while taken:
        taken.pop().release()


os.register_at_fork(before=_acquire, after_in_parent=_release, after_in_child=_release)


def import_late(module: str) -> ModuleType:
    """A module of the package (by its full name) that is imported when it is first needed."""
    from importlib import import_module

    from ._collection import paused_collection

    with compile_lock, paused_collection():
        return import_module(module)


def import_attribute(target: str) -> Any:
    """What "module:name" says: the core's way to its hooks."""
    module, _, name = target.partition(":")
    return getattr(import_late(module), name)
