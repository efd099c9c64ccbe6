"""Modified Bessel functions of the first kind.

Up to 8 their power series in x ** 2 / 4, all of whose terms are positive; beyond it a polynomial in 16 / x - 1 (Chebyshev
economised, from 40 digits) times exp(x) / sqrt(x). Computed in float64 for every dtype.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..definition import ELEMENTWISE, op
from ..dtypes import double_compute
from ..samples import SPECIAL, unary
from .arithmetic import abs, sign
from .choice import where
from .unary import exp, sqrt

if TYPE_CHECKING:
    from duograph._core import Tensor

    from ..definition import Operand

_TERMS = 24  # of the power series: 16 ** k / k! ** 2 is below 1e-18 of the sum
_SPLIT = 8.0
_EXP_SPLIT = 2980.9579870417283
_FINITE = tuple(x for x in SPECIAL if x * 0 == 0)

_LARGE_0 = (
    -7.06893851181878e-11, -1.9216763724933513e-11, 5.181936971288284e-10, 1.4672236659214398e-10, -1.7789375042917173e-09,
    -5.562201990080394e-10, 3.881151253996067e-09, 1.497880830187091e-09, -6.188265090497361e-09, -3.4857887470034955e-09,
    7.58022133915272e-09, 7.540601378890834e-09, -5.4685974495866e-09, -1.3404241991980871e-08, -6.729724111923548e-09,
    7.553516470355896e-09, 2.1545177650836005e-08, 3.932602459703109e-08, 8.87225351128584e-08, 2.973598432479169e-07,
    1.4838475473607391e-06, 1.1143033791556743e-05, 0.00013621607439232746, 0.003360551983667854, 0.4021765094450081,
)  # fmt: skip
_LARGE_1 = (
    7.347992441734663e-11, 1.7502497778701306e-11, -5.388285995923524e-10, -1.342266320082222e-10, 1.8513716745511988e-09,
    5.146498826087142e-10, -4.047785403711858e-09, -1.4171698018664596e-09, 6.4870195719816896e-09, 3.406636130196794e-09,
    -8.044231276166508e-09, -7.630751970065577e-09, 6.040877342160988e-09, 1.4029693589852716e-08, 6.715795128085017e-09,
    -8.426622829598154e-09, -2.337059627111857e-08, -4.312935369971356e-08, -1.0001323461066435e-07, -3.483855609009937e-07,
    -1.8349101134666435e-06, -1.5038547201176271e-05, -0.00021923576383430274, -0.009749577193235728, 0.38939845902587233,
)  # fmt: skip


def horner(x: Any, coefficients: tuple[float, ...]) -> Any:
    """The polynomial with these coefficients, that of the highest power first."""
    total = coefficients[0]
    for c in coefficients[1:]:
        total = total * x + c
    return total


def _series(order: int) -> tuple[float, ...]:
    """1 / (k! (k + order)!), the last first."""
    found = [1.0]
    for k in range(1, _TERMS):
        found.append(found[-1] / (k * (k + order)))
    return tuple(reversed(found))


def bessel_i(x: Any, order: int, scaled: bool) -> Any:
    """Of the size of x: I_order, times exp(-x) if scaled."""
    size = abs(x)
    half = size * 0.5
    near = horner(half * half, _series(order))
    if order:
        near = near * half
    far = horner(16.0 / size - 1.0, _LARGE_1 if order else _LARGE_0) / sqrt(size)
    infinite = size == float("inf")
    if scaled:
        return where(size <= _SPLIT, near * exp(-size), where(infinite, 0.0, far))
    return where(size <= _SPLIT, near, where(infinite, size, far * _EXP_SPLIT * exp(size - _SPLIT)))


def _signed(x: Any, scaled: bool) -> Any:
    found = bessel_i(x, 1, scaled)
    return where(x < 0, -found, found)


@op(kind=ELEMENTWISE, dtypes=double_compute, samples=unary(-12.0, 12.0, _FINITE), inplace=True, tolerance=4)
def i0(x: Operand) -> Tensor:
    """The modified Bessel function of the first kind, of order 0.

    Within 4 units in the last place of the exact value in float64, 1 in the narrower dtypes.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: i1(x)
    Errors:   none
    Source:   torch.special.i0

    >>> i0(tensor([0.0, 1.0]))
    tensor([1.0000, 1.2661])
    """
    return bessel_i(x, 0, False)  # type: ignore[no-any-return]


@i0.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g * i1(x)


@op(kind=ELEMENTWISE, dtypes=double_compute, samples=unary(-12.0, 12.0), tolerance=4, space="special.i0e")
def i0e(x: Operand) -> Tensor:
    """exp(-|x|) * i0(x): the modified Bessel function of order 0 without its growth.

    Within 4 units in the last place of the exact value in float64, 1 in the narrower dtypes.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: i1e(x) - sign(x) * out
    Errors:   none
    Source:   torch.special.i0e

    >>> dg.special.i0e(tensor([0.0, 1.0]))
    tensor([1.0000, 0.4658])
    """
    return bessel_i(x, 0, True)  # type: ignore[no-any-return]


@i0e.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g * (i1e(x) - sign(x) * out)


@op(kind=ELEMENTWISE, dtypes=double_compute, samples=unary(-12.0, 12.0, _FINITE), tolerance=4, space="special.i1")
def i1(x: Operand) -> Tensor:
    """The modified Bessel function of the first kind, of order 1.

    Within 4 units in the last place of the exact value in float64, 1 in the narrower dtypes.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: i0(x) - out / x, 1 / 2 at 0
    Errors:   none
    Source:   torch.special.i1

    >>> dg.special.i1(tensor([0.0, 1.0]))
    tensor([0.0000, 0.5652])
    """
    return _signed(x, False)  # type: ignore[no-any-return]


@i1.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g * where(x == 0, 0.5, i0(x) - out / x)


@op(kind=ELEMENTWISE, dtypes=double_compute, samples=unary(-12.0, 12.0), tolerance=4, space="special.i1e")
def i1e(x: Operand) -> Tensor:
    """exp(-|x|) * i1(x): the modified Bessel function of order 1 without its growth.

    Within 4 units in the last place of the exact value in float64, 1 in the narrower dtypes.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: i0e(x) - out * (sign(x) + 1 / x), 1 / 2 at 0
    Errors:   none
    Source:   torch.special.i1e

    >>> dg.special.i1e(tensor([0.0, 1.0]))
    tensor([0.0000, 0.2079])
    """
    return _signed(x, True)  # type: ignore[no-any-return]


@i1e.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g * where(x == 0, 0.5, i0e(x) - out * (sign(x) + 1.0 / x))
