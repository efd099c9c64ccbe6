"""Results of a branch whose sizes differ between its sides: as large as the larger, of which each run takes its part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from duograph import _core as core
from duograph._recorded import state
from duograph.ir.dim import Dim, Expr, maximum
from duograph.ir.graph import Value
from duograph.ir.substitution import substitute, symbols
from duograph.ir.types import TensorType
from duograph.ops.definition import REGISTRY
from duograph.ops.tracing import value_of, wrap

from ..values.late import late
from .merge import filler

if TYPE_CHECKING:
    from ..builder import CaptureBuilder


class Room(NamedTuple):
    """The sizes of a result on both sides, and what has room for either.

    inside  the dimensions whose size is known inside of a side only: the branch gives it as a number
    """

    first: tuple[Expr, ...]
    second: tuple[Expr, ...]
    whole: tuple[Expr, ...]
    inside: tuple[int, ...]


class Sizes:
    """Those of one branch's results."""

    def __init__(self, builder: CaptureBuilder, predicate: Value) -> None:
        self.builder = builder
        self.predicate = predicate
        self.mark = builder.late_mark()

    def room(self, first: TensorType, second: TensorType) -> Room | None:
        """Room for tensors of both types; None if they differ in more than sizes, or nobody knows how large one may be."""
        alike = first.dtype is second.dtype and first.weak == second.weak and first.rank == second.rank
        if not alike:
            return None
        whole: list[Expr] = []
        inside = []
        for dim, sizes in enumerate(zip(first.shape, second.shape)):
            most = [self._most(size) for size in sizes]
            if most[0] is None or most[1] is None:
                return None
            whole.append(maximum(most[0], most[1]))
            if tuple(most) != sizes:
                inside.append(dim)
        return Room(first.shape, second.shape, tuple(whole), tuple(inside))

    def _most(self, size: Expr) -> Expr | None:
        """What a size is at most, known before the branch: itself, or what its parts are made as at most."""
        builder = self.builder
        while not builder.known_before(size, self.mark):
            assert isinstance(size, Dim)
            grows = all(count > 0 and all(atom.kind == "symbol" for atom in atoms) for atoms, count in size.terms if atoms)
            highest = {symbol: builder.highest(symbol) for symbol in symbols(size) if not builder.known_before(symbol, self.mark)}
            if not grows or None in highest.values():
                return None
            size = substitute(size, {symbol: high for symbol, high in highest.items() if high is not None})
        return size

    def fill(self, tensor: Any, room: Room) -> Any:
        """A tensor of one of the sizes, with zeros behind."""
        for dim, whole in enumerate(room.whole):
            shape = self.builder.read(tensor).shape
            if shape[dim] != whole:
                rest = (*shape[:dim], whole - shape[dim], *shape[dim + 1 :])
                tensor = REGISTRY["cat"].op([tensor, filler(TensorType(tensor.dtype, rest))], dim)
        return tensor

    def cut(self, tensor: Any, room: Room, numbers: Sequence[Any]) -> Any:
        """The part of a result that the run's side made; `numbers`: what the branch gave for the sizes known inside only."""
        recorder: Any = state.recorder
        given = dict(zip(room.inside, numbers))
        for dim, (first, second, whole) in enumerate(zip(*room[:3])):
            if first == second and dim not in given:
                continue
            if dim in given:
                count = REGISTRY["cast"].op(given[dim], core.int64)
            else:
                count = REGISTRY["where"].op(wrap(self.predicate), *(wrap(value_of(size)) for size in (first, second)))
            size = self.builder.size_of(self.builder.read(count), "chosen", whole)
            tensor = tensor[(*[slice(None)] * dim, slice(late(recorder, size)))]
        return tensor
