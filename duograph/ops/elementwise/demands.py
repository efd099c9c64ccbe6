"""What an operator asks of values: the run ends where one does not fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import DomainError
from duograph.ir.builder import current
from duograph.ir.primitives import DEMANDS

from ..definition import ELEMENTWISE, op
from ..tracing import cast_value, is_weak, user_operator, value_of, wrap

if TYPE_CHECKING:
    from duograph._core import Tensor

    from ..definition import Operand


@op(kind=ELEMENTWISE, lowers=True, method=False, public=False)
def demanded_of(x: Operand, what: str) -> Tensor:
    """x; the run ends where an element is not what a demand of `ir.primitives` asks for.

    Shapes:   x [*S] → [*S]
    Dtypes:   x's, a float
    Gradient: 1
    Errors:   DomainError for an element that does not fit
    Source:   this package

    >>> dg.ops.demanded_of(tensor([0.5]), "probability")
    tensor([0.5000])
    """
    value = value_of(x)
    if is_weak(x) and value.type.dtype.kind != "f":
        value = cast_value(value, core.float64)
    return wrap(current().emit(what, [value], {}, [value.type])[0])


@demanded_of.vjp
def _(g: Any, out: Any, x: Any, what: str) -> Any:
    return g


def demanded(what: str, x: Any) -> Any:
    """x, a tensor of floats or a number, of which each element must be what a demand asks for."""
    if isinstance(x, (int, float)):
        demand = DEMANDS[what]
        if not (demand.low <= x <= demand.high or (demand.takes_nan and x != x)):
            raise DomainError(f"{user_operator()}: needs {demand.words}, got {x:g}")
        return x
    return demanded_of(x, what)
