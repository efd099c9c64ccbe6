"""Convolutions and transposed convolutions of one to three dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..definition import CONTRACTION, op
from ..dtypes import same
from ..room import require_room
from ..shapes.movement import reshape
from ..tracing import user_operator
from .correlation import correlate, correlate_back
from .geometry import check_operands, numbers, paddings, spans_of, spread_sizes, window_counts
from .single import is_single

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duograph._core import Tensor

    from ..definition import Sizes


def _with_bias(made: Any, bias: Any, dims: int) -> Any:
    return made if bias is None else made + reshape(bias, bias.shape[0], *([1] * dims))


def _batched(x: Any, dims: int) -> Any:
    return x if len(x.shape) == dims + 2 else reshape(x, 1, *x.shape)


def _unbatched(made: Any, x: Any, dims: int) -> Tensor:
    return made if len(x.shape) == dims + 2 else reshape(made, *made.shape[1:])


def _convolved(
    name: str, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int, dims: int
) -> Tensor:
    name = user_operator(name)
    check_operands(name, x, weight, bias, dims, groups, transposed=False)
    steps, holes = numbers(name, "stride", stride, dims, 1), numbers(name, "dilation", dilation, dims, 1)
    spans = spans_of(weight.shape[2:], holes)
    pads = paddings(name, padding, dims, steps, spans)
    given = _batched(x, dims)
    counts = window_counts(name, given.shape[2:], pads, spans, steps)
    padded = not all(isinstance(size, int) and size == 0 for pair in pads for size in pair)
    low = tuple(front for front, _ in pads)
    single = is_single(given, weight, groups)
    made = correlate(given, weight, low, counts, steps, holes, groups, padded, single)
    return _unbatched(_with_bias(made, bias, dims), x, dims)


def _spread_out(
    name: str,
    x: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
    dims: int,
) -> Tensor:
    check_operands(name, x, weight, bias, dims, groups, transposed=True)
    steps, holes = numbers(name, "stride", stride, dims, 1), numbers(name, "dilation", dilation, dims, 1)
    pads = numbers(name, "padding", padding, dims, 0)
    spans = spans_of(weight.shape[2:], holes)
    given = _batched(x, dims)
    sizes = spread_sizes(name, given.shape[2:], pads, spans, steps, holes, output_padding)
    require_room(name, (given.shape[0], weight.shape[1] * groups, *sizes), x.dtype)
    single = is_single(given, weight, groups)
    made = correlate_back(given, weight, pads, sizes, steps, holes, groups, any(pads), single)
    return _unbatched(_with_bias(made, bias, dims), x, dims)


@op(
    kind=CONTRACTION,
    dtypes=same,
    method=False,
    functional=True,
    tolerance=8.0,
    names="input=x",
    samples=lambda m: [
        (m(2, 3, 7), m(4, 3, 3), m(4)),
        (m(2, 4, 9), m(6, 2, 2), None, 3, 1, 2, 2),
        (m(3, 5), m(3, 1, 4), m(3), 1, "same", 1, 3),
        (m(0, 2, 5), m(3, 2, 2)),
    ],
    autocast="lower",
)
def conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: str | int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """Sums of products of each window of x with each kernel of weight.

    Shapes:   x [n, c, length] or [c, length], weight [f, c / groups, kernel], bias [f] → [n, f, length'] or [f, length'],
              each size (size + 2 · padding - dilation · (kernel - 1) - 1) // stride + 1
    Dtypes:   one dtype; 16-bit floats accumulate in float32
    Gradient: a transposed convolution to x, windows of x times g to weight, the sum of g to bias
    Errors:   ShapeError unless channels fit weight and groups, or for a kernel larger than padded x; DimensionError; DomainError
    Source:   torch.nn.functional.conv1d

    >>> conv1d(tensor([[1.0, 2.0, 3.0]]), tensor([[[1.0, -1.0]]]))
    tensor([[-1., -1.]])
    """
    return _convolved("conv1d", x, weight, bias, stride, padding, dilation, groups, 1)


@op(
    kind=CONTRACTION,
    dtypes=same,
    method=False,
    functional=True,
    tolerance=8.0,
    names="input=x",
    samples=lambda m: [
        (m(2, 3, 5, 4), m(2, 3, 3, 2), m(2)),
        (m(1, 4, 6, 5), m(4, 2, 2, 3), m(4), (2, 1), (1, 2), (3, 1), 2),
        (m(2, 3, 4, 4), m(6, 1, 3, 3), None, 2, 1, 1, 3),
        (m(2, 4, 5), m(3, 2, 1, 1), m(3)),
    ],
    autocast="lower",
)
def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: str | int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """Sums of products of each window of x with each kernel of weight (cross-correlation, as in PyTorch).

    padding: zeros at both ends, "valid" (none) or "same" (results of x's size, for a stride of 1). dilation: how far taps are
    apart. groups: channels and kernels are dealt out to groups, which do not see each other.

    Shapes:   x [n, c, h, w] or [c, h, w], weight [f, c / groups, kh, kw], bias [f] → [n, f, h', w'] or [f, h', w'],
              each size (size + 2 · padding - dilation · (kernel - 1) - 1) // stride + 1
    Dtypes:   one dtype; 16-bit floats accumulate in float32
    Gradient: a transposed convolution to x, windows of x times g to weight, the sum of g to bias
    Errors:   ShapeError unless channels fit weight and groups, or for a kernel larger than padded x; DimensionError; DomainError
    Source:   torch.nn.functional.conv2d

    >>> conv2d(dg.ones(1, 3, 3), dg.ones(1, 1, 2, 2), padding=1)[0, 0]
    tensor([1., 2., 2., 1.])
    """
    return _convolved("conv2d", x, weight, bias, stride, padding, dilation, groups, 2)


@op(
    kind=CONTRACTION,
    dtypes=same,
    method=False,
    functional=True,
    tolerance=8.0,
    names="input=x",
    samples=lambda m: [
        (m(1, 2, 3, 4, 3), m(2, 2, 2, 2, 2), m(2), 1, 1),
        (m(2, 3, 4, 3), m(4, 1, 1, 2, 2), m(4), (1, 2, 1), 0, 1, 2),
    ],
    autocast="lower",
)
def conv3d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: str | int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """Sums of products of each window of x with each kernel of weight.

    Shapes:   x [n, c, d, h, w] or [c, d, h, w], weight [f, c / groups, kd, kh, kw], bias [f]
              → [n, f, d', h', w'] or [f, d', h', w'],
              each size (size + 2 · padding - dilation · (kernel - 1) - 1) // stride + 1
    Dtypes:   one dtype; 16-bit floats accumulate in float32
    Gradient: a transposed convolution to x, windows of x times g to weight, the sum of g to bias
    Errors:   ShapeError unless channels fit weight and groups, or for a kernel larger than padded x; DimensionError; DomainError
    Source:   torch.nn.functional.conv3d

    >>> conv3d(dg.ones(1, 2, 2, 2), dg.ones(1, 1, 2, 2, 2))
    tensor([[[[8.]]]])
    """
    return _convolved("conv3d", x, weight, bias, stride, padding, dilation, groups, 3)


@op(
    kind=CONTRACTION,
    dtypes=same,
    method=False,
    functional=True,
    tolerance=8.0,
    names="input=x",
    samples=lambda m: [
        (m(2, 3, 4), m(3, 2, 3), m(2)),
        (m(2, 4, 5), m(4, 3, 4), None, 3, 1, 2, 2, 2),
        (m(3, 3), m(3, 1, 2), m(3), 2, 0, 1, 3),
        (m(0, 2, 3), m(2, 3, 2)),
    ],
    autocast="lower",
)
def conv_transpose1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> Tensor:
    """Each element of x times a kernel of weight, added up `stride` apart: the gradient of `conv1d` to its x.

    Shapes:   x [n, c, length] or [c, length], weight [c, f / groups, kernel], bias [f] → [n, f, length'] or [f, length'],
              each size (size - 1) · stride - 2 · padding + dilation · (kernel - 1) + output_padding + 1
    Dtypes:   one dtype; 16-bit floats accumulate in float32
    Gradient: a convolution to x, windows of g times x to weight, the sum of g to bias
    Errors:   ShapeError unless channels fit weight and groups, or for an empty result; DimensionError;
              DomainError for an output_padding that is neither below stride nor below dilation
    Source:   torch.nn.functional.conv_transpose1d

    >>> conv_transpose1d(tensor([[1.0, 2.0]]), tensor([[[1.0, -1.0]]]), stride=2)
    tensor([[ 1., -1.,  2., -2.]])
    """
    extra = numbers("conv_transpose1d", "output_padding", output_padding, 1, 0)
    return _spread_out(user_operator("conv_transpose1d"), x, weight, bias, stride, padding, extra, groups, dilation, 1)


@op(
    kind=CONTRACTION,
    dtypes=same,
    method=False,
    functional=True,
    tolerance=8.0,
    names="input=x",
    samples=lambda m: [
        (m(2, 3, 3, 4), m(3, 2, 3, 2), m(2)),
        (m(1, 4, 3, 2), m(4, 3, 2, 3), m(6), (2, 3), (1, 2), (1, 0), 2, (3, 1)),
        (m(1, 2, 3, 3), m(2, 2, 3, 5), None, (3, 4), 1, 2),
        (m(2, 3, 3), m(2, 1, 1, 1), m(2), 2, 0, 1, 2),
    ],
    autocast="lower",
)
def conv_transpose2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> Tensor:
    """Each element of x times a kernel of weight, added up `stride` apart: the gradient of `conv2d` to its x.

    Shapes:   x [n, c, h, w] or [c, h, w], weight [c, f / groups, kh, kw], bias [f] → [n, f, h', w'] or [f, h', w'],
              each size (size - 1) · stride - 2 · padding + dilation · (kernel - 1) + output_padding + 1
    Dtypes:   one dtype; 16-bit floats accumulate in float32
    Gradient: a convolution to x, windows of g times x to weight, the sum of g to bias
    Errors:   ShapeError unless channels fit weight and groups, or for an empty result; DimensionError;
              DomainError for an output_padding that is neither below stride nor below dilation
    Source:   torch.nn.functional.conv_transpose2d

    >>> conv_transpose2d(dg.ones(1, 2, 2), dg.ones(1, 1, 2, 2))[0, 1]
    tensor([2., 4., 2.])
    """
    extra = numbers("conv_transpose2d", "output_padding", output_padding, 2, 0)
    return _spread_out(user_operator("conv_transpose2d"), x, weight, bias, stride, padding, extra, groups, dilation, 2)


@op(
    kind=CONTRACTION,
    dtypes=same,
    method=False,
    functional=True,
    tolerance=8.0,
    names="input=x",
    samples=lambda m: [
        (m(1, 2, 2, 3, 2), m(2, 2, 2, 2, 2), m(2), 1, 1),
        (m(2, 2, 3, 2), m(2, 1, 1, 2, 2), m(2), (1, 2, 1), 0, 0, 2),
    ],
    autocast="lower",
)
def conv_transpose3d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> Tensor:
    """Each element of x times a kernel of weight, added up `stride` apart: the gradient of `conv3d` to its x.

    Shapes:   x [n, c, d, h, w] or [c, d, h, w], weight [c, f / groups, kd, kh, kw], bias [f]
              → [n, f, d', h', w'] or [f, d', h', w'],
              each size (size - 1) · stride - 2 · padding + dilation · (kernel - 1) + output_padding + 1
    Dtypes:   one dtype; 16-bit floats accumulate in float32
    Gradient: a convolution to x, windows of g times x to weight, the sum of g to bias
    Errors:   ShapeError unless channels fit weight and groups, or for an empty result; DimensionError;
              DomainError for an output_padding that is neither below stride nor below dilation
    Source:   torch.nn.functional.conv_transpose3d

    >>> conv_transpose3d(dg.ones(1, 1, 1, 2), dg.ones(1, 1, 1, 1, 2))
    tensor([[[[1., 2., 1.]]]])
    """
    extra = numbers("conv_transpose3d", "output_padding", output_padding, 3, 0)
    return _spread_out(user_operator("conv_transpose3d"), x, weight, bias, stride, padding, extra, groups, dilation, 3)


@op(kind=CONTRACTION, dtypes=same, method=False, public=False)
def conv_transpose(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    output_padding: Sizes,
    groups: int,
    dilation: tuple[int, ...],
) -> Tensor:
    """`conv_transpose2d` for any number of dimensions and an output_padding that may change from call to call.

    Shapes:   as `conv_transpose2d`
    Dtypes:   one dtype; 16-bit floats accumulate in float32
    Gradient: as `conv_transpose2d`
    Errors:   as `conv_transpose2d`
    Source:   torch.nn.functional.conv_transpose2d
    """
    dims = len(stride)
    name = user_operator("conv_transpose")
    name = f"{name}{dims}d" if name == "conv_transpose" else name
    return _spread_out(name, x, weight, bias, stride, padding, output_padding, groups, dilation, dims)
