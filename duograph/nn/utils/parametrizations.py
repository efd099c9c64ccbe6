"""Ready-made parametrizations: weight and spectral normalisation, orthogonal weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ... import _core as core
from ...autograd import no_grad
from ...errors import ArgumentError, DimensionError, DomainError
from ..module import Module
from .parametrize import register_parametrization

if TYPE_CHECKING:
    from .orthogonal import orthogonal as orthogonal

Tensor = core.Tensor

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]


def __getattr__(name: str) -> Any:
    if name != "orthogonal":  # the only one that needs linear algebra
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .orthogonal import orthogonal

    return globals().setdefault(name, orthogonal)


def _norm_but(x: Any, dim: int | None) -> Any:
    """The norm over all dimensions but one, kept."""
    others = [d for d in range(x.ndim) if dim is None or d != dim]
    return (x * x).sum(others, True).sqrt() if others else x.abs()


class _WeightNorm(Module):
    def __init__(self, dim: int | None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, magnitude: Any, direction: Any) -> Any:
        return direction * (magnitude / _norm_but(direction, self.dim))

    def right_inverse(self, weight: Any) -> Any:
        norm = _norm_but(weight, self.dim)
        return norm if self.dim is not None else norm.reshape(()), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Separates a weight into magnitude and direction: w = g·v/‖v‖, both trained (`original0`, `original1`).

    Args:
        dim: the dimension along which magnitudes differ; None: one magnitude for the whole weight.

    Returns:  the module
    Errors:   ArgumentError if there is no such parameter; DimensionError for a dimension that it lacks
    Source:   Salimans and Kingma, "Weight normalization", 2016; torch.nn.utils.parametrizations.weight_norm

    >>> import duograph as dg
    >>> layer = dg.nn.utils.parametrizations.weight_norm(dg.nn.Linear(3, 2))
    >>> [name for name, _ in layer.named_parameters()]
    ['bias', 'parametrizations.weight.original0', 'parametrizations.weight.original1']
    """
    weight = tensor_of("weight_norm", module, name)
    if dim == -1:
        dim = None
    if dim is not None:
        dim = _dimension("weight_norm", weight, dim)
    return register_parametrization(module, name, _WeightNorm(dim), unsafe=True)


class _SpectralNorm(Module):
    _u: Any
    _v: Any

    def __init__(self, weight: Any, n_power_iterations: int, dim: int, eps: float) -> None:
        super().__init__()
        self.dim = dim
        self.eps = eps
        self.n_power_iterations = n_power_iterations
        if weight.ndim > 1:
            matrix = self._matrix(weight.detach())
            rows, columns = matrix.shape
            self.register_buffer("_u", self._unit(matrix.new_empty((rows,)).normal_()))
            self.register_buffer("_v", self._unit(matrix.new_empty((columns,)).normal_()))
            self._iterate(matrix, 15)

    def _unit(self, x: Any) -> Any:
        return x / (x * x).sum().sqrt().clamp(min=self.eps)

    def _matrix(self, weight: Any) -> Any:
        return weight.movedim(self.dim, 0).flatten(1)

    def _iterate(self, matrix: Any, count: int) -> None:
        with no_grad():
            u, v = self._u, self._v
            for _ in range(count):
                u = self._unit(matrix @ v)
                v = self._unit(matrix.T @ u)
            self._u.copy_(u)
            self._v.copy_(v)

    def forward(self, weight: Any) -> Any:
        if weight.ndim == 1:
            return self._unit(weight)
        matrix = self._matrix(weight)
        if self.training:
            self._iterate(matrix.detach(), self.n_power_iterations)
        u, v = self._u.clone(), self._v.clone()
        return weight / (u * (matrix @ v)).sum()

    def right_inverse(self, value: Any) -> Any:
        return value


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Module:
    """Divides a weight by its greatest singular value, which power iteration follows from one forward to the next in training.

    Args:
        n_power_iterations: steps in each forward in training mode; in evaluation mode none.
        eps: added to no norm, but no norm counts as less.
        dim: the dimension of the outputs (default 0).

    Returns:  the module
    Errors:   ArgumentError if there is no such parameter; DomainError for a count of iterations below 1
    Source:   Miyato et al., "Spectral normalization for generative adversarial networks", 2018;
              torch.nn.utils.parametrizations.spectral_norm
    """
    weight = tensor_of("spectral_norm", module, name)
    if n_power_iterations < 1:
        raise DomainError(f"spectral_norm: n_power_iterations must be at least 1, got {n_power_iterations}")
    dim = _dimension("spectral_norm", weight, 0 if dim is None else dim)
    return register_parametrization(module, name, _SpectralNorm(weight, n_power_iterations, dim, eps))


def tensor_of(owner: str, module: Module, name: str) -> Any:
    """The module's parameter or buffer of that name. Errors: ArgumentError."""
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ArgumentError(f"{owner}: {type(module).__name__} has no parameter or buffer {name!r}")
    return weight


def _dimension(owner: str, weight: Any, dim: int) -> int:
    if not -weight.ndim <= dim < weight.ndim:
        raise DimensionError(f"{owner}: dimension {dim} is out of range for {weight.ndim} dimensions")
    return dim % int(weight.ndim)
