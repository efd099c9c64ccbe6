"""Numbers drawn from further distributions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph._recorded import state
from duograph.errors import ArgumentError, CaptureError, DomainError, DTypeError, ShapeError
from duograph.ir.types import TensorType

from ..definition import RANDOM, REGISTRY, function, op
from ..dtypes import floats
from ..elementwise.choice import clamp_min, where
from ..elementwise.demands import demanded
from ..elementwise.rounding import ceil
from ..elementwise.unary import exp, log1p, tan
from ..reduction.reductions import sum
from ..shapes.creation import zeros_like
from ..tracing import broadcast_shapes, user_operator
from .generators import drawn_from
from .random import _as, _normal, _uniform, _wide, randint, randn

if TYPE_CHECKING:
    from duograph._core import DType, Tensor

    from ..definition import Number, Operand, Size


def _nothing(g: Any, out: Any, x: Any, *_: Any) -> Any:
    return zeros_like(g)


@op(kind=RANDOM, dtypes=floats.on("x"), public=False, inplace="exponential_", method=False)
def exponential_like(x: Tensor, lambd: Number = 1.0) -> Tensor:
    """What `x.exponential_(lambd)` writes: numbers drawn from an exponential distribution of rate lambd.

    Shapes:   x [*S] → [*S]
    Dtypes:   x's, a float
    Gradient: none to x
    Errors:   DomainError unless lambd is above 0; DTypeError; GradError for a leaf that requires grad
    Source:   torch.Tensor.exponential_

    >>> bool((dg.zeros(100).exponential_() >= 0).all())
    True
    """
    wide = _wide(x.dtype)
    return _as(-log1p(-_uniform(tuple(x.shape), wide)) / demanded("rate", _as(lambd, wide)), x.dtype)


@op(kind=RANDOM, public=False, inplace="geometric_", method=False)
def geometric_like(x: Tensor, p: Number) -> Tensor:
    """What `x.geometric_(p)` writes: how many trials it takes until one of probability p succeeds.

    Shapes:   x [*S] → [*S]
    Dtypes:   x's
    Gradient: none to x
    Errors:   DomainError unless p is above 0 and at most 1; GradError for a leaf that requires grad
    Source:   torch.Tensor.geometric_

    >>> dg.zeros(2).geometric_(1.0)
    tensor([1., 1.])
    """
    wide = core.float64
    trials = ceil(log1p(-_uniform(tuple(x.shape), wide)) / log1p(-demanded("chance", _as(p, wide))))
    return _as(clamp_min(trials, 1.0), x.dtype)


@op(kind=RANDOM, dtypes=floats.on("x"), public=False, inplace="cauchy_", method=False)
def cauchy_like(x: Tensor, median: Number = 0.0, sigma: Number = 1.0) -> Tensor:
    """What `x.cauchy_(median, sigma)` writes: numbers drawn from a Cauchy distribution.

    Shapes:   x [*S] → [*S]
    Dtypes:   x's, a float
    Gradient: none to x
    Errors:   DomainError for a negative sigma; DTypeError; GradError for a leaf that requires grad
    Source:   torch.Tensor.cauchy_

    >>> dg.zeros(2).cauchy_(5, 0)
    tensor([5., 5.])
    """
    wide = _wide(x.dtype)
    turn = tan((_uniform(tuple(x.shape), wide) - 0.5) * 3.141592653589793)
    return _as(turn * demanded("spread", _as(sigma, wide)) + _as(median, wide), x.dtype)


@op(kind=RANDOM, dtypes=floats.on("x"), public=False, inplace="log_normal_", method=False)
def log_normal_like(x: Tensor, mean: Number = 1.0, std: Number = 2.0) -> Tensor:
    """What `x.log_normal_(mean, std)` writes: numbers whose logarithms are drawn from a normal distribution.

    Shapes:   x [*S] → [*S]
    Dtypes:   x's, a float
    Gradient: none to x
    Errors:   DomainError for a negative std; DTypeError; GradError for a leaf that requires grad
    Source:   torch.Tensor.log_normal_

    >>> dg.zeros(2).log_normal_(0, 0)
    tensor([1., 1.])
    """
    wide = _wide(x.dtype)
    return _as(exp(_normal(tuple(x.shape), wide) * demanded("deviation", _as(std, wide)) + _as(mean, wide)), x.dtype)


for _each in (exponential_like, geometric_like, cauchy_like, log_normal_like):
    _each.vjp(_nothing)


@op(kind=RANDOM, differentiable=False, samples=lambda m: [(m.of([0, 1, 1]),), (m.of([[1], [0]]), 0.0)] if m.is_float else [])
def bernoulli(x: Tensor, p: Number | None = None) -> Tensor:
    """1 with the probability that each element of x is (or p), else 0.

    Shapes:   x [*S] → [*S]
    Dtypes:   x's
    Gradient: none
    Errors:   DTypeError unless x holds floats or p is given; DomainError for a probability outside of [0, 1]
    Source:   torch.bernoulli

    >>> bernoulli(tensor([0.0, 1.0]))
    tensor([0., 1.])
    """
    if p is None and not x.dtype.is_floating_point:
        raise DTypeError(f"bernoulli: needs probabilities, got {x.dtype.name}", hint="convert with .float()")
    wide = _wide(x.dtype)
    share = _as(demanded("probability", _as(x if p is None else p, core.float64)), wide)
    return _as(_uniform(tuple(x.shape), wide) < share, x.dtype)


@op(
    kind=RANDOM,
    differentiable=False,
    method=False,
    public=False,
    samples=lambda m: [(m(3), 0.0, m.dtype_of("float32")), (m(2, 1), m.of([0, 0]), m.dtype_of("float64"))] if m.is_float else [],
)
def normal_around(mean: Operand, std: Operand, dtype: DType) -> Tensor:
    """What `normal` gives where mean or std is a tensor.

    Shapes:   mean [*S], std [*T] → broadcast(S, T)
    Dtypes:   what dtype and the operands promote to
    Gradient: none
    Errors:   ShapeError if S and T do not broadcast; DomainError for a negative std
    Source:   torch.normal

    >>> dg.ops.normal_around(tensor([1.0, 2.0]), 0.0, dg.float32)
    tensor([1., 2.])
    """
    given = [(name, tuple(x.shape)) for name, x in (("mean", mean), ("std", std)) if isinstance(x, core.Tensor)]
    shape = broadcast_shapes(user_operator("normal"), given)
    spread: Tensor = _as(_normal(shape, _wide(dtype)), dtype) * demanded("deviation", std)
    return spread + mean


@function(method=False, differentiable=False, samples=lambda m: [(m(3), 0.0), (m.of([1, 2]), m.of([0, 0]))] if m.is_float else [])
def normal(
    mean: Tensor | float, std: Tensor | float = 1.0, size: Any = None, dtype: DType | None = None, generator: Any = None
) -> Tensor:
    """Numbers drawn from normal distributions of these means and standard deviations, of which one may be a tensor.

    Shapes:   mean [*S], std [*T] → [*broadcast(S, T)], or [*size] for two numbers
    Dtypes:   the tensors', or dtype, or the default float
    Gradient: none
    Errors:   ArgumentError without a size for two numbers; DomainError for an std below 0
    Source:   torch.normal

    >>> normal(tensor([1.0, 2.0]), 0.0)
    tensor([1., 2.])
    """
    if isinstance(std, (int, float)) and std < 0:
        raise DomainError(f"normal: std must not be negative, got {std}")
    mean, std = (x.detach() if isinstance(x, core.Tensor) else x for x in (mean, std))
    given = [x for x in (mean, std) if isinstance(x, core.Tensor)]
    if not given and size is None:
        raise ArgumentError("normal: a size is needed where mean and std are numbers", hint="normal(0, 1, size=(2, 3))")
    if size is None:
        return drawn_from(generator, normal_around, mean, std, dtype or given[0].dtype)  # type: ignore[no-any-return]
    drawn: Tensor = drawn_from(generator, randn, (size,) if isinstance(size, int) else tuple(size), dtype)
    return drawn * std + mean


def _checked_weights(x: Any) -> Any:
    """Weights to draw by, as float64; refused where they are negative, not finite, or 0 in sum along the last dimension."""
    weights = demanded("weight", _as(x, core.float64))
    total = demanded("weight_sum", sum(weights, -1, True))
    return where(total > 0, weights, 0.0)


@op(
    kind=RANDOM,
    differentiable=False,
    method=False,
    public=False,
    samples=lambda m: [(m.of([0, 1, 0]), 2), (m.of([[1, 0], [0, 1]]), 4)] if m.is_float else [],
)
def drawn_again(x: Tensor, count: Size) -> Tensor:
    """What `multinomial` gives with `replacement`: indices drawn by weights, the same one any number of times.

    Shapes:   x [*S, n] → [*S, count]
    Dtypes:   x a float; int64
    Gradient: none
    Errors:   DomainError for weights that are negative, not finite or all 0
    Source:   torch.multinomial

    >>> dg.ops.drawn_again(tensor([0.0, 1.0]), 3)
    tensor([1, 1, 1])
    """
    from ..reduction.scans import cumsum
    from ..selection.searching import search
    from ..shapes.movement import unsqueeze
    from ..shapes.slicing import select

    totals = cumsum(_checked_weights(x), -1)
    drawn = _uniform((*x.shape[:-1], count), core.float64) * unsqueeze(select(totals, -1, -1), -1)
    return search(totals, drawn, True)


@op(
    kind=RANDOM,
    differentiable=False,
    method=False,
    public=False,
    samples=lambda m: [(m.of([0, 1, 0]), 1), (m.of([[1, 0], [0, 1]]), 1)] if m.is_float else [],
)
def drawn_once(x: Tensor, count: Size) -> Tensor:
    """What `multinomial` gives without `replacement`: indices drawn by weights, each at most once.

    Shapes:   x [*S, n] → [*S, count]
    Dtypes:   x a float; int64
    Gradient: none
    Errors:   DomainError for weights that are negative, not finite or all 0, and for more samples than weights
    Source:   Efraimidis and Spirakis 2006; torch.multinomial

    >>> dg.ops.drawn_once(tensor([0.0, 1.0]), 1)
    tensor([1])
    """
    from ..selection.sorting import topk_along

    # The first arrivals of independent exponential clocks.
    clocks = -log1p(-_uniform(tuple(x.shape), core.float64))
    return topk_along(_checked_weights(x) / clocks, count, -1, True)[1]


@function(
    differentiable=False,
    samples=lambda m: [(m.of([0, 1, 0]), 1), (m.of([[1, 0], [0, 1]]), 4, True)] if m.is_float else [],
)
def multinomial(x: Tensor, num_samples: int, replacement: bool = False, generator: Any = None) -> Tensor:
    """Indices drawn with probabilities in proportion to the weights in x, each at most once unless `replacement`.

    Shapes:   x [n] or [m, n] → [num_samples] or [m, num_samples]
    Dtypes:   x a float; int64
    Gradient: none
    Errors:   ShapeError for other ranks; DomainError for more samples than weights, and for weights that are negative,
              not finite or all 0; DTypeError
    Source:   torch.multinomial

    >>> multinomial(tensor([0.0, 1.0, 0.0]), 1)
    tensor([1])
    """
    if not x.dtype.is_floating_point:
        raise DTypeError(f"multinomial: weights must be floats, got {x.dtype.name}")
    if x.dim() not in (1, 2):
        raise ShapeError(f"multinomial: takes one or two dimensions, got {x.dim()}")
    if num_samples < 1:
        raise DomainError(f"multinomial: at least one sample is needed, got {num_samples}")
    if not replacement and num_samples > x.shape[-1]:
        raise DomainError(f"multinomial: {num_samples} samples of {x.shape[-1]} weights need replacement=True")
    if x.shape[-1] == 0:
        raise DomainError("multinomial: there are no weights to draw by")
    return drawn_from(generator, drawn_again if replacement else drawn_once, x, num_samples)  # type: ignore[no-any-return]


@function(method=False, differentiable=False, samples=lambda m: [(m(3), 1), (m(2, 2), 4, 5)] if m.kind != "b" else [])
def randint_like(x: Tensor, low: int, high: int | None = None, dtype: DType | None = None, generator: Any = None) -> Tensor:
    """Whole numbers drawn from low (0 if only one number is given) up to high, which is not drawn, in x's shape.

    Shapes:   x [*S] → [*S]
    Dtypes:   dtype, or x's
    Gradient: none
    Errors:   DomainError for an empty range
    Source:   torch.randint_like

    >>> randint_like(tensor([1, 2]), 1)
    tensor([0, 0])
    """
    first, last = (0, low) if high is None else (low, high)
    if first >= last:
        raise DomainError(f"randint_like: low must be below high, got {first} and {last}")
    return drawn_from(generator, randint, first, last, tuple(x.shape), dtype or x.dtype)  # type: ignore[no-any-return]


@op(kind=RANDOM, public=False, inplace="random_between_", method=False)
def random_between(x: Tensor, low: Number, high: Number) -> Tensor:
    """What `x.random_(low, high)` writes: whole numbers drawn uniformly from low up to high, which is not drawn.

    Shapes:   x [*S] → [*S]
    Dtypes:   x's
    Gradient: none to x
    Errors:   GradError for a leaf that requires grad
    Source:   torch.Tensor.random_

    >>> dg.ops.random_between_(dg.zeros(2), 3, 4)
    tensor([3., 3.])
    """
    shape = tuple(x.shape)
    first = _as(low, core.int64)
    upper, lower = (_as(_uniform(shape, core.float64) * 4294967296.0, core.int64) for _ in range(2))
    span = _as(high, core.int64) - first
    small = _as(_uniform(shape, core.float64) * _as(span, core.float64), core.int64)
    wide = (upper * 2147483648 + (lower >> 1)) % clamp_min(span, 1)
    return _as(where((span > 0) & (span < 4503599627370496), small, wide) + first, x.dtype)


random_between.vjp(_nothing)

# Every whole number up to these is one of the dtype's.
_MANTISSA = {core.float16: 2**11, core.bfloat16: 2**8, core.float32: 2**24, core.float64: 2**53}


@function(method="random_", public=False)
def random_(x: Tensor, low: int | None = None, high: int | None = None, generator: Any = None) -> Tensor:
    """Fills x with whole numbers drawn uniformly: from low to high - 1, below low, or all that the dtype holds exactly.

    Shapes:   x [*S] → [*S]
    Dtypes:   any
    Gradient: none to x
    Errors:   DomainError for an empty range; GradError for a leaf that requires grad
    Source:   torch.Tensor.random_

    >>> dg.zeros(2).random_(1)
    tensor([0., 0.])
    """
    if low is None:
        kind, bits = x.dtype.kind, 8 * x.dtype.itemsize
        high = _MANTISSA[x.dtype] + 1 if kind == "f" else 2 if kind == "b" else 2 ** min(bits - (kind == "i"), 63)
        low, high = 0, min(high, 2**63 - 1)
    elif high is None:
        low, high = 0, low
    if low >= high:
        raise DomainError(f"random_: low must be below high, got {low} and {high}")
    made: Tensor = drawn_from(generator, REGISTRY["random_between_"].op, x, low, high)
    return made


def _drawn_by_numpy(
    name: str, shape: Any, dtype: DType, given: Sequence[Tensor], draw: Callable[..., Any], generator: Any
) -> Tensor:
    """Numbers of NumPy's generator on this stream: drawn in Python, as their count of trials is not known before."""

    def run(*tensors: Tensor) -> tuple[Tensor]:
        import numpy

        arrays = [x.detach().to(core.float64).numpy() for x in tensors]
        sizes = numpy.broadcast_shapes(*(array.shape for array in arrays))
        key, counter = core.rng_reserve(16 * math.prod(sizes) + 64)  # rejections take several numbers each
        generator = numpy.random.Generator(numpy.random.Philox(key=key, counter=counter))
        return (core.from_numpy(numpy.asarray(draw(generator, *arrays), "float64")).to(dtype),)

    if not core.tracing():
        made: Tensor = drawn_from(generator, run, *given)[0]
        return made
    if generator is not None:
        raise CaptureError(f"{name}: draws from the default generator only in a static function", hint="leave generator out")
    recorder = state.recorder
    if recorder is None:
        raise CaptureError(
            f"{name}: the numbers would be drawn once, for all examples", hint=f"call {name} outside of the function"
        )
    drawn: Tensor = recorder.hosts.call(run, list(given), [TensorType(dtype, tuple(shape))])[0]
    return drawn


@function(differentiable=False, method=False, samples=lambda m: [(m.of([0, 0]),)] if m.is_float else [])
def poisson(x: Tensor, generator: Any = None) -> Tensor:
    """Numbers drawn from Poisson distributions of these rates. They are drawn in Python, by a static program too.

    Shapes:   x [*S] → [*S]
    Dtypes:   x's, a float
    Gradient: none
    Errors:   DomainError for a negative rate; DTypeError; CaptureError under vmap
    Source:   torch.poisson

    >>> poisson(dg.zeros(2))
    tensor([0., 0.])
    """
    if not x.dtype.is_floating_point:
        raise DTypeError(f"poisson: rates must be floats, got {x.dtype.name}", hint="convert with .float()")

    def draw(generator: Any, rates: Any) -> Any:
        if not (rates >= 0).all():
            raise DomainError("poisson: a rate is negative or NaN")
        return generator.poisson(rates)

    return _drawn_by_numpy("poisson", x.shape, x.dtype, [x], draw, generator)


@function(differentiable=False, method=False, samples=lambda m: [(m.of([3, 4]), m.of([0, 1]))] if m.is_float else [])
def binomial(count: Tensor, prob: Tensor, generator: Any = None) -> Tensor:
    """How many of `count` trials succeed that each do so with probability `prob`.

    The numbers are drawn in Python, by a static program too.

    Shapes:   count [*S], prob [*T] → broadcast(S, T)
    Dtypes:   count's, a float
    Gradient: none
    Errors:   DomainError for a negative count or a probability that is none; DTypeError; ShapeError;
              CaptureError under vmap
    Source:   torch.binomial

    >>> binomial(tensor([3.0, 4.0]), tensor([0.0, 1.0]))
    tensor([0., 4.])
    """
    if not count.dtype.is_floating_point or not prob.dtype.is_floating_point:
        raise DTypeError(f"binomial: takes floats, got {count.dtype.name} and {prob.dtype.name}", hint="convert with .float()")
    shape = broadcast_shapes("binomial", [("count", tuple(count.shape)), ("prob", tuple(prob.shape))])

    def draw(generator: Any, counts: Any, probs: Any) -> Any:
        if not ((counts >= 0).all() and ((probs >= 0) & (probs <= 1)).all()):
            raise DomainError("binomial: a count is negative, or a probability is not between 0 and 1")
        return generator.binomial(counts.astype("int64"), probs)

    return _drawn_by_numpy("binomial", shape, count.dtype, [count, prob], draw, generator)
