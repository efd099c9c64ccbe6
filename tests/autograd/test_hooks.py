"""Functions hung on gradients: of tensors, of leaves whose `.grad` is up to date, of nodes; as PyTorch runs them."""

import pytest
import torch

import duograph as dg
from duograph.errors import ArgumentError, GradError

LIBRARIES = [pytest.param(torch, id="torch"), pytest.param(dg, id="duograph")]


def leaf(lib, *values):
    return lib.tensor([float(v) for v in values], requires_grad=True)


@pytest.mark.parametrize("lib", LIBRARIES)
def test_hooks_run_in_order_and_each_sees_what_the_one_before_gave(lib):
    x, seen = leaf(lib, 1, 2), []
    y = x * 2
    y.register_hook(lambda g: g * 3)
    y.register_hook(lambda g: seen.append(("y", g.tolist())))
    x.register_hook(lambda g: g + 1)
    x.register_hook(lambda g: seen.append(("x", g.tolist())))
    y.sum().backward()
    assert seen == [("y", [3, 3]), ("x", [7, 7])] and x.grad.tolist() == [7, 7]


@pytest.mark.parametrize("lib", LIBRARIES)
def test_hooks_registered_or_removed_by_hooks_count_from_the_next_time_on(lib):
    for of_leaf in (True, False):
        x, log = leaf(lib, 1, 2), []
        y = x if of_leaf else x * 2

        def register(g, y=y, log=log):
            log.append("a")
            y.register_hook(lambda g: log.append("b"))

        handle = y.register_hook(register)
        gone = y.register_hook(lambda g, log=log: log.append("c"))
        y.register_hook(lambda g, gone=gone: gone.remove())
        y.sum().backward(retain_graph=True)
        assert log == ["a", "c"]
        handle.remove()
        handle.remove()
        y.sum().backward()
        assert log == ["a", "c", "b"]


@pytest.mark.parametrize("lib", LIBRARIES)
def test_a_hook_is_removed_from_what_it_was_registered_on(lib):
    x, log = leaf(lib, 1, 2), []
    y = x * 2
    handle = y.register_hook(lambda g: log.append("before the write"))
    y.mul_(3)
    handle.remove()
    y.register_hook(lambda g: log.append("after"))
    y.sum().backward()
    assert log == ["after"]


@pytest.mark.parametrize("lib", LIBRARIES)
def test_hooks_of_views_and_of_what_is_written(lib):
    x, log = leaf(lib, 1, 2, 3), []
    y = x * 2
    v = y[:2]
    v.register_hook(lambda g: log.append(("v", g.tolist())))
    y.register_hook(lambda g: log.append(("y", g.tolist())))
    v.mul_(3)
    y.register_hook(lambda g: log.append(("y written", g.tolist())))
    v.register_hook(lambda g: log.append(("v written", g.tolist())))
    y.sum().backward()
    assert log == [("y written", [1, 1, 1]), ("y", [3, 3, 1])]
    assert x.grad.tolist() == [6, 6, 2]


@pytest.mark.parametrize("lib", LIBRARIES)
def test_hooks_of_a_leaf_run_as_soon_as_its_gradient_is_complete(lib):
    log, a, b = [], leaf(lib, 1), leaf(lib, 1)
    h = a * 2
    h.register_hook(lambda g: log.append("h"))
    a.register_hook(lambda g: log.append("a"))
    b.register_hook(lambda g: log.append("b"))
    (h * b).sum().backward()
    assert log == ["b", "h", "a"]


@pytest.mark.parametrize("lib", LIBRARIES)
def test_hooks_after_accumulation_see_grad(lib):
    x, log = leaf(lib, 1, 2), []
    handle = x.register_post_accumulate_grad_hook(lambda p: log.append((p is x, p.grad.tolist())))
    x.register_hook(lambda g: g * 2)
    (x * 2).sum().backward()
    (x * 2).sum().backward()
    lib.autograd.grad((x * 2).sum(), x)  # adds nothing to .grad
    handle.remove()
    (x * 2).sum().backward()
    assert log == [(True, [4, 4]), (True, [8, 8])]


@pytest.mark.parametrize("lib", LIBRARIES)
def test_hooks_after_accumulation_step_while_others_wait(lib):
    w = [leaf(lib, 1, 2), leaf(lib, 3, 4)]
    free = []

    def step(p):
        with lib.no_grad():
            p -= 0.1 * p.grad
        p.grad = None
        free.append([q.grad is None for q in w])

    for p in w:
        p.register_post_accumulate_grad_hook(step)
    (w[0] * 2 * w[1]).sum().backward()
    assert free == [[True, True]] * 2  # never both gradients
    assert [[round(v, 4) for v in p.tolist()] for p in w] == [[0.4, 1.2], [2.8, 3.6]]
    log = []
    w[0].register_post_accumulate_grad_hook(lambda p: log.append(0))
    w[1].register_post_accumulate_grad_hook(lambda p: log.append(1))
    (w[0] * w[1]).sum().backward(inputs=[w[0]])
    assert log == [0] and w[1].grad is None


@pytest.mark.parametrize("lib", LIBRARIES)
def test_what_cannot_have_a_hook_after_accumulation(lib):
    refused = (RuntimeError, TypeError) if lib is torch else GradError
    x = leaf(lib, 1, 2)
    for tensor in (x * 2, lib.ones(2)):
        with pytest.raises(refused):
            tensor.register_post_accumulate_grad_hook(lambda p: None)
    x.register_post_accumulate_grad_hook(lambda p: 3)
    with pytest.raises(refused, match="hook"):
        x.sum().backward()
    assert x.grad.tolist() == [1, 1]


def test_a_hook_must_be_a_function():
    with pytest.raises(ArgumentError, match="register_post_accumulate_grad_hook: expected a function"):
        leaf(dg, 1).register_post_accumulate_grad_hook(3)


def test_an_error_in_a_hook_keeps_its_type_and_leaves_other_leaves_alone():
    x, z = leaf(dg, 1, 2), leaf(dg, 1, 2)

    def fails(g):
        raise KeyError("mine")

    x.register_hook(fails)
    with pytest.raises(KeyError, match="mine"):
        (z * x * 2).sum().backward()
    assert x.grad is None and z.grad is None


@pytest.mark.parametrize("lib", LIBRARIES)
def test_hooks_of_nodes(lib):
    x, log = leaf(lib, 1, 2), []
    y = x * 2
    values = lambda gradients: [None if g is None else g.tolist() for g in gradients]  # noqa: E731
    after = y.grad_fn.register_hook(lambda into, out: log.append((values(into)[0], values(out))))
    before = y.grad_fn.register_prehook(lambda out: (out[0] * 3,))
    y.sum().backward(retain_graph=True)
    assert log == [([6, 6], [[3, 3]])] and x.grad.tolist() == [6, 6]
    before.remove()
    after.remove()
    y.sum().backward()
    assert len(log) == 1 and x.grad.tolist() == [8, 8]


def test_a_hook_of_a_node_gives_as_many_gradients_as_it_got():
    y = leaf(dg, 1, 2) * 2
    y.grad_fn.register_prehook(lambda out: (out[0], out[0]))
    with pytest.raises(GradError, match="mul: a hook gave 2 gradients for 1"):
        y.sum().backward()


def test_static_functions_run_hooks_after_accumulation():
    def train(static):
        p = dg.tensor([1.0, 2.0], requires_grad=True)

        def step(p):
            with dg.no_grad():
                p -= 0.1 * p.grad
            p.grad = None

        p.register_post_accumulate_grad_hook(step)

        def run(x):
            ((p * x) ** 2).sum().backward()

        run = dg.static(run, strict=True) if static else run
        for k in range(3):
            run(dg.tensor([1.0, k]))
        return p.tolist(), p.grad

    assert train(True) == train(False)
    assert train(True)[1] is None


@pytest.mark.parametrize("lib", LIBRARIES)
def test_one_hook_of_several_gradients(lib):
    a, b, c, log, first = leaf(lib, 1, 2), leaf(lib, 1, 2), leaf(lib, 1, 2), [], []
    values = lambda gradients: [None if g is None else g.tolist() for g in gradients]  # noqa: E731
    register = lib.autograd.graph.register_multi_grad_hook
    product = a * b
    handle = register([product, b, c], lambda gradients: log.append(values(gradients)))
    other = register([a, c], lambda g: first.append(g.tolist()), mode="any")
    (product * 2 + b * 3).sum().backward(retain_graph=True)
    (c * 2).sum().backward()
    (product + c).sum().backward()
    assert log == [[[2, 2], [5, 7], None], [None, None, [2, 2]], [[1, 1], [1, 2], [1, 1]]]
    assert first[:2] == [[2, 4], [2, 2]] and len(first) == 3
    handle.remove()
    other.remove()
    (c * 2).sum().backward()
    assert len(log) == 3 and len(first) == 3


def test_one_hook_of_several_gradients_in_static_functions():
    a = leaf(dg, 1, 2)

    def step(x):
        seen = []
        handle = dg.autograd.graph.register_multi_grad_hook([a], lambda gradients: seen.append(gradients[0] * 2))
        (a * x).sum().backward()
        handle.remove()
        return seen[0]

    static = dg.static(step)
    for values in ([1.0, 2.0], [5.0, 3.0]):
        assert static(dg.tensor(values)).tolist() == [2 * v for v in values]
    with pytest.raises(ArgumentError, match="mode must be 'all' or 'any', got 'each'"):
        dg.autograd.graph.register_multi_grad_hook([a], print, mode="each")
