"""Whole messages of what the core refuses: the rule with values, the user's line, at most one hint."""

from __future__ import annotations

import inspect

import pytest

import duograph as dg
from duograph import errors


def leaf(*shape):
    return dg.ones(*shape, requires_grad=True)


def freed():
    x = leaf(1)
    y = x * x
    y.backward()
    return y


def overwritten():
    x = leaf(1)
    y = x * 1
    z = y * y
    y.add_(1)
    return z


CASES = [
    (
        lambda: dg.ones(2, 3) + dg.ones(4),
        errors.ShapeError,
        "add: shapes do not broadcast: a.shape = (2, 3), b.shape = (4,)",
        "sizes 3 and 4 of dimension -1 must be equal, or one of them 1",
    ),
    (
        lambda: leaf(2).add_(1),
        errors.GradError,
        "add_: a leaf tensor that requires grad cannot be written in place",
        "update it under no_grad, or write to a copy: x = x.clone()",
    ),
    (
        lambda: (leaf(3) * 2).backward(),
        errors.GradError,
        "backward: a gradient can be left out only for a tensor of one element, this is float32[3]",
        "reduce it to one number, as with .sum(), or pass gradient=",
    ),
    (
        lambda: dg.ones(1).backward(),
        errors.GradError,
        "backward: the tensor does not require grad and was not recorded",
        "compute it from tensors with requires_grad=True, with gradients enabled",
    ),
    (
        lambda: leaf(2).numpy(),
        errors.GradError,
        "numpy: a Tensor that requires grad cannot be read by NumPy",
        "use x.detach().numpy()",
    ),
    (
        lambda: bool(dg.ones(2)),
        errors.DomainError,
        "bool: the truth value of a Tensor with 2 elements is ambiguous",
        "use .any() or .all()",
    ),
    (
        lambda: dg.ones(2).item(),
        errors.DomainError,
        "item: a Tensor with 2 elements is not one number",
        "use .tolist(), or index one element first",
    ),
    (
        lambda: dg.tensor([1, 2]).requires_grad_(),
        errors.GradError,
        "requires_grad: only floating-point tensors can require gradients, this one is int64",
        None,
    ),
    (
        lambda: dg.tensor([1, 2]) // 0,
        errors.DivisionError,
        "floor_divide: integer division by zero",
        None,
    ),
    (
        lambda: dg.ones(2, 3)[dg.tensor([0, 7])],
        errors.BoundsError,
        "index: index 7 is out of range for a dimension of size 2",
        None,
    ),
    (
        lambda: dg.ones(1, 3).expand(2, 3).add_(1),
        errors.ShapeError,
        "add_: the target shows one element at several places (it was expanded, or has overlapping windows)",
        "write to a copy: x = x.clone()",
    ),
]


@pytest.mark.parametrize(("call", "kind", "message", "hint"), CASES, ids=[case[2].split(":")[0] for case in CASES])
def test_message(call, kind, message, hint):
    with pytest.raises(kind) as caught:
        call()
    error = caught.value
    assert isinstance(error, dg.Error)
    line = call.__code__.co_firstlineno
    source = inspect.getsource(inspect.getmodule(test_message)).splitlines()[line - 1].strip()
    expected = [message, f"  at {__file__}:{line} in <lambda>:    {source}"]
    if hint:
        expected.append(f"  hint: {hint}")
    assert str(error) == "\n".join(expected)


@pytest.mark.parametrize(
    ("make", "message", "hint"),
    [
        (
            freed,
            "mul: the values its gradient needs were freed by an earlier backward()",
            "call the first backward() with retain_graph=True",
        ),
        (
            overwritten,
            "mul: a was overwritten in place after it was saved for the gradient (version 0, now 1)",
            "write to a copy (x = x.clone()), or compute a new tensor instead of writing",
        ),
    ],
)
def test_recorded_line(make, message, hint):
    result = make()
    with pytest.raises(errors.GradError) as caught:
        result.backward()
    lines = str(caught.value).splitlines()
    assert lines[0] == message
    assert lines[1].startswith(f"  recorded at {__file__}:") and f"in {make.__name__}:" in lines[1]
    assert lines[2].startswith(f"  at {__file__}:") and lines[2].endswith("result.backward()")
    assert lines[3:] == [f"  hint: {hint}"]


def test_memory():
    with pytest.raises(MemoryError) as caught:
        dg.zeros(10**15)
    assert isinstance(caught.value, dg.Error) and "4000000000000000 bytes (3.55 PiB) asked for" in str(caught.value)
    assert dg.ones(2).sum().item() == 2.0  # the process lives on


def test_errors_travel():
    import pickle

    with pytest.raises(errors.ShapeError) as caught:
        dg.ones(2) + dg.ones(3)
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is errors.ShapeError and str(again) == str(caught.value)


def test_the_package_blames_nobody_when_called_without_user_code():
    error = errors.Error("text", location=None)
    assert str(error) == "text"
    assert str(errors.InternalError("broken", location=None)).endswith("please report it with the lines above")


def test_settings(monkeypatch):
    from duograph.config import FLAGS, Config

    monkeypatch.setenv("DUOGRAPH_NUM_THREADS", "3")
    monkeypatch.setenv("DUOGRAPH_VERIFY", "on")
    config = Config()
    assert config.num_threads == 3 and config.verify is True
    for variable, text in (("NUM_THREADS", "many"), ("VERIFY", "perhaps"), ("ISA", "z80")):
        with monkeypatch.context() as patch:
            patch.setenv("DUOGRAPH_" + variable, text)
            with pytest.raises(ValueError, match=text):
                Config()
    with pytest.raises(AttributeError, match="no setting"):
        config.nonsense = 1
    assert all(flag.help and flag.variable.startswith("DUOGRAPH_") for flag in FLAGS)
