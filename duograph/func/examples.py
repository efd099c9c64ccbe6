"""One example's run of a function, recorded: a graph and its tape, on which its gradients of every order go on.

In a captured function the record is a region of the capture, so that branches, loops and writes in place are what they are
there. Elsewhere it is a graph of its own.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from duograph import _core as core
from duograph._recorded import state
from duograph._stack import frame_location, user_frame, user_location
from duograph.errors import CaptureError
from duograph.ir.builder import Builder, Region, active, current
from duograph.ir.dim import Expr
from duograph.ir.graph import Graph, Node, Value
from duograph.ir.late import late_symbols
from duograph.ir.location import Location
from duograph.ir.types import TensorType

from .batching import Batching

if TYPE_CHECKING:
    from duograph.capture.builder import CaptureBuilder
    from duograph.capture.memory.cells import Cell

Tensor = core.Tensor
Keys = dict[Value, Any]  # random keys: what stands for them in the example's graph → what was drawn


class NeedsCapture(CaptureError):
    """The function does what only a capture can record: it steers by a tensor or writes in place."""


def shape_of(tensor: Any) -> tuple[Expr, ...]:
    """A tensor's sizes as the graph knows them."""
    value: Value | None = tensor._traced
    return tuple(getattr(n, "expr", n) for n in tensor.shape) if value is None else value.shape


class Run(NamedTuple):
    """What a batched run gives."""

    results: list[Any]
    keys: Keys


class Place(ABC):
    """Where an example is recorded."""

    @abstractmethod
    def open(self) -> contextlib.AbstractContextManager[None]:
        """Operators called inside are recorded here."""

    @abstractmethod
    def input(self, type: TensorType, requires_grad: bool) -> Any:
        """A new argument: a tensor of one example."""

    @abstractmethod
    def value(self, tensor: Any) -> Value:
        """What a tensor of the record is in its graph; the place is open."""

    @abstractmethod
    def outside(self) -> list[tuple[Any, Any]]:
        """Tensors from outside that gradients flow to, each with what stands for it on the example's tape."""

    @abstractmethod
    def run(
        self, wanted: Sequence[Value], given: dict[Value, tuple[Any, bool]], size: Expr, randomness: str, keys: Keys | None
    ) -> Run:
        """The wanted values for all examples; `given`: tensors for the arguments, and whether they have examples."""

    def local(self, tensor: Any) -> Any:
        """A result as this record's tape knows it."""
        return tensor


def recorded(record: Callable[[Place], Any]) -> Any:
    """What `record` gives in a place of its own, or, in a capture, in a region of that if it needs one."""
    from duograph.capture.builder import CaptureBuilder

    builder, recorder = (current(), state.recorder) if core.tracing() and active() else (None, None)
    if not isinstance(builder, CaptureBuilder) or recorder is None:
        return record(_Alone())
    mark = recorder.mark()
    try:
        return record(_Alone())
    except NeedsCapture:
        recorder.back_to(mark)
    return record(_InCapture(builder))


class ExampleBuilder(Builder):
    """Records the function on one example. What it reads from outside is an input, or a value of the graph outside."""

    refusal = "one example of many is not known while vmap records the function: use where, or a Python loop over the examples"

    refused = NeedsCapture

    def __init__(self) -> None:
        super().__init__("vmap")
        self.outer = current() if core.tracing() and active() else None
        self.own: set[Value] = set()
        self.read_from_outside: dict[int, tuple[Any, Value]] = {}

    def example(self, type: TensorType) -> Value:
        """An argument of the function."""
        value = self.input(type)
        self.own.add(value)
        return value

    def emit(self, *args: Any, **kwargs: Any) -> list[Value]:
        """Append a node, with the user's line."""
        where = user_location()
        self.location = None if where is None else Location(where.file, where.line, where.function, where.text)
        made = super().emit(*args, **kwargs)
        self.own.update(made)
        return made

    @contextlib.contextmanager
    def region(self, types: Sequence[TensorType], names: Sequence[str] = ()) -> Iterator[Region]:
        """A region of an operator that is a loop."""
        with super().region(types, names) as made:
            self.own.update(made.inputs)
            yield made

    def read(self, tensor: Any) -> Value:
        """The value of a tensor: one of this graph, or of what is outside."""
        value = tensor._traced
        if value is not None and value in self.own:
            return value  # type: ignore[no-any-return]
        known = self.read_from_outside.get(id(tensor))
        if known is None:
            if self.outer is not None:
                found = self.outer.read(tensor)
            elif value is not None:
                raise CaptureError("vmap: a tensor of a function that vmap has left is used", location=True)
            else:
                found = self.input(TensorType(tensor.dtype, tuple(tensor.shape)))
                self.own.add(found)
            known = self.read_from_outside[id(tensor)] = (tensor, found)
        return known[1]

    lift = read

    def number(self, number: Any) -> Value:
        """A Python number."""
        return super().number(number) if self.outer is None else self.outer.number(number)

    def write(self, tensor: Any, value: Value) -> None:
        """Only a capture records it."""
        raise NeedsCapture("vmap: a tensor is written in place", hint="compute a new one: x = x + 1")

    def __getattr__(self, name: str) -> Any:
        """What captures ask their builder for when a branch or loop that a tensor steers begins: only they record it."""
        if name.startswith("__"):
            raise AttributeError(name)
        frame = user_frame()
        while frame is not None and frame.f_code.co_filename == contextlib.__file__:
            frame = user_frame(frame.f_back)
        location = frame_location(frame) if frame is not None else None
        raise NeedsCapture("vmap: a tensor decides a branch or the turns of a loop", hint=self.refusal, location=location)

    def check(self, relation: str, left: Expr, right: Expr, code: int = 0) -> None:
        """As outside."""
        super().check(relation, left, right, code) if self.outer is None else self.outer.check(relation, left, right, code)

    def unify(self, left: Expr, right: Expr, code: int = 0) -> Expr:
        """As outside."""
        return super().unify(left, right, code) if self.outer is None else self.outer.unify(left, right, code)

    def is_one(self, size: Expr) -> bool:
        """As outside."""
        return super().is_one(size) if self.outer is None else self.outer.is_one(size)


class _Alone(Place):
    """A graph of its own, run as a program or written into the graph that is recorded."""

    def __init__(self) -> None:
        import duograph.capture  # noqa: F401 - says why a value cannot be read

        self.builder = ExampleBuilder()

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        from duograph.ops.tracing import as_user

        tracing, localizing = core.set_tracing(True), core.set_localizing(False)
        try:
            with self.builder, as_user():
                yield
        finally:
            core.set_localizing(localizing)
            core.set_tracing(tracing)

    def input(self, type: TensorType, requires_grad: bool) -> Any:
        from duograph.ops.tracing import wrap

        made = wrap(self.builder.example(type))
        return made.requires_grad_() if requires_grad else made

    def value(self, tensor: Any) -> Value:
        return self.builder.read(tensor)

    def outside(self) -> list[tuple[Any, Any]]:
        found: dict[Any, Any] = {}  # the tape may hand a tensor out as another object
        for x, _ in self.builder.read_from_outside.values():
            if x.requires_grad:
                found.setdefault(id(x) if x.grad_fn is None else (x.grad_fn, x.grad_fn.output_index), x)
        return [(x, x) for x in found.values()]

    def run(
        self, wanted: Sequence[Value], given: dict[Value, tuple[Any, bool]], size: Expr, randomness: str, keys: Keys | None
    ) -> Run:
        graph = self.builder.finish(wanted)
        if self.builder.outer is not None:
            return _written(current(), graph, given, size, randomness, keys)
        from duograph.runtime.build import build

        known = {v: (x, False) for x, v in self.builder.read_from_outside.values()} | given
        builder = Builder("vmap")
        bound = [(value, known[value]) for value in graph.inputs if value in known]
        operands = [x for _, (x, _) in bound]
        inputs = [builder.input(TensorType(x.dtype, tuple(x.shape))) for x in operands]
        # Keys leave the program and come back inverted: a key itself is memory that only the run has.
        drawn = [(key, builder.input(TensorType(x.dtype, tuple(x.shape))), x) for key, x in (keys or {}).items()]
        batching = Batching(
            builder,
            size,
            randomness,
            None if keys is None else {key: builder.emit("bit_not", [value], {}, [value.type])[0] for key, value, _ in drawn},
        )
        for (value, (_, on)), made in zip(bound, inputs):
            batching.bind(value, made, on)
        batching.run(graph.nodes)
        results = [batching.result(value) for value in graph.outputs]
        drawn_here = [builder.emit("bit_not", [key], {}, [key.type])[0] for key in batching.drawn.values()]
        program = build(builder.finish([*results, *drawn_here])).program
        found = list(program.run([x.detach().contiguous() for x in (*operands, *(x for _, _, x in drawn))]))
        return Run(found[: len(results)], dict(zip(batching.drawn, found[len(results) :])))


def _written(
    builder: Builder, graph: Graph, given: dict[Value, tuple[Any, bool]], size: Expr, randomness: str, keys: Keys | None
) -> Run:
    """The batched graph written into another one."""
    from duograph.ops.tracing import wrap

    batching = Batching(builder, size, randomness, keys)
    for value, (x, on) in given.items():
        batching.bind(value, builder.read(x), on)
    batching.run(graph.nodes)
    return Run([wrap(batching.result(value)) for value in graph.outputs], batching.drawn)


class _InCapture(Place):
    """A region of the capture that is open."""

    def __init__(self, builder: CaptureBuilder) -> None:
        from duograph.capture.control.regions import Region

        arguments: set[Value] = set()

        class ExampleRegion(Region):
            """Writes leave what is outside of one example alone, and so do gradients."""

            one_example = True

            def note_cell(self, cell: Cell) -> None:
                if cell.born in arguments or not self.holds(cell.born):
                    what = "an argument" if cell.born in arguments else "a tensor from outside of the function"
                    raise CaptureError(
                        f"vmap: {what} is written in place in a mapped function",
                        hint="write into a copy: y = x.clone()",
                        location=user_location(),
                    )

        self.builder = builder
        self.arguments = arguments
        self.region = ExampleRegion(builder)

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        from duograph.ops.tracing import as_user

        with self.region.open(), as_user():
            yield

    def input(self, type: TensorType, requires_grad: bool) -> Any:
        value = self.region.input(type)
        self.arguments.add(value)
        made = self.region.leaf(value, requires_grad)
        self.region.leaves.add(id(made))
        return made

    def value(self, tensor: Any) -> Value:
        return self.builder.read(tensor)

    def local(self, tensor: Any) -> Any:
        return self.region.localize(tensor)

    def outside(self) -> list[tuple[Any, Any]]:
        return [(alias.outer, alias.leaf) for alias in self.region.aliases.values()]

    def run(
        self, wanted: Sequence[Value], given: dict[Value, tuple[Any, bool]], size: Expr, randomness: str, keys: Keys | None
    ) -> Run:
        from duograph.capture.control.regions import live_nodes, with_own_sizes

        nodes = live_nodes(self.region.nodes, wanted, lambda node: keys is None)
        graph = Graph(tuple(given), tuple(nodes), tuple(wanted), name="vmap")
        if not late_symbols(graph):
            return _written(self.builder, graph, given, size, randomness, keys)
        own = with_own_sizes(self.builder, graph)
        bound = dict(zip(own.inputs, given.values()))
        pairs = list(zip(_draws(graph), _draws(own)))
        drawn = None if keys is None else {new: keys[old] for old, new in pairs if old in keys}
        found = _written(self.builder, own, bound, size, randomness, drawn)
        return Run(found.results, {old: found.keys[new] for old, new in pairs if new in found.keys})


def _draws(graph: Graph) -> list[Value]:
    """The random keys drawn outside of branches and loops, in order."""

    def walk(nodes: Sequence[Node]) -> Iterator[Value]:
        for node in nodes:
            if node.op == "random_key":
                yield node.output
            elif node.regions and node.op not in ("cond", "while_loop"):
                yield from walk(node.regions[0].nodes)

    return list(walk(graph.nodes))
