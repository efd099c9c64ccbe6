"""Text with tensors and sizes in it: made in each run, with that run's values."""

# ruff: noqa: UP031 - the old way of making text is what is tested

from __future__ import annotations

import pytest
from user_modes import Program, check, make

import duograph as dg

WIDTH = 8


@pytest.mark.parametrize(
    "say",
    [
        lambda x, n: print("%.2f" % x.sum()),
        lambda x, n: print("%.2f of %d" % (x.sum(), n)),
        lambda x, n: print("%(loss).3f at %(step)d" % {"loss": x.mean(), "step": n}),
        lambda x, n: print("%5.1f|%-8s|%+d|100%%" % (x.max(), "a", 3)),
        lambda x, n: print("%*.*f" % (WIDTH, 2, x.max())),
        lambda x, n: print("%s and %r" % (x, x.sum())),
        lambda x, n: print("loss %g" % x.sum() + " " + str(len(x)) + f" {n}"),
        lambda x, n: print(str(n), str(x.shape[0] * 2), str(x.mean())),
        lambda x, n: print("rows %d" % x.shape[0], "%s" % (x.shape,)),
        lambda x, n: print("%s" % f"{x.sum():.1f}"),
    ],
)
def test_printed_text_has_the_values_of_each_run(say):
    def program():
        def f(x, n):
            say(x, n)
            return x * n

        return Program(f, *((make(size, seed=i), i) for i, size in enumerate((3, 4, 5, 6, 7))))

    check(program, captures=2)


def test_text_of_tensors_is_raised_and_asserted():
    def program():
        def f(x):
            assert x.min() > -9, "too small: %.1f" % x.min()
            if x.sum() > 100:
                raise ValueError("%d is too much" % x.sum())
            return x

        return Program(f, (dg.ones(2),), (dg.full((2,), 60.0),), (dg.full((2,), -10.0),))

    check(program)


def test_a_remainder_is_still_one():
    def program():
        def f(x, n):
            n %= 5
            return x % 3, n % 2, 7 % (n + 1), -7.5 % 2, (x.sum() * 7) % 2

        return Program(f, *((make(3), n) for n in (1, 2, 6)))

    check(program)


@pytest.mark.parametrize(
    ("text", "values", "kind"),
    [("%d %d", lambda x: (x.sum(),), "not enough"), ("%d", lambda x: (x.sum(), 1), "not all arguments")],
)
def test_a_text_that_does_not_fit_its_values_is_a_type_error(text, values, kind):
    with pytest.raises(TypeError, match=kind):
        dg.static(lambda x: print(text % values(x)))(dg.ones(2))


def test_a_filled_text_is_not_filled_twice():
    with pytest.raises(dg.errors.CaptureError, match="filled in further") as error:
        dg.static(lambda x: print(f"{x.sum():.1f} %d" % 3))(dg.ones(2))
    assert "test_texts.py" in str(error.value)
