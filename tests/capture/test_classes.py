"""Classes whose code changes after a capture, and objects that get an attribute which hides it."""

from __future__ import annotations

import pytest

import duograph as dg
from duograph import nn


class Plain:
    def scaled(self, x):
        return x * 2

    @property
    def factor(self):
        return 3.0

    @staticmethod
    def shifted(x):
        return x + 1

    @classmethod
    def named(cls, x):
        return x * 5

    def __call__(self, x):
        return self.named(self.shifted(self.scaled(x) * self.factor))


CHANGES = {
    "method": lambda made: setattr(made, "scaled", lambda self, x: x * 20),
    "property": lambda made: setattr(made, "factor", property(lambda self: 30.0)),
    "static method": lambda made: setattr(made, "shifted", staticmethod(lambda x: x + 10)),
    "class method": lambda made: setattr(made, "named", classmethod(lambda cls, x: x * 50)),
    "call": lambda made: setattr(made, "__call__", lambda self, x: x * 7),
    "bases": lambda made: setattr(made, "__bases__", (type("Other", (), {"scaled": lambda self, x: x * 9}),)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_code_of_a_class_is_replaced(change):
    other = type("Between", (Plain,), {})
    made = type("Made", (other,), {})
    holder, x = made(), dg.ones(2)
    static = dg.static(lambda x: holder(x))
    assert static(x).tolist() == [35.0, 35.0]
    change(other if change is not CHANGES["bases"] else made)
    if change is CHANGES["bases"]:
        made.__call__ = lambda self, x: self.scaled(x)
    assert static(x).tolist() == holder(x).tolist() != [35.0, 35.0]
    assert static.captures == 2
    static(x)
    assert static.captures == 2
    assert "was replaced" in str(static.signatures())


def test_an_attribute_hides_a_method():
    holder, x = Plain(), dg.ones(2)
    static = dg.static(lambda x: holder(x))
    static(x)
    holder.scaled = lambda x: x * 100
    assert static(x).tolist() == holder(x).tolist() == [1505.0, 1505.0]
    assert "holder.scaled was that of its class, is its own" in str(static.signatures())
    del holder.scaled
    assert static(x).tolist() == [35.0, 35.0]
    assert static.captures == 2


def test_forward_is_replaced():
    class Model(nn.Module):
        def forward(self, x):
            return x * 2

    class Layer(nn.Linear):
        pass

    model, layer, x = Model(), Layer(2, 2), dg.ones(1, 2)
    both = dg.static(lambda x: model(x) + layer(x))
    alone = dg.static(model)
    both(x), alone(x)
    Model.forward = lambda self, x: x * 100
    assert both(x).tolist() == (model(x) + layer(x)).tolist()
    assert alone(x).tolist() == [[100.0, 100.0]]
    Layer.forward = lambda self, x: x * 9
    assert both(x).tolist() == [[109.0, 109.0]]
    model.forward = lambda x: x * 0
    assert both(x).tolist() == [[9.0, 9.0]] and alone(x).tolist() == [[0.0, 0.0]]
    assert both.captures == 4 and alone.captures == 3


def test_other_changes_of_a_class_capture_nothing():
    class Counted:
        made = 0
        unused = 1

        def __init__(self):
            type(self).made += 1

        def scaled(self, x):
            return x * 2

    holder, x = Counted(), dg.ones(2)
    static = dg.static(lambda x: holder.scaled(x))
    for n in range(5):
        Counted.unused = n
        Counted()
        assert static(x).tolist() == [2.0, 2.0]
    assert static.captures == 1


def test_methods_as_they_were_are_not_listed():
    static = dg.static(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
    static(dg.ones(1, 2))
    assert "forward" not in str(static.signatures())


class Lazy:
    def __init__(self, table):
        self.table = table

    def __getattr__(self, name):
        return self.table[name] * 2


class WithLazy(nn.Module):
    def __getattr__(self, name):
        return 3.0 if name == "gain" else super().__getattr__(name)

    def forward(self, x):
        return x * self.gain


@pytest.mark.parametrize(
    ("made", "call"),
    [(Lazy({"gain": 4.0}), lambda made, x: x * made.gain), (WithLazy(), lambda made, x: made(x))],
    ids=["object", "module"],
)
def test_getattr_is_replaced(made, call):
    cls, x = type(made), dg.ones(2)
    before = cls.__getattr__
    static = dg.static(lambda x: call(made, x))
    first = static(x).tolist()
    assert first == call(made, x).tolist()
    try:
        cls.__getattr__ = lambda self, name: 50.0 if name == "gain" else before(self, name)
        assert static(x).tolist() == call(made, x).tolist() == [50.0, 50.0]
    finally:
        cls.__getattr__ = before
    assert static(x).tolist() == first
    assert static.captures == 2


@pytest.mark.parametrize("base", [Plain, nn.Module], ids=["object", "module"])
def test_a_method_is_added_to_a_subclass(base):
    class Above(base):
        def scaled(self, x):
            return x * 2

        def __call__(self, x):
            return self.scaled(x)

    class Below(Above):
        pass

    holder, x = Below(), dg.ones(2)
    static = dg.static(lambda x: holder(x))
    static(x)
    Below.scaled = lambda self, x: x * 30
    assert static(x).tolist() == holder(x).tolist() == [30.0, 30.0]
    Below.__call__ = lambda self, x: x * 4
    assert static(x).tolist() == [4.0, 4.0]
    del Below.scaled, Below.__call__
    assert static(x).tolist() == [2.0, 2.0]
    assert static.captures == 3


def test_a_class_changed_or_made_by_the_function_itself():
    class Kept:
        def scaled(self, x):
            return x * 2

    @dg.static
    def f(x):
        class Inner(Kept):
            def more(self, x):
                return self.scaled(x) + 1

        Inner.again = lambda self, x: self.more(x) * 2
        return Inner().again(x)

    for _ in range(3):
        assert f(dg.ones(2)).tolist() == [6.0, 6.0]
    assert f.captures == 1


def test_defaults_and_code_of_a_function_are_replaced():
    def make():
        def scaled(x, k=2.0):
            return x * k

        return scaled

    x = dg.ones(2)
    for strict in (False, True, False):
        scaled, called = make(), make()
        both = (dg.static(scaled, strict=strict), dg.static(lambda x, called=called: called(x) + 1, strict=strict))
        assert [f(x).tolist() for f in both] == [[2.0, 2.0], [3.0, 3.0]]
        scaled.__defaults__ = called.__defaults__ = (5.0,)
        assert [f(x).tolist() for f in both] == [[5.0, 5.0], [6.0, 6.0]]
        scaled.__code__ = called.__code__ = (lambda x, k: x * k * 10).__code__
        assert [f(x).tolist() for f in both] == [[50.0, 50.0], [51.0, 51.0]]
        assert [f.captures for f in both] == [3, 3]


def test_properties_of_a_class_of_classes():
    class Meta(type):
        @property
        def gain(cls):
            return cls.base * 2

    class Made(metaclass=Meta):
        base = 3.0

    static, x = dg.static(lambda x: x * Made.gain), dg.ones(2)
    assert static(x).tolist() == [6.0, 6.0]
    Made.base = 4.0
    assert static(x).tolist() == [8.0, 8.0]
    Meta.gain = property(lambda cls: 1.0)
    assert static(x).tolist() == [1.0, 1.0]
