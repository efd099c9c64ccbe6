"""Functions of pairs of elements beyond Python's operators, and sums of many tensors, under TensorFlow's names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import duograph as dg
from duograph import _core as core
from duograph.errors import ArgumentError, ShapeError

from .arithmetic import divide, floordiv, floormod, multiply
from .constants import convert_to_tensor
from .definition import Operand, Operands, operation
from .elements import Tensor
from .scopes import name_scope
from .shapes import TensorShape

__all__ = [
    "accumulate_n",
    "add_n",
    "atan2",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "div",
    "div_no_nan",
    "divide_no_nan",
    "equal",
    "floor_div",
    "floor_mod",
    "igamma",
    "igammac",
    "lbeta",
    "maximum",
    "minimum",
    "mod",
    "multiply_no_nan",
    "nextafter",
    "not_equal",
    "polygamma",
    "polyval",
    "realdiv",
    "scalar_mul",
    "squared_difference",
    "truediv",
    "truncatediv",
    "truncatemod",
    "xdivy",
    "xlog1py",
    "xlogy",
    "zeta",
]  # fmt: skip


def _pairwise(type: str, function: Callable[[Any, Any], Any], text: str, **options: Any) -> Callable[..., Any]:
    """The operation that computes a function of pairs of elements; shapes are stretched to fit each other."""

    def compute(x: Operand, y: Operand, name: str | None = None) -> Any:
        return function(x, y)

    compute.__name__ = compute.__qualname__ = type.lower()
    compute.__doc__ = text
    return operation(type, stretches=True, **options)(compute)


def _whole(*values: Any) -> bool:
    return all(isinstance(v, int) or (isinstance(v, core.Tensor) and not v.dtype.is_floating_point) for v in values)


def _signed(x: Any) -> Any:
    return dg.sign(x) if isinstance(x, core.Tensor) else (x > 0) - (x < 0)


def _truncated(x: Any, y: Any) -> Any:
    if not _whole(x, y):
        return dg.trunc(dg.true_divide(x, y))
    return dg.floor_divide(abs(x), abs(y)) * (_signed(x) * _signed(y))


def _divided(x: Any, y: Any) -> Any:
    return dg.floor_divide(x, y) if _whole(x, y) else dg.true_divide(x, y)


def _where_not_zero(function: Callable[[Any, Any], Any], x: Any, y: Any, decides: Any) -> Any:
    """The function where `decides` is not 0, and 0 elsewhere: there y is not looked at, nor its gradient."""
    nothing = dg.eq(decides, 0)
    return dg.where(nothing, 0.0, function(x, dg.where(nothing, 1.0, y)))


def _without_nan(x: Any, y: Any) -> Any:
    if not isinstance(y, core.Tensor):
        return dg.zeros_like(x) if y == 0 else dg.true_divide(x, y)
    found: Any = _where_not_zero(dg.true_divide, x, y, y)
    return found.to(y.dtype if not isinstance(x, core.Tensor) else dg.promote_types(x.dtype, y.dtype))


maximum = _pairwise("Maximum", dg.maximum, "The greater of x and y; NaN where one is.")
minimum = _pairwise("Minimum", dg.minimum, "The smaller of x and y; NaN where one is.")
squared_difference = _pairwise("SquaredDifference", lambda x, y: (x - y) * (x - y), "(x - y) squared.")
equal = _pairwise("Equal", dg.eq, "Where x and y are equal.", differentiable=False)
not_equal = _pairwise("NotEqual", dg.ne, "Where x and y differ.", differentiable=False)
div = _pairwise("Div", _divided, "x / y; of integers, the quotient rounded towards minus infinity.", called="div")
div_no_nan = _pairwise("DivNoNan", _without_nan, "x / y, and 0 where y is 0; its gradient is 0 there, too.")
truncatediv = _pairwise("TruncateDiv", _truncated, "The quotient rounded towards 0.")
truncatemod = _pairwise("TruncateMod", dg.fmod, "The remainder that has the sign of x.")
atan2 = _pairwise("Atan2", dg.atan2, "The angle of the point (y, x): the arctangent of the first by the second argument.")
xlogy = _pairwise("Xlogy", dg.xlogy, "x * log(y), and 0 where x is 0.")
xdivy = _pairwise("Xdivy", lambda x, y: _where_not_zero(dg.true_divide, x, y, x), "x / y, and 0 where x is 0.")
multiply_no_nan = _pairwise(
    "MulNoNan", lambda x, y: _where_not_zero(dg.mul, x, y, y), "x * y, and 0 where y is 0, whatever x is."
)
igamma = _pairwise("Igamma", dg.igamma, "The lower incomplete gamma function of x at y, as a part of the whole.")
igammac = _pairwise("Igammac", dg.igammac, "1 - igamma(x, y).")
zeta = _pairwise("Zeta", dg.special.zeta, "The Hurwitz zeta function.")
bitwise_and = _pairwise("BitwiseAnd", dg.bitwise_and, "The bits that are set in both.", differentiable=False)
bitwise_or = _pairwise("BitwiseOr", dg.bitwise_or, "The bits that are set in one of the two.", differentiable=False)
bitwise_xor = _pairwise("BitwiseXor", dg.bitwise_xor, "The bits that are set in one but not in both.", differentiable=False)
nextafter = _pairwise(
    "NextAfter", dg.nextafter, "The next number that can be told from x, on the way to y.", differentiable=False
)
xlog1py = _pairwise("Xlog1py", dg.special.xlog1py, "x * log(1 + y), and 0 where x is 0.")
divide_no_nan = div_no_nan
floor_div = floordiv
mod = floor_mod = floormod
truediv = realdiv = divide


@operation("Polygamma")
def polygamma(a: int, x: Operand, name: str | None = None) -> Any:
    """The derivative of order `a` of digamma."""
    return dg.polygamma(int(a), x)


@operation("Lbeta")
def lbeta(x: Operand, name: str | None = None) -> Any:
    """The logarithm of the beta function of the numbers along the last dimension.

    Shapes:   [*B, N] → [*B]
    """
    return dg.lgamma(x).sum(-1) - dg.lgamma(x.sum(-1))


@operation("AddN")
def _add_n(inputs: Operands, name: str | None = None) -> Any:
    total = inputs[0]
    for x in inputs[1:]:
        total = total + x
    return total


def add_n(inputs: Any, name: str | None = None) -> Tensor:
    """The sum of tensors of one shape.

    Errors:   ArgumentError for none; ShapeError for shapes that differ

    >>> import duograph.graph as tf
    >>> with tf.Session() as session:
    ...     session.run(tf.add_n([tf.constant([1, 2]), tf.constant([3, 4])])).tolist()
    [4, 6]
    """
    tensors = [convert_to_tensor(x) for x in (inputs if isinstance(inputs, (list, tuple)) else [inputs])]
    if not tensors:
        raise ArgumentError("add_n: there is nothing to add: inputs is empty")
    shape = TensorShape(None)
    for x in tensors:
        if not shape.is_compatible_with(x.shape):
            raise ShapeError(f"add_n: {x.name} has shape {x.shape}, the tensors before it {shape}", [x.node.built_at])
        shape = shape.merge_with(x.shape)
    made: Tensor = _add_n(tensors, name=name)
    return made


def accumulate_n(inputs: Any, shape: Any = None, tensor_dtype: Any = None, name: str | None = None) -> Tensor:
    """The sum of tensors of one shape."""
    return add_n(inputs, name)


def scalar_mul(scalar: Any, x: Any, name: str | None = None) -> Tensor:
    """A tensor multiplied by one number.

    Errors:   ShapeError if `scalar` has dimensions
    """
    if isinstance(scalar, Tensor) and scalar.type.sizes not in (None, ()):
        raise ShapeError(f"scalar_mul: scalar has shape {scalar.shape}, expected one number", [scalar.node.built_at])
    made: Tensor = multiply(scalar, x, name=name)
    return made


def polyval(coeffs: Any, x: Any, name: str | None = None) -> Tensor:
    """The value of a polynomial at x; its coefficients begin with the highest power.

    >>> import duograph.graph as tf
    >>> with tf.Session() as session:
    ...     session.run(tf.polyval([2.0, 0.0, 1.0], tf.constant(3.0)))
    np.float32(19.0)
    """
    if not isinstance(coeffs, (list, tuple)):
        raise ArgumentError(f"polyval: coeffs must be a list, got {type(coeffs).__name__}")
    with name_scope(name, "polyval"):
        x = convert_to_tensor(x)
        total: Any = x * 0.0 if not coeffs else x * 0.0 + coeffs[0]
        for coefficient in coeffs[1:]:
            total = total * x + coefficient
        found: Tensor = total
        return found
