"""Tensors from outside whose sizes change from call to call: what a capture sees in their places."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from duograph import _core as core

from .numbers import LiveNumber, Postfix
from .sizes import Unsettled, known_sizes, stand_in
from .state_sizes import Symbol

if TYPE_CHECKING:
    from ..outside.recorder import Recorder
    from .tree import Arguments, Row

_PLACES = ("item", "index", "cell", "attr")


class StateTensors:
    """What a capture sees in the places of such tensors."""

    def __init__(self, recorder: Recorder, builder: Any, arguments: Arguments) -> None:
        self.recorder = recorder
        self.builder = builder
        self.arguments = arguments
        self.sizes = arguments.plan.states
        self.rows: dict[int, tuple[int, Any, Row]] = {}  # by id of the tensor: the read, the stand-in, its specification
        self.originals: dict[int, Any] = {}  # by id of the stand-in
        self.items: set[int] = set()  # tensors that containers were seen to hold, by id

    def observe(self, tensor: Any, kind: str, holder: Any, key: Any, name: str) -> Any:
        """A tensor found at a place outside, as the captured function sees it."""
        recorder = self.recorder
        name = name or (key if type(key) is str else "")
        made = self._seen(tensor, kind, holder, key, name)
        if made is not None:
            if recorder.watch.owns(holder):
                recorder.watch.read_anew(key, tensor)
            tensor = made
        recorder.found(tensor, recorder.read(kind, holder, key))
        recorder.tensor_names.setdefault(id(tensor), name)
        return tensor

    def number(self, value: int | float, read: int) -> LiveNumber:
        """A number from outside, as the captured function sees it: a symbol if captures were made for several values of it."""
        kind, holder, key = self.recorder.reads[read]
        if self.sizes is not None and type(value) is int and 0 <= value < 2**62 and kind in _PLACES:
            row = self.sizes.history.number((kind, id(holder), key), key if type(key) is str else "", value)
            if row is not None and row[0] not in self.sizes.excluded:
                self.sizes.used = True
                sizes = self.recorder.sizes
                made: LiveNumber = sizes.number(sizes.argument(row, value, ("read", read, False)))
                return made
        return LiveNumber(self.recorder, (("read", read, type(value) is float),), value)

    def pinned(self, postfix: Postfix) -> None:
        """The capture is for one value of a number that is made of these."""
        if self.sizes is not None:
            for token in postfix:
                if token[0] == "read":
                    kind, holder, key = self.recorder.reads[token[1]]
                    self.sizes.history.pinned.add((kind, id(holder), key))

    def note(self, tensor: Any) -> None:
        """The captured function may see a tensor itself, as an item of a container that it looks at."""
        self.recorder.keep.append(tensor)
        self.items.add(id(tensor))
        if id(tensor) in self.rows:
            self._pin(self.rows[id(tensor)][1])
            raise Unsettled("a tensor is an item of a container, and found at a place")

    def _seen(self, tensor: Any, kind: str, holder: Any, key: Any, name: str) -> Any:
        """The stand-in for a tensor found at a place outside; None for one that is captured as it is."""
        if self.sizes is None:
            return None
        known = self.rows.get(id(tensor))
        if known is None and (not self._may_change(tensor) or self._is_met(tensor)):
            return None
        if known is not None:
            if self.recorder.read_numbers.get((kind, id(holder), key)) == known[0]:
                return known[1]
            self._pin(known[1])
            raise Unsettled("one tensor is found at two places")
        symbols = self.sizes.history.symbols((kind, id(holder), key), name, tensor)
        symbols = {d: row for d, row in symbols.items() if row[0] not in self.sizes.excluded}
        if not symbols:
            return None
        self.sizes.used = True
        return self._make(tensor, self.recorder.read(kind, holder, key), symbols)

    def _make(self, tensor: Any, read: int, symbols: dict[int, Symbol]) -> Any:
        sizes = self.recorder.sizes

        def row(values: Any, kind: str, first: int) -> tuple[Any, ...]:
            return tuple(
                sizes.argument(symbols[first + d], n, (kind, read, d)) if first + d in symbols else n
                for d, n in enumerate(values)
            )

        grad = tensor.requires_grad if self.arguments.grad_mode else None
        # Before anything is asked of its sizes: runs compare what they find with this.
        shape, strides = row(tensor.shape, "size of", 0), None
        if not tensor.is_contiguous():
            strides = row(tensor.stride(), "stride of", tensor.ndim)
        spec = (tensor.dtype, known_sizes(shape), None if strides is None else known_sizes(strides), grad)
        made = stand_in(self.builder, tensor, shape, strides)
        self.rows[id(tensor)] = (read, made, spec)
        self.originals[id(made)] = tensor
        self.recorder.keep.append(tensor)
        return made

    def is_stand_in(self, tensor: Any) -> bool:
        return id(tensor) in self.originals

    def original(self, tensor: Any) -> Any:
        """The tensor behind a stand-in; any other one itself."""
        return self.originals.get(id(tensor), tensor)

    def spec(self, tensor: Any) -> Row | None:
        """How runs know what stands behind a stand-in; None for other tensors."""
        original = self.originals.get(id(tensor))
        return None if original is None else self.rows[id(original)][2]

    def _may_change(self, tensor: Any) -> bool:
        """Whether it is no more than an array of numbers."""
        if (
            type(tensor) is not core.Tensor
            or id(tensor) in self.items
            or tensor.requires_grad
            or getattr(tensor, "__dict__", None)
        ):
            return False
        return tensor.ndim > 0 and not any(step <= 0 for step in tensor.stride())

    def _is_met(self, tensor: Any) -> bool:
        """Whether the capture has met its memory before."""
        storage = core.storage_id(tensor)
        return storage in self.builder.storages or any(core.storage_id(t) == storage for t in self._others())

    def _others(self) -> list[Any]:
        return [*self.arguments.tensors, *self.originals.values()]

    def _pin(self, made: Any) -> None:
        self.recorder.sizes.pin_symbols(*made._traced.type.shape)

    def check(self, gradients: Iterable[Any]) -> None:
        """At the end of a capture: what is known now to be more than an array by itself is captured with its sizes.

        Args:
            gradients: the tensors whose `.grad` was looked at or written.
        """
        storages = [core.storage_id(t) for t in self._others()]
        shared = any(core.storage_id(t) in self.builder.storages for t in self.originals.values())
        if self.originals and (shared or len(set(storages)) < len(set(map(id, self._others())))):
            self.recorder.sizes.pin_symbols(*self.recorder.sizes.tokens)
        touched = {id(t) for t in gradients}
        for tensor in list(self.originals):
            made = self.rows[id(self.originals[tensor])][1]
            if tensor in touched or made.requires_grad:
                self._pin(made)
