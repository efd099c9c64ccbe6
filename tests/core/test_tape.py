"""The tape and the engine: what is recorded, in which order gradients flow, what is refused."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

import duograph as dg
from duograph import _core as core
from duograph.errors import GradError


def leaf(*values):
    return dg.tensor(list(values), requires_grad=True)


def close(t, expected):
    got = t.tolist()

    def flat(x):
        return [y for z in x for y in flat(z)] if isinstance(x, list) else [x]

    assert flat(got) == pytest.approx(flat(expected), rel=1e-5)


def test_leaves_and_results():
    x = leaf(1.0, 2.0)
    y = x * 3
    assert x.is_leaf and x.grad_fn is None and x.requires_grad
    assert not y.is_leaf and y.requires_grad and y.grad_fn.name() == "mul"
    assert y.grad_fn.inputs[0] is x and y.grad_fn.inputs[1] is None
    assert not (dg.ones(2) * 3).requires_grad
    assert not (x > 1).requires_grad


def test_the_line_of_a_node():
    x = leaf(1.0)
    y = x * 2  # the marked line
    location = y.grad_fn.location
    assert location.file == __file__ and "# the marked line" in location.text
    assert "the marked line" in repr(y.grad_fn)


def test_gradients_accumulate():
    x = leaf(1.0, 2.0)
    (x * 3).sum().backward()
    close(x.grad, [3.0, 3.0])
    held = x.grad
    (x * x).sum().backward()
    close(x.grad, [5.0, 7.0])
    assert x.grad is held  # added in place


def test_gradients_do_not_share_memory():
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    (x + y).sum().backward()
    x.grad.add_(1.0)
    close(y.grad, [1.0, 1.0])


def test_diamond():
    x = leaf(2.0)
    a = x * 3
    (a * a + a).sum().backward()
    close(x.grad, [2 * 6 * 3 + 3])


def test_broadcast_gradients():
    m = dg.ones(3, 4)
    m.requires_grad_()
    row, column = dg.ones(4), dg.ones(3, 1)
    row.requires_grad_()
    column.requires_grad_()
    (m * row * column * 2).sum().backward()
    assert m.grad.shape == (3, 4) and row.grad.shape == (4,) and column.grad.shape == (3, 1)
    close(row.grad, [6.0] * 4)
    close(column.grad, [8.0] * 3)


def test_expanded_operand():
    x = dg.ones(1, 3)
    x.requires_grad_()
    (x.expand(4, 3) * 2).sum().backward()
    close(x.grad, [8.0, 8.0, 8.0])


def test_given_gradient():
    x = leaf(1.0, 2.0)
    (x * 2).backward(dg.tensor([10.0, 100.0]))
    close(x.grad, [20.0, 200.0])
    with pytest.raises(GradError, match="gradient must be"):
        (x * 2).backward(dg.tensor([1.0]))


def test_non_scalar():
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match="tensor of one element"):
        (x * 2).backward()


def test_nothing_recorded():
    with pytest.raises(GradError, match="does not require grad"):
        dg.ones(1).backward()


def test_freed_graph():
    x = leaf(1.0)
    y = x * x  # the saving line
    y.backward()
    with pytest.raises(RuntimeError) as error:
        y.backward()
    assert "retain_graph" in str(error.value) and "# the saving line" in str(error.value)


def test_retain_graph():
    x = leaf(3.0)
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    close(x.grad, [12.0])


def test_a_graph_that_saved_nothing_can_be_used_again():
    x = leaf(1.0, 2.0)
    shifted = x + 1
    shifted.sum().backward()
    shifted.sum().backward()
    close(x.grad, [2.0, 2.0])


def test_retain_grad():
    x = leaf(1.0)
    y = x * 2
    y.retain_grad()
    (y * 3).backward()
    close(y.grad, [3.0])
    z = x * 2
    (z * 3).backward()
    assert z.grad is None


def test_retain_grad_of_a_dead_tensor():
    x = leaf(1.0)
    y = x * 2
    y.retain_grad()
    z = y * 3
    del y
    z.backward()
    close(x.grad, [6.0])


def test_hooks():
    x = leaf(1.0, 1.0)
    y = x * 2
    seen = []
    y.register_hook(lambda g: seen.append(g.tolist()))
    y.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: g + 1)
    y.sum().backward()
    assert seen == [[1.0, 1.0]]
    close(x.grad, [21.0, 21.0])


def test_hook_with_wrong_result():
    x = leaf(1.0)
    y = x * 2
    y.register_hook(lambda g: 3)
    with pytest.raises(GradError, match="hook gave int"):
        y.backward()
    y = x * 2
    y.register_hook(lambda g: dg.ones(4))
    with pytest.raises(GradError, match=r"float32\[4\], but the input is float32\[1\]"):
        y.backward()


def test_no_grad_and_detach():
    x = leaf(1.0)
    previous = core.set_grad_enabled(False)
    try:
        assert not (x * 2).requires_grad
    finally:
        core.set_grad_enabled(previous)
    y = (x * 2).detach()
    assert y.is_leaf and not y.requires_grad


def test_grad_of_chosen_inputs():
    x, y = leaf(2.0), leaf(3.0)
    z = x * y
    gx, gz = core.grad([z * 2], [x, z])
    close(gx, [6.0])
    close(gz, [2.0])
    assert x.grad is None and y.grad is None


def test_grad_unused():
    x, y = leaf(1.0), leaf(1.0)
    with pytest.raises(GradError, match="do not depend on input 1"):
        core.grad([x * 2], [x, y])
    assert core.grad([x * 2], [y], allow_unused=True) == (None,)


def test_backward_of_chosen_inputs():
    x, y = leaf(2.0), leaf(3.0)
    (x * y).backward(inputs=[x])
    close(x.grad, [3.0])
    assert y.grad is None


def test_second_order():
    x = leaf(1.0, 2.0, 3.0)
    (g,) = core.grad([(x * x * x).sum()], [x], create_graph=True)
    close(g, [3.0, 12.0, 27.0])
    (gg,) = core.grad([g.sum()], [x], create_graph=True)
    close(gg, [6.0, 12.0, 18.0])
    (ggg,) = core.grad([gg.sum()], [x])
    close(ggg, [6.0, 6.0, 6.0])


def test_backward_with_create_graph():
    x = leaf(2.0)
    (x * x * x).backward(create_graph=True)
    close(x.grad, [12.0])
    assert x.grad.requires_grad
    g = x.grad
    x.grad = None
    g.backward()
    close(x.grad, [12.0])


def test_inplace_on_leaf():
    x = leaf(1.0)
    with pytest.raises(GradError, match="a leaf tensor that requires grad"):
        x.add_(1)
    with pytest.raises(GradError, match="a view of a leaf"):
        x[0:1].add_(1)


def test_inplace_on_result():
    x = leaf(2.0)
    y = x * 3
    y.mul_(y)
    assert y.grad_fn.name() == "mul_"
    y.sum().backward()
    close(x.grad, [36.0])


def test_overwritten_value():
    x = leaf(2.0)
    y = x * 3
    z = y * y  # saves y
    y.add_(1)
    with pytest.raises(RuntimeError, match="overwritten in place") as error:
        z.backward()
    assert "# saves y" in str(error.value)


def test_overwritten_value_that_is_not_read():
    x = leaf(2.0)
    y = x * 3
    z = y + 1
    y.add_(1)
    z.backward()
    close(x.grad, [3.0])


def test_write_to_a_view():
    x = leaf(1.0, 2.0, 3.0)
    y = x * 2
    y[1:].mul_(10)
    close(y, [2.0, 40.0, 60.0])
    (y * y).sum().backward()
    close(x.grad, [8.0, 2 * 40 * 20, 2 * 60 * 20])


def test_write_to_a_view_of_a_plain_tensor():
    x = leaf(5.0)
    y = dg.zeros(3)
    first = y[0:2]
    y[1:2].add_(x)
    assert y.requires_grad and first.requires_grad
    (first * 2).sum().backward()
    close(x.grad, [2.0])


def test_views_follow_their_base():
    x = leaf(1.0, 2.0)
    y = x * 1
    view = y[1:]
    y.mul_(4)
    view.sum().backward()
    close(x.grad, [0.0, 4.0])


def test_a_view_made_without_recording():
    x = leaf(1.0, 2.0)
    y = x * 1
    previous = core.set_grad_enabled(False)
    view = y[1:]
    core.set_grad_enabled(previous)
    with pytest.raises(GradError, match="made under no_grad"):
        view.mul_(2)


def test_overlapping_operands():
    x = dg.arange(6).to(dg.float32)
    x[1:].add_(x[:-1])
    close(x, [0.0, 1.0, 3.0, 5.0, 7.0, 9.0])


def test_requires_grad_setter():
    x = dg.tensor([1, 2])
    with pytest.raises(GradError, match="only floating-point"):
        x.requires_grad = True
    y = leaf(1.0) * 2
    with pytest.raises(GradError, match="only a leaf"):
        y.requires_grad = False


def test_grad_setter():
    x = leaf(1.0, 2.0)
    x.grad = dg.ones(2)
    with pytest.raises(ValueError, match="must have the tensor's shape"):
        x.grad = dg.ones(3)
    with pytest.raises(TypeError, match="must be float32"):
        x.grad = dg.tensor([1, 2])
    with pytest.raises(TypeError):
        x.grad = 3
    x.grad = None
    assert x.grad is None


def test_python_functions():
    x = leaf(2.0, 3.0)
    out = x.detach() * 10
    (y,) = core.record_python((out,), (x,), "tenfold", lambda grads: (grads[0] * 10,))
    assert y.grad_fn.name() == "tenfold"
    y.sum().backward()
    close(x.grad, [10.0, 10.0])


def test_python_function_with_wrong_gradients():
    x = leaf(2.0)
    for backward, text in [
        (lambda grads: (), "gave 0 gradients for 1 inputs"),
        (lambda grads: (dg.ones(3),), "gradient 0 is float32"),
        (lambda grads: ("no",), "not a Tensor but str"),
    ]:
        (y,) = core.record_python((x.detach() * 1,), (x,), "wrong", backward)
        with pytest.raises(GradError, match=text):
            y.backward()


def test_python_function_that_raises():
    x = leaf(2.0)

    def fail(grads):
        raise KeyError("mine")

    (y,) = core.record_python((x.detach() * 1,), (x,), "failing", fail)
    with pytest.raises(KeyError):
        y.backward()
    assert x.grad is None


def test_backward_inside_backward():
    x = leaf(2.0)

    def inner(grads):
        core.set_grad_enabled(True)  # the engine had it off, and sets it back afterwards
        z = leaf(3.0)
        (z * z).backward()
        (x * 5).backward()
        return (grads[0] * z.grad,)

    (y,) = core.record_python((x.detach() * 1,), (x,), "nested", inner)
    (y * 1).backward()
    close(x.grad, [11.0])


def test_long_chains():
    x = dg.tensor(1.0, requires_grad=True)
    y = x
    for _ in range(100_000):
        y = y + 1
    y.backward()
    assert x.grad.item() == 1.0
    del y
    z = x
    for _ in range(100_000):
        z = z * 1
    del z  # never run backward


def test_many_results_of_one_leaf():
    x = leaf(1.0)
    total = x * 0
    for i in range(500):
        total = total + x * i
    total.backward()
    close(x.grad, [sum(range(500))])


def test_memory_is_given_back():
    x = leaf(1.0)
    y = x * 2
    gone = weakref.ref(y)
    z = y * 3
    del y
    assert gone() is None  # the tape keeps values, not Tensor objects
    z.backward()
    loop = leaf(1.0)
    loop.grad = dg.ones(1)
    loop.grad.grad = loop
    gone = weakref.ref(loop)
    del loop
    gc.collect()
    assert gone() is None


def test_threads():
    failures = []

    def work():
        try:
            for _ in range(50):
                x = leaf(1.0, 2.0)
                y = x
                for _ in range(20):
                    y = (y * 1.5).tanh()
                y.sum().backward()
                assert x.grad is not None
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_one_graph_in_many_threads():
    x = leaf(1.0)
    y = x * 2
    for _ in range(50):
        y = y * 1.0
    results = []

    def work():
        results.append(core.grad([y], [x], retain_graph=True)[0].item())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [2.0] * 8


def test_grad_mode_belongs_to_the_thread():
    seen = []
    previous = core.set_grad_enabled(False)
    thread = threading.Thread(target=lambda: seen.append(core.is_grad_enabled()))
    thread.start()
    thread.join()
    core.set_grad_enabled(previous)
    assert seen == [True]
