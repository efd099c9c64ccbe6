"""Tensors from nothing: constants, ranges, and the like of another tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import DomainError, ShapeError

from ..definition import CREATION, MOVEMENT, function, op
from ..tracing import cast_value, constant, dtype_of, emit, value_of, wrap

if TYPE_CHECKING:
    from duograph._core import DType, Tensor

    from ..definition import Number, Size, Sizes


def _filled(value: Any, dtype: DType, shape: Any) -> Tensor:
    """A number stretched to a shape."""
    from duograph.ir.builder import current

    return wrap(current().broadcast(cast_value(value_of(value), dtype), tuple(shape)))


def _check_sizes(name: str, sizes: Any) -> None:
    for size in sizes:
        if isinstance(size, int) and size < 0:
            raise ShapeError(f"{name}: a size must not be negative, got {size} in {tuple(sizes)}")


@op(
    kind=CREATION,
    lowers=True,
    method=False,
    samples=lambda m: [((2, 3), 1.5), ((), 2), ((0, 2), 1), ((4,), True)],
    reference=lambda np, size, value: np.full(size, value, {bool: "bool", int: "int64", float: "float32"}[type(value)]),
)
def full(size: Sizes, value: Number, dtype: DType | None = None) -> Tensor:
    """A tensor of this size, every element the value.

    Shapes:   [*size]
    Dtypes:   dtype, or the value's: bool, int64 or the default float
    Gradient: none
    Errors:   ShapeError for a negative size
    Source:   torch.full

    >>> full((2, 2), 7)
    tensor([[7, 7],
            [7, 7]])
    """
    _check_sizes("full", size)
    if dtype is None:
        found = dtype_of(value_of(value))
        dtype = core.get_default_dtype() if found.kind == "f" else found
    return _filled(value, dtype, size)


def _like(name: str, x: Any, dtype: DType | None, value: Any) -> Tensor:
    return _filled(value, x.dtype if dtype is None else dtype, x.shape)


@op(
    kind=MOVEMENT,
    lowers=True,
    differentiable=False,
    method=False,
    reference="numpy.zeros_like",
    samples=lambda m: [(m(3, 4),), (m(),), (m(0, 2),)],
)
def zeros_like(x: Tensor, dtype: DType | None = None) -> Tensor:
    """Zeros in the shape of x.

    Shapes:   x [*S] → [*S]
    Dtypes:   dtype, or x's
    Gradient: none
    Errors:   none
    Source:   torch.zeros_like

    >>> zeros_like(tensor([1.0, 2.0]))
    tensor([0., 0.])
    """
    return constant(0, x.dtype if dtype is None else dtype, tuple(x.shape))


@op(
    kind=MOVEMENT,
    lowers=True,
    differentiable=False,
    method=False,
    reference="numpy.ones_like",
    samples=lambda m: [(m(3, 4),), (m(),), (m(0, 2),)],
)
def ones_like(x: Tensor, dtype: DType | None = None) -> Tensor:
    """Ones in the shape of x.

    Shapes:   x [*S] → [*S]
    Dtypes:   dtype, or x's
    Gradient: none
    Errors:   none
    Source:   torch.ones_like

    >>> ones_like(tensor([1.0, 2.0]))
    tensor([1., 1.])
    """
    return constant(1, x.dtype if dtype is None else dtype, tuple(x.shape))


@op(
    kind=MOVEMENT,
    lowers=True,
    differentiable=False,
    method=False,
    reference=lambda np, x, value: np.full_like(x, value),
    samples=lambda m: [(m(3, 4), 2), (m(), 1), (m(0, 2), 3)],
)
def full_like(x: Tensor, value: Number, dtype: DType | None = None) -> Tensor:
    """The value in the shape of x.

    Shapes:   x [*S] → [*S]
    Dtypes:   dtype, or x's
    Gradient: none
    Errors:   none
    Source:   torch.full_like

    >>> full_like(tensor([1.0, 2.0]), 3)
    tensor([3., 3.])
    """
    return _filled(value, x.dtype if dtype is None else dtype, x.shape)


@op(kind=CREATION, lowers=True, method=False, public=False, samples=lambda m: [(5,), (0,)], reference=lambda np, n: np.arange(n))
def iota(length: Size) -> Tensor:
    """0, 1, … length - 1.

    Shapes:   [length]
    Dtypes:   int64
    Gradient: none
    Errors:   ShapeError for a negative length
    Source:   numpy.arange

    >>> dg.ops.iota(3)
    tensor([0, 1, 2])
    """
    _check_sizes("arange", (length,))
    return emit("iota", [], core.int64, (length,), dim=0)


@op(
    kind=CREATION,
    method=False,
    public=False,
    samples=lambda m: [(5, 1.5, 0.5, None)],
    reference=lambda np, n, a, s, d: a + s * np.arange(n, dtype="float32"),
)
def progression(length: Size, start: Number, step: Number, dtype: DType | None = None) -> Tensor:
    """start + i * step for i in 0 … length - 1.

    Shapes:   [length]
    Dtypes:   dtype, or the default float if start or step is a float, else int64
    Gradient: none
    Errors:   ShapeError for a negative length
    Source:   torch.arange

    >>> dg.ops.progression(3, 1, 2)
    tensor([1, 3, 5])
    """
    whole = value_of(start).type.dtype.kind != "f" and value_of(step).type.dtype.kind != "f"
    wide: DType = core.int64 if whole else core.float64
    index = emit("cast", [iota(length)], wide, (length,))
    values = _filled(start, wide, (length,)) + index * _filled(step, wide, (length,))
    target = dtype or (core.int64 if whole else core.get_default_dtype())
    return wrap(cast_value(value_of(values), target))


@function(
    method=False, differentiable=False, reference="numpy.arange", samples=lambda m: [(5,), (1, 7), (1, 10, 3), (5, 1, -2), (0,)]
)
def arange(start: float, end: float | None = None, step: float = 1, dtype: DType | None = None) -> Tensor:
    """The numbers from start (0 if only one is given) up to, but without, end, step apart.

    Shapes:   [ceil((end - start) / step)]
    Dtypes:   dtype, or int64 for integers and the default float otherwise
    Gradient: none
    Errors:   DomainError for a step of 0, or one that leads away from end
    Source:   torch.arange

    >>> arange(1, 7, 2)
    tensor([1, 3, 5])
    """
    if end is None:
        start, end = 0, start
    if any(isinstance(x, core.Tensor) and x._traced is not None for x in (start, end, step)):
        return _late_arange(start, end, step, dtype)
    if step == 0:
        raise DomainError("arange: step must not be 0")
    if (end - start) * step < 0:
        raise DomainError(f"arange: a step of {step} does not lead from {start} to {end}")
    if any(isinstance(x, float) and not -1e308 <= x <= 1e308 for x in (start, end, step)):
        raise DomainError(f"arange: start, end and step must be finite, got {start}, {end}, {step}")
    whole = -((start - end) // step)
    # A number of a capture that is an expression of sizes stays one.
    length = int(whole) if isinstance(whole, (int, float)) and not hasattr(whole, "expr") else whole
    return progression(length, start, step, dtype)


def _late_arange(start: Any, end: Any, step: Any, dtype: DType | None) -> Tensor:
    """`arange` of numbers that only a run knows. One that leads away from the end has a negative size, which the run refuses."""
    length = wrap(cast_value(value_of(-((start - end) // step)), core.int64))
    if dtype is None and any(value_of(x).type.dtype.kind == "f" for x in (start, end, step)):
        dtype = core.get_default_dtype()
    return progression(length, start, step, dtype)


@function(
    method=False,
    differentiable=False,
    reference=lambda np, a, b, n: np.linspace(a, b, n),
    samples=lambda m: [(0.0, 1.0, 5), (3, -2, 4), (1.0, 2.0, 1), (0.0, 1.0, 0)],
)
def linspace(start: float, end: float, steps: int, dtype: DType | None = None) -> Tensor:
    """`steps` numbers evenly spaced from start to end, both included.

    Shapes:   [steps]
    Dtypes:   dtype, or the default float
    Gradient: none
    Errors:   ShapeError for negative steps
    Source:   torch.linspace

    >>> linspace(0, 1, 5)
    tensor([0.0000, 0.2500, 0.5000, 0.7500, 1.0000])
    """
    return spaced(steps, float(start), float(end), dtype or core.get_default_dtype())


@op(
    kind=CREATION,
    method=False,
    public=False,
    samples=lambda m: [(5, 0.0, 1.0, None)],
    reference=lambda np, n, a, b, d: np.linspace(a, b, n, dtype="float32"),
)
def spaced(steps: Size, start: Number, end: Number, dtype: DType | None = None) -> Tensor:
    """What `linspace` computes: symmetric, so that both ends are exact.

    Shapes:   [steps]
    Dtypes:   dtype, or the default float
    Gradient: none
    Errors:   ShapeError for negative steps
    Source:   torch.linspace

    >>> dg.ops.spaced(3, 0.0, 1.0)
    tensor([0.0000, 0.5000, 1.0000])
    """
    from ..elementwise.choice import maximum, where

    index = iota(steps)
    count = emit("size", [], core.int64, (), value=steps)
    first, last = _filled(start, core.float64, (steps,)), _filled(end, core.float64, (steps,))
    gap = (last - first) / maximum(count - 1, 1)
    values = where(index * 2 < count, first + index * gap, last - (count - 1 - index) * gap)
    return wrap(cast_value(value_of(values), dtype or core.get_default_dtype()))


@op(
    kind=CREATION,
    method=False,
    samples=lambda m: [(3,), (2, 4), (4, 2), (0,)],
    reference=lambda np, n, m=None: np.eye(n, m, dtype="float32"),
)
def eye(n: Size, m: Size | None = None, dtype: DType | None = None) -> Tensor:
    """Ones on the diagonal of an n × m matrix (n × n if m is left out), zeros elsewhere.

    Shapes:   [n, m]
    Dtypes:   dtype, or the default float
    Gradient: none
    Errors:   ShapeError for a negative size
    Source:   torch.eye

    >>> eye(2)
    tensor([[1., 0.],
            [0., 1.]])
    """
    shape = (n, n if m is None else m)
    _check_sizes("eye", shape)
    diagonal = emit("iota", [], core.int64, shape, dim=0) == emit("iota", [], core.int64, shape, dim=1)
    return wrap(cast_value(value_of(diagonal), dtype or core.get_default_dtype()))
