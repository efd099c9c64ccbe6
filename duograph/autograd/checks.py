"""Checkers of gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import ArgumentError, GradError

from .gradients import as_tuple, grad

if TYPE_CHECKING:
    from duograph._core import Tensor


def gradcheck(
    function: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    seed: int = 0,
) -> bool:
    """Compare the gradients of `function` at `inputs` with central differences. Use float64 inputs.

    Every input element is moved, every output element weighted by a fixed random number.

    Errors:   GradError naming input and element where the two differ by more than atol + rtol·|numeric|
    """
    from random import Random

    args = as_tuple(inputs)
    wanted = [i for i, a in enumerate(args) if isinstance(a, core.Tensor) and a.requires_grad]
    if not wanted:
        raise ArgumentError("gradcheck: no input requires grad")
    for i in wanted:
        if args[i].dtype.name != "float64":
            raise ArgumentError(f"gradcheck: input {i} is {args[i].dtype.name}", hint="differences need float64 inputs")
    generator = Random(seed)
    outputs = [o for o in as_tuple(function(*args)) if isinstance(o, core.Tensor) and o.dtype.is_floating_point]
    weights = [_filled([generator.uniform(0.5, 1.5) for _ in range(o.numel())], o) for o in outputs]
    pairs = [(o, w) for o, w in zip(outputs, weights) if o.requires_grad]
    if not pairs:
        raise GradError("gradcheck: no output depends on an input that requires grad")
    found = grad([o for o, _ in pairs], [args[i] for i in wanted], [w for _, w in pairs], allow_unused=True)
    for i, analytic in zip(wanted, found):
        values = [0.0] * args[i].numel() if analytic is None else _flat(analytic)
        for at, expected in enumerate(_differences(function, args, i, weights, eps)):
            if not abs(values[at] - expected) <= atol + rtol * abs(expected):
                if not raise_exception:
                    return False
                raise GradError(
                    f"gradcheck: the gradient of input {i} at element {at} is {values[at]:.9g}, "
                    f"by differences it is {expected:.9g}"
                )
    return True


def gradgradcheck(
    function: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    seed: int = 0,
) -> bool:
    """`gradcheck` of the gradients of `function`: second order."""
    from random import Random

    args = as_tuple(inputs)
    wanted = [i for i, a in enumerate(args) if isinstance(a, core.Tensor) and a.requires_grad]
    outputs = [o for o in as_tuple(function(*args)) if isinstance(o, core.Tensor) and o.dtype.is_floating_point]
    generator = Random(seed + 1)
    seeds = [_filled([generator.uniform(0.5, 1.5) for _ in range(o.numel())], o).requires_grad_() for o in outputs]

    def gradients(*values: Any) -> tuple[Any, ...]:
        inner, outer = values[: len(args)], values[len(args) :]
        again = [o for o in as_tuple(function(*inner)) if isinstance(o, core.Tensor) and o.dtype.is_floating_point]
        pairs = [(o, s) for o, s in zip(again, outer) if o.requires_grad]
        found = grad(
            [o for o, _ in pairs], [inner[i] for i in wanted], [s for _, s in pairs], create_graph=True, allow_unused=True
        )
        return tuple(g for g in found if g is not None and g.requires_grad)

    return gradcheck(gradients, (*args, *seeds), eps, atol, rtol, raise_exception, seed)


def _filled(values: list[float], like: Any) -> Any:
    return core.from_flat(values, like.dtype, tuple(like.shape))


def _flat(tensor: Any) -> list[float]:
    values = tensor.detach().contiguous().reshape(-1).tolist()
    return list(values)


def _differences(function: Callable[..., Any], args: tuple[Any, ...], which: int, weights: list[Any], eps: float) -> list[float]:
    """Central differences of the weighted sum of all outputs, element by element of one input."""
    base = _flat(args[which])
    found: list[float] = []
    weight_values = [_flat(w) for w in weights]

    def weighted(at: int, value: float) -> float:
        moved = list(base)
        moved[at] = value
        replaced = _filled(moved, args[which]).requires_grad_(args[which].requires_grad)
        results = as_tuple(function(*args[:which], replaced, *args[which + 1 :]))
        outputs = [o for o in results if isinstance(o, core.Tensor) and o.dtype.is_floating_point]
        total = 0.0
        for o, w in zip(outputs, weight_values):
            total += sum(a * b for a, b in zip(_flat(o), w))
        return total

    for at, value in enumerate(base):
        found.append((weighted(at, value + eps) - weighted(at, value - eps)) / (2 * eps))
    return found
