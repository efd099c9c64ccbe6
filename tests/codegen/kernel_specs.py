"""Short ways to write kernel specs in tests."""

from __future__ import annotations

from collections.abc import Sequence

from duograph.codegen.kernel import Address, Extent, Instr, LoopKernel, Operand
from duograph.ir.dim import symbol

N, M, P = symbol("n"), symbol("m"), symbol("p")
F = "float32"


def load(arg: int, *strides: Extent, dtype: str = F, offset: Extent = 0,
         mask: tuple[tuple[int, Extent, Extent], ...] = ()) -> Instr:  # fmt: skip
    return Instr("load", (), dtype, Address(arg, strides, offset, mask))


def store(value: int, arg: int, *strides: Extent, dtype: str = F) -> Instr:
    return Instr("store", (value,), dtype, Address(arg, strides))


def operands(inputs: Sequence[str], output: str) -> tuple[Operand, ...]:
    return (*(Operand(dtype) for dtype in inputs), Operand(output, "out"))


def elementwise(op: str, inputs: Sequence[str], output: str) -> LoopKernel:
    """``output = op(*inputs)`` over one contiguous dim."""
    count = len(inputs)
    body = [load(i, 1, dtype=dtype) for i, dtype in enumerate(inputs)]
    body += [Instr(op, tuple(range(count)), output), store(count, count, 1, dtype=output)]
    return LoopKernel(op, (N,), frozenset(), operands(inputs, output), tuple(body))


def reduction(kind: str, extents: Sequence[Extent], dims: Sequence[int], source: Sequence[Extent], target: Sequence[Extent],
              dtype: str = F, output: str | None = None) -> LoopKernel:  # fmt: skip
    result = output or dtype
    body = (load(0, *source, dtype=dtype), Instr("reduce", (0,), result, kind), store(1, 1, *target, dtype=result))
    return LoopKernel(kind, tuple(extents), frozenset(dims), operands([dtype], result), body)
