"""A scalar counts as a row of one element wherever an operator goes along a dimension."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import duograph as dg

ROWS: dict[str, Any] = {
    "gather": lambda x, at: x.gather(0, at),
    "scatter": lambda x, at: x.scatter(-1, at, 2.0),
    "scatter of a source": lambda x, at: x.scatter(0, at, x * 3),
    "scatter_add": lambda x, at: x.scatter_add(0, at, x),
    "scatter_reduce": lambda x, at: x.scatter_reduce(0, at, x * 2, "amax"),
    "index_add": lambda x, at: x.index_add(0, at, x, alpha=2),
    "index_copy": lambda x, at: x.index_copy(-1, at, x * 5),
    "index_reduce": lambda x, at: x.index_reduce(0, at, x * 2, "prod"),
}
ALONG: dict[str, Any] = {
    "softmax": lambda x, dim: x.softmax(dim),
    "log_softmax": lambda x, dim: x.log_softmax(dim),
    "sum": lambda x, dim: x.sum(dim),
    "gather": lambda x, dim: x.gather(dim, (x * 0).long()),
}


def _with_gradient(lib: Any, call: Any, index: Any) -> tuple[Any, Any]:
    x = lib.tensor(1.5, requires_grad=True)
    result = call(x, lib.tensor(index))
    result.sum().backward()
    return result, x.grad


_AS_THE_INDEX = ("scatter of a source", "scatter_add", "scatter_reduce")  # their source has as many dimensions as the index


@pytest.mark.filterwarnings("ignore:index_reduce")
@pytest.mark.parametrize(
    ("name", "index"), [(name, index) for name in ROWS for index in (0, [0]) if index == 0 or name not in _AS_THE_INDEX]
)
def test_scalars_are_rows_of_one_element(name: str, index: Any) -> None:
    ours, gradient = _with_gradient(dg, ROWS[name], index)
    theirs, expected = _with_gradient(torch, ROWS[name], index)
    assert tuple(ours.shape) == tuple(theirs.shape)
    assert ours.tolist() == theirs.tolist()
    assert gradient.item() == expected.item()
    static = dg.static(lambda x: ROWS[name](x, dg.tensor(index)))
    assert static(dg.tensor(1.5)).tolist() == theirs.tolist()


@pytest.mark.parametrize("name", sorted(ALONG))
@pytest.mark.parametrize("dim", [1, -2])
def test_a_scalar_has_no_other_dim(name: str, dim: int) -> None:
    with pytest.raises(dg.errors.DimensionError, match=f"{name}: dim {dim} is out of range for 0 dimensions|dim {dim}"):
        ALONG[name](dg.tensor(1.5), dim)


def test_each_index_of_index_reduce_has_a_slice() -> None:
    with pytest.raises(dg.errors.ShapeError, match="size 0 of source is 3, but there are 1 indices"):
        dg.ones(3).index_reduce(0, dg.tensor([0]), dg.ones(3), "prod")
