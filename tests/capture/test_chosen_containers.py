"""Lists, dicts and objects of which a tensor's value chooses one, and what may be changed of them afterwards."""

import dataclasses

import pytest

import duograph as dg


@dataclasses.dataclass
class Holder:
    x: dg.Tensor
    n: int = 0


def old_one_under_another_name(x):
    items = [x]
    same = items
    if x.sum() > 0:
        items = [x * 2]
    items.append(x * 3)
    return items, same


def one_of_two(x):
    a, b = [x], [x * 2]
    chosen = a if x.sum() > 0 else b
    chosen[0] = chosen[0] + 1
    return a, b, chosen


def one_of_two_dicts(x):
    a, b = {"v": x}, {"v": x * 2}
    if x.sum() > 0:
        chosen = a
    else:
        chosen = b
    a["v"] = a["v"] + 1
    return chosen["v"]


def one_of_two_objects(x):
    a, b = Holder(x), Holder(x * 2)
    chosen = a if x.sum() > 0 else b
    chosen.x = chosen.x + 1
    return a.x, b.x


def inside_of_another(x):
    inner = [x]
    outer = {"i": inner}
    if x.sum() > 0:
        outer = {"i": [x * 2]}
    inner[0] = inner[0] + 10
    return outer["i"][0], inner[0]


def replaced_in_a_loop(x):
    a = [x]
    b = a
    while x.abs().sum() < 5:
        a = [a[0] * 1.1]
        x = x * 1.5
    a[0] = a[0] + 1
    return a[0], b[0]


CHANGED = [
    (old_one_under_another_name, "if x.sum() > 0:"),
    (one_of_two, "chosen = a if x.sum() > 0 else b"),
    (one_of_two_dicts, "if x.sum() > 0:"),
    (one_of_two_objects, "chosen = a if x.sum() > 0 else b"),
    (inside_of_another, "if x.sum() > 0:"),
    (replaced_in_a_loop, "while x.abs().sum() < 5:"),
]


@pytest.mark.parametrize(("function", "line"), CHANGED, ids=lambda x: getattr(x, "__name__", ""))
def test_a_change_that_would_be_seen_elsewhere_is_refused(function, line):
    with pytest.raises(dg.errors.CaptureError, match="is changed afterwards") as error:
        dg.static(function)(dg.ones(2))
    assert line in str(error.value)


def changes_places(x):
    a, b = [x], [x * 2]
    if x.sum() > 0:
        a, b = b, a
    a[0] = a[0] * 3
    return a[0], b[0]


def the_best_so_far(x):
    best, least = [x], x.sum()
    for i in range(3):
        found = [x * i]
        if found[0].sum() < least:
            best, least = found, found[0].sum()
    best.append(least)
    return best


def a_state_of_its_own(x):
    state = {"v": x, "n": x.sum()}
    state = {"v": x * 2, "n": x.sum()} if x.sum() > 0 else state
    state["v"] = state["v"] + 1
    return state["v"], state["n"]


def read_only(x):
    a, b = [x], [x * 2]
    chosen = a if x.sum() > 0 else b
    return a[0] + b[0] + chosen[0]


@pytest.mark.parametrize("function", [changes_places, the_best_so_far, a_state_of_its_own, read_only])
def test_what_nobody_else_sees_may_change(function):
    static = dg.static(function)
    for x in (dg.ones(2), -dg.ones(2), dg.tensor([1.0, -3.0])):
        got, expected = (r if isinstance(r, (tuple, list)) else (r,) for r in (static(x), function(x)))
        assert [t.tolist() for t in got] == [t.tolist() for t in expected]
