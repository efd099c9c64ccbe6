"""`duograph.func` against `torch.func`, in both modes and nested."""

import numpy as np
import pytest
import torch

import duograph as dg
from duograph.errors import ArgumentError, GradError

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")


def plain(tree):
    if isinstance(tree, (tuple, list)):
        return [plain(x) for x in tree]
    if isinstance(tree, dict):
        return {k: plain(v) for k, v in tree.items()}
    return np.asarray(tree.detach().tolist()).reshape(tuple(tree.shape))


def agree(a, b):
    assert type(a) is type(b)
    if isinstance(a, list):
        assert len(a) == len(b)
        for x, y in zip(a, b):
            agree(x, y)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            agree(a[key], b[key])
    else:
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


X, V, W = [0.1, 0.2, 0.3], [1.0, -2.0, 3.0], [[0.5, 0.6, 0.7], [0.8, 0.9, 1.0]]


def check(run):
    """The same in torch, in dynamic mode and in static mode."""
    ours = [dg.tensor(np.array(a)) for a in (X, V, W)]
    theirs = plain(run(torch, torch.func, *(torch.tensor(a, dtype=torch.float64) for a in (X, V, W))))
    agree(plain(run(dg, dg.func, *ours)), theirs)
    agree(plain(dg.static(lambda *args: run(dg, dg.func, *args))(*ours)), theirs)
    with dg.no_grad():
        agree(plain(run(dg, dg.func, *ours)), theirs)


def number(x, w):
    return (w @ x).sin().sum() * x.exp().sum()


def vector(x, w):
    return (w @ x).sin(), {"e": x.exp() * w[0]}


def test_grad():
    check(lambda lib, f, x, v, w: f.grad(number)(x, w))
    check(lambda lib, f, x, v, w: f.grad(number, argnums=1)(x, w))
    check(lambda lib, f, x, v, w: f.grad(number, argnums=(1, 0))(x, w))
    check(lambda lib, f, x, v, w: f.grad(number, argnums=(-1,))(x, w))
    check(lambda lib, f, x, v, w: f.grad_and_value(number)(x, w))
    check(lambda lib, f, x, v, w: f.grad(lambda x: (number(x, w), x * 2), has_aux=True)(x))
    check(lambda lib, f, x, v, w: f.grad_and_value(lambda x: (number(x, w), {"aux": x * 2}), has_aux=True)(x))
    check(lambda lib, f, x, v, w: f.grad(lambda p: number(p["x"], p["w"]))({"x": x, "w": w}))
    check(lambda lib, f, x, v, w: f.grad(lambda x: (w * 1).sum() + 0 * x.sum())(x))
    value, gradient = dg.func.value_and_grad(lambda x: (x * x).sum())(dg.tensor([1.0, 2.0]))
    assert value.item() == 5 and gradient.tolist() == [2, 4]


def test_nested_grad():
    check(lambda lib, f, x, v, w: f.grad(f.grad(lambda x: x.sin() * x))(x[0]))
    check(lambda lib, f, x, v, w: f.grad(lambda x: (f.grad(lambda y: (y * x).sin().sum())(x) ** 2).sum())(x))
    check(lambda lib, f, x, v, w: f.grad(lambda x: x * f.grad(lambda y: y * y * x)(x))(x[1]))
    check(lambda lib, f, x, v, w: f.grad(f.grad(f.grad(lambda x: x.exp() * x)))(x[2]))


def test_products():
    check(lambda lib, f, x, v, w: f.jvp(number, (x, w), (v, w)))
    check(lambda lib, f, x, v, w: f.jvp(vector, (x, w), (v, w)))
    check(lambda lib, f, x, v, w: f.jvp(lambda x: (x.sin(), x * 2), (x,), (v,), has_aux=True))

    def pulled(lib, f, x, v, w):
        value, pull = f.vjp(vector, x, w)
        twice = value[0], {"e": v}
        return value, pull(twice), pull(twice)

    check(pulled)
    check(lambda lib, f, x, v, w: f.vjp(lambda x: (x.sin(), x * 2), x, has_aux=True)[1](v))
    check(lambda lib, f, x, v, w: f.jvp(f.grad(number), (x, w), (v, w)))
    check(lambda lib, f, x, v, w: f.grad(lambda x: f.jvp(lambda y: number(y, w), (x,), (v,))[1])(x))
    check(lambda lib, f, x, v, w: f.jvp(lambda x: f.jvp(lambda y: number(y, w), (x,), (v,))[1], (x,), (v,)))
    check(lambda lib, f, x, v, w: f.grad(lambda x: (f.vjp(lambda y: y.sin() * x, x)[1](v)[0] ** 2).sum())(x))


def test_jacobians():
    check(lambda lib, f, x, v, w: f.jacrev(vector)(x, w))
    check(lambda lib, f, x, v, w: f.jacfwd(vector)(x, w))
    check(lambda lib, f, x, v, w: f.jacrev(vector, argnums=(0, 1))(x, w))
    check(lambda lib, f, x, v, w: f.jacfwd(vector, argnums=(0, 1))(x, w))
    check(lambda lib, f, x, v, w: f.jacrev(lambda x: (x * w, x.sum()), has_aux=True)(x))
    check(lambda lib, f, x, v, w: f.hessian(number)(x, w))
    check(lambda lib, f, x, v, w: f.hessian(number, argnums=(0, 1))(x, w))
    check(lambda lib, f, x, v, w: f.jacrev(f.jacfwd(lambda x: (x * w).sin().sum(1)))(x))


def test_the_outer_tape_goes_through():
    def run(lib, x, w):
        x.requires_grad_()
        w.requires_grad_()
        f = lib.func
        total = (f.grad(number)(x, w) ** 2).sum()
        total = total + f.jvp(lambda y: number(y, w), (x,), (x * 2,))[1] + f.jacrev(lambda y: w @ y.exp())(x).sum()
        total = total + (f.vjp(lambda y: (w @ y).sin(), x)[1](w[:, 0])[0] ** 2).sum()
        total.backward()
        return [x.grad, w.grad]

    def tensors(lib):
        return [lib.tensor(np.array(a)) for a in (X, W)]

    agree(plain(run(dg, *tensors(dg))), plain(run(torch, *tensors(torch))))


def test_results_outside_of_a_tape_have_none():
    x = dg.tensor(X)
    assert not dg.func.grad(lambda x: (x * x).sum())(x).requires_grad
    assert not dg.func.vjp(lambda x: x * x, x)[0].requires_grad
    assert not any(r.requires_grad for r in dg.func.jvp(lambda x: x * x, (x,), (x,)))
    assert not dg.func.jacfwd(lambda x: x * x)(x).requires_grad and x.grad is None


def test_errors():
    x = dg.tensor(X)
    with pytest.raises(GradError, match=r"one element, got float32\[3\]"):
        dg.func.grad(lambda x: x * 2)(x)
    with pytest.raises(ArgumentError, match="argnums 1 does not fit 1"):
        dg.func.grad(lambda x: x.sum(), argnums=1)(x)
    with pytest.raises(ArgumentError, match=r"floating-point tensors only, got int64\[2\]"):
        dg.func.grad(lambda x: x.sum())(dg.tensor([1, 2]))
    with pytest.raises(ArgumentError, match="floating-point tensors only, got float"):
        dg.func.jacrev(lambda x: x)(2.0)
    with pytest.raises(ArgumentError, match=r"must return \(output, aux\)"):
        dg.func.grad(lambda x: x.sum(), has_aux=True)(x)
    with pytest.raises(ArgumentError, match="must be tuples"):
        dg.func.jvp(lambda x: x, x, x)
    with pytest.raises(ArgumentError, match=r"expected float32\[3\], as the primals"):
        dg.func.jvp(lambda x: x, (x,), (x[:2],))
    with pytest.raises(ArgumentError, match="expected a tree of 1 tensors like the result, got 2"):
        dg.func.vjp(lambda x: x, x)[1](x, x)
    with pytest.raises(ArgumentError, match="must return tensors only"):
        dg.func.vjp(lambda x: 3, x)
