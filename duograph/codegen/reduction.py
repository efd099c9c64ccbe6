"""The reductions: what is carried along a loop, how two are combined, and the fixed tree over 16 partials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from duograph.codegen.convert import cast, round_to
from duograph.codegen.dtypes import DTYPES, DTypeInfo
from duograph.codegen.kernel import SUM_LANES
from duograph.codegen.vector import Vec, Vectors

Accumulator = list[Vec]
T = TypeVar("T")


@dataclass(frozen=True)
class Reduction:
    """One "reduce" instruction.

    Its accumulator is one vector; for argmax and argmin (value, logical index); for float max and min (value, a NaN
    that was met or 0), which keeps the test for NaN out of the chain of dependent instructions. Where accumulators are
    in memory and chains do not count, it is the value alone (`apart` is False).
    """

    number: int  # of the instruction
    source: int  # instruction reduced
    kind: str
    operand_dtype: str
    dtype: str
    apart: bool = True

    @property
    def info(self) -> DTypeInfo:
        return DTYPES[self.operand_dtype]

    @property
    def positional(self) -> bool:
        return self.kind in ("argmax", "argmin")

    @property
    def keeps_nan(self) -> bool:
        return self.apart and self._meets_nan

    @property
    def _meets_nan(self) -> bool:
        return self.kind in ("max", "min") and self.info.kind == "f"

    @property
    def elements(self) -> list[str]:
        """The LLVM element types of the accumulator; bool is carried as bytes."""
        first = "i8" if self.info.kind == "b" else self.info.element
        return [first, "i64"] if self.positional else [first, first] if self.keeps_nan else [first]

    def item(self, v: Vectors, value: Vec) -> Vec:
        """A value as it enters the accumulator."""
        return v.convert("zext", value, "i8") if self.info.kind == "b" else value

    def identity(self, v: Vectors) -> Accumulator:
        first = v.const(self.elements[0], _identity(self.kind, self.info))
        if self.keeps_nan:
            return [first, v.like(first, 0.0)]
        return [first, v.iota("i64")] if self.positional else [first]

    def of_items(self, v: Vectors, value: Vec, index: Callable[[], Vec]) -> Accumulator:
        """The accumulator that holds one vector of items."""
        if self.keeps_nan:
            return [value, value]
        return [value, index()] if self.positional else [value]

    def step(self, v: Vectors, acc: Accumulator, value: Vec, index: Callable[[], Vec], mask: Vec | None) -> Accumulator:
        """Fold one more vector in; ``index`` gives its logical indices, lanes outside ``mask`` do not count."""
        value = self.item(v, value)
        if mask is not None:
            value = v.select(mask, value, v.like(value, _identity(self.kind, self.info)))
        if not self.positional:
            return self.combine(v, acc, self.of_items(v, value, index))
        better = self._better(v, value, acc[0])
        return [v.select(better, value, acc[0]), v.select(better, index(), acc[1])]

    def combine(self, v: Vectors, a: Accumulator, b: Accumulator) -> Accumulator:
        if not self.positional:
            value = _COMBINE[self.kind](v, self.info, a[0], b[0])
            if self.keeps_nan:
                return [value, v.select(v.fcmp("uno", b[1], b[1]), b[1], a[1])]
            return [v.select(v.fcmp("uno", a[0], a[0]), a[0], value) if self._meets_nan else value]
        # the better value wins, of equals the smaller index
        earlier = v.icmp("slt", b[1], a[1])
        tie = v.and_(v.not_(self._better(v, a[0], b[0])), earlier)
        take = v.or_(self._better(v, b[0], a[0]), tie)
        return [v.select(take, b[0], a[0]), v.select(take, b[1], a[1])]

    def _better(self, v: Vectors, value: Vec, best: Vec) -> Vec:
        word = "gt" if self.kind == "argmax" else "lt"
        if self.info.kind == "f":
            # NaN beats everything but an earlier NaN
            return v.and_(v.fcmp("u" + word, value, best), v.fcmp("ord", best, best))
        return v.icmp(("s" if self.info.kind == "i" else "u") + word, value, best)

    def horizontal(self, v: Vectors, acc: Accumulator) -> Accumulator:
        """16 partials to one, halving: j with j + 8, then + 4, + 2, + 1."""
        width = SUM_LANES
        while width > 1:
            width //= 2
            half = v.narrowed(width)
            low = [half.shuffle(part, None, range(width)) for part in acc]
            high = [half.shuffle(part, None, range(width, 2 * width)) for part in acc]
            acc = self.combine(half, low, high)
        return acc

    def result(self, v: Vectors, acc: Accumulator) -> Vec:
        """The instruction's value from the finished accumulator."""
        if self.positional:
            return cast(v, acc[1], "int64", self.dtype)
        if self.info.kind == "b":
            return v.icmp("ne", acc[0], v.like(acc[0], 0))
        if self._meets_nan:  # one NaN for all: which of several was kept is the schedule's choice
            return v.select(v.fcmp("uno", acc[-1], acc[-1]), v.like(acc[0], float("nan")), acc[0])
        return round_to(v, acc[0], self.dtype)


def _identity(kind: str, info: DTypeInfo) -> float:
    if kind in ("sum", "any"):
        return 0
    if kind in ("prod", "all"):
        return 1
    top = kind in ("min", "argmin")
    if info.kind == "f":
        return float("inf") if top else float("-inf")
    if info.kind == "b":
        return 1 if top else 0
    if info.kind == "i":
        return (1 << (info.bits - 1)) - 1 if top else -(1 << (info.bits - 1))
    return (1 << info.bits) - 1 if top else 0


def _extreme(word: str) -> Callable[[Vectors, DTypeInfo, Vec, Vec], Vec]:
    def combine(v: Vectors, info: DTypeInfo, a: Vec, b: Vec) -> Vec:
        if info.kind == "f":
            return v.select(v.fcmp("o" + word, a, b), a, b)
        return v.select(v.icmp(("s" if info.kind == "i" else "u") + word, a, b), a, b)

    return combine


_COMBINE: dict[str, Callable[[Vectors, DTypeInfo, Vec, Vec], Vec]] = {
    "sum": lambda v, info, a, b: v.binary("fadd" if info.kind == "f" else "add", a, b),
    "prod": lambda v, info, a, b: v.binary("fmul" if info.kind == "f" else "mul", a, b),
    "max": _extreme("gt"),
    "min": _extreme("lt"),
    "any": lambda v, info, a, b: v.or_(a, b),
    "all": lambda v, info, a, b: v.and_(a, b),
}


def flatten(accumulators: Sequence[Accumulator]) -> list[Vec]:
    return [part for acc in accumulators for part in acc]


def regroup(reductions: Sequence[Reduction], parts: Sequence[T]) -> list[list[T]]:
    """The inverse of `flatten`: of parts one after the other, those of each reduction."""
    rest = iter(parts)
    return [[next(rest) for _ in reduction.elements] for reduction in reductions]
