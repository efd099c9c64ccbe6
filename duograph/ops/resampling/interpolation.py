"""`interpolate` under PyTorch's name and arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph.errors import ArgumentError, DimensionError, DomainError

from ..definition import function
from ..pooling.further_pools import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d
from .upsampling import between, repeated_to, smoothed_to

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duograph._core import Tensor

_MODES = {  # the number of dimensions each is for, and what is between elements
    "nearest": ((1, 2, 3), ""),
    "nearest-exact": ((1, 2, 3), ""),
    "area": ((1, 2, 3), ""),
    "linear": ((1,), "linear"),
    "bilinear": ((2,), "linear"),
    "trilinear": ((3,), "linear"),
    "bicubic": ((2,), "cubic"),
}


def _per_dimension(what: str, value: Any, dims: int) -> tuple[Any, ...]:
    if not isinstance(value, (tuple, list)):
        return (value,) * dims
    if len(value) != dims:
        raise ArgumentError(f"interpolate: {what} must be one number or {dims}, got {value!r}")
    return tuple(value)


def _check(x: Any, size: Any, scale: Any, mode: str, align_corners: bool | None, antialias: bool) -> int:
    """How many dimensions are resampled."""
    dims = len(x.shape) - 2
    if dims not in (1, 2, 3):
        raise DimensionError(f"interpolate: input must have 3, 4 or 5 dimensions, got {dims + 2}")
    if mode not in _MODES:
        raise ArgumentError(f"interpolate: mode must be one of {', '.join(_MODES)}, got {mode!r}")
    if dims not in _MODES[mode][0]:
        raise ArgumentError(f"interpolate: {mode} is for {_MODES[mode][0][0] + 2} dimensions, got {dims + 2}")
    if (size is None) == (scale is None):
        raise ArgumentError("interpolate: either size or scale_factor, and not both")
    if align_corners is not None and not _MODES[mode][1]:
        raise ArgumentError(f"interpolate: align_corners is for linear, bilinear, bicubic and trilinear, not for {mode}")
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ArgumentError(f"interpolate: antialias is for bilinear and bicubic, not for {mode}")
    return dims


def _samples(m: Any) -> Any:
    plane, line, block = m(2, 3, 5, 4), m(2, 3, 6), m(1, 2, 3, 4, 2)
    return [
        (plane, (10, 3)),
        (plane, None, 2.0),
        (plane, None, (1.7, 0.6), "nearest-exact"),
        (line, 9, None, "linear"),
        (line, None, 1.5, "linear", False, True),
        (plane, None, 1.3, "bilinear", False),
        (plane, 7, None, "bilinear", True),
        (plane, None, (1.3, 2.1), "bicubic", True),
        (plane, (3, 9), None, "bicubic", False, None, True),
        (block, None, 1.5, "trilinear"),
        (plane, (3, 7), None, "area"),
        (plane, None, 0.5, "area"),
        (plane, None, 0.6, "bilinear", False, False, True),
    ]


@function(method=False, public=False, functional=True, samples=_samples, torch="torch.nn.functional.interpolate", tolerance=20)
def interpolate(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Planes of another size, given as such or as a factor.

    mode says what a new element is: the old one at its place ("nearest", "nearest-exact"), on a line or curve through those
    around it ("linear", "bilinear", "trilinear", "bicubic"), or the mean of those that it stands for ("area"). With align_corners
    the outermost elements stay where they are, otherwise the outermost edges. A factor also says how far the new elements are
    apart, unless recompute_scale_factor takes that from the sizes. With antialias a smaller plane has means.

    Shapes:   input [N, C, *L] → [N, C, *size] with one to three L
    Dtypes:   floats, kept; "nearest" and "nearest-exact" take all
    Gradient: the weights of the elements
    Errors:   ArgumentError for modes and arguments that do not go together; DimensionError; ShapeError for a size of 0
    Source:   torch.nn.functional.interpolate

    >>> dg.nn.functional.interpolate(tensor([[[1.0, 2.0]]]), scale_factor=2, mode="linear")
    tensor([[[1.0000, 1.2500, 1.7500, 2.0000]]])
    """
    dims = _check(input, size, scale_factor, mode, align_corners, antialias)
    scales: tuple[float, ...] = ()
    if size is not None:
        if recompute_scale_factor:
            raise ArgumentError("interpolate: recompute_scale_factor goes with scale_factor, not with size")
        sizes = _per_dimension("size", size, dims)
    else:
        scales = tuple(float(scale) for scale in _per_dimension("scale_factor", scale_factor, dims))
        if any(scale <= 0 for scale in scales):
            raise DomainError(f"interpolate: scale_factor must be above 0, got {scales}")
        sizes = tuple(_scaled(length, scale) for length, scale in zip(input.shape[-dims:], scales))
        if recompute_scale_factor:
            scales = ()
    if mode == "area":
        pool: Any = (adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d)[dims - 1]
        return pool(input, sizes)  # type: ignore[no-any-return]
    between_them = _MODES[mode][1]
    if not between_them:
        return repeated_to(input, sizes, mode == "nearest-exact", *scales)
    resample = smoothed_to if antialias else between
    return resample(input, sizes, between_them, bool(align_corners), *scales)


def _scaled(length: Any, scale: float) -> Any:
    """length * scale, rounded down."""
    whole = int(scale)
    return length * whole if whole == scale else int(float(length) * scale)


@function(
    method=False,
    public=False,
    functional=True,
    samples=lambda m: [(m(2, 3, 5, 4), (10, 3)), (m(2, 3, 5), None, 2.0, "linear")],
    torch="torch.nn.functional.upsample",
    tolerance=20,
)
def upsample(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """`interpolate`, by its older name.

    Shapes:   input [N, C, *L] → [N, C, *size] with one to three L
    Dtypes:   as `interpolate`
    Gradient: the weights of the elements
    Errors:   as `interpolate`
    Source:   torch.nn.functional.upsample

    >>> dg.nn.functional.upsample(tensor([[[1, 2]]]), scale_factor=2)
    tensor([[[1, 1, 2, 2]]])
    """
    return interpolate(input, size, scale_factor, mode, align_corners)
