"""Code shared by programs (contraction drivers): loaded into the core once per process.

The object cache has it after the first time; before that the files that came with the installation, if they were made
from these very sources; else it is compiled.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from duograph import _core as core

_INSTALLED = os.path.join(os.path.dirname(core.__file__), "libraries")


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
    code = _installed(library) or _build(library)
    core.add_library(library, code)
    cache.store(key, {}, code)


def _installed(library: str) -> bytes | None:
    """The object code that came with the installation; None if there is none of these sources for this machine."""
    from duograph.codegen.target import get_target

    from .stamp import library_stamp

    try:
        with open(os.path.join(_INSTALLED, get_target().level.isa, f"{library}.o"), "rb") as file:
            content = file.read()
    except OSError:
        return None
    stamp = library_stamp()
    return content[len(stamp) :] if content.startswith(stamp) else None


def _build(library: str) -> bytes:
    from importlib import import_module

    from duograph.codegen.target import get_target

    contraction = import_module("duograph.codegen.contraction")
    code: bytes = contraction.build_library(library, get_target())
    return code
