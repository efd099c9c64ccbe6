"""What the generated operator tests share: samples as tensors, references, directional derivatives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

import duograph as dg
from duograph.ops.definition import ELEMENTWISE, RANDOM, REDUCTION, REGISTRY, UPDATE, Definition
from duograph.ops.samples import DTypeName, Maker

FLOATS = ("float32", "float64")
HALVES = ("float16", "bfloat16")
OTHERS = ("int64", "int32", "uint8", "bool")
EPSILON = {"float32": 2**-23, "float64": 2**-52, "float16": 2**-10, "bfloat16": 2**-7}

# Positions of float operands that have no gradient, as in PyTorch.
CONSTANT = {"nll_loss": (2,), "cross_entropy": (2,), "cross_entropy_of": (2,), "igamma": (0,), "igammac": (0,)}

# Operators whose results are random or that only write: they have tests of their own.
SPECIAL_KINDS = (RANDOM, UPDATE)


class Call(NamedTuple):
    """The arguments of a sample."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def definitions() -> list[Definition]:
    """Every operator once; in-place forms are tested with the operator they belong to."""
    return [d for d in REGISTRY.values() if d.base is None]


def sampled() -> list[Definition]:
    return [d for d in definitions() if d.samples is not None]


def name_of(definition: Definition) -> str:
    return definition.name


def calls(definition: Definition, dtype: str) -> list[Call]:
    """The sample calls with arrays of this dtype."""
    return as_calls(definition.samples(Maker(dtype)))


def as_calls(samples: Any) -> list[Call]:
    """Argument tuples, whose last element may be keywords, as calls."""
    return [Call(tuple(c[:-1]), c[-1]) if c and isinstance(c[-1], dict) else Call(tuple(c), {}) for c in samples]


def tensor_of(array: np.ndarray, dtype: str) -> dg.Tensor:
    """A tensor of an array; arrays made for a 16-bit dtype come as float32."""
    made = dg.tensor(array)
    if array.dtype == np.float32 and dtype in HALVES:
        made = made.to(getattr(dg, dtype))
    return made


def map_arrays(f: Callable[[np.ndarray], Any], value: Any) -> Any:
    """The argument with `f` applied to every array in it."""
    if isinstance(value, np.ndarray):
        return f(value)
    if isinstance(value, np.generic):
        return f(np.asarray(value))
    if isinstance(value, (list, tuple)) and not isinstance(value, Call):
        return type(value)(map_arrays(f, item) for item in value)
    return value


def tensors(call: Call, dtype: str, make: Callable[[np.ndarray], Any] | None = None) -> Call:
    """The call with tensors in place of arrays."""
    make = make or (lambda array: tensor_of(array, dtype))

    def convert(value: Any) -> Any:
        return getattr(dg, value) if isinstance(value, DTypeName) else map_arrays(make, value)

    return Call(tuple(convert(a) for a in call.args), {k: convert(v) for k, v in call.kwargs.items()})


def flat(result: Any) -> list[Any]:
    return list(result) if isinstance(result, (tuple, list)) else [result]


def array_of(x: Any) -> np.ndarray:
    """A result as an array; 16-bit floats as float64."""
    if not isinstance(x, dg.Tensor):
        return np.asarray(x)
    x = x.detach()
    if x.dtype.is_floating_point and x.dtype.itemsize == 2:
        x = x.to(dg.float64)
    return np.asarray(x.numpy())


def reference_of(definition: Definition, call: Call, floating: bool) -> list[np.ndarray]:
    """The reference's results; floats are computed in float64, whole numbers too where the result is `floating`."""
    everything = floating and definition.kind in (ELEMENTWISE, REDUCTION)

    def widen(array: np.ndarray) -> np.ndarray:
        return array.astype(np.float64) if everything or array.dtype.kind == "f" else array

    reference = definition.reference
    args = [map_arrays(widen, a) for a in call.args]
    kwargs = {k: map_arrays(widen, v) for k, v in call.kwargs.items()}
    with np.errstate(all="ignore"):
        if isinstance(reference, str):
            found = getattr(np, reference.removeprefix("numpy."))(*args, **kwargs)
        else:
            found = reference(np, *args, **kwargs)
    return [np.asarray(x) for x in flat(found)]


def rounded(call: Call, dtype: str) -> Call:
    """The call with the values that a 16-bit dtype can hold."""
    if dtype not in HALVES:
        return call

    def through(array: np.ndarray) -> np.ndarray:
        return array_of(tensor_of(array, dtype)).astype(np.float32) if array.dtype == np.float32 else array

    return Call(tuple(map_arrays(through, a) for a in call.args), {k: map_arrays(through, v) for k, v in call.kwargs.items()})


def accepts(definition: Definition, call: Call, dtype: str) -> bool:
    """Whether the operator takes this dtype: a DTypeError is an answer, any other error is not."""
    try:
        definition.exported(*tensors(call, dtype).args, **tensors(call, dtype).kwargs)
    except dg.errors.DTypeError:
        return False
    return True


def assert_close(found: Any, expected: np.ndarray, dtype: str, tolerance: float, what: str) -> None:
    """Equal shapes; equal values up to a few rounding errors of the dtype (exactly, for whole numbers)."""
    got = array_of(found)
    assert got.shape == expected.shape, f"{what}: shape {got.shape}, expected {expected.shape}"
    if got.dtype.kind != "f":
        np.testing.assert_array_equal(got, expected.astype(got.dtype), err_msg=what)
        return
    kind = found.dtype.name if isinstance(found, dg.Tensor) else dtype
    error = tolerance * EPSILON[kind] * (1 if kind in HALVES else 16)
    with np.errstate(all="ignore"):  # beyond the dtype's range the right answer is an infinity
        expected = expected.astype({"bfloat16": "float32"}.get(kind, kind))
        np.testing.assert_allclose(got.astype(np.float64), expected.astype(np.float64), rtol=error, atol=error, err_msg=what)


def noncontiguous(array: np.ndarray, dtype: str) -> dg.Tensor:
    """The same values laid out with gaps and, from two dimensions on, the last two exchanged in memory."""
    if not array.ndim:
        return tensor_of(array, dtype)
    wide = np.zeros((*array.shape[:-1], array.shape[-1] * 2), array.dtype)
    wide[..., ::2] = array
    if array.ndim == 1:
        return dg.ops.slice(tensor_of(wide, dtype), 0, None, None, 2)
    return tensor_of(np.ascontiguousarray(array.swapaxes(-1, -2)), dtype).transpose(-1, -2)


# Derivatives


def is_smooth(call: Call) -> bool:
    """Whether a float64 sample is away from special values and small enough to differentiate."""
    size = 0
    for value in iterate_arrays(call):
        size += value.size
        if value.dtype.kind == "f" and value.size and not (np.isfinite(value).all() and np.abs(value).max() < 100):
            return False
    return size <= 300


def iterate_arrays(call: Call) -> Iterator[np.ndarray]:
    for value in (*call.args, *call.kwargs.values()):
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, np.ndarray):
                yield item


class Function:
    """An operator on a sample as a function of its float64 arrays, reduced to a number by fixed random weights."""

    def __init__(self, definition: Definition, call: Call, seed: int = 0) -> None:
        self.definition = definition
        self.call = call
        self.random = np.random.default_rng(seed)
        constant = CONSTANT.get(definition.name, ())
        self.fixed = [call.args[i] for i in constant if i < len(call.args)]
        self.points = [a for a in iterate_arrays(call) if self.varies(a)]
        self.weights: list[np.ndarray] | None = None

    def varies(self, array: np.ndarray) -> bool:
        return array.dtype == np.float64 and not any(array is fixed for fixed in self.fixed)

    def value(self, points: list[Any]) -> dg.Tensor:
        """The number, of tensors in place of the float64 arrays."""
        pending = iter(points)

        def pick(array: np.ndarray) -> Any:
            return next(pending) if self.varies(array) else dg.tensor(array)

        call = tensors(self.call, "float64", pick)
        outs = [o for o in flat(self.definition.exported(*call.args, **call.kwargs)) if o.dtype is dg.float64]
        if self.weights is None:
            self.weights = [self.random.uniform(0.5, 1.5, tuple(o.shape)) for o in outs]
        total = None
        for o, w in zip(outs, self.weights):
            part = (o * dg.tensor(w)).sum()
            total = part if total is None else total + part
        return total

    def directions(self) -> list[np.ndarray]:
        return [self.random.uniform(-1, 1, p.shape) for p in self.points]

    def gradients(self, points: list[np.ndarray], create_graph: bool = False) -> tuple[list[dg.Tensor], list[Any]]:
        leaves = [dg.tensor(p).requires_grad_() for p in points]
        value = self.value(leaves)
        if not value.requires_grad:
            return leaves, [None] * len(leaves)
        return leaves, list(dg.autograd.grad(value, leaves, create_graph=create_graph, allow_unused=True))


def slope(f: Callable[[list[np.ndarray]], float], points: list[np.ndarray], directions: list[np.ndarray]) -> float | None:
    """The directional derivative by a fourth-order central difference.

    None at a kink, where two step sizes disagree, and where the function has another value at the point itself.
    """

    def at(t: float) -> float:
        return f([p + t * d for p, d in zip(points, directions)])

    def difference(h: float) -> float:
        return (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)

    h = 6e-4
    middle = at(0.0)
    between = (4 * (at(h) + at(-h)) - (at(2 * h) + at(-2 * h))) / 6
    if abs(between - middle) > 1e-5 * max(1.0, abs(middle)):
        return None
    for wide, narrow in ((difference(1e-3), difference(h)), (difference(1e-4), difference(6e-5))):
        if abs(wide - narrow) <= 1e-8 * max(1.0, abs(narrow)):
            return narrow
    return None


def smooth_slope(f: Callable[[list[np.ndarray]], float], function: Function) -> tuple[float, list[np.ndarray], list[np.ndarray]]:
    """A directional derivative at a point near the sample's where the function is smooth: it, the point and the direction."""
    points = function.points
    for _ in range(12):
        directions = function.directions()
        found = slope(f, points, directions)
        if found is not None:
            return found, points, directions
        points = [p + 0.01 * d for p, d in zip(points, function.directions())]
    raise AssertionError("no smooth point near the sample")


def inner(gradients: list[Any], directions: list[np.ndarray]) -> float:
    return float(sum((array_of(g) * d).sum() for g, d in zip(gradients, directions) if g is not None))


def check_gradient(definition: Definition, call: Call) -> None:
    """The gradient against finite differences."""
    f = Function(definition, call)
    if not f.points:
        return
    for _ in range(2):
        expected, points, directions = smooth_slope(lambda at: float(f.value([dg.tensor(p) for p in at]).item()), f)
        _, gradients = f.gradients(points)
        for g, p in zip(gradients, points):
            assert g is None or tuple(g.shape) == p.shape, f"a gradient has shape {tuple(g.shape)}, its operand {p.shape}"
        found = inner(gradients, directions)
        assert abs(found - expected) <= 1e-7 * max(1.0, abs(expected), abs(found)), (
            f"gradient {found}, finite difference {expected}"
        )


def check_second_gradient(definition: Definition, call: Call) -> None:
    """The gradient of the gradient against finite differences of the gradient."""
    f = Function(definition, call)
    if not f.points:
        return
    weights = f.directions()
    expected, points, directions = smooth_slope(lambda at: inner(f.gradients(at)[1], weights), f)
    leaves, gradients = f.gradients(points, create_graph=True)
    total = None
    for g, w in zip(gradients, weights):
        if g is not None and g.requires_grad:
            part = (g * dg.tensor(w)).sum()
            total = part if total is None else total + part
    found = 0.0
    if total is not None:
        found = inner(list(dg.autograd.grad(total, leaves, allow_unused=True)), directions)
    assert abs(found - expected) <= 1e-6 * max(1.0, abs(expected), abs(found)), (
        f"second derivative {found}, finite difference {expected}"
    )
