"""Datasets: anything with `__getitem__` and `__len__`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from ... import _core as core
from ...errors import ArgumentError, BoundsError, DomainError, ShapeError
from ...tensors.creation import randperm

T = TypeVar("T", covariant=True)


class Dataset(Generic[T]):
    """Base of datasets: define `__getitem__(index)` and `__len__()`."""

    def __getitem__(self, index: Any) -> T:
        raise NotImplementedError(f"{type(self).__name__} does not define __getitem__()")

    def __add__(self, other: Dataset[Any]) -> ConcatDataset:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T]):
    """Base of datasets that only iterate: define `__iter__()`."""

    def __iter__(self) -> Iterator[T]:
        raise NotImplementedError(f"{type(self).__name__} does not define __iter__()")

    def __add__(self, other: Dataset[Any]) -> Any:
        return ChainDataset([self, other])


class ChainDataset(IterableDataset[Any]):
    """Datasets that only iterate, one after the other.

    >>> list(ChainDataset([[1, 2], [3]]))
    [1, 2, 3]
    """

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)

    def __iter__(self) -> Iterator[Any]:
        for dataset in self.datasets:
            yield from dataset

    def __len__(self) -> int:
        return sum(len(dataset) for dataset in self.datasets)


class StackDataset(Dataset[Any]):
    """Datasets of equal length side by side: items are tuples, or dicts of what is given by name.

    >>> StackDataset(x=[1, 2], y=[3, 4])[1]
    {'x': 2, 'y': 4}
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if bool(args) == bool(kwargs):
            raise ArgumentError("StackDataset: give datasets in order or by name")
        self.datasets: Any = kwargs or args
        lengths = {len(dataset) for dataset in (kwargs.values() if kwargs else args)}
        if len(lengths) > 1:
            raise ShapeError(f"StackDataset: the datasets must have the same length, got {sorted(lengths)}")
        self._length = lengths.pop()

    def __getitem__(self, index: Any) -> Any:
        if isinstance(self.datasets, dict):
            return {name: dataset[index] for name, dataset in self.datasets.items()}
        return tuple(dataset[index] for dataset in self.datasets)

    def __len__(self) -> int:
        return self._length


class TensorDataset(Dataset[tuple[core.Tensor, ...]]):
    """Tensors of equal first size, indexed together.

    >>> import duograph as dg
    >>> TensorDataset(dg.arange(3), dg.ones(3))[1]
    (tensor(1), tensor(1.))
    """

    def __init__(self, *tensors: core.Tensor) -> None:
        if not tensors:
            raise ArgumentError("TensorDataset: at least one tensor is needed")
        for number, tensor in enumerate(tensors):
            if not isinstance(tensor, core.Tensor):
                raise ArgumentError(
                    f"TensorDataset: argument {number} must be a Tensor, got {type(tensor).__name__}",
                    hint="convert arrays with duograph.from_numpy or duograph.tensor",
                )
            if tensor.dim() == 0 or len(tensor) != len(tensors[0]):
                shapes = ", ".join(str(list(t.shape)) for t in tensors)
                raise ShapeError(f"TensorDataset: the tensors must have the same first size, got {shapes}")
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[core.Tensor, ...]:
        return tuple(tensor[index] for tensor in self.tensors)

    def __len__(self) -> int:
        return len(self.tensors[0])


class Subset(Dataset[Any]):
    """The items of another dataset at the given positions."""

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __len__(self) -> int:
        return len(self.indices)


class ConcatDataset(Dataset[Any]):
    """Several datasets, one behind the other."""

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise ArgumentError("ConcatDataset: at least one dataset is needed")

    def __getitem__(self, index: int) -> Any:
        count = len(self)
        if not -count <= index < count:
            raise BoundsError(f"ConcatDataset: index {index} is out of range, there are {count} items")
        index %= count
        for dataset in self.datasets:
            if index < len(dataset):
                return dataset[index]
            index -= len(dataset)
        raise AssertionError("unreachable: the index is below the sum of the lengths")

    def __len__(self) -> int:
        return sum(len(dataset) for dataset in self.datasets)


def random_split(dataset: Any, lengths: Sequence[float], generator: Any = None) -> list[Subset]:
    """Splits a dataset into parts that do not overlap, in an order drawn at random.

    Args:
        lengths: counts that sum to `len(dataset)`, or fractions that sum to 1 (what is left over goes to the first parts).
        generator: what the order is drawn from; by default the default generator.
    """
    count = len(dataset)
    given = list(lengths)
    if given and all(isinstance(n, float) and 0 <= n <= 1 for n in given) and math.isclose(sum(given), 1):
        counts = [math.floor(count * fraction) for fraction in given]
        for i in range(count - sum(counts)):
            counts[i % len(counts)] += 1
    else:
        counts = [int(n) for n in given]
        if sum(counts) != count or any(n != m or n < 0 for n, m in zip(counts, given)):
            raise DomainError(
                f"random_split: the lengths {given} must sum to {count}, the length of the dataset, or be fractions that sum to 1"
            )
    order = randperm(count, generator=generator).tolist()
    parts = []
    start = 0
    for size in counts:
        parts.append(Subset(dataset, order[start : start + size]))
        start += size
    return parts
