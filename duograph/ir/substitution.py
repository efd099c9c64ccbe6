"""Symbols in sizes: which there are, and other sizes or numbers in their place."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .dim import Atom, Dim, Expr, ceildiv, floordiv, maximum, minimum, mod

_OPERATIONS: dict[str, Callable[[Expr, Expr], Expr]] = {
    "floordiv": floordiv,
    "mod": mod,
    "ceildiv": ceildiv,
    "min": minimum,
    "max": maximum,
}


def substitute(value: Expr, values: Mapping[Dim, Expr]) -> Expr:
    """The expression with symbols replaced."""
    if isinstance(value, int) or not values:
        return value
    result: Expr = 0
    for monomial, coefficient in value.terms:
        term: Expr = coefficient
        for atom in monomial:
            term = term * _substitute_atom(atom, values)
        result = result + term
    return result


def _substitute_atom(atom: Atom, values: Mapping[Dim, Expr]) -> Expr:
    if atom.kind == "symbol":
        return values.get(atom.dim, atom.dim)
    return _OPERATIONS[atom.kind](substitute(atom.args[0], values), substitute(atom.args[1], values))


def joined(equal: Mapping[Dim, Expr], left: Expr, right: Expr) -> dict[Dim, Expr]:
    """What is known to be equal, and the symbol `right` written as `left`, too; where that is no symbol, the other way round."""
    keep, other = substitute(left, equal), substitute(right, equal)
    if not (isinstance(other, Dim) and other.is_symbol):
        keep, other = other, keep
    if keep == other or not (isinstance(other, Dim) and other.is_symbol) or other in symbols(keep):
        return dict(equal)
    replacement = {other: keep}
    return {**{key: substitute(value, replacement) for key, value in equal.items()}, other: keep}


def evaluate(value: Expr, values: Mapping[str, int]) -> int:
    """The number an expression stands for when each symbol has the value given under its name."""
    if isinstance(value, int):
        return value
    total = 0
    for monomial, coefficient in value.terms:
        for atom in monomial:
            if atom.kind == "symbol":
                coefficient *= values[atom.key]
            else:
                left, right = (evaluate(arg, values) for arg in atom.args)
                found = _OPERATIONS[atom.kind](left, right)
                assert isinstance(found, int)
                coefficient *= found
        total += coefficient
    return total


def symbols(value: Expr) -> list[Dim]:
    """The symbols of an expression, each once, in order of appearance."""
    found: dict[Dim, None] = {}
    pending: list[Expr] = [value]
    while pending:
        expression = pending.pop()
        if isinstance(expression, int):
            continue
        for monomial, _ in expression.terms:
            for atom in monomial:
                if atom.kind == "symbol":
                    found.setdefault(atom.dim)
                pending.extend(atom.args)
    return list(found)
