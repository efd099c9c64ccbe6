"""Max and average pooling by PyTorch's names: what is asked for, told to the operators that do it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import DomainError

from ..definition import function
from ..reduction.statistics import mean
from .geometry import check_input, check_window, is_short, per_dimension, plain
from .greatest import max_pool, max_pool_places, max_windows
from .sums import mean_pool, mean_windows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duograph._core import Tensor


def _settings(name: str, x: Any, dims: int, kernel: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    """Kernel, stride, padding and dilation per dimension, checked."""
    check_input(name, x, dims)
    kernel = per_dimension(name, "kernel_size", kernel, dims)
    stride = kernel if stride is None or stride == [] or stride == () else per_dimension(name, "stride", stride, dims)
    padding = per_dimension(name, "padding", padding, dims)
    dilation = per_dimension(name, "dilation", dilation, dims)
    check_window(name, kernel, stride, padding, dilation)
    return kernel, stride, padding, dilation


def _max(dims: int, x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool, places: bool) -> Any:
    settings = _settings(f"max_pool{dims}d", x, dims, kernel, stride, padding, dilation)
    if not is_short(settings[0]):
        found = max_windows(x, *settings, ceil_mode)
        return found if places else found[0]
    settings = plain(*settings)
    if places:
        return max_pool_places(x, *settings, ceil_mode)
    if core.is_grad_enabled() and x.requires_grad:  # the gradient goes where the places say
        return max_pool_places(x, *settings, ceil_mode)[0]
    return max_pool(x, *settings, ceil_mode)


def _avg(dims: int, x: Any, kernel: Any, stride: Any, padding: Any, ceil_mode: bool, with_padding: bool, divisor: Any) -> Any:
    name = f"avg_pool{dims}d"
    *settings, _ = _settings(name, x, dims, kernel, stride, padding, 1)
    if divisor == 0:
        raise DomainError(f"{name}: divisor_override must not be 0")
    kernel, stride, padding = settings
    whole = divisor is None and not any(padding) and kernel == tuple(x.shape[-dims:])
    if whole and x.dtype.is_floating_point:
        return mean(x, tuple(range(-dims, 0)), True)
    if is_short(kernel):
        return mean_pool(x, *plain(kernel, stride, padding), ceil_mode, with_padding, divisor)
    return mean_windows(x, kernel, stride, padding, ceil_mode, with_padding, divisor)


def _samples(dims: int, *calls: Any) -> Any:
    def make(m: Any) -> Any:
        return [
            (m(*((2, 3, 5, 6, 7)[: 1 + dims] if i % 2 else (2, 3, 7, 6, 5)[: 2 + dims])), *call) for i, call in enumerate(calls)
        ]

    return make


@function(
    method=False,
    functional=True,
    samples=_samples(1, (2,), ((3,), 2, 1, 1, True), (2, 1, 0, 2), (3, 2, 1, 1, False, True)),
    torch="torch.nn.functional.max_pool1d",
)
def max_pool1d(
    input: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The greatest element of each window over the last dimension, NaN if there is one; with return_indices also where.

    An index counts in these dimensions flattened; of equal elements it is the first one's, of NaNs the last one's. The stride is
    the kernel's size if left out. With ceil_mode a last window may reach beyond the padding.

    Shapes:   input [(N,) C, L] → the same with as many as there are windows
    Dtypes:   kept; indices int64
    Gradient: to the elements at the indices
    Errors:   DimensionError for other ranks; DomainError for settings that no window has; ShapeError for windows beyond input
    Source:   torch.nn.functional.max_pool1d

    >>> dg.nn.functional.max_pool1d(tensor([[1.0, 3.0, 2.0, 0.0]]), 2)
    tensor([[3., 2.]])
    """
    return _max(1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@function(
    method=False,
    functional=True,
    samples=_samples(2, (2,), ((3, 2), 2, 1, 1, True), (2, 1, 0, 2), (3, 2, 1, 1, False, True)),
    torch="torch.nn.functional.max_pool2d",
)
def max_pool2d(
    input: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The greatest element of each window over the last two dimensions, NaN if there is one; with return_indices also where.

    An index counts in these dimensions flattened; of equal elements it is the first one's, of NaNs the last one's. The stride is
    the kernel's size if left out. With ceil_mode a last window may reach beyond the padding.

    Shapes:   input [(N,) C, H, W] → the same with as many as there are windows
    Dtypes:   kept; indices int64
    Gradient: to the elements at the indices
    Errors:   DimensionError for other ranks; DomainError for settings that no window has; ShapeError for windows beyond input
    Source:   torch.nn.functional.max_pool2d

    >>> dg.nn.functional.max_pool2d(tensor([[[1.0, 3.0, 2.0, 0.0]]]), (1, 2))
    tensor([[[3., 2.]]])
    """
    return _max(2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@function(
    method=False,
    functional=True,
    samples=_samples(3, (2,), ((2, 3, 2), 2, 1, 1, True), (2, 1, 0, 2), (3, 2, 1, 1, False, True)),
    torch="torch.nn.functional.max_pool3d",
    autocast="float32",
)
def max_pool3d(
    input: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The greatest element of each window over the last three dimensions, NaN if there is one; with return_indices also where.

    An index counts in these dimensions flattened; of equal elements it is the first one's, of NaNs the last one's. The stride is
    the kernel's size if left out. With ceil_mode a last window may reach beyond the padding.

    Shapes:   input [(N,) C, D, H, W] → the same with as many as there are windows
    Dtypes:   kept; indices int64
    Gradient: to the elements at the indices
    Errors:   DimensionError for other ranks; DomainError for settings that no window has; ShapeError for windows beyond input
    Source:   torch.nn.functional.max_pool3d

    >>> dg.nn.functional.max_pool3d(tensor([[[[1.0, 3.0, 2.0, 0.0]]]]), (1, 1, 2))
    tensor([[[[3., 2.]]]])
    """
    return _max(3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@function(
    method=False,
    functional=True,
    samples=_samples(1, (2,), ((3,), 2, 1, True), (3, 2, 1, True, False)),
    torch="torch.nn.functional.avg_pool1d",
)
def avg_pool1d(
    input: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window over the last dimension: its sum over how many elements it has.

    With count_include_pad the padding counts as zeros. The stride is the kernel's size if left out. With ceil_mode a last
    window may reach beyond the padding; what lies there never counts.

    Shapes:   input [(N,) C, L] → the same with as many as there are windows
    Dtypes:   kept; integers are rounded towards zero, bool is rejected
    Gradient: equal shares to the elements of each window
    Errors:   DimensionError for other ranks; DomainError for settings that no window has; ShapeError for windows beyond input
    Source:   torch.nn.functional.avg_pool1d

    >>> dg.nn.functional.avg_pool1d(tensor([[1.0, 3.0, 2.0, 0.0]]), 2)
    tensor([[2., 1.]])
    """
    return _avg(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)  # type: ignore[no-any-return]


@function(
    method=False,
    public=False,
    functional=True,
    samples=_samples(2, (2,), ((3, 2), 2, 1, True), (3, 2, 1, True, False), (3, 2, 1, False, True, 5)),
    torch="torch.nn.functional.avg_pool2d",
)
def avg_pool2d(
    input: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window over the last two dimensions: its sum over how many elements it has, or over divisor_override.

    With count_include_pad the padding counts as zeros. The stride is the kernel's size if left out. With ceil_mode a last
    window may reach beyond the padding; what lies there never counts.

    Shapes:   input [(N,) C, H, W] → the same with as many as there are windows
    Dtypes:   kept; integers are rounded towards zero, bool is rejected
    Gradient: equal shares to the elements of each window
    Errors:   DimensionError for other ranks; DomainError for settings that no window has; ShapeError for windows beyond input
    Source:   torch.nn.functional.avg_pool2d

    >>> dg.nn.functional.avg_pool2d(tensor([[[1.0, 3.0, 2.0, 0.0]]]), (1, 2))
    tensor([[[2., 1.]]])
    """
    return _avg(2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)  # type: ignore[no-any-return]


@function(
    method=False,
    public=False,
    functional=True,
    samples=_samples(3, (2,), ((2, 3, 2), 2, 1, True), (3, 2, 1, True, False), (3, 2, 1, False, True, 5)),
    torch="torch.nn.functional.avg_pool3d",
    autocast="float32",
)
def avg_pool3d(
    input: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window over the last three dimensions: its sum over how many elements it has, or over divisor_override.

    With count_include_pad the padding counts as zeros. The stride is the kernel's size if left out. With ceil_mode a last
    window may reach beyond the padding; what lies there never counts.

    Shapes:   input [(N,) C, D, H, W] → the same with as many as there are windows
    Dtypes:   kept; integers are rounded towards zero, bool is rejected
    Gradient: equal shares to the elements of each window
    Errors:   DimensionError for other ranks; DomainError for settings that no window has; ShapeError for windows beyond input
    Source:   torch.nn.functional.avg_pool3d

    >>> dg.nn.functional.avg_pool3d(tensor([[[[1.0, 3.0, 2.0, 0.0]]]]), (1, 1, 2))
    tensor([[[[2., 1.]]]])
    """
    return _avg(3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)  # type: ignore[no-any-return]
