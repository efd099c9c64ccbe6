"""Tensors from outside that overlap one another, and of which some are written: views of one piece of memory.

A capture takes tensors from outside for memory of their own. Once one is written that overlaps another, the call is captured
anew with the piece of memory on which they lie as one input, and each of them as a view of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from duograph import _core as core
from duograph.errors import CaptureError
from duograph.ir.types import TensorType

from .cells import Cell, Geometry, Step, View, relate

if TYPE_CHECKING:
    from ..builder import CaptureBuilder

Span = tuple[int, int]  # the first element, and the one after the last


class Care(NamedTuple):
    """What a capture has to look at more closely, as the tries before it found."""

    exact: bool = False  # tensors that may be others are followed
    find: bool = False  # results that may be others are to be found
    in_order: bool = False  # gradients of tensors that may be others are summed in dynamic mode's order
    for_order: bool = False  # `exact` is for that alone
    layouts: bool = False  # the layouts of what branches and loops give are followed
    spans: Mapping[int, tuple[Span, ...]] = {}  # by storage: memory on which several tensors lie

    def out_of_order(self) -> Care:
        """After a try in vain to follow tensors for the order of sums alone."""
        return self._replace(exact=False, in_order=False, for_order=False)


class LookAgain(CaptureError):
    """The call must be captured with more care."""

    def care(self, before: Care) -> Care:
        """For the next try."""
        raise NotImplementedError


class Overlapping(LookAgain):
    """Tensors of one storage are one piece of memory."""

    storage: int
    span: Span

    @staticmethod
    def found(storage: int, *geometries: Geometry) -> Overlapping:
        error = Overlapping("static: tensors from outside overlap, and one of them is written")
        error.storage = storage
        extents = [extent(geometry) for geometry in geometries]
        error.span = min(low for low, _ in extents), max(high for _, high in extents)
        return error

    def care(self, before: Care) -> Care:
        if len(before.spans) > 100:  # memory that is made anew at each try
            raise self
        low, high = self.span
        apart = []
        for span in before.spans.get(self.storage, ()):
            if span[0] < high and low < span[1]:
                low, high = min(low, span[0]), max(high, span[1])
            else:
                apart.append(span)
        return before._replace(spans={**before.spans, self.storage: (*apart, (low, high))})


def extent(geometry: Geometry) -> Span:
    """The first element of a tensor that is not empty, and the one after its last."""
    offset, shape, strides = geometry
    return offset, offset + sum((n - 1) * s for n, s in zip(shape, strides)) + 1


class Joined:
    """The pieces of memory of a capture on which several tensors lie."""

    def __init__(self, builder: CaptureBuilder, spans: Mapping[int, tuple[Span, ...]]) -> None:
        self.builder = builder
        self.spans = spans
        self.pieces: dict[tuple[int, Span], tuple[Cell, Any]] = {}  # with the first tensor met on it

    def view(self, storage: int, tensor: Any, geometry: Geometry) -> View | None:
        """What a tensor from outside is on its piece of memory; None if it lies on none."""
        if 0 in geometry[1]:
            return None
        low, high = extent(geometry)
        for span in self.spans.get(storage, ()):
            if span[0] < high and low < span[1]:
                if low < span[0] or span[1] < high:
                    raise Overlapping.found(storage, geometry, (span[0], (span[1] - span[0],), (1,)))
                return self._part(storage, span, tensor, geometry)
        return None

    def _part(self, storage: int, span: Span, tensor: Any, geometry: Geometry) -> View:
        if tensor.requires_grad and core.is_grad_enabled():
            raise CaptureError(
                f"static: a tensor of shape {geometry[1]} that requires grad overlaps another, and one of them is written",
                hint="clone one of them before the write",
            )
        known = self.pieces.get((storage, span))
        if known is None:
            known = self.pieces[storage, span] = self._piece(span, tensor), tensor
        cell, first = known
        self.builder.related.append((first, tensor))
        if first.dtype != tensor.dtype:
            raise CaptureError(
                f"static: a tensor of {tensor.dtype} overlaps one of {first.dtype}, and one of them is written in place",
                hint="clone one of them before the write",
            )
        whole: Geometry = (span[0], (span[1] - span[0],), (1,))
        steps = relate(whole, geometry, tensor.dtype)
        if steps is None:
            attrs = {"offsets": (geometry[0] - span[0],), "coefficients": geometry[2], "distinct": _is_distinct(geometry)}
            steps = (Step("affine", attrs, cell.root.value.type, TensorType(tensor.dtype, geometry[1])),)
        view = View(cell, steps, cell.value, geometry[2])
        view.version = -1
        return view

    def _piece(self, span: Span, tensor: Any) -> Cell:
        """The piece of memory as an input of the program."""
        builder = self.builder
        tracing = core.set_tracing(False)
        try:
            piece = core.as_strided(tensor.detach(), (span[1] - span[0],), (1,), span[0])
        finally:
            core.set_tracing(tracing)
        value = builder.input(TensorType(tensor.dtype, tuple(piece.shape)), strides=None, origin="state")
        builder.handles.add(value)
        builder.tensor_inputs.append((value, piece))
        builder.input_tensors[id(piece)] = value
        builder.pieces.append((piece, tensor, span[0] - tensor.storage_offset()))
        return Cell(value, value)


def _is_distinct(geometry: Geometry) -> bool:
    """Whether no two elements of a tensor share a place; False also where it is not easily told."""
    reach = 0
    for stride, size in sorted(zip(geometry[2], geometry[1])):
        if size > 1:
            if stride <= reach:
                return False
            reach += (size - 1) * stride
    return True
