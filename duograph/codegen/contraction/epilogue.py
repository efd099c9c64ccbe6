"""Epilogues: the body over (batch, m, n) that follows the sums, run on each piece of C while it is in cache.

An epilogue is an elementwise kernel in place over C. The library calls its function on rectangles as they are finished;
what cannot be called there (bodies that may fail, another dtype or layout of C) runs as a launch of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from duograph.codegen.analysis import analyse
from duograph.codegen.body import Body, Scope
from duograph.codegen.frame import Frame
from duograph.codegen.kernel import Address, Extent, Instr, Launch, LoopKernel, Operand
from duograph.codegen.llvm import Module
from duograph.codegen.map_schedule import emit_map, emit_run
from duograph.codegen.target import Target

PARAMETERS = (
    ("ptr", "args"),
    ("ptr", "sizes"),
    ("ptr", "batch"),
    ("i64", "row"),
    ("i64", "rows"),
    ("i64", "column"),
    ("i64", "columns"),
)
_MAY_FAIL = ("floordiv", "mod", "div")


@dataclass(frozen=True)
class Epilogue:
    """The body over ``extents`` (batch..., m..., n...): reads sums through ``source`` and writes C through ``target``."""

    extents: tuple[Extent, ...]
    operands: tuple[Operand, ...]
    body: tuple[Instr, ...]
    source: Address
    target: Address

    def kernel(self) -> LoopKernel:
        accumulator, dtype = self.body[0], self.operands[self.target.arg].dtype
        body = [accumulator._replace(op="load", attr=self.source), *self.body[1:]]
        last = len(body) - 1
        if body[last].dtype != dtype:
            body.append(Instr("cast", (last,), dtype))
        body.append(Instr("store", (len(body) - 1,), dtype, self.target))
        return LoopKernel("epilogue", self.extents, frozenset(), self.operands, tuple(body))


def may_run_hot(body: Sequence[Instr]) -> bool:
    """No instruction reports an error: an epilogue function has nowhere to report it."""
    return not any(i.op == "gather" or (i.op in _MAY_FAIL and "int" in i.dtype) for i in body)


def emit_epilogue_function(
    module: Module, target: Target, symbol: str, epilogue: Epilogue, args: tuple[int, ...], sizes: Sequence[Extent]
) -> tuple[Extent, ...]:
    """The function the library calls; returns all sizes, those given first. m and n must be one dim each."""
    frame = Frame(module, target, symbol, args, PARAMETERS, sizes)
    facts = analyse(epilogue.kernel())
    body, f = Body(frame, facts), frame.function
    batch = len(epilogue.extents) - 2
    indices = {d: f.load("i64", f.gep("%batch", 8 * d)) for d in range(batch)}
    with f.loop("%row", f.add("%row", "%rows")) as row:
        scope = Scope(frame.vectors(1), {**indices, batch: row})
        emit_run(body, scope, batch + 1, "%column", f.add("%column", "%columns"))
    return frame.finish(0, 0).size_exprs


def emit_epilogue_launch(module: Module, target: Target, symbol: str, epilogue: Epilogue) -> list[Launch]:
    """The epilogue as launches of its own."""
    return emit_map(module, target, symbol, analyse(epilogue.kernel()))
