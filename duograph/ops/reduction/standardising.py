"""Normalisation of channels: over the batch, over groups of channels, over each example."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph.errors import DimensionError, ShapeError
from duograph.ir.dim import product

from ..definition import COMPOSITION, UPDATE, function, op
from ..dtypes import floats
from ..elementwise.unary import rsqrt
from ..shapes.copying import cast
from ..shapes.movement import reshape
from ..tracing import operand_type, require, require_equal, user_operator
from .reductions import sum
from .statistics import mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duograph._core import Tensor

    from ..definition import Number, Size


def _per_channel(name: str, given: Any, x: Any, what: str, shape: tuple[Any, ...]) -> Any:
    """A vector with an element for each channel of x, in x's dtype and spread to this shape."""
    if len(given.shape) != 1:
        raise ShapeError(f"{name}: {what} must have one dimension, got shape {tuple(given.shape)}")
    require_equal(name, given.shape[0], x.shape[1], f"{what} has {given.shape[0]} elements for {x.shape[1]} channels")
    return reshape(cast(given, x.dtype), shape)


def _scaled(name: str, x: Any, centred: Any, inverse: Any, weight: Any, bias: Any, shape: tuple[Any, ...]) -> Any:
    """The standardised elements times weight plus bias; `shape` is that of what belongs to channels."""
    result = centred * (inverse if weight is None else inverse * _per_channel(name, weight, x, "weight", shape))
    return result if bias is None else result + _per_channel(name, bias, x, "bias", shape)


def _check_channels(name: str, x: Any) -> None:
    if len(x.shape) < 2:
        raise DimensionError(f"{name}: x must have at least two dimensions, got {len(x.shape)}")


def _wide(name: str, x: Any) -> Any:
    """x in the dtype that its statistics are in: 16-bit floats in float32."""
    return cast(x, floats.decide(name, [operand_type(x)]).compute)


# Over the batch


def _rows(x: Any) -> Any:
    """x as [n, c, rest], or as it is where there is no rest."""
    shape = tuple(x.shape)
    return x if len(shape) == 2 else reshape(x, (shape[0], shape[1], product(shape[2:])))


def _moments(rows: Any) -> tuple[Any, Any]:
    """Mean and variance of each channel; those of each row first, which is in the cache when its variance is summed."""
    if len(rows.shape) == 2:
        middle = mean(rows, (0,), True)
        gap = rows - middle
        return reshape(middle, (rows.shape[1],)), mean(gap * gap, (0,))
    each = mean(rows, (2,), True)
    gap = rows - each
    spread = mean(gap * gap, (2,))
    each = reshape(each, tuple(rows.shape[:2]))
    middle = mean(each, (0,), True)
    apart = each - middle
    return reshape(middle, (rows.shape[1],)), mean(spread + apart * apart, (0,))


def _column(rows: Any, per_channel: Any) -> Any:
    return reshape(per_channel, (1, rows.shape[1], *(1,) * (len(rows.shape) - 2)))


@op(
    kind=COMPOSITION,
    method=False,
    public=False,
    tolerance=4.0,
    samples=lambda m: [(m(3, 4, 5),), (m(6, 3), m(3), m(3)), (m(2, 3, 2, 2), m(3), None, 1e-3)],
    reference=lambda np, x, weight=None, bias=None, eps=1e-5: _np_batch(np, x, weight, bias, eps),
)
def batch_standardised(
    x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: Number = 1e-5
) -> tuple[Tensor, Tensor, Tensor]:
    """x standardised over all but its channels, times weight plus bias; the means and variances.

    Shapes:   x [n, c, *S], weight and bias [c] → [n, c, *S], [c], [c]
    Dtypes:   floats; means and variances of 16-bit floats are float32
    Gradient: to x, weight and bias
    Errors:   ShapeError for one element per channel, or if sizes do not fit; DTypeError
    Source:   Ioffe and Szegedy 2015; torch.nn.functional.batch_norm

    >>> dg.ops.batch_standardised(tensor([[1.0], [3.0]]))[0]
    tensor([[-1.0000],
            [ 1.0000]])
    """
    name = user_operator("batch_norm")
    _check_channels(name, x)
    each = x.shape[0] * product(tuple(x.shape[2:]))
    message = f"{name}: training needs more than one element of each channel, got shape {tuple(x.shape)}"
    require("ne", each, 1, ShapeError, message)
    wide = _wide(name, x)
    rows = _rows(wide)
    middle, variance = _moments(rows)
    shape = tuple(_column(rows, middle).shape)
    made = _scaled(name, wide, rows - reshape(middle, shape), rsqrt(reshape(variance, shape) + eps), weight, bias, shape)
    return cast(reshape(made, tuple(x.shape)), x.dtype), middle, variance


def _np_batch(np: Any, x: Any, weight: Any, bias: Any, eps: float) -> Any:
    dims = (0, *range(2, x.ndim))
    shape = (1, -1, *(1,) * (x.ndim - 2))
    middle, variance = x.mean(dims), x.var(dims)
    y = (x - middle.reshape(shape)) / np.sqrt(variance.reshape(shape) + eps)
    y = y * (1 if weight is None else weight.reshape(shape)) + (0 if bias is None else bias.reshape(shape))
    return y, middle, variance


@batch_standardised.vjp
def _(g: Any, out: Any, x: Any, weight: Any, bias: Any, eps: Any) -> Any:
    x, up = (cast(part, out[1].dtype) for part in (x, g[0]))
    rows, up = _rows(x), _rows(up)
    count = x.shape[0] * product(tuple(x.shape[2:]))
    dims = (0, *range(2, len(rows.shape)))
    inverse = rsqrt(out[2] + eps)
    centred = rows - _column(rows, out[1])
    straight, across = sum(up, dims), sum(up * centred, dims)
    slope = inverse if weight is None else inverse * weight
    along = (g[2] * 2.0 - slope * inverse * inverse * across) / count
    shift = (g[1] - slope * straight) / count
    to_x = up * _column(rows, slope) + centred * _column(rows, along) + _column(rows, shift)
    to_weight = None if weight is None else across * inverse
    return reshape(to_x, tuple(x.shape)), to_weight, None if bias is None else straight


@op(
    kind=COMPOSITION,
    dtypes=floats.on("x"),
    method=False,
    public=False,
    samples=lambda m: [(m(3, 4, 2), m(4), m(4, low=0.1), m(4), m(4)), (m(5, 3), m(3), m(3, low=0.1), None, m(3), 1e-3)],
    torch=lambda torch, x, middle, variance, weight=None, bias=None, eps=1e-5: torch.nn.functional.batch_norm(
        x, middle, variance, weight, bias, False, 0.1, eps
    ),
)
def batch_norm_by(
    x: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: Number = 1e-5,
) -> Tensor:
    """x minus the means of its channels, over the root of their variances plus eps, times weight plus bias.

    Shapes:   x [n, c, *S], the others [c] → [n, c, *S]
    Dtypes:   floats; others are rejected
    Gradient: to x, weight and bias
    Errors:   ShapeError if sizes do not fit; DTypeError
    Source:   Ioffe and Szegedy 2015; torch.nn.functional.batch_norm

    >>> dg.ops.batch_norm_by(tensor([[3.0]]), tensor([1.0]), tensor([4.0]), eps=0.0)
    tensor([[1.]])
    """
    name = user_operator("batch_norm")
    _check_channels(name, x)
    shape = (1, x.shape[1], *(1,) * (len(x.shape) - 2))
    middle = _per_channel(name, running_mean, x, "running_mean", shape)
    inverse = rsqrt(_per_channel(name, running_var, x, "running_var", shape) + eps)
    return _scaled(name, x, x - middle, inverse, weight, bias, shape)  # type: ignore[no-any-return]


@batch_norm_by.vjp
def _(g: Any, out: Any, x: Any, running_mean: Any, running_var: Any, weight: Any, bias: Any, eps: Any) -> Any:
    dims = (0, *range(2, len(x.shape)))
    shape = (1, x.shape[1], *(1,) * (len(x.shape) - 2))
    inverse = rsqrt(running_var + eps)
    slope = inverse if weight is None else inverse * weight
    to_weight = None if weight is None else sum(g * (x - reshape(running_mean, shape)), dims) * inverse
    return g * reshape(slope, shape), None, None, to_weight, None if bias is None else sum(g, dims)


@op(kind=UPDATE, method=False, public=False, writes=("running",))
def move_statistics_(running: Sequence[Tensor], seen: Sequence[Tensor], momentum: Number, correction: Number) -> Any:
    """Running means and variances moved towards the ones seen; the variances those with this correction.

    Shapes:   running and seen: [c] each, means and variances
    Dtypes:   each its own
    Gradient: none
    Errors:   none
    Source:   Ioffe and Szegedy 2015

    >>> m, v = tensor([0.0]), tensor([1.0])
    >>> _ = dg.ops.move_statistics_([m, v], [tensor([1.0]), tensor([2.0])], 0.5, 2.0); v
    tensor([2.5000])
    """
    last = len(running) - 1
    return (
        [
            old + (cast(new, old.dtype) * (correction if i == last else 1.0) - old) * momentum
            for i, (old, new) in enumerate(zip(running, seen, strict=True))
        ],
    )


@function(
    functional=True,
    method=False,
    samples=lambda m: [
        (m(3, 4, 2), m(4), m(4, low=0.1), m(4), m(4)),
        (m(5, 3), None, None, m(3), m(3), True),
        (m(2, 3, 4, 2), m(3), m(3, low=0.1), None, None, True, 0.3, 1e-3),
    ],
    tolerance=4.0,
)
def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Channels standardised over the batch (in training) or by running means and variances, times weight plus bias.

    In training the running statistics, if given, move in place by `momentum` towards the batch's.

    Shapes:   input [n, c, *S], the others [c] → [n, c, *S]
    Dtypes:   floats; others are rejected
    Gradient: to input, weight and bias
    Errors:   ShapeError for one element per channel in training, for missing statistics, or if sizes do not fit; DTypeError
    Source:   Ioffe and Szegedy 2015; torch.nn.functional.batch_norm

    >>> dg.nn.functional.batch_norm(tensor([[1.0], [3.0]]), None, None, training=True)
    tensor([[-1.0000],
            [ 1.0000]])
    """
    if not training:
        if running_mean is None or running_var is None:
            raise ShapeError("batch_norm: running_mean and running_var must be given unless training=True")
        return batch_norm_by(input, running_mean, running_var, weight, bias, eps)
    tracks = _tracks("batch_norm", running_mean, running_var)
    made, middle, variance = batch_standardised(input, weight, bias, eps)
    count = input.shape[0] * product(tuple(input.shape[2:]))
    if tracks and count > 0:
        _move("batch_norm", (running_mean, running_var), (middle, variance), momentum, count)
    return made


def _tracks(name: str, running_mean: Any, running_var: Any) -> bool:
    """Whether there are running statistics."""
    if (running_mean is None) != (running_var is None):
        raise ShapeError(f"{name}: running_mean and running_var must both be given, or neither")
    return running_mean is not None


def _move(name: str, running: tuple[Any, Any], seen: tuple[Any, Any], momentum: Any, count: Any) -> None:
    for what, given, found in zip(("running_mean", "running_var"), running, seen):
        if given.shape != found.shape:
            raise ShapeError(f"{name}: {what} has shape {tuple(given.shape)} for {found.shape[0]} channels")
    move_statistics_(running, [found.detach() for found in seen], momentum, count / (count - 1))


# Over groups of channels


def _grouped(x: Any, num_groups: Any) -> Any:
    """x as [n, groups, channels of one, rest]."""
    n, channels, *rest = x.shape
    return reshape(x, (n, num_groups, channels // num_groups, product(tuple(rest))))


@op(
    kind=COMPOSITION,
    method=False,
    public=False,
    tolerance=4.0,
    samples=lambda m: [(m(2, 4, 3), 2), (m(3, 6), 3, m(6), m(6)), (m(1, 2, 3, 4), 1, m(2), None, 1e-3)],
    reference=lambda np, x, groups, weight=None, bias=None, eps=1e-5: _np_group(np, x, groups, weight, bias, eps),
)
def group_standardised(
    x: Tensor, num_groups: Size, weight: Tensor | None = None, bias: Tensor | None = None, eps: Number = 1e-5
) -> tuple[Tensor, Tensor, Tensor]:
    """x standardised over groups of channels of each example, times weight plus bias; the means and variances.

    Shapes:   x [n, c, *S], weight and bias [c] → [n, c, *S], [n, num_groups], [n, num_groups]
    Dtypes:   floats; means and variances of 16-bit floats are float32
    Gradient: to x, weight and bias
    Errors:   ShapeError unless the channels fall into groups; DimensionError for fewer than two dimensions; DTypeError
    Source:   Wu and He 2018; torch.nn.functional.group_norm

    >>> dg.ops.group_standardised(tensor([[1.0, 3.0]]), 1)[1]
    tensor([[2.]])
    """
    name = user_operator("group_norm")
    _check_channels(name, x)
    n, channels = x.shape[:2]
    require("le", 1, num_groups, ShapeError, f"{name}: there must be at least one group, got {num_groups}")
    each = channels // num_groups
    require("eq", each * num_groups, channels, ShapeError, f"{name}: {channels} channels do not fall into {num_groups} groups")
    wide = _wide(name, x)
    rows = _grouped(wide, num_groups)
    middle = mean(rows, (2, 3), True)
    centred = rows - middle
    variance = mean(centred * centred, (2, 3), True)
    made = _scaled(name, wide, centred, rsqrt(variance + eps), weight, bias, (1, num_groups, each, 1))
    made = cast(reshape(made, tuple(x.shape)), x.dtype)
    return made, reshape(middle, (n, num_groups)), reshape(variance, (n, num_groups))


def _np_group(np: Any, x: Any, groups: int, weight: Any, bias: Any, eps: float) -> Any:
    rows = x.reshape(x.shape[0], groups, -1)
    y = ((rows - rows.mean(-1, keepdims=True)) / np.sqrt(rows.var(-1, keepdims=True) + eps)).reshape(x.shape)
    shape = (1, -1, *(1,) * (x.ndim - 2))
    y = y * (1 if weight is None else weight.reshape(shape)) + (0 if bias is None else bias.reshape(shape))
    return y, rows.mean(-1), rows.var(-1)


@group_standardised.vjp
def _(g: Any, out: Any, x: Any, num_groups: Any, weight: Any, bias: Any, eps: Any) -> Any:
    rows, up = (_grouped(cast(part, out[1].dtype), num_groups) for part in (x, g[0]))
    n, _, each, rest = rows.shape
    whole, channel = (n, num_groups, 1, 1), (1, num_groups, each, 1)
    inverse = rsqrt(reshape(out[2], whole) + eps)
    centred = rows - reshape(out[1], whole)
    straight, across = sum(up, (3,), True), sum(up * centred, (3,), True)
    wide = 1.0 if weight is None else reshape(weight, channel)
    along = (reshape(g[2], whole) * 2.0 - inverse * inverse * inverse * sum(across * wide, (2,), True)) / (each * rest)
    shift = (reshape(g[1], whole) - inverse * sum(straight * wide, (2,), True)) / (each * rest)
    to_x = reshape(up * (inverse * wide) + centred * along + shift, tuple(x.shape))
    to_weight = None if weight is None else reshape(sum(across * inverse, (0,)), tuple(weight.shape))
    return to_x, to_weight, None if bias is None else reshape(sum(straight, (0,)), tuple(bias.shape))


@function(
    functional=True,
    method=False,
    tolerance=4.0,
    samples=lambda m: [(m(2, 4, 3), 2), (m(3, 6), 3, m(6), m(6)), (m(1, 2, 3, 4), 1, m(2), None, 1e-3)],
)
def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """input standardised over groups of channels and all that follows them, times weight plus bias of each channel.

    Shapes:   input [n, c, *S], weight and bias [c] → [n, c, *S]
    Dtypes:   floats; others are rejected
    Gradient: to input, weight and bias
    Errors:   ShapeError unless the channels fall into groups; DimensionError for fewer than two dimensions; DTypeError
    Source:   Wu and He 2018; torch.nn.functional.group_norm

    >>> dg.nn.functional.group_norm(tensor([[1.0, 2.0, 3.0, 5.0]]), 2)
    tensor([[-1.0000,  1.0000, -1.0000,  1.0000]])
    """
    if len(input.shape) > 1 and num_groups > 0 and input.numel() == num_groups:
        raise ShapeError(
            f"group_norm: there is one element in each group of one example: input has shape {tuple(input.shape)}, "
            f"{num_groups} groups",
            hint="one element has no variance: use fewer groups",
        )
    return group_standardised(input, num_groups, weight, bias, eps)[0]


@function(
    functional=True,
    method=False,
    tolerance=4.0,
    samples=lambda m: [
        (m(2, 4, 3),),
        (m(3, 2, 5), m(2), m(2, low=0.1), m(2), m(2)),
        (m(1, 2, 3, 4), m(2), m(2, low=0.1), None, m(2), False, 0.1, 1e-3),
    ],
)
def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Each channel of each example standardised by itself (or by running statistics), times weight plus bias.

    With `use_input_stats` the running statistics, if given, move in place by `momentum` towards the batch's mean.

    Shapes:   input [n, c, *S], the others [c] → [n, c, *S]
    Dtypes:   floats; others are rejected
    Gradient: to input, weight and bias
    Errors:   ShapeError for one element per channel, without statistics where they are needed, or if sizes do not fit; DTypeError
    Source:   Ulyanov et al. 2016; torch.nn.functional.instance_norm

    >>> dg.nn.functional.instance_norm(tensor([[[1.0, 3.0]]]))
    tensor([[[-1.0000,  1.0000]]])
    """
    if not use_input_stats:
        if running_mean is None or running_var is None:
            raise ShapeError("instance_norm: running_mean and running_var must be given if use_input_stats=False")
        return batch_norm_by(input, running_mean, running_var, weight, bias, eps)
    _check_channels("instance_norm", input)
    each = product(tuple(input.shape[2:]))
    if each == 1:
        raise ShapeError(f"instance_norm: needs more than one element of each channel, got shape {tuple(input.shape)}")
    tracks = _tracks("instance_norm", running_mean, running_var)
    made, middle, variance = group_standardised(input, input.shape[1], weight, bias, eps)
    if tracks and each > 0:
        seen = mean(middle.detach(), (0,)), mean(variance.detach(), (0,))
        _move("instance_norm", (running_mean, running_var), seen, momentum, each)
    return made
