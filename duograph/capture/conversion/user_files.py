"""Whose code a file is."""

from __future__ import annotations

import os
import sysconfig
import types

from duograph._stack import FOLLOWED, PACKAGE_FOLDER

_STDLIB = tuple(
    {os.path.realpath(p) + os.sep for p in (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")) if p}
    | {os.path.abspath(p) + os.sep for p in (sysconfig.get_path("stdlib"),) if p}
)
_SITE = f"{os.sep}site-packages{os.sep}"
# Installed packages that know nothing of tensors: their code is not worth converting.
_FOREIGN = tuple(f"{_SITE}{name}{os.sep}" for name in ("numpy", "_pytest", "pluggy", "scipy", "torch", "jax", "tqdm"))


def is_user_file(file: str) -> bool:
    """Whether code of this file is the user's, or as theirs: not the package's own, not Python's library."""
    if file.startswith(FOLLOWED):
        return True
    if not file or file.startswith((PACKAGE_FOLDER, "<frozen")):
        return False
    if file.startswith(_STDLIB):
        return _SITE in file and not any(name in file for name in _FOREIGN)
    return not any(name in file for name in _FOREIGN)


def is_user_module(module: types.ModuleType) -> bool:
    return is_user_file(getattr(module, "__file__", None) or "")
