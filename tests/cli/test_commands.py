"""The command line: what commands print, write and exit with."""

import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

import duograph as dg
from duograph.cli.app import app
from duograph.cli.values import Choice
from duograph.cli.viewing import annotated

HEADER = '<ir_version: 8, opset_import: ["" : 18]> '
LINEAR = """g (float[N,3] x) => (float[N,2] y)
    <float[3,2] w = {1.0, 2.0, 3.0, 4.0, 5.0, 6.0}, float[2] b = {0.5, -0.5}>
    { product = MatMul(x, w) y = Add(product, b) }"""


def command(*arguments, code=0):
    result = CliRunner().invoke(app, [str(x) for x in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.stdout


def answer(*arguments, code=0):
    return json.loads(command(*arguments, "--json", code=code))


@pytest.fixture
def linear(tmp_path):
    path = tmp_path / "linear.onnx"
    onnx.save(onnx.parser.parse_model(HEADER + LINEAR), path)
    return path


def test_info(linear):
    found = answer("info", linear, "--size", "N=7")
    assert found["inputs"] == [{"name": "x", "dtype": "float32", "shape": ["N", 3]}]
    assert found["outputs"] == [{"name": "y", "dtype": "float32", "shape": ["N", 2]}]
    assert (found["parameters"], found["operators"], found["open_sizes"]) == (8, {"MatMul": 1, "Add": 1}, {"N": 7})
    assert found["program"]["floating_point_operations"] == 7 * 2 * (2 * 3 + 1)
    text = command("info", linear)
    assert "MatMul" in text and "(N, 3)" in text


def test_run_on_files_and_on_random_numbers(linear, tmp_path):
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.save(tmp_path / "x.npy", x)
    out = tmp_path / "out.npz"
    found = answer("run", linear, "-i", tmp_path / "x.npy", "-o", out)
    assert found["outputs"]["y"]["shape"] == [2, 2]
    weights = np.arange(1, 7, dtype=np.float32).reshape(3, 2)
    with np.load(out) as written:
        np.testing.assert_allclose(written["y"], x @ weights + np.float32([0.5, -0.5]))
    np.savez(tmp_path / "all.npz", x=x)
    assert answer("run", linear, "-i", tmp_path / "all.npz")["inputs"] == found["inputs"]
    assert answer("run", linear, "-i", f"x={tmp_path / 'x.npy'}")["outputs"] == found["outputs"]
    once, again, other = (answer("run", linear, "--size", "N=4", "--seed", seed) for seed in (1, 1, 2))
    assert once == again != other and once["inputs"]["x"]["shape"] == [4, 3]
    assert {path.name for path in tmp_path.iterdir()} == {"linear.onnx", "x.npy", "all.npz", "out.npz"}


def test_check(linear, tmp_path):
    assert answer("check", linear)["passed"] is True
    function = dg.static(lambda x: dg.sin(x) * 2)
    path = tmp_path / "sin.onnx"
    function.save(path, dg.ones(3), verify_with=(dg.ones(3),))
    rows = answer("check", path)["checks"]
    assert any("the example in the file" in row["check"] and row["passed"] for row in rows)
    model = onnx.load(path)
    (stored,) = [row for row in model.metadata_props if row.key.startswith("duograph.example.output.")]
    wrong = onnx.numpy_helper.from_array(np.full(3, 1.5, np.float32), stored.key.rpartition(".")[2])
    stored.value = wrong.SerializeToString().hex()
    onnx.save(model, path)
    found = answer("check", path, code=1)
    assert found["passed"] is False and "FAILED" in command("check", path, code=1)


def test_bench_beside_another_runtime(linear):
    rows = answer("bench", linear, "--rounds", 5, "--against", "onnxruntime")["results"]
    assert [row["runtime"] for row in rows] == ["duograph", "onnxruntime"]
    assert all(0 < row["p50"] <= row["p90"] for row in rows) and rows[0]["over_ours"] == 1.0
    assert "median" in command("bench", linear, "--rounds", 3)


def test_diff(linear, tmp_path):
    assert answer("diff", linear, linear)["same"] is True
    other = tmp_path / "other.onnx"
    onnx.save(onnx.parser.parse_model(HEADER + LINEAR.replace("6.0", "7.0").replace("Add", "Sub")), other)
    found = answer("diff", linear, other, code=1)
    assert found["structure"][:2] == ["Add: 1 nodes / 0", "Sub: 0 nodes / 1"]
    assert found["weights"] == ["w: largest difference 1"] and found["numbers"][0]["differs"]


def test_convert_states(tmp_path):
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b.c": np.float32([1, 2])}
    np.savez(tmp_path / "state.npz", **arrays)
    assert answer("convert", tmp_path / "state.npz", tmp_path / "state.safetensors")["tensors"] == 2
    command("convert", tmp_path / "state.safetensors", tmp_path / "back.npz")
    with np.load(tmp_path / "back.npz") as back:
        assert {name: back[name].tolist() for name in back} == {name: x.tolist() for name, x in arrays.items()}


@pytest.mark.parametrize(("kind", "tolerance", "smaller"), [("float16", 1e-2, 0.6), ("bfloat16", 5e-2, 0.6), ("int8", 5e-2, 0.4)])
def test_convert_weights_and_opset(tmp_path, kind, tolerance, smaller):
    w = np.random.default_rng(0).uniform(-1, 1, (64, 64)).astype(np.float32)
    model = onnx.parser.parse_model(HEADER + "g (float[1,64] x) => (float[1,64] y) { y = MatMul(x, w) }")
    model.graph.initializer.append(onnx.numpy_helper.from_array(w, "w"))
    source, target = tmp_path / "w.onnx", tmp_path / "small.onnx"
    onnx.save(model, source)
    assert answer("convert", source, target, "--weights", kind, "--opset", 21)["weights_changed"] == 1
    assert target.stat().st_size < smaller * source.stat().st_size
    x = np.eye(64, dtype=np.float32)[:1]
    made = dg.onnx.load(target)(dg.from_numpy(x)).numpy()
    np.testing.assert_allclose(made, x @ w, atol=tolerance)
    assert answer("diff", source, target, "--tolerance", 1.0, code=1)["numbers"][0]["differs"] is False


def test_nodes_say_which_kernels_compute_them(linear):
    nodes = annotated(str(linear), Choice({"N": 5})).graph.node
    rows = [{row.key: row.value for row in node.metadata_props} for node in nodes]
    assert rows[0] == rows[1] and list(rows[0]) == ["duograph.kernel.0"]  # one kernel for both
    assert "result 0[0:40]" in rows[0]["duograph.kernel.0"]


def test_tune_demo_and_doctor(linear, tmp_path, monkeypatch):
    monkeypatch.setenv("DUOGRAPH_CACHE_DIR", str(tmp_path / "cache"))  # choices are kept there
    assert "linear" in command("tune", linear) or "contraction" in command("tune", linear)
    found = answer("demo", "--steps", 10)
    assert found["same_losses"] is True and found["static"]["kernels"] < found["dynamic"]["kernels"]
    machine = answer("doctor")
    assert machine["cores"] >= 1 and machine["extras"]["onnx"] == onnx.__version__
    assert "this machine" in command("doctor")


def test_mistakes_end_with_2_and_say_what_is_wrong(linear, tmp_path):
    for arguments, words in (
        (("info", tmp_path / "none.onnx"), "none.onnx"),
        (("run", linear, "-i", "x.txt"), "ends in none of .npy, .npz and .png"),
        (("run", linear, "-i", "z=x.npy"), "the model has no input 'z'"),
        (("run", linear, "--size", "N"), "NAME=NUMBER"),
        (("bench", linear, "--against", "abacus"), "not 'abacus'"),
        (("convert", linear, linear), "name another file"),
        (("convert", linear, tmp_path / "x.txt"), "not from .onnx to .txt"),
        (("convert", linear, tmp_path / "x.onnx", "--weights", "int3"), "float16, bfloat16, int8"),
    ):
        assert words in answer(*arguments, code=2)["error"], arguments
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(linear.read_bytes()[:50])
    assert answer("info", broken, code=2)["error"]


def test_as_a_module(linear):
    result = subprocess.run(
        [sys.executable, "-m", "duograph", "info", linear, "--json"], capture_output=True, text=True, check=True
    )
    assert json.loads(result.stdout)["parameters"] == 8
    result = subprocess.run(
        [sys.executable, "-m", "duograph", "info", "nowhere.onnx"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 2 and "nowhere.onnx" in result.stderr and "Traceback" not in result.stderr
