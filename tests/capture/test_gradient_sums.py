"""Gradients of tensors that are used several times: sums in dynamic mode's order, to the last bit."""

import numpy as np
import pytest

import duograph as dg


def inside_and_outside_of_a_loop(x, w, n):
    z, y = w.sin(), x * 1.0
    a = (x * w).tanh()
    for _ in range(n):
        y = (y * w + y.sin() * x * z).tanh()
    return y * x + w * z - a


def around_a_branch_in_a_loop(x, w, n):
    y = x * 0.5
    for _ in range(n):
        y = (y * w + x.sin() * x).tanh()
        if y.sum() > 0.1:
            y = y * w + x * w.cos()
    return y * x * w


def on_one_side(x, w, n):
    y = x * w + w.sin()
    y = y * w * x.cos() + x if y.sum() * n > 0.5 else y * 0.5
    return y * w + x * y


def what_a_variable_began_with(x, w, n):
    x = x * 1.0
    y = x
    while y.sum() < n * 2.0 + 12.0:
        y = y * 0.5 + y.sin().abs() * y.cos() + w * w + 1.0
    return (y * x.sin() - x * w) * x


def an_append_again_and_again(x, w, n):
    items = [x]
    for _ in range(n):
        items.append(x)
        x = (x * w + x).sin()
    return dg.stack(items).sin().sum(0) * w * x


def what_a_turn_hands_on_as_it_is(x, w, n):
    items, y = [x], x.cos()
    for _ in range(n + 1):
        items.append(w)
        y = x
    return dg.stack(items).sin().sum(0) * y


def nested(x, w, n):
    y = x * 1.0
    for _ in range(n):
        for _ in range(n):
            y = (y * w + x.sin() * x).tanh()
        y = y * x + w
    return y * w - x * y


def a_part_first_read_in_a_loop_after_a_write(x, w, n):
    """Dynamic mode gives the part its new place on the tape at that read, for all that come later."""
    y = x * 1.0
    part = y[2:]
    y *= w
    for _ in range(n + 1):
        x = (x * part.sum() + w).sin()
    return y * x + y.cos() * part.sum()


def a_part_first_read_where_something_runs(x, w, n):
    """Where it does not, the part gets its place at the next read, which is after other uses of the whole."""
    y = x * w
    part, other = y[2:], y[:3]
    y *= w
    for _ in range(n):
        x = (x * part.sum() + w).sin()
    z = y.sin() * y
    if x.sum() > 0:
        x = x * (part.sum() - other.sum())
    return (z + y.cos() * part.sum()) * x + y * y * other.sum()


def a_part_first_read_on_one_side_or_the_other(x, w, n):
    y = x * w
    part, other = y[2:], y[:3]
    y *= w
    x = x * part.sum() if x.sum() > 0 else x - other.sum()
    z = y.sin() * y
    if x.sum() > w.sum():
        x = x * part.sum()
    return (z + y.cos() * other.sum()) * x + y * y * part.sum()


def a_part_first_read_on_both_sides_after_a_write(x, w, n):
    y = x * 1.0
    part = y[2:]
    y *= w
    x = x * part.sum() if x.sum() > 0 else x - part.sin().sum()
    return y * x + y.cos() * part.sum()


def a_part_made_and_first_read_in_loops(x, w, n):
    for _ in range(n):
        y = x * 1.0
        part = y[2:]
        y *= w
        for _ in range(n):
            x = (x * part.sum() + w).sin()
        x = x * y + y.cos() * part.sum()
    return x * w


FUNCTIONS = [
    inside_and_outside_of_a_loop,
    around_a_branch_in_a_loop,
    on_one_side,
    what_a_variable_began_with,
    an_append_again_and_again,
    what_a_turn_hands_on_as_it_is,
    nested,
    a_part_first_read_in_a_loop_after_a_write,
    a_part_first_read_where_something_runs,
    a_part_first_read_on_one_side_or_the_other,
    a_part_first_read_on_both_sides_after_a_write,
    a_part_made_and_first_read_in_loops,
]


def arguments(seed, size=11):
    rng = np.random.default_rng(seed)
    return [dg.from_numpy(rng.uniform(-1, 1, size).astype(np.float32)).requires_grad_() for _ in range(2)]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_first_order_inside_a_function(function):
    def gradients(x, w, n):
        result = function(x, w, n)
        return dg.autograd.grad((result * result).sum(), [x, w])

    static = dg.static(gradients, strict=True)
    for seed in range(12):
        x, w = arguments(seed)
        n = dg.tensor(seed % 4)
        expected = [g.tolist() for g in gradients(x, w, n)]
        assert [g.tolist() for g in static(x, w, n)] == expected, seed
    assert static.captures == 1


def test_a_parameter_that_only_a_branch_in_a_loop_uses_has_no_gradient_without_it():
    def step(x, w, v, limit, n):
        y = x * v
        for _ in range(n):
            y = y * w if y.sum() > limit else y * 0.5
        y.sum().backward()

    static = dg.static(step)
    for limit, n in ((1000.0, 3), (1.0, 3), (1.0, 0)):
        found = []
        for function in (step, static):
            x, w, v = (dg.tensor([1.0, 2.0]).requires_grad_() for _ in range(3))
            function(x, w, v, limit, dg.tensor(n))
            found.append([None if t.grad is None else t.grad.tolist() for t in (x, w, v)])
        assert found[0] == found[1]


def test_hooks_see_a_sum_once():
    def gradient(x, w, n):
        x = x * 1.0
        seen = []
        x.register_hook(lambda g: seen.append(g) or g * 2)
        result = inside_and_outside_of_a_loop(x, w, n)
        found = dg.autograd.grad((result * result).sum(), [w, x])
        return (*found, *seen)

    x, w = arguments(3)
    expected = [g.tolist() for g in gradient(x, w, dg.tensor(3))]
    assert len(expected) == 3
    assert [g.tolist() for g in dg.static(gradient, strict=True)(x, w, dg.tensor(3))] == expected


def straight(x, w, n):
    return (x * w + w.sin()) * x, (x - w).tanh() * w


def a_loop_on_its_arguments(x, w, n):
    for _ in range(n):
        x = (x * w + w.sin()) * x.cos() + x
    return x * w, w


def a_branch_on_its_arguments(x, w, n):
    y = x * w * x if x.sum() > 0.3 else x + w * w
    return y, y * x


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("function", [straight, a_loop_on_its_arguments, a_branch_on_its_arguments])
def test_first_order_outside_of_a_function(function, create_graph):
    static = dg.static(function, strict=True)

    def gradients(call, x, w, n):
        z = w * x
        a, b = call(x, w, n)
        c, d = call(x * 1.0, w, n)
        result = (a * x.cos() + b * w + z).sum() + (c * d + w.exp() * x).sum()
        return [g.tolist() for g in dg.autograd.grad(result, [x, w], create_graph=create_graph)]

    for seed in range(8):
        x, w = arguments(seed, 11 if seed < 4 else 3 + seed)
        n = dg.tensor(1 + seed % 3)
        assert gradients(static, x, w, n) == gradients(function, x, w, n), seed
    assert static.captures <= 2


def test_shared_weights_are_summed_as_in_dynamic_mode():
    """Two calls, accumulated into `.grad` over two steps, with an argument that takes no part and one that nothing reaches."""
    model = dg.static(lambda x, w, u: ((x * w).tanh() + w * w * x, u * 2.0), strict=True)

    def steps(call):
        x, w = arguments(5)
        u = dg.ones(2).requires_grad_()
        x.requires_grad_(False)
        seen = []
        w.register_hook(lambda g: seen.append(g.tolist()))
        for _ in range(2):
            out = call(x, w, u)[0]
            (call(out, w, u)[0] * w).sum().backward()
        return w.grad.tolist(), seen

    expected = steps(model.target)
    found = steps(model)
    assert found == expected
    assert len(found[1]) == 2


def test_chosen_inputs_of_several_calls():
    static = dg.static(straight, strict=True)

    def gradients(call):
        x, w = arguments(7)
        y = x.exp()
        a, b = call(y, w, 1)
        ((a * b) * y + call(y, w * y, 1)[0]).sum().backward(inputs=[w])
        assert x.grad is None
        return w.grad.tolist()

    assert gradients(static) == gradients(straight)


@pytest.mark.parametrize("create_graph", [False, True])
def test_an_argument_computed_from_another(create_graph):
    """What goes on from one argument to another does so once; the hooks of arguments see the whole gradient, once."""
    static = dg.static(straight, strict=True)

    def gradients(call):
        x, w = arguments(9)
        y = x * w
        seen = []
        y.register_hook(lambda g: seen.append(g.tolist()))
        w.register_hook(lambda g: g * 0.5)
        a, b = call(y, w, 1)
        c, d = call(w, y.sin(), 1)
        found = dg.autograd.grad((a * b * y + c * d).sum(), [x, w], create_graph=create_graph)
        return [g.tolist() for g in found], seen

    expected = gradients(straight)
    assert len(expected[1]) == 1
    assert gradients(static) == gradients(static) == expected
