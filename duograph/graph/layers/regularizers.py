"""Functions of variables that give losses."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from duograph.errors import ArgumentError

from ..building import GraphKeys, get_default_graph
from ..definition import Operand, operation
from ..elements import Tensor
from ..nn import l2_loss
from ..scopes import name_scope

__all__ = ["apply_regularization", "l1_l2_regularizer", "l1_regularizer", "l2_regularizer", "sum_regularizer"]

Regularizer = Callable[[Any], Any]


def _check(function: str, scale: Any) -> float:
    if not isinstance(scale, (int, float)) or scale < 0 or not math.isfinite(scale):
        raise ArgumentError(f"{function}: scale = {scale!r}: expected a number of at least 0")
    return float(scale)


@operation("L1Loss")
def _absolute_sum(x: Operand, name: str | None = None) -> Any:
    return x.abs().sum()


def l1_regularizer(scale: float, scope: str | None = None) -> Regularizer:
    """The function that gives scale * sum(abs(weights)); nothing for a scale of 0."""
    factor = _check("l1_regularizer", scale)

    def l1(weights: Any) -> Tensor | None:
        if not factor:
            return None
        with name_scope(scope, "l1_regularizer", [weights]):
            made: Tensor = _absolute_sum(weights) * factor
            return made

    return l1


def l2_regularizer(scale: float, scope: str | None = None) -> Regularizer:
    """The function that gives scale * sum(weights²) / 2; nothing for a scale of 0."""
    factor = _check("l2_regularizer", scale)

    def l2(weights: Any) -> Tensor | None:
        if not factor:
            return None
        with name_scope(scope, "l2_regularizer", [weights]):
            made: Tensor = l2_loss(weights) * factor
            return made

    return l2


def l1_l2_regularizer(scale_l1: float = 1.0, scale_l2: float = 1.0, scope: str | None = None) -> Regularizer:
    """The sum of `l1_regularizer` and `l2_regularizer`."""
    return sum_regularizer([l1_regularizer(scale_l1), l2_regularizer(scale_l2)], scope or "l1_l2_regularizer")


def sum_regularizer(regularizer_list: Sequence[Regularizer | None], scope: str | None = None) -> Regularizer:
    """The function that gives the sum of what several regularizers give."""
    parts = [part for part in regularizer_list if part is not None]

    def total(weights: Any) -> Any:
        with name_scope(scope, "sum_regularizer", [weights]):
            found = [loss for part in parts if (loss := part(weights)) is not None]
            made: Any = found[0] if found else None
            for loss in found[1:]:
                made = made + loss
            return made

    return total


def apply_regularization(regularizer: Regularizer, weights_list: Sequence[Any] | None = None) -> Any:
    """The sum of a regularizer's losses of several variables; it goes to GraphKeys.REGULARIZATION_LOSSES, too.

    Args:
        weights_list: by default what is in GraphKeys.WEIGHTS.
    """
    graph = get_default_graph()
    weights = graph.get_collection(GraphKeys.WEIGHTS) if weights_list is None else list(weights_list)
    if not weights:
        raise ArgumentError("apply_regularization: there are no weights")
    total: Any = None
    for weight in weights:
        loss = regularizer(weight)
        if loss is not None:
            total = loss if total is None else total + loss
    if total is not None:
        graph.add_to_collection(GraphKeys.REGULARIZATION_LOSSES, total)
    return total
