"""Hurwitz's zeta function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..definition import ELEMENTWISE, op
from ..dtypes import double_compute
from .choice import where
from .comparison import eq
from .exponentiation import pow
from .rounding import floor

if TYPE_CHECKING:
    from duograph._core import Tensor

    from ..definition import Operand

# Bernoulli numbers of even index over the factorials of their indices
_BERNOULLI = (
    0.08333333333333333, -0.001388888888888889, 3.306878306878307e-05, -8.267195767195768e-07, 2.08767569878681e-08,
    -5.284190138687493e-10, 1.3382536530684679e-11, -3.3896802963225827e-13, 8.586062056277845e-15,
)  # fmt: skip


@op(
    kind=ELEMENTWISE,
    dtypes=double_compute,
    space="special.zeta",
    tolerance=8,
    samples=lambda m: (
        [(m(3, 5, low=1.3, high=6.0), m(3, 5, low=0.3, high=9.0)), (m(7, low=1.5, high=4.0), m(low=0.5)), (2.5, m(4, low=0.5))]
        if m.is_float
        else []
    ),
)
def zeta(x: Operand, q: Operand) -> Tensor:
    """The sum of (q + k) ** -x over k = 0, 1, …: infinite for x of 1 and for whole q up to 0, NaN for x below 1.

    Ten terms, and the rest by Euler and Maclaurin. For other q below 0: NaN.

    Shapes:   x [*S], q [*T] → broadcast(S, T)
    Dtypes:   floats promote; integers and bool become the default float
    Gradient: to both, derived; to q it is -x * zeta(x + 1, q)
    Errors:   ShapeError if S and T do not broadcast
    Source:   torch.special.zeta

    >>> dg.special.zeta(tensor([2.0, 4.0]), 1.0)
    tensor([1.6449, 1.0823])
    """
    total: Any = pow(q, -x)
    for k in range(1, 10):
        total = total + pow(q + k, -x)
    end = q + 10.0
    last = pow(end, -x)
    rest = last * end / (x - 1.0) + last * 0.5
    inverse = 1.0 / end
    factor, term = x, last * inverse
    for i, number in enumerate(_BERNOULLI):
        rest = rest + term * factor * number
        factor = factor * (x + (2 * i + 1)) * (x + (2 * i + 2))
        term = term * inverse * inverse
    total = total + where(eq(last, 0), 0.0, rest)  # factors of a huge x are infinite
    below = where(eq(q, floor(q)), float("inf"), float("nan"))
    found = where(q > 0, where(eq(q, float("inf")), 0.0, total), where(q <= 0, below, q))
    return where(x > 1, found, where(eq(x, 1), float("inf"), float("nan")))
