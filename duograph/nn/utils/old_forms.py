"""Weight and spectral normalisation as PyTorch had them before `parametrizations`: under the old names of their parameters.

As there, the module's weight is computed from these; here whenever it is read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ... import _core as core
from ...autograd import no_grad
from ...errors import ArgumentError, DomainError
from ..module import Module
from ..parameter import Parameter
from .parametrizations import _dimension, _norm_but, tensor_of


class _Computed:
    """A tensor of a module that is computed whenever it is read: a property of a class made for the module."""

    def __init__(self, kind: str, compute: Callable[[Any], Any], names: tuple[str, ...]) -> None:
        self.kind, self.compute, self.names = kind, compute, names

    def put(self, module: Module, name: str) -> None:
        """Begins to stand for the attribute."""
        base = type(module)
        own = {"__module__": base.__module__, name: property(self.compute), "_computed": (name, self)}
        object.__setattr__(module, "__class__", type(base.__name__, (base,), own))
        core.bump_epoch()


def computed(kind: str, module: Module, name: str, compute: Callable[[Any], Any], names: tuple[str, ...]) -> None:
    """From now on the attribute is computed from others, of these names."""
    _Computed(kind, compute, names).put(module, name)


def computed_names(module: Module) -> list[tuple[str, str]]:
    """(kind, name) of the attributes that are computed."""
    made = [c.__dict__["_computed"] for c in type(module).__mro__ if "_computed" in c.__dict__]
    return [(found.kind, name) for name, found in made]


def made_ordinary(kind: str, module: Module, name: str) -> Module:
    """Makes a computed tensor a parameter again, with its present value. Errors: ArgumentError."""
    made = [c.__dict__["_computed"] for c in type(module).__mro__ if "_computed" in c.__dict__]
    parts = [part for other, found in made if other == name and found.kind == kind for part in found.names]
    if not parts:
        owner = "remove" if kind == "prune" else f"remove_{kind}"
        raise ArgumentError(f"{owner}: {name!r} of {type(module).__name__} is not of that kind")
    with no_grad():
        value = getattr(module, name).detach().clone()
    object.__setattr__(module, "__class__", next(c for c in type(module).__mro__ if "_computed" not in c.__dict__))
    for other, found in reversed(made):
        if other != name:
            found.put(module, other)
    for part in parts:
        delattr(module, part)
    module.register_parameter(name, Parameter(value))
    return module


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Separates a weight into magnitude and direction, w = g·v/‖v‖: parameters `<name>_g` and `<name>_v`.

    Args:
        dim: the dimension along which magnitudes differ; None: one magnitude for the whole weight.

    Returns:  the module
    Errors:   ArgumentError if there is no such parameter; DimensionError for a dimension that it lacks
    Source:   Salimans and Kingma 2016; torch.nn.utils.weight_norm

    >>> import duograph as dg
    >>> [name for name, _ in dg.nn.utils.weight_norm(dg.nn.Linear(3, 2)).named_parameters()]
    ['bias', 'weight_g', 'weight_v']
    """
    weight = tensor_of("weight_norm", module, name)
    along = None if dim is None or dim == -1 else _dimension("weight_norm", weight, dim)
    norm = _norm_but(weight.detach(), along)
    magnitude, direction = f"{name}_g", f"{name}_v"
    delattr(module, name)
    module.register_parameter(magnitude, Parameter(norm if along is not None else norm.reshape(())))
    module.register_parameter(direction, Parameter(weight.detach()))

    def compute(self: Any) -> Any:
        v = getattr(self, direction)
        return v * (getattr(self, magnitude) / _norm_but(v, along))

    computed("weight_norm", module, name, compute, (magnitude, direction))
    return module


def remove_weight_norm(module: Module, name: str = "weight") -> Module:
    """Makes a weight an ordinary parameter again, with its present value. Errors: ArgumentError."""
    return made_ordinary("weight_norm", module, name)


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Module:
    """Divides a weight by its greatest singular value: a parameter `<name>_orig`, buffers `<name>_u` and `<name>_v`.

    In training power iteration goes on whenever the weight is read.

    Args:
        dim: the dimension of the outputs; by default 1 for transposed convolutions, else 0.

    Returns:  the module
    Errors:   ArgumentError if there is no such parameter; DomainError for a count of iterations below 1
    Source:   Miyato et al. 2018; torch.nn.utils.spectral_norm
    """
    weight = tensor_of("spectral_norm", module, name)
    if n_power_iterations < 1:
        raise DomainError(f"spectral_norm: n_power_iterations must be at least 1, got {n_power_iterations}")
    first = int(getattr(module, "transposed", False)) if dim is None else _dimension("spectral_norm", weight, dim)

    def matrix_of(x: Any) -> Any:
        return x.movedim(first, 0).flatten(1)

    def unit(x: Any) -> Any:
        return x / (x * x).sum().sqrt().clamp(min=eps)

    rows, columns = matrix_of(weight.detach()).shape
    names = tuple(f"{name}_{part}" for part in ("orig", "u", "v"))
    delattr(module, name)
    module.register_parameter(names[0], Parameter(weight.detach()))
    for part, size in zip(names[1:], (rows, columns)):
        module.register_buffer(part, unit(weight.detach().new_empty((size,)).normal_()))

    def compute(self: Any) -> Any:
        original, u, v = (getattr(self, part) for part in names)
        matrix = matrix_of(original)
        if self.training:
            with no_grad():
                left, right = u, v
                for _ in range(n_power_iterations):
                    right = unit(matrix.detach().T @ left)
                    left = unit(matrix.detach() @ right)
                u.copy_(left)
                v.copy_(right)
        return original / (u.clone() * (matrix @ v.clone())).sum()

    computed("spectral_norm", module, name, compute, names)
    return module


def remove_spectral_norm(module: Module, name: str = "weight") -> Module:
    """Makes a weight an ordinary parameter again, with its present value. Errors: ArgumentError."""
    training, module.training = module.training, False
    try:
        return made_ordinary("spectral_norm", module, name)
    finally:
        module.training = training
