"""Sums of products: matrix products of every rank, and linear layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import ShapeError
from duograph.ir.dim import product

from ..definition import CONTRACTION, function, op
from ..dtypes import same
from ..reduction.reductions import sum
from ..shapes.copying import cast
from ..shapes.movement import broadcast_to, reshape
from ..shapes.permuting import permute
from ..tracing import broadcast_shapes, describe, emit, lowered_from, require_equal, user_operator

if TYPE_CHECKING:
    from duograph._core import Tensor


@op(
    kind=CONTRACTION,
    dtypes=same,
    lowers=True,
    method=False,
    public=False,
    reference=lambda np, a, b, equation: np.einsum(equation.replace("->", "->"), a, b),
    samples=lambda m: [(m(3, 4), m(4, 5), "mk,kn->mn"), (m(2, 3, 4), m(2, 5, 4), "bmk,bnk->bmn"), (m(4), m(4), "k,k->")],
)
def contraction(a: Tensor, b: Tensor, equation: str) -> Tensor:
    """The contraction that an equation "mk,kn->mn" names: letters missing on the right are summed over.

    Every letter of an operand is in the other operand or in the result.

    Shapes:   as the equation says
    Dtypes:   one dtype; 16-bit floats accumulate in float32
    Gradient: contractions of the same kind
    Errors:   ShapeError if sizes of one letter differ; DTypeError
    Source:   numpy.einsum for two operands

    >>> dg.ops.contraction(tensor([1.0, 2.0]), tensor([3.0, 4.0]), "k,k->")
    tensor(11.)
    """
    left, out = equation.split("->")
    first, second = left.split(",")
    sizes: dict[str, Any] = {}
    for letters, x in ((first, a), (second, b)):
        if len(letters) != len(x.shape):
            raise ShapeError(
                f"{user_operator('contraction')}: {letters!r} does not name the {len(x.shape)} dimensions of an operand"
            )
        for letter, size in zip(letters, x.shape):
            seen = sizes.setdefault(letter, size)
            sizes[letter] = require_equal(
                user_operator("contraction"), seen, size, f"sizes of {letter!r} differ: {seen} and {size}"
            )
    if set(first) == set(second) and a.dtype.kind in "fiu":
        return _sum_of_products(a, b, first, second, out)
    names: dict[str, str] = {"a": first, "b": second, "out": out}
    summed = [letter for letter in first if letter not in out]
    if summed and lowered_from() is core.bfloat16 and a.dtype is core.float32:
        names["pairs"] = summed[0]  # may be multiplied two by two along it, as bfloat16
    return emit("contraction", [a, b], a.dtype, tuple(sizes[letter] for letter in out), **names)


def _sum_of_products(a: Any, b: Any, first: str, second: str, out: str) -> Tensor:
    """Where both operands have all letters nothing is read twice: a reduction, not a product of matrices."""
    order = out + "".join(letter for letter in first if letter not in out)
    parts = [x if order == letters else permute(x, *map(letters.index, order)) for x, letters in ((a, first), (b, second))]
    if a.dtype.is_floating_point and a.dtype.itemsize == 2:
        parts = [cast(x, core.float32) for x in parts]
    made: Tensor = parts[0] * parts[1]
    if len(out) < len(order):
        made = sum(made, tuple(range(len(out), len(order))))
    return made if made.dtype == a.dtype else cast(made, a.dtype)


@contraction.vjp
def _(g: Any, out: Any, a: Any, b: Any, equation: str) -> Any:
    left, result = equation.split("->")
    first, second = left.split(",")
    return contraction(g, b, f"{result},{second}->{first}"), contraction(a, g, f"{first},{result}->{second}")


def _matmul_samples(m: Any) -> Any:
    return [
        (m(3, 4), m(4, 5)),
        (m(4), m(4)),
        (m(3, 4), m(4)),
        (m(4), m(4, 5)),
        (m(2, 3, 4), m(2, 4, 5)),
        (m(2, 3, 4), m(4, 5)),
        (m(3, 4), m(2, 4, 5)),
        (m(2, 1, 3, 4), m(5, 4, 2)),
        (m(4), m(2, 4, 5)),
        (m(2, 3, 4), m(4)),
        (m(0, 4), m(4, 3)),
        (m(3, 0), m(0, 2)),
        (m(1, 4), m(4, 1)),
        (m(17, 33), m(33, 65)),
    ]


@op(
    kind=CONTRACTION,
    dtypes=same,
    reference="numpy.matmul",
    samples=_matmul_samples,
    slot="__matmul__",
    tolerance=4.0,
    autocast="lower",
)
def matmul(a: Tensor, b: Tensor) -> Tensor:
    """The matrix product. 1-d operands are a row on the left, a column on the right, and lose that dimension again.

    Shapes:   a [*S, m, k], b [*T, k, n] → [*broadcast(S, T), m, n]
    Dtypes:   one dtype; 16-bit floats accumulate in float32
    Gradient: g · bᵀ to a, aᵀ · g to b, summed over broadcast dimensions
    Errors:   ShapeError if inner sizes differ, or for 0-d operands; DTypeError for two dtypes
    Source:   torch.matmul

    >>> tensor([[1.0, 2.0]]) @ tensor([[3.0], [4.0]])
    tensor([[11.]])
    """
    name = user_operator("matmul")
    if not a.shape or not b.shape:
        which = "a" if not a.shape else "b"
        raise ShapeError(
            f"{name}: {which} has no dimensions", [describe("a", a), describe("b", b)], hint="use a * b for a number"
        )
    inner = b.shape[-2 if len(b.shape) > 1 else -1]
    if isinstance(inner, int) and isinstance(a.shape[-1], int) and inner != a.shape[-1]:
        raise ShapeError(
            f"{name}: inner sizes differ: a.shape[-1] = {a.shape[-1]}, b.shape[{-2 if len(b.shape) > 1 else -1}] = {inner}",
            [describe("a", a), describe("b", b)],
            hint=f"b must be [{a.shape[-1]}, N]" if len(b.shape) > 1 else f"b must be [{a.shape[-1]}]",
        )
    ranks = len(a.shape), len(b.shape)
    if ranks == (1, 1):
        return contraction(a, b, "k,k->")
    if ranks[0] == 1:
        a = reshape(a, 1, a.shape[0])
    if ranks[1] == 1:
        b = reshape(b, b.shape[0], 1)
    result = _matrix_product(name, a, b)
    shape = tuple(result.shape)
    if ranks[0] == 1:
        return reshape(result, *shape[:-2], shape[-1])
    return reshape(result, shape[:-1]) if ranks[1] == 1 else result


def _matrix_product(name: str, a: Any, b: Any) -> Any:
    """Both operands have at least two dimensions."""
    outer_a, outer_b = tuple(a.shape[:-2]), tuple(b.shape[:-2])
    if not outer_b:  # one matrix on the right: all rows on the left make one product
        rows = reshape(a, product(tuple(a.shape[:-1])), a.shape[-1]) if outer_a else a
        made = contraction(rows, b, "mk,kn->mn")
        return reshape(made, *a.shape[:-1], b.shape[-1]) if outer_a else made
    outer = broadcast_shapes(name, [("a", outer_a), ("b", outer_b)])
    if outer_a != outer:
        a = broadcast_to(a, (*outer, *a.shape[-2:]))
    if outer_b != outer:
        b = broadcast_to(b, (*outer, *b.shape[-2:]))
    batch = "abcdefghij"[: len(outer)]
    return contraction(a, b, f"{batch}mk,{batch}kn->{batch}mn")


def _np_linear(np: Any, x: Any, weight: Any, bias: Any = None) -> Any:
    return x @ weight.T + (0 if bias is None else bias)


@op(
    functional=True,
    kind=CONTRACTION,
    dtypes=same,
    method=False,
    reference=_np_linear,
    tolerance=4.0,
    samples=lambda m: [
        (m(3, 4), m(5, 4), m(5)),
        (m(4), m(5, 4), m(5)),
        (m(2, 3, 4), m(5, 4), m(5)),
        (m(3, 4), m(5, 4)),
        (m(0, 4), m(5, 4), m(5)),
        (m(2, 3, 4), m(4)),
        (m(4), m(4)),
        (m(19, 33), m(34, 33), m(34)),
    ],
    autocast="lower",
)
def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x · weightᵀ + bias.

    Shapes:   x [*S, k], weight [n, k], bias [n] → [*S, n]; weight [k] without bias → [*S]
    Dtypes:   one dtype; 16-bit floats accumulate in float32
    Gradient: g · weight to x, gᵀ · x to weight, the sum of g over S to bias
    Errors:   ShapeError if sizes do not fit; DTypeError for two dtypes
    Source:   torch.nn.functional.linear

    >>> dg.nn.functional.linear(tensor([1.0, 2.0]), tensor([[3.0, 4.0]]), tensor([1.0]))
    tensor([12.])
    """
    name = user_operator("linear")
    if x.shape and len(weight.shape) == 1 and bias is None:
        return matmul(x, weight)
    if not x.shape or len(weight.shape) != 2:
        raise ShapeError(f"{name}: needs x [*, k] and weight [n, k]", [describe("x", x), describe("weight", weight)])
    if isinstance(x.shape[-1], int) and isinstance(weight.shape[1], int) and x.shape[-1] != weight.shape[1]:
        raise ShapeError(
            f"{name}: inner sizes differ: x.shape[-1] = {x.shape[-1]}, weight.shape[1] = {weight.shape[1]}",
            [describe("x", x), describe("weight", weight)],
        )
    flat = len(x.shape) == 2
    rows = x if flat else reshape(x, product(tuple(x.shape[:-1])), x.shape[-1])
    result = contraction(rows, weight, "mk,nk->mn")
    if bias is not None:
        message = f"bias must have shape ({weight.shape[0]},), got {tuple(bias.shape)}"
        if len(bias.shape) != 1:
            raise ShapeError(f"{name}: {message}")
        require_equal(name, weight.shape[0], bias.shape[0], message)
        result = result + bias
    return result if flat else reshape(result, *x.shape[:-1], weight.shape[0])


@linear.vjp
def _(g: Any, out: Any, x: Any, weight: Any, bias: Any) -> Any:
    if len(weight.shape) == 1:
        count = product(tuple(x.shape[:-1]))
        rows, slopes = reshape(x, count, x.shape[-1]), reshape(g, count)
        return reshape(contraction(slopes, weight, "m,k->mk"), x.shape), contraction(rows, slopes, "mk,m->k"), None
    flat = len(x.shape) == 2
    count = product(tuple(x.shape[:-1]))
    rows, slopes = (x, g) if flat else (reshape(x, count, x.shape[-1]), reshape(g, count, g.shape[-1]))
    first = contraction(slopes, weight, "mn,nk->mk")
    to_bias = None if bias is None else sum(slopes, 0)
    return first if flat else reshape(first, x.shape), contraction(slopes, rows, "mn,mk->nk"), to_bias


def _of_ranks(name: str, *pairs: tuple[Any, int]) -> None:
    for position, (x, rank) in enumerate(pairs):
        if x.ndim != rank:
            raise ShapeError(f"{name}: operand {position} must have {rank} dimensions, got shape {tuple(x.shape)}")


@function(reference="numpy.matmul", samples=lambda m: [(m(3, 4), m(4, 5))], names="mat2=b")
def mm(a: Tensor, b: Tensor) -> Tensor:
    """The product of two matrices. See `matmul`.

    Shapes:   a [m, k], b [k, n] → [m, n]
    Dtypes:   one dtype
    Gradient: as `matmul`
    Errors:   ShapeError
    Source:   torch.mm

    >>> mm(tensor([[2.0]]), tensor([[3.0]]))
    tensor([[6.]])
    """
    _of_ranks("mm", (a, 2), (b, 2))
    return matmul(a, b)


@function(reference="numpy.matmul", samples=lambda m: [(m(2, 3, 4), m(2, 4, 5))], names="mat2=b")
def bmm(a: Tensor, b: Tensor) -> Tensor:
    """The products of two batches of matrices. See `matmul`.

    Shapes:   a [b, m, k], b [b, k, n] → [b, m, n]
    Dtypes:   one dtype
    Gradient: as `matmul`
    Errors:   ShapeError
    Source:   torch.bmm

    >>> bmm(tensor([[[2.0]]]), tensor([[[3.0]]]))
    tensor([[[6.]]])
    """
    _of_ranks("bmm", (a, 3), (b, 3))
    if a.shape[0] != b.shape[0]:
        raise ShapeError(f"bmm: batch sizes differ: {a.shape[0]} and {b.shape[0]}", [describe("a", a), describe("b", b)])
    return matmul(a, b)


@function(reference="numpy.matmul", samples=lambda m: [(m(3, 4), m(4))], names="vec=b", autocast="as given")
def mv(a: Tensor, b: Tensor) -> Tensor:
    """The product of a matrix and a vector. See `matmul`.

    Shapes:   a [m, k], b [k] → [m]
    Dtypes:   one dtype
    Gradient: as `matmul`
    Errors:   ShapeError
    Source:   torch.mv

    >>> mv(tensor([[2.0]]), tensor([3.0]))
    tensor([6.])
    """
    _of_ranks("mv", (a, 2), (b, 1))
    return matmul(a, b)


@function(reference="numpy.dot", samples=lambda m: [(m(5), m(5))], names="tensor=b", autocast="as given")
def dot(a: Tensor, b: Tensor) -> Tensor:
    """The sum of products of two vectors. See `matmul`.

    Shapes:   a [k], b [k] → []
    Dtypes:   one dtype
    Gradient: as `matmul`
    Errors:   ShapeError
    Source:   torch.dot

    >>> dot(tensor([2.0, 1.0]), tensor([3.0, 4.0]))
    tensor(10.)
    """
    _of_ranks("dot", (a, 1), (b, 1))
    return matmul(a, b)


@function(reference="numpy.outer", samples=lambda m: [(m(5), m(3))], aliases=("ger",), names="vec2=b")
def outer(a: Tensor, b: Tensor) -> Tensor:
    """All products of two vectors' elements.

    Shapes:   a [m], b [n] → [m, n]
    Dtypes:   promote
    Gradient: as `mul`
    Errors:   ShapeError
    Source:   torch.outer

    >>> outer(tensor([1.0, 2.0]), tensor([3.0]))
    tensor([[3.],
            [6.]])
    """
    _of_ranks("outer", (a, 1), (b, 1))
    return a.unsqueeze(1) * b  # type: ignore[no-any-return]
