"""Power-average, adaptive and inverse pooling by PyTorch's names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import ArgumentError, DomainError, ShapeError

from ..definition import function
from ..elementwise.activations import relu
from ..elementwise.arithmetic import sign
from ..reduction.statistics import mean
from ..shapes.movement import reshape
from .adaptive import adaptive_max, adaptive_mean
from .geometry import check_input, per_dimension
from .greatest import max_windows
from .pools import avg_pool1d, avg_pool2d, avg_pool3d
from .unpooling import unpooled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duograph._core import Tensor


def _norms(dims: int, x: Any, norm: float, kernel: Any, stride: Any, ceil_mode: bool) -> Any:
    if norm == 0:
        raise DomainError(f"lp_pool{dims}d: norm_type must not be 0", hint="2 is the Euclidean norm")
    pool = (avg_pool1d, avg_pool2d, avg_pool3d)[dims - 1]
    means = pool(x**norm, kernel, stride, 0, ceil_mode)
    count = 1
    for size in per_dimension(f"lp_pool{dims}d", "kernel_size", kernel, dims):
        count = count * size
    return (sign(means) * relu(abs(means)) * count) ** (1.0 / norm)


def _sizes(name: str, x: Any, dims: int, size: Any) -> Any:
    """The wanted size of each dimension; None keeps the input's."""
    check_input(name, x, dims)
    if isinstance(size, (tuple, list)) and len(size) != dims:
        raise ArgumentError(f"{name}: output_size must be one number or {dims}, got {size!r}")
    given = per_dimension(name, "output_size", size, dims)
    made = tuple(have if want is None else want for have, want in zip(x.shape[-dims:], given))
    if any(want < 0 for want in made):
        raise DomainError(f"{name}: output_size must not be negative, got {made}")
    if any(have == 0 for have in x.shape[-dims:]):
        raise ShapeError(f"{name}: pools a dimension of size 0: shape {tuple(x.shape)}")
    return made


def _even(x: Any, size: Any) -> Any:
    """How long the windows are if all are of one length, apart."""
    lengths = x.shape[len(x.shape) - len(size) :]
    return tuple(have // want for have, want in zip(lengths, size)) if _divides(lengths, size) else None


def _divides(lengths: Any, size: Any) -> bool:
    return all(want > 0 and have % want == 0 for have, want in zip(lengths, size))


def _adaptive_mean(dims: int, x: Any, size: Any) -> Any:
    size = _sizes(f"adaptive_avg_pool{dims}d", x, dims, size)
    windows = _even(x, size)
    if windows is None:
        return adaptive_mean(x, size)
    lead = tuple(x.shape[: len(x.shape) - dims])
    if all(want == 1 for want in size):
        return mean(x, tuple(range(-dims, 0)), True)
    parts = reshape(x, (*lead, *(n for pair in zip(size, windows) for n in pair)))
    return mean(parts, tuple(len(lead) + 1 + 2 * axis for axis in range(dims)))


def _adaptive_max(dims: int, x: Any, size: Any, places: bool) -> Any:
    size = _sizes(f"adaptive_max_pool{dims}d", x, dims, size)
    windows = _even(x, size)
    if windows is None:
        found = adaptive_max(x, size)
    else:
        found = max_windows(x, windows, windows, (0,) * dims, (1,) * dims, False)
    return found if places else found[0]


def _unpooled(dims: int, x: Any, indices: Any, kernel: Any, stride: Any, padding: Any, size: Any) -> Any:
    name = f"max_unpool{dims}d"
    check_input(name, x, dims)
    kernel = per_dimension(name, "kernel_size", kernel, dims)
    stride = kernel if stride is None or stride == [] or stride == () else per_dimension(name, "stride", stride, dims)
    padding = per_dimension(name, "padding", padding, dims)
    if indices.dtype is not core.int64:
        raise DomainError(f"{name}: indices must be int64, got {indices.dtype.name}")
    usual = tuple((n - 1) * s + k - 2 * p for n, s, k, p in zip(x.shape[-dims:], stride, kernel, padding))
    if size is None:
        return unpooled(x, indices, usual)
    wanted = tuple(size)[-dims:]
    for d, (want, n, s) in enumerate(zip(wanted, usual, stride)):
        if not n - s < want < n + s:
            raise DomainError(f"{name}: output_size[{d}] must be between {n - s} and {n + s}, got {want}")
    return unpooled(x, indices, wanted)


def _samples(dims: int, *calls: Any) -> Any:
    def make(m: Any) -> Any:
        shapes = (2, 3, 7, 6, 5)[: 2 + dims], (2, 3, 5, 6, 7)[: 1 + dims]
        return [(m(*shapes[i % 2], low=0.5), *call) for i, call in enumerate(calls)]

    return make


def _unpool_samples(dims: int) -> Any:
    shape, size = (2, 1, 3, 1)[: 1 + dims], (2, 2, 6, 2)[: 1 + dims]

    def make(m: Any) -> Any:
        x = m(*shape)
        places = m.numpy.arange(x.size).reshape(x.shape) % max(x[:1].size, 1)
        return [(x, places, 2), (x, places, 2, 2, 0, size[1:])]

    return make


@function(
    method=False,
    public=False,
    functional=True,
    samples=_samples(1, (2.0, 2), (3.0, (3,), 2, True)),
    torch="torch.nn.functional.lp_pool1d",
    tolerance=4,
)
def lp_pool1d(
    input: Tensor,
    norm_type: float,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """The norm of each window over the last dimension: a sum of powers norm_type, to the power 1 / norm_type.

    Shapes:   input [(N,) C, L] → the same with as many as there are windows
    Dtypes:   floats, kept
    Gradient: as that of its parts; infinite or NaN where a sum is 0
    Errors:   as `avg_pool1d`
    Source:   torch.nn.functional.lp_pool1d

    >>> dg.nn.functional.lp_pool1d(tensor([[3.0, 4.0]]), 2, 2)
    tensor([[5.]])
    """
    return _norms(1, input, norm_type, kernel_size, stride, ceil_mode)  # type: ignore[no-any-return]


@function(
    method=False,
    public=False,
    functional=True,
    samples=_samples(2, (2.0, 2), (3.0, (3, 2), 2, True)),
    torch="torch.nn.functional.lp_pool2d",
    tolerance=4,
)
def lp_pool2d(
    input: Tensor,
    norm_type: float,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """The norm of each window over the last two dimensions: a sum of powers norm_type, to the power 1 / norm_type.

    Shapes:   input [(N,) C, H, W] → the same with as many as there are windows
    Dtypes:   floats, kept
    Gradient: as that of its parts; infinite or NaN where a sum is 0
    Errors:   as `avg_pool2d`
    Source:   torch.nn.functional.lp_pool2d

    >>> dg.nn.functional.lp_pool2d(tensor([[[3.0, 4.0]]]), 2, (1, 2))
    tensor([[[5.]]])
    """
    return _norms(2, input, norm_type, kernel_size, stride, ceil_mode)  # type: ignore[no-any-return]


@function(
    method=False,
    public=False,
    functional=True,
    samples=_samples(3, (2.0, 2), (3.0, (2, 3, 2), 2, True)),
    torch="torch.nn.functional.lp_pool3d",
    tolerance=4,
    autocast="float32",
)
def lp_pool3d(
    input: Tensor,
    norm_type: float,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """The norm of each window over the last three dimensions: a sum of powers norm_type, to the power 1 / norm_type.

    Shapes:   input [(N,) C, D, H, W] → the same with as many as there are windows
    Dtypes:   floats, kept
    Gradient: as that of its parts; infinite or NaN where a sum is 0
    Errors:   as `avg_pool3d`
    Source:   torch.nn.functional.lp_pool3d

    >>> dg.nn.functional.lp_pool3d(tensor([[[[3.0, 4.0]]]]), 2, (1, 1, 2))
    tensor([[[[5.]]]])
    """
    return _norms(3, input, norm_type, kernel_size, stride, ceil_mode)  # type: ignore[no-any-return]


@function(
    method=False,
    functional=True,
    samples=_samples(1, (3,), (7,), (1,)),
    torch="torch.nn.functional.adaptive_avg_pool1d",
    tolerance=4,
)
def adaptive_avg_pool1d(input: Tensor, output_size: int | Sequence[int] | None) -> Tensor:
    """The means of as many windows over the last dimension as output_size says; None keeps a size.

    Shapes:   input [(N,) C, L] → the same with output_size in the last dimension
    Dtypes:   floats, kept
    Gradient: equal shares to the elements of each window
    Errors:   DimensionError for other ranks; DomainError for a negative size; ShapeError for an empty plane; DTypeError
    Source:   torch.nn.functional.adaptive_avg_pool1d

    >>> dg.nn.functional.adaptive_avg_pool1d(tensor([[1.0, 3.0, 2.0, 0.0]]), 2)
    tensor([[2., 1.]])
    """
    return _adaptive_mean(1, input, output_size)  # type: ignore[no-any-return]


@function(
    method=False,
    public=False,
    functional=True,
    samples=_samples(2, ((3, 2),), ((1, 6),), (1,), ((None, 3),)),
    torch="torch.nn.functional.adaptive_avg_pool2d",
    tolerance=4,
)
def adaptive_avg_pool2d(input: Tensor, output_size: int | Sequence[int] | None) -> Tensor:
    """The means of as many windows over the last two dimensions as output_size says; None keeps a size.

    Shapes:   input [(N,) C, H, W] → the same with output_size in the last two dimensions
    Dtypes:   floats, kept
    Gradient: equal shares to the elements of each window
    Errors:   DimensionError for other ranks; DomainError for a negative size; ShapeError for an empty plane; DTypeError
    Source:   torch.nn.functional.adaptive_avg_pool2d

    >>> dg.nn.functional.adaptive_avg_pool2d(tensor([[[1.0, 3.0, 2.0, 0.0]]]), (1, 2))
    tensor([[[2., 1.]]])
    """
    return _adaptive_mean(2, input, output_size)  # type: ignore[no-any-return]


@function(
    method=False,
    public=False,
    functional=True,
    samples=_samples(3, (2,), ((3, None, 2),), (1,)),
    torch="torch.nn.functional.adaptive_avg_pool3d",
    tolerance=4,
    autocast="float32",
)
def adaptive_avg_pool3d(input: Tensor, output_size: int | Sequence[int] | None) -> Tensor:
    """The means of as many windows over the last three dimensions as output_size says; None keeps a size.

    Shapes:   input [(N,) C, D, H, W] → the same with output_size in the last three dimensions
    Dtypes:   floats, kept
    Gradient: equal shares to the elements of each window
    Errors:   DimensionError for other ranks; DomainError for a negative size; ShapeError for an empty plane; DTypeError
    Source:   torch.nn.functional.adaptive_avg_pool3d

    >>> dg.nn.functional.adaptive_avg_pool3d(tensor([[[[1.0, 3.0, 2.0, 0.0]]]]), (1, 1, 2))
    tensor([[[[2., 1.]]]])
    """
    return _adaptive_mean(3, input, output_size)  # type: ignore[no-any-return]


@function(
    method=False,
    public=False,
    functional=True,
    samples=_samples(1, (3,), (7,), (1,)),
    torch="torch.nn.functional.adaptive_max_pool1d",
)
def adaptive_max_pool1d(input: Tensor, output_size: int | Sequence[int] | None, return_indices: bool = False) -> Any:
    """The greatest of as many windows over the last dimension as output_size says; with return_indices also where.

    Shapes:   input [(N,) C, L] → the same with output_size in the last dimension
    Dtypes:   kept; indices int64
    Gradient: to the elements at the indices
    Errors:   DimensionError for other ranks; DomainError for a negative size; ShapeError for an empty plane
    Source:   torch.nn.functional.adaptive_max_pool1d

    >>> dg.nn.functional.adaptive_max_pool1d(tensor([[1.0, 3.0, 2.0, 0.0]]), 2)
    tensor([[3., 2.]])
    """
    return _adaptive_max(1, input, output_size, return_indices)


@function(
    method=False,
    public=False,
    functional=True,
    samples=_samples(2, ((3, 2),), ((1, 6),), (1,), ((None, 3),)),
    torch="torch.nn.functional.adaptive_max_pool2d",
)
def adaptive_max_pool2d(input: Tensor, output_size: int | Sequence[int] | None, return_indices: bool = False) -> Any:
    """The greatest of as many windows over the last two dimensions as output_size says; with return_indices also where.

    Shapes:   input [(N,) C, H, W] → the same with output_size in the last two dimensions
    Dtypes:   kept; indices int64
    Gradient: to the elements at the indices
    Errors:   DimensionError for other ranks; DomainError for a negative size; ShapeError for an empty plane
    Source:   torch.nn.functional.adaptive_max_pool2d

    >>> dg.nn.functional.adaptive_max_pool2d(tensor([[[1.0, 3.0, 2.0, 0.0]]]), (1, 2))
    tensor([[[3., 2.]]])
    """
    return _adaptive_max(2, input, output_size, return_indices)


@function(
    method=False,
    public=False,
    functional=True,
    samples=_samples(3, (2,), ((3, None, 2),), (1,)),
    torch="torch.nn.functional.adaptive_max_pool3d",
    autocast="float32",
)
def adaptive_max_pool3d(input: Tensor, output_size: int | Sequence[int] | None, return_indices: bool = False) -> Any:
    """The greatest of as many windows over the last three dimensions as output_size says; with return_indices also where.

    Shapes:   input [(N,) C, D, H, W] → the same with output_size in the last three dimensions
    Dtypes:   kept; indices int64
    Gradient: to the elements at the indices
    Errors:   DimensionError for other ranks; DomainError for a negative size; ShapeError for an empty plane
    Source:   torch.nn.functional.adaptive_max_pool3d

    >>> dg.nn.functional.adaptive_max_pool3d(tensor([[[[1.0, 3.0, 2.0, 0.0]]]]), (1, 1, 2))
    tensor([[[[3., 2.]]]])
    """
    return _adaptive_max(3, input, output_size, return_indices)


@function(
    method=False,
    public=False,
    functional=True,
    samples=_unpool_samples(1),
    torch="torch.nn.functional.max_unpool1d",
    autocast="float32",
)
def max_unpool1d(
    input: Tensor,
    indices: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Undoes `max_pool1d` with its indices: the elements where they were, zeros elsewhere.

    Several sizes give the same windows; output_size says which one it was.

    Shapes:   input and indices [(N,) C, L] → the same with the sizes from before, or output_size
    Dtypes:   input's; indices int64
    Gradient: what lies at the indices
    Errors:   BoundsError for an index outside; DomainError for an output_size that cannot be; ShapeError; DimensionError
    Source:   torch.nn.functional.max_unpool1d

    >>> dg.nn.functional.max_unpool1d(tensor([[3.0, 2.0]]), tensor([[1, 2]]), 2)
    tensor([[0., 3., 2., 0.]])
    """
    return _unpooled(1, input, indices, kernel_size, stride, padding, output_size)  # type: ignore[no-any-return]


@function(
    method=False,
    public=False,
    functional=True,
    samples=_unpool_samples(2),
    torch="torch.nn.functional.max_unpool2d",
    autocast="float32",
)
def max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Undoes `max_pool2d` with its indices: the elements where they were, zeros elsewhere.

    Several sizes give the same windows; output_size says which one it was.

    Shapes:   input and indices [(N,) C, H, W] → the same with the sizes from before, or output_size
    Dtypes:   input's; indices int64
    Gradient: what lies at the indices
    Errors:   BoundsError for an index outside; DomainError for an output_size that cannot be; ShapeError; DimensionError
    Source:   torch.nn.functional.max_unpool2d

    >>> dg.nn.functional.max_unpool2d(tensor([[[3.0, 2.0]]]), tensor([[[1, 2]]]), (1, 2))
    tensor([[[0., 3., 2., 0.]]])
    """
    return _unpooled(2, input, indices, kernel_size, stride, padding, output_size)  # type: ignore[no-any-return]


@function(
    method=False,
    public=False,
    functional=True,
    samples=_unpool_samples(3),
    torch="torch.nn.functional.max_unpool3d",
    autocast="float32",
)
def max_unpool3d(
    input: Tensor,
    indices: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Undoes `max_pool3d` with its indices: the elements where they were, zeros elsewhere.

    Several sizes give the same windows; output_size says which one it was.

    Shapes:   input and indices [(N,) C, D, H, W] → the same with the sizes from before, or output_size
    Dtypes:   input's; indices int64
    Gradient: what lies at the indices
    Errors:   BoundsError for an index outside; DomainError for an output_size that cannot be; ShapeError; DimensionError
    Source:   torch.nn.functional.max_unpool3d

    >>> dg.nn.functional.max_unpool3d(tensor([[[[3.0, 2.0]]]]), tensor([[[[1, 2]]]]), (1, 1, 2))
    tensor([[[[0., 3., 2., 0.]]]])
    """
    return _unpooled(3, input, indices, kernel_size, stride, padding, output_size)  # type: ignore[no-any-return]
