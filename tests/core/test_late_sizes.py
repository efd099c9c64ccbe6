"""Programs whose sizes become known while they run: the spec, failures, memory limits and interrupts."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import duograph as dg
from duograph import _core as core

INT64, BOOL = 5, 0
Spec = dict[str, Any]


def nonzero_spec(**changes: Any) -> Spec:
    """The positions of the true ones of a 1-d input, and the same through a temporary whose size is known late."""
    spec: Spec = {
        "inputs": [1],
        "regs": [["late", 0], ["const", 8], ["mul", 2, 3], ["const", 0], ["const", 64], ["ceildiv", 4, 6], ["mul", 7, 6]],
        "late_arenas": [8],
        "slots": [["input", 0], ["output", 0], ["temp", 5, 4, 0], ["output", 1]],
        "steps": [["nonzero", 0, 0, 0, 2, 2], ["copy", 1, 2, 4], ["copy", 3, 2, 4]],
        "outputs": [[INT64, [2], None], [INT64, [2], None]],
    }
    return {**spec, **changes}


def run(spec: Spec, x: np.ndarray[Any, Any]) -> list[Any]:
    return [out.numpy() for out in core.Program(spec).run([dg.from_numpy(x)], [], [])]


@pytest.mark.parametrize("n", [0, 1, 7, 1000])
def test_nonzero(n: int) -> None:
    mask = np.random.default_rng(n).random(n) < 0.4
    for found in run(nonzero_spec(), mask):
        np.testing.assert_array_equal(found, np.flatnonzero(mask))


def test_one_program_many_sizes() -> None:
    program = core.Program(nonzero_spec())
    before = core.memory_stats()["live_buffers"]
    for n in (1000, 0, 5, 100_000, 3):
        found = program.run([dg.from_numpy(np.ones(n, bool))], [], [])
        assert [tuple(out.shape) for out in found] == [(n,), (n,)]
    del found
    assert core.memory_stats()["live_buffers"] <= before + 1


def measure_spec(**changes: Any) -> Spec:
    """The first elements of a 1-d input, as many as another says: a view."""
    spec: Spec = {
        "inputs": [1, 0],
        "regs": [["late", 0], ["const", 1], ["le", 2, 0]],
        "checks": [[4, 9]],
        "slots": [["input", 1]],
        "steps": [["measure", 0, 0]],
        "outputs": [[INT64, [2], [0, [1], None]]],
    }
    return {**spec, **changes}


def test_a_view_of_a_late_size() -> None:
    program = core.Program(measure_spec())
    x = dg.from_numpy(np.arange(10))
    (view,) = program.run([x, dg.from_numpy(np.array(4))], [], [])
    assert view.tolist() == [0, 1, 2, 3] and view.data_ptr() == x.data_ptr()


@pytest.mark.parametrize(("size", "code"), [(-1, -6), (11, 9)])
def test_checks_of_late_sizes(size: int, code: int) -> None:
    program = core.Program(measure_spec())
    before = core.memory_stats()["live_buffers"]
    with pytest.raises(dg.errors.InternalError, match=f"code {code}"):
        program.run([dg.from_numpy(np.arange(10)), dg.from_numpy(np.array(size))], [], [])
    assert core.memory_stats()["live_buffers"] <= before


def test_the_last_defence_against_views_beyond_the_end() -> None:
    program = core.Program(measure_spec(checks=[]))
    with pytest.raises(dg.errors.InternalError, match="code -2"):
        program.run([dg.from_numpy(np.arange(10)), dg.from_numpy(np.array(11))], [], [])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"regs": [["late", 1]]}, "numbered in order"),
        ({"steps": [["nonzero", 1, 0, 0, 2, 2]]}, r"late size 1 is not in \[0, 1\)"),
        ({"steps": [["nonzero", 0, 9, 0, 2, 2]]}, r"slot 9 is not in"),
        ({"slots": [["input", 0], ["output", 0], ["temp", 5, 4, 1], ["output", 1]]}, "late arena 1 is not in"),
        ({"late_arenas": [6]}, "is known when the program starts"),
        ({"arena": 8}, "is not known when the program starts"),
        ({"steps": [["while", [], 0, [], None, [[0, 1, 3, 3]]]]}, "expected a row"),
    ],
)
def test_wrong_specs(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(Exception, match=message):
        core.Program(nonzero_spec(**changes))


def test_a_stack_that_grows_is_a_slot_of_its_kind() -> None:
    slots = [["input", 0], ["row"], ["output", 0]]
    steps = [["while", [], 0, [], 0, [[1, 2, 3, None]]]]
    with pytest.raises(Exception, match="expected a stack that grows"):
        core.Program(nonzero_spec(slots=slots, steps=steps, late_arenas=[]))


def fresh(code: str, folder: Path) -> str:
    """What a process of its own prints."""
    program = folder / "program.py"
    program.write_text("import duograph as dg\nfrom duograph import _core as core\n" + textwrap.dedent(code))
    made = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=120)
    assert made.returncode == 0, made.stderr
    return made.stdout


LOOP = """
@dg.static
def rows(x, limit):
    found = []
    while x[0] < limit:
        found.append(x)
        x = x + 1
    return dg.stack(found)

few = rows(dg.zeros(1 << 16), dg.tensor(3.0))
before = core.memory_stats()["live_buffers"]
"""


def test_a_loop_that_outgrows_memory_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    out = fresh(
        LOOP
        + textwrap.dedent("""
        import resource
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20),) * 2)
        for _ in range(2):
            try:
                rows(dg.zeros(1 << 16), dg.tensor(1e9))
            except dg.errors.OutOfMemoryError:
                print("too much", core.memory_stats()["live_buffers"] - before)
        print(rows(dg.zeros(1 << 16), dg.tensor(5.0)).shape)
        """),
        tmp_path,
    )
    assert out == "too much 0\ntoo much 0\nduograph.Size([5, 65536])\n"


def test_ctrl_c_ends_a_loop_that_keeps_rows(tmp_path: Path) -> None:
    out = fresh(
        LOOP
        + textwrap.dedent("""
        import os, signal, threading
        rows(dg.zeros(4), dg.tensor(2.0))
        before = core.memory_stats()["live_buffers"]
        for _ in range(2):
            threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
            try:
                while True:
                    rows(dg.zeros(4), dg.tensor(1e6))
            except KeyboardInterrupt:
                print("stopped")
        print(core.memory_stats()["live_buffers"] - before, rows(dg.zeros(4), dg.tensor(5.0)).shape)
        """),
        tmp_path,
    )
    assert out == "stopped\nstopped\n0 duograph.Size([5, 4])\n"
