"""Gradients along one tape: by a vector, and by many at once (as a mapped function) or one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from duograph import _core as core
from duograph._recorded import current as recorder_of_capture
from duograph.errors import Error
from duograph.ops.definition import REGISTRY

from .examples import shape_of
from .mapping import Mapped

# In dynamic mode a mapped tape is traced at each call, which costs as much as so many single gradients of a small network.
ENOUGH = 128


def each_row(pull: Callable[[list[Any]], list[Any]], seeds: list[Any], enough: int = ENOUGH) -> list[Any]:
    """What `pull` gives for each row of the seeds, stacked in front.

    Args:
        pull: from seeds like rows to tensors; linear, the same for each row.
        enough: at how many rows they are computed at once.
    """
    count = int(seeds[0].shape[0])
    if count >= enough and not core.tracing():
        try:
            return Mapped.of(pull, seeds, [True] * len(seeds), shape_of(seeds[0])[0], "error")
        except Error:
            pass  # a node of the tape has no batched form: what is wrong beyond that shows below, too
    rows = [pull([seed[i] for seed in seeds]) for i in range(count)]
    return [REGISTRY["stack"].op(list(column), 0) for column in zip(*rows)]


def pull_back(outputs: Sequence[Any], variables: Sequence[Any], seeds: Sequence[Any], create: bool, retain: bool) -> list[Any]:
    """vᵀ·J for each variable, zeros where there is no dependence."""
    pairs = [(o, s) for o, s in zip(outputs, seeds) if o.requires_grad]
    found: Sequence[Any] = (None,) * len(variables)
    recorder = recorder_of_capture()
    if recorder is not None:
        recorder.differentiates([o for o, _ in pairs])
    if pairs and variables:
        found = core.grad(
            tuple(o for o, _ in pairs), tuple(variables), tuple(s for _, s in pairs), retain or create, create, True
        )
    return [REGISTRY["zeros_like"].op(x.detach()) if g is None else g for g, x in zip(found, variables)]


def push_forward(outputs: Sequence[Any], variables: Sequence[Any], tangents: Sequence[Any], create: bool) -> list[Any]:
    """J·v for each output, zeros where there is no dependence."""
    found = tangents_of(outputs, variables, tangents, create)
    return [REGISTRY["zeros_like"].op(o.detach()) if t is None else t for t, o in zip(found, outputs)]


def tangents_of(outputs: Sequence[Any], variables: Sequence[Any], tangents: Sequence[Any], create: bool) -> Sequence[Any]:
    """The same, None where there is no dependence."""
    recorder = recorder_of_capture()
    if recorder is not None:
        recorder.differentiates([o for o in outputs if o.requires_grad])
    return core.push_forward(tuple(outputs), tuple(variables), tuple(tangents), create)


def _basis(like: Any) -> Any:
    """One row per element of `like`, with a 1 there."""
    from duograph.tensors.creation import eye

    count = int(like.numel())
    return eye(count, dtype=like.dtype).reshape((count, *like.shape))


def jacobian_rows(outputs: list[Any], variables: list[Any], outside: bool, enough: int = ENOUGH) -> list[list[Any]]:
    """For each output the Jacobians by each variable."""
    table = []
    for o in outputs:
        if not o.numel():
            table.append([_empty((*o.shape, *x.shape), x.dtype) for x in variables])
            continue
        found = each_row(lambda seeds, o=o: pull_back([o], variables, seeds, outside, True), [_basis(o)], enough)  # type: ignore[misc]
        table.append([g.reshape((*o.shape, *x.shape)) for g, x in zip(found, variables)])
    return table


def jacobian_columns(outputs: list[Any], variables: list[Any], outside: bool, enough: int = ENOUGH) -> list[list[Any]]:
    """The same, column by column."""
    table: list[list[Any]] = [[] for _ in outputs]
    for x in variables:
        if not x.numel():
            found = [_empty((0, *o.shape), o.dtype) for o in outputs]
        else:
            found = each_row(lambda v, x=x: push_forward(outputs, [x], v, outside), [_basis(x)], enough)  # type: ignore[misc]
        rank = len(x.shape)
        for row, o, columns in zip(table, outputs, found):
            order = (*range(rank, rank + len(o.shape)), *range(rank))
            row.append(columns.reshape((*x.shape, *o.shape)).permute(order))
    return table


def _empty(shape: tuple[Any, ...], dtype: Any) -> Any:
    from duograph.tensors.creation import zeros

    return zeros(shape, dtype=dtype)
