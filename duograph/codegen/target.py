"""The machine that code is generated for: its features, vector width, and the step from IR text to object code."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

from duograph._forks import compile_lock

_TRIPLE = "x86_64-unknown-linux-gnu"

# What each x86-64 psABI level adds, by LLVM's feature names.
_LEVELS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("x86-64", ("cx8", "cmov", "fxsr", "mmx", "sse", "sse2", "x87", "64bit")),
    ("x86-64-v2", ("cx16", "sahf", "popcnt", "sse3", "sse4.1", "sse4.2", "ssse3", "crc32")),
    ("x86-64-v3", ("avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "xsave")),
    ("x86-64-v4", ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "evex512")),
)
LEVELS = tuple(name for name, _ in _LEVELS)
# CPUs that work on 512-bit registers in two halves: there whole ones win nothing while waiting for memory, and several
# streams at once come in up to 1.4 times as fast through the halves.
_HALVED = ("znver4",)


# CPUs that load 16 elements from anywhere by one instruction sooner than one by one. Earlier ones of the same maker do so
# no longer since their microcode guards against "Downfall" (CVE-2022-40982).
_GATHERING = ("sapphirerapids", "emeraldrapids", "graniterapids", "diamondrapids")
# CPUs whose hardware prefetchers lose sight of sixteen streams at once.
_FEW_STREAMS = "znver"
# Dot products of bfloat16, and CPUs that issue them as often as multiply-adds.
_DOTS, _FULL_DOTS = "avx512bf16", "znver"


@dataclass(frozen=True)
class Target:
    """A CPU as LLVM sees it. ``isa`` is one of `LEVELS` or "native"; ``features`` are the enabled ones, sorted."""

    isa: str
    cpu: str
    features: tuple[str, ...]
    # turned off by name, because the CPU model implies them
    without: tuple[str, ...] = ()

    def has(self, feature: str) -> bool:
        return feature in self.features

    @property
    def fma(self) -> bool:
        return "fma" in self.features

    @property
    def masks(self) -> bool:
        """Masked loads and stores of every element size are instructions."""
        return "avx512bw" in self.features and "avx512vl" in self.features

    @property
    def float16_conversion(self) -> bool:
        return "f16c" in self.features

    @property
    def rounding(self) -> bool:
        """floor, ceil, trunc and round-to-even are instructions."""
        return "sse4.1" in self.features

    @property
    def vector_bytes(self) -> int:
        return 64 if "avx512f" in self.features else 32 if "avx2" in self.features else 16

    @property
    def dots(self) -> bool:
        """Sums of products of pairs of bfloat16 take no longer than multiply-adds of float32. See docs/design/0017."""
        return _DOTS in self.features and self.cpu.startswith(_FULL_DOTS) and self.vector_bytes == 64

    @property
    def follows_streams(self) -> bool:
        """Reading from many places in turn needs no prefetching by instruction, which only costs."""
        return not self.cpu.startswith(_FEW_STREAMS)

    @property
    def gathers(self) -> bool:
        """Elements from anywhere are loaded into a vector by instruction."""
        return self.cpu.startswith(_GATHERING) and self.vector_bytes == 64

    @property
    def light_attributes(self) -> str:
        """LLVM's attributes for functions whose time is that of memory (results do not depend on them)."""
        return '"min-legal-vector-width"="0" "prefer-vector-width"="256"' if self.cpu in _HALVED else ""

    @cached_property
    def level(self) -> Target:
        """The highest x86-64 level whose features this CPU has; itself where a level was asked for.

        Code for it does not depend on the machine where it is compiled, so an installation can bring it.
        """
        if self.isa in LEVELS:
            return self
        fitting = (target for name in reversed(LEVELS) if not set((target := get_target(name)).features) & set(self.without))
        return next(fitting)

    @cached_property
    def feature_string(self) -> str:
        return ",".join([*("+" + name for name in self.features), *("-" + name for name in self.without)])

    @cached_property
    def with_dots(self) -> Target:
        """The level, with dot products of bfloat16."""
        level = self.level
        return level if level.has(_DOTS) else replace(level, features=tuple(sorted((*level.features, _DOTS))))

    def emit_object(self, text: str) -> bytes:
        """Instruction selection of final IR text; no optimisation passes."""
        with compile_lock, _binding().parse_assembly(text) as module:
            machine = _machine(self)
            module.triple = machine.triple
            result: bytes = machine.emit_object(module)
        return result

    def emit_assembly(self, text: str) -> str:
        """The same as assembly text, to look at."""
        with compile_lock, _binding().parse_assembly(text) as module:
            machine = _machine(self)
            module.triple = machine.triple
            result: str = machine.emit_assembly(module)
        return result


@lru_cache(maxsize=1)
def _binding() -> Any:
    """llvmlite, set up once; imported only when something is compiled."""
    binding: Any = importlib.import_module("llvmlite.binding")
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    # Loop strength reduction turns row addresses base + i * stride into one serial chain of adds. Process-wide.
    binding.set_option("duograph", "-disable-lsr")
    return binding


@lru_cache(maxsize=16)
def _machine(target: Target) -> Any:
    return (
        _binding()
        .Target.from_triple(_TRIPLE)
        .create_target_machine(cpu=target.cpu, features=target.feature_string, opt=1, reloc="pic", codemodel="small")
    )


@lru_cache(maxsize=8)
def get_target(isa: str | None = None) -> Target:
    """The target of ``isa``, by default of the environment variable DUOGRAPH_ISA (default "native").

    Errors: ValueError for an unknown level.
    """
    if isa is None:
        return get_target(os.environ.get("DUOGRAPH_ISA", "native") or "native")
    if isa == "native":
        return _native()
    if isa not in LEVELS:
        raise ValueError(f"DUOGRAPH_ISA: unknown instruction level {isa!r}; one of native, {', '.join(LEVELS)}")
    features = {name for level in _LEVELS[: LEVELS.index(isa) + 1] for name in level[1]}
    without = ("prefer-256-bit",) if isa == "x86-64-v4" else ()
    return Target(isa, "x86-64", tuple(sorted(features)), without)


def _native() -> Target:
    with compile_lock:
        binding = _binding()
        features, name = binding.get_host_cpu_features(), binding.get_host_cpu_name()
    enabled = tuple(sorted(name for name, on in features.items() if on))
    # Off by name, too: what the model implies but this (virtual) machine lacks, and a preference for narrow vectors.
    disabled = tuple(sorted(name for name, on in features.items() if not on))
    return Target("native", name, enabled, ("prefer-256-bit", *disabled))
