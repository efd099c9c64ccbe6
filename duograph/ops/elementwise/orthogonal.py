"""Orthogonal polynomials by their recurrences, a few degrees at a time; PyTorch's have no gradients, these have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import ArgumentError

from ..definition import COMPOSITION, function, op
from ..shapes.copying import cast
from ..shapes.creation import zeros_like
from ..shapes.movement import broadcast_tensors
from .choice import where

if TYPE_CHECKING:
    from collections.abc import Callable

    from duograph._core import Tensor

    from ..definition import Number, Operand

_STEPS = 8  # degrees that one program advances


def _advance(family: str, x: Any, before: Any, last: Any, k: Any) -> Any:
    """The polynomial of degree k + 1 from those of degrees k - 1 and k."""
    if family == "hermite":
        return 2.0 * (x * last - k * before)
    if family == "hermite_e":
        return x * last - k * before
    if family == "laguerre":
        return ((2.0 * k + 1.0 - x) * last - k * before) / (k + 1.0)
    if family == "legendre":
        return ((2.0 * k + 1.0) * x * last - k * before) / (k + 1.0)
    return 2.0 * x * last - before


@op(
    kind=COMPOSITION,
    method=False,
    public=False,
    tolerance=8,
    samples=lambda m: [(m(3, 4), m(3, 4), m(3, 4), 3.0, f, 2) for f in ("chebyshev", "legendre")] if m.is_float else [],
    reference=lambda np, x, p, q, k, family, steps: tuple(_further(x, p, q, k, family, steps)),
)
def advanced(x: Tensor, before: Tensor, last: Tensor, k: Number, family: str, steps: int) -> tuple[Tensor, Tensor]:
    """Polynomials of degrees k + steps - 1 and k + steps from those of degrees k - 1 and k.

    Shapes:   x, before, last [*S] → twice [*S]
    Dtypes:   floats
    Gradient: derived
    Errors:   none
    Source:   Abramowitz and Stegun, 22.7

    >>> dg.ops.advanced(tensor([2.0]), tensor([1.0]), tensor([2.0]), 1.0, "chebyshev", 1)
    (tensor([2.]), tensor([7.]))
    """
    return _further(x, before, last, k, family, steps)


def _further(x: Any, before: Any, last: Any, k: Any, family: str, steps: int) -> tuple[Any, Any]:
    for i in range(steps):
        before, last = last, _advance(family, x, before, last, k + float(i))
    return before, last


def _samples(m: Any) -> Any:
    return [(m(3, 5), 4), (m(7), 0), (m(2, 3), 1), (m(4), 13), (m(3), -1)] if m.is_float else [(m(3, 5), 2)]


def _polynomial(name: str, family: str, x: Any, n: Any, first: Callable[[Any], Any], shifted: bool = False) -> Any:
    """The polynomial of degree n, a number or a tensor of numbers."""
    if not isinstance(x, core.Tensor):
        x = (
            n.new_tensor(float(x), dtype=core.get_default_dtype())
            if isinstance(n, core.Tensor)
            else core.tensor_from_data(x, None)
        )
    kept = x.dtype if x.dtype.is_floating_point else core.get_default_dtype()
    wide = 2.0 * cast(x, core.float64) - 1.0 if shifted else cast(x, core.float64)
    if not isinstance(n, core.Tensor):
        return cast(_of_degree(family, wide, int(n), first), kept)
    if core.tracing():
        raise ArgumentError(f"{name}: in a static function the degree is a number", hint="give n as an int")
    wide, degrees = broadcast_tensors(wide, cast(n, core.int64))
    found: Any = zeros_like(wide)
    for degree in sorted(set(n.flatten().tolist())):
        found = where(degrees == int(degree), _of_degree(family, wide, int(degree), first), found)
    return cast(found, kept)


def _of_degree(family: str, x: Any, n: int, first: Callable[[Any], Any]) -> Any:
    if n < 1:
        return zeros_like(x) + float(n == 0)
    before, last, k = zeros_like(x) + 1.0, first(x), 1
    while k < n:
        steps = min(_STEPS, n - k)
        before, last = advanced(x, before, last, float(k), family, steps)
        k += steps
    return last


@function(space="special.chebyshev_polynomial_t", samples=_samples, tolerance=8)
def chebyshev_polynomial_t(x: Operand, n: Operand) -> Tensor:
    """The Chebyshev polynomial of the first kind.

    Shapes:   x [*S], n a number or [*T] → [*S], or broadcast(S, T)
    Dtypes:   floats kept; integers and bool become the default float; computed in float64
    Gradient: derived, to x
    Errors:   ArgumentError for a tensor as the degree in a static function
    Source:   torch.special.chebyshev_polynomial_t

    >>> dg.special.chebyshev_polynomial_t(tensor([0.5, 1.0]), 3)
    tensor([-1.,  1.])
    """
    return _polynomial("chebyshev_polynomial_t", "chebyshev", x, n, lambda x: x)  # type: ignore[no-any-return]


@function(space="special.chebyshev_polynomial_u", samples=_samples, tolerance=8)
def chebyshev_polynomial_u(x: Operand, n: Operand) -> Tensor:
    """The Chebyshev polynomial of the second kind.

    Shapes:   x [*S], n a number or [*T] → [*S], or broadcast(S, T)
    Dtypes:   floats kept; integers and bool become the default float; computed in float64
    Gradient: derived, to x
    Errors:   ArgumentError for a tensor as the degree in a static function
    Source:   torch.special.chebyshev_polynomial_u

    >>> dg.special.chebyshev_polynomial_u(tensor([0.5, 1.0]), 3)
    tensor([-1.,  4.])
    """
    return _polynomial("chebyshev_polynomial_u", "chebyshev", x, n, lambda x: 2.0 * x)  # type: ignore[no-any-return]


@function(space="special.chebyshev_polynomial_v", samples=_samples, tolerance=8)
def chebyshev_polynomial_v(x: Operand, n: Operand) -> Tensor:
    """The Chebyshev polynomial of the third kind.

    Shapes:   x [*S], n a number or [*T] → [*S], or broadcast(S, T)
    Dtypes:   floats kept; integers and bool become the default float; computed in float64
    Gradient: derived, to x
    Errors:   ArgumentError for a tensor as the degree in a static function
    Source:   torch.special.chebyshev_polynomial_v

    >>> dg.special.chebyshev_polynomial_v(tensor([0.5, 1.0]), 3)
    tensor([-1.,  1.])
    """
    return _polynomial("chebyshev_polynomial_v", "chebyshev", x, n, lambda x: 2.0 * x - 1.0)  # type: ignore[no-any-return]


@function(space="special.chebyshev_polynomial_w", samples=_samples, tolerance=8)
def chebyshev_polynomial_w(x: Operand, n: Operand) -> Tensor:
    """The Chebyshev polynomial of the fourth kind.

    Shapes:   x [*S], n a number or [*T] → [*S], or broadcast(S, T)
    Dtypes:   floats kept; integers and bool become the default float; computed in float64
    Gradient: derived, to x
    Errors:   ArgumentError for a tensor as the degree in a static function
    Source:   torch.special.chebyshev_polynomial_w

    >>> dg.special.chebyshev_polynomial_w(tensor([0.5, 1.0]), 3)
    tensor([-1.,  7.])
    """
    return _polynomial("chebyshev_polynomial_w", "chebyshev", x, n, lambda x: 2.0 * x + 1.0)  # type: ignore[no-any-return]


@function(space="special.hermite_polynomial_h", samples=_samples, tolerance=8)
def hermite_polynomial_h(x: Operand, n: Operand) -> Tensor:
    """The physicists' Hermite polynomial.

    Shapes:   x [*S], n a number or [*T] → [*S], or broadcast(S, T)
    Dtypes:   floats kept; integers and bool become the default float; computed in float64
    Gradient: derived, to x
    Errors:   ArgumentError for a tensor as the degree in a static function
    Source:   torch.special.hermite_polynomial_h

    >>> dg.special.hermite_polynomial_h(tensor([0.5, 1.0]), 3)
    tensor([-5., -4.])
    """
    return _polynomial("hermite_polynomial_h", "hermite", x, n, lambda x: 2.0 * x)  # type: ignore[no-any-return]


@function(space="special.hermite_polynomial_he", samples=_samples, tolerance=8)
def hermite_polynomial_he(x: Operand, n: Operand) -> Tensor:
    """The probabilists' Hermite polynomial.

    Shapes:   x [*S], n a number or [*T] → [*S], or broadcast(S, T)
    Dtypes:   floats kept; integers and bool become the default float; computed in float64
    Gradient: derived, to x
    Errors:   ArgumentError for a tensor as the degree in a static function
    Source:   torch.special.hermite_polynomial_he

    >>> dg.special.hermite_polynomial_he(tensor([0.5, 1.0]), 3)
    tensor([-1.3750, -2.0000])
    """
    return _polynomial("hermite_polynomial_he", "hermite_e", x, n, lambda x: x)  # type: ignore[no-any-return]


@function(space="special.laguerre_polynomial_l", samples=_samples, tolerance=8)
def laguerre_polynomial_l(x: Operand, n: Operand) -> Tensor:
    """The Laguerre polynomial.

    Shapes:   x [*S], n a number or [*T] → [*S], or broadcast(S, T)
    Dtypes:   floats kept; integers and bool become the default float; computed in float64
    Gradient: derived, to x
    Errors:   ArgumentError for a tensor as the degree in a static function
    Source:   torch.special.laguerre_polynomial_l

    >>> dg.special.laguerre_polynomial_l(tensor([0.5, 1.0]), 3)
    tensor([-0.1458, -0.6667])
    """
    return _polynomial("laguerre_polynomial_l", "laguerre", x, n, lambda x: 1.0 - x)  # type: ignore[no-any-return]


@function(space="special.legendre_polynomial_p", samples=_samples, tolerance=8)
def legendre_polynomial_p(x: Operand, n: Operand) -> Tensor:
    """The Legendre polynomial.

    Shapes:   x [*S], n a number or [*T] → [*S], or broadcast(S, T)
    Dtypes:   floats kept; integers and bool become the default float; computed in float64
    Gradient: derived, to x
    Errors:   ArgumentError for a tensor as the degree in a static function
    Source:   torch.special.legendre_polynomial_p

    >>> dg.special.legendre_polynomial_p(tensor([0.5, 1.0]), 3)
    tensor([-0.4375,  1.0000])
    """
    return _polynomial("legendre_polynomial_p", "legendre", x, n, lambda x: x)  # type: ignore[no-any-return]


@function(space="special.shifted_chebyshev_polynomial_t", samples=_samples, tolerance=8)
def shifted_chebyshev_polynomial_t(x: Operand, n: Operand) -> Tensor:
    """The Chebyshev polynomial of the first kind of 2 x - 1, for x between 0 and 1.

    Shapes:   x [*S], n a number or [*T] → [*S], or broadcast(S, T)
    Dtypes:   floats kept; integers and bool become the default float; computed in float64
    Gradient: derived, to x
    Errors:   ArgumentError for a tensor as the degree in a static function
    Source:   torch.special.shifted_chebyshev_polynomial_t

    >>> dg.special.shifted_chebyshev_polynomial_t(tensor([0.5, 1.0]), 3)
    tensor([-0., 1.])
    """
    return _polynomial("shifted_chebyshev_polynomial_t", "chebyshev", x, n, lambda x: x, shifted=True)  # type: ignore[no-any-return]


@function(space="special.shifted_chebyshev_polynomial_u", samples=_samples, tolerance=8)
def shifted_chebyshev_polynomial_u(x: Operand, n: Operand) -> Tensor:
    """The Chebyshev polynomial of the second kind of 2 x - 1, for x between 0 and 1.

    Shapes:   x [*S], n a number or [*T] → [*S], or broadcast(S, T)
    Dtypes:   floats kept; integers and bool become the default float; computed in float64
    Gradient: derived, to x
    Errors:   ArgumentError for a tensor as the degree in a static function
    Source:   torch.special.shifted_chebyshev_polynomial_u

    >>> dg.special.shifted_chebyshev_polynomial_u(tensor([0.5, 1.0]), 3)
    tensor([-0., 4.])
    """
    return _polynomial("shifted_chebyshev_polynomial_u", "chebyshev", x, n, lambda x: 2.0 * x, shifted=True)  # type: ignore[no-any-return]


@function(space="special.shifted_chebyshev_polynomial_v", samples=_samples, tolerance=8)
def shifted_chebyshev_polynomial_v(x: Operand, n: Operand) -> Tensor:
    """The Chebyshev polynomial of the third kind of 2 x - 1, for x between 0 and 1.

    Shapes:   x [*S], n a number or [*T] → [*S], or broadcast(S, T)
    Dtypes:   floats kept; integers and bool become the default float; computed in float64
    Gradient: derived, to x
    Errors:   ArgumentError for a tensor as the degree in a static function
    Source:   torch.special.shifted_chebyshev_polynomial_v

    >>> dg.special.shifted_chebyshev_polynomial_v(tensor([0.5, 1.0]), 3)
    tensor([1., 1.])
    """
    return _polynomial("shifted_chebyshev_polynomial_v", "chebyshev", x, n, lambda x: 2.0 * x - 1.0, shifted=True)  # type: ignore[no-any-return]


@function(space="special.shifted_chebyshev_polynomial_w", samples=_samples, tolerance=8)
def shifted_chebyshev_polynomial_w(x: Operand, n: Operand) -> Tensor:
    """The Chebyshev polynomial of the fourth kind of 2 x - 1, for x between 0 and 1.

    Shapes:   x [*S], n a number or [*T] → [*S], or broadcast(S, T)
    Dtypes:   floats kept; integers and bool become the default float; computed in float64
    Gradient: derived, to x
    Errors:   ArgumentError for a tensor as the degree in a static function
    Source:   torch.special.shifted_chebyshev_polynomial_w

    >>> dg.special.shifted_chebyshev_polynomial_w(tensor([0.5, 1.0]), 3)
    tensor([-1.,  7.])
    """
    return _polynomial("shifted_chebyshev_polynomial_w", "chebyshev", x, n, lambda x: 2.0 * x + 1.0, shifted=True)  # type: ignore[no-any-return]
