"""Pruning: masks over parameters. `<name>_orig` is trained, `<name>_mask` says what counts, `<name>` is their product.

The product is taken whenever the attribute is read. Source: torch.nn.utils.prune.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ... import _core as core
from ...autograd import no_grad
from ...errors import ArgumentError, DomainError
from ...ops.shapes.creation import ones_like
from ...ops.shapes.joining import cat
from ...tensors.creation import randperm
from ..module import Module
from ..parameter import Parameter
from .old_forms import computed, computed_names, made_ordinary
from .parametrizations import tensor_of

Tensor = core.Tensor

__all__ = [
    "custom_from_mask",
    "global_unstructured",
    "identity",
    "is_pruned",
    "l1_unstructured",
    "ln_structured",
    "random_structured",
    "random_unstructured",
    "remove",
]


def _parts(name: str) -> tuple[str, str]:
    return f"{name}_orig", f"{name}_mask"


def _is_pruned(module: Module, name: str) -> bool:
    return ("prune", name) in computed_names(module)


def _mask(module: Module, name: str) -> Any:
    """The mask there is, or one of ones."""
    return getattr(module, f"{name}_mask") if _is_pruned(module, name) else ones_like(tensor_of("prune", module, name).detach())


def _original(module: Module, name: str) -> Any:
    return getattr(module, f"{name}_orig" if _is_pruned(module, name) else name)


def _count(owner: str, amount: float, total: int) -> int:
    """How many of so many: a share, or a count."""
    if isinstance(amount, bool) or not isinstance(amount, (int, float)):
        raise ArgumentError(f"{owner}: amount must be a share or a count, got {amount!r}")
    limit = total if isinstance(amount, int) else 1
    if not 0 <= amount <= limit:
        raise DomainError(f"{owner}: amount must be between 0 and {limit}, got {amount}")
    return amount if isinstance(amount, int) else round(amount * total)


def custom_from_mask(module: Module, name: str, mask: Tensor) -> Module:
    """Prunes what the mask has 0 for, beside what is pruned already; returns the module.

    >>> import duograph as dg
    >>> layer = custom_from_mask(dg.nn.Linear(2, 1), "weight", dg.tensor([[1, 0]]))
    >>> [name for name, _ in layer.named_parameters()], layer.weight[0, 1].item()
    (['bias', 'weight_orig'], 0.0)
    """
    weight = tensor_of("custom_from_mask", module, name)
    if tuple(mask.shape) != tuple(weight.shape):
        raise ArgumentError(f"custom_from_mask: the mask is {list(mask.shape)}, {name!r} is {list(weight.shape)}")
    original, kept = _parts(name)
    with no_grad():
        given = mask.to(weight.dtype)
        if _is_pruned(module, name):
            getattr(module, kept).mul_(given)
            return module
        delattr(module, name)
        module.register_parameter(original, weight if isinstance(weight, Parameter) else Parameter(weight.detach()))
        module.register_buffer(kept, given.clone())
    computed("prune", module, name, lambda self: getattr(self, original) * getattr(self, kept), (original, kept))
    return module


def identity(module: Module, name: str) -> Module:
    """A mask that prunes nothing."""
    return custom_from_mask(module, name, ones_like(tensor_of("identity", module, name).detach()))


def is_pruned(module: Module) -> bool:
    """Whether any parameter here or below is pruned."""
    return any(kind == "prune" for each in module.modules() for kind, _ in computed_names(each))


def remove(module: Module, name: str) -> Module:
    """Makes the pruning last: the product becomes the parameter again. Errors: ArgumentError if it is not pruned."""
    return made_ordinary("prune", module, name)


def _without(mask: Any, positions: Any) -> Any:
    """The mask with 0 at these positions of it flattened."""
    flat = mask.detach().clone().reshape(-1)
    flat[positions] = 0
    return flat.reshape(mask.shape)


def _pruned_unstructured(owner: str, module: Module, name: str, amount: float, order: Callable[[Any], Any]) -> Module:
    """Prunes the first of the elements still there, in an order of these."""
    with no_grad():
        mask = _mask(module, name)
        left = mask.reshape(-1).nonzero().reshape(-1)
        count = _count(owner, amount, left.numel())
        values = _original(module, name).detach().reshape(-1)[left]
        return custom_from_mask(module, name, _without(mask, left[order(values)[:count]]))


def random_unstructured(module: Module, name: str, amount: float) -> Module:
    """Prunes a share (or a count) of the elements, drawn at random; returns the module."""
    return _pruned_unstructured("random_unstructured", module, name, amount, lambda x: randperm(x.numel()))


def l1_unstructured(module: Module, name: str, amount: float, importance_scores: Tensor | None = None) -> Module:
    """Prunes a share (or a count) of the elements, the smallest; returns the module.

    Args:
        importance_scores: what to go by instead of the elements themselves, in their shape.
    """
    if importance_scores is None:
        return _pruned_unstructured("l1_unstructured", module, name, amount, lambda x: x.abs().argsort())
    mask = _mask(module, name)
    scores = importance_scores.detach().reshape(-1)[mask.reshape(-1).nonzero().reshape(-1)]
    return _pruned_unstructured("l1_unstructured", module, name, amount, lambda x: scores.abs().argsort())


def _pruned_structured(
    owner: str, module: Module, name: str, amount: float, dim: int, order: Callable[[Any, tuple[int, ...]], Any]
) -> Module:
    """Prunes whole slices along a dimension, the first of those still there."""
    with no_grad():
        mask = _mask(module, name)
        dim = range(mask.dim())[dim]
        others = tuple(d for d in range(mask.dim()) if d != dim)
        alive = mask.sum(others).nonzero().reshape(-1)
        count = _count(owner, amount, alive.numel())
        made = mask.detach().clone()
        chosen = alive[order(_original(module, name).detach().index_select(dim, alive), others)[:count]]
        made.index_fill_(dim, chosen, 0.0)
        return custom_from_mask(module, name, made)


def random_structured(module: Module, name: str, amount: float, dim: int) -> Module:
    """Prunes a share (or a count) of the slices along a dimension, drawn at random; returns the module."""
    return _pruned_structured(
        "random_structured", module, name, amount, dim, lambda x, others: randperm(x.numel() // max(_rest(x, others), 1))
    )


def _rest(x: Any, others: tuple[int, ...]) -> int:
    count = 1
    for d in others:
        count *= x.shape[d]
    return count


def ln_structured(
    module: Module, name: str, amount: float, n: float, dim: int, importance_scores: Tensor | None = None
) -> Module:
    """Prunes a share (or a count) of the slices along a dimension, those of the smallest norm of order n; returns the module."""

    def order(x: Any, others: tuple[int, ...]) -> Any:
        return (x if importance_scores is None else importance_scores.detach()).norm(n, others).argsort()

    return _pruned_structured("ln_structured", module, name, amount, dim, order)


def global_unstructured(
    parameters: Iterable[tuple[Module, str]], pruning_method: Callable[..., Any], amount: float, **kwargs: Any
) -> None:
    """Prunes the elements of several parameters as if they were one.

    Args:
        pruning_method: `l1_unstructured` or `random_unstructured`.
    """
    pairs = list(parameters)
    if pruning_method not in (l1_unstructured, random_unstructured):
        raise ArgumentError("global_unstructured: takes l1_unstructured or random_unstructured")
    together = Module()
    with no_grad():
        together.register_parameter("all", Parameter(cat([_original(m, n).detach().reshape(-1) for m, n in pairs])))
        custom_from_mask(together, "all", cat([_mask(m, n).reshape(-1) for m, n in pairs]))
        pruning_method(together, "all", amount, **kwargs)
        found, start = _mask(together, "all"), 0
        for module, name in pairs:
            shape = _mask(module, name).shape
            count = _mask(module, name).numel()
            custom_from_mask(module, name, found[start : start + count].reshape(shape))
            start += count
