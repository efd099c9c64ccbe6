"""The README's programs run, and print what stands beside them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```\n(?:\n```\n(.*?)```)?", README.read_text(encoding="utf-8"), re.DOTALL)


def test_programs_print_what_the_readme_says(tmp_path: Path) -> None:
    assert BLOCKS and BLOCKS[0][1], "the README opens with a program and its output"
    for i, (program, output) in enumerate(BLOCKS):
        file = tmp_path / f"program_{i}.py"  # a file: source conversion reads it
        file.write_text(program, encoding="utf-8")
        done = subprocess.run([sys.executable, str(file)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert not output or done.stdout == output
