"""Functions that exist as code only (made by `exec`, typed into the interpreter) in static functions."""

from __future__ import annotations

import dataclasses
import textwrap
from typing import Any

import pytest
from user_modes import Program, check, make

import duograph as dg


def made(source: str, **names: Any) -> dict[str, Any]:
    """The names that code without a file defines."""
    scope: dict[str, Any] = {"dg": dg, **names}
    exec(textwrap.dedent(source), scope)
    return scope


class Box:
    def __init__(self) -> None:
        self.count, self.items = 0, []


def test_what_they_write_is_written_in_each_run():
    def program():
        box = Box()
        scope = made(
            """
            calls = 0
            log = []
            table = {}
            def f(x):
                global calls
                calls += 1
                log.append(calls)
                table["last"] = x.sum()
                box.count += 2
                box.items.append(len(log))
                print("call", calls, f"{x.sum():.2f}", "%.1f" % x.max())
                return x * calls
            """,
            box=box,
        )
        state = lambda: [scope["calls"], scope["log"], scope["table"], box.count, box.items]  # noqa: E731
        return Program(scope["f"], *((make(3, seed=i),) for i in range(3)), state=state)

    check(program)


def test_what_they_read_is_read_afresh():
    def program():
        scope = made(
            """
            scale = 2.0
            weight = dg.ones(3)
            def helper(x):
                return x * scale
            def f(x):
                return helper(x) + weight if scale > 0 else helper(x) - weight
            """
        )

        def before(number: int) -> None:
            scope["scale"] = (2.0, 3.0, -1.0, 4.0)[number]
            scope["weight"] = dg.full((3,), float(number))

        return Program(scope["f"], *((make(3, grad=True),) for _ in range(4)), before=before)

    check(program, captures=2)


def test_functions_in_files_that_they_call_capture_both_ways():
    def positive(x):
        if x.sum() > 0:
            return x * 2
        return -x

    def program():
        scope = made("def f(x):\n    return positive(x) + 1", positive=positive)
        return Program(scope["f"], (dg.tensor([1.0, 2.0]),), (dg.tensor([-1.0, -2.0]),))

    check(program, captures=1)


@pytest.mark.parametrize(
    "body",
    [
        "return [t * i for i, t in enumerate(x)]",
        "return sum(t for t in x), max(2, 3)",
        "a, *b = x.sum(), x.mean(), 3\nreturn {**{'a': a}, 'b': b}",
        "with dg.no_grad():\n    y = x * 2\nreturn y + x",
        "g = lambda v, k=2: v * k + len(x)\nreturn g(x), g(x, k=5), g(*[x], **{'k': 3})",
        "total = 0\nfor i in range(3):\n    if i == 1:\n        continue\n    total = total + x[i]\nreturn total",
        "i = 0\nwhile i < 3:\n    x = x + i\n    i += 1\nreturn x",
        "y = x.clone()\ny[1:] *= 2\ndel x\nreturn y[0], y[1:], -y, not y is None, 2 in (1, 2)",
        "def inner(v):\n    nonlocal x\n    x = x + v\n    return x\nreturn inner(1), inner(2), x",
        "import math\nfrom math import pi\nreturn x * math.sqrt(2.0) * pi",
        "def gen():\n    for t in x:\n        yield t * 2\nreturn list(gen())",
        "return {t: i for i, t in enumerate('ab')}, {1, 2}, x[None, ..., 1:3:1]",
        "return x if 1 < len(x) < 9 and x is not None else None",
        "text = f'{len(x)!r:>4}'\nreturn text",
    ],
)
def test_python_in_them(body):
    def program():
        scope = made("def f(x):\n" + textwrap.indent(body, "    "))
        return Program(scope["f"], (make(3, grad=True),), (make(3, seed=1, grad=True),))

    check(program, captures=1)


def test_generators_without_source_make_their_items_in_the_program():
    def program():
        scope = made(
            """
            seen = []
            def gen(x):
                for i in range(3):
                    seen.append(i)
                    yield x + i
            def f(x):
                return sum(gen(x))
            """
        )
        return Program(scope["f"], (make(2),), (make(2),), state=lambda: scope["seen"])

    check(program)


def test_methods_and_modules_without_source():
    def program():
        dg.manual_seed(0)
        scope = made(
            """
            class Net(dg.nn.Module):
                def __init__(self):
                    super().__init__()
                    self.linear = dg.nn.Linear(3, 2)
                    self.calls = 0
                def forward(self, x):
                    self.calls += 1
                    return self.linear(x).relu() * (2 if self.training else 1)
            net = Net()
            def f(x):
                return net(x)
            """
        )
        net = scope["net"]

        def before(number: int) -> None:
            net.train(number != 1)

        return Program(scope["f"], *((make(4, 3, seed=i),) for i in range(3)), before=before, state=lambda: net.calls)

    check(program, captures=2)


@dataclasses.dataclass
class Pair:
    first: Any
    second: Any = 2.0
    made: list[Any] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        if self.first.sum() > 0:
            self.first = self.first * 2


def test_what_a_dataclass_does_after_init_is_captured_both_ways():
    def program():
        def f(x):
            pair = Pair(x)
            return pair.first * pair.second, len(pair.made)

        return Program(f, (dg.tensor([1.0, 2.0]),), (dg.tensor([-1.0, -2.0]),))

    check(program, captures=1)


@pytest.mark.parametrize(
    ("source", "text", "line"),
    [
        ("def f(x):\n    y = x\n    if x.sum() > 0:\n        return y\n    return -y", "only one path", "<string>:3 in f"),
        ("def f(x):\n    while x.sum() > 0:\n        x = x - 1\n    return x", "only one path", "<string>:2 in f"),
        ("def f(x):\n    assert x.sum() > 0\n    return x", "only one path", "<string>:2 in f"),
        ("def f(x):\n    return x.sum() > 0 and x.sum() < 9", "only one path", "<string>:2 in f"),
        ("def f(x):\n    try:\n        return x\n    except ValueError:\n        return -x", "try statement", "<string>:3 in f"),
        ("def f(x):\n    class A:\n        pass\n    return x", "LOAD_BUILD_CLASS", "<string>:2 in f"),
        ("def f(x):\n    return x[: len(x.numpy())]", "value", "<string>:2 in f"),
        ("def f(x):\n    return eval('x + 1')", "not seen", "<string>:2 in f"),
        ("async def f(x):\n    return x", "async", "<string>:1 in f"),
    ],
)
def test_what_is_not_followed_is_refused_with_the_line(source, text, line):
    with pytest.raises(dg.errors.CaptureError) as error:
        dg.static(made(source)["f"])(dg.tensor([1.0, 2.0]))
    assert text in str(error.value) and line in str(error.value) and "hint" in str(error.value), str(error.value)


@pytest.mark.parametrize("call", ["f()", "f(x, x, x)", "f(x, z=1)", "f(x, x=1)"])
def test_wrong_arguments_are_type_errors_that_name_the_function(call):
    scope = made(f"def f(x, y=1):\n    return x\ndef g(x):\n    return {call}")
    with pytest.raises(TypeError, match=r"f\(\)"):
        dg.static(scope["g"])(dg.tensor([1.0]))


def test_an_error_inside_names_its_line():
    scope = made("def f(x):\n    y = x * 2\n    return y @ dg.ones(7, 7)")
    with pytest.raises(dg.Error, match=r"<string>:3 in f"):
        dg.static(scope["f"])(dg.ones(2, 2))


def test_the_exception_of_a_with_statement_reaches_its_end():
    def program():
        scope = made(
            """
            class Guard:
                def __init__(self):
                    self.seen = []
                def __enter__(self):
                    self.seen.append("in")
                    return self
                def __exit__(self, kind, value, trace):
                    self.seen.append(kind is None)
                    return True
            guard = Guard()
            def f(x, k):
                with guard:
                    if k > 1:
                        raise ValueError("no")
                    x = x + 1
                return x
            """
        )
        return Program(scope["f"], (make(2), 1), (make(2), 3), (make(2), 1), state=lambda: scope["guard"].seen)

    check(program)


def test_a_file_named_as_the_packages_own_code_is():
    """It is run as it is; once, calling it led to asking about it again, without an end."""
    names: dict[str, Any] = {}
    exec(compile("def twice(x):\n    return x * 2\n", "<duograph text>", "exec"), names)
    assert dg.static(names["twice"])(dg.ones(2)).tolist() == [2.0, 2.0]
    outer = dg.static(lambda x: names["twice"](x) + 1)
    assert outer(dg.ones(2)).tolist() == [3.0, 3.0]
