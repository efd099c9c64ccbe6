"""Symbolic sizes: integer expressions over named symbols, kept in one canonical form.

A `Dim` is a polynomial with integer coefficients over *atoms*: symbols, and the quotients, remainders, minima and
maxima that do not simplify away. Equal expressions are the same object, so equality is identity; arithmetic that ends
in a constant returns a plain `int`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias
from weakref import WeakValueDictionary

from duograph import _core

INFINITY = float("inf")
Bound: TypeAlias = "int | float"
Expr: TypeAlias = "int | Dim"


class UndecidedSize(TypeError, RuntimeError):
    """A question about a symbolic size was asked whose answer depends on the size."""


class Atom:
    """One factor of a monomial: a symbol, or an irreducible floordiv, mod, ceildiv, min or max of expressions."""

    __slots__ = ("__weakref__", "args", "high", "key", "kind", "low")

    def __init__(self, kind: str, args: tuple[Expr, ...], key: str, low: Bound, high: Bound) -> None:
        self.kind = kind
        self.args = args
        self.key = key
        self.low = low
        self.high = high

    @property
    def dim(self) -> Dim:
        """The expression that is this atom alone."""
        made = _make({(self,): 1})
        assert isinstance(made, Dim)
        return made

    def __repr__(self) -> str:
        return self.key


Monomial: TypeAlias = "tuple[Atom, ...]"
Terms: TypeAlias = "dict[Monomial, int]"
_ATOMS: WeakValueDictionary[tuple[Any, ...], Atom] = WeakValueDictionary()
_DIMS: WeakValueDictionary[tuple[tuple[Monomial, int], ...], Dim] = WeakValueDictionary()


def _monomial_order(term: tuple[Monomial, int]) -> tuple[int, list[str]]:
    return (-len(term[0]), [atom.key for atom in term[0]])


def _make(terms: Terms) -> Expr:
    """The canonical expression of a sum of terms."""
    kept = [term for term in terms.items() if term[1]]
    if not kept:
        return 0
    if len(kept) == 1 and not kept[0][0]:
        return kept[0][1]
    if len(kept) > 1:
        kept.sort(key=_monomial_order)
    return _unique(tuple(kept))


def _unique(terms: tuple[tuple[Monomial, int], ...]) -> Dim:
    """The one expression of terms in canonical order."""
    found = _DIMS.get(terms)
    if found is None:
        found = _DIMS[terms] = Dim(terms)
    return found


def _terms(value: Expr) -> Terms:
    return dict(value.terms) if isinstance(value, Dim) else {(): value}


def _times(low: Bound, high: Bound, other_low: Bound, other_high: Bound) -> tuple[Bound, Bound]:
    products = [0 if a == 0 or b == 0 else a * b for a in (low, high) for b in (other_low, other_high)]
    return min(products), max(products)


class Dim:
    """A symbolic integer. Behaves as an `int` in arithmetic; comparisons answer when the answer is provable."""

    __slots__ = ("__weakref__", "_bounds", "terms")

    def __init__(self, terms: tuple[tuple[Monomial, int], ...]) -> None:
        self.terms = terms
        self._bounds: tuple[Bound, Bound] | None = None

    def bounds(self) -> tuple[Bound, Bound]:
        """The least and greatest values this expression can take, as far as interval arithmetic tells."""
        if self._bounds is None:
            low: Bound = 0
            high: Bound = 0
            for monomial, coefficient in self.terms:
                term_low: Bound = coefficient
                term_high: Bound = coefficient
                for atom in monomial:
                    term_low, term_high = _times(term_low, term_high, atom.low, atom.high)
                low += term_low
                high += term_high
            self._bounds = (low, high)
        return self._bounds

    @property
    def is_symbol(self) -> bool:
        return (
            len(self.terms) == 1 and self.terms[0][1] == 1 and len(self.terms[0][0]) == 1 and self.terms[0][0][0].kind == "symbol"
        )

    # Arithmetic

    def __add__(self, other: Expr) -> Expr:
        if not isinstance(other, (int, Dim)):
            return NotImplemented
        if other.__class__ is int:
            return self._plus(other)
        terms = dict(self.terms)
        for monomial, coefficient in _terms(other).items():
            terms[monomial] = terms.get(monomial, 0) + coefficient
        return _make(terms)

    __radd__ = __add__

    def _plus(self, number: int) -> Dim:
        """A number is the last term, if there is one."""
        if number == 0:
            return self
        monomial, constant = self.terms[-1]
        if monomial:
            return _unique((*self.terms, ((), number)))
        sum = constant + number
        return _unique((*self.terms[:-1], ((), sum)) if sum else self.terms[:-1])

    def _times(self, number: int) -> Dim:
        """By a number that is not 0: the terms keep their order."""
        return _unique(tuple((monomial, coefficient * number) for monomial, coefficient in self.terms))

    def __neg__(self) -> Expr:
        return self._times(-1)

    def __pos__(self) -> Expr:
        return self

    def __sub__(self, other: Expr) -> Expr:
        if not isinstance(other, (int, Dim)):
            return NotImplemented
        return self + (-other)

    def __rsub__(self, other: int) -> Expr:
        return (-self) + other

    def __mul__(self, other: Expr) -> Expr:
        if not isinstance(other, (int, Dim)):
            return NotImplemented
        if other.__class__ is int:
            return self if other == 1 else self._times(other) if other else 0
        terms: Terms = {}
        for left, a in self.terms:
            for right, b in _terms(other).items():
                monomial = tuple(sorted(left + right, key=_atom_key)) if left and right else left or right
                terms[monomial] = terms.get(monomial, 0) + a * b
        return _make(terms)

    __rmul__ = __mul__

    def __floordiv__(self, other: Expr) -> Expr:
        return floordiv(self, other)

    def __rfloordiv__(self, other: int) -> Expr:
        return floordiv(other, self)

    def __mod__(self, other: Expr) -> Expr:
        return mod(self, other)

    def __rmod__(self, other: int) -> Expr:
        return mod(other, self)

    def __divmod__(self, other: Expr) -> tuple[Expr, Expr]:
        return floordiv(self, other), mod(self, other)

    def __pow__(self, exponent: int) -> Expr:
        result: Expr = 1
        for _ in range(exponent):
            result = result * self
        return result

    # Questions

    def __lt__(self, other: Expr) -> bool:
        return _decide(self, "<", other)

    def __le__(self, other: Expr) -> bool:
        return _decide(self, "<=", other)

    def __gt__(self, other: Expr) -> bool:
        return _decide(other, "<", self)

    def __ge__(self, other: Expr) -> bool:
        return _decide(other, "<=", self)

    def __bool__(self) -> bool:
        low, high = self.bounds()
        if low > 0 or high < 0:
            return True
        return undecided(self, "!=", 0)

    def __index__(self) -> int:
        return concrete(self)

    __int__ = __index__

    def __repr__(self) -> str:
        parts: list[str] = []
        for monomial, coefficient in self.terms:
            factors = [atom.key for atom in monomial]
            if abs(coefficient) != 1 or not factors:
                factors.insert(0, str(abs(coefficient)))
            text = "*".join(factors)
            if not parts:
                parts.append(text if coefficient > 0 else f"-{text}")
            else:
                parts.append(f"{'+' if coefficient > 0 else '-'} {text}")
        return " ".join(parts)

    def __reduce__(self) -> tuple[Any, ...]:
        return _make, (dict(self.terms),)


def _atom_key(atom: Atom) -> str:
    return atom.key


def _raise_undecided(left: Expr, relation: str, right: Expr) -> bool:
    raise UndecidedSize(f"whether {left} {relation} {right} depends on a size that is symbolic here")


# What to do with a comparison that bounds cannot decide; capture replaces it to guard on the outcome instead.
undecided: Callable[[Expr, str, Expr], bool] = _raise_undecided


def set_undecided(handler: Callable[[Expr, str, Expr], bool] | None) -> Callable[[Expr, str, Expr], bool]:
    """Install what answers unprovable comparisons; returns the handler that was there."""
    global undecided
    before = undecided
    undecided = handler or _raise_undecided
    return before


def _raise_symbolic(value: Dim) -> int:
    raise UndecidedSize(f"the size {value} is symbolic here: it has no value before the program runs")


# What a symbolic size is where a plain number is needed; capture replaces it to guard on the number instead.
concrete: Callable[[Dim], int] = _raise_symbolic


def set_concrete(handler: Callable[[Dim], int] | None) -> Callable[[Dim], int]:
    """Install what gives symbolic sizes as numbers; returns the handler that was there."""
    global concrete
    before = concrete
    concrete = handler or _raise_symbolic
    return before


def _provable(left: Expr, relation: str, right: Expr) -> bool | None:
    low, high = bounds(right - left)
    if relation == "<":
        return True if low > 0 else False if high <= 0 else None
    return True if low >= 0 else False if high < 0 else None


def _decide(left: Expr, relation: str, right: Expr) -> bool:
    answer = _provable(left, relation, right)
    return undecided(left, relation, right) if answer is None else answer


def bounds(value: Expr) -> tuple[Bound, Bound]:
    """Least and greatest possible value of an expression."""
    return value.bounds() if isinstance(value, Dim) else (value, value)


def known_le(left: Expr, right: Expr) -> bool:
    """Whether left <= right is provable."""
    return _provable(left, "<=", right) is True


def known_ge(left: Expr, right: Expr) -> bool:
    """Whether left >= right is provable."""
    return _provable(right, "<=", left) is True


def _atom(kind: str, args: tuple[Expr, ...], key: str, low: Bound, high: Bound) -> Expr:
    identity = (kind, args, key, low, high)
    atom = _ATOMS.get(identity)
    if atom is None:
        atom = Atom(kind, args, key, low, high)
        _ATOMS[identity] = atom
    return _make({(atom,): 1})


def symbol(name: str, low: Bound = 0, high: Bound = INFINITY) -> Dim:
    """The symbol of this name and range. Sizes are never negative; pass `low=-INFINITY` for integers that may be."""
    made = _atom("symbol", (), name, low, high)
    assert isinstance(made, Dim)
    return made


def _text(value: Expr) -> str:
    if isinstance(value, int) or (len(value.terms) == 1 and value.terms[0][1] == 1 and len(value.terms[0][0]) == 1):
        return str(value)
    return f"({value})"


def _split_divisible(value: Dim, divisor: Expr) -> tuple[Expr, Expr]:
    """(quotient, rest) with value == quotient * divisor + rest, taking whole terms only."""
    if isinstance(divisor, int):
        quotient = {m: c // divisor for m, c in value.terms if c % divisor == 0}
        rest = {m: c for m, c in value.terms if c % divisor}
        return _make(quotient), _make(rest)
    if len(divisor.terms) != 1:
        return (1, 0) if value is divisor else (0, value)
    factors, scale = divisor.terms[0]
    exact: Terms = {}
    left: Terms = {}
    for monomial, coefficient in value.terms:
        remaining = list(monomial)
        divides = coefficient % scale == 0
        for atom in factors:
            if divides and atom in remaining:
                remaining.remove(atom)
            else:
                divides = False
        if divides:
            exact[tuple(remaining)] = coefficient // scale
        else:
            left[monomial] = coefficient
    return _make(exact), _make(left)


def floordiv(a: Expr, b: Expr) -> Expr:
    """a // b, rounding towards minus infinity."""
    if isinstance(a, int) and isinstance(b, int):
        return a // b
    if isinstance(b, int) and b == 1:
        return a
    quotient: Expr = 0
    rest: Expr = a
    if isinstance(a, Dim):
        quotient, rest = _split_divisible(a, b)
    if isinstance(rest, int) and rest == 0:
        return quotient
    low, high = bounds(rest)
    divisor_low, _ = bounds(b)
    if low >= 0 and divisor_low > high:
        return quotient
    if isinstance(b, int) and low > -INFINITY and high < INFINITY:
        ends: tuple[Bound, Bound] = tuple(sorted((low // b, high // b)))  # type: ignore[assignment]
    else:
        ends = (0, high) if low >= 0 and divisor_low >= 0 else (-INFINITY, INFINITY)
    return quotient + _atom("floordiv", (rest, b), f"({_text(rest)}//{_text(b)})", *ends)


def mod(a: Expr, b: Expr) -> Expr:
    """a % b, with the sign of b."""
    if isinstance(a, int) and isinstance(b, int):
        return a % b
    if isinstance(b, int) and b == 1:
        return 0
    rest: Expr = a if isinstance(a, int) else _split_divisible(a, b)[1]
    if isinstance(rest, int) and (rest == 0 or isinstance(b, int)):
        return rest % b if isinstance(b, int) else 0
    low, high = bounds(rest)
    divisor_low, divisor_high = bounds(b)
    if low >= 0 and divisor_low > high:
        return rest
    ends = (0, min(high, divisor_high - 1) if low >= 0 else divisor_high - 1) if divisor_low >= 0 else (-INFINITY, INFINITY)
    return _atom("mod", (rest, b), f"({_text(rest)}%{_text(b)})", *ends)


def ceildiv(a: Expr, b: Expr) -> Expr:
    """a / b rounded up."""
    if isinstance(a, int) and isinstance(b, int):
        return -(-a // b)
    if isinstance(b, int) and b == 1:
        return a
    quotient: Expr = 0
    rest: Expr = a
    if isinstance(a, Dim):
        quotient, rest = _split_divisible(a, b)
    if isinstance(rest, int) and rest == 0:
        return quotient
    low, high = bounds(rest)
    if isinstance(b, int) and b > 0 and low > -INFINITY and high < INFINITY:
        ends: tuple[Bound, Bound] = (-(-low // b), -(-high // b))
    else:
        ends = (0, high) if low >= 0 else (-INFINITY, INFINITY)
    return quotient + _atom("ceildiv", (rest, b), f"ceildiv({rest}, {b})", *ends)


def _compared(kind: str, value: Expr) -> tuple[Expr, ...]:
    """What an expression is the least, or greatest, of."""
    if isinstance(value, Dim) and len(value.terms) == 1:
        (monomial, coefficient) = value.terms[0]
        if coefficient == 1 and len(monomial) == 1 and monomial[0].kind == kind:
            return tuple(found for part in monomial[0].args for found in _compared(kind, part))
    return (value,)


def _extreme(kind: str, a: Expr, b: Expr) -> Expr:
    if a is b or a == b:
        return a
    parts, others = _compared(kind, a), _compared(kind, b)
    if all(other in parts for other in others):
        return a
    if all(part in others for part in parts):
        return b
    if known_le(a, b):
        return a if kind == "min" else b
    if known_le(b, a):
        return b if kind == "min" else a
    first, second = sorted((a, b), key=str)
    pick = min if kind == "min" else max
    (low, high), (other_low, other_high) = bounds(a), bounds(b)
    return _atom(kind, (first, second), f"{kind}({first}, {second})", pick(low, other_low), pick(high, other_high))


def minimum(a: Expr, b: Expr) -> Expr:
    """The lesser of two sizes."""
    return _extreme("min", a, b)


def maximum(a: Expr, b: Expr) -> Expr:
    """The greater of two sizes."""
    return _extreme("max", a, b)


def is_one(size: Expr) -> bool:
    """Whether a size is the number 1: a symbol is not, whatever its value."""
    return isinstance(size, int) and size == 1


def product(sizes: tuple[Expr, ...] | list[Expr]) -> Expr:
    """The product of sizes: how many elements a shape has."""
    result: Expr = 1
    for size in sizes:
        result = result * size
    return result


def contiguous_strides(shape: tuple[Expr, ...] | list[Expr]) -> tuple[Expr, ...]:
    """Row-major strides in elements; the stride of a dimension of size 1 is 0, since nothing ever steps along it."""
    strides: list[Expr] = []
    step: Expr = 1
    for size in reversed(shape):
        strides.append(0 if isinstance(size, int) and size == 1 else step)
        step = step * size
    return tuple(reversed(strides))


_core.set_dim_type(Dim)
