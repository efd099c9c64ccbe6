"""Code shared by programs (contraction drivers): loaded into the core once per process, kept in the object cache."""

from __future__ import annotations

from collections.abc import Iterable

from duograph import _core as core


def load_libraries(symbols: Iterable[str]) -> None:
    """Load the libraries that symbols of the form "library:function" name, unless they are there."""
    for symbol in symbols:
        library, colon, _ = symbol.rpartition(":")
        if colon and not core.has_library(library):
            _load(library)


def _load(library: str) -> None:
    from . import cache

    key = cache.key("library", library)
    found = cache.load(key)
    if found is not None:
        try:
            core.add_library(library, found[1])
            return
        except Exception:  # whatever is wrong with what was on disk: make it anew
            pass
    code = _build(library)
    core.add_library(library, code)
    cache.store(key, {}, code)


def _build(library: str) -> bytes:
    from importlib import import_module

    from duograph.codegen.target import get_target

    contraction = import_module("duograph.codegen.contraction")
    code: bytes = contraction.build_library(library, get_target())
    return code
