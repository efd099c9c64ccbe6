"""The normal distribution's tails and what belongs to them. Computed in float64 for every dtype."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core

from ..definition import ELEMENTWISE, op
from ..dtypes import double_compute, float_promote
from ..samples import binary, unary
from ..shapes.copying import cast
from .arithmetic import abs, sub
from .bessel import horner
from .choice import where
from .comparison import eq, isnan
from .special import erfinv
from .unary import exp, log, log1p, sqrt

if TYPE_CHECKING:
    from duograph._core import Tensor

    from ..definition import Operand

_SQRT_HALF = 0.7071067811865476
_SQRT_TWO = 1.4142135623730951

# (1 + 2 x) erfcx(x) in (x - 3.75) / (x + 3.75); -ndtri(p) / r in 1 / r, r = sqrt(-2 log(p)), between 2.25, 5.5, 13 and 40.
# All economised by Chebyshev's polynomials from 40 digits.
_SCALED = (
    -7.666209795998097e-11, -3.7587308035623257e-11, 9.234867707529155e-10, 5.460657473630792e-10, -6.606829477916605e-09,
    -4.390251943140879e-09, 4.107398937332565e-08, 2.429131177189471e-08, -2.6125820988901525e-07, -5.826439766695699e-08,
    1.7535246298697825e-06, -9.728484952656482e-07, -1.144508983794941e-05, 2.2383911531916976e-05, 5.1649421745236465e-05,
    -0.0002901539791322486, 0.000293713591593492, 0.0017556258323895534, -0.009746579547145438, 0.028362277421519668,
    -0.05869339859058929, 0.09230432116019804, -0.10880393014170556, 0.08227673849015103, 0.003585415485463656,
    -0.14024059858554702, 1.2375126308378275,
)  # fmt: skip
_NEAR = (
    4.546433269371279e-12, -1.2732679956654555e-11, 1.3264533223220822e-11, -3.920389521339609e-11, 1.6596374979055882e-10,
    -4.947286545205406e-10, 1.446164029791336e-09, -4.505814016254079e-09, 1.441641862127717e-08, -4.719908107090059e-08,
    1.5934649004894027e-07, -5.606138077426132e-07, 2.0989462153160225e-06, -8.661232104561262e-06, 4.112867091973295e-05,
    -0.0002331737422294577, 0.0016354148205843862, -0.016056404622365832, -0.14437691464873603, 0.7847928177687151,
)  # fmt: skip
_FAR = (
    -1.0847364414758877e-12, 3.1751070970886705e-12, -4.2416255503873655e-12, 1.3054203352867562e-11, -5.114332621047667e-11,
    1.6036378834110307e-10, -5.024021872449897e-10, 1.6549705180549797e-09, -5.6322830709479235e-09, 1.9900536056863103e-08,
    -7.388447420853615e-08, 2.9239523461444016e-07, -1.2595783292547416e-06, 6.145433027021926e-06, -3.6927041500870625e-05,
    0.00031318751176702674, -0.004429785222217408, -0.03435272919935373, 0.9496931961697185,
)  # fmt: skip
_FARTHEST = (
    -3.199807944997814e-12, 7.2635716412567725e-12, 1.818027920717633e-13, 2.144409417178474e-13, -3.992687011398373e-11,
    9.507623675451872e-11, -1.8217117429431807e-10, 4.5690201637575596e-10, -1.2073666884616906e-09, 3.159846867003206e-09,
    -8.511530780537583e-09, 2.388579446001427e-08, -7.041465197608333e-08, 2.2155073544620233e-07, -7.632201121015902e-07,
    3.0050285360586856e-06, -1.468698876957677e-05, 0.00010731468351875891, -0.0016475852789488744, -0.009040141156462749,
    0.989850914514338,
)  # fmt: skip


@op(kind=ELEMENTWISE, dtypes=float_promote, samples=unary(0.1, 3.0), space="special.entr")
def entr(x: Operand) -> Tensor:
    """The elementwise entropy: -x * log(x), 0 at 0, -inf for negative numbers.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: -1 - log(x)
    Errors:   none
    Source:   torch.special.entr

    >>> dg.special.entr(tensor([0.0, 0.5]))
    tensor([0.0000, 0.3466])
    """
    found = where(eq(x, 0), 0.0, -x * log(x))
    return where(x < 0, float("-inf"), found)


@entr.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g * (-1.0 - log(x))


@op(kind=ELEMENTWISE, dtypes=float_promote, samples=binary(0.3, 2.5), space="special.xlog1py")
def xlog1py(a: Operand, b: Operand) -> Tensor:
    """a * log1p(b), 0 where a is 0 (but NaN where b is).

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   floats promote; integers and bool become the default float
    Gradient: log1p(b) to a, 0 where a is 0 and b not above -1; a / (b + 1) to b
    Errors:   ShapeError if S and T do not broadcast
    Source:   torch.special.xlog1py

    >>> dg.special.xlog1py(tensor([0.0, 2.0]), tensor([-1.0, 3.0]))
    tensor([0.0000, 2.7726])
    """
    return where(isnan(b), float("nan"), where(eq(a, 0), 0.0, a * log1p(b)))


@xlog1py.vjp
def _(g: Any, out: Any, a: Any, b: Any) -> Any:
    return where((a == 0) & (b <= -1), 0.0, xlog1py(g, b)), g * a / (b + 1)


def _scaled(x: Any) -> Any:
    """erfcx of x, not negative."""
    found = horner((x - 3.75) / (x + 3.75), _SCALED) * (0.5 / (x + 0.5))
    return where(eq(x, float("inf")), 0.0, found)


def _gaussian(x: Any, factor: float) -> Any:
    """exp(factor * x ** 2), factor a power of 2, with all digits of the square."""
    upper = cast(cast(x, core.float32), core.float64)  # its square is exact
    return exp(upper * upper * factor) * exp((x - upper) * (x + upper) * factor)


def _tail(x: Any) -> Any:
    """The area to the right of x, not negative."""
    return where(x > 40.0, 0.0, _scaled(x * _SQRT_HALF) * 0.5 * _gaussian(x, -0.5))


@op(kind=ELEMENTWISE, dtypes=double_compute, samples=unary(-4.0, 9.0), tolerance=4, space="special.erfcx")
def erfcx(x: Operand) -> Tensor:
    """exp(x ** 2) * erfc(x), without overflow for positive numbers.

    Within 5 units in the last place of the exact value in float64, 1 in the narrower dtypes.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: 2 * x * out - 2 / sqrt(pi)
    Errors:   none
    Source:   Shepherd and Laframboise 1981; torch.special.erfcx

    >>> dg.special.erfcx(tensor([0.0, 10.0]))
    tensor([1.0000, 0.0561])
    """
    found = _scaled(abs(x))
    growth = where(abs(x) < 30.0, _gaussian(x, 1.0), float("inf"))
    return where(x < 0, growth * 2.0 - found, found)


@erfcx.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g * (2.0 * x * out - 1.1283791670955126)


@op(kind=ELEMENTWISE, dtypes=double_compute, samples=unary(-3.0, 3.0), space="special.ndtr")
def ndtr(x: Operand) -> Tensor:
    """The area under the standard normal distribution to the left of x.

    Within 5 units in the last place of the exact value in float64, 1 in the narrower dtypes.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: the density exp(-x ** 2 / 2) / sqrt(2 * pi)
    Errors:   none
    Source:   torch.special.ndtr

    >>> dg.special.ndtr(tensor([0.0, 1.0]))
    tensor([0.5000, 0.8413])
    """
    tail = _tail(abs(x))
    return where(x < 0, tail, sub(1.0, tail))


@ndtr.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g * (exp(x * x * -0.5) * 0.3989422804014327)


@op(kind=ELEMENTWISE, dtypes=double_compute, public=False, method=False)
def density_over_area(x: Tensor) -> Tensor:
    """The standard normal density at x over the area to the left of it, the derivative of `log_ndtr`."""
    return 0.7978845608028654 / erfcx(x * -_SQRT_HALF)


@density_over_area.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return where(out == 0, 0.0, -g * out * (x + out))


@op(kind=ELEMENTWISE, dtypes=double_compute, samples=unary(-9.0, 3.0), tolerance=4, space="special.log_ndtr")
def log_ndtr(x: Operand) -> Tensor:
    """The logarithm of the area under the standard normal distribution to the left of x, also where it is tiny.

    Within 8 units in the last place of the exact value in float64, 1 in the narrower dtypes.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: the density over the area
    Errors:   none
    Source:   torch.special.log_ndtr

    >>> dg.special.log_ndtr(tensor([0.0, -100.0]))
    tensor([-6.9315e-01, -5.0055e+03])
    """
    left = log(_scaled(abs(x) * _SQRT_HALF) * 0.5) - x * x * 0.5
    tail = _tail(abs(x))
    right = where(x < 0, log(tail), log1p(-tail))
    return where(x < -1.0, where(eq(x, float("-inf")), x, left), right)


@log_ndtr.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g * density_over_area(x)


def _quantile(p: Any) -> Any:
    """-ndtri of p up to 0.08."""
    r = sqrt(log(p) * -2.0)
    inverse = 1.0 / r
    found = None
    for near, far, table in ((13.0, 40.0, _FARTHEST), (5.5, 13.0, _FAR), (2.25, 5.5, _NEAR)):
        middle, half = (1 / near + 1 / far) / 2, (1 / near - 1 / far) / 2
        part = horner((inverse - middle) * (1 / half), table)
        found = part if found is None else where(r > far, found, part)
    return where(eq(p, 0), float("inf"), found * r)


@op(kind=ELEMENTWISE, dtypes=double_compute, samples=unary(0.1, 0.9), tolerance=4, space="special.ndtri")
def ndtri(x: Operand) -> Tensor:
    """The number to the left of which the area x lies under the standard normal distribution; NaN unless 0 ≤ x ≤ 1.

    Within 8 units in the last place of the exact value in float64 up to 1/2 (nearer to 1 the digits of x run out),
    1 in the narrower dtypes.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats kept; integers and bool become the default float
    Gradient: sqrt(2 * pi) * exp(out ** 2 / 2)
    Errors:   none
    Source:   torch.special.ndtri

    >>> dg.special.ndtri(tensor([0.5, 0.975]))
    tensor([0.0000, 1.9600])
    """
    upper = x > 0.5
    p = where(upper, sub(1.0, x), x)
    found = where(p < 0.08, -_quantile(p), erfinv(p * 2.0 - 1.0) * _SQRT_TWO)
    return where(upper, -found, found)


@ndtri.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g * (2.5066282746310002 * exp(out * out * 0.5))
