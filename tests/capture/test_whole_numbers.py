"""Functions of whole numbers that change: a capture for each outcome, not for each number."""

import math

import pytest

import duograph as dg

SIZES = (4, 5, 6, 7, 8, 9, 10, 12, 13, 24, 5, 7, 11, 36, 50, 60, 70, 0, 1)
FUNCTIONS = {
    "gcd of a size": (lambda x, k: x * math.gcd(x.shape[0], 12), lambda n: math.gcd(n, 12)),
    "gcd of a constant": (lambda x, k: x * math.gcd(-8, k), lambda n: math.gcd(8, n)),
    "gcd that bounds": (lambda x, k: x[: math.gcd(2 * x.shape[0], 6)] + 1, lambda n: math.gcd(2 * n, 6)),
    "isqrt": (lambda x, k: x * math.isqrt(x.shape[0]), math.isqrt),
    "isqrt of a number": (lambda x, k: x * math.isqrt(k), math.isqrt),
    "divmod": (lambda x, k: x * divmod(x.shape[0], 4)[0] + divmod(k, 4)[1], lambda n: n == 0),
    "prod": (lambda x, k: x * math.prod((*x.shape, k)), lambda n: n == 0),
}


@pytest.mark.filterwarnings("ignore::duograph.errors.CaptureWarning")
@pytest.mark.parametrize(("function", "outcome"), FUNCTIONS.values(), ids=FUNCTIONS)
def test_captures_follow_outcomes(function, outcome):
    static = dg.static(function)
    for n in SIZES:
        assert static(dg.ones(n), n).tolist() == function(dg.ones(n), n).tolist(), n
    assert static.captures <= len({outcome(n) for n in SIZES}) + 4


def test_what_python_refuses():
    static = dg.static(lambda x, k: x * math.isqrt(k))
    with pytest.raises(ValueError, match="nonnegative"):
        static(dg.ones(2), -1)
    assert static(dg.ones(2), 10).tolist() == [3, 3]
    assert dg.static(lambda x: x * math.gcd(4, 6) * math.gcd())(dg.ones(1)).tolist() == [0]


def test_a_side_whose_size_is_written_otherwise_keeps_its_gradient():
    def rolled(x, y):
        if y.max() < 0:
            x = dg.cat([y[1:], y[:1]], 0)
        return x * 1.0

    static = dg.static(rolled)
    for n in (3, 5, 4):
        for sign in (1.0, -1.0):
            x, y = dg.ones(n).requires_grad_(), dg.full((n,), sign).requires_grad_()
            static(x, y).sum().backward()
            assert (x if sign > 0 else y).grad.tolist() == [1.0] * n
