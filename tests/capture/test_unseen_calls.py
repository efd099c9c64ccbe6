"""User code that nobody calls by name, but Python's library or the interpreter: what it reads is read anew at each run."""

from __future__ import annotations

import collections
import contextlib
import copy
import dataclasses
import enum
import functools
import signal
import sys
import threading
import typing

import pytest
from both_modes import reads_anew

import duograph as dg

pytestmark = pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="calls are seen under Python 3.11 only")


class Config:
    scale = 2.0


config = Config()
config.scale = 2.0


class Closer:
    def __init__(self, out):
        self.out = out

    def close(self):
        self.out.append(config.scale)


def closing(x):
    out = []
    with contextlib.closing(Closer(out)):
        pass
    return x * out[0]


defaults = collections.defaultdict(lambda: config.scale)


def filled_in(x):
    return x * defaults["scale"]


@dataclasses.dataclass
class Scaled:
    value: typing.Any

    def __post_init__(self):
        self.value = self.value * config.scale


class Size(enum.Enum):
    SMALL = 1
    LARGE = 2

    @classmethod
    def _missing_(cls, value):
        return cls.SMALL if config.scale < 2.5 else cls.LARGE


class Reduced:
    def __init__(self, value):
        self.value = value

    def __reduce__(self):
        return Reduced, (self.value * config.scale,)


class Kept:
    def __init__(self, value):
        self.value = value

    def __getstate__(self):
        return {"value": self.value * config.scale}

    def __setstate__(self, state):
        self.value = state["value"] * config.scale


class Meta(type):
    def __call__(cls, *args):
        made = super().__call__(*args)
        made.scale = config.scale
        return made

    def __instancecheck__(cls, value):
        return config.scale < 2.5


class OfMeta(metaclass=Meta):
    pass


class Base:
    def __init_subclass__(cls, **named):
        cls.scale = config.scale


def subclass(x):
    class Derived(Base):
        pass

    return x * Derived.scale


class Keyed:
    def __hash__(self):
        return int(config.scale)

    def __eq__(self, other):
        return config.scale < 2.5

    def __repr__(self):
        return "r" * int(config.scale)

    def __dir__(self):
        return ["a"] * int(config.scale)

    def __float__(self):
        return config.scale


class Answers:
    def __getattribute__(self, name):
        return config.scale


T = typing.TypeVar("T")


class Generic(typing.Generic[T]):
    def __init__(self, value):
        self.value = value * config.scale


class Local(threading.local):
    def __init__(self):
        self.value = config.scale


class Named(typing.NamedTuple):
    value: typing.Any
    factor: float = 2.0


@dataclasses.dataclass
class ByKeyword:
    value: typing.Any
    more: dataclasses.InitVar[typing.Any] = 1.0
    _: dataclasses.KW_ONLY
    last: dataclasses.InitVar[typing.Any] = 1.0

    def __post_init__(self, *more, **named):
        self.value = self.value * more[0] * more[1] * config.scale


def reduced_over(function, *items, last=1.0, **named):
    return function(*items, last=last, **named) * config.scale


PROGRAMS = [
    closing,
    filled_in,
    lambda x: dataclasses.replace(Scaled(x), value=x).value,
    lambda x: dataclasses.replace(ByKeyword(x, 2.0, last=3.0), value=x, more=2.0, last=5.0).value,
    lambda x: x * Size(7).value,
    lambda x: copy.copy(Reduced(x)).value,
    lambda x: copy.copy(Kept(x)).value,
    lambda x: copy.deepcopy([Kept(x)])[0].value,
    lambda x: x * OfMeta().scale,
    lambda x: x * (1 + isinstance(3, OfMeta)),
    subclass,
    lambda x: x * hash(Keyed()),
    lambda x: x * len({Keyed(), Keyed()}),
    lambda x: x * len(repr(Keyed())),
    lambda x: x * len(dir(Keyed())),
    lambda x: x * float(Keyed()),
    lambda x: x * Answers().anything,
    lambda x: Generic[int](x).value,
    lambda x: x * Local().value,
    lambda x: Named(x * config.scale).value,
    lambda x: contextlib.ExitStack().enter_context(contextlib.nullcontext(x)) * config.scale,
    lambda x: functools.partial(reduced_over, lambda a, b, last, k: a * b * last * k, last=3.0)(x, 2.0, k=5.0),
]


@pytest.mark.parametrize("program", PROGRAMS, ids=map(str, range(len(PROGRAMS))))
def test_what_it_reads_is_read_anew(program):
    def run(x):
        return program(x)

    reads_anew(run, config, defaults.clear)


def test_a_changed_method_captures_again():
    class Changed(Scaled):
        pass

    static = dg.static(lambda x: dataclasses.replace(Changed(x), value=x).value)
    config.scale = 2.0
    assert static(dg.tensor([1.0])).tolist() == [2.0]
    Changed.__post_init__ = lambda self: setattr(self, "value", self.value * 10)
    assert static(dg.tensor([1.0])).tolist() == [10.0]


def test_tensors_are_read_anew():
    class Holder:
        weight = dg.tensor([2.0])

    holder = Holder()
    holder.weight = dg.tensor([2.0])
    values = collections.defaultdict(lambda: holder.weight * 2)
    static = dg.static(lambda x: x + values["weight"])
    assert static(dg.tensor([1.0])).tolist() == [5.0]
    values.clear()
    holder.weight = dg.tensor([7.0])
    assert static(dg.tensor([1.0])).tolist() == [15.0]


def test_a_tensor_decides_in_it():
    @dataclasses.dataclass
    class Clipped:
        value: typing.Any

        def __post_init__(self):
            while self.value < 10:
                self.value = self.value * 2

    def run(x):
        return dataclasses.replace(made, value=x).value

    made = Clipped(dg.tensor(20.0))
    static = dg.static(run)
    for value in (3.0, 11.0, 0.5):
        assert static(dg.tensor(value)).item() == run(dg.tensor(value)).item()


def begun():
    yield config.scale
    yield config.scale


class Stream:
    def __init__(self):
        self.items = begun()
        next(self.items)


def test_a_generator_begun_before_is_refused():
    stream = Stream()

    def run(x):
        return x * dict.fromkeys(stream.items).popitem()[0]

    with pytest.raises(dg.errors.CaptureError, match=r"(?s)begun|iterator|generator.*test_unseen_calls.py"):
        dg.static(run)(dg.tensor([1.0]))


def test_calls_are_as_before_when_the_capture_ends():
    calls = []

    class Seen:
        def __hash__(self):
            calls.append(1)
            return 1

    static = dg.static(lambda x: x * hash(Seen()))
    static(dg.tensor([1.0]))
    before = len(calls)
    assert hash(Seen()) == 1
    assert len(calls) == before + 1
    assert Seen.__hash__.__code__.co_filename == __file__


def test_modules_are_imported_in_a_capture(tmp_path, monkeypatch):
    text = "values = [n for n in range(3)]\ndef scaled(x):\n    return x * len(values)\n"
    (tmp_path / "imported_in_capture.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))

    def run(x):
        import imported_in_capture

        return imported_in_capture.scaled(x)

    assert dg.static(run)(dg.tensor([2.0])).tolist() == [6.0]


def test_a_signal_is_handled_as_it_comes(monkeypatch):
    seen = []

    def handler(number, frame):
        seen.append(number)

    class Interrupted:
        def __hash__(self):
            signal.raise_signal(signal.SIGUSR1)
            return 1

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        static = dg.static(lambda x: x * hash(Interrupted()))
        for _ in range(3):
            static(dg.tensor([1.0]))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == [signal.SIGUSR1]  # it came with the capture, and is no part of the program


class Options:
    scale = 2.0

    def __init__(self):
        self.items = [1.0]
        self.inner = None


options = Options()
options.inner = Options()
options.inner.weight = dg.tensor([2.0, 2.0])


def made_inside(x):
    doubled = x * 2
    calls = 0

    class Inner:
        factor = config.scale
        several = [config.scale * i for i in range(3)]
        last = several[2]

        def __init__(self, value, more=config.scale):
            self.value = value * more

        def __add__(self, other):
            nonlocal calls
            calls += 1
            return self.value + other * config.scale + doubled

        @property
        def scale(self):
            return config.scale

        @classmethod
        def made(cls, value):
            class Derived(cls):
                def __init__(self, value):
                    super().__init__(value)
                    self.value = self.value * config.scale

            return Derived(value)

    made = Inner.made(x)
    total = made + x
    return total * made.scale * Inner.factor * Inner.last + calls


def dataclass_inside(x):
    @dataclasses.dataclass
    class Inner:
        value: typing.Any
        scale: float = config.scale

        def __post_init__(self):
            while self.value.sum() < 100:
                self.value = self.value * config.scale

    made = Inner(x)
    return made.value * made.scale


@pytest.mark.parametrize("program", [made_inside, dataclass_inside])
def test_classes_made_inside_read_anew(program):
    reads_anew(program, config)


def copied(x):
    made = copy.deepcopy(options)
    return x * made.items[0] * made.inner.weight * copy.copy(options).items[0] * copy.deepcopy([options])[0].inner.scale


def test_copies_of_what_is_outside_are_made_anew():
    static = dg.static(copied)
    x = dg.tensor([1.0, 2.0])

    def agrees():
        assert static(x).tolist() == copied(x).tolist()

    agrees()
    options.items[0] = 3.0
    agrees()
    options.inner.weight = dg.tensor([5.0, 6.0])
    agrees()
    options.inner.weight.mul_(2)
    agrees()
    options.inner.scale = 7.0
    agrees()
