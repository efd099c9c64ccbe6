"""PyTorch as the reference of the generated operator tests: its function for an operator, arguments, comparisons."""

from __future__ import annotations

import itertools
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import operator_harness as harness
import torch
from operator_harness import Call

import duograph as dg
from duograph.ops.definition import ELEMENTWISE, LOSS, RANDOM, UPDATE, Definition
from duograph.ops.samples import DTypeName

_SOURCE = re.compile(r"Source:.*?\b(torch\.[\w.]*\w)")

FLOAT_EXTREMES = {
    "float32": (1e-40, -1e-45, 3e38, -3e38, 1e-30, 1e20),
    "float64": (1e-310, -5e-324, 1.5e308, -1.5e308, 1e-200, 1e100),
}
SPECIAL = (0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, float("inf"), float("-inf"), float("nan"))


def function_of(definition: Definition) -> Callable[..., Any] | None:
    """PyTorch's function of an operator's arguments: what the block says, else what its docstring names as the source."""
    given = definition.torch
    if callable(given):
        return lambda *args, **kwargs: given(torch, *args, **kwargs)
    if given is None:
        found = _SOURCE.search(definition.function.__doc__ or "")
        if found is None:
            return None
        given = found[1]
    value: Any = torch
    for part in given.split(".")[1:]:
        value = getattr(value, part, None)
    if definition.kind != LOSS or not callable(value):
        return value if callable(value) else None
    names = definition.function.__code__.co_varnames
    return lambda *args, **kwargs: value(*args[:2], **dict(zip(names[2:], args[2:])), **kwargs)  # obsolete ones come first there


def is_compared(d: Definition) -> bool:
    """Whether PyTorch has it: all public operators with samples, and the others that name PyTorch's function."""
    tried = (
        d.is_ours and d.samples is not None and d.kind not in (RANDOM, UPDATE) and (d.public or d.space or d.torch is not None)
    )
    return tried and function_of(d) is not None


def dtype_of(name: str) -> torch.dtype:
    return getattr(torch, name)


def tensor_of(array: np.ndarray, dtype: str) -> torch.Tensor:
    """A tensor with memory of its own; arrays made for a 16-bit dtype come as float32."""
    made = torch.from_numpy(np.array(array, order="C"))
    return made.to(dtype_of(dtype)) if array.dtype == np.float32 and dtype in harness.HALVES else made


def arguments(call: Call, dtype: str, make: Callable[[np.ndarray], Any] | None = None) -> Call:
    make = make or (lambda array: tensor_of(array, dtype))

    def convert(value: Any) -> Any:
        return dtype_of(value) if isinstance(value, DTypeName) else harness.map_arrays(make, value)

    return Call(tuple(convert(a) for a in call.args), {k: convert(v) for k, v in call.kwargs.items()})


def run(f: Callable[[], Any]) -> list[Any] | Exception:
    """The results, or the error; what PyTorch warns of is no error."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return harness.flat(f())
    except Exception as error:
        return error


def array_of(x: Any) -> np.ndarray:
    if not isinstance(x, torch.Tensor):
        return np.asarray(x)
    x = x.detach()
    return (x.to(torch.float64) if x.dtype in (torch.float16, torch.bfloat16) else x).numpy(force=True)


def assert_same(found: Any, expected: Any, dtype: str, tolerance: float, what: str) -> None:
    """The same dtype, shape and values (floats: up to a few rounding errors)."""
    if isinstance(expected, torch.Tensor):
        assert isinstance(found, dg.Tensor), f"{what}: {type(found).__name__}, PyTorch gives a Tensor"
        theirs = str(expected.dtype).removeprefix("torch.")
        assert found.dtype.name == theirs, f"{what}: {found.dtype.name}, PyTorch gives {theirs}"
    harness.assert_close(found, array_of(expected), dtype, tolerance, what)


def compare(definition: Definition, call: Call, dtype: str, what: str) -> bool:
    """Run both; whether there was something to compare. Where PyTorch gives a result, so must we, and the same."""
    reference = function_of(definition)
    assert reference is not None
    theirs = arguments(call, dtype)
    expected = run(lambda: reference(*theirs.args, **theirs.kwargs))
    if isinstance(expected, Exception):
        return False
    if dtype in harness.HALVES:
        expected = rounded_once(reference, call, dtype, expected)
    ours = harness.tensors(call, dtype)
    found = run(lambda: definition.exported(*ours.args, **ours.kwargs))
    if isinstance(found, Exception):
        raise AssertionError(f"{what}: {type(found).__name__}: {found}; PyTorch gives {expected}") from found
    assert len(found) == len(expected), what
    if what.endswith("special"):
        expected = [one_by_one(lambda *x, i=i: harness.flat(reference(*x))[i], theirs, f) for i, f in enumerate(expected)]
    for got, want in zip(found, expected):
        assert_same(got, want, dtype, definition.tolerance, what)
    return True


def rounded_once(reference: Callable[..., Any], call: Call, dtype: str, expected: list[Any]) -> list[Any]:
    """PyTorch's 16-bit results computed in float32 and rounded at the end, as ours: its compositions round in between."""
    wide = arguments(call, dtype, torch.from_numpy)
    found = run(lambda: reference(*wide.args, **wide.kwargs))
    if isinstance(found, Exception):
        return expected
    kept = [isinstance(x, torch.Tensor) and x.dtype == dtype_of(dtype) for x in expected]
    return [once(x, y) if keep else x for x, y, keep in zip(expected, found, kept)]


def once(halved: torch.Tensor, wide: torch.Tensor) -> torch.Tensor:
    """The wide result rounded, but for what has another meaning in the dtype itself: its infinities."""
    rounded = wide.to(halved.dtype)
    return torch.where(rounded.isfinite(), rounded, halved)


def one_by_one(reference: Callable[..., Any], call: Call, expected: torch.Tensor) -> torch.Tensor:
    """PyTorch's results element by element where they are NaN: its vectorised loops differ from its scalar ones there."""
    if not expected.dtype.is_floating_point:
        return expected
    for i in expected.isnan().nonzero().flatten().tolist():
        single = [a[i] if isinstance(a, torch.Tensor) else a for a in call.args]
        expected[i] = reference(*single)
    return expected


# Odd operands, made of a sample's


def odd_calls(definition: Definition, dtype: str, extremes: bool = True) -> Iterator[tuple[str, Call]]:
    """The first samples of an elementwise operator with its arrays replaced: empty, 0-d, of size 1, special values, …"""
    made = harness.calls(definition, dtype)
    if definition.kind != ELEMENTWISE or not made:
        return
    call = made[0]
    arrays = list(harness.iterate_arrays(call))
    flat = [a.reshape(-1) for a in arrays]
    if any(a.size < 3 for a in flat):
        return
    yield "empty", replaced(call, [np.zeros((0, 3), a.dtype) for a in arrays])
    yield "0-d", replaced(call, [a[1:2].reshape(()) for a in flat])
    if len(arrays) > 1:
        yield "0-d first", replaced(call, [flat[0][:1].reshape(()), *(a[:3] for a in flat[1:])])
        shapes = [(1,) * i + (3,) + (1,) * (len(arrays) - 1 - i) for i in range(len(arrays))]
        yield "size 1", replaced(call, [a[:3].reshape(shape) for a, shape in zip(flat, shapes)])
    yield "special", replaced(call, special(arrays, dtype if extremes else ""))


def special(arrays: list[np.ndarray], dtype: str) -> list[np.ndarray]:
    """Every pair of special values for the first two operands of the dtype under test; the others as they are."""
    tested = [i for i, a in enumerate(arrays) if a.dtype == arrays[0].dtype]
    kind = arrays[0].dtype.kind
    if kind == "f":
        values = [*SPECIAL, *FLOAT_EXTREMES.get(dtype, ())]
    elif kind == "b":
        values = [False, True]
    else:
        limits = np.iinfo(arrays[0].dtype)
        values = [0, 1, 2, 3, 7, limits.max, limits.max - 1, limits.min, limits.min + 1]
    pairs = np.array(list(itertools.product(values, values)) if len(tested) > 1 else [(v, v) for v in values], arrays[0].dtype)
    count = len(pairs)
    result = [np.resize(a.reshape(-1), count) for a in arrays]
    for column, i in enumerate(tested[:2]):
        result[i] = np.ascontiguousarray(pairs[:, column])
    return result


def replaced(call: Call, arrays: list[np.ndarray]) -> Call:
    """The call with these arrays in place of its own, in order."""
    pending = iter(arrays)

    def pick(value: Any) -> Any:
        return harness.map_arrays(lambda _: next(pending), value)

    return Call(tuple(pick(a) for a in call.args), {k: pick(v) for k, v in call.kwargs.items()})


# Gradients


def gradients(definition: Definition, call: Call, second: bool) -> tuple[list[Any], list[Any]] | None:
    """The first gradients of float64 operands (`second`: of their weighted sum's, too), ours and PyTorch's.

    None where PyTorch has none to compare with.
    """
    try:
        return _gradients(definition, call, second)
    except RuntimeError as error:  # of PyTorch: ours are no bare ones
        if type(error) is RuntimeError or type(error) is NotImplementedError:
            return None
        raise


def _gradients(definition: Definition, call: Call, second: bool) -> tuple[list[Any], list[Any]] | None:
    f = harness.Function(definition, call)
    if not f.points:
        return None
    reference = function_of(definition)
    leaves = [torch.from_numpy(np.array(p, order="C")).requires_grad_() for p in f.points]
    pending = iter(leaves)
    theirs = arguments(call, "float64", lambda array: next(pending) if f.varies(array) else torch.from_numpy(np.array(array)))
    outs = run(lambda: reference(*theirs.args, **theirs.kwargs))
    if isinstance(outs, Exception):
        return None
    kept = [o for o in outs if isinstance(o, torch.Tensor) and o.dtype == torch.float64]
    own = [dg.tensor(p).requires_grad_() for p in f.points]
    value = f.value(own)  # also makes the weights
    assert f.weights is not None
    total = sum(((o * torch.from_numpy(np.asarray(w))).sum() for o, w in zip(kept, f.weights)), start=torch.zeros(()))
    if not total.requires_grad:
        return None
    expected = list(torch.autograd.grad(total, leaves, create_graph=second, allow_unused=True))
    found = (
        list(dg.autograd.grad(value, own, create_graph=second, allow_unused=True)) if value.requires_grad else [None] * len(own)
    )
    if not second:
        return found, expected
    weights = f.directions()
    theirs_total = inner_product(expected, [torch.from_numpy(np.asarray(w)) for w in weights])
    our_total = inner_product(found, [dg.tensor(w) for w in weights])
    if theirs_total is None or not theirs_total.requires_grad:
        return found, expected
    expected = list(torch.autograd.grad(theirs_total, leaves, allow_unused=True))
    have = our_total is not None and our_total.requires_grad
    return (list(dg.autograd.grad(our_total, own, allow_unused=True)) if have else [None] * len(own)), expected


def inner_product(values: list[Any], weights: list[Any]) -> Any:
    total = None
    for value, weight in zip(values, weights):
        if value is not None and value.requires_grad:
            part = (value * weight).sum()
            total = part if total is None else total + part
    return total


def assert_same_gradients(found: list[Any], expected: list[Any], tolerance: float, what: str) -> None:
    """Equal up to rounding; no gradient is as good as zeros."""
    for i, (got, want) in enumerate(zip(found, expected, strict=True)):
        if got is None and want is None:
            continue
        theirs = np.zeros(tuple(got.shape)) if want is None else array_of(want)
        ours = np.zeros(theirs.shape) if got is None else harness.array_of(got)
        np.testing.assert_allclose(
            ours, theirs, rtol=1e-11 * tolerance, atol=1e-12 * tolerance, err_msg=f"{what}: gradient of operand {i}"
        )
