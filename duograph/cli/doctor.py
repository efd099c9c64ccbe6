"""`duograph doctor`: what this machine has, and what would be faster."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from typing import Any

from .output import say, show_json, show_pairs, show_table

EXTRAS = {
    "onnx": "ONNX models",
    "onnxruntime": "check, bench --against",
    "openvino": "bench --against",
    "netron": "view",
    "matplotlib": "pictures of graphs, .png inputs",
    "networkx": "pictures of graphs",
    "tensorboardX": "event files",
    "scikit-learn": "the examples' data",
}


def examine() -> dict[str, Any]:
    """What was found, as plain values, with advice."""
    from duograph import _core as core
    from duograph.codegen.target import get_target
    from duograph.runtime import cache

    target = get_target()
    folder = cache.folder()
    cores = len(os.sched_getaffinity(0))
    found: dict[str, Any] = {
        "duograph": _version("duograph"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": cores,
        "load": round(os.getloadavg()[0], 2),
        "threads": core.get_num_threads(),
        "instruction_level": target.level.isa,
        "vector_bytes": target.vector_bytes,
        "caches": _caches(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "memory_available_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES"),
        "frequency_governor": _line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or None,
        "cache_folder": str(folder) if folder else None,
        "cache_writable": bool(folder and _writable(str(folder))),
        "cache_bytes": _bytes_in(str(folder)) if folder else 0,
        "extras": {name: _version(name) for name in EXTRAS},
    }
    found["advice"] = _advice(found, cores)
    return found


def _advice(found: dict[str, Any], cores: int) -> list[str]:
    advice = []
    if not found["cache_folder"]:
        advice.append("the kernel cache is off: each process compiles anew; unset DUOGRAPH_CACHE or set DUOGRAPH_CACHE_DIR")
    elif not found["cache_writable"]:
        advice.append(f"{found['cache_folder']} cannot be written: each process compiles anew; set DUOGRAPH_CACHE_DIR")
    if found["threads"] < cores:
        advice.append(f"{found['threads']} of {cores} cores are used: DUOGRAPH_NUM_THREADS, dg.set_num_threads")
    if found["threads"] > cores:
        advice.append(f"{found['threads']} threads share {cores} cores: DUOGRAPH_NUM_THREADS={cores}")
    if found["instruction_level"] not in ("x86-64-v3", "x86-64-v4"):
        advice.append("the processor has no AVX2: vectors are narrow (a virtual machine may hide it)")
    if found["load"] > cores + 0.5:
        advice.append(f"other programs are running (load {found['load']} on {cores} cores): timings say little now")
    if found["frequency_governor"] == "powersave":
        advice.append("the processor's frequency governor is powersave: performance is faster")
    if os.environ.get("DUOGRAPH_ISA", "native") not in ("", "native"):
        advice.append(f"DUOGRAPH_ISA={os.environ['DUOGRAPH_ISA']}: code is made for that level, not for this processor")
    if os.environ.get("DUOGRAPH_DYNAMIC"):
        advice.append("DUOGRAPH_DYNAMIC is set: static functions run line by line")
    if os.environ.get("PYTHONDONTWRITEBYTECODE"):
        advice.append("PYTHONDONTWRITEBYTECODE is set: each start compiles Python's sources anew")
    return advice


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            found = re.search(r"model name\s*:\s*(.+)", file.read())
    except OSError:
        found = None
    return found.group(1) if found else platform.processor() or platform.machine()


def _caches() -> dict[str, str]:
    """Each level's size, as the kernel says it."""
    base, found = "/sys/devices/system/cpu/cpu0/cache", {}
    for index in sorted(os.listdir(base)) if os.path.isdir(base) else ():
        parts = [_line(os.path.join(base, index, name)) for name in ("level", "type", "size")]
        if all(parts) and parts[1] != "Instruction":
            found[f"L{parts[0]}"] = parts[2]
    return found


def _line(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""


def _writable(folder: str) -> bool:
    while not os.path.exists(folder):
        folder = os.path.dirname(folder)
    return os.access(folder, os.W_OK)


def _bytes_in(folder: str) -> int:
    sizes = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                sizes += os.path.getsize(os.path.join(place, name))
            except OSError:
                continue
    return sizes


def show(found: dict[str, Any], as_json: bool) -> None:
    """Print it."""
    if as_json:
        show_json(found)
        return
    show_pairs("this machine", {key.replace("_", " "): _shown(x) for key, x in found.items() if key not in ("extras", "advice")})
    rows = [(name, version or "not installed", EXTRAS[name]) for name, version in found["extras"].items()]
    show_table("packages", ("package", "version", "for"), rows)
    for line in found["advice"] or ["nothing to mend"]:
        say(f"* {line}")


def _shown(value: Any) -> Any:
    if isinstance(value, dict):
        return ", ".join(f"{key} {x}" for key, x in value.items())
    return f"{value:,}".replace(",", " ") if type(value) is int and value > 9999 else value
