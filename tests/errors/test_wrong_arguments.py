"""Arguments of the wrong kind: every function of the package says which, and none fails with an error from its inside."""

from __future__ import annotations

import random
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import duograph as dg
from duograph.errors import ArgumentError, Error

F = dg.nn.functional

CASES: list[tuple[str, Callable[[], Any], str]] = [
    ("a number for a matrix", lambda: dg.mm(dg.ones(2, 2), 3.0), "mm: b must be a Tensor, not float 3.0"),
    (
        "text for a dim",
        lambda: dg.ones(2).sum("x"),
        "sum: dim must be an integer or a list or tuple of integers or None, not str 'x'",
    ),
    ("a fraction for a dim", lambda: dg.ones(2, 3).mean(0.5), "mean: dim must be an integer or"),
    ("a number for a dtype", lambda: F.softmax(dg.ones(2), 0, 5), "softmax: dtype must be a dtype or None, not int 5"),
    ("numbers for tensors", lambda: F.cross_entropy(1.0, 2), "cross_entropy: input must be a Tensor, not float 1.0"),
    ("a list for tensors", lambda: dg.broadcast_tensors([1]), "broadcast_tensors: tensors must be a Tensor, not int 1"),
    ("something missing", lambda: dg.mm(dg.ones(2, 2)), "mm: missing a required argument: 'b'"),
    ("something unknown", lambda: F.softmax(dg.ones(2), axes=1), "softmax: got an unexpected keyword argument 'axes'"),
    ("too much", lambda: dg.ones(2).add(1, 2, 3), "add: takes 3 arguments, got 4"),
    ("decimals", lambda: dg.round(dg.ones(2), "x"), "round: decimals must be an integer, not str 'x'"),
    ("no function", lambda: dg.compare(dg.ones(2)), "compare: expected a function or a Module, got Tensor"),
    ("no tensor", lambda: dg.tape([1]), "tape: expected a Tensor, got list"),
]


@pytest.mark.parametrize(("call", "message"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_the_message_names_function_parameter_and_value(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        call()
    text = str(caught.value)
    assert text.startswith(message)
    assert f"at {__file__}:{call.__code__.co_firstlineno}" in text


def test_errors_of_the_body_itself_are_not_touched() -> None:
    with pytest.raises(dg.errors.ShapeError, match="mm"):
        dg.mm(dg.ones(2, 3), dg.ones(2, 3))


_TENSORS: list[Callable[[], Any]] = [
    lambda: dg.ones(3),
    lambda: dg.ones(2, 3),
    lambda: dg.zeros(0),
    lambda: dg.zeros(3, 0),
    lambda: dg.tensor(2.0),
    lambda: dg.ones(3).expand(4, 3),
    lambda: dg.arange(6).view(2, 3).T,
    lambda: dg.tensor([True, False]),
    lambda: dg.ones(2, 3, requires_grad=True),
    lambda: dg.ones(2, 3).to(dg.float16),
    lambda: dg.arange(3, dtype=dg.int8),
    lambda: dg.tensor([5, -7, 2**62]),
    lambda: dg.tensor(float("nan")),
]
_OTHERS: list[Any] = [
    None, -1, 0, 1, 2, 2**31, 2**63, -(2**63), 10**30, 0.5, float("nan"), float("inf"), "x", "mean", True, (), (1,), (2, 3),
    (0, 1), [1, 2], {}, dg.float32, dg.int64, slice(None), Ellipsis, np.ones(3), np.float32(2), b"x", 1j, (2**40, 2**40), len,
]  # fmt: skip
_KEYWORDS = ["dim", "dtype", "keepdim", "out", "p", "n", "size", "requires_grad"]
_NOT_CALLED = {
    "set_num_threads",
    "set_flush_denormal",
    "save",
    "load",
    "dynamic_mode",
    "manual_seed",
    "set_default_dtype",
    "compare",
    "static",
    "compile",
}
_LEAKS = (AttributeError, KeyError, AssertionError, ZeroDivisionError, NotImplementedError, StopIteration, UnboundLocalError)


def _functions() -> list[tuple[str, Any]]:
    found = []
    for prefix, namespace in (("", dg), ("nn.functional.", F), ("Tensor.", dg.Tensor)):
        for name in dir(namespace):
            value = getattr(namespace, name)
            if not name.startswith("_") and name not in _NOT_CALLED and callable(value) and not isinstance(value, type):
                found.append((prefix + name, value))
    return found


def _draw(rng: random.Random, tensor: bool = False) -> Any:
    return rng.choice(_TENSORS)() if tensor or rng.random() < 0.6 else rng.choice(_OTHERS)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long)])
def test_random_calls_end_well_or_with_an_error_of_ours(seed: int) -> None:
    rng = random.Random(seed)
    functions = _functions()
    leaks = set()
    for _ in range(1500 if seed == 0 else 30_000):
        name, function = rng.choice(functions)
        args = [_draw(rng, tensor=i == 0 and name.startswith("Tensor.")) for i in range(rng.randint(0, 4))]
        kwargs = {rng.choice(_KEYWORDS): _draw(rng)} if rng.random() < 0.2 else {}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                repr(function(*args, **kwargs))
        except Error:
            pass
        except _LEAKS as error:
            leaks.add(f"{name}: {type(error).__name__}: {error} in {traceback.extract_tb(error.__traceback__)[-1].filename}")
        except (TypeError, ValueError, IndexError, RuntimeError, OverflowError, MemoryError):
            pass
    assert not leaks


def test_errors_bear_the_name_that_the_user_called() -> None:
    x = dg.rand(3, 4)
    cases: list[tuple[str, Callable[[], object]]] = [
        ("cross_entropy", lambda: dg.nn.functional.cross_entropy(x, dg.tensor([0, 1, 7]))),
        ("topk", lambda: dg.topk(x, 9)),
        ("max", lambda: dg.zeros(0, 3).max(0)),
        ("einsum", lambda: dg.einsum("ij,jk->il", x, x.T)),
    ]
    for name, call in cases:
        with pytest.raises(Error) as caught:
            call()
        assert caught.value.message.startswith(f"{name}: "), caught.value.message
