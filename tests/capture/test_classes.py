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
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_code_of_a_class_is_replaced(change, monkeypatch):
    for name in ("scaled", "factor", "shifted", "named", "__call__"):
        monkeypatch.setattr(Plain, name, Plain.__dict__[name])  # put back afterwards
    holder, x = Plain(), dg.ones(2)
    static = dg.static(lambda x: holder(x))
    assert static(x).tolist() == [35.0, 35.0]
    change(Plain)
    assert static(x).tolist() == holder(x).tolist() != [35.0, 35.0]
    assert static.captures == 2
    static(x)
    assert static.captures == 2


def test_an_attribute_hides_a_method():
    holder, x = Plain(), dg.ones(2)
    static = dg.static(lambda x: holder(x))
    static(x)
    holder.scaled = lambda x: x * 100
    assert static(x).tolist() == holder(x).tolist() == [1505.0, 1505.0]
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
