"""Branches and loops on tensor values under `static`: the same results as Python, one capture, the user's line in errors."""

from __future__ import annotations

import numpy as np
import pytest

import duograph as dg


def agree(function, *calls, **tolerance):
    """Dynamic and static agree on every call, with one capture."""
    static = dg.static(function)
    for args in calls:
        check(function(*args), static(*args))
    assert static.captures == 1
    return static


def check(expected, found):
    if isinstance(expected, (tuple, list)):
        assert type(expected) is type(found) and len(expected) == len(found)
        for a, b in zip(expected, found):
            check(a, b)
    elif isinstance(expected, dg.Tensor):
        assert expected.dtype is found.dtype and expected.shape == found.shape
        np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy(), rtol=1e-5)
    else:
        assert type(expected) is type(found) and expected == pytest.approx(found)


def vectors(*values):
    return [(dg.ones(4) * v,) for v in values]


def test_if_elif_else():
    def f(x):
        if x.sum() > 10:
            y = x * 2
            z = 1
        elif x.sum() > 0:
            y = x - 1
            z = 2
        else:
            y = -x
            z = 3
        return y, z

    agree(f, *vectors(5.0, 1.0, -1.0))


def test_early_returns():
    def f(x):
        if x.sum() > 10:
            if x.max() > 5:
                return x / 2
            x = x + 1
        if x.sum() < 0:
            return -x
        return x * 3

    agree(f, *vectors(10.0, 3.0, -1.0, 0.0))


def test_conditional_expressions_and_logic():
    def f(x):
        low = x.min() < -1
        inside = 0 < x.sum() < 3
        y = x if low or (inside and not x.max() > 0.5) else x * 2
        return y, not low, inside

    agree(f, *vectors(1.0, -1.0, -2.0, 0.1))


def test_while_with_break_continue_and_else():
    def f(x):
        count, total = 0, 0.0
        while x.sum() < 100:
            x = x * 2
            count += 1
            if x.max() > 50:
                count += 10
                break
            if x.min() < 2:
                continue
            total = total + x.mean()
        else:
            count = -count
        return x, count

    agree(f, *vectors(1.0, 5.0, 13.0, 30.0, 1000.0))


def test_for_over_a_tensor_number_and_in_place_writes():
    def f(x, n):
        sums = dg.zeros(4)
        for i in range(n):
            sums.add_(x)
            if i == 2:
                continue
            x = x + i
        return sums, x

    static = dg.static(f)
    for n in (0, 1, 3, 12):
        check(f(dg.ones(4), n), static(dg.ones(4), dg.tensor(n)))
    assert static.captures == 1


def test_nested_loops_and_branches():
    def f(x):
        y = x * 0
        while x.sum() < 50:
            z = x
            while z.max() > 1:
                z = z / 2
                if z.min() < 1:
                    z = z - 0.25
            y = y + z
            x = x * 3 if x.max() < 5 else x + 7
        return x, y

    agree(f, *vectors(0.5, 1.0, 4.0, 20.0))


def test_dictionaries_tuples_and_swaps_as_state():
    def f(x):
        state = {"a": x, "b": (x * 2, 1)}
        while state["a"].sum() < 40:
            state = {"a": state["b"][0] + 1, "b": (state["a"] * 2, state["b"][1] + 1)}
        return state["a"], state["b"][0], state["b"][1]

    agree(f, *vectors(1.0, 3.0, 50.0))


def test_gradients_through_branches():
    def f(x, w):
        if x.sum() > 0:
            return (x * w).tanh()
        if w.sum() > 5:
            return x * x * w
        return x * 1

    for strict in (False, True):
        static = dg.static(f, strict=strict)
        for a, b in ((1.0, 1.0), (-1.0, 1.0), (-1.0, 3.0)):
            results = []
            for function in (f, static):
                x, w = (dg.ones(4) * a).requires_grad_(), (dg.ones(4) * b).requires_grad_()
                (gx,) = dg.autograd.grad(function(x, w).sum(), x, create_graph=True)
                second = dg.autograd.grad((gx * gx).sum(), (x, w), allow_unused=True) if gx.requires_grad else (None, None)
                results.append((gx.tolist(), [None if g is None else g.tolist() for g in second]))
            (first, first_second), (other, other_second) = results
            assert first == (other if strict else pytest.approx(other, rel=1e-5))
            for p, q in zip(first_second, other_second):
                assert (q is None or not any(q)) if p is None else p == pytest.approx(q, rel=1e-5)
        assert static.captures == 1


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("if x.sum() > 0:\n        y = x\n    return y", "y is assigned on one side of a branch only"),
        ("if x.sum() > 0:\n        return x", "nothing on others"),
        ("y = x if x.sum() > 0 else x.double()\n    return y", "dtype"),
        ("y = x if x.sum() > 0 else x.sum()\n    return y", "float32[4]"),
        ("y = x[:2] if x.sum() > 0 else x\n    return y", "it is float32[2], elsewhere it is float32[4]"),
        ("while x.sum() < 10:\n        x = x[None]\n    return x", "x changes its dtype or shape in a loop"),
        ("while x.sum() < 10:\n        x = x[:2]\n    return x", "only the run knows which part of another tensor x is"),
        ("while x.sum() < 10:\n        x, name = x + 1, 'b'\n    return name", "name is first assigned inside a loop"),
        ("if x > 0:\n        x = x + 1\n    return x", "has no single truth value"),
        ("if x.sum() > 0:\n        seen.append(1)\n    return x", "changes something outside of the function"),
    ],
)
def test_what_cannot_be_captured_names_the_line(source, text, tmp_path):
    file = tmp_path / "program.py"
    file.write_text(f"def f(x):\n    {source}\n")
    scope: dict = {"seen": []}
    exec(compile(file.read_text(), str(file), "exec"), scope)
    static = dg.static(scope["f"])
    for _ in range(2):
        with pytest.raises(dg.errors.CaptureError) as error:
            static(dg.ones(4))
        assert text in str(error.value) and "program.py" in str(error.value), str(error.value)


class Box:
    kept = None


def test_what_a_branch_leaves_behind_in_python():
    def none_or_not(x):
        box = Box()
        box.kept = None
        if x.sum() > 0:
            box.kept = x * 2
        return x if box.kept is None else box.kept

    def either(x):
        box = Box()
        box.kept = x * 3
        if x.sum() > 0:
            box.kept = x * 2
        return box.kept

    with pytest.raises(dg.errors.CaptureError, match=r"Box.*kept.* differs between the two sides of a branch"):
        dg.static(none_or_not)(dg.ones(2))
    assert dg.static(either)(dg.ones(2)).tolist() == [2, 2]
    assert dg.static(either)(-dg.ones(2)).tolist() == [-3, -3]


def test_trace_refuses_a_branch():
    with pytest.raises(dg.errors.CaptureError, match="truth of a tensor"):
        dg.jit.trace(lambda x: x if x.sum() > 0 else -x, dg.ones(2))


def test_text_with_tensors_is_printed_at_each_run(capsys):
    def f(x):
        y = x * 2
        print(f"y is {y.sum():.1f} of {x.shape[0]}", "and " + str(y[0]), y)
        return y

    static = dg.static(f)
    for value in (1.0, 2.0):
        f(dg.ones(2) * value)
        expected = capsys.readouterr().out
        static(dg.ones(2) * value)
        assert capsys.readouterr().out == expected
    with pytest.raises(dg.errors.CaptureError, match="exists only when"):
        dg.static(lambda x: f"{x}".upper())(dg.ones(2))


def test_assert_and_raise_on_tensors():
    def f(x):
        assert x.sum() > 0, "the sum must be positive"
        if x.max() > 10:
            raise ValueError("too large")
        return x + 1

    static = dg.static(f)
    for _ in range(2):
        check(f(dg.ones(4)), static(dg.ones(4)))
        with pytest.raises(AssertionError, match="must be positive"):
            static(-dg.ones(4))
        with pytest.raises(ValueError, match="too large"):
            static(dg.ones(4) * 20)
    assert static.captures == 1


def test_a_parameter_chosen_by_a_value_is_trained():
    def run(make):
        first, second = dg.nn.Parameter(dg.ones(2)), dg.nn.Parameter(dg.ones(2))
        optimizer = dg.optim.SGD([first, second], lr=0.1)

        @make
        def step(x):
            optimizer.zero_grad()
            loss = (x * (first if x.sum() > 0 else second)).sum()
            loss.backward()
            optimizer.step()
            return loss * 2

        losses = [step(dg.ones(2) * value).item() for value in (1.0, -1.0, 2.0)]
        return losses, first.tolist(), second.tolist()

    assert run(lambda f: f) == run(lambda f: dg.static(f, strict=True))


def test_a_view_of_what_a_side_writes_shows_the_write():
    def f(y, s):
        if y.max() < 0.9:
            pass
        else:
            s = y[0, -1]
            y *= 0.5
        return s + 0

    static = dg.static(f)
    for scale in (0.1, 2.0):
        written = [dg.ones(2, 3) * scale, dg.ones(2, 3) * scale]
        check(f(written[0], dg.tensor(7.0)), static(written[1], dg.tensor(7.0)))
        check(*written)


def test_str_format_of_tensors(capsys):
    def f(x):
        print("{{}} {:.2f} of {}, {name!s:>8}, {{}}".format(x.sum(), x.shape[0], name=x[0]), "{0:.1f} {0}".format(x[1]))  # noqa: UP032
        return x * 2

    static = dg.static(f)
    for value in (1.0, 2.5):
        f(dg.ones(2) * value)
        expected = capsys.readouterr().out
        static(dg.ones(2) * value)
        assert capsys.readouterr().out == expected
    with pytest.raises(dg.errors.CaptureError, match="write an f-string"):
        dg.static(lambda x: print("{0.shape}".format(x)))(dg.ones(2))  # noqa: UP030, UP032
