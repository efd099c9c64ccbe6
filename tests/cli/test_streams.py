"""What leaves a command: JSON that other languages read, standard output and error of real processes, files that it writes."""

import json
import os
import pty
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import helper
from typer.testing import CliRunner

import duograph as dg
from duograph.cli.app import app
from duograph.onnx.messages import messages

HEADER = '<ir_version: 8, opset_import: ["" : 18]> '
COMMAND = (sys.executable, "-m", "duograph")


def saved(path, text):
    onnx.save(onnx.parser.parse_model(HEADER + text), path)
    return path


@pytest.fixture
def model(tmp_path):
    return saved(tmp_path / "a.onnx", "g (float[N,2] x) => (float[N,2] y) { y = Neg(x) }")


def answer(*arguments, code=0):
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert result.exit_code == code and not result.stderr, (result.output, result.exception)
    return json.loads(result.stdout, parse_constant=lambda name: pytest.fail(f"JSON has no {name}"))


def process(*arguments, **options):
    made = subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, timeout=60, check=False, **options)
    assert b"Traceback" not in made.stderr, made.stderr.decode()
    return made


# ---- JSON


@pytest.mark.parametrize("wrong", [("--bogus",), ("--seed", "x"), ("--seed", "-1"), ("--high", "0"), ("--size", "N=²")])
def test_wrong_use_is_told_as_json(model, wrong):
    assert answer("run", model, *wrong, code=2)["error"]


def test_a_command_that_does_not_exist_and_a_missing_file_are_told_as_json():
    assert "No such command" in answer("fly", code=2)["error"]
    assert "Missing argument" in answer("info", code=2)["error"]


def test_numbers_that_json_does_not_have_are_null(tmp_path):
    first = saved(tmp_path / "a.onnx", "g (float[2] x) => (float[2] y) { y = Sqrt(x) }")
    second = saved(tmp_path / "b.onnx", "g (float[2] x) => (float[1,2] y) <int64[1] z = {0}> { r = Sqrt(x) y = Unsqueeze(r, z) }")
    np.save(tmp_path / "x.npy", np.float32([-1, 4]))
    assert answer("run", first, "-i", tmp_path / "x.npy")["outputs"]["y"]["mean"] is None
    (row,) = answer("diff", first, second, "--no-structure", code=1)["numbers"]
    assert row["largest_difference"] is None and row["differs"]


def test_version(model):
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"duograph {dg.__version__}\n")


# ---- processes


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_a_reader_that_has_gone(model, more):
    reading, writing = os.pipe()
    os.close(reading)
    made = subprocess.run([*COMMAND, "info", model, *more], stdout=writing, stderr=subprocess.PIPE, timeout=60, check=False)
    os.close(writing)
    assert (made.returncode, made.stderr) == (141, b"")  # not 1: no check failed


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux only")
def test_a_disk_that_is_full(model):
    with open("/dev/full", "w") as full:
        made = subprocess.run([*COMMAND, "info", model, "--json"], stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
    assert made.returncode == 2 and made.stderr.startswith(b"duograph: standard output") and b"Traceback" not in made.stderr


def test_an_encoding_without_these_characters(model):
    made = process("bench", model, "--rounds", 1, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert made.returncode == 0 and rb"\xb5s" in made.stdout
    assert made.stderr == b""  # a progress bar is for terminals


def test_completion_is_for_the_command_that_is_installed(model):
    environment = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    made = process("--show-completion", "bash", env=environment)
    assert made.returncode == 0 and b"_DUOGRAPH_COMPLETE=complete_bash" in made.stdout
    made = process(env={**os.environ, "_DUOGRAPH_COMPLETE": "complete_bash", "COMP_WORDS": "duograph be", "COMP_CWORD": "1"})
    assert made.stdout.split() == [b"bench"]


def test_columns_and_long_messages(tmp_path, model):
    made = process("run", model, "-i", "x" * 150 + ".npy", env={**os.environ, "COLUMNS": "40"})
    assert made.returncode == 2 and "x" * 150 in made.stderr.decode()  # not broken into lines
    made = process("run", model, env={**os.environ, "COLUMNS": "40"})
    assert max(map(len, made.stdout.decode().splitlines())) <= 40


def test_a_progress_bar_is_on_standard_error_of_a_terminal(model):
    leader, follower = pty.openpty()
    command = [*COMMAND, "bench", model, "--rounds", "4", "--json"]
    made = subprocess.run(command, stdout=subprocess.PIPE, stderr=follower, timeout=60, check=True)
    os.close(follower)
    assert b"timing" in os.read(leader, 1 << 16) and json.loads(made.stdout)["rounds"] == 4
    os.close(leader)


def test_names_do_not_steer_the_terminal(tmp_path):
    model = onnx.parser.parse_model(HEADER + "g (float[2] x) => (float[2] y) { y = Neg(x) }")
    model.producer_name = "\x1b[2Jbad [bold]"
    onnx.save(model, tmp_path / "[red]a.onnx")
    made = process("info", tmp_path / "[red]a.onnx")
    assert rb"\x1b[2Jbad [bold]" in made.stdout and b"[red]a.onnx" in made.stdout


def test_a_package_that_is_not_installed(model, monkeypatch):
    messages.cache_clear()
    monkeypatch.setitem(sys.modules, "onnx", None)
    for command in (("info", model), ("check", model), ("convert", model, "b.onnx"), ("diff", model, model), ("tune", model)):
        assert 'pip install "duograph[onnx]"' in answer(*command, code=2)["error"], command


# ---- files


def test_outputs_of_any_name(tmp_path):
    text = "g (float[2] x) => (float[2] file, float[2] allow_pickle) { file = Neg(x) allow_pickle = Exp(x) }"
    answer("run", saved(tmp_path / "a.onnx", text), "-o", tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as found:
        assert sorted(found) == ["allow_pickle", "file"]
    mask = os.umask(0)
    os.umask(mask)
    assert (tmp_path / "out.npz").stat().st_mode & 0o777 == 0o666 & ~mask


def test_what_is_read_is_not_written_over(tmp_path, model):
    np.savez(tmp_path / "x.npz", x=np.ones((1, 2), np.float32))
    for command in (("run", model, "-i", tmp_path / "x.npz", "-o", tmp_path / "x.npz"), ("view", model, "-o", model)):
        assert "name another file" in answer(*command, code=2)["error"]
    for target in (tmp_path / "none" / "o.npz", tmp_path / "o.txt", tmp_path, ""):
        assert repr(os.path.basename(target)).strip("'") in answer("run", model, "-o", target, code=2)["error"]
    assert {path.name for path in tmp_path.iterdir()} == {"a.onnx", "x.npz"}


def test_sizes_of_files_hold_for_random_inputs(tmp_path):
    path = saved(tmp_path / "a.onnx", "g (float[N,2] a, float[N,2] b) => (float[N,2] y) { y = Add(a, b) }")
    np.save(tmp_path / "a.npy", np.ones((3, 2), np.float32))
    assert answer("run", path, "-i", tmp_path / "a.npy")["inputs"]["b"]["shape"] == [3, 2]
    assert "twice" in answer("run", path, "-i", f"a={tmp_path / 'a.npy'}", "-i", f"a={tmp_path / 'a.npy'}", code=2)["error"]


def test_values_that_are_not_finite_are_compared(tmp_path):
    path = tmp_path / "a.onnx"
    x = dg.tensor([0.0, 1.0, -1.0])
    dg.static(lambda x: (1 / x).log()).save(path, x, verify_with=x)  # inf, 0, nan
    assert answer("check", path)["passed"] is True
    model = onnx.load(path)
    (stored,) = [row for row in model.metadata_props if row.key.startswith("duograph.example.output.")]
    wrong = onnx.numpy_helper.from_array(np.float32([np.inf, 5.0, np.nan]), "output")
    stored.value = wrong.SerializeToString().hex()
    onnx.save(model, path)
    assert answer("check", path, code=1)["passed"] is False


# ---- info of what does not run


def test_info_of_models_that_do_not_run(tmp_path):
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Fly", ["x"], ["y"], domain="bird")],
            "g",
            [helper.make_tensor_value_info("x", 1, ["N", 2])],
            [helper.make_tensor_value_info("y", 1, ["N", 2])],
        ),
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("bird", 1)],
    )
    onnx.save(model, tmp_path / "a.onnx")
    found = answer("info", tmp_path / "a.onnx")
    assert found["operators"] == {"Fly": 1} and "Fly" in found["program"]["error"]
    assert "Fly" in answer("run", tmp_path / "a.onnx", code=2)["error"]
    del model.graph.input[0].type.tensor_type.shape.dim[:]
    model.graph.node[0].CopyFrom(helper.make_node("Neg", ["x"], ["y"]))
    model.graph.input[0].type.tensor_type.ClearField("shape")
    onnx.save(model, tmp_path / "b.onnx")
    assert "rank" in answer("info", tmp_path / "b.onnx")["program"]["error"]
