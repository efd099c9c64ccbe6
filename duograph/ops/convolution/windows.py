"""The view that convolutions contract: windows of a padded tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph.ir.dim import maximum as greater

from ..reduction.reductions import sum
from ..shapes.affine_views import affine_view
from ..shapes.copying import cast
from ..shapes.padding import zero_pad

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duograph._core import Tensor

    from .geometry import Numbers


def windows(
    x: Any, kernel: Sequence[Any], low: Sequence[Any], counts: Sequence[Any], stride: Numbers, dilation: Numbers, padded: bool
) -> Tensor:
    """x [*B, *S] as [*B, *counts, *kernel]: element (o, k) is x's at o · stride + k · dilation - low, zero outside.

    Without `padded` nothing lies outside.
    """
    dims = len(kernel)
    batch = len(x.shape) - dims
    if padded:
        reach = [(n - 1) * step + (k - 1) * hole + 1 for n, step, k, hole in zip(counts, stride, kernel, dilation)]
        high = [greater(end - size - front, 0) for end, size, front in zip(reach, x.shape[batch:], low)]
        x = zero_pad(x, (*([0] * batch), *low), (*([0] * batch), *high))
    sizes = [x.shape[batch + d] if not padded and _is_one(kernel[d]) and stride[d] == 1 else counts[d] for d in range(dims)]
    shape = (*x.shape[:batch], *sizes, *kernel)
    rows = identity(batch, len(shape))
    for d in range(dims):
        row = [0] * len(shape)
        row[batch + d], row[batch + dims + d] = stride[d], dilation[d]
        rows.append(row)
    return affine_view(x, shape, [0] * (batch + dims), rows, False)


def _is_one(size: Any) -> bool:
    return isinstance(size, int) and size == 1


def identity(count: int, width: int) -> list[list[int]]:
    return [[int(i == d) for i in range(width)] for d in range(count)]


def summed(x: Any, kept: int) -> Any:
    """x summed over its dimensions from number `kept` on, in its dtype."""
    made = sum(x, tuple(range(kept, len(x.shape))))
    return made if made.dtype == x.dtype else cast(made, x.dtype)
