"""Planes of another size: their elements repeated, or between their neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import ShapeError

from ..definition import INDEXING, op
from ..dtypes import floats
from ..selection.indexing import take_along
from ..tracing import require, user_operator
from .axes import cubic, linear, nearest, smoothed

if TYPE_CHECKING:
    from duograph._core import Tensor

    from ..definition import Number, Sizes


def _check(x: Any, size: Any) -> None:
    name = user_operator("interpolate")
    for length, n in zip(x.shape[len(x.shape) - len(size) :], size):
        require("le", 1, n, ShapeError, f"{name}: the size must be above 0, got {tuple(size)}")
        require("le", 1, length, ShapeError, f"{name}: a dimension of size 0: shape {tuple(x.shape)}")


def _axes(x: Any, size: Any, scales: Any) -> Any:
    """(dimension, new size, scale), rows first: along other dimensions whole rows are read."""
    first = len(x.shape) - len(size)
    return reversed([(first + axis, n, scales[axis]) for axis, n in enumerate(size)])


def _torch(torch: Any, x: Any, size: Any, mode: Any, align: Any, *scales: Any, antialias: bool = False) -> Any:
    names = {"linear": {1: "linear", 2: "bilinear", 3: "trilinear"}, "cubic": {2: "bicubic"}}
    mode = names[mode][len(size)] if mode in names else mode
    how = {"align_corners": align} if mode not in ("nearest", "nearest-exact") else {}
    where = {"scale_factor": scales} if scales else {"size": size}
    return torch.nn.functional.interpolate(x, **where, mode=mode, antialias=antialias, **how)


@op(
    kind=INDEXING,
    method=False,
    public=False,
    samples=lambda m: [
        (m(2, 3, 5, 4), (10, 3), False),
        (m(2, 3, 5), (12,), True, 2.5),
        (m(2, 1, 3, 2, 4), (2, 4, 7), True),
    ],
    torch=lambda torch, x, size, exact, *scales: _torch(torch, x, size, "nearest-exact" if exact else "nearest", None, *scales),
)
def repeated_to(
    x: Tensor,
    size: Sizes,
    exact: bool,
    first: Number | None = None,
    second: Number | None = None,
    third: Number | None = None,
) -> Tensor:
    """x with its last dimensions at other sizes, every element the old one at its place (its centre's if exact).

    Numbers for the dimensions say how many new elements there are to an old one; without it is the sizes' ratio.

    Shapes:   x [*S, *L] → [*S, *size]
    Dtypes:   kept
    Gradient: added up
    Errors:   ShapeError for a size of 0
    Source:   torch.nn.functional.interpolate

    >>> dg.ops.repeated_to(tensor([[1, 2]]), (4,), False)
    tensor([[1, 1, 2, 2]])
    """
    _check(x, size)
    dtype = core.float64 if x.dtype is core.float64 else core.float32
    for dim, n, scale in _axes(x, size, (first, second, third)):
        x = take_along(x, nearest(x.shape[dim], n, scale, exact, dtype), dim)
    return x


@op(
    kind=INDEXING,
    dtypes=floats,
    method=False,
    public=False,
    samples=lambda m: [
        (m(2, 3, 5, 4), (10, 3), "linear", False),
        (m(2, 3, 5), (12,), "linear", False, 2.5),
        (m(2, 1, 3, 2, 4), (2, 4, 7), "linear", True),
        (m(2, 3, 5, 4), (9, 3), "cubic", False),
        (m(2, 3, 5, 4), (9, 3), "cubic", True),
    ],
    torch=_torch,
    tolerance=20,
)
def between(
    x: Tensor,
    size: Sizes,
    mode: str,
    align_corners: bool,
    first: Number | None = None,
    second: Number | None = None,
    third: Number | None = None,
) -> Tensor:
    """x with its last dimensions at other sizes, every element on a line ("linear") or curve ("cubic") through the old ones.

    Numbers for the dimensions say how many new elements there are to an old one; without it is the sizes' ratio.

    Shapes:   x [*S, *L] → [*S, *size]
    Dtypes:   floats, kept
    Gradient: the weights of the elements
    Errors:   ShapeError for a size of 0
    Source:   torch.nn.functional.interpolate

    >>> dg.ops.between(tensor([[1.0, 2.0]]), (4,), "linear", False)
    tensor([[1.0000, 1.2500, 1.7500, 2.0000]])
    """
    _check(x, size)
    for dim, n, scale in _axes(x, size, (first, second, third)):
        x = (cubic if mode == "cubic" else linear)(x, dim, n, scale, align_corners)
    return x


@op(
    kind=INDEXING,
    dtypes=floats,
    method=False,
    public=False,
    samples=lambda m: [
        (m(2, 3, 9, 5), (4, 12), "linear", False),
        (m(2, 3, 9, 5), (4, 10), "cubic", False, 0.5, 2.0),
        (m(2, 3, 9, 5), (4, 3), "cubic", True),
    ],
    torch=lambda torch, *args: _torch(torch, *args, antialias=True),
    tolerance=20,
)
def smoothed_to(
    x: Tensor,
    size: Sizes,
    mode: str,
    align_corners: bool,
    first: Number | None = None,
    second: Number | None = None,
    third: Number | None = None,
) -> Tensor:
    """x with its last dimensions at other sizes, every element a mean of old ones around it, as many as it stands for.

    Numbers for the dimensions say how many new elements there are to an old one; without it is the sizes' ratio.

    Shapes:   x [*S, *L] → [*S, *size]
    Dtypes:   floats, kept
    Gradient: the weights of the elements
    Errors:   ShapeError for a size of 0
    Source:   torch.nn.functional.interpolate

    >>> dg.ops.smoothed_to(tensor([[1.0, 2.0, 3.0, 4.0]]), (2,), "linear", False)
    tensor([[1.7143, 3.2857]])
    """
    _check(x, size)
    for dim, n, scale in _axes(x, size, (first, second, third)):
        x = smoothed(x, dim, n, scale, align_corners, mode == "cubic")
    return x
