"""Values that have no result, and odd ones that have one: against PyTorch."""

import math

import pytest
import torch

import duograph as dg
from duograph.errors import ArgumentError, DomainError

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
    "the range is empty": (lambda m: m.histc(m.ones(2), 4, 3, 1), "a range whose end is not below its start, got -2"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    call, message = REFUSED[name]
    with pytest.raises(RuntimeError):
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


def test_within_limits():
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
