"""Every operator's forward mode on its samples: against its gradient, finite differences, and itself in other orders."""

import operator_harness as harness
import pytest

import duograph as dg
from duograph.ops.definition import CREATION

OPERATORS = [d for d in harness.sampled() if d.kind not in (*harness.SPECIAL_KINDS, CREATION) and d.differentiable]


def smooth_functions(definition):
    calls = [call for call in harness.calls(definition, "float64") if harness.is_smooth(call)]
    return [f for f in (harness.Function(definition, call) for call in calls) if f.points]


def pushed(f, points, directions):
    """J·v of the number that the operator's results are reduced to."""
    return dg.func.jvp(lambda *at: f.value(list(at)), tuple(points), tuple(directions))[1]


def close(found, expected, tolerance):
    assert abs(found - expected) <= tolerance * max(1.0, abs(expected), abs(found)), f"{found}, expected {expected}"


@pytest.mark.parametrize("definition", OPERATORS, ids=harness.name_of)
def test_as_the_gradient_says(definition):
    for f in smooth_functions(definition)[:1]:
        check_first_order(f)


@pytest.mark.long
@pytest.mark.parametrize("definition", OPERATORS, ids=harness.name_of)
def test_all_samples_in_every_order(definition):
    for f in smooth_functions(definition):
        x, v, directions = check_first_order(f)
        if any(leaf is not None for leaf in f.gradients(f.points)[1]):
            check_second_order(f, x, v, directions)


def on(f, at):
    """The sample's call with tensors in place of the arrays that vary."""
    pending = iter(at)
    return harness.tensors(f.call, "float64", lambda array: next(pending) if f.varies(array) else dg.tensor(array))


def check_first_order(f):
    leaves, gradients = f.gradients(f.points)
    directions = f.directions()
    v, x = [dg.tensor(d) for d in directions], [leaf.detach() for leaf in leaves]
    close(float(pushed(f, x, v).item()), harness.inner(gradients, directions), 1e-10)
    return x, v, directions


def check_second_order(f, x, v, directions):
    """Forward over forward, reverse over forward and forward over reverse."""
    twice = dg.func.jvp(lambda *at: pushed(f, at, v), tuple(x), tuple(v))[1]
    back = dg.func.grad(lambda *at: pushed(f, at, v), argnums=tuple(range(len(x))))(*x)
    gradients = dg.func.jvp(dg.func.grad(lambda *at: f.value(list(at)), argnums=tuple(range(len(x)))), tuple(x), tuple(v))[1]
    expected = float(twice.item())
    close(harness.inner(back, directions), expected, 1e-9)
    close(harness.inner(gradients, directions), expected, 1e-9)


@pytest.mark.long
@pytest.mark.parametrize("definition", OPERATORS, ids=harness.name_of)
def test_as_finite_differences_say(definition):
    for f in smooth_functions(definition)[:3]:
        expected, points, directions = harness.smooth_slope(lambda at, f=f: float(f.value([dg.tensor(p) for p in at]).item()), f)
        if not f.value([dg.tensor(p).requires_grad_() for p in points]).requires_grad:
            continue
        found = pushed(f, [dg.tensor(p) for p in points], [dg.tensor(d) for d in directions])
        close(float(found.item()), expected, 1e-7)


@pytest.mark.long
@pytest.mark.parametrize("definition", [d for d in OPERATORS if d.inplace], ids=harness.name_of)
def test_written_in_place(definition):
    """In-place forms on a part of a tensor push what the operator does."""
    form = dg.ops.REGISTRY[definition.inplace].op
    for f in smooth_functions(definition)[:2]:
        first = f.call.args[0]
        if not (hasattr(first, "dtype") and f.varies(first)):
            continue

        def run(in_place, *at, f=f):
            call = on(f, at)
            if not in_place:
                return dg.stack([call.args[0] * 2, definition.op(*call.args, **call.kwargs)])
            both = dg.stack([call.args[0] * 2, call.args[0]])
            form(both[1], *call.args[1:], **call.kwargs)
            return both

        x, v = ([dg.tensor(a) for a in arrays] for arrays in (f.points, f.directions()))
        try:
            expected = dg.func.jvp(lambda *at, run=run: run(False, *at), tuple(x), tuple(v))
            found = dg.func.jvp(lambda *at, run=run: run(True, *at), tuple(x), tuple(v))
        except (dg.errors.ShapeError, dg.errors.DTypeError):
            continue  # the result does not fit the operand
        for a, b in zip(found, expected):
            harness.assert_close(a, b.numpy(), "float64", 8, definition.name)
