"""Pooling that always says where its results lie: the pools of maxima with return_indices=True."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..definition import function
from .further_pools import adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d
from .pools import max_pool1d, max_pool2d, max_pool3d

if TYPE_CHECKING:
    from duograph._core import Tensor


@function(method=False, public=False, functional=True)
def max_pool1d_with_indices(
    input: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = True,
) -> tuple[Tensor, Tensor]:
    """`max_pool1d` with return_indices=True: the greatest elements, and where they lie.

    >>> dg.nn.functional.max_pool1d_with_indices(dg.ones(1, 4), 2)[1].shape
    duograph.Size([1, 2])
    """
    return max_pool1d(input, kernel_size, stride, padding, dilation, ceil_mode, True)  # type: ignore[no-any-return]


@function(method=False, public=False, functional=True)
def max_pool2d_with_indices(
    input: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = True,
) -> tuple[Tensor, Tensor]:
    """`max_pool2d` with return_indices=True: the greatest elements, and where they lie.

    >>> dg.nn.functional.max_pool2d_with_indices(dg.ones(1, 4, 4), 2)[1].shape
    duograph.Size([1, 2, 2])
    """
    return max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode, True)  # type: ignore[no-any-return]


@function(method=False, public=False, functional=True)
def max_pool3d_with_indices(
    input: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = True,
) -> tuple[Tensor, Tensor]:
    """`max_pool3d` with return_indices=True: the greatest elements, and where they lie.

    >>> dg.nn.functional.max_pool3d_with_indices(dg.ones(1, 4, 4, 4), 2)[1].shape
    duograph.Size([1, 2, 2, 2])
    """
    return max_pool3d(input, kernel_size, stride, padding, dilation, ceil_mode, True)  # type: ignore[no-any-return]


@function(method=False, public=False, functional=True)
def adaptive_max_pool1d_with_indices(
    input: Tensor, output_size: int | Sequence[int] | None, return_indices: bool = True
) -> tuple[Tensor, Tensor]:
    """`adaptive_max_pool1d` with return_indices=True: the greatest elements, and where they lie.

    >>> dg.nn.functional.adaptive_max_pool1d_with_indices(dg.ones(1, 4), 2)[1].shape
    duograph.Size([1, 2])
    """
    return adaptive_max_pool1d(input, output_size, True)  # type: ignore[no-any-return]


@function(method=False, public=False, functional=True)
def adaptive_max_pool2d_with_indices(
    input: Tensor, output_size: int | Sequence[int] | None, return_indices: bool = True
) -> tuple[Tensor, Tensor]:
    """`adaptive_max_pool2d` with return_indices=True: the greatest elements, and where they lie.

    >>> dg.nn.functional.adaptive_max_pool2d_with_indices(dg.ones(1, 4, 4), 2)[1].shape
    duograph.Size([1, 2, 2])
    """
    return adaptive_max_pool2d(input, output_size, True)  # type: ignore[no-any-return]


@function(method=False, public=False, functional=True)
def adaptive_max_pool3d_with_indices(
    input: Tensor, output_size: int | Sequence[int] | None, return_indices: bool = True
) -> tuple[Tensor, Tensor]:
    """`adaptive_max_pool3d` with return_indices=True: the greatest elements, and where they lie.

    >>> dg.nn.functional.adaptive_max_pool3d_with_indices(dg.ones(1, 4, 4, 4), 2)[1].shape
    duograph.Size([1, 2, 2, 2])
    """
    return adaptive_max_pool3d(input, output_size, True)  # type: ignore[no-any-return]
