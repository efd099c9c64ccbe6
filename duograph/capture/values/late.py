"""Sizes that only the run knows, as user code sees them: arithmetic gives sizes, comparisons give tensors."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from duograph import _core as core
from duograph.errors import CaptureError
from duograph.ir.dim import Dim, Expr

from .numbers import EXACT, SizeNumber, provable

if TYPE_CHECKING:
    from ..outside.recorder import Recorder


class LateNumber(SizeNumber):
    """A size that values decide, such as the number of rows of `x[mask]`."""

    __slots__ = ()

    def __init__(self, recorder: Recorder, expr: Expr) -> None:
        super().__init__(recorder, expr, 0)

    __class__ = property(lambda self: int)  # it stands for one

    def pin(self) -> NoReturn:
        raise CaptureError(
            "static: the number of elements depends on values: only the run knows it, and here it is needed as a number",
            hint="compare it, or use it as a size or in tensor arithmetic; or leave this function dynamic",
        )

    def tensor(self) -> Any:
        """The size as an integer tensor without dimensions."""
        from .tree import late_number

        assert isinstance(self.expr, Dim)
        return late_number(self.expr)

    def __bool__(self) -> bool:
        return bool(self.tensor() != 0)

    def __hash__(self) -> int:
        self.pin()

    def __neg__(self) -> Any:
        return late(self.recorder, -self.expr)

    def __abs__(self) -> Any:
        return self

    def __pow__(self, exponent: Any) -> Any:
        return (
            late(self.recorder, self.expr**exponent)
            if type(exponent) is int and 0 <= exponent <= 4
            else self.tensor() ** exponent
        )

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


def late(recorder: Recorder, expr: Expr) -> Any:
    """The number that an expression is for user code."""
    return expr if isinstance(expr, int) else LateNumber(recorder, expr)


def is_late(value: Any) -> bool:
    return type(value) is LateNumber


def _expression(value: Any) -> Expr | None:
    """A size or whole number as an expression."""
    kind = type(value)
    if issubclass(kind, SizeNumber):
        found: Expr = value.expr
        return found
    return value if kind in (int, Dim) else int(value) if kind is bool else None


def _operand(value: Any) -> Any:
    return value.tensor() if is_late(value) else value


def _binary(name: str, function: Callable[[Any, Any], Any]) -> tuple[Any, Any]:
    exact = EXACT.get(name)

    def combine(recorder: Recorder, a: Any, b: Any) -> Any:
        left, right = _expression(a), _expression(b)
        if exact is not None and left is not None and right is not None:
            return late(recorder, exact(left, right))
        return function(_operand(a), _operand(b))

    def forward(self: Any, other: Any) -> Any:
        return NotImplemented if isinstance(other, core.Tensor) else combine(self.recorder, self, other)

    def reflected(self: Any, other: Any) -> Any:
        return NotImplemented if isinstance(other, core.Tensor) else combine(self.recorder, other, self)

    return forward, reflected


def _comparison(name: str, function: Callable[[Any, Any], Any]) -> Any:
    def compare(self: Any, other: Any) -> Any:
        size = _expression(other)
        if size is not None:
            swapped = name in ("gt", "ge")
            left, right = (size, self.expr) if swapped else (self.expr, size)
            answer = provable(left, {"gt": "lt", "ge": "le"}.get(name, name), right)
            if answer is not None:
                return answer
        known = isinstance(other, (int, float, core.Tensor)) or is_late(other)
        return function(self.tensor(), _operand(other)) if known else NotImplemented

    return compare


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod"):
    _forward, _reflected = _binary(_name, getattr(operator, _name))
    setattr(LateNumber, f"__{_name}__", _forward)
    setattr(LateNumber, f"__r{_name}__", _reflected)
for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    setattr(LateNumber, f"__{_name}__", _comparison(_name, getattr(operator, _name)))
