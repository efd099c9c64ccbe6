"""Products of matrices and vectors in further forms: added to something, of several, powers."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from duograph.errors import ArgumentError, DimensionError, DomainError, ShapeError

from ..definition import COMPOSITION, CONTRACTION, function, op
from ..dtypes import floats, numeric, promote, same
from ..elementwise.choice import where
from ..reduction.reductions import sum
from ..shapes.affine_views import diagonal
from ..shapes.creation import eye, full
from ..shapes.joining import stack
from ..shapes.movement import axis, reshape, unsqueeze
from ..shapes.slicing import select
from ..tracing import broadcast_shapes, require, require_equal, user_operator
from .contractions import contraction, dot, matmul, mm, mv
from .einsum import contract, tensordot_over

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duograph._core import Tensor

    from ..definition import Number


def _rank(name: str, what: str, x: Any, rank: int) -> None:
    if len(x.shape) != rank:
        raise ShapeError(f"{user_operator(name)}: {what} must have {rank} dimensions, got shape {tuple(x.shape)}")


def _added(x: Any, made: Any, beta: Any, alpha: Any) -> Tensor:
    """beta * x + alpha * made; x does not matter for a beta of 0."""
    name = user_operator("addmm")
    broadcast_shapes(name, [("x", tuple(x.shape)), ("the product", tuple(made.shape))])
    if not (isinstance(alpha, int) and alpha == 1):
        made = made * alpha
    if isinstance(beta, int) and beta == 1:
        plain: Tensor = x + made
        return plain
    total: Tensor = where(full((), beta) == 0, 0, x * beta) + made
    return total


def _sums(shapes: tuple[tuple[int, ...], ...]) -> Any:
    def samples(m: Any) -> Any:
        if m.kind == "b":
            return []
        calls = [tuple(m(*shape) for shape in shapes), (m(1), *(m(*shape) for shape in shapes[1:]))]
        return [*calls, (*(m(*shape) for shape in shapes), 2, 3)]

    return samples


@op(
    kind=CONTRACTION,
    dtypes=numeric.on("x", "a", "b"),
    inplace=True,
    tolerance=8.0,
    torch=lambda torch, x, a, b, beta=1, alpha=1: torch.addmm(x, a, b, beta=beta, alpha=alpha),
    samples=_sums(((3, 5), (3, 4), (4, 5))),
    names="mat1=a mat2=b",
    autocast="lower",
)
def addmm(x: Tensor, a: Tensor, b: Tensor, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """beta * x + alpha * (a @ b) for matrices a and b.

    Shapes:   x broadcast to [m, n], a [m, k], b [k, n] → [m, n]
    Dtypes:   promote; bool is rejected
    Gradient: derived
    Errors:   ShapeError; DTypeError
    Source:   torch.addmm

    >>> addmm(tensor([[1.0]]), tensor([[2.0]]), tensor([[3.0]]))
    tensor([[7.]])
    """
    return _added(x, mm(a, b), beta, alpha)


@op(
    kind=CONTRACTION,
    dtypes=numeric.on("x", "a", "b"),
    inplace=True,
    tolerance=8.0,
    torch=lambda torch, x, a, b, beta=1, alpha=1: torch.addmv(x, a, b, beta=beta, alpha=alpha),
    samples=_sums(((3,), (3, 4), (4,))),
    names="mat=a vec=b",
)
def addmv(x: Tensor, a: Tensor, b: Tensor, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """beta * x + alpha * (a @ b) for a matrix a and a vector b.

    Shapes:   x broadcast to [m], a [m, k], b [k] → [m]
    Dtypes:   promote; bool is rejected
    Gradient: derived
    Errors:   ShapeError; DTypeError
    Source:   torch.addmv

    >>> addmv(tensor([1.0]), tensor([[2.0]]), tensor([3.0]))
    tensor([7.])
    """
    return _added(x, mv(a, b), beta, alpha)


@op(
    kind=CONTRACTION,
    dtypes=numeric.on("x", "a", "b"),
    inplace=True,
    tolerance=8.0,
    torch=lambda torch, x, a, b, beta=1, alpha=1: torch.addr(x, a, b, beta=beta, alpha=alpha),
    samples=_sums(((3, 4), (3,), (4,))),
    names="vec1=a vec2=b",
)
def addr(x: Tensor, a: Tensor, b: Tensor, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """beta * x + alpha times the outer product of vectors a and b.

    Shapes:   x broadcast to [m, n], a [m], b [n] → [m, n]
    Dtypes:   promote; bool is rejected
    Gradient: derived
    Errors:   ShapeError; DTypeError
    Source:   torch.addr

    >>> addr(tensor([[1.0]]), tensor([2.0]), tensor([3.0]))
    tensor([[7.]])
    """
    _rank("addr", "a", a, 1)
    _rank("addr", "b", b, 1)
    return _added(x, unsqueeze(a, 1) * unsqueeze(b, 0), beta, alpha)


@op(
    kind=CONTRACTION,
    dtypes=numeric.on("x", "a", "b"),
    inplace=True,
    tolerance=8.0,
    torch=lambda torch, x, a, b, beta=1, alpha=1: torch.baddbmm(x, a, b, beta=beta, alpha=alpha),
    samples=_sums(((2, 3, 5), (2, 3, 4), (2, 4, 5))),
    names="batch1=a batch2=b",
    autocast="lower",
)
def baddbmm(x: Tensor, a: Tensor, b: Tensor, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """beta * x + alpha * (a @ b) for batches of matrices.

    Shapes:   x broadcast to [*b, m, n], a [b, m, k], b [b, k, n] → [b, m, n]
    Dtypes:   promote; bool is rejected
    Gradient: derived
    Errors:   ShapeError; DTypeError
    Source:   torch.baddbmm

    >>> baddbmm(tensor([[[1.0]]]), tensor([[[2.0]]]), tensor([[[3.0]]]))
    tensor([[[7.]]])
    """
    _rank("baddbmm", "a", a, 3)
    _rank("baddbmm", "b", b, 3)
    return _added(x, contraction(a, b, "bmk,bkn->bmn"), beta, alpha)


@op(
    kind=CONTRACTION,
    dtypes=numeric.on("x", "a", "b"),
    inplace=True,
    tolerance=8.0,
    torch=lambda torch, x, a, b, beta=1, alpha=1: torch.addbmm(x, a, b, beta=beta, alpha=alpha),
    samples=_sums(((3, 5), (2, 3, 4), (2, 4, 5))),
    names="batch1=a batch2=b",
    autocast="lower",
)
def addbmm(x: Tensor, a: Tensor, b: Tensor, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """beta * x + alpha times the sum of a batch of matrix products.

    Shapes:   x broadcast to [m, n], a [b, m, k], b [b, k, n] → [m, n]
    Dtypes:   promote; bool is rejected
    Gradient: derived
    Errors:   ShapeError; DTypeError
    Source:   torch.addbmm

    >>> addbmm(tensor([[1.0]]), tensor([[[2.0]]]), tensor([[[3.0]]]))
    tensor([[7.]])
    """
    _rank("addbmm", "a", a, 3)
    _rank("addbmm", "b", b, 3)
    return _added(x, contraction(a, b, "bmk,bkn->mn"), beta, alpha)


# Vectors


@function(samples=lambda m: [] if m.kind == "b" else [(m(5), m(5)), (m(0), m(0))], tolerance=4.0, autocast="as given")
def vdot(a: Tensor, b: Tensor) -> Tensor:
    """The sum of products of two vectors: `dot`, as numbers here are real.

    Shapes:   a [n], b [n] → []
    Dtypes:   one dtype
    Gradient: b to a, a to b
    Errors:   ShapeError; DTypeError
    Source:   torch.vdot

    >>> vdot(tensor([1, 2]), tensor([3, 4]))
    tensor(11)
    """
    return dot(a, b)


@op(
    kind=CONTRACTION,
    dtypes=same,
    tolerance=4.0,
    samples=lambda m: [] if m.kind == "b" else [(m(3, 4), m(5, 4)), (m(4), m(4)), (m(2, 3, 4), m(4)), (m(), m(3, 2))],
    autocast="lower",
)
def inner(a: Tensor, b: Tensor) -> Tensor:
    """The sums of products over the last dimensions of both; with a 0-d operand the product.

    Shapes:   a [*S, k], b [*T, k] → [*S, *T]
    Dtypes:   one dtype
    Gradient: sums of products
    Errors:   ShapeError if the last sizes differ; DTypeError
    Source:   torch.inner

    >>> inner(tensor([1, 2]), tensor([3, 4]))
    tensor(11)
    """
    return tensordot_over(a, b, (-1,), (-1,)) if a.shape and b.shape else a * b


@op(
    kind=CONTRACTION,
    dtypes=promote,
    samples=lambda m: [] if m.kind == "b" else [(m(2, 3), m(4, 2)), (m(3), m(2)), (m(2), m(3, 2)), (m(), m(2))],
)
def kron(a: Tensor, b: Tensor) -> Tensor:
    """The Kronecker product: each element of a times b, put together.

    Shapes:   a [*S], b [*T] → [*(S * T)], the shorter shape with 1s in front
    Dtypes:   promote
    Gradient: derived
    Errors:   none
    Source:   torch.kron

    >>> kron(tensor([1, 2]), tensor([1, 1]))
    tensor([1, 1, 2, 2])
    """
    rank = len(a.shape) if len(a.shape) > len(b.shape) else len(b.shape)
    shape_a = (1,) * (rank - len(a.shape)) + tuple(a.shape)
    shape_b = (1,) * (rank - len(b.shape)) + tuple(b.shape)
    wide = reshape(a, tuple(s for size in shape_a for s in (size, 1))) * reshape(
        b, tuple(s for size in shape_b for s in (1, size))
    )
    return reshape(wide, tuple(x * y for x, y in zip(shape_a, shape_b)))


def _cross_dim(name: str, a: Any, b: Any, dim: int | None) -> int:
    if len(a.shape) != len(b.shape):
        raise ShapeError(f"{name}: a has {len(a.shape)} dimensions, b {len(b.shape)}")
    if dim is not None:
        return axis(name, dim, len(a.shape))
    for d, size in enumerate(a.shape):
        if isinstance(size, int) and size == 3:
            return d
    raise DimensionError(f"{name}: no dimension has size 3: {tuple(a.shape)}", hint="say which with dim")


@op(
    kind=COMPOSITION,
    dtypes=promote,
    method=False,
    public=False,
    torch="torch.linalg.cross",
    samples=lambda m: [] if m.kind == "b" else [(m(4, 3), m(4, 3)), (m(3), m(3)), (m(3, 2), m(3, 2), 0), (m(2, 3), m(1, 3))],
)
def cross_along(a: Tensor, b: Tensor, dim: int = -1) -> Tensor:
    """The vector products along a dimension of size 3.

    Shapes:   a [*S], b [*T] with 3 at dim → [*broadcast(S, T)]
    Dtypes:   promote
    Gradient: derived: vector products
    Errors:   ShapeError unless the size is 3; DimensionError
    Source:   torch.linalg.cross

    >>> dg.ops.cross_along(tensor([1, 0, 0]), tensor([0, 1, 0]))
    tensor([0, 0, 1])
    """
    name = user_operator("cross")
    at = _cross_dim(name, a, b, dim)
    for x in (a, b):
        require("eq", x.shape[at], 3, ShapeError, f"{name}: size {x.shape[at]} of dimension {at} should be 3")
    u, v = ([select(t, at, i) for i in range(3)] for t in (a, b))
    return stack([u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]], at)


@function(samples=lambda m: [] if m.kind == "b" else [(m(4, 3), m(4, 3)), (m(3, 2), m(3, 2), 0), (m(3, 4), m(3, 4))])
def cross(a: Tensor, b: Tensor, dim: int | None = None) -> Tensor:
    """The vector products along a dimension of size 3, without one along the first such.

    Shapes:   a [*S], b [*T] with 3 at dim → [*broadcast(S, T)]
    Dtypes:   promote
    Gradient: vector products
    Errors:   ShapeError unless the size is 3; DimensionError
    Source:   torch.cross

    >>> cross(tensor([1, 0, 0]), tensor([0, 1, 0]))
    tensor([0, 0, 1])
    """
    return cross_along(a, b, _cross_dim("cross", a, b, dim))


# Matrices


@op(kind=COMPOSITION, samples=lambda m: [(m(3, 4),), (m(4, 3),), (m(0, 2),)], autocast="float32")
def trace(x: Tensor) -> Tensor:
    """The sum of the diagonal of a matrix.

    Shapes:   x [n, m] → []
    Dtypes:   floats kept, integers and bool become int64
    Gradient: 1 on the diagonal
    Errors:   ShapeError unless x is a matrix
    Source:   torch.trace

    >>> trace(tensor([[1, 2], [3, 4]]))
    tensor(5)
    """
    _rank("trace", "x", x, 2)
    return sum(diagonal(x))


@op(
    kind=CONTRACTION,
    tolerance=32.0,
    samples=lambda m: [] if m.kind == "b" else [(m(3, 3), n) for n in (0, 1, 2, 5)] + [(m(2, 3, 3), 3)],
    autocast="lower",
)
def matrix_power(x: Tensor, n: int) -> Tensor:
    """A square matrix times itself, n in all, by repeated squaring.

    Shapes:   x [*S, k, k] → [*S, k, k]
    Dtypes:   kept
    Gradient: derived
    Errors:   ShapeError unless the matrices are square; DomainError for a negative n
    Source:   torch.matrix_power

    >>> matrix_power(tensor([[1, 1], [0, 1]]), 3)
    tensor([[1, 3],
            [0, 1]])
    """
    name = user_operator("matrix_power")
    if len(x.shape) < 2:
        raise ShapeError(f"{name}: takes matrices, got shape {tuple(x.shape)}")
    side = require_equal(name, x.shape[-2], x.shape[-1], f"the matrices are not square: {x.shape[-2]} × {x.shape[-1]}")
    if n < 0:
        raise DomainError(f"{name}: n must not be negative, got {n}", hint="use linalg.matrix_power")
    if n == 0:
        return x * 0 + eye(side, dtype=x.dtype)
    made: Any = None
    square: Any = x
    while n:
        if n & 1:
            made = square if made is None else matmul(made, square)
        n >>= 1
        if n:
            square = matmul(square, square)
    return made * 1 if made is x else made


@lru_cache(256)
def _chain_order(sizes: tuple[int, ...]) -> tuple[tuple[int, int, int], ...]:
    """Where to split each run of matrices so that the products cost least (Cormen et al., Introduction to Algorithms, 14.2)."""
    count = len(sizes) - 1
    cost = {(i, i): 0 for i in range(count)}
    split: dict[tuple[int, int], int] = {}
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            costs = [(cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j)]
            cost[i, j], split[i, j] = min(costs)
    return tuple((i, j, k) for (i, j), k in split.items())


@op(
    kind=CONTRACTION,
    dtypes=numeric,
    method=False,
    public=False,
    tolerance=16.0,
    samples=lambda m: [] if m.kind == "b" else [([m(3, 4), m(4, 2), m(2, 5)], ((0, 1, 0), (1, 2, 1), (0, 2, 0)))],
    autocast="lower",
)
def chained(matrices: Sequence[Tensor], order: tuple[tuple[int, int, int], ...]) -> Tensor:
    """The product of several matrices; `order` has (first, last, where to split) of runs of them, one after the other if not.

    Shapes:   [a, b], [b, c], … → [a, z]
    Dtypes:   promote
    Gradient: as of the products
    Errors:   ShapeError if inner sizes differ
    Source:   torch.chain_matmul

    >>> dg.ops.chained([tensor([[1, 2]]), tensor([[3], [4]])], ())
    tensor([[11]])
    """
    split = {(i, j): k for i, j, k in order}

    def made(i: int, j: int) -> Any:
        k = split.get((i, j), j - 1)
        return matrices[i] if i == j else mm(made(i, k), made(k + 1, j))

    return made(0, len(matrices) - 1)  # type: ignore[no-any-return]


@function(method=False, tolerance=16.0, samples=lambda m: [] if m.kind == "b" else [(m(3, 4), m(4, 2), m(2, 5)), (m(2, 3),)])
def chain_matmul(*matrices: Tensor) -> Tensor:
    """The product of several matrices, in the order that costs least.

    Shapes:   [a, b], [b, c], … → [a, z]
    Dtypes:   one dtype
    Gradient: as of the products
    Errors:   ShapeError if inner sizes differ; ArgumentError for none; DTypeError
    Source:   torch.chain_matmul

    >>> chain_matmul(tensor([[1, 2]]), tensor([[3], [4]]), tensor([[5]]))
    tensor([[55]])
    """
    given = tuple(matrices[0]) if len(matrices) == 1 and isinstance(matrices[0], (tuple, list)) else matrices
    if not given:
        raise ArgumentError("chain_matmul: needs at least one matrix")
    for x in given:
        _rank("chain_matmul", "each operand", x, 2)
    if len(given) == 1:
        return given[0]
    sizes = (given[0].shape[0], *(x.shape[1] for x in given))
    plain = all(isinstance(size, int) for size in sizes)
    return chained(list(given), _chain_order(tuple(map(int, sizes))) if plain else ())


@op(
    kind=CONTRACTION,
    dtypes=floats,
    method=False,
    functional=True,
    tolerance=8.0,
    torch="torch.nn.functional.bilinear",
    samples=lambda m: [] if not m.is_float else [(m(5, 2), m(5, 3), m(4, 2, 3), m(4)), (m(2, 5, 2), m(2, 5, 3), m(1, 2, 3))],
    names="input1=x1 input2=x2",
)
def bilinear(x1: Tensor, x2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x1ᵀ · weight[o] · x2 + bias for each output o.

    Shapes:   x1 [*S, i], x2 [*S, j], weight [o, i, j], bias [o] → [*S, o]
    Dtypes:   floats
    Gradient: derived: sums of products
    Errors:   ShapeError; DTypeError
    Source:   torch.nn.functional.bilinear

    >>> bilinear(tensor([2.0]), tensor([3.0]), tensor([[[1.0]]]))
    tensor([6.])
    """
    _rank("bilinear", "weight", weight, 3)
    made = contract([x1, weight, x2], "...i,oij,...j->...o")
    return made if bias is None else made + bias
