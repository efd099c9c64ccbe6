"""A branch or a loop body while it is captured, and again whenever its gradient is asked for.

Inside a region operators run on traced tensors as everywhere, but what they emit stays in the region, writes to storages
are undone when it closes, and tensors from outside that take part in differentiation are met as *aliases*: leaves of the
region's own tape. So the gradient of a region is the same tape as in dynamic mode, run inside of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from duograph import _core as core
from duograph._stack import user_location
from duograph.errors import CaptureError
from duograph.ir.builder import _rename_region, current
from duograph.ir.dim import Dim, Expr
from duograph.ir.effects import must_run
from duograph.ir.graph import Graph, Node, Value
from duograph.ir.late import late_symbols, makes, mentions
from duograph.ir.substitution import substitute
from duograph.ir.types import TensorType
from duograph.ops.calls import tensors_in
from duograph.ops.definition import REGISTRY
from duograph.ops.tracing import wrap
from duograph.passes.rewriting.expand import rename_sizes

if TYPE_CHECKING:
    from ..builder import CaptureBuilder
    from ..memory.aliases import Link
    from ..memory.cells import Cell, View


class Alias(NamedTuple):
    """A tensor from outside, the value it had, and the leaf that stands for it in a region."""

    outer: Any
    value: Value
    leaf: Any  # where its gradient arrives
    used: Any  # what operators read: the leaf, or what shares gradients with leaves of other tensors


class Region:
    """Nodes that run zero or more times."""

    one_example = False  # of many, in a mapped function

    def __init__(self, builder: CaptureBuilder) -> None:
        self.builder = builder
        self.nodes: list[Node] = []
        self.constants: dict[tuple[Any, ...], Value] = {}
        self.members: set[Node] = set()
        self.own: set[Value] = set()  # inputs of the region and handles made in it
        self.aliases: dict[int, Alias] = {}
        self.leaves: set[int] = set()
        self.recorded: set[Any] = set()  # operations on the region's tape whose results have values from outside
        self.keep: list[Any] = []
        self.required: dict[tuple[str, Expr, Expr], Node] = {}  # relations of sizes that are checked where it runs ...
        self.equal: list[tuple[Dim, Expr]] = []  # ... and sizes that are others there
        self.given: list[Any] = []  # tensors on its inputs
        self.asked: list[tuple[list[Any], list[Any], Any]] = []  # gradients: tensors wanted, those of `given` gone to, line
        self.written: dict[int, tuple[Cell, Value]] = {}  # what storages held when the region closed
        self.ended: dict[int, list[int]] = {}  # the versions that they had then
        self._cells: dict[int, tuple[Cell, Value, int]] = {}
        self._views: dict[int, tuple[View, Value, int, int]] = {}
        self._links: dict[int, tuple[Link, int]] = {}

    def input(self, type: Any, name: str = "") -> Value:
        """A value that is given to the region at each run."""
        value = Value(type, None, 0, name)
        self.own.add(value)
        self.builder.inside.add(value)
        return value

    def unboxed(self, box: Value, type: TensorType) -> Value:
        """What is in a box that is given to the region."""
        with self.open():
            value = self.builder.unbox(box, type.dtype, type.shape)
        self.own.add(value)
        return value

    def leaf(self, value: Value, requires_grad: bool) -> Any:
        """A tensor for an input of the region."""
        tensor = wrap(value)
        self.builder.handles.add(value)
        self.given.append(tensor)
        return tensor.requires_grad_() if requires_grad else tensor

    @contextmanager
    def open(self, at_end: bool = False) -> Iterator[None]:
        """Operators called inside emit into the region; `at_end`: storages hold what they held when it was captured."""
        self.builder.enter(self)
        try:
            if at_end:
                for cell, value in list(self.written.values()):
                    self.note_cell(cell)
                    cell.value = value
                    cell.changed()
            yield
            if not at_end:
                self.builder.aliases.sync_all(self)
        finally:
            self.builder.leave(self)

    def undo_writes(self) -> None:
        """Storages are as they were when the region opened."""
        self.written |= {key: (cell, cell.value) for key, (cell, _, _) in self._cells.items()}  # it may open several times
        for key, (cell, value, version) in self._cells.items():
            self.ended.setdefault(key, []).append(cell.version)
            cell.value, cell.version = value, version
        for view, value, version, history in self._views.values():
            view.value, view.version, view.history = value, version, history
        for link, seen in self._links.values():
            link.seen = seen
        self._cells, self._views, self._links = {}, {}, {}

    def before(self) -> Iterator[tuple[Cell, Value, int]]:
        """Storages that were written since the region opened, with what they held and their versions."""
        yield from self._cells.values()

    def note_cell(self, cell: Cell) -> None:
        """The storage is about to be written. One that was born in the region ends with it."""
        if self.holds(cell.born):
            return
        self._cells.setdefault(id(cell), (cell, cell.value, cell.version))

    def cells_written(self) -> set[int]:
        """The storages from outside that were written since the region opened."""
        return set(self._cells)

    def versions_written(self) -> dict[int, int]:
        """The same, with the versions of their contents."""
        return {key: cell.version for key, (cell, _, _) in self._cells.items()}

    def note_view(self, view: View) -> None:
        """What is known of a view is about to change."""
        self._views.setdefault(id(view), (view, view.value, view.version, view.history))

    def keep_history(self, view: View) -> None:
        """The history that a view got outside of the region stays when that ends."""
        if id(view) in self._views:
            self._views[id(view)] = (*self._views[id(view)][:3], view.history)

    def changes(self, cell: Cell) -> bool:
        """Whether a storage is the region's own, or was written since it opened."""
        return id(cell) in self._cells or self.holds(cell.born)

    def note_link(self, link: Link) -> None:
        """What is known of a tensor that another one may be is about to change."""
        self._links.setdefault(id(link), (link, link.seen))

    def holds(self, value: Value) -> bool:
        return value in self.own or value.node in self.members

    def localize(self, tensor: Any) -> Any:
        """The tensor itself, or the leaf that stands for it if its history lies outside."""
        if self.has(tensor):
            return tensor
        value = self.builder.read(tensor)
        known = self.aliases.get(id(tensor))
        if known is None or known.value is not value:
            view = self.builder.view_of(tensor)
            if tensor._traced is None and not view.cell.written:
                self.builder.views.setdefault(value, view)  # the leaf lies where the tensor does
            if value not in self.builder.views:
                self.builder.view_of_handle(value).layouts = view.layouts
            leaf = wrap(value).requires_grad_()
            self.leaves.add(id(leaf))
            used = self._shared(leaf, tensor)
            self.leaves.add(id(used))
            known = self.aliases[id(tensor)] = Alias(tensor, value, leaf, used)
            for one in (leaf, used):
                self.builder.versions.stands_for(one, tensor)
        return known.used

    def _shared(self, leaf: Any, tensor: Any) -> Any:
        """A leaf that is, on some ways, another."""
        shared = self.builder.aliases.shared
        pairs = shared.pairs(tensor)
        if not pairs or self.builder.regions[-1] is not self:
            return leaf
        old = core.set_grad_enabled(True)
        try:
            return shared.follow(leaf, pairs)
        finally:
            core.set_grad_enabled(old)

    def has(self, tensor: Any) -> bool:
        """Whether the tensor's history, if it has one, lies in the region."""
        if not tensor.requires_grad or id(tensor) in self.leaves:
            return True
        if tensor.grad_fn is None and not self.holds(self.builder.view_of(tensor).cell.born):
            return False  # a leaf from outside, perhaps written here
        return self.holds(self.builder.read(tensor)) or tensor.grad_fn in self.recorded

    def from_outside(self, tensor: Any) -> Any:
        """The tensor that a leaf stands for."""
        return next((alias.outer for alias in self.aliases.values() if tensor is alias.leaf or tensor is alias.used), tensor)

    def check_write(self, target: Any, value: Any) -> None:
        """Refuse a write that would give a tensor from outside a history in the region."""
        if not core.is_grad_enabled() or not (target.requires_grad or value.requires_grad):
            return
        base = self.builder.base_of(target)
        if target._traced is None or not self.holds(target._traced) or base is not self.from_outside(base):
            raise CaptureError(
                "static: a tensor from outside is written in place in a branch or loop that a tensor's value steers, "
                "and takes part in differentiation",
                hint="assign a new tensor instead: x = x + y for x += y",
                location=user_location(),
            )


def localize(args: tuple[Any, ...], in_place: bool) -> tuple[Any, ...]:
    """Hook of the core: an operator's arguments, as the open region sees them."""
    builder: Any = current()
    regions = getattr(builder, "regions", None)
    if not regions:
        return args
    region: Region = regions[-1]
    if not in_place:
        return tuple(_localized(region, x) for x in args)
    for target in tensors_in(args[:1]):
        for other in tensors_in(args):
            region.check_write(target, other)
    return (args[0], *(_localized(region, x) for x in args[1:]))


def _localized(region: Region, x: Any) -> Any:
    if isinstance(x, core.Tensor):
        return region.localize(x)
    if isinstance(x, (tuple, list)):
        return tuple(_localized(region, item) for item in x)
    return x


def live_nodes(
    nodes: Sequence[Node],
    results: Iterable[Value],
    effects: Callable[[Node], bool],
    given: Container[Value] = frozenset(),
    sizes_given: Collection[Dim] = frozenset(),
) -> list[Node]:
    """The nodes that results depend on, in order; with those that have an effect, if `effects`.

    Values that are `given` and late sizes likewise need no node.
    """
    wanted = {value for value in results if value not in given}
    live: list[Node] = []
    late = {node: made for node in nodes if (made := makes(node).difference(sizes_given))}
    sizes: set[Dim] = set()  # late ones that live nodes speak of
    for node in reversed(nodes):
        known = late.get(node, set()) & sizes
        if known or any(value in wanted for value in node.outputs) or (must_run(node) and effects(node)):
            live.append(node)
            if late:
                sizes |= mentions(node)
            wanted.update(value for value in node.inputs if value not in given)
    live.reverse()
    unknown = set().union(*late.values()) - {size for node in live for size in late.get(node, ())}
    same = {n for n in nodes if n.op == "require" and n.attrs["same"] and not mentions(n) & unknown}
    return [n for n in nodes if n in same.union(live)] if same else live


def copy_nodes(nodes: Iterable[Node], values: dict[Value, Value]) -> list[Node]:
    """Nodes of their own that read other values; `values` is extended by the outputs."""
    made = []
    for node in nodes:
        regions = tuple(_rename_region(region, values) for region in node.regions)
        copy = node.with_inputs(tuple(values.get(value, value) for value in node.inputs), regions)
        values.update(zip(node.outputs, copy.outputs))
        made.append(copy)
    return made


def filled(type_: TensorType, number: float, nodes: list[Node]) -> Value:
    """A tensor of one number, made by further nodes."""
    nodes.append(Node("constant", (), {"value": number}, (TensorType(type_.dtype),)))
    if type_.shape:
        nodes.append(Node("broadcast", nodes[-1].outputs, {}, (TensorType(type_.dtype, type_.shape),)))
    return nodes[-1].output


def with_own_sizes(builder: CaptureBuilder, graph: Graph) -> Graph:
    """The graph with late sizes of its own: the nodes that make them may have been copied before."""
    found = late_symbols(graph)
    if not found:
        return graph
    own: dict[Dim, Expr] = {symbol: builder.late("turns") for symbol in found}
    _check_again(builder, own)
    return rename_sizes(graph, own)


def _check_again(builder: CaptureBuilder, own: dict[Dim, Expr]) -> None:
    """What must hold in every run of late sizes, as those of a mapped function, must hold of those of a copy."""
    for check in tuple(builder.checks):
        left, right = substitute(check.left, own), substitute(check.right, own)
        if (left, right) != (check.left, check.right):
            builder.checks.append(check._replace(left=left, right=right))
    for size, value in tuple(builder.required.everywhere.items()):
        copy, other = own.get(size, size), substitute(value, own)
        if copy is not size and isinstance(copy, Dim):
            builder.required.everywhere[copy] = other
    builder.required.apply()


def zeros(tensor: Any) -> Any:
    """Zeros of a traced tensor's dtype and shape."""
    return REGISTRY["zeros_like"].op(tensor)


def sized(tensor: Any, like: Any) -> Any:
    """The tensor with another's sizes, which are the same where the open region runs, however they are written."""
    found, shape = current().read(tensor).shape, current().read(like).shape
    return tensor if found == shape else REGISTRY["reshape"].op(tensor, shape)


def nothing(builder: CaptureBuilder, type: TensorType) -> Any:
    """What a sum of gradients of this type starts from: -0.0, which leaves the bits of whatever is added to it."""
    return wrap(builder.constant(-0.0, type.dtype, type.shape))


def flip(stack: Any) -> Any:
    """The rows in reverse order."""
    return REGISTRY["flip"].op(stack, (0,))


def gradients(outs: Sequence[Any], inputs: Sequence[Any], seeds: Sequence[Any], ends: Sequence[Any] = ()) -> tuple[Any, ...]:
    """The tape from outs to inputs, recorded itself where gradients are on; None for inputs that outs do not depend on.

    It is not gone along past `ends`, of which it gives the gradients too.
    """
    wanted = (*inputs, *ends)
    if not outs or not wanted:
        return (None,) * len(wanted)
    found: tuple[Any, ...] = core.grad(tuple(outs), wanted, tuple(seeds), True, core.is_grad_enabled(), True, bool(ends))
    return found


def tangents_of(outs: Sequence[Any], inputs: Sequence[Any] = (), tangents: Sequence[Any] = ()) -> tuple[Any, ...]:
    """The tape from inputs to outs, gone along forward; recorded itself where gradients are on. None stands for zero."""
    found: tuple[Any, ...] = core.push_forward(tuple(outs), tuple(inputs), tuple(tangents), core.is_grad_enabled())
    return found
