"""The way in: kernel specs to one object file, and how to launch each."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from duograph.codegen.analysis import analyse
from duograph.codegen.kernel import CompiledKernel, ContractionKernel, Kernel, LoopKernel, ScatterKernel, Unit
from duograph.codegen.llvm import Module
from duograph.codegen.map_schedule import emit_map
from duograph.codegen.target import Target


def compile_kernels(kernels: Sequence[Kernel], target: Target) -> Unit:
    """Object code for ``kernels``; the same specs and target give the same bytes."""
    text, compiled = emit_text(kernels, target)
    return Unit(target.emit_object(text), compiled)


def emit_text(kernels: Sequence[Kernel], target: Target) -> tuple[str, tuple[CompiledKernel, ...]]:
    """The LLVM IR text of `compile_kernels`, to look at."""
    module = Module()
    compiled = tuple(emit_kernel(module, target, f"k{i}", kernel) for i, kernel in enumerate(kernels))
    return module.text(), compiled


def emit_kernel(module: Module, target: Target, symbol: str, kernel: Kernel) -> CompiledKernel:
    """Append one kernel's functions, named from ``symbol``, to ``module``."""
    if isinstance(kernel, ContractionKernel):
        generator = import_module("duograph.codegen.contraction")
        result: CompiledKernel = generator.emit_contraction(module, target, symbol, kernel)
        return result
    facts = analyse(kernel)
    return CompiledKernel(tuple(emit_map(module, target, symbol, facts)))
