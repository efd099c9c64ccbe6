"""Python numbers that a static function reads anew at each run.

During a capture a learning rate, an attribute or a number argument is a `LiveNumber`: arithmetic with numbers makes
further live numbers, arithmetic with tensors makes it an input of the program. Where it steers Python instead, the
capture holds for that outcome only: a comparison is guarded by its result, anything else by the number itself.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from duograph import _core as core
from duograph.ir.dim import Dim, Expr, bounds, ceildiv, floordiv, mod

if TYPE_CHECKING:
    from ..outside.recorder import Recorder

# A number as the core recomputes it: reads and constants followed by operations on a stack.
Postfix = tuple[tuple[Any, ...], ...]
_LONGEST = 64


class Ratio(NamedTuple):
    """A size over a whole number, as a double.

    exact  the double is the nearest to the quotient; else it comes from a factor like 0.8, which is nearly a fraction
    above  that factor is greater than the fraction
    """

    over: Expr
    under: int
    exact: bool = True
    above: bool = False


class LiveNumber:
    """A number with the recipe by which each run computes it."""

    __slots__ = ("postfix", "ratio", "recorder", "value")

    def __init__(self, recorder: Recorder, postfix: Postfix, value: int | float) -> None:
        self.recorder = recorder
        self.postfix = postfix
        self.value = value
        self.ratio: Ratio | None = None  # what it is the quotient of, if it is one

    # isinstance(x, float) is to hold as for the number itself.
    __class__ = property(lambda self: type(self.value))

    def pin(self) -> int | float:
        """The number itself; the capture then holds only while it is the same."""
        self.recorder.pin(self)
        return self.value

    def __bool__(self) -> bool:
        return bool(_outcome(self, 0, "ne", operator.ne))

    def __index__(self) -> int:
        return operator.index(self.pin())  # type: ignore[arg-type]  # a float raises as Python's own does

    def __int__(self) -> int:
        return int(self.pin())

    def __float__(self) -> float:
        return float(self.pin())

    def __complex__(self) -> complex:
        return complex(self.pin())

    def __hash__(self) -> int:
        return hash(self.pin())

    def __round__(self, digits: int | None = None) -> Any:
        return round(self.pin(), digits) if digits is not None else rounded("round", self)

    def __trunc__(self) -> int:
        return int(self.pin())

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> Any:
        return other // self, other % self

    def __str__(self) -> str:
        return str(self.pin())

    def __repr__(self) -> str:
        return repr(self.pin())

    def __format__(self, spec: str) -> str:
        return format(self.pin(), spec)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__array"):  # NumPy asks for these first: they are not what the value would say
            raise AttributeError(name)
        found = getattr(self.value, name)
        return (lambda *args: getattr(self.pin(), name)(*args)) if callable(found) else getattr(self.pin(), name)

    def __array_ufunc__(self, function: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """What NumPy does with it: its square root, and arithmetic with NumPy's doubles, are numbers again."""
        if method == "__call__" and not kwargs:
            if function.__name__ == "sqrt":
                return mathematical("sqrt", self)
            plain = [float(x) if type(x).__module__ == "numpy" and type(x).__name__ == "float64" else x for x in inputs]
            if function.__name__ in _UFUNCS and all(map(_number, plain)):
                return _UFUNCS[function.__name__](*plain)
        return getattr(function, method)(*map(plain_pinned, inputs), **kwargs)

    def __reduce__(self) -> Any:
        return (type(self.value), (self.pin(),))

    def __floor__(self) -> Any:
        return rounded("floor", self)

    def __ceil__(self) -> Any:
        return rounded("ceil", self)

    def __neg__(self) -> Any:
        return _make(self, (*self.postfix, ("neg",)), -self.value)

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return -self if _outcome(self, 0, "lt", operator.lt) else self


class SizeNumber(LiveNumber):
    """A size of a tensor, or what whole numbers make of sizes: `expr` says how it depends on those of the arguments."""

    __slots__ = ("expr",)

    def __init__(self, recorder: Recorder, expr: Expr, value: int) -> None:
        self.recorder = recorder
        self.expr = expr
        self.value = value
        self.ratio = None

    @property
    def postfix(self) -> Postfix:  # type: ignore[override]
        return self.recorder.sizes.postfix(self.expr)

    def pin(self) -> int:
        return self.recorder.sizes.pin(self.expr)

    def __neg__(self) -> Any:
        return self.recorder.sizes.number(-self.expr)

    def __pow__(self, exponent: Any) -> Any:
        if type(exponent) is int and 0 <= exponent <= 8:
            return self.recorder.sizes.number(self.expr**exponent)
        return _power(self, exponent)


def is_live(value: Any) -> bool:
    """Whether it is a number that runs compute anew."""
    return type(value) is LiveNumber or type(value) is SizeNumber


def plain(value: Any) -> Any:
    """The value behind a live number, without pinning it; anything else unchanged."""
    return value.value if is_live(value) else value


_STAND_INS = {"b": False, "i": 0, "u": 0, "f": 0.0}


def stood_for(value: Any) -> Any:
    """Something of the type that a value has for the user: a number that a branch replaces is traced as a tensor."""
    if isinstance(value, core.Tensor) and value._traced is not None and value._traced.type.weak:
        return _STAND_INS[value.dtype.kind]
    return plain(value)


def postfix_of(value: Any) -> Postfix:
    return value.postfix if is_live(value) else (("const", value),)


def _expression(value: Any) -> Expr | None:
    """A size or whole number as an expression."""
    if type(value) is SizeNumber:
        return value.expr
    return int(value) if type(value) is int or type(value) is bool else None


def _of_sizes(a: Any, b: Any) -> tuple[Expr, Expr] | None:
    """Both operands as expressions, if at least one is a size."""
    if type(a) is not SizeNumber and type(b) is not SizeNumber:
        return None
    left, right = _expression(a), _expression(b)
    return None if left is None or right is None else (left, right)


def _make(like: LiveNumber, postfix: Postfix, value: Any) -> Any:
    fits = type(value) is float or (type(value) is int and -(2**63) <= value < 2**63)
    if not fits or len(postfix) > _LONGEST:
        like.recorder.pin_postfix(like.postfix, like.value)
        return value
    return LiveNumber(like.recorder, postfix, value)


def _number(other: Any) -> bool:
    return type(other) in (LiveNumber, SizeNumber, float, int, bool)


def _beside(number: LiveNumber, other: Any) -> Any:
    """The other operand; a size that library code left an expression becomes a number."""
    sizes = number.recorder.sizes
    return sizes.number(other) if type(other) is Dim and sizes.knows(other) else other


def _outcome(a: Any, b: Any, name: str, function: Callable[[Any, Any], Any]) -> Any:
    pair = _of_sizes(a, b)
    if pair is not None:
        return _outcome_of_sizes(a if type(a) is SizeNumber else b, *pair, name)
    result = function(plain(a), plain(b))
    live = a if is_live(a) else b
    live.recorder.guard_outcome((*postfix_of(a), *postfix_of(b), (name,)), result)
    return result


def provable(left: Expr, relation: str, right: Expr) -> bool | None:
    """Whether the relation holds for all sizes; None if that depends."""
    if isinstance(left, int) and isinstance(right, int):
        return {"eq": left == right, "ne": left != right, "lt": left < right, "le": left <= right}[relation]
    low, high = bounds(right - left)
    if relation == "lt":
        return True if low > 0 else False if high <= 0 else None
    if relation == "le":
        return True if low >= 0 else False if high < 0 else None
    equal = True if left is right or low == high == 0 else False if low > 0 or high < 0 else None
    return equal if equal is None else equal is (relation == "eq")


def _outcome_of_sizes(like: Any, left: Expr, right: Expr, name: str) -> bool:
    if name in ("gt", "ge"):
        left, right, name = right, left, "lt" if name == "gt" else "le"
    answer: bool = like.recorder.sizes.decide(left, name, right)
    return answer


def _quotient(name: str, a: Any, b: Any) -> Ratio | None:
    """What `a name b` is the quotient of, exactly enough to be rounded."""
    if type(a) is not SizeNumber or abs(a.value) >= 2**40:
        a, b = (b, a) if name == "mul" else (a, b)
        if type(a) is not SizeNumber or abs(a.value) >= 2**40:
            return None
    if name == "div" and type(b) is int and 0 < b < 2**12:
        return Ratio(a.expr, b)
    if name == "mul" and type(b) is float and 0 < b < 2**12:
        over, under = b.as_integer_ratio()
        if under <= 2**12:
            return Ratio(a.expr * over, under)
        from fractions import Fraction

        near = Fraction(b).limit_denominator(1000)
        if b <= 4 and float(near) == b:
            return Ratio(a.expr * near.numerator, near.denominator, False, Fraction(b) > near)
    return None


def _arithmetic(name: str, function: Callable[[Any, Any], Any]) -> tuple[Any, Any]:
    def combine(a: Any, b: Any) -> Any:
        live = a if is_live(a) else b
        if name in ("floordiv", "mod", "div") and is_live(b):
            _outcome(b, 0, "ne", operator.ne)  # a zero divisor raises in Python: the capture holds while there is one, or none
        try:
            value = function(plain(a), plain(b))
        except ArithmeticError:
            return function(plain_pinned(a), plain_pinned(b))  # raises, as for these numbers only
        pair = _of_sizes(a, b) if name in EXACT else None
        if pair is not None:
            return live.recorder.sizes.number(EXACT[name](*pair))
        if name == "pow" and type(plain(a)) is type(plain(b)) is int:
            return function(plain_pinned(a), plain_pinned(b))  # int or float by the sign of the exponent
        if not isinstance(value, (int, float)) or (name == "pow" and not math.isfinite(value)):
            return function(plain_pinned(a), plain_pinned(b))
        postfix = (*postfix_of(a), *postfix_of(b), (name,))
        if name == "pow":
            _is_finite(live.recorder, postfix)  # where Python raises, or gives a complex number, the capture does not hold
        made = _make(live, postfix, value)
        if is_live(made):
            made.ratio = _quotient(name, a, b)
        return made

    def forward(self: Any, other: Any) -> Any:
        other = _beside(self, other)
        return combine(self, other) if _number(other) else NotImplemented

    def reflected(self: Any, other: Any) -> Any:
        other = _beside(self, other)
        return combine(other, self) if _number(other) else NotImplemented

    return forward, reflected


EXACT: dict[str, Callable[[Any, Any], Any]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "floordiv": operator.floordiv, "mod": operator.mod,
}  # fmt: skip


def _comparison(name: str, function: Callable[[Any, Any], Any]) -> Any:
    def compare(self: Any, other: Any) -> Any:
        other = _beside(self, other)
        return _outcome(self, other, name, function) if _number(other) else NotImplemented

    return compare


for _name, _function in {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "truediv": operator.truediv,
    "floordiv": operator.floordiv, "mod": operator.mod, "pow": operator.pow,
}.items():  # fmt: skip
    _forward, _reflected = _arithmetic("div" if _name == "truediv" else _name, _function)
    setattr(LiveNumber, f"__{_name}__", _forward)
    setattr(LiveNumber, f"__r{_name}__", _reflected)
_power: Callable[[Any, Any], Any] = LiveNumber.__pow__  # type: ignore[operator]
for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    setattr(LiveNumber, f"__{_name}__", _comparison(_name, getattr(operator, _name)))


_UFUNCS: dict[str, Callable[..., Any]] = {
    "add": operator.add, "subtract": operator.sub, "multiply": operator.mul, "divide": operator.truediv, "negative": operator.neg,
}  # fmt: skip


def _bits(name: str, size: Any, other: Any) -> Any:
    """What shifts and masks by a constant are in arithmetic; None for anything else."""
    if type(size) is not SizeNumber or type(other) is not int or not 0 <= other < 2**31:
        return None
    number: Any = size
    if name in ("lshift", "rshift"):
        return None if other > 30 else number * 2**other if name == "lshift" else number // 2**other
    if other & (other + 1):
        return None
    return number % (other + 1) if name == "and" else number - number % (other + 1) + other if name == "or" else None


def _integer(name: str, function: Callable[[Any, Any], Any]) -> tuple[Any, Any]:
    def forward(self: LiveNumber, other: Any) -> Any:
        exact = _bits(name, self, other)
        if exact is not None:
            return exact
        return function(self.pin(), plain_pinned(other)) if _number(other) else NotImplemented

    def reflected(self: LiveNumber, other: Any) -> Any:
        return function(plain_pinned(other), self.pin()) if _number(other) else NotImplemented

    return forward, reflected


MATHEMATICAL = frozenset(("sqrt", "exp", "log", "log2", "log10", "sin", "cos", "tan", "tanh"))


def mathematical(name: str, number: LiveNumber) -> Any:
    """`math.name(number)`: a number again; where Python would raise, the capture does not hold."""
    function = getattr(math, name)
    try:
        value = function(number.value)
    except (ValueError, ArithmeticError):
        return function(number.pin())  # raises, as for this number only
    if not math.isfinite(value):
        return function(number.pin())
    postfix = (*number.postfix, (name,))
    _is_finite(number.recorder, postfix)
    return _make(number, postfix, value)


def _is_finite(recorder: Recorder, postfix: Postfix) -> None:
    """The capture holds while the core can compute the number."""
    recorder.guard_outcome((*postfix, ("const", math.inf), ("lt",)), True)


def power(base: Any, exponent: Any) -> Any:
    """`math.pow(base, exponent)` of numbers, one of which changes."""
    if not _number(base) or not _number(exponent) or not _outcome(0, base, "lt", operator.lt):
        return math.pow(plain_pinned(base), plain_pinned(exponent))
    return (base * 1.0) ** (exponent * 1.0)


def rounded(name: str, number: Any) -> Any:
    """`math.floor`, `ceil`, `trunc` or `round` of a number: a size of a size over a whole number, else the number itself."""
    if type(number) is SizeNumber or type(number.value) is int:
        return number
    sizes = number.recorder.sizes
    if number.ratio is not None and name == "trunc":
        name = "floor" if sizes.decide(0, "le", number.ratio.over) else "ceil"
    if number.ratio is None or not _is_known(name, number.ratio, sizes):
        value = number.pin()
        return round(value) if name == "round" else getattr(math, name)(value)
    over, under = number.ratio[:2]
    if name == "round":
        return sizes.number(_nearest(over, under))
    return sizes.number(ceildiv(over, under) if name == "ceil" else floordiv(over, under))


def _is_known(name: str, ratio: Ratio, sizes: Any) -> bool:
    """Whether the double is rounded as the fraction is: a whole number may come out a little less or more than it is."""
    if ratio.exact:
        return True
    if name == "round":
        return bool(ratio.under % 2)  # no halves, which go to the even side only if they are exact
    return name == "floor" and ratio.above and bool(sizes.decide(0, "le", ratio.over))


def _nearest(over: Expr, under: int) -> Expr:
    """over / under to the nearest whole number, halves to the even one."""
    shifted = 2 * over + under
    up = floordiv(shifted, 2 * under)
    if under % 2:
        return up
    is_half = 1 - ceildiv(mod(shifted, 2 * under), 2 * under)
    return up - is_half * mod(up, 2)


def plain_pinned(value: Any) -> Any:
    """The plain number of a live one, pinned; anything else unchanged."""
    return value.pin() if is_live(value) else value


for _name, _function in {
    "lshift": operator.lshift, "rshift": operator.rshift, "and": operator.and_, "or": operator.or_, "xor": operator.xor,
}.items():  # fmt: skip
    _forward, _reflected = _integer(_name, _function)
    setattr(LiveNumber, f"__{_name}__", _forward)
    setattr(LiveNumber, f"__r{_name}__", _reflected)
setattr(LiveNumber, "__invert__", lambda self: -self - 1 if type(self) is SizeNumber else ~self.pin())  # noqa: B010


def evaluate(postfix: Postfix, reads: Callable[[int], Any]) -> Any:
    """What the core computes from a recipe: Python's own arithmetic."""
    stack: list[Any] = []
    for token in postfix:
        name = token[0]
        if name == "const":
            stack.append(token[1])
        elif name == "read":
            stack.append(reads(token[1]))
        elif name == "neg":
            stack.append(-stack.pop())
        elif name in MATHEMATICAL:
            stack.append(getattr(math, name)(stack.pop()))
        else:
            b, a = stack.pop(), stack.pop()
            stack.append(operator.truediv(a, b) if name == "div" else getattr(operator, name)(a, b))
    return stack.pop()
