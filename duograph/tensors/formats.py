"""Names for how elements lie in memory: `memory_format=` and `layout=` as PyTorch spells them."""

from __future__ import annotations

from typing import Any

from .. import _core as core
from ..errors import ArgumentError, ShapeError

Tensor = core.Tensor

__all__ = ["channels_last", "channels_last_3d", "contiguous_format", "preserve_format", "strided"]


class MemoryFormat:
    """An order of dimensions in memory. `rank`: of the tensors that it is for, with the channels last in memory; 0: of all."""

    def __init__(self, name: str, rank: int = 0) -> None:
        self.name = name
        self.rank = rank

    def __repr__(self) -> str:
        return f"duograph.{self.name}"

    def __reduce__(self) -> str:
        return self.name

    def order(self, owner: str, x: Tensor) -> tuple[int, ...]:
        """The dimensions of a tensor from the outermost in memory to the innermost."""
        if not self.rank:
            return tuple(range(x.dim()))
        if x.dim() != self.rank:
            raise ShapeError(f"{owner}: {self.name} is for tensors of {self.rank} dimensions, got shape {tuple(x.shape)}")
        return (0, *range(2, self.rank), 1)

    def holds(self, x: Tensor) -> Any:
        """Whether the tensor lies in memory in this order; the core asks it for `x.is_contiguous(memory_format)`."""
        return x.permute(self.order("is_contiguous", x)).is_contiguous()

    def laid_out(self, owner: str, x: Tensor) -> Tensor:
        """The tensor itself if it lies in this order, else a copy that does."""
        order = self.order(owner, x)
        made: Tensor = x.permute(order).contiguous().permute(tuple(map(order.index, range(len(order)))))
        return made


class Layout:
    """How a tensor keeps its elements. There is one way: each has its place, found by strides."""

    def __repr__(self) -> str:
        return "duograph.strided"

    def __reduce__(self) -> str:
        return "strided"


contiguous_format = MemoryFormat("contiguous_format")
preserve_format = MemoryFormat("preserve_format")
channels_last = MemoryFormat("channels_last", 4)
channels_last_3d = MemoryFormat("channels_last_3d", 5)
strided = Layout()


def format_of(owner: str, memory_format: Any) -> MemoryFormat | None:
    """The format that was asked for; None if any will do."""
    if memory_format is None or memory_format is preserve_format:
        return None
    if not isinstance(memory_format, MemoryFormat):
        raise ArgumentError(
            f"{owner}: memory_format must be one of duograph.contiguous_format, preserve_format, channels_last, "
            f"channels_last_3d, not {memory_format!r}"
        )
    return memory_format
