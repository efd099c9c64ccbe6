"""`signatures()`: what a static function has captured and why. One warning when one thing makes it capture again and again."""

from __future__ import annotations

import math
import operator
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from duograph import _core as core
from duograph._stack import user_frame
from duograph.errors import CaptureWarning

from ..memory.cells import contiguous
from ..outside.modules import MISSING
from ..values.numbers import MATHEMATICAL
from .words import Names, short, spec_text

if TYPE_CHECKING:
    from collections.abc import Sequence

_MANY = 5  # captures caused by one place, after which the user is told
_LAST = 1 << 30
_FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {"div": operator.truediv, "min": min, "max": max}

_REMEDY = {
    "shape": "pass tensors of one rank, dtype and memory layout, or make one static function for each kind",
    "size": "say sizes= to dg.static for the sizes that change, and leave their values to tensor arithmetic",
    "value": "make a static function for each value, or pass a number or tensor, which may change",
    "number": "use the number in tensor arithmetic only, or pass dg.tensor(number), whose value may steer a loop or branch",
    "condition": "pass dg.tensor(number): then both ways of the condition are captured at once",
    "object": "keep one object and change what is in it, or pass what changes as an argument",
    "structure": "pass lists, tuples and dicts of one length and order, or make one static function for each form",
    "module": "keep one setting of the Module while the static function runs, or make one static function for each",
    "memory": "clone one of the tensors, so that they share no memory",
    "mode": "call it in one gradient mode and default dtype, or make one static function for each",
}


@dataclass(frozen=True)
class Signature:
    """One capture: the arguments it takes, what must hold, why it was made, and how many calls it has served."""

    arguments: tuple[str, ...]
    guards: tuple[str, ...]
    reason: str
    calls: int

    def __str__(self) -> str:
        lines = [f"({', '.join(self.arguments)})    {self.calls} calls"]
        lines.append(f"    captured: {self.reason}")
        lines += [f"    holds while {guard}" for guard in self.guards]
        return "\n".join(lines)

    __repr__ = __str__


class Signatures(list[Signature]):
    """The captures of a static function, the last used first; `print` it."""

    def __str__(self) -> str:
        return "\n".join(map(str, self)) if self else "no captures yet"

    __repr__ = __str__


class Difference(NamedTuple):
    """The first thing in which a call is not what a capture was made for."""

    stage: int  # how far the comparison came: the capture that comes farthest is the nearest
    place: str
    text: str
    remedy: str
    line: Any = None


class Reasons:
    """Why a static function captured, and how often each place was the cause."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def why(self, name: str, entries: Sequence[Any], args: tuple[Any, ...], kwargs: dict[str, Any], before: int) -> str:
        """The reason for the capture that is about to be made; warns when one place has caused many."""
        if not entries:
            return "the captures were cleared" if before else "first call"
        nearest = max((difference(entry, args, kwargs) for entry in entries), key=lambda found: found.stage)
        self.counts[nearest.place] += 1
        if self.counts[nearest.place] == _MANY:
            _warn(name, nearest, _MANY)
        return nearest.text


def _warn(name: str, cause: Difference, count: int) -> None:
    where = "" if cause.line is None else f"\n  assumed at {cause.line}"
    message = f"static: {name} was captured {count} times more because of {cause.place}; this time {cause.text}{where}\n  hint: "
    warn(message + _REMEDY[cause.remedy])


def warn(message: str) -> None:
    """A `CaptureWarning` at the user's line."""
    frame = user_frame()
    if frame is None:
        warnings.warn(message, CaptureWarning, stacklevel=2)
        return
    registry = frame.f_globals.setdefault("__warningregistry__", {})
    warnings.warn_explicit(
        message, CaptureWarning, frame.f_code.co_filename, frame.f_lineno, frame.f_globals.get("__name__"), registry
    )


def signatures(function: Any) -> Signatures:
    """See `Handler.signatures`."""
    return Signatures(_signature(entry) for entry in function.entries)


def _signature(entry: Any) -> Signature:
    description = entry.description
    names: Names = description["words"].of(description)
    arguments = tuple(names.leaf(name, row) for name, row in zip(names.words.names, description["leaves"]))
    guards: list[str] = [] if description["grad_mode"] else ["gradients are off"]
    for row in description["guards"]:
        guards += names.guard(row)
    return Signature(arguments, tuple(dict.fromkeys(guards)), description.get("reason", ""), entry.hits)


# ---- why a capture does not fit


def difference(entry: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Difference:
    """The first way in which a call differs from the one that an entry was captured for."""
    description = entry.description
    names: Names = description["words"].of(description)
    try:
        return _Comparison(description, names).run(args, kwargs)
    except Exception as error:  # objects of the user's that cannot be compared, read or shown
        return Difference(0, "an object that cannot be compared", f"comparing raised {type(error).__name__}", "object")


def _autocast(state: tuple[Any, ...]) -> str:
    return f"autocast was on, to {state[1].name}" if state[0] else "autocast was off"


class _Comparison:
    """A call beside a capture, in the order in which the core looks."""

    def __init__(self, description: dict[str, Any], names: Names) -> None:
        self.description = description
        self.names = names
        self.tensors: dict[int, Any] = {}
        self.numbers: dict[int, Any] = {}
        self.reads: list[Any] = []

    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Difference:
        d = self.description
        if d["grad_mode"] != (core.is_grad_enabled() and not core.is_inference_mode_enabled()):
            was, now = ("on", "off") if d["grad_mode"] else ("off", "on")
            return Difference(0, "the gradient mode", f"gradients were {was}, are {now}", "mode")
        if d["default_dtype"] is not core.get_default_dtype():
            text = f"the default dtype was {d['default_dtype'].name}, is {core.get_default_dtype().name}"
            return Difference(0, "the default dtype", text, "mode")
        if d["autocast"] != core.autocast()[:2]:
            return Difference(0, "autocast", f"{_autocast(d['autocast'])}, {_autocast(core.autocast())} now", "mode")
        if len(args) != d["n_positional"] or list(kwargs) != list(d["kwnames"]):
            text = f"the arguments were ({', '.join(self.names.words.names)})"
            text += f", now {len(args)} by position and {list(kwargs)} by name" if kwargs else f", now {len(args)}"
            return Difference(1, "the number of arguments", text, "structure")
        for number, (name, row, value) in enumerate(zip(self.names.words.names, d["leaves"], (*args, *kwargs.values()))):
            found = self.leaf(name, row, value)
            if found is not None:
                return found._replace(stage=2 + number)
        stage = 2 + len(d["leaves"])
        for number, read in enumerate(d["reads"]):
            value = self.fetch(read)
            if value is MISSING:
                name = self.names.read(number)
                return Difference(stage, name, f"{name} was there, is not", "object")
            self.reads.append(value)
        for number, row in enumerate(d["guards"]):
            found = self.guard(row)
            if found is not None:
                return found._replace(stage=stage + number, line=self.names.words.lines.get(id(row)))
        return self.inputs() or Difference(_LAST, "memory", "tensors share memory that did not", "memory")

    # ---- arguments

    def leaf(self, name: str, row: tuple[Any, ...], value: Any) -> Difference | None:
        kind = row[0]
        if kind == "tensor":
            return self.tensor(name, row, value)
        if kind == "same":
            same = self.tensors.get(row[1]) is value
            other = self.names.slots.get(("tensor", row[1]), "another")
            return None if same else _argument(name, f"was the same tensor as {other}, is another", "structure")
        if kind == "number":
            self.numbers[row[1]] = value
            return None if type(value) is row[2] else _argument(name, f"was {_a(row[2])}, is {short(value)}", "value")
        if kind == "const":
            old = row[1]
            same = value is old or (row[2] == "eq" and type(value) is type(old) and value == old)
            return (
                None if same else _argument(name, f"was {short(old)}, is {short(value)}", "value" if row[2] == "eq" else "object")
            )
        if kind == "attrs":
            if type(value) is not row[1]:
                return _argument(name, f"was {_a(row[1])}, is {_a(type(value))}", "structure")
            pairs = [(f"{name}.{key}", child, getattr(value, key, MISSING)) for key, child in zip(row[2], row[3])]
        else:
            expected = dict if kind == "dict" else row[1]
            if type(value) is not expected:
                return _argument(name, f"was {_a(expected)}, is {_a(type(value))}", "structure")
            if len(value) != len(row[2]):
                return _argument(name, f"had {len(row[2])} items, has {len(value)}", "structure")
            if kind == "dict" and list(value) != list(row[1]):
                return _argument(name, f"had the keys {short(row[1])}, has {short(list(value))}", "structure")
            keys = row[1] if kind == "dict" else range(len(row[2]))
            items = value.values() if kind == "dict" else value
            pairs = [(f"{name}[{key!r}]", child, item) for key, child, item in zip(keys, row[2], items)]
        return next((found for triple in pairs if (found := self.leaf(*triple)) is not None), None)

    def tensor(self, name: str, row: tuple[Any, ...], value: Any) -> Difference | None:
        if type(value) is not row[6]:
            return _argument(name, f"was {spec_text(*row[2:4])}, is {short(value)}", "structure")
        found = _spec_difference(f"argument {name}", row[2:6], value)
        if found is None and any(value is other for other in self.tensors.values()):
            return _argument(name, "was a tensor of its own, is given twice", "structure")
        self.tensors[row[1]] = value
        return found

    # ---- what is read, and guards

    def fetch(self, read: tuple[str, Any, Any]) -> Any:
        kind, holder, key = read
        if kind == "item":
            return holder.get(key, MISSING)
        if kind == "index":
            return holder[key] if -len(holder) <= key < len(holder) else MISSING
        if kind == "attr":
            return getattr(holder, key, MISSING)
        if kind == "cell":
            return _cell_contents(holder)
        if kind == "grad":
            return holder.grad
        if kind in ("host", "piece"):
            return None
        if kind == "tensor":
            return holder
        if kind == "element":
            whole = self.reads[holder[0]]
            return whole[key] if type(whole) is tuple and len(whole) == holder[1] else MISSING
        return self.numbers[key] if kind == "number" else self.tensors[key].grad if kind == "argument grad" else self.tensors[key]

    def guard(self, row: tuple[Any, ...]) -> Difference | None:
        kind = row[0]
        if kind in ("is", "eq", "type", "tensor"):
            name, now = self.names.read(row[1]), self.reads[row[1]]
            if kind == "tensor":
                if not isinstance(now, core.Tensor):
                    return Difference(0, name, f"{name} was {spec_text(*row[2:4])}, is {short(now)}", "object")
                return _spec_difference(name, row[2:6], now)
            if kind == "type":
                same = type(now) is row[2]
                return None if same else Difference(0, name, f"{name} was {_a(row[2])}, is {_a(type(now))}", "object")
            then = row[2]
            same = now is then or (kind == "eq" and type(now) is type(then) and now == then)
            number = type(then) in (int, float)
            return None if same else Difference(0, name, _was(name, then, now), "number" if number else "object")
        if kind == "expr":
            return self.expression(row)
        if kind in ("list", "dict"):
            return _container_difference(self.names.container(row[1]), row)
        if kind == "epoch":
            return self.module(row[2].__self__)
        if kind == "call":
            return None if row[1]() else Difference(0, "a set", "the items of a set changed", "object")
        if kind == "aliased":
            a, b = self.reads[row[1]], self.reads[row[2]]
            same = isinstance(a, core.Tensor) and isinstance(b, core.Tensor) and core.storage_id(a) == core.storage_id(b)
            if same and b.storage_offset() - a.storage_offset() == row[3]:
                return None
            text = f"{self.names.read(row[1])} and {self.names.read(row[2])}"
            return Difference(0, text, f"{text} lay otherwise on one memory", "memory")
        if kind == "class":
            name = row[2].difference()
            text = f"{row[1].__name__}.{name}"
            return None if name is None else Difference(0, text, f"{text} was replaced", "object")
        if kind == "lacks" and row[2] in row[1]:
            name = self.names.place(row[1], row[2])
            return Difference(0, name, f"{name} was that of its class, is its own", "object")
        return None  # distinct: when the inputs are known

    def expression(self, row: tuple[Any, ...]) -> Difference | None:
        stack: list[Any] = []
        for name, *rest in row[1]:
            if name == "const":
                stack.append(rest[0])
            elif name == "read":
                stack.append(self.reads[rest[0]])
            elif name in ("size", "stride"):
                tensor = self.tensors[rest[0]]
                stack.append(tensor.shape[rest[1]] if name == "size" else tensor.stride(rest[1]))
            elif name in ("size of", "stride of"):
                tensor = self.reads[rest[0]]
                stack.append(tensor.shape[rest[1]] if name == "size of" else tensor.stride(rest[1]))
            elif name == "neg":
                stack.append(-stack.pop())
            elif name in MATHEMATICAL:
                stack.append(getattr(math, name)(stack.pop()))
            else:
                right, left = stack.pop(), stack.pop()
                stack.append(_FUNCTIONS[name](left, right) if name in _FUNCTIONS else getattr(operator, name)(left, right))
        if bool(stack[-1]) == row[2]:
            return None
        text = self.names.expression(row[1])
        size = any(token[0] in ("size", "stride", "size of", "stride of") for token in row[1])
        return Difference(0, f"`{text}`", f"`{text}` was {row[2]}, is {not row[2]}", "size" if size else "condition")

    def module(self, watch: Any) -> Difference | None:
        for holder, key, then in watch.seen.values():
            now = holder.get(key, MISSING)
            if not watch.is_as_seen(holder, key, then):
                name = self.names.place(holder, key)
                if now is MISSING or then is MISSING:
                    return Difference(0, name, f"{name} was {'set' if then is MISSING else 'deleted'}", "module")
                return Difference(0, name, _was(name, then, now), "module")
        for table, items in watch.tables:
            name = self.names.container(table)
            if len(table) != len(items):
                return Difference(0, name, f"{name} had {len(items)} entries in a table, has {len(table)}", "module")
            for key, then in items:
                if table.get(key, MISSING) is not then and (id(table), key) not in watch.skipped:
                    return Difference(0, f"{name}.{key}", f"{name}.{key} was replaced", "module")
        return None

    def inputs(self) -> Difference | None:
        """State tensors that are the same objects, changed."""
        for row in self.description["inputs"]:
            if row[0] == "tensor":
                found = _spec_difference(self.names.tensor(row[1]), row[2:6], row[1])
                if found is not None:
                    return found._replace(stage=_LAST)
        return None


def _argument(name: str, text: str, remedy: str) -> Difference:
    return Difference(0, f"argument {name}", f"argument {name} {text}", remedy)


def _a(kind: type) -> str:
    return f"{'an' if kind.__name__[0] in 'aeiou' else 'a'} {kind.__name__}"


def _was(name: str, then: Any, now: Any) -> str:
    before = short(then).removeprefix("another ")
    return f"{name} was {before}, is {short(now)}"


def _spec_difference(name: str, spec: Sequence[Any], tensor: Any) -> Difference | None:
    dtype, shape, strides, requires_grad = spec
    now = tuple(tensor.shape)
    fits = len(now) == len(shape) and all(n is None or n == m for n, m in zip(shape, now))
    if tensor.dtype is not dtype or not fits:
        kind = "size" if tensor.dtype is dtype and len(now) == len(shape) else "shape"
        return Difference(0, name, f"{name} was {spec_text(dtype, shape)}, is {spec_text(tensor.dtype, now)}", kind)
    if requires_grad is not None and bool(requires_grad) != tensor.requires_grad:
        words = ("required", "does not") if requires_grad else ("did not require", "does")
        return Difference(0, name, f"{name} {words[0]} a gradient, {words[1]}", "shape")
    layout = tuple(tensor.stride())
    if strides is None and (layout == contiguous(now) or 0 in now):
        return None
    if strides is not None and all(n is None or n == m for n, m in zip(strides, layout)):
        return None
    if strides is None and all(n == 1 or a == b for n, a, b in zip(now, layout, contiguous(now))):
        return None
    before = "contiguous" if strides is None else f"of strides {tuple(strides)}"
    return Difference(0, name, f"{name} was {before}, is of strides {layout}", "shape")


def _container_difference(name: str, row: tuple[Any, ...]) -> Difference | None:
    holder = row[1]
    then = list(row[2])
    now = list(holder) if row[0] == "list" else [x for pair in holder.items() for x in pair]
    if len(now) != len(then):
        step = 1 if row[0] == "list" else 2
        return Difference(0, name, f"{name} had {len(then) // step} items, has {len(now) // step}", "object")
    for i, (a, b) in enumerate(zip(then, now)):
        if a is not b and not (type(a) is type(b) and type(a) in (int, float) and a == b):
            key = i if row[0] == "list" else now[i & ~1]
            return Difference(0, name, _was(f"{name}[{key!r}]", a, b), "object")
    return None


def _cell_contents(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return MISSING
