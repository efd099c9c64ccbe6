"""What the user says about sizes: `Dim`, the `sizes=` of `static`, and `check_size`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from duograph import _core as core
from duograph.errors import ArgumentError, ShapeError
from duograph.ir.dim import INFINITY


class Dim:
    """A size that changes, for `static(..., sizes=...)`. Dims of one name are one size.

    Args:
        name: what messages call it.
        min: the least size it may have; from 2 on a static function need not look for sizes 0 and 1.
        max: the greatest, or None.

    >>> import duograph as dg
    >>> dg.Dim("batch", min=1, max=1024)
    Dim('batch', min=1, max=1024)
    """

    __slots__ = ("max", "min", "name")

    def __init__(self, name: str, *, min: int = 0, max: int | None = None) -> None:
        if not isinstance(name, str) or not name.isidentifier():
            raise ArgumentError(f"Dim: the name must be one of letters, digits and _, got {name!r}")
        for what, bound in (("min", min), ("max", max)):
            if bound is not None and (not isinstance(bound, int) or isinstance(bound, bool) or bound < 0):
                raise ArgumentError(f"Dim: {what} must be a whole number of at least 0, got {bound!r}")
        if max is not None and max < min:
            raise ArgumentError(f"Dim: min = {min} is above max = {max}")
        self.name = name
        self.min = min
        self.max = max

    @property
    def bounds(self) -> str:
        """The range in words."""
        return f"at least {self.min}" if self.max is None else f"{self.min} to {self.max}"

    @property
    def symbol(self) -> tuple[str, float, float]:
        """Name, least and greatest value of its symbol."""
        return self.name, self.min, INFINITY if self.max is None else self.max

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dim) and self.symbol == other.symbol

    def __hash__(self) -> int:
        return hash(self.symbol)

    def __repr__(self) -> str:
        shown = [repr(self.name)]
        if self.min:
            shown.append(f"min={self.min}")
        if self.max is not None:
            shown.append(f"max={self.max}")
        return f"Dim({', '.join(shown)})"


Spec = tuple["Dim | int | None", ...]


class Declared:
    """The `sizes=` of one static function: what it says of each argument, checked."""

    def __init__(self, name: str, target: Callable[..., Any], sizes: Mapping[str, Any] | None) -> None:
        self.name = name
        if sizes is not None and not isinstance(sizes, Mapping):
            raise ArgumentError(f"static: sizes must be a dict from argument names to sizes, got {type(sizes).__name__}")
        self.specs: dict[str, Spec] = {argument: self._spec(argument, spec) for argument, spec in (sizes or {}).items()}
        known: dict[str, Dim] = {}
        for spec in self.specs.values():
            for size in spec:
                if isinstance(size, Dim) and known.setdefault(size.name, size) != size:
                    raise ArgumentError(f"static: sizes has {known[size.name]!r} and {size!r}: one name, two ranges")
        self.names = set(known)
        self._check_names(target)

    def __bool__(self) -> bool:
        return bool(self.specs)

    def require_bounds(self) -> None:
        """Under a memory budget every size has a greatest value."""
        for size in (size for spec in self.specs.values() for size in spec if isinstance(size, Dim)):
            if size.max is None:
                raise ArgumentError(
                    f"static: memory_budget: {size.name} may be any size, and so may the memory it takes",
                    hint=f"give it a bound: Dim({size.name!r}, max=...), at which the budget holds",
                )

    @staticmethod
    def _spec(argument: str, spec: Any) -> Spec:
        if isinstance(spec, (Dim, int)) and not isinstance(spec, bool):
            spec = (spec,)
        if not isinstance(spec, (tuple, list)):
            raise ArgumentError(
                f"static: sizes[{argument!r}] must be a tuple with one entry per dimension, got {type(spec).__name__}",
                hint='write sizes={"x": (dg.Dim("batch"), 3, None)}',
            )
        for size in spec:
            whole = isinstance(size, int) and not isinstance(size, bool) and size >= 0
            if size is not None and not isinstance(size, Dim) and not whole:
                raise ArgumentError(f"static: sizes[{argument!r}] takes a Dim, a size or None for each dimension, got {size!r}")
        return tuple(spec)

    def _check_names(self, target: Callable[..., Any]) -> None:
        if not self.specs:
            return
        try:
            parameters = inspect.signature(getattr(target, "forward", target)).parameters
        except (TypeError, ValueError):
            return
        if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return
        for argument in self.specs:
            if argument not in parameters:
                raise ArgumentError(f"static: sizes names {argument!r}, which is no argument; there is {', '.join(parameters)}")

    def symbols(self, tensors: Sequence[tuple[str, str, Any]], numbers: Sequence[tuple[str, Any]]) -> dict[tuple[int, int], Dim]:
        """The named sizes of a call by (argument, dimension), and its whole numbers by (number, -1), after all was checked."""
        found: dict[tuple[int, int], Dim] = {}
        seen: dict[str, tuple[int, str]] = {}
        for slot, (name, root, tensor) in enumerate(tensors):
            spec = self.specs.get(root)
            if spec is None:
                continue
            if len(spec) != tensor.ndim:
                raise ShapeError(
                    f"static: {self.name}: argument {name} has {tensor.ndim} dimensions, sizes names {len(spec)}",
                    operands=[f"{name}: {tensor.dtype.name}[{', '.join(map(str, tensor.shape))}]"],
                )
            for d, (size, actual) in enumerate(zip(spec, tensor.shape)):
                where = f"{name}.shape[{d}]"
                if isinstance(size, Dim):
                    self._check_dim(size, where, actual, seen)
                    found[slot, d] = size
                elif size is not None and size != actual:
                    raise ShapeError(f"static: {self.name}: {where} is {actual}, sizes says {size}")
        for slot, (name, number) in enumerate(numbers):
            spec = self.specs.get(name)
            if spec is not None and len(spec) == 1 and isinstance(spec[0], Dim) and type(number) is int:
                self._check_dim(spec[0], name, number, seen)
                found[slot, -1] = spec[0]
        return found

    def _check_dim(self, size: Dim, where: str, actual: int, seen: dict[str, tuple[int, str]]) -> None:
        if actual < size.min or (size.max is not None and actual > size.max):
            raise ShapeError(
                f"static: {self.name}: {where} is {actual}, outside of {size.name} ({size.bounds})",
                hint=f"give Dim({size.name!r}) other bounds, or split the call",
            )
        value, other = seen.setdefault(size.name, (actual, where))
        if value != actual:
            raise ShapeError(f"static: {self.name}: {other} is {value} and {where} is {actual}, but both are {size.name}")


def check_size(condition: Any, message: str | None = None) -> None:
    """Assert a fact about sizes. A static function relies on it from then on, and checks it at each call.

    Args:
        condition: what must hold, such as `x.shape[0] % 8 == 0`.
        message: what the error says.

    Errors:   DomainError if it does not hold; ArgumentError for a Tensor, whose value is no size

    >>> import duograph as dg
    >>> dg.check_size(dg.zeros(16, 3).shape[0] % 8 == 0)
    """
    from duograph.errors import DomainError

    if isinstance(condition, core.Tensor):
        raise ArgumentError("check_size: expected a comparison of sizes, got a Tensor", hint="assert speaks of values")
    if not condition:
        raise DomainError(f"check_size: {message or 'the sizes of this call are not as asserted'}")
