"""The way in: kernel specs to one object file, and how to launch each."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from duograph.codegen.analysis import Facts, address_of, analyse, best_vector_dim, runs_along
from duograph.codegen.column_schedule import emit_column
from duograph.codegen.flow import emit_flow
from duograph.codegen.full_schedule import emit_full
from duograph.codegen.kernel import (
    CompiledKernel,
    ContractionKernel,
    FlowKernel,
    Kernel,
    RowKernel,
    ScatterKernel,
    Unit,
    WindowKernel,
)
from duograph.codegen.llvm import Module
from duograph.codegen.map_schedule import emit_map
from duograph.codegen.row_schedule import emit_row
from duograph.codegen.rows import launch_rows
from duograph.codegen.scatter import emit_scatter
from duograph.codegen.target import Target


def compile_kernels(kernels: Sequence[Kernel], target: Target) -> Unit:
    """Object code for ``kernels``; the same specs and target give the same bytes."""
    module, compiled = emit_module(kernels, target)
    return Unit(b"" if module.empty else target.emit_object(module.text()), compiled)


def emit_module(kernels: Sequence[Kernel], target: Target) -> tuple[Module, tuple[CompiledKernel, ...]]:
    """The LLVM IR of ``kernels``: ``emit_module(...)[0].text()`` to look at."""
    module = Module()
    return module, tuple(emit_kernel(module, target, f"k{i}", kernel) for i, kernel in enumerate(kernels))


def emit_kernel(module: Module, target: Target, symbol: str, kernel: Kernel) -> CompiledKernel:
    """Append one kernel's functions, named from ``symbol``, to ``module``."""
    if isinstance(kernel, ContractionKernel):
        generator = import_module("duograph.codegen.contraction")
        result: CompiledKernel = generator.emit_contraction(module, target, symbol, kernel)
        return result
    if isinstance(kernel, FlowKernel):
        return CompiledKernel((emit_flow(module, target, symbol, kernel),))
    if isinstance(kernel, RowKernel):
        return CompiledKernel((launch_rows(kernel),))
    if isinstance(kernel, WindowKernel):
        generator = import_module("duograph.codegen.windows.ending")
        made: CompiledKernel = generator.emit_windows(module, target, symbol, kernel)
        return made
    facts = analyse(kernel)
    if isinstance(kernel, ScatterKernel):
        return CompiledKernel(tuple(emit_scatter(module, target, symbol, facts, kernel)))
    return emit_loop(module, target, symbol, facts)


def emit_loop(module: Module, target: Target, symbol: str, facts: Facts) -> CompiledKernel:
    """Choose a schedule: nothing but speed depends on it."""
    if not facts.reduce_dims:
        return CompiledKernel(tuple(emit_map(module, target, symbol, facts)))
    single = facts.last_stage == 1 and not any(_stored_inside(facts, i) for i in range(len(facts.body)))
    if not facts.parallel_dims and single:
        return emit_full(module, target, symbol, facts)
    dim = best_vector_dim(facts, [*facts.parallel_dims, facts.reduce_dims[-1]])
    if dim is not None and dim != facts.reduce_dims[-1]:
        return CompiledKernel(tuple(emit_column(module, target, symbol, facts, dim)))
    return CompiledKernel(tuple(emit_row(module, target, symbol, facts)))


def _stored_inside(facts: Facts, number: int) -> bool:
    address = address_of(facts.body[number])
    return facts.body[number].op == "store" and address is not None and runs_along(facts, number, set(facts.reduce_dims))
