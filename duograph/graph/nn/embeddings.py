"""Rows of tables, looked up by number."""

from __future__ import annotations

from typing import Any

import duograph as dg
from duograph import _core as core
from duograph.errors import ArgumentError
from duograph.nn import functional as F

from ..definition import Operand, Operands, operation
from ..elements import Tensor

__all__ = ["embedding_lookup"]


@operation("EmbeddingLookup")
def _lookup(params: Operands, ids: Operand, strategy: str, max_norm: Operand, name: str | None = None) -> Any:
    rows = ids.to(core.int64)
    made = rows_of(params, rows, strategy)
    if max_norm is None:
        return made
    axes = list(range(rows.ndim, made.ndim))
    norms = dg.sqrt((made * made).sum(axes, keepdim=True))
    return made * (max_norm / dg.maximum(norms, dg.as_tensor(max_norm, dtype=made.dtype)))


def _at(param: Any, rows: Any) -> Any:
    return F.embedding(rows, param) if param.ndim == 2 else param[rows]


def rows_of(params: Any, rows: Any, strategy: str = "mod") -> Any:
    """The rows of a table, which may lie in several parts."""
    if len(params) == 1 or strategy == "div":
        return _at(params[0] if len(params) == 1 else dg.cat(params, 0), rows)
    count = len(params)
    parts, places = rows % count, rows // count
    made: Any = None
    for i, param in enumerate(params):
        mine = parts == i
        found = _at(param, dg.where(mine, places, 0))
        mask = mine.reshape([*mine.shape, *[1] * (found.ndim - mine.ndim)])
        made = dg.where(mask, found, 0.0 if made is None else made)
    return made


def embedding_lookup(
    params: Any,
    ids: Any,
    partition_strategy: str = "mod",
    name: str | None = None,
    validate_indices: bool = True,
    max_norm: float | None = None,
) -> Tensor:
    """The rows of a table at the numbers `ids`.

    Args:
        params: the table, or a list of its parts.
        partition_strategy: which part a row is in: "mod": row i in part i % parts; "div": parts of consecutive rows.
        max_norm: rows with a greater norm are made as long as that.

    Shapes:   params [V, *D], ids [*S] → [*S, *D]
    Errors:   BoundsError for a number outside of the table

    >>> import duograph.graph as tf
    >>> with tf.Session() as session:
    ...     session.run(tf.nn.embedding_lookup([[1.0, 2.0], [3.0, 4.0]], [1, 1])).tolist()
    [[3.0, 4.0], [3.0, 4.0]]
    """
    if partition_strategy not in ("mod", "div"):
        raise ArgumentError(f'embedding_lookup: partition_strategy is "mod" or "div", not {partition_strategy!r}')
    several = isinstance(params, (list, tuple)) and len(params) > 0 and isinstance(params[0], Tensor)
    parts = list(params) if several else [params]
    made: Tensor = _lookup(parts, ids, partition_strategy, max_norm, name or "embedding_lookup")
    return made
