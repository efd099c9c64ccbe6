"""Whole programs run as a user runs them: each in its own process, with warnings as errors."""

import os
import pathlib
import subprocess
import sys

import pytest

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"
TWO_GRAPHS = sorted((EXAMPLES / "two_graphs").glob("*.py"))


def run(path: pathlib.Path, *arguments: str, cwd: pathlib.Path | None = None) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(path), *arguments],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=cwd,
        env=dict(os.environ),
    )
    assert done.returncode == 0, f"{path.name} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("program", TWO_GRAPHS, ids=lambda p: p.stem)
def test_program(program: pathlib.Path) -> None:
    run(program)


def test_there_are_programs() -> None:
    assert len(TWO_GRAPHS) >= 6


def test_digits_demo(tmp_path: pathlib.Path) -> None:
    output = run(EXAMPLES / "digits.py", "--plain", cwd=tmp_path)
    assert "bit-equal under strict" in output
    assert (tmp_path / "digits.safetensors").stat().st_size > 10_000
    assert (tmp_path / "digits.png").stat().st_size > 1_000


def test_a_network_trains_by_one_command(tmp_path: pathlib.Path) -> None:
    output = run(EXAMPLES / "autoencode.py", "--plain", "--small", "--steps", "2", cwd=tmp_path)
    assert "kept in autoencoder.safetensors" in output
    assert [path.name for path in tmp_path.iterdir()] == ["autoencoder.safetensors"]
