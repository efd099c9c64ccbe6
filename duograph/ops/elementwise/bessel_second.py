"""Modified Bessel functions of the second kind.

Up to 2 their power series; beyond it a polynomial in 4 / x - 1 (Chebyshev economised, from 40 digits) times
exp(-x) / sqrt(x). Computed in float64 for every dtype.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..definition import ELEMENTWISE, op
from ..dtypes import double_compute
from ..samples import unary
from .bessel import bessel_i, horner
from .choice import where
from .comparison import eq
from .unary import exp, log, sqrt

if TYPE_CHECKING:
    from duograph._core import Tensor

    from ..definition import Operand

_TERMS = 16  # of the power series: 1 / k! ** 2 is below 1e-26
_GAMMA = 0.5772156649015329
_POSITIVE = (1.0, 0.5, 1e-30, 1e30, float("inf"), float("nan"))

_LARGE_0 = (
    -2.907778759714522e-11, 4.4463261136368365e-11, 1.126316337254519e-10, -1.5750973144552285e-10, -2.7839866456683264e-10,
    3.883027499295913e-10, 2.4099061000287124e-10, -2.426111314423373e-10, -6.304229346998433e-10, 1.0573777917720047e-09,
    -1.3806246402870368e-09, 3.170629957994259e-09, -7.539817679119423e-09, 1.731622598181986e-08, -4.126078580596855e-08,
    1.0287980689458582e-07, -2.6892248671184386e-07, 7.427932208028755e-07, -2.1911758052676744e-06, 7.002244287487694e-06,
    -2.473520470025926e-05, 9.956054749305854e-05, -0.00047976905676172516, 0.003032891810273794, -0.03107146182488956,
    1.2185953385133905,
)  # fmt: skip
_LARGE_1 = (
    3.150534991423443e-11, -4.829107281627596e-11, -1.216604821004258e-10, 1.704297529665342e-10, 3.015605420609579e-10,
    -4.2190635517826636e-10, -2.5722618233906385e-10, 2.560533082941635e-10, 6.970364983934073e-10, -1.180097808498307e-09,
    1.5795148419022103e-09, -3.639264909950171e-09, 8.683982534096674e-09, -2.0109398585523846e-08, 4.837695851929297e-08,
    -1.2195093824501613e-07, 3.229983779937386e-07, -9.067229884830243e-07, 2.7300392852920254e-06, -8.961205912549711e-06,
    3.2843865708633974e-05, -0.00013959021964175084, 0.0007357241549032677, -0.005566729880072931, 0.10334973775386527,
    1.363151890371342,
)  # fmt: skip


def _series(order: int) -> tuple[float, ...]:
    """What the powers of x ** 2 / 4 beside the logarithm are multiplied with, the last first."""
    found, factor, digamma = [], 1.0, -_GAMMA
    for k in range(_TERMS):
        if k:
            digamma += 1 / k
            factor /= k * (k + order)
        found.append(factor * (digamma + (digamma + 1 / (k + 1) if order else digamma)))
    return tuple(reversed(found))


def _bessel_k(x: Any, order: int, scaled: bool) -> Any:
    """K_order, times exp(x) if scaled: infinite at 0, NaN below."""
    half = x * 0.5
    rest = horner(half * half, _series(order)) * 0.5
    logarithm = log(half)
    first = bessel_i(x, order, False)
    near = 1.0 / x + logarithm * first - rest * half if order else rest - logarithm * first
    far = horner(4.0 / x - 1.0, _LARGE_1 if order else _LARGE_0) / sqrt(x)
    if scaled:
        near = near * exp(x)
    else:
        far = far * exp(-x)
    found = where(x <= 2.0, near, where(eq(x, float("inf")), 0.0, far))
    return where(eq(x, 0), float("inf"), where(x < 0, float("nan"), found))


@op(
    kind=ELEMENTWISE, dtypes=double_compute, samples=unary(0.05, 12.0, _POSITIVE), tolerance=4, space="special.modified_bessel_k0"
)
def modified_bessel_k0(x: Operand) -> Tensor:
    """The modified Bessel function of the second kind, of order 0.

    Within 8 units in the last place of the exact value in float64, 1 in the narrower dtypes.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: -modified_bessel_k1(x)
    Errors:   none
    Source:   torch.special.modified_bessel_k0

    >>> dg.special.modified_bessel_k0(tensor([1.0, 2.0]))
    tensor([0.4210, 0.1139])
    """
    return _bessel_k(x, 0, False)  # type: ignore[no-any-return]


@modified_bessel_k0.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return -g * modified_bessel_k1(x)


@op(
    kind=ELEMENTWISE, dtypes=double_compute, samples=unary(0.05, 12.0, _POSITIVE), tolerance=4, space="special.modified_bessel_k1"
)
def modified_bessel_k1(x: Operand) -> Tensor:
    """The modified Bessel function of the second kind, of order 1.

    Within 8 units in the last place of the exact value in float64, 1 in the narrower dtypes.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: -modified_bessel_k0(x) - out / x
    Errors:   none
    Source:   torch.special.modified_bessel_k1

    >>> dg.special.modified_bessel_k1(tensor([1.0, 2.0]))
    tensor([0.6019, 0.1399])
    """
    return _bessel_k(x, 1, False)  # type: ignore[no-any-return]


@modified_bessel_k1.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return -g * (modified_bessel_k0(x) + out / x)


@op(
    kind=ELEMENTWISE,
    dtypes=double_compute,
    samples=unary(0.05, 12.0, _POSITIVE),
    tolerance=4,
    space="special.scaled_modified_bessel_k0",
)
def scaled_modified_bessel_k0(x: Operand) -> Tensor:
    """exp(x) * modified_bessel_k0(x).

    Within 8 units in the last place of the exact value in float64, 1 in the narrower dtypes.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: out - scaled_modified_bessel_k1(x)
    Errors:   none
    Source:   torch.special.scaled_modified_bessel_k0

    >>> dg.special.scaled_modified_bessel_k0(tensor([1.0, 2.0]))
    tensor([1.1445, 0.8416])
    """
    return _bessel_k(x, 0, True)  # type: ignore[no-any-return]


@scaled_modified_bessel_k0.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g * (out - scaled_modified_bessel_k1(x))


@op(
    kind=ELEMENTWISE,
    dtypes=double_compute,
    samples=unary(0.05, 12.0, _POSITIVE),
    tolerance=4,
    space="special.scaled_modified_bessel_k1",
)
def scaled_modified_bessel_k1(x: Operand) -> Tensor:
    """exp(x) * modified_bessel_k1(x).

    Within 8 units in the last place of the exact value in float64, 1 in the narrower dtypes.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: out * (1 - 1 / x) - scaled_modified_bessel_k0(x)
    Errors:   none
    Source:   torch.special.scaled_modified_bessel_k1

    >>> dg.special.scaled_modified_bessel_k1(tensor([1.0, 2.0]))
    tensor([1.6362, 1.0335])
    """
    return _bessel_k(x, 1, True)  # type: ignore[no-any-return]


@scaled_modified_bessel_k1.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g * (out * (1.0 - 1.0 / x) - scaled_modified_bessel_k0(x))
