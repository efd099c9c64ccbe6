"""Max pooling undone: elements back where they were taken from, zeros elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph.ir.dim import product

from ..definition import INDEXING, op
from ..selection.indexing import gather, scatter
from ..shapes.creation import full
from ..shapes.movement import reshape
from ..tracing import require_equal, user_operator

if TYPE_CHECKING:
    from duograph._core import Tensor

    from ..definition import Sizes


def _rows(x: Any, dims: int) -> tuple[Any, Any]:
    """x's leading dimensions and its last ones, each as one."""
    lead = len(x.shape) - dims
    return product(tuple(x.shape[:lead])), product(tuple(x.shape[lead:]))


def _np_put(np: Any, x: Any, places: Any, size: Any) -> Any:
    lead = x.shape[: x.ndim - len(size)]
    made = np.zeros((int(np.prod(lead)), int(np.prod(size))), x.dtype)
    rows = len(made)
    np.put_along_axis(made, places.reshape(rows, -1), x.reshape(rows, -1), 1)
    return made.reshape(*lead, *size)


def _samples(m: Any) -> Any:
    places = m.of([[[5, 0], [3, 7]], [[2, 6], [1, 4]]]).astype("int64")
    return [(m(2, 2, 2), places, (4, 2)), (m(2, 2, 2), places, (9,)), (m(2, 2, 2), places, (2, 5))]


@op(kind=INDEXING, method=False, public=False, samples=_samples, reference=_np_put)
def unpooled(x: Tensor, places: Tensor, size: Sizes) -> Tensor:
    """Zeros of a size in the last dimensions, with x's elements written at their places in these dimensions flattened.

    Shapes:   x and places [*S, *L] → [*S, *size] with as many L as sizes
    Dtypes:   x's; places integers
    Gradient: what lies at the places
    Errors:   ShapeError unless x and places have one shape; BoundsError for a place outside
    Source:   torch.nn.functional.max_unpool2d

    >>> dg.ops.unpooled(tensor([[5, 6]]), tensor([[2, 0]]), (3,))
    tensor([[6, 0, 5]])
    """
    name, dims = user_operator("max_unpool"), len(size)
    require_equal(name, len(x.shape), len(places.shape), f"x has {len(x.shape)} dimensions, indices {len(places.shape)}")
    for d, (have, want) in enumerate(zip(places.shape, x.shape)):
        require_equal(name, want, have, f"size {d} of indices is {have}, of x {want}")
    rows = _rows(x, dims)
    made = scatter(full((rows[0], product(tuple(size))), 0, x.dtype), 1, reshape(places, rows), reshape(x, rows))
    return reshape(made, (*x.shape[: len(x.shape) - dims], *size))


@unpooled.vjp
def _(g: Any, out: Any, x: Any, places: Any, size: Any) -> Any:
    dims = len(size)
    return reshape(gather(reshape(g, _rows(g, dims)), 1, reshape(places, _rows(x, dims))), tuple(x.shape)), None
