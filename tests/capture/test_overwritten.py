"""What the gradient needs and was overwritten since is an error inside of static functions, as in dynamic mode."""

from __future__ import annotations

import pytest

import duograph as dg


def gradient(y, x, order):
    """The gradient, or the gradient of its square."""
    (g,) = dg.autograd.grad(y.sum(), [x], create_graph=order > 1)
    return dg.autograd.grad((g * g).sum(), [x])[0] if order > 1 else g


def of_a_leaf(x, c, order):
    y = x * x * x
    x.detach().add_(1)
    return gradient(y, x, order)


def of_a_value(x, c, order):
    z = x * 1.0
    y = z * z * z
    with dg.no_grad():
        z.mul_(2)
    return gradient(y, x, order)


def of_a_result(x, c, order):
    y = x.exp()
    y.detach().add_(1)
    return gradient(y, x, order)


def of_a_part(x, c, order):
    z = x * 1.0
    y = z * z
    z.detach()[1:].add_(1)
    return gradient(y, x, order)


def in_a_branch(x, c, order):
    if c.sum() > 0:
        z = x * 1.0
        y = z * z * z
        z.detach().add_(1)
    else:
        y = x * 2
    return gradient(y, x, order)


def of_what_a_branch_read(x, c, order):
    if c.sum() > 0:
        y = x * x * x
    else:
        y = x * 2
    x.detach().add_(1)
    return gradient(y, x, order)


def of_what_a_branch_gave(x, c, order):
    if c.sum() > 0:
        z = x.exp()
    else:
        z = x.sin()
    z.detach().add_(1)
    return gradient(z, x, order)


def asked_in_a_branch(x, c, order):
    y = x * x * x
    if c.sum() > 0:
        x.detach().add_(1)
        g = gradient(y, x, order)
    else:
        g = x.detach() * 1
    return g


def in_a_loop(x, c, order):
    y = x
    for k in c:
        z = y * k
        y = z * z
        z.detach().add_(1)
    return gradient(y, x, order)


def asked_in_a_loop(x, c, order):
    total = x.detach() * 0
    for k in c:
        y = x * x * k
        x.detach().add_(1)
        total = total + gradient(y, x, order)
    return total


def of_what_a_loop_read(x, c, order):
    y = x
    for k in c:
        y = y * x * k
    x.detach().add_(1)
    return gradient(y, x, order)


def of_what_a_loop_gave(x, c, order):
    y = x
    for k in c:
        y = (y * k).exp()
    y.detach().add_(1)
    return gradient(y, x, order)


def by_the_next_turn(x, c, order):
    y, z = x * 1.0, x * 0.0
    for k in c:
        y.detach().add_(1)
        y = y * x * k
        z = z + y * y
    return gradient(z, x, order)


def of_a_storage_each_turn_writes(x, c, order):
    kept = x.detach() * 0
    y = x
    for k in c:
        kept.copy_(y.detach() * k)
        y = y * kept
    return gradient(y, x, order)


def while_it_lasts(x, c, order):
    y = x
    while (y * y).sum() < 50:
        z = y * 1.5
        y = z * z + 1
        z.detach().add_(1)
    return gradient(y, x, order)


OVERWRITTEN = [
    of_a_leaf, of_a_value, of_a_result, of_a_part, in_a_branch, of_what_a_branch_read, of_what_a_branch_gave, asked_in_a_branch,
    in_a_loop, asked_in_a_loop, of_what_a_loop_read, of_what_a_loop_gave, by_the_next_turn, of_a_storage_each_turn_writes,
    while_it_lasts,
]  # fmt: skip


def arguments():
    return dg.tensor([0.5, 1.0, 1.5]).requires_grad_(), dg.tensor([0.5, 1.0, 0.25, 0.5, 1.0, 0.5, 0.75, 1.0, 0.5])


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("function", OVERWRITTEN)
def test_overwritten(function, order):
    for run in (function, dg.static(function)):
        with pytest.raises(dg.errors.GradError, match="was overwritten in place after it was saved for the gradient") as error:
            run(*arguments(), order)
        assert "test_overwritten.py" in str(error.value)


def not_read(x, c, order):
    z = x * 1.0
    y = z + z.sin() * 0 + x * x
    w = z + y
    w.detach().add_(1)
    y.detach().mul_(2)
    return gradient(w + y, x, order)


def before_it_is_kept(x, c, order):
    z = x.detach() * 1
    z.add_(1)
    return gradient(x * x * z, x, order)


def written_on_the_way(x, c, order):
    z = x.detach() * 1
    if c.sum() > 0:
        z.add_(1)
        y = x * x * z
    else:
        y = x * x * z * 2
    return gradient(y, x, order)


def only_the_other_side(x, c, order):
    z = x.detach() * 1
    if c.sum() < 0:
        z.add_(1)
        y = x * x * z
    else:
        y = x * x * z * 2
        if y.sum() > 0:
            y = y * z
    return gradient(y, x, order)


def after_the_gradient(x, c, order):
    total = x.detach() * 0
    for k in c:
        y = x * x * x * k
        total = total + gradient(y, x, order)
        x.detach().add_(0.25)
    return total


def new_ones_each_turn(x, c, order):
    y = x
    for k in c:
        z = y.detach() * 1
        z.mul_(2)
        y = y * (z * k).sin() + x * x
    return gradient(y, x, order)


def nothing_in_it(x, c, order):
    z = x[:0] * 1.0
    y = z * z
    z.detach().add_(1)
    return gradient(x * x + y.sum(), x, order)


def a_leaf_in_a_branch(x, c, order):
    if c.sum() > 0:
        x.detach().add_(1)
        y = x * x * x
    else:
        y = x * 2
    return gradient(y, x, order)


ALLOWED = [
    not_read, before_it_is_kept, written_on_the_way, only_the_other_side, after_the_gradient, new_ones_each_turn, nothing_in_it,
    a_leaf_in_a_branch,
]  # fmt: skip


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("function", ALLOWED)
def test_what_is_not_read_may_be_written(function, order):
    static = dg.static(function, strict=True)
    for _ in range(2):
        assert static(*arguments(), order).tolist() == function(*arguments(), order).tolist()


def other_data(of_a_leaf, order):
    """The gradients after the data were exchanged, as PyTorch has them."""

    def run():
        x = dg.tensor([1.0, 2.0, 3.0]).requires_grad_()
        z = x if of_a_leaf else x * 1.0
        y = z * z * z
        z.data = z * 2
        return gradient(y, x, order).tolist()

    return run()


@pytest.mark.parametrize("of_a_leaf", [True, False])
def test_the_gradient_reads_exchanged_data(of_a_leaf):
    assert other_data(of_a_leaf, 1) == [9.0, 36.0, 81.0]
    assert other_data(of_a_leaf, 2) == [216.0, 1728.0, 5832.0]


def test_exchanged_data_of_what_is_saved():
    x = dg.tensor([1.0, 2.0]).requires_grad_()
    y = x.exp()
    kept = y.detach().clone()
    y.data = y * 3  # a saved result is the one that was computed
    y.sum().backward()
    assert x.grad.tolist() == kept.tolist()
    w = dg.tensor([[1.0, 2.0], [3.0, 4.0]]).requires_grad_()
    z = (w.t() * w.t()).sum()
    w.data = dg.tensor([[5.0, 6.0], [7.0, 8.0]]).t()
    z.backward()
    assert w.grad.shape == (2, 2)
    v = dg.tensor([1.0, 2.0]).requires_grad_()
    z = (v * v).sum()
    v.data = dg.tensor([1.0, 2.0, 3.0])
    with pytest.raises(dg.errors.GradError, match="another dtype or shape"):
        z.backward()


def test_exchanging_data_in_a_static_function_is_refused():
    def step(x):
        y = x * x
        x.data = y.detach()
        return y

    with pytest.raises(dg.errors.CaptureError, match="data of a tensor that takes part in differentiation") as error:
        dg.static(step)(dg.tensor([1.0]).requires_grad_())
    assert "x.data = y.detach()" in str(error.value)
    with pytest.raises(dg.errors.CaptureError, match="data of a tensor that comes from outside"):
        dg.static(step)(dg.tensor([1.0]))
