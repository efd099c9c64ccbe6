"""Bessel functions of the first and second kind, and the spherical one of order 0.

Up to 8 polynomials in x ** 2 (those of the second kind beside the logarithm); beyond it Hankel's two functions of
(8 / x) ** 2, which go with a cosine and a sine (DLMF 10.4 and 10.17). All polynomials are Chebyshev economised, from 40
digits. Computed in float64 for every dtype.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ..definition import ELEMENTWISE, op
from ..dtypes import double_compute
from ..samples import unary
from .arithmetic import abs
from .bessel import horner
from .choice import where
from .comparison import eq
from .unary import cos, log, sin, sqrt

if TYPE_CHECKING:
    from duograph._core import Tensor

    from ..definition import Operand

_SPLIT = 8.0
_PI = 3.141592653589793
_TWO_OVER_PI = 0.6366197723675814
_SIGNED = (0.0, 1.0, -1.0, 7.5, -8.5, 1e-30, float("nan"))
_POSITIVE = (1.0, 7.5, 8.5, 1e-30, 0.0, -1.0, float("nan"))

_NEAR_0 = (
    -3.6484329388735585e-16, 1.2874303364048614e-14, -3.9985533538794174e-13, 1.0910638219931294e-11, -2.582671980841818e-10,
    5.244551278304611e-09, -9.017421199710868e-08, 1.292461645008021e-06, -1.5153271722314e-05, 0.00014196824013296404,
    -0.0010317406967226281, 0.0055938922144599, -0.02145226864718184, 0.053901626807923125, -0.07915440204760084,
    0.058889736951126356, -0.02981782297313082,
)  # fmt: skip
_REST_0 = (
    2.558039436392922e-14, -8.840112096073101e-13, 2.681822137847736e-11, -7.13046146536789e-10, 1.6391065268260488e-08,
    -3.2185078445935923e-07, 5.321318633735116e-06, -7.279541882454115e-05, 0.0008061586060550644, -0.00702574105727097,
    0.0463670476813471, -0.21895747096171628, 0.6721770783431723, -1.0775477338215995, 0.14412632369302442, 1.6470964788745466,
    -0.8284358903604587, -0.382250654459425,
)  # fmt: skip
_EVEN_0 = (
    -1.180002783020184e-14, 3.339452259070809e-14, -6.416781008015415e-14, 2.4531772967345006e-13, -1.0636861151667625e-12,
    4.786995821368028e-12, -2.4882702786880542e-11, 1.5500565496632596e-10, -1.2121182069774233e-09, 1.280376144080092e-08,
    -2.0527448156307146e-07, 6.137416080109497e-06, -0.0005363673192130047, 0.9994572757882519,
)  # fmt: skip
_ODD_0 = (
    -7.657652788302387e-15, 1.7159223662634758e-14, -9.94348527082079e-15, 3.750385225206321e-14, -1.8114989811223087e-13,
    5.570266801419967e-13, -1.8315236532076327e-12, 6.878054876576861e-12, -2.8726953457199988e-11, 1.36265138876175e-10,
    -7.576280245550776e-10, 5.146225268539058e-09, -4.534972900180117e-08, 5.68497188761875e-07, -1.1817110661171062e-05,
    0.0005466519279475109, -0.12444091103610815,
)  # fmt: skip
_NEAR_1 = (
    1.2095547964761484e-14, -4.0045728425886457e-13, 1.1610590175819576e-11, -2.943013798001659e-10, 6.4312687983276065e-09,
    -1.196708186787801e-07, 1.8684525371950874e-06, -2.404574865968694e-05, 0.0002494945813909099, -0.0020290394945705996,
    0.012456814392255438, -0.05474581821284722, 0.15858376432721938, -0.2595948652859303, 0.15151665143806634,
    0.08105866038589796, -0.05814382795599107,
)  # fmt: skip
_REST_1 = (
    7.339060975161991e-16, -2.695138958384033e-14, 8.728810134833414e-13, -2.4887509903377128e-11, 6.169742613332968e-10,
    -1.3153322551127247e-08, 2.380492991366028e-07, -3.600999874357815e-06, 4.467433012914413e-05, -0.00044381734351149876,
    0.0034224907399180455, -0.019628756833099423, 0.07854786922242545, -0.19639839859930425, 0.23507209206669755,
    0.023367571720993584, -0.24337743079193114, 0.07075985882118005,
)  # fmt: skip
_EVEN_1 = (
    1.2489929194563941e-14, -3.5455617466606254e-14, 6.864486664846182e-14, -2.6335760672461096e-13, 1.1462229852806783e-12,
    -5.191158004646548e-12, 2.720406848040165e-11, -1.713107485294131e-10, 1.3603058049468316e-09, -1.4708512991275258e-08,
    2.4536766222672443e-07, -7.9596946984383e-06, 0.0008988049416705579, 1.0009070262780821,
)  # fmt: skip
_ODD_1 = (
    -1.804307200062192e-14, 4.275621822194818e-14, -3.9930634717453954e-14, 1.3996264453471973e-13, -5.930663429711533e-13,
    2.002728774766585e-12, -7.387575652695623e-12, 3.100364837230575e-11, -1.4819760550541304e-10, 8.316077350038262e-10,
    -5.720884228409981e-09, 5.136105997071193e-08, -6.63356856721788e-07, 1.4569614809851411e-05, -0.0007697167057643541,
    0.3742149922195918,
)  # fmt: skip


def _by_scipy(name: str) -> Any:
    """What tests compare with: PyTorch's own is off by up to 5e-7 around its zeros."""

    def reference(torch: Any, x: Any) -> Any:
        special = importlib.import_module("scipy.special")

        made = getattr(special, name)(x.to(torch.float64).numpy())
        return torch.as_tensor(made).to(x.dtype if x.is_floating_point() else torch.get_default_dtype())

    return reference


def _near(size: Any, order: int, table: tuple[float, ...]) -> Any:
    """A table's polynomial up to 8, times x for the odd order."""
    share = size / _SPLIT
    found = horner(2.0 * (share * share) - 1.0, table)
    return found * size if order else found


def _near_first(size: Any, order: int) -> Any:
    return _near(size, 1, _NEAR_1) if order else 1.0 + size * size * _near(size, 0, _NEAR_0)


def _far(size: Any, order: int, second: bool) -> Any:
    """Beyond 8: the first kind, or the second."""
    inverse = _SPLIT / size
    at = 2.0 * (inverse * inverse) - 1.0
    even, odd = horner(at, _EVEN_1 if order else _EVEN_0), horner(at, _ODD_1 if order else _ODD_0) / size
    wave, other = sin(size), cos(size)
    # √2 times cosine and sine of size - (order / 2 + 1 / 4) · pi
    cosine, sine = (wave - other, -(wave + other)) if order else (wave + other, wave - other)
    made = even * sine + odd * cosine if second else even * cosine - odd * sine
    return made / sqrt(_PI * size)


def _first(x: Any, order: int) -> Any:
    size = abs(x)
    found = where(size <= _SPLIT, _near_first(size, order), _far(size, order, False))
    return where(x < 0, -found, found) if order else found


def _second(x: Any, order: int) -> Any:
    first = _near_first(x, order)
    near = log(x) * first - 1.0 / x if order else log(x) * first
    near = near * _TWO_OVER_PI + _near(x, order, _REST_1 if order else _REST_0)
    found = where(x <= _SPLIT, near, _far(x, order, True))
    return where(eq(x, 0), -float("inf"), where(x < 0, float("nan"), found))


@op(
    kind=ELEMENTWISE,
    dtypes=double_compute,
    samples=unary(-20.0, 20.0, _SIGNED),
    tolerance=4,
    space="special.bessel_j0",
    torch=_by_scipy("j0"),
)
def bessel_j0(x: Operand) -> Tensor:
    """The Bessel function of the first kind, of order 0.

    Within 2e-15 of the exact value in float64 up to 8, beyond it within 1e-15 times sqrt(2 / (pi * x)).

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: -bessel_j1(x)
    Errors:   none
    Source:   torch.special.bessel_j0

    >>> dg.special.bessel_j0(tensor([1.0, 2.0]))
    tensor([0.7652, 0.2239])
    """
    return _first(x, 0)  # type: ignore[no-any-return]


@bessel_j0.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return -g * bessel_j1(x)


@op(
    kind=ELEMENTWISE,
    dtypes=double_compute,
    samples=unary(-20.0, 20.0, _SIGNED),
    tolerance=4,
    space="special.bessel_j1",
    torch=_by_scipy("j1"),
)
def bessel_j1(x: Operand) -> Tensor:
    """The Bessel function of the first kind, of order 1.

    Within 2e-15 of the exact value in float64 up to 8, beyond it within 1e-15 times sqrt(2 / (pi * x)).

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: bessel_j0(x) - out / x, 1 / 2 at 0
    Errors:   none
    Source:   torch.special.bessel_j1

    >>> dg.special.bessel_j1(tensor([1.0, 2.0]))
    tensor([0.4401, 0.5767])
    """
    return _first(x, 1)  # type: ignore[no-any-return]


@bessel_j1.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g * (bessel_j0(x) - where(eq(x, 0), 0.5, out / x))


@op(
    kind=ELEMENTWISE,
    dtypes=double_compute,
    samples=unary(0.1, 20.0, _POSITIVE),
    tolerance=4,
    space="special.bessel_y0",
    torch=_by_scipy("y0"),
)
def bessel_y0(x: Operand) -> Tensor:
    """The Bessel function of the second kind, of order 0: infinite at 0, NaN below.

    Within 2e-15 of the exact value in float64 up to 8 (relatively below 1), beyond it within 1e-15 times sqrt(2 / (pi * x)).

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: -bessel_y1(x)
    Errors:   none
    Source:   torch.special.bessel_y0

    >>> dg.special.bessel_y0(tensor([1.0, 2.0]))
    tensor([0.0883, 0.5104])
    """
    return _second(x, 0)  # type: ignore[no-any-return]


@bessel_y0.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return -g * bessel_y1(x)


@op(
    kind=ELEMENTWISE,
    dtypes=double_compute,
    samples=unary(0.1, 20.0, _POSITIVE),
    tolerance=4,
    space="special.bessel_y1",
    torch=_by_scipy("y1"),
)
def bessel_y1(x: Operand) -> Tensor:
    """The Bessel function of the second kind, of order 1: infinite at 0, NaN below.

    Within 2e-15 of the exact value in float64 up to 8 (relatively below 1), beyond it within 1e-15 times sqrt(2 / (pi * x)).

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: bessel_y0(x) - out / x
    Errors:   none
    Source:   torch.special.bessel_y1

    >>> dg.special.bessel_y1(tensor([1.0, 2.0]))
    tensor([-0.7812, -0.1070])
    """
    return _second(x, 1)  # type: ignore[no-any-return]


@bessel_y1.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g * (bessel_y0(x) - out / x)


@op(
    kind=ELEMENTWISE,
    dtypes=double_compute,
    samples=unary(-20.0, 20.0, (*_SIGNED, float("inf"), -float("inf"))),
    tolerance=4,
    space="special.spherical_bessel_j0",
)
def spherical_bessel_j0(x: Operand) -> Tensor:
    """The spherical Bessel function of the first kind, of order 0: sin(x) / x, and 1 at 0.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: (cos(x) - out) / x, by its series where x is small
    Errors:   none
    Source:   torch.special.spherical_bessel_j0

    >>> dg.special.spherical_bessel_j0(tensor([0.0, 1.0]))
    tensor([1.0000, 0.8415])
    """
    return where(eq(x, 0), 1.0, where(eq(abs(x), float("inf")), 0.0, sin(x) / x))


@spherical_bessel_j0.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    square = x * x  # (-1) ** k · 2 k / (2 k + 1)! times x ** (2 k - 1)
    near = x * horner(square, (1 / 518918400, -1 / 3991680, 1 / 45360, -1 / 840, 1 / 30, -1 / 3))
    return g * where(square < 0.25, near, (cos(x) - out) / x)
