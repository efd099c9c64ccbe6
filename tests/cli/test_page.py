"""The commands of docs/command-line.md, in their order."""

import json
import pathlib
import re
import shlex
import subprocess
import sys

from typer.testing import CliRunner

from duograph.cli.app import app

PAGE = (pathlib.Path(__file__).parents[2] / "docs" / "command-line.md").read_text()


def test_commands_of_the_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=120)
    lines = re.findall(r"^\$ duograph (.*)$", PAGE, re.M)
    assert len(lines) == 17
    for line in lines:
        text, _, note = line.partition("#")
        with monkeypatch.context() as patch:
            if text.startswith("tune "):
                patch.setenv("DUOGRAPH_CACHE_DIR", str(tmp_path / "cache"))  # choices are kept there
            done = CliRunner().invoke(app, shlex.split(text))
        ends = re.search(r"ends with (\d)", note)
        assert done.exit_code == (int(ends[1]) if ends else 0), (line, done.output, done.exception)
    assert json.loads(done.stdout) == json.loads(re.findall(r"^\{.*\}$", PAGE, re.M)[-1])


def test_every_command_is_on_the_page():
    for command in app.registered_commands:
        name = command.name or command.callback.__name__
        assert f"| `duograph {name}" in PAGE, name
