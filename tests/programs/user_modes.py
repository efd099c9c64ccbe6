"""A user's program run in each mode, and what must be the same: results, gradients, state, what is printed, errors."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np

import duograph as dg


def make(*shape: int, seed: int = 0, grad: bool = False) -> Any:
    """A tensor of random numbers, the same for the same arguments."""
    made = dg.tensor(np.random.default_rng(seed + sum(shape)).normal(size=shape).astype("float32"))
    return made.requires_grad_() if grad else made


class Program:
    """What one call of a program's maker gives.

    function  what is made static
    calls     the arguments of each call, one after the other
    state     gives what else must agree after the calls: tensors, numbers, containers of them
    before    is run before each call, with its number: what a user does in between
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *calls: tuple[Any, ...],
        state: Callable[[], Any] = tuple,
        before: Callable[[int], Any] = lambda number: None,
    ) -> None:
        self.function, self.calls, self.state, self.before = function, calls, state, before


def xs(
    function: Callable[..., Any], *rest: Any, ns: tuple[int, ...] = (3, 5, 4, 9, 12, 1), m: int = 4, grad: bool = True
) -> Program:
    """Called with a matrix of each number of rows."""
    return Program(function, *[(make(n, m, grad=grad), *rest) for n in ns])


MODES: dict[str, Callable[[Any], Any]] = {
    "dynamic": lambda f: f,
    "static": dg.static,
    "strict": lambda f: dg.static(f, strict=True),
}


def run(maker: Callable[[], Program], mode: str) -> tuple[list[Any], Any]:
    """(what was seen in this mode, the function)."""
    dg.manual_seed(0)
    program = maker()
    function = MODES[mode](program.function)
    seen: list[Any] = []
    printed = io.StringIO()
    for number, args in enumerate(program.calls):
        program.before(number)
        with contextlib.redirect_stdout(printed):
            try:
                result = function(*args)
                total = sum((t * t).sum() for t in tensors(result) if t.requires_grad and t.is_floating_point())
                if isinstance(total, dg.Tensor):
                    total.backward()
            except dg.Error:
                raise
            except Exception as error:
                result = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        seen.append(frozen(result))
        seen.append([frozen(t.grad) for t in tensors(args)])
        seen.append([frozen(t) for t in tensors(args)])  # written in place, perhaps
    seen.append(frozen(program.state()))
    seen.append(printed.getvalue().splitlines())
    return seen, function


def tensors(value: Any) -> list[Any]:
    """The tensors in a value, in order."""
    if isinstance(value, dg.Tensor):
        return [value]
    if isinstance(value, dict):
        return [t for x in value.values() for t in tensors(x)]
    if isinstance(value, (list, tuple)):
        return [t for x in value for t in tensors(x)]
    if dataclasses.is_dataclass(value):
        return [t for f in dataclasses.fields(value) for t in tensors(getattr(value, f.name))]
    return []


def frozen(value: Any) -> Any:
    """A value as it is now, comparable."""
    if isinstance(value, dg.Tensor):
        return ("tensor", value.dtype.name, tuple(int(n) for n in value.shape), value.detach().reshape(-1).tolist())
    if isinstance(value, dict):
        return {key: frozen(x) for key, x in value.items()}
    if isinstance(value, (list, tuple)):
        return (type(value).__name__, *(frozen(x) for x in value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return (type(value).__name__, *(frozen(getattr(value, f.name)) for f in dataclasses.fields(value)))
    return value


def agree(a: Any, b: Any, tolerance: float) -> bool:
    """Whether two frozen values are the same, floats within a tolerance; kinds must be equal."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return (math.isnan(a) and math.isnan(b)) or a == b or abs(a - b) <= tolerance * max(1.0, abs(a), abs(b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(agree(a[k], b[k], tolerance) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(agree(x, y, tolerance) for x, y in zip(a, b))
    return bool(a == b)


def check(maker: Callable[[], Program], captures: int | None = None) -> None:
    """The program is the same in all modes; it is captured at most so often."""
    expected, _ = run(maker, "dynamic")
    for mode, tolerance in (("static", 2e-4), ("strict", 0.0)):
        seen, function = run(maker, mode)
        for number, (want, got) in enumerate(zip(expected, seen)):
            assert agree(want, got, tolerance), f"{mode}, item {number}:\n  dynamic {want}\n  {mode:7} {got}"
        if captures is not None:
            assert function.captures <= captures, f"{mode}: {function.captures} captures\n{function.signatures()}"
