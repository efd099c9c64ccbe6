"""Powers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core

from ..definition import ELEMENTWISE, REGISTRY, function, op
from ..dtypes import counting, integers, numeric
from ..python_numbers import bounded, real_base
from ..samples import unary
from ..shapes.creation import ones_like, zeros_like
from ..tracing import is_weak, value_of, wrap
from .arithmetic import mul
from .choice import where
from .unary import log, reciprocal, sqrt

if TYPE_CHECKING:
    from duograph._core import Tensor

    from ..definition import Operand


_NUMBERS = (int, float)


@op(
    kind=ELEMENTWISE,
    dtypes=numeric,
    primitive="pow",
    reference="numpy.power",
    inplace="pow_",
    samples=lambda m: [
        (m(3, 5, low=0.3, high=2.5), m(3, 5, low=0, high=2.5)),
        (m(7, low=0.3, high=2.5), 2.5 if m.is_float else 2),
        (m(2, 6, low=-3, high=3), 3),
        (2, m(2, 3, low=0, high=2.5)),
        (m(0, 3, low=0.3), m(3, low=0)),
        (m(low=0.3), m(4, low=0)),
    ],
    names="exponent=b",
)
def pow(a: Operand, b: Operand) -> Tensor:
    """a to the power b. Of integers, negative powers given as tensors are 0 but for 1 and -1; numbers are refused.

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   promote
    Gradient: b * a ** (b - 1) to a (0 where b is 0); out * log(a) to b (0 where a is 0 and b is not negative)
    Errors:   ShapeError if S and T do not broadcast; DomainError for integers to the power of a negative integer number
    Source:   torch.pow

    >>> tensor([1.0, 2.0]) ** 3
    tensor([1., 8.])
    """
    ...


@pow.vjp
def _(g: Any, out: Any, a: Any, b: Any) -> Any:
    if isinstance(b, _NUMBERS):
        first = zeros_like(g) if b == 0 else g * b * pow(a, b - 1)
        return first, None
    first = where(b == 0, 0.0, g * b * pow(a, b - 1))
    if isinstance(a, _NUMBERS):
        return None, zeros_like(g) if a == 0 else g * out * log(a * ones_like(g))
    return first, where((a == 0) & (b >= 0), 0.0, g * out * log(a))


@op(
    kind=ELEMENTWISE,
    dtypes=integers,
    inplace="integer_pow_",
    method=False,
    public=False,
    differentiable=False,
    samples=lambda m: [(m.of([2, 1, 0]), m.of([3, 0, 1]))] if m.kind in "iu" else [],
    reference="numpy.power",
)
def integer_pow(a: Operand, b: Operand) -> Tensor:
    """a to the power b; a negative power is 0 but for 1 and -1.

    Shapes:   a [*S], b [*T] → broadcast(S, T)
    Dtypes:   integers promote
    Gradient: none
    Errors:   ShapeError if S and T do not broadcast
    Source:   torch.pow

    >>> tensor([2, 1, -1]) ** tensor([-1, -1, -1])
    tensor([ 0,  1, -1])
    """
    whole = pow(a, where(b < 0, 0, b))
    turned = where(a == 1, 1, where(a == -1, 1 - 2 * (b % 2), 0))
    return where(b < 0, turned, whole)


def _of_integers(a: Any, b: Any) -> bool:
    """Whether it is an integer, or several, to the power of a tensor of signed integers."""
    if not isinstance(b, core.Tensor) or b.dtype.kind != "i" or (is_weak(a) and is_weak(b)):  # a Python number would be a float
        return False
    return a.dtype.kind in "iu" if isinstance(a, core.Tensor) else a.__class__ is int


def _bounded(result: Any, a: Any) -> Any:
    """A power of a tensor; of a Python float it is none beyond the largest float."""
    return wrap(bounded(value_of(result), value_of(a))) if is_weak(a) and a.dtype.is_floating_point else result


@function(over="pow", slot="__pow__", names="exponent=b")
def power(a: Operand, b: Operand, modulo: None = None) -> Tensor:
    """a ** b; the commonest whole powers are products."""
    if b.__class__ is int or b.__class__ is float:
        dtype = getattr(a, "dtype", None)
        if dtype is not None and (dtype.is_floating_point or (b.__class__ is int and dtype.kind != "b")):
            is_two = b == 2
            if is_two.__class__ is not bool:  # a size that values decide
                return pow(a, b)
            if is_two:
                return square(a) if getattr(a, "_traced", None) is None else _bounded(square(a), a)
            if dtype.is_floating_point:
                if b == 0.5:
                    return sqrt(wrap(real_base(value_of(a))) if is_weak(a) else a)
                if b == 3:
                    return cube(a) if getattr(a, "_traced", None) is None else _bounded(cube(a), a)
                if b == -1 and not is_weak(a):  # of numbers, pow ends the run at 0
                    return reciprocal(a)
    return integer_pow(a, b) if _of_integers(a, b) else pow(a, b)


@function(over="pow_", slot="__ipow__", names="exponent=b")
def power_(a: Tensor, b: Operand, modulo: None = None) -> Tensor:
    """a **= b; a square is a product."""
    if _of_integers(a, b):
        made: Tensor = REGISTRY["integer_pow_"].op(a, b)
        return made
    in_place = REGISTRY["square_" if b.__class__ is int and b == 2 and a.dtype.kind != "b" else "pow_"].op
    result: Tensor = in_place(a) if in_place.name == "square_" else in_place(a, b)
    return result


@function(slot="__rpow__", method=False, public=False)
def reflected_power(b: Operand, a: Operand, modulo: None = None) -> Tensor:
    """a ** b where a is a Python number."""
    return integer_pow(a, b) if _of_integers(a, b) else pow(a, b)


@op(
    kind=ELEMENTWISE,
    dtypes=counting,
    reference=lambda np, x: np.square(x.astype("int64") if x.dtype == bool else x),
    samples=unary(),
    inplace="square_",
)
def square(x: Operand) -> Tensor:
    """x * x.

    Shapes:   x [*S] → [*S]
    Dtypes:   kept; bool becomes int64
    Gradient: 2 * x
    Errors:   none
    Source:   torch.square

    >>> square(tensor([-2.0, 3.0]))
    tensor([4., 9.])
    """
    return mul(x, x)


@square.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g * (x + x)


@op(kind=ELEMENTWISE, dtypes=numeric, reference=lambda np, x: x * x * x, samples=unary(), method=False, public=False)
def cube(x: Operand) -> Tensor:
    """x * x * x, what `x ** 3` stands for.

    Shapes:   x [*S] → [*S]
    Dtypes:   kept; bool is rejected
    Gradient: 3 * x * x
    Errors:   DTypeError for bool
    Source:   torch.pow

    >>> tensor([2.0]) ** 3
    tensor([8.])
    """
    return mul(mul(x, x), x)


@cube.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g * (3 * square(x))
