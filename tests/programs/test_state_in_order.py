"""Containers, classes and attributes that a function changes in several ways: each run does it in the program's order."""

from __future__ import annotations

import collections

import pytest
from user_modes import Program, check, make

import duograph as dg

X = make(3)


def changed_in_turn():
    items, table = [1, 2, 3, 4, 5, 6, 7], {"a": 1}

    def f(x):
        table["c"] = len(table)
        items[0] += 1
        items[1:3] = [9, 9]
        items.insert(0, 5)
        return x * len(items)

    return Program(f, (X,), (X,), (X,), state=lambda: [items, table])


def read_after_a_shift():
    items = [1, 2]

    def f(x):
        items.insert(0, len(items) * 10)
        return x * items[0] + items[1] - items[-1]

    return Program(f, (X,), (X,), (X,), state=lambda: items)


def updated_table():
    table = {"a": 1}

    def f(x):
        table.update(a=table["a"] * 2)
        return x * table["a"]

    return Program(f, (X,), (X,), (X,), state=lambda: table)


def sorted_after_a_write():
    items = [3, 1, 2]

    def f(x):
        items[0] += 1
        items.sort()
        return x * items[0] + items[-1]

    return Program(f, (X,), (X,), (X,), state=lambda: items)


def last_two():
    kept = []

    def f(x):
        kept.append(x * 2)
        if len(kept) > 2:
            kept.__delitem__(0)
        return dg.stack(kept).sum()

    return Program(f, *((make(3, seed=i),) for i in range(5)), state=lambda: kept)


def swapped():
    items = [1, 2, 3]

    def f(x):
        items[0], items[1] = items[1], items[0]
        items.reverse()
        return x * items[0]

    return Program(f, (X,), (X,), (X,), state=lambda: items)


def counted():
    counter = collections.Counter()

    def f(x, key):
        counter[key] += 1
        return x * counter[key]

    return Program(f, (X, "a"), (X, "b"), (X, "a"), (X, "a"), state=lambda: dict(counter))


def counter_methods():
    counter, names, order = collections.Counter(a=5), {1, 2, 3}, collections.OrderedDict(a=1, b=2)

    def f(x):
        counter.subtract(["a"])
        names.difference_update([2])
        order.move_to_end("a")
        return x

    return Program(f, (X,), (X,), state=lambda: [dict(counter), sorted(names), list(order)])


class Fields:
    def __init__(self):
        self.__dict__["fields"] = {"w": dg.ones(3) * 2, "writes": 0}

    def __getattr__(self, name):
        try:
            return self.__dict__["fields"][name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name, value):
        self.fields["writes"] += 1
        self.fields[name] = value


def own_setattr():
    fields = Fields()

    def f(x):
        fields.total = x.sum()
        return x * fields.w + fields.total

    return Program(f, (X,), (X * 2,), (X,), state=lambda: fields.fields)


@pytest.mark.parametrize(
    "program",
    [
        changed_in_turn,
        read_after_a_shift,
        updated_table,
        sorted_after_a_write,
        last_two,
        swapped,
        counted,
        counter_methods,
        own_setattr,
    ],
)
def test_changes_happen_in_order(program):
    check(program)


def methods_of(kind):
    class Base(kind):
        factor = 1.0

        def __call__(self, x):
            return self.act(x) * self.factor + self.fixed(x) + self.of_class(x) + self.value

        def act(self, x):
            return x.relu()

        @staticmethod
        def fixed(x):
            return x

        @classmethod
        def of_class(cls, x):
            return x * cls.factor

        @property
        def value(self):
            return 1

    thing = Base()

    def before(number):
        if number == 1:
            Base.act = lambda self, x: x.tanh()
        if number == 2:
            thing.act = lambda x: x * 7
        if number == 3:
            Base.factor = 5.0
        if number == 4:
            thing.factor = 6.0
        if number == 5:
            Base.fixed = staticmethod(lambda x: x * 100)
        if number == 6:
            Base.of_class = classmethod(lambda cls, x: x * 1000)
        if number == 7:
            Base.value = property(lambda self: 2)
        if number == 8:
            del thing.act

    return Program(lambda x: thing(x), *((X,) for _ in range(10)), before=before)


@pytest.mark.parametrize("kind", [object, dg.nn.Module])
def test_what_replaces_a_method_is_noticed(kind):
    check(lambda: methods_of(kind))


class Averaged(dg.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", dg.zeros(3))
        self.seen = None

    def forward(self, x):
        self.mean = self.mean * 0.9 + x
        if self.seen is None:
            self.seen = x * 2
        return self.mean * 1 + self.seen


def replaced_buffer():
    module = Averaged()

    def before(number):
        if number == 3:
            module.mean = dg.ones(3) * 10

    calls = [(make(3, seed=i),) for i in range(5)]
    return Program(lambda x: module(x), *calls, before=before, state=lambda: [module.mean, module.seen])


def test_a_buffer_that_is_replaced_in_each_call_is_read_afresh():
    check(replaced_buffer, captures=2)


def made_in_comprehensions(x):
    late = [lambda v: v + i for i in range(3)]  # noqa: B023 - that is what is tested
    early = [lambda v, i=i: v * i for i in range(3)]
    return [f(x) for f in late], sum(f(x) for f in early)


def test_functions_made_in_a_comprehension_share_its_variable():
    check(lambda: Program(made_in_comprehensions, (X,), (X * 2,)), captures=1)
