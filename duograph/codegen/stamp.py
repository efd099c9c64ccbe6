"""What besides the sources decides object code: the CPU and the installed LLVM, found without importing either heavy thing."""

from __future__ import annotations

import os
import sys

TRIPLE = "x86_64-unknown-linux-gnu"

_host: str | None = None
_compiler: str | None = None


def cache_key(isa: str | None = None) -> str:
    """The target and the compiler, in a line."""
    isa = isa or os.environ.get("DUOGRAPH_ISA", "native") or "native"
    cpu = _host_description() if isa == "native" else ""
    return f"{TRIPLE};{isa};{cpu};{_compiler_stamp()}"


def _host_description() -> str:
    """Model and exact feature flags of the first processor, as the kernel lists them."""
    global _host
    if _host is None:
        with open("/proc/cpuinfo", "rb") as file:
            lines = file.read(16384).split(b"\n\n", 1)[0].splitlines()
        wanted = (b"vendor_id", b"cpu family", b"model", b"stepping", b"flags")
        _host = ";".join(line.split(b":", 1)[1].strip().decode() for line in lines if line.split(b"\t", 1)[0].strip() in wanted)
    return _host


def _compiler_stamp() -> str:
    """Identifies the installed LLVM by the place, size and time of its shared library."""
    global _compiler
    if _compiler is None:
        _compiler = "none"
        for folder in sys.path:
            library = os.path.join(folder, "llvmlite", "binding", "libllvmlite.so")
            try:
                status = os.stat(library)
            except OSError:
                continue
            _compiler = f"{library}:{status.st_size}:{status.st_mtime_ns}"
            break
    return _compiler
