"""Pooling of windows that begin at random places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import DimensionError, DomainError, ShapeError
from duograph.ir.dim import product

from ..definition import REDUCTION, function, op
from ..dtypes import promote
from ..elementwise.choice import where
from ..randomness.random import rand
from ..reduction.extrema import max_along
from ..selection.indexing import gather
from ..shapes.copying import cast
from ..shapes.creation import full, iota
from ..shapes.movement import reshape, unsqueeze
from ..shapes.slicing import select
from ..tracing import require, user_operator
from .geometry import per_dimension
from .greatest import put_back

if TYPE_CHECKING:
    from duograph._core import Tensor

    from ..definition import Sizes


def _starts(x: Any, samples: Any, kernel: Any, size: Any) -> list[Any]:
    """Where windows begin, for each dimension: [n, c, 1, …, size, …, 1]."""
    dims, found = len(size), []
    for axis, (n, k) in enumerate(zip(size, kernel)):
        length = x.shape[2 + axis]
        # PyTorch draws for the last dimension of planes first, and for the first one of blocks.
        u = unsqueeze(select(samples, 2, dims - 1 - axis if dims == 2 else axis), 2)
        step = cast(full((), length - k, core.int64), u.dtype) / cast(full((), n - 1, core.int64), u.dtype)
        inner = cast((cast(iota(n), u.dtype) + u) * step, core.int64) - cast(u * step, core.int64)
        start = where(iota(n) == n - 1, full((), length - k, core.int64), inner)
        shape = tuple(n if d == axis else 1 for d in range(dims))
        found.append(reshape(start, (x.shape[0], x.shape[1], *shape)))
    return found


def _places(x: Any, starts: list[Any], offsets: Sequence[Any]) -> Any:
    """Positions in the flattened plane: windows' beginnings and offsets in them, for each dimension."""
    flat: Any = 0
    for axis, (start, offset) in enumerate(zip(starts, offsets)):
        flat = flat * x.shape[2 + axis] + start + offset
    return flat


def _fractional_samples(m: Any) -> Any:
    shares = m.numpy.array([[[0.1, 0.7], [0.4, 0.9]]], dtype="float32")
    return [(m(1, 2, 7, 9), m.of(shares), (2, 3), (3, 4))] if m.is_float else []


@op(
    kind=REDUCTION,
    dtypes=promote.on("x"),
    method=False,
    public=False,
    samples=_fractional_samples,
    torch=lambda torch, x, u, kernel, size: torch.nn.functional.fractional_max_pool2d_with_indices(
        x, kernel, size, _random_samples=u
    ),
)
def fractional_max(x: Tensor, samples: Tensor, kernel: Sizes, size: Sizes) -> tuple[Tensor, Tensor]:
    """The greatest of each window, whose beginnings the samples decide, and where in its plane it lies.

    Shapes:   x [n, c, *L], samples [n, c, d] → twice [n, c, *size]
    Dtypes:   kept; int64
    Gradient: to the elements at these places
    Errors:   DomainError for windows that do not fit
    Source:   Graham 2014; torch.nn.functional.fractional_max_pool2d_with_indices

    >>> dg.ops.fractional_max(tensor([[[[1.0, 3.0, 2.0]]]]), dg.zeros(1, 1, 2), (1, 2), (1, 2))[0]
    tensor([[[[3., 3.]]]])
    """
    name = user_operator("fractional_max_pool")
    for length, n, k in zip(x.shape[2:], size, kernel):
        require("le", n + k - 1, length, DomainError, f"{name}: {n} windows of {k} do not fit into a dimension of {length}")
    lead, plane, dims = tuple(x.shape[:2]), product(tuple(x.shape[2:])), len(size)
    starts, whole = _starts(x, samples, kernel, size), product(tuple(size))
    taps = [reshape(iota(k), tuple(k if d == axis else 1 for d in range(dims))) for axis, k in enumerate(kernel)]
    outer = [reshape(start, (*start.shape, *(1,) * dims)) for start in starts]
    places = reshape(_places(x, outer, taps), (*lead, whole * product(tuple(kernel))))
    parts = reshape(gather(reshape(x, (*lead, plane)), 2, places), (*lead, *size, product(tuple(kernel))))
    greatest, tap = max_along(parts, 2 + dims)
    offsets: list[Any] = []
    for k in reversed(tuple(kernel)):
        offsets.insert(0, tap % k)
        tap = tap // k
    return greatest, _places(x, starts, offsets)


@fractional_max.vjp
def _(g: Any, out: Any, x: Any, samples: Any, kernel: Any, size: Any) -> Any:
    return put_back(g[0], out[1], x, len(size)), None


def _fractional(dims: int, input: Any, kernel_size: Any, output_size: Any, output_ratio: Any, samples: Any) -> Any:
    name = f"fractional_max_pool{dims}d"
    if input.dim() not in (dims + 1, dims + 2):
        raise DimensionError(f"{name}: input must have {dims + 1} or {dims + 2} dimensions, got {input.dim()}")
    if (output_size is None) == (output_ratio is None):
        raise DomainError(f"{name}: give either output_size or output_ratio")
    kernel = per_dimension(name, "kernel_size", kernel_size, dims)
    if output_size is None:
        ratios = (output_ratio,) * dims if isinstance(output_ratio, float) else tuple(output_ratio)
        if len(ratios) != dims or not all(0 < ratio < 1 for ratio in ratios):
            raise DomainError(f"{name}: output_ratio must be {dims} numbers between 0 and 1, got {output_ratio}")
        output_size = tuple(int(length * ratio) for length, ratio in zip(input.shape[-dims:], ratios))
    size = per_dimension(name, "output_size", output_size, dims)
    x = input if input.dim() == dims + 2 else input.unsqueeze(0)
    if samples is None:
        samples = rand((x.shape[0], x.shape[1], dims), input.dtype)
    elif tuple(samples.shape) != (x.shape[0], x.shape[1], dims):
        raise ShapeError(f"{name}: _random_samples must be {(x.shape[0], x.shape[1], dims)}, got {tuple(samples.shape)}")
    found = fractional_max(x, samples, kernel, size)
    return found if input.dim() == dims + 2 else tuple(part.squeeze(0) for part in found)


@function(method=False, public=False, functional=True)
def fractional_max_pool2d(
    input: Tensor,
    kernel_size: int | Sequence[int],
    output_size: int | Sequence[int] | None = None,
    output_ratio: float | Sequence[float] | None = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """The greatest elements of windows that begin at random places; with return_indices also where they lie.

    Each window's beginning is drawn between those of its neighbours, anew at each call. Either the output's size is given, or its
    ratio to the input's.

    Shapes:   input [(N,) C, H, W] → the same with the output's size in the last dimensions
    Dtypes:   kept; indices int64
    Gradient: to the elements at the indices
    Errors:   DimensionError for other ranks; DomainError for windows that do not fit, and unless one of output_size and
              output_ratio is given; ShapeError
    Source:   Graham 2014; torch.nn.functional.fractional_max_pool2d

    >>> dg.nn.functional.fractional_max_pool2d(dg.ones(1, 5, 5), 2, 2).shape
    duograph.Size([1, 2, 2])
    """
    found = _fractional(2, input, kernel_size, output_size, output_ratio, _random_samples)
    return found if return_indices else found[0]


@function(method=False, public=False, functional=True)
def fractional_max_pool2d_with_indices(
    input: Tensor,
    kernel_size: int | Sequence[int],
    output_size: int | Sequence[int] | None = None,
    output_ratio: float | Sequence[float] | None = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`fractional_max_pool2d` with return_indices=True: the greatest elements, and where they lie.

    >>> dg.nn.functional.fractional_max_pool2d_with_indices(dg.ones(1, 3, 3), 2, 2)[1].shape
    duograph.Size([1, 2, 2])
    """
    return _fractional(2, input, kernel_size, output_size, output_ratio, _random_samples)  # type: ignore[no-any-return]


@function(method=False, public=False, functional=True)
def fractional_max_pool3d(
    input: Tensor,
    kernel_size: int | Sequence[int],
    output_size: int | Sequence[int] | None = None,
    output_ratio: float | Sequence[float] | None = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """The greatest elements of windows that begin at random places; with return_indices also where they lie.

    Each window's beginning is drawn between those of its neighbours, anew at each call. Either the output's size is given, or its
    ratio to the input's.

    Shapes:   input [(N,) C, D, H, W] → the same with the output's size in the last dimensions
    Dtypes:   kept; indices int64
    Gradient: to the elements at the indices
    Errors:   DimensionError for other ranks; DomainError for windows that do not fit, and unless one of output_size and
              output_ratio is given; ShapeError
    Source:   Graham 2014; torch.nn.functional.fractional_max_pool3d

    >>> dg.nn.functional.fractional_max_pool3d(dg.ones(1, 5, 5, 5), 2, 2).shape
    duograph.Size([1, 2, 2, 2])
    """
    found = _fractional(3, input, kernel_size, output_size, output_ratio, _random_samples)
    return found if return_indices else found[0]


@function(method=False, public=False, functional=True)
def fractional_max_pool3d_with_indices(
    input: Tensor,
    kernel_size: int | Sequence[int],
    output_size: int | Sequence[int] | None = None,
    output_ratio: float | Sequence[float] | None = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`fractional_max_pool3d` with return_indices=True: the greatest elements, and where they lie.

    >>> dg.nn.functional.fractional_max_pool3d_with_indices(dg.ones(1, 3, 3, 3), 2, 2)[1].shape
    duograph.Size([1, 2, 2, 2])
    """
    return _fractional(3, input, kernel_size, output_size, output_ratio, _random_samples)  # type: ignore[no-any-return]
