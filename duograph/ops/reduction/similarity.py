"""How alike vectors are, and scaling by norms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from duograph.errors import DomainError, ShapeError

from ..definition import COMPOSITION, op
from ..dtypes import float_promote, floats
from ..elementwise.choice import clamp
from ..shapes.padding import pad
from ..shapes.slicing import slice
from .norms import vector_norm
from .reductions import sum

if TYPE_CHECKING:
    from duograph._core import Tensor

    from ..definition import Number


@op(
    kind=COMPOSITION,
    dtypes=floats.on("x"),
    functional=True,
    method=False,
    samples=lambda m: [(m(3, 5),), (m(3, 5), 1.0, 0), (m(2, 3, 4), 3.0, -1), (m(2, 0),)],
    tolerance=2,
    torch=lambda torch, x, p=2.0, dim=1: torch.nn.functional.normalize(x, p=p, dim=dim),
)
def normalize(x: Tensor, p: float = 2.0, dim: int = 1, eps: Number = 1e-12) -> Tensor:
    """x over its norm of order p along a dimension, which counts as eps at least.

    Shapes:   x [*S] → [*S]
    Dtypes:   floats; others are rejected
    Gradient: derived
    Errors:   DTypeError unless floating point; DimensionError
    Source:   torch.nn.functional.normalize

    >>> dg.nn.functional.normalize(tensor([[3.0, 4.0]]))
    tensor([[0.6000, 0.8000]])
    """
    return x / clamp(vector_norm(x, p, dim, True), eps, None)


@op(
    kind=COMPOSITION,
    dtypes=floats.on("x1", "x2"),
    functional=True,
    method=False,
    samples=lambda m: [(m(3, 5), m(3, 5)), (m(3, 5), m(5), -1), (m(4), m(4), 0), (m(2, 3, 4), m(2, 3, 4), 0)],
    tolerance=2,
)
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: Number = 1e-8) -> Tensor:
    """The cosine of the angle between vectors along a dimension, whose norms count as eps at least.

    Shapes:   x1 [*S], x2 [*T] that broadcast → [*broadcast(S, T) without dim]
    Dtypes:   floats; others are rejected
    Gradient: derived
    Errors:   DTypeError unless floating point; ShapeError
    Source:   torch.nn.functional.cosine_similarity

    >>> dg.nn.functional.cosine_similarity(tensor([[3.0, 4.0]]), tensor([[4.0, 3.0]]))
    tensor([0.9600])
    """
    size1, size2 = (clamp(vector_norm(x, 2.0, dim, True), eps, None) for x in (x1, x2))
    return sum(x1 / size1 * (x2 / size2), dim)


@op(
    kind=COMPOSITION,
    dtypes=float_promote.on("x1", "x2"),
    functional=True,
    method=False,
    samples=lambda m: [(m(3, 5), m(3, 5)), (m(3, 5), m(5), 1.0), (m(4), m(4), 3.0, 1e-3, True)],
    tolerance=2,
)
def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: Number = 1e-6, keepdim: bool = False) -> Tensor:
    """The norm of order p of x1 - x2 + eps along the last dimension.

    Shapes:   x1 [*S, n], x2 [*T, n] → [*broadcast(S, T)], or with a last size 1 if keepdim
    Dtypes:   floats promote; integers become the default float
    Gradient: derived
    Errors:   ShapeError
    Source:   torch.nn.functional.pairwise_distance

    >>> dg.nn.functional.pairwise_distance(tensor([[3.0, 0.0]]), tensor([[0.0, 4.0]]))
    tensor([5.])
    """
    return vector_norm(x1 - x2 + eps, float(p), -1, keepdim)


@op(
    kind=COMPOSITION,
    dtypes=float_promote.on("x"),
    functional=True,
    method=False,
    samples=lambda m: [(m(2, 5, 3), 3), (m(2, 4, 3, 2), 2, 0.1, 0.5, 2.0)],
    tolerance=4,
)
def local_response_norm(x: Tensor, size: int, alpha: Number = 1e-4, beta: Number = 0.75, k: Number = 1.0) -> Tensor:
    """x over (k + alpha * the mean of the squares of `size` neighbouring channels) ** beta.

    Shapes:   x [N, C, *S] → the same
    Dtypes:   floats promote; integers become the default float
    Gradient: derived
    Errors:   ShapeError for fewer than 3 dimensions
    Source:   Krizhevsky et al. 2012; torch.nn.functional.local_response_norm

    >>> dg.nn.functional.local_response_norm(tensor([[[1.0], [2.0]]]), 2, alpha=1.0)
    tensor([[[0.7378],
             [0.7816]]])
    """
    if len(x.shape) < 3:
        raise ShapeError(f"local_response_norm: x must have 3 dimensions at least, got {len(x.shape)}")
    if size < 1:
        raise DomainError(f"local_response_norm: size must be at least 1, got {size}")
    square = x * x
    channels = x.shape[1]
    padded = pad(square, (0, 0) * (len(x.shape) - 2) + (size // 2, (size - 1) // 2))
    total = slice(padded, 1, 0, channels)
    for i in range(1, size):
        total = total + slice(padded, 1, i, channels + i)
    return x / (total * (1.0 / size) * alpha + k) ** beta
