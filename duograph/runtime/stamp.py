"""What decides object code: the sources, the CPU and the installed LLVM, found without importing anything heavy."""

from __future__ import annotations

import os
import sys
from functools import cache

from duograph import _core as core

TRIPLE = "x86_64-unknown-linux-gnu"
_PARTS = {
    "codegen": ("contraction", "windows"),
    "ir": (),
    "ops": (
        "convolution",
        "elementwise",
        "matrix",
        "pooling",
        "randomness",
        "recurrence",
        "reduction",
        "resampling",
        "selection",
        "shapes",
        "training",
    ),
    "passes": ("fusion", "lowering", "memory", "rewriting"),
    "runtime": (),
}
FOLDERS = tuple(name for part, inner in _PARTS.items() for name in (part, *(f"{part}/{folder}" for folder in inner)))


def generator_stamp() -> str:
    """Names, sizes and times of all sources that decide what code comes out, and of the core; Python, whose `marshal` writes."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    sources: str = core.stamp_of_files([f"{package}/{name}" for name in FOLDERS], ".py")
    status = os.stat(core.__file__)
    return f"{sources}core:{status.st_size}:{status.st_mtime_ns}\nPython:{sys.hexversion}"


@cache
def package_stamp() -> str:
    """Names, sizes and times of all sources, for what the whole package decides."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    folders = [folder for folder, _, _ in os.walk(package) if not folder.endswith("__pycache__")]
    return core.digest(core.stamp_of_files(folders, ".py").encode())


@cache
def library_stamp() -> bytes:
    """Of the contents of the code generator's sources: where and when they were installed does not count."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    contents = []
    for folder in ("codegen", *(f"codegen/{name}" for name in _PARTS["codegen"])):
        for name in sorted(os.listdir(os.path.join(package, folder))):
            if name.endswith(".py"):
                with open(os.path.join(package, folder, name), "rb") as file:
                    contents.append(file.read())
    return core.digest(*contents).encode()


def _host_description() -> str:
    """Model and exact feature flags of the first processor, as the kernel lists them."""
    with open("/proc/cpuinfo", "rb", buffering=0) as file:
        text = b""
        while b"\n\n" not in text and (more := file.read(4096)):  # asking for all processors takes the longer the more there are
            text += more
    wanted = (b"vendor_id", b"cpu family", b"model", b"stepping", b"flags")
    lines = text.split(b"\n\n", 1)[0].splitlines()
    return ";".join(line.split(b":", 1)[1].strip().decode() for line in lines if line.split(b"\t", 1)[0].strip() in wanted)


def _compiler_stamp() -> str:
    """Identifies the installed LLVM by the place, size and time of its shared library."""
    for folder in sys.path:
        library = os.path.join(folder, "llvmlite", "binding", "libllvmlite.so")
        try:
            status = os.stat(library)
        except OSError:
            continue
        return f"{library}:{status.st_size}:{status.st_mtime_ns}"
    return "none"


_NATIVE = _host_description()
_COMPILER = _compiler_stamp()


def target_stamp() -> str:
    """The target and the compiler, in a line."""
    isa = os.environ.get("DUOGRAPH_ISA", "native") or "native"
    return f"{TRIPLE};{isa};{_NATIVE if isa == 'native' else ''};{_COMPILER}"


def processor() -> str:
    """The processor's model and features, in a line."""
    return _NATIVE
