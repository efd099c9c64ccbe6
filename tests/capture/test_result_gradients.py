"""Gradients with respect to results of a static function, through its other results: as in dynamic mode, to the bit."""

from __future__ import annotations

import itertools
import re

import pytest

import duograph as dg
from duograph.errors import GradError

FIRST = {"scaled": lambda x: x * 2, "sine": lambda x: x.sin(), "itself": lambda x: x, "part": lambda x: x[1:].repeat(2)[:3]}
SECOND = {
    "product": lambda x, a: a * x,
    "view": lambda x, a: a.reshape(3, 1),
    "other": lambda x, a: x.exp(),
    "cut": lambda x, a: a.detach() * x,
    "same": lambda x, a: a,
}
THIRD = {
    "both": lambda x, a, b: a * b.reshape(3) + x,
    "one": lambda x, a, b: b.tanh(),
    "sums": lambda x, a, b: (a * a).sum() + (b * a.reshape(b.shape)).sum() * b.sum(),
}


def programs():
    for names in itertools.product(FIRST, SECOND, THIRD):
        first, second, third = FIRST[names[0]], SECOND[names[1]], THIRD[names[2]]

        def function(x, first=first, second=second, third=third):
            a = first(x)
            b = second(x, a)
            return a, b, third(x, a, b)

        yield pytest.param(function, id="-".join(names))


def outcome(of, to):
    try:
        return listed(dg.autograd.grad(of.sum(), to))
    except GradError as error:
        return str(error).split("\n")[0]


def listed(tensors):
    return [None if t is None else t.tolist() for t in tensors]


def gradients(function, create_graph):
    """With respect to all results and the argument, of each of the results."""
    x = dg.tensor([0.3, 0.7, -0.2], requires_grad=True)
    results = function(x)
    found = []
    for of in results:
        grads = dg.autograd.grad((of * of).sum(), (*results, x), allow_unused=True, retain_graph=True, create_graph=create_graph)
        found.append(listed(grads))
        if create_graph:
            loss = sum((g * g).sum() for g in grads if g is not None)
            found.append(listed(dg.autograd.grad(loss, (x, *results), allow_unused=True, retain_graph=True)))
    return found


def single_gradients(function):
    """Each by itself, of a call of its own."""
    found = []
    for of, to in itertools.permutations(range(3), 2):
        x = dg.tensor([0.3, 0.7, -0.2], requires_grad=True)
        results = function(x)
        found.append(outcome(results[of], results[to]))
    return found


def hooks(function):
    found = []
    for hooked in range(3):
        x = dg.tensor([0.3, 0.7, -0.2], requires_grad=True)
        results = function(x * 1)
        results[hooked].register_hook(lambda g: found.append(g.tolist()))
        results[hooked].register_hook(lambda g: g * 3)
        results[hooked].retain_grad()
        (results[1].sum() + (results[2] * results[2]).sum()).backward()
        found.append(listed([results[hooked].grad, x.grad]))
    return found


@pytest.mark.parametrize("function", list(programs()))
def test_gradients_between_results(function):
    static = dg.static(function, strict=True)
    for question in (lambda f: gradients(f, False), lambda f: gradients(f, True), single_gradients, hooks):
        assert question(static) == question(function)


def test_a_hook_of_the_function_comes_before_what_a_result_gets():
    def function(x):
        z = x * 2
        z.register_hook(lambda g: g * 3)
        return z

    def run(function):
        x = dg.tensor([1.0, 2.0], requires_grad=True)
        z = function(x)
        z.register_hook(lambda g: g + 1)
        return listed(dg.autograd.grad(z.sum(), (z, x)))

    assert run(function) == [[4.0, 4.0], [8.0, 8.0]]
    assert run(dg.static(function)) == run(function)


def test_calls_of_calls():
    def function(x):
        z = x.sin()
        return z, z * x

    def run(function):
        x = dg.tensor([0.3, 0.7, -0.2], requires_grad=True)
        z, y = function(x)
        again, last = function(y)
        return listed(dg.autograd.grad(last.sum(), (z, y, again, x)))

    assert run(dg.static(function, strict=True)) == run(function)


def test_a_module_whose_results_depend_on_one_another():
    class Pair(dg.nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = dg.nn.Linear(3, 4), dg.nn.Linear(4, 3)

        def forward(self, x):
            hidden = self.a(x).tanh()
            return hidden, self.b(hidden) * x

    dg.manual_seed(1)
    module = Pair()

    def run(module):
        x = dg.tensor([[0.3, 0.7, -0.2]], requires_grad=True)
        hidden, y = module(x)
        hidden.retain_grad()
        (y * y).sum().backward(inputs=[x, module.a.weight, hidden])
        found = listed([x.grad, module.a.weight.grad, hidden.grad])
        module.zero_grad()
        return found

    assert run(dg.static(module, strict=True)) == run(module)


def test_what_was_written_since_cannot_be_run_again():
    scale = dg.tensor([2.0, 3.0])

    @dg.static
    def function(x):
        z = x + scale
        return z, z * x

    x = dg.tensor([1.0, 2.0], requires_grad=True)
    z, y = function(x)
    scale.add_(1)
    assert listed(dg.autograd.grad(y.sum(), x, retain_graph=True)) == [[4.0, 7.0]]  # does not ask for it
    with pytest.raises(GradError, match="a tensor that it reads was written in place since the call"):
        dg.autograd.grad(y.sum(), z)


def test_inside_of_another_static_function_it_is_refused():
    @dg.static
    def function(x):
        z = x * 2
        return z, z * x

    x = dg.tensor([1.0, 2.0], requires_grad=True)
    z, y = function(x)

    @dg.static
    def outer():
        return dg.autograd.grad((y * 2).sum(), z)[0]

    with pytest.raises(GradError, match="the gradient of one of its results through another"):
        outer()


def view_of_the_argument(x):
    return (x.view(3, 1),)


def several_views(x):
    z = x * 2
    return z.view(3, 1), z[1:], z.detach(), z


def views_of_what_is_hidden(x):
    z = x * 2
    return z.view(3, 1), z[1:], z.detach()


def written_inside(x):
    z = x * 2
    v = z[1:]
    v.mul_(x[1:])
    return z, v


class Held:
    def __init__(self):
        self.z = None


held = Held()


def held_elsewhere(x):
    held.z = x * 2
    return held.z[1:], held.z.view(3, 1)


@pytest.mark.parametrize(
    "function", [view_of_the_argument, several_views, views_of_what_is_hidden, written_inside, held_elsewhere]
)
@pytest.mark.parametrize("written", range(5))
def test_results_share_memory_and_histories(function, written):
    def run(function):
        x = dg.tensor([0.3, 0.7, -0.2], requires_grad=True)
        given = x * 1
        results = [*function(given), given]
        if written >= len(results):
            return [None]
        results[written].mul_(3)
        found = [listed(results), [[a._base is b for b in results] for a in results]]
        try:
            loss = sum((r * r).sum() for r in results)
            found.append(listed(dg.autograd.grad(loss, x, retain_graph=True)))
            (first,) = dg.autograd.grad(loss, x, create_graph=True)
            targets = (x, *(r for r in results if r.requires_grad))
            found.append(listed(dg.autograd.grad((first * results[0].sum()).sum(), targets, allow_unused=True)))
        except GradError as error:
            assert results[written] is given
            assert re.search("was (over)?written in place", str(error))
        return found

    static = dg.static(function, strict=True)
    for _ in range(2):
        expected, found = run(function), run(static)
        common = min(len(expected), len(found))  # each mode has values of its own that must not be overwritten
        assert found[:common] == expected[:common]


def test_views_of_arguments_of_any_size_share_their_memory():
    def function(x):
        return x[1:].reshape(-1, 1)

    static = dg.static(function)
    for n in (3, 5, 7):
        x = dg.arange(n, dtype=dg.float32).requires_grad_()
        given = x * 2
        part = static(given)
        part.mul_(3)
        (given * given).sum().backward()
        assert given.tolist() == [2.0 * i * (3 if i else 1) for i in range(n)]
        assert x.grad.tolist() == [2.0 * (2 * i * 3) * 6 if i else 0.0 for i in range(n)]
    assert static.compilations == 2


def test_gradients_through_what_a_call_left_behind():
    seen, table = [], {}

    def function(x):
        seen.append(x * 2)
        table["a"] = (x * 3, 1)
        return seen[-1] * x

    def run(function):
        seen.clear()
        x = dg.tensor([0.3, 0.7, -0.2], requires_grad=True)
        y = function(x)
        (first,) = dg.autograd.grad((y * y * seen[-1] * table["a"][0]).sum(), x, create_graph=True)
        return listed([first, *dg.autograd.grad(first.sum(), (x, seen[-1], table["a"][0]))])

    assert run(dg.static(function, strict=True)) == run(function)


def test_a_result_may_keep_its_gradient():
    def function(x):
        z = x * 2
        z.retain_grad()
        return z, z * x

    def run(function):
        x = dg.tensor([0.3, 0.7, -0.2], requires_grad=True)
        z, y = function(x)
        y.sum().backward()
        return listed([z.grad, x.grad])

    assert run(dg.static(function, strict=True)) == run(function)
