"""The incomplete gamma function. Computed in float64 for every dtype."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import GradError

from ..definition import ELEMENTWISE, function, op
from ..dtypes import double_compute
from .arithmetic import abs
from .bessel import horner
from .choice import minimum, where
from .special import erfc, lgamma
from .unary import exp, log, log1p, sqrt

if TYPE_CHECKING:
    from duograph._core import Tensor

    from ..definition import Operand

_TERMS = 60  # of the power series and of the continued fraction: enough up to a = 30, and away from x = a beyond
_UNDIVIDED = 10  # steps of either as one fraction: division is slow, and products of so many numbers below `_FAR` are finite
_FAR = 1e20  # from here on the density is 0 or the expansion for large a is used
_LARGE = 30.0
_NEAR = 0.4

# Coefficients of powers of eta, the highest first, in the expansion of Temme (1979), from its recurrence in fractions.
_UNIFORM = (
    (2.4361948020667415e-11, -5.830772132550426e-11, -2.5514193994946248e-11, 9.14769958223679e-10, -4.382036018453353e-09,
     1.0261809784240309e-08, 6.707853543401498e-09, -1.7665952736826078e-07, 8.296711340953087e-07, -1.85406221071516e-06,
     -2.185448510679992e-06, 3.919263178522438e-05, -0.0001787551440329218, 0.0003527336860670194, 0.0011574074074074073,
     -0.014814814814814815, 0.08333333333333333, -0.3333333333333333),
    (4.162792991842583e-10, -1.0091543710600413e-09, -1.7543241719747647e-11, 1.1951628599778148e-08,
     -5.752545603517705e-08, 1.378633446915721e-07, 4.647127802807434e-09, -1.6120900894563446e-06, 7.64916091608111e-06,
     -1.8098550334489977e-05, -4.018775720164609e-07, 0.00020576131687242798, -0.0009902263374485596,
     0.0026455026455026454, -0.003472222222222222, -0.001851851851851852),
    (6.228974084922022e-09, -1.409252991086752e-08, -2.0477098421990866e-10, 1.4280614206064242e-07,
     -6.298992138380055e-07, 1.3721957309062934e-06, 3.423578734096138e-08, -1.2760635188618728e-05,
     5.2923448829120125e-05, -0.0001073665322636516, 2.0093878600823047e-06, 0.0007716049382716049, -0.0026813271604938273,
     0.004133597883597883),
    (8.099464905388083e-08, -1.6958404091930278e-07, -2.7861080291528143e-11, 1.4230900732435883e-06,
     -5.6749528269915965e-06, 1.1082654115347302e-05, -2.396505113867297e-07, -7.561801671883977e-05,
     0.00026772063206283885, -0.0004691894943952557, 0.00022947209362139917, 0.0006494341563786008),
    (8.907507532205309e-07, -1.6954149536558305e-06, 2.507497226237533e-10, 1.1375726970678419e-05, -3.968365047179435e-05,
     6.641498215465122e-05, -1.4638452578843418e-06, -0.0002990724803031902, 0.0007840392217200666, -0.0008618882909167117),
    (8.018470256334202e-06, -1.3594048189768693e-05, 1.419062920643967e-07, 6.797780477937208e-05, -0.00019932570516188847,
     0.0002772753244959392, -6.972813758365857e-05, -0.00033679855336635813),
    (5.61168275310625e-05, -8.153969367561969e-05, 7.902353232660328e-07, 0.0002708782096718045, -0.0005921664373536939,
     0.0005313079364639922),
    (-1.2741009095484485e-07, -0.00010976582244684731, 0.0002812695154763237, -0.00033493161081142234,
     5.171790908260592e-05, 0.00034436760689237765),
)  # fmt: skip


def _density(a: Any, x: Any) -> Any:
    """x ** a * exp(-x) / gamma(a + 1)."""
    far = (x - a) / a
    inverse = 1.0 / (a * a)
    stirling = horner(inverse, (1 / 1188, -1 / 1680, 1 / 1260, -1 / 360, 1 / 12)) / a
    large = exp(-a * (far - log1p(far)) - stirling) / sqrt(a * 6.283185307179586)
    return where(a > 20.0, large, exp(a * log(x) - x - lgamma(a + 1.0)))


def _by_series(a: Any, x: Any, density: Any) -> Any:
    """The lower share where x is not much more than a."""
    a, x = minimum(a, _FAR), minimum(x, _FAR)
    total: Any = 1.0
    divisor: Any = 1.0
    for n in range(_TERMS, 0, -1):
        divisor = divisor * (a + float(n))
        total = total * x + divisor
        if n % _UNDIVIDED == 1:
            total, divisor = total / divisor, 1.0
    return density * total


def _by_fraction(a: Any, x: Any, density: Any) -> Any:
    """The upper share where x is more than a: Legendre's continued fraction."""
    near_a, near_x = minimum(a, _FAR), minimum(x, _FAR)
    beyond = near_x - near_a
    bottom: Any = beyond + (2.0 * _TERMS + 1.0)
    divisor: Any = 1.0
    for n in range(_TERMS, 0, -1):
        bottom, divisor = bottom * (beyond + (2.0 * n - 1.0)) - divisor * ((n - near_a) * float(n)), bottom
        if n % _UNDIVIDED == 1:
            bottom, divisor = bottom / divisor, 1.0
    return density * a / bottom


def _uniform(a: Any, x: Any, upper: bool) -> Any:
    """Either share where a is large and x near it (Temme)."""
    far = (x - a) / a
    half = abs(far - log1p(far))  # eta ** 2 / 2
    eta = sqrt(half * 2.0)
    eta = where(far < 0, -eta, eta)
    inverse = 1.0 / a
    rest = horner(inverse, tuple(horner(eta, row) for row in reversed(_UNIFORM)))
    rest = rest * exp(-a * half) / sqrt(a * 6.283185307179586)
    turn = eta * sqrt(a * 0.5)
    return erfc(turn) * 0.5 + rest if upper else erfc(-turn) * 0.5 - rest


def _share(a: Any, x: Any, upper: bool) -> Any:
    inside = (a > 0) & (x > 0) & (a < float("inf")) & (x < float("inf"))
    a0, x0 = where(inside, a, 1.0), where(inside, x, 1.0)
    density = _density(a0, x0)
    uniform = (a0 > _LARGE) & (abs(x0 - a0) < a0 * _NEAR)
    low = x0 <= where(a0 > 1.0, a0, 1.0)
    series = _by_series(a0, where(low, x0, 0.5), density)
    fraction = _by_fraction(a0, where(low, a0 + 2.0, x0), density)
    found = where(low, 1.0 - series, fraction) if upper else where(low, series, 1.0 - fraction)
    at = where(uniform, a0, 100.0)
    found = where(uniform, _uniform(at, where(uniform, x0, 100.0), upper), found)
    ends = where(x == 0, 0.0, where(x == float("inf"), 1.0, where(a == 0, 1.0, 0.0)))  # lower shares; a = inf gives 0
    wrong = ~((a >= 0) & (x >= 0)) | ((a == 0) & (x == 0)) | ((a == float("inf")) & (x == float("inf")))
    ends = 1.0 - ends if upper else ends
    return where(wrong, float("nan"), where(inside, found, ends))


def _slope(g: Any, a: Any, x: Any) -> Any:
    """The gradient to x of the lower share."""
    return g * exp((a - 1.0) * log(x) - x - lgamma(a))


@op(
    kind=ELEMENTWISE,
    dtypes=double_compute,
    method=False,
    public=False,
    inplace="igamma_",
)
def gamma_share(a: Operand, x: Operand) -> Tensor:
    """What `igamma` computes.

    Shapes:   a [*S], x [*T] → broadcast(S, T)
    Dtypes:   floats promote; integers become the default float
    Gradient: to x; NaN to a, where it is not known (`igamma` refuses it)
    Errors:   ShapeError if S and T do not broadcast
    Source:   Temme 1979; torch.igamma

    >>> dg.ops.gamma_share(tensor([1.0]), tensor([0.0]))
    tensor([0.])
    """
    return _share(a, x, False)  # type: ignore[no-any-return]


@gamma_share.vjp
def _(g: Any, out: Any, a: Any, x: Any) -> Any:
    return g * float("nan"), _slope(g, a, x)


@op(
    kind=ELEMENTWISE,
    dtypes=double_compute,
    method=False,
    public=False,
    inplace="igammac_",
)
def gamma_rest(a: Operand, x: Operand) -> Tensor:
    """What `igammac` computes.

    Shapes:   a [*S], x [*T] → broadcast(S, T)
    Dtypes:   floats promote; integers become the default float
    Gradient: to x; NaN to a, where it is not known (`igammac` refuses it)
    Errors:   ShapeError if S and T do not broadcast
    Source:   Temme 1979; torch.igammac

    >>> dg.ops.gamma_rest(tensor([1.0]), tensor([0.0]))
    tensor([1.])
    """
    return _share(a, x, True)  # type: ignore[no-any-return]


@gamma_rest.vjp
def _(g: Any, out: Any, a: Any, x: Any) -> Any:
    return g * float("nan"), -_slope(g, a, x)


def _samples(m: Any) -> Any:
    return [(m(3, 5, low=0.3, high=6.0), m(3, 5, low=0.3, high=6.0)), (m(2, 1, low=0.3, high=3.0), m(3, low=0.3, high=9.0))]


def _refuse(name: str, a: Any) -> None:
    if isinstance(a, core.Tensor) and a.requires_grad and core.is_grad_enabled():
        raise GradError(f"{name}: the gradient to a is not known", hint="use a.detach()")


@function(tolerance=4, samples=_samples)
def igamma(a: Tensor, x: Tensor) -> Tensor:
    """The regularised lower incomplete gamma function: the share of gamma(a) that the integral from 0 to x has.

    Within 1e-12 of the exact value in float64, relatively too unless it is nearly 1 less it.

    Shapes:   a [*S], x [*T] → broadcast(S, T)
    Dtypes:   floats promote; integers become the default float
    Gradient: exp(-x) * x ** (a - 1) / gamma(a) to x; to a it is not known
    Errors:   GradError for an a that requires grad; ShapeError if S and T do not broadcast
    Source:   Temme 1979; torch.igamma

    >>> igamma(tensor([1.0, 2.0]), tensor([1.0, 1.0]))
    tensor([0.6321, 0.2642])
    """
    _refuse("igamma", a)
    return gamma_share(a, x)


@function(tolerance=4, samples=_samples)
def igammac(a: Tensor, x: Tensor) -> Tensor:
    """The regularised upper incomplete gamma function: 1 - igamma(a, x), accurate also where it is small.

    Within 1e-12 of the exact value in float64, relatively too unless it is nearly 1 less it.

    Shapes:   a [*S], x [*T] → broadcast(S, T)
    Dtypes:   floats promote; integers become the default float
    Gradient: -exp(-x) * x ** (a - 1) / gamma(a) to x; to a it is not known
    Errors:   GradError for an a that requires grad; ShapeError if S and T do not broadcast
    Source:   Temme 1979; torch.igammac

    >>> igammac(tensor([1.0, 2.0]), tensor([1.0, 1.0]))
    tensor([0.3679, 0.7358])
    """
    _refuse("igammac", a)
    return gamma_rest(a, x)
