"""Whole numbers, or decimals, close to a number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph.errors import DomainError

from ..definition import ELEMENTWISE, op
from ..dtypes import numeric
from ..samples import unary
from ..shapes.creation import zeros_like

if TYPE_CHECKING:
    from duograph._core import Tensor

    from ..definition import Operand


@op(kind=ELEMENTWISE, dtypes=numeric, primitive="floor", reference="numpy.floor", samples=unary(), inplace="floor_")
def floor(x: Operand) -> Tensor:
    """The greatest whole number not above x.

    Shapes:   x [*S] → [*S]
    Dtypes:   kept; bool is rejected
    Gradient: 0
    Errors:   DTypeError for bool
    Source:   torch.floor

    >>> floor(tensor([1.5, -1.5]))
    tensor([ 1., -2.])
    """
    ...


@floor.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return zeros_like(g)


@op(kind=ELEMENTWISE, dtypes=numeric, primitive="ceil", reference="numpy.ceil", samples=unary(), inplace="ceil_")
def ceil(x: Operand) -> Tensor:
    """The least whole number not below x.

    Shapes:   x [*S] → [*S]
    Dtypes:   kept; bool is rejected
    Gradient: 0
    Errors:   DTypeError for bool
    Source:   torch.ceil

    >>> ceil(tensor([1.5, -1.5]))
    tensor([ 2., -1.])
    """
    ...


@ceil.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return zeros_like(g)


@op(
    kind=ELEMENTWISE,
    dtypes=numeric,
    primitive="trunc",
    reference="numpy.trunc",
    samples=unary(),
    inplace="trunc_",
    aliases=("fix",),
)
def trunc(x: Operand) -> Tensor:
    """The whole part of x.

    Shapes:   x [*S] → [*S]
    Dtypes:   kept; bool is rejected
    Gradient: 0
    Errors:   DTypeError for bool
    Source:   torch.trunc

    >>> trunc(tensor([1.5, -1.5]))
    tensor([ 1., -1.])
    """
    ...


@trunc.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return zeros_like(g)


@op(kind=ELEMENTWISE, dtypes=numeric, primitive="round", reference="numpy.round", samples=unary(), inplace="round_")
def round(x: Operand) -> Tensor:
    """The nearest whole number; halves go to the even one. The function and method also take `decimals`.

    Shapes:   x [*S] → [*S]
    Dtypes:   kept; bool is rejected
    Gradient: 0
    Errors:   DTypeError for bool
    Source:   torch.round

    >>> round(tensor([0.5, 1.5, 2.6]))
    tensor([0., 2., 3.])
    """
    ...


@round.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return zeros_like(g)


@op(
    kind=ELEMENTWISE,
    dtypes=numeric,
    over="round",
    inplace=True,
    torch=lambda torch, x, decimals: torch.round(x, decimals=decimals),
    samples=lambda m: [(m(3, 5), 2), (m(7, low=-2e3, high=2e3), -2), (m(0), 1)] if m.is_float else [],
)
def round_to(x: Operand, decimals: int = 0) -> Tensor:
    """`round` to a number of decimals; negative ones round to tens, hundreds, …

    Shapes:   x [*S] → [*S]
    Dtypes:   kept; bool is rejected
    Gradient: 0
    Errors:   DTypeError for bool
    Source:   torch.round

    >>> dg.round(tensor([1.234]), decimals=1)
    tensor([1.2000])
    """
    if decimals == 0:
        return round(x)
    if not -308 <= decimals <= 308:
        raise DomainError(f"round: decimals must be between -308 and 308, got {decimals}")
    scale = 10.0 ** (decimals if decimals > 0 else -decimals)
    return round(x * scale) / scale if decimals > 0 else round(x / scale) * scale


@round_to.vjp
def _(g: Any, out: Any, x: Any, decimals: int) -> Any:
    return zeros_like(g)
