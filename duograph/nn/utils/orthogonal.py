"""A weight kept orthogonal by parametrization."""

from __future__ import annotations

from typing import Any

from ...autograd import no_grad
from ...errors import ArgumentError, DomainError, ShapeError
from ...linalg import householder_product, matrix_exp, qr, solve
from ...linalg.host import lapack, transposed
from ...ops.shapes.joining import cat
from ...tensors.creation import eye
from ..module import Module
from .parametrize import register_parametrization

__all__ = ["orthogonal"]

_reflections = lapack("geqrf", lambda numpy, x: tuple(numpy.linalg.qr(x, "raw")), (lambda x: transposed(x), lambda x: x.sum(-2)))


class _Orthogonal(Module):
    """A free matrix to one with orthonormal columns (or rows, if there are more columns than rows)."""

    base: Any

    def __init__(self, weight: Any, kind: str, with_base: bool) -> None:
        super().__init__()
        self.kind = kind
        self.with_base = with_base
        self.register_buffer("base", None)
        self.shape = tuple(weight.shape)

    def forward(self, x: Any) -> Any:
        wide = x.shape[-2] < x.shape[-1]
        x = transposed(x) if wide else x
        n, k = x.shape[-2:]
        if self.kind == "householder":
            below = x.tril(-1)
            made = householder_product(below, 2.0 / (1.0 + (below * below).sum(-2)))
            made = made * x.diagonal(0, -2, -1).int().unsqueeze(-2)
        else:
            low = x.tril()
            if n != k:
                low = cat([low, low.new_zeros((*x.shape[:-2], n, n - k))], -1)
            skew = low - transposed(low)
            if self.kind == "matrix_exp":
                made = matrix_exp(skew)
            else:
                one = eye(n, dtype=x.dtype)
                made = solve(one - skew * 0.5, one + skew * 0.5)
            made = made[..., :k]
        if self.base is not None:
            made = self.base @ made
        return transposed(made) if wide else made

    def right_inverse(self, value: Any) -> Any:
        if tuple(value.shape) != self.shape:
            raise ShapeError(f"orthogonal: expected a tensor of shape {self.shape}, got {tuple(value.shape)}")
        wide = value.shape[-2] < value.shape[-1]
        with no_grad():
            x = transposed(value) if wide else value
            n, k = x.shape[-2:]
            if not self.with_base:
                return self._reflected(x, wide)
            full = x if n == k else cat([x, x.new_empty((*x.shape[:-2], n, n - k)).normal_()], -1)
            q, r = qr(full)
            self.base = q * r.diagonal(0, -2, -1).sign().unsqueeze(-2)
            start = value.new_zeros(tuple(value.shape))
            start.diagonal(0, -2, -1).fill_(-1.0)
            return start

    def _reflected(self, x: Any, wide: bool) -> Any:
        if self.kind != "householder":
            raise ArgumentError(
                f"orthogonal: {self.kind} cannot be assigned without a base", hint="leave out use_trivialization=False"
            )
        across, tau = _reflections(x.contiguous())
        made = transposed(across).clone()
        signs = made.diagonal(0, -2, -1)
        signs.copy_(signs.sign() * (1 - 2 * (tau == 0).to(made.dtype)))
        return transposed(made) if wide else made


def orthogonal(
    module: Module, name: str = "weight", orthogonal_map: str | None = None, *, use_trivialization: bool = True
) -> Module:
    """Keeps a weight orthogonal: its columns orthonormal, or its rows where it has more columns than rows.

    Args:
        orthogonal_map: "matrix_exp" (for square weights the default), "cayley" or "householder" (for others the default).
        use_trivialization: the weight is what the map gives times a base, which an assignment sets; without it only what
            comes of "householder" can be assigned.

    Returns:  the module
    Errors:   ArgumentError if there is no such parameter; ShapeError for one of fewer than two dimensions; DomainError for
              another map
    Source:   Lezcano-Casado 2019; torch.nn.utils.parametrizations.orthogonal

    >>> import duograph as dg
    >>> layer = dg.nn.utils.parametrizations.orthogonal(dg.nn.Linear(3, 3))
    >>> bool(((layer.weight @ layer.weight.T) - dg.eye(3)).abs().max() < 1e-5)
    True
    """
    from .parametrizations import tensor_of

    weight = tensor_of("orthogonal", module, name)
    if weight.ndim < 2:
        raise ShapeError(f"orthogonal: takes a matrix or a batch of them, got {weight.ndim} dimensions")
    kind = orthogonal_map or ("matrix_exp" if weight.shape[-2] == weight.shape[-1] else "householder")
    if kind not in ("matrix_exp", "cayley", "householder"):
        raise DomainError(f"orthogonal: orthogonal_map must be 'matrix_exp', 'cayley' or 'householder', got {kind!r}")
    return register_parametrization(module, name, _Orthogonal(weight, kind, use_trivialization), unsafe=True)
