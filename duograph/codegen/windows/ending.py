"""Sums over windows with what follows them: an epilogue that runs on each band of results while it is in cache."""

from __future__ import annotations

from dataclasses import replace

from duograph.codegen.contraction.epilogue import Epilogue, emit_epilogue_function, emit_epilogue_launch, may_run_hot
from duograph.codegen.kernel import Address, CompiledKernel, WindowKernel
from duograph.codegen.llvm import Module
from duograph.codegen.target import Target
from duograph.codegen.windows.launch import HEADER, launch_windows
from duograph.ir.dim import contiguous_strides


def emit_windows(module: Module, target: Target, symbol: str, kernel: WindowKernel) -> CompiledKernel:
    """The launches of sums and their epilogue, which is a launch of its own if it may report an error."""
    launch = launch_windows(kernel)
    if not kernel.epilogue:
        return CompiledKernel((launch,))
    extents = (*kernel.planes[:3], *kernel.counts)
    strides = contiguous_strides(extents)
    if kernel.plane is not None:
        strides = (*contiguous_strides((*extents[:3], kernel.plane))[:3], *strides[3:])
    place = Address(2, strides)
    flat = _is_flat(kernel)
    epilogue = Epilogue(extents, kernel.operands, kernel.epilogue, place, place)
    if not may_run_hot(kernel.epilogue):
        return CompiledKernel((launch, *emit_epilogue_launch(module, target, f"{symbol}_epilogue", epilogue)))
    args = tuple(range(len(kernel.operands)))
    words = list(launch.size_exprs)
    words[HEADER.index("epilogue")], words[HEADER.index("flat")] = len(args), int(flat)
    function = f"{symbol}_epilogue"
    sizes = emit_epilogue_function(module, target, function, _flattened(epilogue) if flat else epilogue, args, words)
    return CompiledKernel((launch._replace(args=args, size_exprs=sizes, functions=(function,)),))


def _is_flat(kernel: WindowKernel) -> bool:
    """Whether a row of results follows the one before in all that the epilogue reads."""
    addresses = [instr.attr for instr in kernel.epilogue if instr.attr is not None and instr.op != "const"]
    width = kernel.counts[2]
    return all(isinstance(a, Address) and not a.mask and (width == 1 or a.strides[4] == a.strides[5] * width) for a in addresses)


def _flattened(epilogue: Epilogue) -> Epilogue:
    """The same with all rows as one."""

    *outer, rows, width = epilogue.extents

    def merged(address: Address) -> Address:
        step = address.strides[4 if width == 1 else 5]  # a dim of one place has no step
        return address._replace(strides=(*address.strides[:4], 0, step))

    body = tuple(i._replace(attr=merged(i.attr)) if isinstance(i.attr, Address) else i for i in epilogue.body)
    place = merged(epilogue.target)
    return replace(epilogue, extents=(*outer, 1, rows * width), body=body, source=place, target=place)
