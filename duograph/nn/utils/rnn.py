"""Sequences of unlike lengths: padded into one tensor, or packed without padding, under PyTorch's names.

A packed sequence has the first steps of all sequences, then the second steps of those that have one, and so on, the
longest sequence first; `batch_sizes` says how many sequences have each step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ... import _core as core
from ...errors import ArgumentError, DomainError, ShapeError
from ...ir.builder import active
from ...ops.elementwise.choice import where
from ...ops.reduction.scans import cumsum
from ...ops.selection.indexing import gather
from ...ops.selection.searching import searchsorted
from ...ops.selection.sorting import argsort, sort
from ...ops.shapes.joining import stack
from ...ops.shapes.padding import pad
from ...ops.sizes_of_values import size_of
from ...tensors.creation import arange, full, tensor

Tensor = core.Tensor


class _Packed(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


class PackedSequence(_Packed):
    """Sequences packed step by step: what `pack_padded_sequence` and `pack_sequence` make and recurrent layers take.

    data              [steps of all sequences, *], step by step
    batch_sizes       [longest length] int64: how many sequences have each step
    sorted_indices    which sequence of the batch is where in the packing; None: they are in their own order
    unsorted_indices  the way back
    """

    def __new__(
        cls,
        data: Any,
        batch_sizes: Tensor | None = None,
        sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> PackedSequence:
        if batch_sizes is None:
            if not isinstance(data, (tuple, list)) or len(data) != 2:
                raise ArgumentError("PackedSequence: needs data and batch_sizes", hint="pack_sequence makes one of a list")
            data, batch_sizes = data
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def like(self, output: Tensor) -> PackedSequence:
        """A packed sequence of the same lengths from a padded tensor [time, batch, *] in the order of the packing."""
        ends = cumsum(self.batch_sizes, 0)
        positions = arange(self.data.shape[0])
        step = searchsorted(ends, positions, right=True)
        data = output[step, positions - (ends - self.batch_sizes)[step]]
        return PackedSequence(data, self.batch_sizes, self.sorted_indices, self.unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """As `Tensor.to`, of the data."""
        data = self.data.to(*args, **kwargs)
        return self if data is self.data else PackedSequence(data, *self[1:])

    def double(self) -> PackedSequence:
        return self.to(core.float64)

    def float(self) -> PackedSequence:
        return self.to(core.float32)

    def half(self) -> PackedSequence:
        return self.to(core.float16)

    def long(self) -> PackedSequence:
        return self.to(core.int64)

    def int(self) -> PackedSequence:
        return self.to(core.int32)

    def short(self) -> PackedSequence:
        return self.to(core.int16)

    def char(self) -> PackedSequence:
        return self.to(core.int8)

    def byte(self) -> PackedSequence:
        return self.to(core.uint8)

    def cpu(self) -> PackedSequence:
        return self.to("cpu")

    def pin_memory(self) -> PackedSequence:
        """Itself: there is one kind of memory."""
        return self

    @property
    def is_cuda(self) -> bool:
        return bool(self.data.is_cuda)

    def is_pinned(self) -> bool:
        return False


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """Where each position of a permutation went; None of None."""
    return None if permutation is None else argsort(permutation)


def _batch_of(packed: PackedSequence) -> Any:
    """How many sequences there are."""
    if packed.sorted_indices is not None:
        return packed.sorted_indices.shape[0]
    first = packed.batch_sizes[0]
    return size_of("PackedSequence", first) if active() else int(first)


def steps_of(packed: PackedSequence) -> tuple[Tensor, Tensor, Any]:
    """The data as [time, batch, *], which of these steps there are, and the batch. The others hold anything."""
    batch = _batch_of(packed)
    sizes = packed.batch_sizes.unsqueeze(1)
    number = arange(batch).unsqueeze(0)
    live = number < sizes
    index = where(live, (cumsum(packed.batch_sizes, 0).unsqueeze(1) - sizes) + number, 0)
    return packed.data[index], live, batch


def _checked_lengths(lengths: Tensor, batch: Any, longest: Any, enforce_sorted: bool) -> Tensor:
    """The lengths; in a static program, where only the run knows them, one out of range ends it with an index's error."""
    owner = "pack_padded_sequence"
    if lengths.dim() != 1 or lengths.shape[0] != batch:
        raise ShapeError(f"{owner}: lengths must have one number for each of {batch} sequences, got {tuple(lengths.shape)}")
    if active():
        return gather(arange(1, longest + 1), 0, lengths - 1)
    given = lengths.tolist()
    if not given or min(given) <= 0:
        raise DomainError(f"{owner}: each length must be at least 1, got {given}")
    if max(given) > longest:
        raise DomainError(f"{owner}: the longest length is {max(given)}, the input has {longest} steps")
    if enforce_sorted and any(a < b for a, b in zip(given, given[1:])):
        raise DomainError(
            f"{owner}: lengths must not grow, got {given}", hint="pass enforce_sorted=False, and the sequences are sorted here"
        )
    return lengths


def pack_padded_sequence(input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True) -> PackedSequence:
    """Packs sequences of these lengths out of a padded tensor.

    Shapes: input [time, batch, *], with `batch_first` [batch, time, *]; lengths [batch], a tensor or a list
    `enforce_sorted`: lengths must not grow; else the sequences are sorted, which `pad_packed_sequence` undoes.
    Errors: DomainError for lengths below 1, above the time, or unsorted; ShapeError

    >>> import duograph as dg
    >>> packed = pack_padded_sequence(dg.tensor([[1, 2], [3, 4], [5, 0]]), [3, 2])
    >>> packed.data, packed.batch_sizes
    (tensor([1, 2, 3, 4, 5]), tensor([2, 2, 1]))
    """
    if input.dim() < 2:
        raise ShapeError(f"pack_padded_sequence: the input needs time and batch, got {tuple(input.shape)}")
    steps = input.transpose(0, 1) if batch_first else input
    sizes = lengths if isinstance(lengths, core.Tensor) else tensor(list(lengths), dtype=core.int64)
    sizes = _checked_lengths(sizes.to(core.int64), steps.shape[1], steps.shape[0], enforce_sorted)
    order = None
    if not enforce_sorted:
        sizes, order = sort(sizes, 0, True)
        steps = steps.index_select(1, order)
    live = arange(steps.shape[0]).unsqueeze(1) < sizes.unsqueeze(0)
    batch_sizes = live.sum(1)[: sizes[0]]
    return PackedSequence(steps[live], batch_sizes, order)


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """(sequences padded into one tensor, their lengths): what `pack_padded_sequence` packed.

    `total_length`: steps of the result, the longest length if left out.
    Errors: DomainError for a total_length below the longest length

    >>> import duograph as dg
    >>> packed = pack_sequence([dg.tensor([1.0, 3.0]), dg.tensor([2.0])])
    >>> pad_packed_sequence(packed)
    (tensor([[1., 2.],
            [3., 0.]]), tensor([2, 1]))
    """
    steps, live, _ = steps_of(sequence)
    shown = live.reshape(*live.shape, *(1 for _ in steps.shape[2:]))
    padded = where(shown, steps, padding_value)
    if total_length is not None:
        padded = _lengthened(padded, total_length, padding_value)
    lengths = live.sum(0)
    if sequence.unsorted_indices is not None:
        padded, lengths = padded.index_select(1, sequence.unsorted_indices), lengths[sequence.unsorted_indices]
    return (padded.transpose(0, 1) if batch_first else padded), lengths


def _lengthened(padded: Tensor, total: int, value: float) -> Tensor:
    """With steps of a value behind; where only the run knows how many there are, too many end it with an index's error."""
    longest = padded.shape[0]
    if isinstance(longest > total, core.Tensor):
        filled = full((total, *padded.shape[1:]), value, dtype=padded.dtype, device=padded.device)
        lengthened: Tensor = filled.index_copy(0, arange(longest), padded)
        return lengthened
    if total < longest:
        raise DomainError(f"pad_packed_sequence: total_length is {total}, the longest sequence has {longest} steps")
    return pad(padded, [0, 0] * (padded.dim() - 1) + [0, total - longest], value=value) if total > longest else padded


def pad_sequence(
    sequences: Tensor | Iterable[Tensor], batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Tensor:
    """Tensors [length, *] of unlike lengths in one, padded at the end, or at the start with `padding_side="left"`.

    Shapes: [longest, count, *], with `batch_first` [count, longest, *]
    Errors: ShapeError unless the other sizes are the same; DomainError for another side

    >>> import duograph as dg
    >>> pad_sequence([dg.tensor([1, 2]), dg.tensor([3])], batch_first=True)
    tensor([[1, 2],
            [3, 0]])
    """
    if padding_side not in ("right", "left"):
        raise DomainError(f"pad_sequence: padding_side must be 'right' or 'left', got {padding_side!r}")
    if not isinstance(sequences, (core.Tensor, Iterable)):
        raise ArgumentError(f"pad_sequence: expected tensors, got {type(sequences).__name__}")
    found = list(sequences)
    if not found:
        raise ArgumentError("pad_sequence: needs at least one sequence")
    for i, x in enumerate(found):
        if x.dim() == 0 or tuple(x.shape[1:]) != tuple(found[0].shape[1:]):
            raise ShapeError(
                f"pad_sequence: sequences may differ in their length only: "
                f"sequence 0 is {tuple(found[0].shape)}, sequence {i} is {tuple(x.shape)}"
            )
    longest = max(x.shape[0] for x in found)
    return stack([_padded(x, longest, padding_value, padding_side) for x in found], 0 if batch_first else 1)


def _padded(x: Tensor, length: Any, value: float, side: str) -> Tensor:
    missing = length - x.shape[0]
    ends = [0, missing] if side == "right" else [missing, 0]
    return pad(x, [0, 0] * (x.dim() - 1) + ends, value=value) if missing else x


def unpad_sequence(padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False) -> list[Tensor]:
    """The first `lengths[i]` steps of each sequence: what `pad_sequence` padded at the end.

    >>> import duograph as dg
    >>> unpad_sequence(dg.tensor([[1, 2], [3, 0]]), dg.tensor([2, 1]), batch_first=True)
    [tensor([1, 2]), tensor([3])]
    """
    sequences = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    if sequences.shape[0] != lengths.shape[0]:
        raise ShapeError(f"unpad_sequence: {sequences.shape[0]} sequences, but {lengths.shape[0]} lengths")
    index = arange(sequences.shape[1])
    return [x[index < n] for x, n in zip(sequences.unbind(0), lengths.unbind(0))]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Packs tensors [length, *]; unless `enforce_sorted` is False, the longest one is first.

    >>> import duograph as dg
    >>> pack_sequence([dg.tensor([1, 2]), dg.tensor([3])]).data
    tensor([1, 3, 2])
    """
    lengths = tensor([x.shape[0] for x in sequences], dtype=core.int64)
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The tensors that were packed.

    >>> import duograph as dg
    >>> unpack_sequence(pack_sequence([dg.tensor([1.0, 2.0]), dg.tensor([3.0])]))
    [tensor([1., 2.]), tensor([3.])]
    """
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)


__all__ = [
    "PackedSequence",
    "invert_permutation",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]
