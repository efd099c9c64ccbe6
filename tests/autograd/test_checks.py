"""The checkers of gradients: each of their arguments finds, or forgives, what PyTorch's does."""

import pytest
import torch

import duograph as dg
from duograph.errors import ArgumentError, GradError

LIBRARIES = [pytest.param(torch, id="torch"), pytest.param(dg, id="duograph")]
both = pytest.mark.parametrize("lib", LIBRARIES)


def leaf(lib, *values):
    return lib.tensor([float(v) for v in values], dtype=lib.float64, requires_grad=True)


def function(lib, forward, backward):
    return type("Made", (lib.autograd.Function,), {"forward": staticmethod(forward), "backward": staticmethod(backward)}).apply


OPTIONS = [
    {"eps": 1e-4, "atol": 1e-3},
    {"nondet_tol": 1e-3},
    {"check_undefined_grad": False},
    {"check_grad_dtypes": True},
    {"check_batched_grad": True},
    {"check_forward_ad": True},
    {"check_forward_ad": True, "check_backward_ad": False},
    {"fast_mode": True},
    {"masked": False},
]


@both
@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(o))
def test_right_gradients_pass(lib, options):
    x, y = leaf(lib, 0.5, 2), leaf(lib, 1, 3)
    if lib is torch and "check_forward_ad" in options:
        pytest.skip("its forward mode compiles with torch.jit, which it warns of")
    assert lib.autograd.gradcheck(lambda a, b, k: (a.sin() * b, a * k), (x, y, 3), **options)


@both
@pytest.mark.parametrize(
    "options",
    [{}, {"gen_non_contig_grad_outputs": True}, {"fast_mode": True}, {"check_fwd_over_rev": True}, {"check_batched_grad": True}],
    ids=lambda o: "-".join(o) or "plain",
)
def test_right_second_gradients_pass(lib, options):
    if lib is torch and "check_fwd_over_rev" in options:
        pytest.skip("its forward mode compiles with torch.jit, which it warns of")
    x = leaf(lib, 0.5, 2)
    assert lib.autograd.gradgradcheck(lambda a: a**3, (x,), **options)
    assert lib.autograd.gradgradcheck(lambda a: a**3, (x,), grad_outputs=leaf(lib, 1, 2))


@both
@pytest.mark.parametrize("fast", [False, True])
def test_wrong_gradients_fail(lib, fast):
    wrong = function(lib, lambda ctx, x: x * 2, lambda ctx, g: g * 3)
    with pytest.raises(RuntimeError):
        lib.autograd.gradcheck(wrong, leaf(lib, 1, 2), fast_mode=fast)
    assert lib.autograd.gradcheck(wrong, leaf(lib, 1, 2), fast_mode=fast, raise_exception=False) is False


def test_the_message_names_input_and_element():
    wrong = function(dg, lambda ctx, x, y: x * y, lambda ctx, g: (g, g * 0))
    with pytest.raises(GradError, match=r"gradcheck: the gradient of input 0 at element 1 is .*, by differences it is"):
        dg.autograd.gradcheck(wrong, (leaf(dg, 1, 2), leaf(dg, 1, 2)))


@both
def test_backward_that_gives_something_else_each_time(lib):
    def check(**options):
        count = [0]

        def backward(ctx, g):
            count[0] += 1
            return g * (2 + count[0] * 1e-9)

        made = function(lib, lambda ctx, x: x * 2, backward)
        return lib.autograd.gradcheck(made, leaf(lib, 1, 2), raise_exception=False, **options)

    assert not check()
    assert check(nondet_tol=1e-6)


def test_the_message_about_backward_that_is_not_deterministic():
    count = [0]

    def backward(ctx, g):
        count[0] += 1
        return g * (2 + count[0] * 1e-9)

    with pytest.raises(GradError, match="backward is not deterministic: the gradient of input 0 at element 0"):
        dg.autograd.gradcheck(function(dg, lambda ctx, x: x * 2, backward), leaf(dg, 1, 2))


def test_backward_that_fails_without_all_gradients():
    def forward(ctx, x):
        ctx.set_materialize_grads(False)
        return x * 2, x * 3

    made = function(dg, forward, lambda ctx, g, h: g * 2 + h * 3)
    with pytest.raises(GradError, match="gradcheck: backward fails where only output 0 has a gradient: TypeError"):
        dg.autograd.gradcheck(made, leaf(dg, 1, 2))
    assert dg.autograd.gradcheck(made, leaf(dg, 1, 2), check_undefined_grad=False)


@both
def test_second_gradients_that_are_wrong(lib):
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 3 * x.detach() ** 2

    made = function(lib, forward, backward)
    assert lib.autograd.gradcheck(made, leaf(lib, 1, 2))
    assert not lib.autograd.gradgradcheck(made, leaf(lib, 1, 2), raise_exception=False)


def test_inputs_that_cannot_be_checked():
    expanded = dg.ones(1, dtype=dg.float64).expand(3).requires_grad_()
    with pytest.raises(ArgumentError, match="gradcheck: input 0 shows one element at several places"):
        dg.autograd.gradcheck(lambda x: x * 2, expanded)
    with pytest.raises(ArgumentError, match="gradcheck: nothing is left to check"):
        dg.autograd.gradcheck(lambda x: x * 2, leaf(dg, 1), check_backward_ad=False)
