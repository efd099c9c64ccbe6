"""Sums of products by equation: einsum, tensordot."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import ArgumentError, ShapeError
from duograph.ir.dim import is_one

from ..definition import CONTRACTION, function, op
from ..dtypes import promote
from ..reduction.reductions import sum
from ..shapes.affine_views import diagonal
from ..shapes.movement import reshape
from ..shapes.permuting import permute
from ..tracing import require_equal, user_operator
from .contractions import contraction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duograph._core import Tensor

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _parsed(name: str, equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """The letters of each operand and of the result; an ellipsis becomes letters that nothing else uses."""
    text = equation.replace(" ", "")
    left, arrow, out = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise ArgumentError(f"{name}: the equation {equation!r} has {len(terms)} operands, {len(ranks)} are given")
    bare = text.replace("...", "").replace("->", "").replace(",", "")
    wrong = [c for c in bare if c not in _LETTERS]
    if wrong:
        raise ArgumentError(f"{name}: {wrong[0]!r} in {equation!r} is no letter", hint='as in "bij,bjk->bik" or "...i->..."')
    free = (chr(number) for number in count(0x100))
    wide = max(rank - len(term.replace("...", "")) if "..." in term else 0 for term, rank in zip(terms, ranks))
    dots = "".join(next(free) for _ in range(max(wide, 0)))
    expanded: list[str] = []
    for i, (term, rank) in enumerate(zip(terms, ranks)):
        extra = rank - len(term.replace("...", ""))
        if extra < 0 or (extra > 0 and "..." not in term):
            raise ArgumentError(f"{name}: {term!r} does not name the {rank} dimensions of operand {i}")
        expanded.append(term.replace("...", dots[len(dots) - extra :] if extra else ""))
    if not arrow:
        letters = "".join(expanded)
        return expanded, dots + "".join(sorted(c for c in set(letters) if letters.count(c) == 1 and c in _LETTERS))
    out = out.replace("...", dots)
    for letter in out:
        if out.count(letter) > 1:
            raise ArgumentError(f"{name}: {letter!r} appears twice in the result of {equation!r}")
        if not any(letter in term for term in expanded):
            raise ArgumentError(f"{name}: {letter!r} is in the result of {equation!r}, but in no operand")
    return expanded, out


def _without_repeats(x: Any, letters: str) -> tuple[Any, str]:
    """A letter that an operand has twice means its diagonal."""
    for letter in dict.fromkeys(letters):
        while letters.count(letter) > 1:
            first = letters.index(letter)
            second = letters.index(letter, first + 1)
            require_equal(
                user_operator("einsum"),
                x.shape[first],
                x.shape[second],
                f"sizes of {letter!r} differ: {x.shape[first]} and {x.shape[second]}",
            )
            x = diagonal(x, 0, first, second)
            letters = "".join(c for d, c in enumerate(letters) if d not in (first, second)) + letter
    return x, letters


def _without_ones(operands: list[tuple[Any, str]]) -> tuple[list[tuple[Any, str]], set[str]]:
    """Operands without dimensions of size 1 that others have in full, or in none; also the letters that are gone."""
    full = {letter for x, letters in operands for letter, size in zip(letters, x.shape) if not is_one(size)}
    made = []
    for x, letters in operands:
        kept = [d for d, size in enumerate(x.shape) if not is_one(size)]
        if len(kept) != len(letters):
            x, letters = reshape(x, tuple(x.shape[d] for d in kept)), "".join(letters[d] for d in kept)
        made.append((x, letters))
    return made, {letter for _, letters in operands for letter in letters} - full


def _summed(x: Any, letters: str, kept: set[str]) -> tuple[Any, str]:
    """The operand with the letters that nobody else needs summed over."""
    gone = tuple(d for d, letter in enumerate(letters) if letter not in kept)
    return (sum(x, gone), "".join(c for c in letters if c in kept)) if gone else (x, letters)


def _aligned(x: Any, letters: str, out: str) -> Any:
    """The operand's dimensions in the order of the result, 1 where it has none."""
    order = [letters.index(c) for c in out if c in letters]
    if order != sorted(order):
        x = permute(x, *order)
    sizes = iter(x.shape)
    return reshape(x, tuple(next(sizes) if c in letters else 1 for c in out)) if len(letters) != len(out) else x


def _pair(a: tuple[Any, str], b: tuple[Any, str], kept: set[str]) -> tuple[Any, str]:
    """Two operands made one; of their letters only the kept ones stay."""
    a = _summed(*a, kept | set(b[1]))
    b = _summed(*b, kept | set(a[1]))
    shared = [c for c in a[1] if c in b[1] and c in kept]
    out = "".join([*shared, *(c for c in a[1] if c not in b[1]), *(c for c in b[1] if c not in a[1])])
    for letter in set(a[1]) & set(b[1]):
        sizes = a[0].shape[a[1].index(letter)], b[0].shape[b[1].index(letter)]
        require_equal(user_operator("einsum"), *sizes, f"sizes of {letter!r} differ: {sizes[0]} and {sizes[1]}")
    if all(c in out for c in a[1] + b[1]) or a[0].dtype is core.bool:
        together = out + "".join(c for c in a[1] if c in b[1] and c not in kept)
        made = _aligned(*a, together) * _aligned(*b, together)
        return (sum(made, tuple(range(len(out), len(together)))) if len(together) > len(out) else made), out
    names = {c: _LETTERS[i] for i, c in enumerate(dict.fromkeys(a[1] + b[1]))}
    equation = ["".join(names[c] for c in letters) for letters in (a[1], b[1], out)]
    return contraction(a[0], b[0], f"{equation[0]},{equation[1]}->{equation[2]}"), out


def _einsum_samples(m: Any) -> Any:
    return [
        ([m(3, 4), m(4, 5)], "ij,jk->ik"),
        ([m(3, 3)], "ii"),
        ([m(3, 3)], "ii->i"),
        ([m(2, 3, 4), m(2, 4, 5)], "bij,bjk"),
        ([m(3), m(4)], "i,j->ji"),
        ([m(2, 3, 4)], "...ij->...ji"),
        ([m(2, 3, 4), m(4, 2)], "...i,ij->...j"),
        ([m(3, 4), m(3, 4)], "ij,ij->"),
        ([m(3, 4)], "ij->j"),
        ([m(2, 3), m(3, 4), m(4, 2)], "ab,bc,cd->ad"),
        ([m(2, 3, 3, 4), m(4)], "biij,j->bi"),
        ([m(1, 4), m(3, 4)], "ij,ij->ij"),
        ([m(2, 3), m(5)], "ab,c->b"),
    ]


@op(
    kind=CONTRACTION,
    dtypes=promote,
    method=False,
    public=False,
    tolerance=4.0,
    torch=lambda torch, operands, equation, path=(): torch.einsum(equation, *operands),
    samples=lambda m: [] if m.kind == "b" else _einsum_samples(m),
    autocast="lower",
)
def contract(operands: Sequence[Tensor], equation: str, path: tuple[int, ...] = ()) -> Tensor:
    """The sum of products that an einsum equation names; `path` are the numbers of the operands to join, pair by pair.

    Shapes:   as the equation says
    Dtypes:   promote
    Gradient: derived: sums of products
    Errors:   ArgumentError for an equation that does not fit; ShapeError if sizes of one letter differ
    Source:   torch.einsum

    >>> dg.ops.contract([tensor([1, 2]), tensor([3, 4])], "i,i->")
    tensor(11)
    """
    name = user_operator("einsum")
    terms, out = _parsed(name, equation, [len(x.shape) for x in operands])
    pairs = [_without_repeats(x, letters) for x, letters in zip(operands, terms)]
    pairs, gone = _without_ones(pairs)
    result = "".join(c for c in out if c not in gone)
    steps = iter(path)
    while len(pairs) > 1:
        second, first = sorted((next(steps, 1), next(steps, 0)), reverse=True)
        b, a = pairs.pop(second), pairs.pop(first)
        kept = set(result).union(*(letters for _, letters in pairs))
        joined = _pair(a, b, kept)
        pairs = [*pairs, joined] if path else [joined, *pairs]
    x, letters = _summed(*pairs[0], set(result))
    x = _aligned(x, letters, result)
    sizes = dict(zip(result, x.shape))
    return reshape(x, tuple(sizes.get(c, 1) for c in out)) if gone & set(out) else x


def _path(equation: str, operands: Sequence[Any]) -> tuple[int, ...]:
    """A good order in which to join three operands or more, if opt_einsum is there to find it."""
    if len(operands) < 3:
        return ()
    try:
        import opt_einsum  # type: ignore[import-untyped,import-not-found,unused-ignore]
    except ImportError:
        return ()
    shapes = [tuple(x.shape) for x in operands]
    if not all(isinstance(size, int) for shape in shapes for size in shape):
        return ()
    steps = opt_einsum.contract_path(equation, *shapes, shapes=True)[0]
    if any(len(step) != 2 for step in steps):
        return ()
    return tuple(number for step in steps for number in step)


def _lettered(arguments: Sequence[Any]) -> tuple[str, list[Any]]:
    """The form einsum(a, [0, 1], b, [1, 2], [0, 2]) as an equation."""

    def letters(numbers: Sequence[Any]) -> str:
        return "".join("..." if number is Ellipsis else _LETTERS[number] for number in numbers)

    operands, terms = list(arguments[0:-1:2]), [letters(numbers) for numbers in arguments[1::2]]
    out = "->" + letters(arguments[-1]) if len(arguments) % 2 else ""
    return ",".join(terms) + out, operands


@function(
    method=False,
    tolerance=4.0,
    torch="torch.einsum",
    samples=lambda m: [] if m.kind == "b" else [(equation, *operands) for operands, equation in _einsum_samples(m)[:4]],
)
def einsum(equation: Any, *operands: Any) -> Tensor:
    """The sum of products that an equation names: letters missing in the result are summed over.

    An ellipsis stands for the dimensions that have no letter; a letter twice in one operand for its diagonal; without
    "->" the result has the letters that appear once, in alphabetical order. Operands are joined from left to right, or
    in the order that opt_einsum finds if it is installed. Also einsum(a, [0, 1], b, [1, 2], [0, 2]).

    Shapes:   as the equation says
    Dtypes:   promote
    Gradient: sums of products
    Errors:   ArgumentError for an equation that does not fit; ShapeError if sizes of one letter differ
    Source:   torch.einsum

    >>> einsum("ij,jk->ik", tensor([[1, 2]]), tensor([[3], [4]]))
    tensor([[11]])
    """
    given: Any = operands
    if isinstance(equation, core.Tensor):
        equation, given = _lettered((equation, *operands))
    elif len(operands) == 1 and isinstance(operands[0], (tuple, list)):
        given = operands[0]
    if not given:
        raise ArgumentError("einsum: needs at least one operand")
    for number, x in enumerate(given):
        if not isinstance(x, core.Tensor):
            raise ArgumentError(f"einsum: operand {number} must be a Tensor, not {type(x).__name__}")
    return contract(list(given), equation, _path(equation, given))


@op(
    kind=CONTRACTION,
    dtypes=promote,
    method=False,
    public=False,
    tolerance=4.0,
    torch=lambda torch, a, b, first, second: torch.tensordot(a, b, (list(first), list(second))),
    samples=lambda m: (
        []
        if m.kind == "b"
        else [(m(3, 4, 5), m(4, 3, 2), (1, 0), (0, 1)), (m(2, 3), m(4), (), ()), (m(3, 2), m(2, 4), (-1,), (0,))]
    ),
    autocast="lower",
)
def tensordot_over(a: Tensor, b: Tensor, first: tuple[int, ...], second: tuple[int, ...]) -> Tensor:
    """The sum of products over pairs of dimensions.

    Shapes:   a [*S], b [*T] → [*S without first, *T without second]
    Dtypes:   promote
    Gradient: sums of products
    Errors:   ShapeError if sizes of a pair differ; DimensionError
    Source:   torch.tensordot

    >>> dg.ops.tensordot_over(tensor([1, 2]), tensor([3, 4]), (0,), (0,))
    tensor(11)
    """
    from ..shapes.movement import axis

    name = user_operator("tensordot")
    if len(first) != len(second):
        raise ArgumentError(f"{name}: {len(first)} dimensions of a, but {len(second)} of b are to be summed over")
    left, right = [axis(name, d, len(a.shape)) for d in first], [axis(name, d, len(b.shape)) for d in second]
    letters_a = list(_LETTERS[: len(a.shape)])
    letters_b = list(_LETTERS[len(a.shape) : len(a.shape) + len(b.shape)])
    for d, e in zip(left, right):
        if a.shape[d] != b.shape[e] and isinstance(a.shape[d], int) and isinstance(b.shape[e], int):
            raise ShapeError(f"{name}: size {a.shape[d]} of dimension {d} of a, size {b.shape[e]} of dimension {e} of b")
        letters_b[e] = letters_a[d]
    out = [c for d, c in enumerate(letters_a) if d not in left] + [c for d, c in enumerate(letters_b) if d not in right]
    made: Tensor = _pair((a, "".join(letters_a)), (b, "".join(letters_b)), set(out))[0]
    return made


@function(
    method=False,
    tolerance=4.0,
    samples=lambda m: (
        []
        if m.kind == "b"
        else [(m(2, 3, 4), m(3, 4, 5)), (m(3, 4), m(4, 2), 1), (m(3, 4), m(2, 3), ([0], [1])), (m(2), m(3), 0)]
    ),
)
def tensordot(a: Tensor, b: Tensor, dims: Any = 2) -> Tensor:
    """The sum of products over the last dims of a and the first of b, or over pairs of dimensions.

    Shapes:   a [*S], b [*T] → what is not summed over of S, then of T
    Dtypes:   promote
    Gradient: sums of products
    Errors:   ShapeError if sizes of a pair differ; DimensionError
    Source:   torch.tensordot

    >>> tensordot(tensor([1, 2]), tensor([3, 4]), 1)
    tensor(11)
    """
    if isinstance(dims, int):
        if not 0 <= dims <= min(a.dim(), b.dim()):
            raise ArgumentError(f"tensordot: {dims} dimensions of tensors that have {a.dim()} and {b.dim()}")
        return tensordot_over(a, b, tuple(range(a.dim() - dims, a.dim())), tuple(range(dims)))
    first, second = ((d,) if isinstance(d, int) else tuple(d) for d in dims)
    return tensordot_over(a, b, first, second)
