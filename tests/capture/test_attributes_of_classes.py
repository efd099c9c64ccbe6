"""Attributes that an object has from its class until the function gives it one of its own; errors with attributes."""

from __future__ import annotations

import contextlib
import io

import pytest

import duograph as dg


def written_and_deleted():
    class Base:
        k = 1.0

    held = Base()

    def f(x):
        Base.k = Base.k + 1
        held.k = 10.0
        y = x * held.k
        del held.k
        return y

    return f, lambda: (Base.k, vars(held))


def written_after_the_class():
    class Base:
        k = 1.0

    class Derived(Base):
        pass

    held = Derived()

    def f(x):
        Base.k = Base.k + 1
        y = x * held.k
        held.k = 10.0
        return y

    return f, lambda: (Base.k, vars(held))


def written_in_the_class_below():
    class Base:
        k = 1.0

    class Derived(Base):
        pass

    def f(x):
        Base.k = Base.k + 1
        y = x * Derived.k
        Derived.k = 10.0
        return y

    return f, lambda: (Base.k, Derived.__dict__.get("k"))


def deleted_in_the_class_below():
    class Base:
        k = 2.0

    class Derived(Base):
        pass

    def f(x):
        Derived.k = 5.0
        y = x * Derived.k
        del Derived.k
        return y * Derived.k

    return f, lambda: Derived.__dict__.get("k")


@pytest.mark.parametrize(
    "make", [written_and_deleted, written_after_the_class, written_in_the_class_below, deleted_in_the_class_below]
)
def test_attributes_of_the_class_and_of_the_object(make):
    (dynamic, state), (function, state_of_static) = make(), make()
    static = dg.static(function)
    for k in range(4):
        x = dg.tensor([1.0, 2.0 + k])
        assert static(x).tolist() == dynamic(x).tolist()
        assert state_of_static() == state()


class TooLarge(Exception):
    def __init__(self, size, total):
        super().__init__(f"{size} is too large")
        self.size, self.total = size, total


def test_an_error_of_a_run_is_as_the_program_made_it():
    @dg.static
    def f(x):
        if x.max() > 2:
            raise TooLarge(x.shape[0], x.sum())
        return x

    for values in ([1.0, 3.0], [4.0, 3.0], [4.0, 3.0, 5.0]):
        with pytest.raises(TooLarge) as found:
            f(dg.tensor(values))
        assert str(found.value) == f"{len(values)} is too large"
        assert (found.value.size, found.value.total.item()) == (len(values), sum(values))


def test_an_error_that_was_caught_is_printed():
    def f(x):
        for key in ("a", "b"):
            try:
                x = x * {"a": 2.0}[key]
            except KeyError as error:
                print("missing", error)
            finally:
                print("sum", x.sum())
        return x

    static, said = dg.static(f), []
    for function in (f, static, static):
        with contextlib.redirect_stdout(io.StringIO()) as text:
            function(dg.ones(2))
        said.append(text.getvalue())
    assert said[0] == said[1] == said[2] == "sum tensor(4.)\nmissing 'b'\nsum tensor(4.)\n"
