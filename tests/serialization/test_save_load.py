"""`save` and `load`: round trips, other readers and writers, and files that lie."""

from __future__ import annotations

import io
import json
import math
import os
import pickle
import struct
import zipfile
from collections import OrderedDict, namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

import duograph as dg
from duograph import nn

DTYPES = [
    dg.bool, dg.uint8, dg.int8, dg.int16, dg.int32, dg.int64, dg.uint16, dg.uint32, dg.uint64,
    dg.float16, dg.bfloat16, dg.float32, dg.float64,
]  # fmt: skip


def same(a: Any, b: Any) -> bool:
    if isinstance(a, dg.Tensor):
        return isinstance(b, dg.Tensor) and a.dtype is b.dtype and a.shape == b.shape and repr(a.tolist()) == repr(b.tolist())
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and repr(a) == repr(b)


def through(value: Any) -> Any:
    file = io.BytesIO()
    dg.save(value, file)
    file.seek(0)
    return dg.load(file)


@pytest.mark.parametrize(
    "value",
    [
        dg.ones(2, 3),
        dg.tensor(1.5),
        dg.zeros(0, 4),
        {"a": dg.arange(3), "b": dg.zeros(2)},
        {"a": {"b": [dg.ones(1), (dg.zeros(2), None)], "c.d": "text"}},
        {1: dg.ones(1), None: True, False: 3, "": 4},
        [1, -(2**70), 0.1, math.inf, -math.inf, math.nan, -0.0, 5e-324, "ü\n\0", True, None, [], (), {}],
        {"__metadata__": dg.ones(1)},
        {"a.b": dg.ones(1), "a": {"b": dg.zeros(1)}},
        "only text",
        {dtype.name: dg.tensor([0, 1, 1]).to(dtype) for dtype in DTYPES},
    ],
    ids=lambda value: repr(value)[:40],
)
def test_round_trip(value: Any) -> None:
    assert same(through(value), value)


def test_views_and_parameters() -> None:
    x = dg.arange(12).reshape(3, 4)
    loaded = through({"t": x.t(), "column": x[:, 1], "p": nn.Parameter(dg.ones(2))})
    assert loaded["t"].tolist() == x.t().tolist() and loaded["column"].tolist() == [1, 5, 9]
    assert type(loaded["p"]) is dg.Tensor and not loaded["p"].requires_grad


def test_shared_memory_is_stored_once_and_shared_again() -> None:
    x = dg.zeros(1000)
    file = io.BytesIO()
    dg.save({"a": x, "b": x.detach(), "c": [x]}, file)
    assert len(file.getvalue()) < 5000
    file.seek(0)
    loaded = dg.load(file)
    assert loaded["a"] is loaded["b"] is loaded["c"][0]


def test_other_libraries_read_it(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    dg.save(
        {"f": dg.tensor([1.5, 2.5]), "half": dg.ones(3, dtype=dg.float16), "i": dg.tensor([[1], [2]]), "b": dg.tensor(True)}, path
    )
    read = safetensors.numpy.load_file(path)
    assert read["f"].tolist() == [1.5, 2.5] and read["i"].tolist() == [[1], [2]] and read["b"].tolist() is True
    assert read["half"].dtype == np.float16


def test_it_reads_other_libraries(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    safetensors.numpy.save_file({"w": np.arange(6, dtype=np.float64).reshape(2, 3), "e": np.zeros((0, 2), np.int8)}, path)
    loaded = dg.load(path)
    assert loaded["w"].tolist() == [[0, 1, 2], [3, 4, 5]] and loaded["w"].dtype is dg.float64
    assert loaded["e"].shape == (0, 2)


def test_model_and_optimizer(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    optimizer = dg.optim.Adam(model.parameters(), lr=0.1)
    model(dg.ones(4, 2)).sum().backward()
    optimizer.step()
    path = tmp_path / "training.safetensors"
    dg.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 7}, path)
    loaded = dg.load(path)
    assert loaded["epoch"] == 7 and loaded["optimizer"]["param_groups"][0]["betas"] == (0.9, 0.999)
    fresh = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    fresh.load_state_dict(loaded["model"])
    assert fresh(dg.ones(1, 2)).tolist() == model(dg.ones(1, 2)).tolist()
    assert "model.0.weight" in safetensors.numpy.load_file(path)


def test_a_failed_save_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    dg.save({"a": dg.ones(1)}, path)
    with pytest.raises(TypeError):
        dg.save({"a": dg.ones(2), "b": object()}, path)
    assert dg.load(path)["a"].shape == (1,)
    with pytest.raises(FileNotFoundError):
        dg.save(dg.ones(1), tmp_path / "missing" / "x.safetensors")
    assert os.listdir(tmp_path) == ["x.safetensors"]


Point = namedtuple("Point", "x y")
LOOP: list[Any] = []
LOOP.append({"again": LOOP})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (nn.Linear(1, 1), r"the object is a duograph\.nn\.linear\.Linear\n.*\n  hint: save its state_dict\(\)"),
        ({"net": {"f": len}}, r"the value at 'net\.f' is a builtins\.builtin_function_or_method"),
        ([np.zeros(2)], r"the value at '0' is a numpy\.ndarray\n.*\n  hint: convert it: duograph\.from_numpy"),
        ({"a": b"raw"}, r"the value at 'a' is a builtins\.bytes"),
        ({"a": {1, 2}}, "hint: make it a list"),
        ({"a": Point(1, 2)}, r"hint: make it a plain tuple, or a dict: value\._asdict\(\)"),
        ({(1, 2): dg.ones(1)}, r"the object has the key \(1, 2\), a tuple"),
        ({1.5: dg.ones(1)}, r"has the key 1\.5, a float"),
        ({"a": 1j}, "the value at 'a' is a builtins.complex"),
        (LOOP, r"the value at '0\.again' contains itself"),
        ({"\ud800": dg.ones(1)}, "not valid Unicode"),
    ],
    ids=str,
)
def test_what_is_refused(value: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message) as caught:
        dg.save(value, io.BytesIO())
    assert isinstance(caught.value, dg.Error)


def test_deep_nesting_is_refused() -> None:
    value: Any = 1
    for _ in range(100):
        value = [value]
    assert same(through(value), value)
    for _ in range(200):
        value = [value]
    with pytest.raises(TypeError, match="nested more than 200 levels"):
        through(value)


def test_ordered_dict_becomes_dict() -> None:
    assert same(through(OrderedDict(b=1, a=dg.ones(1))), {"b": 1, "a": dg.ones(1)})


def test_pickles_are_refused_with_the_way_out(tmp_path: Path) -> None:
    old = tmp_path / "old.pt"
    old.write_bytes(pickle.dumps({"w": 1}, protocol=2))
    new = tmp_path / "new.pt"
    with zipfile.ZipFile(new, "w") as archive:
        archive.writestr("model/data.pkl", b"x")
    for path in (old, new):
        with pytest.raises(
            ValueError, match=r"is a pickle, as PyTorch writes it: reading one can run any code(.|\n)*save_file"
        ) as caught:
            dg.load(path)
        assert isinstance(caught.value, dg.errors.FileError)


def file_of(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype: Any = "F32", shape: Any = (1,), offsets: Any = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def nested(structure: Any) -> bytes:
    return file_of({"__metadata__": {"duograph.structure": json.dumps(structure)}, "a": entry()}, b"\0" * 4)


DAMAGED: dict[str, bytes] = {
    "empty": b"",
    "short": b"abc",
    "text": b"hello world, this is no such file",
    "length beyond the file": file_of({}, length=1000),
    "huge length": file_of({}, length=2**63),
    "huge length -1": file_of({}, length=2**64 - 1),
    "no JSON": file_of(b"not json!"),
    "no UTF-8": file_of(b'{"\xff\xfe": 1}'),
    "a list": file_of([]),
    "nested brackets": file_of(b"[" * 100_000),
    "twice the same name": file_of(b'{"a": {"dtype":"F32","shape":[1],"data_offsets":[0,4]}, "a": 1}', b"\0" * 4),
    "entry is a number": file_of({"a": 3}),
    "unknown dtype": file_of({"a": entry(dtype="C64")}, b"\0" * 4),
    "dtype is a list": file_of({"a": entry(dtype=["F32"])}, b"\0" * 4),
    "negative size": file_of({"a": entry(shape=[-1])}, b"\0" * 4),
    "size is a float": file_of({"a": entry(shape=[1.0])}, b"\0" * 4),
    "size is a bool": file_of({"a": entry(shape=[True])}, b"\0" * 4),
    "huge size": file_of({"a": entry(shape=[2**62, 4])}, b"\0" * 4),
    "sizes that overflow to fit": file_of({"a": entry(shape=[2**32, 2**32])}, b"\0" * 4),
    "gigantic size": file_of({"a": entry(shape=[10**30])}, b"\0" * 4),
    "offsets too small": file_of({"a": entry(offsets=[0, 3])}, b"\0" * 4),
    "offsets backwards": file_of({"a": entry(offsets=[4, 0])}, b"\0" * 4),
    "one offset": file_of({"a": entry(offsets=[0])}, b"\0" * 4),
    "no offsets": file_of({"a": {"dtype": "F32", "shape": [1]}}, b"\0" * 4),
    "data missing": file_of({"a": entry()}, b"\0" * 3),
    "terabytes that are not there": file_of({"a": entry(shape=[2**38], offsets=[0, 2**40])}, b"\0" * 4),
    "data left over": file_of({"a": entry()}, b"\0" * 5),
    "a gap": file_of({"a": entry(offsets=[4, 8])}, b"\0" * 8),
    "overlap": file_of({"a": entry(), "b": entry()}, b"\0" * 4),
    "metadata is a list": file_of({"__metadata__": []}),
    "structure is no JSON": file_of({"__metadata__": {"duograph.structure": "{"}}),
    "structure is a number": file_of({"__metadata__": {"duograph.structure": 3}}),
    "structure of an unknown kind": nested({"code": "import os"}),
    "structure with a missing tensor": nested({"tensor": "b"}),
    "structure with a list as value": nested({"value": [1]}),
    "structure with a bad number": nested({"float": "0x"}),
    "structure with a bad key": nested({"dict": [[[1], {"value": 1}]]}),
    "structure with a bad item": nested({"dict": [["a"]]}),
    "structure nested deeply": file_of({"__metadata__": {"duograph.structure": '{"list":[' * 50_000 + "1" + "]}" * 50_000}}),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(DAMAGED[name])
    with pytest.raises(ValueError) as caught:
        dg.load(path)
    assert isinstance(caught.value, dg.errors.FileError) and "x.safetensors" in str(caught.value)


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    dg.save({"a": dg.ones(3), "b": [dg.zeros(2, dtype=dg.int64), 1.5]}, path)
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(dg.errors.FileError):
            dg.load(path)


def test_flipped_bytes_never_crash(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    dg.save({"a": dg.ones(3), "b": [dg.zeros(2, dtype=dg.int64), 1.5, {"c": True}]}, path)
    whole = bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    for _ in range(500):
        damaged = bytearray(whole)
        for _ in range(rng.integers(1, 4)):
            damaged[rng.integers(len(damaged))] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            dg.load(path)
        except dg.errors.FileError:
            pass


def test_arguments(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        dg.load(tmp_path / "none.safetensors")
    with pytest.raises(TypeError, match="expected a path or an open binary file, got int"):
        dg.load(3)
    with pytest.raises(RuntimeError, match="there is no device 'cuda'"):
        dg.load(tmp_path / "none.safetensors", map_location="cuda")
    np.save(tmp_path / "x.npy", np.zeros(2))
    with pytest.raises(ValueError, match="is a NumPy array"):
        dg.load(tmp_path / "x.npy")
