"""A model's first capture comes from the object cache, if any process left it there, and nothing else is different."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import duograph as dg

onnx = pytest.importorskip("onnx")

_HEADER = '<ir_version: 8, opset_import: ["" : 18]> '
_LAYER = """g (float[N, 64] x) => (float[N, M] y) <int64[2] s = {-1, 32}> {
    h = MatMul(x, w) r = Relu(h) t = Add(r, b) y = Reshape(t, s)
}"""


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("DUOGRAPH_CACHE_DIR", str(tmp_path / "cache"))
    yield


def _written(path: Path, text: str = _LAYER, seed: int = 0, **arrays: Any) -> str:
    """A model's file, with a weight so large that it is read apart."""
    model = onnx.parser.parse_model(_HEADER + text)
    random = np.random.default_rng(seed)
    if not arrays:
        arrays = {"w": random.standard_normal((64, 96), np.float32), "b": random.standard_normal(96, np.float32)}
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in arrays.items())
    onnx.save(model, path)
    return str(path)


def _is_recalled(model: Any) -> bool:
    """Whether it has a capture, and nothing that captures was asked for."""
    return bool(model.program.entries) and model.program.handler._handler is None


def _expected(model: Any, x: Any) -> Any:
    return (np.maximum(x.numpy() @ model.w.numpy(), 0) + model.b.numpy()).reshape(-1, 32)


def test_the_second_process_captures_nothing(tmp_path: Path) -> None:
    file = _written(tmp_path / "m.onnx")
    program = """
import sys, duograph as dg
model = dg.onnx.load(sys.argv[1])
y = model(dg.ones(2, 64))
print("duograph.capture.session" in sys.modules, y.tolist())
"""
    seen = [
        subprocess.run(
            [sys.executable, "-c", program, file], check=True, capture_output=True, text=True, env={**os.environ}
        ).stdout
        for _ in range(2)
    ]
    assert [text.split()[0] for text in seen] == ["True", "False"]
    assert seen[0].split(None, 1)[1] == seen[1].split(None, 1)[1]


def test_other_weights_take_the_same_capture(tmp_path: Path) -> None:
    x, random = dg.randn(3, 64), np.random.default_rng(0)
    for seed in range(3):
        weight = random.standard_normal((64, 96), np.float32)
        model = dg.onnx.load(_written(tmp_path / "m.onnx", w=weight, b=np.ones(96, np.float32)))
        np.testing.assert_allclose(model(x).numpy(), _expected(model, x), 1e-5, 1e-5)
        assert _is_recalled(model) is (seed > 0)
        model.w.mul_(2.0)
        model.b.add_(1.0)
        np.testing.assert_allclose(model(x).numpy(), _expected(model, x), 1e-5, 1e-5)


def test_other_numbers_in_the_file_are_another_program(tmp_path: Path) -> None:
    x = dg.randn(3, 64)
    for columns in (32, 48, 32):
        model = dg.onnx.load(_written(tmp_path / "m.onnx", _LAYER.replace("32", str(columns))))
        assert model(x).shape == (288 // columns, columns)
    assert _is_recalled(model)


def test_numbers_in_external_data_are_another_program(tmp_path: Path) -> None:
    text = "g (float[N, 64] x) => (float[A, B] y) { y = Reshape(x, s) }"
    for columns in (32, 16, 32):
        model = onnx.load(_written(tmp_path / "m.onnx", text, s=np.array([-1, columns])))
        onnx.save(model, tmp_path / "e.onnx", save_as_external_data=True, location="e.data", size_threshold=0)
        loaded = dg.onnx.load(tmp_path / "e.onnx")
        assert loaded(dg.ones(3, 64)).shape == (192 // columns, columns)
        (tmp_path / "e.data").unlink()
    assert _is_recalled(loaded)


def _fresh(file: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The model, with a cache of its own that is empty."""
    with monkeypatch.context() as patch:
        patch.setenv("DUOGRAPH_CACHE", "0")
        model = dg.onnx.load(file)
        model(dg.ones(2, 64))
    return model


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """A model that was captured and one that was recalled, each called with two rows of ones."""
    file = _written(tmp_path / "m.onnx")
    dg.onnx.load(file)(dg.ones(2, 64))
    recalled = dg.onnx.load(file)
    recalled(dg.ones(2, 64))
    assert _is_recalled(recalled)
    return _fresh(file, monkeypatch), recalled


ASKED: list[Callable[[Any], Any]] = [
    lambda m: str(m.explain(dg.ones(2, 64))).splitlines()[1:],
    lambda m: [node.type for node in m.capture_graph().get_operations()],
    lambda m: [str(s.arguments) for s in m.program.signatures()],
    lambda m: m.program.captures,
    lambda m: m(dg.ones(5, 64)).tolist(),
    lambda m: (m.program.clear_captures(), m(dg.ones(2, 64)).tolist()),
    lambda m: m.program.entries[0].description["inputs"][0],
]


@pytest.mark.parametrize("asked", ASKED)
def test_what_is_asked_later_is_answered_as_after_a_capture(asked: Callable[[Any], Any], pair: tuple[Any, Any]) -> None:
    captured, recalled = pair
    assert asked(recalled) == asked(captured)


def test_the_signature_says_where_it_comes_from(pair: tuple[Any, Any]) -> None:
    assert "recalled" in str(pair[1].program.signatures()) and "recalled" not in str(pair[0].program.signatures())


def test_sizes_become_symbols_at_the_second_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = _written(tmp_path / "m.onnx", _LAYER.replace("float[N, 64] x", "float[?, 64] x").replace("[N, M]", "[A, B]"))
    dg.onnx.load(file)(dg.ones(2, 64))
    recalled, captured = dg.onnx.load(file), _fresh(file, monkeypatch)
    recalled(dg.ones(2, 64))
    assert _is_recalled(recalled)
    for model in (recalled, captured):
        model(dg.ones(3, 64))
        model(dg.ones(7, 64))
        assert len(model.program.entries) == 2
    texts = [[str(entry.arguments) for entry in model.program.signatures()] for model in (recalled, captured)]
    assert texts[0] == texts[1]


def test_failures_name_the_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "g (int64[N] i) => (float[N, 96] y) { r = Relu(w) y = Gather(r, i) }"
    file = _written(tmp_path / "m.onnx", text)
    dg.onnx.load(file)(dg.zeros(3, dtype=dg.int64))
    messages = []
    for model in (dg.onnx.load(file), dg.onnx.load(file)):
        model(dg.zeros(3, dtype=dg.int64))
        assert _is_recalled(model)
        with pytest.raises(dg.errors.BoundsError, match="index 64 is out of range for a dimension of size 64") as caught:
            model(dg.tensor([1, 64, 2]))
        messages.append(str(caught.value))
        monkeypatch.setenv("DUOGRAPH_CACHE", "0")
        file = _written(tmp_path / "m.onnx", text)
        model = dg.onnx.load(file)
        with pytest.raises(dg.errors.BoundsError) as caught:
            model(dg.tensor([1, 64, 2]))
        messages.append(str(caught.value))
        monkeypatch.delenv("DUOGRAPH_CACHE")
    assert len(set(messages)) == 1 and "Gather" in messages[0]


def test_a_model_that_was_changed_is_captured(tmp_path: Path) -> None:
    file, x = _written(tmp_path / "m.onnx"), dg.randn(3, 64)
    dg.onnx.load(file)(x)
    model = dg.onnx.load(file)
    model.b = dg.nn.Buffer(dg.ones(1))
    np.testing.assert_allclose(model(x).numpy(), _expected(model, x), 1e-5, 1e-5)
    assert not _is_recalled(model)


def test_tensors_that_share_memory_are_captured_for_that_call(tmp_path: Path) -> None:
    text = "g (float[64, 64] x) => (float[64, 64] y) { h = MatMul(x, w) y = Add(h, v) }"
    random = np.random.default_rng(0)
    arrays = {name: random.standard_normal((64, 64), np.float32) for name in "wv"}
    file = _written(tmp_path / "m.onnx", text, **arrays)
    model = dg.onnx.load(file)
    model(model.w)  # the argument is what the model reads
    model = dg.onnx.load(file)
    model.v = model.w
    model(dg.ones(64, 64))
    model, x = dg.onnx.load(file), dg.randn(64, 64)
    np.testing.assert_allclose(model(x).numpy(), x.numpy() @ arrays["w"] + arrays["v"], 1e-4, 1e-4)
    assert not _is_recalled(model)
    model = dg.onnx.load(file)
    model(x)
    assert _is_recalled(model)
    np.testing.assert_allclose(model(model.w).numpy(), arrays["w"] @ arrays["w"] + arrays["v"], 1e-4, 1e-4)


def test_a_recalled_model_inside_of_a_static_function(tmp_path: Path) -> None:
    file, x = _written(tmp_path / "m.onnx"), dg.randn(2, 64)
    dg.onnx.load(file)(x)
    model = dg.onnx.load(file)
    expected = model(x)
    assert _is_recalled(model)
    f = dg.static(lambda x: model(x) * 2)
    assert f(x).equal(expected * 2)
    assert str(model.program.signatures()).count("calls") == 1 and "product" in str(model.explain(x))
    assert model(x).equal(expected)


def test_gradients(tmp_path: Path) -> None:
    file = _written(tmp_path / "m.onnx")
    x = dg.ones(2, 64)
    for trainable in (False, True, True):
        model = dg.onnx.load(file, trainable=trainable)
        made = model(x)
        assert made.requires_grad is trainable
        if trainable:
            made.sum().backward()
            assert model.b.grad.tolist() == [2.0] * 96
    model = dg.onnx.load(file)
    model(x)
    assert _is_recalled(model)
    y = x.clone().requires_grad_()
    model(y).sum().backward()
    expected = ((x.numpy() @ model.w.numpy()) > 0) @ model.w.numpy().T
    np.testing.assert_allclose(y.grad.numpy(), expected, 1e-5, 1e-5)


def test_each_mode_has_its_own(tmp_path: Path) -> None:
    file, x = _written(tmp_path / "m.onnx"), dg.ones(2, 64)
    for expected in (False, True):
        for mode in (dg.no_grad, dg.enable_grad, dg.inference_mode):
            model = dg.onnx.load(file)
            with mode():
                made = model(x)
            assert _is_recalled(model) is expected and made.is_inference() is (mode is dg.inference_mode)
            assert "product" in str(model.explain(x)) and dg.is_grad_enabled()


def test_strict_models_have_their_own(tmp_path: Path) -> None:
    file, x = _written(tmp_path / "m.onnx"), dg.randn(2, 64)
    made = [dg.onnx.load(file, strict=strict)(x) for strict in (False, True, False, True)]
    with dg.dynamic_mode():
        assert dg.onnx.load(file)(x).equal(made[1])
    assert made[0].equal(made[2]) and made[1].equal(made[3])


def test_random_numbers_differ_from_call_to_call(tmp_path: Path) -> None:
    file = _written(tmp_path / "m.onnx", "g (float[N, 64] x) => (float[N, 64] y) { y = RandomUniformLike(x) }", seed=1)
    made = []
    for _ in range(2):
        dg.manual_seed(0)
        model = dg.onnx.load(file)
        made.append([model(dg.ones(2, 64)) for _ in range(2)])
    assert made[0][0].equal(made[1][0]) and made[0][1].equal(made[1][1]) and not made[0][0].equal(made[0][1])


def test_a_model_that_keeps_state_is_captured(tmp_path: Path) -> None:
    @dg.static
    def step(x: Any) -> Any:
        total.add_(x.sum())
        return total * 2

    total = dg.zeros(())
    step.save(tmp_path / "step.onnx", dg.ones(3))  # type: ignore[attr-defined]
    for _ in range(2):
        model = dg.onnx.load(tmp_path / "step.onnx")
        assert [model(dg.ones(3)).item() for _ in range(2)] == [6.0, 12.0]


def test_results_share_memory_as_after_a_capture(tmp_path: Path) -> None:
    text = """g (float[N, 64] x) => (float[N, 64] y, float[64, N] z, float[N, 64] u) {
        y = Identity(x) z = Transpose(x) u = Relu(x)
    }"""
    file = _written(tmp_path / "m.onnx", text)
    seen = []
    for _ in range(2):
        x = dg.ones(2, 64)
        y, z, u = dg.onnx.load(file)(x)
        y.zero_()
        seen.append([t.sum().item() for t in (x, y, z, u)])
    assert seen[0] == seen[1]


def test_damaged_files_are_misses(tmp_path: Path) -> None:
    file, x = _written(tmp_path / "m.onnx"), dg.ones(2, 64)
    expected = dg.onnx.load(file)(x)
    kept = [path for path in (tmp_path / "cache").iterdir() if path.is_file()]
    for path in kept:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    model = dg.onnx.load(file)
    assert model(x).equal(expected) and not _is_recalled(model)


def test_threads_that_begin_at_once(tmp_path: Path) -> None:
    file, x = _written(tmp_path / "m.onnx"), dg.randn(4, 64)
    expected = dg.onnx.load(file)(x)
    model = dg.onnx.load(file)
    made: list[Any] = []
    threads = [threading.Thread(target=lambda: made.append(model(x))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8 and all(y.equal(expected) for y in made)
    assert _is_recalled(model) and len(model.program.entries) == 1
