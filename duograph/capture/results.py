"""What a captured call returns and leaves behind: templates, and the outputs of the program that they are filled from."""

from __future__ import annotations

from typing import Any

from duograph import _core as core
from duograph.ir.graph import Value

from .builder import CaptureBuilder
from .cells import contiguous, view_layout
from .recorder import Recorder
from .tree import Arguments, Row, late_number, template


class Results:
    """The outputs of a capture's program, and the rows of templates that name them."""

    def __init__(self, builder: CaptureBuilder, recorder: Recorder, arguments: Arguments, differentiable: bool) -> None:
        self.builder = builder
        self.recorder = recorder
        self.arguments = arguments
        self.differentiable = differentiable
        self.values: list[Value] = []
        self.tensors: list[Any] = []
        self.numbers: dict[int, int] = {}  # of tensors' own outputs
        self.cell_outputs: dict[int, int] = {}
        self.cell_roots: dict[int, Any] = {}
        self.sharing: dict[int, set[int]] = {}

    def row(self, tensor: Any) -> Row:
        """The template row of a tensor that the call returns or leaves behind."""
        if id(tensor) in self.arguments.slots or (tensor._traced is None and not tensor._born_traced):
            return self.concrete_row(tensor)
        if tensor._traced is not None and tensor._traced.type.weak:  # stands for a Python number
            return ("make", _to_number, [("output", self.add(self.builder.read(tensor), tensor))])
        known = self.numbers.get(id(tensor))
        if known is not None:
            return ("output", known)
        view = None if tensor._traced is None else self.builder.views.get(tensor._traced)
        if view is not None and not (self.differentiable and tensor.requires_grad):
            row = None
            if view.cell.input is not None:
                row = self._input_view(view)
            elif len(self.sharing.get(id(view.cell), ())) > 1:
                row = self._part_of_result(view, tensor)
            if row is not None:
                return row
        number = self.add(self.builder.read(tensor), tensor)
        self.numbers[id(tensor)] = number
        return ("output", number)

    def add(self, value: Value, tensor: Any) -> int:
        """The number of a further output; `tensor` has its gradient, None: nothing has."""
        self.values.append(value)
        self.tensors.append(tensor)
        return len(self.values) - 1

    def note_sharing(self, result: Any) -> None:
        """Which storages several tensors of the result lie on."""

        def note(tensor: Any) -> Row:
            view = None if tensor._traced is None else self.builder.views.get(tensor._traced)
            if view is not None:
                self.sharing.setdefault(id(view.cell), set()).add(id(tensor))
            return ()

        template(result, note)

    def concrete_row(self, tensor: Any) -> Row:
        """The template row of a tensor that is there before the call."""
        slot = self.arguments.slots.get(id(tensor))
        if slot is not None:
            return ("read", self.recorder.read("arg", None, slot))
        reads = self.recorder.source(tensor)
        return ("const", tensor) if reads is None else ("read", reads)

    def _part_of_result(self, view: Any, tensor: Any) -> Row | None:
        """A result that shares its storage with another: a view of the whole storage, which is one output."""
        layout = view_layout(view.chain, 0, contiguous(view.cell.root.value.shape))
        if layout is None:
            return None
        number = self.cell_outputs.get(id(view.cell))
        if number is None:
            number = self.cell_outputs[id(view.cell)] = self.add(view.cell.value, None)
        shape = view.chain[-1].after.shape if view.chain else view.cell.value.shape
        if not view.chain and self.cell_roots.setdefault(number, tensor) is tensor:
            return ("output", number)
        if all(isinstance(size, int) for size in (layout[0], *shape, *layout[1])):
            return ("view", number, shape, layout[1], layout[0])
        return ("make", _view_of, [("output", number), *self._layout_rows(shape, layout)])

    def _input_view(self, view: Any) -> Row | None:
        """A result that is a view of an input: made from the input itself, so that memory is shared as in dynamic mode."""
        tensor = next((t for value, t in self.builder.tensor_inputs if value is view.cell.input), None)
        if tensor is None:
            return None
        layout = view_layout(view.chain, 0, view.cell.root.strides)
        if layout is None:
            return None
        shape = view.chain[-1].after.shape if view.chain else view.cell.root.value.shape
        return ("make", _view_of, [self.concrete_row(tensor), *self._layout_rows(shape, layout)])

    def _layout_rows(self, shape: Any, layout: tuple[Any, Any]) -> list[Row]:
        """Shape, strides and offset of a view as templates."""

        def row(size: Any) -> Row:
            if not isinstance(size, int) and not self.recorder.sizes.knows(size):
                return self.row(late_number(size))
            if isinstance(size, int):
                return ("const", size)
            known = self.recorder.sizes.knows(size)
            return ("number", list(self.recorder.sizes.postfix(size))) if known else template(size, self.row)

        offset, strides = layout
        if all(isinstance(size, int) for size in (offset, *shape, *strides)):
            return [("const", tuple(shape)), ("const", tuple(strides)), ("const", offset)]
        return [("tuple", [row(size) for size in shape]), ("tuple", [row(size) for size in strides]), row(offset)]


def _to_number(tensor: Any) -> Any:
    return tensor.item()


def _view_of(tensor: Any, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> Any:
    """A view with a known layout of a tensor."""
    return core.as_strided(tensor, shape, strides, 0 if 0 in shape else tensor.storage_offset() + offset)
