"""One kind of run: fetches and what is fed, made a static function once and replayed."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np

from duograph import _core as core
from duograph._core import borrow_numpy
from duograph.autograd import enable_grad, no_grad
from duograph.capture.static import Handler, make_static
from duograph.capture.values.declared import Dim
from duograph.errors import CaptureError, CaptureWarning, Error, GraphError

from .definition import filled
from .dtypes import numpy_dtype, string
from .elements import Operation, Slot, Tensor
from .gradients import _GRADIENT, passed_through, written_before
from .inference import RunSizes
from .resolving import Run, as_tensor, needed, note_operation
from .stages import Stages
from .state import State

_ARRAY = np.ndarray


class Plan:
    """How to run some fetches from some feeds in one session."""

    def __init__(
        self, state: State, structure: Any, fetches: Sequence[Any], feeds: Sequence[Tensor], done: Collection[Any] = ()
    ) -> None:
        self.state = state
        self.structure = structure
        self.fetches = list(fetches)
        self.fetched = {x for x in self.fetches if isinstance(x, Tensor)}
        self.feeds = list(feeds)
        fed = dict.fromkeys(self.feeds)
        everything = needed(self.fetches, fed, done=done)
        self.given = len(self.feeds)
        calls = [node for node in everything if node.op == "PyFunc"]
        self.stages = Stages(state, calls, self.feeds) if calls else None
        if self.stages is not None:
            self.feeds = self.stages.feeds
            fed = dict.fromkeys(self.feeds)
            everything = needed(self.fetches, fed, done=self.stages.done)
        self.through = passed_through(everything, self.feeds)
        if self.through:
            computed = {x: None for x in fed if x not in self.through}
            again = needed([*self.fetches, *self.through], computed, done=done if self.stages is None else self.stages.done)
            everything = [node for node in again if node in set(everything) or not node.definition.stateful]
        self.nodes = [node for node in everything if node.definition.host is None]
        self.host = HostPart([node for node in everything if node.definition.host is not None])
        results = dict.fromkeys([*self.fetches, *self.host.reads])
        fetched = [x for x in results if isinstance(x, Tensor) and x not in fed and x not in self.host.gives]
        self.texts = {x: held_text(x) for x in fetched if x.dtype is string and x.node.op == "Const"}
        self.tensors = [x for x in fetched if x not in self.texts]
        self.changing = written_before(self.nodes)
        self.gradients = any(node.definition is _GRADIENT for node in self.nodes)
        self.leaves = {
            node.inputs[slot.index] for node in self.nodes if node.definition is _GRADIENT for slot in node.attrs["xs"]
        }
        read = {x for node in self.nodes for x in node.inputs}
        self.unread = {i for i, x in enumerate(self.feeds) if x.dtype is string and x not in read}
        self.inputs = [Feed(x) for x in self.feeds[: self.given]]
        # One tensor that NumPy knows is fetched, and nothing else: a run has nothing to arrange.
        self.straight = structure.__class__ is Slot and len(self.tensors) == len(self.fetches) and self.stages is None
        self.straight = self.straight and not (self.host.nodes or self.unread or self.tensors[0].dtype in (core.bfloat16, string))
        self.static: Any = None
        self.epoch = state.epoch

    def same(self, structure: Any, fetches: Sequence[Any], feeds: Sequence[Tensor]) -> bool:
        """Whether it is for these fetches and feeds."""
        return self.structure == structure and self.fetches == list(fetches) and self.feeds[: self.given] == list(feeds)

    def evaluate(self, *values: Any) -> Any:
        """The fetched tensors for what is fed: called with traced tensors by a capture, with real ones where nothing is kept."""
        fed = dict(zip(self.feeds, values))
        run = Run(self.state, {x: leaf_of(x, value, self.leaves) for x, value in fed.items()}, self.tensors, self.leaves)
        run.through, run.changing = frozenset(self.through), self.changing
        for tensor in self.through:
            del run.values[tensor]
        with enable_grad() if self.gradients else no_grad():
            run.go(self.nodes)
        return tuple([run.copies[x] if x in run.copies else _own(x, run) for x in self.tensors])

    def run(self, values: Iterable[Any]) -> Any:
        """The fetches' values as NumPy arrays."""
        arguments = []
        for feed, value in zip(self.inputs, values):
            if value.__class__ is _ARRAY and value.dtype is feed.dtype and value.shape in feed.shapes:
                arguments.append(borrow_numpy(value))
            else:
                arguments.append(feed.take(value))
        if self.straight and self.static is not None:
            array = self.static(*arguments)[0].numpy()
            return array if array.ndim else array[()]
        if self.stages is not None:
            arguments = self.stages.run(arguments)
        return self.arranged(self.results(arguments), arguments)

    def arranged(self, results: Any, arguments: Sequence[Any]) -> Any:
        """The program's results as NumPy arrays in the structure of the fetches."""
        arrays = {**self.texts, **dict(zip(self.tensors, map(array_of, results)))}
        for tensor, value in zip(self.feeds, arguments):
            if tensor in self.fetched:
                arrays[tensor] = np.copy(array_of(value))[()]
        if self.host.nodes:
            self.host.run(arrays, dict(zip(self.feeds, map(array_of, arguments))))
        return filled(self.structure, [arrays.get(x) for x in self.fetches])

    def results(self, arguments: Sequence[Any]) -> Any:
        """The fetched tensors that are not fed."""
        if self.unread:  # texts for the host: programs are made for each text that they read
            arguments = ["" if i in self.unread else x for i, x in enumerate(arguments)]
        return self.first(arguments) if self.static is None else self.static(*arguments)

    def handed_on(self, start: int) -> list[Tensor]:
        """What is fetched beyond the first so many."""
        return [x for x in self.fetches[start:] if isinstance(x, Tensor)]

    def explain(self, values: Iterable[Any], time: bool) -> Any:
        """The report of the program for values to feed."""
        arguments = [feed.take(value) for feed, value in zip(self.inputs, values)]
        if self.stages is not None:
            arguments = self.stages.run(arguments)
        if any(not self.state.has(x) for node in self.nodes for x in node.outputs if node.op == "VariableV2"):
            raise GraphError("explain: this run makes variables; it is made operation by operation, without a program")
        return self.program().explain(*arguments, time=time)

    def program(self) -> Any:
        """The static function of this run. Sizes that placeholders leave open are symbols from the start."""

        def evaluate(*values: Any) -> Any:
            return self.evaluate(*values)

        names = [f"values_{i}" for i in range(len(self.feeds))]
        kind = inspect.Parameter.POSITIONAL_ONLY
        evaluate.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in names])  # type: ignore[attr-defined]
        sizes = {name: _declared(name, x.type.sizes) for name, x in zip(names, self.feeds) if None in (x.type.sizes or ())}
        return make_static(evaluate, Handler(evaluate, False, sizes))

    def first(self, arguments: Sequence[Any]) -> Any:
        """The first run. One that gives variables their memory is made without a program: it is made once."""
        if any(not self.state.has(x) for node in self.nodes for x in node.outputs if node.op == "VariableV2"):
            results = self.evaluate(*arguments)
            self.epoch = self.state.epoch
            return results
        if not self.tensors and not any(node.definition.stateful for node in self.nodes):
            return ()
        self.static = self.program()
        try:
            return self.static(*arguments)
        except CaptureError as error:
            warnings.warn(f"this run is made operation by operation, as no program can be made of it: {error}", CaptureWarning, 2)
            self.static = self.evaluate
            return self.evaluate(*arguments)


def _declared(name: str, sizes: Any) -> tuple[Any, ...]:
    """The sizes of what is fed as `dg.static` takes them: those that are open have names."""
    return tuple(Dim(f"{name}_{d}") if size is None else size for d, size in enumerate(sizes))


class Feed:
    """One tensor that is fed: what its values must be, and the shapes that were found to fit."""

    __slots__ = ("dtype", "shapes", "tensor")

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        self.dtype = np.dtype(numpy_dtype(tensor.dtype)) if tensor.dtype is not core.bfloat16 else None
        self.shapes: set[tuple[int, ...]] = set()

    def take(self, value: Any) -> Any:
        """The value as a duograph tensor. ShapeError, DTypeError if it does not fit."""
        made = argument(self.tensor, value)
        if isinstance(value, _ARRAY) and value.flags.c_contiguous and len(self.shapes) < 1000 and self.tensor.dtype is not string:
            self.shapes.add(value.shape)
        return made


class HostPart:
    """Operations that are made of the program's results when it is done.

    reads   tensors of the program that they take
    gives   their outputs
    """

    def __init__(self, nodes: Sequence[Operation]) -> None:
        self.nodes = nodes
        self.gives = {x for node in nodes for x in node.outputs}
        inputs = dict.fromkeys(x for node in nodes for x in node.inputs if x not in self.gives)
        self.texts = {x: held_text(x) for x in inputs if x.dtype is string and x.node.op == "Const"}
        self.reads = [x for x in inputs if x not in self.texts]

    def run(self, arrays: dict[Tensor, Any], fed: dict[Tensor, Any]) -> None:
        """Add their outputs to the values by tensor."""
        found = {**self.texts, **arrays, **fed}
        for node in self.nodes:
            definition = node.definition
            assert definition.host is not None
            try:
                value = definition.host(**filled(node.attrs, [found[x] for x in node.inputs]))
            except Error as error:
                note_operation(error, node)
                raise
            for output in node.outputs:
                if output not in arrays:
                    arrays[output] = found[output] = value


def held_text(tensor: Tensor) -> Any:
    """The texts of a constant: Python's, of which no program knows."""
    return tensor.node.attrs["value"].value


def leaf_of(tensor: Tensor, value: Any, leaves: Any) -> Any:
    """What is fed, as a tensor to differentiate with respect to where gradients are asked for."""
    from .resolving import leaf

    return leaf(value) if tensor in leaves else value


def _own(tensor: Tensor, run: Run) -> Any:
    """A result that shares memory with nothing that is fed or kept."""
    value = run.value(tensor)
    if isinstance(value, (RunSizes, int)):  # of which no dtype is known
        value = as_tensor(value).to(tensor.dtype)
    value = as_tensor(value)
    if not isinstance(value, core.Tensor):
        return value
    shared = value._is_view() or run.state.holds(value) or any(value is x for x in run.fed.values())
    return value.detach().clone() if shared or value._traced is None else value.detach()


def argument(tensor: Tensor, value: Any) -> Any:
    """A fed value as a duograph tensor."""
    from .session import fed_array

    array = fed_array(tensor, value)
    if tensor.dtype is string and not isinstance(array, (str, bytes)):
        return np.array(array, dtype=object)
    if isinstance(array, (core.Tensor, str, bytes)):
        return array
    made = borrow_numpy(np.asarray(array, order="C"))
    return made.to(core.bfloat16) if tensor.dtype is core.bfloat16 else made


def array_of(value: Any) -> Any:
    """A result as NumPy has it: an array, or a number for a scalar."""
    if not isinstance(value, core.Tensor):
        return value
    if value.dtype is core.bfloat16:
        value = value.to(core.float32)
    array = value.numpy()
    return array if array.ndim else array[()]
