"""Arithmetic of graph tensors, under TensorFlow's names."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import duograph as dg
from duograph import _core as core

from .definition import Operand, operation
from .elements import Tensor
from .inference import RunSizes
from .layout import any_layout
from .resolving import as_tensor
from .slicing import plain_numbers

__all__ = [
    "abs",
    "add",
    "divide",
    "floordiv",
    "floormod",
    "greater",
    "greater_equal",
    "less",
    "less_equal",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "matmul",
    "multiply",
    "negative",
    "pow",
    "subtract",
]


def _of_numbers(function: Callable[..., Any], of_sizes: Callable[..., Any]) -> Callable[..., Any]:
    """The function on tensors; on sizes and whole numbers of the run it gives such again."""

    def apply(x: Any, y: Any) -> Any:
        left, right = plain_numbers(x), plain_numbers(y)
        tensors = [v for v in (x, y) if isinstance(v, core.Tensor)]
        another_dtype = not any(isinstance(v, RunSizes) for v in (x, y)) and any(v.dtype is not core.int32 for v in tensors)
        if left is None or right is None or len(tensors) == 2 or another_dtype:
            return function(*(as_tensor(v) if isinstance(v, RunSizes) else v for v in (x, y)))
        if not isinstance(left, tuple) and not isinstance(right, tuple):
            return of_sizes(left, right)
        count = max(len(v) for v in (left, right) if isinstance(v, tuple))
        pairs = [
            v * count if isinstance(v, tuple) and len(v) == 1 else v if isinstance(v, tuple) else (v,) * count
            for v in (left, right)
        ]
        return (
            RunSizes(of_sizes(a, b) for a, b in zip(*pairs))
            if len(pairs[0]) == len(pairs[1])
            else function(as_tensor(x), as_tensor(y))
        )

    return apply


_ADD, _SUB = _of_numbers(dg.add, operator.add), _of_numbers(dg.sub, operator.sub)
_MUL, _FLOORDIV = _of_numbers(dg.mul, operator.mul), _of_numbers(dg.floor_divide, operator.floordiv)
_MOD = _of_numbers(dg.remainder, operator.mod)


@operation("Add", sizes=True, stretches=True)
@any_layout
def add(x: Operand, y: Operand, name: str | None = None) -> Any:
    """x + y."""
    return _ADD(x, y)


@operation("Sub", sizes=True, stretches=True)
@any_layout
def subtract(x: Operand, y: Operand, name: str | None = None) -> Any:
    """x - y."""
    return _SUB(x, y)


@operation("Mul", sizes=True, stretches=True)
@any_layout
def multiply(x: Operand, y: Operand, name: str | None = None) -> Any:
    """x * y."""
    return _MUL(x, y)


@operation("FloorDiv", sizes=True, called="floordiv", stretches=True)
def floordiv(x: Operand, y: Operand, name: str | None = None) -> Any:
    """The quotient rounded towards minus infinity."""
    return _FLOORDIV(x, y)


@operation("FloorMod", sizes=True, stretches=True)
def floormod(x: Operand, y: Operand, name: str | None = None) -> Any:
    """The remainder that has the sign of y."""
    return _MOD(x, y)


@operation("RealDiv", called="truediv", stretches=True)
def divide(x: Operand, y: Operand, name: str | None = None) -> Any:
    """x / y; integers give floats: float64, those of 8 and 16 bits float32."""
    dtypes = [v.dtype for v in (x, y) if isinstance(v, core.Tensor)]
    if all(d.kind in "iu" for d in dtypes) and not isinstance(x, float) and not isinstance(y, float):
        wide = core.float64 if max(d.itemsize for d in dtypes) >= 4 else core.float32
        x, y = (v.to(wide) if isinstance(v, core.Tensor) else v for v in (x, y))
    return dg.true_divide(x, y)


@operation("Pow", stretches=True)
def pow(x: Operand, y: Operand, name: str | None = None) -> Any:
    """x to the power of y."""
    return dg.pow(x, y)


@operation("Neg")
def negative(x: Operand, name: str | None = None) -> Any:
    """-x."""
    return -x


@operation("Less", differentiable=False, stretches=True)
def less(x: Operand, y: Operand, name: str | None = None) -> Any:
    """x < y."""
    return dg.lt(x, y)


@operation("LessEqual", differentiable=False, stretches=True)
def less_equal(x: Operand, y: Operand, name: str | None = None) -> Any:
    """x <= y."""
    return dg.le(x, y)


@operation("Greater", differentiable=False, stretches=True)
def greater(x: Operand, y: Operand, name: str | None = None) -> Any:
    """x > y."""
    return dg.gt(x, y)


@operation("GreaterEqual", differentiable=False, stretches=True)
def greater_equal(x: Operand, y: Operand, name: str | None = None) -> Any:
    """x >= y."""
    return dg.ge(x, y)


@operation("LogicalAnd", differentiable=False, stretches=True)
def logical_and(x: Operand, y: Operand, name: str | None = None) -> Any:
    """x and y."""
    return dg.logical_and(x, y)


@operation("LogicalOr", differentiable=False, stretches=True)
def logical_or(x: Operand, y: Operand, name: str | None = None) -> Any:
    """x or y."""
    return dg.logical_or(x, y)


@operation("LogicalNot", differentiable=False)
def logical_not(x: Operand, name: str | None = None) -> Any:
    """not x."""
    return dg.logical_not(x)


@operation("LogicalXor", differentiable=False, stretches=True)
def logical_xor(x: Operand, y: Operand, name: str | None = None) -> Any:
    """Either x or y."""
    return dg.logical_xor(x, y)


@operation("Abs")
def abs(x: Operand, name: str | None = None) -> Any:
    """The absolute value."""
    return dg.abs(x)


@operation("MatMul")
def matmul(
    a: Operand,
    b: Operand,
    transpose_a: bool = False,
    transpose_b: bool = False,
    adjoint_a: bool = False,
    adjoint_b: bool = False,
    a_is_sparse: bool = False,
    b_is_sparse: bool = False,
    name: str | None = None,
) -> Any:
    """The product of matrices, or of stacks of them.

    Shapes:   a [*B, M, K], b [*B, K, N] → [*B, M, N]; transposed operands have their last two dimensions the other way round
    Errors:   ShapeError if the inner sizes differ
    """
    left = a.mT if transpose_a or adjoint_a else a
    right = b.mT if transpose_b or adjoint_b else b
    return dg.matmul(left, right)


def _install() -> None:
    """The operators of Python on graph tensors."""

    def both(function: Callable[..., Any], name: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
        return (lambda x, y: function(x, y, name=name)), (lambda x, y: function(y, x, name=name))

    table = {
        "add": add, "sub": subtract, "mul": multiply, "truediv": divide, "floordiv": floordiv, "mod": floormod, "pow": pow,
        "matmul": matmul, "and": logical_and, "or": logical_or, "xor": logical_xor,
    }  # fmt: skip
    for name, function in table.items():
        forward, backward = both(function, name)
        setattr(Tensor, f"__{name}__", forward)
        setattr(Tensor, f"__r{name}__", backward)
    for name, function in {"lt": less, "le": less_equal, "gt": greater, "ge": greater_equal}.items():
        setattr(Tensor, f"__{name}__", lambda x, y, function=function: function(x, y))
    for name, function in {"neg": negative, "invert": logical_not, "abs": abs}.items():
        setattr(Tensor, f"__{name}__", lambda x, function=function: function(x))


_install()
