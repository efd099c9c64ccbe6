"""Bad input of every kind: the whole message, and that the process and all state live on."""

from __future__ import annotations

import gc
import inspect
import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import duograph as dg
from duograph import errors

F = dg.nn.functional


def leaf(*shape: int) -> dg.Tensor:
    return dg.ones(*shape, requires_grad=True)


Case = tuple[Callable[[], Any], type[Exception], type[Exception], str, str | None]

# The call (on one line), the error, the built-in it is as well, the message without the user's line, the hint.
CASES: dict[str, list[Case]] = {
    "shapes": [
        (
            lambda: dg.ones(2, 3) + dg.ones(4),
            errors.ShapeError,
            ValueError,
            "add: shapes do not broadcast: a.shape = (2, 3), b.shape = (4,)",
            "sizes 3 and 4 of dimension -1 must be equal, or one of them 1",
        ),
        (
            lambda: dg.ones(8, 64) @ dg.ones(32, 10),
            errors.ShapeError,
            ValueError,
            "matmul: inner sizes differ: a.shape[-1] = 64, b.shape[-2] = 32\n  a: float32[8, 64]\n  b: float32[32, 10]",
            "b must be [64, N]",
        ),
        (
            lambda: dg.ones(2, 3, 4) @ dg.ones(5, 4, 2),
            errors.ShapeError,
            ValueError,
            "matmul: shapes do not broadcast: a.shape = (2,), b.shape = (5,)",
            "sizes 2 and 5 of dimension -1 must be equal, or one of them 1",
        ),
        (
            lambda: F.linear(dg.ones(2, 3), dg.ones(5, 4)),
            errors.ShapeError,
            ValueError,
            "linear: inner sizes differ: x.shape[-1] = 3, weight.shape[1] = 4\n  x: float32[2, 3]\n  weight: float32[5, 4]",
            None,
        ),
        (
            lambda: dg.ones(2, 3).reshape(4, 2),
            errors.ShapeError,
            ValueError,
            "reshape: cannot give shape (4, 2) to 6 elements ((2, 3))",
            None,
        ),
    ],
    "dtypes": [
        (
            lambda: dg.ones(2, 3) @ dg.ones(3, 2, dtype=dg.float64),
            errors.DTypeError,
            TypeError,
            "matmul: operands must have one dtype, got float32, float64",
            "convert one with .to(dtype)",
        ),
        (
            lambda: dg.tensor([1.0]) & dg.tensor([True]),
            errors.DTypeError,
            TypeError,
            "bitwise_and: needs integers or bool, got float32, bool",
            None,
        ),
        (
            lambda: dg.tensor([1, 2]).mean(),
            errors.DTypeError,
            TypeError,
            "mean: needs a floating-point dtype, got int64",
            "convert with .float(), or pass dtype=",
        ),
        (
            lambda: dg.tensor([1, 2]).add_(0.5),
            errors.DTypeError,
            TypeError,
            "add_: the result is float32 and cannot be written into a int64 tensor",
            "use add and keep its result",
        ),
        (
            lambda: dg.tensor([1], dtype=dg.uint64) + dg.tensor([1]),
            errors.DTypeError,
            TypeError,
            "add: uint64 and int64 do not promote to one dtype",
            "convert one with .to(dtype)",
        ),
    ],
    "indices": [
        (
            lambda: dg.ones(2, 3)[2],
            errors.BoundsError,
            IndexError,
            "select: index 2 is out of range for size 2 of dimension 0",
            None,
        ),
        (
            lambda: dg.ones(2, 3)[0, -4],
            errors.BoundsError,
            IndexError,
            "select: index -4 is out of range for size 3 of dimension 0",
            None,
        ),
        (
            lambda: dg.ones(2, 3)[:, dg.tensor([0, 3])],
            errors.BoundsError,
            IndexError,
            "index: index 3 is out of range for a dimension of size 3",
            None,
        ),
        (
            lambda: dg.gather(dg.ones(2, 3), 1, dg.tensor([[0], [-1]])),
            errors.BoundsError,
            IndexError,
            "gather: index -1 is out of range for a dimension of size 3",
            None,
        ),
        (
            lambda: F.embedding(dg.tensor([1, 5]), dg.ones(5, 2)),
            errors.BoundsError,
            IndexError,
            "embedding: index 5 is out of range for a dimension of size 5",
            None,
        ),
        (
            lambda: dg.index_select(dg.ones(2, 3), 0, dg.tensor([2])),
            errors.BoundsError,
            IndexError,
            "index_select: index 2 is out of range for a dimension of size 2",
            None,
        ),
        (
            lambda: F.nll_loss(dg.ones(1, 3), dg.tensor([3])),
            errors.BoundsError,
            IndexError,
            "nll_loss: index 3 is out of range for a dimension of size 3",
            None,
        ),
        (
            lambda: operator.setitem(dg.ones(4), dg.tensor([4]), 1.0),
            errors.BoundsError,
            IndexError,
            "index_put_: index 4 is out of range for a dimension of size 4",
            None,
        ),
        (
            lambda: dg.ones(2, 3).sum(2),
            errors.DimensionError,
            IndexError,
            "sum: dim 2 is out of range for 2 dimensions",
            "use -2 … 1",
        ),
        (
            lambda: dg.ones(2, 3).softmax(-3),
            errors.DimensionError,
            IndexError,
            "softmax: dim -3 is out of range for 2 dimensions",
            "use -2 … 1",
        ),
    ],
    "differentiation": [
        (
            lambda: leaf(2).add_(1),
            errors.GradError,
            RuntimeError,
            "add_: a leaf tensor that requires grad cannot be written in place",
            "update it under no_grad, or write to a copy: x = x.clone()",
        ),
        (
            lambda: operator.setitem(leaf(2), 0, 1.0),
            errors.GradError,
            RuntimeError,
            "fill_: a view of a leaf tensor that requires grad cannot be written in place",
            "update it under no_grad, or write to a copy: x = x.clone()",
        ),
        (
            lambda: (leaf(2) * 2).backward(),
            errors.GradError,
            RuntimeError,
            "backward: a gradient can be left out only for a tensor of one element, this is float32[2]",
            "reduce it to one number, as with .sum(), or pass gradient=",
        ),
        (
            lambda: leaf(2).numpy(),
            errors.GradError,
            RuntimeError,
            "numpy: a Tensor that requires grad cannot be read by NumPy",
            "use x.detach().numpy()",
        ),
        (
            lambda: np.asarray(leaf(2)),
            errors.GradError,
            RuntimeError,
            "numpy: a Tensor that requires grad cannot be read by NumPy",
            "use x.detach().numpy()",
        ),
    ],
    "sizes": [
        (
            lambda: dg.zeros(2, -1),
            errors.ShapeError,
            ValueError,
            "zeros: sizes must not be negative, got size -1 at dimension 1",
            None,
        ),
        (lambda: dg.rand(-1), errors.ShapeError, ValueError, "rand: a size must not be negative, got -1 in (-1,)", None),
        (
            lambda: dg.ones(2).expand(-2, 2),
            errors.ShapeError,
            ValueError,
            "expand: a size must not be negative, got (-2, 2)",
            None,
        ),
        (
            lambda: dg.empty(10**30),
            errors.NumberError,
            OverflowError,
            "empty: size 0 does not fit into 64 bits",
            None,
        ),
        (
            lambda: dg.ones(*(1,) * 17),
            errors.ShapeError,
            ValueError,
            "a Tensor has at most 16 dimensions, this one would have 17",
            None,
        ),
    ],
    "arithmetic": [
        (
            lambda: dg.tensor([1, 2]) // 0,
            errors.DivisionError,
            ZeroDivisionError,
            "floor_divide: integer division by zero",
            None,
        ),
        (
            lambda: dg.tensor([1, 2]) % dg.tensor([1, 0]),
            errors.DivisionError,
            ZeroDivisionError,
            "remainder: integer division by zero",
            None,
        ),
        (
            lambda: dg.tensor([2]) ** -1,
            errors.DomainError,
            ValueError,
            "pow: integers to negative integer powers are not allowed",
            None,
        ),
        (
            lambda: dg.tensor([300], dtype=dg.uint8),
            errors.NumberError,
            OverflowError,
            "tensor: 300 does not fit into uint8",
            None,
        ),
        (
            lambda: dg.tensor([[1, 2], [3]]),
            errors.ShapeError,
            ValueError,
            "tensor: the nested sequences are ragged: at level 1 one has 1 elements, another 2",
            None,
        ),
    ],
}


@pytest.mark.parametrize("case", [case for group in CASES.values() for case in group], ids=lambda case: case[3].split(":")[0])
def test_whole_message(case: Case) -> None:
    call, kind, builtin, message, hint = case
    line = call.__code__.co_firstlineno
    module = inspect.getmodule(test_whole_message)
    assert module is not None
    source = inspect.getsource(module).splitlines()[line - 1].strip()
    expected = [message, f"  at {__file__}:{line} in <lambda>:    {source}", *([f"  hint: {hint}"] if hint else [])]
    for _ in range(2):  # while the operator is compiled for it, and when it is known
        with pytest.raises(kind) as caught:
            call()
        assert isinstance(caught.value, dg.Error) and isinstance(caught.value, builtin)
        assert str(caught.value) == "\n".join(expected)


def huge(size: int) -> dg.Tensor:
    return dg.ones(1).expand(size)


@pytest.mark.parametrize(
    "ask",
    [
        lambda: dg.zeros(2**40),
        lambda: dg.zeros(2**62),
        lambda: dg.zeros(2**31, 2**31),
        lambda: dg.zeros(2**33, 2**31),
        lambda: dg.empty(2**62, 4),
        lambda: dg.rand(2**61),
        lambda: dg.linspace(0, 1, 2**50),
        lambda: dg.eye(2**30, 2**33),
        lambda: huge(2**50) * 2,
        lambda: huge(2**50).clone(),
        lambda: dg.ones(1).expand(2**62, 4),
        lambda: dg.cat([huge(2**60)] * 16),
        lambda: dg.stack([huge(2**60)] * 8),
        lambda: huge(2**25)[:, None] @ huge(2**25)[None],
        lambda: F.one_hot(dg.tensor([1]), 2**50),
        lambda: dg.ones(2**40, 0).sum(1),
        lambda: huge(2**62).tolist(),
        lambda: dg.nn.Linear(2**30, 2**30),
    ],
)
def test_memory_that_cannot_be_had(ask: Callable[[], Any]) -> None:
    gc.collect()
    before = dg.memory_stats()["allocated"]
    for _ in range(2):
        with pytest.raises(MemoryError) as caught:
            ask()
    message = str(caught.value)
    assert not message or "asked for" in message
    del caught
    assert dg.memory_stats()["allocated"] == before
    assert (dg.ones(2) + 1).tolist() == [2.0, 2.0]


def test_memory_message() -> None:
    with pytest.raises(errors.OutOfMemoryError) as caught:
        dg.rand(2**50)
    first, second = str(caught.value).splitlines()
    assert first.startswith("out of memory: 4503599627370496 bytes (4.00 PiB) asked for, ") and first.endswith(" available")
    assert second.startswith(f"  at {__file__}:") and second.endswith("dg.rand(2**50)")


def test_an_allocation_that_fails_midway_leaves_the_target_whole() -> None:
    x = dg.arange(4).float()
    version = x._version
    with pytest.raises(MemoryError):
        x.add_(huge(2**50).clone())
    assert x.tolist() == [0.0, 1.0, 2.0, 3.0] and x._version == version


def saved(folder: Path) -> Path:
    path = folder / "model.safetensors"
    dg.save({"weight": dg.arange(12).float().reshape(3, 4), "step": 7}, path)
    return path


def damaged_files(whole: bytes) -> dict[str, bytes]:
    header = int.from_bytes(whole[:8], "little")
    text = whole[8 : 8 + header]

    def with_header(changed: bytes) -> bytes:
        return len(changed).to_bytes(8, "little") + changed + whole[8 + header :]

    return {
        "empty": b"",
        "seven bytes": whole[:7],
        "truncated header": whole[: 8 + header // 2],
        "truncated data": whole[:-5],
        "too long": whole + b"more",
        "header length of 2**63": (2**63).to_bytes(8, "little") + whole[8:],
        "header of garbage": with_header(b"\xff" * header),
        "header that is no dict": with_header(b"[]"),
        "offsets beyond the file": with_header(text.replace(b"[0,48]", b"[0,4800]")),
        "offsets that run backwards": with_header(text.replace(b"[0,48]", b"[48,0]")),
        "negative size": with_header(text.replace(b"[3,4]", b"[-3,4]")),
        "sizes that overflow": with_header(text.replace(b"[3,4]", b"[4611686018427387904,16]")),
        "unknown dtype": with_header(text.replace(b"F32", b"F33")),
    }


def test_damaged_files(tmp_path: Path) -> None:
    whole = saved(tmp_path).read_bytes()
    assert dg.load(tmp_path / "model.safetensors")["step"] == 7
    for name, content in damaged_files(whole).items():
        path = tmp_path / "damaged.safetensors"
        path.write_bytes(content)
        assert content != whole, f"{name} changed nothing"
        with pytest.raises(errors.FileError) as caught:
            dg.load(path)
        assert str(path) in str(caught.value) and __file__ in str(caught.value), name


def test_random_damage_never_crashes(tmp_path: Path) -> None:
    whole = saved(tmp_path).read_bytes()
    header = int.from_bytes(whole[:8], "little")
    generator = np.random.default_rng(0)
    path = tmp_path / "damaged.safetensors"
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(generator.integers(1, 4)):
            content[generator.integers(0, 8 + header)] = generator.integers(0, 256)
        path.write_bytes(content[: generator.integers(0, len(content) + 1)] if generator.random() < 0.3 else content)
        try:
            dg.load(path)
        except dg.Error:
            pass


def test_integer_edges() -> None:
    for dtype, low, high in ((dg.int8, -128, 127), (dg.int32, -(2**31), 2**31 - 1), (dg.int64, -(2**63), 2**63 - 1)):
        x = dg.tensor([low, high], dtype=dtype)
        assert (x // -1).tolist() == [low, -high]
        assert (x // dg.tensor([-1, -1], dtype=dtype)).tolist() == [low, -high]
        assert (x % -1).tolist() == [0, 0]
        assert (-x).tolist() == [low, -high] and abs(x).tolist() == [low, high]
        assert (x + 1).tolist() == [low + 1, low] and (x - 1).tolist() == [high, high - 1]
        bits = 8 * x.itemsize
        counts = dg.tensor([bits, bits + 1, 100, -1], dtype=dtype)
        ones = dg.ones(4, dtype=dtype)
        assert (ones << counts).tolist() == [0, 0, 0, 0]
        assert (-ones >> counts).tolist() == [-1, -1, -1, -1] and (ones >> counts).tolist() == [0, 0, 0, 0]
        for divide in (operator.floordiv, operator.mod):
            with pytest.raises(ZeroDivisionError):
                divide(x, 0)
            with pytest.raises(ZeroDivisionError):
                divide(x, dg.zeros(2, dtype=dtype))
    assert (dg.tensor([1.0, -1.0, 0.0]) / 0).tolist()[:2] == [float("inf"), float("-inf")]


@pytest.mark.parametrize("source", [dg.float16, dg.bfloat16, dg.float32, dg.float64])
@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        (dg.int8, -128, 127),
        (dg.uint8, 0, 255),
        (dg.int32, -(2**31), 2**31 - 1),
        (dg.int64, -(2**63), 2**63 - 1),
        (dg.uint64, 0, 2**64 - 1),
    ],
)
def test_floats_out_of_range_saturate(source: dg.DType, dtype: dg.DType, low: int, high: int) -> None:
    for count in (1, 37):  # one by one and in vectors
        values = [float("inf"), float("-inf"), float("nan"), -1.5] * count
        expected = [high, low, 0, max(-1, low)] * count
        assert dg.tensor(values, dtype=source).to(dtype).tolist() == expected


def test_freed_and_overwritten_graphs_keep_the_gradients_there_were() -> None:
    x = leaf(3)
    loss = (x * x).sum()
    loss.backward()
    with pytest.raises(errors.GradError, match="were freed by an earlier backward"):
        loss.backward()
    assert x.grad is not None and x.grad.tolist() == [2.0, 2.0, 2.0]
    y = x * 1
    loss = (y * y).sum()
    y.zero_()
    with pytest.raises(errors.GradError, match="was overwritten in place after it was saved"):
        loss.backward()
    assert x.grad.tolist() == [2.0, 2.0, 2.0]


@pytest.mark.parametrize("on_leaf", [True, False])
@pytest.mark.parametrize("wrong", [dg.ones(3), dg.ones(2, dtype=dg.float64), dg.ones(()), 1, "text"])
def test_hooks_that_give_something_else(on_leaf: bool, wrong: Any) -> None:
    x = leaf(2)
    y = x * 2
    (x if on_leaf else y).register_hook(lambda gradient: wrong)
    with pytest.raises(dg.Error, match="gradient"):
        y.sum().backward()
    assert x.grad is None
