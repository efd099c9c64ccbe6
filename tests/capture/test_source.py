"""Source conversion alone: converted functions are plain Python outside a capture, and say what they read inside one."""

import collections
import functools
import traceback
from types import SimpleNamespace

import pytest

from duograph._recorded import state
from duograph.capture.conversion.convert import convert_function
from duograph.capture.outside.recorder import Recorder
from duograph.capture.values.state_tensors import StateTensors

LIMIT = 3
COUNTER = 0
TABLE = {"a": 1, "b": [1, 2, 3]}


def convert(function):
    made = convert_function(function)
    assert made is not function, "the function was not converted"
    return made


def arithmetic(x, y=2, *rest, k=1, **options):
    """Doc."""
    total = x + y * k
    for r in rest:
        total += r
    return total, sorted(options)


def uses_globals(x):
    global COUNTER
    COUNTER = COUNTER + 1
    COUNTER += 1
    return x < LIMIT, TABLE["b"][0], len(TABLE)


def comprehensions(n):
    squares = [i * i for i in range(n) if i < LIMIT + 10]
    pairs = {(a, b) for a in squares for b in range(2)}
    table = {k: v for k, v in zip("ab", squares)}
    walrus = [last := i for i in range(3)]
    return squares, pairs, table, list(x + LIMIT for x in range(2)), last, walrus


def control(n):
    out = []
    while True:
        n -= 1
        if n == 5:
            continue
        if n < 0:
            break
        try:
            out.append(10 // (n - 3))
        except ZeroDivisionError as error:
            out.append(type(error).__name__)
        else:
            pass
        finally:
            n = n
    else:
        out.append("never")
    with open(__file__) as handle:
        out.append(bool(handle.readline()))
    (a, *b), c = [1, 2, 3], 4
    return out, a, b, c, (lambda q: q + LIMIT)(1), f"{a}-{LIMIT!r:>3}"


def nested(x):
    factor = x

    def inner(y, z=LIMIT):
        nonlocal factor
        factor += y
        return factor * z

    def recursive(n):
        return 1 if n == 0 else n * recursive(n - 1)

    return inner(1), inner(2), factor, recursive(5)


class Thing:
    scale = 2

    def __init__(self):
        self.__secret = 5
        self.values = [1, 2]
        self.count = 0

    @property
    def doubled(self):
        return self.__secret * 2

    def method(self, x):
        self.count += 1
        self.values[0] += x
        self.other, rest = x, self.count
        return self.__secret + x * self.scale + self.doubled + rest

    @classmethod
    def make(cls):
        return cls()

    @staticmethod
    def plain(x):
        return x + LIMIT


class Derived(Thing):
    def method(self, x):
        return super().method(x) + 1


def matching(value):
    match value:
        case {"kind": kind, **rest} if kind != LIMIT:
            return kind, rest
        case [first, *others]:
            return first, others
        case Thing(count=0):
            return "thing"
        case _:
            return None


@pytest.mark.parametrize(
    ("function", "args"),
    [
        (arithmetic, (1,)),
        (arithmetic, (1, 2, 3, 4)),
        (comprehensions, (5,)),
        (control, (8,)),
        (nested, (3,)),
        (matching, ({"kind": 1, "x": 2},)),
        (matching, ([1, 2, 3],)),
        (matching, (Thing(),)),
    ],
)
def test_converted_functions_compute_the_same(function, args):
    expected = function(*args)
    assert convert(function)(*args) == expected


def test_keywords_and_defaults():
    assert convert(arithmetic)(1, k=3, zz=1, a=2) == arithmetic(1, k=3, zz=1, a=2)
    assert convert(arithmetic).__defaults__ == (2,)


def test_globals_are_written_for_real_outside_a_capture():
    global COUNTER
    COUNTER = 0
    assert convert(uses_globals)(1) == (True, 1, 2)
    assert COUNTER == 2


def test_closures_share_their_cells():
    value = 1

    def read():
        return value

    def write():
        nonlocal value
        value += 5
        return value

    assert convert(write)() == 6 and value == 6
    value = 10
    assert convert(read)() == 10


def test_methods_private_names_and_super():
    plain, converted = Thing(), Thing()
    method = convert(Thing.method)
    assert method(converted, 3) == plain.method(3)
    assert converted.__dict__ == plain.__dict__
    assert convert(Derived.method)(Derived(), 3) == Derived().method(3)


def test_lambdas_on_one_line_are_told_apart():
    pair = (lambda x: x + LIMIT, lambda x: x * LIMIT)
    assert convert(pair[0])(2) == 5 and convert(pair[1])(2) == 6


def test_decorated_functions():
    def double(function):
        @functools.wraps(function)
        def wrapper(*args):
            return function(*args) * LIMIT

        return wrapper

    @double
    def decorated(x):
        return x + LIMIT

    assert convert(decorated)(1) == decorated(1) == 12
    assert convert(decorated.__wrapped__)(1) == 4


def test_generators():
    def count(n):
        for i in range(n):
            yield i + LIMIT

    assert list(convert(count)(3)) == list(count(3))


def test_tracebacks_show_the_users_file_and_line():
    def fails(x):
        y = x + LIMIT
        return y / 0  # here

    try:
        convert(fails)(1)
    except ZeroDivisionError as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        assert frame.filename == __file__ and frame.line.endswith("# here") and frame.name == "fails"
    else:
        raise AssertionError


def test_code_without_source_is_plain_python_outside_of_a_capture():
    scope = {}
    exec("def f(x):\n    return x + 1", scope)
    assert convert_function(scope["f"])(1) == 2


def test_code_that_a_library_made_without_source_is_left_alone():
    scope = {"__file__": collections.__file__}
    exec("def f(x):\n    return x + 1", scope)
    assert convert_function(scope["f"]) is scope["f"]


def test_reads_are_recorded_and_writes_undone():
    global COUNTER
    COUNTER = 7
    thing = Thing()
    recorder = Recorder()
    recorder.states = StateTensors(recorder, None, SimpleNamespace(plan=SimpleNamespace(states=None)))
    state.recorder = recorder
    try:
        recorder.enter(thing)
        result = convert(uses_globals)(1)
        convert(Thing.method)(thing, 2)
        assert COUNTER.value == 9 and thing.count.value == 1
    finally:
        state.recorder = None
        recorder.roll_back()
    assert COUNTER == 7 and thing.count == 0 and thing.values == [1, 2] and not hasattr(thing, "other")
    assert result[1].value == 1
    kinds = {(kind, key) for kind, _, key in recorder.reads}
    assert {("item", "LIMIT"), ("item", "COUNTER"), ("item", "TABLE"), ("item", "b"), ("index", 0)} <= kinds
    assert ("item", "_Thing__secret") in kinds and ("item", "count") in kinds
