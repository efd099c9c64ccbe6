"""`vmap` in dynamic mode where Python has to know: the function runs on one example after the other, line by line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from duograph import _core as core
from duograph._stack import user_location
from duograph.errors import ArgumentError, CaptureError
from duograph.ops.definition import REGISTRY


def one_by_one(function: Callable[..., list[Any]], tensors: list[Any], batched: list[bool], size: int) -> list[Any]:
    """The results of all examples, stacked in front.

    Args:
        function: from one example's tensors to its results.

    Errors:   CaptureError if it draws random numbers: these would be others than those of the mapped program
    """
    if not size:
        raise ArgumentError("vmap: without an example, what a tensor decides in the function is not known")
    rows = []
    state = core.get_rng_state()
    for i in range(size):
        rows.append(function([x[i] if on else x for x, on in zip(tensors, batched)]))
        if core.get_rng_state() != state:
            raise CaptureError(
                "vmap: random numbers are drawn in a function that steers by a tensor, which runs example by example here "
                "(dynamic mode, or the gradient of a gradient)",
                hint="draw them outside of vmap",
                location=user_location(),
            )
    return [REGISTRY["stack"].op(list(column), 0) for column in zip(*rows)]
