"""Runs compiled kernels without the core: object code through LLVM's JIT linker, the kernel ABI through ctypes."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from duograph.codegen.emit import compile_kernels
from duograph.codegen.kernel import Kernel, Launch, Unit
from duograph.codegen.target import LEVELS, Target, get_target
from duograph.ir.substitution import evaluate

GUARD = 128
PATTERN = 0xA5
# "native" stands for x86-64-v4 where the machine has it
ALL_LEVELS = ("native", *LEVELS[: None if not get_target("native").masks else -1])
ENTRY = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p)


class Failure(Exception):
    """status was set: args are (code, value, extent)."""


@dataclass
class Guarded:
    """A copy of an array's memory between guard bytes, 64-byte aligned (or off by ``shift`` bytes)."""

    raw: np.ndarray[Any, Any]
    start: int
    size: int

    @classmethod
    def make(cls, data: bytes, shift: int = 0) -> Guarded:
        raw = np.full(len(data) + 2 * GUARD + 128, PATTERN, np.uint8)
        start = (-(raw.ctypes.data + GUARD)) % 64 + GUARD + shift
        raw[start : start + len(data)] = np.frombuffer(data, np.uint8)
        return cls(raw, start, len(data))

    @property
    def pointer(self) -> int:
        return self.raw.ctypes.data + self.start

    def bytes(self) -> bytes:
        assert (self.raw[: self.start] == PATTERN).all(), "bytes before the buffer were written"
        assert (self.raw[self.start + self.size :] == PATTERN).all(), "bytes after the buffer were written"
        return self.raw[self.start : self.start + self.size].tobytes()


class Loaded:
    """A compiled unit ready to run."""

    def __init__(self, kernels: Sequence[Kernel], target: Target | None = None) -> None:
        self.kernels = list(kernels)
        self.unit: Unit = compile_kernels(self.kernels, target or get_target())
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(self.unit.object))
        self._engine.finalize_object()

    def entry(self, symbol: str) -> Any:
        return ENTRY(self._engine.get_function_address(symbol))

    def launch(self, launch: Launch, pointers: Sequence[int], sizes: Mapping[str, int], splits: int = 1) -> None:
        values = [evaluate(x, sizes) for x in launch.size_exprs]
        chunks = evaluate(launch.chunks, sizes)
        scratch = Guarded.make(bytes(evaluate(launch.scratch, sizes)))
        args = (ctypes.c_void_p * max(1, len(launch.args)))(*(pointers[i] for i in launch.args))
        packed = (ctypes.c_int64 * max(1, len(values)))(*values)
        status = (ctypes.c_int64 * 5)()
        entry = self.entry(launch.symbol)
        cuts = sorted({round(i * chunks / splits) for i in range(splits + 1)})
        for begin, end in zip(cuts, cuts[1:]):
            entry(args, packed, begin, end, scratch.pointer, status)
            if status[0]:
                raise Failure(status[0], status[1], status[2])
        scratch.bytes()

    def run(
        self, index: int, arrays: Sequence[np.ndarray[Any, Any]], sizes: Mapping[str, int], splits: int = 1, shift: int = 0
    ) -> list[np.ndarray[Any, Any]]:
        """Run kernel ``index`` on the arrays' memory (C order); returns all operands' memory after."""
        compiled = self.unit.kernels[index]
        buffers = [Guarded.make(np.ascontiguousarray(a).tobytes(), shift) for a in arrays]
        temporaries = [Guarded.make(bytes(evaluate(t, sizes))) for t in compiled.temporaries]
        for launch in compiled.launches:
            self.launch(launch, [b.pointer for b in buffers + temporaries], sizes, splits)
        for temporary in temporaries:
            temporary.bytes()
        return [np.frombuffer(b.bytes(), a.dtype).reshape(a.shape) for a, b in zip(arrays, buffers)]


def _machine() -> Any:
    get_target("native").emit_object("")  # sets LLVM up
    return llvm.Target.from_default_triple().create_target_machine()


_CACHE: dict[tuple[Any, ...], Loaded] = {}


def run(
    kernel: Kernel,
    arrays: Sequence[np.ndarray[Any, Any]],
    sizes: Mapping[str, int] | None = None,
    *,
    isa: str = "native",
    splits: int = 1,
    shift: int = 0,
) -> list[np.ndarray[Any, Any]]:
    """Compile (once per kernel and level) and run."""
    key = (kernel, isa)
    if key not in _CACHE:
        _CACHE[key] = Loaded([kernel], get_target(isa))
    return _CACHE[key].run(0, arrays, sizes or {}, splits, shift)
