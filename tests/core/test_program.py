"""The program runner: registers, slots, steps, outputs, failures."""

from __future__ import annotations

import copy
import random
import threading

import numpy as np
import pytest
from llvm_objects import ADD, SIGNATURE, add_spec, chunk_kernel, compile_object

from duograph import _core as core

FLOAT32, INT64, BOOL = 11, 5, 0


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_kernel_on_any_size(rank: int) -> None:
    program = core.Program(add_spec(rank=rank), compile_object(ADD))
    rng = np.random.default_rng(0)
    for n in (0, 1, 7, 30):
        a, b = rng.random((2, *[n] * rank), dtype=np.float32)
        (out,) = program.run_raw([a, b])
        assert out["shape"] == [n] * rank
        assert out["alias"] == -1
        np.testing.assert_array_equal(np.frombuffer(out["data"], np.float32).reshape(a.shape), a + b)


def test_many_chunks_on_threads_are_the_same_bits() -> None:
    program = core.Program(add_spec(chunk=64), compile_object(ADD))
    a, b = np.random.default_rng(1).random((2, 1_000_003), dtype=np.float32)
    threads = core.get_num_threads()
    try:
        for count in (1, 2, 3, 8):
            core.set_num_threads(count)
            for _ in range(5):
                (out,) = program.run_raw([a, b])
                np.testing.assert_array_equal(np.frombuffer(out["data"], np.float32), a + b)
    finally:
        core.set_num_threads(threads)


def test_same_program_in_many_python_threads() -> None:
    program = core.Program(add_spec(chunk=64), compile_object(ADD))
    failures: list[int] = []

    def body(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for n in (5, 300_000, 64, 200_001):
            for _ in range(5):
                a, b = rng.random((2, n), dtype=np.float32)
                out = program.run_raw([a, b])[0]
                if not np.array_equal(np.frombuffer(out["data"], np.float32), a + b):
                    failures.append(n)

    workers = [threading.Thread(target=body, args=(i,)) for i in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures


SCALE = chunk_kernel(
    "scale",
    """
  %x = getelementptr float, ptr %p0, i64 %i
  %z = getelementptr float, ptr %p2, i64 %i
  %xv = load float, ptr %x
  %yv = load float, ptr %p1
  %zv = fmul float %xv, %yv
  store float %zv, ptr %z
""",
)


def test_numbers_arrive_in_their_dtype() -> None:
    spec = {
        "inputs": [1],
        "numbers": [FLOAT32],
        "regs": [],
        "slots": [["input", 0], ["number", 0], ["output", 0]],
        "steps": [["kernel", 0, [0, 1, 2], [0], None, None, None, None]],
        "outputs": [[FLOAT32, [0], None]],
        "symbols": ["scale"],
    }
    program = core.Program(spec, compile_object(SCALE))
    x = np.arange(5, dtype=np.float32)
    for number in (2, 0.1, True, -3):
        out = program.run_raw([x], [number])[0]
        np.testing.assert_array_equal(np.frombuffer(out["data"], np.float32), x * np.float32(number))


def test_temporaries_views_constants_copy_and_zero() -> None:
    # out = (a + constant), through a temporary of the arena; the last element zeroed through a view of the output.
    constant = np.arange(4, dtype=np.float32)
    spec = {
        "inputs": [1],
        "n_sizes": 0,
        "regs": [["const", 0], ["const", 16], ["const", 32], ["const", 12], ["const", 4], ["const", 1]],
        "slots": [
            ["input", 0],
            ["const", 0],
            ["temp", 3, 3],
            ["output", 0],
            ["view", 3, 5],
        ],
        "arena": 4,
        "data": constant.tobytes(),
        "steps": [
            ["kernel", 0, [0, 1, 2], [0], 7, None, None, None],
            ["copy", 3, 2, 3],
            ["zero", 4, 6],
        ],
        "outputs": [[FLOAT32, [0], None]],
        "symbols": ["add"],
    }
    program = core.Program(spec, compile_object(ADD))
    a = np.array([1, 2, 3, 4], dtype=np.float32)
    out = np.frombuffer(program.run_raw([a])[0]["data"], np.float32)
    np.testing.assert_array_equal(out, np.append((a + constant)[:3], 0))
    assert program.stats() == {"steps": 3, "kernels": 1, "arena_bytes": 32, "inputs": 1, "outputs": 1}


def test_temporary_outside_the_arena_is_refused() -> None:
    spec = {
        "n_sizes": 2,
        "slots": [["temp", 0, 1]],
        "arena": 1,
        "steps": [["zero", 0, 1]],
        "outputs": [],
    }
    program = core.Program(spec)
    assert program.run_raw([], [], [0, 64]) == []
    with pytest.raises(Exception, match="outside the arena"):
        program.run_raw([], [], [8, 64])
    assert program.run_raw([], [], [0, -1])[0]["check_code"] == -1


def test_view_outputs_alias_their_input() -> None:
    # x[1::2] of a vector
    spec = {
        "inputs": [1],
        "regs": [["const", 2], ["floordiv", 0, 2], ["mul", 1, 2], ["const", 1]],
        "outputs": [[FLOAT32, [3], [0, [4], 5]], [FLOAT32, [], ["inplace", 0]]],
    }
    program = core.Program(spec)
    view, same = program.run_raw([np.zeros(7, np.float32)])
    assert (view["shape"], view["strides"], view["offset"], view["alias"], view["inplace"]) == ([3], [2], 1, 0, False)
    assert (same["shape"], same["strides"], same["offset"], same["alias"], same["inplace"]) == ([7], [1], 0, 0, True)


def test_view_of_a_fresh_output() -> None:
    spec = {
        "n_sizes": 1,
        "regs": [["const", 1], ["sub", 0, 1]],
        "outputs": [[FLOAT32, [0, 0], None], [FLOAT32, [2], [["output", 0], [0], 1]]],
    }
    base, view = core.Program(spec).run_raw([], [], [4])
    assert base["strides"] == [4, 1]
    assert (view["shape"], view["strides"], view["offset"], view["alias"]) == ([3], [4], 1, -1)


def test_view_outside_its_buffer_is_refused() -> None:
    spec = {"inputs": [1], "n_sizes": 2, "outputs": [[FLOAT32, [2], [0, [1], 3]]]}
    program = core.Program(spec)
    x = np.zeros(8, np.float32)
    assert program.run_raw([x], [], [8, 0])[0]["shape"] == [8]
    assert program.run_raw([x], [], [4, 4])[0]["shape"] == [4]
    assert program.run_raw([x], [], [0, 1000])[0]["shape"] == [0]
    for size, offset in ((9, 0), (8, 1), (1, -1), (2**62, 0), (-1, 0)):
        assert program.run_raw([x], [], [size, offset])[0]["check_code"] < 0


def test_checks_fail_with_their_code() -> None:
    spec = {"inputs": [1, 1], "regs": [["eq", 0, 2]], "checks": [[4, 42]], "outputs": [[FLOAT32, [0], None]]}
    program = core.Program(spec)
    a, b = np.zeros(3, np.float32), np.zeros(4, np.float32)
    assert program.run_raw([a, a])[0]["shape"] == [3]
    assert program.run_raw([a, b])[0]["check_code"] == 42
    assert program.run_raw([a, np.zeros((2, 2), np.float32)])[0]["check_code"] == -4


def test_outputs_of_failed_runs_are_freed() -> None:
    spec = {"n_sizes": 2, "outputs": [[FLOAT32, [0], None], [FLOAT32, [1], None]]}
    program = core.Program(spec)
    before = core.memory_stats()["live_buffers"]
    assert program.run_raw([], [], [10, -1])[0]["check_code"] == -1
    with pytest.raises(MemoryError):
        program.run_raw([], [], [10, 2**60])
    assert core.memory_stats()["live_buffers"] == before


FAIL_AT = chunk_kernel(
    "fail_at",
    """
  %x = getelementptr i64, ptr %p0, i64 %i
  %xv = load i64, ptr %x
  %bad = icmp slt i64 %xv, 0
  br i1 %bad, label %failing, label %tail
failing:
  %s1 = getelementptr i64, ptr %status, i64 1
  %s2 = getelementptr i64, ptr %status, i64 2
  store i64 1, ptr %status
  store i64 %xv, ptr %s1
  store i64 %n, ptr %s2
  ret void
""",
    chunk=16,
).replace("  ret void\n\n  br label %tail", "  ret void\n")


@pytest.mark.parametrize("cost", [0, 1 << 30])
def test_kernel_failures_name_node_and_value(cost: int) -> None:
    spec = {
        "inputs": [1],
        "regs": [["const", 16], ["ceildiv", 0, 2], ["const", cost]],
        "slots": [["input", 0], ["input", 0], ["input", 0]],
        "steps": [["kernel", 0, [0, 1, 2], [0], 3, None, 3, 4]],
        "outputs": [[FLOAT32, [0], None]],
        "symbols": ["fail_at"],
        "nodes": [["a"], ["b"], ["c"], ["d"]],
    }
    program = core.Program(spec, compile_object(FAIL_AT))
    x = np.arange(10_000)
    assert program.run_raw([x])[0]["shape"] == [10_000]
    x[7_000] = -5
    live = core.memory_stats()["live_buffers"]
    (failure,) = program.run_raw([x])
    assert failure == {"check_code": 0, "kernel_status": (1, -5, 10_000), "node": 3}
    assert core.memory_stats()["live_buffers"] == live


def test_random_reserves_from_the_default_generator() -> None:
    spec = {
        "n_sizes": 1,
        "regs": [["const", 2]],
        "slots": [["output", 0]],
        "steps": [["random", 0, 0]],
        "outputs": [[8, [1], None]],
    }
    program = core.Program(spec)
    core.manual_seed(7)
    first = np.frombuffer(program.run_raw([], [], [5])[0]["data"], np.uint64)
    second = np.frombuffer(program.run_raw([], [], [8])[0]["data"], np.uint64)
    assert first.tolist() == [7, 0]
    assert second.tolist() == [7, 5]
    assert core.get_rng_state() == (7, 13)
    core.set_rng_state(1, 2)
    assert core.rng_reserve(3) == (1, 2)
    assert core.get_rng_state() == (1, 5)
    core.manual_seed(-1)
    assert core.get_rng_state() == (2**64 - 1, 0)


COUNT_DOWN = f"""
define void @positive{SIGNATURE} {{
  %x = load ptr, ptr %args
  %a1 = getelementptr ptr, ptr %args, i64 1
  %p = load ptr, ptr %a1
  %v = load i64, ptr %x
  %c = icmp sgt i64 %v, 0
  %b = zext i1 %c to i8
  store i8 %b, ptr %p
  ret void
}}
define void @decrement{SIGNATURE} {{
  %x = load ptr, ptr %args
  %v = load i64, ptr %x
  %w = sub i64 %v, 1
  store i64 %w, ptr %x
  ret void
}}
define void @add_hundred{SIGNATURE} {{
  %x = load ptr, ptr %args
  %v = load i64, ptr %x
  %w = add i64 %v, 100
  store i64 %w, ptr %x
  ret void
}}
"""

COUNT_DOWN_SPEC = {
    "inputs": [0],
    "regs": [["const", 64], ["const", 0], ["const", 8]],
    "slots": [["input", 0], ["output", 0], ["temp", 1, 2]],
    "arena": 0,
    "steps": [
        ["copy", 1, 0, 2],
        ["kernel", 0, [1, 2], [], None, None, None, None],
        [
            "cond",
            2,
            [["while", [["kernel", 0, [1, 2], [], None, None, None, None]], 2, [["kernel", 1, [1], [], None, None, None, None]]]],
            [["kernel", 2, [1], [], None, None, None, None]],
        ],
    ],
    "outputs": [[INT64, [], None]],
    "symbols": ["positive", "decrement", "add_hundred"],
}


@pytest.mark.parametrize(("start", "end"), [(5, 0), (1, 0), (0, 100), (-3, 97), (1000, 0)])
def test_cond_and_while(start: int, end: int) -> None:
    program = core.Program(COUNT_DOWN_SPEC, compile_object(COUNT_DOWN))
    (out,) = program.run_raw([np.array(start)])
    assert np.frombuffer(out["data"], np.int64)[0] == end


def test_profile_times_each_step() -> None:
    program = core.Program(COUNT_DOWN_SPEC, compile_object(COUNT_DOWN))
    program.run_raw([np.array(3)])
    assert all(row["calls"] == 0 for row in program.profile())
    program.set_profiling(True)
    program.run_raw([np.array(3)])
    rows = program.profile()
    program.set_profiling(False)
    program.run_raw([np.array(3)])
    assert program.profile() == rows
    assert [(row["kind"], row["symbol"], row["calls"]) for row in rows] == [
        ("copy", "", 1),
        ("kernel", "positive", 1),
        ("cond", "", 1),
        ("while", "", 1),
        ("kernel", "positive", 4),
        ("kernel", "decrement", 3),
        ("kernel", "add_hundred", 0),
    ]
    assert all(row["microseconds"] >= 0 for row in rows)


SCRATCH = f"""
define void @scratch_address{SIGNATURE} {{
  %p = load ptr, ptr %args
  %q = getelementptr i64, ptr %p, i64 %begin
  %a = ptrtoint ptr %scratch to i64
  store i64 %a, ptr %q
  ret void
}}
"""


def test_scratch_is_aligned() -> None:
    spec = {
        "n_sizes": 1,
        "regs": [["const", 1]],
        "slots": [["output", 0]],
        "steps": [["kernel", 0, [0], [], 1, 0, None, None]],
        "outputs": [[INT64, [1], None]],
        "symbols": ["scratch_address"],
    }
    program = core.Program(spec, compile_object(SCRATCH))
    for size in (1, 100, 5000, 3 << 20):
        address = np.frombuffer(program.run_raw([], [], [size])[0]["data"], np.int64)[0]
        assert address and address % 64 == 0
    assert np.frombuffer(program.run_raw([], [], [0])[0]["data"], np.int64)[0] == 0


def test_libraries_are_shared_and_symbols_are_addresses() -> None:
    code = compile_object(COUNT_DOWN)
    assert not core.has_library("count-test")
    core.add_library("count-test", code)
    core.add_library("count-test", b"ignored: the name is known")
    assert core.has_library("count-test")
    spec = {
        "inputs": [0],
        "regs": [["const", 8]],
        "slots": [["output", 0], ["input", 0], ["symbol", 1]],
        "steps": [["copy", 0, 1, 0], ["kernel", 0, [0, 2], [], None, None, None, None]],
        "outputs": [[INT64, [], None]],
        "symbols": ["count-test:add_hundred", "count-test:positive"],
    }
    (out,) = core.Program(spec).run_raw([np.array(11)])
    assert np.frombuffer(out["data"], np.int64)[0] == 111
    spec["symbols"] = ["count-test:missing", "count-test:positive"]
    with pytest.raises(Exception, match="no function 'count-test:missing'"):
        core.Program(spec)


MUTATIONS = [
    (("inputs",), [99]),
    (("inputs",), [-1]),
    (("inputs",), "ab"),
    (("numbers",), [13]),
    (("n_sizes",), -1),
    (("regs", 0), ["unknown", 0, 0]),
    (("regs", 0), ["const"]),
    (("regs", 0), ["const", 2**70]),
    (("regs", 1), ["ceildiv", 0, 99]),
    (("regs", 1), ["ceildiv", -1, 0]),
    (("regs", 1), ["ceildiv", 5, 0]),
    (("checks",), [[0, 0]]),
    (("checks",), [[1000, 1]]),
    (("slots", 0), ["input", 2]),
    (("slots", 0), ["number", 0]),
    (("slots", 0), ["output", 1]),
    (("slots", 0), ["temp", 0, 0]),
    (("slots", 0), ["view", 0, 0]),
    (("slots", 0), ["const", 0]),
    (("slots", 0), ["symbol", 1]),
    (("slots", 0), ["what", 1]),
    (("slots", 0), []),
    (("arena",), 99),
    (("data",), 5),
    (("data",), "not base64!"),
    (("steps", 0), ["kernel", 1, [0], [0], None, None, None, None]),
    (("steps", 0), ["kernel", 0, [3], [0], None, None, None, None]),
    (("steps", 0), ["kernel", 0, [0], [99], None, None, None, None]),
    (("steps", 0), ["kernel", 0, [0], [0], 99, None, None, None]),
    (("steps", 0), ["kernel", 0, [0], [0], None, None, 7, None]),
    (("steps", 0), ["kernel", 0]),
    (("steps", 0), ["copy", 0, 9, 0]),
    (("steps", 0), ["host", 0, []]),
    (("steps", 0), ["cond", 0, [["zero", 9, 0]], []]),
    (("steps", 0), None),
    (("outputs", 0), [13, [0], None]),
    (("outputs", 0), [11, [0] * 17, None]),
    (("outputs", 0), [11, [99], None]),
    (("outputs", 0), [11, [0], [2, [0], 0]]),
    (("outputs", 0), [11, [0], [0, [0, 0], 0]]),
    (("outputs", 0), [11, [0], ["inplace", 2]]),
    (("outputs", 0), [11, [0], [["output", 0], [0], 0]]),
    (("symbols",), ["missing"]),
    (("symbols",), [3]),
]


@pytest.mark.parametrize(("path", "value"), MUTATIONS, ids=[f"{p}={v}"[:60] for p, v in MUTATIONS])
def test_wrong_specs_are_refused(path: tuple[str | int, ...], value: object) -> None:
    spec = copy.deepcopy(add_spec())
    target: object = spec
    for key in path[:-1]:
        target = target[key]  # type: ignore[index]
    target[path[-1]] = value  # type: ignore[index]
    with pytest.raises(Exception, match="program: "):
        core.Program(spec, compile_object(ADD))


def test_arguments_are_counted() -> None:
    program = core.Program(add_spec(), compile_object(ADD))
    a = np.zeros(2, np.float32)
    for arguments in (([a],), ([a, a], [1]), ([a, a], [], [1]), ([a, a, a],)):
        with pytest.raises(Exception, match="the program takes"):
            program.run_raw(*arguments)


def test_kept_scratch_is_not_counted_as_live() -> None:
    spec = {
        "n_sizes": 1,
        "regs": [["const", 1]],
        "slots": [["output", 0]],
        "steps": [["kernel", 0, [0], [], 1, 0, None, None]],
        "outputs": [[INT64, [1], None]],
        "symbols": ["scratch_address"],
    }
    program = core.Program(spec, compile_object(SCRATCH))
    core.empty_cache()
    before = core.memory_stats()
    addresses = {np.frombuffer(program.run_raw([], [], [3 << 20])[0]["data"], np.int64)[0] for _ in range(5)}
    after = core.memory_stats()
    assert len(addresses) == 1
    assert (after["live_buffers"], after["allocated"]) == (before["live_buffers"], before["allocated"])
    assert after["reserved"] >= before["reserved"] + (3 << 20)
    core.empty_cache()
    assert core.memory_stats()["reserved"] <= before["reserved"]


def test_random_damage_to_a_spec_never_crashes() -> None:
    """Parsing only: a spec that still parses may compute nonsense, but every index in it is in range."""
    rng = random.Random(0)
    values: list[object] = [None, -1, 0, 1, 3, 99, 2**31, 2**63 - 1, 2**70, "input", "", [], {}, [[]], 1.5, True, b"x"]
    code = {"add": compile_object(ADD), "count": compile_object(COUNT_DOWN)}
    refused = 0
    for _ in range(3000):
        name = rng.choice(("add", "count"))
        spec: dict[str, object] = copy.deepcopy(add_spec(rank=2) if name == "add" else COUNT_DOWN_SPEC)
        target: dict[str, object] | list[object] = spec
        while True:
            keys = list(target) if isinstance(target, dict) else list(range(len(target)))
            if not keys:
                break
            key = rng.choice(keys)
            inner = target[key]  # type: ignore[index]
            if not isinstance(inner, list | dict) or rng.random() < 0.2:
                target[key] = rng.choice(values)  # type: ignore[index]
                break
            target = inner
        try:
            core.Program(spec, code[name])
        except RuntimeError as error:
            assert "program: " in str(error)
            refused += 1
    assert refused > 1000
