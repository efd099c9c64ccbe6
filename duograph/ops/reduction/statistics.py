"""Mean, variance and their kin over dimensions, and what skips NaN."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph.errors import DTypeError

from ..definition import REDUCTION, function, op
from ..dtypes import accumulate, compute_dtype, float_promote, floats
from ..elementwise.arithmetic import abs, sub
from ..elementwise.choice import maximum, where
from ..elementwise.unary import exp, log, sqrt
from ..shapes.copying import cast
from ..shapes.creation import zeros_like
from ..shapes.movement import axes, reshape
from ..tracing import user_operator
from .extrema import peak
from .reductions import count, nonempty, np_dims, restore, sum

if TYPE_CHECKING:
    from duograph._core import DType, Tensor

    from ..definition import Number
    from .reductions import Dims


def _require_float(name: str, dtype: DType) -> None:
    if not dtype.is_floating_point:
        raise DTypeError(
            f"{user_operator(name)}: needs a floating-point dtype, got {dtype.name}", hint="convert with .float(), or pass dtype="
        )


@op(
    kind=REDUCTION,
    dtypes=None,
    samples=nonempty,
    reference=lambda np, x, dim=None, keepdim=False: np.mean(x, np_dims(dim), keepdims=keepdim),
)
def mean(x: Tensor, dim: Dims = None, keepdim: bool = False, dtype: DType | None = None) -> Tensor:
    """The mean over dimensions; NaN over none.

    Shapes:   x [*S] → [*S without the reduced dims], or with size 1 there if keepdim
    Dtypes:   floats kept, others are rejected; `dtype` converts before
    Gradient: 1 / n to each element
    Errors:   DTypeError unless floating point; DimensionError
    Source:   torch.mean

    >>> tensor([[1.0, 2.0], [3.0, 4.0]]).mean(1)
    tensor([1.5000, 3.5000])
    """
    result = dtype or x.dtype
    _require_float("mean", result)
    return cast(sum(cast(x, compute_dtype(result)), dim, keepdim) / count(x, dim), result)


@mean.vjp
def _(g: Any, out: Any, x: Any, dim: Any, keepdim: bool, dtype: Any) -> Any:
    return restore(cast(g, compute_dtype(g.dtype)) / count(x, dim), x, dim, keepdim)


def _np_spread(which: str) -> Any:
    def reference(np: Any, x: Any, dim: Any = None, correction: float = 1, keepdim: bool = False) -> Any:
        return getattr(np, which)(x, np_dims(dim), ddof=correction, keepdims=keepdim)

    return reference


def _spread_samples(m: Any) -> Any:
    return [(m(3, 5),), (m(3, 5), 1), (m(3, 5), 0, 0, True), (m(2, 3, 4), (0, -1), 2), (m(3, 5), 1, False), (m(70),)]


@op(kind=REDUCTION, dtypes=floats, reference=_np_spread("var"), samples=_spread_samples)
def var(x: Tensor, dim: Dims = None, correction: Number = 1, keepdim: bool = False) -> Tensor:
    """The variance over dimensions, the sum of squared deviations divided by n - correction.

    The correction may be a bool, what PyTorch calls `unbiased`.

    Shapes:   x [*S] → [*S without the reduced dims], or with size 1 there if keepdim
    Dtypes:   floats, others are rejected
    Gradient: 2 * (x - mean) / (n - correction)
    Errors:   DTypeError; DimensionError
    Source:   torch.var

    >>> var(tensor([1.0, 2.0, 3.0]))
    tensor(1.)
    """
    centred = x - mean(x, dim, True)
    return sum(centred * centred, dim, keepdim) / _freedom(x, dim, correction)  # type: ignore[no-any-return]


@var.vjp
def _(g: Any, out: Any, x: Any, dim: Any, correction: Any, keepdim: bool) -> Any:
    return restore(g, x, dim, keepdim) * (x - mean(x, dim, True)) * 2.0 / _freedom(x, dim, correction)


def _freedom(x: Any, dim: Any, correction: Any) -> Any:
    """n - correction, not below 0."""
    return maximum(sub(count(x, dim), correction), 0.0)


@op(kind=REDUCTION, dtypes=floats, reference=_np_spread("std"), samples=_spread_samples)
def std(x: Tensor, dim: Dims = None, correction: Number = 1, keepdim: bool = False) -> Tensor:
    """The standard deviation over dimensions: the square root of `var`.

    Shapes:   x [*S] → [*S without the reduced dims], or with size 1 there if keepdim
    Dtypes:   floats, others are rejected
    Gradient: (x - mean) / ((n - correction) * out), 0 where out is 0
    Errors:   DTypeError; DimensionError
    Source:   torch.std

    >>> std(tensor([1.0, 2.0, 3.0]))
    tensor(1.)
    """
    return sqrt(var(x, dim, correction, keepdim))


@std.vjp
def _(g: Any, out: Any, x: Any, dim: Any, correction: Any, keepdim: bool) -> Any:
    slope = restore(where(out == 0, 0.0, g / out), x, dim, keepdim)
    return slope * (x - mean(x, dim, True)) / _freedom(x, dim, correction)


def _spread(name: str, operator: Any) -> Any:
    def call(x: Tensor, dim: Dims = None, correction: Any = None, keepdim: bool = False, unbiased: bool | None = None) -> Tensor:
        if isinstance(dim, bool):
            dim, unbiased = None, dim
        if correction is None:
            correction = 1 if unbiased is None else int(unbiased)
        result: Tensor = operator(x, dim, int(correction) if isinstance(correction, bool) else correction, keepdim)
        return result

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"`{name}`, also with PyTorch's `unbiased`: a correction of 1 or 0."
    return function(over=name)(call)


var_any = _spread("var", var)
std_any = _spread("std", std)


@op(
    kind=REDUCTION,
    dtypes=float_promote,
    samples=lambda m: [(m(3, 5), 1), (m(3, 5), 0, True), (m(2, 3, 4), (0, -1)), (m(70), 0)],
    reference=lambda np, x, dim, keepdim=False: np.log(np.sum(np.exp(x), np_dims(dim), keepdims=keepdim)),
)
def logsumexp(x: Tensor, dim: Dims, keepdim: bool = False) -> Tensor:
    """log(sum(exp(x))) over dimensions, without overflow.

    Shapes:   x [*S] → [*S without the reduced dims], or with size 1 there if keepdim
    Dtypes:   floats kept; integers become the default float
    Gradient: exp(x - out)
    Errors:   DimensionError
    Source:   torch.logsumexp

    >>> logsumexp(tensor([1000.0, 1000.0]), 0)
    tensor(1000.6932)
    """
    top = peak(x, dim, True)
    top = where(abs(top) < float("inf"), top, 0.0)
    result = log(sum(exp(x - top), dim, True)) + top
    if keepdim:
        return result
    dims = axes("logsumexp", dim, len(x.shape))
    return reshape(result, tuple(s for d, s in enumerate(x.shape) if d not in dims))


@logsumexp.vjp
def _(g: Any, out: Any, x: Any, dim: Any, keepdim: bool) -> Any:
    return restore(g, x, dim, keepdim) * exp(x - restore(out, x, dim, keepdim))


def _nan_samples(m: Any) -> Any:
    calls = [(m(3, 5),), (m(3, 5), 1), (m(3, 5), 0, True), (m(2, 3, 4), (0, -1)), (m(70),), (m(),)]
    if m.is_float:
        nan = float("nan")
        calls.append((m.of([[1, nan, 2], [nan, nan, nan]]), 1))
    return calls


@op(
    kind=REDUCTION,
    dtypes=accumulate,
    samples=_nan_samples,
    reference=lambda np, x, dim=None, keepdim=False: np.nansum(x, np_dims(dim), keepdims=keepdim),
)
def nansum(x: Tensor, dim: Dims = None, keepdim: bool = False, dtype: DType | None = None) -> Tensor:
    """The sum over dimensions of what is no NaN.

    Shapes:   x [*S] → [*S without the reduced dims], or with size 1 there if keepdim
    Dtypes:   floats kept, integers and bool become int64; `dtype` converts before summing
    Gradient: 1 to each element that is no NaN
    Errors:   DimensionError
    Source:   torch.nansum

    >>> nansum(tensor([1.0, float("nan"), 2.0]))
    tensor(3.)
    """
    return sum(where(x == x, x, zeros_like(x)), dim, keepdim, dtype)


@nansum.vjp
def _(g: Any, out: Any, x: Any, dim: Any, keepdim: bool, dtype: Any) -> Any:
    return where(x == x, restore(g, x, dim, keepdim), 0.0)


@op(
    kind=REDUCTION,
    dtypes=floats,
    samples=lambda m: _nan_samples(m)[:6] + ([(m.of([[1, float("nan"), 2], [0, 1, 5]]), 1)] if m.is_float else []),
    reference=lambda np, x, dim=None, keepdim=False: np.nanmean(x, np_dims(dim), keepdims=keepdim),
)
def nanmean(x: Tensor, dim: Dims = None, keepdim: bool = False, dtype: DType | None = None) -> Tensor:
    """The mean over dimensions of what is no NaN; NaN where there is nothing else.

    Shapes:   x [*S] → [*S without the reduced dims], or with size 1 there if keepdim
    Dtypes:   floats kept, others are rejected; `dtype` converts before
    Gradient: equal parts to each element that is no NaN
    Errors:   DTypeError; DimensionError
    Source:   torch.nanmean

    >>> nanmean(tensor([1.0, float("nan"), 2.0]))
    tensor(1.5000)
    """
    total = nansum(x, dim, keepdim, dtype)
    return total / cast(sum(x == x, dim, keepdim), total.dtype)


def _np_with_mean(which: str) -> Any:
    def reference(np: Any, x: Any, dim: Any = None) -> Any:
        return getattr(np, which)(x, np_dims(dim), ddof=1), np.mean(x, np_dims(dim))

    return reference


_both_samples = lambda m: [(m(3, 5),), (m(3, 5), 1), (m(2, 3, 4), (0, -1)), (m(70),)]  # noqa: E731


@function(method=False, samples=_both_samples, reference=_np_with_mean("std"))
def std_mean(
    x: Tensor, dim: Dims = None, correction: Any = None, keepdim: bool = False, unbiased: bool | None = None
) -> tuple[Tensor, Tensor]:
    """The standard deviation and the mean over dimensions; arguments as of `std`.

    Shapes:   x [*S] → twice [*S without the reduced dims], or with size 1 there if keepdim
    Dtypes:   floats, others are rejected
    Gradient: as of both
    Errors:   DTypeError; DimensionError
    Source:   torch.std_mean

    >>> std_mean(tensor([1.0, 2.0, 3.0]))
    (tensor(1.), tensor(2.))
    """
    dims = None if isinstance(dim, bool) else dim
    return std_any(x, dim, correction, keepdim, unbiased), mean(x, dims, keepdim)


@function(method=False, samples=_both_samples, reference=_np_with_mean("var"))
def var_mean(
    x: Tensor, dim: Dims = None, correction: Any = None, keepdim: bool = False, unbiased: bool | None = None
) -> tuple[Tensor, Tensor]:
    """The variance and the mean over dimensions; arguments as of `var`.

    Shapes:   x [*S] → twice [*S without the reduced dims], or with size 1 there if keepdim
    Dtypes:   floats, others are rejected
    Gradient: as of both
    Errors:   DTypeError; DimensionError
    Source:   torch.var_mean

    >>> var_mean(tensor([1.0, 2.0, 3.0]))
    (tensor(1.), tensor(2.))
    """
    dims = None if isinstance(dim, bool) else dim
    return var_any(x, dim, correction, keepdim, unbiased), mean(x, dims, keepdim)
