"""What the writer knows of a value: a tensor in a variable, a constant, sizes as expressions, or either of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..operators.known import LONGEST

_INLINE = 64  # numbers that are written where they are used
_PLAIN = ("int64", "float32", "bool")


class Value:
    """A value of the graph.

    text    the variable, or an expression
    loose   it may be numbers that are known, when the program runs
    """

    def __init__(self, text: str, loose: bool = False) -> None:
        self.text = text
        self.loose = loose

    def numbers(self) -> list[int | str] | None:
        """Its elements as numbers or expressions, where they are known."""
        return None

    scalar = False


class Constant(Value):
    """Numbers of the model; `key` is an initialiser's name, or that of a node's output."""

    def __init__(self, data: Any, key: str) -> None:
        super().__init__("")
        self.data = data
        self.array = data.array
        self.key = key
        self.scalar = data.array.ndim == 0
        small = data.array.ndim <= 1 and data.array.size <= LONGEST
        self.small = small and data.array.dtype != object and data.dtype.name != "bfloat16" and not data.narrow
        self.loose = self.small

    def numbers(self) -> list[int | str] | None:
        if not self.small or self.array.dtype.kind not in "iu":
            return None
        found: list[int | str] = self.array.reshape(-1).tolist()
        return found

    def uniform(self) -> bool:
        """Whether all numbers are the same."""
        return self.data.dtype.name != "bfloat16" and bool((self.array == self.array.reshape(-1)[:1]).all())

    def inline(self) -> Any:
        """The numbers, where they are few enough and of a type that Python's numbers stand for."""
        short = self.small and self.array.size <= _INLINE and self.array.dtype.name in _PLAIN
        return self.array.tolist() if short and self.array.size else None


class Sizes(Value):
    """Whole numbers: those of a shape and what is computed from them."""

    def __init__(self, items: list[int | str], scalar: bool) -> None:
        text = str(items[0]) if scalar else f"[{', '.join(map(str, items))}]"
        super().__init__(text, loose=True)
        self.items = items
        self.scalar = scalar

    def numbers(self) -> list[int | str]:
        return self.items


class Shape(Value):
    """The shape of a tensor, or a part of it: how many there are is not known."""

    def __init__(self, tensor: str, start: int, end: int | None) -> None:
        part = "" if start == 0 and end is None else f"[{start or ''}:{'' if end is None else end}]"
        super().__init__(f"{tensor}.shape{part}", loose=True)
        self.tensor = tensor
        self.whole = not part

    def item(self, index: int) -> str:
        return f"{self.text}[{index}]"


def sizes_of(op: str, inputs: list[Value | None], attributes: dict[str, Any], opset: int) -> Value | None:
    """What shape arithmetic makes of sizes; None where it is not as simple as that."""
    known = [value for value in inputs if value is not None]
    if not known or any(not value.loose for value in known) or not any(isinstance(value, (Sizes, Shape)) for value in known):
        return None
    found = _RULES.get(op)
    return None if found is None else found(known, attributes, opset)


def _same(inputs: list[Value], attributes: dict[str, Any], opset: int) -> Value | None:
    return inputs[0]


def _cast(inputs: list[Value], attributes: dict[str, Any], opset: int) -> Value | None:
    return inputs[0] if attributes.get("to") == 7 else None


def _gather(inputs: list[Value], attributes: dict[str, Any], opset: int) -> Value | None:
    data, places = inputs
    if not isinstance(places, Constant) or places.array.ndim > 1 or attributes.get("axis", 0) != 0:
        return None
    wanted = [int(place) for place in places.array.reshape(-1)]
    if isinstance(data, Shape):
        return Sizes([data.item(place) for place in wanted], places.scalar) if wanted else None
    numbers = data.numbers()
    if numbers is None or data.scalar or starred(numbers) or not all(-len(numbers) <= place < len(numbers) for place in wanted):
        return None
    return Sizes([numbers[place] for place in wanted], places.scalar)


def _unsqueeze(inputs: list[Value], attributes: dict[str, Any], opset: int) -> Value | None:
    axes = attributes.get("axes") if len(inputs) < 2 else inputs[1].numbers()
    numbers = inputs[0].numbers()
    return Sizes(numbers, False) if numbers is not None and inputs[0].scalar and axes in ([0], [-1]) else None


def _squeeze(inputs: list[Value], attributes: dict[str, Any], opset: int) -> Value | None:
    numbers = inputs[0].numbers()
    return Sizes(numbers, True) if numbers is not None and len(numbers) == 1 and not starred(numbers) else None


def _concat(inputs: list[Value], attributes: dict[str, Any], opset: int) -> Value | None:
    made: list[int | str] = []
    if len(inputs) == 1:
        return inputs[0]
    for value in inputs:
        numbers: list[int | str] | None = [f"*{value.text}"] if isinstance(value, Shape) else value.numbers()
        if numbers is None or value.scalar:
            return None
        made += numbers
    return Sizes(made, False)


def starred(numbers: Sequence[int | str]) -> bool:
    """Whether there are shapes among the numbers: how many there are is not known."""
    return any(str(item).startswith("*") for item in numbers)


def _slice(inputs: list[Value], attributes: dict[str, Any], opset: int) -> Value | None:
    lists: list[Any] = [value.numbers() for value in inputs[1:]]
    if opset < 10:
        lists = [attributes.get("starts"), attributes.get("ends"), attributes.get("axes")]
    starts, ends, axes, steps = [*lists, None, None, None, None][:4]
    if not starts or not ends or (axes or [0]) != [0] or (steps or [1]) != [1]:
        return None
    start, end = starts[0], ends[0]
    if type(start) is not int or type(end) is not int:
        return None
    data = inputs[0]
    if isinstance(data, Shape):
        return Shape(data.tensor, start, None if end > 1 << 30 else end) if data.whole else None
    numbers = data.numbers()
    return None if numbers is None or data.scalar or starred(numbers) else Sizes(numbers[start:end], False)


def _arithmetic(sign: str) -> Any:
    def combine(inputs: list[Value], attributes: dict[str, Any], opset: int) -> Value | None:
        left, right = (value.numbers() for value in inputs)
        if left is None or right is None or len(left) != 1 or len(right) != 1 or starred([*left, *right]):
            return None
        scalar = inputs[0].scalar and inputs[1].scalar
        a, b = left[0], right[0]
        if sign == "//" and (type(b) is not int or b <= 0 or "-" in str(a)):
            return None  # ONNX rounds towards zero
        return Sizes([f"{_closed(a)} {sign} {_closed(b)}"], scalar)

    return combine


def _closed(item: int | str) -> str:
    return f"({item})" if " " in str(item) else str(item)


_RULES: dict[str, Any] = {
    "Identity": _same, "Cast": _cast, "Gather": _gather, "Unsqueeze": _unsqueeze, "Squeeze": _squeeze, "Concat": _concat,
    "Slice": _slice, "Add": _arithmetic("+"), "Sub": _arithmetic("-"), "Mul": _arithmetic("*"), "Div": _arithmetic("//"),
}  # fmt: skip
