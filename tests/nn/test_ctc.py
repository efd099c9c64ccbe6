"""The loss of labels along time, against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import twins

import duograph as dg
from duograph import nn

RNG = np.random.default_rng(6)
ctc_loss = nn.functional.ctc_loss


def log_probs(*shape: int) -> np.ndarray:
    x = RNG.standard_normal(shape)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


X = log_probs(6, 2, 4)
PAIRS = np.array([[1, 2], [3, 3]])

CASES: dict[str, tuple[np.ndarray, np.ndarray, Any, Any, dict[str, Any]]] = {
    "whole": (X, PAIRS, (6, 6), (2, 2), {}),
    "one after the other": (X, np.array([1, 2, 3]), (6, 5), (2, 1), {}),
    "shorter": (X, PAIRS, (4, 3), (1, 2), {}),
    "another blank": (X, np.array([[0, 2], [3, 0]]), (6, 5), (2, 2), {"blank": 1}),
    "the blank as a label": (X, np.array([[1, 2], [0, 3]]), (6, 6), (2, 2), {}),
    "the last class is blank": (X, np.array([[0, 2, 1], [1, 1, 0]]), (6, 6), (3, 3), {"blank": 3}),
    "impossible, as zero": (X, PAIRS, (6, 2), (2, 2), {"zero_infinity": True}),
    "no time, no labels": (X, PAIRS, (6, 0), (2, 0), {}),
    "no time": (X, PAIRS, (6, 0), (2, 1), {"zero_infinity": True}),
    "no labels": (X, np.zeros((2, 0), int), (6, 5), (0, 0), {}),
    "labels of length 0": (X, PAIRS, (6, 5), (0, 2), {}),
    "one time": (X[:1], PAIRS, (1, 1), (1, 0), {}),
    "no batch": (X[:, 0], np.array([1, 2]), 5, 2, {}),
    "32-bit": (X, PAIRS.astype("int32"), np.array([6, 5], "int32"), np.array([2, 2], "int32"), {}),
    "what is beyond a target does not matter": (X, np.array([[1, 2], [3, -100]]), (6, 6), (2, 1), {}),
}


@pytest.mark.parametrize("what", CASES)
@pytest.mark.filterwarnings("ignore")
def test_as_in_torch(what: str) -> None:
    x, targets, inputs, labels, settings = CASES[what]

    def run(library: Any, reduction: str) -> Any:
        lengths = [library.tensor(n) for n in (inputs, labels)]
        function = library.nn.functional.ctc_loss
        return lambda x: function(x, library.tensor(targets), *lengths, reduction=reduction, **settings)

    for reduction in ("none", "mean", "sum"):
        found = twins.results(dg, run(dg, reduction), [x], ())
        expected = twins.results(torch, run(torch, reduction), [x], ())
        twins.close([a.reshape(b.shape) for a, b in zip(found, expected)], expected)
    static = dg.static(run(dg, "sum"), strict=True)
    twins.same_bits(twins.results(dg, static, [x], ()), twins.results(dg, run(dg, "sum"), [x], ()))


def test_impossible_targets() -> None:
    """The loss is infinite, and its gradient NaN up to the length, as in PyTorch."""
    ours, theirs = dg.tensor(X, requires_grad=True), torch.tensor(X, requires_grad=True)
    found = ctc_loss(ours, dg.tensor(PAIRS), (6, 2), (2, 2), reduction="none")
    expected = torch.nn.functional.ctc_loss(theirs, torch.tensor(PAIRS), (6, 2), (2, 2), reduction="none")
    np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy())
    found.sum().backward()
    expected.sum().backward()
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_second_gradients() -> None:
    """PyTorch has none."""
    x = dg.tensor(RNG.standard_normal((5, 2, 4)), requires_grad=True)

    def run(x: Any) -> Any:
        return ctc_loss(x.log_softmax(-1), dg.tensor([[1, 2, 2], [3, 1, 0]]), (5, 4), (3, 2), reduction="none")

    assert dg.autograd.gradcheck(run, [x]) and dg.autograd.gradgradcheck(run, [x])


def test_long_rows_do_not_underflow() -> None:
    x, targets = log_probs(400, 1, 30).astype(np.float32), RNG.integers(1, 30, (1, 100))
    found = ctc_loss(dg.tensor(x), dg.tensor(targets), (400,), (100,)).item()
    expected = torch.nn.functional.ctc_loss(torch.tensor(x), torch.tensor(targets), (400,), (100,)).item()
    assert found == pytest.approx(expected, rel=1e-5)


def test_sizes_may_change() -> None:
    loss = nn.CTCLoss(reduction="sum")
    static = dg.static(loss)
    for times, labels in ((6, 2), (9, 3), (8, 4)):
        x, targets = log_probs(times, 2, 5), RNG.integers(1, 5, (2, labels))
        lengths = np.array([times, times - 1]), np.array([labels, labels - 1])
        expected = torch.nn.CTCLoss(reduction="sum")(torch.tensor(x), torch.tensor(targets), *map(torch.tensor, lengths))
        assert static(dg.tensor(x), dg.tensor(targets), *map(dg.tensor, lengths)).item() == pytest.approx(expected.item())
    assert len(static.signatures()) <= 3


def test_mistakes() -> None:
    x, targets = dg.tensor(X), dg.tensor(PAIRS)

    def case(error: type[Exception], text: str, *args: Any, **settings: Any) -> None:
        with pytest.raises(error, match="ctc_loss: " + text):
            ctc_loss(*args, **settings)

    case(IndexError, "input_lengths must be between 0 and 6, got 7", x, targets, (6, 7), (2, 2))
    case(IndexError, "target_lengths must be between 0 and 2, got 3", x, targets, (6, 6), (2, 3))
    case(ValueError, "targets has 3 elements, target_lengths add up to 4", x, targets.flatten()[:3], (6, 6), (2, 2))
    case(ValueError, "input_lengths must have 2 elements, one for each example, got 1", x, targets, (6,), (2, 2))
    case(TypeError, "target_lengths must be integers, got float32", x, targets, (6, 6), dg.ones(2))
    case(ValueError, "blank must be one of the 4 classes, got 4", x, targets, (6, 6), (2, 2), blank=4)
    case(ValueError, "log_probs must not be empty", x[:0], targets, (0, 0), (2, 2))
    case(IndexError, "log_probs must have 3 dimensions, or 2 without a batch, got 1", x[0, 0], targets, (1,), (2,))
    case(IndexError, "targets must have 1 dimension, got 2", x[:, 0], targets, (6,), (2,))
    case(ValueError, "reduction must be 'mean', 'sum' or 'none', got 'avg'", x, targets, (6, 6), (2, 2), reduction="avg")
    for label in (4, -1):
        with pytest.raises(IndexError):
            ctc_loss(x, dg.tensor([[1, 2], [3, label]]), (6, 6), (2, 2))
    with pytest.raises(IndexError):
        dg.static(lambda n: ctc_loss(x, targets, n, (2, 2)))(dg.tensor([6, 7]))
