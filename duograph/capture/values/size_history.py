"""Which sizes of a static function's arguments become symbols: those that were seen with two values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from duograph import _core as core
from duograph.ir import dim as dims
from duograph.ir.dim import Dim

from .declared import Declared
from .state_sizes import StateHistory, StateSizes


class _Seen:
    """What the calls of one structure had for sizes."""

    def __init__(self, values: Sequence[int]) -> None:
        self.first = list(values)
        self.varied = [False] * len(values)
        self.group = [0] * len(values)  # sizes of one group were equal in every call

    def observe(self, values: Sequence[int]) -> None:
        known: dict[tuple[int, int], int] = {}
        for i, value in enumerate(values):
            self.varied[i] |= value != self.first[i]
            self.group[i] = known.setdefault((self.group[i], value), len(known))


class Plan:
    """What of one call is to be a symbol → (name, least, greatest).

    Keys are (tensor, dimension), (tensor, rank + dimension) for a stride, and (number, -1).
    """

    def __init__(self, names: dict[tuple[int, int], tuple[str, float, float]], states: StateSizes | None = None) -> None:
        self.names = names
        self.states = states  # of tensors from outside; None: they are captured with their sizes

    def number(self, slot: int) -> tuple[str, float, float] | None:
        """The symbol of a number argument."""
        return self.names.get((slot, -1))

    def of(self, slot: int, rank: int) -> dict[int, tuple[str, float, float]]:
        """The symbols of one argument, by dimension, those of strides behind those of sizes."""
        return {d: self.names[slot, d] for d in range(2 * rank) if (slot, d) in self.names}

    def without(self, pinned: Iterable[Dim]) -> Plan:
        """The plan with some symbols as numbers; with none at all if none is named."""
        names = {str(made) for made in pinned}
        states = self.states.without(names) if self.states is not None and names else None
        return Plan({place: row for place, row in self.names.items() if names and row[0] not in names}, states)

    def bounded(self) -> Plan:
        """The plan with only those symbols that have a greatest value."""
        return Plan({place: row for place, row in self.names.items() if row[2] < dims.INFINITY})

    def __bool__(self) -> bool:
        return bool(self.names) or (self.states is not None and self.states.used)


class SizeHistory:
    """Which sizes and whole numbers among a static function's arguments have changed so far."""

    _LIMIT = 64

    def __init__(self, declared: Declared) -> None:
        self.declared = declared
        self.seen: dict[Any, _Seen] = {}
        self.states = StateHistory()

    def plan(self, target: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Plan:
        """The plan for a call that no capture fits; the call is remembered."""
        from .tree import argument_names

        names = [*argument_names(target, len(args)), *kwargs]
        tensors, numbers = argument_leaves((*args, *kwargs.values()), names)
        key = (len(args), tuple(names), tuple((n, t.ndim, t.is_contiguous()) for n, _, t in tensors), len(numbers))
        plan = self._plan(tensors, numbers, key)
        self.states.begin([*self.declared.names, *(row[0] for row in plan.names.values())])
        plan.states = StateSizes(self.states)
        return plan

    def _plan(self, tensors: Sequence[tuple[str, str, Any]], numbers: Sequence[tuple[str, Any]], key: Any) -> Plan:
        declared = self.declared.symbols(tensors, numbers)
        values = [size for *_, tensor in tensors for size in tensor.shape]
        values += [number if type(number) is int else 0 for _, number in numbers]
        values += [step for *_, tensor in tensors if not tensor.is_contiguous() for step in tensor.stride()]
        seen = self.seen.pop(key, None) or _Seen(values)
        self.seen[key] = seen
        while len(self.seen) > self._LIMIT:
            del self.seen[next(iter(self.seen))]
        seen.observe(values)
        names: dict[tuple[int, int], tuple[str, float, float]] = {}
        groups: dict[int, str] = {}
        taken = set(self.declared.names)
        place = 0

        def automatic(name: str) -> tuple[str, float, float]:
            group = seen.group[place]
            if group not in groups:
                groups[group] = _fresh(_identifier(name), taken)
            return groups[group], 0, dims.INFINITY

        fixed = _fixed([tensor for *_, tensor in tensors])
        for slot, (name, _, tensor) in enumerate(tensors):
            for d in range(tensor.ndim):
                if slot not in fixed:
                    if (slot, d) in declared:
                        names[slot, d] = declared[slot, d].symbol
                    elif seen.varied[place] or values[place] == 0:  # an empty tensor is rarely all there will be
                        names[slot, d] = automatic(f"{name}_{d}")
                place += 1
        for slot, (name, number) in enumerate(numbers):
            if (slot, -1) in declared:
                names[slot, -1] = declared[slot, -1].symbol
            elif seen.varied[place] and type(number) is int and 0 <= number < 2**62:
                names[slot, -1] = automatic(name)
            place += 1
        for slot, (name, _, tensor) in enumerate(tensors):
            for d in range(0 if tensor.is_contiguous() else tensor.ndim):
                if seen.varied[place] and slot not in fixed:
                    names[slot, tensor.ndim + d] = (_fresh(f"{_identifier(name)}_step_{d}", taken), -dims.INFINITY, dims.INFINITY)
                place += 1
        return Plan(names)


def argument_leaves(values: Sequence[Any], names: Sequence[str]) -> tuple[list[tuple[str, str, Any]], list[tuple[str, Any]]]:
    """What arguments and their lists, tuples, dicts and dataclasses hold, in order, as `tree.Arguments` counts it.

    The tensors, each once, as (name, argument it is or is in, tensor); the numbers as (name, number).
    """
    from .tree import dataclass_fields

    found: dict[int, tuple[str, str, Any]] = {}
    numbers: list[tuple[str, Any]] = []

    def visit(value: Any, name: str, root: str) -> None:
        if isinstance(value, core.Tensor):
            found.setdefault(id(value), (name, root, value))
            return
        items: Any = ()
        if type(value) is int or type(value) is float:
            numbers.append((name, value))
        elif type(value) is list or isinstance(value, tuple):
            items = enumerate(value)
        elif type(value) is dict:
            items = value.items()
        elif (fields := dataclass_fields(value)) is not None and hasattr(value, "__dict__"):
            items = [(f, getattr(value, f)) for f in fields]
        for i, item in items:
            visit(item, f"{name}_{i}" if name else "", root)

    for value, name in zip(values, names):
        visit(value, name, name)
    return list(found.values()), numbers


def _fresh(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _identifier(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name) or "x"


def _is_plain(tensor: Any) -> bool:
    """Whether it is a Parameter with nothing of its own."""
    kind = type(tensor)
    return kind.__module__.partition(".")[0] == "duograph" and not getattr(tensor, "__dict__", None)


def _fixed(tensors: Sequence[Any]) -> set[int]:
    """Arguments that keep their sizes: what they are is more than an array of numbers."""
    storages: dict[int, list[int]] = {}
    for slot, tensor in enumerate(tensors):
        storages.setdefault(core.storage_id(tensor), []).append(slot)
    fixed = {slot for slots in storages.values() if len(slots) > 1 for slot in slots}
    for slot, tensor in enumerate(tensors):
        backward = any(step < 0 for step in tensor.stride())
        if backward or (type(tensor) is not core.Tensor and not _is_plain(tensor)):
            fixed.add(slot)
    return fixed
