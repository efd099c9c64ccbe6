"""What functions give that answer yes or no: a bool, or in a capture a tensor that stands for one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph._recorded import state
from duograph.ir.builder import current
from duograph.ir.types import TensorType

from ..definition import REDUCTION, function, op
from ..elementwise.comparison import eq, isclose
from ..tracing import to_bool, wrap
from .reductions import all

if TYPE_CHECKING:
    from duograph._core import Tensor

    from ..definition import Number


def answer(truth: Any) -> Any:
    """The truth of a tensor with one element, for Python: what a captured `if` can ask."""
    if state.recorder is None or state.recorder.single_path:
        return bool(truth)
    builder = current()
    value = to_bool(builder.read(truth))
    for weak in (False, True):
        value = builder.emit("logical_not", [value], {}, [TensorType(core.bool, value.type.shape, weak=weak)])[0]
    return wrap(value)


@op(
    kind=REDUCTION,
    differentiable=False,
    method=False,
    public=False,
    reference=lambda np, a, b: np.array(np.array_equal(a, b)),
    samples=lambda m: [(m(3, 5), m(3, 5)), (m.of([1, 2]), m.of([1, 2]))],
)
def all_equal(a: Tensor, b: Tensor) -> Tensor:
    """Whether all elements are equal.

    Shapes:   a [*S], b [*T] that broadcast → []
    Dtypes:   any; bool
    Gradient: none
    Errors:   ShapeError
    Source:   torch.equal

    >>> dg.ops.all_equal(tensor([1, 2]), tensor([1, 2]))
    tensor(True)
    """
    return all(eq(a, b))


@op(
    kind=REDUCTION,
    differentiable=False,
    method=False,
    public=False,
    reference=lambda np, a, b, rtol, atol: np.array(np.allclose(a, b, rtol, atol)),
    samples=lambda m: [(m(3, 5), m(3, 5), 1e-5, 1e-8), (m.of([1, 2]), m.of([1, 2]), 0.0, 0.0)],
)
def all_close(a: Tensor, b: Tensor, rtol: Number, atol: Number, equal_nan: bool = False) -> Tensor:
    """Whether all elements are close, see `isclose`.

    Shapes:   a [*S], b [*T] that broadcast → []
    Dtypes:   any; bool
    Gradient: none
    Errors:   ShapeError
    Source:   torch.allclose

    >>> dg.ops.all_close(tensor([1.0]), tensor([1.0]), 0.0, 0.0)
    tensor(True)
    """
    return all(isclose(a, b, rtol, atol, equal_nan))


@function(
    differentiable=False,
    reference=lambda np, a, b: np.allclose(a, b),
    samples=lambda m: [(m(3, 5), m(3, 5)), (m.of([1, 2]), m.of([1, 2]))],
)
def allclose(a: Tensor, b: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether all elements are close, see `isclose`. Reads the result: a Python bool.

    Shapes:   a [*S], b [*T] that broadcast
    Dtypes:   any
    Gradient: none
    Errors:   ShapeError
    Source:   torch.allclose

    >>> allclose(tensor([1.0]), tensor([1.0 + 1e-7]))
    True
    """
    answered: bool = answer(all_close(a, b, rtol, atol, equal_nan))
    return answered


@function(
    differentiable=False,
    reference=lambda np, a, b: np.array_equal(a, b),
    samples=lambda m: [(m(3, 5), m(3, 5)), (m.of([1, 2]), m.of([1, 2])), (m(3), m(4))],
)
def equal(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors have the same size and the same elements. Reads the result: a Python bool.

    Shapes:   any
    Dtypes:   any
    Gradient: none
    Errors:   none
    Source:   torch.equal

    >>> equal(tensor([1, 2]), tensor([1, 2]))
    True
    """
    return a.shape == b.shape and answer(all_equal(a, b))
