"""`signatures()` says what is captured and why; one warning tells of a place that makes a function capture again and again."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import pytest

import duograph as dg
from duograph import nn
from duograph.errors import CaptureWarning

SCALE = 2.0
MODE = "plain"
TABLE = [1, "two"]


def reasons(function):
    return [signature.reason for signature in reversed(function.signatures())]


def test_first_call_sizes_and_counts():
    f = dg.static(lambda x: x * 2)
    assert str(f.signatures()) == "no captures yet"
    f(dg.ones(32, 10))
    f(dg.ones(64, 10))
    f(dg.ones(48, 10))
    newest, oldest = f.signatures()
    assert (oldest.reason, oldest.calls, oldest.arguments) == ("first call", 1, ("x: float32[32, 10]",))
    assert newest.reason == "argument x was float32[32, 10], is float32[64, 10]"
    assert newest.calls == 2 and newest.arguments == ("x: float32[*, 10]",)
    f(dg.ones(3))
    f(dg.ones(3, dtype=dg.float64))
    assert "is float32[3]" in reasons(f)[2] and "was float32[3], is float64[3]" in reasons(f)[3]
    assert f.captures == f.compilations == len(f.signatures()) == 4
    f.clear_captures()
    f(dg.ones(3))
    assert reasons(f) == ["the captures were cleared"]


def test_globals_closures_and_conditions(monkeypatch):
    key = "a"

    @dg.static
    def f(x):
        if SCALE > 1:
            x = x * SCALE
        return x + 1 if MODE == "plain" and key == "a" else x + len(TABLE)

    x = dg.ones(2)
    f(x)
    monkeypatch.setitem(globals(), "SCALE", 3.0)
    f(x)
    assert f.captures == 1
    monkeypatch.setitem(globals(), "SCALE", 0.5)
    f(x)
    monkeypatch.setitem(globals(), "MODE", "fancy")
    f(x)
    key = "b"
    monkeypatch.setitem(globals(), "MODE", "plain")
    f(x)
    f(x)
    texts = reasons(f)
    assert texts[1] == "`SCALE > 1` was True, is False"
    assert texts[2] == "global MODE was 'plain', is 'fancy'"
    assert texts[3] == "closure variable key was 'a', is 'b'"
    assert "global MODE is 'plain'" in f.signatures()[0].guards
    assert "`SCALE > 1` is False" in str(f.signatures())


def test_modules():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.up = nn.Linear(2, 3)
            self.blocks = nn.ModuleList([nn.Linear(3, 3)])
            self.kind = "a"

        def forward(self, x):
            x = self.blocks[0](self.up(x))
            return x if self.kind == "a" else -x

    net = Net()
    f = dg.static(net)
    x = dg.ones(4, 2)
    f(x)
    net.eval()
    f(x)
    net.kind = "b"
    f(x)
    net.blocks[0].weight.requires_grad_(False)
    f(x)
    net.up = nn.Linear(2, 3)
    f(x)
    texts = reasons(f)
    assert texts[1] == "self.training was True, is False"
    assert texts[2] == "self.kind was 'a', is 'b'"
    assert texts[3] == "self.blocks[0].weight required a gradient, does not"
    assert texts[4] == "self.up was Linear, is another Linear"
    assert any(guard.startswith("self.training is ") for guard in f.signatures()[0].guards)


def test_arguments_of_every_kind():
    @dataclass
    class Batch:
        x: dg.Tensor
        kind: str

    f = dg.static(lambda *args, **kwargs: args[0])
    x = dg.ones(2)
    calls = [
        ((x,), {}, "first call"),
        ((x, 1), {}, "now 2"),
        ((x, 1.5), {}, "args_1 was an int, is 1.5"),
        ((x, "a"), {}, "args_1 was"),
        ((x, "b"), {}, "args_1 was 'a', is 'b'"),
        ((x, [x, x]), {}, "args_1 was"),
        ((x, [x + 1, x]), {}, "was the same tensor as args_0, is another"),
        ((x, [x]), {}, "had 2 items, has 1"),
        ((x, {"a": 1}), {}, "args_1 was a list, is a dict"),
        ((x, {"b": 1}), {}, "had the keys ['a'], has ['b']"),
        ((x, Batch(x + 1, "a")), {}, "args_1 was"),
        ((x, Batch(x + 1, "b")), {}, "args_1.kind was 'a', is 'b'"),
        ((x,), {"k": 1}, "by name"),
        ((dg.ones(2, 2).transpose(0, 1)[0],), {}, "contiguous"),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for args, kwargs, text in calls:
            f(*args, **kwargs)
            assert text in f.signatures()[0].reason, (text, f.signatures()[0].reason)
        with dg.no_grad():
            f(x)
    assert f.signatures()[0].reason == "gradients were on, are off"
    assert "gradients are off" in f.signatures()[0].guards


def test_state_tensor_and_list():
    items = [dg.ones(2), "a"]
    box = {"w": dg.ones(3)}

    @dg.static
    def f(x):
        total = x
        for item in items:
            total = total * 2 if item == "a" else total + item
        return total + box["w"].sum()

    x = dg.ones(2)
    f(x)
    items.append("b")
    items[2] = dg.ones(2)
    f(x)
    box["w"] = dg.ones(4)
    f(x)
    texts = reasons(f)
    assert "items had 2 items, has 3" in texts[1]
    assert "box['w'] was float32[3], is float32[4]" in texts[2]


def test_one_warning_names_the_guard_the_line_and_the_remedy():
    @dg.static
    def f(x, n):
        return x + len("x" * n)

    x = dg.ones(2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for n in range(1, 13):
            f(x, n)
    (warning,) = [w for w in caught if w.category is CaptureWarning]
    text = str(warning.message)
    assert text.splitlines()[0] == "static: f was captured 5 times more because of argument n; this time argument n was 5, is 6"
    assert "test_signatures.py" in text and 'len("x" * n)' in text and "dg.tensor(number)" in text
    assert warning.filename == __file__


def test_no_warning_for_five_different_places():
    f = dg.static(lambda *args: args[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for rank in range(5):
            f(dg.ones((2,) * rank))
    assert f.captures == 5


def test_objects_that_cannot_be_compared_do_not_disturb():
    class Odd:
        def __eq__(self, other):
            raise RuntimeError("no equality")

        __hash__ = None

        def __repr__(self):
            raise RuntimeError("no text")

    f = dg.static(lambda x, odd: x * 2)
    f(dg.ones(2), Odd())
    f(dg.ones(2), Odd())
    assert "argument odd was Odd" in f.signatures()[0].reason or "another Odd" in f.signatures()[0].reason
    assert str(f.signatures())


@pytest.mark.parametrize("strict", [False, True])
def test_a_failed_capture_is_no_signature(strict):
    f = dg.static(lambda x: x.numpy(), strict=strict)
    with pytest.raises(dg.errors.CaptureError):
        f(dg.ones(2))
    assert f.signatures() == [] and f.captures == 0
