"""Functions that ask tensors and dtypes something, unusual ways to make tensors, Python functions of elements."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

import duograph as dg

DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64"]


def test_dtype_rules_are_those_of_torch() -> None:
    for a, b in itertools.product(DTYPES, DTYPES):
        ours, theirs = (getattr(dg, a), getattr(dg, b)), (getattr(torch, a), getattr(torch, b))
        assert dg.can_cast(*ours) == torch.can_cast(*theirs), (a, b)
        assert dg.promote_types(*ours).name == str(torch.promote_types(*theirs)).removeprefix("torch.")
        for shape in ((), (1,)):
            found = dg.result_type(dg.zeros(shape, dtype=ours[0]), dg.zeros(2, dtype=ours[1]))
            want = torch.result_type(torch.zeros(shape, dtype=theirs[0]), torch.zeros(2, dtype=theirs[1]))
            assert found.name == str(want).removeprefix("torch.")
        for number in (True, 1, 1.0):
            want = torch.result_type(torch.zeros(2, dtype=theirs[0]), number)
            assert dg.result_type(dg.zeros(2, dtype=ours[0]), number).name == str(want).removeprefix("torch.")


def test_limits() -> None:
    for name in DTYPES[6:]:
        found, want = dg.finfo(getattr(dg, name)), torch.finfo(getattr(torch, name))
        for field in ("dtype", "bits", "eps", "max", "min", "tiny", "smallest_normal", "resolution"):
            assert getattr(found, field) == getattr(want, field), (name, field)
    for name in DTYPES[1:6]:
        found, want = dg.iinfo(getattr(dg, name)), torch.iinfo(getattr(torch, name))
        assert (found.bits, found.max, found.min) == (want.bits, want.max, want.min)
    with pytest.raises(dg.errors.DTypeError, match="finfo: takes a dtype of floats, got int8"):
        dg.finfo(dg.int8)
    with pytest.raises(dg.errors.DTypeError, match="iinfo: takes a dtype of integers, got float32"):
        dg.iinfo(dg.float32)


def test_questions() -> None:
    x = dg.ones(2, 3)
    assert dg.is_tensor(x) and not dg.is_tensor([1]) and dg.numel(x) == 6 and dg.is_floating_point(x)
    assert dg.is_signed(x) and not dg.tensor(True).is_signed() and x.is_same_size(dg.zeros(2, 3))
    assert dg.is_nonzero(dg.tensor([[2.0]])) and not dg.tensor(0).is_nonzero() and x.get_device() == -1 and x.is_cpu
    with pytest.raises(dg.errors.DomainError, match="is_nonzero: takes one element, got 6"):
        x.is_nonzero()
    assert dg.broadcast_shapes((2, 1), 3, ()) == (2, 3) and dg.broadcast_shapes() == ()
    with pytest.raises(dg.errors.ShapeError):
        dg.broadcast_shapes((2,), (3,))
    assert dg.isnan(dg.tensor(dg.nan)) and -dg.inf < dg.e < dg.pi < dg.inf and x[dg.newaxis].shape == (1, 2, 3)


def test_sharing_memory() -> None:
    array = np.zeros(3, np.float32)
    shared = dg.asarray(array)
    shared[0] = 5
    assert array[0] == 5
    copied = dg.asarray(array, copy=True)
    copied[1] = 5
    assert array[1] == 0
    assert dg.asarray(array, copy=False).data_ptr() == shared.data_ptr()
    for data, dtype in (([1.0], None), (array, dg.float64)):
        with pytest.raises(dg.errors.DomainError, match="asarray: this cannot be had without a copy"):
            dg.asarray(data, dtype=dtype, copy=False)
    memory = bytearray(np.arange(4, dtype="int32").tobytes())
    seen = dg.frombuffer(memory, dtype=dg.int32, count=2, offset=4)
    assert seen.tolist() == [1, 2]
    seen[0] = 9
    assert np.frombuffer(memory, "int32")[1] == 9
    with pytest.raises(dg.errors.DomainError, match="frombuffer: "):
        dg.frombuffer(memory, dtype=dg.int32, offset=3)


def test_strided_and_filled() -> None:
    x = dg.empty_strided((2, 3), (1, 2), dtype=dg.int64)
    assert x.stride() == (1, 2) and x.new_empty_strided((2,), (3,)).dtype is dg.int64
    value = dg.tensor(2.0, requires_grad=True)
    dg.fill(dg.ones(3), value).sum().backward()
    assert value.grad is not None and value.grad.item() == 3
    with pytest.raises(dg.errors.ShapeError, match=r"fill_: the value must be a number or a 0-d tensor, got shape \(3,\)"):
        dg.ones(3).fill_(dg.ones(3))
    assert dg.zero_(dg.ones(2)).tolist() == [0, 0] and dg.range(0, 1, 0.5).tolist() == [0, 0.5, 1]
    with pytest.raises(dg.errors.DomainError, match="range: step -1 does not lead from 0 to 1"):
        dg.range(0, 1, -1)
    assert dg.scalar_tensor(2).dtype is dg.float32
    first = dg.seed()
    assert dg.initial_seed() == first and dg.seed() != first
    dg.manual_seed(0)


def test_python_functions_of_elements() -> None:
    x = dg.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert x.T.apply_(lambda v: v * 10) is not x and x.tolist() == [[10, 20], [30, 40]]
    assert x.map_(dg.tensor([1.0, 2.0]), lambda a, b: a - b).tolist() == [[9, 18], [29, 38]]
    with pytest.raises(dg.errors.GradError, match=r"(?s)apply_: a Python function has no gradient here.*x\.detach\(\)\.apply_"):
        x.requires_grad_().apply_(abs)


@pytest.mark.parametrize(("shape", "size"), [((2, 3), (1, 3)), ((2, 3), ()), ((4, 2, 3), (2, 1)), ((3,), (3,))])
def test_sum_to_size(shape: tuple[int, ...], size: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).uniform(size=shape)
    np.testing.assert_allclose(dg.tensor(x).sum_to_size(size).numpy(), torch.tensor(x).sum_to_size(size).numpy())
    with pytest.raises(dg.errors.ShapeError, match="sum_to_size"):
        dg.tensor(x).sum_to_size(7)


def test_diagonals_in_place() -> None:
    x = dg.zeros(2, 3, requires_grad=True)
    y = (x * 2).fill_diagonal_(5)
    y.sum().backward()
    assert y.tolist() == [[5, 0, 0], [0, 5, 0]] and x.grad is not None and x.grad.tolist() == [[0, 2, 2], [2, 0, 2]]
    with pytest.raises(dg.errors.DimensionError, match="fill_diagonal_: needs at least two dimensions, got 1"):
        dg.zeros(3).fill_diagonal_(1)
    with pytest.raises(dg.errors.ShapeError, match="more than two dimensions must have one size"):
        dg.zeros(2, 3, 2).fill_diagonal_(1)
