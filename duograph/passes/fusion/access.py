"""Where a kernel reads a value: one index expression per dimension over the kernel's loops.

An index is an offset and terms `coefficient * (loop // divisor % modulus)`; movement operators turn the indices at
their result into indices at their operand, so they cost nothing. Divisors and moduli come from a merged loop over
several dims; they must cancel where memory is addressed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from duograph.ir.dim import Expr, floordiv, known_le, mod, product

Term: TypeAlias = "tuple[int, Expr, Expr, Expr | None]"  # loop, coefficient, divisor, modulus
Mask: TypeAlias = "tuple[tuple[int, Expr, Expr], ...]"  # loop, low, high: outside the value read is zero


class Index(NamedTuple):
    """offset + sum of terms."""

    offset: Expr
    terms: tuple[Term, ...]

    @property
    def loop(self) -> int | None:
        """The loop this index is, if it is just one."""
        if len(self.terms) == 1 and self.offset == 0:
            loop, coefficient, divisor, modulus = self.terms[0]
            if coefficient == 1 and divisor == 1 and modulus is None:
                return loop
        return None


Access: TypeAlias = "tuple[Index, ...]"

ZERO = Index(0, ())


class Split(NamedTuple):
    """What a reshape asks for before it can be followed: this loop as several loops of these extents."""

    loop: int
    sizes: tuple[Expr, ...]


def loop_index(loop: int) -> Index:
    """The index that is this loop."""
    return Index(0, ((loop, 1, 1, None),))


def scaled(index: Index, factor: Expr, offset: Expr = 0) -> Index:
    """factor * index + offset."""
    if factor == 1 and offset == 0:
        return index
    terms = tuple((loop, coefficient * factor, divisor, modulus) for loop, coefficient, divisor, modulus in index.terms)
    return Index(index.offset * factor + offset, terms)


def linear(access: Sequence[Index], strides: Sequence[Expr]) -> Index:
    """sum(index * stride), with quotients and remainders of one loop put together again where they fit."""
    offset: Expr = 0
    sums: dict[tuple[int, Expr, Expr | None], Expr] = {}
    divided = False
    for index, stride in zip(access, strides):
        if stride.__class__ is int and stride == 0:
            continue
        if index.offset.__class__ is not int or index.offset != 0:
            offset = offset + index.offset * stride
        for loop, coefficient, divisor, modulus in index.terms:
            key = (loop, divisor, modulus)
            amount = stride if coefficient.__class__ is int and coefficient == 1 else coefficient * stride
            sums[key] = sums[key] + amount if key in sums else amount
            divided = divided or modulus is not None or divisor != 1
    if divided:
        sums = _recombine(sums)
    return Index(offset, tuple((loop, c, divisor, modulus) for (loop, divisor, modulus), c in sums.items() if c != 0))


def _recombine(sums: dict[tuple[int, Expr, Expr | None], Expr]) -> dict[tuple[int, Expr, Expr | None], Expr]:
    """c*m*(i // m) + c*(i % m) is c*i."""
    merged = True
    while merged:
        merged = False
        for (loop, divisor, modulus), coefficient in list(sums.items()):
            if modulus is None:
                continue
            for (other, outer_divisor, outer_modulus), outer in list(sums.items()):
                if other == loop and outer_divisor == divisor * modulus and outer == coefficient * modulus:
                    del sums[loop, divisor, modulus], sums[other, outer_divisor, outer_modulus]
                    key = (loop, divisor, None if outer_modulus is None else modulus * outer_modulus)
                    sums[key] = sums[key] + coefficient if key in sums else coefficient
                    merged = True
                    break
            if merged:
                break
    return sums


def is_plain(index: Index) -> bool:
    """Whether no quotient or remainder is left."""
    return all(divisor == 1 and modulus is None for _, _, divisor, modulus in index.terms)


def divided(access: Access) -> bool:
    """Whether some index has a quotient or remainder."""
    return any(divisor != 1 or modulus is not None for index in access for _, _, divisor, modulus in index.terms)


def through_broadcast(access: Access, shape: Sequence[Expr], target: Sequence[Expr]) -> Access:
    """Indices at the operand of a broadcast from `shape` to `target`."""
    start = len(target) - len(shape)
    return tuple(
        ZERO if size.__class__ is int and size == 1 and target[start + d] != 1 else access[start + d]
        for d, size in enumerate(shape)
    )


def through_permute(access: Access, dims: Sequence[int]) -> Access:
    """Indices at the operand of a permutation."""
    result = [ZERO] * len(dims)
    for position, dim in enumerate(dims):
        result[dim] = access[position]
    return tuple(result)


def through_slice(access: Access, starts: Sequence[Expr], steps: Sequence[Expr]) -> Access:
    """Indices at the operand of a slice."""
    return tuple(scaled(index, step, start) for index, start, step in zip(access, starts, steps))


def through_affine(access: Access, offsets: Sequence[Expr], coefficients: Sequence[Expr]) -> Access:
    """Indices at the operand of an affine map: for each of its dims an offset and coefficients of the result's dims."""
    rank = len(access)
    found = [linear(access, coefficients[d * rank : (d + 1) * rank]) for d in range(len(offsets))]
    return tuple(Index(index.offset + offset, index.terms) for index, offset in zip(found, offsets))


def through_flip(access: Access, dims: Sequence[int], shape: Sequence[Expr]) -> Access:
    """Indices at the operand of a flip."""
    return tuple(scaled(index, -1, shape[d] - 1) if d in dims else index for d, index in enumerate(access))


def reshape_blocks(shape: Sequence[Expr], target: Sequence[Expr]) -> list[tuple[list[int], list[int]]] | None:
    """Matching blocks of dims of two shapes with equal products, as small as possible; sizes 1 belong nowhere.

    None where the products cannot be matched.
    """
    left = [d for d, size in enumerate(shape) if size != 1]
    right = [d for d, size in enumerate(target) if size != 1]
    blocks: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(left) and j < len(right):
        a, b = [left[i]], [right[j]]
        size_a, size_b = shape[left[i]], target[right[j]]
        i, j = i + 1, j + 1
        while size_a != size_b:
            # The side whose product still divides the other's grows; without order between symbols, try what is left.
            grow_left = _smaller(size_a, size_b, i < len(left), j < len(right))
            if grow_left is None:
                return _rest(shape, target, blocks)
            if grow_left:
                a.append(left[i])
                size_a = size_a * shape[left[i]]
                i += 1
            else:
                b.append(right[j])
                size_b = size_b * target[right[j]]
                j += 1
        blocks.append((a, b))
    if i < len(left) or j < len(right):
        return _rest(shape, target, blocks)
    return blocks


def _smaller(a: Expr, b: Expr, more_a: bool, more_b: bool) -> bool | None:
    empty = (isinstance(a, int) and a == 0) or (isinstance(b, int) and b == 0)
    if empty:  # the other side becomes 0 too, sooner or later
        return more_a if isinstance(b, int) and b == 0 else False if more_b else None
    if more_a and (mod(b, a) == 0 or (isinstance(a, int) and isinstance(b, int) and a < b)):
        return True
    if more_b and (mod(a, b) == 0 or (isinstance(a, int) and isinstance(b, int) and b < a)):
        return False
    return None


def _rest(
    shape: Sequence[Expr], target: Sequence[Expr], blocks: list[tuple[list[int], list[int]]]
) -> list[tuple[list[int], list[int]]] | None:
    """The blocks found so far and one block of everything behind them."""
    done_left = {d for a, _ in blocks for d in a}
    done_right = {d for _, b in blocks for d in b}
    a = [d for d, size in enumerate(shape) if size != 1 and d not in done_left]
    b = [d for d, size in enumerate(target) if size != 1 and d not in done_right]
    if not a or not b:
        return None
    return [*blocks, (a, b)]


def through_reshape(
    access: Access, shape: Sequence[Expr], target: Sequence[Expr], extents: Sequence[Expr], splittable: Sequence[bool]
) -> Access | Split | None:
    """Indices at the operand (of `shape`) of a reshape to `target`; None where they are not expressible."""
    blocks = reshape_blocks(shape, target)
    if blocks is None:
        return None
    result: list[Index] = [ZERO] * len(shape)
    for a, b in blocks:
        if len(a) == 1 and len(b) == 1:
            result[a[0]] = access[b[0]]
            continue
        inner = _inner_strides([target[d] for d in b])
        index = linear([access[d] for d in b], inner)
        found = _delinearise(index, [shape[d] for d in a], extents, splittable)
        if found is None or isinstance(found, Split):
            return found
        for d, part in zip(a, found):
            result[d] = part
    return tuple(result)


def _inner_strides(sizes: Sequence[Expr]) -> list[Expr]:
    strides: list[Expr] = []
    step: Expr = 1
    for size in reversed(sizes):
        strides.append(step)
        step = step * size
    return strides[::-1]


def _delinearise(
    index: Index, sizes: Sequence[Expr], extents: Sequence[Expr], splittable: Sequence[bool]
) -> list[Index] | Split | None:
    if len(sizes) == 1:
        return [index]
    strides = _inner_strides(sizes)
    if index.offset != 0:
        return None
    parts: list[list[Term]] = [[] for _ in sizes]
    for loop, coefficient, divisor, modulus in index.terms:
        if divisor != 1 or modulus is not None or loop < 0:
            return None
        placed = _place(loop, coefficient, extents[loop], sizes, strides)
        if placed is None:
            return None
        first, last = placed
        if first == last:
            parts[last].append((loop, floordiv(coefficient, strides[last]), 1, None))
        elif splittable[loop]:
            return Split(loop, tuple(sizes[first : last + 1]))
        else:
            for d in range(first, last + 1):
                divisor = product(tuple(sizes[d + 1 : last + 1]))
                parts[d].append((loop, 1, divisor, None if d == first else sizes[d]))
    if any(not _fits(terms, size, extents) for terms, size in zip(parts, sizes)):
        return None
    return [Index(0, tuple(terms)) for terms in parts]


def _place(loop: int, coefficient: Expr, extent: Expr, sizes: Sequence[Expr], strides: Sequence[Expr]) -> tuple[int, int] | None:
    """The range of dims that a term `coefficient * loop` runs over: one dim, or several that it covers wholly."""
    for last in range(len(sizes) - 1, -1, -1):
        if mod(coefficient, strides[last]) != 0 or (strides[last] != 1 and floordiv(coefficient, strides[last]) == 0):
            continue
        steps = floordiv(coefficient, strides[last]) * extent
        if steps == sizes[last] or known_le(steps, sizes[last]):
            return last, last
        covered: Expr = sizes[last]
        for first in range(last - 1, -1, -1):
            covered = covered * sizes[first]
            if covered == steps and coefficient == strides[last]:
                return first, last
    return None


def _fits(terms: Sequence[Term], size: Expr, extents: Sequence[Expr]) -> bool:
    """Whether the sum of terms stays below the size, so that nothing carries into the next dim."""
    if len(terms) <= 1:
        return True
    reach: Expr = 1
    for loop, coefficient, divisor, modulus in terms:
        if divisor != 1 or modulus is not None:
            return False
        reach = reach + coefficient * (extents[loop] - 1)
    return reach == size or known_le(reach, size)


def split_loop(access: Access, loop: int, parts: Sequence[int], sizes: Sequence[Expr]) -> Access:
    """The access with a loop replaced by its parts (outer to inner)."""
    strides = _inner_strides(sizes)
    result = []
    for index in access:
        if any(term[0] == loop for term in index.terms):
            terms: list[Term] = []
            for term in index.terms:
                if term[0] == loop:
                    terms.extend((part, term[1] * stride, 1, None) for part, stride in zip(parts, strides))
                else:
                    terms.append(term)
            index = Index(index.offset, tuple(terms))
        result.append(index)
    return tuple(result)


def merge_loops(access: Access, parts: Sequence[int], sizes: Sequence[Expr], loop: int) -> Access:
    """The access with several loops (outer to inner) replaced by one that runs over them all."""
    strides = _inner_strides(sizes)
    place = {part: (strides[k], None if k == 0 else sizes[k]) for k, part in enumerate(parts)}
    result = []
    for index in access:
        terms = []
        for term in index.terms:
            if term[0] in place:
                divisor, modulus = place[term[0]]
                term = (loop, term[1], divisor, modulus)
            terms.append(term)
        result.append(Index(index.offset, tuple(terms)))
    return tuple(result)
