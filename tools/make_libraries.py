"""Compile the libraries that an installation brings: `make_libraries.py PACKAGE CORE OUTPUT`; CORE is the core's folder.

Each x86-64 level that has fused multiply-adds gets a folder with the object code of all matrix products, which programs
would otherwise compile when they first need it. A file begins with the digest of the sources it is made from.
"""

from __future__ import annotations

import sys
import types
from pathlib import Path

LEVELS = ("x86-64-v3", "x86-64-v4")


def main(package: Path, core: Path, output: Path) -> None:
    bare = types.ModuleType("duograph")  # the package's own __init__ wants all of it, installed
    bare.__path__ = [str(core), str(package)]
    sys.modules["duograph"] = bare
    from duograph.codegen.contraction import build_library, library_names
    from duograph.codegen.target import get_target
    from duograph.runtime.stamp import library_stamp

    stamp = library_stamp()
    for level in LEVELS:
        folder = output / level
        folder.mkdir(parents=True, exist_ok=True)
        target = get_target(level)
        for name in library_names(target):
            (folder / f"{name}.o").write_bytes(stamp + build_library(name, target))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
