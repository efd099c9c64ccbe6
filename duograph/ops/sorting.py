"""Order along a dimension: sorted, the greatest few, where a value belongs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.ir.builder import current
from duograph.ir.types import TensorType

from .definition import REDUCTION, function, op
from .movement import axis, reshape
from .tracing import value_of, wrap

if TYPE_CHECKING:
    from duograph._core import Tensor


def emit_rows(name: str, inputs: Any, results: Any, **attrs: Any) -> tuple[Tensor, ...]:
    """Append a node that works on rows; `results` are (dtype, shape) pairs."""
    types = [TensorType(dtype, tuple(shape)) for dtype, shape in results]
    return tuple(wrap(value) for value in current().emit(name, [value_of(x) for x in inputs], attrs, types))


@op(kind=REDUCTION, lowers=True, method=False, public=False, samples=None)
def sorted_rows(x: Tensor, dim: int = -1, descending: bool = False) -> tuple[Tensor, Tensor]:
    """x"""
    shape = tuple(x.shape)
    dim = axis("sort", dim, len(shape))
    values, indices = emit_rows("sort", [x], [(x.dtype, shape), (core.int64, shape)], dim=dim, descending=descending)
    return values, indices
@op(kind=REDUCTION, lowers=True, method=False, public=False, samples=None)
def cumsumx(x: Tensor, dim: int = -1) -> Tensor:
    """x"""
    shape = tuple(x.shape)
    dim = axis("sort", dim, len(shape))
    return emit_rows("scan", [x], [(x.dtype, shape)], dim=dim, kind="sum")[0]
