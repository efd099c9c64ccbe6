"""Quotients and remainders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph.errors import DomainError

from ..definition import ELEMENTWISE, op
from ..dtypes import float_promote, numeric, promote
from ..samples import binary
from ..shapes.creation import zeros_like
from .choice import where
from .rounding import trunc

if TYPE_CHECKING:
    from duograph._core import Tensor

    from ..definition import Operand


@op(
    kind=ELEMENTWISE,
    dtypes=float_promote,
    primitive="div",
    reference="numpy.true_divide",
    samples=binary(0.5, 2.5),
    slot="__truediv__",
    inplace="div_",
    inplace_slot="__itruediv__",
    aliases=("divide", "true_divide"),
)
def div(a: Operand, b: Operand) -> Tensor:
    """a / b. As a function and method it also takes `rounding_mode`: None, "floor" or "trunc".

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   floats promote; integers and bool become the default float
    Gradient: 1 / b to a, -out / b to b
    Errors:   ShapeError if S and T do not broadcast
    Source:   torch.div

    >>> tensor([1, 2]) / 2
    tensor([0.5000, 1.0000])
    """
    ...


@div.vjp
def _(g: Any, out: Any, a: Any, b: Any) -> Any:
    first = g / b
    return first, -first * out


def _is_float(a: Any, b: Any) -> bool:
    return any(x.dtype.is_floating_point if hasattr(x, "dtype") else isinstance(x, float) for x in (a, b))


@op(
    kind=ELEMENTWISE,
    dtypes=numeric,
    primitive="floordiv",
    differentiable=False,
    reference="numpy.floor_divide",
    samples=binary(0.6, 3.0),
    slot="__floordiv__",
    inplace="floor_divide_",
    inplace_slot="__ifloordiv__",
)
def floor_divide(a: Operand, b: Operand) -> Tensor:
    """The quotient rounded down, as Python's `//`.

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   promote; bool is rejected
    Gradient: none
    Errors:   DivisionError for an integer division by zero; ShapeError; DTypeError for bool
    Source:   torch.floor_divide

    >>> tensor([-7, 7]) // 2
    tensor([-4,  3])
    """
    ...


@op(
    kind=ELEMENTWISE,
    dtypes=numeric,
    primitive="mod",
    reference="numpy.remainder",
    samples=binary(0.6, 3.0),
    slot="__mod__",
    inplace="remainder_",
    inplace_slot="__imod__",
)
def remainder(a: Operand, b: Operand) -> Tensor:
    """a - floor(a / b) * b, with the sign of b, as Python's `%`.

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   promote; bool is rejected
    Gradient: 1 to a, -floor(a / b) to b
    Errors:   DivisionError for an integer division by zero; ShapeError; DTypeError for bool
    Source:   torch.remainder

    >>> tensor([-7, 7]) % 3
    tensor([2, 1])
    """
    ...


@remainder.vjp
def _(g: Any, out: Any, a: Any, b: Any) -> Any:
    return g, -g * floor_divide(a, b)


@op(
    kind=ELEMENTWISE,
    dtypes=numeric,
    differentiable=False,
    method=False,
    public=False,
    reference=lambda np, a, b: np.trunc(np.true_divide(a, b)),
    samples=binary(0.6, 3.0),
)
def trunc_divide(a: Operand, b: Operand) -> Tensor:
    """The quotient rounded towards zero.

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   promote; bool is rejected
    Gradient: none
    Errors:   DivisionError for an integer division by zero; ShapeError; DTypeError for bool
    Source:   torch.div(rounding_mode="trunc")

    >>> dg.div(tensor([-7, 7]), 2, rounding_mode="trunc")
    tensor([-3,  3])
    """
    if _is_float(a, b):
        return trunc(a / b)
    quotient = floor_divide(a, b)
    inexact = quotient * b != a
    return where(inexact & (quotient < 0), quotient + 1, quotient)


@op(
    kind=ELEMENTWISE,
    dtypes=promote,
    over="div",
    inplace=True,
    differentiable=True,
    torch=lambda torch, a, b, mode: torch.div(a, b, rounding_mode=mode),
    samples=lambda m: (
        [(m(3, 5), m(5, low=0.6, high=3.0), "floor"), (m(3, 5), 3, "trunc"), (m(0), m(1), "floor")] if m.kind != "b" else []
    ),
)
def div_rounded(a: Operand, b: Operand, rounding_mode: str | None = None) -> Tensor:
    """a / b rounded down ("floor") or towards zero ("trunc"), what `div` with a `rounding_mode` is.

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   promote; bool is rejected
    Gradient: 0 where rounded, else as `div`
    Errors:   DomainError for another mode; DivisionError for an integer division by zero; ShapeError
    Source:   torch.div

    >>> dg.div(tensor([-7, 7]), 2, rounding_mode="trunc")
    tensor([-3,  3])
    """
    if rounding_mode is None:
        return div(a, b)
    if rounding_mode == "floor":
        return floor_divide(a, b)
    if rounding_mode == "trunc":
        return trunc_divide(a, b)
    raise DomainError(f"div: rounding_mode must be None, 'floor' or 'trunc', got {rounding_mode!r}")


@div_rounded.vjp
def _(g: Any, out: Any, a: Any, b: Any, rounding_mode: str | None) -> Any:
    if rounding_mode is not None:
        return zeros_like(g), zeros_like(g)
    first = g / b
    return first, -first * out
