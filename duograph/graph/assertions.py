"""Operations that end a run unless something holds: `tf.assert_equal` and its kin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from duograph.errors import DTypeError, ShapeError

from .arithmetic import abs as magnitude
from .arithmetic import greater, greater_equal, less, less_equal
from .binary import equal, not_equal
from .constants import convert_to_tensor, no_op
from .dtypes import as_dtype
from .elements import Operation, Tensor
from .host import Assert
from .reductions import reduce_all

__all__ = [
    "assert_equal",
    "assert_greater",
    "assert_greater_equal",
    "assert_integer",
    "assert_less",
    "assert_less_equal",
    "assert_near",
    "assert_negative",
    "assert_non_negative",
    "assert_non_positive",
    "assert_none_equal",
    "assert_positive",
    "assert_rank",
    "assert_rank_at_least",
    "assert_rank_in",
    "assert_type",
]


def _pair(name: str, test: Callable[[Any, Any], Any], words: str) -> Callable[..., Operation]:
    def check(
        x: Any, y: Any, data: Sequence[Any] | None = None, summarize: int | None = None, message: str = "", name: str = name
    ) -> Operation:
        x = convert_to_tensor(x)
        with x.graph.as_default(), x.graph.name_scope(name):
            y = convert_to_tensor(y) if isinstance(y, Tensor) else convert_to_tensor(y, x.dtype)
            given = [message or f"x {words} y does not hold:", "x =", x, "y =", y] if data is None else [message, *data]
            return Assert(reduce_all(test(x, y)), given, summarize)

    check.__name__ = check.__qualname__ = name
    check.__doc__ = f"""Ends the run with a GraphError, which shows both tensors, unless x {words} y for all elements."""
    return check


def _single(name: str, test: Callable[[Any, Any], Any], words: str) -> Callable[..., Operation]:
    def check(
        x: Any, data: Sequence[Any] | None = None, summarize: int | None = None, message: str = "", name: str = name
    ) -> Operation:
        x = convert_to_tensor(x)
        with x.graph.as_default(), x.graph.name_scope(name):
            given = [message or f"x {words} 0 does not hold:", "x =", x] if data is None else [message, *data]
            return Assert(reduce_all(test(x, convert_to_tensor(0, x.dtype))), given, summarize)

    check.__name__ = check.__qualname__ = name
    check.__doc__ = f"""Ends the run with a GraphError, which shows the tensor, unless x {words} 0 for all elements."""
    return check


assert_equal = _pair("assert_equal", equal, "==")
assert_none_equal = _pair("assert_none_equal", not_equal, "!=")
assert_less = _pair("assert_less", less, "<")
assert_less_equal = _pair("assert_less_equal", less_equal, "<=")
assert_greater = _pair("assert_greater", greater, ">")
assert_greater_equal = _pair("assert_greater_equal", greater_equal, ">=")
assert_positive = _single("assert_positive", greater, ">")
assert_negative = _single("assert_negative", less, "<")
assert_non_negative = _single("assert_non_negative", greater_equal, ">=")
assert_non_positive = _single("assert_non_positive", less_equal, "<=")


def assert_near(
    x: Any,
    y: Any,
    rtol: float | None = None,
    atol: float | None = None,
    data: Sequence[Any] | None = None,
    summarize: int | None = None,
    message: str = "",
    name: str = "assert_near",
) -> Operation:
    """An operation that ends the run with a GraphError unless |x - y| <= atol + rtol * |y|; both are 10 roundings by default."""
    x = convert_to_tensor(x)
    rounding = 10 * 2.0 ** -(52 if x.dtype.itemsize == 8 else 23)
    with x.graph.as_default(), x.graph.name_scope(name):
        y = convert_to_tensor(y) if isinstance(y, Tensor) else convert_to_tensor(y, x.dtype)
        room = magnitude(y) * (rounding if rtol is None else rtol) + (rounding if atol is None else atol)
        given = [message or "x is not near y:", "x =", x, "y =", y] if data is None else [message, *data]
        return Assert(reduce_all(less_equal(magnitude(x - y), room)), given, summarize)


def _of_rank(title: str, x: Any, fits: Callable[[int], bool], words: str, message: str, name: str) -> Operation:
    """Checked while the graph is built where the rank is known, and by each run otherwise."""
    x = convert_to_tensor(x)
    sizes = x.type.sizes
    if sizes is not None:
        if not fits(len(sizes)):
            raise ShapeError(f"{title}: {message or x.name}: the rank must be {words}, it is {len(sizes)}", [x.node.built_at])
        return no_op(name)
    from .arrays import rank
    from .host import py_check

    with x.graph.as_default(), x.graph.name_scope(name):
        return py_check(rank(x), lambda value: fits(int(value)), f"{title}: {message} the rank must be {words}, it is")


def assert_rank(
    x: Any, rank: int, data: Any = None, summarize: int | None = None, message: str = "", name: str = "assert_rank"
) -> Operation:
    """Refuses a tensor of another rank: ShapeError while the graph is built where it is known, else GraphError by the run."""
    return _of_rank("assert_rank", x, lambda value: value == rank, str(rank), message, name)


def assert_rank_at_least(
    x: Any, rank: int, data: Any = None, summarize: int | None = None, message: str = "", name: str = "assert_rank_at_least"
) -> Operation:
    """Refuses a tensor of a lower rank."""
    return _of_rank("assert_rank_at_least", x, lambda value: value >= rank, f"at least {rank}", message, name)


def assert_rank_in(
    x: Any, ranks: Sequence[int], data: Any = None, summarize: int | None = None, message: str = "", name: str = "assert_rank_in"
) -> Operation:
    """Refuses a tensor whose rank is none of these."""
    return _of_rank("assert_rank_in", x, lambda value: value in ranks, f"one of {list(ranks)}", message, name)


def assert_integer(x: Any, message: str = "", name: str = "assert_integer") -> Operation:
    """Refuses, while the graph is built, a tensor that is not of whole numbers."""
    x = convert_to_tensor(x)
    if x.dtype.kind not in "iu":
        raise DTypeError(f"assert_integer: {message or x.name}: it is {x.dtype.name}", [x.node.built_at])
    return no_op(name)


def assert_type(tensor: Any, tf_type: Any, message: str = "", name: str = "assert_type") -> Operation:
    """Refuses, while the graph is built, a tensor of another dtype."""
    x = convert_to_tensor(tensor)
    if x.dtype is not as_dtype(tf_type):
        raise DTypeError(
            f"assert_type: {message or x.name}: it is {x.dtype.name}, not {as_dtype(tf_type).name}", [x.node.built_at]
        )
    return no_op(name)
