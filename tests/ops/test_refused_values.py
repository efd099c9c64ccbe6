"""Values that have no result, and odd ones that have one: against PyTorch."""

import math

import pytest
import torch

import duograph as dg
from duograph.errors import ArgumentError, DomainError, DTypeError

NAN, INF = math.nan, math.inf

REFUSED = {
    "all weights are 0": (lambda m: m.multinomial(m.zeros(3), 1), "weights whose sum is finite and above 0, got 0"),
    "a row is 0": (
        lambda m: m.multinomial(m.tensor([[1.0, 0], [0, 0]]), 2, True),
        "weights whose sum is finite and above 0, got 0",
    ),
    "a negative weight": (lambda m: m.multinomial(m.tensor([1.0, -1.0]), 1), "weights that are finite and not negative, got -1"),
    "a weight is NaN": (
        lambda m: m.multinomial(m.tensor([1.0, float("nan")]), 1, True),
        "weights that are finite and not negative, got nan",
    ),
    "above 1": (lambda m: m.bernoulli(m.tensor([0.5] * 40 + [1.5])), "probabilities between 0 and 1, got 1.5"),
    "below 0": (lambda m: m.bernoulli(m.tensor([-0.25])), "probabilities between 0 and 1, got -0.25"),
    "NaN": (lambda m: m.bernoulli(m.tensor([float("nan")], dtype=m.float64)), "probabilities between 0 and 1, got nan"),
    "a number": (lambda m: m.bernoulli(m.ones(2), 1.5), "probabilities between 0 and 1, got 1.5"),
    "in place": (lambda m: m.ones(2).bernoulli_(NAN), "probabilities between 0 and 1, got nan"),
    "elements are NaN": (lambda m: m.histc(m.tensor([1.0, float("nan")]), 4), "a range that is finite, got nan"),
    "elements are infinite": (lambda m: m.histc(m.tensor([1.0, -float("inf")]), 4), "a range that is finite, got -inf"),
    "the range is infinite": (lambda m: m.histc(m.ones(2), 4, 0, INF), "a range that is finite, got inf"),
    "an input is above 1": (
        lambda m: m.nn.functional.binary_cross_entropy(m.tensor([0.5, 1.5]), m.ones(2)),
        "an input between 0 and 1, got 1.5",
    ),
    "an input is NaN": (
        lambda m: m.nn.functional.binary_cross_entropy(m.tensor([0.5, float("nan")]), m.ones(2)),
        "an input between 0 and 1, got nan",
    ),
    "a target is below 0": (
        lambda m: m.nn.functional.binary_cross_entropy(
            m.tensor([0.5] * 40), m.tensor([0.5] * 39 + [-0.5]), None, reduction="none"
        ),
        "a target between 0 and 1, got -0.5",
    ),
    "a 16-bit input": (
        lambda m: m.nn.functional.binary_cross_entropy(m.tensor([0.5, -2.0], dtype=m.bfloat16), m.ones(2, dtype=m.bfloat16)),
        "an input between 0 and 1, got -2",
    ),
    "a var is negative": (
        lambda m: m.nn.functional.gaussian_nll_loss(m.ones(2, 3), m.ones(2, 3), m.tensor([[1.0], [-1.0]])),
        "a var that is not negative, got -1",
    ),
    "a number as var": (lambda m: m.nn.functional.gaussian_nll_loss(m.ones(2), m.ones(2), -1.0), "a var that is not"),
    "a beta is negative": (lambda m: m.nn.functional.smooth_l1_loss(m.ones(2), m.zeros(2), beta=-1.0), "a beta that is not"),
    "a delta of 0": (lambda m: m.nn.functional.huber_loss(m.ones(2), m.zeros(2), delta=0.0), "a delta above 0, got 0"),
    "a margin of 0": (
        lambda m: m.nn.functional.triplet_margin_loss(m.ones(1, 2), m.ones(1, 2), m.ones(1, 2), margin=0.0),
        "a margin above 0, got 0",
    ),
    "a margin below 0": (
        lambda m: m.nn.functional.triplet_margin_with_distance_loss(m.ones(1, 2), m.ones(1, 2), m.ones(1, 2), margin=-1.0),
        "a margin above 0, got -1",
    ),
    "too smooth": (
        lambda m: m.nn.functional.cross_entropy(m.ones(2, 3), m.tensor([1, 0]), label_smoothing=1.5),
        "label_smoothing must be between 0 and 1, got 1.5",
    ),
    "a maxnorm is negative": (lambda m: m.renorm(m.ones(2, 2), 2, 0, -1.0), "a maxnorm that is not negative, got -1"),
    "observed a negative number of times": (
        lambda m: m.cov(m.ones(2, 3), fweights=m.tensor([1, -1, 1])),
        "weights that are finite and not negative, got -1",
    ),
    "observations of negative weight": (
        lambda m: m.cov(m.ones(2, 3), aweights=m.tensor([1.0, -1.0, 1.0])),
        "weights that are finite and not negative, got -1",
    ),
    "an order below 0": (lambda m: m.cdist(m.ones(2, 2), m.ones(2, 2), -1.0), "p must not be negative"),
    "an order below 0 of one": (lambda m: m.pdist(m.ones(2, 2), -1.0), "p must not be negative"),
    "normal_": (lambda m: m.zeros(2).normal_(0, -1), "a std that is not negative, got -1"),
    "normal of tensors": (lambda m: m.normal(m.zeros(2), m.tensor([1.0, -1.0])), "a std that is not negative, got -1"),
    "log_normal_": (lambda m: m.zeros(2).log_normal_(0, -1), "a std that is not negative, got -1"),
    "uniform_": (lambda m: m.zeros(2).uniform_(2, 1), "a range whose end is not below its start, got -1"),
    "exponential_": (lambda m: m.zeros(2).exponential_(0), "a lambd above 0, got 0"),
    "geometric_": (lambda m: m.zeros(2).geometric_(1.5), "a p that is above 0 and at most 1, got 1.5"),
    "cauchy_": (lambda m: m.zeros(2).cauchy_(0, -1), "a sigma that is not negative, got -1"),
    "randint_like": (lambda m: m.randint_like(m.ones(2), 3, 1), "low must be below high, got 3 and 1"),
    "the range is empty": (lambda m: m.histc(m.ones(2), 4, 3, 1), "a range whose end is not below its start, got -2"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    call, message = REFUSED[name]
    with pytest.raises((RuntimeError, ValueError)):
        call(torch)
    with pytest.raises(DomainError, match=message):
        call(dg)
    with pytest.raises(DomainError, match=message):
        dg.static(lambda: call(dg))()


def test_what_a_branch_does_not_take_is_not_refused():
    @dg.static
    def drawn(p):
        if p.sum() <= 1:
            p = dg.bernoulli(p)
        return p

    assert drawn(dg.tensor([3.0])).tolist() == [3.0]
    assert drawn(dg.tensor([1.0])).tolist() == [1.0]
    with pytest.raises(DomainError, match="got -3"):
        drawn(dg.tensor([-3.0]))


def test_numbers_that_change_are_refused_when_they_do_not_fit():
    """What a static function checks of a number holds for the next number, too."""
    losses = dg.static(lambda x, beta: dg.nn.functional.smooth_l1_loss(x, x * 0, beta=beta))
    assert losses(dg.ones(2), 0.5).item() == 0.75 and losses(dg.ones(2), 1.0).item() == 0.5
    with pytest.raises(DomainError, match="a beta that is not negative, got -2"):
        losses(dg.ones(2), -2.0)


@pytest.mark.parametrize("name", ["uniform_", "normal_", "exponential_", "cauchy_", "log_normal_"])
def test_whole_numbers_are_not_drawn_from_continuous_distributions(name):
    with pytest.raises((NotImplementedError, RuntimeError)):
        getattr(torch.zeros(2, dtype=torch.int64), name)()
    with pytest.raises(DTypeError, match="needs a floating-point dtype, got int64"):
        getattr(dg.zeros(2, dtype=dg.int64), name)()


def test_checked_values_have_gradients_of_every_kind():
    mean, target = [[0.5, -1.0], [2.0, 0.25]], [[0.0, 1.0], [1.5, 2.0]]

    def hessian(m):
        var = m.tensor([0.5, 1.5], dtype=m.float64, requires_grad=True)
        given = (m.tensor(mean, dtype=m.float64), m.tensor(target, dtype=m.float64))
        loss = m.nn.functional.gaussian_nll_loss(*given, var)
        (first,) = m.autograd.grad(loss, var, create_graph=True)
        (second,) = m.autograd.grad(first.square().sum(), var)
        return [*first.tolist(), *second.tolist()]

    assert hessian(dg) == pytest.approx(hessian(torch), rel=1e-12)
    var, out = dg.tensor([0.5, 1.5]), dg.tensor(target)

    def losses(v):
        return dg.nn.functional.gaussian_nll_loss(dg.tensor(mean), out, v, reduction="none")

    assert dg.vmap(losses)(dg.stack([var, var]))[1].tolist() == losses(var).tolist()
    tangent = dg.func.jvp(lambda v: losses(v).sum(), (var,), (dg.ones(2),))[1].item()
    assert tangent == pytest.approx(dg.func.grad(lambda v: losses(v).sum())(var).sum().item(), rel=1e-6)
    with pytest.raises(DomainError, match="got -1"):
        dg.vmap(losses)(dg.tensor([[0.5, 1.5], [0.5, -1.0]]))


def test_numbers_as_var_keep_the_dtype():
    ours, theirs = (m.nn.functional.gaussian_nll_loss(m.ones(2), m.zeros(2), 2.0) for m in (dg, torch))
    assert ours.dtype == dg.float32 and ours.item() == pytest.approx(theirs.item())


def test_within_limits():
    assert dg.nn.functional.gaussian_nll_loss(dg.ones(2), dg.ones(2), dg.tensor([1.0, NAN])).isnan()
    assert dg.nn.functional.binary_cross_entropy(dg.tensor([0.0, 1.0]), dg.tensor([0.0, 1.0])).item() == 0
    assert dg.bernoulli(dg.tensor([0.0, 1.0, 1.0])).tolist() == [0, 1, 1]
    assert dg.multinomial(dg.tensor([0.0, 2.0]), 3, True).tolist() == [1, 1, 1]
    assert dg.histc(dg.tensor([1.0, NAN]), 4, 0, 2).tolist() == [0, 0, 1, 0]


SAME = {
    "softmax of nothing": lambda m: m.softmax(m.zeros(2, 0), 1),
    "softmax along nothing": lambda m: m.softmax(m.zeros(0, 3), 0),
    "log_softmax of nothing": lambda m: m.log_softmax(m.zeros(2, 0), -1),
    "logsumexp of nothing": lambda m: m.logsumexp(m.zeros(2, 0), 1),
    "histc of nothing": lambda m: m.histc(m.zeros(0), 4),
    "square of bool": lambda m: m.square(m.tensor([True, False])),
    "negative powers": lambda m: m.tensor([2, 1, -1, -1, 0, 3]) ** m.tensor([-1, -1, -1, -2, -1, 2]),
    "negative powers of int8": lambda m: m.tensor([2, -1], dtype=m.int8) ** m.tensor(-3, dtype=m.int8),
    "negative powers of a number": lambda m: 2 ** m.tensor([-1, 3]),
    "negative powers in place": lambda m: m.tensor([2, 1, -1]).pow_(m.tensor([-1, -1, 3])),
    "gather": lambda m: m.gather(m.tensor([5, 6]), 0, m.tensor([1, 1]), sparse_grad=False),
    "size": lambda m: m.tensor(m.zeros(2, 3).size(dim=-1)),
}


@pytest.mark.parametrize("name", SAME)
def test_the_same(name):
    ours, theirs = SAME[name](dg), SAME[name](torch)
    assert ours.tolist() == theirs.tolist() and tuple(ours.shape) == tuple(theirs.shape)
    assert str(ours.dtype).split(".")[1] == str(theirs.dtype).split(".")[1]


def test_gradients_of_softmax_over_nothing():
    x = dg.zeros(2, 0, requires_grad=True)
    (dg.softmax(x, 1).sum() + dg.log_softmax(x, 1).sum()).backward()
    assert x.grad.shape == (2, 0)


def test_numbers_as_negative_powers_are_refused():
    for call in (lambda: dg.tensor([1, 2]) ** -1, lambda: dg.tensor([1, 2]).pow_(-2)):
        with pytest.raises(DomainError, match="integers to negative integer powers are not allowed"):
            call()


@pytest.mark.parametrize("keyword", ["size_average", "reduce"])
@pytest.mark.parametrize("loss", ["mse_loss", "cross_entropy", "kl_div", "binary_cross_entropy"])
def test_deprecated_arguments_of_losses(loss, keyword):
    with pytest.raises(ArgumentError, match=f"{loss}: size_average and reduce are not taken") as raised:
        getattr(dg.nn.functional, loss)(dg.ones(2, 2), dg.ones(2, 2), **{keyword: False})
    assert "reduction='mean'" in str(raised.value)
    with pytest.raises(ArgumentError, match="MSELoss: size_average and reduce are not taken"):
        dg.nn.MSELoss(**{keyword: False})


def test_sparse_gradients_are_refused():
    with pytest.raises(ArgumentError, match="gather: gradients are dense here, sparse_grad must be False"):
        dg.gather(dg.tensor([5, 6]), 0, dg.tensor([1]), sparse_grad=True)


OVER_AN_OPERAND = {
    "shifted": (lambda x, **out: dg.add(x[:5], 1, **out), lambda x: x[1:]),
    "turned": (lambda x, **out: dg.add(x[:4].reshape(2, 2).T, 1, **out), lambda x: x[:4].reshape(2, 2)),
    "summed": (lambda x, **out: dg.cumsum(x[:5], 0, **out), lambda x: x[1:]),
    "multiplied": (lambda x, **out: dg.mm(x[:4].reshape(2, 2), x[1:5].reshape(2, 2), **out), lambda x: x[:4].reshape(2, 2)),
    "joined": (lambda x, **out: dg.cat((x[1:3], x[:2]), **out), lambda x: x[:4]),
    "looked up": (lambda x, **out: dg.index_select(x, 0, dg.tensor([1, 0]), **out), lambda x: x[:2]),
}


@pytest.mark.parametrize("name", OVER_AN_OPERAND)
def test_out_over_an_operand_gives_the_right_result(name):
    """PyTorch refuses most of these, and gives wrong numbers for `mm`; here operands are read before the target is written."""
    call, target = OVER_AN_OPERAND[name]
    x = dg.arange(6.0)
    made = call(x, out=target(x))
    assert made.tolist() == target(x).tolist() == call(dg.arange(6.0)).tolist()
