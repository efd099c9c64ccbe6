"""Helpers for parameters and their gradients, under PyTorch's names: clipping, and parameters as one vector."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ... import _core as core
from ...autograd import no_grad
from ...errors import ArgumentError, CaptureError, DomainError, ShapeError
from ...ops.elementwise.comparison import isfinite
from ...ops.shapes.joining import cat
from ...ops.training.optimizer_steps import clamp_together_, scale_together_, total_norm

Tensor = core.Tensor

__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "get_total_norm",
    "parameters_to_vector",
    "vector_to_parameters",
]


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale all gradients together so that their norm, as one vector, is at most max_norm. Returns the norm before.

    Args:
        parameters: whose `.grad` are scaled in place; those without one are left out.
        max_norm: the largest norm allowed.
        norm_type: which norm; `float("inf")` for the largest magnitude.
        error_if_nonfinite: raise if the norm is infinite or not a number, before anything is written.
        foreach: accepted for PyTorch's sake; all gradients are scaled by one call.

    Errors: ArgumentError for what is no tensor; DomainError for a norm that is not finite, if asked to; in a static function
    error_if_nonfinite is refused (CaptureError).

    >>> import duograph as dg
    >>> p = dg.tensor([3.0, 4.0], requires_grad=True)
    >>> (p * p).sum().backward()
    >>> clip_grad_norm_(p, 5.0)
    tensor(10.)
    >>> p.grad
    tensor([3.0000, 4.0000])
    """
    grads = _gradients("clip_grad_norm_", parameters)
    norm = get_total_norm(grads, norm_type, error_if_nonfinite)
    if grads:
        _scale(grads, max_norm, norm)
    return norm


def get_total_norm(
    tensors: Tensor | Iterable[Tensor],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The norm of all tensors as one vector; 0 if there are none.

    >>> import duograph as dg
    >>> get_total_norm([dg.tensor([3.0]), dg.tensor([4.0])])
    tensor(5.)
    """
    given = _tensors("get_total_norm", tensors)
    if not given:
        return core.zeros((), core.get_default_dtype())
    with no_grad():
        norm = total_norm(given, float(norm_type))
    if error_if_nonfinite:
        if core.tracing():
            raise CaptureError(
                "get_total_norm: error_if_nonfinite would look at the norm while the static function is captured",
                hint="return the norm, or assert on it in the function",
            )
        if not bool(isfinite(norm)):
            raise DomainError(
                f"get_total_norm: the norm (order {norm_type}) of {len(given)} tensors is {norm.item()}",
                hint="error_if_nonfinite=False scales by it all the same",
            )
    return norm


def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Scale all gradients by max_norm / total_norm where that is below 1: the second half of `clip_grad_norm_`."""
    grads = _gradients("clip_grads_with_norm_", parameters)
    if grads:
        _scale(grads, max_norm, total_norm)


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None) -> None:
    """Bring every element of all gradients between -clip_value and clip_value, in place.

    >>> import duograph as dg
    >>> p = dg.tensor([3.0, -0.25], requires_grad=True)
    >>> (p * p).sum().backward()
    >>> clip_grad_value_(p, 1.0)
    >>> p.grad
    tensor([ 1.0000, -0.5000])
    """
    grads = _gradients("clip_grad_value_", parameters)
    if grads:
        with no_grad():
            clamp_together_(grads, float(clip_value))


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All parameters, flattened, as one vector.

    >>> import duograph as dg
    >>> parameters_to_vector([dg.zeros(2, 2), dg.ones(1)])
    tensor([0., 0., 0., 0., 1.])
    """
    return cat([p.reshape(-1) for p in _tensors("parameters_to_vector", parameters)])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Write the parts of a vector, as `parameters_to_vector` gives it, into the parameters.

    Errors: ShapeError if the vector has not as many elements as the parameters.
    """
    given = _tensors("vector_to_parameters", parameters)
    count = sum(p.numel() for p in given)
    if vec.numel() != count:
        raise ShapeError(f"vector_to_parameters: the vector has {vec.numel()} elements, the parameters {count}")
    start = 0
    with no_grad():
        for p in given:
            p.copy_(vec[start : start + p.numel()].reshape(p.shape))
            start += p.numel()


def _scale(grads: Sequence[Tensor], max_norm: float, norm: Tensor) -> None:
    with no_grad():
        scale_together_(grads, (max_norm / (norm + 1e-6)).clamp(max=1.0))


def _tensors(owner: str, given: Any) -> list[Tensor]:
    found = [given] if isinstance(given, Tensor) else list(given)
    for number, tensor in enumerate(found):
        if not isinstance(tensor, Tensor):
            raise ArgumentError(f"{owner}: parameter {number} must be a Tensor, got {type(tensor).__name__}")
    return found


def _gradients(owner: str, parameters: Any) -> list[Tensor]:
    return [p.grad for p in _tensors(owner, parameters) if p.grad is not None]
