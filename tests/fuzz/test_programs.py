"""Random programs: dynamic, static and strict static agree in values and gradients of first and second order (strict: in bits).

The seed is printed; `python tests/fuzz/test_programs.py SEED [COUNT]` repeats programs. A failing one is shrunk and printed.
"""

from __future__ import annotations

import math
import os
import random
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from random_programs import Writer, shrink

import duograph as dg

DEFAULT, LONG, PARTS = 100, 2000, 4
CANDIDATE = 20.0  # seconds of processor time: a program that was cut shorter may loop for ever
# What static refuses for a reason (with the user's line) although dynamic mode runs it.
REFUSED = (
    "the gradient of random numbers or calls into Python in loops inside of loops",
    "is written in place in a branch or loop that a tensor's value steers, and takes part in differentiation",
    "on one way through a branch or loop that a tensor's value steers, and a tensor of its own on another",
    "in a layout that is not known at capture",
    "a variable or an item of a list is a part of another tensor, or one of several, that a loop or branch chose",
    "a list grows by a tensor that other turns of the loop write in place",
)


class Mismatch(AssertionError):
    """The modes disagree."""


class TooLong(Exception):
    """A program did not end in time."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Ends what runs in here, by `TooLong`, after that much processor time."""

    def end(*_):
        raise TooLong

    before = signal.signal(signal.SIGPROF, end)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def load(source: str, folder: Path):
    """The function of a program, from a file, where source conversion finds it."""
    load.count = getattr(load, "count", 0) + 1
    path = folder / f"program_{load.count}.py"
    path.write_text(source)
    scope = {"dg": dg, "__name__": path.stem, "__file__": str(path)}
    exec(compile(source, str(path), "exec"), scope)
    return scope["f"]


def arguments(seed: int, call: int, gradients: bool):
    generator = np.random.default_rng([seed, call])
    n, m = (int(size) for size in generator.integers(2, 6, 2))
    shapes = ((n, m), (n, m), (m,), ())
    tensors = [dg.from_numpy(generator.uniform(-1, 1, s).astype(np.float32)).requires_grad_(gradients) for s in shapes]
    return [
        *tensors,
        float(generator.choice([0.5, 1.5])),
        int(generator.integers(1, 4)),
        dg.tensor(int(generator.integers(1, 4))),
    ]


def outcome(function, given, gradients: bool):
    """Results, what was said meanwhile, arguments afterwards, and gradients of first and second order."""
    said = getattr(function, "__wrapped__", function).__globals__.get("SAID", [])
    said.clear()
    results = function(*given)
    found = [len(said), *(value for values in said for value in values)]
    found += [r.tolist() if isinstance(r, dg.Tensor) else r for r in results]
    found += [x.detach().tolist() for x in given[:4]]
    if not gradients:
        found += shared(results, given)
    if gradients:
        leaves = given[:4]
        before = [x.sin() for x in leaves]  # uses before and after the call: their gradients meet those of the call
        total = sum((r * r).sum() for r in results if isinstance(r, dg.Tensor) and r.requires_grad)
        total += sum((x * y).sum() for x, y in zip(leaves, before))
        first = dg.autograd.grad(total, leaves, create_graph=True, allow_unused=True)
        found += [None if g is None else g.tolist() for g in first]
        again = sum((g * g).sum() for g in first if g is not None and g.requires_grad)
        if isinstance(again, dg.Tensor):
            second = dg.autograd.grad(again, leaves, allow_unused=True)
            found += [None if g is None else g.tolist() for g in second]
    return found


def shared(results, given):
    """What a write to each result does to the others and to the arguments: who lies on whose memory."""
    tensors = [r for r in results if isinstance(r, dg.Tensor)]
    found = []
    for tensor in tensors:
        try:
            tensor.fill_(1)
        except dg.Error as error:  # memory that repeats
            found.append(type(error).__name__)
    return found + [t.tolist() for t in (*tensors, *given[:4])]


def same(a, b, exact: bool) -> bool:
    if a is None or b is None:  # no gradient and a gradient of zeros are one
        return a is b or not np.any(a if b is None else b)
    if isinstance(a, list) or isinstance(b, list):
        x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
        if x.shape != y.shape:
            return False
        return bool(np.array_equal(x, y, equal_nan=True)) if exact else bool(np.allclose(x, y, 2e-3, 2e-4, equal_nan=True))
    if exact or not isinstance(a, float):
        return type(a) is type(b) and (a == b or (a != a and b != b))
    return math.isclose(a, b, rel_tol=2e-3, abs_tol=2e-4)


def check(source: str, seed: int, gradients: bool, folder: Path, calls: int = 3) -> str:
    """Raises if the modes disagree; else says what happened: "ok", or why the program counts for nothing.

    With two calls, only one of the static modes makes the second.
    """
    function = load(source, folder)
    modes = {"strict": dg.static(function, strict=True), "static": dg.static(function)}
    for call in range(calls):
        try:
            expected = outcome(function, arguments(seed, call, gradients), gradients)
        except (dg.Error, IndexError, ValueError) as error:
            return f"dynamic: {type(error).__name__}"
        if call and calls == 2:
            modes = dict([list(modes.items())[seed % 2]])
        for name, static in modes.items():
            try:
                found = outcome(static, arguments(seed, call, gradients), gradients)
            except Exception as error:
                if any(text in str(error) for text in REFUSED):
                    return f"refused: {next(text for text in REFUSED if text in str(error))}"
                raise Mismatch(f"{name} raised in call {call}: {type(error).__name__}: {error}") from error
            if len(found) != len(expected):
                raise Mismatch(f"{name}, call {call}: {len(found)} results instead of {len(expected)}")
            for i, (a, b) in enumerate(zip(expected, found)):
                if not same(a, b, name == "strict"):
                    raise Mismatch(f"{name}, call {call}, item {i}: dynamic {a}, {name} {b}")
    return "ok"


def failure(source: str, seed: int, gradients: bool, folder: Path) -> Exception | None:
    try:
        with limited(CANDIDATE):
            check(source, seed, gradients, folder)
    except Mismatch as error:
        return error
    except Exception:
        return None
    return None


def report(source: str, seed: int, gradients: bool, folder: Path, error: Exception) -> str:
    def fails(candidate: str) -> bool:
        found = failure(candidate, seed, gradients, folder)
        return found is not None and type(found.__cause__) is type(error.__cause__)

    small = shrink(source, fails)
    last = failure(small, seed, gradients, folder) or error
    cause = "".join(traceback.format_exception(last.__cause__)[-6:]) if last.__cause__ else ""
    return f"seed {seed}, gradients {gradients}: {last}\n{small}\n{cause}"


def run(start: int, count: int, folder: Path, stop: bool = True, large: bool = True) -> Counter[str]:
    seen: Counter[str] = Counter()
    for seed in range(start, start + count):
        gradients = seed % 3 == 0
        source = Writer(seed, gradients, large=large).program()
        try:
            seen[check(source, seed, gradients, folder, 3 if large else 2)] += 1
        except Mismatch as error:
            text = report(source, seed, gradients, folder, error)
            if stop:
                pytest.fail(text, pytrace=False)
            print(text, flush=True)
            seen["failed"] += 1
    return seen


def first_seed() -> int:
    return int(os.environ.get("DUOGRAPH_FUZZ_SEED") or random.randrange(10**6))


@pytest.mark.filterwarnings("ignore:.*was captured:duograph.errors.CaptureWarning")
@pytest.mark.parametrize("part", range(PARTS))
def test_random_programs(part, tmp_path):
    count = DEFAULT // PARTS
    seen = run(1000 + part * count, count, tmp_path, large=False)
    print(dict(seen))
    assert seen["ok"] >= count * 0.6, seen


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.filterwarnings("ignore:.*was captured:duograph.errors.CaptureWarning")
def test_many_random_programs(tmp_path):
    start = first_seed()
    print(f"seeds {start} to {start + LONG - 1}: python tests/fuzz/test_programs.py {start} {LONG}")
    seen = run(start, LONG, tmp_path)
    assert seen["ok"] >= LONG * 0.6, seen


if __name__ == "__main__":
    import warnings

    warnings.simplefilter("ignore")
    warnings.simplefilter("error", dg.errors.CaptureWarning)
    with tempfile.TemporaryDirectory() as folder:
        print(dict(run(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1, Path(folder), stop=False)))
