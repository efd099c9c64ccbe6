"""Random tensors, under TensorFlow's names.

With a seed of the graph or of the operation, each session draws the same numbers from its start on; without one, they come
from duograph's generator, which `duograph.manual_seed` seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import duograph as dg
from duograph import _core as core
from duograph.errors import ArgumentError, ShapeError
from duograph.ir.builder import suspended
from duograph.ops.randomness.generators import Generator, using

from .building import get_default_graph
from .constants import convert_to_tensor
from .definition import Numbers, Operand, filled, operation
from .dtypes import as_dtype
from .elements import Operation, Tensor
from .resolving import as_tensor
from .scopes import get_seed
from .slicing import as_number, as_numbers

if TYPE_CHECKING:
    from .resolving import Run

__all__ = [
    "multinomial", "random_crop", "random_gamma", "random_normal", "random_poisson", "random_shuffle", "random_uniform",
    "set_random_seed", "truncated_normal",
]  # fmt: skip


def set_random_seed(seed: int | None) -> None:
    """Seeds the default graph: random operations that are added from here on draw the same numbers in each session."""
    get_default_graph().seed = None if seed is None else int(seed)


def _generator(run: Run, node: Operation) -> Generator | None:
    """The session's generator of an operation with seeds."""
    seeds = node.attrs["seeds"]
    if seeds[0] is None:
        return None
    found: Generator | None = run.state.generators.get(node)
    if found is None:
        tracing = core.set_tracing(False)
        try:
            with suspended():
                found = run.state.generators[node] = Generator().manual_seed(_mixed(*seeds))
        finally:
            core.set_tracing(tracing)
    return found


def _mixed(first: int, second: int) -> int:
    """One seed of two, such that near ones lead far apart."""
    mixed = (first * 0x9E3779B97F4A7C15 + second * 0xC2B2AE3D27D4EB4F) % 2**64
    return (mixed ^ (mixed >> 29)) % 2**63


def _drawn(run: Run, node: Operation) -> Any:
    values = [as_tensor(run.value(x)) if x.dtype.is_floating_point else run.value(x) for x in node.inputs]
    with using(_generator(run, node)):
        return node.definition.function(**filled(node.attrs, values))


def random_operation(type: str, differentiable: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: an operation that draws numbers. Its function has a parameter `seeds`, the result of `get_seed`."""
    return operation(type, evaluate=_drawn, differentiable=differentiable)


def _sizes(shape: Any) -> list[Any]:
    found = as_numbers(shape)
    return list(found) if isinstance(found, (list, tuple)) else [found]


@random_operation("RandomStandardNormal")
def _normal(shape: Numbers, mean: Operand, stddev: Operand, dtype: Any, seeds: Any, name: str | None = None) -> Any:
    return (dg.randn(_sizes(shape), dtype=dtype) * stddev + mean).to(dtype)


def random_normal(
    shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = core.float32, seed: int | None = None, name: str | None = None
) -> Tensor:
    """Numbers from a normal distribution; sizes, mean and standard deviation may be tensors.

    >>> import duograph.graph as tf
    >>> draw = tf.random_normal([2], seed=1)
    >>> first, again = [tf.Session().run(draw) for _ in range(2)]
    >>> bool((first == again).all())
    True
    """
    made: Tensor = _normal(shape, mean, stddev, as_dtype(dtype), get_seed(seed), name=name or "random_normal")
    return made


@random_operation("TruncatedNormal")
def _truncated(shape: Numbers, mean: Operand, stddev: Operand, dtype: Any, seeds: Any, name: str | None = None) -> Any:
    kind = core.float64 if dtype is core.float64 else core.float32
    edge = math.erf(math.sqrt(2.0))  # two standard deviations
    drawn = dg.erfinv((dg.rand(_sizes(shape), dtype=kind) * 2.0 - 1.0) * edge) * math.sqrt(2.0)
    return (dg.clamp(drawn, -2.0, 2.0) * stddev + mean).to(dtype)


def truncated_normal(
    shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = core.float32, seed: int | None = None, name: str | None = None
) -> Tensor:
    """Numbers from a normal distribution, of which none lies further than two standard deviations from the mean."""
    made: Tensor = _truncated(shape, mean, stddev, as_dtype(dtype), get_seed(seed), name=name or "truncated_normal")
    return made


@random_operation("RandomUniform")
def _uniform(shape: Numbers, minval: Operand, maxval: Operand, dtype: Any, seeds: Any, name: str | None = None) -> Any:
    if dtype.is_floating_point:
        return (dg.rand(_sizes(shape), dtype=dtype) * (maxval - minval) + minval).to(dtype)
    width = maxval - minval
    part = dg.floor(dg.rand(_sizes(shape), dtype=core.float64) * width)
    return part.to(dtype) + minval


def random_uniform(
    shape: Any, minval: Any = 0, maxval: Any = None, dtype: Any = core.float32, seed: int | None = None, name: str | None = None
) -> Tensor:
    """Numbers drawn uniformly from [minval, maxval): floats, or integers.

    Args:
        maxval: by default 1 for floats; integers need it.

    Errors:   ArgumentError for integers without maxval, and for an empty range
    """
    kind = as_dtype(dtype)
    if maxval is None and not kind.is_floating_point:
        raise ArgumentError(f"random_uniform: maxval is missing, which {kind.name} needs")
    high = 1 if maxval is None else maxval
    if isinstance(minval, int) and isinstance(high, int) and not kind.is_floating_point and minval >= high:
        raise ArgumentError(f"random_uniform: there is nothing between minval = {minval} and maxval = {high}")
    made: Tensor = _uniform(shape, minval, high, kind, get_seed(seed), name=name or "random_uniform")
    return made


@random_operation("RandomShuffle")
def _shuffled(value: Operand, seeds: Any, name: str | None = None) -> Any:
    x = as_tensor(value)
    return x.index_select(0, dg.argsort(dg.rand([x.shape[0]], dtype=core.float64)))


def random_shuffle(value: Any, seed: int | None = None, name: str | None = None) -> Tensor:
    """The rows of a tensor in random order."""
    made: Tensor = _shuffled(convert_to_tensor(value), get_seed(seed), name=name)
    return made


@random_operation("RandomCrop")
def _cropped(value: Operand, size: Numbers, seeds: Any, name: str | None = None) -> Any:
    wanted, x = _sizes(size), as_tensor(value)
    if len(wanted) != x.ndim:
        raise ShapeError(f"random_crop: size {wanted} for a tensor of shape {tuple(x.shape)}")
    for dim, count in enumerate(wanted):
        length = x.shape[dim]
        if isinstance(length, int) and isinstance(count, int) and length < count:
            raise ShapeError(f"random_crop: size {wanted} does not fit into the shape {tuple(x.shape)}")
        start = dg.floor(dg.rand([], dtype=core.float64) * (length - count + 1)).to(core.int64)
        x = x.index_select(dim, dg.arange(count) + start)
    return x


def random_crop(value: Any, size: Any, seed: int | None = None, name: str | None = None) -> Tensor:
    """A part of a tensor of the given sizes, from a random place. ShapeError if it does not fit."""
    made: Tensor = _cropped(convert_to_tensor(value), size, get_seed(seed), name=name or "random_crop")
    return made


@random_operation("Multinomial")
def _chosen(logits: Operand, num_samples: Numbers, dtype: Any, seeds: Any, name: str | None = None) -> Any:
    weights = dg.nn.functional.softmax(logits, -1)
    return dg.multinomial(weights, as_number(num_samples), replacement=True).to(dtype)


def multinomial(
    logits: Any, num_samples: Any, seed: int | None = None, name: str | None = None, output_dtype: Any = None
) -> Tensor:
    """Classes drawn by unnormalised log-probabilities.

    Shapes:   logits [N, C] → int64 [N, num_samples]
    """
    made: Tensor = _chosen(
        convert_to_tensor(logits), num_samples, as_dtype(output_dtype or core.int64), get_seed(seed), name=name
    )
    return made


_TRIES = 8  # of which each fails with less than 1 in 20


@random_operation("RandomGamma")
def _gamma(shape: Numbers, alpha: Operand, beta: Operand, dtype: Any, seeds: Any, name: str | None = None) -> Any:
    """Marsaglia and Tsang's method, with a fixed number of tries; shapes below 1 by a power of a uniform number."""
    alpha = as_tensor(alpha).to(dtype)
    sizes = [*_sizes(shape), *(alpha + as_tensor(beta).to(dtype) * 0).shape]
    small = alpha < 1.0
    d = dg.where(small, alpha + 1.0, alpha) - 1.0 / 3.0
    normal = dg.randn([_TRIES, *sizes], dtype=dtype)
    uniform = 1.0 - dg.rand([_TRIES, *sizes], dtype=dtype)
    cube = (1.0 + normal / dg.sqrt(9.0 * d)) ** 3
    log_cube = dg.log(dg.clamp(cube, min=1e-30))
    taken = (cube > 0.0) & (dg.log(uniform) < 0.5 * normal * normal + d - d * cube + d * log_cube)
    first = dg.argmax(taken.to(core.int32), 0).unsqueeze(0)
    found = dg.gather(d * cube, 0, first).squeeze(0)
    powers = (1.0 - dg.rand(sizes, dtype=dtype)) ** (1.0 / alpha)
    return dg.where(small, found * powers, found) / beta


def random_gamma(
    shape: Any, alpha: Any, beta: Any = None, dtype: Any = core.float32, seed: int | None = None, name: str | None = None
) -> Tensor:
    """Numbers from gamma distributions of shape `alpha` and rate `beta` (1).

    Shapes:   [*shape, *broadcast(alpha, beta)]
    """
    kind = as_dtype(dtype)
    given = [convert_to_tensor(v, None if isinstance(v, Tensor) else kind) for v in (alpha, 1.0 if beta is None else beta)]
    made: Tensor = _gamma(shape, *given, kind, get_seed(seed), name=name or "random_gamma")
    return made


def _counted(run: Run, node: Operation) -> Any:
    rates = node.definition.function(**filled(node.attrs, [run.value(x) for x in node.inputs]))
    return dg.poisson(rates if rates.dtype.is_floating_point else rates.to(core.float32)).to(rates.dtype)


@operation("RandomPoisson", evaluate=_counted, differentiable=False)
def _poisson(rates: Operand, shape: Numbers, dtype: Any, name: str | None = None) -> Any:
    rate = as_tensor(rates).to(dtype)
    return rate.expand([*_sizes(shape), *rate.shape]).clone()


def random_poisson(lam: Any, shape: Any, dtype: Any = core.float32, seed: int | None = None, name: str | None = None) -> Tensor:
    """Numbers from Poisson distributions of the rates `lam`.

    Shapes:   [*shape, *lam]
    Differs:  they are drawn in Python from duograph's generator; ArgumentError for a seed
    """
    if seed is not None:
        raise ArgumentError("random_poisson: takes no seed", hint="duograph.manual_seed seeds what it draws from")
    made: Tensor = _poisson(convert_to_tensor(lam), shape, as_dtype(dtype), name=name)
    return made
