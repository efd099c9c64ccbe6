"""Sums, extrema, means and running totals of graph tensors, under TensorFlow's names."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import duograph as dg
from duograph import _core as core

from .definition import Numbers, Operand, operation
from .dtypes import as_dtype
from .inference import RunSizes
from .resolving import as_tensor
from .slicing import as_number, as_numbers

__all__ = [
    "arg_max", "arg_min", "argmax", "argmin", "count_nonzero", "cumprod", "cumsum", "cumulative_logsumexp", "reduce_all",
    "reduce_any", "reduce_euclidean_norm", "reduce_logsumexp", "reduce_max", "reduce_mean", "reduce_min", "reduce_prod",
    "reduce_std", "reduce_sum", "reduce_variance",
]  # fmt: skip

_SHARED = """

    Args:
        axis: one or several dimensions, from the end if negative; None: all.
        keepdims: whether these stay, with size 1.

    Errors:   DimensionError for an axis that is not there"""


def _reduction(
    type: str,
    function: Callable[..., Any],
    text: str,
    of_sizes: Callable[[Any, Any], Any] | None = None,
    **options: Any,
) -> Callable[..., Any]:
    """The operation (input_tensor, axis=None, keepdims=False) of function(x, dims, keepdims).

    of_sizes: what puts two sizes of the run together.
    """

    def reduce(input_tensor: Operand, axis: Numbers = None, keepdims: Any = None, name: str | None = None) -> Any:
        if isinstance(input_tensor, RunSizes) and of_sizes is not None and input_tensor and not keepdims:
            return functools.reduce(of_sizes, input_tensor)
        x = as_tensor(input_tensor)
        dims = as_numbers(axis)
        if isinstance(dims, (list, tuple)) and not dims:
            return function(x.unsqueeze(0), 0, False)
        return function(x, list(dims) if isinstance(dims, (list, tuple)) else dims, bool(keepdims))

    reduce.__name__ = reduce.__qualname__ = text.split()[0]
    reduce.__doc__ = text.split(" ", 1)[1] + _SHARED
    return operation(type, sizes=True, **options)(reduce)


def _mean(x: Any, dims: Any, keepdims: bool) -> Any:
    if x.dtype.is_floating_point:
        return dg.mean(x, dims, keepdims)
    total = dg.sum(x, dims, keepdims, dtype=core.float64)
    return dg.trunc(total / (dg.ones_like(x).to(core.float64).sum(dims, keepdims))).to(x.dtype)


def _all_dims(x: Any, dims: Any) -> Any:
    return list(range(x.ndim)) if dims is None else dims


def _sum(x: Any, dims: Any, keepdims: bool) -> Any:
    return dg.sum(x, dims, keepdims, dtype=x.dtype if x.dtype.kind != "b" else None)


reduce_sum = _reduction("Sum", _sum, "reduce_sum The sum of elements.", operator.add)
reduce_mean = _reduction("Mean", _mean, "reduce_mean The mean of elements; of integers it is cut off to an integer.")
reduce_prod = _reduction(
    "Prod", lambda x, d, k: dg.prod(x, d, k, dtype=x.dtype), "reduce_prod The product of elements.", operator.mul
)
reduce_max = _reduction("Max", lambda x, d, k: dg.amax(x, d, k), "reduce_max The greatest element.")
reduce_min = _reduction("Min", lambda x, d, k: dg.amin(x, d, k), "reduce_min The smallest element.")
reduce_all = _reduction("All", lambda x, d, k: dg.all(x, d, k), "reduce_all Whether all elements are true.", differentiable=False)
reduce_any = _reduction("Any", lambda x, d, k: dg.any(x, d, k), "reduce_any Whether an element is true.", differentiable=False)
reduce_logsumexp = _reduction(
    "LogSumExp",
    lambda x, d, k: dg.logsumexp(x, _all_dims(x, d), k),
    "reduce_logsumexp log(sum(exp(x))), without overflow.",
    called="ReduceLogSumExp",
)
reduce_variance = _reduction(
    "Variance",
    lambda x, d, k: dg.var(x, d, 0, k),
    "reduce_variance The mean of the squared distance from the mean.",
)
reduce_std = _reduction("Std", lambda x, d, k: dg.std(x, d, 0, k), "reduce_std The square root of the variance.")
reduce_euclidean_norm = _reduction(
    "EuclideanNorm",
    lambda x, d, k: dg.linalg.vector_norm(x, 2, d, k),
    "reduce_euclidean_norm The square root of the sum of squares; its gradient is 0 at 0.",
)


@operation("CountNonzero", differentiable=False, aliases={"input_tensor": "input"})
def count_nonzero(
    input: Operand, axis: Numbers = None, keepdims: Any = None, dtype: Any = core.int64, name: str | None = None
) -> Any:
    """How many elements are not 0."""
    dims = as_numbers(axis)
    return dg.sum(dg.ne(input, 0), dims, bool(keepdims)).to(as_dtype(dtype))


@operation("ArgMax", differentiable=False)
def argmax(
    input: Operand, axis: Numbers = None, name: str | None = None, dimension: Any = None, output_type: Any = core.int64
) -> Any:
    """Where the greatest element is along an axis (by default the first); of equal ones, the first.

    >>> import duograph.graph as tf
    >>> with tf.Session() as session:
    ...     session.run(tf.argmax([[1.0, 5.0, 2.0]], 1))
    array([1])
    """
    return dg.argmax(input, _axis_of(axis, dimension)).to(as_dtype(output_type))


@operation("ArgMin", differentiable=False)
def argmin(
    input: Operand, axis: Numbers = None, name: str | None = None, dimension: Any = None, output_type: Any = core.int64
) -> Any:
    """Where the smallest element is along an axis (by default the first); of equal ones, the first."""
    return dg.argmin(input, _axis_of(axis, dimension)).to(as_dtype(output_type))


arg_max, arg_min = argmax, argmin


def _axis_of(axis: Any, dimension: Any) -> Any:
    found = as_number(axis if axis is not None else dimension)
    return 0 if found is None else found


def _running(total: Callable[[Any, int], Any], first: float, x: Any, axis: Any, exclusive: bool, reverse: bool) -> Any:
    """Running totals; exclusive ones begin with `first` and leave the last element out."""
    dim = as_number(axis)
    if reverse:
        x = dg.flip(x, dim)
    count = x.shape[dim]
    if exclusive:
        x = dg.cat([dg.full_like(x.narrow(dim, 0, 1), first), x], dim)
    found = total(x, dim)
    if exclusive:
        found = found.narrow(dim, 0, count)
    return dg.flip(found, dim) if reverse else found


@operation("Cumsum")
def cumsum(x: Operand, axis: Numbers = 0, exclusive: bool = False, reverse: bool = False, name: str | None = None) -> Any:
    """Running sums along an axis.

    Args:
        exclusive: without the element itself: the first is 0.
        reverse: from the end.

    >>> import duograph.graph as tf
    >>> with tf.Session() as session:
    ...     session.run(tf.cumsum([1, 2, 3], exclusive=True, reverse=True)).tolist()
    [5, 3, 0]
    """
    return _running(lambda v, d: dg.cumsum(v, d, dtype=v.dtype), 0, x, axis, exclusive, reverse)


@operation("Cumprod")
def cumprod(x: Operand, axis: Numbers = 0, exclusive: bool = False, reverse: bool = False, name: str | None = None) -> Any:
    """Running products along an axis; exclusive: without the element itself, the first is 1."""
    return _running(lambda v, d: dg.cumprod(v, d, dtype=v.dtype), 1, x, axis, exclusive, reverse)


@operation("CumulativeLogsumexp")
def cumulative_logsumexp(
    x: Operand, axis: Numbers = 0, exclusive: bool = False, reverse: bool = False, name: str | None = None
) -> Any:
    """log(cumsum(exp(x))), without overflow."""
    return _running(dg.logcumsumexp, float("-inf"), x, axis, exclusive, reverse)
