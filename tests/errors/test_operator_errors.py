"""What operators say about bad arguments: the whole messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import duograph as dg
from duograph import errors

F = dg.nn.functional

CASES: list[tuple[str, Callable[[], Any], type[Exception], str]] = [
    (
        "add",
        lambda: dg.zeros(2, 3) + dg.zeros(4),
        errors.ShapeError,
        "add: shapes do not broadcast: a.shape = (2, 3), b.shape = (4,)",
    ),
    (
        "matmul",
        lambda: dg.zeros(8, 64) @ dg.zeros(32, 10),
        errors.ShapeError,
        "matmul: inner sizes differ: a.shape[-1] = 64, b.shape[-2] = 32\n  a: float32[8, 64]\n  b: float32[32, 10]",
    ),
    (
        "matmul dtype",
        lambda: dg.zeros(2, 2) @ dg.zeros(2, 2, dtype=dg.float64),
        errors.DTypeError,
        "matmul: operands must have one dtype",
    ),
    ("matmul 0-d", lambda: dg.tensor(1.0) @ dg.zeros(2), errors.ShapeError, "matmul: a has no dimensions"),
    (
        "linear",
        lambda: F.linear(dg.zeros(2, 3), dg.zeros(4, 5)),
        errors.ShapeError,
        "linear: inner sizes differ: x.shape[-1] = 3",
    ),
    ("sum dim", lambda: dg.zeros(2, 3).sum(2), errors.DimensionError, "sum: dim 2 is out of range for 2 dimensions"),
    ("sum twice", lambda: dg.zeros(2, 3).sum((0, -2)), errors.DimensionError, "sum: a dim appears twice in (0, -2)"),
    ("softmax dim", lambda: dg.softmax(dg.zeros(2, 3), 5), errors.DimensionError, "softmax: dim 5 is out of range"),
    ("mean of ints", lambda: dg.tensor([1, 2]).mean(), errors.DTypeError, "mean: needs a floating-point dtype, got int64"),
    ("gelu of ints", lambda: F.gelu(dg.tensor([1, 2])), errors.DTypeError, "gelu: needs a floating-point dtype, got int64"),
    ("neg of bool", lambda: -dg.tensor([True]), errors.DTypeError, "neg: not defined for bool"),
    ("and of floats", lambda: dg.tensor([1.0]) & 1, errors.DTypeError, "bitwise_and: needs integers or bool"),
    ("where", lambda: dg.ops.where(dg.tensor([1]), 1.0, 2.0), errors.DTypeError, "where: condition must be bool, got int64"),
    (
        "reshape",
        lambda: dg.zeros(2, 3).reshape(4, 2),
        errors.ShapeError,
        "reshape: cannot give shape (4, 2) to 6 elements ((2, 3))",
    ),
    ("reshape -1", lambda: dg.zeros(2, 3).reshape(-1, 4), errors.ShapeError, "reshape: cannot give shape (-1, 4) to 6 elements"),
    ("reshape two -1", lambda: dg.zeros(2, 3).reshape(-1, -1), errors.ShapeError, "reshape: only one size may be -1"),
    ("expand", lambda: dg.zeros(2, 3).expand(2, 4), errors.ShapeError, "expand: cannot stretch size 3 of dimension 1 to 4"),
    (
        "permute",
        lambda: dg.zeros(2, 3).permute(0, 0),
        errors.DimensionError,
        "permute: dims (0, 0) must name each of the 2 dimensions once",
    ),
    (
        "cat",
        lambda: dg.cat([dg.zeros(2, 3), dg.zeros(2, 4)]),
        errors.ShapeError,
        "cat: size 1 of tensors[0] is 3, of tensors[1] 4",
    ),
    ("cat empty", lambda: dg.cat([]), errors.ArgumentError, "cat: needs at least one tensor"),
    ("stack", lambda: dg.stack([dg.zeros(2), dg.zeros(3)]), errors.ShapeError, "stack: "),
    ("select", lambda: dg.zeros(2, 3)[2], errors.BoundsError, "select: index 2 is out of range for size 2 of dimension 0"),
    (
        "select negative",
        lambda: dg.zeros(2, 3)[-3],
        errors.BoundsError,
        "select: index -3 is out of range for size 2 of dimension 0",
    ),
    ("gather", lambda: dg.gather(dg.zeros(2, 3), 1, dg.tensor([[3]])), errors.BoundsError, "3"),
    (
        "gather rank",
        lambda: dg.gather(dg.zeros(2, 3), 1, dg.tensor([0])),
        errors.ShapeError,
        "gather: index must have 2 dimensions",
    ),
    (
        "gather dtype",
        lambda: dg.gather(dg.zeros(2), 0, dg.tensor([0.0])),
        errors.DTypeError,
        "gather: index must hold integers, got float32",
    ),
    ("embedding", lambda: F.embedding(dg.tensor([4]), dg.zeros(4, 2)), errors.BoundsError, "4"),
    ("index", lambda: dg.zeros(4)[dg.tensor([0, 4])], errors.BoundsError, "4"),
    ("amax of nothing", lambda: dg.zeros(0, 3).amax(0), errors.ShapeError, "amax: an extremum over no elements"),
    ("division", lambda: dg.tensor([1]) // dg.tensor([0]), ZeroDivisionError, "floor_divide"),
    ("remainder", lambda: dg.tensor([1]) % 0, ZeroDivisionError, "remainder"),
    ("clamp", lambda: dg.clamp(dg.zeros(2)), errors.DomainError, "clamp: at least one of min and max must be given"),
    ("cross_entropy", lambda: F.cross_entropy(dg.zeros(2, 3), dg.tensor([0, 3])), errors.BoundsError, "3"),
    (
        "cross_entropy shape",
        lambda: F.cross_entropy(dg.zeros(2, 3), dg.tensor([0])),
        errors.ShapeError,
        "cross_entropy: for input of shape (2, 3)",
    ),
    (
        "reduction",
        lambda: F.mse_loss(dg.zeros(2), dg.zeros(2), reduction="all"),
        errors.DomainError,
        "mse_loss: reduction must be",
    ),
    (
        "layer_norm",
        lambda: F.layer_norm(dg.zeros(2, 3), (4,)),
        errors.ShapeError,
        "layer_norm: normalized_shape (4,) must be the last sizes",
    ),
    (
        "in place dtype",
        lambda: dg.tensor([1]).add_(1.5),
        errors.DTypeError,
        "add_: the result is float32 and cannot be written into a int64",
    ),
    ("in place shape", lambda: dg.zeros(3).add_(dg.zeros(2, 3)), errors.ShapeError, "add_: the result has shape (2, 3)"),
    ("full", lambda: dg.zeros(2, -1), errors.ShapeError, "full: a size must not be negative"),
    ("missing", lambda: dg.exp(), errors.ArgumentError, "exp: is missing x"),
    ("unknown", lambda: dg.exp(dg.zeros(2), scale=2), errors.ArgumentError, "exp: has no argument named scale"),
    ("text", lambda: dg.exp("a"), errors.ArgumentError, "exp: x must be a Tensor or a number, not str"),
]


@pytest.mark.parametrize(("call", "kind", "text"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_message(call: Callable[[], Any], kind: type[Exception], text: str) -> None:
    """The first time (while compiling) and the second (when a check of the program fails) alike."""
    for _ in range(2):
        with pytest.raises(kind) as caught:
            call()
        assert isinstance(caught.value, dg.Error)
        message = str(caught.value)
        assert text in message, message
        assert "test_operator_errors.py" in message, f"names no line of the user's: {message}"


def test_broadcast_failure_after_success() -> None:
    """An entry that was compiled for good sizes says the same about bad ones."""
    dg.zeros(2, 3).add_(dg.zeros(2, 3))
    x = dg.zeros(3, 4) @ dg.zeros(4, 5)
    assert x.shape == (3, 5)
    with pytest.raises(errors.ShapeError, match="inner sizes differ"):
        dg.zeros(3, 4) @ dg.zeros(5, 4)
