"""From a graph to a function of duograph: the operations that a fetch needs, called in the order in which they were built.

The function runs on traced tensors when `dg.static` captures it, once for each combination of dtypes and ranks; after that the
core replays it. It also runs as it is, on real tensors, where a run makes variables that did not exist before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph._stack import caller_at
from duograph.autograd import Function
from duograph.errors import Error, GraphError, ShapeError
from duograph.ir.builder import scoped
from duograph.tensors.creation import tensor as make_tensor

from .definition import TENSOR, TENSORS, Definition, filled, structure_of
from .elements import Operation, Slot, Tensor
from .inference import RunSizes
from .state import Unset

if TYPE_CHECKING:
    from duograph.ir.graph import Graph as Region
    from duograph.ir.location import Location

    from .state import State


def call_at(location: Location | None, function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """What a function gives, called in a frame that is the user's line: errors and the captured program name it."""
    if location is None:
        return function(**arguments)
    return caller_at(*location[:3])(function, (), arguments)


def needed(
    fetches: Iterable[Any], fed: Mapping[Tensor, Any], region: Any = None, done: Collection[Operation] = ()
) -> list[Operation]:
    """The operations that fetches need, in the order in which they run.

    Args:
        region: only those that lie in it; done: what has happened before.
    """
    found: set[Operation] = set()
    waiting = [x if isinstance(x, Operation) else x.node for x in fetches if x not in fed]
    while waiting:
        node = waiting.pop()
        if node in found or node.region is not region or node in done:
            continue
        found.add(node)
        waiting.extend(x.node for x in (*node.inputs, *node.attrs.get("captures", ())) if x not in fed)
        waiting.extend(node.control_inputs)
    order = sorted(found, key=lambda node: node.order)
    return _late_ones_last(order) if any(node.definition.late for node in order) else order


def _late_ones_last(nodes: Sequence[Operation]) -> list[Operation]:
    """In the order in which they were built, but for the late ones: before each goes all that does not come behind one.

    So two optimizers in one run take their gradients from the same values.
    """
    levels: dict[Operation, int] = {}  # how many late operations, one behind the other, a node comes behind
    for node in nodes:
        before = [x.node for x in (*node.inputs, *node.attrs.get("captures", ()))] + list(node.control_inputs)
        levels[node] = max((levels[n] + n.definition.late for n in before if n in levels), default=0)
    return sorted(nodes, key=lambda node: (levels[node], node.definition.late, node.order))


class Run:
    """One evaluation: the values of tensors so far.

    state      the session's variables
    values     by tensor: a duograph tensor, a number of the run, or its sizes
    """

    def __init__(self, state: State, fed: dict[Tensor, Any], kept: Iterable[Tensor] = (), leaves: Iterable[Tensor] = ()) -> None:
        self.state = state
        self.values: dict[Any, Any] = dict(fed)
        self.fed = fed
        self.kept = frozenset(kept)  # fetched: a variable's value is copied when it is read
        self.copies: dict[Tensor, Any] = {}
        self.leaves = frozenset(leaves)  # gradients are asked with respect to these
        self.through: frozenset[Tensor] = frozenset()  # fed, but gradients go on to what they would be computed from
        self.changing: frozenset[Tensor] = frozenset()  # variables that are written before gradients: reads are copies
        self.outer: Run | None = None
        self.again = False  # gradients are recorded, to be differentiated by who called
        self.imported: dict[Any, Any] = {}  # values of files that parts of the graph came from
        self.dry = False  # only shapes are looked for: nothing is written

    def inner(self) -> Run:
        """The same for the inside of a branch or a turn of a loop."""
        made = Run(self.state, {}, (), self.leaves)
        made.outer, made.dry, made.again, made.changing = self, self.dry, self.again, self.changing
        return made

    def value(self, tensor: Tensor) -> Any:
        """The value of a tensor."""
        found = self.held(tensor)
        return found.clone() if tensor in self.changing else found

    def held(self, tensor: Tensor) -> Any:
        """The value of a tensor; of a variable, its memory."""
        run: Run | None = self
        while run is not None:
            if tensor in run.values:
                found = run.values[tensor]
                return self.state.read(found.variable) if found.__class__ is Unset else found
            run = run.outer
        raise GraphError(f"{tensor.name} is not computed where it is needed", [tensor.node.built_at])

    def tensor(self, tensor: Tensor) -> Any:
        """The value of a tensor as a duograph tensor."""
        return as_tensor(self.value(tensor))

    def go(self, nodes: Sequence[Operation]) -> None:
        """Evaluate operations one after another."""
        values = self.values
        for node in nodes:
            if node.outputs and all(output in values for output in node.outputs):
                continue
            try:
                with scoped(node.name):
                    result = self.evaluate(node)
            except Error as error:
                note_operation(error, node)
                raise
            self.set(node, result)

    def evaluate(self, node: Operation) -> Any:
        """The operation's result on the values of its inputs."""
        definition = node.definition
        if self.dry and definition.stateful and node.op != "VariableV2":
            return self.value(node.inputs[0]) if node.inputs else None
        if definition.evaluate is not None:
            return call_at(node.location, _evaluate, {"run": self, "node": node})
        values = [self.value(x) for x in node.inputs]
        if not definition.sizes:
            _as_tensors(definition, node.attrs, values)
        return call_at(node.location, definition.function, filled(node.attrs, values))

    def set(self, node: Operation, result: Any) -> None:
        """Make an operation's result the values of its outputs, but for those that are fed."""
        outputs = node.outputs
        if not outputs:
            return
        if (len(outputs) == 1 and not isinstance(result, (list, tuple))) or isinstance(result, RunSizes):
            found = [result]
        else:
            found = []
            structure_of(result, found, lambda x: not isinstance(x, (list, tuple, dict)) or isinstance(x, RunSizes))
        for output, value in zip(outputs, found, strict=True):
            if output in self.through:
                value = Given.apply(as_tensor(value), as_tensor(self.fed[output]))
            elif output in self.fed:
                continue
            if output in self.leaves:
                value = leaf(as_tensor(value))
            if output in self.kept and self.state.holds(value):
                self.copies[output] = as_tensor(value).detach().clone()
            self.values[output] = value

    def region(self, region: Region, values: Sequence[Any], nodes: Sequence[Operation]) -> list[Any]:
        """The outputs of a branch or a loop's body for values of its inputs."""
        run = self.inner()
        run.values.update(zip(region.inputs, values))
        run.go(nodes)
        return [run.value(x) for x in region.outputs]  # type: ignore[arg-type]


class Given(Function):
    """A value that is fed in the place of one that is computed: gradients go to the latter."""

    @staticmethod
    def forward(ctx: Any, computed: Any, given: Any) -> Any:
        if tuple(computed.shape) != tuple(given.shape):
            raise ShapeError(
                f"feed: the value has shape {tuple(given.shape)}, what it stands for {tuple(computed.shape)}",
                hint="gradients go through the tensor that is fed: give it the shape that it has when it is computed",
            )
        return given.clone()

    @staticmethod
    def backward(ctx: Any, slope: Any) -> Any:
        return slope, None


def _evaluate(run: Run, node: Operation) -> Any:
    assert node.definition.evaluate is not None
    return node.definition.evaluate(run, node)


def _as_tensors(definition: Definition, attrs: dict[str, Any], values: list[Any]) -> None:
    """Sizes and numbers of the run become tensors where an operation takes tensors."""
    for i, value in enumerate(values):
        if isinstance(value, core.Tensor):
            continue
        for name, attribute in attrs.items():
            if definition.kinds.get(name) in (TENSOR, TENSORS) and _mentions(attribute, i):
                values[i] = as_tensor(value)


def _mentions(template: Any, index: int) -> bool:
    if isinstance(template, Slot):
        return template.index == index
    return isinstance(template, list) and any(_mentions(x, index) for x in template)


def as_tensor(value: Any) -> Any:
    """A tensor, of a number or of sizes too."""
    if isinstance(value, (core.Tensor, str, bytes)):
        return value
    if isinstance(value, RunSizes):
        return make_tensor(list(value), dtype=core.int32)
    kinds = {float: core.float32, bool: core.bool}
    return make_tensor(value, dtype=kinds.get(value.__class__, core.int32))


def leaf(value: Any) -> Any:
    """A tensor with respect to which gradients can be taken."""
    if not value.dtype.is_floating_point or value.requires_grad:
        return value
    value = value.detach()
    value.requires_grad_()
    return value


def note_operation(error: Error, node: Operation) -> None:
    """Names the operation and the line that built it in an error that came up while a graph ran."""
    if getattr(error, "operation", None) is not None:
        return
    error.operation = node  # type: ignore[attr-defined]
    where, line = error.location, node.location
    if where is not None and line is not None and (where.file, where.line) == (line.file, line.line):
        error.location = None
    if node.built_at not in error.operands:
        error.operands = (*error.operands, node.built_at)
