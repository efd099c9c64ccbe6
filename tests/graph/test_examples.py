"""examples/graph, run as a user runs them: each claims something in its last line and leaves by 1 if it is not so."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

PROGRAMS = pathlib.Path(__file__).parents[2] / "examples" / "graph"
LAST_LINES = {
    "softmax_regression": (["--steps", "300"], r"softmax regression: 9\d\.\d % of 360 unseen digits"),
    "convolutional": (["--steps", "300"], r"convolutional network: 9\d\.\d % of 360 unseen digits"),
    "linear_regression": (
        ["--steps", "150", "--logdir", "log"],
        r"linear regression: y = (3\.0\d|2\.9\d) x \+ .* 15 summaries, cost .*",
    ),
    "autoencoder": (["--steps", "1000"], r"autoencoder: 8 numbers a digit, mean squared error of unseen digits 0\.01\d+; .*"),
    "word2vec": (
        ["--steps", "1000"],
        r"word2vec: unseen neighbours of a word cost 5\.\d+ nats each; .*",
    ),
    "character_rnn": (["--steps", "250"], r"character rnn: 'Simple is' goes on to 'Simple is .*"),
    "policy_gradient": (["--steps", "15"], r"policy gradient: the pole stays up \d+ steps of 200 \(.*\)"),
    "fractals": (["--steps", "100", "--out", "set.pgm"], r"fractals: .* area is 1\.5\d\d .* has 121 cells after 100"),
}
NEEDS_SCIKIT_LEARN = ("softmax_regression", "convolutional", "autoencoder")


LEFT_BEHIND = {"linear_regression": ["log"], "fractals": ["set.pgm"]}


def run(name: str, *arguments: str, cwd: pathlib.Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", str(PROGRAMS / f"{name}.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, env=dict(os.environ), cwd=cwd)


@pytest.mark.parametrize("name", LAST_LINES)
def test_program(name: str, tmp_path: pathlib.Path) -> None:
    if name in NEEDS_SCIKIT_LEARN:
        pytest.importorskip("sklearn")
    arguments, expected = LAST_LINES[name]
    done = run(name, *arguments, cwd=tmp_path)
    assert done.returncode == 0, f"{name} left by {done.returncode}:\n{done.stdout}\n{done.stderr}"
    assert re.fullmatch(expected, done.stdout.rstrip().rpartition("\n")[2])
    assert [path.name for path in tmp_path.iterdir()] == LEFT_BEHIND.get(name, [])


def test_a_claim_that_does_not_hold_is_told_by_the_exit_code(tmp_path: pathlib.Path) -> None:
    done = run("linear_regression", "--steps", "11", cwd=tmp_path)
    assert done.returncode == 1 and done.stdout.startswith("step") and not done.stderr


def test_every_program_is_run_here_and_listed() -> None:
    programs = {path.stem for path in PROGRAMS.glob("*.py")}
    assert programs == set(LAST_LINES)
    listed = (PROGRAMS / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}.py`" in listed for name in programs)
