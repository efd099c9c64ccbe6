"""`duograph.autograd`: gradients as values, modes, functions with their own gradient, checkers, the tape as text."""

import numpy as np
import pytest

import duograph as dg
from duograph.autograd import Function, backward, grad, gradcheck, gradgradcheck
from duograph.errors import ArgumentError, GradError


def leaf(*values, dtype=None):
    return dg.tensor([float(v) for v in values], dtype=dtype or dg.float32, requires_grad=True)


def test_grad_touches_no_leaf():
    x, y = leaf(1, 2), leaf(3, 4)
    gx, gy = grad((x * y * x).sum(), (x, y))
    assert gx.tolist() == [6, 16] and gy.tolist() == [1, 4]
    assert x.grad is None and y.grad is None


def test_grad_of_intermediate_values_and_weighted_outputs():
    x = leaf(1, 2)
    h = x * 3
    (g,) = grad([h * h, h], h, [dg.tensor([1.0, 2.0]), dg.tensor([1.0, 1.0])])
    assert g.tolist() == [7, 25]


def test_create_graph_and_higher_orders():
    x = leaf(2)
    y = x**4
    orders = []
    for _ in range(3):
        (y,) = grad(y.sum(), x, create_graph=True)
        orders.append(y.item())
    assert orders == [32, 48, 48]


def test_unused_and_missing_inputs():
    x, y = leaf(1), leaf(2)
    assert grad((x * 2).sum(), [x, y], allow_unused=True)[1] is None
    with pytest.raises(GradError):
        grad((x * 2).sum(), [x, y])
    with pytest.raises(GradError):
        grad(dg.tensor([1.0]).sum(), x)
    with pytest.raises(GradError):
        grad(leaf(1, 2) * 2, x)  # not a scalar
    with pytest.raises(ArgumentError):
        grad([x.sum(), x.sum()], x, [None])


def test_backward_of_several_tensors_and_chosen_inputs():
    x, y = leaf(1, 2), leaf(3, 4)
    backward([(x * y).sum(), x.sum()], inputs=[x])
    assert x.grad.tolist() == [4, 5] and y.grad is None


def test_retain_graph():
    x = leaf(1, 2)
    loss = (x * x).sum()
    loss.backward(retain_graph=True)
    loss.backward()
    assert x.grad.tolist() == [4, 8]
    with pytest.raises(GradError, match="freed"):
        loss.backward()


def test_modes_nest_and_decorate():
    x = leaf(1)
    with dg.no_grad():
        assert not (x * 2).requires_grad
        with dg.enable_grad():
            assert (x * 2).requires_grad
        assert not dg.is_grad_enabled()
    assert dg.is_grad_enabled()

    @dg.no_grad()
    def quiet(v):
        return v * 2

    @dg.no_grad
    def bare(v):
        return v * 2

    @dg.enable_grad()
    def loud(v):
        return v * 2

    assert not quiet(x).requires_grad and not bare(x).requires_grad and quiet.__name__ == "quiet"
    with dg.no_grad():
        assert loud(x).requires_grad
    with dg.set_grad_enabled(False):
        assert not (x * 2).requires_grad
    assert dg.is_grad_enabled()
    dg.set_grad_enabled(False)
    try:
        assert not dg.is_grad_enabled()
    finally:
        dg.set_grad_enabled(True)
    with pytest.raises(ValueError, match="stop"), dg.no_grad():
        raise ValueError("stop")
    assert dg.is_grad_enabled()


class Cube(Function):
    @staticmethod
    def forward(ctx, x, factor):
        ctx.save_for_backward(x)
        ctx.factor = factor
        return x * x * x * factor

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 3 * x * x * ctx.factor, None


class Exp(Function):
    @staticmethod
    def forward(ctx, x):
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g * y


class Two(Function):
    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return x * y, (x > y)

    @staticmethod
    def backward(ctx, g, unused):
        x, y = ctx.saved_tensors
        return g * y, g * x


def test_functions():
    x = leaf(1, 2)
    y = Cube.apply(x, 2.0)
    assert y.grad_fn.op_name == "Cube"
    y.sum().backward()
    assert x.grad.tolist() == [6, 24]
    assert not Cube.apply(dg.tensor([1.0]), 1.0).requires_grad
    a, b = leaf(1, 5), leaf(2, 3)
    product, larger = Two.apply(a, b)
    product.sum().backward()
    assert a.grad.tolist() == [2, 3] and b.grad.tolist() == [1, 5] and larger.tolist() == [False, True]


def test_functions_of_second_order():
    x = leaf(1, 2, dtype=dg.float64)
    assert gradcheck(lambda v: Cube.apply(v, 2.0), x) and gradgradcheck(lambda v: Cube.apply(v, 2.0), x)
    assert gradcheck(Exp.apply, x) and gradgradcheck(Exp.apply, x)


def test_functions_inside_static_functions():
    x = leaf(1, 2)
    static = dg.static(lambda v: Cube.apply(v, 2.0).sum())
    for _ in range(2):
        x.grad = None
        static(x).backward()
        assert x.grad.tolist() == [6, 24]


def test_functions_say_what_is_wrong():
    class Short(Cube):
        @staticmethod
        def backward(ctx, g):
            return g

    with pytest.raises(GradError, match=r"Short\.backward.*2 gradients, not 1"):
        Short.apply(leaf(1), 2.0).backward()
    x = leaf(1, 2)
    h = x * 1
    y = Cube.apply(h, 1.0)
    with dg.no_grad():
        h.add_(1)
    with pytest.raises(GradError, match="overwritten"):
        y.sum().backward()


def test_checkers_catch_planted_errors():
    class Wrong(Cube):
        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * 3 * x * x * ctx.factor * 1.01, None

    class WrongSecond(Cube):
        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * 3 * (x * x).detach() * ctx.factor, None

    x = leaf(1, 2, dtype=dg.float64)
    with pytest.raises(GradError, match="input 0 at element"):
        gradcheck(lambda v: Wrong.apply(v, 2.0), x)
    assert not gradcheck(lambda v: Wrong.apply(v, 2.0), x, raise_exception=False)
    assert gradcheck(lambda v: WrongSecond.apply(v, 2.0), x)
    assert not gradgradcheck(lambda v: WrongSecond.apply(v, 2.0), x, raise_exception=False)
    with pytest.raises(ArgumentError, match="float64"):
        gradcheck(lambda v: v * 2, leaf(1))
    assert gradcheck(lambda a, b: (a.tanh() * b).sum(0), (leaf(1, 2, dtype=dg.float64), leaf(3, 4, dtype=dg.float64)))


def test_tape_prints_operators_shapes_and_lines():
    w, x = leaf(1, 2), leaf(3, 4)
    y = ((w * x).tanh() + w).sum()
    tape = dg.tape(y)
    text = str(tape)
    assert len(tape) == 4 and "nothing recorded" in str(dg.tape(dg.tensor(1.0)))
    lines = text.splitlines()
    assert lines[0].split()[0] == "leaf0" and "float32[2]" in lines[0]
    assert "%0 = mul(leaf0, leaf1)" in text and "%3 = sum(%2" in text
    assert "test_autograd.py" in lines[-1] and "y = ((w * x).tanh() + w).sum()" in lines[-1]


def test_long_tapes_neither_recurse_nor_overflow():
    x = leaf(1.0)
    y = x
    for _ in range(20_000):
        y = y + 1
    assert len(dg.tape(y)) == 20_000
    y.sum().backward()
    assert x.grad.item() == 1.0
    np.testing.assert_array_equal(y.detach().numpy(), [20_001.0])


def test_gradients_of_a_product_leave_its_operands_alone():
    """The operands of a recorded gradient are looked at through aliases, which are no writes."""
    a, u = dg.rand(2, 4, requires_grad=True), dg.rand(4, 4, requires_grad=True)
    y = a.tanh()
    (first,) = dg.autograd.grad(((y @ u).tanh() @ u).sum(), u, create_graph=True)
    assert y._version == 0
    assert dg.autograd.grad(first.sum(), a)[0].shape == (2, 4)


def test_hooks_are_taken_away_by_their_handles():
    x = dg.tensor(2.0, requires_grad=True)
    y = x * 3
    seen = []
    with x.register_hook(lambda g: g * 10), y.register_hook(lambda g: seen.append(g.item())):
        y.backward(retain_graph=True)
    assert x.grad.item() == 30.0 and seen == [1.0]
    x.grad = None
    y.backward()
    assert x.grad.item() == 3.0 and seen == [1.0]
    again = x.register_hook(lambda g: g + 1)
    step = dg.static(lambda: (x * 5).backward())
    x.grad = None
    step()
    assert x.grad.item() == 6.0
    again.remove()
    again.remove()
    x.grad = None
    step()
    assert x.grad.item() == 5.0
