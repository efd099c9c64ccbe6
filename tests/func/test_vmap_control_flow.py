"""`vmap` of functions that a tensor steers or that write in place: as one example after the other, gradients too."""

import numpy as np
import pytest
from test_transforms import agree, plain

import duograph as dg
from duograph.errors import ArgumentError, CaptureError

rng = np.random.default_rng(0)
X = np.array([[0.5, 0.2, -0.1], [-1.0, -0.4, 0.3], [0.1, -0.3, 0.15], [1.7, 1.0, -0.2]])
SCALE = dg.tensor([1.0, 0.5, 2.0], dtype=dg.float64)


def branch(x):
    if x.sum() > 0:
        return x.log1p() * SCALE
    return -x.exp()


def both_sides_unlike(x):
    if x[0] > 0.3:
        y = x.sqrt().nan_to_num(0.0) if x.sum() > 2 else x * 3
    elif x[1] < -0.35:
        y = x.sin()
    else:
        y = x
    return (y * x).sum()


def loop(x):
    while (x * x).sum() < 5:
        x = x * 1.4 + x.sin()
    return x


def loop_with_count(x):
    n = 0
    while x.abs().sum() < 5:
        x = x * 2
        n += 1
    return x * n


def loop_in_a_branch(x):
    y = x
    if x.sum() > 0:
        while y.sum() < 4:
            y = y + x.cos()
    else:
        y = y * 2
    return y


def branch_in_a_loop(x):
    total = x * 0
    while total.sum() < 3:
        if total.sum() < x.sum() + 1:
            total = total + x * x + 0.1
        else:
            total = total * 1.5 + 0.2
    return total


def loop_in_a_loop(x):
    y = x * x
    while y.sum() < 20:
        z = x.abs()
        while z.sum() < 2:
            z = z * 1.7
        y = y + z
    return y


def known_range(x):
    h = x
    for k in range(12):
        h = (h + x * k).tanh()
    return h


def broken_off(x):
    h = x
    for _ in range(40):
        h = h * 1.3
        if h.abs().sum() > 3:
            break
    return h.sin()


def over_rows(x):
    best = x[0]
    for value in x:
        if value > best:
            best = value * value
    return best


def early_return(x):
    if x[0] > 1:
        return x * 2
    for _ in range(9):
        x = x + 0.3
        if x.sum() > 1:
            return x * x
    return x.exp()


def in_place(x):
    y = x * 1
    y += 1
    y[1:] *= x[:2]
    y[0] = y[1] + 2
    return y


def in_place_in_a_loop(x):
    out = dg.zeros(4, dtype=x.dtype)
    h = x.sum()
    for k in range(4):
        out[k] = h
        h = h * 0.5
    return out


def under_conditions(x):
    return (x if x.sum() > 0 and x[0] < 1 else -x) * (1 if x[1] > 0 else 3)


PROGRAMS = [
    branch, both_sides_unlike, loop, loop_with_count, loop_in_a_branch, branch_in_a_loop, loop_in_a_loop, known_range, broken_off,
    over_rows, early_return, in_place, in_place_in_a_loop, under_conditions,
]  # fmt: skip


def each(function, *columns):
    """One example after the other."""
    return np.stack([plain(function(*(dg.tensor(c[i]) for c in columns))) for i in range(len(columns[0]))])


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda f: f.__name__)
def test_values_and_gradients(program):
    wanted = each(program, X)
    agree(plain(dg.vmap(program)(dg.tensor(X))), wanted)
    agree(plain(dg.static(lambda x: dg.vmap(program)(x))(dg.tensor(X))), wanted)
    with dg.dynamic_mode():
        agree(plain(dg.vmap(program)(dg.tensor(X))), wanted)

    def loss(x):
        return (program(x) ** 2).sum()

    first = each(dg.func.grad(loss), X)
    agree(plain(dg.vmap(dg.func.grad(loss))(dg.tensor(X))), first)
    x = dg.tensor(X, requires_grad=True)
    (dg.vmap(program)(x) ** 2).sum().backward()
    agree(plain(x.grad), first)
    mapped = dg.static(lambda x: dg.func.grad(lambda x: (dg.vmap(program)(x) ** 2).sum())(x))
    agree(plain(mapped(dg.tensor(X))), first)
    agree(plain(mapped(dg.tensor(X[:2]))), first[:2])


@pytest.mark.parametrize("program", [branch, loop, loop_in_a_branch, in_place, known_range], ids=lambda f: f.__name__)
def test_second_order(program):
    def loss(x):
        return (program(x) ** 2).sum()

    wanted = each(dg.func.hessian(loss), X)
    agree(plain(dg.vmap(dg.func.hessian(loss))(dg.tensor(X))), wanted)
    if program is in_place:
        return

    def product(x):
        return (dg.func.grad(lambda x: dg.vmap(loss)(x).sum())(x) * dg.tensor(X) * 2).sum()

    rows = np.einsum("bij,bj->bi", wanted, 2 * X)
    agree(plain(dg.func.grad(product)(dg.tensor(X))), rows)
    agree(plain(dg.static(lambda x: dg.func.grad(product)(x))(dg.tensor(X))), rows)


def test_forward_products():
    wanted = each(lambda x: dg.func.jvp(loop, (x,), (x * 2,))[1], X)
    agree(plain(dg.vmap(lambda x: dg.func.jvp(loop, (x,), (x * 2,))[1])(dg.tensor(X))), wanted)
    static = dg.static(lambda x: dg.func.jvp(dg.vmap(loop), (x,), (x * 2,))[1])
    agree(plain(static(dg.tensor(X))), wanted)
    agree(plain(dg.func.jvp(dg.vmap(loop), (dg.tensor(X),), (dg.tensor(2 * X),))[1]), wanted)


def test_closures_and_parameters_get_their_gradients():
    weight = dg.tensor([0.9, 1.1, 1.3], dtype=dg.float64, requires_grad=True)

    def function(x):
        while (x * weight).abs().sum() < 4:
            x = x * weight + 0.3
        return (x * weight).sum()

    sum(function(dg.tensor(row)) for row in X).backward()
    wanted, weight.grad = plain(weight.grad), None
    dg.vmap(function)(dg.tensor(X)).sum().backward()
    agree(plain(weight.grad), wanted)
    weight.grad = None

    @dg.static
    def step(x):
        weight.grad = None
        dg.vmap(function)(x).sum().backward()
        return weight.grad

    agree(plain(step(dg.tensor(X))), wanted)


def test_what_the_function_read_is_what_its_gradient_uses():
    x = dg.tensor(X, requires_grad=True)
    results = [dg.vmap(lambda row: (row * k).sum())(x).sum() for k in range(4)]  # noqa: B023 - the last k is 3
    sum(results).backward()
    agree(plain(x.grad), np.full_like(X, 6.0))


def test_nested_maps():
    def pair(x, y):
        while (x * y).abs() < 3:
            x = x * 2 + y * 0.1
        return x * y

    wanted = np.array([[float(pair(dg.tensor(a), dg.tensor(b))) for b in X[1]] for a in X[0]])
    mapped = dg.vmap(lambda x: dg.vmap(lambda y: pair(x, y))(dg.tensor(X[1])))
    agree(plain(mapped(dg.tensor(X[0]))), wanted)
    mapped = dg.vmap(dg.vmap(pair, in_dims=(None, 0)), in_dims=(0, None))
    agree(plain(mapped(dg.tensor(X[0]), dg.tensor(X[1]))), wanted)


def test_what_a_side_not_taken_could_not_do_is_no_error():
    def pick(x, i):
        if i < 3:
            return x[i]
        return x[0] * 0

    agree(plain(dg.vmap(pick)(dg.tensor(X), dg.tensor([0, 7, 2, 3]))), np.array([X[0, 0], 0, X[2, 2], 0]))

    def divide(a, b):
        if b != 0:
            return a // b
        return a * 0

    assert dg.vmap(divide)(dg.tensor([7, 8, 9]), dg.tensor([2, 0, 3])).tolist() == [3, 0, 3]
    with pytest.raises(IndexError):
        dg.vmap(lambda x, i: x[i] if x.sum() > 0 else x[0])(dg.tensor(X), dg.tensor([0, 1, 2, 7]))


def test_random_numbers_are_the_same_in_the_gradient():
    for randomness in ("same", "different"):
        drawn = []

        def function(x):
            y = x * dg.rand(3, dtype=x.dtype)
            return (y * y).sum(), y

        x = dg.tensor(X, requires_grad=True)
        total, y = dg.vmap(function, randomness=randomness)(x)
        total.sum().backward()
        drawn = plain(y) / X
        np.testing.assert_allclose(plain(x.grad), 2 * drawn**2 * X)
        assert np.allclose(drawn, drawn[0]) == (randomness == "same")

        @dg.static
        def step(x):
            x = x.detach().requires_grad_()
            total, y = dg.vmap(function, randomness=randomness)(x)  # noqa: B023
            return dg.autograd.grad(total.sum(), x)[0], y

        for _ in range(2):
            grad, y = step(dg.tensor(X))
            np.testing.assert_allclose(plain(grad), 2 * (plain(y) / X) ** 2 * X)

    def unsure(x):
        return x * dg.rand(3, dtype=x.dtype) if x.sum() > 0 else x

    assert dg.vmap(unsure, randomness="different")(dg.tensor(X)).shape == X.shape
    with pytest.raises(CaptureError, match="gradient of a branch or loop with random operators"):
        dg.vmap(unsure, randomness="different")(dg.tensor(X, requires_grad=True)).sum().backward()


def test_chunks():
    calls = []

    def function(x, y):
        calls.append(1)
        return x * 2, (x * y).sum()

    wanted = dg.vmap(function, in_dims=(1, None), out_dims=(1, 0))(dg.tensor(X.T), SCALE)
    calls.clear()
    for size in (1, 2, 3, 9):
        agree(plain(dg.vmap(function, in_dims=(1, None), out_dims=(1, 0), chunk_size=size)(dg.tensor(X.T), SCALE)), plain(wanted))
    assert len(calls) == 4 + 2 + 2 + 1
    agree(plain(dg.vmap(loop, chunk_size=3)(dg.tensor(X))), each(loop, X))
    with pytest.raises(ArgumentError, match="chunk_size"):
        dg.vmap(function, chunk_size=0)


def test_refusals_name_the_line():
    kept = dg.zeros(3, dtype=dg.float64)

    def argument(x):
        x.add_(1)
        return x

    def outside(x):
        kept.add_(x)
        return x

    def call(x):
        if x.sum() > 0:
            print(x)
        return x

    for function, match, line in (
        (argument, "an argument is written in place", "x.add_(1)"),
        (outside, "a tensor from outside of the function is written in place", "kept.add_(x)"),
        (call, "a call into Python", "print(x)"),
    ):
        for mapped in (dg.vmap(function), dg.static(lambda x, function=function: dg.vmap(function)(x))):
            with pytest.raises(CaptureError, match=match) as error:
                mapped(dg.tensor(X))
            assert line in str(error.value), str(error.value)
    assert kept.tolist() == [0, 0, 0]


def test_tensors_from_outside_that_depend_on_each_other():
    w = dg.tensor([1.0, 2.0, 3.0], dtype=dg.float64, requires_grad=True)
    h = w * w
    dg.vmap(lambda row: (row * h * w).sum())(dg.ones(2, 3, dtype=dg.float64)).sum().backward()
    agree(plain(w.grad), plain(6 * w * w))
