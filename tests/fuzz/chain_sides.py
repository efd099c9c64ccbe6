"""Runs the lines of a chain with PyTorch and with duograph, and says where the two differ."""

from __future__ import annotations

import contextlib
import random
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from random_chains import MOST_ELEMENTS, Draw, single

import duograph as dg

# Where the two differ on purpose: what the error of one says, and why the other has none.
OVERWRITTEN = "overwritten in place after it was saved for the gradient"
OURS_REFUSES = {
    "a view made under no_grad of a tensor that requires grad": "refused by both; the views of PyTorch are detached here",
    "not defined for bool": "arithmetic that has no meaning for truth values",
    "the target shows one element at several places": "PyTorch fills such tensors, and writes to some others at random",
    "operands must have one dtype": "products do not convert; PyTorch's do where there is nothing to multiply",
    "and cannot be written into": "results are not cut to narrower dtypes; PyTorch cuts numbers",
    "an extremum over no elements": "PyTorch's logsumexp of nothing is -inf",
    "as_strided: x is not contiguous": "as_strided is checked to lie within x",
    "strides (": "as_strided is checked to lie within x",
    "lies in front of x": "as_strided is checked to lie within x",
}
TORCH_REFUSES = {
    "argmax(): does not support bool": "argmax of truth values",
    "not implemented for 'Bool'": "clamps of truth values",
    "Index put requires the source and destination dtypes match": "what is written is converted",
    "expected dtype": "operands are converted",
    "some elements of the input tensor and the written-to tensor": "what is written is as it was before",
    "A view was created in no_grad mode": "a view made under no_grad of what requires no gradient is like others",
    "is the output of a function that returns multiple views": "chunks and the like are views as others are",
}


class Difference(AssertionError):
    """duograph and PyTorch disagree."""


class Skipped(Exception):
    """What follows in a chain cannot be compared."""


def data(seed: int, shape: Sequence[int], dtype: str) -> np.ndarray:
    draws = np.random.default_rng(seed)
    if dtype == "bool":
        return np.asarray(draws.random(shape) > 0.5)
    if dtype == "int64":
        return np.asarray(draws.integers(-4, 5, shape))
    return np.asarray(draws.uniform(-1.5, 1.5, shape).astype(dtype))


class Side:
    """One of the two libraries, with the tensors of a chain.

    With `allow_overwriting`, PyTorch keeps what it saved for the gradient although it was overwritten since: libraries
    differ in what they save, and where duograph saves less its gradient has to be right nevertheless.
    """

    def __init__(self, lib: Any, allow_overwriting: bool = True) -> None:
        self.lib = lib
        self.allow_overwriting = allow_overwriting
        self.leaves: list[str] = []
        self.lines: list[str] = []
        self.live: dict[str, Any] = {}
        self.rounded = False
        self.copied = False  # a result is another tensor than the one that was computed: not what was saved
        scope = {"lib": lib, "make": self.make, "given": self.given, "other": self.other, "places": self.places}
        self.scope: dict[str, Any] = scope

    def given(self, seed: int, shape: Sequence[int], dtype: str) -> Any:
        array = data(seed, shape, dtype)
        return torch.from_numpy(array) if self.lib is torch else dg.tensor(array)

    def make(self, seed: int, shape: Sequence[int], dtype: str, layout: str, grad: bool) -> Any:
        if layout == "transposed":
            made = self.given(seed, shape[::-1], dtype).permute(tuple(reversed(range(len(shape)))))
        elif layout == "expanded" and len(shape):
            made = self.given(seed, (1, *shape[1:]), dtype).expand(tuple(shape))
        elif layout == "strided" and len(shape):
            made = self.given(seed, (*shape[:-1], 2 * shape[-1] + 1), dtype)[..., 1::2]
        else:
            made = self.given(seed, shape, dtype)
        made = made.detach()  # leaves are nobody's views
        return made.requires_grad_() if grad else made

    def other(self, value: Any, target: Any) -> Any:
        """What is written: as it is before the write. PyTorch leaves that to the user where memory overlaps."""
        if self.lib is torch and isinstance(value, torch.Tensor) and storage(value) == storage(target):
            return value.clone()
        if self.lib is dg and isinstance(value, dg.Tensor) and value.data_ptr() == target.data_ptr():
            return value.clone()  # what is written to itself is not written at all
        return value

    def places(self, seed: int, shape: Sequence[int], dim: int, distinct: bool = False) -> Any:
        draws = np.random.default_rng(seed)
        if 0 in shape:
            return self.lib.zeros(tuple(shape), dtype=self.lib.int64)
        dim = dim if -len(shape) <= dim < len(shape) else 0
        if distinct:
            found = np.argsort(draws.random(shape), axis=dim) if len(shape) else np.zeros((), np.int64)
        else:
            found = draws.integers(0, max(shape[dim], 1), shape) if len(shape) else np.zeros((), np.int64)
        return self.lib.tensor(found, dtype=self.lib.int64)

    def run(self, line: str) -> Exception | None:
        self.lines.append(line)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with keep_saved() if self.lib is torch and self.allow_overwriting else contextlib.nullcontext():
                    exec(line, self.scope)
        except (NameError, SyntaxError):
            raise
        except Exception as error:
            return error
        for name in re.findall(r"\ba\d+\b", line):
            if name in self.scope and name not in self.live:
                self.added(name, line)
        return None

    def added(self, name: str, line: str) -> None:
        made = self.scope[name]
        self.rounded |= str(getattr(made, "dtype", "")).endswith("float32")
        if self.lib is torch and not isinstance(made, torch.Tensor):
            raise Skipped("no tensor")
        if " make(" in line:
            self.leaves += [name] * made.requires_grad
        elif self.lib is torch:
            made = self.scope[name] = self.as_ours(made, line)
        self.live[name] = made

    def as_ours(self, made: Any, line: str) -> Any:
        """PyTorch's results may keep the order of dimensions of an operand in memory: duograph's are row-major. And PyTorch's
        views made under no_grad of what requires grad say that they do, too, and are refused later: duograph's do not."""
        shares = made._is_view() or storage(made) in {storage(t) for t in self.live.values() if t.numel()}
        if not shares and not made.is_contiguous():
            self.copied = True
            with torch.set_grad_enabled(not made.is_leaf):
                return made.contiguous()
        known = any(made is t for t in self.live.values())
        return made.detach() if shares and not known and line.startswith("with lib.no_grad()") and made.requires_grad else made

    def drop(self, name: str) -> None:
        del self.live[name], self.scope[name]


def keep_saved() -> Any:
    return torch.autograd.graph.saved_tensors_hooks(lambda t: t.clone(), lambda t: t)


def storage(t: Any) -> int:
    return int(t.data_ptr()) - int(t.storage_offset()) * int(t.element_size())


# ---- comparisons


def numbers(t: Any) -> np.ndarray:
    return np.asarray(t.numpy(force=True) if isinstance(t, torch.Tensor) else t.detach().numpy())


def close(a: np.ndarray, b: np.ndarray, rounded: bool) -> bool:
    """`rounded`: there is float32 among what it was computed from."""
    if a.dtype.kind != "f":
        # A float that is no integer's value becomes 0 here, the least integer in PyTorch.
        known = a != np.iinfo(a.dtype).min if a.dtype.kind == "i" else np.ones(a.shape, bool)
        return a.shape == b.shape and bool(np.array_equal(a[known], b[known]))
    tolerance = 2e-4 if rounded else 1e-9
    finite = np.abs(a[np.isfinite(a)])
    scale = float(finite.max()) if finite.size else 1.0
    return bool(np.allclose(b, a, rtol=tolerance, atol=tolerance * max(scale, 1.0), equal_nan=True))


def facts(t: Any) -> dict[str, Any]:
    """Of PyTorch's integers it is not asked whether they require gradient: slices that a float was written into say so."""
    steps = [s for s, n in zip(t.stride(), t.shape) if n > 1] if t.numel() else []
    is_float = t.dtype.is_floating_point
    return {
        "dtype": str(t.dtype).split(".")[-1],
        "shape": tuple(t.shape),
        "strides": steps,
        "requires_grad": is_float and t.requires_grad,
        "is_leaf": not is_float or t.is_leaf,
    }


def relations(side: Side, names: Sequence[str]) -> dict[str, str]:
    """Which tensors are one, which share memory, and where in it."""
    found = {}
    for i, a in enumerate(names):
        for b in names[:i]:
            x, y = side.live[a], side.live[b]
            if x is y:
                found[f"{b} and {a}"] = "one tensor"
            elif x.numel() and y.numel() and storage(x) == storage(y):
                found[f"{b} and {a}"] = f"share memory at a distance of {x.storage_offset() - y.storage_offset()}"
    return found


def compare_tensors(ours: Side, theirs: Side) -> None:
    for name, t in theirs.live.items():
        o = ours.live[name]
        expected, found = facts(t), facts(o)
        for what in expected:
            if expected[what] != found[what]:
                raise Difference(f"{name}: {what} is {found[what]}, PyTorch's {expected[what]}")
        if not close(numbers(t), numbers(o), ours.rounded):
            raise Difference(f"{name}: {numbers(o).tolist()}, PyTorch's {numbers(t).tolist()}")
    names = list(theirs.live)
    expected, found = relations(theirs, names), relations(ours, names)
    for pair in expected.keys() | found.keys():
        if expected.get(pair) != found.get(pair):
            raise Difference(f"{pair}: {found.get(pair)}, PyTorch's: {expected.get(pair)}")


def gradients(side: Side, seed: int, second: bool) -> list[Any] | Exception:
    """Of a weighted sum of some outcomes in the leaves that require gradient."""
    r, lib = random.Random(seed), side.lib
    differentiable = [n for n, t in side.live.items() if t.requires_grad and t.dtype.is_floating_point]
    outcomes = [n for n in differentiable if r.random() < 0.6] or differentiable
    try:
        total: Any = sum(
            (side.live[n] * side.given(seed + i, side.live[n].shape, "float64")).sum() for i, n in enumerate(outcomes)
        )
        leaves = [side.scope[n] for n in side.leaves]
        first = lib.autograd.grad(total, leaves, create_graph=second, allow_unused=True)
        found = list(first)
        if second:
            again = sum((g * g).sum() for g in first if g is not None and g.requires_grad)
            found += lib.autograd.grad(again, leaves, allow_unused=True) if not isinstance(again, int) else [None] * len(leaves)
        return found
    except Exception as error:
        return error


def compare_gradients(ours: Side, theirs: Side, seed: int, second: bool) -> str:
    if not any(t.requires_grad and t.dtype.is_floating_point for t in theirs.live.values()) or not theirs.leaves:
        return "no gradient"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected, found = gradients(theirs, seed, second), gradients(ours, seed, second)
    if isinstance(found, dg.Error) and OVERWRITTEN in str(found) and theirs.allow_overwriting:
        strict = Side(torch, allow_overwriting=False)
        for line in theirs.lines:
            strict.run(line)
        expected = gradients(strict, seed, second)
        if strict.copied and not isinstance(expected, Exception):
            return "what was saved is not what was overwritten: a copy of PyTorch's result"
    if not isinstance(found, Exception) and "more than one element of the written-to tensor" in str(expected):
        return "PyTorch has no gradient where nothing was written into what shows one element at several places"
    reason = compare_errors(found, expected, "gradients")
    if reason:
        return reason
    assert isinstance(expected, list) and isinstance(found, list)
    for i, (a, b) in enumerate(zip(expected, found, strict=True)):
        name = f"gradient {i % len(ours.leaves)} of order {1 + i // len(ours.leaves)} ({ours.leaves[i % len(ours.leaves)]})"
        if a is None or b is None:  # no gradient and zeros say the same; of a constant NaN there is none in PyTorch
            if any(np.any(np.nan_to_num(numbers(g))) for g in (a, b) if g is not None):
                raise Difference(f"{name}: {b}, PyTorch's {a}")
            continue
        if str(a.dtype).split(".")[-1] != str(b.dtype).split(".")[-1] or tuple(a.shape) != tuple(b.shape):
            raise Difference(f"{name}: {b.dtype}{tuple(b.shape)}, PyTorch's {a.dtype}{tuple(a.shape)}")
        if not close(numbers(a), numbers(b), ours.rounded):
            raise Difference(f"{name}: {numbers(b).tolist()}, PyTorch's {numbers(a).tolist()}")
    return "gradient of second order" if second else "gradient"


def compare_errors(ours: Any, theirs: Any, what: str) -> str:
    """What follows from errors: "" if neither raises."""
    ours, theirs = (e if isinstance(e, Exception) else None for e in (ours, theirs))
    if ours is not None and not isinstance(ours, dg.Error):
        raise Difference(f"{what}: duograph raises {type(ours).__name__}: {ours}; PyTorch: {theirs}")
    if ours is not None and theirs is not None:
        return "both refuse"
    if ours is not None:
        for text, reason in OURS_REFUSES.items():
            if text in str(ours):
                return reason
        raise Difference(f"{what}: only duograph raises {type(ours).__name__}: {ours}")
    if theirs is not None:
        for text, reason in TORCH_REFUSES.items():
            if text in str(theirs):
                return reason
        raise Difference(f"{what}: only PyTorch raises {type(theirs).__name__}: {theirs}")
    return ""


def probe(ours: Side, theirs: Side, seed: int) -> None:
    """A write in place at the end shows who shares memory with whom."""
    names = [n for n, t in theirs.live.items() if t.numel() and single(t) and str(t.dtype) != "torch.bool"]
    if names:
        step(ours, theirs, f"with lib.no_grad(): {random.Random(seed).choice(names)}.fill_(7)", Counter())
        compare_tensors(ours, theirs)


# ---- chains


def tied(ours: Side, theirs: Side, line: str) -> bool:
    """Whether a step asked where the greatest are, and the answers differ by what rounding may do to their values."""
    asked = re.fullmatch(r"(\w+) = (\w+)\.argmax\((.*)\)", line)
    if not asked or asked[1] not in theirs.live or np.array_equal(numbers(theirs.live[asked[1]]), numbers(ours.live[asked[1]])):
        return False
    values, dim = numbers(theirs.live[asked[2]]), int(asked[3])
    places = [np.expand_dims(numbers(side.live[asked[1]]), dim) for side in (ours, theirs)]
    found, expected = (np.take_along_axis(values, place, dim) for place in places)
    return close(expected, found, ours.rounded)


def step(ours: Side, theirs: Side, line: str, seen: Counter[str]) -> None:
    """Runs a line in both; duograph first, so that what it refuses knowingly is left out of both."""
    before = list(theirs.live)
    error = ours.run(line)
    if error is not None and isinstance(error, dg.Error):
        for text, reason in OURS_REFUSES.items():
            if text in str(error):
                seen[f"step left out: {reason}"] += 1
                return
    target = theirs.live.get(re.split(r"\W", line, maxsplit=1)[0])
    constant = target is not None and not target.requires_grad
    refused = theirs.run(line)
    if error is None and constant and "a leaf Variable that requires grad" in str(refused):
        seen["chain ended: PyTorch takes a constant view whose whole is written by `x[...] *= y` for a leaf"] += 1
        raise Skipped("no leaf")
    reason = compare_errors(error, refused, line)
    if reason not in ("", "both refuse"):
        seen[f"chain ended: {reason}"] += 1
        raise Skipped(reason)
    seen["step refused by both" if reason else "step"] += 1
    if not reason and tied(ours, theirs, line):
        seen["chain ended: the greatest are equal but for rounding"] += 1
        raise Skipped("a tie")
    if any(t.requires_grad and not t.dtype.is_floating_point for t in theirs.live.values()):
        compare_tensors(ours, theirs)
        seen["chain ended: integers that a float was written into require gradient in PyTorch"] += 1
        raise Skipped("integers require gradient")
    for name in list(theirs.live):
        if is_forbidden(theirs.live[name]) or (name not in before and theirs.live[name].numel() > MOST_ELEMENTS):
            ours.drop(name)
            theirs.drop(name)


def is_forbidden(t: Any) -> bool:
    """Whether PyTorch refuses even to be asked: views of several that were written, views of no_grad whose base was."""
    try:
        return t.is_leaf is None
    except RuntimeError:
        return True


def finish(ours: Side, theirs: Side, seed: int, seen: Counter[str]) -> None:
    compare_tensors(ours, theirs)
    seen[compare_gradients(ours, theirs, seed, seed % 3 == 0)] += 1
    probe(ours, theirs, seed)


def draw_and_run(seed: int, seen: Counter[str]) -> list[str]:
    """Draws a chain while it runs; the lines, or the difference with the lines as its `lines`."""
    draw, ours, theirs = Draw(seed), Side(dg), Side(torch)
    lines = [draw.leaf() for _ in range(draw.random.randint(1, 3))]
    try:
        for line in lines:
            step(ours, theirs, line, seen)
        for _ in range(draw.random.randint(4, 12)):
            lines.append(draw.line(theirs.live))
            step(ours, theirs, lines[-1], seen)
        finish(ours, theirs, seed, seen)
    except Skipped:
        pass
    except Difference as error:
        error.lines = lines  # type: ignore[attr-defined]
        raise
    return lines


def run_lines(lines: Sequence[str], seed: int, careful: bool = False) -> Counter[str]:
    """Runs a chain as it was written down; `careful`: compared after each line."""
    ours, theirs, seen = Side(dg), Side(torch), Counter[str]()
    try:
        for line in lines:
            step(ours, theirs, line, seen)
            if careful:
                compare_tensors(ours, theirs)
        finish(ours, theirs, seed, seen)
    except Skipped:
        pass
    return seen


def difference(lines: Sequence[str], seed: int, careful: bool = False) -> str | None:
    try:
        run_lines(lines, seed, careful)
    except Difference as error:
        return str(error)
    except (NameError, SyntaxError):
        return None
    return None


def shrink(lines: Sequence[str], seed: int) -> tuple[list[str], str]:
    """The chain without the lines that the difference does not need."""
    kept = list(lines)
    for at in reversed(range(len(kept))):
        without = kept[:at] + kept[at + 1 :]
        if difference(without, seed):
            kept = without
    return kept, difference(kept, seed) or "no difference when it runs again"
