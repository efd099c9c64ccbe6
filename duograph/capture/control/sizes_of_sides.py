"""Results of a branch whose sizes differ between its sides: as large as the larger, of which each run takes its part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from duograph._recorded import state
from duograph.ir.dim import Expr, maximum
from duograph.ir.graph import Value
from duograph.ir.types import TensorType
from duograph.ops.definition import REGISTRY
from duograph.ops.tracing import value_of, wrap

from ..values.late import late
from .merge import filler

if TYPE_CHECKING:
    from ..builder import CaptureBuilder


class Room(NamedTuple):
    """The sizes of a result on both sides, and what has room for either."""

    first: tuple[Expr, ...]
    second: tuple[Expr, ...]
    whole: tuple[Expr, ...]


class Sizes:
    """Those of one branch's results."""

    def __init__(self, builder: CaptureBuilder, predicate: Value) -> None:
        self.builder = builder
        self.predicate = predicate
        self.mark = builder.late_mark()

    def room(self, first: TensorType, second: TensorType) -> Room | None:
        """Room for tensors of both types; None if they differ in more than sizes, or a size is known inside of a side only."""
        alike = first.dtype is second.dtype and first.weak == second.weak and first.rank == second.rank
        known = all(self.builder.known_before(size, self.mark) for size in (*first.shape, *second.shape))
        if not alike or not known or self.builder.aliases.exact:
            return None
        return Room(first.shape, second.shape, tuple(map(maximum, first.shape, second.shape)))

    def fill(self, tensor: Any, room: Room) -> Any:
        """A tensor of one of the sizes, with zeros behind."""
        for dim, whole in enumerate(room.whole):
            shape = self.builder.read(tensor).shape
            if shape[dim] != whole:
                rest = (*shape[:dim], whole - shape[dim], *shape[dim + 1 :])
                tensor = REGISTRY["cat"].op([tensor, filler(TensorType(tensor.dtype, rest))], dim)
        return tensor

    def cut(self, tensor: Any, room: Room) -> Any:
        """The part of a result that the run's side made."""
        recorder: Any = state.recorder
        for dim, (first, second, whole) in enumerate(zip(*room)):
            if first == second:
                continue
            sizes = [wrap(value_of(size)) for size in (first, second)]
            count = REGISTRY["where"].op(wrap(self.predicate), *sizes)
            size = self.builder.size_of(self.builder.read(count), "chosen", whole)
            tensor = tensor[(*[slice(None)] * dim, slice(late(recorder, size)))]
        return tensor
