"""Jacobians whose rows are computed at once, forward products and what they cost."""

import numpy as np
import pytest
import torch
from test_transforms import agree, plain

import duograph as dg

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")

rng = np.random.default_rng(0)
W, V, X = rng.normal(size=(150, 6)) * 0.3, rng.normal(size=(4, 150)) * 0.1, rng.normal(size=(6,))
LARGE = rng.normal(size=(140,)) * 0.2


def wide(lib, x):
    return (lib.tensor(W) @ x).tanh()


def long(lib, x):
    return (lib.tensor(V[:, :140]) @ x.sin()).exp()


CASES = {
    "jacrev, many rows": lambda lib: lib.func.jacrev(lambda x: wide(lib, x))(lib.tensor(X)),
    "jacfwd, many columns": lambda lib: lib.func.jacfwd(lambda x: long(lib, x))(lib.tensor(LARGE)),
    "hessian": lambda lib: lib.func.hessian(lambda x: long(lib, x).sum())(lib.tensor(LARGE)),
    "trees": lambda lib: lib.func.jacrev(lambda d: (wide(lib, d["a"]) * d["b"], d["b"] ** 2))(
        {"a": lib.tensor(X), "b": lib.tensor(X[:1])}
    ),
    "gradient of a Jacobian": lambda lib: lib.func.grad(lambda x: (lib.func.jacrev(lambda y: wide(lib, y))(x) ** 2).sum())(
        lib.tensor(X)
    ),
    "gradient of columns": lambda lib: lib.func.grad(lambda x: (lib.func.jacfwd(lambda y: long(lib, y))(x) ** 2).sum())(
        lib.tensor(LARGE)
    ),
    "functional, vectorized": lambda lib: lib.autograd.functional.jacobian(
        lambda x: (wide(lib, x), x * 2), lib.tensor(X), vectorize=True
    ),
    "functional, forward": lambda lib: lib.autograd.functional.jacobian(
        lambda x: wide(lib, x), lib.tensor(X), vectorize=True, strategy="forward-mode"
    ),
    "functional hessian": lambda lib: lib.autograd.functional.hessian(
        lambda x: long(lib, x).sum(), lib.tensor(LARGE[:140]), vectorize=True
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_as_in_torch(name):
    wanted = plain(CASES[name](torch))
    agree(plain(CASES[name](dg)), wanted)
    if "functional" not in name:
        agree(plain(dg.static(lambda: CASES[name](dg))()), wanted)


def test_batched_gradients():
    def run(lib, count):
        x, y = (lib.tensor(a, requires_grad=True) for a in (X, X + 1))
        out = wide(lib, x * x)
        seeds = lib.tensor(rng_rows[:count])
        (g, unused) = lib.autograd.grad(out, (x, y), seeds, is_grads_batched=True, allow_unused=True, create_graph=True)
        assert unused is None
        (second,) = lib.autograd.grad((g * g).sum(), x)
        return [g, second]

    rng_rows = rng.normal(size=(200, 150))
    for count in (3, 200):
        agree(plain(run(dg, count)), plain(run(torch, count)))
    x = dg.tensor(X, requires_grad=True)
    out = wide(dg, x)
    dg.autograd.grad(out, x, dg.tensor(rng_rows), is_grads_batched=True)
    with pytest.raises(dg.errors.GradError, match=r"freed|second time|retain_graph"):
        dg.autograd.grad(out, x, dg.tensor(rng_rows[0]))


def test_a_tape_without_batched_form_is_gone_through_row_by_row():
    class Twice(dg.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * (2 if float(g.abs().sum()) > 0 else 0)

    jacobian = dg.func.jacrev(lambda x: Twice.apply(x))(dg.tensor(LARGE))
    agree(plain(jacobian), 2 * np.eye(140))


def test_linearize():
    x, tangents = dg.tensor(X), rng.normal(size=(3, 6))
    calls = []

    def function(x):
        calls.append(1)
        return {"a": wide(dg, x), "b": x[0] * x[1]}

    value, push = dg.func.linearize(function, x)
    for v in tangents:
        wanted = dg.func.jvp(lambda x: {"a": wide(dg, x), "b": x[0] * x[1]}, (x,), (dg.tensor(v),))
        agree(plain((value, push(dg.tensor(v)))), plain(wanted))
    assert len(calls) == 1
    with pytest.raises(dg.errors.ArgumentError, match="linearize"):
        push(dg.zeros(5))


def test_a_static_jvp_is_forward_mode():
    """Twice the products of the function, and nothing of the backward pass that it is derived from."""
    weights = [dg.tensor(rng.normal(size=(30, 30)) * 0.2) for _ in range(6)]

    def net(x):
        for w in weights:
            x = (x @ w).tanh()
        return x

    x, v = (dg.tensor(rng.normal(size=(16, 30))) for _ in range(2))
    plain_, forward = dg.static(net), dg.static(lambda x, v: dg.func.jvp(net, (x,), (v,)))
    one, both = plain_.explain(x), forward.explain(x, v)
    ratio = both.static.flops / one.static.flops
    assert 1.9 < ratio < 2.3, ratio
    assert both.static.kernels <= 3 * one.static.kernels
    assert both.arena_bytes <= 5 * 16 * 30 * 8 + 4096  # value and tangent of one layer, not of six
    theirs = torch.func.jvp(
        lambda x: [x := (x @ torch.tensor(w.numpy())).tanh() for w in weights][-1], *((torch.tensor(t.numpy()),) for t in (x, v))
    )
    agree(plain(forward(x, v)), plain(theirs))
