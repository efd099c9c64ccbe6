"""The programs in the pages of docs/ run, with warnings as errors."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys

import pytest

DOCS = pathlib.Path(__file__).parents[2] / "docs"
PROGRAMS = [
    program
    for page in ("switch.md", "define-and-run.md", "saving.md")
    for program in re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.S)
]


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_program_of_the_page(number, tmp_path):
    path = tmp_path / "program.py"
    path.write_text(PROGRAMS[number])
    done = subprocess.run([sys.executable, "-W", "error", str(path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    if "signatures" in PROGRAMS[number]:
        assert "captured: `SCALE > 1` was True, is False" in done.stdout and "captured: first call" in done.stdout


def test_there_are_programs():
    assert len(PROGRAMS) == 19
