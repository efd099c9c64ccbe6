"""Datasets and the loader of batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import duograph as dg
from duograph.utils.data import ConcatDataset, DataLoader, Dataset, Subset, TensorDataset, default_collate, random_split


class Squares(Dataset[Any]):
    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"x": dg.tensor([float(index)]), "y": index * index, "name": f"n{index}"}


def test_batches_in_order() -> None:
    loader = DataLoader(TensorDataset(dg.arange(10), dg.arange(10) * 2.0), batch_size=4)
    assert len(loader) == 3
    assert [x.tolist() for x, _ in loader] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert [x.tolist() for x, _ in DataLoader(loader.dataset, 4, drop_last=True)] == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_shuffle_follows_the_seed() -> None:
    loader = DataLoader(TensorDataset(dg.arange(20)), batch_size=20, shuffle=True)

    def order() -> list[int]:
        return next(iter(loader))[0].tolist()

    dg.manual_seed(1)
    first, second = order(), order()
    dg.manual_seed(1)
    assert order() == first != second and sorted(first) == sorted(second) == list(range(20))


def test_collation_by_field() -> None:
    batch = next(iter(DataLoader(Squares(), batch_size=3)))
    assert batch["x"].tolist() == [[0], [1], [2]] and batch["y"].tolist() == [0, 1, 4] and batch["name"] == ["n0", "n1", "n2"]
    assert default_collate([(1.5, np.zeros(2)), (2.5, np.ones(2))])[1].shape == (2, 2)
    assert default_collate([1.5]).dtype is dg.float64
    assert [item["y"] for item in DataLoader(Squares(), batch_size=None)] == [0, 1, 4, 9, 16, 25, 36]
    assert next(iter(DataLoader(Squares(), 2, collate_fn=len))) == 2


def test_iterables_lists_and_samplers() -> None:
    assert [b.tolist() for b in DataLoader(iter([1, 2, 3]), batch_size=2)] == [[1, 2], [3]]
    assert [b.tolist() for b in DataLoader([5, 6, 7], batch_size=2)] == [[5, 6], [7]]
    assert [b.tolist() for b in DataLoader([5, 6, 7], sampler=[2, 0], batch_size=2)] == [[7, 5]]
    assert [b.tolist() for b in DataLoader([5, 6, 7], batch_sampler=[[1], [0, 2]])] == [[6], [5, 7]]


def test_splits() -> None:
    dg.manual_seed(0)
    a, b = random_split(TensorDataset(dg.arange(10)), [7, 3])
    assert sorted(x.item() for part in (a, b) for (x,) in part) == list(range(10)) and len(a) == 7
    assert [len(part) for part in random_split(range(10), [0.5, 0.25, 0.25])] == [6, 2, 2]
    with pytest.raises(ValueError, match=r"the lengths \[3, 4\] must sum to 10"):
        random_split(range(10), [3, 4])


def test_composed_datasets() -> None:
    both = Subset([1, 2, 3], [2, 0])
    joined = ConcatDataset([both, [9]])
    assert list(both) == [3, 1] and len(joined) == 3 and joined[2] == 9 and joined[-1] == 9 and joined[0] == 3
    with pytest.raises(IndexError, match="index 3 is out of range, there are 3 items"):
        joined[3]
    assert len(Squares() + Squares()) == 14


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (lambda: DataLoader([1], 0), "batch_size must be an int above 0, got 0"),
        (lambda: DataLoader([1], num_workers=2), "num_workers must be 0 so far, got 2"),
        (lambda: DataLoader([1], shuffle=True, sampler=[0]), "a sampler sets the order itself"),
        (lambda: DataLoader([1], 2, batch_sampler=[[0]]), "leave batch_size, sampler and drop_last out"),
        (lambda: DataLoader(3), "a int is no dataset"),
        (lambda: DataLoader(iter([1]), shuffle=True), "no shuffle, no sampler"),
        (lambda: TensorDataset(dg.ones(2), dg.ones(3)), r"the same first size, got \[2\], \[3\]"),
        (lambda: TensorDataset([1]), "argument 0 must be a Tensor, got list"),
        (lambda: default_collate([dg.ones(1), dg.ones(2)]), r"item 0 is \[1\], item 1 is \[2\]"),
        (lambda: default_collate([object()]), "items of type object cannot become a batch"),
    ],
)
def test_mistakes(attempt: Any, message: str) -> None:
    with pytest.raises(dg.Error, match=message):
        attempt()


def test_samplers_of_positions():
    from duograph.utils.data import SubsetRandomSampler, WeightedRandomSampler

    chosen = SubsetRandomSampler([3, 5, 8], generator=dg.Generator().manual_seed(2))
    assert len(chosen) == 3 and sorted(chosen) == [3, 5, 8]
    drawn = list(WeightedRandomSampler([0.0, 1.0, 3.0], 200, generator=dg.Generator().manual_seed(2)))
    assert set(drawn) == {1, 2} and 110 < sum(i == 2 for i in drawn) < 185
    assert sorted(WeightedRandomSampler(dg.ones(4), 4, replacement=False)) == [0, 1, 2, 3]
    loader = DataLoader(TensorDataset(dg.arange(9)), batch_size=2, sampler=chosen)
    assert sorted(int(i) for (batch,) in loader for i in batch) == [3, 5, 8]
    with pytest.raises(dg.errors.DomainError, match="num_samples must be an int above 0"):
        WeightedRandomSampler([1.0], 0)


def test_datasets_that_only_iterate_and_stacked_ones():
    from duograph.utils.data import ChainDataset, IterableDataset, StackDataset

    class Counting(IterableDataset):
        def __init__(self, end):
            self.end = end

        def __iter__(self):
            return iter(range(self.end))

        def __len__(self):
            return self.end

    chained = Counting(3) + Counting(2)
    assert isinstance(chained, ChainDataset) and len(chained) == 5
    assert [b.tolist() for b in DataLoader(chained, batch_size=2)] == [[0, 1], [2, 0], [1]]
    pairs = StackDataset(TensorDataset(dg.arange(2)), ["a", "b"])
    assert len(pairs) == 2 and pairs[1][1] == "b"
    with pytest.raises(dg.errors.ShapeError, match="the same length"):
        StackDataset([1], [2, 3])
