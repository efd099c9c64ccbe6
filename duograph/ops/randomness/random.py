"""Random numbers. The stream is Philox, its counter moves on by the number of elements drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import DomainError, DTypeError, ShapeError
from duograph.ir.dim import product

from ..definition import RANDOM, function, op
from ..dtypes import floats
from ..elementwise.choice import where
from ..elementwise.demands import demanded
from ..elementwise.rounding import floor
from ..elementwise.unary import cos, log1p, sqrt
from ..shapes.creation import zeros_like
from ..shapes.movement import broadcast_to
from ..tracing import broadcast_shapes, cast_value, emit, is_weak, value_of, wrap
from .generators import drawn_from, random_key

if TYPE_CHECKING:
    from duograph._core import DType, Tensor

    from ..definition import Number, Operand, Sizes


def _uniform(shape: tuple[Any, ...], dtype: DType) -> Tensor:
    """Numbers in [0, 1)."""
    for size in shape:
        if isinstance(size, int) and size < 0:
            raise ShapeError(f"rand: a size must not be negative, got {size} in {shape}")
    return emit("random_uniform", [random_key(product(shape))], dtype, shape)


def _wide(dtype: DType) -> DType:
    found: DType = core.float64 if dtype is core.float64 else core.float32
    return found


def _as(x: Any, dtype: DType) -> Tensor:
    return wrap(cast_value(value_of(x), dtype))


def _normal(shape: tuple[Any, ...], dtype: DType) -> Tensor:
    """Numbers from the standard normal distribution, by Box and Muller's method."""
    pair = _uniform((2, *shape), dtype)
    rank = len(shape) + 1

    def half(i: int) -> Tensor:
        part = emit("slice", [pair], dtype, (1, *shape), starts=(i, *(0,) * (rank - 1)), steps=(1,) * rank)
        return emit("reshape", [part], dtype, shape)

    return sqrt(log1p(-half(0)) * -2.0) * cos(half(1) * 6.283185307179586)


@op(kind=RANDOM, differentiable=False, method=False)
def rand(size: Sizes, dtype: DType | None = None) -> Tensor:
    """Numbers drawn uniformly from [0, 1).

    Shapes:   [*size]
    Dtypes:   dtype, or the default float
    Gradient: none
    Errors:   ShapeError for a negative size
    Source:   torch.rand

    >>> bool((dg.ops.rand((100,)) < 1).all())
    True
    """
    dtype = dtype or core.get_default_dtype()
    return _as(_uniform(tuple(size), _wide(dtype)), dtype)


@op(kind=RANDOM, differentiable=False, method=False)
def randn(size: Sizes, dtype: DType | None = None) -> Tensor:
    """Numbers drawn from the normal distribution with mean 0 and variance 1.

    Shapes:   [*size]
    Dtypes:   dtype, or the default float
    Gradient: none
    Errors:   ShapeError for a negative size
    Source:   torch.randn

    >>> dg.ops.randn((2, 3)).shape
    duograph.Size([2, 3])
    """
    dtype = dtype or core.get_default_dtype()
    return _as(_normal(tuple(size), _wide(dtype)), dtype)


@op(kind=RANDOM, differentiable=False, method=False)
def randint(low: Number, high: Number, size: Sizes, dtype: DType | None = None) -> Tensor:
    """Integers drawn uniformly from low … high - 1.

    Shapes:   [*size]
    Dtypes:   dtype, or int64
    Gradient: none
    Errors:   ShapeError for a negative size
    Source:   torch.randint

    >>> bool((dg.ops.randint(0, 3, (100,)) < 3).all())
    True
    """
    first = _as(low, core.int64)
    drawn = _as(floor(_uniform(tuple(size), core.float64) * (_as(high, core.int64) - first)), core.int64)
    return _as(drawn + first, dtype or core.int64)


@function(method=False, differentiable=False)
def randperm(n: int, dtype: DType | None = None, generator: Any = None) -> Tensor:
    """The numbers 0 … n - 1 in random order.

    Shapes:   [n]
    Dtypes:   dtype, or int64
    Gradient: none
    Errors:   DomainError for a negative n
    Source:   torch.randperm

    >>> sorted(dg.ops.randperm(4).tolist())
    [0, 1, 2, 3]
    """
    if n < 0:
        raise DomainError(f"randperm: n must not be negative, got {n}")
    found: Tensor = drawn_from(generator, core.random_order, n)
    return found if dtype in (None, core.int64) else found.to(dtype)


@op(kind=RANDOM, dtypes=floats.on("x"), public=False, inplace="uniform_", method=False)
def uniform(x: Tensor, low: Number = 0.0, high: Number = 1.0) -> Tensor:
    """What `x.uniform_(low, high)` writes: numbers drawn uniformly from [low, high).

    Shapes:   x [*S] → [*S]
    Dtypes:   x's, a float
    Gradient: none to x
    Errors:   DomainError for a high below low; DTypeError; GradError for a leaf that requires grad
    Source:   torch.Tensor.uniform_

    >>> bool((dg.zeros(100).uniform_(2, 3) >= 2).all())
    True
    """
    wide = _wide(x.dtype)
    start = _as(low, wide)
    return _as(_uniform(tuple(x.shape), wide) * demanded("span", _as(high, wide) - start) + start, x.dtype)


@uniform.vjp
def _(g: Any, out: Any, x: Any, low: Any, high: Any) -> Any:
    return zeros_like(g)


@op(kind=RANDOM, dtypes=floats.on("x"), public=False, inplace="normal_", method=False)
def normal_like(x: Tensor, mean: Number = 0.0, std: Number = 1.0) -> Tensor:
    """What `x.normal_(mean, std)` writes: numbers drawn from a normal distribution.

    Shapes:   x [*S] → [*S]
    Dtypes:   x's, a float
    Gradient: none to x
    Errors:   DomainError for a negative std; DTypeError; GradError for a leaf that requires grad
    Source:   torch.Tensor.normal_

    >>> dg.zeros(2).normal_(5, 0)
    tensor([5., 5.])
    """
    wide = _wide(x.dtype)
    return _as(_normal(tuple(x.shape), wide) * demanded("deviation", _as(std, wide)) + _as(mean, wide), x.dtype)


@normal_like.vjp
def _(g: Any, out: Any, x: Any, mean: Any, std: Any) -> Any:
    return zeros_like(g)


@op(kind=RANDOM, public=False, inplace="bernoulli_", method=False)
def bernoulli_like(x: Tensor, p: Operand = 0.5) -> Tensor:
    """What `x.bernoulli_(p)` writes: 1 with probability p, a number or one for each element, else 0.

    Shapes:   x [*S], p broadcastable to S → [*S]
    Dtypes:   x's; p a float
    Gradient: none
    Errors:   DomainError for a p outside of [0, 1]; ShapeError for a p that does not broadcast to x; DTypeError for a p
              of whole numbers; GradError for a leaf that requires grad
    Source:   torch.Tensor.bernoulli_

    >>> dg.zeros(2).bernoulli_(1.0)
    tensor([1., 1.])
    >>> dg.zeros(2, 2).bernoulli_(tensor([0.0, 1.0]))
    tensor([[0., 1.],
            [0., 1.]])
    """
    if isinstance(p, core.Tensor) and not is_weak(p) and not p.dtype.is_floating_point:
        raise DTypeError(f"bernoulli_: needs probabilities, got {p.dtype.name}", hint="convert p with .float()")
    wide = core.float64 if isinstance(p, core.Tensor) and p.dtype is core.float64 and not is_weak(p) else core.float32
    share = _as(demanded("probability", _as(p, core.float64)), wide)
    shape = broadcast_shapes("bernoulli_", [("x", tuple(x.shape)), ("p", tuple(share.shape))])
    return _as(_uniform(shape, wide) < broadcast_to(share, shape), x.dtype)


@bernoulli_like.vjp
def _(g: Any, out: Any, x: Any, p: Any) -> Any:
    return zeros_like(g), None


@op(kind=RANDOM, dtypes=floats, method=False, public=False)
def dropout_with_mask(x: Tensor, p: Number) -> tuple[Tensor, Tensor]:
    """Zeros with probability p, the rest divided by 1 - p; and which elements were kept.

    Shapes:   x [*S] → twice [*S]
    Dtypes:   floats; bool
    Gradient: as x was treated
    Errors:   DTypeError unless floating point
    Source:   Srivastava et al. 2014

    >>> dg.ops.dropout_with_mask(tensor([1.0, 2.0]), 0.0)[0]
    tensor([1., 2.])
    """
    kept = kept_at_random(tuple(x.shape), p)
    return where(kept, x * _keep_scale(x, p), 0.0), kept


def kept_at_random(shape: tuple[Any, ...], p: Any) -> Tensor:
    """False with probability p."""
    return _uniform(shape, core.float32) >= _as(p, core.float32)


def _keep_scale(x: Any, p: Any) -> Any:
    return 1.0 / (1.0 - p)


@dropout_with_mask.vjp
def _(g: Any, out: Any, x: Any, p: Any) -> Any:
    from ..elementwise.arithmetic import sub
    from ..elementwise.divisions import div

    return where(out[1], g[0] * div(1.0, sub(1.0, p)), 0.0)


@function(functional=True, method=False)
def dropout(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """In training, zeros with probability p and the rest divided by 1 - p; otherwise x itself.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats; others are rejected
    Gradient: as x was treated
    Errors:   DomainError unless 0 ≤ p ≤ 1; DTypeError
    Source:   Srivastava et al. 2014; torch.nn.functional.dropout

    >>> dg.nn.functional.dropout(tensor([1.0, 2.0]), 0.5, training=False)
    tensor([1., 2.])
    """
    if not 0 <= p <= 1:
        raise DomainError(f"dropout: p must be between 0 and 1, got {p}")
    if not training or p == 0:
        return x
    result: Tensor = dropout_with_mask(x, p)[0]
    return x.copy_(result) if inplace else result
