"""Windows of images as columns, and columns added up to images: what `nn.functional` calls unfold and fold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph.errors import DimensionError, ShapeError
from duograph.ir.dim import product

from ..definition import MOVEMENT, function, op
from ..shapes.affine_views import affine_view
from ..shapes.movement import reshape
from ..shapes.permuting import permute
from ..tracing import require, require_equal
from .geometry import numbers, spans_of, window_counts
from .phases import divided_taps, gathered_back, reached, taps_of
from .windows import identity, summed, windows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duograph._core import Tensor

    from ..definition import Size

_DIMS = 2


def _numbers(name: str, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> tuple[tuple[int, ...], ...]:
    return (
        numbers(name, "kernel_size", kernel_size, _DIMS, 1),
        numbers(name, "dilation", dilation, _DIMS, 1),
        numbers(name, "padding", padding, _DIMS, 0),
        numbers(name, "stride", stride, _DIMS, 1),
    )


@op(
    kind=MOVEMENT,
    method=False,
    public=False,
    functional=True,
    aliases=("unfold",),
    torch="torch.nn.functional.unfold",
    names="input=x",
    samples=lambda m: [
        (m(2, 3, 5, 4), 2),
        (m(2, 3, 5, 4), (3, 2), (1, 2), (1, 2), (2, 1)),
        (m(2, 4, 3), (1, 3), 1, 1, 3),
        (m(0, 2, 3, 3), 2),
    ],
)
def im2col(
    x: Tensor,
    kernel_size: int | Sequence[int],
    dilation: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    stride: int | Sequence[int] = 1,
) -> Tensor:
    """The windows of images as columns. As a function it is called `nn.functional.unfold`.

    Shapes:   x [n, c, h, w] or [c, h, w] → [n, c · kernel elements, windows] or the same without n
    Dtypes:   kept
    Gradient: `fold`
    Errors:   ShapeError for a kernel larger than padded x; DimensionError; DomainError
    Source:   torch.nn.functional.unfold

    >>> dg.nn.functional.unfold(tensor([[[1.0, 2.0, 3.0]]]), (1, 2))
    tensor([[1., 2.],
            [2., 3.]])
    """
    name = "unfold"
    if len(x.shape) not in (_DIMS + 1, _DIMS + 2):
        raise DimensionError(f"{name}: x must be [n, c, h, w] or [c, h, w], got shape {tuple(x.shape)}")
    kernel, holes, pads, steps = _numbers(name, kernel_size, dilation, padding, stride)
    counts = window_counts(name, x.shape[-_DIMS:], [(n, n) for n in pads], spans_of(kernel, holes), steps)
    view = windows(x, kernel, pads, counts, steps, holes, any(pads))
    rank = len(view.shape)
    order = [*range(rank - 4), rank - 2, rank - 1, rank - 4, rank - 3]
    return reshape(permute(view, *order), *x.shape[:-3], x.shape[-3] * product(kernel), product(counts))


@im2col.vjp
def _(g: Any, out: Any, x: Any, *form: Any) -> Any:
    return fold_columns(g, *x.shape[-_DIMS:], *form)


@op(kind=MOVEMENT, method=False, public=False)
def fold_columns(x: Tensor, height: Size, width: Size, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> Tensor:
    """Columns added up to images of this size.

    Shapes:   x [n, c · kernel elements, windows] or the same without n → [n, c, height, width] or [c, height, width]
    Dtypes:   kept
    Gradient: `im2col`
    Errors:   ShapeError unless x has as many windows; DimensionError; DomainError
    Source:   torch.nn.functional.fold
    """
    name = "fold"
    if len(x.shape) not in (2, 3):
        raise DimensionError(
            f"{name}: x must be [n, c · kernel elements, windows], or the same without n, got shape {tuple(x.shape)}"
        )
    kernel, holes, pads, steps = _numbers(name, kernel_size, dilation, padding, stride)
    counts = window_counts(name, (height, width), [(n, n) for n in pads], spans_of(kernel, holes), steps)
    rows, columns = x.shape[-2:]
    message = f"{name}: x has {columns} windows, images of size {(height, width)} have {counts[0]} x {counts[1]}"
    require_equal(name, columns, product(counts), message.removeprefix(f"{name}: "))
    area = product(kernel)
    require("eq", rows % area, 0, ShapeError, f"{name}: {rows} rows are no multiple of the {area} elements of kernel {kernel}")
    leading = (*x.shape[:-2], rows // area)
    given = reshape(x, *leading, *kernel, *counts)
    batch = len(leading)

    def of_phase(padded: Any, rounds: Any, chosen: Any) -> Any:
        return _along_taps(taps_of(reached(padded, rounds, chosen), batch, chosen), batch)

    def of_all(padded: Any, rounds: Any, filled: Any) -> Any:
        return _along_taps(divided_taps(reached(padded, rounds, filled), batch, filled, steps), batch)

    return gathered_back(given, kernel, pads, (height, width), steps, holes, of_phase, of_all, most=1)  # type: ignore[no-any-return]


def _along_taps(seen: Any, batch: int) -> Any:
    """[*B, *taps, *rounds, *taps, *rest] summed over its taps, of which the first and the second are the same."""
    rank = len(seen.shape)
    shape = tuple(seen.shape)
    kept = (*shape[:batch], *shape[batch + _DIMS : batch + 2 * _DIMS], *shape[batch + 3 * _DIMS :])
    made = (*kept, *shape[batch : batch + _DIMS])
    rows = identity(batch, len(made))
    taps = [[int(i == len(kept) + d) for i in range(len(made))] for d in range(_DIMS)]
    rest = [[int(i == d) for i in range(len(made))] for d in range(batch, len(kept))]
    rows += [*taps, *rest[:_DIMS], *taps, *rest[_DIMS:]]
    view = affine_view(seen, made, [0] * rank, rows, False)
    return summed(view, len(kept))


@fold_columns.vjp
def _(g: Any, out: Any, x: Any, height: Any, width: Any, *form: Any) -> Any:
    return im2col(g, *form)


@function(
    method=False,
    public=False,
    functional=True,
    aliases=("fold",),
    torch="torch.nn.functional.fold",
    names="input=x",
    tolerance=4.0,
    samples=lambda m: [
        (m(2, 12, 12), (5, 4), 2),
        (m(1, 18, 18), (5, 4), (3, 2), (1, 2), (1, 2), (2, 1)),
        (m(12, 4), (4, 6), (2, 3), 1, 0, (2, 3)),
        (m(0, 8, 4), (3, 3), 2),
    ],
)
def col2im(
    x: Tensor,
    output_size: int | Sequence[int],
    kernel_size: int | Sequence[int],
    dilation: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    stride: int | Sequence[int] = 1,
) -> Tensor:
    """Columns, as `nn.functional.unfold` gives them, added up to images. As a function it is called `nn.functional.fold`.

    Shapes:   x [n, c · kernel elements, windows] or the same without n → [n, c, *output_size] or [c, *output_size]
    Dtypes:   kept
    Gradient: `unfold`
    Errors:   ShapeError unless x has as many windows; DimensionError; DomainError
    Source:   torch.nn.functional.fold

    >>> dg.nn.functional.fold(tensor([[1.0, 2.0], [2.0, 3.0]]), (1, 3), (1, 2))
    tensor([[[1., 4., 3.]]])
    """
    sizes = tuple(output_size) if isinstance(output_size, (tuple, list)) else (output_size,) * _DIMS
    if len(sizes) != _DIMS:
        raise ShapeError(f"fold: output_size must be one size or two, got {output_size}")
    return fold_columns(x, *sizes, kernel_size, dilation, padding, stride)
