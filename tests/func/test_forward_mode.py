"""Forward mode through what a program is made of: branches, loops, writes, random numbers, functions of one's own."""

import numpy as np
import pytest
import torch
from test_transforms import agree, plain

import duograph as dg
from duograph import _core as core

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")

X, V = np.array([0.3, -0.7, 1.1]), np.array([1.0, 2.0, -3.0])


def counted(lib, x):
    y, i = x, lib.tensor(0)
    while i < 5:
        y = (y * x).sin() + y
        i = i + 1
    return y


def until(lib, x):
    y = x
    while (y * y).sum() < 50:
        y = y * 1.5 + x.sin()
    return y


def ranged(lib, x):
    y, total = x, 0 * x.sum()
    for i in range(6):
        y = y.tanh() * (i + 1)
        total = total + y.sum()
    return y, total


def over_rows(lib, x):
    total = x * 0
    for row in lib.stack([x, x * x, x.exp()]):
        total = total * row + row
    return total


def kept(lib, x):
    y, rows = x, []
    for _ in range(4):
        y = y.sin() * x
        rows.append(y)
    return lib.stack(rows)


def nested(lib, x):
    y, i = x, lib.tensor(0)
    while i < 3:
        j = lib.tensor(0)
        while j < i + 1:
            y = y * 0.5 + (y * x).cos()
            j = j + 1
        i = i + 1
    return y


def branched(lib, x):
    if x.sum() > 0:
        y = x.exp()
        z = x * 0
    else:
        y = x * x
        z = x.sin()
    return y, z


def branch_in_a_loop(lib, x):
    y, i = x, lib.tensor(0)
    while i < 4:
        if y.sum() > 1:
            y = y - x * x
        else:
            y = y.exp()
        i = i + 1
    return y


def written(lib, x):
    y = x.clone()
    y[0] = x[1] * 3
    y[1:].mul_(x[0])
    z = y.view(3, 1)
    z += x.exp().view(3, 1)
    return y, z[1:]


def written_in_a_loop(lib, x):
    y = lib.zeros_like(x)
    for i in range(3):
        y[i] = (x[i] * y[max(i - 1, 0)].clone()).exp()
    return y


def several(lib, x):
    values, order = (x * x).sort()
    top = x.exp().topk(2)
    return values, x[order], top[0], x.max(0)[0], *x.sin().split([1, 2])


def constants(lib, x):
    return lib.ones_like(x), x.detach() * 2, x.sign(), (x > 0), x.long(), x[[2, 0]]


PROGRAMS = [
    *(counted, until, ranged, over_rows, kept, nested, branched, branch_in_a_loop),
    *(written, written_in_a_loop, several),
]


def tensors(lib):
    return (lib.tensor(X), lib.tensor(V)) if lib is dg else (torch.tensor(X), torch.tensor(V))


def both_modes(run):
    """The same in dynamic mode and in a static function."""
    x, v = tensors(dg)
    yield plain(run(dg, x, v))
    yield plain(dg.static(lambda x, v: run(dg, x, v))(x, v))


def first(tree):
    """One tensor of all the results."""
    parts = tree if isinstance(tree, (tuple, list)) else [tree]
    return sum((part.sum() * (k + 1) for k, part in enumerate(parts)))


ORDERS = {
    "once": lambda lib, f, x, v: lib.func.jvp(f, (x,), (v,)),
    "twice": lambda lib, f, x, v: lib.func.jvp(lambda y: lib.func.jvp(f, (y,), (v,)), (x,), (v * v,)),
    "forward over reverse": lambda lib, f, x, v: lib.func.jvp(lib.func.grad(lambda y: first(f(y))), (x,), (v,)),
    "reverse over forward": lambda lib, f, x, v: lib.func.grad(lambda y: first(lib.func.jvp(f, (y,), (v,))[1]))(x),
    "columns": lambda lib, f, x, v: lib.func.jacfwd(lambda y: first(f(y)))(x),
    "hessian": lambda lib, f, x, v: lib.func.hessian(lambda y: first(f(y)))(x),
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda f: f.__name__)
def test_as_in_torch(program, order):
    x, v = tensors(torch)
    # torch.func's tensors do not steer Python inside of vmap: what it maps is computed row by row
    if order in ("columns", "hessian"):
        y = x.clone().requires_grad_()
        wanted = (
            torch.autograd.functional.jacobian(lambda y: first(program(torch, y)), y)
            if order == "columns"
            else torch.autograd.functional.hessian(lambda y: first(program(torch, y)), y)
        )
    else:
        wanted = ORDERS[order](torch, lambda y: program(torch, y), x, v)
    for found in both_modes(lambda lib, x, v: ORDERS[order](lib, lambda y: program(lib, y), x, v)):
        agree(found, plain(wanted))


def test_zero_tangents():
    for values, tangents in both_modes(lambda lib, x, v: lib.func.jvp(lambda y: constants(lib, y), (x,), (v,))):
        for value, tangent in zip(values[:5], tangents[:5]):
            assert np.asarray(tangent).shape == np.asarray(value).shape and not np.any(tangent)
        assert np.array_equal(tangents[5], V[[2, 0]])


def drawn(lib, x, n):
    y, i = x, lib.tensor(0)
    while i < n:
        y = y * lib.rand(3, dtype=lib.float64) + x.sin()
        i = i + 1
    return y


def pushed(program):
    return lambda x, v, n: dg.func.jvp(lambda y: program(dg, y, n), (x,), (v,))


def long(lib, x, n):
    y, i = x, lib.tensor(0)
    while i < n:
        y = (y * x).sin() + y * 0.5
        i = i + 1
    return y


@pytest.mark.parametrize("program", [long, drawn], ids=["computed", "with random numbers"])
def test_memory_of_a_long_loop_does_not_grow(program):
    step = dg.static(pushed(program))
    x, v = tensors(dg)
    peaks = []
    for turns in (3, 30, 3000):
        n = dg.tensor(turns)
        core.reset_peak()
        before = dg.memory_stats()["peak"]
        step(x, v, n)
        peaks.append(dg.memory_stats()["peak"] - before)
    assert peaks[2] == peaks[1] <= 2048, peaks


def test_random_numbers_are_drawn_once():
    x, v = tensors(dg)
    found = []
    for run in (pushed(drawn), dg.static(pushed(drawn))):
        dg.manual_seed(3)
        found.append((plain(run(x, v, dg.tensor(5))), dg.rand(1).item()))
    dg.manual_seed(3)
    agree(found[0][0][0], plain(drawn(dg, x, dg.tensor(5))))
    agree(found[1][0], found[0][0])
    assert found[1][1] == found[0][1] == dg.rand(1).item()


def test_calls_into_python_happen_once(capsys):
    def program(lib, x, n):
        y, i = x, lib.tensor(0)
        while i < n:
            y = (y * x).sin()
            print(i)
            i = i + 1
        return y

    x, v = tensors(dg)
    wanted = dg.func.jvp(lambda y: program(dg, y, 3), (x,), (v,))
    capsys.readouterr()
    agree(plain(dg.static(pushed(program))(x, v, dg.tensor(3))), plain(wanted))
    assert capsys.readouterr().out.split() == ["tensor(0)", "tensor(1)", "tensor(2)"]


class Cube(dg.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x * x, x.detach().long()

    @staticmethod
    def backward(ctx, g, _):
        (x,) = ctx.saved_tensors
        return g * 3 * x * x


class Opaque(Cube):
    @staticmethod
    def backward(ctx, g, _):
        return dg.tensor(g.detach().numpy() * 2)


def test_functions_of_ones_own():
    for value, tangent in both_modes(lambda lib, x, v: lib.func.jvp(lambda y: Cube.apply(y)[0] * y, (x,), (v,))):
        agree([value, tangent], [X**4, 4 * X**3 * V])
    x, v = tensors(dg)
    with pytest.raises(dg.errors.GradError, match=r"Opaque: .*forward mode") as error:
        dg.func.jvp(lambda y: Opaque.apply(y)[0], (x,), (v,))
    assert "test_forward_mode.py" in str(error.value)


class Told(Opaque):
    @staticmethod
    def jvp(ctx, tangent):
        (x,) = ctx.saved_tensors
        return 3 * x * x * tangent, None


def test_a_function_may_say_its_tangent():
    x, v = tensors(dg)
    agree(plain(dg.func.jvp(lambda y: Told.apply(y)[0] * 2, (x,), (v,)))[1], 6 * X * X * V)
    agree(plain(dg.func.jvp(lambda y: dg.func.jvp(lambda z: Told.apply(z)[0], (y,), (v,))[1], (x,), (v,)))[1], 6 * X * V * V)


def test_recomputed_parts_and_static_functions():
    static = dg.static(lambda y: counted(dg, y))

    def run(lib, x, v):
        parts = lambda y: dg.utils.checkpoint.checkpoint(lambda z: z.sin() * z, y, use_reentrant=False)  # noqa: E731
        return (
            lib.func.jvp(parts, (x,), (v,)),
            lib.func.jvp(lambda y: static(y) * y, (x,), (v,)),
            lib.func.jvp(static, (x,), (v,)),
        )

    x, v = tensors(torch)
    wanted = [
        torch.func.jvp(f, (x,), (v,))
        for f in (lambda z: z.sin() * z, lambda z: counted(torch, z) * z, lambda z: counted(torch, z))
    ]
    for found in both_modes(run):
        agree(found, plain(wanted))


def test_overwritten_values_are_named():
    def overwrites(x):
        y = x.exp()
        z = y * 2
        y.mul_(3)
        return z + y

    x, v = tensors(dg)
    for run in (lambda x, v: dg.func.jvp(overwrites, (x,), (v,)), dg.static(lambda x, v: dg.func.jvp(overwrites, (x,), (v,)))):
        with pytest.raises(dg.errors.GradError, match="overwritten in place"):
            run(x, v)


def test_one_call_linearized_many_times():
    calls = []

    def program(x):
        calls.append(1)
        return ranged(dg, x)

    x, v = tensors(dg)
    _, push = dg.func.linearize(program, x)
    for w in (v, v * v):
        agree(plain(push(w)), plain(dg.func.jvp(lambda y: ranged(dg, y), (x,), (w,))[1]))
    assert len(calls) == 1


@pytest.mark.parametrize("program", [counted, branch_in_a_loop, written], ids=lambda f: f.__name__)
def test_mapped_over_examples(program):
    xs, vs = np.stack([X, V, X * V]), np.stack([V, X, X])
    each = [torch.func.jvp(lambda y: first(program(torch, y)), (torch.tensor(a),), (torch.tensor(b),)) for a, b in zip(xs, vs)]
    wanted = [np.stack([row[k].numpy() for row in each]) for k in range(2)]
    inside = dg.vmap(lambda a, b: dg.func.jvp(lambda y: first(program(dg, y)), (a,), (b,)))
    agree(plain(inside(dg.tensor(xs), dg.tensor(vs))), wanted)
    outside = dg.vmap(lambda a: first(program(dg, a)))
    agree(plain(dg.func.jvp(outside, (dg.tensor(xs),), (dg.tensor(vs),))), wanted)
