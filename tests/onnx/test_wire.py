"""Weights that are read apart from the rest of a file: the same model, whatever the file is like."""

import numpy as np
import onnx
import pytest

import duograph as dg
from duograph.onnx.reading import read
from duograph.onnx.wire import split

HEADER = '<ir_version: 8, opset_import: ["" : 18]> '
RNG = np.random.default_rng(0)
FIRST, SECOND = (RNG.standard_normal((96, 96)).astype("f") for _ in range(2))


@pytest.fixture
def path(tmp_path):
    model = onnx.parser.parse_model(
        HEADER + "g (float[1,96] x) => (float[1,96] y) { a = MatMul(x, first) b = Add(a, small) y = MatMul(b, second) }"
    )
    for name, array in (("first", FIRST), ("small", FIRST[:1]), ("second", SECOND)):
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    onnx.save(model, tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def outcome(source, folder=None):
    """What a model gives, or that it is refused."""
    x = dg.ones(1, 96)
    try:
        made = dg.onnx.load(source, folder=folder)(x)
    except dg.errors.Error:
        return None
    return made.numpy() if isinstance(made, dg.Tensor) else made


def test_large_weights_are_apart_and_the_rest_is_whole(path):
    source = read(path, apart=True)
    assert sorted(source.weights) == [0, 2] and len(source.model.SerializeToString()) < 1000
    assert source.weights[2].tobytes() == SECOND.tobytes()
    whole = onnx.load(path)
    for number, tensor in enumerate(source.model.graph.initializer):
        if number in source.weights:
            tensor.raw_data = source.weights[number].tobytes()
    assert source.model == whole
    expected = (np.ones((1, 96), "f") @ FIRST + FIRST[:1]) @ SECOND
    np.testing.assert_allclose(outcome(path), expected, rtol=1e-4, atol=1e-4)
    assert outcome(path).tobytes() == outcome(path.read_bytes()).tobytes()
    model = dg.onnx.load(path)
    assert all(value.data_ptr() % 4 == 0 for value in model.buffers())


def test_cut_and_changed_files_are_as_their_bytes(path, tmp_path):
    data = path.read_bytes()
    spots = sorted({*range(60), *(position + shift for position in headers(data) for shift in range(24))})
    target = tmp_path / "changed.onnx"
    for number, spot in enumerate(spots):
        changed = data[:spot] if number % 3 == 0 else data[:spot] + bytes([data[spot] ^ 1 << number % 8]) + data[spot + 1 :]
        target.write_bytes(changed)
        mine, theirs = outcome(target), outcome(changed, tmp_path)
        assert (mine is None) == (theirs is None), spot
        if isinstance(mine, np.ndarray):
            np.testing.assert_array_equal(mine, theirs)


def headers(data):
    """Where initialisers begin."""
    return [data.index(name) - 24 for name in (b"first", b"second")] + [len(data) - 60]


def test_what_is_unusual_is_left_to_protobuf(tmp_path):
    target = tmp_path / "x"
    for content in (b"", b"\xff" * 40, b"\x3a\x05ab", b"\x3a\x00\x3a\x00", b"\x3b\x3c"):
        target.write_bytes(content)
        with open(target, "rb") as file:
            assert split(file.fileno(), len(content)) is None
