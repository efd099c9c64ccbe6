"""DataLoader: batches of a dataset, in order or shuffled by the default generator."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

from ... import _core as core
from ...errors import ArgumentError, DomainError, DTypeError, ShapeError
from ...ops.randomness.drawing import multinomial
from ...ops.randomness.generators import Generator
from ...ops.shapes.joining import stack
from ...tensors.creation import randint, randperm, tensor
from .dataset import IterableDataset, TensorDataset

Collate = Callable[[list[Any]], Any]
T = TypeVar("T", covariant=True)


class Sampler(Generic[T]):
    """Base of samplers: define `__iter__()` and, where it has one, `__len__()`."""

    def __init__(self, data_source: Any = None) -> None:
        pass

    def __iter__(self) -> Iterator[T]:
        raise NotImplementedError(f"{type(self).__name__} does not define __iter__()")


class SequentialSampler(Sampler[int]):
    """0, 1, …, len(dataset) − 1."""

    def __init__(self, data_source: Any) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler[int]):
    """Positions in random order; with `replacement`, drawn independently."""

    def __init__(
        self, data_source: Any, replacement: bool = False, num_samples: int | None = None, generator: Generator | None = None
    ) -> None:
        self.data_source = data_source
        self.generator = generator
        self.replacement = replacement
        self.num_samples = num_samples
        if num_samples is not None and (not isinstance(num_samples, int) or num_samples <= 0):
            raise DomainError(f"RandomSampler: num_samples must be an int above 0, got {num_samples!r}")

    def __iter__(self) -> Iterator[int]:
        count, wanted = len(self.data_source), len(self)
        if self.replacement:
            yield from randint(0, count, (wanted,), generator=self.generator).tolist()
            return
        while wanted > 0:
            yield from randperm(count, generator=self.generator).tolist()[:wanted]
            wanted -= count

    def __len__(self) -> int:
        return len(self.data_source) if self.num_samples is None else self.num_samples


class SubsetRandomSampler(Sampler[int]):
    """The given positions in random order."""

    def __init__(self, indices: Sequence[int], generator: Generator | None = None) -> None:
        self.indices = indices
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        for place in randperm(len(self.indices), generator=self.generator).tolist():
            yield self.indices[place]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """Positions drawn by weights, each any number of times unless `replacement` is False."""

    def __init__(self, weights: Any, num_samples: int, replacement: bool = True, generator: Generator | None = None) -> None:
        if not isinstance(num_samples, int) or isinstance(num_samples, bool) or num_samples <= 0:
            raise DomainError(f"WeightedRandomSampler: num_samples must be an int above 0, got {num_samples!r}")
        self.weights = weights if isinstance(weights, core.Tensor) else tensor(list(weights), dtype=core.float64)
        if self.weights.dim() != 1:
            raise ShapeError(f"WeightedRandomSampler: weights must have one dimension, got {list(self.weights.shape)}")
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        yield from multinomial(self.weights, self.num_samples, self.replacement, generator=self.generator).tolist()

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """Lists of positions of another sampler."""

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool) -> None:
        if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size <= 0:
            raise DomainError(f"BatchSampler: batch_size must be an int above 0, got {batch_size!r}")
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[int]]:
        batch: list[int] = []
        for index in self.sampler:
            batch.append(index)
            if len(batch) == self.batch_size:
                yield batch
                batch = []
        if batch and not self.drop_last:
            yield batch

    def __len__(self) -> int:
        count = len(self.sampler)  # type: ignore[arg-type]
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)


class DataLoader:
    """Iterates over a dataset in batches.

    Args:
        dataset: with `__getitem__` and `__len__`, or an iterable of items.
        batch_size: items per batch; None hands out single items.
        shuffle: a new order each time, from the default generator (`duograph.manual_seed`).
        sampler, batch_sampler: own orders of positions, or of lists of positions.
        num_workers: only 0 so far: data is loaded in this process.
        collate_fn: makes a batch of a list of items; by default equal fields are stacked.
        drop_last: leaves out an incomplete last batch.
        generator: what orders are drawn from instead of the default generator.

    >>> import duograph as dg
    >>> for (x,) in DataLoader(TensorDataset(dg.arange(5)), batch_size=2): print(x)
    tensor([0, 1])
    tensor([2, 3])
    tensor([4])
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool = False,
        sampler: Iterable[int] | None = None,
        batch_sampler: Iterable[list[int]] | None = None,
        num_workers: int = 0,
        collate_fn: Collate | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        generator: Generator | None = None,
    ) -> None:
        if num_workers != 0:
            raise ArgumentError(f"DataLoader: num_workers must be 0 so far, got {num_workers!r}: data is loaded in this process")
        if (sampler is not None or batch_sampler is not None) and shuffle:
            raise ArgumentError("DataLoader: a sampler sets the order itself: shuffle must be False")
        if batch_sampler is not None and (batch_size != 1 or sampler is not None or drop_last):
            raise ArgumentError("DataLoader: a batch_sampler makes the batches: leave batch_size, sampler and drop_last out")
        self.dataset = dataset
        self.batch_size = None if batch_sampler is not None else batch_size
        self.drop_last = drop_last
        self.collate_fn = collate_fn
        self.num_workers = num_workers
        self.generator = generator
        self.sampler: Iterable[int] | None = None
        self.batch_sampler: Iterable[list[int]] | None = batch_sampler
        only_iterates = isinstance(dataset, IterableDataset)
        self._by_position = not only_iterates and hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")
        if not self._by_position:
            if not hasattr(dataset, "__iter__"):
                raise ArgumentError(
                    f"DataLoader: a {type(dataset).__name__} is no dataset: it needs __getitem__ and __len__, or __iter__"
                )
            if shuffle or sampler is not None or batch_sampler is not None:
                raise ArgumentError("DataLoader: a dataset that only iterates has its own order: no shuffle, no sampler")
            if batch_size is not None:
                BatchSampler((), batch_size, drop_last)
            return
        if batch_sampler is None:
            self.sampler = sampler or (RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset))
            if batch_size is not None:
                self.batch_sampler = BatchSampler(self.sampler, batch_size, drop_last)

    def __iter__(self) -> Iterator[Any]:
        if not self._by_position:
            yield from self._stream()
        elif self.batch_sampler is None:
            for index in self.sampler or ():
                item = self.dataset[index]
                yield self.collate_fn(item) if self.collate_fn else item
        else:
            for batch in self.batch_sampler:
                yield self._fetch(batch)

    def _fetch(self, batch: list[int]) -> Any:
        if self.collate_fn is None and type(self.dataset) is TensorDataset:
            return list(self.dataset[batch])  # one gather per tensor instead of a stack of rows
        return (self.collate_fn or default_collate)([self.dataset[index] for index in batch])

    def _stream(self) -> Iterator[Any]:
        collate = self.collate_fn or default_collate
        if self.batch_size is None:
            for item in self.dataset:
                yield self.collate_fn(item) if self.collate_fn else item
            return
        batch: list[Any] = []
        for item in self.dataset:
            batch.append(item)
            if len(batch) == self.batch_size:
                yield collate(batch)
                batch = []
        if batch and not self.drop_last:
            yield collate(batch)

    def __len__(self) -> int:
        if self.batch_sampler is not None:
            return len(self.batch_sampler)  # type: ignore[arg-type]
        if self.sampler is None:
            raise ArgumentError("DataLoader: a dataset that only iterates has no length")
        return len(self.sampler)  # type: ignore[arg-type]


def default_collate(batch: list[Any]) -> Any:
    """A batch of a list of items: tensors and arrays are stacked, numbers become a tensor, tuples and dicts go by field."""
    if not batch:
        raise DomainError("default_collate: the batch is empty")
    first = batch[0]
    if isinstance(first, core.Tensor):
        for number, item in enumerate(batch):
            if tuple(item.shape) != tuple(first.shape):
                raise ShapeError(
                    f"default_collate: items of different sizes cannot be stacked: item 0 is {list(first.shape)}, "
                    f"item {number} is {list(item.shape)}",
                    hint="pad them to one size, or pass a collate_fn",
                )
        return stack(batch, 0)
    if isinstance(first, (bool, int, float)):
        return tensor(batch, dtype=core.float64 if isinstance(first, float) else None)
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        return {key: default_collate([item[key] for item in batch]) for key in first}
    if isinstance(first, (tuple, list)):
        if any(len(item) != len(first) for item in batch):
            raise ShapeError("default_collate: the items have different numbers of fields", hint="pass a collate_fn")
        fields = [default_collate(list(field)) for field in zip(*batch)]
        if isinstance(first, tuple) and hasattr(first, "_fields"):
            return type(first)(*fields)
        return fields
    if hasattr(first, "__array__"):
        return default_collate([tensor(item) for item in batch])
    raise DTypeError(
        f"default_collate: items of type {type(first).__name__} cannot become a batch",
        hint="return tensors, arrays, numbers, or tuples and dicts of them, or pass a collate_fn",
    )
