"""What a capture assumed, in the user's words: names of arguments, globals and attributes for its leaves, reads and guards."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

from duograph import _core as core

from ..outside.modules import is_module, library_code_reads
from ..values.numbers import MATHEMATICAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..outside.recorder import Recorder

_OPERATORS = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "floordiv": "//", "mod": "%", "pow": "**",
    "lt": "<", "le": "<=", "eq": "==", "ne": "!=", "gt": ">", "ge": ">=",
}  # fmt: skip
_LONGEST = 60
_TABLES = ("_parameters", "_buffers", "_modules")


def short(value: Any) -> str:
    """A value in a few words."""
    if isinstance(value, core.Tensor):
        return spec_text(value.dtype, tuple(value.shape))
    name = getattr(value, "__qualname__", None)
    if isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType, types.MethodType)) and isinstance(name, str):
        return name
    if isinstance(value, types.ModuleType):
        return f"module {value.__name__}"
    if getattr(type(value), "__repr__", None) is object.__repr__ or is_module(value):
        return f"another {type(value).__name__}"
    try:
        text = repr(value)
    except Exception:
        return f"another {type(value).__name__}"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def spec_text(dtype: Any, shape: Sequence[Any], strides: Any = None, requires_grad: bool | None = None) -> str:
    """`float32[32, 10]`; a size that may be anything is `*`."""
    text = f"{dtype.name}[{', '.join('*' if n is None else str(n) for n in shape)}]"
    if strides is not None:
        text += f" strides {tuple('*' if n is None else n for n in strides)}".replace("'", "")
    return text + (" requires_grad" if requires_grad else "")


class Words:
    """Names for the parts of one capture's description."""

    def __init__(self, target: Any, names: Sequence[str], recorder: Recorder) -> None:
        self.names = tuple(names)
        self.lines = recorder.lines
        self._target = target
        self._watch = recorder.watch
        self._cells = recorder.cell_names
        holders = {id(holder) for _, holder, _ in recorder.reads}
        self._owners: dict[int, Any] = {}  # by the id of an attribute dict that is read
        for value in recorder.external.values():
            own = getattr(value, "__dict__", None)
            if isinstance(own, dict) and id(own) in holders:
                self._owners[id(own)] = value

    def of(self, description: dict[str, Any]) -> Names:
        """The names, looked up."""
        return Names(self, description)

    def objects(self) -> dict[int, str]:
        """Names of the objects that a capture starts from, by id."""
        target = self._target
        start = target.__self__ if isinstance(target, types.MethodType) else target if is_module(target) else None
        return {} if start is None else {id(start): "self"}

    def submodules(self, found: dict[int, str]) -> None:
        """Adds the Modules inside those that have names."""
        for module in self._watch.modules:
            prefix = found.setdefault(id(module), type(module).__name__)
            for name, child in module.__dict__.get("_modules", {}).items():
                found.setdefault(id(child), f"{prefix}[{name}]" if name.isdigit() else f"{prefix}.{name}")

    def dicts(self, found: dict[int, str]) -> dict[int, str]:
        """Names of whose attributes a dict holds, by its id."""
        named = {key: found.get(id(owner), type(owner).__name__) for key, owner in self._owners.items()}
        for module in self._watch.modules:
            name = found.get(id(module), type(module).__name__)
            own = module.__dict__
            named[id(own)] = name
            for table in _TABLES:
                if isinstance(own.get(table), dict):
                    named[id(own[table])] = name
        return named

    def tables(self) -> list[Any]:
        return self._watch.tables

    def cell(self, cell: Any) -> str:
        return self._cells.get(id(cell), "a closure variable")


class Names:
    """The names of one description, by slot and read."""

    def __init__(self, words: Words, description: dict[str, Any]) -> None:
        self.words = words
        self.reads = description["reads"]
        self.slots: dict[tuple[str, int], str] = {}
        objects = words.objects()
        for name, row in zip(words.names, description["leaves"]):
            self._leaf(name, row, objects)
        self.objects = objects
        self._dicts = words.dicts(objects)
        for row in description["guards"]:  # what was read through a name has that name
            if row[0] == "is" and isinstance(row[1], int) and not isinstance(row[2], (type(None), bool)):
                objects.setdefault(id(row[2]), self.read(row[1], plain=True))
                own = getattr(row[2], "__dict__", None)
                if isinstance(own, dict):
                    self._dicts[id(own)] = objects[id(row[2])]
        words.submodules(objects)
        self._dicts.update({k: v for k, v in words.dicts(objects).items() if k not in self._dicts or "." in v or "[" in v})

    def _leaf(self, name: str, row: tuple[Any, ...], objects: dict[int, str]) -> None:
        kind = row[0]
        if kind in ("tensor", "number"):
            self.slots[kind, row[1]] = name
        elif kind in ("list", "tuple"):
            for i, child in enumerate(row[2]):
                self._leaf(f"{name}[{i}]", child, objects)
        elif kind == "dict":
            for key, child in zip(row[1], row[2]):
                self._leaf(f"{name}[{key!r}]", child, objects)
        elif kind == "attrs":
            for key, child in zip(row[2], row[3]):
                self._leaf(f"{name}.{key}", child, objects)
        elif kind == "const" and row[2] == "is":
            objects[id(row[1])] = name

    def read(self, number: int, plain: bool = False) -> str:
        """What a read reads: `argument n`, `global scale`, `self.training`; `plain`: without the first word."""
        kind, holder, key = self.reads[number]
        if kind in ("arg", "number"):
            name = self.slots.get(("tensor" if kind == "arg" else "number", key), "an argument")
            return name if plain else f"argument {name}"
        if kind == "grad":
            return f"{self.objects.get(id(holder), 'a tensor')}.grad"
        if kind == "argument grad":
            return f"{self.slots.get(('tensor', key), 'an argument')}.grad"
        if kind == "cell":
            return self.words.cell(holder) if plain else f"closure variable {self.words.cell(holder)}"
        if kind == "element":
            return f"{self.read(holder[0], plain)}[{key}]"
        if kind == "host":
            return "a number from Python"
        if kind == "tensor":
            return self.tensor(holder)
        if kind == "piece":
            return "the memory of several tensors"
        return self.place(holder, key, kind, plain)

    def place(self, holder: Any, key: Any, kind: str = "item", plain: bool = False) -> str:
        """What is kept under a key of a dict, list or object."""
        if kind == "attr":
            owner = holder.__name__ if isinstance(holder, type) else self.objects.get(id(holder), type(holder).__name__)
            return f"{owner}.{key}"
        known = self._dicts.get(id(holder))
        if known is not None:
            return f"{known}[{key}]" if isinstance(key, str) and key.isdigit() else f"{known}.{key}"
        if isinstance(holder, dict) and "__builtins__" in holder:
            return str(key) if plain else f"global {key}"
        if isinstance(holder, dict) and "__name__" in holder and "__spec__" in holder:
            return f"{holder['__name__']}.{key}"
        return f"{self.container(holder)}[{key!r}]"

    def tensor(self, tensor: Any) -> str:
        """A state tensor that runs do not look up anew."""
        for table, items in self.words.tables():
            for key, value in items:
                if value is tensor:
                    return self.place(table, key)
        return self.objects.get(id(tensor), "a tensor from outside")

    def container(self, holder: Any) -> str:
        return self.objects.get(id(holder), self._dicts.get(id(holder), f"a {type(holder).__name__}"))

    def expression(self, postfix: Sequence[tuple[Any, ...]]) -> str:
        """A recipe of numbers as Python would write it."""
        stack: list[tuple[str, bool]] = []  # text, and whether it needs brackets inside another
        for token in postfix:
            name = token[0]
            if name == "const":
                stack.append((repr(token[1]), False))
            elif name == "read":
                stack.append((self.read(token[1], plain=True), False))
            elif name in ("size", "stride"):
                text = self.slots.get(("tensor", token[1]), "an argument")
                stack.append((f"{text}.shape[{token[2]}]" if name == "size" else f"{text}.stride({token[2]})", False))
            elif name in ("size of", "stride of"):
                text = self.read(token[1], plain=True)
                stack.append((f"{text}.shape[{token[2]}]" if name == "size of" else f"{text}.stride({token[2]})", False))
            elif name == "neg":
                text, compound = stack.pop()
                stack.append((f"-({text})" if compound else f"-{text}", False))
            elif name in MATHEMATICAL:
                stack.append((f"{name}({stack.pop()[0]})", False))
            else:
                (right, right_compound), (left, left_compound) = stack.pop(), stack.pop()
                right, left = f"({right})" if right_compound else right, f"({left})" if left_compound else left
                if name in _OPERATORS:
                    stack.append((f"{left} {_OPERATORS[name]} {right}", True))
                else:
                    stack.append((f"{name}({left}, {right})", False))
        return stack[-1][0]

    def leaf(self, name: str, row: tuple[Any, ...]) -> str:
        """An argument as the capture takes it."""
        kind = row[0]
        if kind == "tensor":
            return f"{name}: {spec_text(*row[2:6])}"
        if kind == "same":
            return f"{name}: the same tensor as {self.slots.get(('tensor', row[1]), 'another')}"
        if kind == "number":
            return f"{name}: {row[2].__name__}"
        if kind in ("list", "tuple"):
            inner = ", ".join(self._inner(child) for child in row[2])
            return f"{name}: [{inner}]" if kind == "list" else f"{name}: ({inner}{',' if len(row[2]) == 1 else ''})"
        if kind == "dict":
            items = [f"{key!r}: {self._inner(child)}" for key, child in zip(row[1], row[2])]
            return f"{name}: {{{', '.join(items)}}}"
        if kind == "attrs":
            inner = ", ".join(f"{key}={self._inner(child)}" for key, child in zip(row[2], row[3]))
            return f"{name}: {row[1].__name__}({inner})"
        return f"{name}: {short(row[1]) if row[2] == 'eq' else 'this ' + short(row[1]).removeprefix('another ')}"

    def _inner(self, row: tuple[Any, ...]) -> str:
        return self.leaf("", row)[2:]

    def guard(self, row: tuple[Any, ...]) -> list[str]:
        """What a guard says must hold; several things for the watch over Modules."""
        kind = row[0]
        if kind == "is" and isinstance(row[2], types.CodeType):
            return []
        if kind in ("is", "eq"):
            place, value = self.read(row[1]), short(row[2]).replace("another ", "this ")
            return [] if place == value else [f"{place} is {value}"]  # a method that is its class's own says nothing
        if kind == "type":
            return [f"{self.read(row[1])} is a {row[2].__name__}"]
        if kind == "tensor":
            return [f"{self.read(row[1])}: {spec_text(*row[2:6])}"]
        if kind in ("list", "dict"):
            return [f"the items of {self.container(row[1])} are these {len(row[2]) if kind == 'list' else len(row[2]) // 2}"]
        if kind == "expr":
            return [f"`{self.expression(row[1])}` is {row[2]}"]
        if kind == "epoch":
            return self.modules(row[2].__self__)
        if kind == "aliased":
            return [f"{self.read(row[1])} and {self.read(row[2])} lie on the same memory"]
        if kind == "distinct":
            return ["tensors that are written share memory with no other"]
        if kind in ("class", "lacks"):
            return []
        return ["a set has the same items"]

    def modules(self, watch: Any) -> list[str]:
        """The attributes of Modules that say something to a reader."""
        library = {id(m.__dict__) for m in watch.modules if library_code_reads(type(m))}
        training: dict[Any, list[str]] = {}
        found = []
        for holder, key, value in watch.seen.values():
            if key == "training":
                training.setdefault(value, []).append(self.place(holder, key))
            elif isinstance(value, (bool, int, float, str)) and id(holder) not in library:
                found.append(f"{self.place(holder, key)} is {short(value)}")
        for value, names in training.items():
            if len(names) > 1 and len(training) == 1:
                found[:0] = [f"{names[0]} is {value}, and so in {len(names) - 1} more Modules"]
            else:
                found[:0] = [f"{name} is {value}" for name in names]
        return found
