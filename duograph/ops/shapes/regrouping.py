"""Channels and the plane: elements regrouped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from duograph.errors import DimensionError, DomainError, ShapeError

from ..definition import MOVEMENT, op
from ..tracing import require, user_operator
from .movement import reshape
from .permuting import permute, transpose

if TYPE_CHECKING:
    from duograph._core import Tensor

    from ..definition import Size


@op(
    kind=MOVEMENT,
    method=False,
    functional=True,
    torch="torch.nn.functional.pixel_shuffle",
    samples=lambda m: [(m(1, 8, 2, 3), 2), (m(4, 2, 2), 2)],
)
def pixel_shuffle(x: Tensor, upscale_factor: Size) -> Tensor:
    """Channels spread over the plane: blocks of upscale_factor² channels become squares.

    Shapes:   x [*S, c * r², h, w] → [*S, c, h * r, w * r]
    Dtypes:   kept
    Gradient: put back
    Errors:   ShapeError unless the channels fall into blocks; DimensionError for fewer than three dimensions
    Source:   torch.nn.functional.pixel_shuffle

    >>> pixel_shuffle(tensor([[[1]], [[2]], [[3]], [[4]]]), 2)
    tensor([[[1, 2],
             [3, 4]]])
    """
    name, r = user_operator("pixel_shuffle"), upscale_factor
    if len(x.shape) < 3:
        raise DimensionError(f"{name}: needs at least three dimensions, got {len(x.shape)}")
    require("le", 1, r, DomainError, f"{name}: upscale_factor must be at least 1, got {r}")
    *outer, channels, h, w = x.shape
    c = channels // (r * r)
    require("eq", c * r * r, channels, ShapeError, f"{name}: {channels} channels do not fall into blocks of {r} × {r}")
    k = len(outer)
    wide = reshape(x, (*outer, c, r, r, h, w))
    return reshape(permute(wide, *range(k), k, k + 3, k + 1, k + 4, k + 2), (*outer, c, h * r, w * r))


@op(
    kind=MOVEMENT,
    method=False,
    functional=True,
    torch="torch.nn.functional.pixel_unshuffle",
    samples=lambda m: [(m(1, 2, 4, 6), 2), (m(1, 2, 2), 2)],
)
def pixel_unshuffle(x: Tensor, downscale_factor: Size) -> Tensor:
    """The plane's squares as channels: undoes `pixel_shuffle`.

    Shapes:   x [*S, c, h * r, w * r] → [*S, c * r², h, w]
    Dtypes:   kept
    Gradient: put back
    Errors:   ShapeError unless the plane falls into squares; DimensionError for fewer than three dimensions
    Source:   torch.nn.functional.pixel_unshuffle

    >>> pixel_unshuffle(tensor([[[1, 2], [3, 4]]]), 2).tolist()
    [[[1]], [[2]], [[3]], [[4]]]
    """
    name, r = user_operator("pixel_unshuffle"), downscale_factor
    if len(x.shape) < 3:
        raise DimensionError(f"{name}: needs at least three dimensions, got {len(x.shape)}")
    require("le", 1, r, DomainError, f"{name}: downscale_factor must be at least 1, got {r}")
    *outer, c, tall, wide = x.shape
    h, w = tall // r, wide // r
    for size, part in ((tall, h), (wide, w)):
        require("eq", part * r, size, ShapeError, f"{name}: size {size} does not fall into parts of {r}")
    k = len(outer)
    parts = reshape(x, (*outer, c, h, r, w, r))
    return reshape(permute(parts, *range(k), k, k + 2, k + 4, k + 1, k + 3), (*outer, c * r * r, h, w))


@op(
    kind=MOVEMENT,
    method=False,
    functional=True,
    torch="torch.nn.functional.channel_shuffle",
    samples=lambda m: [(m(1, 6, 2, 2), 3), (m(2, 4, 3, 1), 2)],
)
def channel_shuffle(x: Tensor, groups: Size) -> Tensor:
    """Channels in another order: the first of each group, the second of each, and so on.

    Shapes:   x [n, c, *S] → [n, c, *S]
    Dtypes:   kept
    Gradient: put back
    Errors:   ShapeError unless the channels fall into groups; DimensionError for fewer than three dimensions
    Source:   torch.nn.functional.channel_shuffle

    >>> channel_shuffle(tensor([[[[1]], [[2]], [[3]], [[4]]]]), 2).flatten()
    tensor([1, 3, 2, 4])
    """
    name = user_operator("channel_shuffle")
    if len(x.shape) < 3:
        raise DimensionError(f"{name}: needs at least three dimensions, got {len(x.shape)}")
    require("le", 1, groups, DomainError, f"{name}: groups must be at least 1, got {groups}")
    n, channels, *rest = x.shape
    each = channels // groups
    require("eq", each * groups, channels, ShapeError, f"{name}: {channels} channels do not fall into {groups} groups")
    wide = reshape(x, (n, groups, each, *rest))
    return reshape(transpose(wide, 1, 2), (n, channels, *rest))
