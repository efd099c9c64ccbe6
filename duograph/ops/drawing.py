"""Numbers drawn from further distributions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import ArgumentError, DTypeError, ShapeError, ValueError_

from .creation import zeros_like
from .definition import RANDOM, function, op
from .random import _as, _normal, _uniform, _wide, rand, randint, randn
from .unary import ceil, exp, log1p, tan

if TYPE_CHECKING:
    from duograph._core import DType, Tensor

    from .definition import Number


def _nothing(g: Any, out: Any, x: Any, *_: Any) -> Any:
    return zeros_like(g)


@op(kind=RANDOM, public=False, inplace="exponential_", method=False)
def exponential_like(x: Tensor, lambd: Number = 1.0) -> Tensor:
    """What `x.exponential_(lambd)` writes: numbers drawn from an exponential distribution of rate lambd.

    Shapes:   x [*S] → [*S]
    Dtypes:   x's, a float
    Gradient: none to x
    Errors:   GradError for a leaf that requires grad
    Source:   torch.Tensor.exponential_

    >>> bool((dg.zeros(100).exponential_() >= 0).all())
    True
    """
    wide = _wide(x.dtype)
    return _as(-log1p(-_uniform(tuple(x.shape), wide)) / _as(lambd, wide), x.dtype)


@op(kind=RANDOM, public=False, inplace="geometric_", method=False)
def geometric_like(x: Tensor, p: Number) -> Tensor:
    """What `x.geometric_(p)` writes: how many trials it takes until one of probability p succeeds.

    Shapes:   x [*S] → [*S]
    Dtypes:   x's
    Gradient: none to x
    Errors:   GradError for a leaf that requires grad
    Source:   torch.Tensor.geometric_

    >>> dg.zeros(2).geometric_(1.0)
    tensor([1., 1.])
    """
    from .choice import clamp_min

    wide = core.float64
    trials = ceil(log1p(-_uniform(tuple(x.shape), wide)) / log1p(-_as(p, wide)))
    return _as(clamp_min(trials, 1.0), x.dtype)


@op(kind=RANDOM, public=False, inplace="cauchy_", method=False)
def cauchy_like(x: Tensor, median: Number = 0.0, sigma: Number = 1.0) -> Tensor:
    """What `x.cauchy_(median, sigma)` writes: numbers drawn from a Cauchy distribution.

    Shapes:   x [*S] → [*S]
    Dtypes:   x's, a float
    Gradient: none to x
    Errors:   GradError for a leaf that requires grad
    Source:   torch.Tensor.cauchy_

    >>> dg.zeros(2).cauchy_(5, 0)
    tensor([5., 5.])
    """
    wide = _wide(x.dtype)
    turn = tan((_uniform(tuple(x.shape), wide) - 0.5) * 3.141592653589793)
    return _as(turn * _as(sigma, wide) + _as(median, wide), x.dtype)


@op(kind=RANDOM, public=False, inplace="log_normal_", method=False)
def log_normal_like(x: Tensor, mean: Number = 1.0, std: Number = 2.0) -> Tensor:
    """What `x.log_normal_(mean, std)` writes: numbers whose logarithms are drawn from a normal distribution.

    Shapes:   x [*S] → [*S]
    Dtypes:   x's, a float
    Gradient: none to x
    Errors:   GradError for a leaf that requires grad
    Source:   torch.Tensor.log_normal_

    >>> dg.zeros(2).log_normal_(0, 0)
    tensor([1., 1.])
    """
    wide = _wide(x.dtype)
    return _as(exp(_normal(tuple(x.shape), wide) * _as(std, wide) + _as(mean, wide)), x.dtype)


for _each in (exponential_like, geometric_like, cauchy_like, log_normal_like):
    _each.vjp(_nothing)


@function(differentiable=False, samples=lambda m: [(m.of([0, 1, 1]),), (m.of([[1], [0]]), 0.0)])
def bernoulli(x: Tensor, p: float | None = None) -> Tensor:
    """1 with the probability that each element of x is (or p), else 0.

    Shapes:   x [*S] → [*S]
    Dtypes:   x's
    Gradient: none
    Errors:   DTypeError unless x holds floats or p is given
    Source:   torch.bernoulli

    >>> bernoulli(tensor([0.0, 1.0]))
    tensor([0., 1.])
    """
    if p is None and not x.dtype.is_floating_point:
        raise DTypeError(f"bernoulli: needs probabilities, got {x.dtype.name}", hint="convert with .float()")
    drawn = rand(tuple(x.shape), core.float64 if x.dtype is core.float64 else core.float32)
    made: Tensor = (drawn < (x.detach() if p is None else p)).to(x.dtype)
    return made


@function(method=False, differentiable=False, samples=lambda m: [(m(3), 0.0), (m.of([1, 2]), m.of([0, 0]))] if m.is_float else [])
def normal(mean: Tensor | float, std: Tensor | float = 1.0, size: Any = None, dtype: DType | None = None) -> Tensor:
    """Numbers drawn from normal distributions of these means and standard deviations, of which one may be a tensor.

    Shapes:   mean [*S], std [*T] → [*broadcast(S, T)], or [*size] for two numbers
    Dtypes:   the tensors', or dtype, or the default float
    Gradient: none
    Errors:   ArgumentError without a size for two numbers
    Source:   torch.normal

    >>> normal(tensor([1.0, 2.0]), 0.0)
    tensor([1., 2.])
    """
    mean, std = (x.detach() if isinstance(x, core.Tensor) else x for x in (mean, std))
    given = [x for x in (mean, std) if isinstance(x, core.Tensor)]
    if not given and size is None:
        raise ArgumentError("normal: a size is needed where mean and std are numbers", hint="normal(0, 1, size=(2, 3))")
    if size is not None:
        return randn((size,) if isinstance(size, int) else tuple(size), dtype) * std + mean
    from .tracing import broadcast_shapes

    shape = broadcast_shapes("normal", [("mean" if x is mean else "std", tuple(x.shape)) for x in given])
    made: Tensor = randn(shape, dtype or given[0].dtype) * std + mean
    return made


@function(
    differentiable=False,
    samples=lambda m: [(m.of([0, 1, 0]), 1), (m.of([[1, 0], [0, 1]]), 4, True)] if m.is_float else [],
)
def multinomial(x: Tensor, num_samples: int, replacement: bool = False) -> Tensor:
    """Indices drawn with probabilities in proportion to the weights in x, each at most once unless `replacement`.

    Shapes:   x [n] or [m, n] → [num_samples] or [m, num_samples]
    Dtypes:   x a float; int64
    Gradient: none
    Errors:   ShapeError for other ranks; ValueError_ for more samples than weights; DTypeError
    Source:   torch.multinomial

    >>> multinomial(tensor([0.0, 1.0, 0.0]), 1)
    tensor([1])
    """
    from .scans import cumsum
    from .sorting import search, topk_along

    if not x.dtype.is_floating_point:
        raise DTypeError(f"multinomial: weights must be floats, got {x.dtype.name}")
    if x.dim() not in (1, 2):
        raise ShapeError(f"multinomial: takes one or two dimensions, got {x.dim()}")
    if num_samples < 1:
        raise ValueError_(f"multinomial: at least one sample is needed, got {num_samples}")
    weights = x.detach().to(core.float64)
    if not replacement:
        if num_samples > x.shape[-1]:
            raise ValueError_(f"multinomial: {num_samples} samples of {x.shape[-1]} weights need replacement=True")
        # The first arrivals of independent exponential clocks (Efraimidis and Spirakis, 2006).
        clocks = -log1p(-rand(tuple(x.shape), core.float64))
        return topk_along(weights / clocks, num_samples, -1, True)[1]
    totals = cumsum(weights, -1)
    drawn = rand((*x.shape[:-1], num_samples), core.float64) * totals[..., -1:]
    return search(totals, drawn, True)


@function(method=False, differentiable=False, samples=lambda m: [(m(3), 1), (m(2, 2), 4, 5)] if m.kind != "b" else [])
def randint_like(x: Tensor, low: int, high: int | None = None, dtype: DType | None = None) -> Tensor:
    """Whole numbers drawn from low (0 if only one number is given) up to high, which is not drawn, in x's shape.

    Shapes:   x [*S] → [*S]
    Dtypes:   dtype, or x's
    Gradient: none
    Errors:   ValueError_ for an empty range
    Source:   torch.randint_like

    >>> randint_like(tensor([1, 2]), 1)
    tensor([0, 0])
    """
    first, last = (0, low) if high is None else (low, high)
    return randint(first, last, tuple(x.shape), dtype or x.dtype)
