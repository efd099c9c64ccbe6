"""The Tensor object itself: attributes, views and versions, Python protocols."""

from __future__ import annotations

import copy
import pickle
import weakref

import pytest

import duograph as dg
from duograph import _core as core
from duograph.errors import ArgumentError, Error, GradError, NumberError, ShapeError


def test_attributes():
    t = dg.zeros(2, 3)
    assert t.shape == (2, 3) and t.ndim == 2 and t.dim() == 2 and t.numel() == 6
    assert t.stride() == (3, 1) and t.stride(-1) == 1 and t.storage_offset() == 0
    assert t.is_contiguous() and t.dtype is dg.float32 and t.itemsize == 4 and t.nbytes == 24
    assert t.size() == (2, 3) and t.size(0) == 2 and len(t) == 2
    assert t.data_ptr() % 64 == 0
    assert t.grad is None and t.grad_fn is None and t.is_leaf and not t.requires_grad
    with pytest.raises(IndexError):
        t.size(2)
    with pytest.raises(IndexError):
        t.stride(-3)


def test_dtypes():
    assert repr(dg.float32) == "duograph.float32"
    assert pickle.loads(pickle.dumps(dg.int8)) is dg.int8
    assert copy.deepcopy(dg.int8) is dg.int8
    assert core.promote(core.int32, core.float16) is core.float16
    assert core.dtype_from_code(11) is core.float32 and len(core.dtypes) == 13
    with pytest.raises(TypeError):
        core.DType()
    with pytest.raises(Error):
        core.dtype_from_code(99)
    with pytest.raises(TypeError):
        core.set_default_dtype(core.int32)


def test_views_share_memory_and_version():
    t = dg.zeros(2, 3)
    v = t[1]
    assert v._base is t and v[0:2]._base is t
    version = t._version
    v.add_(1)
    assert t._version == version + 1 == v._version
    assert t.tolist() == [[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]
    d = t.detach()
    d.mul_(2)
    assert t._version == version + 2 and t[1, 0].item() == 2.0


def test_data():
    t = dg.ones(2, requires_grad=True)
    t.data.add_(1)
    assert t.tolist() == [2.0, 2.0]
    t.data = dg.zeros(3)
    assert t.shape == (3,) and t.requires_grad
    with pytest.raises(TypeError):
        t.data = dg.tensor([1])
    with pytest.raises(TypeError):
        t.data = [1.0]


def test_truth():
    assert dg.tensor([1.5]) and not dg.tensor(0)
    with pytest.raises(RuntimeError, match="ambiguous"):
        bool(dg.zeros(2))
    with pytest.raises(ValueError, match="ambiguous"):
        bool(dg.zeros(0))


def test_numbers():
    assert int(dg.tensor(3.7)) == 3 and float(dg.tensor(3)) == 3.0
    assert [10, 20, 30][dg.tensor(1)] == 20
    with pytest.raises(TypeError):
        [1, 2][dg.tensor(1.0)]
    with pytest.raises(RuntimeError, match="not one number"):
        dg.zeros(2).item()
    assert dg.tensor(2**63 + 5, dtype=dg.uint64).item() == 2**63 + 5


def test_iteration():
    t = dg.tensor([[1, 2], [3, 4]])
    assert [row.tolist() for row in t] == [[1, 2], [3, 4]]
    with pytest.raises(TypeError):
        iter(dg.tensor(1))
    with pytest.raises(TypeError):
        len(dg.tensor(1))


def test_identity():
    t, u = dg.zeros(2), dg.zeros(2)
    assert hash(t) != hash(u) and {t: 1}[t] == 1
    assert (t == u).tolist() == [True, True]
    assert (t == None) is False and (t != "x") is True  # noqa: E711


def test_operand_types():
    t = dg.ones(2)
    for wrong in ("x", None, object(), [1, 2], {}):
        with pytest.raises(TypeError):
            t + wrong
        with pytest.raises(TypeError):
            wrong - t
    with pytest.raises(OverflowError):
        t + 2**70


def test_huge_numbers():
    with pytest.raises(NumberError):
        dg.tensor(300, dtype=dg.uint8)
    with pytest.raises(NumberError):
        dg.tensor([2**70])
    assert dg.tensor(2**70, dtype=dg.float32).item() == float(2**70)


def test_nested_data():
    assert dg.tensor([[1, 2], [3, 4]]).dtype is dg.int64
    assert dg.tensor([True, False]).dtype is dg.bool
    assert dg.tensor([1, 2.5]).dtype is dg.float32
    assert dg.tensor([]).shape == (0,) and dg.tensor([[], []]).shape == (2, 0)
    assert dg.tensor([dg.tensor(1.0), dg.tensor(2.0)]).tolist() == [1.0, 2.0]
    for ragged in ([[1], [2, 3]], [1, [2]], [[1], 2], [[], [1]]):
        with pytest.raises(ShapeError, match="ragged"):
            core.tensor_from_data(ragged)
    loop: list = []
    loop.append(loop)
    with pytest.raises(ShapeError, match="nested levels"):
        core.tensor_from_data(loop)
    with pytest.raises(TypeError):
        core.tensor_from_data(["a"])


def test_sizes():
    for wrong in ((-1,), (2, -3)):
        with pytest.raises(ValueError, match="negative"):
            core.empty(wrong, core.float32)
    with pytest.raises(MemoryError):
        core.empty((2**62,), core.float32)
    with pytest.raises(MemoryError):
        core.empty((2**40, 2**40), core.float32)
    with pytest.raises(ValueError):
        core.empty((1,) * 17, core.float32)
    with pytest.raises(TypeError):
        core.empty(("a",), core.float32)
    assert core.empty((0, 2**40), core.float32).numel() == 0


def test_strided_views_stay_inside():
    t = dg.arange(12).to(dg.float32)
    assert core.as_strided(t, (2, 2), (6, 1), 1).tolist() == [[1.0, 2.0], [7.0, 8.0]]
    for shape, strides, offset in [
        ((13,), (1,), 0),
        ((2,), (12,), 0),
        ((1,), (1,), 12),
        ((2,), (-1,), 5),
        ((2**40,), (2**40,), 0),
    ]:
        with pytest.raises(ValueError):
            core.as_strided(t, shape, strides, offset)


def test_copies():
    t = dg.ones(2, requires_grad=True)
    t.grad = dg.zeros(2)
    shallow, deep = copy.copy(t), copy.deepcopy(t)
    assert shallow.data_ptr() == t.data_ptr() and deep.data_ptr() != t.data_ptr()
    assert deep.requires_grad and deep.grad.tolist() == [0.0, 0.0]
    a, b = copy.deepcopy([t, t])
    assert a is b
    with pytest.raises(GradError, match="only leaves"):
        copy.deepcopy(t * 2)


def test_pickle():
    for dtype in core.dtypes:
        t = dg.tensor([[0, 1], [1, 0]]).to(dtype).t()
        u = pickle.loads(pickle.dumps(t))
        assert u.dtype is dtype and u.tolist() == t.tolist()
    t = dg.ones(2, requires_grad=True)
    assert pickle.loads(pickle.dumps(t)).requires_grad
    with pytest.raises(GradError):
        pickle.dumps(t * 2)


class Named(core.Tensor):
    pass


def test_subclasses():
    t = dg.ones(3)
    named = core.as_subclass(t, Named)
    named.label = "weights"
    assert isinstance(named, dg.Tensor) and named.data_ptr() == t.data_ptr()
    assert copy.deepcopy(named).label == "weights"
    again = pickle.loads(pickle.dumps(named))
    assert type(again) is Named and again.label == "weights"
    assert (named + 1).tolist() == [2.0] * 3
    with pytest.raises(TypeError):
        core.as_subclass(t, int)
    named.loop = named  # collectable
    gone = weakref.ref(named)
    del named
    import gc

    gc.collect()
    assert gone() is None


def test_many_dimensions():
    t = core.zeros((1, 2, 1, 1, 2, 1, 1, 2), core.float32)  # beyond the inline room
    assert (t + 1).shape == t.shape and t.stride() == (8, 4, 4, 4, 2, 2, 2, 1)


def test_formatting():
    assert f"{dg.tensor(3.14159):.2f}" == "3.14"
    with pytest.raises((TypeError, ValueError)):
        format(dg.zeros(2), ".2f")


def test_hooks_must_exist():
    with pytest.raises(Error, match="no hook named"):
        core.set_hook("nonsense", "a:b")
    with pytest.raises(ArgumentError):
        core.bind_slot("__add__", 3)


def test_traced_tensors_have_no_values():
    t = core.traced(object(), core.float32, 2, (2, 3))
    assert t.shape == (2, 3) and t.numel() == 6
    for read in (bool, float, int, lambda t: t.item(), lambda t: t.tolist(), lambda t: t.numpy(), lambda t: t.data_ptr()):
        with pytest.raises(RuntimeError):
            read(t)
    with pytest.raises(Error):
        core.traced(object(), core.float32, 3, (2, 3))


def test_nothing_crosses_to_another_device_by_accident():
    import copy as copying

    name = "fenced for tensors"
    if name not in core.device_names():
        core.register_fenced_device(name)
    far = core.to_device(dg.ones(4), core.device_names().index(name))
    plain = dg.ones(4)
    reads = [
        bool,
        lambda t: t.tolist(),
        lambda t: t[0].item(),
        lambda t: t.numpy(),
        lambda t: t.__dlpack__(),
        pickle.dumps,
        copying.deepcopy,
        lambda t: t + 1,
        lambda t: t + plain,
        lambda t: plain.add_(t),
        lambda t: t.sum(),
        lambda t: t.mul_(2),
    ]
    for read in reads:
        with pytest.raises(Error) as caught:
            read(far)
        assert "cpu" in str(caught.value) or "ambiguous" in str(caught.value)
    assert core.to_device(far, 0).tolist() == [1.0] * 4
