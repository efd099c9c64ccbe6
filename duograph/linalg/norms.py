"""Norms and products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import _core as core
from .. import ops as _ops
from ..errors import ArgumentError, DimensionError, ShapeError
from ..ops.arguments import checked, under_autocast
from .decompositions import svdvals
from .systems import inv

Tensor = core.Tensor
DType = core.DType
ops: Any = _ops
_INF = float("inf")


@checked
def vector_norm(
    x: Tensor, ord: float = 2, dim: int | Sequence[int] | None = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """The norm of any order over dimensions, over all elements by default.

    Shapes:   x [*S] → [*S without the reduced dims], or with size 1 there if keepdim
    Dtypes:   floats; `dtype` converts before
    Gradient: sign(x) * (|x| / out)^(ord - 1), 0 where the norm is 0
    Errors:   DTypeError; DimensionError
    Source:   torch.linalg.vector_norm

    >>> import duograph as dg
    >>> vector_norm(dg.tensor([[3.0, 4.0]]))
    tensor(5.)
    """
    x = x if dtype is None else x.to(dtype)
    return ops.vector_norm(x, float(ord), dim, keepdim)  # type: ignore[no-any-return]


@checked
def matrix_norm(x: Tensor, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """The norm of matrices: "fro", "nuc" (the sum of singular values), ±2 (the extreme one), ±1 and ±inf (of sums).

    Shapes:   x [*S] → [*S without two dims], or with size 1 there if keepdim
    Dtypes:   floats; "nuc" and ±2 float32 and float64
    Gradient: derived
    Errors:   ArgumentError for another order or not two different dimensions; DTypeError; DimensionError
    Source:   torch.linalg.matrix_norm

    >>> import duograph as dg
    >>> matrix_norm(dg.tensor([[3.0, 0.0], [0.0, -4.0]]), "nuc")
    tensor(7.)
    """
    x = x if dtype is None else x.to(dtype)
    rank = x.dim()
    if rank < 2:
        raise ShapeError(f"linalg.matrix_norm: takes matrices, got shape {tuple(x.shape)}")
    if not isinstance(dim, (tuple, list)) or len(dim) != 2 or dim[0] % rank == dim[1] % rank:
        raise ArgumentError(f"linalg.matrix_norm: dim must be two different dimensions, got {dim!r}")
    if any(not -rank <= d < rank for d in dim):
        raise DimensionError(f"linalg.matrix_norm: dim {tuple(dim)} is out of range for {rank} dimensions")
    rows, columns = dim[0] % rank, dim[1] % rank
    if ord == "fro":
        return vector_norm(x, 2, (rows, columns), keepdim)
    if ord in (1, -1, _INF, -_INF):
        first, second = (rows, columns) if ord in (1, -1) else (columns, rows)
        sums = x.abs().sum(first, True)
        made = sums.amax(second, True) if ord > 0 else sums.amin(second, True)
        return made if keepdim else made.squeeze((rows, columns))  # type: ignore[no-any-return]
    if ord not in ("nuc", 2, -2):
        raise ArgumentError(f"linalg.matrix_norm: ord must be 'fro', 'nuc', 2, 1, inf or a negative one, got {ord!r}")
    values: Any = svdvals(x.movedim((rows, columns), (-2, -1)))
    made = values.sum(-1) if ord == "nuc" else values.amax(-1) if ord == 2 else values.amin(-1)
    if not keepdim:
        return made  # type: ignore[no-any-return]
    for d in sorted((rows, columns)):
        made = made.unsqueeze(d)
    return made  # type: ignore[no-any-return]


@checked
def norm(x: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """`vector_norm` over one dimension, of a vector, or of everything if no order is given; else `matrix_norm`.

    Shapes:   x [*S] → [*S without the reduced dims], or with size 1 there if keepdim
    Dtypes:   floats; `dtype` converts before
    Gradient: as theirs
    Errors:   ShapeError for an order of neither a vector nor a matrix without dim; as theirs
    Source:   torch.linalg.norm

    >>> import duograph as dg
    >>> norm(dg.tensor([[3.0, 0.0], [0.0, 4.0]]), 1)
    tensor(4.)
    """
    if ord is None or isinstance(dim, int) or (dim is not None and len(dim) == 1):
        return vector_norm(x, 2 if ord is None else ord, dim, keepdim, dtype=dtype)
    if dim is None and x.dim() not in (1, 2):
        raise ShapeError(f"linalg.norm: an order without dim is of a vector or a matrix, got shape {tuple(x.shape)}")
    if dim is None and x.dim() == 1:
        return vector_norm(x, ord, None, keepdim, dtype=dtype)
    return matrix_norm(x, ord, (0, 1) if dim is None else dim, keepdim, dtype=dtype)


@under_autocast("float32")
def cond(x: Tensor, p: Any = None) -> Tensor:
    """How much a matrix magnifies relative errors: the ratio of its extreme singular values, or (p) of norms.

    Shapes:   x [*S, m, n], square for other orders than None, 2 and -2 → [*S]
    Dtypes:   float32, float64
    Gradient: derived
    Errors:   LinAlgError for a singular matrix where it is inverted; as `matrix_norm`
    Source:   torch.linalg.cond

    >>> import duograph as dg
    >>> cond(dg.tensor([[2.0, 0.0], [0.0, 4.0]]))
    tensor(2.)
    """
    if p in (None, 2, -2):
        values: Any = svdvals(x)
        ratio = values[..., 0] / values[..., -1]
        return 1 / ratio if p == -2 else ratio  # type: ignore[no-any-return]
    return matrix_norm(x, p) * matrix_norm(inv(x), p)


# Products


@checked
def matmul(a: Tensor, b: Tensor) -> Tensor:
    """The product of matrices: `duograph.matmul`."""
    return ops.matmul(a, b)  # type: ignore[no-any-return]


@checked
def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """The product of several matrices in the order that costs least; the first and the last may be vectors.

    Shapes:   [a, b], [b, c], … → [a, z], without a or z for vectors
    Gradient: as of the products
    Errors:   ArgumentError for fewer than two; ShapeError
    Source:   torch.linalg.multi_dot

    >>> import duograph as dg
    >>> multi_dot([dg.tensor([1.0, 2.0]), dg.tensor([[1.0], [1.0]]), dg.tensor([5.0])])
    tensor(15.)
    """
    given = list(tensors)
    if len(given) < 2:
        raise ArgumentError(f"linalg.multi_dot: needs at least two tensors, got {len(given)}")
    row, column = given[0].dim() == 1, given[-1].dim() == 1
    if row:
        given[0] = given[0].unsqueeze(0)
    if column:
        given[-1] = given[-1].unsqueeze(1)
    made = ops.chain_matmul(*given)
    made = made.squeeze(-1) if column else made
    return made.squeeze(0) if row else made  # type: ignore[no-any-return]


@checked
def matrix_power(x: Tensor, n: int) -> Tensor:
    """Square matrices to a whole power: of the inverse for a negative one.

    Shapes:   x [*S, k, k] → the same
    Gradient: derived
    Errors:   LinAlgError for a negative power of a singular matrix; ShapeError
    Source:   torch.linalg.matrix_power

    >>> import duograph as dg
    >>> matrix_power(dg.tensor([[2.0]]), -2)
    tensor([[0.2500]])
    """
    if n >= 0:
        return ops.matrix_power(x, n)  # type: ignore[no-any-return]
    return ops.matrix_power(inv(x), -n)  # type: ignore[no-any-return]


@under_autocast("lower")
def vecdot(a: Tensor, b: Tensor, *, dim: int = -1) -> Tensor:
    """The sum of products along a dimension.

    >>> import duograph as dg
    >>> vecdot(dg.tensor([[1.0, 2.0]]), dg.tensor([3.0, 4.0]))
    tensor([11.])
    """
    return (a * b).sum(dim)  # type: ignore[no-any-return]


@checked
def cross(a: Tensor, b: Tensor, *, dim: int = -1) -> Tensor:
    """The product of vectors of three elements along a dimension that is perpendicular to both.

    >>> import duograph as dg
    >>> cross(dg.tensor([1.0, 0.0, 0.0]), dg.tensor([0.0, 1.0, 0.0]))
    tensor([0., 0., 1.])
    """
    return ops.cross(a, b, dim)  # type: ignore[no-any-return]


@checked
def diagonal(x: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """A view of the diagonals of matrices, by default in the last two dimensions."""
    return ops.diagonal(x, offset, dim1, dim2)  # type: ignore[no-any-return]


@checked
def vander(x: Tensor, N: int | None = None) -> Tensor:
    """The powers 0 … N - 1 of each element, the lowest first; as many as there are elements.

    >>> import duograph as dg
    >>> vander(dg.tensor([2, 3]), 3)
    tensor([[1, 2, 4],
            [1, 3, 9]])
    """
    rows = ops.powers(x.reshape(-1), x.shape[-1] if N is None else N, True)
    return rows.reshape(*x.shape, rows.shape[-1])  # type: ignore[no-any-return]
