"""Sizes as registers of a program: expressions over symbols become short integer code, each value computed once."""

from __future__ import annotations

from duograph.errors import InternalError
from duograph.ir.dim import Atom, Dim, Expr

_OPERATIONS = {"floordiv": "floordiv", "mod": "mod", "ceildiv": "ceildiv", "min": "min", "max": "max"}


class Registers:
    """Allocates registers; the first ones hold sizes and strides of the inputs and the integer operands."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.code: list[list[object]] = []
        self._values: dict[Expr, int] = {}
        self._operations: dict[tuple[object, ...], int] = {}

    def bind(self, symbol: Dim, register: int) -> None:
        """The symbol's value is in this register; the first binding counts."""
        self._values.setdefault(symbol, register)

    def bound(self, symbol: Dim) -> bool:
        return symbol in self._values

    def __call__(self, value: Expr) -> int:
        """The register that holds the value."""
        found = self._values.get(value)
        if found is None:
            found = self._constant(value) if isinstance(value, int) else self._sum(value)
            self._values[value] = found
        return found

    def operation(self, name: str, *operands: int) -> int:
        """A register computed from others."""
        key = (name, *operands)
        found = self._operations.get(key)
        if found is None:
            found = self._operations[key] = self.first + len(self.code)
            self.code.append([name, *operands])
        return found

    def _constant(self, value: int) -> int:
        return self.operation("const", value)

    def _sum(self, value: Dim) -> int:
        total: int | None = None
        subtract: list[int] = []
        for monomial, coefficient in value.terms:
            if not monomial:
                term = self(abs(coefficient))
            else:
                term = self._product(monomial)
                if abs(coefficient) != 1:
                    term = self.operation("mul", term, self(abs(coefficient)))
            if coefficient < 0:
                subtract.append(term)
            else:
                total = term if total is None else self.operation("add", total, term)
        if total is None:
            total = self(0)
        for term in subtract:
            total = self.operation("sub", total, term)
        return total

    def _product(self, monomial: tuple[Atom, ...]) -> int:
        result: int | None = None
        for atom in monomial:
            factor = self._atom(atom)
            result = factor if result is None else self.operation("mul", result, factor)
        assert result is not None
        return result

    def _atom(self, atom: Atom) -> int:
        itself = atom.dim
        found = self._values.get(itself)
        if found is None:
            if atom.kind == "symbol":
                raise InternalError(f"the size {atom.key} is not known when the program starts")
            left, right = atom.args
            found = self._values[itself] = self.operation(_OPERATIONS[atom.kind], self(left), self(right))
        return found
