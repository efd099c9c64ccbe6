"""Copies, conversions, and what in-place writes write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph.errors import ShapeError

from ..definition import ELEMENTWISE, function, op
from ..tracing import broadcast_shapes, cast_value, emit, to_bool, value_of, wrap
from .creation import zeros_like

if TYPE_CHECKING:
    from duograph._core import DType, Tensor

    from ..definition import Operand


# Copies and conversions


@op(
    kind=ELEMENTWISE,
    lowers=True,
    slot="clone",
    reference=lambda np, x: x.copy(),
    samples=lambda m: [(m(3, 4),), (m(),), (m(0, 2),)],
)
def clone(x: Tensor) -> Tensor:
    """A contiguous copy with memory of its own.

    Shapes:   x [*S] → [*S]
    Dtypes:   kept
    Gradient: 1
    Errors:   none
    Source:   torch.clone

    >>> clone(tensor([1, 2]))
    tensor([1, 2])
    """
    return emit("copy", [x], x.dtype, tuple(x.shape))


@clone.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g


@op(
    kind=ELEMENTWISE,
    lowers=True,
    method=False,
    public=False,
    slot="contiguous",
    reference=lambda np, x: x.copy(),
    samples=lambda m: [(m(3, 4),)],
)
def contiguous(x: Tensor) -> Tensor:
    """A row-major copy; the method gives x itself if it is that already.

    Shapes:   x [*S] → [*S]
    Dtypes:   kept
    Gradient: 1
    Errors:   none
    Source:   torch.Tensor.contiguous

    >>> tensor([[1, 2], [3, 4]]).t().contiguous().stride()
    (2, 1)
    """
    return emit("copy", [x], x.dtype, tuple(x.shape))


@contiguous.vjp
def _(g: Any, out: Any, x: Any) -> Any:
    return g


@op(
    kind=ELEMENTWISE,
    lowers=True,
    method=False,
    public=False,
    slot="to",
    samples=lambda m: [],
    reference=lambda np, x, dtype: x.astype(dtype.name),
)
def cast(x: Tensor, dtype: DType) -> Tensor:
    """x converted: floats to integers towards zero and saturating, NaN to 0; anything but 0 to True.

    Shapes:   x [*S] → [*S]
    Dtypes:   the one given
    Gradient: converted back
    Errors:   none
    Source:   torch.Tensor.to

    >>> tensor([1.5, -2.5]).to(dg.int64)
    tensor([ 1, -2])
    """
    value = value_of(x)
    if dtype.kind == "b":
        return wrap(to_bool(value))
    return wrap(cast_value(value, dtype))


@cast.vjp
def _(g: Any, out: Any, x: Any, dtype: Any) -> Any:
    return cast(g, x.dtype)


@op(
    kind=ELEMENTWISE,
    lowers=True,
    method=False,
    public=False,
    inplace="copy_",
    reference=lambda np, x, source: np.broadcast_to(np.asarray(source, x.dtype), x.shape),
    samples=lambda m: [(m(3, 4), m(3, 4)), (m(3, 4), m(4)), (m(3), 2), (m(0), m(0))],
)
def copy(x: Tensor, source: Operand) -> Tensor:
    """What `x.copy_(source)` writes: source converted and stretched to x.

    Shapes:   x [*S], source [*T] that broadcasts to S → [*S]
    Dtypes:   x's
    Gradient: to source
    Errors:   ShapeError if T does not broadcast to S
    Source:   torch.Tensor.copy_

    >>> tensor([1, 2]).copy_(7)
    tensor([7, 7])
    """
    from duograph.ir.builder import current

    value = value_of(source)
    shape = tuple(x.shape)
    found = broadcast_shapes("copy_", [("x", shape), ("source", value.type.shape)])
    if len(found) != len(shape) or any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in zip(found, shape)):
        raise ShapeError(f"copy_: source of shape {value.type.shape} does not stretch to {shape}")
    value = to_bool(value) if x.dtype.kind == "b" else cast_value(value, x.dtype)
    return emit("copy", [wrap(current().broadcast(value, shape))], x.dtype, shape)


@copy.vjp
def _(g: Any, out: Any, x: Any, source: Any) -> Any:
    return None, g


@op(
    kind=ELEMENTWISE,
    lowers=True,
    method=False,
    public=False,
    inplace="fill_",
    reference=lambda np, x, value: np.full_like(x, value),
    samples=lambda m: [(m(3, 4), 2), (m(), 1), (m(0), 2)],
)
def fill(x: Tensor, value: Operand) -> Tensor:
    """What `x.fill_(value)` writes.

    Shapes:   x [*S] → [*S]
    Dtypes:   x's
    Gradient: none to x; to a 0-d value the sum
    Errors:   ShapeError for a value with dimensions
    Source:   torch.Tensor.fill_

    >>> tensor([1, 2]).fill_(7)
    tensor([7, 7])
    """
    from duograph.ir.builder import current

    number = value_of(value)
    if number.type.shape:
        raise ShapeError(f"fill_: the value must be a number or a 0-d tensor, got shape {tuple(number.type.shape)}")
    number = to_bool(number) if x.dtype.kind == "b" else cast_value(number, x.dtype)
    return wrap(current().broadcast(number, tuple(x.shape)))


@fill.vjp
def _(g: Any, out: Any, x: Any, value: Any) -> Any:
    return zeros_like(g), g


@function(method="zero_", public=False, samples=lambda m: [], reference=lambda np, x: np.zeros_like(x))
def zero_in_place(x: Tensor) -> Tensor:
    """Write zeros into x.

    Shapes:   x [*S] → [*S]
    Dtypes:   x's
    Gradient: 0
    Errors:   GradError for a leaf that requires grad
    Source:   torch.Tensor.zero_

    >>> tensor([1, 2]).zero_()
    tensor([0, 0])
    """
    result: Tensor = x.fill_(0)
    return result
