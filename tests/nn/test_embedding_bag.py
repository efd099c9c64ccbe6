"""Embeddings by bags against PyTorch, and what `Embedding` takes beside rows."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
import twins

import duograph as dg
from duograph import nn

RNG = np.random.default_rng(2)
TABLE = RNG.standard_normal((6, 3))
TABLE[4] = TABLE[1]  # for maxima that several rows attain
ROWS = np.array([1, 4, 2, 2, 0, 5, 1])
FREQUENT = np.array([1, 4, 1, 4, 0, 0])  # all as often: PyTorch divides by the wrong row's frequency otherwise
EACH = RNG.standard_normal(7)

CASES: dict[str, tuple[np.ndarray, np.ndarray | None, dict[str, Any]]] = {
    "rows": (ROWS[:6].reshape(2, 3), None, {}),
    "rows with padding": (ROWS[:6].reshape(3, 2), None, {"padding_idx": 2}),
    "offsets": (ROWS, np.array([0, 2, 5]), {}),
    "empty bags": (ROWS, np.array([0, 0, 4, 7]), {}),
    "the end given": (ROWS, np.array([0, 3, 3, 7]), {"include_last_offset": True}),
    "nothing but the end": (ROWS[:0], np.array([0]), {"include_last_offset": True}),
    "padding": (ROWS, np.array([0, 2, 4]), {"padding_idx": -4}),
    "no elements": (ROWS[:0], np.array([0, 0]), {}),
    "one element": (ROWS[:1], np.array([0]), {}),
    "32-bit": (ROWS.astype("int32"), np.array([0, 2, 5], "int32"), {}),
    "limited": (ROWS, np.array([0, 2, 5]), {"max_norm": 1.0, "norm_type": 1.0}),
    "by frequency": (FREQUENT, np.array([0, 2]), {"scale_grad_by_freq": True}),
    "weighed": (ROWS, np.array([0, 2, 5]), {"per_sample_weights": EACH}),
    "rows weighed": (ROWS[:6].reshape(2, 3), None, {"per_sample_weights": EACH[:6].reshape(2, 3), "padding_idx": 2}),
}


def leave_out(what: str, mode: str) -> bool:
    return ("weighed" in what and mode != "sum") or (what == "by frequency" and mode == "max")


@pytest.mark.parametrize(
    "what, mode", [(what, mode) for what in CASES for mode in ("sum", "mean", "max") if not leave_out(what, mode)]
)
def test_as_in_torch(what: str, mode: str) -> None:
    rows, offsets, settings = CASES[what]
    weighed = "per_sample_weights" in settings
    arrays = [TABLE, settings["per_sample_weights"]] if weighed else [TABLE]

    def run(library: Any) -> Any:
        given = {**settings, "mode": mode}

        def call(table: Any, *each: Any) -> Any:
            if each:
                given["per_sample_weights"] = each[0]
            if "max_norm" in given:
                table = table * 1.0
            at = None if offsets is None else library.tensor(offsets)
            return library.nn.functional.embedding_bag(library.tensor(rows), table, at, **given)

        return call

    twins.close(twins.results(dg, run(dg), arrays, ()), twins.results(torch, run(torch), arrays, ()))
    static = dg.static(run(dg), strict=True)
    twins.same_bits(twins.results(dg, static, arrays, ()), twins.results(dg, run(dg), arrays, ()))


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_second_gradients(mode: str) -> None:
    """PyTorch has none."""
    table = dg.tensor(RNG.standard_normal((4, 2)), requires_grad=True)
    rows, offsets = dg.tensor([0, 1, 2, 2, 3]), dg.tensor([0, 2, 2])
    assert dg.autograd.gradgradcheck(lambda t: nn.functional.embedding_bag(rows, t, offsets, mode=mode).pow(3), [table])


def test_frequencies_are_those_of_the_row() -> None:
    table = dg.ones(3, 1, requires_grad=True)
    nn.functional.embedding_bag(dg.tensor([[0, 1, 2, 0, 1]]), table, mode="sum", scale_grad_by_freq=True).sum().backward()
    assert table.grad.flatten().tolist() == [1, 1, 1]


def test_what_is_behind_the_last_offset_counts_for_nothing() -> None:
    found = nn.functional.embedding_bag(dg.tensor([1, 2, 3]), dg.eye(4), dg.tensor([0, 2]), mode="sum", include_last_offset=True)
    assert found.tolist() == [[0, 1, 1, 0]]


def test_offsets_may_change_their_number() -> None:
    static = dg.static(lambda rows, offsets: nn.functional.embedding_bag(rows, dg.tensor(TABLE), offsets, mode="max"))
    for count in (3, 5, 7):
        rows, offsets = dg.tensor(ROWS[:count]), dg.arange(0, count, 2)
        expected = torch.nn.functional.embedding_bag(
            torch.tensor(ROWS[:count]), torch.tensor(TABLE), torch.arange(0, count, 2), mode="max"
        )
        np.testing.assert_array_equal(static(rows, offsets).numpy(), expected.numpy())


def test_layers() -> None:
    settings = {"max_norm": 2.0, "norm_type": 1.0, "scale_grad_by_freq": True, "mode": "sum", "padding_idx": -1}
    ours, theirs = nn.EmbeddingBag(6, 3, **settings), torch.nn.EmbeddingBag(6, 3, **settings)
    assert repr(ours) == repr(theirs) and repr(nn.EmbeddingBag(3, 2)) == repr(torch.nn.EmbeddingBag(3, 2))
    assert ours.weight[5].tolist() == [0, 0, 0] and list(ours.state_dict()) == ["weight"]
    made = nn.EmbeddingBag.from_pretrained(dg.eye(3), mode="max", include_last_offset=True, padding_idx=1)
    assert not made.weight.requires_grad and made.weight.tolist() == dg.eye(3).tolist()
    assert made(dg.tensor([0, 1, 2]), dg.tensor([0, 2, 3])).tolist() == [[1, 0, 0], [0, 0, 1]]
    assert nn.EmbeddingBag.from_pretrained(dg.eye(3), freeze=False).weight.requires_grad
    table = nn.Embedding(3, 3, _weight=dg.eye(3), _freeze=True)
    assert table(dg.tensor(1)).tolist() == [0, 1, 0] and not table.weight.requires_grad
    assert nn.Embedding.from_pretrained(dg.eye(3), padding_idx=-1).padding_idx == 2
    with pytest.raises(ValueError, match=r"Embedding: the table must have shape \(3, 2\), got \(3, 3\)"):
        nn.Embedding(3, 2, _weight=dg.eye(3))


def test_mistakes() -> None:
    table, rows = dg.zeros(6, 3), dg.tensor(ROWS)

    def case(error: type[Exception], text: str, rows: Any, offsets: Any = None, **settings: Any) -> None:
        with pytest.raises(error, match="embedding_bag: " + text):
            nn.functional.embedding_bag(rows, table, offsets, **settings)

    first = dg.tensor([0])
    case(TypeError, "input of one dimension needs offsets", rows)
    case(TypeError, "input of two dimensions has a bag in each row", rows.reshape(1, 7), first)
    case(IndexError, "input must have 1 or 2 dimensions, got 3", rows.reshape(1, 7, 1))
    case(IndexError, "offsets must have one dimension, got 2", rows, first[None])
    case(ValueError, "mode must be 'sum', 'mean' or 'max', got 'min'", rows, first, mode="min")
    case(TypeError, "scale_grad_by_freq is not for mode='max'", rows, first, mode="max", scale_grad_by_freq=True)
    case(TypeError, "per_sample_weights are for mode='sum' only", rows, first, per_sample_weights=dg.zeros(7))
    case(
        ValueError,
        r"per_sample_weights must have input's shape \(7,\), got \(6,\)",
        rows,
        first,
        mode="sum",
        per_sample_weights=dg.zeros(6),
    )
    case(TypeError, "per_sample_weights must be float32", rows, first, mode="sum", per_sample_weights=dg.zeros(7).double())
    case(ValueError, "padding_idx 6 is outside a table of 6 rows", rows, first, padding_idx=6)
    case(ValueError, "there are no sparse gradients", rows, first, sparse=True)
    for offsets in ([1, 2], [0, 8], [-1, 2]):
        with pytest.raises(IndexError):
            nn.functional.embedding_bag(rows, table, dg.tensor(offsets))
    with pytest.raises(IndexError):
        nn.functional.embedding_bag(dg.tensor([[6]]), table)


def test_operators_can_be_copied_and_pickled() -> None:
    """As layers that have one for an attribute are."""
    for operator in (nn.functional.gelu, dg.add, dg.Tensor.relu_):
        assert copy.deepcopy(operator) is operator and pickle.loads(pickle.dumps(operator)) is operator
