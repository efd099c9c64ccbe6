"""One kernel function under construction: the ABI's parameters, sizes and pointers on demand, failing lanes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from duograph.codegen.kernel import Extent, Launch
from duograph.codegen.llvm import Function, Module, Value
from duograph.codegen.target import Target
from duograph.codegen.vector import Vec, Vectors

PARAMETERS = [
    ("ptr", "args"),
    ("ptr", "sizes"),
    ("i64", "begin"),
    ("i64", "end"),
    ("ptr", "scratch"),
    ("ptr", "status"),
]


class Frame:
    """The function, and what it asks its caller for: size expressions and scratch bytes."""

    def __init__(
        self,
        module: Module,
        target: Target,
        symbol: str,
        args: tuple[int, ...],
        parameters: Sequence[tuple[str, str]] = PARAMETERS,
        sizes: Sequence[Extent] = (),
        attributes: str = "",
    ) -> None:
        """``sizes``: what already stands at the front of the sizes array; ``attributes``: of the LLVM function."""
        self.function = Function(module, symbol, parameters, attributes=attributes)
        self.target = target
        self.args = args
        self.scratch: Extent = 0
        self._sizes: list[Extent] = list(sizes)
        self._known: dict[object, Value] = {}
        self._pointers: dict[int, str] = {}

    def vectors(self, lanes: int) -> Vectors:
        return Vectors(self.function, self.target, lanes)

    def size(self, expression: Extent) -> Value:
        """An extent, stride or offset: 0, 1 and -1 are literals, everything else is an entry of ``sizes``."""
        if isinstance(expression, int):
            # ints travel as separate entries even if equal by chance: the code must not depend on that
            return expression if expression in (0, 1, -1) else self._load_size(expression)
        if expression not in self._known:
            self._known[expression] = self._load_size(expression)
        return self._known[expression]

    def fixed(self, key: object, expression: Extent) -> Value:
        """`size` of an expression used in several places under one key (an extent of a loop, a stride)."""
        if isinstance(expression, int) and expression not in (0, 1, -1):
            if key not in self._known:
                self._known[key] = self._load_size(expression)
            return self._known[key]
        return self.size(expression)

    def _load_size(self, expression: Extent) -> Value:
        f = self.function
        position = len(self._sizes)
        self._sizes.append(expression)
        pointer = "%sizes" if position == 0 else f.prelude(f"getelementptr i64, ptr %sizes, i64 {position}")
        return f.prelude(f"load i64, ptr {pointer}")

    def pointer(self, operand: int) -> str:
        """The data pointer of an operand (or temporary)."""
        if operand not in self._pointers:
            f = self.function
            position = self.args.index(operand)
            slot = "%args" if position == 0 else f.prelude(f"getelementptr ptr, ptr %args, i64 {position}")
            self._pointers[operand] = f.prelude(f"load ptr, ptr {slot}")
        return self._pointers[operand]

    def reserve_scratch(self, count: Extent, bytes: int) -> str:
        """Room for ``count`` elements (and a vector's overrun), 64-byte aligned, in the worker's scratch."""
        f = self.function
        start = self.size(self.scratch)
        padded = (count + 31) // 16 * 16
        self.scratch = self.scratch + padded * max(bytes, 4)
        return f.gep("%scratch", start)

    def fail_if(self, condition: str, code: int, value: Value = 0, extent: Value = 0) -> None:
        """Report and leave the kernel if the i1 ``condition`` holds."""
        self.function.leave_if(condition, lambda: self._report(code, value, extent))

    def fail_lanes(self, v: Vectors, lanes: Vec, code: int, values: Callable[[], Vec] | None = None, extent: Value = 0) -> None:
        """Report and leave the kernel if any lane of the condition holds, with the first such lane's value."""
        if values is None:
            self.fail_if(v.any(lanes), code)
            return
        shown = values

        def report() -> None:
            self._report(code, v.extract(shown(), self._first(lanes)), extent)

        self.function.leave_if(v.any(lanes), report)

    def _report(self, *words: Value) -> None:
        f = self.function
        for position, word in enumerate(words):
            f.store("i64", word, f.gep("%status", position * 8))

    def _first(self, lanes: Vec) -> Value:
        """The number of the first lane that is set."""
        if lanes.lanes == 1:
            return 0
        f = self.function
        bits = f.op(f"bitcast {lanes.type} {lanes.ref} to i{lanes.lanes}")
        wide = f.op(f"zext i{lanes.lanes} {bits} to i64")
        f.module.declare("llvm.cttz.i64", "i64", ["i64", "i1"])
        return f.op(f"call i64 @llvm.cttz.i64(i64 {wide}, i1 true)")

    def finish(self, chunks: Extent, cost: Extent) -> Launch:
        self.function.module.add(self.function)
        return Launch(self.function.name, self.args, tuple(self._sizes), chunks, self.scratch, cost)
