"""Linear systems of square matrices, and inverses."""

from __future__ import annotations

from typing import Any

from .. import _core as core
from ..autograd import Function
from ..errors import ShapeError
from ..ops.arguments import under_autocast
from ..tensors.creation import eye
from ..tensors.functions import broadcast_shapes
from .host import check, lapack, transposed

Tensor = core.Tensor

_SINGULAR = "the matrix is singular"
_inv = lapack("inv", lambda numpy, x: numpy.linalg.inv(x), "x", _SINGULAR)
_solve = lapack("solve", lambda numpy, a, b: numpy.linalg.solve(a, b), lambda a, b: a @ b, _SINGULAR)


def identity(n: Any, like: Any) -> Any:
    """The identity in a tensor's dtype."""
    return eye(n, dtype=like.dtype)


class _Inverse(Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        out = _inv(x)
        ctx.save_for_backward(out)
        return out

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (out,) = ctx.saved_tensors
        across = transposed(out)
        return -(across @ g @ across)


@under_autocast("float32")
def inv(x: Tensor) -> Tensor:
    """The inverse of square matrices.

    Shapes:   x [*S, n, n] → the same
    Dtypes:   float32, float64
    Gradient: -outᵀ · g · outᵀ
    Errors:   LinAlgError for a singular matrix; ShapeError; DTypeError
    Source:   torch.linalg.inv

    >>> import duograph as dg
    >>> inv(dg.tensor([[2.0, 0.0], [0.0, 4.0]]))
    tensor([[0.5000, 0.0000],
            [0.0000, 0.2500]])
    """
    check("inv", x, True)
    return _Inverse.apply(x)  # type: ignore[no-any-return]


class _Solution(Function):
    @staticmethod
    def forward(ctx: Any, a: Any, b: Any) -> Any:
        out = _solve(a, b)
        ctx.save_for_backward(a, out)
        return out

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        a, out = ctx.saved_tensors
        to_b = _Solution.apply(transposed(a), g)
        return -(to_b @ transposed(out)), to_b


def systems(name: str, a: Any, b: Any) -> tuple[Any, Any, bool]:
    """Both with the same batch dimensions, and whether the right sides were vectors."""
    check(name, a, True)
    vector = b.dim() == 1 or (b.dim() == a.dim() - 1 and tuple(b.shape) == tuple(a.shape[:-1]))
    b = b.unsqueeze(-1) if vector else b
    check(name, b)
    if a.shape[-1] != b.shape[-2]:
        raise ShapeError(f"linalg.{name}: {a.shape[-1]} unknowns, but right sides of {b.shape[-2]}")
    batch = tuple(broadcast_shapes(tuple(a.shape[:-2]), tuple(b.shape[:-2])))
    return a.expand(*batch, *a.shape[-2:]), b.expand(*batch, *b.shape[-2:]), vector


@under_autocast("float32")
def solve(a: Tensor, b: Tensor, *, left: bool = True) -> Tensor:
    """The solution x of a @ x = b, or (not left) of x @ a = b.

    Shapes:   a [*S, n, n], b [*S, n, k] or [*S, n] → b's; batches broadcast
    Dtypes:   float32, float64
    Gradient: to b the solution of the transposed system, to a its outer product with the solution
    Errors:   LinAlgError for a singular matrix; ShapeError; DTypeError
    Source:   torch.linalg.solve

    >>> import duograph as dg
    >>> solve(dg.tensor([[2.0, 0.0], [0.0, 4.0]]), dg.tensor([1.0, 1.0]))
    tensor([0.5000, 0.2500])
    """
    if not left:
        return transposed(solve(transposed(a), transposed(b)))  # type: ignore[no-any-return]
    a, b, vector = systems("solve", a, b)
    made = _Solution.apply(a, b)
    return made.squeeze(-1) if vector else made  # type: ignore[no-any-return]


@under_autocast("float32")
def solve_triangular(a: Tensor, b: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Tensor:
    """The solution x of a @ x = b (not left: of x @ a = b), where only one triangle of a counts.

    `unitriangular`: its diagonal counts as ones.

    Shapes:   a [*S, n, n], b [*S, n, k] → [*S, n, k]; batches broadcast
    Dtypes:   float32, float64
    Gradient: as of `solve`, to that triangle
    Errors:   LinAlgError for a singular matrix; ShapeError; DTypeError
    Source:   torch.linalg.solve_triangular

    >>> import duograph as dg
    >>> solve_triangular(dg.tensor([[2.0, 9.0], [1.0, 1.0]]), dg.tensor([[4.0], [3.0]]), upper=False)
    tensor([[2.],
            [1.]])
    """
    check("solve_triangular", a, True)
    check("solve_triangular", b)
    skip = 1 if unitriangular else 0
    part = a.triu(skip) if upper else a.tril(-skip)
    if unitriangular:
        part = part + identity(a.shape[-1], a)
    return solve(part, b, left=left)


inverse = inv  # PyTorch's name outside of linalg
