"""Contraction libraries called by the kernel ABI through ctypes, without the core."""

from __future__ import annotations

import ctypes
import functools
import itertools
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from duograph.codegen.contraction import driver, emit_contraction, library
from duograph.codegen.contraction.parts import PARTS, part_symbols, parts_word
from duograph.codegen.kernel import KEPT, CompiledKernel, ContractionKernel, Instr, Launch, Operand
from duograph.codegen.llvm import Module
from duograph.codegen.target import get_target

SCRATCH = 1 << 23
GUARD = 64


def load_object(code: bytes, isa: str) -> Any:
    """The engine that holds an object file (kept alive by the caller)."""
    module = llvm.parse_assembly("")
    engine = llvm.create_mcjit_compiler(module, llvm.Target.from_default_triple().create_target_machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return engine


def function(engine: Any, name: str) -> Any:
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    return ctypes.CFUNCTYPE(None, pointer, pointer, number, number, pointer, pointer)(engine.get_function_address(name))


@functools.cache
def engine_of(dtype: str, isa: str) -> Any:
    return load_object(library.build_library(library.library_name(dtype), get_target(isa)), isa)


@functools.cache
def address_of(symbol: str, isa: str) -> int:
    """Of a constant of a library, as "library:name"."""
    library_, _, name = symbol.rpartition(":")
    return int(engine_of(library_.removeprefix("contraction-"), isa).get_global_value_address(name))


@functools.cache
def run_of(dtype: str, isa: str) -> Any:
    return function(engine_of(dtype, isa), driver.RUN)


@functools.cache
def scratch() -> np.ndarray:
    raw = np.zeros(SCRATCH + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + SCRATCH]


def header(a: np.ndarray, b: np.ndarray, c: np.ndarray, chunk: tuple[int, int], epilogue: int = 0, parts: int = 0) -> np.ndarray:
    """The sizes of C = A·B for numpy views of equal batch shape."""
    size = c.itemsize
    (m, k), n = a.shape[-2:], b.shape[-1]
    strides = [a.strides[-2], a.strides[-1], b.strides[-2], b.strides[-1], c.strides[-2]]
    words = [m, n, k, *(s // size for s in strides), *chunk, epilogue, parts, 0, a.ndim - 2]
    words += [0] * (len(driver.HEADER) - len(words))
    for d in range(a.ndim - 2):
        words += [a.shape[d], a.strides[d] // size, b.strides[d] // size, c.strides[d] // size]
    return np.array(words, np.int64)


def chunk_count(c: np.ndarray, chunk: tuple[int, int]) -> int:
    m, n = c.shape[-2:]
    return int(np.prod(c.shape[:-2], dtype=np.int64)) * -(-m // chunk[0]) * -(-n // chunk[1])


def new_status(stop: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The status words of a launch and the interrupt flag they point to."""
    flag = np.array([stop], np.int32)
    return np.array([0, 0, 0, flag.ctypes.data, 0], np.int64), flag


def product(
    a: np.ndarray,
    b: np.ndarray,
    c: np.ndarray | None = None,
    *,
    chunk: tuple[int, int] = (64, 64),
    ranges: Iterable[tuple[int, int]] | None = None,
    isa: str = "native",
    without: Collection[str] = (),
    far: bool = False,
) -> np.ndarray:
    """A·B by the library of their dtype; C is checked to be written within its bounds only.

    ``without``: parts left out; ``far``: B is said to come from memory.
    """
    batch, m, n = a.shape[:-2], a.shape[-2], b.shape[-1]
    guarded = None
    if c is None:
        count = int(np.prod((*batch, m, n), dtype=np.int64))
        guarded = np.full(count + 2 * GUARD, 77, a.dtype)
        guarded[GUARD : GUARD + count] = np.nan if a.dtype.kind == "f" else 55
        c = guarded[GUARD : GUARD + count].reshape(*batch, m, n)
    symbols = part_symbols(str(a.dtype)) if a.dtype.kind == "f" else ()
    wanted = [part not in without for part, _ in zip(PARTS, symbols)]
    tables = [address_of(symbol, isa) for symbol, is_wanted in zip(symbols, wanted) if is_wanted]
    sizes = header(a, b, c, chunk, parts=parts_word(3, wanted))
    sizes[driver.HEADER.index("far")] = far
    args = np.array([a.ctypes.data, b.ctypes.data, c.ctypes.data, *tables], np.uint64)
    status, flag = new_status()
    run = run_of(str(a.dtype), isa)
    for begin, end in ranges if ranges is not None else [(0, chunk_count(c, chunk))]:
        run(args.ctypes.data, sizes.ctypes.data, begin, end, scratch().ctypes.data, status.ctypes.data)
    assert not flag.any()
    if guarded is not None:
        assert (guarded[:GUARD] == 77).all() and (guarded[len(guarded) - GUARD :] == 77).all(), "wrote outside C"
    return c


def _panels(launch: Launch, arrays: Sequence[np.ndarray], isa: str) -> np.ndarray:
    """What the launch finds kept with its operand, made in two pieces."""
    keep = launch.keep
    assert keep is not None
    panels = np.full(int(keep.bytes) + 64, 99, np.uint8)
    library_, _, name = keep.symbol.rpartition(":")
    run = function(engine_of(library_.removeprefix("contraction-"), isa), name)
    args = np.array([arrays[keep.operand].ctypes.data, panels.ctypes.data], np.uint64)
    sizes, chunks = np.array(keep.size_exprs, np.int64), int(keep.chunks)
    status, _ = new_status()
    for begin, end in itertools.pairwise([0, chunks // 2, chunks]):
        run(args.ctypes.data, sizes.ctypes.data, begin, end, 0, status.ctypes.data)
    assert (panels[int(keep.bytes) :] == 99).all(), "wrote beyond the panels"
    return panels


def strides_of(x: np.ndarray) -> tuple[int, ...]:
    """In elements; 0 for extents of 1 would also do."""
    return tuple(s // x.itemsize for s in x.strides)


def contract(
    a: np.ndarray,
    b: np.ndarray,
    c: np.ndarray,
    more: Sequence[np.ndarray] = (),
    epilogue: tuple[Instr, ...] = (),
    *,
    batch: int,
    m: int = 1,
    k: int = 1,
    dtype: str | None = None,
    cuts: int = 1,
    isa: str = "native",
    types: Sequence[str] | None = None,
    kept: bool = False,
) -> CompiledKernel:
    """Lower and run C = A·B for numpy arrays: ``batch`` leading dims, then ``m`` dims and ``k`` dims of A.

    ``kept``: panels of B are made before, as of a parameter that stays as it is.
    """
    names = list(types) if types else [str(x.dtype) for x in (a, b, c, *more)]
    operands = tuple(Operand(name, "out" if i == 2 else "in") for i, name in enumerate(names))
    accumulator = dtype or names[0]
    kernel = ContractionKernel(
        "contraction",
        accumulator,
        a.shape[:batch],
        a.shape[batch : batch + m],
        b.shape[batch + k :],
        a.shape[batch + m :],
        strides_of(a),
        strides_of(b),
        strides_of(c),
        operands,
        epilogue or (Instr("accumulator", (), accumulator),),
    )
    target = get_target(isa)
    module = Module()
    compiled = emit_contraction(module, target, "k0", kernel)
    engine = load_object(target.emit_object(module.text()), isa)
    arrays = [a, b, c, *more]
    room = [np.full(int(size) + 64, 99, np.uint8) for size in compiled.temporaries]
    for launch in compiled.launches:
        panels = _panels(launch, arrays, isa) if kept else None
        given = [*arrays, *room]
        addresses = [(given[i].ctypes.data if i != KEPT else 0 if panels is None else panels.ctypes.data) for i in launch.args]
        addresses += [address_of(name, isa) if ":" in name else engine.get_function_address(name) for name in launch.functions]
        args = np.array(addresses, np.uint64)
        library_, _, name = launch.symbol.rpartition(":")
        run = function(engine_of(library_.removeprefix("contraction-"), isa) if library_ else engine, name)
        sizes = np.array(launch.size_exprs, np.int64)
        chunks = int(launch.chunks)
        assert launch.scratch <= SCRATCH
        bounds = [chunks * i // cuts for i in range(cuts + 1)]
        status, flag = new_status()
        for begin, end in itertools.pairwise(bounds):
            run(args.ctypes.data, sizes.ctypes.data, begin, end, scratch().ctypes.data, status.ctypes.data)
        assert status[0] == 0 and not flag.any()
    return compiled
