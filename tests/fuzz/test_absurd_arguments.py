"""Public functions, methods and operators called with absurd arguments: they may refuse, they may not crash.

Runs in a process of its own, which must end well; the case under way is written down first. A case is repeated with
`python tests/fuzz/test_absurd_arguments.py SEED`.
"""

from __future__ import annotations

import gc
import importlib
import operator
import os
import random
import resource
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

BATCHES = 4
CASES_PER_BATCH = 250
OPERATORS = """
add sub mul truediv floordiv mod pow matmul and_ or_ xor lshift rshift lt eq
iadd imul ifloordiv ipow ilshift getitem setitem
"""
KEYWORDS = "dim dtype device requires_grad out keepdim size x a b reduction weight"
# What changes the whole process, or is the compiler's own entrance (a program is machine code).
SKIPPED = """
set_hook bind_slot bind_method set_size_type set_device_type set_dim_type set_number_type set_package_folder
begin_journal end_journal push_tracing pop_tracing set_tracing begin_count set_grad_journal set_dynamic_mode dynamic_mode
rebase register_fenced_device add_library set_num_threads set_default_dtype set_grad_enabled traced set_traced materialize
Program set_printoptions inference_mode __init_subclass__ __subclasshook__ __class__ __new__ __getattribute__
__setattr__ __delattr__ __dir__ __init__
"""


class Raises:
    """Every protocol raises."""

    def __index__(self) -> int:
        raise RuntimeError("no index")

    def __float__(self) -> float:
        raise RuntimeError("no float")

    def __iter__(self) -> Any:
        raise RuntimeError("no iterator")

    def __len__(self) -> int:
        raise RuntimeError("no length")

    def __bool__(self) -> bool:
        raise RuntimeError("no truth")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no equality")

    def __hash__(self) -> int:
        raise RuntimeError("no hash")


class Lies:
    """Protocols that give what they must not."""

    def __index__(self) -> Any:
        return "x"

    def __float__(self) -> Any:
        return 10**400

    def __len__(self) -> int:
        return -1

    def __getitem__(self, index: Any) -> Any:
        return index

    def __array__(self, *args: Any, **options: Any) -> Any:
        return "no array"

    def __dlpack__(self, **options: Any) -> Any:
        return None


class Huge:
    def __index__(self) -> int:
        return 10**30


class Emptying:
    """Empties the list it is in when it is read."""

    def __init__(self, owner: list[Any]) -> None:
        self.owner = owner

    def __index__(self) -> int:
        self.owner.clear()
        gc.collect()
        return 1


def emptying() -> list[Any]:
    owner: list[Any] = []
    owner += [Emptying(owner) for _ in range(3)]
    return owner


def endless() -> list[Any]:
    owner: list[Any] = []
    owner.append(owner)
    return owner


class Generator:
    """Draws calls; the same seed draws the same call."""

    skipped = frozenset(SKIPPED.split())
    operators = OPERATORS.split()

    def __init__(self) -> None:
        import numpy as np

        import duograph as dg
        from duograph import _core as core

        self.dg, self.core = dg, core
        self.subclass = type("Subclass", (core.Tensor,), {})
        self.methods = [name for name in dir(core.Tensor) if name not in self.skipped]
        self.functions: list[tuple[str, Callable[..., Any]]] = []
        for name in ("", "nn", "nn.functional", "nn.init", "optim", "autograd", "utils.data", "jit", "_core", "ops"):
            module = importlib.import_module("duograph." + name if name else "duograph")
            for attribute in sorted(dir(module)):
                value = getattr(module, attribute)
                if not callable(value) or attribute in self.skipped or attribute.startswith("_"):
                    continue
                if "duograph" in str(value.__module__) or name == "_core":
                    self.functions.append((f"{name}.{attribute}", value))
        self.dtypes = core.dtypes
        self.shapes: list[tuple[int, ...]] = [
            (),
            (1,),
            (3,),
            (2, 3),
            (0,),
            (0, 3),
            (3, 0),
            (1, 3),
            (2, 3, 4),
            (2,) * 10,
            (1,) * 16,
        ]
        self.plain: list[Any] = [
            None, "a", "", b"x", 0, 1, -1, 2, 3, -2, 17, 2**31, -(2**31), 2**62, 2**63 - 1, 2**63, -(2**63), 2**64, 10**30,
            1 << 200, 1.5, -0.0, float("nan"), float("inf"), -float("inf"), 1e308, 1j, True, False, (), [], {}, set(), (1,),
            [1, 2], (0, 1), (1, 0), (-1,), (0, 0), (2, 3), (-1, -1), (2**40, 2**40), (2**62, 4), (0, 2**63 - 1), (10**30,),
            [1.5], [None], ["a"], (1,) * 17, (1,) * 200, [[1, 2], [3]], [[]], slice(None), slice(0, 10**30), slice(None,
            None, 0), slice(None, None, -1), slice("a"), ..., NotImplemented, object(), int, dg.float32, dg.int64, dg.bool,
            "float32", core.Tensor, self.subclass, lambda *args: None, Raises(), Lies(), Huge(), range(3), range(1000),
            "mean", "none", "cpu", "cuda", bytearray(4), memoryview(b"1234"), np.float32(1), np.int64(3), np.array([1, 2]),
            np.array(["a"]), np.zeros((2, 3))[::-1], np.array(3), np.array([1j]), np.array([None]), np.datetime64("2020"),
            np.zeros(3, dtype=">f4"), np.zeros(2, dtype=[("a", "i4")]), dg.nn, Exception("x"), type, property(),
        ]  # fmt: skip

    def tensor(self) -> Any:
        dg, shape = self.dg, random.choice(self.shapes)
        made = dg.ones(shape, dtype=random.choice((dg.float32, *self.dtypes)))
        chance = random.random()
        if chance < 0.15 and made.ndim >= 2:
            made = made.transpose(0, 1)
        elif chance < 0.25 and made.ndim >= 1:
            made = made[::2]
        elif chance < 0.35 and made.ndim < 15:
            made = made.expand((2, *shape))
        elif chance < 0.4:
            made = self.core.as_subclass(made, self.subclass)
        if random.random() < 0.3 and made.is_floating_point():
            made = made.detach().requires_grad_()
            made = made * 2 if random.random() < 0.5 else made
        return made

    def value(self, depth: int = 0) -> Any:
        chance = random.random()
        if chance < 0.4:
            return self.tensor()
        if chance < 0.43:
            return random.choice([emptying, endless, lambda: iter([1, 2])])()
        if chance < 0.53 and depth < 2:
            return random.choice([list, tuple])(self.value(depth + 1) for _ in range(random.randint(0, 3)))
        return random.choice(self.plain)

    def call(self) -> tuple[str, Callable[..., Any], list[Any], dict[str, Any]]:
        chance = random.random()
        if chance < 0.3:
            name = random.choice(self.methods)
            found = getattr(self.core.Tensor, name)
            if callable(found):
                return name, found, [self.tensor(), *(self.value() for _ in range(random.choice((0, 1, 1, 2, 2, 3, 4))))], {}
            if random.random() < 0.5:
                return name, setattr, [self.tensor(), name, self.value()], {}
            return name, getattr, [self.tensor(), name], {}
        if chance < 0.42:
            name = random.choice(self.operators)
            return name, getattr(operator, name), [self.tensor(), *(self.value() for _ in range(1 + (name == "setitem")))], {}
        name, found = random.choice(self.functions)
        options = {random.choice(KEYWORDS.split()): self.value()} if random.random() < 0.15 else {}
        return name, found, [self.value() for _ in range(random.choice((0, 1, 1, 2, 2, 3, 3, 4, 5)))], options

    def case(self, seed: int, show: bool = False) -> str | None:
        """Runs one; gives what is wrong: an error that blames duograph itself, a mode left behind."""
        random.seed(seed)
        name, function, args, options = self.call()
        if show:
            print(name, args, options, flush=True)
        try:
            result = function(*args, **options)
            if random.random() < 0.3 and isinstance(result, self.core.Tensor):
                repr(result)
                if result.requires_grad:
                    result.sum().backward()
        except Exception as error:
            if show:
                print(repr(error))
            if isinstance(error, (self.dg.errors.InternalError, SystemError, AssertionError)):
                return f"seed {seed}: {name}: {error!r}"
        finally:
            self.dg.autograd.set_grad_enabled(True)
        if self.core.tracing():
            self.core.set_tracing(False)
            return f"seed {seed}: {name}: tracing was left on"
        return None


def batch(first: int, count: int, path: str) -> None:
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))
    generator = Generator()
    with open(path, "w", encoding="ascii") as file:
        for seed in range(first, first + count):
            file.seek(0)
            file.write(f"{seed:12}\n")
            file.flush()
            wrong = generator.case(seed)
            if wrong:
                print(wrong, flush=True)
    gc.collect()


def check(first: int, count: int, folder: Path) -> None:
    path = folder / "seed"
    done = subprocess.run(
        [sys.executable, __file__, str(first), str(count), str(path)], capture_output=True, text=True, env=dict(os.environ)
    )
    assert done.returncode == 0, f"crashed at seed {path.read_text().strip()}:\n{done.stderr[-3000:]}"
    assert not done.stdout, done.stdout


@pytest.mark.parametrize("number", range(BATCHES))
def test_absurd_arguments(number: int, tmp_path: Path) -> None:
    check(number * CASES_PER_BATCH, CASES_PER_BATCH, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("number", range(20))
def test_many_absurd_arguments(number: int, tmp_path: Path) -> None:
    check(1_000_000 + number * 1000, 1000, tmp_path)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        print(Generator().case(int(sys.argv[1]), show=True))
    else:
        batch(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
