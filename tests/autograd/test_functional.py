"""`autograd.functional` and batched gradients, against torch."""

import numpy as np
import pytest
import torch

import duograph as dg
from duograph.autograd import functional as ours
from duograph.errors import ArgumentError, GradError

theirs = torch.autograd.functional


def both(*arrays):
    arrays = [np.asarray(a, dtype=np.float64) for a in arrays]
    return [dg.tensor(a) for a in arrays], [torch.tensor(a) for a in arrays]


def plain(found):
    if isinstance(found, (tuple, list)):
        return [plain(x) for x in found]
    return np.array(found.detach().tolist()).reshape(tuple(found.shape))


def agree(a, b):
    if isinstance(a, list):
        assert isinstance(b, list) and len(a) == len(b)
        for x, y in zip(a, b):
            agree(x, y)
    else:
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def one_to_one(x):
    return (x.exp() * x.sum()).sin()


def two_to_two(x, y):
    return x * y.sum(), (x.sum(0) * y).cos()


def to_number(x, y):
    return (x.sin() * y.sum()).sum() + (y * y * y).sum()


X, Y = [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]], [0.7, 0.8, 0.9]
VX, VY = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [7.0, 8.0, 9.0]


@pytest.mark.parametrize("strategy", ["reverse-mode", "forward-mode"])
def test_jacobian(strategy):
    (x, y), (tx, ty) = both(X, Y)
    agree(plain(ours.jacobian(one_to_one, x, strategy=strategy)), plain(theirs.jacobian(one_to_one, tx)))
    agree(plain(ours.jacobian(two_to_two, (x, y), strategy=strategy)), plain(theirs.jacobian(two_to_two, (tx, ty))))
    agree(plain(ours.jacobian(lambda x: x.sum(), (x,), strategy=strategy)), plain(theirs.jacobian(lambda x: x.sum(), (tx,))))
    unrelated = ours.jacobian(lambda x, y: x.sum() * 2, (x, y), strategy=strategy)
    agree(plain(unrelated), plain(theirs.jacobian(lambda x, y: x.sum() * 2, (tx, ty))))


def test_products():
    (x, y, vx, vy), (tx, ty, tvx, tvy) = both(X, Y, VX, VY)
    agree(plain(ours.vjp(one_to_one, x, vx)), plain(theirs.vjp(one_to_one, tx, tvx)))
    agree(plain(ours.jvp(one_to_one, x, vx)), plain(theirs.jvp(one_to_one, tx, tvx)))
    agree(plain(ours.vjp(two_to_two, (x, y), (vx, vy))), plain(theirs.vjp(two_to_two, (tx, ty), (tvx, tvy))))
    agree(plain(ours.jvp(two_to_two, (x, y), (vx, vy))), plain(theirs.jvp(two_to_two, (tx, ty), (tvx, tvy))))
    agree(plain(ours.vjp(to_number, (x, y))), plain(theirs.vjp(to_number, (tx, ty))))
    agree(plain(ours.hvp(to_number, (x, y), (vx, vy))), plain(theirs.hvp(to_number, (tx, ty), (tvx, tvy))))
    agree(plain(ours.vhp(to_number, (x, y), (vx, vy))), plain(theirs.vhp(to_number, (tx, ty), (tvx, tvy))))
    linear = (lambda x: (x * 2).sum(), x, vx), (lambda x: (x * 2).sum(), tx, tvx)
    agree(plain(ours.hvp(*linear[0])), plain(theirs.hvp(*linear[1])))
    agree(plain(ours.vhp(*linear[0])), plain(theirs.vhp(*linear[1])))


def test_hessian():
    (x, y), (tx, ty) = both(X, Y)
    agree(plain(ours.hessian(to_number, (x, y))), plain(theirs.hessian(to_number, (tx, ty))))
    agree(plain(ours.hessian(lambda x: (x**3).sum(), x)), plain(theirs.hessian(lambda x: (x**3).sum(), tx)))
    forward = ours.hessian(lambda x: (x**3).sum(), x, outer_jacobian_strategy="forward-mode")
    agree(plain(forward), plain(theirs.hessian(lambda x: (x**3).sum(), tx)))


@pytest.mark.parametrize("strategy", ["reverse-mode", "forward-mode"])
def test_results_can_be_differentiated(strategy):
    def loss(lib, x, **how):
        x = x.clone().requires_grad_()
        lib.jacobian(one_to_one, x, create_graph=True, **how).pow(2).sum().backward()
        return x.grad

    (x,), (tx,) = both(Y)
    agree(plain(loss(ours, x, strategy=strategy)), plain(loss(theirs, tx)))

    def product(lib, name, x, v):
        x = x.clone().requires_grad_()
        getattr(lib, name)(lambda x: (x.sin() * x.sum()).sum(), x, v, create_graph=True)[1].pow(2).sum().backward()
        return x.grad

    (v,), (tv,) = both(VY)
    for name in ("hvp", "vhp"):
        agree(plain(product(ours, name, x, v)), plain(product(theirs, name, tx, tv)))
    for name in ("vjp", "jvp"):
        results = []
        for lib, a, b in ((ours, x, v), (theirs, tx, tv)):
            a = a.clone().requires_grad_()
            getattr(lib, name)(one_to_one, a, b, create_graph=True)[1].pow(2).sum().backward()
            results.append(plain(a.grad))
        agree(*results)


def test_results_leave_the_inputs_alone():
    x = dg.tensor(Y, requires_grad=True)
    found = ours.jacobian(one_to_one, x)
    assert not found.requires_grad and x.grad is None and x.is_leaf
    with dg.no_grad():
        assert ours.jacobian(one_to_one, x).tolist() == found.tolist()


def test_errors():
    x, y = dg.tensor(X), dg.tensor(Y)
    with pytest.raises(GradError, match="independent"):
        ours.jacobian(lambda x, y: x.sum() * 2, (x, y), strict=True)
    with pytest.raises(GradError, match="independent"):
        ours.vjp(lambda x: dg.ones(1), x, dg.ones(1), strict=True)
    with pytest.raises(ArgumentError, match="v may be left out only"):
        ours.vjp(one_to_one, x)
    with pytest.raises(ArgumentError, match=r"v\[0\] is \[3\], the input \[2, 3\]"):
        ours.jvp(one_to_one, x, y)
    with pytest.raises(ArgumentError, match="one tensor with one element"):
        ours.hessian(one_to_one, x)
    with pytest.raises(ArgumentError, match="must return a Tensor"):
        ours.jacobian(lambda x: 3, x)
    with pytest.raises(ArgumentError, match="only floating-point"):
        ours.jacobian(one_to_one, dg.tensor([1, 2]))
    with pytest.raises(ArgumentError, match="strategy"):
        ours.jacobian(one_to_one, x, strategy="sideways")
    with pytest.raises(ArgumentError, match="inputs must be"):
        ours.jacobian(one_to_one, 3)


def test_inside_static_functions():
    x, v = dg.tensor(Y), dg.tensor(VY)

    def all_of_them(x, v):
        f = lambda x: (x.sin() * x.sum()).sum()  # noqa: E731
        return (
            ours.jacobian(one_to_one, x),
            ours.jacobian(one_to_one, x, strategy="forward-mode"),
            ours.hessian(f, x),
            *ours.jvp(one_to_one, x, v),
            *ours.vjp(one_to_one, x, v),
            *ours.hvp(f, x, v),
            *ours.vhp(f, x, v),
        )

    for a, b in zip(dg.static(all_of_them)(x, v), all_of_them(x, v)):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5)


# ---- grad -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["dynamic", "static"])
def test_batched_gradients(mode):
    def run(lib, x, w, seeds):
        x = x.clone().requires_grad_()
        y = (x * w).sin()
        return lib.autograd.grad(y, (x,), seeds, is_grads_batched=True)[0]

    (x, w, seeds), (tx, tw, tseeds) = both(Y, VY, [[1, 0, 0], [0, 2, 0], [1, 1, 1], [0, 0, 0]])
    f = (lambda *args: run(dg, *args)) if mode == "dynamic" else dg.static(lambda *args: run(dg, *args))
    agree(plain(f(x, w, seeds)), plain(run(torch, tx, tw, tseeds)))


def test_batched_gradients_of_several_outputs_that_can_be_differentiated():
    def run(lib, x, a, b):
        x = x.clone().requires_grad_()
        found = lib.autograd.grad((x.exp(), x.sum()), x, (a, b), is_grads_batched=True, create_graph=True)[0]
        found.pow(2).sum().backward()
        return found, x.grad

    arrays = both(Y, [[1.0, 2, 3], [4, 5, 6]], [7.0, 8])
    agree(plain(run(dg, *arrays[0])), plain(run(torch, *arrays[1])))
    with pytest.raises(ArgumentError, match="must be"):
        run(dg, dg.tensor(Y), dg.ones(2, 4), dg.ones(2))
    with pytest.raises(ArgumentError, match="one batch size"):
        run(dg, dg.tensor(Y), dg.ones(2, 3), dg.ones(3))


def test_zeros_for_unused_inputs():
    x, y = dg.ones(2, requires_grad=True), dg.ones(3, requires_grad=True)
    unused = dg.autograd.grad((x * 2).sum(), (x, y), materialize_grads=True)[1]
    assert unused.tolist() == [0, 0, 0]
    batched = dg.autograd.grad(x * 2, (x, y), dg.ones(4, 2), is_grads_batched=True, materialize_grads=True)[1]
    assert tuple(batched.shape) == (4, 3)
    with pytest.raises(ArgumentError, match="allow_unused"):
        dg.autograd.grad((x * 2).sum(), (x, y), allow_unused=False, materialize_grads=True)
