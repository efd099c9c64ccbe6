"""The error functions and the gamma function's kin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph.errors import DomainError

from ..definition import ELEMENTWISE, function, op
from ..dtypes import double_compute, float_promote
from ..samples import unary
from .choice import where
from .exponentiation import square
from .rounding import trunc
from .unary import exp, reciprocal, sin

if TYPE_CHECKING:
    from duograph._core import Tensor

    from ..definition import Operand

_PI = 3.141592653589793


@op(kind=ELEMENTWISE, dtypes=float_promote, primitive="erfc", samples=unary(), inplace=True)
def erfc(x: Operand) -> Tensor:
    """1 - erf(x), accurate also where it is small (within 4 units in the last place in float64).

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: -2 / sqrt(pi) * exp(-x ** 2)
    Errors:   none
    Source:   torch.erfc

    >>> erfc(tensor([0.0, 1.0]))
    tensor([1.0000, 0.1573])
    """
    ...


@erfc.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g * (-1.1283791670955126 * exp(-(x * x)))


@op(kind=ELEMENTWISE, dtypes=float_promote, primitive="erfinv", samples=unary(-0.9, 0.9), inplace=True)
def erfinv(x: Operand) -> Tensor:
    """The number whose erf is x: infinite at 1 and -1, NaN beyond (within 4 units in the last place in float64).

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: sqrt(pi) / 2 * exp(out ** 2)
    Errors:   none
    Source:   Wichura 1988 (AS 241); torch.erfinv

    >>> erfinv(tensor([0.0, 0.5]))
    tensor([0.0000, 0.4769])
    """
    ...


@erfinv.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g * (0.886226925452758 * exp(out * out))


@op(kind=ELEMENTWISE, dtypes=float_promote, primitive="lgamma", samples=unary(0.2, 4.0), inplace=True, tolerance=4)
def lgamma(x: Operand) -> Tensor:
    """The logarithm of the absolute value of the gamma function; infinite at 0 and the negative whole numbers.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: digamma(x)
    Errors:   none
    Source:   torch.lgamma

    >>> lgamma(tensor([1.0, 5.0]))
    tensor([0.0000, 3.1781])
    """
    ...


@lgamma.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g * digamma(x)


@op(kind=ELEMENTWISE, dtypes=float_promote, primitive="digamma", samples=unary(0.2, 4.0), inplace=True, tolerance=8)
def digamma(x: Operand) -> Tensor:
    """The derivative of `lgamma`; NaN at the negative whole numbers.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: polygamma(1, x)
    Errors:   none
    Source:   torch.digamma

    >>> digamma(tensor([1.0, 5.0]))
    tensor([-0.5772,  1.5061])
    """
    ...


@digamma.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g * polygamma_of(x, 1)


# Bernoulli numbers of even index over the factorials of their indices
_BERNOULLI = (
    0.08333333333333333, -0.001388888888888889, 3.306878306878307e-05, -8.267195767195768e-07, 2.08767569878681e-08,
    -5.284190138687493e-10, 1.3382536530684679e-11, -3.3896802963225827e-13, 8.586062056277845e-15,
)  # fmt: skip


def _power(x: Any, n: int) -> Any:
    """x ** n by products, n > 0."""
    result = None
    while n:
        if n & 1:
            result = x if result is None else result * x
        x = x * x
        n >>= 1
    return result


def _torch_polygamma(torch: Any, x: Any, n: int) -> Any:
    """By its zeta function: polygamma itself has nine digits there for n = 1."""
    sign = 1.0 if n % 2 else -1.0
    return (
        sign
        * torch.special.zeta(torch.tensor(n + 1.0, dtype=x.dtype if x.is_floating_point() else torch.float32), x)
        * (1, 1, 2, 6)[n]
    )


def _zeta(s: int, q: Any) -> Any:
    """The sum of (q + k) ** -s over k = 0, 1, …, for q > 0: ten terms, and the rest by Euler and Maclaurin."""
    total = _power(reciprocal(q), s)
    for k in range(1, 10):
        total = total + _power(reciprocal(q + k), s)
    inverse = reciprocal(q + 10)
    last = _power(inverse, s)
    total = total + _power(inverse, s - 1) / (s - 1) + last * 0.5
    factor, term = float(s), last * inverse
    for i, number in enumerate(_BERNOULLI):
        total = total + term * (number * factor)
        factor *= (s + 2 * i + 1) * (s + 2 * i + 2)
        term = term * square(inverse)
    return total


@op(
    kind=ELEMENTWISE,
    dtypes=double_compute,
    samples=lambda m: [(*call, n) for call, n in zip(unary(0.3, 4.0, special=())(m), (1, 2, 1, 3))],
    method="polygamma",
    public=False,
    inplace="polygamma_",
    tolerance=8,
    torch=_torch_polygamma,
)
def polygamma_of(x: Operand, n: int) -> Tensor:
    """The n-th derivative of `digamma`. For n of 2 and more x must be positive: NaN elsewhere.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: the (n + 1)-th
    Errors:   DomainError for an n that is negative or above 170
    Source:   torch.polygamma

    >>> tensor([1.0, 2.0]).polygamma(1)
    tensor([1.6449, 0.6449])
    """
    if n < 0:
        raise DomainError(f"polygamma: n must not be negative, got {n}")
    if n > 170:
        raise DomainError(f"polygamma: n must be at most 170, beyond which n! is more than any float64, got {n}")
    if n == 0:
        return digamma(x)
    factorial = 1.0
    for i in range(2, n + 1):
        factorial *= i
    if n > 1:
        positive_zeta = _zeta(n + 1, x) * (factorial if n % 2 else -factorial)
        return where(x > 0, positive_zeta, where(x == 0, float("inf") if n % 2 else float("-inf"), float("nan")))
    below = x < 0.5
    found = _zeta(2, where(below, 1 - x, x))
    turn = sin(_PI * (x - trunc(x)))
    return where(below, square(_PI / turn) - found, found)


@polygamma_of.vjp
def _(g: Any, out: Any, x: Any, n: Any) -> Any:
    return g * polygamma_of(x, n + 1)


@function(
    method=False,
    torch=lambda torch, n, x: _torch_polygamma(torch, x, n),
    samples=lambda m: [(1, m(3, 5, low=0.3, high=4.0)), (2, m(7, low=0.3))],
)
def polygamma(n: int, x: Tensor) -> Tensor:
    """The n-th derivative of `digamma`. For n of 2 and more x must be positive: NaN elsewhere.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: polygamma(n + 1, x)
    Errors:   DomainError for an n that is negative or above 170
    Source:   torch.polygamma

    >>> polygamma(1, tensor([1.0, 2.0]))
    tensor([1.6449, 0.6449])
    """
    return polygamma_of(x, n)


@op(
    kind=ELEMENTWISE,
    dtypes=float_promote,
    samples=lambda m: [(m(3, 5, low=1.5, high=4.0), 2), (m(7, low=2.5, high=4.0), 3)],
    inplace=True,
    tolerance=4,
)
def mvlgamma(x: Operand, p: int) -> Tensor:
    """The multivariate log-gamma function of dimension p; x must exceed (p - 1) / 2.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: the sum of digamma(x - i / 2) over i < p
    Errors:   DomainError for p below 1
    Source:   torch.mvlgamma

    >>> mvlgamma(tensor([3.0]), 2)
    tensor([1.5502])
    """
    if p < 1:
        raise DomainError(f"mvlgamma: p must be positive, got {p}")
    total = lgamma(x)
    for i in range(1, p):
        total = total + lgamma(x - i / 2)
    return total + p * (p - 1) / 4 * 1.1447298858494002


@mvlgamma.vjp
def _(g: Any, out: Any, x: Any, p: Any) -> Any:
    total = digamma(x)
    for i in range(1, p):
        total = total + digamma(x - i / 2)
    return g * total
