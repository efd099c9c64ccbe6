"""Operators that reduce dimensions, and those that normalise by such a reduction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import duograph as dg

from .definition import Number, Numbers, Tensor, operator
from .known import settled


def _sum(x: Tensor, dims: Any, keep: bool) -> Tensor:
    return dg.sum(x, dims, keepdim=keep, dtype=x.dtype)


def _product(x: Tensor, dims: Any, keep: bool) -> Tensor:
    for axis in sorted(dims, reverse=True):
        x = dg.prod(x, axis, keepdim=keep).to(x.dtype)
    return x


def _log_sum_exp(x: Tensor, dims: Any, keep: bool) -> Tensor:
    return (
        dg.logsumexp(x, dims, keepdim=keep) if x.dtype.is_floating_point else dg.logsumexp(x.to(dg.float64), dims, keepdim=keep)
    )


def _extreme(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def reduce(x: Tensor, dims: Any, keep: bool) -> Tensor:
        if 0 in [x.shape[axis] for axis in dims]:
            most = function is dg.amax
            edge = -float("inf") if most else float("inf")
            if not x.dtype.is_floating_point:
                info = None if x.dtype is dg.bool else dg.iinfo(x.dtype)
                edge = (not most) if info is None else info.min if most else info.max
            shape = [1 if i in dims else size for i, size in enumerate(x.shape)]
            made = dg.full(shape, edge, dtype=x.dtype)
            return made if keep else made.reshape([size for i, size in enumerate(shape) if i not in dims])
        if x.dtype is dg.bool:
            return function(x.to(dg.uint8), dims, keepdim=keep).to(dg.bool)
        return function(x, dims, keepdim=keep)

    return reduce


_KINDS: dict[str, Callable[[Tensor, Any, bool], Tensor]] = {
    "ReduceSum": _sum,
    "ReduceMean": lambda x, d, k: dg.mean(x, d, keepdim=k) if x.dtype.is_floating_point else (_mean_of_ints(x, d, k)),
    "ReduceMax": _extreme(dg.amax),
    "ReduceMin": _extreme(dg.amin),
    "ReduceProd": _product,
    "ReduceL1": lambda x, d, k: _sum(x.abs(), d, k),
    "ReduceL2": lambda x, d, k: dg.sqrt(dg.sum(x * x, d, keepdim=k)).to(x.dtype),
    "ReduceSumSquare": lambda x, d, k: _sum(x * x, d, k),
    "ReduceLogSum": lambda x, d, k: dg.log(dg.sum(x, d, keepdim=k)).to(x.dtype),
    "ReduceLogSumExp": lambda x, d, k: _log_sum_exp(x, d, k).to(x.dtype),
}


def _mean_of_ints(x: Tensor, dims: Any, keep: bool) -> Tensor:
    return dg.mean(x.to(dg.float64), dims, keepdim=keep).to(x.dtype)


def _reduced(name: str, x: Tensor, axes: Any, keepdims: int, noop: int = 0) -> Tensor:
    axes = None if axes is None else [settled(axis) for axis in axes]
    if not axes and noop:
        return {
            "ReduceL1": dg.abs, "ReduceL2": dg.abs, "ReduceSumSquare": dg.square, "ReduceLogSum": dg.log,
        }.get(name, lambda x: x)(x)  # fmt: skip
    dims = sorted({axis % x.ndim for axis in axes}) if axes else list(range(x.ndim))
    return _KINDS[name](x, dims, bool(keepdims)) if x.ndim else _KINDS[name](x.reshape(1), [0], False)


def _add(name: str, since: int) -> None:
    @operator(name, since=since)
    def reduce(x: Tensor, axes: Numbers | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Tensor:
        return _reduced(name, x, axes, keepdims, noop_with_empty_axes)

    @operator(name, since=1, until=since - 1)
    def reduce_by_attributes(x: Tensor, *, axes: list[int] | None = None, keepdims: int = 1) -> Tensor:
        return _reduced(name, x, axes, keepdims)


for _name in _KINDS:
    _add(_name, 13 if _name == "ReduceSum" else 18)


def _add_argument(name: str, function: Callable[..., Tensor]) -> None:
    @operator(name, since=1)
    def place(x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
        if not select_last_index:
            return function(x, axis, keepdim=bool(keepdims))
        return x.shape[axis] - 1 - function(dg.flip(x, (axis % x.ndim,)), axis, keepdim=bool(keepdims))


_add_argument("ArgMax", dg.argmax)
_add_argument("ArgMin", dg.argmin)


@operator("TopK", since=10)
def top(x: Tensor, k: Number, *, axis: int = -1, largest: int = 1, sorted: int = 1) -> Any:
    return tuple(dg.topk(x, k, axis, bool(largest), bool(sorted)))


@operator("TopK", since=1, until=9)
def top_by_attribute(x: Tensor, *, k: int, axis: int = -1) -> Any:
    return tuple(dg.topk(x, k, axis))


# ---- normalising


@operator("Softmax", since=13)
def softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    return dg.softmax(x, axis)


@operator("LogSoftmax", since=13)
def log_softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    return dg.log_softmax(x, axis)


@operator("Hardmax", since=13)
def hardmax(x: Tensor, *, axis: int = -1) -> Tensor:
    shape = [1] * x.ndim
    shape[axis] = -1
    return (dg.argmax(x, axis, keepdim=True) == dg.arange(x.shape[axis]).reshape(shape)).to(x.dtype)


def _as_matrix(name: str, function: Callable[..., Tensor]) -> None:
    @operator(name, since=1, until=12)
    def of_matrix(x: Tensor, *, axis: int = 1) -> Tensor:
        """All dimensions from `axis` on are one."""
        axis = axis % max(x.ndim, 1)
        if axis == x.ndim - 1:
            return function(x, axis=-1)
        rows = 1
        for size in x.shape[:axis]:
            rows = rows * size
        return function(x.reshape(rows, -1), axis=-1).reshape(x.shape)


_as_matrix("Softmax", softmax)
_as_matrix("LogSoftmax", log_softmax)
_as_matrix("Hardmax", hardmax)


@operator("LpNormalization", since=1)
def lp_normalization(x: Tensor, *, axis: int = -1, p: int = 2) -> Tensor:
    size = dg.sum(x.abs(), axis, keepdim=True) if p == 1 else dg.sqrt(dg.sum(x * x, axis, keepdim=True))
    return dg.where(size == 0, dg.zeros_like(x), x / size)
