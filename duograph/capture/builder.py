"""The graph builder of a capture: concrete tensors become state inputs, in-place writes become new values of cells."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph import _stack
from duograph.errors import CaptureError, ShapeError
from duograph.ir.builder import active, current
from duograph.ir.dim import Dim, Expr
from duograph.ir.graph import Graph, Node, Value
from duograph.ir.location import Location
from duograph.ir.types import TensorType
from duograph.ops.definition import FLAG_VIEW
from duograph.ops.room import MOST_BYTES, require_room
from duograph.ops.tracing import wrap

from .control.chosen_containers import ChosenContainers
from .control.kinds import Kinds
from .control.presence import Presence
from .control.regions import Region
from .control.required import Required
from .control.several import Several
from .memory.aliases import Aliases
from .memory.borrowed import Borrowed
from .memory.cells import Cell, Geometry, Layout, Step, Storage, View, contiguous, relate, steps_between
from .memory.first_reads import FirstReads
from .memory.joined import Care, Joined, Overlapping, extent
from .memory.layouts import Layouts
from .memory.shape_changes import check_shape_change
from .memory.tape import Tape
from .memory.versions import Versions
from .user_lines import user_location
from .values.numbers import LiveNumber, Postfix
from .values.sizes import SizedBuilder, Unsettled

if TYPE_CHECKING:
    from .control.handed_boxes import Kept


def snapshot(tensor: Any) -> Any:
    """Hook of the core: what the tape keeps of an operand, its value now, whatever is written later.

    None comes before the operands of an operator that writes one of them.
    """
    builder = current() if active() else None
    if not isinstance(builder, CaptureBuilder):
        return tensor
    if tensor is None:
        builder.versions.before_a_write()
        return None
    handle = builder.another_handle(builder.read(tensor))
    builder.versions.keep(handle, tensor)
    return wrap(handle)


class CaptureBuilder(SizedBuilder):
    """See the module."""

    def __init__(self, name: str, care: Care = Care()) -> None:  # noqa: B008
        super().__init__(name)
        self.views: dict[Value, View] = {}
        self.handles: set[Value] = set()
        self.storages: dict[int, Storage] = {}
        self.tensor_inputs: list[tuple[Value, Any]] = []
        self.input_tensors: dict[int, Value] = {}  # id of a tensor object → its input
        self.number_inputs: dict[Postfix, Value] = {}
        self.boxes: set[Value] = set()  # numbers of memory that is as it is for a while only
        self.boxes_kept: dict[Value, Kept] = {}  # stacks of boxes, for a gradient
        self.related: list[tuple[Any, Any]] = []  # tensors found to overlap, one of which is written
        self.keep: list[Any] = []
        self.histories: dict[int, tuple[Any, Any, _stack.Location | None]] = {}  # of written tensors from outside
        self.check_lines: dict[tuple[object, ...], tuple[int, Location | None]] = {}
        self.required = Required(self)
        self.presence = Presence(self)
        self.borrowed = Borrowed(self)
        self.kinds = Kinds()
        self.several = Several(self)
        self.chosen = ChosenContainers()
        self.repeated: set[int] = set()  # views of arguments with symbols for sizes that show one element at several places
        self.aliases = Aliases(self)
        self.aliases.exact = care.exact
        self.aliases.shared.wanted = care.in_order
        self.layouts = Layouts(self, care.layouts)
        self.versions = Versions(self)
        self.tape = Tape()
        self.first_reads = FirstReads(self)
        self.joined = Joined(self, care.spans)
        self.pieces: list[tuple[Any, Any, int]] = []  # memory that several tensors lie on, one of them, and how far before it
        self.rows: dict[int, tuple[Any, int, int, Any]] = {}  # tensors in lists that are rows of a stack: see growing
        self.lists_grew = False  # there are lists whose length only the run knows
        self.read_last: set[int] = set()  # lists of which the last item was read in a branch or loop ...
        self.read_length: set[int] = set()  # ... and the length
        self.held_iterators: list[dict[int, Any]] = []  # those that were there before the open branches and loops
        self.trusting = False  # what is asked of sizes was asked before
        self.regions: list[Region] = []  # open ones, innermost last
        self.differentiated: set[Any] = set()  # nodes of the tape from which branches and loops went backward
        self.open_regions: list[Region] = []  # those that are open while something is emitted before them
        self.inside: set[Any] = set()  # nodes and inputs of all regions
        self.gradients_written: list[tuple[str, Any, Any]] = []  # by the call
        self.moments: dict[Node, int] = {}  # how many of them when a node outside of regions was emitted

    # ---- regions

    def enter(self, region: Region) -> None:
        """What is emitted from here on belongs to the region."""
        self.aliases.sync_all()
        self.regions.append(region)
        self._nodes.append(region.nodes)
        self._constants.append(region.constants)
        self.required.apply()
        core.set_localizing(True)

    def leave(self, region: Region) -> None:
        """The region ends: writes to storages inside of it are undone."""
        while self.regions[-1] is not region:  # an error passed through inner ones
            self.leave(self.regions[-1])
        del self._nodes[self._depth(region) :]
        del self._constants[len(self._nodes) :]
        self.regions.pop()
        self.required.apply()
        region.undo_writes()
        core.set_localizing(bool(self.regions))

    @contextmanager
    def outside(self, count: int = 0) -> Iterator[None]:
        """What is emitted here lies before all open regions but the outermost ones, of which there are so many."""
        nodes, constants, regions = self._nodes, self._constants, self.regions
        self.open_regions = regions
        if len(regions) > count:
            depth = self._depth(regions[count])
            self._nodes, self._constants, self.regions = nodes[:depth], constants[:depth], regions[:count]
            self.required.apply()
        try:
            yield
        finally:
            self._nodes, self._constants, self.regions = nodes, constants, regions
            self.required.apply()

    @contextmanager
    def at_top(self) -> Iterator[None]:
        """What is emitted here lies before all open regions, and reads what storages held when they were opened."""
        inner: dict[Cell, tuple[Value, int]] = {}
        with self.outside():
            for region in reversed(self.open_regions):
                for cell, value, version in region.before():
                    inner.setdefault(cell, (cell.value, cell.version))
                    cell.value, cell.version = value, version
            try:
                yield
            finally:
                for cell, (value, version) in inner.items():
                    cell.value, cell.version = value, version

    def followed(self, grads: Sequence[Any], results: Sequence[Any]) -> None:
        self.presence.follow(grads, results)

    def updated(self, args: Sequence[Any], updates: list[tuple[Any, Value]]) -> list[tuple[Any, Value]]:
        lists = [x for x in args if isinstance(x, (list, tuple)) and x and isinstance(x[0], core.Tensor)]
        if not self.presence.known or not lists:
            return updates
        count = len(lists[0])
        made = []
        for k, (target, value) in enumerate(updates):
            found = (self.presence.of(x[k % count]) for x in lists if len(x) == count)
            condition = next((c for c in found if c is not None), None)
            if condition is not None:
                operands = [self.broadcast(condition, value.shape), value, self.read(target)]
                value = self.emit("where", operands, {}, [value.type])[0]
            made.append((target, value))
        return made

    def local_leaf(self, tensor: Any) -> None:
        """A tensor starts a tape inside the open region: it stands for nothing outside."""
        if self.regions:
            self.regions[-1].leaves.add(id(tensor))
            self.regions[-1].keep.append(tensor)
            if tensor.grad_fn is not None:  # the tape may hand it out as another object
                self.regions[-1].recorded.add(tensor.grad_fn)

    def note_view(self, view: View) -> None:
        """What is known of a view changes: undone when the open region ends."""
        if self.regions:
            self.regions[-1].note_view(view)

    def note_cell(self, cell: Cell) -> None:
        """A storage is written: undone when the open region ends."""
        if self.regions:
            self.regions[-1].note_cell(cell)

    def _depth(self, region: Region) -> int:
        return next(i for i in range(len(self._nodes) - 1, -1, -1) if self._nodes[i] is region.nodes)

    def check_escape(self, value: Value) -> None:
        """A value of a branch or loop body that ended can be reached only through what the body left behind in Python."""
        if value not in self.inside and value.node not in self.inside:
            return
        if not any(region.holds(value) for region in self.regions):
            raise CaptureError(
                "static: a tensor made inside a branch or a loop that a tensor's value steers is used after it",
                hint="assign it to a variable of the function, so that it is a result of the branch or loop",
            )

    # ---- what operators call

    def emit(
        self,
        op: str,
        inputs: Sequence[Value],
        attrs: dict[str, Any],
        types: Sequence[TensorType],
        regions: tuple[Graph, ...] = (),
    ) -> list[Value]:
        self.location = user_location()
        for type in types:
            require_room(op, type.shape, type.dtype, MOST_BYTES)
        made = super().emit(op, inputs, attrs, types, regions)
        if self.regions and made:
            self.regions[-1].members.add(self._nodes[-1][-1])
            self.inside.add(self._nodes[-1][-1])
        if self.gradients_written and len(self._nodes) == 1:
            self.moments[self._nodes[0][-1]] = len(self.gradients_written)
        return made

    def check(self, relation: str, left: Expr, right: Expr, code: int = 0) -> None:
        """The code of a check is the number of the line that needs it."""
        if self.trusting or self.required.check(relation, left, right):
            return
        code, _ = self.check_lines.setdefault((relation, left, right), (len(self.check_lines) + 1, user_location()))
        super().check(relation, left, right, code)

    def equate(self, symbol: Dim, size: Expr) -> None:
        self.required.equate(symbol, size)

    def late(self, name: str = "late", high: Expr | None = None) -> Dim:
        made = super().late(name, high)
        self.required.homes[made] = self._nodes[-1]
        return made

    def read(self, tensor: Any) -> Value:
        handle: Value | None = tensor._traced
        if handle is None:
            return self.concrete(tensor).current(self)
        view = self.views.get(handle)
        if self.borrowed.known or self.borrowed.pairs:
            self.borrowed.check_read(self.view_of(tensor).cell)
        if self.aliases.links:
            self.aliases.sync(self.view_of(tensor).cell)
        if self.inside:
            self.check_escape(handle if view is None else view.cell.value)
        if view is None:
            return handle
        if view.history != view.cell.version and self.base_of(tensor) is not tensor:
            from .memory.histories import refresh_for_all

            refresh_for_all(self, tensor, view)
        elif self.first_reads.pending:
            self.first_reads.again(view)
        return view.current(self)

    def lift(self, tensor: Any) -> Value:
        return self.concrete(tensor).current(self)

    def number(self, number: Any) -> Value:
        if type(number) is not LiveNumber:
            return super().number(number)
        if (found := self.number_inputs.get(number.postfix)) is None:
            dtype = core.float64 if type(number.value) is float else core.int64
            found = self.number_inputs[number.postfix] = self.input(TensorType(dtype, (), weak=True), kind="number")
            self.call_sizes.numbers.append(number.value)
        return found

    def write(self, tensor: Any, value: Value) -> None:
        if tensor._traced is None:
            if any(step == 0 and size > 1 for size, step in zip(tensor.shape, tensor.stride())):
                raise ShapeError(
                    "static: the target of a write shows one element at several places (it was expanded)",
                    hint="write to a copy: x = x.clone()",
                    location=_stack.user_location(),
                )
            self.prepare_write(tensor)
        self.keep_history(self.base_of(tensor))
        view = self.view_of(tensor)
        if id(view.cell.root) in self.repeated:
            self.call_sizes.pin_symbols(*self.call_sizes.tokens)
            raise Unsettled("a tensor that shows one element at several places is written")  # refused in numbers
        self.borrowed.check_write(view.cell)
        self.aliases.sync(view.cell)
        view.write(self, value)
        self.versions.written(view.cell)
        self.aliases.note(view.cell)

    def results(self, op: Any, operands: Sequence[Any], values: Sequence[Value]) -> Sequence[Value]:
        if op.name == "add":
            self.presence.summed(operands, values[0])
        is_view = op.flags & FLAG_VIEW and operands
        return [self._view_result(operands[0], value) if is_view else self._fresh(value) for value in values]

    def body(self) -> list[Node]:
        """The nodes emitted so far; taking some out again is allowed."""
        return self._nodes[0]

    def taken_from(self, mark: int) -> list[Node]:
        """The nodes from this number on, which are no longer the body's."""
        nodes = self._nodes[0]
        taken = nodes[mark:]
        del nodes[mark:]
        gone = set(taken)
        self._constants[0] = {key: value for key, value in self._constants[0].items() if value.node not in gone}
        return taken

    def open_body(self) -> list[Node]:
        """The same of the innermost open region."""
        return self._nodes[-1]

    # ---- handles

    def view_of(self, tensor: Any) -> View:
        """The view that a tensor is."""
        if (handle := tensor._traced) is None:
            return self.concrete(tensor)
        view = self.views.get(handle)
        if view is None:
            view = self.views[handle] = Cell(handle).root
        return view

    def base_of(self, tensor: Any) -> Any:
        """The tensor that it is a view of, or itself; what one from outside is a view of is not of the program."""
        base = tensor._base
        if base is None or base._traced is not None or base._born_traced:
            return tensor if base is None else base
        known = tensor if tensor._traced is None else self.input_tensor(self.view_of(tensor).cell)
        return base if known is None else known

    def input_tensor(self, cell: Cell) -> Any:
        """The tensor that a storage is at the start of the program; None if it is made inside."""
        return None if cell.input is None else next((t for value, t in self.tensor_inputs if value is cell.input), None)

    def _fresh(self, value: Value) -> Value:
        """A handle that no other tensor has: the value itself unless it is known already (a copy is another storage)."""
        if value in self.handles or value in self.views:
            return self.another_handle(value)
        self.handles.add(value)
        return value

    def another_handle(self, value: Value) -> Value:
        """A handle for a storage of its own that starts as `value`."""
        alias = Value(value.type, value.node, value.index, value.name)
        self.views[alias] = Cell(value).root
        if self.regions:
            self.regions[-1].own.add(alias)
        return alias

    def handle_on(self, cell: Cell) -> Value:
        """A handle that is all of a storage."""
        value = cell.value
        alias = Value(value.type, value.node, value.index, value.name)
        made = self.views[alias] = View(cell, (), value, ())
        made.layouts = cell.root.layouts
        return alias

    def _view_result(self, base: Any, value: Value) -> Value:
        view = self.view_of(base)
        steps = steps_between(view.current(self), value)
        if steps is None:
            view.cell.opaque = True
            handle = self._fresh(value)
            self.view_of_handle(handle).cell.opaque = True
            return handle
        handle = self._fresh(value)
        self.layouts.view(handle, view, steps, value)
        return handle

    def row_major(self, tensor: Any) -> Any:
        return self.layouts.row_major(tensor)

    def copied_elsewhere(self, made: Any, tensor: Any, condition: Any) -> Any:
        return self.layouts.copy(made, tensor, condition)

    def reshaped(self, tensor: Any) -> Any:
        return self.layouts.made(tensor) if self.layouts.copied else tensor

    def shape_changes(self, name: str, tensor: Any, view: Any) -> None:
        check_shape_change(self, name, tensor, view)

    def note_row(self, base: Any, tensor: Any, index: Any) -> None:
        view, value = self.view_of(base), tensor._traced
        attrs = {"index": value.node.inputs[1], "given": index._traced}
        step = Step("row", attrs, view.current(self).type, value.type)
        made = self.views[value] = View(view.cell, (*view.chain, step), value, ())
        made.layouts = tuple(Layout(strides[1:], condition) for strides, condition in view.layouts)

    def is_row(self, base: Any, tensor: Any, index: Any) -> bool:
        view, found = self.view_of(base), self.view_of(tensor)
        if found.cell is not view.cell or not found.chain or found.chain[-1].op != "row":
            return False
        return found.chain[:-1] == view.chain and found.chain[-1].attrs["given"] is index._traced

    def view_of_handle(self, handle: Value) -> View:
        view = self.views.get(handle)
        if view is None:
            view = self.views[handle] = Cell(handle).root
        return view

    # ---- concrete tensors

    def concrete(self, tensor: Any) -> View:
        """The view of a tensor that has memory: an input of the program, or a constant if it was made during capture."""
        key = core.storage_id(tensor)
        storage = self.storages.get(key)
        if storage is None:
            storage = self.storages[key] = Storage()
            self.keep.append(tensor)
        geometry: Geometry = (tensor.storage_offset(), tuple(tensor.shape), tuple(tensor.stride()))
        view = storage.views.get(geometry)
        if view is None:
            view = self._new_view(storage, tensor, geometry)
            storage.views[geometry] = view
            storage.tensors[geometry] = tensor
        return view

    def _new_view(self, storage: Storage, tensor: Any, geometry: Geometry) -> View:
        if tensor._born_traced:
            view = Cell(self._embedded(tensor)).root
            view.strides = geometry[2]
            return view
        joined = self.joined.view(core.storage_id(tensor), tensor, geometry)
        if joined is not None:
            return joined
        if storage.written:
            for other in list(storage.views):
                written = storage.views[other].cell
                if written.written and overlap(other, geometry):
                    return self._derived(storage, other, tensor, geometry)
        type_ = TensorType(tensor.dtype, geometry[1])
        strides = None if geometry[2] == contiguous(geometry[1]) else geometry[2]
        value = self.input(type_, strides=strides, origin="state")
        self.handles.add(value)
        self.tensor_inputs.append((value, tensor))
        self.input_tensors[id(tensor)] = value
        cell = Cell(value, value)
        cell.root.strides = geometry[2]
        return cell.root

    def _derived(self, storage: Storage, outer: Geometry, tensor: Any, geometry: Geometry) -> View:
        base = storage.views[outer]
        steps = relate(outer, geometry, tensor.dtype)
        if steps is None:
            raise Overlapping.found(core.storage_id(tensor), outer, geometry)
        self.related.append((storage.tensors[outer], tensor))
        view = View(base.cell, base.chain + steps, base.value, geometry[2])
        view.version = -1
        return view

    def keep_history(self, tensor: Any) -> None:
        """A tensor from outside of the program is written: its place on the tape is what it was when the capture ends."""
        if id(tensor) not in self.histories and (tensor._traced is None or self.view_of(tensor).cell.input is not None):
            tracing = core.set_tracing(False)
            held = tensor.detach() if tensor._traced is None else core.traced(tensor._traced, tensor.dtype, 0, ())
            core.set_tracing(tracing)
            core.rebase(held, tensor)
            self.histories[id(tensor)] = (tensor, held, _stack.user_location())

    def restore_histories(self, expected: Collection[int] = ()) -> _stack.Location | None:
        """Undo what the capture did to the tape of tensors from outside; gives the line that did something unexpected."""
        line = None
        for tensor, held, location in self.histories.values():
            if tensor.grad_fn != held.grad_fn:
                line = line if id(tensor) in expected else location
                core.rebase(tensor, held)
        self.histories.clear()
        return line

    def prepare_write(self, tensor: Any) -> None:
        """Before a concrete tensor is written: no tensor that was met on the same memory may be an input of its own."""
        target = self.concrete(tensor)
        key = core.storage_id(tensor)
        storage = self.storages[key]
        storage.written = True
        geometry = (tensor.storage_offset(), tuple(tensor.shape), tuple(tensor.stride()))
        rivals = [g for g, v in storage.views.items() if v.cell is not target.cell and overlap(g, geometry)]
        if rivals:
            raise Overlapping.found(key, geometry, *rivals)

    def _embedded(self, tensor: Any) -> Value:
        old = core.set_tracing(False)
        try:
            data: Any = tensor.item() if tensor.ndim == 0 else bytes(core.to_bytes(tensor.detach().contiguous()))
        finally:
            core.set_tracing(old)
        with self.outside():
            return self.constant(data, tensor.dtype, tuple(tensor.shape))


def overlap(a: Geometry, b: Geometry) -> bool:
    """Whether the memory ranges of two tensors on one buffer meet."""
    if 0 in a[1] or 0 in b[1]:
        return False
    (a_low, a_high), (b_low, b_high) = extent(a), extent(b)
    return a_low < b_high and b_low < a_high
