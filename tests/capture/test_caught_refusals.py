"""What ends a capture is not for the program to catch: its handler would decide what every later run does."""

from __future__ import annotations

import contextlib
import struct

import pytest

import duograph as dg
from duograph.errors import CaptureError


def caught(x):
    try:
        n = len(struct.pack("d", x.sum()))
    except Exception:
        n = -1
    return x * n


def bare(x):
    try:
        return x * len(struct.pack("d", x.sum()))
    except:  # noqa: E722
        return x * 100


def suppressed(x):
    with contextlib.suppress(Exception):
        return x * len(struct.pack("d", x.sum()))
    return x * 100


def as_runtime_error(x):
    try:
        return len(struct.pack("d", x.sum()))
    except RuntimeError:
        return 1


def returned_in_finally(x):
    try:
        x = x * len(struct.pack("d", x.sum()))
    finally:
        return x  # noqa: B012


def raised_anew(x):
    try:
        return x * len(struct.pack("d", x.sum()))
    except Exception as error:
        raise ValueError("no whole number") from error


PROGRAMS = [caught, bare, suppressed, as_runtime_error, returned_in_finally, raised_anew]


@pytest.mark.parametrize("make", [dg.static, lambda f: dg.jit.trace(f, dg.ones(2))], ids=["static", "trace"])
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_refused_with_the_line(program, make):
    with pytest.raises(CaptureError, match="reads a tensor's value here") as raised:
        make(program)(dg.ones(2))
    assert f"{__file__}:" in str(raised.value)


def test_a_branch_in_a_trace():
    def f(x):
        try:
            if x.sum() > 0:
                return x
        except Exception:
            return -x
        return x * 3

    with pytest.raises(CaptureError, match="the truth of a tensor decides"):
        dg.jit.trace(f, dg.ones(2))


def test_the_program_s_own_errors_are_caught():
    @dg.static
    def f(x, n):
        try:
            x = x @ dg.ones(3, n)
        except dg.errors.ShapeError:
            x = x * 0
        except ZeroDivisionError:
            x = x - 1
        try:
            return x / (6 // (n - 2))
        except ZeroDivisionError:
            return x + 1

    a = dg.ones(2, 3)
    assert f(a, 2).tolist() == [[4.0, 4.0], [4.0, 4.0]]
    assert f(a, 4)[0].tolist() == [1.0] * 4
    assert f(dg.ones(2, 4), 3).tolist() == [[0.0] * 4] * 2
    assert f(a, 2).tolist() == [[4.0, 4.0], [4.0, 4.0]]
