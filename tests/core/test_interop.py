"""NumPy, DLPack, buffers."""

from __future__ import annotations

import array
import gc
import weakref

import numpy as np
import pytest

import duograph as dg
from duograph import _core as core


@pytest.mark.parametrize("dtype", [d for d in core.dtypes if d is not core.bfloat16], ids=lambda d: d.name)
def test_numpy_both_ways(dtype):
    a = np.array([[0, 1, 1], [1, 0, 1]]).astype(dtype.name)
    t = dg.from_numpy(a)
    assert t.dtype is dtype and t.shape == (2, 3) and t.data_ptr() == a.ctypes.data
    back = t.numpy()
    assert back.dtype == a.dtype and back.ctypes.data == a.ctypes.data
    assert np.array_equal(dg.from_numpy(a.T).numpy(), a.T)


def test_shared_memory_and_lifetime():
    a = np.zeros(3, np.float32)
    t = dg.from_numpy(a)
    t.add_(1)
    assert a.tolist() == [1.0, 1.0, 1.0]
    gone = weakref.ref(a)
    del a
    gc.collect()
    assert gone() is not None and t.tolist() == [1.0, 1.0, 1.0]
    del t
    gc.collect()
    assert gone() is None
    b = dg.ones(4).numpy()
    gc.collect()
    assert b.tolist() == [1.0] * 4
    view = np.ones((4, 6), np.float32)[1:3, ::2]
    assert dg.from_numpy(view).stride() == (6, 2)


def test_refused_arrays():
    with pytest.raises(ValueError, match="negative"):
        dg.from_numpy(np.arange(3.0)[::-1])
    for wrong in (np.array(["a"]), np.array([None]), np.zeros(2, "c8"), np.zeros(2, ">f4"), np.zeros(2, "M8[s]")):
        with pytest.raises((TypeError, ValueError)):
            dg.from_numpy(wrong)
    with pytest.raises(TypeError):
        dg.from_numpy([1, 2])
    frozen = np.ones(2)
    frozen.flags.writeable = False
    with pytest.warns(UserWarning, match="read-only"):
        t = dg.from_numpy(frozen)
    t.add_(1)
    assert frozen.tolist() == [1.0, 1.0]


def test_numpy_functions_take_tensors():
    t = dg.tensor([1.0, 4.0])
    assert np.sqrt(t).tolist() == [1.0, 2.0]
    assert np.asarray(t, dtype=np.float64).dtype == np.float64
    assert np.array(t, copy=True).ctypes.data != t.data_ptr()
    sum_ = np.ones(2, np.float32) + t
    assert isinstance(sum_, dg.Tensor) and sum_.tolist() == [2.0, 5.0]
    assert (t + np.float32(1)).dtype is dg.float32 and (t * np.float64(2)).tolist() == [2.0, 8.0]
    assert (np.float64(2) * t).tolist() == [2.0, 8.0]
    assert (t + np.array([1.0, 2.0], np.float32)).tolist() == [2.0, 6.0]


def test_requires_grad():
    t = dg.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"\.detach\(\)\.numpy\(\)"):
        t.numpy()
    with pytest.raises(RuntimeError, match="detach"):
        np.asarray(t)
    with pytest.raises(RuntimeError, match="detach"):
        t.__dlpack__()


def test_bfloat16_has_no_numpy():
    with pytest.raises(TypeError, match="bfloat16"):
        dg.ones(2).to(dg.bfloat16).numpy()


def test_empty():
    assert dg.zeros(0, 3).numpy().shape == (0, 3)
    assert dg.from_numpy(np.zeros((0, 3))).shape == (0, 3)


def test_dlpack_with_numpy():
    a = np.arange(6, dtype=np.float32).reshape(2, 3)
    t = dg.from_dlpack(a)
    assert t.data_ptr() == a.ctypes.data and t.tolist() == a.tolist()
    back = np.from_dlpack(t)
    assert back.ctypes.data == a.ctypes.data
    u = dg.ones(3)
    b = np.from_dlpack(u)
    del u
    gc.collect()
    assert b.tolist() == [1.0] * 3


def test_dlpack_capsules():
    t = dg.ones(2, 3).t()
    for capsule in (t.__dlpack__(), t.__dlpack__(max_version=(1, 0)), t.__dlpack__(max_version=(1, 0), copy=True)):
        u = core.from_dlpack(capsule)
        assert u.shape == (3, 2)
        with pytest.raises(TypeError, match="used before"):
            core.from_dlpack(capsule)
    t.__dlpack__()  # never consumed: freed with the capsule
    assert t.__dlpack_device__() == (1, 0)
    with pytest.raises(TypeError):
        core.from_dlpack(3)


def test_dlpack_with_torch():
    torch = pytest.importorskip("torch", reason="PyTorch comes with the bench extra, which the tests do without")
    a = torch.arange(6, dtype=torch.bfloat16).reshape(2, 3)
    t = dg.from_dlpack(a)
    assert t.dtype is dg.bfloat16 and t.tolist() == a.tolist() and t.data_ptr() == a.data_ptr()
    assert torch.from_dlpack(t).data_ptr() == a.data_ptr()


def test_buffers():
    assert core.from_buffer(b"\x01\x00\x00\x00\x02\x00\x00\x00", core.int32, (2,)).tolist() == [1, 2]
    with pytest.raises(ValueError, match="bytes"):
        core.from_buffer(b"123", core.int32, (2,))
    assert core.to_bytes(dg.tensor([[1, 2], [3, 4]], dtype=dg.uint8).t()) == bytes([1, 3, 2, 4])
    assert dg.tensor(array.array("d", [1.0, 2.0])).dtype is dg.float64
    assert core.from_flat([1, 2.5, True], core.float32, (3,)).tolist() == [1.0, 2.5, 1.0]
    with pytest.raises(ValueError):
        core.from_flat([1], core.float32, (3,))
    with pytest.raises(TypeError):
        core.from_flat([None], core.float32, (1,))
