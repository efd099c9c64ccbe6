"""Positions of triangles against PyTorch, over all ways a diagonal can meet a matrix."""

from __future__ import annotations

import itertools

import pytest
import torch

import duograph as dg


@pytest.mark.parametrize("name", ["tril_indices", "triu_indices"])
def test_every_small_matrix(name: str) -> None:
    ours, theirs = getattr(dg, name), getattr(torch, name)
    for rows, columns, offset in itertools.product(range(5), range(5), (-9, -3, -1, 0, 1, 2, 4, 9)):
        found, wanted = ours(rows, columns, offset), theirs(rows, columns, offset)
        assert tuple(found.shape) == tuple(wanted.shape), (rows, columns, offset)
        assert found.tolist() == wanted.tolist(), (rows, columns, offset)
    assert ours(2, 2, dtype=dg.int32).dtype is dg.int32


def test_offsets_far_outside() -> None:
    far = 2**63 - 1
    assert dg.tril_indices(2, 3, far).shape == dg.triu_indices(2, 3, -far).shape == (2, 6)
    assert dg.tril_indices(2, 3, -far).shape == dg.triu_indices(2, 3, far).shape == (2, 0)
    assert dg.tril_indices(10**9, 10**9, 1 - 10**9).tolist() == [[10**9 - 1], [0]]


@pytest.mark.parametrize("name", ["tril_indices", "triu_indices"])
def test_more_than_memory_holds(name: str) -> None:
    with pytest.raises(MemoryError):
        getattr(dg, name)(2**62, 2**62)


@pytest.mark.parametrize("name", ["tril_indices", "triu_indices"])
def test_in_a_static_function(name: str) -> None:
    found = dg.static(lambda x: getattr(dg, name)(x.shape[0], x.shape[1], 1) + x.shape[0] * 0)(dg.zeros(3, 4))
    assert found.tolist() == getattr(torch, name)(3, 4, 1).tolist()
