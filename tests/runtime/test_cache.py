"""The object cache: hits, misses, garbage, many processes, bounds, where it lies."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from duograph import _core as core
from duograph.runtime import cache, stamp

PROGRAM = """
import sys
import duograph as dg
x = dg.tensor([[1.0, 2.0], [3.0, 4.0]])
x.requires_grad_()
y = ((x @ x).softmax(1) * x).sum()
y.backward()
print([round(v, 5) for row in x.grad.tolist() for v in row])
print("llvmlite" in sys.modules, "duograph.passes.fusion.fuse" in sys.modules, "duograph.ir.graph" in sys.modules)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("DUOGRAPH_CACHE_DIR", str(folder))
    return folder


def run_program(place: str | Path) -> list[str]:
    environment = {**os.environ, "DUOGRAPH_CACHE_DIR": str(place)}
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment, check=True)
    return done.stdout.splitlines()


def test_store_and_load(place: Path) -> None:
    key = cache.key("something", 1, (2, "three"))
    assert cache.load(key) is None
    cache.store(key, {"a": [1, 2]}, b"\x00code")
    assert cache.load(key) == ({"a": [1, 2]}, b"\x00code")
    assert place.stat().st_mode & 0o777 == 0o700
    assert [path.stat().st_mode & 0o777 for path in place.iterdir()] == [0o600]
    assert cache.key("something", 1, (2, "four")) != key


def test_the_digest_is_blake2b(tmp_path: Path) -> None:
    for size in (0, 1, 127, 128, 129, 256, 5000):
        content = bytes(i * 7 % 256 for i in range(size))
        wanted = hashlib.blake2b(content, digest_size=20).hexdigest()
        assert core.digest(content) == core.digest(content[:100], memoryview(content)[100:]) == wanted


def test_the_stamp_of_sources_follows_every_change(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x")
    (tmp_path / "b.txt").write_text("x")
    before = core.stamp_of_files([str(tmp_path)], ".py")
    (tmp_path / "b.txt").write_text("longer")
    assert core.stamp_of_files([str(tmp_path)], ".py") == before and "b.txt" not in before
    os.utime(tmp_path / "a.py", (0, 0))
    touched = core.stamp_of_files([str(tmp_path)], ".py")
    (tmp_path / "c.py").write_text("")
    assert len({before, touched, core.stamp_of_files([str(tmp_path)], ".py")}) == 3
    with pytest.raises(RuntimeError, match="No such file"):
        core.stamp_of_files([str(tmp_path / "missing")], ".py")


def test_the_stamp_covers_every_source_that_decides_what_code_comes_out() -> None:
    package = Path(stamp.__file__).parents[1]
    parts = [package / name for name in ("codegen", "ir", "ops", "passes", "runtime")]
    folders = {path.parent.relative_to(package).as_posix() for part in parts for path in part.rglob("*.py")}
    assert len(folders) > 10 and set(stamp.FOLDERS) == folders


def test_a_first_call_imports_next_to_nothing(place: Path) -> None:
    program = (
        "import sys, duograph as dg; x = dg.tensor([1.0]); f = dg.exp; before = set(sys.modules); f(x); "
        "print(sorted(set(sys.modules) - before))"
    )
    results = [
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            env={**os.environ, "DUOGRAPH_CACHE_DIR": str(place)},
            check=True,
        ).stdout
        for _ in range(2)
    ]
    assert "llvmlite" in results[0] and results[1] == "[]\n"


def test_a_hit_is_cheap(place: Path) -> None:
    key = cache.key("x")
    cache.store(key, {"steps": [["kernel", i, [1, 2, 3], [4, 5]] for i in range(20)]}, bytes(4000))
    times = []
    for _ in range(50):
        start = time.perf_counter()
        assert cache.load(cache.key("x")) is not None
        times.append(time.perf_counter() - start)
    assert sorted(times)[len(times) // 2] < 0.3e-3


@pytest.mark.parametrize("setting", ["", "0"])
def test_disabled(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUOGRAPH_CACHE_DIR", setting)
    assert cache.folder() is None
    cache.store("name", {}, b"")
    assert cache.load("name") is None


def damage(content: bytes) -> dict[str, bytes]:
    middle = len(content) // 2
    return {
        "empty": b"",
        "truncated": content[:-1],
        "longer": content + b"\0",
        "one bit": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "header only": content[:20],
        "text": b"not a cache file at all, but long enough to be one, or so it seems",
        "huge length": content[:10] + b"\xff" * 8 + content[18:],
    }


@pytest.mark.parametrize("kind", ["empty", "truncated", "longer", "one bit", "header only", "text", "huge length"])
def test_garbage_is_a_miss(kind: str, place: Path) -> None:
    cache.store("name", {"a": 1}, b"code" * 100)
    path = place / "name"
    path.write_bytes(damage(path.read_bytes())[kind])
    assert cache.load("name") is None
    cache.store("name", {"a": 2}, b"")
    assert cache.load("name") == ({"a": 2}, b"")


def test_a_valid_file_with_a_wrong_program_is_made_anew(place: Path) -> None:
    first = run_program(place)
    for path in place.iterdir():
        cache.store(path.name, {"inputs": "nonsense"}, b"\x7fELF but not really")
    again = run_program(place)
    assert again[0] == first[0]


def test_links_and_folders_are_not_followed(place: Path, tmp_path: Path) -> None:
    cache.store("real", {"a": 1}, b"")
    (place / "link").symlink_to(place / "real")
    (place / "folder").mkdir()
    assert cache.load("link") is None
    assert cache.load("folder") is None


def test_a_folder_that_is_open_to_others_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "open"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    monkeypatch.setenv("DUOGRAPH_CACHE_DIR", str(folder))
    assert cache.folder() == str(folder)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_path_that_cannot_be_a_folder_disables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DUOGRAPH_CACHE_DIR", str(tmp_path / "file" / "sub"))
    assert cache.folder() is None
    cache.store("name", {}, b"")


def test_least_recently_used_files_go_first(place: Path) -> None:
    now = time.time()
    for i in range(10):
        cache.store(f"file{i}", {}, bytes(1000))
        os.utime(place / f"file{i}", (now - 1000 + i, now - 1000 + i))
    os.utime(place / "file0", (now, now))
    cache.trim(str(place), 5 * 1100)
    left = sorted(path.name for path in place.iterdir())
    assert "file0" in left and "file9" in left and "file1" not in left
    assert sum(path.stat().st_size for path in place.iterdir()) <= 5 * 1100


@pytest.mark.parametrize("processes", [1, 100])
def test_the_folder_stays_within_its_limit_and_is_rarely_looked_through(
    processes: int, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DUOGRAPH_CACHE_SIZE", "1")
    looks, trim = [], cache.trim
    monkeypatch.setattr(cache, "trim", lambda place: looks.append(trim(place)))
    for i in range(1500):
        if i % (1500 // processes) == 0:
            monkeypatch.setattr(cache, "_unseen", None)  # as a new process starts
        cache.store(f"file{i}", {}, bytes(1000))
        if i % 250 == 249:
            assert sum(path.stat().st_size for path in place.iterdir()) <= (1 << 20) * (1.02 if processes == 1 else 1.3)
    assert 60 <= len(looks) <= 140, "a look for each 16 KB or so"


def test_left_over_scratch_files_are_removed(place: Path) -> None:
    cache.store("name", {}, b"")
    stale = place / "name.1.1.tmp"
    stale.write_bytes(b"x")
    os.utime(stale, (0, 0))
    cache.trim(str(place))
    assert not stale.exists()
    assert cache.load("name") is not None


def test_warm_start_imports_no_compiler(place: Path) -> None:
    cold = run_program(place)
    warm = run_program(place)
    assert cold[0] == warm[0]
    assert cold[1].startswith("True True")
    assert warm[1].startswith("False False")


def test_many_processes_at_once(place: Path) -> None:
    environment = {**os.environ, "DUOGRAPH_CACHE_DIR": str(place)}
    running: list[Any] = [
        subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True, env=environment) for _ in range(4)
    ]
    results = {process.communicate()[0].splitlines()[0] for process in running}
    assert len(results) == 1
    assert not list(place.glob("*.tmp"))


MOVED = """
import duograph as dg
from duograph.runtime import assemble

made, before = [], assemble.assemble
x, at, far = dg.ones(3), dg.tensor([1]), dg.tensor([7])
assemble.assemble = lambda *args: made.append(0) or before(*args)
{lines}
@dg.static
def chain(x):
    return (x * 2).tanh().sum()

chain(x)
print(len(made))

@dg.static
def pick(x, at):
    return x[at] * 2

pick(x, at)
print(len(made))
try:
    pick(x, far)
except dg.errors.Error as error:
    print(error)
"""


def test_programs_are_found_after_lines_have_moved_and_errors_name_the_new_lines(place: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "DUOGRAPH_CACHE_DIR": str(place)}
    made = []
    for name, lines in (("first", ""), ("first", ""), ("moved", "\n" * 10)):
        path = tmp_path / f"{name}.py"
        path.write_text(MOVED.format(lines=lines))
        done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, env=environment, check=True)
        chain, pick, message = done.stdout.split("\n", 2)
        made.append((int(chain), int(pick)))
        line = path.read_text().splitlines().index("    return x[at] * 2") + 1
        assert f"{name}.py:{line}" in message and message.count(".py:") == 1
    # Both are compiled, then none; last the one whose messages name a line, for the new line.
    assert made == [(1, 2), (0, 0), (0, 1)]
