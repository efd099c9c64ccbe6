"""A program gives the same results whatever lies in its object cache, and wherever the cache cannot be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PROGRAM = """
import duograph as dg
x = dg.arange(12).reshape(3, 4).float() / 7
w = (x.T * 0.3).contiguous().requires_grad_()
loss = dg.static(lambda x: ((x @ w).softmax(1) * x.sum()).square().mean())(x)
loss.backward()
print(loss.item().hex(), w.grad.sum().item().hex(), (x > 1).sum().item())
"""


def run(**environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM], capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def expected() -> str:
    return run(DUOGRAPH_CACHE="0")


@pytest.fixture(scope="module")
def filled(expected: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that the program has filled; tests work on copies."""
    place = tmp_path_factory.mktemp("filled") / "cache"
    assert run(DUOGRAPH_CACHE_DIR=str(place)) == expected
    return place


def swap(files: list[Path]) -> None:
    contents = [path.read_bytes() for path in files]
    for path, content in zip(files, [*contents[1:], contents[0]], strict=True):
        path.write_bytes(content)


def each(change: Callable[[bytes], bytes]) -> Callable[[list[Path]], None]:
    def apply(files: list[Path]) -> None:
        for path in files:
            path.write_bytes(change(path.read_bytes()))

    return apply


DAMAGES: dict[str, Callable[[list[Path]], None]] = {
    "empty": each(lambda content: b""),
    "truncated": each(lambda content: content[: len(content) // 2]),
    "zeros": each(lambda content: bytes(len(content))),
    "one bit": each(lambda content: content[:-9] + bytes([content[-9] ^ 16]) + content[-8:]),
    "text": each(lambda content: b"hello " * 1000),
    "an executable": each(lambda content: Path(sys.executable).read_bytes()[:5000]),
    "each another's": swap,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files(damage: str, expected: str, filled: Path, tmp_path: Path) -> None:
    place = shutil.copytree(filled, tmp_path / "cache")
    files = sorted(path for path in place.rglob("*") if path.is_file())
    assert len(files) > 3
    DAMAGES[damage](files)
    (place / "foreign file").write_text("not ours")
    (place / "folder").mkdir()
    (place / "link").symlink_to("/nowhere")
    assert run(DUOGRAPH_CACHE_DIR=str(place)) == expected
    assert run(DUOGRAPH_CACHE_DIR=str(place)) == expected
    assert (place / "foreign file").read_text() == "not ours"


def test_places_that_cannot_be_written(expected: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("a file")
    for place in (file, file / "below", "/proc/duograph", tmp_path / ("a" * 5000)):
        assert run(DUOGRAPH_CACHE_DIR=str(place)) == expected
    read_only = tmp_path / "read only"
    read_only.mkdir(mode=0o500)
    assert run(DUOGRAPH_CACHE_DIR=str(read_only)) == expected
    assert file.read_text() == "a file"


def test_no_place_at_all(expected: str, tmp_path: Path) -> None:
    assert run(DUOGRAPH_CACHE_DIR="", HOME=str(tmp_path), XDG_CACHE_HOME="") == expected
    assert not list(tmp_path.iterdir())  # left empty, it turns the cache off
    environment = {name: value for name, value in os.environ.items() if name != "DUOGRAPH_CACHE_DIR"}
    for home in (str(tmp_path), "/nowhere/at/all"):
        command = [sys.executable, "-c", PROGRAM]
        settings = {**environment, "HOME": home, "XDG_CACHE_HOME": ""}
        assert subprocess.run(command, capture_output=True, text=True, env=settings).stdout == expected
    assert any(path.is_file() for path in (tmp_path / ".cache" / "duograph").iterdir())
