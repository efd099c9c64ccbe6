"""Locks that a fork waits for: its child has one thread, and nobody to release what the others held."""

from __future__ import annotations

import os
from threading import RLock
from typing import Any

_locks: dict[int, Any] = {}
_held: list[Any] = []  # by the fork under way


def fork_safe_lock(rank: int) -> Any:
    """A new reentrant lock. Whoever takes several takes them by increasing rank, as a fork does."""
    if not _locks:
        os.register_at_fork(before=_acquire, after_in_parent=_release, after_in_child=_release)
    lock = RLock()
    _locks[rank] = lock
    return lock


def _acquire() -> None:
    for _, lock in sorted(_locks.items()):
        lock.acquire()
        _held.append(lock)


def _release() -> None:
    while _held:
        _held.pop().release()
