"""Helpers around training: `utils.data`, `utils.checkpoint`."""

from typing import Any


def __getattr__(name: str) -> Any:
    if name not in ("checkpoint", "data"):
        raise AttributeError(f"module 'duograph.utils' has no attribute {name!r}")
    from .._forks import import_late

    return import_late(f"{__name__}.{name}")
