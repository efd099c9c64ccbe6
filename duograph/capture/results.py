"""What a captured call returns and leaves behind: templates, and the outputs of the program that they are filled from."""

from __future__ import annotations

from typing import Any

from duograph import _core as core
from duograph.ir.graph import Graph, Value
from duograph.ops.tracing import is_weak

from .builder import CaptureBuilder
from .memory.cells import contiguous, view_layout
from .memory.chosen import Others, chosen
from .outside.recorder import Recorder
from .values.tree import Arguments, Row, late_number, template


class Results:
    """The outputs of a capture's program, and the rows of templates that name them."""

    def __init__(
        self, builder: CaptureBuilder, recorder: Recorder, arguments: Arguments, differentiable: bool, find: bool
    ) -> None:
        """`find`: a result that may be another tensor asks for another try."""
        self.builder = builder
        self.recorder = recorder
        self.arguments = arguments
        self.differentiable = differentiable
        self.values: list[Value] = []
        self.tensors: list[Any] = []
        self.numbers: dict[int, int] = {}  # of tensors' own outputs
        self.cell_outputs: dict[int, int] = {}
        self.cell_roots: dict[int, Any] = {}
        self.bases: dict[int, Any] = {}  # of storages that results with gradients lie on: the tensor that is all of it
        # Results that are views of another, or of an input, and have gradients; None: of their base's, from the next use on.
        self.parts: list[tuple[Row, Any]] = []
        self.same: list[tuple[Any, Any]] = []  # outputs, and results that are these on some ways
        self.others = Others(self, find)
        self.rows: dict[int, Row] = {}  # of tensors that are others on some ways

    def row(self, tensor: Any) -> Row:
        """The template row of a tensor that the call returns or leaves behind: on some ways it may be another one."""
        if id(tensor) in self.rows:
            return self.rows[id(tensor)]
        others = self.others.of(tensor)
        row = self.own_row(tensor)
        if others:
            row = self.rows[id(tensor)] = ("make", chosen, [row, *others])
        return row

    def own_row(self, tensor: Any) -> Row:
        """The same for a tensor of its own."""
        if self.is_from_before(tensor):
            return self.concrete_row(tensor)
        self.builder.kinds.leaves(tensor)
        if is_weak(tensor):
            return ("make", _to_number, [("output", self.add(self.builder.read(tensor), tensor))])
        known = self.numbers.get(id(tensor))
        if known is not None:
            return ("output", known)
        view = None if tensor._traced is None else self.builder.views.get(tensor._traced)
        if view is not None and self._base_of(tensor) is not None:
            number = self._part(view, tensor)
            if number is not None:
                self.numbers[id(tensor)] = number
                return ("output", number)
        elif view is not None and not (self.differentiable and tensor.requires_grad):
            row = None
            if view.cell.input is not None:
                row = self.input_view(view.cell, view.chain)
            elif self.others.are_several(view.cell):
                row = self._part_of_result(view, tensor)
            if row is not None:
                return row
        number = self.add(self.builder.read(tensor), tensor)
        self.numbers[id(tensor)] = number
        return ("output", number)

    def is_from_before(self, tensor: Any) -> bool:
        """Whether it is an argument, or a tensor from outside."""
        known = id(tensor) in self.arguments.slots or self.recorder.states.is_stand_in(tensor)
        return known or (tensor._traced is None and not tensor._born_traced)

    def place(self, tensor: Any) -> tuple[int, int] | None:
        """Of a tensor from before that has a new gradient: the number of the input, and of the result that it is."""
        view = self.builder.view_of(tensor)
        inputs = [i for i, (v, t) in enumerate(self.builder.tensor_inputs) if v is view.cell.input and t is tensor]
        if view.chain or not inputs or tensor._base is not None:
            return None
        number = self._part(view, tensor)
        return None if number is None else (inputs[0], number)

    def add(self, value: Value, tensor: Any) -> int:
        """The number of a further output; `tensor` has its gradient, None: nothing has."""
        self.values.append(value)
        self.tensors.append(tensor)
        return len(self.values) - 1

    def value(self, graph: Graph, number: int) -> Value:
        """What a result is, or is a part of, in the whole graph."""
        if number >= 0:
            return graph.outputs[number]
        kind, source = self.parts[-1 - number][0][:2]
        return graph.outputs[source] if kind == "output" else graph.inputs[source]

    def numbered(self) -> list[tuple[int, Any]]:
        """All tensors that may have gradients, with their numbers."""
        everything = [*enumerate(self.tensors), *((-k, tensor) for k, (_, tensor) in enumerate(self.parts, 1))]
        return [(number, tensor) for number, tensor in everything if tensor is not None]

    def note_sharing(self, *results: Any) -> None:
        """Which storages tensors of the results lie on."""

        def note(tensor: Any) -> Row:
            view = None if tensor._traced is None else self.builder.views.get(tensor._traced)
            if view is not None:
                self.others.note(view.cell, tensor)
                base = self._base_of(tensor)
                if base is not None:
                    self.bases.setdefault(id(view.cell), base)
            return ()

        for result in results:
            template(result, note)

    def concrete_row(self, tensor: Any) -> Row:
        """The template row of a tensor that is there before the call."""
        slot = self.arguments.slots.get(id(tensor))
        if slot is not None:
            return ("read", self.recorder.read("arg", None, slot))
        reads = self.recorder.source(tensor)
        if reads is not None:
            return ("read", reads)
        return self._of_input(tensor) or ("const", tensor)

    def _of_input(self, tensor: Any) -> Row | None:
        """A tensor that the capture made on the memory of an input, as `detach` does: of another one at each run."""
        storage = self.builder.storages.get(core.storage_id(tensor))
        geometry = (tensor.storage_offset(), tuple(tensor.shape), tuple(tensor.stride()))
        if storage is None or geometry not in storage.views or tensor.requires_grad:
            return None
        view = storage.views[geometry]
        whole = next((t for value, t in self.builder.tensor_inputs if value is view.cell.input), None)
        if whole is None or whole is tensor or (id(whole) not in self.arguments.slots and self.recorder.source(whole) is None):
            return None
        return self.input_view(view.cell, view.chain)

    def _base_of(self, tensor: Any) -> Any:
        """The tensor that is all of the storage of a result with a gradient; None if that is not known."""
        if not (self.differentiable and tensor.requires_grad) or tensor.grad_fn is None:
            return None
        base = self.builder.base_of(tensor)
        whole = self.builder.view_of(base)
        return base if not whole.chain and whole.cell is self.builder.view_of(tensor).cell else None

    def _part(self, view: Any, tensor: Any) -> int | None:
        """The number of a result with a gradient that shares memory with another result, or with an input."""
        is_behind = tensor._base is not None and self.builder.aliases.written_since(view.cell, view.history) is True
        self.builder.read(tensor)
        cell, base = view.cell, self._base_of(tensor)
        layout = view_layout(view.chain, 0, cell.root.strides if cell.input is not None else contiguous(cell.root.value.shape))
        if layout is None:
            return None
        offset, strides = layout
        shape = view.chain[-1].after.shape if view.chain else cell.root.value.shape
        if not all(isinstance(size, int) or self.recorder.sizes.knows(size) for size in (offset, *shape, *strides)):
            return None
        if cell.input is not None:
            source = ("input", next((i for i, (v, _) in enumerate(self.builder.tensor_inputs) if v is cell.input), None))
        elif not self.others.are_several(cell):
            return None
        else:
            source = ("output", self._whole(cell))
            if base is tensor:
                return source[1]
        if source[1] is None:
            return None
        row = (*source, self._numbers(shape), self._numbers(strides), *self._numbers((offset,)), is_behind)
        self.parts.append((row, None if is_behind else tensor))
        return -len(self.parts)

    def _numbers(self, sizes: Any) -> list[Any]:
        return [[("const", n)] if isinstance(n, int) else list(self.recorder.sizes.postfix(n)) for n in sizes]

    def _whole(self, cell: Any) -> int:
        """The number of the output that is all of a storage."""
        number = self.cell_outputs.get(id(cell))
        if number is None:
            base = self.bases.get(id(cell))
            if base is not None:
                self.builder.read(base)
            number = self.cell_outputs[id(cell)] = self.add(cell.value, base)
            if base is not None:
                self.numbers[id(base)] = number
                self.cell_roots[number] = base
        return number

    def _part_of_result(self, view: Any, tensor: Any) -> Row | None:
        """A result that shares its storage with another: a view of the whole storage, which is one output."""
        layout = view_layout(view.chain, 0, contiguous(view.cell.root.value.shape))
        if layout is None:
            return None
        number = self._whole(view.cell)
        shape = view.chain[-1].after.shape if view.chain else view.cell.value.shape
        if not view.chain and self.cell_roots.setdefault(number, tensor) is tensor:
            return ("output", number)
        if all(isinstance(size, int) for size in (layout[0], *shape, *layout[1])):
            return ("view", number, shape, layout[1], layout[0])
        return ("make", _view_of, [("output", number), *self._layout_rows(shape, layout)])

    def input_view(self, cell: Any, chain: tuple[Any, ...]) -> Row | None:
        """A result that is a view of an input: made from the input itself, so that memory is shared as in dynamic mode."""
        tensor = self.builder.input_tensor(cell)
        if tensor is None:
            return None
        layout = view_layout(chain, 0, cell.root.strides)
        if layout is None:
            return None
        shape = chain[-1].after.shape if chain else cell.root.value.shape
        return ("make", _view_of, [self.concrete_row(tensor), *self._layout_rows(shape, layout)])

    def _layout_rows(self, shape: Any, layout: tuple[Any, Any]) -> list[Row]:
        """Shape, strides and offset of a view as templates."""
        offset, strides = layout
        return [self.size_row(tuple(shape)), self.size_row(tuple(strides)), self.size_row(offset)]

    def size_row(self, size: Any) -> Row:
        """A size, or tuples of sizes, as a template."""
        if isinstance(size, tuple):
            rows = [self.size_row(part) for part in size]
            return ("const", size) if all(row[0] == "const" for row in rows) else ("tuple", rows)
        if isinstance(size, int):
            return ("const", size)
        if not self.recorder.sizes.knows(size):
            return self.row(late_number(size))
        return ("number", list(self.recorder.sizes.postfix(size)))


def _to_number(tensor: Any) -> Any:
    return tensor.item()


def _view_of(tensor: Any, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> Any:
    """A view with a known layout of a tensor."""
    return core.as_strided(tensor, shape, strides, 0 if 0 in shape else tensor.storage_offset() + offset)
